"""A small HTTP server on the loopback address that answers as told, misbehaves on demand, and keeps its own clock."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Reply:
    """An answer: a status, a body (JSON unless it is bytes) and headers. `drip` is the pause between bytes."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()
    drip: float = 0
    hang_up: bool = False


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str


FAULTS: dict[str, Reply] = {
    "429": Reply(429, {"error_code": "RESOURCE_EXHAUSTED", "message": "too many requests"}),
    "429 with Retry-After": Reply(429, {"error_code": "RESOURCE_EXHAUSTED"}, (("Retry-After", "7"),)),
    "500": Reply(500, {"error_code": "INTERNAL_ERROR", "message": "oops"}),
    "502 HTML": Reply(502, b"<html>Bad Gateway</html>", (("Content-Type", "text/html"),)),
    "503": Reply(503, b""),
    "HTML with 200": Reply(200, b"<!doctype html><title>Sign in</title>", (("Content-Type", "text/html"),)),
    "half of a body": Reply(200, b'{"runs": [{"run_id": 1, "st'),
    "connection closed": Reply(hang_up=True),
}
"""What any request may meet and what passes when it is sent again."""
SLOW = Reply(200, b'{"runs": []}' + b" " * 400, drip=0.02)


class Double:
    """A server whose `answer` is asked for each request; `faults` replace answers by the number of the request, from 0."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 1, 12, tzinfo=UTC)
        self.faults: dict[int, Reply] = {}
        self.log: list[Request] = []
        self.before: Callable[[int], None] = lambda number: None
        """Called with the number of each request before it is answered."""
        self.url = ""
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Reply:
        """The answer to a request that meets no fault."""
        raise NotImplementedError

    def pass_time(self, **parts: float) -> None:
        """Moves the clock of the server."""
        self.now += timedelta(**parts)

    def reply(self, request: Request) -> Reply:
        """The answer to a request, with faults."""
        with self._lock:
            number = len(self.log)
            self.log.append(request)
            self.before(number)
            return self.faults.pop(number, None) or self.answer(request)

    @contextlib.contextmanager
    def served(self) -> Iterator[str]:
        """Answers while the block runs."""
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                parts = urlsplit(self.path)
                request = Request(self.command, parts.path, dict(parse_qsl(parts.query)), dict(self.headers), self.rfile.read(length).decode())
                _send(self, double.reply(request))

            do_POST = do_GET  # noqa: N815 - the name is given

            def date_time_string(self, timestamp: float | None = None) -> str:
                return format_datetime(double.now, usegmt=True)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self.url
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    if reply.hang_up:
        handler.close_connection = True
        return
    body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    handler.send_response(reply.status)
    given = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close", **dict(reply.headers)}
    for name, value in given.items():
        handler.send_header(name, value)
    handler.end_headers()
    with contextlib.suppress(OSError):
        for start in range(0, len(body), 8 if reply.drip else len(body) or 1):
            handler.wfile.write(body[start : start + (8 if reply.drip else len(body))])
            time.sleep(reply.drip)
