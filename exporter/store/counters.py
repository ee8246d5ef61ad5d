"""Counters that go on counting after a restart."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from exporter.store.codec import decode_labels, encode_labels
from exporter.store.results import upsert
from exporter.store.schema import counter
from exporter.store.state import CounterKey


def add(connection: sa.Connection, increments: Mapping[CounterKey, float]) -> None:
    """Adds to counters in the caller's transaction; one that is not there yet starts at its increment."""
    # In one order everywhere, so that two writers cannot wait for one another.
    rows = [
        {"name": name, "labels": encode_labels(labels), "value": by}
        for (name, labels), by in sorted(increments.items())
        if by
    ]
    if rows:
        statement = upsert(connection, counter)
        total = {"value": counter.c.value + statement.excluded.value}
        connection.execute(statement.on_conflict_do_update(index_elements=["name", "labels"], set_=total), rows)


def load(connection: sa.Connection) -> dict[CounterKey, float]:
    """Every counter."""
    return {(name, decode_labels(labels)): value for name, labels, value in connection.execute(sa.select(counter))}
