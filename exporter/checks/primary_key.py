"""`primary_key`: a key that every row has and no two rows share."""

from typing import ClassVar, Literal

from exporter.catalog.labels import Outcome
from exporter.checks import unique
from exporter.checks.base import Example
from exporter.model import Nulls


class PrimaryKey(unique.Unique):
    """Rows with a null in the key, and rows that share their key with another, fail."""

    type: ClassVar[str] = "primary_key"
    good: ClassVar[Example] = Example(["id", "line"], {"id": "bigint", "line": "int"}, ((1, 1), (1, 2)), Outcome.PASS, 0, 0)
    bad: ClassVar[Example] = Example(["id"], {"id": "bigint"}, ((1,), (1,), (None,), (2,)), Outcome.FAIL, 3, 3)

    nulls: Literal[Nulls.FAIL] = Nulls.FAIL
