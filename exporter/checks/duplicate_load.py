"""`duplicate_load`: no load came twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, Self
from urllib.parse import unquote

from pydantic import Field, model_validator

from exporter.catalog.labels import Bound, Dimension, Outcome
from exporter.checks.base import ConfiguredCheck, Example, columns_shorthand
from exporter.expression import Expression, all_of, col, literal
from exporter.model import (
    Column,
    CommitInfo,
    History,
    Measure,
    Measurement,
    Nulls,
    Overlap,
    Reason,
    TableSpec,
    Value,
    Verdict,
)
from exporter.units import Duration, Ratio, format_duration

_KEY_TYPES = ("tinyint", "smallint", "int", "bigint", "decimal", "string", "date", "timestamp", "timestamp_ntz", "boolean", "char", "varchar")
_ALIKE = 0.02
_MOST_COMPARED, _MOST_SHOWN = 20, 3
"""Loads that one evaluation compares, and that a message names."""


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A commit that may repeat an earlier one: why, and in which partition (one text as in the log).

    `touched` is the last version after it that took rows of the partition away, which may have undone it.
    """

    earlier: CommitInfo
    later: CommitInfo
    partition: str
    why: str
    touched: int | None = None


class DuplicateLoad(ConfiguredCheck):
    """Appends of the last `lookback` that brought rows which were there already: at least `min_overlap` of their keys.

    The commit log raises the suspicion: an append to a partition that an earlier append had filled with about as many rows, or
    one with the same run or batch. Only then are the keys of the two compared, by reading the versions before and after.
    A table without `key` is compared by all its plain columns. MERGE, overwrites and maintenance never repeat a load.
    """

    type: ClassVar[str] = "duplicate_load"
    dimension: ClassVar[Dimension] = Dimension.UNIQUENESS
    learns: ClassVar[bool] = True
    empty: ClassVar[Literal["judge"]] = "judge"
    good: ClassVar[Example] = Example({"key": ["id"]}, {"id": "int"}, ((1,), (2,)), Outcome.PASS, 0)
    bad: ClassVar[Example] = Example({"key": ["id"]}, {"id": "int"}, ((1,), (2,)), Outcome.FAIL, 1.0, appended=((1,), (2,)))

    key: tuple[str, ...] = ()
    lookback: Duration = timedelta(days=7)
    min_overlap: Ratio = Field(default=0.5, gt=0, description="share of a load's keys that must have been there before it")

    @classmethod
    def shorthand(cls, body: Any) -> list[dict[str, Any]]:
        return [{"key": one["columns"]} for one in columns_shorthand(cls.type, body)]

    @model_validator(mode="after")
    def _whole_loads(self) -> Self:
        if self.filter is not None:
            raise ValueError("duplicate_load compares whole loads, so it takes no filter")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return self.key

    def measurements(self, table: TableSpec, past: History, now: datetime) -> Mapping[str, Measurement]:
        # A retry may repeat a load from before the lookback: twice as far back is looked for it.
        return {"commits": Measurement(Measure.COMMITS, since=now - 2 * self.lookback), "schema": Measurement(Measure.SCHEMA)}

    def follow_up(self, seen: Mapping[str, Value], past: History, now: datetime) -> Mapping[str, Measurement]:
        known = (past.memory or {}).get("judged", {})
        key = self.key or tuple(column.name for column in _columns(seen) if column.type.split("(", 1)[0] in _KEY_TYPES)
        if not key:
            return {}
        wanted = {}
        for suspect in self._suspects(seen, now):
            for name, after in _comparisons(suspect).items():
                if name in known:
                    continue
                where = _where(suspect.partition, key)
                wanted[name] = Measurement(Measure.OVERLAP, key, where, Nulls.IGNORE if self.key else Nulls.EQUAL, versions=(suspect.later.version - 1, after))
        return dict(list(wanted.items())[:_MOST_COMPARED])

    def _suspects(self, seen: Mapping[str, Value], now: datetime) -> list[_Suspect]:
        """Appends that may repeat an earlier one, newest first, one per commit and partition."""
        commits = [one for one in _commits(seen) if one.data]
        found: dict[tuple[int, str], _Suspect] = {}
        for place, later in enumerate(commits):
            if later.appends and later.added != 0 and later.at >= now - self.lookback:
                for suspect in _repeats(commits[:place], later, self.key):
                    touched = max((one.version for one in commits[place + 1 :] if _takes_away(one, suspect.partition)), default=None)
                    found.setdefault((later.version, suspect.partition), replace(suspect, touched=touched))
        return list(reversed(found.values()))

    # --- judging ----------------------------------------------------------------------------------------------------
    def verdict(self, seen: Mapping[str, Value], past: History, now: datetime) -> Verdict:
        names = {column.name.lower() for column in _columns(seen)}
        if gone := [name for name in self.key if name.lower() not in names and "." not in name]:
            return Verdict(Outcome.ERROR, f"the table has no column {', '.join(gone)}", Reason.COLUMN_NOT_FOUND)
        known = dict((past.memory or {}).get("judged", {}))
        fresh = {name: [value.keys, value.known] for name, value in seen.items() if isinstance(value, Overlap)}
        suspects = self._suspects(seen, now)
        both = known | fresh
        judged = {name: both[name] for one in suspects for name in _comparisons(one) if name in both}
        memory = {"judged": judged} if judged != (past.memory or {}).get("judged", {}) else None
        bounds, threshold = {Bound.MAX: self.min_overlap}, f"overlap below {self.min_overlap:.0%}"
        shares = {one: _share(one, judged) for one in suspects if all(name in judged for name in _comparisons(one))}
        repeated = [one for one in suspects if shares.get(one, 0.0) >= self.min_overlap]
        if not repeated and len(shares) < len(suspects):
            text = f"{len(suspects) - len(shares)} appends look like earlier ones and are compared at the next run"
            return Verdict(Outcome.LEARNING, text, Reason.HISTORY, memory=memory)
        if not repeated:
            looked = f"; {len(judged)} looked alike, with other keys" if judged else ""
            loads = sum(one.added != 0 for one in _commits(seen) if one.data and one.at >= now - self.lookback)
            if not loads and not past.memory:
                return Verdict(Outcome.SKIPPED, f"no load in the last {format_duration(self.lookback)}", Reason.EMPTY)
            text = f"none of {loads} loads of the last {format_duration(self.lookback)} repeats an earlier one{looked}"
            return Verdict(Outcome.PASS, text, None, max(shares.values(), default=0), "ratio", threshold, bounds, memory=memory)
        counts = [_rows(one.later, one.partition) for one in repeated]
        rows = None if None in counts else sum(count or 0 for count in counts)
        by_version: dict[int, list[_Suspect]] = {}
        for one in repeated:
            by_version.setdefault(one.later.version, []).append(one)
        told = "; ".join(self._text(load, judged) for load in list(by_version.values())[:_MOST_SHOWN])
        more = f"; and {len(by_version) - _MOST_SHOWN} loads more" if len(by_version) > _MOST_SHOWN else ""
        undo = f"what would undo it: RESTORE TABLE … TO VERSION AS OF {min(by_version) - 1}"
        newest = max(one.version for one in _commits(seen))
        if newest > min(by_version):
            undo += f", which also takes back what came after it up to version {newest}"
        return Verdict(Outcome.FAIL, f"{told}{more}; {undo}", None, max(shares.values()), "ratio", threshold, bounds, failed_rows=rows, memory=memory)

    def _text(self, load: Sequence[_Suspect], judged: Mapping[str, Sequence[int]]) -> str:
        """What one commit repeated, and where."""
        first = load[0]
        counts = [_rows(one.later, one.partition) for one in load]
        rows = "rows" if None in counts else f"{sum(count or 0 for count in counts):,} rows"
        places = [unquote(one.partition) for one in load if one.partition]
        where = f" to {', '.join(places[:_MOST_SHOWN])}" + (f" and {len(places) - _MOST_SHOWN} more" if len(places) > _MOST_SHOWN else "") if places else ""
        keys, known = (sum(judged[_name(one)][side] for one in load) for side in (0, 1))
        named = ", ".join(self.key) or "all columns"
        return (
            f"version {first.later.version} ({first.later.at:%Y-%m-%d %H:%M} UTC) appended {rows}{where}, of which {known / keys:.0%} of the keys ({named}) were "
            f"there already; it repeats version {first.earlier.version} ({first.earlier.at:%Y-%m-%d %H:%M}): {first.why}"
        )


