"""Runs one evaluation to its end: evaluate, store in one transaction, then publish and log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from exporter.catalog.labels import Outcome
from exporter.catalog.metrics import STORE_ERRORS
from exporter.engine.cancel import Cancel
from exporter.engine.evaluate import Evaluator
from exporter.model import (
    NO_HISTORY,
    CheckResult,
    CheckSpec,
    Evaluation,
    History,
    Reason,
    TableFacts,
    TableSpec,
    Verdict,
)
from exporter.publish.prometheus import Publisher, increments_of
from exporter.store import Store, StoreError
from exporter.units import format_duration

log = structlog.get_logger("dq_exporter")


class Runner:
    """The way of one result. `store` is None for `check --no-store`."""

    def __init__(self, evaluator: Evaluator, publisher: Publisher, store: Store | None, clock: Callable[[], datetime]) -> None:
        self.evaluator, self.publisher, self.store, self.clock = evaluator, publisher, store, clock

    def run(self, table: TableSpec, checks: Sequence[CheckSpec], cancel: Cancel) -> Evaluation:
        """Evaluates the given checks of a table; the result is published only once it is stored."""
        evaluation = self.evaluator.evaluate(table, checks, self.past, self.clock(), cancel)
        self.record(evaluation)
        return evaluation

    def give_up(self, table: TableSpec, checks: Sequence[CheckSpec], timeout: timedelta) -> None:
        """Records that an evaluation did not even stop when it was told to."""
        now = self.clock()
        text = f"not done after {format_duration(timeout)} and could not be stopped; the next run waits until it ends"
        verdict = Verdict(Outcome.ERROR, text, Reason.TIMEOUT)
        results = tuple(CheckResult(check, verdict, None, now) for check in checks)
        self.record(Evaluation("given-up", table, now, timeout.total_seconds(), TableFacts(), results, timed_out=True))

    def record(self, evaluation: Evaluation) -> None:
        """Stores, publishes and logs; what cannot be stored is not published, so nothing is forgotten by a restart."""
        increments = increments_of(evaluation)
        try:
            if self.store is not None:
                self.store.save(evaluation, increments, self.publisher.score_after(evaluation))
        except StoreError as error:
            self.publisher.count(STORE_ERRORS)
            log.error("result not stored", table=evaluation.table.name, run_id=evaluation.run_id, error=str(error))
            return
        self.publisher.publish(evaluation, increments)
        outcomes = Counter(result.verdict.outcome.value for result in evaluation.results)
        log.info(
            "evaluated",
            run_id=evaluation.run_id,
            table=evaluation.table.name,
            version=evaluation.facts.version,
            engine=evaluation.engine.value if evaluation.engine else None,
            tiers={tier.value: round(seconds, 3) for tier, seconds in evaluation.tier_seconds.items()},
            jobs=sum(scan.jobs for scan in evaluation.scans),
            bytes=sum(scan.bytes for scan in evaluation.scans),
            seconds=round(evaluation.duration, 3),
            outcomes=dict(outcomes),
        )
        for result in evaluation.results:
            if result.verdict.outcome is Outcome.ERROR:
                log.warning("not evaluated", table=evaluation.table.name, check=result.spec.id, reason=result.verdict.reason, message=result.verdict.message)

    def past(self, table: TableSpec, check: CheckSpec) -> History:
        """What the store knows of a check."""
        return self.store.history(table.name, check, self.clock()) if self.store else NO_HISTORY
