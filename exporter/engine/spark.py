"""The Spark engine: every format, every expression; DataFrame and SQL only, so that it also runs over Spark Connect."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlglot import exp

from exporter.catalog.labels import Engine, TableFormat
from exporter.engine import statements
from exporter.engine.cancel import Cancel
from exporter.engine.session import SparkRuntime
from exporter.engine.snapshot import EngineError, Snapshot, Unsupported
from exporter.engine.spark_sql import name_sql, resolve, to_spark
from exporter.engine.sql_source import FIRST, LAST, OTHER, Rows, SqlSource
from exporter.expression import DIALECT, TABLE_ALIAS, Expression
from exporter.model import Column, Commit, Measurement, Reason, TableFacts, TableSpec


@dataclass(frozen=True)
class SparkDialect:
    """Spark's way to write the expressions of one table."""

    snapshot: Snapshot

    def predicate(self, expression: Expression) -> str:
        return to_spark(expression, self.snapshot)

    def column(self, name: str) -> tuple[str, str]:
        path, type_ = resolve(self.snapshot, name)
        return name_sql(*path), type_

    def finite(self, sql: str) -> str:
        return f"(NOT isnan({sql}) AND abs({sql}) <> double('infinity'))"

    def text(self, sql: str, type_: str) -> str:
        return f"CAST({sql} AS STRING)"

    def epoch(self, sql: str, type_: str) -> str:
        return f"(unix_micros(CAST({sql} AS TIMESTAMP)) / 1000000D)"

    def quantile(self, sql: str, share: float) -> str:
        return f"percentile({sql}, {share!r}D)"


class SparkSource(SqlSource):
    """Answers everything; views of the pinned versions live as long as one run."""

    engine: Engine | None = Engine.SPARK

    def __init__(self, runtime: SparkRuntime, open_other: Callable[[str], Snapshot]) -> None:
        super().__init__(open_other)
        self.runtime = runtime
        self._views: dict[tuple[int, str, int | None], str] = {}

    def refusal(self, snapshot: Snapshot) -> str | None:
        return None

    def dialect(self, snapshot: Snapshot) -> statements.Dialect:
        return SparkDialect(snapshot)

    def query(self, wanted: Measurement, snapshot: Snapshot) -> str:
        """The query as written, with `{table}` as the pinned, filtered view and configured tables as theirs."""
        assert wanted.query is not None
        tree = wanted.query.tree.copy()
        for table in list(tree.find_all(exp.Table)):
            if OTHER + (name := ".".join(part.name for part in table.parts)) in self._others(wanted):
                table.replace(exp.to_table(_alias(name), alias=table.alias or table.name, dialect=DIALECT))
        return tree.sql(DIALECT, comments=False)

    def commits(self, wanted: Measurement, snapshot: Snapshot) -> str:
        """Delta's own history; it names no partitions."""
        if snapshot.facts.version is None:
            raise Unsupported(f"commits of {snapshot.spec.name}, which is no Delta table,")
        return f"DESCRIBE HISTORY {_target(snapshot.spec)} LIMIT {wanted.limit or 1000}"

    def run(self, sql: str, tables: Mapping[str, Snapshot], cancel: Cancel) -> Rows:
        try:
            session = self.runtime.session()
            with self.runtime.cancellable(session, cancel):
                return rows_of(session.sql(self._with_views(session, sql, tables)))
        except Exception as error:
            raise self.runtime.translate(error) from None

    def preflight(self, sql: str, tables: Mapping[str, Snapshot]) -> None:
        try:
            session = self.runtime.session()
            _ = session.sql(self._with_views(session, sql, tables)).schema
        except Exception as error:
            raise self.runtime.translate(error) from None

    def _with_views(self, session: Any, sql: str, tables: Mapping[str, Snapshot]) -> str:
        """The statement over views: `WITH t AS (…)` keeps users' text untouched."""
        if not tables:
            return sql
        scope = {}
        for name, table in tables.items():
            body = f"SELECT * FROM {self._view(session, table)}"
            filtered = body + (f" WHERE {to_spark(table.spec.filter, table)}" if table.spec.filter else "")
            if name.startswith(OTHER):
                scope[_alias(name.removeprefix(OTHER))] = filtered
            elif name == "t" and TABLE_ALIAS in sql:
                scope[TABLE_ALIAS] = filtered
            else:
                scope[name] = body
        if sql.lstrip().upper().startswith("WITH"):
            tree: Any = exp.maybe_parse(sql, dialect=DIALECT)
            for name, body in reversed(scope.items()):
                tree = tree.with_(name, body, dialect=DIALECT, append=True)
            own = tree.args.get("with_") or tree.args.get("with")
            own.set("expressions", own.expressions[-len(scope) :] + own.expressions[: -len(scope)])
            return str(tree.sql(DIALECT))
        return f"WITH {', '.join(f'{name} AS ({body})' for name, body in scope.items())} {sql}"

    def _view(self, session: Any, snapshot: Snapshot) -> str:
        key = (id(session), snapshot.spec.name, snapshot.facts.version)
        if key not in self._views:
            name = f"dq_{uuid.uuid4().hex}"
            _frame(session, snapshot.spec, snapshot.facts.version).createOrReplaceTempView(name)
            self._views[key] = name
        return self._views[key]

    def close(self) -> None:
        """Drops the views of the run."""
        if not self._views or not self.runtime.started:
            return
        try:
            session = self.runtime.session()
            for (owner, _, _), name in self._views.items():
                if owner == id(session):
                    session.catalog.dropTempView(name)
        except Exception as error:
            self.runtime.lost(error)


