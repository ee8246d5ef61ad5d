"""What checks learned, what people said of it, and how scores went."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from exporter.catalog.labels import Dimension
from exporter.model import Evaluation, Json
from exporter.score import DimensionScore, Score
from exporter.store.results import put
from exporter.store.schema import feedback, memory, score


@dataclass(frozen=True, slots=True)
class Remark:
    """What a person said of one bucket of a check: `expected` or `bad`."""

    table: str
    check: str
    bucket: str
    says: str
    note: str
    at: datetime


def save(connection: sa.Connection, evaluation: Evaluation) -> None:
    """Replaces the memory of the checks whose verdict brings one."""
    for result in evaluation.results:
        if result.verdict.memory is not None:
            body = zlib.compress(json.dumps(result.verdict.memory, separators=(",", ":")).encode(), 1)
            put(connection, memory, {"table_name": evaluation.table.name, "check_id": result.spec.id}, {"at": result.at, "body": body})


def recall(connection: sa.Connection, table: str, check: str) -> Json | None:
    """The memory of a check, None when it has none."""
    body = connection.scalar(sa.select(memory.c.body).where(memory.c.table_name == table, memory.c.check_id == check))
    return None if body is None else json.loads(zlib.decompress(body))


def memories(connection: sa.Connection, table: str) -> dict[str, Json]:
    """The memories of a table's checks, by id."""
    rows = connection.execute(sa.select(memory.c.check_id, memory.c.body).where(memory.c.table_name == table))
    return {row.check_id: json.loads(zlib.decompress(row.body)) for row in rows}


def remark(connection: sa.Connection, said: Remark) -> None:
    """Keeps what was said; the last word on a bucket counts."""
    key = {"table_name": said.table, "check_id": said.check, "bucket": said.bucket}
    put(connection, feedback, key, {"says": said.says, "note": said.note, "at": said.at})


def remarks(connection: sa.Connection, table: str, check: str) -> dict[str, str]:
    """What was said of each bucket of a check."""
    rows = sa.select(feedback.c.bucket, feedback.c.says).where(feedback.c.table_name == table, feedback.c.check_id == check)
    return {row.bucket: row.says for row in connection.execute(rows)}


def save_score(connection: sa.Connection, table: str, at: datetime, now: Score) -> None:
    """Appends the score of a table if it differs from the last one."""
    dimensions = json.dumps({name.value: [part.ratio, part.coverage] for name, part in now.dimensions.items()})
    newest = sa.select(score.c.ratio, score.c.coverage, score.c.dimensions).where(score.c.table_name == table)
    last = connection.execute(newest.order_by(score.c.at.desc()).limit(1)).first()
    if last is None or tuple(last) != (now.ratio, now.coverage, dimensions):
        row = {"ratio": now.ratio, "coverage": now.coverage, "dimensions": dimensions}
        put(connection, score, {"table_name": table, "at": at}, row)


def scores(connection: sa.Connection, table: str, since: datetime) -> list[tuple[datetime, Score]]:
    """The scores of a table from `since` on and the one that stood then, oldest first."""
    mine = score.c.table_name == table
    start = sa.select(sa.func.max(score.c.at)).where(mine, score.c.at <= since).scalar_subquery()
    rows = sa.select(score).where(mine, score.c.at >= sa.func.coalesce(start, 0)).order_by(score.c.at)
    return [(row.at, Score(row.ratio, row.coverage, _dimensions(json.loads(row.dimensions)))) for row in connection.execute(rows)]


def _dimensions(raw: Mapping[str, tuple[float | None, float]]) -> dict[Dimension, DimensionScore]:
    return {Dimension(name): DimensionScore(ratio, coverage) for name, (ratio, coverage) in raw.items()}


def prune_scores(connection: sa.Connection, before: datetime) -> int:
    """Deletes scores from before `before`, except the one of each table that stood then."""
    standing = sa.select(sa.func.max(score.c.at)).where(score.c.at < before).group_by(score.c.table_name)
    return connection.execute(sa.delete(score).where(score.c.at < before, score.c.at.not_in(standing))).rowcount
