"""A double of somebody else's HTTP API on loopback, in a thread, that can be told to misbehave."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request as the double sees it; `query` has lists, as keys repeat."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    headers: dict[str, str]

    def one(self, key: str, default: str | None = None) -> str | None:
        """The first value of a key of the query."""
        return self.query.get(key, [default])[0]  # type: ignore[list-item]


@dataclass(frozen=True)
class Told:
    """An answer: JSON unless `raw` is given; `drip` seconds lie between its bytes, `cut` leaves the end of it out."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    drip: float = 0.0
    cut: bool = False


HTML = Told(200, raw=b"<html><body>Please sign in</body></html>", headers={"Content-Type": "text/html"})


class Double:
    """Answers with `answer`; `faults` (next first) are given instead, each once."""

    def __init__(self, answer: Callable[[Asked], Told]) -> None:
        self.answer = answer
        self.faults: list[Told] = []
        self.asked: list[Asked] = []
        self.lock = threading.Lock()
        self.url = ""

    @contextmanager
    def serving(self) -> Iterator[Double]:
        """Serves until the end of the block."""
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length) if length else b""
                parts = urlsplit(self.path)
                try:
                    body = json.loads(raw) if raw else None
                except ValueError:
                    body = {key: values[0] for key, values in parse_qs(raw.decode()).items()}
                asked = Asked(self.command, parts.path, parse_qs(parts.query, keep_blank_values=True), body, dict(self.headers))
                with double.lock:
                    double.asked.append(asked)
                    told = double.faults.pop(0) if double.faults else double.answer(asked)
                self._tell(told)

            do_GET = do_POST = _serve  # noqa: N815 - the names that http.server calls

            def _tell(self, told: Told) -> None:
                data = told.raw if told.raw is not None else json.dumps(told.body).encode()
                self.send_response_only(told.status)  # no Date of its own
                for name, value in ({"Content-Type": "application/json"} | told.headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                try:
                    if told.drip:
                        for place in range(len(data)):
                            self.wfile.write(data[place : place + 1])
                            self.wfile.flush()
                            time.sleep(told.drip)
                    else:
                        self.wfile.write(data[: len(data) // 2] if told.cut else data)
                except OSError:
                    pass
                if told.cut:
                    self.close_connection = True

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)
