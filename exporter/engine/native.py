"""The native engine: DataFusion in a small pool of worker processes, without a JVM."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pebble import ProcessExpired, ProcessPool
from sqlglot import exp

from exporter.catalog.labels import Engine, TableFormat
from exporter.engine import statements, worker
from exporter.engine.cancel import Cancel
from exporter.engine.native_sql import NativeSql
from exporter.engine.snapshot import INTEGERS, EngineError, Snapshot, Unsupported, decimal_size, kind
from exporter.engine.sql_source import Rows, SqlSource
from exporter.expression import DIALECT, TABLE_ALIAS
from exporter.model import Measure, Measurement, Reason, TableFacts, TableSpec

_SUMMED_DIGITS = 28
"""DataFusion gives a sum ten digits more than its decimals have, 38 at most, and wraps beyond."""
READABLE = (TableFormat.DELTA, TableFormat.PARQUET)


class NativeWorkers:
    """A pool of processes that is started with the first job; a job over its time is killed with its process."""

    def __init__(self, workers: int = 2, memory_bytes: int = 2 * 2**30) -> None:
        self.workers, self.memory_bytes = workers, memory_bytes
        self._lock = threading.Lock()
        self._pool: ProcessPool | None = None

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...], cancel: Cancel) -> Any:
        """The result of a function of `worker`. Raises EngineError."""
        with self._lock:
            if self._pool is None or not self._pool.active:
                self._pool = ProcessPool(
                    self.workers, initializer=worker.initialise, initargs=(self.memory_bytes,), context=multiprocessing.get_context("spawn")
                )
            future = self._pool.schedule(function, args=arguments, timeout=cancel.remaining())
        cancel.on_fire(future.cancel)
        try:
            return future.result(timeout=cancel.remaining() + 5)
        except (FutureTimeout, CancelledError):
            cancel.fire(Reason.TIMEOUT)
            raise cancel.error() from None
        except ProcessExpired as ended:
            text = f"the worker process ended with code {ended.exitcode}, as it does when it needs more than engine.native_memory"
            raise EngineError(Reason.MEMORY, f"{text}; raise it, or set `engine: spark` for the table") from None

    def open(self, spec: TableSpec, cancel: Cancel) -> Snapshot:
        """The newest version of a Delta or Parquet table. Raises EngineError."""
        found: worker.Opened = self.call(worker.open_table, (table_ref(spec),), cancel)
        facts = TableFacts(found.version, found.rows, found.bytes, found.files)
        return Snapshot(
            spec, found.schema, facts, found.commit, found.partition_columns, found.partitions if spec.format is TableFormat.DELTA else None, found.deletion_vectors
        )

    def close(self) -> None:
        """Ends the processes."""
        with self._lock:
            if self._pool is not None:
                self._pool.stop()  # type: ignore[no-untyped-call, unused-ignore]
                self._pool.join()
                self._pool = None


def table_ref(spec: TableSpec, snapshot: Snapshot | None = None) -> worker.TableRef:
    """How a worker opens a table, at the version of a snapshot if one is given."""
    assert spec.path is not None
    version, vectors = (snapshot.facts.version, snapshot.deletion_vectors) if snapshot else (None, False)
    return worker.TableRef(spec.format.value, spec.path, version, tuple(sorted(spec.storage.items())), vectors)


@dataclass(frozen=True)
class NativeDialect:
    """DataFusion's way to write the expressions of one table."""

    sql: NativeSql

    def predicate(self, expression: Any) -> str:
        return self.sql.predicate(expression)

    def column(self, name: str) -> tuple[str, str]:
        return self.sql.column(name)

    def finite(self, sql: str) -> str:
        return f"(NOT isnan({sql}) AND abs({sql}) <> CAST('Infinity' AS DOUBLE))"

    def text(self, sql: str, type_: str) -> str:
        if kind(type_) not in (*INTEGERS, "date", "string"):
            raise Unsupported(f"{type_} as text")
        return f"CAST({sql} AS VARCHAR)"

    def epoch(self, sql: str, type_: str) -> str:
        return f"date_part('epoch', {sql})"

    def quantile(self, sql: str, share: float) -> str:
        return f"percentile_cont({sql}, {share!r})"


def _only_the_table(tree: exp.Select) -> bool:
    """True for FROM {table} as it is: no subquery, version, sample, alias or join."""
    source = tree.args.get("from_") or tree.args.get("from")
    table = source.this if source is not None else None
    return isinstance(table, exp.Table) and table.name == TABLE_ALIAS and {key for key, value in table.args.items() if value} == {"this"} and tree.find(exp.Subquery) is None


