"""The last state of tables and checks: written after each evaluation, read when the exporter starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from exporter.catalog.labels import Engine, Tier
from exporter.model import CheckResult, CheckSpec, Evaluation, TableFacts, TableSpec
from exporter.store.codec import decode_cost, decode_verdict, encode_cost, encode_verdict
from exporter.store.schema import check_state, feedback, history, memory, point, table_state
from exporter.store.state import CheckState, StoredTable


def save(connection: sa.Connection, evaluation: Evaluation) -> None:
    """Replaces the state of the table and of the checks that were run; an outcome without verdict keeps the last one."""
    facts = evaluation.facts
    seen = {
        "version": facts.version, "row_count": facts.rows, "byte_count": facts.bytes, "file_count": facts.files,
    } if facts != TableFacts() else {}  # fmt: skip
    row = {
        **seen,
        **({"engine": evaluation.engine.value} if evaluation.engine else {}),
        "started_at": evaluation.started_at,
        "duration": evaluation.duration,
        "cost": encode_cost(evaluation),
        "place": evaluation.table.place,
    }
    put(connection, table_state, {"table_name": evaluation.table.name}, row)
    _forget_other_rules(connection, evaluation)
    for result in evaluation.results:
        key = {"table_name": evaluation.table.name, "check_id": result.spec.id}
        put(connection, check_state, key, _check_row(result))


def _forget_other_rules(connection: sa.Connection, evaluation: Evaluation) -> None:
    """A check that became another one, or is about other rows, starts anew: its verdict, history and memory are of the old one."""
    name = evaluation.table.name
    rows = connection.execute(sa.select(check_state.c.check_id, check_state.c.fingerprint).where(check_state.c.table_name == name))
    known = {row.check_id: row.fingerprint for row in rows}
    changed = [result.spec.id for result in evaluation.results if known.get(result.spec.id, result.spec.fingerprint) != result.spec.fingerprint]
    if changed:
        for table in (check_state, history, point, memory, feedback):
            connection.execute(sa.delete(table).where(table.c.table_name == name, table.c.check_id.in_(changed)))


def is_of_another_rule(connection: sa.Connection, table: str, check: CheckSpec) -> bool:
    """True when what is stored under the check's id is of another rule, or about other rows."""
    stored = connection.scalar(sa.select(check_state.c.fingerprint).where(check_state.c.table_name == table, check_state.c.check_id == check.id))
    return stored is not None and stored != check.fingerprint


def _check_row(result: CheckResult) -> dict[str, object]:
    text = encode_verdict(result.verdict)
    row: dict[str, object] = {
        "outcome": result.verdict.outcome.value,
        "tier": result.tier.value if result.tier else None,
        "run_at": result.at,
        "latest": text,
        "fingerprint": result.spec.fingerprint,
    }
    if result.verdict.outcome.is_verdict:
        row |= {"verdict": text, "verdict_at": result.at}
    return row


def upsert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that can say what to do about a row that is already there."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def put(connection: sa.Connection, table: sa.Table, key: Mapping[str, object], row: Mapping[str, object]) -> None:
    """Inserts a row, or replaces the one with its key."""
    statement = upsert(connection, table).values({**key, **row})
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=dict(row)))


def restore(connection: sa.Connection, specs: Iterable[TableSpec]) -> list[StoredTable]:
    """The state of each configured table, in their order; empty where it was never evaluated."""
    tables = {row.table_name: row for row in connection.execute(sa.select(table_state))}
    checks: dict[str, dict[str, CheckState]] = {}
    for row in connection.execute(sa.select(check_state)):
        verdict = decode_verdict(row.verdict) if row.verdict is not None else None
        tier = Tier(row.tier) if row.tier else None
        state = CheckState(decode_verdict(row.latest), row.run_at, tier, verdict, row.verdict_at, row.fingerprint)
        checks.setdefault(row.table_name, {})[row.check_id] = state
    return [_stored(spec, tables.get(spec.name), checks.get(spec.name, {})).configured(spec) for spec in specs]


def _stored(spec: TableSpec, row: sa.Row[tuple[object, ...]] | None, checks: dict[str, CheckState]) -> StoredTable:
    if row is None or row.place != spec.place:
        return StoredTable(spec, checks)
    tier_seconds, scans, timed_out = decode_cost(row.cost)
    return StoredTable(
        spec,
        checks,
        TableFacts(row.version, row.row_count, row.byte_count, row.file_count),
        Engine(row.engine) if row.engine else None,
        row.started_at,
        row.duration,
        tier_seconds,
        scans,
        timed_out,
    )
