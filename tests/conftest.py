"""What all tests share: one Spark session, one pool of native workers, one PostgreSQL, and tables made from plain rows."""

from __future__ import annotations

import decimal
import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from exporter.catalog.labels import Engine, Severity, TableFormat
from exporter.checks import REGISTRY
from exporter.checks.base import EXAMPLE_NOW, ConfiguredCheck, Example
from exporter.engine.cancel import Cancel
from exporter.engine.evaluate import Evaluator, Run
from exporter.engine.native import NativeWorkers
from exporter.engine.session import SparkRuntime
from exporter.engine.snapshot import decimal_size, kind
from exporter.model import NO_HISTORY, CheckSpec, Evaluation, History, Measurement, Point, TableSpec, Verdict
from exporter.timetable import Schedule
from tests.tools import stack

_SIMPLE = {
    "tinyint": pa.int8(), "smallint": pa.int16(), "int": pa.int32(), "bigint": pa.int64(), "float": pa.float32(), "double": pa.float64(),
    "string": pa.string(), "boolean": pa.bool_(), "date": pa.date32(), "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"), "binary": pa.binary(),
}  # fmt: skip


def arrow_table(columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """A table of plain rows; dates, timestamps and decimals may be given as text."""

    def convert(value: Any, type_: str) -> Any:
        if not isinstance(value, str):
            return value
        match kind(type_):
            case "decimal":
                return decimal.Decimal(value)
            case "date":
                return date.fromisoformat(value)
            case "timestamp" | "timestamp_ntz":
                return datetime.fromisoformat(value)
        return value

    def arrow(type_: str) -> pa.DataType:
        return pa.decimal128(*decimal_size(type_)) if kind(type_) == "decimal" else _SIMPLE[type_]

    arrays = {name: pa.array([convert(row[i], type_) for row in rows], arrow(type_)) for i, (name, type_) in enumerate(columns.items())}
    return pa.table(arrays)


def write_delta(path: Path, columns: Mapping[str, str], rows: Sequence[Sequence[Any]], partition_by: Sequence[str] = (), mode: Any = "overwrite") -> None:
    """A Delta table of plain rows."""
    write_deltalake(str(path), arrow_table(columns, rows), mode=mode, partition_by=list(partition_by) or None)


def check_specs(*items: Mapping[str, Any], **more: Any) -> tuple[CheckSpec, ...]:
    """Checks from items as in YAML: `check_specs({"not_null": ["a", "b"]}, {"row_count": {"min": 1}})`."""
    specs = []
    for item in items:
        for type_, body in item.items():
            for one in REGISTRY[type_].expand(body):
                check = REGISTRY[type_].model_validate(one)
                values = {
                    "id": check.id, "check": check, "severity": Severity.HIGH, "team": "", "owner": "", "runbook": "", "suggested_action": "",
                    "schedule": Schedule(every=timedelta(minutes=15)), "timeout": timedelta(minutes=2), **more,
                }  # fmt: skip
                specs.append(CheckSpec(**values))
    return tuple(specs)


class Bench:
    """Evaluates checks on small tables, the way `check` does, with both engines at hand."""

    def __init__(self, directory: Path, workers: NativeWorkers, spark: SparkRuntime) -> None:
        self.directory, self.workers, self.spark = directory, workers, spark
        self._names = (f"table_{i}" for i in itertools.count())

    def delta(self, columns: Mapping[str, str], rows: Sequence[Sequence[Any]], partition_by: Sequence[str] = (), **spec: Any) -> TableSpec:
        """A new Delta table."""
        name = spec.pop("name", None) or next(self._names)
        path = self.directory / name
        write_delta(path, columns, rows, partition_by)
        return TableSpec(name, TableFormat.DELTA, path=str(path), **spec)

    def evaluate(
        self, table: TableSpec, *items: Mapping[str, Any], engine: Engine | None = None, others: Sequence[TableSpec] = (),
        now: datetime = EXAMPLE_NOW, past: History = NO_HISTORY, timeout: timedelta = timedelta(minutes=2),
    ) -> Evaluation:  # fmt: skip
        """One evaluation of the given checks."""
        evaluator = Evaluator({one.name: one for one in (table, *others)}, self.workers, self.spark, engine)
        cancel = Cancel(timeout)
        try:
            return evaluator.evaluate(table, check_specs(*items), lambda table, check: past, now, cancel)
        finally:
            cancel.close()


    def example(self, cls: type[ConfiguredCheck], example: Example, engine: Engine | None = None) -> Verdict:
        """The verdict on an example of a check, after what comes before it."""
        others = [self.delta(columns, rows, name=name) for name, (columns, rows) in example.others.items()]
        table = self.delta(example.columns, example.before if example.before is not None else example.rows, example.partitioned_by)
        past, check = NO_HISTORY, {cls.type: example.body}
        if example.before is not None:
            first = self.evaluate(table, check, engine=engine, others=others)
            past = History([Point(EXAMPLE_NOW, first.facts.version, first.results[0].seen)], first.results[0].verdict.memory)
            write_delta(self.directory / table.name, example.columns, example.rows, example.partitioned_by)
        if example.appended:
            write_delta(self.directory / table.name, example.columns, example.appended, example.partitioned_by, mode="append")
        return self.evaluate(table, check, engine=engine, others=others, past=past).results[0].verdict

    def measure(self, table: TableSpec, wanted: Sequence[Measurement], engine: Engine | None = None, now: datetime = EXAMPLE_NOW) -> list[Any]:
        """Values or failures of measurements, in their order."""
        cancel = Cancel(timedelta(minutes=2))
        run = Run(Evaluator({table.name: table}, self.workers, self.spark, engine), table, now, cancel)
        try:
            run.measure(wanted)
            return [run.value(one) for one in wanted]
        finally:
            run.close()
            cancel.close()


@pytest.fixture(scope="session")
def workers() -> Iterator[NativeWorkers]:
    pool = NativeWorkers()
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkRuntime]:
    """The runtime; its session starts with the first test that needs it."""
    runtime = SparkRuntime()
    yield runtime
    runtime.close()


@pytest.fixture
def bench(tmp_path: Path, workers: NativeWorkers, spark: SparkRuntime) -> Bench:
    return Bench(tmp_path, workers, spark)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with stack.postgres() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A database of the test's own, as an SQLAlchemy URL."""
    import psycopg

    name = f"t{next(_DATABASES)}"
    with psycopg.connect(postgres_server.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type, unused-ignore]
    yield f"{postgres_server.rsplit('/', 1)[0]}/{name}"


_DATABASES = itertools.count()
