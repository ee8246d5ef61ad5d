"""The store keeps what it was given: through errors, restarts, kills and other processes."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st

from exporter.catalog.labels import Change, Dimension, Outcome
from exporter.catalog.metrics import CHECK_RUNS, EVALUATIONS, SCHEMA_CHANGES
from exporter.checks.row_count_change import RowCountChange
from exporter.model import NO_HISTORY, Column, Commit, Duplicates, History, Orphans, TableSpec, Value
from exporter.publish.prometheus import increments_of
from exporter.score import DimensionScore, Score
from exporter.store import Remark, Store, StoreError
from exporter.store.codec import decode_value, decode_verdict, encode_value, encode_verdict
from exporter.store.schema import metadata
from tests.web.fabricate import MINUTE, NOW, check, evaluation, problem, table, verdict


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/new/folder/dq.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store.open(url)
    yield opened
    opened.close()


def looking_back() -> TableSpec:
    rule = RowCountChange(max_drop=0.5)
    return table("sales.orders", replace(check(), id="change", check=rule))


def see(store: Store, minute: int, version: int | None = 1, **seen: Value) -> None:
    at = NOW + minute * MINUTE
    store.save(evaluation(looking_back(), [verdict()], at, version, seen), {})


def test_an_error_keeps_the_last_verdict_and_its_time(store: Store) -> None:
    spec = table()
    store.save(evaluation(spec, [verdict(Outcome.FAIL, 7)]), {})
    store.save(evaluation(spec, [problem()], NOW + 5 * MINUTE), {})
    [state] = store.restore([spec])[0].checks.values()
    assert (state.latest.outcome, state.at) == (Outcome.ERROR, NOW + 5 * MINUTE)
    assert (state.verdict, state.verdict_at) == (verdict(Outcome.FAIL, 7), NOW)


def test_an_evaluation_that_saw_no_table_keeps_its_facts(store: Store) -> None:
    spec = table()
    first = evaluation(spec, [verdict()])
    store.save(first, {})
    store.save(replace(evaluation(spec, [problem()], NOW + MINUTE, None), engine=None), {})
    [restored] = store.restore([spec])
    assert (restored.facts, restored.engine, restored.started_at) == (first.facts, first.engine, NOW + MINUTE)


def test_what_is_no_longer_configured_is_not_restored_but_kept(store: Store) -> None:
    both, one = table("t", check("a"), check("b")), table("t", check("a"))
    store.save(evaluation(both, [verdict(), verdict()]), {})
    assert set(store.restore([one])[0].checks) == {"not_null_a"}
    assert set(store.restore([both])[0].checks) == {"not_null_a", "not_null_b"}


def test_a_table_that_was_never_evaluated_is_restored_empty(store: Store) -> None:
    [restored] = store.restore([table()])
    assert (restored.checks, restored.started_at) == ({}, None)


def test_equal_values_of_a_version_are_one_point(store: Store) -> None:
    for minute in range(5):
        see(store, minute, rows=10)
    [point] = store.past("sales.orders", "change", NOW - MINUTE)
    assert (point.since, point.at, point.seen) == (NOW, NOW + 4 * MINUTE, {"rows": 10})


def test_a_new_version_or_value_is_a_new_point_and_others_stay_known(store: Store) -> None:
    see(store, 0, rows=10, top=3)
    see(store, 1, rows=11, top=3)
    see(store, 2, rows=11, top=3)
    see(store, 3, version=2, rows=11, top=3)
    points = store.past("sales.orders", "change", NOW - MINUTE)
    assert [(p.since, p.at, p.version, p.seen) for p in points] == [
        (NOW, NOW, 1, {"rows": 10, "top": 3}),
        (NOW + MINUTE, NOW + 2 * MINUTE, 1, {"rows": 11, "top": 3}),
        (NOW + 3 * MINUTE, NOW + 3 * MINUTE, 2, {"rows": 11, "top": 3}),
    ]


def test_the_newest_point_before_the_window_is_the_baseline(store: Store) -> None:
    for minute in range(4):
        see(store, minute, rows=minute)
    points = store.past("sales.orders", "change", NOW + 3 * MINUTE)
    assert [p.seen["rows"] for p in points] == [2, 3]
    assert [p.seen["rows"] for p in store.past("sales.orders", "change", NOW + timedelta(days=9))] == [3]


def test_a_check_without_history_leaves_no_points(store: Store) -> None:
    store.save(evaluation(table(), [verdict()], seen={"failed": 1}), {})
    assert store.past("sales.orders", "not_null_email", NOW - MINUTE) == []


def test_a_check_that_became_another_starts_anew(store: Store) -> None:
    spec = looking_back()
    known = replace(spec, checks=(replace(spec.checks[0], fingerprint="1"),))
    store.save(evaluation(known, [replace(verdict(), memory={"a": 1})], seen={"rows": 10}), {})
    assert store.history("sales.orders", replace(known.checks[0]), NOW).points
    other = replace(spec, checks=(replace(spec.checks[0], fingerprint="2"),))
    assert not store.restore([other])[0].checks
    assert store.history("sales.orders", other.checks[0], NOW) == NO_HISTORY
    store.save(evaluation(other, [problem()], NOW + MINUTE), {})
    assert store.restore([other])[0].checks["change"].verdict is None
    assert store.past("sales.orders", "change", NOW - MINUTE) == []


def test_a_memory_comes_back_as_it_was_kept_and_the_last_word_of_feedback_counts(store: Store) -> None:
    spec = looking_back()
    learned = replace(spec.checks[0], check=Learned())
    keeping = replace(spec, checks=(learned,))
    store.save(evaluation(keeping, [replace(verdict(), memory={"rows": [1, 2], "x": 0.1})]), {})
    store.save(evaluation(keeping, [verdict()], NOW + MINUTE), {})
    for says in ("bad", "expected"):
        store.remark(Remark("sales.orders", "change", "2026-01-14", says, "", NOW))
    assert store.history("sales.orders", learned, NOW) == History(memory={"rows": [1, 2], "x": 0.1}, feedback={"2026-01-14": "expected"})


def test_scores_are_kept_when_they_change(store: Store) -> None:
    spec = table()
    for minute, ratio in enumerate((0.5, 0.5, 0.75, None)):
        known = {Dimension.VALIDITY: DimensionScore(ratio, 1.0)}
        store.save(evaluation(spec, [verdict()], NOW + minute * MINUTE), {}, Score(ratio, 1.0, known))
    scores = store.scores(spec.name, NOW)
    assert [(at, score.ratio) for at, score in scores] == [(NOW, 0.5), (NOW + 2 * MINUTE, 0.75), (NOW + 3 * MINUTE, None)]
    assert scores[1][1].dimensions == {Dimension.VALIDITY: DimensionScore(0.75, 1.0)}
    assert [at for at, _ in store.scores(spec.name, NOW + MINUTE)] == [NOW, NOW + 2 * MINUTE, NOW + 3 * MINUTE]


class Learned(RowCountChange):
    """A check that learns and looks back at no points."""

    history: ClassVar[timedelta] = timedelta(0)
    learns: ClassVar[bool] = True
    max_drop: float | None = 0.5


def test_pruning_keeps_the_newest(store: Store) -> None:
    for minute in range(4):
        see(store, minute, rows=minute)
    assert store.prune(NOW + timedelta(days=1)) == 6
    assert [p.seen["rows"] for p in store.past("sales.orders", "change", NOW)] == [3]
    assert len(store.sparkline("sales.orders")["change"]) == 1


def test_a_sparkline_is_the_last_runs_oldest_first(store: Store) -> None:
    for minute in range(5):
        store.save(evaluation(table(), [verdict(Outcome.FAIL, minute)], NOW + minute * MINUTE), {})
    [line] = store.sparkline("sales.orders", 2).values()
    assert line == [(NOW + 3 * MINUTE, Outcome.FAIL, 3.0), (NOW + 4 * MINUTE, Outcome.FAIL, 4.0)]


def test_counters_add_up_over_reopening(store: Store, url: str) -> None:
    done = evaluation(table(), [verdict()])
    store.save(done, increments_of(done))
    store.add({(EVALUATIONS.name, ()): 2})
    store.close()
    assert Store.open(url).load_counters()[EVALUATIONS.name, ()] == 3


def test_a_killed_process_loses_nothing_that_was_saved(url: str) -> None:
    code = f"""
