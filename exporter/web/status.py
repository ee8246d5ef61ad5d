"""What the pages and the status API say of every table: which to look at first, in words; pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from exporter import __version__
from exporter.catalog.labels import Dimension, Outcome, Severity
from exporter.model import CheckSpec, Reason, Scan, Verdict
from exporter.publish.prometheus import TableStatus
from exporter.score import DimensionScore
from exporter.store.state import CheckState, StoredTable

_STALE_AFTER = 2
"""A result is stale when it is older than this many intervals of its schedule."""
_STILL_VALID = (Reason.NOT_DUE, Reason.UNCHANGED)
_SEVERITIES = tuple(Severity)


class Standing(StrEnum):
    """How a check or a table stands, worst first."""

    FAIL = "fail"
    ERROR = "error"
    WARN = "warn"
    LEARNING = "learning"
    SKIPPED = "skipped"
    NEVER = "never"
    PASS = "pass"  # noqa: S105 - an outcome

    @property
    def rank(self) -> int:
        """Position in the order of the page; learning and skipped are alike."""
        return _RANK[self]


_RANK = {standing: place for place, standing in enumerate(Standing)} | {Standing.SKIPPED: 3}


@dataclass(frozen=True, slots=True)
class CheckView:
    """A check as shown. `standing` is fail as long as the last verdict is, even when later runs could not judge."""

    spec: CheckSpec
    state: CheckState | None
    standing: Standing
    stale_run: bool
    stale_verdict: bool
    next_run: datetime | None

    @property
    def stale(self) -> bool:
        """True when the result is older than twice the interval."""
        return self.stale_run or self.stale_verdict

    @property
    def latest(self) -> Verdict | None:
        """What came of the latest run."""
        return self.state.latest if self.state else None

    @property
    def verdict(self) -> Verdict | None:
        """The last verdict."""
        return self.state.verdict if self.state else None

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts the worst first."""
        return self.standing.rank, _SEVERITIES.index(self.spec.severity), not self.stale, self.spec.id