def _repeats(before: Sequence[CommitInfo], later: CommitInfo, key: Sequence[str]) -> Iterator[_Suspect]:
    """Where an append looks like what was added before it and is still there."""
    for partition, rows in (later.partitions or {"": later.added}).items():
        there = list(_standing(before, partition))
        like = next((one for one in there if later.tag is not None and one.tag == later.tag), None)
        if like is not None:
            yield _Suspect(like, later, partition, "the same run or batch")
            continue
        there = [one for one in there if not _apart(one, later, key)]
        sizes = [_rows(one, partition) for one in there]
        for one, had in zip(there, sizes, strict=True):
            if rows is None or had is None:
                yield _Suspect(one, later, partition, "the log does not say how many rows they have")
                break
            if abs(rows - had) <= _ALIKE * had:
                yield _Suspect(one, later, partition, f"about as many rows ({had:,})")
                break
        else:
            total = sum(size for size in sizes if size is not None)
            times = next((k for k in (1, 2, 3) if rows and len(there) > 1 and abs(total - k * rows) <= _ALIKE * total), None)
            if times:
                yield _Suspect(there[0], later, partition, f"about {'as many rows as' if times == 1 else f'1/{times} of the rows that'} the loads before brought together ({total:,})")


def _standing(before: Sequence[CommitInfo], partition: str) -> Iterator[CommitInfo]:
    """The loads of a partition since it was last written anew, newest first."""
    for one in reversed(before):
        if partition and one.partitions and partition not in one.partitions:
            continue
        if one.operation != "MERGE" and one.added != 0:
            yield one
        if one.removed != 0 and not one.appends:
            return