def _alias(name: str) -> str:
    """The name of another configured table inside a query."""
    return "dq_" + hashlib.sha256(name.encode()).hexdigest()[:16]


def rows_of(frame: Any) -> Rows:
    """The rows of a DataFrame; times come as microseconds, because Spark would turn them into this process's local time."""
    from pyspark.sql import functions

    times = {field.name: field.dataType.typeName() for field in frame.schema.fields if field.dataType.typeName() in ("timestamp", "timestamp_ntz")}
    if times:
        columns = [(name, functions.col(name_sql(name))) for name in frame.columns]
        frame = frame.select(*(functions.unix_micros(column.cast("timestamp")).alias(name) if name in times else column for name, column in columns))
    rows = [row.asDict() for row in frame.collect()]
    for row in rows:
        for name, type_ in times.items():
            if row[name] is not None:
                row[name] = _time(row[name], aware=type_ == "timestamp")
    return rows


def _time(microseconds: int, aware: bool) -> datetime:
    """Microseconds since 1970 as a datetime, at most at the ends of the calendar."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    except OverflowError:
        moment = LAST if microseconds > 0 else FIRST
    return moment if aware else moment.replace(tzinfo=None)


def _frame(session: Any, spec: TableSpec, version: int | None) -> Any:
    """The rows of one version of a table as a DataFrame."""
    reader = session.read
    for key, value in spec.storage.items():
        reader = reader.option(key, value)
    match spec.format:
        case TableFormat.DELTA:
            if version is not None:
                reader = reader.option("versionAsOf", version)
            return reader.format("delta").load(spec.path)
        case TableFormat.PARQUET:
            return reader.parquet(spec.path)
        case TableFormat.JDBC:
            return reader.format("jdbc").options(**spec.jdbc).load()
        case TableFormat.ICEBERG:
            return reader.format("iceberg").load(spec.identifier or spec.path)
    return reader.option("versionAsOf", version).table(spec.identifier) if version is not None else reader.table(spec.identifier)


def open_with_spark(runtime: SparkRuntime, spec: TableSpec, cancel: Cancel) -> Snapshot:
    """The newest version of any table that Spark reads. Raises EngineError."""
    try:
        session = runtime.session()
        with runtime.cancellable(session, cancel):
            facts, commit = _delta_facts(session, spec)
            fields = _frame(session, spec, facts.version).schema.fields
    except Exception as error:
        if cancel.fired:
            raise cancel.error() from None
        translated = runtime.translate(error)
        if spec.format is TableFormat.ICEBERG and translated.failure.reason is Reason.SPARK_UNAVAILABLE:
            text = "Iceberg needs its jar: set spark.conf spark.jars.packages (with the Delta package beside it if Delta tables are read)"
            raise EngineError(Reason.SPARK_UNAVAILABLE, text) from None
        raise translated from None
    schema = tuple(Column(field.name, field.dataType.simpleString(), field.nullable) for field in fields)
    return Snapshot(spec, schema, facts, commit, by_spark=True)


def _target(spec: TableSpec) -> str:
    """A Delta table as SQL names it."""
    return f"delta.{name_sql(spec.path)}" if spec.path is not None else spec.identifier or ""


def _delta_facts(session: Any, spec: TableSpec) -> tuple[TableFacts, Commit | None]:
    """Version, size and last data commit where the table turns out to be Delta; nothing for other tables."""
    from exporter.engine.worker import IDLE_OPERATIONS

    if spec.format not in (TableFormat.DELTA, TableFormat.TABLE):
        return TableFacts(), None
    target = _target(spec)
    if spec.format is TableFormat.TABLE:
        provider = [row[1] for row in session.sql(f"DESCRIBE TABLE EXTENDED {target}").collect() if row[0] == "Provider"]
        if not provider or str(provider[0]).lower() != "delta":
            return TableFacts(), None
    detail = session.sql(f"DESCRIBE DETAIL {target}").collect()[0].asDict()
    history = rows_of(session.sql(f"DESCRIBE HISTORY {target} LIMIT 100").select("version", "timestamp", "operation"))
    data = [row for row in history if row["operation"] not in IDLE_OPERATIONS]
    commit = Commit(data[0]["version"], data[0]["timestamp"]) if data else None
    return TableFacts(history[0]["version"] if history else None, None, detail["sizeInBytes"], detail["numFiles"]), commit
