"""The SQL of measurements, written once for both engines; a `Dialect` renders what differs."""

from __future__ import annotations

from typing import Protocol

from exporter.engine.snapshot import INTEGERS, NUMBERS, EngineError, kind
from exporter.expression import Expression
from exporter.model import Measure, Measurement, Nulls, Reason


class Dialect(Protocol):
    """How one engine writes the expressions of one table. Both methods may raise EngineError or Unsupported."""

    def predicate(self, expression: Expression) -> str:
        """A condition."""

    def column(self, name: str) -> tuple[str, str]:
        """Text and Spark type of a column as written."""

    def finite(self, sql: str) -> str:
        """A condition that a floating-point value is neither NaN nor infinite."""

    def text(self, sql: str, type_: str) -> str:
        """A value as text."""


def aggregate(wanted: Measurement, dialect: Dialect) -> str:
    """The aggregate expression of a measurement that fits into the shared scan."""
    where = dialect.predicate(wanted.where) if wanted.where else None
    if wanted.kind in (Measure.ROWS, Measure.COUNT_WHERE):
        return f"count(CASE WHEN {where} THEN 1 END)" if where else "count(1)"
    sql, type_ = dialect.column(wanted.columns[0])
    base, conditions = kind(type_), [f"({where})"] if where else []
    allowed = (*NUMBERS, "date", "timestamp", "timestamp_ntz") if wanted.kind in (Measure.MIN, Measure.MAX) else NUMBERS
    if base not in allowed:
        raise EngineError(Reason.TYPE, f"column {wanted.columns[0]} is {type_}; {wanted.kind} needs {'a number, date or timestamp' if len(allowed) > len(NUMBERS) else 'a number'}")
    if base in ("float", "double"):
        conditions.append(dialect.finite(sql))
        sql = f"CAST({sql} AS DOUBLE)"
    elif wanted.kind in (Measure.SUM, Measure.AVG) and base in INTEGERS:
        sql = f"CAST({sql} AS DECIMAL(38,0))"  # a bigint sum overflows on Spark and wraps silently on DataFusion
    elif wanted.kind is Measure.STDDEV:
        sql = f"CAST({sql} AS DOUBLE)"
    value = f"CASE WHEN {' AND '.join(conditions)} THEN {sql} END" if conditions else sql
    if wanted.kind is Measure.AVG and base not in ("float", "double"):  # exact, and rounded once
        return f"CAST(sum({value}) AS DOUBLE) / nullif(count({value}), 0)"
    return f"{'stddev_samp' if wanted.kind is Measure.STDDEV else wanted.kind.value}({value})"


def condition(dialect: Dialect, *expressions: Expression | None) -> str:
    """`WHERE …` of the given conditions, or nothing."""
    texts = [f"({dialect.predicate(expression)})" for expression in expressions if expression is not None]
    return f" WHERE {' AND '.join(texts)}" if texts else ""


def duplicates(wanted: Measurement, table: str, scope: Expression | None, dialect: Dialect) -> str:
    """A statement of one row: `found` rows that share their key, and the number of such `found_keys`."""
    keys = [dialect.column(name)[0] for name in wanted.columns]
    where = condition(dialect, scope, wanted.where)
    if wanted.nulls is not Nulls.EQUAL:
        where += (" AND " if where else " WHERE ") + " AND ".join(f"{key} IS NOT NULL" for key in keys)
    groups = f"SELECT count(1) AS n FROM {table}{where} GROUP BY {', '.join(keys)} HAVING count(1) > 1"
    return f"SELECT coalesce(sum(n), 0) AS found, count(1) AS found_keys FROM ({groups}) AS g"


def orphans(wanted: Measurement, child: str, scope: Expression | None, ours: Dialect, parent: str, theirs: Dialect) -> str:
    """A statement of one row: `found` rows whose key is in no row of the parent, and the distinct `found_keys`."""
    keys, targets = ([side.column(name) for name in names] for side, names in ((ours, wanted.columns), (theirs, wanted.target_columns)))
    for name, (_, type_), (_, other) in zip(wanted.columns, keys, targets, strict=True):
        if _comparable(type_) != _comparable(other):
            raise EngineError(Reason.TYPE, f"column {name} is {type_} but the column it refers to is {other}")
    where = condition(ours, scope, wanted.where)
    where += (" AND " if where else " WHERE ") + " AND ".join(f"{sql} IS NOT NULL" for sql, _ in keys)
    names = [f"k{i}" for i in range(len(keys))]
    inner = ", ".join(f"{sql} AS {name}" for (sql, _), name in zip(keys, names, strict=True))
    outer = ", ".join(f"{sql} AS {name}" for (sql, _), name in zip(targets, names, strict=True))
    groups = f"SELECT {inner}, count(1) AS n FROM {child}{where} GROUP BY {', '.join(sql for sql, _ in keys)}"
    on = " AND ".join(f"c.{name} = p.{name}" for name in names)
    return f"SELECT coalesce(sum(c.n), 0) AS found, count(1) AS found_keys FROM ({groups}) AS c LEFT ANTI JOIN (SELECT DISTINCT {outer} FROM {parent}) AS p ON {on}"


def _comparable(type_: str) -> str:
    base = kind(type_)
    return "exact" if base in INTEGERS or base == "decimal" else base


def distinct(wanted: Measurement, table: str, scope: Expression | None, dialect: Dialect, limit: int) -> str:
    """A statement of the distinct values of a column as text `value`, at most `limit`."""
    sql, type_ = dialect.column(wanted.columns[0])
    where = condition(dialect, scope, wanted.where)
    where += f"{' AND ' if where else ' WHERE '}{sql} IS NOT NULL"
    return f"SELECT DISTINCT {dialect.text(sql, type_)} AS value FROM {table}{where} LIMIT {limit}"
