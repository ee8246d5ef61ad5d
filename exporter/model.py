"""What passes between the layers: frozen, hashable, picklable, and without I/O.

The way of one result: `TableSpec` and its `CheckSpec`s → `Measurement`s → `Value`s or `Failure`s → `Verdict`
→ `CheckResult` → `Evaluation`, which is stored in one transaction and then published.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Protocol
from zoneinfo import ZoneInfo

from exporter.catalog.labels import Bound, Dimension, Engine, Outcome, Severity, TableFormat, Tier
from exporter.catalog.metrics import Metric
from exporter.expression import Expression, Query
from exporter.timetable import Schedule

Json = dict[str, Any]


class Reason(StrEnum):
    """Short stable tokens that say why there is no verdict."""

    TABLE_NOT_FOUND = "table_not_found"
    COLUMN_NOT_FOUND = "column_not_found"
    TYPE = "type"
    EMPTY = "empty"
    NO_VALUES = "no_values"
    NO_ROWS = "no_rows"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    PERMISSION = "permission"
    CORRUPT = "corrupt"
    OVERFLOW = "overflow"
    ARITHMETIC = "arithmetic"
    CAST = "cast"
    MEMORY = "memory"
    ENGINE = "engine"
    ENGINE_LOST = "engine_lost"
    SPARK_UNAVAILABLE = "spark_unavailable"
    UNSUPPORTED = "unsupported"
    CONNECTION = "connection"
    PARENT_EMPTY = "parent_empty"
    NOT_PARTITIONED = "not_partitioned"
    RESULT = "result"
    HISTORY = "history"
    NOT_DUE = "not_due"
    UNCHANGED = "unchanged"
    EXPRESSION = "expression"
    INTERNAL = "internal"


class Measure(StrEnum):
    """Kinds of measurement; each engine states which it can answer."""

    ROWS = "rows"
    COUNT_WHERE = "count_where"
    MIN = "min"
    MAX = "max"
    SUM = "sum"
    AVG = "avg"
    STDDEV = "stddev"
    DUPLICATES = "duplicates"
    ORPHANS = "orphans"
    SCHEMA = "schema"
    COMMIT = "commit"
    COMMITS = "commits"
    PARTITIONS = "partitions"
    BUCKETS = "buckets"
    VALUES = "values"
    QUANTILES = "quantiles"
    OVERLAP = "overlap"
    QUERY = "query"
    RUN = "run"

    @property
    def is_aggregate(self) -> bool:
        """True when it fits into the one aggregate that is shared by all checks of a table."""
        return self in _AGGREGATES


_AGGREGATES = frozenset(
    {Measure.ROWS, Measure.COUNT_WHERE, Measure.MIN, Measure.MAX, Measure.SUM, Measure.AVG, Measure.STDDEV}
)


class Nulls(StrEnum):
    """How null keys count for uniqueness."""

    IGNORE = "ignore"
    EQUAL = "equal"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `type` is Spark's simple string, for example `decimal(12,2)` or `struct<a:int>`."""

    name: str
    type: str
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Rows that share their key with another row, and the number of such keys."""

    rows: int
    keys: int


@dataclass(frozen=True, slots=True)
class Orphans:
    """Rows and distinct keys without a parent; `parent_empty` is True when there is no parent at all."""

    rows: int
    keys: int
    parent_empty: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """The last commit that changed data: table version and time (UTC)."""

    version: int
    at: datetime


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """What one commit did. `at` is in UTC; `operation` is Delta's, with `mode` for a WRITE.

    `added` and `removed` are rows of the files that came and went, None when the log does not say; `partitions` are
    those that got files with their rows, as `column=value/…` with percent-encoded values ("" for an unpartitioned table).
    `data` is False for maintenance. `tag` is what the writer says identifies its run or batch, None when it says nothing.
    `cleared` are the partitions that lost files. `ranges` are bounds (perhaps loose) of the values that came, by column, where the log has them for all files.
    """

    version: int
    at: datetime
    operation: str
    mode: str = ""
    data: bool = True
    added: int | None = None
    removed: int | None = None
    partitions: Mapping[str, int | None] = field(default_factory=dict, hash=False)
    tag: str | None = None
    ranges: Mapping[str, tuple[float, float] | tuple[str, str]] = field(default_factory=dict, hash=False)
    cleared: frozenset[str] = frozenset()

    @property
    def appends(self) -> bool:
        """True for a commit that only added rows to what was there."""
        return self.data and self.operation in ("WRITE", "STREAMING UPDATE", "COPY INTO") and self.mode != "Overwrite" and not self.removed


SEPARATOR = "\x1f"
"""Stands between the two values that a count is of."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows by value of a column as text, in no order; times are ISO 8601, with an offset where they are instants."""

    rows: Mapping[str, int] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Keys that a load brought, and how many of them were there before it."""

    keys: int
    known: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a measurement has no value. A failure is data: it never raises."""

    reason: Reason
    message: str


