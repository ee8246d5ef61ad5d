"""Users' SQL as data: one read-only Spark SQL expression or query, parsed when the configuration is loaded.

An expression keeps the text as written, so Spark gets exactly that, and a sqlglot tree, so it can be guarded,
searched for columns and rendered for the native engine. Checks build expressions from text too; for what
differs between engines or depends on the schema they write the functions of `Canonical`, which each engine
replaces.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

DIALECT = "spark"
TABLE_PLACEHOLDER = "{table}"
TABLE_ALIAS = "dq_table"


class Canonical(StrEnum):
    """Functions of ours that may stand in an expression that a check built.

    `dq_col('name')` a column as the user wrote it; `dq_text('name')` one that must be a string; `dq_full_match(x, 'regex')` the whole value matches;
    `dq_not_finite(x)` NaN or infinite, false for types that cannot be; `dq_is_nan(x)`;
    `dq_instant(x, 'zone', 'instant')` the instant (ISO 8601, UTC) as a literal of the type of column x;
    `dq_literal(x, 'value')` the value as a literal of the type of column x.
    """

    COL = "dq_col"
    TEXT = "dq_text"
    FULL_MATCH = "dq_full_match"
    NOT_FINITE = "dq_not_finite"
    IS_NAN = "dq_is_nan"
    INSTANT = "dq_instant"
    LITERAL = "dq_literal"


logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of what _parse refuses with a better message


class ExpressionError(ValueError):
    """The text is not one read-only expression or query; the message says why."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One Spark SQL expression; equal texts are equal expressions."""

    sql: str

    @property
    def tree(self) -> exp.Expr:
        """The parsed tree; shared, so copy it before changing it."""
        return _parse_cached(self.sql)

    def __str__(self) -> str:
        return self.sql


@dataclass(frozen=True, slots=True)
class Query:
    """One read-only SELECT with one column; `{table}` in the text as written is the table under check."""

    sql: str

    @property
    def tree(self) -> exp.Expr:
        """The parsed tree, in which `{table}` is the table `dq_table`; shared, so copy it before changing it."""
        return _parse_cached(self.sql.replace(TABLE_PLACEHOLDER, TABLE_ALIAS))

    def tables(self) -> tuple[str, ...]:
        """Dotted names of the tables read, `dq_table` for the one under check, without common table expressions."""
        own = {cte.alias for cte in self.tree.find_all(exp.CTE)}
        names = (".".join(part.name for part in table.parts) for table in self.tree.find_all(exp.Table))
        return tuple(dict.fromkeys(name for name in names if name not in own))


_WRITES = (
    exp.DML, exp.DDL, exp.Command, exp.Create, exp.Drop, exp.Alter, exp.Set, exp.Use, exp.Into, exp.Lock,
    exp.Merge, exp.TruncateTable, exp.Cache, exp.Uncache, exp.Describe, exp.LoadData, exp.Transaction,
)  # fmt: skip
_HOST_FUNCTIONS = frozenset({"reflect", "try_reflect", "java_method", "raise_error", "assert_true"})


@lru_cache(maxsize=65536)
def _parse_cached(sql: str) -> exp.Expr:
    return _parse(sql)


def _parse(sql: str) -> exp.Expr:
    try:
        statements = sqlglot.parse(sql, dialect=DIALECT)
    except SqlglotError as error:
        first = str(error).split("\n", 1)[0].replace("\x1b[4m", "").replace("\x1b[0m", "")
        raise ExpressionError(f"not valid Spark SQL: {first}") from None
    except RecursionError:
        raise ExpressionError("nested too deeply") from None
    parsed = [statement for statement in statements if statement is not None and not isinstance(statement, exp.Semicolon)]
    if len(parsed) != 1:
        raise ExpressionError(f"must be exactly one statement, found {len(parsed)}")
    for node in parsed[0].walk():
        if isinstance(node, _WRITES) and not isinstance(node, exp.Query):
            raise ExpressionError(f"must only read, but has {node.key.upper()}")
        if isinstance(node, exp.Anonymous) and node.name.lower() in _HOST_FUNCTIONS:
            raise ExpressionError(f"function {node.name} is not allowed")
    return parsed[0]


