"""Where sources were left off, which of their jobs are watched, what of them was not understood, and what they say of data sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from pydantic import TypeAdapter

from exporter.model import Json
from exporter.pipelines.base import DeadLetter, Flow, TestResult
from exporter.store.results import put, upsert
from exporter.store.run_tables import flow, letter, source, source_test, watch

_TEST = TypeAdapter(TestResult)
_MOST_LETTERS = 10_000


@dataclass(frozen=True, slots=True)
class Watch:
    """A watched job: since when, whether its past was fetched, up to when its deadlines were judged, whether it is paused."""

    source: str
    job: str
    since: datetime
    has_history: bool
    sla_judged_at: datetime | None
    is_paused: bool


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A payload that could not be understood, its number, and when it came."""

    id: int
    source: str
    at: datetime
    reason: str
    payload: str


@dataclass(frozen=True, slots=True)
class SeenFlow:
    """A data set that a job was seen to read or write, and when last."""

    source: str
    job: str
    dataset: str
    is_output: bool
    seen_at: datetime


# --- checkpoints ----------------------------------------------------------------------------------------------
def checkpoint(connection: sa.Connection, name: str) -> tuple[Json, datetime | None]:
    """Where the last complete poll ended, and up to when (the source's clock) everything is known."""
    row = connection.execute(sa.select(source).where(source.c.source == name)).one_or_none()
    return (json.loads(row.checkpoint), row.until) if row else ({}, None)


def save_checkpoint(connection: sa.Connection, name: str, body: Json, until: datetime, now: datetime) -> None:
    """Where the next poll begins."""
    put(connection, source, {"source": name}, {"checkpoint": json.dumps(body), "until": until, "polled_at": now})


def polls(connection: sa.Connection) -> dict[str, tuple[datetime, datetime]]:
    """Of each source, up to when everything is known, and when (our clock) it was last asked in full."""
    return {row.source: (row.until, row.polled_at) for row in connection.execute(sa.select(source.c.source, source.c.until, source.c.polled_at))}


# --- watched jobs ---------------------------------------------------------------------------------------------
def begin_watching(connection: sa.Connection, name: str, jobs: Iterable[str], since: datetime) -> None:
    """Watches jobs from `since` on, unless they are watched already."""
    rows = [{"source": name, "job": job, "since": since, "has_history": False, "is_paused": False} for job in sorted(set(jobs))]
    if rows:
        connection.execute(upsert(connection, watch).on_conflict_do_nothing(index_elements=["source", "job"]), rows)


def end_watching(connection: sa.Connection, name: str, kept: Collection[str]) -> None:
    """Forgets the watched jobs of a polled source that are no longer watched: should they be again, their runs of meanwhile are fetched as the past."""
    gone = [job for _, job in watches(connection, name) if job not in kept]
    if gone:
        connection.execute(sa.delete(watch).where(watch.c.source == name, watch.c.job == sa.bindparam("_job")), [{"_job": job} for job in gone])


def watches(connection: sa.Connection, name: str | None = None) -> dict[tuple[str, str], Watch]:
    """The watched jobs (of one source), by source and job."""
    wanted = sa.select(watch) if name is None else sa.select(watch).where(watch.c.source == name)
    return {
        (row.source, row.job): Watch(row.source, row.job, row.since, row.has_history, row.sla_judged_at, row.is_paused)
        for row in connection.execute(wanted)
    }


def change_watches(connection: sa.Connection, name: str, jobs: Collection[str], **values: object) -> None:
    """Sets values of some watched jobs."""
    if jobs:
        rows = [{"_source": name, "_job": job} for job in sorted(set(jobs))]
        mine = sa.and_(watch.c.source == sa.bindparam("_source"), watch.c.job == sa.bindparam("_job"))
        connection.execute(sa.update(watch).where(mine).values(**values), rows)