@dataclass(frozen=True, slots=True)
class TableView:
    """A table as shown, its checks worst first."""

    table: StoredTable
    score: float | None
    coverage: float
    dimensions: dict[Dimension, DimensionScore]
    checks: tuple[CheckView, ...]

    @property
    def name(self) -> str:
        """The label `table`."""
        return self.table.spec.name

    @property
    def worst(self) -> CheckView | None:
        """The check that decides how the table stands."""
        return self.checks[0] if self.checks else None

    @property
    def standing(self) -> Standing:
        """That of its worst check."""
        return self.worst.standing if self.worst else Standing.NEVER

    @property
    def severity(self) -> Severity:
        """That of the worst check, else the table's own."""
        passing = self.worst is None or self.standing in (Standing.PASS, Standing.NEVER)
        return self.table.spec.severity if passing or self.worst is None else self.worst.spec.severity

    @property
    def stale(self) -> bool:
        """True when the result of any check is stale."""
        return any(check.stale for check in self.checks)

    @property
    def next_run(self) -> datetime | None:
        """When the first of its checks is due; None before the first run."""
        return min((check.next_run for check in self.checks if check.next_run), default=None)

    @property
    def counts(self) -> Counter[Standing]:
        """Checks by how they stand."""
        return Counter(check.standing for check in self.checks)

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts the worst first; among those that pass, stale ones."""
        return self.standing.rank, not self.stale, _SEVERITIES.index(self.severity), self.name


@dataclass(frozen=True, slots=True)
class StatusView:
    """Everything on the status page."""

    at: datetime
    tables: tuple[TableView, ...]

    @property
    def counts(self) -> Counter[Standing]:
        """Tables by how they stand."""
        return Counter(table.standing for table in self.tables)

    @property
    def check_counts(self) -> Counter[Standing]:
        """Checks of all tables by how they stand."""
        return sum((table.counts for table in self.tables), Counter())

    @property
    def headline(self) -> str:
        """The most important thing, in words."""
        total, counts = len(self.tables), self.counts
        if not total:
            return "No tables are configured"
        if bad := counts[Standing.FAIL]:
            return f"{bad} of {_tables(total)} cannot be trusted"
        unknown = sum(table.standing not in (Standing.PASS, Standing.WARN) or table.stale for table in self.tables)
        if unknown:
            return f"{unknown} of {_tables(total)} cannot be judged right now"
        return "The only table can be trusted" if total == 1 else f"All {total} tables can be trusted"

    @property
    def details(self) -> list[str]:
        """What else there is to say, most important first."""
        counts = self.counts
        waiting = counts[Standing.LEARNING] + counts[Standing.SKIPPED]
        said = [
            (counts[Standing.ERROR], "could not be evaluated"),
            (sum(table.stale for table in self.tables), "with stale results"),
            (counts[Standing.WARN], "with a warning"),
            (waiting, "learning or skipped"),
            (counts[Standing.NEVER], "not run yet"),
            (sum(t.standing is Standing.PASS and not t.stale for t in self.tables), "fine"),
        ]
        return [f"{count} {text}" for count, text in said if count]


def _tables(count: int) -> str:
    return "1 table" if count == 1 else f"{count} tables"


def view(states: Iterable[TableStatus], now: datetime) -> StatusView:
    """The status at `now` (aware), worst tables first."""
    return StatusView(now, tuple(sorted((_table(status, now) for status in states), key=lambda table: table.order)))


def _table(status: TableStatus, now: datetime) -> TableView:
    checks = [_check(spec, status.table.checks.get(spec.id), now) for spec in status.spec.checks]
    ordered = tuple(sorted(checks, key=lambda check: check.order))
    return TableView(status.table, status.score.ratio, status.score.coverage, dict(status.score.dimensions), ordered)


def _check(spec: CheckSpec, state: CheckState | None, now: datetime) -> CheckView:
    if state is None:
        return CheckView(spec, None, Standing.NEVER, False, False, None)
    oldest = now - _STALE_AFTER * spec.schedule.interval
    verdict_counts = state.verdict_at is not None and not _still_valid(state.latest)
    stale_verdict = verdict_counts and state.verdict_at is not None and state.verdict_at < oldest
    return CheckView(
        spec, state, _standing(state), state.at < oldest, stale_verdict, spec.schedule.next_after(state.at)
    )


def _still_valid(latest: Verdict) -> bool:
    """True when a run was skipped because nothing could have changed since the last verdict."""
    return latest.outcome is Outcome.SKIPPED and latest.reason in _STILL_VALID


def _standing(state: CheckState) -> Standing:
    last = state.verdict
    if last is not None and (last.outcome is Outcome.FAIL or _still_valid(state.latest)):
        return Standing(last.outcome.value)
    return Standing(state.latest.outcome.value)


# --- JSON -----------------------------------------------------------------------------------------------------
def to_json(status: StatusView) -> dict[str, Any]:
    """The status page as JSON.

    `{version, generated_at, headline, summary: {tables: {STANDING: n}, checks: {STANDING: n}, stale_tables: n},
    tables: [TABLE]}`, tables worst first. STANDING is fail, error, warn, learning, skipped, never or pass.
    TABLE is `{table, owner, team, severity, runbook, format, engine, status, stale, message, score_ratio,
    score_coverage_ratio, dimensions: {DIMENSION: {score_ratio, coverage_ratio}}, table_version, rows, bytes, files,
    last_run_at, next_run_at, evaluation: {duration_seconds, tier_seconds: {TIER: s}, timed_out,
    scans: [{engine, files, bytes, rows, jobs}]} or null, checks: [CHECK]}`, checks worst first.
    CHECK is `{check, type, dimension, columns, severity, team, owner, runbook, suggested_action, status, outcome, reason,
    message, tier, value, unit, threshold, bounds: {BOUND: n}, evaluated_rows, failed_rows, last_verdict,
    last_verdict_message, last_run_at, last_verdict_at, next_run_at, interval_seconds, stale}`: `outcome`, `reason`,
    `message` and `tier` are of the latest run, value to failed_rows of the last verdict, `status` of both.
    Times are UTC (RFC 3339), what is unknown is null.
    """
    return {
        "version": __version__,
        "generated_at": _time(status.at),
        "headline": status.headline,
        "summary": {
            "tables": {standing.value: status.counts[standing] for standing in Standing},
            "checks": {standing.value: status.check_counts[standing] for standing in Standing},
            "stale_tables": sum(table.stale for table in status.tables),
        },
        "tables": [_table_json(table) for table in status.tables],
    }


def _table_json(view: TableView) -> dict[str, Any]:
    table, spec, facts = view.table, view.table.spec, view.table.facts
    evaluation = None
    if table.started_at is not None:
        evaluation = {
            "duration_seconds": table.duration,
            "tier_seconds": {tier.value: seconds for tier, seconds in table.tier_seconds.items()},
            "timed_out": table.timed_out,
            "scans": _scans_json(table.scans),
        }
    return {
        "table": spec.name, "owner": spec.owner, "team": spec.team, "severity": spec.severity.value, "runbook": spec.runbook,
        "format": spec.format.value, "engine": table.engine.value if table.engine else None,
        "status": view.standing.value, "stale": view.stale,
        "message": view.worst.latest.message if view.worst and view.worst.latest else None,
        "score_ratio": view.score, "score_coverage_ratio": view.coverage,
        "dimensions": {
            name.value: {"score_ratio": part.ratio, "coverage_ratio": part.coverage} for name, part in view.dimensions.items()
        },
        "table_version": facts.version, "rows": facts.rows, "bytes": facts.bytes, "files": facts.files,
        "last_run_at": _time(table.started_at), "next_run_at": _time(view.next_run), "evaluation": evaluation,
        "checks": [_check_json(check) for check in view.checks],
    }  # fmt: skip


def _scans_json(scans: Sequence[Scan]) -> list[dict[str, Any]]:
    return [
        {"engine": s.engine.value, "files": s.files, "bytes": s.bytes, "rows": s.rows, "jobs": s.jobs} for s in scans
    ]


def _check_json(view: CheckView) -> dict[str, Any]:
    spec, state, latest, verdict = view.spec, view.state, view.latest, view.verdict
    return {
        "check": spec.id, "type": spec.check.type, "dimension": spec.check.dimension.value,
        "columns": list(spec.check.columns), "severity": spec.severity.value, "team": spec.team, "owner": spec.owner,
        "runbook": spec.runbook, "suggested_action": spec.suggested_action, "status": view.standing.value,
        "outcome": latest.outcome.value if latest else None,
        "reason": latest.reason.value if latest and latest.reason else None,
        "message": latest.message if latest else None,
        "tier": state.tier.value if state and state.tier else None,
        "value": _finite(verdict.value) if verdict else None, "unit": verdict.unit if verdict else None,
        "threshold": verdict.threshold if verdict else None,
        "bounds": {bound.value: _finite(limit) for bound, limit in verdict.bounds.items()} if verdict else {},
        "evaluated_rows": verdict.evaluated_rows if verdict else None,
        "failed_rows": verdict.failed_rows if verdict else None,
        "last_verdict": verdict.outcome.value if verdict else None,
        "last_verdict_message": verdict.message if verdict else None,
        "last_run_at": _time(state.at) if state else None,
        "last_verdict_at": _time(state.verdict_at) if state else None,
        "next_run_at": _time(view.next_run), "interval_seconds": spec.schedule.interval.total_seconds(),
        "stale": view.stale,
    }  # fmt: skip


def _time(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


def _finite(value: float | None) -> float | None:
    """JSON has neither NaN nor infinity."""
    return value if value is not None and math.isfinite(value) else None
