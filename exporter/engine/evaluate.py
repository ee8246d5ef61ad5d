"""One evaluation of a table: snapshot → measurements → plan → answers → verdicts; nothing in it raises."""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from time import perf_counter

from exporter.catalog.labels import Engine, Outcome, Tier
from exporter.engine.cancel import Cancel
from exporter.engine.commit_log import CommitLog
from exporter.engine.metadata import Metadata
from exporter.engine.native import READABLE, NativeSource, NativeWorkers
from exporter.engine.plan import Answers, Plan, Source, plan
from exporter.engine.run_log import LastSuccess, RunLog, no_runs
from exporter.engine.session import SparkRuntime
from exporter.engine.snapshot import EngineError, Snapshot
from exporter.engine.spark import SparkSource, open_with_spark
from exporter.model import (
    NO_HISTORY,
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
        self.last_success: LastSuccess = no_runs

    def evaluate(self, table: TableSpec, checks: Sequence[CheckSpec], past: Past, now: datetime, cancel: Cancel) -> Evaluation:
        """Runs the given checks of a table once; what fails is a result, not an exception."""
        started, run = perf_counter(), Run(self, table, now, cancel)
        jobs = [_Job(table, check, past, now) for check in checks]
        try:
            for job in jobs:
                job.limit(cancel)
            run.measure(one for job in jobs for one in job.wanted.values())
            more = [one for job in jobs for one in job.follow_up(run)]
            if more:
                run.measure(more)
        finally:
            run.close()
        results = tuple(CheckResult(job.check, job.judge(run), job.tier(run), now, job.values(run)) for job in jobs)
        facts, scans = run.facts(), _scans(run.answers)
        return Evaluation(
            uuid.uuid4().hex[:12], table, now, perf_counter() - started, facts, results, scans[-1].engine if scans else None,
            _seconds(run.answers), scans, any(result.verdict.reason is Reason.TIMEOUT for result in results),
        )  # fmt: skip

    def look(self, table: TableSpec, check: CheckSpec, now: datetime, cancel: Cancel) -> dict[str, Value | Failure]:
        """What a check sees at its first look, by its own names."""
        run = Run(self, table, now, cancel)
        job = _Job(table, check, lambda table, check: NO_HISTORY, now)
        try:
            run.measure(job.wanted.values())
            return {name: run.value(one) for name, one in job.wanted.items()}
        finally:
            run.close()

    def explain(self, table: TableSpec, past: Past, now: datetime, cancel: Cancel) -> Explained:
        """The plan of all checks of a table; opens the table, reads no row."""
        run = Run(self, table, now, cancel)
        wanted = {check.id: _Job(table, check, past, now).wanted for check in table.checks}
        try:
            own = run.open(table.name)
            plans = {name: run.plan(name, measurements) for name, measurements in by_table(one for m in wanted.values() for one in m.values()).items()}
            return Explained(table, own, plans, wanted)
        except EngineError as error:
            return Explained(table, None, {}, wanted, error.failure)
        finally:
            run.close()


class Run:
    """What one evaluation holds: a snapshot per table, so that all its checks see the same versions; plans and answers."""

    def __init__(self, evaluator: Evaluator, table: TableSpec, now: datetime, cancel: Cancel) -> None:
        self.evaluator, self.table, self.now, self.cancel = evaluator, table, now, cancel
        self.plans: dict[str | None, list[Plan]] = {}
        self.answers: list[Answers] = []
        self.seen: dict[Measurement, Value | Failure] = {}
        self._failures: dict[str | None, Failure] = {}
        self._snapshots: dict[str, Snapshot | EngineError] = {}
        self._spark = SparkSource(evaluator.spark, self.open)

    def plan(self, name: str | None, wanted: Sequence[Measurement]) -> Plan:
        """The plan of measurements on one table; None is the run's own. Raises EngineError."""
        snapshot = self.open(name or self.table.name)
        made = plan(snapshot, [_own(one) for one in wanted], self.sources(snapshot))
        self.plans.setdefault(name, []).append(made)
        return made

    def measure(self, wanted: Iterable[Measurement]) -> None:
        """Plans and answers; what fails is a value, nothing is raised."""
        for name, measurements in by_table(wanted).items():
            try:
                for source, offer in self.plan(name, measurements).steps:
                    answers = source.answer(self.open(name or self.table.name), offer, self.cancel)
                    self.answers.append(answers)
                    self.seen |= {replace(one, of=name): value for one, value in answers.values.items()}
            except EngineError as error:
                self._failures[name] = error.failure
            except Exception as error:  # a bug of ours must not end the process, nor pass for a verdict
                self._failures[name] = Failure(Reason.INTERNAL, _place_of(error))

    def value(self, one: Measurement) -> Value | Failure:
        """What was measured, or why nothing was."""
        if one in self.seen:
            return self.seen[one]
        if one.of in self._failures:
            return self._failures[one.of]
        return next((plan.failures[_own(one)] for plan in self.plans.get(one.of, ()) if _own(one) in plan.failures), _NOTHING)

    def tier(self, one: Measurement) -> Tier | None:
        """The tier that answers a measurement."""
        return next((tier for plan in self.plans.get(one.of, ()) if (tier := plan.tier(_own(one)))), None)

    def facts(self) -> TableFacts:
        """What metadata says of the run's own table."""
        own = self._snapshots.get(self.table.name)
        return own.facts if isinstance(own, Snapshot) else TableFacts()

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
                if error.failure.reason not in _SPARK_MAY or self.choice(spec) is Engine.NATIVE:
                    raise
                try:
                    return open_with_spark(self.evaluator.spark, spec, self.cancel)
                except EngineError as other:
                    raise (error if error.failure.reason is Reason.CORRUPT else other) from None
        return open_with_spark(self.evaluator.spark, spec, self.cancel)

    def choice(self, spec: TableSpec) -> Engine | None:
        """The one engine that is asked for, or None for both."""
        return self.evaluator.choice or spec.engine

    def sources(self, snapshot: Snapshot) -> list[Source]:
        """Metadata, then the allowed engines, cheapest first."""
        choice = self.choice(snapshot.spec)
        bound = self.evaluator.native_max_bytes if choice is None else None
        sources: list[Source] = [RunLog(self.evaluator.last_success), Metadata(), CommitLog(self.evaluator.workers)]
        if choice is not Engine.SPARK:
            sources.append(NativeSource(self.evaluator.workers, self.open, self.now, bound))
        if choice is not Engine.NATIVE:
            sources.append(self._spark)
        return sources

    def close(self) -> None:
        """Lets go of what the engines hold for the run."""
        self._spark.close()


class _Job:
    """One check in one evaluation: what it wants, then what it makes of it. A bug in it is its own error."""

    def __init__(self, table: TableSpec, check: CheckSpec, past: Past, now: datetime) -> None:
        self.check, self.now = check, now
        self.past = NO_HISTORY
        self.wanted: dict[str, Measurement] = {}
        self._bug: Verdict | None = None
        try:
            if check.check.history or check.check.learns:
                self.past = past(table, check)
            self.wanted |= check.check.measurements(table, self.past, now)
        except Exception as error:
            self._bug = _bug(error)

    def limit(self, cancel: Cancel) -> None:
        """Each measurement may take as long as the most patient of its checks allows."""
        for one in map(_own, self.wanted.values()):
            cancel.limits[one] = max(cancel.limits.get(one, self.check.timeout), self.check.timeout)

    def follow_up(self, run: Run) -> Iterable[Measurement]:
        """What it still wants, once it has seen all that it wanted first."""
        try:
            more = {} if self._failed(run) or self._bug else self.check.check.follow_up(self.values(run), self._known(run), self.now)
        except Exception as error:
            self._bug, more = _bug(error), {}
        self.wanted |= more
        self.limit(run.cancel)
        return more.values()

    def judge(self, run: Run) -> Verdict:
        """The verdict on what was seen."""
        try:
            return self._bug or self.check.check.judge({key: run.value(one) for key, one in self.wanted.items()}, self._known(run), self.now)
        except Exception as error:
            return _bug(error)

    def _known(self, run: Run) -> History:
        return replace(self.past, version=run.facts().version)

    def values(self, run: Run) -> dict[str, Value]:
        """What was seen, without what failed."""
        return {key: value for key, one in self.wanted.items() if not isinstance(value := run.value(one), Failure)}

    def tier(self, run: Run) -> Tier | None:
        """The dearest tier that it needed."""
        tiers = [tier for one in self.wanted.values() if (tier := run.tier(one))]
        return max(tiers, key=_TIERS.index) if tiers else None

    def _failed(self, run: Run) -> bool:
        return any(isinstance(run.value(one), Failure) for one in self.wanted.values())


def _bug(error: Exception) -> Verdict:
    return Verdict(Outcome.ERROR, _place_of(error), Reason.TYPE if isinstance(error, TypeError) else Reason.INTERNAL)


def _place_of(error: Exception) -> str:
    """What went wrong in our own code, and where; the text of the exception may hold values of the table, so it stays out."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "exporter" in frame.filename] or list(frames)
    where = f" in {own[-1].filename.rpartition('exporter/')[2]}, line {own[-1].lineno}" if own else ""
    return f"a fault of dq-exporter: {type(error).__name__}{where}; please report it"


def by_table(wanted: Iterable[Measurement]) -> dict[str | None, list[Measurement]]:
    """Measurements by the table that they are made on; None, the check's own, comes first."""
    groups: dict[str | None, list[Measurement]] = {None: []}
    for one in wanted:
        groups.setdefault(one.of, []).append(one)
    return groups


def _own(one: Measurement) -> Measurement:
    """The measurement as its own table sees it."""
    return replace(one, of=None) if one.of else one


_SPARK_MAY = (Reason.INTERNAL, Reason.UNSUPPORTED, Reason.CORRUPT)
"""Why a table that the native engine cannot open may still be read by Spark."""
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
