"""What is remembered of a table between evaluations: the rule by which a result replaces it; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from exporter.catalog.labels import Engine, Tier
from exporter.model import CheckResult, Evaluation, Scan, TableFacts, TableSpec, Verdict

CounterKey = tuple[str, tuple[str, ...]]
"""Name of a counter's series (for a histogram with its suffix, the bound last among the values), and label values."""


@dataclass(frozen=True, slots=True)
class CheckState:
    """The latest run of a check, whatever came of it, and its last verdict, which may be older."""

    latest: Verdict
    at: datetime
    tier: Tier | None = None
    verdict: Verdict | None = None
    verdict_at: datetime | None = None
    fingerprint: str = ""

    @classmethod
    def after(cls, result: CheckResult, before: CheckState | None) -> CheckState:
        """The state after `result`; without a verdict the last one stays as it is and ages."""
        if result.verdict.outcome.is_verdict:
            return cls(result.verdict, result.at, result.tier, result.verdict, result.at, result.spec.fingerprint)
        if before is None or before.fingerprint != result.spec.fingerprint:
            return cls(result.verdict, result.at, result.tier, fingerprint=result.spec.fingerprint)
        return replace(before, latest=result.verdict, at=result.at, tier=result.tier)


@dataclass(frozen=True, slots=True)
class StoredTable:
    """Everything that is published of a configured table. `started_at` is None before its first evaluation.

    `checks` holds the checks that have been run, by id. `duration` and `tier_seconds` are in seconds.
    """

    spec: TableSpec
    checks: Mapping[str, CheckState] = field(default_factory=dict)
    facts: TableFacts = field(default_factory=TableFacts)
    engine: Engine | None = None
    started_at: datetime | None = None
    duration: float | None = None
    tier_seconds: Mapping[Tier, float] = field(default_factory=dict)
    scans: tuple[Scan, ...] = ()
    timed_out: bool = False

    def after(self, evaluation: Evaluation) -> StoredTable:
        """The state after `evaluation`; facts and engine stay when it saw nothing of the table."""
        checks = dict(self.checks)
        for result in evaluation.results:
            checks[result.spec.id] = CheckState.after(result, checks.get(result.spec.id))
        return replace(
            self,
            checks=checks,
            facts=self.facts if evaluation.facts == TableFacts() else evaluation.facts,
            engine=evaluation.engine or self.engine,
            started_at=evaluation.started_at,
            duration=evaluation.duration,
            tier_seconds=dict(evaluation.tier_seconds),
            scans=evaluation.scans,
            timed_out=evaluation.timed_out,
        )

    def configured(self, spec: TableSpec) -> StoredTable:
        """The state under a new configuration; what is no longer there, or is now about something else, is forgotten."""
        known = {check.id: self.checks[check.id] for check in spec.checks if check.id in self.checks}
        kept = {check.id: known[check.id] for check in spec.checks if check.id in known and known[check.id].fingerprint == check.fingerprint}
        if spec.place != self.spec.place:
            return StoredTable(spec, kept)
        return replace(self, spec=spec, checks=kept)
