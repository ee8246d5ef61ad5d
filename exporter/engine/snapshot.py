"""Which rows: one pinned version of a table, its schema and what metadata says of it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from exporter.model import Column, Commit, Failure, Reason, TableFacts, TableSpec


class EngineError(Exception):
    """Something could not be read or computed; carries the `Failure` that becomes the checks' error."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(reason, message)

    def __reduce__(self) -> tuple[type[EngineError], tuple[Reason, str]]:
        return EngineError, (self.failure.reason, self.failure.message)


def redacted(text: str, most: int = 300) -> str:
    """An engine's message without what may come from the data: quoted text, numbers and terminal codes."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", " ".join(text.split()))
    text = re.sub(r"['\"].*['\"]", "'…'", text)  # from the first quote to the last: a value may hold quotes itself
    return re.sub(r"(?<![\w.])[-+]?\d[\d.,:TZ+-]*\d(?!\w)", "…", text)[:most]


class Unsupported(Exception):
    """An engine cannot answer exactly; the message says which part is the reason."""


@dataclass(frozen=True)
class Snapshot:
    """One version of a table as all tiers of a run see it.

    `partitions` maps a partition column to its values as text with their rows (None when metadata does not list or count them).
    `by_spark` means that only Spark could open the table. `deletion_vectors` tells the native engine how to read.
    """

    spec: TableSpec
    schema: tuple[Column, ...]
    facts: TableFacts = field(default_factory=TableFacts)
    commit: Commit | None = None
    partition_columns: tuple[str, ...] = ()
    partitions: Mapping[str, Mapping[str, int | None]] | None = None
    deletion_vectors: bool = False
    by_spark: bool = False

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """Columns by their exact names."""
        return {column.name: column for column in self.schema}

    def column(self, name: str) -> Column:
        """The top-level column of that name, first exactly, then whatever the case. Raises EngineError."""
        if (exact := self.by_name.get(name)) is not None:
            return exact
        alike = [column for column in self.schema if column.name.lower() == name.lower()]
        if len(alike) == 1:
            return alike[0]
        raise EngineError(Reason.COLUMN_NOT_FOUND, missing_column(name, self.by_name, self.spec.name))


def missing_column(name: str, known: Iterable[str], table: str) -> str:
    """The message for a column that is not there, with the nearest one that is."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names[:12])}{' …' if len(names) > 12 else ''}"
    return f"{table} has no column {name}; {hint}"


NUMBERS = ("tinyint", "smallint", "int", "bigint", "decimal", "float", "double")
INTEGERS = NUMBERS[:4]


def kind(type_: str) -> str:
    """The kind of a Spark type: `decimal` for `decimal(12,2)`, `struct` for `struct<…>`; char and varchar are string."""
    base = type_.split("(", 1)[0].split("<", 1)[0].split(" ", 1)[0].lower()
    return {"char": "string", "varchar": "string"}.get(base, base)


def decimal_size(type_: str) -> tuple[int, int]:
    """Precision and scale of `decimal(12,2)`."""
    precision, _, scale = type_.partition("(")[2].rstrip(")").partition(",")
    return int(precision or 10), int(scale or 0)
