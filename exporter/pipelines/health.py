"""How a pipeline is doing, from its runs: success rate, duration, deadlines, retries, backlog, resources, cost; pure.

Counted are chains of runs (a run with its automatic retries), each by its last verdict. Durations are those of successful
runs. Cancelled runs count for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from statistics import median

from exporter.catalog.labels import Resource
from exporter.pipelines.run import PipelineRun, RunState
from exporter.pipelines.spec import Cost, PipelineSpec, Sla

DAY, MONTH = timedelta(hours=24), timedelta(days=30)
MEDIAN_OF = 30
"""The median is that of so many last successful runs within 30 days."""
LEAST = 5
"""Below so many runs there is no median."""
_CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True)
class Past:
    """The runs of a pipeline that its health needs.

    `recent` ended within the last 24 hours or since the day began, whichever is more; `open_runs` are queued or running; `durations` of the last
    successful runs within 30 days are in seconds, newest first. `for_sla` are successful runs that may count for a deadline.
    """

    recent: Sequence[PipelineRun] = ()
    open_runs: Sequence[PipelineRun] = ()
    durations: Sequence[float] = ()
    last: PipelineRun | None = None
    last_success: PipelineRun | None = None
    last_failure: PipelineRun | None = None
    month_seconds: float = 0.0
    month_usd: float | None = None
    for_sla: Sequence[PipelineRun] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """The time about which everything is known of a pipeline."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Deadline:
    """Where a pipeline stands with its deadline. `at` is the one that is next, or that passed unmet.

    `is_breached` is None while it cannot be known, as the source was not asked since. `is_at_risk` is about the next one, None while
    the median is unknown.
    """

    at: datetime
    is_breached: bool | None
    is_at_risk: bool | None
    is_met: bool = False


@dataclass(frozen=True)
class Health:
    """What is published and shown of a pipeline; None where it is unknown. Durations in seconds, cost in US dollars."""

    spec: PipelineSpec
    state: RunState | None = None
    newest: PipelineRun | None = None
    last: PipelineRun | None = None
    last_success: PipelineRun | None = None
    last_failure: PipelineRun | None = None
    runs: int = 0
    successes: int = 0
    retried: int = 0
    median: float | None = None
    running: PipelineRun | None = None
    queued: int = 0
    queue_delay: float | None = None
    resources: Mapping[Resource, float] = field(default_factory=dict)
    deadline: Deadline | None = None
    cost_today: float | None = None
    cost_month: float | None = None
    is_paused: bool = False

    @property
    def success_rate(self) -> float | None:
        """Share of the last 24 hours' runs that succeeded; None without runs."""
        return self.successes / self.runs if self.runs else None

    @property
    def is_slow(self) -> bool:
        """True when the last run took more than twice the median."""
        took = self.last.duration if self.last else None
        return bool(self.median and took and took.total_seconds() > 2 * self.median)

    def runs_too_long(self, now: datetime) -> bool:
        """True while the oldest running run takes more than twice the median."""
        started = self.running.started_at if self.running else None
        return bool(self.median and started and (now - started).total_seconds() > 2 * self.median)


def health(spec: PipelineSpec, past: Past, now: datetime, known: Span, is_paused: bool = False) -> Health:
    """The health at `now`, when the runs within `known` are known."""
    running = [run for run in past.open_runs if run.state is RunState.RUNNING]
    queued = [run for run in past.open_runs if run.state is RunState.QUEUED]
    chains = _chains(run for run in past.recent if now - DAY <= _ended(run, now) <= now)
    newest = max((*past.open_runs, *([past.last] if past.last else [])), key=_began, default=None)
    started = max((run for run in (*running, *([past.last] if past.last else [])) if run.queue_delay is not None), key=_began, default=None)
    middle = median(past.durations[:MEDIAN_OF]) if len(past.durations) >= LEAST else None
    oldest = min(running, key=lambda run: run.started_at or run.at, default=None)
    return Health(
        spec,
        state=newest.state if newest else None,
        newest=newest,
        last=past.last,
        last_success=past.last_success,
        last_failure=past.last_failure,
        runs=len(chains),
        successes=sum(chain[-1].state is RunState.SUCCESS for chain in chains),
        retried=sum(chain[-1].state is RunState.SUCCESS and is_retried(chain) for chain in chains),
        median=middle,
        running=oldest,
        queued=0 if is_paused else len(queued),
        queue_delay=started.queue_delay.total_seconds() if started and started.queue_delay is not None else None,
        resources=_resources(running, past.last),
        deadline=deadline(spec.sla, past, now, known, middle) if spec.sla else None,
        cost_today=_cost_today(spec.cost, past, now) if spec.cost else _told(past, now),
        cost_month=_cost_month(spec.cost, past, now),
        is_paused=is_paused,
    )


def is_retried(chain: Sequence[PipelineRun]) -> bool:
    """True when a chain needed an automatic retry."""
    return len(chain) > 1 or any(run.retries > 0 for run in chain)


def _chains(runs: Iterable[PipelineRun]) -> list[list[PipelineRun]]:
    """The chains that ended in a verdict, each oldest first."""
    found: dict[str, list[PipelineRun]] = {}
    for run in sorted(runs, key=lambda run: (run.ended_at or run.at, run.ordinal)):
        found.setdefault(run.chain, []).append(run)
    return [chain for chain in found.values() if chain[-1].state.is_verdict]


