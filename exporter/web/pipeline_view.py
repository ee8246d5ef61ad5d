"""What the pages of pipelines show: the list worst first, and one pipeline with its runs against the median and the deadline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from exporter.catalog.labels import Severity
from exporter.collect import Collectors
from exporter.pipelines.health import Health
from exporter.pipelines.lineage import Kind, Node
from exporter.pipelines.run import PipelineRun, RunState
from exporter.pipelines.spec import PipelineSpec
from exporter.units import format_duration
from exporter.web.context import Context, owner_of, trouble

WIDTH, HEIGHT = 720, 150
_BASE = HEIGHT - 18
_SLOW = 2
_RATE = 0.95
_SEVERITIES = tuple(Severity)


class PipelineStanding(StrEnum):
    """How a pipeline stands, worst first; the names of the colours are those of tables."""

    FAIL = "fail"
    ERROR = "error"
    WARN = "warn"
    NEVER = "never"
    PASS = "pass"  # noqa: S105 - an outcome


_RANK = {standing: place for place, standing in enumerate(PipelineStanding)}
WORDS = {
    PipelineStanding.FAIL: "failed",
    PipelineStanding.ERROR: "not known",
    PipelineStanding.WARN: "needs a look",
    PipelineStanding.NEVER: "no run yet",
    PipelineStanding.PASS: "fine",
}


@dataclass(frozen=True)
class PipelineRow:
    """A pipeline in the list: how it stands, what is wrong in words, and its numbers."""

    spec: PipelineSpec
    health: Health
    standing: PipelineStanding
    messages: tuple[str, ...]
    owner: str

    @property
    def word(self) -> str:
        """Its standing in words."""
        if self.standing is PipelineStanding.FAIL and self.health.state is not RunState.FAILED:
            return "late"
        return WORDS[self.standing]

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts the worst first."""
        return _RANK[self.standing], _SEVERITIES.index(self.spec.severity), self.spec.name


