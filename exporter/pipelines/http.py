"""HTTP to a source: bounded in time and size, sent again when that may help, logged in again once when the login has run out."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import requests
import tenacity
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError as BrokenAnswer
from urllib3.exceptions import ReadTimeoutError

from exporter.redaction import redact

_LONGEST_BODY = 64 * 2**20
_LONGEST_WAIT = timedelta(minutes=2)
"""A source that asks for more patience than this is left to a later poll."""
_LONGEST_PAUSE = timedelta(hours=1)
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class HttpError(Exception):
    """A request failed for good: what, where, and what to do; `status` is None when there was no answer."""

    def __init__(self, message: str, status: int | None = None, detail: str = "") -> None:
        super().__init__(message)
        self.status, self.detail = status, detail


class _Temporary(Exception):
    """A request failed in a way that may pass; `after` is what the source asked for."""

    def __init__(self, error: HttpError, after: timedelta | None = None) -> None:
        super().__init__(str(error))
        self.error, self.after = error, after


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON answer with the source's clock (our own where it has none) and its headers."""

    body: Any
    date: datetime
    headers: Mapping[str, str] = field(default_factory=dict)


class Login(Protocol):
    """Gives the headers that say who asks."""

    def headers(self, http: Http, anew: bool) -> dict[str, str]:
        """The headers; `anew` when those of before were refused. Raises HttpError."""

    def is_refused(self, status: int, detail: str) -> bool:
        """True when an answer means that logging in again may help."""


class NoLogin:
    """Nobody asks who asks."""

    def headers(self, http: Http, anew: bool) -> dict[str, str]:
        """No headers."""
        return {}

    def is_refused(self, status: int, detail: str) -> bool:
        """Never."""
        return False


@dataclass(frozen=True)
class Patience:
    """How often and with what waits a request is sent; `timeout` is for one request with its whole body."""

    timeout: timedelta = timedelta(seconds=30)
    attempts: int = 4
    wait: timedelta = timedelta(seconds=1)
    longest: timedelta = timedelta(seconds=30)
    is_exponential: bool = True


class Http:
    """Requests to one base URL. `sleep` and `on_retry` are given by the caller; `close` ends waits and connections."""

    def __init__(
        self, base: str, patience: Patience, sleep: Callable[[float], None], clock: Callable[[], datetime], on_retry: Callable[[], None] = lambda: None,
        *, verify: str | bool = True,
    ) -> None:  # fmt: skip
        self.base, self.patience, self.clock = base.rstrip("/"), patience, clock
        self._sleep, self._on_retry = sleep, on_retry
        self.session = requests.Session()
        self.session.auth = lambda request: request  # else a .netrc would replace our header
        self.session.verify = verify
        self.session.headers["User-Agent"] = "dq-exporter"
        self.session.headers["Accept"] = "application/json"
        adapter = HTTPAdapter(pool_connections=2, pool_maxsize=4)
        self.session.mount("http://", adapter)
        self.session.mount("https://", adapter)
        self.login: Login = NoLogin()
        self.not_before: datetime | None = None
        """Until then the source asked to be left alone."""
        self.requests = 0
        """Requests sent so far."""

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Answer:
        """The JSON at a path below the base. Raises HttpError."""
        return self.ask("GET", path, params=params)

    def post(self, path: str, body: Any, login: bool = True, form: bool = False) -> Answer:
        """The JSON that a POST of JSON (or of a form) is answered with; only for requests that change nothing. Raises HttpError."""
        return self.ask("POST", path, login=login, **({"data": body} if form else {"json": body}))

    def ask(self, method: str, path: str, login: bool = True, **options: Any) -> Answer:
        """One request, sent again while that may help; after a refused login once more with a new one. Raises HttpError."""
        try:
            return self._patiently(method, path, self.login.headers(self, False) if login else {}, options)
        except HttpError as error:
            if not login or error.status is None or not self.login.is_refused(error.status, error.detail):
                raise
        return self._patiently(method, path, self.login.headers(self, True), options)

    def close(self) -> None:
        """Closes the connections."""
        self.session.close()

    def _patiently(self, method: str, path: str, headers: Mapping[str, str], options: Mapping[str, Any]) -> Answer:
        patience = self.patience
        backoff = (
            tenacity.wait_random_exponential(patience.wait.total_seconds(), patience.longest.total_seconds())
            if patience.is_exponential
            else tenacity.wait_fixed(patience.wait.total_seconds())
        )

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.after if isinstance(error, _Temporary) else None
            return asked.total_seconds() if asked is not None else backoff(state)

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(patience.attempts),
            wait=wait,
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, _Temporary) and (error.after or timedelta(0)) <= _LONGEST_WAIT),
            sleep=self._sleep,
            before_sleep=lambda state: self._on_retry(),
            reraise=True,
        )
        try:
            return retrying(self._once, method, path, headers, options)
        except _Temporary as temporary:
            if temporary.after is not None:
                self.not_before = self.clock() + min(temporary.after, _LONGEST_PAUSE)
            raise temporary.error from None

    def _once(self, method: str, path: str, headers: Mapping[str, str], options: Mapping[str, Any]) -> Answer:
        url, seconds = self.base + path, self.patience.timeout.total_seconds()
        where = f"{method} {url}"
        self.requests += 1
        deadline = time.monotonic() + seconds
        try:
            with self.session.request(
                method, url, headers=dict(headers), timeout=(min(10.0, seconds), seconds), allow_redirects=False, stream=True, **options
            ) as response:
                body = _read(response, deadline)
        except (_TooSlow, ReadTimeoutError):
            raise _Temporary(HttpError(f"{where}: the answer was not there after {seconds:g} s; raise `timeout`, or look why it is slow")) from None
        except _TooLong:
            raise HttpError(f"{where}: the answer is longer than {_LONGEST_BODY // 2**20} MiB; this is not the API") from None
        except requests.exceptions.SSLError as error:
            raise HttpError(f"{where}: TLS failed: {_reason(error)}; check the certificate, or name its authority at ca_file") from None
        except (requests.ConnectionError, requests.Timeout, BrokenAnswer) as error:
            raise _Temporary(HttpError(f"{where}: no answer: {_reason(error)}; check `url`, and that the server runs")) from None
        except requests.RequestException as error:
            raise HttpError(f"{where}: {_reason(error)}; check `url`") from None
        return self._judged(where, response, body)

    def _judged(self, where: str, response: requests.Response, body: bytes) -> Answer:
        status = response.status_code
        parsed, is_json = _json(body)
        if 200 <= status < 300:
            if not is_json:
                raise _Temporary(HttpError(f"{where}: answered {status} with {_shown(response, body)} instead of JSON; a proxy or a login page stands between, or `url` is wrong", status))
            return Answer(parsed, _date(response, self.clock), response.headers)
        detail = _detail(parsed if is_json else None, response, body)
        error = HttpError(f"{where}: answered {status}: {detail}", status, detail)
        if status in _AGAIN:
            raise _Temporary(error, _retry_after(response, self.clock))
        raise error


