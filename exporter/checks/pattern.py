"""`pattern`: text matches a regular expression as a whole."""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from exporter.catalog.labels import Dimension, Outcome
from exporter.checks.base import ColumnCheck, Example, MaxRows
from exporter.expression import Canonical, Expression, quoted, text
from exporter.model import TableSpec

_JAVA_ONLY = re.compile(r"\(\?<(?![=!])|\\[pPQEGhHRXzZkuxN]|\(\?[a-zA-Z-]*[dUuxs]|&&|\[[^\]]*\[|[*+?}]\+")


def check_regex(pattern: str) -> str:
    """A regular expression as Java understands it; Python refuses what is broken in both. Raises ValueError."""
    if not _JAVA_ONLY.search(pattern):  # what only Java has is left to Spark to judge
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"regular expression {pattern!r}: {error}") from None
    return pattern


class Pattern(MaxRows, ColumnCheck):
    r"""Text that does not match `regex` as a whole fails (so `$` before a last newline is no match); nulls do not.

    The dialect is Java's; classes such as `\d` and `\w` are ASCII.
    """

    type: ClassVar[str] = "pattern"
    dimension: ClassVar[Dimension] = Dimension.VALIDITY
    good: ClassVar[Example] = Example(
        {"column": "email", "regex": r"[^@\s]+@[^@\s]+"}, {"email": "string"}, (("a@b.c",), (None,)), Outcome.PASS, 0, 0
    )
    bad: ClassVar[Example] = Example(
        {"column": "email", "regex": r"^[^@\s]+@[^@\s]+$"}, {"email": "string"}, (("a@b.c\n",), ("a@b.c",), ("",)), Outcome.FAIL, 2, 2
    )

    regex: Annotated[str, AfterValidator(check_regex)]

    def violations(self, table: TableSpec) -> Mapping[str, Expression]:
        return {"other": Expression(f"NOT {Canonical.FULL_MATCH}({text(self.column)}, {quoted(self.regex)})")}

    def problem(self) -> str:
        return f"have {self.column} that does not match {self.regex}"
