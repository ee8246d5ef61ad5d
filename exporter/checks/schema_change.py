"""`schema_change`: the schema has not changed since it was last seen."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Literal

from exporter.catalog.labels import Bound, Change, Dimension, Outcome
from exporter.catalog.metrics import SCHEMA_CHANGES
from exporter.checks.base import ConfiguredCheck, Example
from exporter.model import Column, History, Measure, Measurement, Reason, TableSpec, Value, Verdict
from exporter.units import Duration, format_duration

_WIDER = {
    "tinyint": {"smallint", "int", "bigint", "float", "double"},
    "smallint": {"int", "bigint", "float", "double"},
    "int": {"bigint", "double"},
    "float": {"double"},
    "date": {"timestamp_ntz"},
}


class SchemaChange(ConfiguredCheck):
    """Columns removed, retyped or made nullable since the schema seen before fail; added ones do not.

    A change is reported for `accept_after`, then the new schema is what later ones are compared with.
    `fail_on: any` fails for every change. Widening a type (int to bigint) and making a column NOT NULL break nothing.
    """

    type: ClassVar[str] = "schema_change"
    dimension: ClassVar[Dimension] = Dimension.CONSISTENCY
    history: ClassVar[timedelta] = timedelta(days=7)
    good: ClassVar[Example] = Example({}, {"a": "int"}, ((1,),), Outcome.PASS, 0, before=((2,),))
    bad: ClassVar[Example] = Example({}, {"a": "int"}, ((1,),), Outcome.LEARNING)

    accept_after: Duration = timedelta(days=1)
    fail_on: Literal["breaking", "any"] = "breaking"

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        return {**self.when_empty(), "schema": Measurement(Measure.SCHEMA)}

    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        known = [point for point in past.points if "schema" in point.seen]
        accepted = [point for point in known if (point.since or point.at) <= now - self.accept_after]
        if not known:
            return Verdict(Outcome.LEARNING, "first look at the schema; later ones are compared with it", Reason.HISTORY)
        before = accepted[-1] if accepted else known[0]
        changes = schema_changes(_columns(before.seen["schema"]), _columns(seen["schema"]))
        failing = [change for change in changes if change.breaking or self.fail_on == "any"]
        counts = Counter(change.kind for change in changes)
        text = "; ".join(change.text for change in failing + [change for change in changes if change not in failing])
        since = f" since {(before.since or before.at):%Y-%m-%d %H:%M} UTC (accepted after {format_duration(self.accept_after)})" if changes else ""
        return Verdict(
            Outcome.FAIL if failing else Outcome.PASS, (text or "no column has changed") + since, None, len(failing), "columns", "max 0",
            {Bound.MAX: 0}, gauges={(SCHEMA_CHANGES, (kind.value,)): counts[kind] for kind in Change},
        )  # fmt: skip


class _Changed:
    """One difference between two schemas."""

    def __init__(self, kind: Change, breaking: bool, text: str) -> None:
        self.kind, self.breaking, self.text = kind, breaking, text


def schema_changes(before: tuple[Column, ...], after: tuple[Column, ...]) -> list[_Changed]:
    """What differs, in the order of the columns; a rename is a removal and an addition."""
    old, new = ({column.name: column for column in side} for side in (before, after))
    changes = [_Changed(Change.REMOVED, True, f"{name} was removed") for name in old if name not in new]
    changes += [_Changed(Change.ADDED, False, f"{name} ({new[name].type}) was added") for name in new if name not in old]
    for name in [name for name in old if name in new]:
        if old[name].type != new[name].type:
            breaking = new[name].type not in _WIDER.get(old[name].type, ())
            changes.append(_Changed(Change.TYPE, breaking, f"{name} changed from {old[name].type} to {new[name].type}"))
        if old[name].nullable != new[name].nullable:
            changes.append(_Changed(Change.NULLABILITY, new[name].nullable, f"{name} became {'' if new[name].nullable else 'not '}nullable"))
    return changes


def _columns(value: Value) -> tuple[Column, ...]:
    assert isinstance(value, tuple)
    return tuple(column for column in value if isinstance(column, Column))
