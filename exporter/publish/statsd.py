"""A mirror of the results as DogStatsD gauges, counters and histograms, under the names of the first design.

Datagrams are sent without waiting, over UDP or a unix socket; what the socket does not take at once is dropped and counted, so
that a slow or absent agent never holds up an evaluation.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog.labels import Label, Outcome, Window
from exporter.catalog.metrics import Metric
from exporter.model import Evaluation
from exporter.score import Score

Samples = Mapping[Metric, Mapping[tuple[str, ...], float]]
UDP_BYTES, UNIX_BYTES = 1432, 8192
"""Most bytes of one datagram: an Ethernet frame, and what the agent reads from its socket."""
_UNSAFE = re.compile(r"[|#,\n\r]")


_ADDRESS = re.compile(r"udp://([^/:]+|\[[0-9a-fA-F:]+\]):(\d+)|unix://(/.+)")


@dataclass(frozen=True)
class Mirrored:
    """How a metric is called on the other side; `name` may hold a label's value, `of` says what becomes of the value."""

    metric: Metric
    name: str
    tags: tuple[Label, ...]
    of: Callable[[float, float], float | None] = lambda value, now: value
    only: Mapping[Label, str] | None = None

    def line(self, values: tuple[str, ...], value: float, now: float) -> str | None:
        """The sample as a gauge, or None when it is not mirrored."""
        labels = dict(zip(self.metric.labels, values, strict=True))
        if any(labels[label] != wanted for label, wanted in (self.only or {}).items()):
            return None
        number = self.of(value, now)
        if number is None:
            return None
        name = self.name.format(**{label.name: text for label, text in labels.items()})
        return f"{name}:{number:.10g}|g{_tags({label.name: labels[label] for label in self.tags})}"


MIRRORED = (
    Mirrored(m.OVERALL_SCORE, "dq.overall_score", (lb.TABLE,), lambda value, now: 100 * value),
    Mirrored(m.SCORE, "dq.{dimension}_score", (lb.TABLE,), lambda value, now: 100 * value),
    Mirrored(m.CHECK_STATUS, "dq.check_status", (lb.TABLE, lb.CHECK)),
    Mirrored(m.FRESHNESS, "data.freshness_hours", (lb.TABLE,), lambda value, now: max(0.0, now - value) / 3600),
    Mirrored(m.TABLE_ROWS, "table.row_count", (lb.TABLE,)),
    Mirrored(m.PIPELINE_STATUS, "pipeline.status", (lb.PIPELINE,), lambda value, now: None if value == 1 else value / 2),  # a running one keeps its last state
    Mirrored(m.PIPELINE_COST, "pipeline.estimated_cost_usd", (lb.PIPELINE,), only={lb.WINDOW: Window.TODAY.value}),
    Mirrored(m.SLA_BREACHED, "pipeline.sla_breached", (lb.PIPELINE,)),
)


def samples_of(evaluation: Evaluation, score: Score | None) -> dict[Metric, dict[tuple[str, ...], float]]:
    """What an evaluation tells of its table, as far as it is mirrored."""
    table = evaluation.table.name
    found: dict[Metric, dict[tuple[str, ...], float]] = {}
    if score is not None and score.dimensions:
        found[m.SCORE] = {(table, dimension.value): part.ratio for dimension, part in score.dimensions.items() if part.ratio is not None}
        if score.ratio is not None:
            found[m.OVERALL_SCORE] = {(table,): score.ratio}
    if evaluation.facts.rows is not None:
        found[m.TABLE_ROWS] = {(table,): evaluation.facts.rows}
    for result in evaluation.results:
        if result.verdict.outcome.is_verdict:
            found.setdefault(m.CHECK_STATUS, {})[table, result.spec.id] = 0 if result.verdict.outcome is Outcome.FAIL else 1
        newest = result.verdict.gauges.get((m.FRESHNESS, ()))
        if newest is not None:
            found[m.FRESHNESS] = {(table,): newest}
    return found


def _tags(tags: Mapping[str, str]) -> str:
    shown = ",".join(f"{name}:{_UNSAFE.sub('_', value)}" for name, value in tags.items() if value)
    return f"|#{shown}" if shown else ""


def gauges(samples: Samples, now: float) -> Iterator[str]:
    """The lines of all samples that are mirrored; `now` in seconds since 1970."""
    for mirrored in MIRRORED:
        for values, value in samples.get(mirrored.metric, {}).items():
            line = mirrored.line(values, value, now)
            if line is not None:
                yield line


def run_lines(pipeline: str, succeeded: bool, seconds: float | None) -> list[str]:
    """A run that ended: one more run, and how long it took where that is known."""
    tags = _tags({"pipeline": pipeline, "status": "success" if succeeded else "failure"})
    return [f"pipeline.runs:1|c{tags}", *([f"pipeline.duration:{seconds:.10g}|h{tags}"] if seconds is not None else [])]


class Statsd:
    """A socket to a DogStatsD agent: `udp://HOST:PORT` or `unix:///PATH`."""

    def __init__(self, address: str) -> None:
        """Raises ValueError for what is no address."""
        match = _ADDRESS.fullmatch(address)
        if not match:
            raise ValueError(f'"{address}" is not an agent: write udp://HOST:PORT or unix:///PATH')
        self._path = match[3]
        self._host = (match[1].strip("[]"), int(match[2])) if match[1] else None
        self._limit = UNIX_BYTES if self._path else UDP_BYTES
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.dropped = 0

    def send(self, lines: Iterable[str]) -> None:
        """Sends lines in as few datagrams as they fit in; never waits and never raises for a network."""
        with self._lock:
            for datagram in packed(lines, self._limit):
                try:
                    self._connected().send(datagram)
                except OSError:
                    self.dropped += datagram.count(b"\n") + 1
                    self._forget()

    def _connected(self) -> socket.socket:
        if self._socket is None:
            if self._path:
                found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                target: object = self._path
            else:
                assert self._host is not None
                family, kind, _, _, target = socket.getaddrinfo(*self._host, type=socket.SOCK_DGRAM)[0]
                found = socket.socket(family, kind)
            found.setblocking(False)
            self._socket = found
            found.connect(target)  # type: ignore[arg-type]
        return self._socket

    def _forget(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Closes the socket."""
        with self._lock:
            self._forget()


def packed(lines: Iterable[str], limit: int) -> Iterator[bytes]:
    """Lines joined to datagrams of at most so many bytes; a longer line is left out."""
    waiting: list[bytes] = []
    size = 0
    for line in lines:
        data = line.encode()
        if len(data) > limit:
            continue
        if waiting and size + 1 + len(data) > limit:
            yield b"\n".join(waiting)
            waiting, size = [], 0
        waiting.append(data)
        size += len(data) + (1 if size else 0)
    if waiting:
        yield b"\n".join(waiting)
