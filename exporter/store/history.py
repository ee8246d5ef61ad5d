"""What happened before: one row per run for people, run-length-encoded values for checks that look back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from exporter.catalog.labels import Outcome
from exporter.model import CheckResult, Evaluation, Point
from exporter.store.codec import decode_value, encode_value
from exporter.store.schema import history, point


def save(connection: sa.Connection, evaluation: Evaluation) -> None:
    """Appends the runs, and the values of the checks that have a history."""
    rows = [
        {
            "table_name": evaluation.table.name,
            "check_id": result.spec.id,
            "at": result.at,
            "version": evaluation.facts.version,
            "outcome": result.verdict.outcome.value,
            "reason": result.verdict.reason.value if result.verdict.reason else None,
            "value": None if result.verdict.value is None else float(result.verdict.value),
            "failed_rows": result.verdict.failed_rows,
            "evaluated_rows": result.verdict.evaluated_rows,
        }
        for result in evaluation.results
    ]
    if rows:
        connection.execute(sa.insert(history), rows)
    looking_back = [r for r in evaluation.results if r.seen and r.spec.check.history > timedelta(0)]
    if looking_back:
        _save_points(connection, evaluation, looking_back)


def _save_points(connection: sa.Connection, evaluation: Evaluation, results: list[CheckResult]) -> None:
    table, version = evaluation.table.name, evaluation.facts.version
    newest = sa.select(point).where(point.c.table_name == table, point.c.is_current)
    current = {(row.check_id, row.name): row for row in connection.execute(newest)}
    longer: list[dict[str, Any]] = []
    ended: list[int] = []
    fresh: list[dict[str, Any]] = []
    for result in results:
        for name, value in result.seen.items():
            text, row = encode_value(value), current.get((result.spec.id, name))
            if row is not None and (row.version, row.value) == (version, text):
                longer.append({"row": row.id, "until": max(row.last_at, result.at)})
                continue
            if row is not None:
                ended.append(row.id)
            fresh.append(
                {
                    "table_name": table, "check_id": result.spec.id, "name": name, "value": text, "version": version,
                    "first_at": result.at, "last_at": result.at, "is_current": True,
                }
            )  # fmt: skip
    if longer:
        moved = sa.update(point).where(point.c.id == sa.bindparam("row")).values(last_at=sa.bindparam("until"))
        connection.execute(moved, longer)
    if ended:
        connection.execute(sa.update(point).where(point.c.id.in_(ended)).values(is_current=False))
    if fresh:
        connection.execute(sa.insert(point), fresh)


def past(connection: sa.Connection, table: str, check: str, since: datetime) -> list[Point]:
    """What the check saw from `since` on, and the newest it saw before, oldest first.

    A point covers a time in which nothing that the check saw changed: its `since` to its `at`.
    """
    mine = sa.and_(point.c.table_name == table, point.c.check_id == check)
    baseline = sa.select(sa.func.max(point.c.id)).where(mine, point.c.last_at < since).group_by(point.c.name)
    wanted = sa.select(point).where(mine, sa.or_(point.c.last_at >= since, point.c.id.in_(baseline)))
    rows = list(connection.execute(wanted.order_by(point.c.first_at, point.c.id)))
    starts = sorted({row.first_at for row in rows})
    points: list[Point] = []
    alive: dict[str, Any] = {}
    position = 0
    for index, start in enumerate(starts):
        end = starts[index + 1] if index + 1 < len(starts) else None
        alive = {name: row for name, row in alive.items() if row.last_at >= start}
        versions = []
        while position < len(rows) and rows[position].first_at == start:
            alive[rows[position].name] = rows[position]
            versions.append(rows[position].version)
            position += 1
        until = [row.last_at for row in alive.values() if end is None or row.last_at < end]
        seen = {name: decode_value(row.value) for name, row in alive.items()}
        points.append(Point(max(until, default=start), versions[-1], seen, start))
    return points


def sparkline(
    connection: sa.Connection, table: str, limit: int
) -> dict[str, list[tuple[datetime, Outcome, float | None]]]:
    """The last `limit` runs of each check of a table, oldest first: when, what came of it, and the value."""
    place = sa.func.row_number().over(
        partition_by=history.c.check_id, order_by=(history.c.at.desc(), history.c.id.desc())
    )
    ranked = sa.select(history, place.label("place")).where(history.c.table_name == table).subquery()
    newest = sa.select(ranked).where(ranked.c.place <= limit).order_by(ranked.c.check_id, ranked.c.place.desc())
    lines: dict[str, list[tuple[datetime, Outcome, float | None]]] = {}
    for row in connection.execute(newest):
        lines.setdefault(row.check_id, []).append((row.at, Outcome(row.outcome), row.value))
    return lines


def prune(connection: sa.Connection, before: datetime) -> int:
    """Deletes what ended before `before`, except the newest of each check; returns the number of rows deleted."""
    newest = sa.select(sa.func.max(history.c.id)).group_by(history.c.table_name, history.c.check_id)
    runs = connection.execute(sa.delete(history).where(history.c.at < before, history.c.id.not_in(newest)))
    points = connection.execute(sa.delete(point).where(point.c.last_at < before, ~point.c.is_current))
    return runs.rowcount + points.rowcount