def to_count(runs: Iterable[PipelineRun]) -> tuple[list[tuple[PipelineRun, bool]], list[PipelineRun]]:
    """Of whole chains: verdicts that go into the counters now, each with whether it was retried; and all runs that are done with.

    A chain counts once, by its newest attempt, when that has ended; an attempt that was counted before stays counted.
    """
    chains: dict[tuple[str, str, str], list[PipelineRun]] = {}
    for run in sorted(runs, key=lambda run: (_began(run), run.ordinal)):
        chains.setdefault((run.source, run.job, run.chain), []).append(run)
    counted, settled = [], []
    for chain in chains.values():
        newest = chain[-1]
        if not newest.state.is_terminal:
            continue
        settled += [run for run in chain if not run.is_counted]
        if newest.state.is_verdict and not newest.is_counted:
            counted.append((newest, is_retried(chain)))
    return counted, settled


def _ended(run: PipelineRun, now: datetime) -> datetime:
    """When a run ended; a source whose clock is a little ahead does not put it into the future."""
    ended = run.ended_at or run.at
    return min(ended, now) if ended - now <= _CLOCKS_DIFFER else ended


def _began(run: PipelineRun) -> datetime:
    return run.started_at or run.queued_at or run.at


def _resources(running: Sequence[PipelineRun], last: PipelineRun | None) -> Mapping[Resource, float]:
    newest = max((run for run in (*running, *([last] if last else [])) if run.resources), key=_began, default=None)
    return newest.resources if newest else {}


# --- deadlines ------------------------------------------------------------------------------------------------
def counts_for(run: PipelineRun, at: datetime, sla: Sla) -> bool:
    """True when a successful run counts for the deadline `at`: it started at most the window before it."""
    return run.state is RunState.SUCCESS and _began(run) >= at - sla.window


def was_met(sla: Sla, at: datetime, successes: Iterable[PipelineRun]) -> bool:
    """True when a run that counts had succeeded by the deadline."""
    return any(counts_for(run, at, sla) and run.ended_at is not None and run.ended_at <= at for run in successes)


def deadline(sla: Sla, past: Past, now: datetime, known: Span, middle: float | None) -> Deadline | None:
    """The deadline that passed unmet, until a run that counts for it succeeds or the next one passes; else the next one."""
    last, upcoming = sla.last_until(now), sla.next_after(now)
    is_late = None
    if upcoming is not None:
        is_met = any(counts_for(run, upcoming, sla) for run in past.for_sla)
        is_late = False if is_met else None if middle is None else _is_late(sla, upcoming, past.open_runs, now, middle)
    if last is not None and last >= known.since and not any(counts_for(run, last, sla) for run in past.for_sla):
        return Deadline(last, True if known.until >= last else None, is_late)
    return Deadline(upcoming, False, is_late, is_met) if upcoming is not None else None


def _is_late(sla: Sla, at: datetime, open_runs: Sequence[PipelineRun], now: datetime, middle: float) -> bool:
    """True when a run that takes as long as the median ends after the deadline: the one that runs, else one that would start now."""
    usual = timedelta(seconds=middle)
    ends = [
        max(run.started_at + usual, now) for run in open_runs
        if run.state is RunState.RUNNING and run.started_at is not None and run.started_at >= at - sla.window
    ]  # fmt: skip
    return min(ends, default=now + usual) > at


# --- cost -----------------------------------------------------------------------------------------------------
def day_start(cost: Cost | None, now: datetime) -> datetime:
    """Midnight before `now` in the zone of the cost."""
    zone = (cost or Cost()).timezone
    return datetime.combine(now.astimezone(zone).date(), time(), zone).astimezone(now.tzinfo)


def _cost_today(cost: Cost, past: Past, now: datetime) -> float | None:
    start = day_start(cost, now)
    runs = {run.key: run for run in (*past.recent, *past.open_runs)}.values()
    costs = [_cost_of(run, cost, start, now) for run in runs]
    known = [amount for amount in costs if amount is not None]
    return sum(known) if known else (0.0 if cost.usd_per_hour is not None else None)


def _cost_of(run: PipelineRun, cost: Cost, start: datetime, now: datetime) -> float | None:
    """What a run cost since `start`: as it told, else its hours times the price."""
    if run.cost_usd is not None:
        return run.cost_usd if (run.ended_at or now) >= start else 0.0
    if cost.usd_per_hour is None or run.started_at is None:
        return None
    seconds = ((run.ended_at or now) - max(run.started_at, start)).total_seconds()
    return max(0.0, seconds) / 3600 * cost.usd_per_hour


def _told(past: Past, now: datetime) -> float | None:
    """What runs of today said that they cost, where no price is configured."""
    told = [run.cost_usd for run in past.recent if run.cost_usd is not None and (run.ended_at or now) >= day_start(None, now)]
    return sum(told) if told else None


def _cost_month(cost: Cost | None, past: Past, now: datetime) -> float | None:
    price = cost.usd_per_hour if cost else None
    if price is None:
        return past.month_usd
    running = sum((now - run.started_at).total_seconds() for run in past.open_runs if run.started_at and run.state is RunState.RUNNING)
    return (past.month_seconds + max(0.0, running)) / 3600 * price + (past.month_usd or 0.0)
