"""What stands before every request: authentication, and the headers of every answer."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.web.webconfig import WebConfig

_LOOK_EVERY = 1.0
_WRITES = {"POST", "PUT"}
_DEFAULTS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """Asks for a login where the web configuration has users, and for the token on endpoints that write.

    A request that writes and carries the right token needs no login: there is only one Authorization header. `token_of` gives the
    token that a path takes besides the common one, None where it has none.
    """

    def __init__(self, app: ASGIApp, config: WebConfig | None, token: str | None, policy: str, token_of: Callable[[str], str | None]) -> None:
        self._app = app
        self._config = config
        self._token = token
        self._token_of = token_of
        self._defaults = {**_DEFAULTS, "Content-Security-Policy": policy}
        self._looked = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 401, or hands on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._config and time.monotonic() - self._looked > _LOOK_EVERY:
            self._looked = time.monotonic()
            await run_in_threadpool(self._config.refresh)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in {**self._defaults, **(self._config.headers if self._config else {})}.items():
                    headers[name] = value
            await send(message)

        refusal = await self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)

    async def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        scheme, _, credentials = Headers(scope=scope).get("authorization", "").partition(" ")
        tokens = [token for token in (self._token, self._token_of(scope["path"])) if token] if scope["method"] in _WRITES else []
        if tokens:
            given = credentials.strip().encode()
            right = [hmac.compare_digest(given, token.encode()) for token in tokens]
            if scheme.lower() == "bearer" and any(right):
                return None
            return _unauthorized("Bearer", "this endpoint needs a bearer token of the configuration (that of `web`, or of the source that is sent to)")
        if self._config and self._config.needs_login:
            name, password = _basic(scheme, credentials)
            if name is None or not await run_in_threadpool(self._config.login, name, password):
                return _unauthorized('Basic realm="dq-exporter"', "a login is needed")
        return None


def _basic(scheme: str, credentials: str) -> tuple[str | None, str]:
    if scheme.lower() != "basic":
        return None, ""
    try:
        name, colon, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None, ""
    return (name, password) if colon else (None, "")


def _unauthorized(challenge: str, text: str) -> PlainTextResponse:
    return PlainTextResponse(text + "\n", 401, {"WWW-Authenticate": challenge})