def _rows(one: CommitInfo, partition: str) -> int | None:
    return one.partitions.get(partition, one.added)


def _apart(one: CommitInfo, other: CommitInfo, key: Sequence[str]) -> bool:
    """True when the bounds of a key column show that no key can be in both."""
    for name in key:
        mine, theirs = one.ranges.get(name), other.ranges.get(name)
        if mine and theirs and isinstance(mine[0], str) == isinstance(theirs[0], str) and (mine[1] < theirs[0] or theirs[1] < mine[0]):  # type: ignore[operator]
            return True
    return False


def _takes_away(one: CommitInfo, partition: str) -> bool:
    """True for a commit that may have removed rows of a partition."""
    return one.data and one.removed != 0 and not one.appends and (not partition or not one.cleared or partition in one.cleared)


def _comparisons(one: _Suspect) -> dict[str, int]:
    """What has to be compared with the version before the load, by name: the load itself, and what became of it."""
    return {_name(one): one.later.version} | ({f"{_name(one)}@{one.touched}": one.touched} if one.touched is not None else {})


def _share(one: _Suspect, judged: Mapping[str, Sequence[int]]) -> float:
    """Share of the load's keys that were there before it and still are there more often than then."""
    keys = judged[_name(one)][0]
    known = min(judged[name][1] for name in _comparisons(one))
    return known / keys if keys else 0.0


def _where(partition: str, key: Sequence[str]) -> Expression | None:
    """The rows of a partition as the log writes it (`a=1/b=x`)."""
    conditions = []
    for part in partition.split("/") if partition else ():
        name, _, value = part.partition("=")
        value = unquote(value)
        conditions.append(Expression(f"{col(name)} IS NULL" if not value else f"{col(name)} = {literal(name, value)}"))
    return all_of(*conditions)


def _name(one: _Suspect) -> str:
    return f"{one.later.version}/{one.partition}"


def _commits(seen: Mapping[str, Value]) -> list[CommitInfo]:
    commits = seen["commits"]
    assert isinstance(commits, tuple)
    return [one for one in commits if isinstance(one, CommitInfo)]


def _columns(seen: Mapping[str, Value]) -> list[Column]:
    schema = seen["schema"]
    assert isinstance(schema, tuple)
    return [column for column in schema if isinstance(column, Column)]


