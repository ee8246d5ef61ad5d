"""Measured values and verdicts as JSON text and back, without loss; pure.

JSON has no NaN, decimals or dates: such a value is an object with one key, its kind. Aware times are written in
UTC, so that equal instants are equal text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from exporter.catalog.labels import Bound, Engine, Outcome, Tier
from exporter.catalog.metrics import all_metrics
from exporter.model import Column, Commit, Duplicates, Evaluation, Json, Orphans, Reason, Scan, Value, Verdict

_METRICS = {metric.name: metric for metric in all_metrics()}


def encode_value(value: Value) -> str:
    """JSON text of a measured value; equal values give equal text."""
    return _dump(_plain(value))


def decode_value(text: str) -> Value:
    """The value of `encode_value`."""
    return _value(json.loads(text))


def encode_verdict(verdict: Verdict) -> str:
    """JSON text of a verdict."""
    return _dump(
        {
            "outcome": verdict.outcome,
            "message": verdict.message,
            "reason": verdict.reason,
            "value": _plain(verdict.value),
            "unit": verdict.unit,
            "threshold": verdict.threshold,
            "bounds": {bound.value: _plain(limit) for bound, limit in verdict.bounds.items()},
            "evaluated_rows": verdict.evaluated_rows,
            "failed_rows": verdict.failed_rows,
            "gauges": [[metric.name, list(labels), _plain(v)] for (metric, labels), v in verdict.gauges.items()],
        }
    )


def decode_verdict(text: str) -> Verdict:
    """The verdict of `encode_verdict`; names that this version does not know are left out."""
    raw: Json = json.loads(text)
    reasons, bounds = set(Reason), set(Bound)
    return Verdict(
        outcome=Outcome(raw["outcome"]),
        message=raw["message"],
        reason=Reason(raw["reason"]) if raw["reason"] in reasons else None,
        value=_number(raw["value"]),
        unit=raw["unit"],
        threshold=raw["threshold"],
        bounds={Bound(name): _value(limit) for name, limit in raw["bounds"].items() if name in bounds},  # type: ignore[misc]
        evaluated_rows=raw["evaluated_rows"],
        failed_rows=raw["failed_rows"],
        gauges={
            (_METRICS[name], tuple(labels)): _value(value)  # type: ignore[misc]
            for name, labels, value in raw["gauges"]
            if name in _METRICS
        },
    )


def encode_cost(evaluation: Evaluation) -> str:
    """JSON text of what an evaluation cost."""
    scans = [[scan.engine, scan.files, scan.bytes, scan.rows, scan.jobs] for scan in evaluation.scans]
    return _dump({"tier_seconds": dict(evaluation.tier_seconds), "scans": scans, "timed_out": evaluation.timed_out})


def decode_cost(text: str) -> tuple[dict[Tier, float], tuple[Scan, ...], bool]:
    """Seconds by tier, scans, and whether the evaluation was cancelled at its timeout."""
    raw: Json = json.loads(text)
    tiers: Mapping[str, float] = raw["tier_seconds"]
    scans = tuple(Scan(Engine(engine), *numbers) for engine, *numbers in raw["scans"])
    return {Tier(tier): seconds for tier, seconds in tiers.items()}, scans, raw["timed_out"]


def encode_labels(values: tuple[str, ...]) -> str:
    """JSON text of label values."""
    return _dump(list(values))


def decode_labels(text: str) -> tuple[str, ...]:
    """The label values of `encode_labels`."""
    return tuple(json.loads(text))


def _dump(plain: Any) -> str:
    return json.dumps(plain, separators=(",", ":"), allow_nan=False)


def _plain(value: Value) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else {"float": str(value)}
        case Decimal():
            return {"decimal": str(value)}
        case datetime():
            return {"datetime": _time(value)}
        case date():
            return {"date": value.isoformat()}
        case Duplicates():
            return {"duplicates": [value.rows, value.keys]}
        case Orphans():
            return {"orphans": [value.rows, value.keys, value.parent_empty]}
        case Commit():
            return {"commit": [value.version, _time(value.at)]}
        case tuple() if value and isinstance(value[0], Column):
            return {"columns": [[c.name, c.type, c.nullable] for c in value if isinstance(c, Column)]}
        case tuple():
            return {"texts": list(value)}
    raise TypeError(f"a value of type {type(value).__name__} cannot be stored; see exporter.model.Value")


def _value(plain: Any) -> Value:
    if not isinstance(plain, dict):
        result: Value = plain
        return result
    [(kind, content)] = plain.items()
    match kind:
        case "float":
            return float(content)
        case "decimal":
            return Decimal(content)
        case "datetime":
            return datetime.fromisoformat(content)
        case "date":
            return date.fromisoformat(content)
        case "duplicates":
            return Duplicates(*content)
        case "orphans":
            return Orphans(*content)
        case "commit":
            return Commit(content[0], datetime.fromisoformat(content[1]))
        case "columns":
            return tuple(Column(*column) for column in content)
        case "texts":
            return tuple(content)
    raise ValueError(f"a stored value of kind {kind!r} is not known; it was written by a newer version")


def _number(plain: Any) -> float | int | None:
    value = _value(plain)
    return float(value) if isinstance(value, Decimal) else value  # type: ignore[return-value]


def _time(value: datetime) -> str:
    return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
