"""Runs of pipelines: kept as they are known, one row per attempt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from exporter.catalog.labels import Resource
from exporter.pipelines.health import MEDIAN_OF, MONTH, Past
from exporter.pipelines.run import PipelineRun, RunError, RunState
from exporter.store.results import upsert
from exporter.store.run_tables import run

_KEY = ("source", "job", "run_id", "ordinal")
_PLAIN = tuple(field.name for field in fields(PipelineRun) if field.name not in ("state", "error", "resources"))
_MOST_RECENT = 5000
"""So many of a pipeline's recent runs are looked at; more in a day is a stream, not a pipeline."""


def save(connection: sa.Connection, runs: Iterable[PipelineRun]) -> None:
    """Inserts or replaces runs; one that is counted stays counted, and when it was first seen stays."""
    rows = [_row(one) for one in {one.key: one for one in runs}.values()]
    if not rows:
        return
    statement = upsert(connection, run)
    new = statement.excluded
    changed: dict[str, Any] = {column.name: new[column.name] for column in run.c if column.name not in (*_KEY, "seen_at", "is_counted")}
    changed["is_counted"] = sa.or_(run.c.is_counted, new.is_counted)
    connection.execute(statement.on_conflict_do_update(index_elements=list(_KEY), set_=changed), rows)


def _row(one: PipelineRun) -> dict[str, Any]:
    return {
        **{name: getattr(one, name) for name in _PLAIN},
        "state": one.state.value,
        "seconds": one.duration.total_seconds() if one.duration is not None else None,
        "error_class": one.error.error_class if one.error else None,
        "error_message": one.error.message if one.error else None,
        "resources": json.dumps({name.value: ratio for name, ratio in one.resources.items()}),
        "is_open": not one.state.is_terminal,
    }


def _run(row: sa.Row[Any]) -> PipelineRun:
    return PipelineRun(
        **{name: getattr(row, name) for name in _PLAIN},
        state=RunState(row.state),
        error=RunError(row.error_class, row.error_message or "") if row.error_class is not None else None,
        resources={Resource(name): ratio for name, ratio in json.loads(row.resources).items()} if row.resources != "{}" else {},
    )


def attempts(connection: sa.Connection, keys: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str, str], tuple[PipelineRun, ...]]:
    """The attempts of some runs, oldest first, by (source, job, run id); runs that are not known are left out."""
    found: dict[tuple[str, str, str], list[PipelineRun]] = {}
    for some in _chunks(sorted(set(keys))):
        wanted = sa.tuple_(run.c.source, run.c.job, run.c.run_id).in_(some)
        for row in connection.execute(sa.select(run).where(wanted).order_by(run.c.ordinal)):
            found.setdefault((row.source, row.job, row.run_id), []).append(_run(row))
    return {key: tuple(runs) for key, runs in found.items()}


def _chunks(keys: Sequence[Any], size: int = 500) -> Iterable[Sequence[Any]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def open_runs(connection: sa.Connection, source: str) -> list[PipelineRun]:
    """The runs of a source that have not ended, those heard of longest ago first."""
    return [_run(row) for row in connection.execute(sa.select(run).where(run.c.source == source, run.c.is_open).order_by(run.c.at))]


def uncounted(connection: sa.Connection, settled_until: datetime, limit: int) -> list[PipelineRun]:
    """Ended runs that are not in the counters, and the others of their chains."""
    ended = sa.select(run).where(~run.c.is_counted, run.c.settled_at <= settled_until).order_by(run.c.settled_at).limit(limit)
    runs = {one.key: one for one in map(_run, connection.execute(ended))}
    for some in _chunks(sorted({(one.source, one.job, one.chain) for one in runs.values()})):
        mates = sa.tuple_(run.c.source, run.c.job, run.c.chain).in_(some)
        runs |= {one.key: one for one in map(_run, connection.execute(sa.select(run).where(mates)))}
    return list(runs.values())


def mark_counted(connection: sa.Connection, runs: Iterable[PipelineRun]) -> None:
    """Marks runs as being in the counters."""
    rows = [{f"_{name}": getattr(one, name) for name in _KEY} for one in runs]
    if rows:
        mine = sa.and_(*(run.c[name] == sa.bindparam(f"_{name}") for name in _KEY))
        connection.execute(sa.update(run).where(mine).values(is_counted=True), rows)


def past(connection: sa.Connection, source: str, job: str, now: datetime, recent_since: datetime, sla_since: datetime | None) -> Past:
    """What the health of a pipeline needs; `for_sla` are the successes that ended from `sla_since` on."""
    mine = sa.and_(run.c.source == source, run.c.job == job)
    succeeded = sa.and_(mine, run.c.state == RunState.SUCCESS.value)
    failed = sa.and_(mine, run.c.state == RunState.FAILED.value)
    newest = run.c.ended_at.desc()

    def some(where: sa.ColumnElement[bool], limit: int) -> list[PipelineRun]:
        return [_run(row) for row in connection.execute(sa.select(run).where(where).order_by(newest).limit(limit))]

    month = now - MONTH
    success, failure = some(succeeded, 1), some(failed, 1)
    last = sorted((*success, *failure), key=lambda one: one.ended_at or one.at)
    durations = sa.select(run.c.seconds).where(succeeded, run.c.ended_at >= month, run.c.seconds.is_not(None)).order_by(newest).limit(MEDIAN_OF)
    sums = sa.select(sa.func.sum(sa.case((run.c.cost_usd.is_(None), run.c.seconds))), sa.func.sum(run.c.cost_usd)).where(mine, run.c.ended_at >= month)
    seconds, usd = connection.execute(sums).one()
    return Past(
        recent=some(sa.and_(mine, run.c.ended_at >= recent_since), _MOST_RECENT),
        open_runs=[_run(row) for row in connection.execute(sa.select(run).where(mine, run.c.is_open))],
        durations=list(connection.scalars(durations)),
        last=last[-1] if last else None,
        last_success=success[0] if success else None,
        last_failure=failure[0] if failure else None,
        month_seconds=seconds or 0.0,
        month_usd=usd,
        for_sla=some(sa.and_(succeeded, run.c.ended_at >= sla_since), _MOST_RECENT) if sla_since else (),
    )


def newest(connection: sa.Connection, source: str, job: str, limit: int) -> list[PipelineRun]:
    """The last runs of a pipeline, the open ones first, then by end, newest first."""
    mine = sa.select(run).where(run.c.source == source, run.c.job == job)
    shown = mine.order_by(run.c.is_open.desc(), run.c.ended_at.desc(), run.c.at.desc()).limit(limit)
    return [_run(row) for row in connection.execute(shown)]


def prune(connection: sa.Connection, before: datetime) -> int:
    """Deletes runs that ended before `before`, but for the newest of each job and state; returns the rows deleted."""
    kept = (
        sa.select(run.c.source, run.c.job, run.c.state, sa.func.max(run.c.ended_at).label("ended_at"))
        .group_by(run.c.source, run.c.job, run.c.state)
        .subquery()
    )
    is_newest = sa.exists().where(kept.c.source == run.c.source, kept.c.job == run.c.job, kept.c.state == run.c.state, kept.c.ended_at == run.c.ended_at)
    return connection.execute(sa.delete(run).where(run.c.ended_at < before, ~run.c.is_open, ~is_newest)).rowcount
