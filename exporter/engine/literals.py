"""Typed literals: a value from the configuration as a value of a column's type."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from exporter.engine.snapshot import INTEGERS, EngineError, kind
from exporter.model import Reason


@dataclass(frozen=True)
class Typed:
    """A literal: `kind` as of a Spark type (integers become decimal), and the value as text in plain form."""

    kind: str
    text: str
    size: tuple[int, int] = (0, 0)

    def spark(self) -> str:
        """The literal in Spark SQL."""
        match self.kind:
            case "decimal":
                return f"CAST('{self.text}' AS DECIMAL({self.size[0]},{self.size[1]}))"
            case "float" | "double":
                return f"CAST('{self.text}' AS {self.kind.upper()})"
            case "boolean":
                return self.text
            case "string":
                return "'" + self.text.replace("\\", "\\\\").replace("'", "\\'") + "'"
        return f"{self.kind.upper()} '{self.text}'"

    def native(self) -> str:
        """The literal for DataFusion."""
        quoted = "'" + self.text.replace("'", "''") + "'"
        match self.kind:
            case "decimal":
                return f"CAST({quoted} AS DECIMAL({self.size[0]},{self.size[1]}))"
            case "float":
                return f"CAST({quoted} AS REAL)"
            case "double":
                return f"CAST({quoted} AS DOUBLE)"
            case "boolean" | "string":
                return self.text if self.kind == "boolean" else quoted
            case "date":
                return f"CAST({quoted} AS DATE)"
            case "timestamp":
                return f"arrow_cast({quoted}, 'Timestamp(Microsecond, Some(\"UTC\"))')"
        return f"arrow_cast({quoted}, 'Timestamp(Microsecond, None)')"


def decimal_literal(text: str) -> Typed:
    """A number with just the precision and scale that it needs. Raises InvalidOperation, or ValueError beyond 38 digits."""
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(f"{text} is not a finite number")
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    scale = max(0, -exponent)
    precision = max(len(digits) + max(0, exponent), scale, 1)
    if precision > 38:
        raise ValueError(f"{text} has more than 38 digits")
    return Typed("decimal", f"{number:f}", (precision, scale))


def literal_for(type_: str, text: str, column: str) -> Typed:
    """`text` as a literal that compares with a column of `type_`. Raises EngineError when it cannot be one."""
    base = kind(type_)
    try:
        if base in INTEGERS or base == "decimal":
            return decimal_literal(text)
        match base:
            case "float" | "double":
                return Typed(base, repr(float(text)))
            case "boolean" if text.lower() in ("true", "false"):
                return Typed(base, text.lower())
            case "string":
                return Typed(base, text)
            case "date":
                return Typed(base, date.fromisoformat(text[:10]).isoformat())
            case "timestamp" | "timestamp_ntz":
                moment = datetime.fromisoformat(text)
                if base == "timestamp":
                    moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
                    return Typed(base, moment.isoformat(" ", "microseconds"))
                return Typed(base, moment.replace(tzinfo=None).isoformat(" ", "microseconds"))
    except (InvalidOperation, ValueError):
        pass
    raise EngineError(Reason.TYPE, f"column {column} is {type_}, and {text!r} is no value of that type; change the value or the check")


def instant_for(type_: str, zone: str, iso: str, column: str) -> Typed:
    """An instant as a literal of a date or timestamp column, whose naive values are in `zone`. Raises EngineError."""
    moment = datetime.fromisoformat(iso)
    match kind(type_):
        case "timestamp":
            return Typed("timestamp", moment.astimezone(UTC).isoformat(" ", "microseconds"))
        case "timestamp_ntz":
            return Typed("timestamp_ntz", moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat(" ", "microseconds"))
        case "date":
            return Typed("date", moment.astimezone(ZoneInfo(zone)).date().isoformat())
    raise EngineError(Reason.TYPE, f"column {column} is {type_}, not a date or timestamp")


