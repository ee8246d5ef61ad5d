"""What was sent to the exporter: kept before it is answered, worked on later, and kept on, as more of the same run may come."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from pydantic import TypeAdapter

from exporter.pipelines.run import RunReport
from exporter.store.results import upsert
from exporter.store.run_tables import event

_REPORT = TypeAdapter(RunReport)
RunKey = tuple[str, str, str]
"""Source, job and run id."""
EventKey = tuple[str, str, str, str]
"""Source, job, run id, and what tells an event from others of its run."""


@dataclass(frozen=True, slots=True)
class Received:
    """One report that an event made; `key` is the same when the event is sent again."""

    source: str
    key: str
    report: RunReport
    received_at: datetime

    @property
    def run(self) -> RunKey:
        """The run that it is about."""
        return self.source, self.report.job, self.report.run_id


def keep(connection: sa.Connection, events: Sequence[Received]) -> set[EventKey]:
    """Keeps events that were not kept before; returns which are new."""
    rows = {
        (*one.run, one.key): {
            "source": one.source, "key": one.key, "job": one.report.job, "run_id": one.report.run_id, "received_at": one.received_at,
            "body": _REPORT.dump_json(one.report, exclude_defaults=True).decode(), "is_done": False,
        }
        for one in reversed(events)
    }  # fmt: skip
    columns = (event.c.source, event.c.job, event.c.run_id, event.c.key)
    keys, known = sorted(rows), set()
    for start in range(0, len(keys), 500):
        some = sa.select(*columns).where(sa.tuple_(*columns).in_(keys[start : start + 500]))
        known |= {(row.source, row.job, row.run_id, row.key) for row in connection.execute(some)}
    new = [rows[key] for key in reversed(list(rows)) if key not in known]
    if new:
        connection.execute(upsert(connection, event).on_conflict_do_nothing(index_elements=["source", "job", "run_id", "key"]), new)
    return rows.keys() - known


def pending(connection: sa.Connection, limit: int) -> dict[int, Received]:
    """The oldest events that nothing was done about yet, by id."""
    rows = connection.execute(sa.select(event).where(~event.c.is_done).order_by(event.c.id).limit(limit))
    return {row.id: _received(row) for row in rows}


def of_runs(connection: sa.Connection, keys: Iterable[RunKey]) -> dict[RunKey, list[Received]]:
    """Everything that was received of some runs, in order of arrival."""
    found: dict[RunKey, list[Received]] = {}
    wanted = sorted(set(keys))
    for start in range(0, len(wanted), 500):
        some = sa.tuple_(event.c.source, event.c.job, event.c.run_id).in_(wanted[start : start + 500])
        for row in connection.execute(sa.select(event).where(some).order_by(event.c.id)):
            found.setdefault((row.source, row.job, row.run_id), []).append(_received(row))
    return found


def done(connection: sa.Connection, ids: Collection[int]) -> None:
    """Nothing more has to be done about these."""
    if ids:
        connection.execute(sa.update(event).where(event.c.id == sa.bindparam("one")).values(is_done=True), [{"one": one} for one in ids])


def backlog(connection: sa.Connection) -> tuple[int, datetime | None]:
    """How many events wait, and since when the oldest does."""
    count, oldest = connection.execute(sa.select(sa.func.count(), sa.func.min(event.c.received_at)).where(~event.c.is_done)).one()
    return count, oldest


def prune(connection: sa.Connection, before: datetime) -> int:
    """Forgets what was received before `before` and is done."""
    return connection.execute(sa.delete(event).where(event.c.is_done, event.c.received_at < before)).rowcount


def _received(row: sa.Row[tuple[object, ...]]) -> Received:
    return Received(row.source, row.key, _REPORT.validate_json(row.body), row.received_at)
