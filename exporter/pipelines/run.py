"""What passes between a source of pipeline runs and the rest: reports of runs, and runs as they are known; frozen, without I/O.

`RunReport` is what a source says of a run at one time. Reports are folded into `PipelineRun`s by `pipelines.state`;
those are stored, judged by `pipelines.health`, and published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from exporter.catalog.labels import Resource


class RunState(StrEnum):
    """Where a run is. `CANCELLED` ended without a verdict (stopped by hand, skipped, vanished); `UNKNOWN` is a state nobody has heard of."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def is_terminal(self) -> bool:
        """True when the run has ended."""
        return self in (RunState.SUCCESS, RunState.FAILED, RunState.CANCELLED)

    @property
    def is_verdict(self) -> bool:
        """True when the run counts for the success rate."""
        return self in (RunState.SUCCESS, RunState.FAILED)


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed: a short class of error (`OutOfMemoryError`), and what was said, without secrets."""

    error_class: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a source says of one run at the time `at` (the source's clock; aware, as all times here).

    `job` is the source's id of the pipeline. `ordinal` counts the attempts under one `run_id` where the source does, else
    None: attempts are then told apart by their times. `chain` is shared by runs that are automatic retries of one another;
    without it each attempt stands for itself. `retries` are automatic retries within the run. `resources` are ratios of
    what was used to what was given. `is_sticky` marks a failure that no later success undoes. `part` names a task of the run that
    the report is about instead of the run itself: `tries` is then the number of its try, and its state is that of the try. `is_inner` marks
    a job that is part of another (a task, a query): it is a pipeline only when it is configured by its id.
    """

    job: str
    run_id: str
    state: RunState
    at: datetime
    ordinal: int | None = None
    chain: str = ""
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    nominal_at: datetime | None = None
    retries: int | None = None
    failed_tasks: int | None = None
    error: RunError | None = None
    url: str = ""
    owner: str = ""
    resources: Mapping[Resource, float] = field(default_factory=dict, hash=False)
    cost_usd: float | None = None
    is_sticky: bool = False
    part: str = ""
    tries: int = 0
    is_inner: bool = False


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """One attempt of a run as it is known. `at` is the source's time of what was heard last; `ordinal` counts from 1.

    `seen_at` and `settled_at` are by our clock: when it was first heard of, and when it first had a verdict or was cancelled.
    `is_counted` is True once it went into the counters, or must never (it ended before its pipeline was first watched).
    """

    source: str
    job: str
    run_id: str
    ordinal: int
    chain: str
    state: RunState
    at: datetime
    seen_at: datetime
    settled_at: datetime | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    nominal_at: datetime | None = None
    retries: int = 0
    failed_tasks: int | None = None
    error: RunError | None = None
    url: str = ""
    owner: str = ""
    resources: Mapping[Resource, float] = field(default_factory=dict, hash=False)
    cost_usd: float | None = None
    is_sticky: bool = False
    is_counted: bool = False

    @property
    def duration(self) -> timedelta | None:
        """Time from start to end; None while it is unknown. Never negative."""
        if self.started_at is None or self.ended_at is None:
            return None
        return max(timedelta(0), self.ended_at - self.started_at)

    @property
    def queue_delay(self) -> timedelta | None:
        """Time from queue to start; None while it is unknown. Never negative."""
        if self.queued_at is None or self.started_at is None:
            return None
        return max(timedelta(0), self.started_at - self.queued_at)

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells it from all other attempts of all runs."""
        return self.source, self.job, self.run_id, self.ordinal

    def counted(self) -> PipelineRun:
        """The same, marked as counted."""
        return replace(self, is_counted=True)
