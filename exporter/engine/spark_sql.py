"""Expressions for Spark: users' text stays as written, our canonical functions are replaced by what the schema needs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlglot import exp
from sqlglot.dialects.spark import Spark
from sqlglot.tokenizer_core import Token, TokenType

from exporter.engine.literals import instant_for, literal_for
from exporter.engine.snapshot import EngineError, Snapshot, kind, missing_column
from exporter.expression import DIALECT, Canonical, Expression
from exporter.model import Reason


def name_sql(*parts: str) -> str:
    """A column or field in backticks."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)


def resolve(snapshot: Snapshot, name: str) -> tuple[tuple[str, ...], str]:
    """Path and type of a column as written: a column of that name, else a field of a struct, whose name may have dots.

    Parts may stand in backticks. Raises EngineError.
    """
    try:
        column = snapshot.column(name)
        return (column.name,), column.type
    except EngineError:
        parts = [part.strip("`") for part in re.findall(r"`[^`]*`|[^.`]+", name)]
        heads = {column.name.lower() for column in snapshot.schema}
        for end in range(len(parts) - 1, 0, -1):
            if ".".join(parts[:end]).lower() in heads:
                return resolve_path(snapshot, [".".join(parts[:end]), *parts[end:]])
        if "`" in name and name.strip("`").lower() in heads:
            return resolve(snapshot, name.strip("`"))
        raise


def resolve_path(snapshot: Snapshot, names: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Path and type of a field of a struct; names that follow one another may be one name with dots. Raises EngineError."""
    column = snapshot.column(names[0])
    path, type_, left = [column.name], column.type, list(names[1:])
    while left:
        found = struct_fields(type_)
        by_lower = {field.lower(): field for field in found}
        for end in range(len(left), 0, -1):
            if (match := by_lower.get(".".join(left[:end]).lower())) is not None:
                path, type_, left = [*path, match], found[match], left[end:]
                break
        else:
            raise EngineError(Reason.COLUMN_NOT_FOUND, missing_column(left[0], found, f"{snapshot.spec.name} column {'.'.join(path)}"))
    return tuple(path), type_


def struct_fields(type_: str) -> dict[str, str]:
    """Names and types of the fields of `struct<a:int,b:struct<c:string>>`; empty for any other type."""
    if kind(type_) != "struct":
        return {}
    fields, depth, start, inner = {}, 0, 0, type_[len("struct<") : -1]
    for i, char in enumerate(inner + ","):
        depth += (char in "<(") - (char in ">)")
        if char == "," and depth == 0:
            name, _, field_type = inner[start:i].partition(":")
            fields[name.strip()] = field_type.strip()
            start = i + 1
    return fields


def to_spark(expression: Expression, snapshot: Snapshot) -> str:
    """Spark SQL text of an expression on a table. Raises EngineError when a column or its type is wrong."""
    return _Splicer(expression.sql, snapshot).splice()


class _Splicer:
    """Replaces the canonical calls in a text; found by token, so text in a string literal is left alone."""

    def __init__(self, sql: str, snapshot: Snapshot) -> None:
        self.sql, self.snapshot = sql, snapshot
        self.tokens: list[Token] = Spark().tokenize(sql)

    def splice(self) -> str:
        out, position, i = [], 0, 0
        while i < len(self.tokens):
            if self._is_canonical(i):
                text, _, end = self._call(i)
                out += [self.sql[position : self.tokens[i].start], text]
                position, i = self.tokens[end].end + 1, end
            i += 1
        return "".join(out) + self.sql[position:]

    def _is_canonical(self, i: int) -> bool:
        follows = i + 1 < len(self.tokens) and self.tokens[i + 1].token_type is TokenType.L_PAREN
        return follows and self.tokens[i].text in Canonical._value2member_map_

    def _call(self, i: int) -> tuple[str, str, int]:
        """Text and column type of the canonical call at token i, and the index of its closing parenthesis."""
        function, at = Canonical(self.tokens[i].text), i + 2
        types: list[str] = []
        arguments: list[str] = []
        while self.tokens[at].token_type is not TokenType.R_PAREN:
            if self._is_canonical(at):
                text, type_, at = self._call(at)
                arguments.append(text)
                types.append(type_)
            elif self.tokens[at].token_type is not TokenType.COMMA:
                arguments.append(self.tokens[at].text)
            at += 1
        return *self._replace(function, arguments, types), at

    def _replace(self, function: Canonical, arguments: list[str], types: list[str]) -> tuple[str, str]:
        match function:
            case Canonical.COL | Canonical.TEXT:
                path, type_ = resolve(self.snapshot, arguments[0])
                if function is Canonical.TEXT and kind(type_) != "string":
                    raise EngineError(Reason.TYPE, f"column {arguments[0]} is {type_}, not a string")
                return name_sql(*path), type_
            case Canonical.FULL_MATCH:
                whole = string("\\A(?:" + arguments[1] + ")\\z")
                return f"{arguments[0]} RLIKE {whole}", "boolean"
            case Canonical.NOT_FINITE | Canonical.IS_NAN:
                if kind(types[0]) not in ("float", "double"):
                    return "false", "boolean"
                infinite = f" OR abs({arguments[0]}) = double('infinity')" if function is Canonical.NOT_FINITE else ""
                return f"coalesce(isnan({arguments[0]}){infinite}, false)", "boolean"
            case Canonical.INSTANT:
                return instant_for(types[0], arguments[1], arguments[2], arguments[0]).spark(), types[0]
            case Canonical.LITERAL:
                return literal_for(types[0], arguments[1], arguments[0]).spark(), types[0]


def string(text: str) -> str:
    """A Spark string literal."""
    return exp.Literal.string(text).sql(DIALECT)
