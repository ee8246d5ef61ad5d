"""Scalars of the configuration: durations, sizes, ratios and limits, as pydantic types with their JSON Schema."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from exporter.expression import Expression, Query, parse_expression, parse_query

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LONGEST = timedelta(days=36525)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?")
_BYTES = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip


def parse_duration(value: object) -> timedelta:
    """`30s`, `15m`, `24h`, `7d`, `1h30m`. Raises ValueError; a bare number has no unit and is refused."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not _DURATION.fullmatch(text := value.replace(" ", "")):
        raise ValueError(f"{value!r} is not a duration: write a number with a unit, such as 30s, 15m, 24h or 7d")
    seconds = sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(text))
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{value!r} is more than a hundred years")
    return timedelta(seconds=seconds)


def format_duration(value: timedelta) -> str:
    """The two largest units of a duration: `2d 3h`, `15m`, `0s`; a leading minus for a negative one."""
    seconds = round(abs(value.total_seconds()))
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    sign = "-" if value < timedelta(0) and parts else ""
    return sign + (" ".join(parts[:2]) or "0s")


def parse_size(value: object) -> int:
    """Bytes of `8GiB`, `500MB` or a bare integer. Raises ValueError."""
    match = _SIZE.fullmatch(str(value).strip())
    if isinstance(value, bool) or not match:
        raise ValueError(f"{value!r} is not a size: write a number with a unit, such as 512MiB or 8GiB")
    return int(float(match[1]) * _BYTES[match[2] or "B"])


def parse_ratio(value: object) -> float:
    """0 to 1 from `0.1%` or `0.001`. Raises ValueError."""
    try:
        ratio = float(Decimal(value[:-1].strip()) / 100) if isinstance(value, str) and value.endswith("%") else float(str(value))
    except (ArithmeticError, ValueError):
        ratio = -1.0
    if isinstance(value, bool) or not 0 <= ratio <= 1:
        raise ValueError(f"{value!r} is not a ratio: write 0.1% or a number from 0 to 1")
    return ratio


@dataclass(frozen=True, slots=True)
class Limit:
    """The most rows that may break a rule: a count (`unit` rows) or a share of the evaluated rows (`unit` ratio)."""

    amount: float
    unit: str

    def __str__(self) -> str:
        return f"{self.amount:.6g}" if self.unit == "rows" else f"{self.amount * 100:.6g}%"


def parse_limit(value: object) -> Limit:
    """Rows from a whole number, a ratio from `0.1%` or a fraction below 1. Raises ValueError."""
    if isinstance(value, Limit):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Limit(value, "rows")
    if isinstance(value, float) and value >= 1 and value.is_integer():
        return Limit(value, "rows")
    try:
        return Limit(parse_ratio(value), "ratio")
    except ValueError:
        raise ValueError(f"{value!r} is not a limit: write a whole number of rows, or a ratio such as 0.1% or 0.001") from None


def parse_zone(value: object) -> ZoneInfo:
    """An IANA time zone. Raises ValueError."""
    if isinstance(value, ZoneInfo):
        return value
    try:
        return ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{value!r} is not a time zone: use an IANA name such as Europe/Berlin or UTC") from None


def _expression(value: object) -> Expression:
    return value if isinstance(value, Expression) else parse_expression(_text(value))


def _query(value: object) -> Query:
    return value if isinstance(value, Query) else parse_query(_text(value))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is not SQL text")
    return value


def _schema(kind: str, description: str, *examples: Any, **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, "description": description, "examples": list(examples), **more})


_NUMBER_OR_TEXT: Any = {"anyOf": [{"type": "number"}, {"type": "string"}]}

Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration), _schema("string", "a duration", "30s", "15m", "24h", "7d")
]
Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema({**_NUMBER_OR_TEXT, "description": "bytes", "examples": ["8GiB"]})]
Ratio = Annotated[
    float, BeforeValidator(parse_ratio), WithJsonSchema({**_NUMBER_OR_TEXT, "description": "0.1% or 0 to 1", "examples": ["0.1%", 0.001]})
]
RowLimit = Annotated[
    Limit,
    BeforeValidator(parse_limit),
    PlainSerializer(str),
    WithJsonSchema({**_NUMBER_OR_TEXT, "description": "a whole number of rows, or a ratio", "examples": [0, "0.1%"]}),
]
Zone = Annotated[ZoneInfo, BeforeValidator(parse_zone), PlainSerializer(str), _schema("string", "IANA time zone", "Europe/Berlin")]
SqlExpression = Annotated[Expression, BeforeValidator(_expression), PlainSerializer(str), _schema("string", "a Spark SQL expression on one row")]
SqlQuery = Annotated[Query, BeforeValidator(_query), PlainSerializer(lambda query: query.sql), _schema("string", "one read-only SELECT of one value")]