class NativeSource(SqlSource):
    """Answers with DataFusion what is on the allow-list, for tables up to `max_bytes`."""

    engine: Engine | None = Engine.NATIVE

    def __init__(self, workers: NativeWorkers, open_other: Callable[[str], Snapshot], now: datetime, max_bytes: int | None) -> None:
        super().__init__(open_other)
        self.workers, self.now, self.max_bytes = workers, now, max_bytes

    def refusal(self, snapshot: Snapshot) -> str | None:
        spec, size = snapshot.spec, snapshot.facts.bytes
        if spec.format not in READABLE or snapshot.by_spark:
            return f"the native engine does not read {spec.name} ({spec.format})"
        if self.max_bytes is not None and size is not None and size > self.max_bytes:
            return f"{spec.name} has {size:,} bytes, more than engine.native_max_bytes ({self.max_bytes:,})"
        return None

    def dialect(self, snapshot: Snapshot) -> statements.Dialect:
        return NativeDialect(NativeSql(snapshot, self.now))

    def _statement(self, wanted: Measurement, snapshot: Snapshot) -> tuple[str, dict[str, Snapshot]]:
        sql, tables = super()._statement(wanted, snapshot)
        if wanted.kind in (Measure.DUPLICATES, Measure.ORPHANS, Measure.PARTITIONS, Measure.BUCKETS, Measure.VALUES, Measure.OVERLAP):
            self._refuse_float_keys(wanted, snapshot)
        if wanted.kind in (Measure.SUM, Measure.AVG):
            type_ = NativeSql(snapshot, self.now).column(wanted.columns[0])[1]
            if kind(type_) == "decimal" and decimal_size(type_)[0] > _SUMMED_DIGITS:
                raise Unsupported(f"the sum of {type_}, which may overflow unseen,")
        if any(table.deletion_vectors for table in tables.values()) and any(table.spec.format is not TableFormat.DELTA for table in tables.values()):
            raise Unsupported("a table with deletion vectors together with one that is not Delta")
        return sql, tables

    def _refuse_float_keys(self, wanted: Measurement, snapshot: Snapshot) -> None:
        for name in wanted.columns:
            if kind(type_ := NativeSql(snapshot, self.now).column(name)[1]) in ("float", "double"):
                raise Unsupported(f"grouping by {type_} (NaN and -0.0)")

    def query(self, wanted: Measurement, snapshot: Snapshot) -> str:
        """`SELECT aggregate FROM {table} [WHERE …]`; anything else goes to Spark."""
        assert wanted.query is not None
        tree, sql = wanted.query.tree, NativeSql(snapshot, self.now)
        parts = {key for key, value in tree.args.items() if value}
        if not isinstance(tree, exp.Select) or parts - {"expressions", "from_", "from", "where", "kind"} or not _only_the_table(tree):
            raise Unsupported("a query other than one aggregate of {table}")
        value = tree.selects[0].unalias()
        where = [sql.predicate(scope) for scope in (snapshot.spec.filter, wanted.where) if scope is not None]
        if tree.args.get("where") is not None:
            condition, type_ = sql.render(tree.args["where"].this)
            if type_ != "boolean":
                raise Unsupported(f"{type_} used as a condition")
            where.append(condition)
        return f"SELECT {self._aggregate(value, sql)} AS value FROM t" + (f" WHERE {' AND '.join(where)}" if where else "")

    def _aggregate(self, value: exp.Expr, sql: NativeSql) -> str:
        if isinstance(value, exp.Count):
            if isinstance(value.this, exp.Star):
                return "count(1)"
            if isinstance(value.this, exp.Distinct) and len(value.this.expressions) == 1:
                text, type_ = sql.render(value.this.expressions[0])
                if kind(type_) not in ("float", "double"):
                    return f"count(DISTINCT {text})"
            elif not value.expressions and not isinstance(value.this, exp.Distinct):
                return f"count({sql.render(value.this)[0]})"
        elif isinstance(value, (exp.Min, exp.Max)) and not value.expressions:
            text, type_ = sql.render(value.this)
            if kind(type_) in (*INTEGERS, "decimal"):
                return f"{value.key}({text})"
        raise Unsupported(f"the query's {value.sql(DIALECT)[:60]}")

    def run(self, sql: str, tables: Mapping[str, Snapshot], cancel: Cancel) -> Rows:
        refs = {name: table_ref(table.spec, table) for name, table in tables.items()}
        rows: Rows = self.workers.call(worker.run_sql, (refs, sql, self.workers.memory_bytes), cancel)
        return rows