class _TooSlow(Exception):
    pass


class _TooLong(Exception):
    pass


def _read(response: requests.Response, deadline: float) -> bytes:
    """The body, bounded in size and in time as a whole: a server that drips would hold a read timeout off for ever."""
    parts: list[bytes] = []
    size = 0
    while True:
        part = response.raw.read1(65536, decode_content=True)
        if not part and response.raw.closed:
            return b"".join(parts)
        size += len(part)
        if size > _LONGEST_BODY:
            raise _TooLong
        if time.monotonic() > deadline:
            raise _TooSlow
        parts.append(part)


def _json(body: bytes) -> tuple[Any, bool]:
    try:
        data = json.loads(body)
        return (storable(data) if b"\\u" in body else data), True
    except (ValueError, RecursionError):
        return None, False


_ESCAPED = re.compile(r"\\(?:(u0000)|.)")


def storable(data: Any) -> Any:
    """JSON as every database can keep it: without NUL and halves of surrogate pairs, which are JSON but no text. Raises RecursionError."""
    text = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace").decode()
    return json.loads(_ESCAPED.sub(lambda found: "" if found[1] else found[0], text))


def _detail(parsed: Any, response: requests.Response, body: bytes) -> str:
    """What an error body says: Airflow's `detail`, RFC 7807's `title`, Databricks's `message`, else its beginning."""
    if isinstance(parsed, dict):
        for key in ("detail", "message", "error", "title"):
            if parsed.get(key):
                text = parsed[key] if isinstance(parsed[key], str) else json.dumps(parsed[key])
                return redact(text)[:300]
    return _shown(response, body)


def _shown(response: requests.Response, body: bytes) -> str:
    kind = response.headers.get("Content-Type", "").partition(";")[0]
    text = " ".join(body[:400].decode("utf-8", "replace").split())
    if "html" in kind or text[:1] == "<":
        return "an HTML page"
    return redact(text)[:120] or "an empty body"


def _reason(error: Exception) -> str:
    """The innermost reason of a network error, in few words."""
    inner: BaseException = error
    while (deeper := getattr(inner, "reason", None) or (inner.args[0] if inner.args and isinstance(inner.args[0], BaseException) else inner.__cause__)) and isinstance(deeper, BaseException):
        inner = deeper
    text = redact(str(inner)).rpartition(": ")[2] or type(inner).__name__
    return text[:200]


def _date(response: requests.Response, clock: Callable[[], datetime]) -> datetime:
    """The source's clock."""
    try:
        return parsedate_to_datetime(response.headers.get("Date", "")).astimezone(UTC)
    except (TypeError, ValueError):
        return clock()


def _retry_after(response: requests.Response, clock: Callable[[], datetime]) -> timedelta | None:
    """How long the source wants to be left alone (RFC 9110: seconds or a date); None when it does not say."""
    text = response.headers.get("Retry-After", "").strip()
    try:
        if text.replace(".", "", 1).isdigit():
            return timedelta(seconds=float(text))
        return max(timedelta(0), parsedate_to_datetime(text) - _date(response, clock)) if text else None
    except (TypeError, ValueError, OverflowError):
        return None
