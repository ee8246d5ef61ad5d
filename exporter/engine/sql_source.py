"""What both engines have in common: one shared aggregate, a job each for the rest, bisecting on failure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

from exporter.catalog.labels import Engine, Tier
from exporter.engine import statements
from exporter.engine.cancel import Cancel
from exporter.engine.plan import Answers, Offer
from exporter.engine.snapshot import EngineError, Snapshot, Unsupported
from exporter.engine.spark_sql import resolve
from exporter.engine.worker import IDLE_OPERATIONS
from exporter.expression import all_of
from exporter.model import (
    SEPARATOR,
    CommitInfo,
    Counts,
    Duplicates,
    Failure,
    Measure,
    Measurement,
    Orphans,
    Overlap,
    Reason,
    Scan,
    Value,
)

_OF_THE_DATA = frozenset(
    {Reason.OVERFLOW, Reason.ARITHMETIC, Reason.CAST, Reason.EXPRESSION, Reason.TYPE, Reason.COLUMN_NOT_FOUND, Reason.INTERNAL}
)
"""Failures that one expression can cause; the others would hit every expression alike."""
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
OTHER = "query:"
"""Stands before the name of another configured table that a query reads."""
_MOST_PARTITIONS = 100_000
Rows = list[dict[str, Any]]


class SqlSource(ABC):
    """Answers measurements with SQL on one engine; `open_other` gives the snapshot of another configured table."""

    engine: Engine | None

    def __init__(self, open_other: Callable[[str], Snapshot]) -> None:
        self.open_other = open_other

    @abstractmethod
    def refusal(self, snapshot: Snapshot) -> str | None:
        """Why this engine reads nothing of the table, or None."""

    @abstractmethod
    def dialect(self, snapshot: Snapshot) -> statements.Dialect:
        """How expressions on the table are written."""

    @abstractmethod
    def query(self, wanted: Measurement, snapshot: Snapshot) -> str:
        """The statement of a `query` check. Raises Unsupported or EngineError."""

    def commits(self, wanted: Measurement, snapshot: Snapshot) -> str:
        """The statement that lists commits, newest first. Raises Unsupported."""
        raise Unsupported("commits")

    @abstractmethod
    def run(self, sql: str, tables: Mapping[str, Snapshot], cancel: Cancel) -> Rows:
        """Rows of a statement over the named snapshots. Raises EngineError."""

    def preflight(self, sql: str, tables: Mapping[str, Snapshot]) -> None:  # noqa: B027 - nothing is a fine default
        """Analyses a statement without running it; an engine that only plans by running does nothing. Raises EngineError."""

    # --- offering -----------------------------------------------------------------------------------------------
    def offer(self, snapshot: Snapshot, wanted: Sequence[Measurement]) -> Offer:
        tiers: dict[Measurement, Tier] = {}
        refused: dict[Measurement, str | Failure] = {}
        if (why := self.refusal(snapshot)) is not None:
            return Offer({}, dict.fromkeys(wanted, why))
        for one in wanted:
            try:
                if snapshot.spec.filter is not None:
                    self.dialect(snapshot).predicate(snapshot.spec.filter)
                self._statement(one, snapshot)
                tiers[one] = Tier.SCAN if one.kind.is_aggregate else Tier.JOB
            except Unsupported as reason:
                refused[one] = f"{self.engine} cannot do {reason} exactly"
            except EngineError as error:
                refused[one] = error.failure
        return Offer(tiers, refused)

    def _statement(self, wanted: Measurement, snapshot: Snapshot) -> tuple[str, dict[str, Snapshot]]:
        """The statement that answers one measurement alone, and the tables that it names."""
        dialect, scope, here = self.dialect(snapshot), snapshot.spec.filter, {"t": snapshot}
        if wanted.kind.is_aggregate:
            where = statements.condition(dialect, scope)
            return f"SELECT {statements.aggregate(wanted, dialect)} AS m0 FROM t{where}", here
        match wanted.kind:
            case Measure.DUPLICATES:
                return statements.duplicates(wanted, "t", scope, dialect), here
            case Measure.ORPHANS:
                parent = self.open_other(wanted.target or "")
                if (why := self.refusal(parent)) is not None:
                    raise Unsupported(f"the parent {wanted.target}: {why}")
                sql = statements.orphans(wanted, "t", scope, dialect, "parent", self.dialect(parent))
                return sql, {**here, "parent": parent}
            case Measure.PARTITIONS:
                return statements.distinct(wanted, "t", scope, dialect, _MOST_PARTITIONS + 1), here
            case Measure.BUCKETS:
                return statements.buckets(wanted, "t", scope, dialect, _MOST_PARTITIONS + 1), here
            case Measure.VALUES:
                return statements.values(wanted, "t", scope, dialect), here
            case Measure.QUANTILES:
                return statements.quantiles(wanted, "t", scope, dialect), here
            case Measure.OVERLAP if wanted.versions is not None:
                after, before = (replace(snapshot, facts=replace(snapshot.facts, version=version)) for version in reversed(wanted.versions))
                return statements.overlap(wanted, scope, dialect), {"t": after, "old": before}
            case Measure.COMMITS:
                return self.commits(wanted, snapshot), {}
            case Measure.QUERY:
                both = all_of(snapshot.spec.filter, wanted.where)
                return self.query(wanted, snapshot), {"t": replace(snapshot, spec=replace(snapshot.spec, filter=both)), **self._others(wanted)}
        raise Unsupported(wanted.kind.value)

    def _others(self, wanted: Measurement) -> dict[str, Snapshot]:
        """The configured tables that a query names besides its own."""
        others = {}
        for name in wanted.query.tables() if wanted.query else ():
            with suppress(EngineError):
                others[OTHER + name] = self.open_other(name)
        return others

    # --- answering ----------------------------------------------------------------------------------------------
    def answer(self, snapshot: Snapshot, offer: Offer, cancel: Cancel) -> Answers:
        values: dict[Measurement, Value | Failure] = {}
        seconds: dict[Tier, float] = {}
        self._jobs = 0
        aggregates = [one for one, tier in offer.tiers.items() if tier is Tier.SCAN]
        if aggregates:
            started = perf_counter()
            with cancel.part(aggregates) as part:
                values |= self._aggregates(snapshot, self._analysed(snapshot, aggregates, values), part)
            seconds[Tier.SCAN] = perf_counter() - started
        for one in (one for one, tier in offer.tiers.items() if tier is Tier.JOB):
            started = perf_counter()
            try:
                with cancel.part([one]) as part:
                    values[one] = self._job(snapshot, one, part)
            except EngineError as error:
                values[one] = error.failure
            seconds[Tier.JOB] = seconds.get(Tier.JOB, 0.0) + perf_counter() - started
        assert self.engine is not None
        facts, jobs = snapshot.facts, self._jobs
        scan = Scan(self.engine, (facts.files or 0) * jobs, (facts.bytes or 0) * jobs, (facts.rows or 0) * jobs, jobs)
        return Answers(values, seconds, scan)

    def _run(self, sql: str, tables: Mapping[str, Snapshot], cancel: Cancel) -> Rows:
        if cancel.fired:
            raise cancel.error()
        self._jobs += 1
        try:
            return self.run(sql, tables, cancel)
        except EngineError:
            if cancel.fired:
                raise cancel.error() from None
            raise

    def _fused(self, snapshot: Snapshot, wanted: Sequence[Measurement]) -> str:
        dialect = self.dialect(snapshot)
        columns = ", ".join(f"{statements.aggregate(one, dialect)} AS m{i}" for i, one in enumerate(wanted))
        return f"SELECT {columns} FROM t{statements.condition(dialect, snapshot.spec.filter)}"

    def _analysed(self, snapshot: Snapshot, wanted: list[Measurement], values: dict[Measurement, Value | Failure]) -> list[Measurement]:
        """Those that pass analysis; the others get their failure before anything is run."""
        try:
            self.preflight(self._fused(snapshot, wanted), {"t": snapshot})
            return wanted
        except EngineError as error:
            if error.failure.reason not in _OF_THE_DATA:
                values |= dict.fromkeys(wanted, error.failure)
                return []
        good = []
        for one in wanted:
            try:
                self.preflight(self._fused(snapshot, [one]), {"t": snapshot})
                good.append(one)
            except EngineError as error:
                values[one] = error.failure
        return good

    def _aggregates(self, snapshot: Snapshot, wanted: list[Measurement], cancel: Cancel) -> dict[Measurement, Value | Failure]:
        """One aggregate for all; when it fails over the data it is halved until only the guilty one has failed."""
        if not wanted:
            return {}
        try:
            row = self._run(self._fused(snapshot, wanted), {"t": snapshot}, cancel)[0]
            return {one: _value(row[f"m{i}"], one) for i, one in enumerate(wanted)}
        except EngineError as error:
            if len(wanted) == 1 or error.failure.reason not in _OF_THE_DATA:
                return dict.fromkeys(wanted, error.failure)
        middle = len(wanted) // 2
        return self._aggregates(snapshot, wanted[:middle], cancel) | self._aggregates(snapshot, wanted[middle:], cancel)

    def _job(self, snapshot: Snapshot, wanted: Measurement, cancel: Cancel) -> Value:
        sql, tables = self._statement(wanted, snapshot)
        try:
            rows = self._run(sql, tables, cancel)
        except EngineError as error:
            if wanted.versions is None:
                raise
            return _of_versions(wanted.versions, snapshot, error)
        match wanted.kind:
            case Measure.DUPLICATES:
                return Duplicates(int(rows[0]["found"]), int(rows[0]["found_keys"]))
            case Measure.ORPHANS:
                found, keys = int(rows[0]["found"]), int(rows[0]["found_keys"])
                empty = bool(found) and not self._run("SELECT 1 AS one FROM parent LIMIT 1", {"parent": tables["parent"]}, cancel)
                return Orphans(found, keys, empty)
            case Measure.PARTITIONS:
                _bounded(rows, wanted, "it does not partition the table")
                return tuple(sorted(str(row["value"]) for row in rows))
            case Measure.BUCKETS:
                _bounded(rows, wanted, "set `filter` or a coarser grain")
                return Counts({_slot(row["value"], wanted, snapshot) + (f"{SEPARATOR}{row['segment']}" if wanted.among else ""): int(row["n"]) for row in rows})
            case Measure.VALUES:
                return Counts({str(row["value"]): int(row["n"]) for row in rows})
            case Measure.QUANTILES:
                return tuple(float(value) for value in rows[0].values() if value is not None)
            case Measure.OVERLAP:
                return Overlap(int(rows[0]["found"]), int(rows[0]["found_known"]))
            case Measure.COMMITS:
                return tuple(_described(row) for row in reversed(rows) if wanted.since is None or _utc(row["timestamp"]) >= wanted.since)
        if len(rows) != 1:
            raise EngineError(Reason.RESULT, f"the query gave {'no row' if not rows else 'more than one row'}; it must give exactly one value")
        return _value(next(iter(rows[0].values())), wanted)


def _of_versions(versions: tuple[int, int], snapshot: Snapshot, error: EngineError) -> Value:
    """What an error says that may come from an older version: no such column then, or files that are gone. Raises EngineError."""
    if error.failure.reason is Reason.COLUMN_NOT_FOUND:
        return Overlap(0, 0)  # a column that came with the load has no earlier keys
    if error.failure.reason in (Reason.TABLE_NOT_FOUND, Reason.CORRUPT, Reason.HISTORY):
        text = f"versions {versions[0]} and {versions[1]} of {snapshot.spec.name} can no longer be read (vacuumed?), so the load cannot be compared"
        raise EngineError(Reason.HISTORY, f"{text}; keep deleted files at least for the lookback")
    raise error


def _bounded(rows: Rows, wanted: Measurement, mend: str) -> None:
    if len(rows) > _MOST_PARTITIONS:
        raise EngineError(Reason.UNSUPPORTED, f"column {wanted.columns[0]} has more than {_MOST_PARTITIONS:,} values; {mend}")


def _slot(value: Any, wanted: Measurement, snapshot: Snapshot) -> str:
    """The start of a slot of time as ISO 8601, with an offset where the column has instants; other values as they are."""
    type_ = resolve(snapshot, wanted.columns[0])[1]
    if type_ not in statements.TIMES:
        return str(value)
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value * wanted.slot)
    return (start if type_ == "timestamp" else start.replace(tzinfo=None)).isoformat()


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _described(row: Mapping[str, Any]) -> CommitInfo:
    """A row of DESCRIBE HISTORY; only an append says exactly how many rows it added."""
    parameters = row["operationParameters"] or {}
    operation, mode = str(row["operation"]), str(parameters.get("mode", parameters.get("outputMode", ""))).capitalize()
    plain = operation in ("WRITE", "STREAMING UPDATE") and mode == "Append"
    written = (row["operationMetrics"] or {}).get("numOutputRows") if plain else None
    added, removed = (int(written), 0) if written is not None else (None, None)
    return CommitInfo(int(row["version"]), _utc(row["timestamp"]), operation, mode, operation not in IDLE_OPERATIONS, added, removed, {}, row["userMetadata"])


def _instant(value: datetime) -> datetime:
    """In UTC; at the ends of the calendar the nearest moment that UTC has."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        return FIRST if value.year == 1 else LAST


def _value(value: Any, wanted: Measurement) -> Value:
    """An engine's value as ours: instants are aware, in UTC; naive times are read in the measurement's zone."""
    if wanted.kind in (Measure.ROWS, Measure.COUNT_WHERE):
        return int(value)
    if isinstance(value, datetime):
        return _instant(value if value.tzinfo else value.replace(tzinfo=ZoneInfo(wanted.timezone or "UTC")))
    if isinstance(value, date) and wanted.timezone:
        return _instant(datetime(value.year, value.month, value.day, tzinfo=ZoneInfo(wanted.timezone)))
    if isinstance(value, Decimal) and value == value.to_integral_value() and wanted.kind is Measure.SUM:
        return int(value)
    return value  # type: ignore[no-any-return]
