"""Tells dq-exporter of pipeline runs from inside the pipeline; the standard library only, so the one file may be copied anywhere.

It never breaks the pipeline that it reports on: what goes wrong in it is logged as a warning, and no call takes longer than its timeout.

    from exporter.client import Client

    with Client("http://dq-exporter:9818").run("nightly_export"):      # running, then success or failed
        export()

    client = Client.from_environment()                                 # DQ_EXPORTER_URL, DQ_EXPORTER_TOKEN
    DAG("sales_daily", on_failure_callback=client.on_failure_callback("sales_daily"), …)
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
import traceback
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

_LOG = logging.getLogger("dq_exporter.client")
_LONGEST_MESSAGE = 8000
_TRIES = 2
_CANCELLED = (KeyboardInterrupt, GeneratorExit)


class Client:
    """Sends events to one exporter. `timeout` in seconds bounds a call with its second try."""

    def __init__(self, url: str, token: str | None = None, timeout: float = 2.0) -> None:
        self._url, self._token, self._timeout = url.rstrip("/") + "/api/v1/events", token, timeout

    @classmethod
    def from_environment(cls) -> Client:
        """A client for `DQ_EXPORTER_URL` (default http://127.0.0.1:9818) with the token `DQ_EXPORTER_TOKEN`."""
        return cls(os.environ.get("DQ_EXPORTER_URL", "http://127.0.0.1:9818"), os.environ.get("DQ_EXPORTER_TOKEN"))

    def send(self, pipeline: str, state: str, run_id: str | None = None, **more: Any) -> bool:
        """Sends one event; True when the exporter has stored it. Never raises. `more` are further keys of the event."""
        try:
            event = {"pipeline": pipeline, "state": state, "run_id": run_id, "event_id": str(uuid.uuid4()), "at": _now(), **more}
            return self._within(json.dumps({key: value for key, value in event.items() if value is not None}, default=str).encode())
        except Exception as problem:
            _LOG.warning("dq-exporter was not told that %s is %s: %s", pipeline, state, problem)
            return False

    def _within(self, body: bytes) -> bool:
        """In a thread of its own, as looking a name up knows no timeout."""
        done: list[bool] = []
        sending = threading.Thread(target=lambda: done.append(self._post(body)), daemon=True)
        sending.start()
        sending.join(self._timeout)
        if not done:
            _LOG.warning("dq-exporter at %s did not answer within %s s", self._url, self._timeout)
        return bool(done and done[0])

    def _post(self, body: bytes) -> bool:
        problem: Exception | None = None
        for _ in range(_TRIES):
            try:
                request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310 - the user's own address
                if self._token:
                    request.add_header("Authorization", f"Bearer {self._token}")
                with urllib.request.urlopen(request, timeout=self._timeout / _TRIES) as answer:  # noqa: S310
                    return bool(200 <= answer.status < 300)
            except urllib.request.HTTPError as refused:
                with contextlib.suppress(Exception):
                    problem = Exception(f"answered {refused.code}: {refused.read(500).decode(errors='replace')}")
                if refused.code < 500:
                    break
            except Exception as failure:
                problem = failure
            time.sleep(0.05)
        _LOG.warning("dq-exporter at %s was not told: %s", self._url, problem)
        return False

    @contextlib.contextmanager
    def run(self, pipeline: str, run_id: str | None = None, **more: Any) -> Iterator[str]:
        """Tells of a run: running at the start, then success, or failed with the error, which is raised on. Gives the run id."""
        name = str(run_id) if run_id is not None else str(uuid.uuid4())
        self._tell(pipeline, "running", name, {"started_at": _now(), **more})
        try:
            yield name
        except BaseException as error:
            state = _end(error)
            self._tell(pipeline, state, name, {"ended_at": _now(), **({"error": _error(error)} if state == "failed" else {})})
            raise
        self._tell(pipeline, "success", name, {"ended_at": _now()})

    def _tell(self, pipeline: str, state: str, run_id: str, more: dict[str, Any]) -> None:
        """Sends, without the keys that it says itself."""
        self.send(pipeline, state, run_id, **{key: value for key, value in more.items() if key not in ("pipeline", "state", "run_id")})

    def on_failure_callback(self, pipeline: str | None = None) -> Callable[[Any], None]:
        """A callback for Airflow's `on_failure_callback`, of a DAG or of a task; the pipeline is the DAG's id unless it is given."""

        def told(context: Any) -> None:
            with contextlib.suppress(Exception):  # Airflow's context is full of things that raise when they are looked at
                self._tell_failure(context, pipeline)

        return told

    def _tell_failure(self, context: Any, pipeline: str | None) -> None:
        run, task, error = _picked(context, "dag_run"), _picked(context, "task_instance") or _picked(context, "ti"), _picked(context, "exception")
        dag_id = pipeline or str(getattr(run, "dag_id", None) or getattr(task, "dag_id", ""))
        run_id = str(getattr(run, "run_id", None) or getattr(task, "run_id", "") or "") or None
        if isinstance(error, BaseException):
            told = _error(error)
        else:
            told = {"class": "", "message": str(error or _picked(context, "reason") or "the run failed")[:_LONGEST_MESSAGE]}
        name = getattr(task, "task_id", None)
        if name:
            told["message"] = f"task {name}: {told['message']}"[:_LONGEST_MESSAGE]
        self.send(dag_id, "failed", run_id, error=told, started_at=_stamp(getattr(run, "start_date", None)), url=str(getattr(task, "log_url", "") or "")[:2000])


def _picked(context: Any, key: str) -> Any:
    """One key of a context; it is never walked through."""
    try:
        return context.get(key)
    except Exception:
        return None


def _end(error: BaseException) -> str:
    """The state that an exception means: `sys.exit()` and `sys.exit(0)` are how scripts end well."""
    if isinstance(error, SystemExit) and (error.code is None or error.code == 0):
        return "success"
    return "cancelled" if isinstance(error, _CANCELLED) else "failed"


def _error(error: BaseException) -> dict[str, str]:
    try:
        text = str(error) or "".join(traceback.format_exception_only(type(error), error)).strip()
    except Exception:  # people's exceptions may fail to say what they are
        text = "the text of the error cannot be read"
    return {"class": type(error).__name__, "message": text[:_LONGEST_MESSAGE]}


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()  # noqa: UP017 - runs on older Pythons than we do


def _stamp(moment: Any) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else None
