"""Expressions for DataFusion: an allow-list. A node that is not on it, with the types it meets, goes to Spark.

Every rule here is covered by the differential test, which runs both engines over generated tables.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from sqlglot import exp

from exporter.engine.literals import Typed, decimal_literal, instant_for, literal_for
from exporter.engine.regex import to_rust
from exporter.engine.snapshot import INTEGERS, NUMBERS, EngineError, Snapshot, Unsupported, decimal_size, kind
from exporter.engine.spark_sql import resolve, resolve_path
from exporter.expression import DIALECT, Canonical, Expression
from exporter.model import Reason

Sql = tuple[str, str]
"""DataFusion text and its Spark type."""

_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM", exp.NullSafeNEQ: "IS DISTINCT FROM",
}  # fmt: skip
_FLOATS = ("float", "double")
_ORDERED = ("string", "date", "timestamp", "timestamp_ntz", "boolean")


def identifier(name: str) -> str:
    """A quoted DataFusion identifier."""
    return '"' + name.replace('"', '""') + '"'


def text_literal(text: str) -> str:
    """A DataFusion string literal; backslashes mean themselves."""
    return "'" + text.replace("'", "''") + "'"


def normal_zero(sql: str) -> str:
    """A float in which -0.0 is 0.0, which Spark holds equal and Arrow does not."""
    return f"(CASE WHEN {sql} = 0.0 OR {sql} = -0.0 THEN 0.0 ELSE {sql} END)"


class NativeSql:
    """Renders the expressions of one table. `now` replaces the clock functions of Spark SQL."""

    def __init__(self, snapshot: Snapshot, now: datetime) -> None:
        self.snapshot, self.now = snapshot, now.astimezone(UTC)

    def predicate(self, expression: Expression) -> str:
        """A boolean expression. Raises Unsupported, or EngineError when it is wrong on any engine."""
        sql, type_ = self.render(expression.tree)
        if type_ not in ("boolean", "null"):
            raise Unsupported(f"{type_} used as a condition")
        return sql

    def column(self, name: str) -> Sql:
        """A column as written in the configuration."""
        return self._path(*resolve(self.snapshot, name))

    def _path(self, path: tuple[str, ...], type_: str) -> Sql:
        if kind(type_) not in (*NUMBERS, *_ORDERED):
            raise Unsupported(f"column of type {type_[:40]}")
        if type_.startswith(("char", "varchar")):
            raise Unsupported(f"column of type {type_}")
        return identifier(path[0]) + "".join(f"[{text_literal(part)}]" for part in path[1:]), type_

    def render(self, node: exp.Expr) -> Sql:
        """One node of the tree. Raises Unsupported."""
        handler = _HANDLERS.get(type(node))
        if handler is not None:
            return handler(self, node)
        if type(node) in _COMPARISONS:
            return self._comparison(node.this, _COMPARISONS[type(node)], node.expression)
        raise Unsupported(f"{node.key} ({node.sql(DIALECT)[:60]})")

    # --- leaves ---------------------------------------------------------------------------------------------
    def _column(self, node: exp.Expr) -> Sql:
        names = [part.name for part in node.parts]  # type: ignore[attr-defined]
        if len(names) == 1:
            column = self.snapshot.column(names[0])
            return self._path((column.name,), column.type)
        try:
            return self._path(*resolve_path(self.snapshot, names))
        except EngineError:
            raise Unsupported(f"the name {'.'.join(names)}") from None

    def _literal(self, node: exp.Expr) -> Sql:
        if node.is_string:
            return text_literal(node.name), "string"
        if any(mark in node.name for mark in "eE"):
            return Typed("double", node.name).native(), "double"
        return self._decimal(node.name)

    def _decimal(self, text: str) -> Sql:
        try:
            typed = decimal_literal(text)
        except (ArithmeticError, ValueError) as error:
            raise Unsupported(str(error)) from None
        if typed.size[1] == 0 and typed.size[0] < 19:
            return typed.text, "int" if abs(int(typed.text)) < 2**31 else "bigint"
        return typed.native(), f"decimal({typed.size[0]},{typed.size[1]})"

    def _neg(self, node: exp.Expr) -> Sql:
        if isinstance(node.this, exp.Literal) and not node.this.is_string:
            text = f"-{node.this.name}"
            return (Typed("double", text).native(), "double") if "e" in text.lower() else self._decimal(text)
        raise Unsupported("unary minus of a column")

    def _boolean(self, node: exp.Expr) -> Sql:
        return str(node.this).upper(), "boolean"

    def _null(self, node: exp.Expr) -> Sql:
        return "NULL", "null"

    def _clock(self, node: exp.Expr) -> Sql:
        if node.args.get("this") is not None:
            raise Unsupported("a clock function with an argument")
        if isinstance(node, exp.CurrentDate):
            return self._date(self.now.date())
        return instant_for("timestamp", "UTC", self.now.isoformat(), "").native(), "timestamp"

    def _date(self, day: date) -> Sql:
        return Typed("date", day.isoformat()).native(), "date"

    def _typed_literal(self, node: exp.Expr) -> Sql:
        """DATE '…' and TIMESTAMP '…', which sqlglot reads as casts of a string."""
        to, value = node.args["to"], node.this
        name = to.sql(DIALECT).lower()
        if isinstance(value, exp.Literal) and value.is_string and name in ("date", "timestamp", "timestamp_ntz"):
            try:
                return literal_for(name, value.name, "").native(), name
            except EngineError:
                raise Unsupported(f"{name} literal {value.name!r}") from None
        sql, type_ = self.render(value)
        if name == "double" and kind(type_) in (*INTEGERS, "float", "double"):
            return f"CAST({sql} AS DOUBLE)", "double"
        if kind(name) in INTEGERS and kind(type_) in INTEGERS and INTEGERS.index(kind(name)) >= INTEGERS.index(kind(type_)):
            return sql, name
        raise Unsupported(f"cast of {type_} to {name}")

    # --- logic ----------------------------------------------------------------------------------------------
    def _logical(self, node: exp.Expr) -> Sql:
        word = "AND" if isinstance(node, exp.And) else "OR"
        sides = []  # flattened: a long chain would nest too deeply
        stack = [node]
        while stack:
            part = stack.pop()
            if type(part) is type(node):
                stack += [part.expression, part.this]
            else:
                sides.append(self._condition(part))
        return "(" + f" {word} ".join(sides) + ")", "boolean"

    def _condition(self, node: exp.Expr) -> str:
        sql, type_ = self.render(node)
        if type_ not in ("boolean", "null"):
            raise Unsupported(f"{type_} used as a condition")
        return sql

    def _not(self, node: exp.Expr) -> Sql:
        return f"(NOT {self._condition(node.this)})", "boolean"

    def _paren(self, node: exp.Expr) -> Sql:
        sql, type_ = self.render(node.this)
        return f"({sql})", type_

    def _is(self, node: exp.Expr) -> Sql:
        word = {exp.Null: "NULL"}.get(type(node.expression))
        if word is None and isinstance(node.expression, exp.Boolean):
            word = str(node.expression.this).upper()
            return f"({self._condition(node.this)} IS {word})", "boolean"
        if word is None:
            raise Unsupported(node.sql(DIALECT)[:60])
        return f"({self.render(node.this)[0]} IS NULL)", "boolean"

    def _comparison(self, left: exp.Expr, operator: str, right: exp.Expr) -> Sql:
        (a, b), _ = self._same_type([self.render(left), self.render(right)], operator)
        return f"({a} {operator} {b})", "boolean"

    def _between(self, node: exp.Expr) -> Sql:
        low, high = node.args["low"], node.args["high"]
        (x, a, b), _ = self._same_type([self.render(part) for part in (node.this, low, high)], "between")
        return f"({x} BETWEEN {a} AND {b})", "boolean"

    def _in(self, node: exp.Expr) -> Sql:
        if node.args.get("query") or node.args.get("unnest") or node.args.get("field") or not node.expressions:
            raise Unsupported("IN with a subquery")
        (x, *values), _ = self._same_type([self.render(part) for part in (node.this, *node.expressions)], "in")
        return f"({x} IN ({', '.join(values)}))", "boolean"

    def _like(self, node: exp.Expr) -> Sql:
        value, pattern = self.render(node.this), node.expression
        if value[1] != "string" or not isinstance(pattern, exp.Literal) or "\\" in pattern.name:
            raise Unsupported("LIKE other than of a string column with a plain literal")
        return f"({value[0]} LIKE {text_literal(pattern.name)})", "boolean"

    def _same_type(self, parts: list[Sql], what: str) -> tuple[list[str], str]:
        """The parts coerced as Spark coerces them, and their common type. Raises Unsupported for other mixtures."""
        kinds = {kind(type_) for _, type_ in parts} - {"null"}
        if not kinds:
            return [sql for sql, _ in parts], "null"
        if kinds <= set(NUMBERS):
            if not kinds & set(_FLOATS):
                return self._exact(parts)
            wide = "float" if kinds == {"float"} else "double"
            cast = {"float": "REAL", "double": "DOUBLE"}[wide]
            return [sql if kind(type_) == "null" else normal_zero(sql if kind(type_) == wide else f"CAST({sql} AS {cast})") for sql, type_ in parts], wide
        if len(kinds) == 1 and (only := next(iter(kinds))) in _ORDERED:
            return [sql for sql, _ in parts], only
        raise Unsupported(f"{what} of {' and '.join(sorted(kinds))}")

    def _exact(self, parts: list[Sql]) -> tuple[list[str], str]:
        sizes = [_exact_size(type_) for _, type_ in parts if type_ != "null"]
        scale = max(size[1] for size in sizes)
        precision = max(size[0] - size[1] for size in sizes) + scale
        if all(kind(type_) in (*INTEGERS, "null") for _, type_ in parts):
            return [sql for sql, _ in parts], max((type_ for _, type_ in parts if type_ != "null"), key=INTEGERS.index)
        if precision > 38:
            raise Unsupported("decimals that need more than 38 digits together")
        wanted = f"DECIMAL({precision},{scale})"
        return [sql if type_ == "null" else f"CAST({sql} AS {wanted})" for sql, type_ in parts], wanted.lower()

    # --- arithmetic and functions -----------------------------------------------------------------------------
    def _arithmetic(self, node: exp.Expr) -> Sql:
        if isinstance(node.expression, exp.Interval):
            return self._date_shift(node)
        operator = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}[type(node)]  # type: ignore[index]
        left, right = self.render(node.this), self.render(node.expression)
        kinds = {kind(left[1]), kind(right[1])}
        if kinds & set(_FLOATS) and kinds <= set(NUMBERS) and "decimal" not in kinds and "float" not in kinds:
            return f"(CAST({left[0]} AS DOUBLE) {operator} CAST({right[0]} AS DOUBLE))", "double"
        if "decimal" not in kinds or not kinds <= {*INTEGERS, "decimal"}:  # Spark's integers overflow, where Arrow's wrap
            raise Unsupported(f"{operator} of {left[1]} and {right[1]}")
        (p1, s1), (p2, s2) = _exact_size(left[1]), _exact_size(right[1])
        if operator == "*":
            precision, scale = p1 + p2 + 1, s1 + s2
        else:
            scale = max(s1, s2)
            precision = max(p1 - s1, p2 - s2) + scale + 1
        if precision > 38:
            raise Unsupported(f"{operator} that needs more than 38 digits")
        a, b = (f"CAST({sql} AS DECIMAL({p},{s}))" for (sql, _), (p, s) in zip((left, right), ((p1, s1), (p2, s2)), strict=True))
        return f"CAST(({a} {operator} {b}) AS DECIMAL({precision},{scale}))", f"decimal({precision},{scale})"

    def _date_shift(self, node: exp.Expr) -> Sql:
        """`current_date() - interval 7 days`, worked out here: Spark and Arrow count other intervals differently."""
        interval, sign = node.expression, 1 if isinstance(node, exp.Add) else -1
        unit = str(interval.args.get("unit") or "").rstrip("S").lower()
        try:
            count = int(interval.this.name)
            shift = timedelta(**{unit.rstrip("s") + "s": count}) * sign
        except (ValueError, TypeError, OverflowError):
            raise Unsupported(node.sql(DIALECT)[:60]) from None
        return self._shifted(node.this, shift)

    def _shifted(self, base: exp.Expr, shift: timedelta) -> Sql:
        if isinstance(base, exp.CurrentDate) and shift % timedelta(days=1) == timedelta(0):
            return self._date(self.now.date() + shift)
        if isinstance(base, exp.CurrentTimestamp):
            return instant_for("timestamp", "UTC", (self.now + shift).isoformat(), "").native(), "timestamp"
        raise Unsupported("date arithmetic on a column")

    def _length(self, node: exp.Expr) -> Sql:
        sql, type_ = self.render(node.this)
        if type_ != "string":
            raise Unsupported(f"length of {type_}")
        return f"CAST(character_length({sql}) AS INT)", "int"

    def _coalesce(self, node: exp.Expr) -> Sql:
        parts, type_ = self._same_type([self.render(part) for part in (node.this, *node.expressions)], "coalesce")
        if type_ in _FLOATS:
            raise Unsupported("coalesce of floating-point numbers")
        return f"coalesce({', '.join(parts)})", type_

    def _float_test(self, node: exp.Expr) -> Sql:
        return self._not_finite(self.render(node.this), infinite=False)

    def _not_finite(self, value: Sql, infinite: bool) -> Sql:
        sql, type_ = value
        if kind(type_) not in _FLOATS:
            return "FALSE", "boolean"
        tests = [f"isnan({sql})"] + ([f"abs({sql}) = CAST('Infinity' AS DOUBLE)"] if infinite else [])
        return f"coalesce({' OR '.join(tests)}, FALSE)", "boolean"

    def _canonical(self, node: exp.Expr) -> Sql:
        name, arguments = node.name.lower(), node.expressions
        if name not in Canonical._value2member_map_:
            raise Unsupported(f"function {node.name}")
        match Canonical(name):
            case Canonical.COL:
                return self.column(arguments[0].name)
            case Canonical.TEXT:
                path, type_ = resolve(self.snapshot, arguments[0].name)
                if kind(type_) != "string":
                    raise EngineError(Reason.TYPE, f"column {arguments[0].name} is {type_}, not a string")
                return self._path(path, type_)
            case Canonical.FULL_MATCH:
                pattern = text_literal(f"^(?:{to_rust(arguments[1].name)})$")
                return f"regexp_like({self.render(arguments[0])[0]}, {pattern})", "boolean"
            case Canonical.NOT_FINITE | Canonical.IS_NAN:
                return self._not_finite(self.render(arguments[0]), name == Canonical.NOT_FINITE)
            case Canonical.INSTANT:
                column, zone, iso = (argument.name for argument in (arguments[0].expressions[0], *arguments[1:]))
                type_ = resolve(self.snapshot, column)[1]
                return instant_for(type_, zone, iso, column).native(), kind(type_)
            case Canonical.LITERAL:
                column, text = arguments[0].expressions[0].name, arguments[1].name
                typed = literal_for(resolve(self.snapshot, column)[1], text, column)
                return self._decimal(typed.text) if typed.kind == "decimal" else (typed.native(), typed.kind)


def _exact_size(type_: str) -> tuple[int, int]:
    integers = {"tinyint": 3, "smallint": 5, "int": 10, "bigint": 20}
    return (integers[type_], 0) if type_ in integers else decimal_size(type_)


_HANDLERS: dict[type[exp.Expr], Callable[[NativeSql, exp.Expr], Sql]] = {
    exp.Column: NativeSql._column,
    exp.Literal: NativeSql._literal,
    exp.Neg: NativeSql._neg,
    exp.Boolean: NativeSql._boolean,
    exp.Null: NativeSql._null,
    exp.CurrentDate: NativeSql._clock,
    exp.CurrentTimestamp: NativeSql._clock,
    exp.Cast: NativeSql._typed_literal,
    exp.TryCast: NativeSql._typed_literal,
    exp.And: NativeSql._logical,
    exp.Or: NativeSql._logical,
    exp.Not: NativeSql._not,
    exp.Paren: NativeSql._paren,
    exp.Is: NativeSql._is,
    exp.Between: NativeSql._between,
    exp.In: NativeSql._in,
    exp.Like: NativeSql._like,
    exp.Add: NativeSql._arithmetic,
    exp.Sub: NativeSql._arithmetic,
    exp.Mul: NativeSql._arithmetic,
    exp.Length: NativeSql._length,
    exp.Coalesce: NativeSql._coalesce,
    exp.IsNan: NativeSql._float_test,
    exp.Anonymous: NativeSql._canonical,
}
