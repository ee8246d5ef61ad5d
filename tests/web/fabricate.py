"""Fabricated tables for the pages: every way in which a table can stand."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from exporter.catalog.labels import Bound, Engine, Outcome, Severity, TableFormat, Tier
from exporter.checks.not_null import NotNull
from exporter.model import (
    CheckResult,
    CheckSpec,
    Evaluation,
    Reason,
    Scan,
    TableFacts,
    TableSpec,
    Value,
    Verdict,
)
from exporter.timetable import Schedule

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def check(
    column: str = "email", severity: Severity = Severity.HIGH, name: str | None = None, **changes: str
) -> CheckSpec:
    """A not_null check every 15 minutes."""
    rule = NotNull(column=column, name=name)
    return CheckSpec(
        rule.id, rule, severity, changes.get("team", "sales"), "sales-data-team", changes.get("runbook", ""),
        changes.get("suggested_action", ""), Schedule(every=timedelta(minutes=15)), timedelta(minutes=10),
    )  # fmt: skip


def table(
    name: str = "sales.orders", *checks: CheckSpec, severity: Severity = Severity.HIGH, runbook: str = ""
) -> TableSpec:
    """A Delta table."""
    return TableSpec(
        name, TableFormat.DELTA, path="/lake/" + name, owner="sales-data-team", team="sales", severity=severity,
        runbook=runbook, checks=checks or (check(),), timezone=ZoneInfo("UTC"),
    )  # fmt: skip


def verdict(outcome: Outcome = Outcome.PASS, failed: int = 0, evaluated: int = 1000, column: str = "email") -> Verdict:
    """A verdict as a not_null check gives it."""
    text = f"{failed:,} of {evaluated:,} rows have no {column} (allowed: 0)"
    return Verdict(outcome, text, None, failed, "rows", "max 0", {Bound.MAX: 0}, evaluated, failed)


def problem(reason: Reason = Reason.TIMEOUT, message: str = "the scan did not end within 10m") -> Verdict:
    """An outcome that is no verdict."""
    return Verdict(Outcome.ERROR, message, reason)


def evaluation(
    spec: TableSpec,
    verdicts: Iterable[Verdict],
    at: datetime = NOW,
    version: int | None = 12,
    seen: dict[str, Value] | None = None,
    timed_out: bool = False,
) -> Evaluation:
    """One evaluation of all checks of a table, in their order."""
    results = tuple(
        CheckResult(one, result, Tier.SCAN, at, seen or {}) for one, result in zip(spec.checks, verdicts, strict=True)
    )
    return Evaluation(
        "run", spec, at, 1.25, TableFacts(version, 2_000_000, 734_003_200, 42) if version is not None else TableFacts(),
        results, Engine.NATIVE, {Tier.METADATA: 0.03, Tier.SCAN: 1.2},
        (Scan(Engine.NATIVE, 42, 734_003_200, 2_000_000, 1),), timed_out,
    )  # fmt: skip