# --- dead letters ---------------------------------------------------------------------------------------------
def bury(connection: sa.Connection, name: str, letters: Sequence[DeadLetter], now: datetime) -> None:
    """Keeps payloads that were not understood, each once; beyond ten thousand of a source the oldest go."""
    rows = [
        {"source": name, "at": now, "reason": one.reason, "payload": one.payload, "digest": hashlib.sha256(one.payload.encode()).hexdigest()}
        for one in letters
    ]
    if not rows:
        return
    connection.execute(upsert(connection, letter).on_conflict_do_nothing(index_elements=["source", "digest"]), rows)
    kept = sa.select(letter.c.id).where(letter.c.source == name).order_by(letter.c.id.desc()).limit(_MOST_LETTERS)
    connection.execute(sa.delete(letter).where(letter.c.source == name, letter.c.id.not_in(kept)))


def letters(connection: sa.Connection, numbers: Collection[int] | None = None) -> list[StoredLetter]:
    """The dead letters, or those of some numbers, oldest first."""
    wanted = sa.select(letter).order_by(letter.c.id)
    if numbers is not None:
        wanted = wanted.where(letter.c.id.in_(list(numbers)))
    return [StoredLetter(row.id, row.source, row.at, row.reason, row.payload) for row in connection.execute(wanted)]


def count_letters(connection: sa.Connection) -> dict[str, int]:
    """Number of dead letters by source."""
    return {row[0]: row[1] for row in connection.execute(sa.select(letter.c.source, sa.func.count()).group_by(letter.c.source))}


def drop_letters(connection: sa.Connection, numbers: Collection[int]) -> int:
    """Forgets dead letters; returns how many there were."""
    return connection.execute(sa.delete(letter).where(letter.c.id.in_(list(numbers)))).rowcount


# --- data sets ------------------------------------------------------------------------------------------------
def save_flows(connection: sa.Connection, name: str, flows: Iterable[Flow], now: datetime) -> None:
    """Keeps what jobs read and write."""
    pairs = {(one.job, dataset, is_output) for one in flows for names, is_output in ((one.inputs, False), (one.outputs, True)) for dataset in names}
    rows = [{"source": name, "job": job, "dataset": dataset, "is_output": is_output, "seen_at": now} for job, dataset, is_output in sorted(pairs)]
    if rows:
        statement = upsert(connection, flow)
        newer = {"seen_at": statement.excluded.seen_at}
        connection.execute(statement.on_conflict_do_update(index_elements=["source", "job", "dataset", "is_output"], set_=newer), rows)


def flows(connection: sa.Connection, since: datetime) -> list[SeenFlow]:
    """Everything that was seen from `since` on."""
    rows = connection.execute(sa.select(flow).where(flow.c.seen_at >= since).order_by(flow.c.source, flow.c.job, flow.c.dataset))
    return [SeenFlow(row.source, row.job, row.dataset, row.is_output, row.seen_at) for row in rows]


def save_tests(connection: sa.Connection, name: str, tests: Iterable[TestResult]) -> bool:
    """Keeps the newest result of each test; True when there was any."""
    rows: Mapping[tuple[str, str], dict[str, object]] = {
        (one.dataset, one.name): {"source": name, "dataset": one.dataset, "name": one.name, "at": one.at, "body": _TEST.dump_json(one).decode()}
        for one in sorted(tests, key=lambda one: one.at)
    }
    if rows:
        statement = upsert(connection, source_test)
        newer = {"at": statement.excluded.at, "body": statement.excluded.body}
        is_news = statement.excluded.at >= source_test.c.at
        connection.execute(statement.on_conflict_do_update(index_elements=["source", "dataset", "name"], set_=newer, where=is_news), list(rows.values()))
    return bool(rows)


def tests(connection: sa.Connection, since: datetime) -> dict[str, list[TestResult]]:
    """The newest results by source, of tests that ran from `since` on."""
    found: dict[str, list[TestResult]] = {}
    wanted = sa.select(source_test).where(source_test.c.at >= since).order_by(source_test.c.source, source_test.c.dataset, source_test.c.name)
    for row in connection.execute(wanted):
        found.setdefault(row.source, []).append(_TEST.validate_json(row.body))
    return found


def prune(connection: sa.Connection, before: datetime) -> int:
    """Forgets what was last seen before `before`; returns the rows deleted."""
    return sum(
        connection.execute(sa.delete(table).where(column < before)).rowcount
        for table, column in ((flow, flow.c.seen_at), (source_test, source_test.c.at), (letter, letter.c.at))
    )
