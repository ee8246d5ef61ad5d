"""One evaluation of a table: snapshot → measurements → plan → answers → verdicts; nothing in it raises."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from time import perf_counter

from exporter.catalog.labels import Engine, Outcome, Tier
from exporter.engine.cancel import Cancel
from exporter.engine.metadata import Metadata
from exporter.engine.native import READABLE, NativeSource, NativeWorkers
from exporter.engine.plan import Answers, Plan, Source, plan
from exporter.engine.session import SparkRuntime
from exporter.engine.snapshot import EngineError, Snapshot
from exporter.engine.spark import SparkSource, open_with_spark
from exporter.model import (
    CheckResult,
    CheckSpec,
    Evaluation,
    Failure,
    History,
    Measurement,
    Reason,
    Scan,
    TableFacts,
    TableSpec,
    Value,
    Verdict,
)

Past = Callable[[TableSpec, CheckSpec], History]
_TIERS = (Tier.METADATA, Tier.PARTIALS, Tier.SCAN, Tier.JOB, Tier.HISTORY)


@dataclass(frozen=True)
class Explained:
    """How the measurements of one table would be made; `failure` when the table cannot even be opened."""

    table: TableSpec
    snapshot: Snapshot | None
    plans: Mapping[str | None, Plan]
    wanted: Mapping[str, Mapping[str, Measurement]]
    failure: Failure | None = None


class Evaluator:
    """Evaluates tables; `tables` are all configured ones, by name, for checks that read several.

    `choice` forces one engine for all tables. Otherwise a table's own choice holds, or both engines are tried
    and `native_max_bytes` bounds what is read natively.
    """

    def __init__(
        self, tables: Mapping[str, TableSpec], workers: NativeWorkers, spark: SparkRuntime, choice: Engine | None = None, native_max_bytes: int = 8 * 2**30
    ) -> None:
        self.tables, self.workers, self.spark = tables, workers, spark
        self.choice, self.native_max_bytes = choice, native_max_bytes

    def evaluate(self, table: TableSpec, checks: Sequence[CheckSpec], past: Past, now: datetime, cancel: Cancel) -> Evaluation:
        """Runs the given checks of a table once; what fails is a result, not an exception."""
        started, run = perf_counter(), _Run(self, now, cancel)
        wanted, verdicts = _measurements(table, checks, now)
        plans: dict[str | None, Plan] = {}
        answers: list[Answers] = []
        snapshot: Snapshot | None = None
        failures: dict[str | None, Failure] = {}
        try:
            for name, measurements in _by_table(wanted).items():
                try:
                    opened = run.open(name or table.name)
                    snapshot = snapshot if name else opened
                    plans[name] = plan(opened, [_own(one) for one in measurements], run.sources(opened))
                    answers += [_tagged(source.answer(opened, offer, cancel), name) for source, offer in plans[name].steps]
                except EngineError as error:
                    failures[name] = error.failure
                except Exception as error:  # a bug of ours must not end the process, nor pass for a verdict
                    failures[name] = Failure(Reason.INTERNAL, f"{type(error).__name__}: {error}")
        finally:
            run.close()
        seen = {one: value for answer in answers for one, value in answer.values.items()}
        for check in checks:
            if check.id not in verdicts:
                values = {key: _seen(one, seen, plans, failures) for key, one in wanted[check.id].items()}
                verdicts[check.id] = _judge(table, check, values, past, now)
        results = tuple(_result(check, verdicts[check.id], wanted.get(check.id, {}), seen, plans, now) for check in checks)
        scans = _scans(answers)
        return Evaluation(
            uuid.uuid4().hex[:12], table, now, perf_counter() - started, snapshot.facts if snapshot else TableFacts(), results,
            scans[-1].engine if scans else None, _seconds(answers), scans, cancel.timed_out,
        )  # fmt: skip

    def explain(self, table: TableSpec, now: datetime, cancel: Cancel) -> Explained:
        """The plan of all checks of a table; opens the table, reads no row."""
        run = _Run(self, now, cancel)
        wanted, _ = _measurements(table, table.checks, now)
        plans: dict[str | None, Plan] = {}
        try:
            own = run.open(table.name)
            for name, measurements in _by_table(wanted).items():
                opened = run.open(name or table.name)
                plans[name] = plan(opened, [_own(one) for one in measurements], run.sources(opened))
            return Explained(table, own, plans, wanted)
        except EngineError as error:
            return Explained(table, None, plans, wanted, error.failure)
        finally:
            run.close()


class _Run:
    """What one evaluation holds: a snapshot per table, so that all its checks see the same versions."""

    def __init__(self, evaluator: Evaluator, now: datetime, cancel: Cancel) -> None:
        self.evaluator, self.now, self.cancel = evaluator, now, cancel
        self._snapshots: dict[str, Snapshot | EngineError] = {}
        self._spark = SparkSource(evaluator.spark, self.open)

    def open(self, name: str) -> Snapshot:
        """The snapshot of a configured table. Raises EngineError, the same one each time."""
        if name not in self._snapshots:
            try:
                self._snapshots[name] = self._open(name)
            except EngineError as error:
                self._snapshots[name] = error
        found = self._snapshots[name]
        if isinstance(found, EngineError):
            raise found
        return found

    def _open(self, name: str) -> Snapshot:
        spec = self.evaluator.tables.get(name)
        if spec is None:
            raise EngineError(Reason.TABLE_NOT_FOUND, f"no table {name} is configured")
        if spec.format in READABLE and (spec.format.value == "delta" or "://" not in (spec.path or "")):
            try:
                return self.evaluator.workers.open(spec, self.cancel)
            except EngineError as error:
                if error.failure.reason not in (Reason.INTERNAL, Reason.UNSUPPORTED) or self.choice(spec) is Engine.NATIVE:
                    raise
        return open_with_spark(self.evaluator.spark, spec, self.cancel)

    def choice(self, spec: TableSpec) -> Engine | None:
        """The one engine that is asked for, or None for both."""
        return self.evaluator.choice or spec.engine

    def sources(self, snapshot: Snapshot) -> list[Source]:
        """Metadata, then the allowed engines, cheapest first."""
        choice = self.choice(snapshot.spec)
        bound = self.evaluator.native_max_bytes if choice is None else None
        sources: list[Source] = [Metadata()]
        if choice is not Engine.SPARK:
            sources.append(NativeSource(self.evaluator.workers, self.open, self.now, bound))
        if choice is not Engine.NATIVE:
            sources.append(self._spark)
        return sources

    def close(self) -> None:
        """Lets go of what the engines hold for the run."""
        self._spark.close()


def _measurements(
    table: TableSpec, checks: Sequence[CheckSpec], now: datetime
) -> tuple[dict[str, Mapping[str, Measurement]], dict[str, Verdict]]:
    """What each check wants, and the verdicts of those that cannot even say it."""
    wanted: dict[str, Mapping[str, Measurement]] = {}
    verdicts: dict[str, Verdict] = {}
    for check in checks:
        try:
            wanted[check.id] = check.check.measurements(table, now)
        except Exception as error:
            verdicts[check.id] = Verdict(Outcome.ERROR, f"{type(error).__name__}: {error}", Reason.INTERNAL)
    return wanted, verdicts


def _by_table(wanted: Mapping[str, Mapping[str, Measurement]]) -> dict[str | None, list[Measurement]]:
    """Measurements by the table that they are made on; None, the check's own, comes first."""
    groups: dict[str | None, list[Measurement]] = {None: []}
    for measurements in wanted.values():
        for one in measurements.values():
            groups.setdefault(one.of, []).append(one)
    return groups


