"""The Prometheus exposition: a fragment of text per table, assembled at the first scrape after a change.

A scrape does no I/O: it joins nothing that is already joined and deflates only the few live lines at the end.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.utils import floatToGoString

from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog.metrics import Kind, Metric
from exporter.model import Evaluation, TableSpec
from exporter.publish import series
from exporter.publish.encoding import OPENMETRICS, TEXT, Segment, gzip_member, segment, wants_openmetrics
from exporter.publish.series import Live, Samples, Subject, increments_of, series_bound, series_bounds
from exporter.score import Score
from exporter.store.state import CounterKey, StoredTable

__all__ = ["Publisher", "TableStatus", "increments_of", "series_bound", "series_bounds"]

_LOG = logging.getLogger(__name__)
_SHOWN_BY_SUBJECT = (lb.TABLE, lb.PIPELINE, lb.UPSTREAM)
_SUBJECT_METRICS = tuple(metric for metric in m.all_metrics() if metric.labels and metric.labels[0] in _SHOWN_BY_SUBJECT)
_OWN_METRICS = tuple(metric for metric in m.all_metrics() if metric not in _SUBJECT_METRICS)


# --- text -----------------------------------------------------------------------------------------------------
def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text


def _line(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    shown = ",".join(f'{label}="{_escape(text)}"' for label, text in labels)
    return f"{name}{{{shown}}} {_number(value)}\n" if shown else f"{name} {_number(value)}\n"


def _header(name: str, kind: str, text: str, unit: str, openmetrics: bool) -> bytes:
    """HELP, TYPE and (OpenMetrics) UNIT; `name` is the name of the samples of a counter or an info metric."""
    family, escaped = name, text.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        escaped = escaped.replace('"', r"\"")
        suffix = {"counter": "_total", "info": "_info"}.get(kind, "")
        family = name.removesuffix(suffix)
    elif kind == "info":
        kind = "gauge"
    lines = f"# HELP {family} {escaped}\n# TYPE {family} {kind}\n"
    if openmetrics and unit and family.endswith("_" + unit):
        lines += f"# UNIT {family} {unit}\n"
    return _bytes(lines)


def _metric_header(metric: Metric, openmetrics: bool) -> bytes:
    return _header(metric.name, metric.kind.value, metric.help, metric.unit, openmetrics)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _lines(metric: Metric, samples: Mapping[tuple[str, ...], float]) -> bytes:
    names = metric.label_names
    return _bytes("".join(_line(metric.name, zip(names, values, strict=True), v) for values, v in samples.items()))


def _histogram(metric: Metric, counters: Mapping[CounterKey, float]) -> tuple[bytes, int]:
    """The lines and the number of series of a histogram, from its increments so far."""
    names, lines = metric.label_names, []
    for values in sorted(labels for name, labels in counters if name == metric.name + series.COUNT):
        labels = list(zip(names, values, strict=True))
        for bound in (*metric.buckets, math.inf):
            count = counters.get((metric.name + series.BUCKET, (*values, repr(bound))), 0.0)
            lines.append(_line(metric.name + series.BUCKET, [*labels, ("le", _number(bound))], count))
        lines.append(_line(metric.name + series.SUM, labels, counters.get((metric.name + series.SUM, values), 0.0)))
        lines.append(_line(metric.name + series.COUNT, labels, counters[metric.name + series.COUNT, values]))
    return _bytes("".join(lines)), len(lines)


# --- a table's fragment ---------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Fragment:
    lines: Mapping[Metric, bytes]
    series: int


def _table_fragment(table: StoredTable, counters: Mapping[CounterKey, float]) -> _Fragment:
    """The sample lines of a table; a counter of a check that is no longer configured is left out."""
    samples = series.samples_of(table)
    checks = {check.id for check in table.spec.checks}
    for metric in series.TABLE_COUNTERS:
        values = series.runs_at_zero(table.spec) if metric is m.CHECK_RUNS else {}
        by_check = metric.labels[1:2] == (lb.CHECK,)
        for (name, labels), value in counters.items():
            if name == metric.name and (not by_check or labels[1] in checks):
                values[labels] = value
        if values:
            samples[metric] = values
    return _fragment(samples, counters)


def _fragment(samples: Samples, counters: Mapping[CounterKey, float]) -> _Fragment:
    """Sample lines by metric, histograms from their increments; they are the same in both formats."""
    lines = {metric: _lines(metric, values) for metric, values in samples.items()}
    count = sum(len(values) for values in samples.values())
    for metric in _SUBJECT_METRICS:
        if metric.kind is Kind.HISTOGRAM:
            text, more = _histogram(metric, counters)
            if more:
                lines[metric], count = text, count + more
    return _Fragment(lines, count)


@dataclass(frozen=True, slots=True)
class TableStatus:
    """The state of a table for people: last results and verdicts by check id, facts, times, and the score."""

    table: StoredTable
    score: Score

    @property
    def spec(self) -> TableSpec:
        """The table as configured."""
        return self.table.spec


@dataclass(slots=True)
class _Page:
    """The assembled part of one format; `packed` is made when gzip is first asked for."""

    generation: int
    body: bytes
    packed: Segment | None = field(default=None)


class Publisher:
    """Holds what is published and renders it. Safe to use from several threads.

    `persist` stores increments of process counters (`Store.add`). `live` gives the scheduler's gauges; it is asked at
    each scrape and must not block.
    """

    def __init__(
        self,
        *,
        persist: Callable[[Mapping[CounterKey, float]], None] | None = None,
        live: Callable[[], Live] | None = None,
    ) -> None:
        self._persist = persist
        self.live = live
        self._lock = threading.RLock()
        self._assembling = threading.Lock()
        self._tables: dict[str, StoredTable] = {}
        self._fragments: dict[Subject, _Fragment] = {}
        self._counters: dict[Subject | None, dict[CounterKey, float]] = {None: {}}
        self._unsaved: dict[CounterKey, float] = {}
        self._gauges: dict[tuple[Metric, tuple[str, ...]], float] = {}
        self._generation = 0
        self._pages: dict[bool, _Page] = {}
        registry = CollectorRegistry()
        self._process = (
            ProcessCollector(registry=None),
            PlatformCollector(registry=registry),
            GCCollector(registry=registry),
        )

    # --- what happens ---
    def restore(self, stored: Iterable[StoredTable], counters: Mapping[CounterKey, float]) -> None:
        """Replaces everything by what the store holds; called once, at the start."""
        with self._lock:
            self._tables = {table.spec.name: table for table in stored}
            self._counters = {None: {}}
            self._count(counters)
            self._render_all()

    def reconfigure(self, specs: Sequence[TableSpec]) -> None:
        """Takes a new configuration; tables and checks that stay keep their state, the order is that of `specs`."""
        with self._lock:
            self._tables = {
                spec.name: self._tables.get(spec.name, StoredTable(spec)).configured(spec) for spec in specs
            }
            self._render_all()

    def publish(self, evaluation: Evaluation, increments: Mapping[CounterKey, float]) -> None:
        """Shows an evaluation and its increments; call it after they are stored, so that counters never go back."""
        with self._lock:
            self._count(increments)
            name = evaluation.table.name
            before = self._tables.get(name)
            if before and before.spec.place == evaluation.table.place:  # else it was removed or moved while it ran
                self._tables[name] = before.after(evaluation).configured(before.spec)
                self._render(name)

    def show(self, subject: Subject, samples: Samples | None, at_zero: Mapping[CounterKey, float] = {}) -> None:
        """Shows series of a pipeline or another part of the page beside its counters; `None` takes them away. Counters begin `at_zero`."""
        with self._lock:
            if samples is None:
                self._fragments.pop(subject, None)
            else:
                counters = {**at_zero, **self._counters.get(subject, {})}
                counted: Samples = {}
                for metric in _SUBJECT_METRICS:
                    if metric.kind is Kind.COUNTER and subject[0] == metric.labels[0].name:
                        values = {labels: value for (name, labels), value in counters.items() if name == metric.name}
                        counted |= {metric: values} if values else {}
                self._fragments[subject] = _fragment({**samples, **counted}, counters)
            self._generation += 1

    def add(self, increments: Mapping[CounterKey, float]) -> None:
        """Adds to counters that are stored already; those of a pipeline are seen when it is shown next."""
        with self._lock:
            self._count(increments)

    def score_after(self, evaluation: Evaluation) -> Score | None:
        """The score that a table will have once the evaluation is published; None when it is no longer configured."""
        with self._lock:
            before = self._tables.get(evaluation.table.name)
        return series.score_of(before.after(evaluation).configured(before.spec)) if before else None

    def count(self, metric: Metric, label_values: tuple[str, ...] = (), by: float = 1) -> None:
        """Adds to a counter of the process, at once; it is stored too, later if the store fails now."""
        increment = {(metric.name, label_values): float(by)}
        with self._lock:
            self._count(increment)
            for key, amount in increment.items():
                self._unsaved[key] = self._unsaved.get(key, 0.0) + amount
            owed, self._unsaved = self._unsaved, {}
        if self._persist is None:
            return
        try:
            self._persist(owed)
        except Exception as error:
            _LOG.warning("counters were not stored and will be with the next: %s", error)
            with self._lock:
                for key, amount in owed.items():
                    self._unsaved[key] = self._unsaved.get(key, 0.0) + amount

    def set(self, metric: Metric, value: float | None, labels: tuple[str, ...] = ()) -> None:
        """Sets a gauge or info metric of the process; None removes it."""
        with self._lock:
            if value is None:
                self._gauges.pop((metric, labels), None)
            else:
                self._gauges[metric, labels] = float(value)

    def state(self) -> list[TableStatus]:
        """The state of every configured table, in the order of the configuration."""
        with self._lock:
            tables = list(self._tables.values())
        return [TableStatus(table, series.score_of(table)) for table in tables]

    # --- scrape ---
    def render(self, accept: str = "", gzip: bool = False) -> tuple[bytes, str, str | None]:
        """The page: body, content type, and content encoding if it is compressed."""
        openmetrics = wants_openmetrics(accept)
        page = self._assembled(openmetrics, gzip)
        tail = self._tail(openmetrics)
        content_type = OPENMETRICS if openmetrics else TEXT
        if gzip and page.packed is not None:
            return gzip_member(page.packed, tail), content_type, "gzip"
        return page.body + tail, content_type, None

    def _assembled(self, openmetrics: bool, gzip: bool) -> _Page:
        with self._assembling:
            with self._lock:
                generation, fragments = self._generation, list(self._fragments.values())
            page = self._pages.get(openmetrics)
            if page is None or page.generation != generation:
                page = _Page(generation, b"".join(_joined(fragments, openmetrics)))
                self._pages[openmetrics] = page
                self.set(m.SERIES, sum(fragment.series for fragment in fragments))
            if gzip and page.packed is None:
                page.packed = segment(page.body)
            return page

    def _tail(self, openmetrics: bool) -> bytes:
        with self._lock:
            values = {**self._gauges}
            counters = dict(self._counters[None])
        try:
            values |= self.live() if self.live else {}
        except Exception:
            _LOG.exception("the live gauges could not be read")
        parts = []
        for metric in _OWN_METRICS:
            if metric.kind is Kind.COUNTER:
                samples = dict.fromkeys(_closed_values(metric), 0.0)
                samples |= {labels: value for (name, labels), value in counters.items() if name == metric.name}
            else:
                samples = {labels: value for (known, labels), value in values.items() if known == metric}
            if samples:
                parts += [_metric_header(metric, openmetrics), _lines(metric, samples)]
        parts += self._process_lines(openmetrics)
        return b"".join([*parts, b"# EOF\n"] if openmetrics else parts)

    def _process_lines(self, openmetrics: bool) -> Iterator[bytes]:
        for collector in self._process:
            for family in collector.collect():
                if family.samples:
                    name = family.name + ("_total" if family.type == "counter" else "")
                    yield _header(name, family.type, family.documentation, family.unit, openmetrics)
                    yield _bytes("".join(_line(s.name, s.labels.items(), s.value) for s in family.samples))

    # --- under the lock ---
    def _count(self, increments: Mapping[CounterKey, float]) -> None:
        for key, by in increments.items():
            counters = self._counters.setdefault(series.subject_of(key), {})
            counters[key] = counters.get(key, 0.0) + by

    def _render(self, name: str) -> None:
        subject = (lb.TABLE.name, name)
        self._fragments[subject] = _table_fragment(self._tables[name], self._counters.get(subject, {}))
        self._generation += 1

    def _render_all(self) -> None:
        others = {subject: fragment for subject, fragment in self._fragments.items() if subject[0] != lb.TABLE.name}
        self._fragments = {}
        for name in self._tables:
            self._render(name)
        self._fragments |= others
        self._generation += 1


def _joined(fragments: Sequence[_Fragment], openmetrics: bool) -> Iterator[bytes]:
    for metric in _SUBJECT_METRICS:
        lines = [fragment.lines[metric] for fragment in fragments if metric in fragment.lines]
        if lines:
            yield _metric_header(metric, openmetrics)
            yield from lines


def _closed_values(metric: Metric) -> list[tuple[str, ...]]:
    """Every combination of a metric's label values; none when users choose some."""
    combinations: list[tuple[str, ...]] = [()]
    for label in metric.labels:
        combinations = [(*before, value.value) for before in combinations for value in label.values or ()]
    return combinations
