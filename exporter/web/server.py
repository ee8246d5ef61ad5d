"""The HTTP server: uvicorn on an address, in the main thread or in one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from exporter.web.webconfig import WebConfig

_LOOK_EVERY = 1.0


class Server:
    """A listening server. `address` is where it listens, which port 0 leaves to the system."""

    def __init__(self, app: ASGIApp, listener: socket.socket, config: WebConfig | None = None) -> None:
        tls = config.tls if config else None
        self._config = config
        self._listener = listener
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                ws="none",
                timeout_keep_alive=75,  # above the scrape intervals in use, so that connections are kept
                timeout_graceful_shutdown=5,
                ssl_context_factory=None if tls is None else lambda config, default: tls,
            )
        )
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """`HOST:PORT`."""
        host, port = self._listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def url(self) -> str:
        """`http://HOST:PORT` or `https://HOST:PORT`."""
        return f"{'https' if self._config and self._config.tls else 'http'}://{self.address}"

    def run(self) -> None:
        """Serves until `stop`, in the calling thread."""
        asyncio.run(self._serve())

    def start(self) -> None:
        """Serves in a thread of its own; returns when connections are accepted."""
        self._thread = threading.Thread(target=self.run, name="web", daemon=True)
        self._thread.start()
        while not self._uvicorn.started and self._thread.is_alive():
            self._thread.join(0.01)

    def stop(self, timeout: float = 10.0) -> None:
        """Lets requests that run finish, then ends."""
        self._uvicorn.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout)

    async def _serve(self) -> None:
        watching = asyncio.create_task(self._watch())
        try:
            await self._uvicorn.serve([self._listener])
        finally:
            watching.cancel()
            self._listener.close()

    async def _watch(self) -> None:
        """Takes over new certificates for the next connections."""
        while self._config is not None:
            await asyncio.sleep(_LOOK_EVERY)
            await asyncio.to_thread(self._config.refresh)


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[Any]:
        """Signals are the program's, not the server's."""
        yield


class AddressError(ValueError):
    """The text is not HOST:PORT."""


def serve(app: ASGIApp, listen_address: str, config: WebConfig | None = None) -> Server:
    """Binds `HOST:PORT` (port 0 for a free one, an empty host for every address); not yet serving.

    Call `start` or `run` on the result. Raises AddressError for an address that is none, OSError when it is taken.
    """
    host, colon, port = listen_address.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise AddressError(f"listen address {listen_address!r}: write HOST:PORT, such as 127.0.0.1:9818 or :9818")
    host = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, int(port)), family=family, backlog=1024)
    # Connections inherit it. asyncio sets it for sockets that it makes itself; without, each answer waits 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Server(app, listener, config)