def parse_expression(sql: str) -> Expression:
    """A row predicate or value: no statement, subquery, aggregate or window. Raises ExpressionError."""
    tree = _parse(sql)
    if isinstance(tree, (exp.Query, exp.Alias, exp.Tuple)):
        raise ExpressionError("must be one expression, not a query or a list; use the check type `query` for a SELECT")
    for kind, what in ((exp.Query, "a subquery"), (exp.AggFunc, "an aggregate function"), (exp.Window, "a window function")):
        if (found := tree.find(kind)) is not None:
            raise ExpressionError(f"must be computed from one row, but has {what}: {found.sql(DIALECT)[:80]}")
    for shape, what in ((exp.Star, "`*`"), (exp.Placeholder, "a parameter"), (exp.Parameter, "a parameter"), (exp.UDTF, "a function that makes rows")):
        if (found := tree.find(shape)) is not None:
            raise ExpressionError(f"must be one value of one row, but has {what}: {found.sql(DIALECT)[:80]}")
    if any(isinstance(node, exp.Anonymous) and node.name.lower().startswith("dq_") for node in tree.walk()):
        raise ExpressionError("function names that start with dq_ are reserved")
    if any(node.comments for node in tree.walk()):  # a comment would swallow what the text is composed with
        sql = tree.sql(DIALECT, comments=False)
    return Expression(sql.strip().rstrip(";").strip())


def parse_query(sql: str) -> Query:
    """One read-only SELECT with one column. Raises ExpressionError."""
    if not isinstance(sql, str) or "{" in sql.replace(TABLE_PLACEHOLDER, ""):
        raise ExpressionError("the only placeholder is {table}")
    tree = _parse(sql.replace(TABLE_PLACEHOLDER, TABLE_ALIAS))
    if not isinstance(tree, exp.Query):
        raise ExpressionError("must be one SELECT; use the check type `expression` for a condition on each row")
    if any(table.args.get("version") for table in tree.find_all(exp.Table)):
        raise ExpressionError("must read the version under check: leave out VERSION AS OF and TIMESTAMP AS OF")
    if len(tree.selects) != 1 or tree.is_star:
        raise ExpressionError(f"must select exactly one column, selects {'*' if tree.is_star else len(tree.selects)}")
    return Query(sql.strip().rstrip(";").strip())


# --- text that checks build with ------------------------------------------------------------------------------
def quoted(text: str) -> str:
    """`text` as a Spark SQL string literal."""
    return exp.Literal.string(text).sql(DIALECT)


def col(name: str) -> str:
    """A column as the user wrote it; the engine finds it in the schema, whatever characters it has."""
    return f"{Canonical.COL}({quoted(name)})"


def text(name: str) -> str:
    """A column that must be a string."""
    return f"{Canonical.TEXT}({quoted(name)})"


def literal(column: str, value: object) -> str:
    """`value` as a literal of the type of `column`, so that a number in YAML compares with a decimal exactly."""
    return f"{Canonical.LITERAL}({col(column)}, {quoted(str(value))})"


def any_of(conditions: Iterable[str]) -> Expression:
    """True where at least one of the conditions is; the conditions must not be empty."""
    return Expression(" OR ".join(f"({condition})" for condition in conditions))


def all_of(*conditions: Expression | None) -> Expression | None:
    """True where all the given conditions are; None when there is none."""
    given = list(dict.fromkeys(condition.sql for condition in conditions if condition is not None))
    if len(given) < 2:
        return Expression(given[0]) if given else None
    return Expression(" AND ".join(f"({condition})" for condition in given))
