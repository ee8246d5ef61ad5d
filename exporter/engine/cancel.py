"""One evaluation's right to go on: a deadline, and what to call when it is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from exporter.engine.snapshot import EngineError
from exporter.model import Measurement, Reason
from exporter.units import format_duration


class Cancel:
    """Cancels at the timeout, or when `fire` is called; what runs registers how it is stopped."""

    def __init__(self, timeout: timedelta) -> None:
        self.timeout = timeout
        self.limits: dict[Measurement, timedelta] = {}
        """How long each measurement may take, where that is less."""
        self._deadline = time.monotonic() + timeout.total_seconds()
        self._lock = threading.Lock()
        self._stops: list[Callable[[], object]] = []
        self._reason: Reason | None = None
        self._timer = threading.Timer(timeout.total_seconds(), self.fire, (Reason.TIMEOUT,))
        self._timer.daemon = True
        self._timer.start()

    @property
    def fired(self) -> bool:
        """True once it is over."""
        return self._reason is not None

    @contextmanager
    def part(self, measurements: Iterable[Measurement]) -> Iterator[Cancel]:
        """The right of a part to go on: over after the longest limit of its measurements, or with the whole."""
        limit = max((self.limits.get(one, self.timeout) for one in measurements), default=self.timeout)
        part = Cancel(min(limit, self.timeout))
        part._deadline = min(part._deadline, self._deadline)
        self.on_fire(lambda: part.fire(self._reason or Reason.CANCELLED))
        try:
            yield part
        finally:
            part.close()

    def remaining(self) -> float:
        """Seconds left, at least a hundredth."""
        return max(0.01, self._deadline - time.monotonic())

    def fire(self, reason: Reason = Reason.CANCELLED) -> None:
        """Stops everything that is registered; later calls do nothing."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            stops, self._stops = self._stops, []
        self._timer.cancel()
        for stop in stops:
            stop()

    def on_fire(self, stop: Callable[[], object]) -> None:
        """Has `stop` called when it is over, or at once if it already is."""
        with self._lock:
            if self._reason is None:
                self._stops.append(stop)
                return
        stop()

    def error(self) -> EngineError:
        """What a measurement that was stopped ends in."""
        if self._reason is Reason.CANCELLED:
            return EngineError(Reason.CANCELLED, "the evaluation was cancelled because the exporter is stopping")
        return EngineError(Reason.TIMEOUT, f"not done after {format_duration(self.timeout)}; raise `timeout`, or narrow `filter`")

    def close(self) -> None:
        """Ends the timer of an evaluation that is done."""
        self._timer.cancel()