def _own(one: Measurement) -> Measurement:
    """The measurement as its own table sees it."""
    return replace(one, of=None) if one.of else one


def _tagged(answers: Answers, name: str | None) -> Answers:
    """Answers keyed by the measurements as the checks named them."""
    return Answers({replace(one, of=name): value for one, value in answers.values.items()}, answers.seconds, answers.scan)


def _seen(
    one: Measurement, seen: Mapping[Measurement, Value | Failure], plans: Mapping[str | None, Plan], failures: Mapping[str | None, Failure]
) -> Value | Failure:
    if one in seen:
        return seen[one]
    if one.of in failures:
        return failures[one.of]
    return plans[one.of].failures[_own(one)]


def _judge(table: TableSpec, check: CheckSpec, values: Mapping[str, Value | Failure], past: Past, now: datetime) -> Verdict:
    try:
        return check.check.judge(values, past(table, check) if check.check.history else (), now)
    except Exception as error:
        return Verdict(Outcome.ERROR, f"{type(error).__name__}: {error}", Reason.TYPE if isinstance(error, TypeError) else Reason.INTERNAL)


def _result(
    check: CheckSpec, verdict: Verdict, wanted: Mapping[str, Measurement], seen: Mapping[Measurement, Value | Failure],
    plans: Mapping[str | None, Plan], now: datetime,
) -> CheckResult:  # fmt: skip
    tiers = [tier for one in wanted.values() if one.of in plans and (tier := plans[one.of].tier(_own(one)))]
    values = {key: value for key, one in wanted.items() if not isinstance(value := seen.get(one, _NOTHING), Failure)}
    return CheckResult(check, verdict, max(tiers, key=_TIERS.index) if tiers else None, now, values)


_NOTHING = Failure(Reason.INTERNAL, "not measured")


def _seconds(answers: Sequence[Answers]) -> dict[Tier, float]:
    total: dict[Tier, float] = {}
    for answer in answers:
        for tier, seconds in answer.seconds.items():
            total[tier] = total.get(tier, 0.0) + seconds
    return total


def _scans(answers: Sequence[Answers]) -> tuple[Scan, ...]:
    """What each engine was made to read, native first."""
    total: dict[Engine, Scan] = {}
    for scan in (answer.scan for answer in answers if answer.scan):
        old = total.get(scan.engine, Scan(scan.engine))
        total[scan.engine] = Scan(scan.engine, old.files + scan.files, old.bytes + scan.bytes, old.rows + scan.rows, old.jobs + scan.jobs)
    return tuple(total[engine] for engine in Engine if engine in total)