Value = (
    None | bool | int | float | Decimal | str | date | datetime | Duplicates | Orphans | Commit | Counts | Overlap
    | tuple[Column, ...] | tuple[str, ...] | tuple[float, ...] | tuple[CommitInfo, ...]
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What to measure: engine-neutral data; equal measurements are made once.

    `columns` are written as in the configuration (`a.b` may be a column of that name or a nested field).
    `where` restricts the rows. `timezone` is the zone of a naive time column, so that MIN and MAX are instants. `of` names another configured table that is measured instead of the check's own.
    `target` and `target_columns` name the parent of ORPHANS. BUCKETS counts the rows from `since` on by value of a
    column, times in slots of `slot` seconds; with a second column also by its values `among` the given ones, joined to the
    first with `SEPARATOR`. COMMITS lists those from `since` on. VALUES counts the `limit` most
    frequent values. QUANTILES takes `quantiles` of a number, or of the seconds from the first of two times to the
    second. OVERLAP compares the keys of the `versions` before and after a load. RUN is
    the end of the last successful run that wrote the table.
    """

    kind: Measure
    columns: tuple[str, ...] = ()
    where: Expression | None = None
    nulls: Nulls = Nulls.IGNORE
    timezone: str | None = None
    query: Query | None = None
    of: str | None = None
    target: str | None = None
    target_columns: tuple[str, ...] = ()
    since: datetime | None = None
    slot: int = 0
    limit: int = 0
    among: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()
    versions: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """What a check saw from `since` until `at`; `version` is the table version or None where there is none."""

    at: datetime
    version: int | None
    seen: Mapping[str, Value]
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class History:
    """What one check may know of its past.

    `points` are what it saw before, oldest first, for a check with a `history`; the present one is never among them.
    `memory` is what its last verdict asked to be kept, None at first. `version` is the table's present one, None
    where it has none. `feedback` is what people said of its
    buckets: `expected` or `bad`, by bucket as text.
    """

    points: Sequence[Point] = ()
    memory: Json | None = None
    version: int | None = None
    feedback: Mapping[str, str] = field(default_factory=dict)


NO_HISTORY = History()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check says of what it saw.

    `value` is in `unit` (`rows`, `ratio`, `seconds`, `columns`, `partitions`, or "" for a plain number).
    `bounds` are the thresholds in the same unit. `gauges` are further values that the check publishes for its
    table, keyed by catalogue metric and the values of the labels after `table` (and `check`). `memory`, unless None, is kept
    and given back as `History.memory`; JSON values only.
    """

    outcome: Outcome
    message: str
    reason: Reason | None = None
    value: float | int | None = None
    unit: str = ""
    threshold: str | None = None
    bounds: Mapping[Bound, float] = field(default_factory=dict)
    evaluated_rows: int | None = None
    failed_rows: int | None = None
    gauges: Mapping[tuple[Metric, tuple[str, ...]], float] = field(default_factory=dict)
    memory: Json | None = field(default=None, compare=False, repr=False)


class Check(Protocol):
    """One configured rule; one file in `checks/` per type. Neither method does I/O nor reads a clock."""

    type: ClassVar[str]
    dimension: ClassVar[Dimension]
    history: ClassVar[timedelta]
    """How far back `judge` looks at what was seen; zero when it needs no points."""
    learns: ClassVar[bool]
    """True when it keeps a memory and listens to feedback."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns the check is about, as written."""

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        """What the check wants to see, by a name of its own."""

    def follow_up(self, seen: Mapping[str, Value], past: History, now: datetime) -> Mapping[str, Measurement]:
        """What else it wants after a first look; nothing for most checks."""

    def judge(self, seen: Mapping[str, Value | Failure], past: History, now: datetime) -> Verdict:
        """The verdict on what was seen; `now` is aware."""


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table as configured, after defaults and secrets are resolved (secret values live in `storage` and `jdbc`)."""

    name: str
    format: TableFormat
    path: str | None = None
    identifier: str | None = None
    jdbc: Mapping[str, str] = field(default_factory=dict, repr=False)
    storage: Mapping[str, str] = field(default_factory=dict, repr=False)
    filter: Expression | None = None
    time_column: str | None = None
    timezone: ZoneInfo = ZoneInfo("UTC")
    owner: str = ""
    team: str = ""
    severity: Severity = Severity.HIGH
    runbook: str = ""
    engine: Engine | None = None
    weights: Mapping[Dimension, float] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()
    """Names under which sources of lineage know it."""
    checks: tuple[CheckSpec, ...] = ()

    @property
    def place(self) -> str:
        """Where the rows are; never a secret."""
        return json.dumps([self.format.value, self.path, self.identifier, *(self.jdbc.get(key) for key in ("url", "dbtable", "query"))])


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """A check with what it inherits from its table and the defaults. `id` is unique within the table.

    `fingerprint` changes with whatever the verdict depends on: the rule, its parameters, and which rows it is about.
    """

    id: str
    check: Check
    severity: Severity
    team: str
    owner: str
    runbook: str
    suggested_action: str
    schedule: Schedule
    timeout: timedelta
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One run of one check."""

    spec: CheckSpec
    verdict: Verdict
    tier: Tier | None
    at: datetime
    seen: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What metadata says of the pinned version; None where the format does not say it exactly."""

    version: int | None = None
    rows: int | None = None
    bytes: int | None = None
    files: int | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """What one engine was made to read: files, their bytes and rows, and the statements or Spark jobs run."""

    engine: Engine
    files: int = 0
    bytes: int = 0
    rows: int = 0
    jobs: int = 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of a table: everything that is stored, published and logged of it. Durations in seconds."""

    run_id: str
    table: TableSpec
    started_at: datetime
    duration: float
    facts: TableFacts
    results: tuple[CheckResult, ...]
    engine: Engine | None = None
    tier_seconds: Mapping[Tier, float] = field(default_factory=dict)
    scans: tuple[Scan, ...] = ()
    timed_out: bool = False