import os, signal
from exporter.store import Store
store = Store.open({url!r})
for n in range(50):
    store.add({{("{CHECK_RUNS.name}", ("t", "c", "pass")): 1}})
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert ended.returncode == -signal.SIGKILL
    assert Store.open(url).load_counters() == {(CHECK_RUNS.name, ("t", "c", "pass")): 50}


def test_processes_that_open_a_new_store_at_once_all_succeed(url: str) -> None:
    code = f"from exporter.store import Store; Store.open({url!r}).add({{('n', ()): 1}})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    assert Store.open(url).load_counters() == {("n", ()): 4}


def test_threads_that_write_at_once_lose_nothing(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.add({("n", ()): 1, ("m", (str(n % 3),)): 1}), range(80)))
    assert store.load_counters()["n", ()] == 80


def test_an_evaluation_that_cannot_be_stored_leaves_nothing_behind(store: Store) -> None:
    with pytest.raises(TypeError):
        see(store, 0, rows=object())  # type: ignore[arg-type]
    assert store.restore([looking_back()])[0].checks == {}


def test_the_migrations_make_the_tables_of_the_schema(store: Store) -> None:
    with store._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "dq_store_version"})
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize(
    "url", ["nonsense", "sqlite://", "mysql://u:hunter2@h/d", "postgresql+psycopg://u:hunter2@127.0.0.1:1/d"]
)
def test_a_store_that_cannot_be_opened_is_named_without_its_password(url: str) -> None:
    with pytest.raises(StoreError) as raised:
        Store.open(url)
    assert "hunter2" not in str(raised.value)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("not a database, but long enough to have a header " * 20)
    with pytest.raises(StoreError, match=r"x\.db"):
        Store.open(f"sqlite:///{tmp_path}/x.db")


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.decimals(allow_nan=False), st.text(), st.dates(),
    st.datetimes(), st.datetimes(timezones=st.just(UTC)), st.builds(Duplicates, st.integers(), st.integers()),
    st.builds(Orphans, st.integers(), st.integers(), st.booleans()),
    st.builds(Commit, st.integers(), st.datetimes(timezones=st.just(UTC))),
    st.lists(st.builds(Column, st.text(), st.text(), st.booleans())).map(tuple), st.lists(st.text()).map(tuple),
)  # fmt: skip