@dataclass(frozen=True, slots=True)
class Bar:
    """One run in the picture: where it stands, how high, and what it was."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True)
class Timeline:
    """Durations of runs, oldest left; `median` and `twice` are heights of lines, None while there is no median."""

    bars: tuple[Bar, ...]
    median: float | None
    twice: float | None
    top: str
    first: str
    last: str


@dataclass(frozen=True)
class PipelinePage:
    """Everything on the page of one pipeline."""

    row: PipelineRow
    runs: Sequence[PipelineRun]
    timeline: Timeline | None
    because: str | None
    upstream: tuple[Node, ...]
    downstream: tuple[Node, ...]
    source_error: str | None


def pipeline_rows(collectors: Collectors, context: Context, now: datetime) -> list[PipelineRow]:
    """All watched pipelines, worst first."""
    health = collectors.keeper.health
    return sorted((_row(health.get(spec.name, Health(spec)), collectors, now) for spec in collectors.watched.pipelines), key=lambda row: row.order)


def _row(health: Health, collectors: Collectors, now: datetime) -> PipelineRow:
    standing, messages = _judged(health, now)
    loop = collectors.loops.get(health.spec.source)
    if loop is not None and loop.error is not None:
        messages = (*messages, f"source {health.spec.source} is not reached: {loop.error}")
        standing = standing if standing is PipelineStanding.FAIL else PipelineStanding.ERROR
    return PipelineRow(health.spec, health, standing, messages, owner_of(health))


def _judged(health: Health, now: datetime) -> tuple[PipelineStanding, tuple[str, ...]]:
    said: list[tuple[PipelineStanding, str]] = []
    if health.state is RunState.FAILED:
        said.append((PipelineStanding.FAIL, trouble(health)))
    deadline = health.deadline
    if deadline is not None and deadline.is_breached:
        said.append((PipelineStanding.FAIL, f"deadline of {_stamp(deadline.at)} was missed"))
    if deadline is not None and deadline.is_breached is None:
        said.append((PipelineStanding.ERROR, f"whether the deadline of {_stamp(deadline.at)} was met is not known: the source was not asked since"))
    if deadline is not None and deadline.is_at_risk:
        said.append((PipelineStanding.WARN, "the next deadline is at risk: a run takes longer than is left"))
    if health.runs_too_long(now) and health.running and health.running.started_at:
        said.append((PipelineStanding.WARN, f"runs for {format_duration(now - health.running.started_at)}, usually {_words(health.median)}"))
    if health.is_slow and health.last and health.last.duration is not None:
        said.append((PipelineStanding.WARN, f"the last run took {format_duration(health.last.duration)}, usually {_words(health.median)}"))
    if health.success_rate is not None and health.success_rate < _RATE and health.state is not RunState.FAILED:
        said.append((PipelineStanding.WARN, f"{health.runs - health.successes} of {health.runs} runs failed within 24 hours"))
    if health.queued > 5:
        said.append((PipelineStanding.WARN, f"{health.queued} runs wait in the queue"))
    if health.state is RunState.UNKNOWN:
        said.append((PipelineStanding.ERROR, "the source tells a state that is not known here"))
    budget = health.spec.cost.budget_usd_per_day if health.spec.cost else None
    if budget is not None and health.cost_today is not None and health.cost_today > budget:
        said.append((PipelineStanding.WARN, f"${health.cost_today:,.2f} today, the budget is ${budget:,.2f}"))
    if not said and health.newest is None:
        return PipelineStanding.NEVER, ("no run was seen yet",)
    standing = min((one for one, _ in said), key=_RANK.__getitem__, default=PipelineStanding.PASS)
    return standing, tuple(text for _, text in said)


def _words(seconds: float | None) -> str:
    return format_duration(timedelta(seconds=round(seconds))) if seconds is not None else "unknown"


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def pipeline_page(spec: PipelineSpec, runs: Sequence[PipelineRun], collectors: Collectors, context: Context, now: datetime) -> PipelinePage:
    """The page of one pipeline; `runs` are its last ones, newest first."""
    row = _row(collectors.keeper.health.get(spec.name, Health(spec)), collectors, now)
    node, lineage = Node(Kind.PIPELINE, spec.name), collectors.keeper.lineage
    loop = collectors.loops.get(spec.source)
    return PipelinePage(
        row, runs, timeline(runs, row.health.median, now), context.because(node),
        tuple(lineage.upstream(node))[:50], tuple(lineage.downstream(node))[:50], loop.error if loop else None,
    )  # fmt: skip


def timeline(runs: Sequence[PipelineRun], median: float | None, now: datetime) -> Timeline | None:
    """The picture of some runs, newest first; None without any that started."""
    started = [run for run in reversed(runs) if run.started_at is not None]
    if not started:
        return None
    seconds = [_seconds(run, now) for run in started]
    highest = max(*seconds, (median or 0) * _SLOW * 1.1, 1.0)
    step = WIDTH / max(len(started), 20)

    def y(value: float) -> float:
        return round(_BASE - (_BASE - 6) * value / highest, 1)

    bars = tuple(
        Bar(round(place * step + 1, 1), y(took), round(step - 2, 1), round(max(2.0, _BASE - y(took)), 1), _kind(run), _title(run, took))
        for place, (run, took) in enumerate(zip(started, seconds, strict=True))
    )
    first, last = started[0].started_at, started[-1].started_at
    assert first is not None and last is not None
    return Timeline(bars, y(median) if median else None, y(median * _SLOW) if median else None, _words(highest), _stamp(first), _stamp(last))


def _seconds(run: PipelineRun, now: datetime) -> float:
    if run.duration is not None:
        return run.duration.total_seconds()
    return max(0.0, (now - run.started_at).total_seconds()) if run.started_at else 0.0


def _kind(run: PipelineRun) -> str:
    return {RunState.SUCCESS: "pass", RunState.FAILED: "fail", RunState.RUNNING: "warn"}.get(run.state, "idle")


def _title(run: PipelineRun, took: float) -> str:
    when = _stamp(run.started_at) if run.started_at else ""
    retried = f", {run.retries} {'retry' if run.retries == 1 else 'retries'}" if run.retries else ""
    return f"{run.run_id}: {run.state.value} after {_words(took)}{retried}, started {when}" + (f": {run.error.error_class}" if run.error else "")
