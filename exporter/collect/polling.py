"""Asking the sources: a thread each, with a circuit breaker, so that one that is down costs only its own freshness."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from enum import IntEnum
from time import monotonic

import structlog

from exporter.catalog import metrics as m
from exporter.collect.watched import Job, Watched
from exporter.pipelines.base import Known, OpenRun, Polled, Poller, SourceError
from exporter.pipelines.http import Http, HttpError, Patience
from exporter.pipelines.spec import SourceSpec
from exporter.publish.prometheus import Publisher
from exporter.store import Ledger, StoreError
from exporter.units import format_duration

log = structlog.get_logger("dq_exporter")
_ENDS_WITHIN = 5.0


class BreakerState(IntEnum):
    """The values of the metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Opens after so many failures in a row, lets one attempt through after a while, and closes when it succeeds (M. Nygard, Release It!)."""

    def __init__(self, failures: int, open_for: timedelta, clock: Callable[[], datetime]) -> None:
        self._limit, self._open_for, self._clock = failures, open_for, clock
        self._failures = 0
        self._opened_at: datetime | None = None

    @property
    def state(self) -> BreakerState:
        """Where it stands now."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self._clock() - self._opened_at >= self._open_for else BreakerState.OPEN

    def succeeded(self) -> None:
        """An attempt succeeded, or somebody says that it will."""
        self._failures, self._opened_at = 0, None

    def failed(self) -> None:
        """An attempt failed."""
        self._failures += 1
        if self._failures >= self._limit:
            self._opened_at = self._clock()


class PollLoop:
    """Asks one source until it is stopped. `on_change` is told of the jobs whose runs changed, once they are stored."""

    def __init__(
        self, spec: SourceSpec, watched: Callable[[], Watched], ledger: Ledger, publisher: Publisher, on_change: Callable[[Iterable[Job]], None],
        clock: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self.spec, self._watched, self._ledger, self._publisher, self._on_change, self._clock = spec, watched, ledger, publisher, on_change, clock
        self._stop = threading.Event()
        self._wake = threading.Event()
        model = spec.model
        retry = model.retry
        patience = Patience(model.timeout, retry.attempts, retry.wait, retry.longest, retry.strategy == "exponential")
        self._http = Http(getattr(model, "url", ""), patience, self._sleep, clock, self._retried, verify=getattr(model, "ca_file", None) or True)
        self.breaker = Breaker(model.breaker.failures, model.breaker.open_for, clock)
        self._labels = (spec.type.value, spec.name)
        self._gauges: set[tuple[m.Metric, tuple[str, ...]]] = set()
        self._poller: Poller | None = model.poller(spec.secrets, self._http)
        self._began: float | None = None
        self.error: str | None = None
        """Why the last attempt failed; None when it did not."""
        self._thread = threading.Thread(target=self._run, name=f"poll {spec.name}", daemon=True)

    def start(self) -> None:
        """Begins to ask; returns at once."""
        if self._poller is not None:
            publisher = self._publisher
            publisher.count(m.COLLECTOR_ERRORS, self._labels, 0)
            publisher.count(m.COLLECTOR_RETRIES, self._labels, 0)
            self._thread.start()

    def stop(self) -> None:
        """Asks no more; a request that is under way is cut off."""
        self._stop.set()
        self._wake.set()
        self._http.close()
        if self._thread.is_alive():
            self._thread.join(_ENDS_WITHIN)
        for metric, labels in self._gauges:
            self._publisher.set(metric, None, labels)

    def ask_now(self) -> None:
        """Closes the breaker and asks at once."""
        self.breaker.succeeded()
        self._http.not_before = None
        self._wake.set()

    @property
    def is_stuck(self) -> bool:
        """True when an attempt takes so long that it cannot be called up."""
        began = self._began
        return began is not None and monotonic() - began > 10 * max(self.spec.model.timeout, self.spec.model.every).total_seconds()

    def _sleep(self, seconds: float) -> None:
        """A wait that ends when the loop does."""
        if self._stop.wait(seconds):
            raise HttpError("the exporter is stopping")

    def _retried(self) -> None:
        self._publisher.count(m.COLLECTOR_RETRIES, self._labels)

    def _run(self) -> None:
        while not self._stop.is_set():
            not_before = self._http.not_before
            if self.breaker.state is not BreakerState.OPEN and (not_before is None or self._clock() >= not_before):
                self._attempt()
            self._set(m.BREAKER_STATE, self.breaker.state)
            self._wake.wait(self.spec.model.every.total_seconds())
            self._wake.clear()

    def _attempt(self) -> None:
        began = self._began = monotonic()
        try:
            polled, changed = self._poll()
        except (SourceError, HttpError, StoreError) as error:
            self._failed(str(error))
        except Exception as error:  # a bug of ours, or an answer that nobody thought of: it costs this attempt
            log.exception("a source could not be asked", source=self.spec.name)
            self._failed(f"a fault of dq-exporter: {type(error).__name__}; please report it")
        else:
            self.error = None
            self.breaker.succeeded()
            self._show(polled)
            self._set(m.COLLECTOR_UP, 1)
            self._set(m.COLLECTOR_LAST_SUCCESS, self._clock().timestamp())
            self._on_change(changed)
        finally:
            self._began = None
            self._set(m.COLLECTOR_DURATION, monotonic() - began)

    def _poll(self) -> tuple[Polled, set[Job]]:
        assert self._poller is not None
        name, watched = self.spec.name, self._watched()
        checkpoint, _, open_runs, known = self._ledger.begin(name)
        polled = self._poller.poll(
            Known(
                checkpoint,
                lambda job: watched.wants(name, job),
                watched.jobs(name),
                lambda jobs: [job for job in jobs if job not in known or not known[job].has_history],
                [OpenRun(run.job, run.run_id, run.at) for run in open_runs if watched.wants(name, run.job)],
                self._clock(),
            )
        )
        if self._stop.is_set():  # another loop may ask the source by now
            raise HttpError("the exporter is stopping")
        return polled, self._ledger.save_poll(name, watched.jobs(name), polled, self._clock())

    def _failed(self, message: str) -> None:
        if self._stop.is_set():
            return
        self.breaker.failed()
        self._set(m.COLLECTOR_UP, 0)
        self._publisher.count(m.COLLECTOR_ERRORS, self._labels)
        opened = self.breaker.state is BreakerState.OPEN
        pause = f"; left alone for {format_duration(self.spec.model.breaker.open_for)}" if opened else ""
        if message != self.error or opened:
            log.warning("source not collected", source=self.spec.name, error=message + pause)
        self.error = message + pause

    def _set(self, metric: m.Metric, value: float) -> None:
        if self._stop.is_set():  # an answer that comes late leaves nothing behind
            return
        self._gauges.add((metric, self._labels))
        self._publisher.set(metric, value, self._labels)

    def _show(self, polled: Polled) -> None:
        """Publishes what the source says of itself; what it no longer says goes."""
        shown = {(metric, (self.spec.name, *labels)): value for (metric, labels), value in polled.gauges.items()}
        own = {(metric, self._labels) for metric, _ in self._gauges}
        for metric, labels in self._gauges - own - shown.keys():
            self._publisher.set(metric, None, labels)
        self._gauges = {(metric, labels) for metric, labels in self._gauges if labels == self._labels} | shown.keys()
        for (metric, labels), value in shown.items():
            with suppress(ValueError):
                self._publisher.set(metric, value, labels)