@given(VALUES)
def test_every_value_survives(value: Value) -> None:
    back = decode_value(encode_value(value))
    assert back == value
    assert type(back) is type(value)


def test_nan_and_zones_survive() -> None:
    nan = decode_value(encode_value(math.nan))
    assert isinstance(nan, float)
    assert math.isnan(nan)
    berlin = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=1)))
    assert encode_value(berlin) == encode_value(datetime(2026, 1, 1, 11, tzinfo=UTC))
    assert decode_value(encode_value(Decimal("1.10"))) == Decimal("1.10")
    assert decode_value(encode_value(date(2026, 1, 1))) == date(2026, 1, 1)


def test_a_verdict_survives_with_its_gauges() -> None:
    full = replace(verdict(Outcome.FAIL, 3), gauges={(SCHEMA_CHANGES, (Change.ADDED.value,)): 2.0}, value=math.inf)
    assert decode_verdict(encode_verdict(full)) == full


@pytest.mark.postgres
def test_postgresql_keeps_the_same(postgres_url: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        stores = list(pool.map(Store.open, [postgres_url] * 3))
    store, spec = stores[0], looking_back()
    done = evaluation(spec, [verdict(Outcome.FAIL, 7)], seen={"rows": 10})
    store.save(done, increments_of(done))
    store.save(evaluation(spec, [problem()], NOW + MINUTE, seen={"rows": 10}), {})
    stores[1].add({("n", ("a", "b")): 1.5})
    stores[2].add({("n", ("a", "b")): 1.5})
    [state] = stores[1].restore([spec])[0].checks.values()
    assert (state.latest.outcome, state.verdict) == (Outcome.ERROR, verdict(Outcome.FAIL, 7))
    assert [(p.since, p.at) for p in store.past("sales.orders", "change", NOW)] == [(NOW, NOW + MINUTE)]
    assert len(store.sparkline("sales.orders")["change"]) == 2
    assert store.load_counters()["n", ("a", "b")] == 3
    assert store.prune(NOW + timedelta(days=1)) == 1
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "dq_store_version"})
        assert compare_metadata(context, metadata) == []
    for one in stores:
        one.close()
