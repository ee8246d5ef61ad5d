"""The SQL of measurements, written once for both engines; a `Dialect` renders what differs."""

from __future__ import annotations

from typing import Protocol

from exporter.engine.snapshot import INTEGERS, NUMBERS, EngineError, kind
from exporter.expression import Canonical, Expression, any_of, col, literal, quoted
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

    def epoch(self, sql: str, type_: str) -> str:
        """Seconds since 1970 of a time, as DOUBLE; naive times as if they were UTC."""

    def quantile(self, sql: str, share: float) -> str:
        """The exact quantile of an aggregated DOUBLE, interpolated linearly."""


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


TIMES = ("timestamp", "timestamp_ntz")


def _since(wanted: Measurement, type_: str) -> Expression | None:
    """The condition that a time lies at or after the measurement's `since`; other columns are not restricted."""
    if wanted.since is None or kind(type_) not in (*TIMES, "date"):
        return None
    instant = f"{Canonical.INSTANT}({col(wanted.columns[0])}, {quoted(wanted.timezone or 'UTC')}, {quoted(wanted.since.isoformat())})"
    return Expression(f"{col(wanted.columns[0])} >= {instant}")


def buckets(wanted: Measurement, table: str, scope: Expression | None, dialect: Dialect, limit: int) -> str:
    """A statement of rows by `value`: the number of the slot of a time, else the value as text; at most `limit`."""
    sql, type_ = dialect.column(wanted.columns[0])
    key = f"CAST(floor({dialect.epoch(sql, type_)} / {wanted.slot}) AS BIGINT)" if kind(type_) in TIMES else dialect.text(sql, type_)
    among = any_of(f"{col(wanted.columns[1])} = {literal(wanted.columns[1], value)}" for value in wanted.among) if wanted.among else None
    where = condition(dialect, scope, wanted.where, _since(wanted, type_), among)
    where += f"{' AND ' if where else ' WHERE '}{sql} IS NOT NULL"
    segment = dialect.text(*dialect.column(wanted.columns[1])) if wanted.among else None
    keys = f"{key}, {segment}" if segment else key
    return f"SELECT {key} AS value, {segment or 'NULL'} AS segment, count(1) AS n FROM {table}{where} GROUP BY {keys} LIMIT {limit}"


def values(wanted: Measurement, table: str, scope: Expression | None, dialect: Dialect) -> str:
    """A statement of the most frequent values of a column as text `value`, with their rows `n`."""
    sql, type_ = dialect.column(wanted.columns[0])
    key = dialect.text(sql, type_)
    where = condition(dialect, scope, wanted.where)
    where += f"{' AND ' if where else ' WHERE '}{sql} IS NOT NULL"
    return f"SELECT {key} AS value, count(1) AS n FROM {table}{where} GROUP BY {key} ORDER BY n DESC, value LIMIT {wanted.limit}"


def quantiles(wanted: Measurement, table: str, scope: Expression | None, dialect: Dialect) -> str:
    """A statement of one row: `q0` … of a number, or of the seconds from the first of two times to the second."""
    sides = [dialect.column(name) for name in wanted.columns]
    if len(sides) == 2:
        for name, (_, type_) in zip(wanted.columns, sides, strict=True):
            if kind(type_) not in TIMES or kind(type_) != kind(sides[0][1]):
                raise EngineError(Reason.TYPE, f"column {name} is {type_}; two timestamps of one type are compared")
        value = " - ".join(dialect.epoch(*side) for side in reversed(sides))
    else:
        sql, type_ = sides[0]
        if kind(type_) not in NUMBERS:
            raise EngineError(Reason.TYPE, f"column {wanted.columns[0]} is {type_}; quantiles need a number")
        value = f"CAST({sql} AS DOUBLE)"
        if kind(type_) in ("float", "double"):
            value = f"CASE WHEN {dialect.finite(sql)} THEN {value} END"
    inner = f"SELECT {value} AS x FROM {table}{condition(dialect, scope, wanted.where)}"
    shown = ", ".join(f"{dialect.quantile('x', share)} AS q{i}" for i, share in enumerate(wanted.quantiles))
    return f"SELECT {shown} FROM ({inner}) AS v WHERE x IS NOT NULL"


def overlap(wanted: Measurement, scope: Expression | None, dialect: Dialect) -> str:
    """A statement of one row: the `found` keys that have more rows in `t` than in `old`, and how many were `known` to `old`."""
    keys = [dialect.column(name)[0] for name in wanted.columns]
    where, same = condition(dialect, scope, wanted.where), "IS NOT DISTINCT FROM"
    if wanted.nulls is not Nulls.EQUAL:
        where += (" AND " if where else " WHERE ") + " AND ".join(f"{key} IS NOT NULL" for key in keys)
        same = "="
    names = [f"k{i}" for i in range(len(keys))]
    shown = ", ".join(f"{key} AS {name}" for key, name in zip(keys, names, strict=True))
    after, before = (f"(SELECT {shown}, count(1) AS n FROM {table}{where} GROUP BY {', '.join(keys)})" for table in ("t", "old"))
    on = " AND ".join(f"(a.{name} {same} b.{name})" for name in names)
    return f"SELECT count(1) AS found, count(b.n) AS found_known FROM {after} AS a LEFT JOIN {before} AS b ON {on} WHERE a.n > coalesce(b.n, 0)"


def _comparable(type_: str) -> str:
    base = kind(type_)
    return "exact" if base in INTEGERS or base == "decimal" else base


def distinct(wanted: Measurement, table: str, scope: Expression | None, dialect: Dialect, limit: int) -> str:
    """A statement of the distinct values of a column as text `value`, at most `limit`."""
    sql, type_ = dialect.column(wanted.columns[0])
    where = condition(dialect, scope, wanted.where)
    where += f"{' AND ' if where else ' WHERE '}{sql} IS NOT NULL"
    return f"SELECT DISTINCT {dialect.text(sql, type_)} AS value FROM {table}{where} LIMIT {limit}"
