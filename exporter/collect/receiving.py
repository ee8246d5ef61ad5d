"""What is sent to the exporter: checked, stored, and only then answered; everything else is done later by another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from exporter.catalog import metrics as m
from exporter.catalog.labels import Receipt, SourceType
from exporter.collect.watched import Watched
from exporter.config.problems import nearest
from exporter.pipelines.base import DeadLetter, Flow, TestResult, Understood, Unreadable, letter
from exporter.pipelines.spec import SourceSpec
from exporter.publish.prometheus import Publisher
from exporter.store import Ledger, Received, StoreError
from exporter.store.inbox import EventKey
from exporter.store.state import CounterKey

_MOST_WAITING = 5000
_AT_ONCE = 1000


class Overloaded(Exception):
    """More events wait for being stored than fit; the sender should try again."""


@dataclass
class _Parcel:
    """What one request brought, and who waits for it to be stored; the answer is how many of its events were known already."""

    kind: SourceType
    events: list[Received] = field(default_factory=list)
    flows: dict[str, list[Flow]] = field(default_factory=dict)
    tests: dict[str, list[TestResult]] = field(default_factory=dict)
    letters: dict[str, list[DeadLetter]] = field(default_factory=dict)
    accepted: int = 0
    refused: int = 0
    stored: Future[int] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of the events of a request: how many were accepted, were known already, and why others were refused, by position."""

    accepted: int
    duplicates: int
    refused: dict[int, str]


class Receiver:
    """Takes events; requests that come together are stored in one transaction. Safe to use from several threads."""

    def __init__(self, watched: Callable[[], Watched], ledger: Ledger, publisher: Publisher, clock: Callable[[], datetime]) -> None:
        self._watched, self._ledger, self._publisher, self._clock = watched, ledger, publisher, clock
        self._waiting: list[_Parcel] = []
        self._changed = threading.Condition()
        self._is_stopping = False
        self.stored = threading.Event()
        """Set whenever something new was stored."""
        self._thread = threading.Thread(target=self._store, name="receive", daemon=True)

    def start(self) -> None:
        """Begins to store."""
        self._thread.start()

    def stop(self) -> None:
        """Stores what waits, then ends."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(10)

    def source(self, kind: SourceType) -> SourceSpec | None:
        """The configured source of a kind that is sent to."""
        return next((spec for spec in self._watched().sources.values() if spec.type is kind), None)

    def take(self, kind: SourceType, payloads: Sequence[Any]) -> Taken:
        """Checks and stores events; returns when they are on disk. Raises Overloaded, StoreError, LookupError without such a source."""
        spec, now = self.source(kind), self._clock()
        if spec is None:
            raise LookupError(f"no source of type {kind} is configured; add one under `sources`")
        parcel, refused = _Parcel(kind), {}
        for place, payload in enumerate(payloads):
            try:
                self._sort(spec, self._understood(spec, payload, now), parcel, now)
            except Unreadable as problem:
                refused[place] = str(problem)
                parcel.letters.setdefault(spec.name, []).append(letter(payload, problem))
        parcel.accepted, parcel.refused = len(payloads) - len(refused), len(refused)
        duplicates = self._put(parcel)
        return Taken(parcel.accepted - duplicates, duplicates, refused)

    def _understood(self, spec: SourceSpec, payload: Any, now: datetime) -> Understood:
        if not isinstance(payload, dict):
            raise Unreadable(f"an event is a JSON object, found {type(payload).__name__}")
        try:
            return spec.model.understand(payload, now)
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
            if isinstance(error, Unreadable):
                raise
            raise Unreadable(f"cannot be understood ({type(error).__name__})") from None

    def _sort(self, spec: SourceSpec, said: Understood, parcel: _Parcel, now: datetime) -> None:
        name, said, events = kept_of(self._watched(), spec, said, now)
        parcel.events += events
        if said.flows:
            parcel.flows.setdefault(name, []).extend(said.flows)
        if said.tests:
            parcel.tests.setdefault(name, []).extend(said.tests)

    def _put(self, parcel: _Parcel) -> int:
        with self._changed:
            if len(self._waiting) >= _MOST_WAITING or self._is_stopping:
                raise Overloaded("too many events wait to be stored; send this one again in a few seconds")
            self._waiting.append(parcel)
            self._changed.notify()
        return parcel.stored.result()

    def _store(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_stopping)
                some, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                if not some:
                    return
            try:
                self._write(some)
            except Exception as error:
                failure = error if isinstance(error, StoreError) else StoreError(f"events could not be stored: {type(error).__name__}")
                self._publisher.count(m.STORE_ERRORS)
                for parcel in some:
                    parcel.stored.set_exception(failure)

    def _write(self, parcels: Sequence[_Parcel]) -> None:
        """One transaction for all."""
        now = self._clock()
        events = [event for parcel in parcels for event in parcel.events]
        flows: dict[str, list[Flow]] = {}
        tests: dict[str, list[TestResult]] = {}
        letters: dict[str, list[DeadLetter]] = {}
        for parcel in parcels:
            for kept, brought in ((flows, parcel.flows), (tests, parcel.tests), (letters, parcel.letters)):
                for name, some in brought.items():
                    kept.setdefault(name, []).extend(some)  # type: ignore[arg-type]
        known: list[int] = []

        def increments(new: set[EventKey]) -> dict[CounterKey, float]:
            added: dict[CounterKey, float] = {}
            for parcel in parcels:
                keys = {(*event.run, event.key) for event in parcel.events}
                known.append(max(0, len({event.key for event in parcel.events}) - len({key for *_, key in keys & new})))
                new = new - keys
                told = ((Receipt.ACCEPTED, parcel.accepted - known[-1]), (Receipt.DUPLICATE, known[-1]), (Receipt.REFUSED, parcel.refused))
                for receipt, count in told:
                    series = (m.EVENTS_RECEIVED.name, (parcel.kind.value, receipt.value))
                    added[series] = added.get(series, 0.0) + count
            return added

        self._publisher.add(self._ledger.receive(events, flows, tests, letters, now, increments))
        for parcel, duplicates in zip(parcels, known, strict=True):
            parcel.stored.set_result(duplicates)
        self.stored.set()


def kept_of(watched: Watched, spec: SourceSpec, said: Understood, now: datetime) -> tuple[str, Understood, list[Received]]:
    """What of an event is kept: under which source, in which words, and its reports of watched jobs. Raises Unreadable."""
    name = spec.name
    if spec.type is SourceType.EVENTS:
        name, said = _addressed(name, said, watched)
    return name, said, [
        Received(name, f"{said.key}/{report.part}" if report.part else said.key, report, now)
        for report in said.reports if watched.wants(name, report.job, is_inner=report.is_inner)
    ]  # fmt: skip


def _addressed(name: str, said: Understood, watched: Watched) -> tuple[str, Understood]:
    """An event goes to the pipeline that it names, whose runs may come from another source."""
    [report] = said.reports
    pipeline = watched.addressed(name, report.job)
    if pipeline is None:
        guess = nearest(report.job, watched.names) or ": configure it under `pipelines`"
        raise Unreadable(f'pipeline "{report.job}" is not configured{guess}')
    flows = tuple(replace(flow, job=pipeline.job) for flow in said.flows)
    return pipeline.source, Understood(said.key, (replace(report, job=pipeline.job),), flows)
