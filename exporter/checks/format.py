"""`format`: text has a named form."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from exporter.catalog.labels import Dimension, Outcome
from exporter.checks.base import ColumnCheck, Example, MaxRows
from exporter.expression import Canonical, Expression, quoted, text
from exporter.model import TableSpec

_DATE = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_HEX = "[0-9A-Fa-f]{1,4}"
_IPV6 = "|".join(
    [rf"(?:{_HEX}:){{7}}{_HEX}", rf"(?:{_HEX}:){{1,7}}:", rf"(?:{_HEX}:){{6}}{_IPV4}", rf"::(?:[Ff]{{4}}:)?{_IPV4}"]
    + [rf"(?:{_HEX}:){{1,{7 - n}}}(?::{_HEX}){{1,{n}}}" for n in range(1, 7)]
    + [rf":(?::{_HEX}){{1,7}}"]
)
FORMATS: dict[str, str] = {
    "email": r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+",
    "uuid": r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
    "iso_date": _DATE,
    "iso_timestamp": rf"{_DATE}[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::(?:[0-5][0-9]|60)(?:[.,][0-9]+)?)?(?:Z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])?",
    "ipv4": _IPV4,
    "ipv6": _IPV6,
    "url": r"https?://(?:[^\s/?#@]+@)?(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#@:]+)(?::[0-9]{1,5})?(?:[/?#][^\s]*)?",
    "iban": r"[A-Z]{2}[0-9]{2}(?: ?[0-9A-Z]{4}){2,7}(?: ?[0-9A-Z]{1,3})?",
    "country_code": r"[A-Z]{2}",
    "currency_code": r"[A-Z]{3}",
    "phone_e164": r"\+[1-9][0-9]{6,14}",
    "mac_address": r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}",
    "integer": r"[+-]?[0-9]+",
    "decimal": r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)",
    "semver": r"(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?",
    "sha256": r"[0-9A-Fa-f]{64}",
}
"""Regular expressions of the whole value. They judge the form: not the check digits of an IBAN nor 30 February."""


class Format(MaxRows, ColumnCheck):
    """Text that has not the named form as a whole fails; nulls do not."""

    type: ClassVar[str] = "format"
    dimension: ClassVar[Dimension] = Dimension.VALIDITY
    good: ClassVar[Example] = Example(
        {"column": "id", "is": "uuid"}, {"id": "string"}, (("6f1c9a52-58a1-4c0e-9c7e-0d5a4a7e2b11",), (None,)), Outcome.PASS, 0, 0
    )
    bad: ClassVar[Example] = Example(
        {"column": "ip", "is": "ipv6"}, {"ip": "string"}, (("::1",), ("fe80::1:2",), ("1:2",), ("::1\n",)), Outcome.FAIL, 2, 2
    )

    form: Literal[
        "email", "uuid", "iso_date", "iso_timestamp", "ipv4", "ipv6", "url", "iban", "country_code", "currency_code",
        "phone_e164", "mac_address", "integer", "decimal", "semver", "sha256",
    ] = Field(alias="is")  # fmt: skip

    def violations(self, table: TableSpec) -> Mapping[str, Expression]:
        return {"other": Expression(f"NOT {Canonical.FULL_MATCH}({text(self.column)}, {quoted(FORMATS[self.form])})")}

    def problem(self) -> str:
        return f"have {self.column} that is not {self.form}"
