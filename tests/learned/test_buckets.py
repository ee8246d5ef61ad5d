"""Series of buckets: closed in the table's zone, revised, bounded; and when their rows come."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.learned.arrivals import Arrivals
from exporter.learned.buckets import KEPT, Series, by_bucket, closed_before, end_of, starts
from exporter.learned.calendar import Calendar, Grain, parse_dates
from exporter.learned.judged import Sensitivity
from exporter.model import CommitInfo
from exporter.timetable import read_time

UTC_ZONE, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")
FIRST = datetime(2025, 1, 6)  # noqa: DTZ001
DAY = timedelta(days=1)


def series(grain: Grain = Grain.DAY) -> Series:
    return Series(Calendar(grain), Sensitivity.MEDIUM, UTC_ZONE)


def days(rows: list[int], first: datetime = FIRST) -> dict[datetime, int]:
    return {first + place * DAY: count for place, count in enumerate(rows)}


def noise(count: int, seed: int = 1) -> list[int]:
    rng = random.Random(seed)
    return [1000 + rng.randrange(100) for _ in range(count)]


# --- buckets ----------------------------------------------------------------------------------------------------
def test_days_with_a_change_of_clocks_have_23_and_25_hours() -> None:
    spring, autumn = datetime(2026, 3, 29), datetime(2026, 10, 25)  # noqa: DTZ001
    lengths = [end_of(day, Grain.DAY, BERLIN) - end_of(day - DAY, Grain.DAY, BERLIN) for day in (spring, autumn)]
    assert lengths == [timedelta(hours=23), timedelta(hours=25)]
    assert len(starts(spring, spring + DAY, Grain.HOUR, BERLIN)) == 23


def test_an_instant_belongs_to_its_local_day() -> None:
    counts = by_bucket({"2026-07-14T22:30:00+00:00": 5, "2026-07-14T21:30:00+00:00": 3}, Grain.DAY, BERLIN)
    assert counts == {datetime(2026, 7, 15): 5, datetime(2026, 7, 14): 3}  # noqa: DTZ001


@pytest.mark.parametrize(("text", "day"), [("2026-01-14", 14), ("20260114", 14), ("2026-01-14T23:59:59", 14), ("2026-01-14-07", 14), ("x", None), ("__HIVE_DEFAULT_PARTITION__", None), ("", None)])
def test_partition_values_of_many_spellings_are_days(text: str, day: int | None) -> None:
    moment = read_time(text, UTC_ZONE)
    assert (moment.day if moment else None) == day


def test_a_bucket_is_open_until_its_lateness_has_passed() -> None:
    now = datetime(2026, 1, 15, 1, 0, tzinfo=UTC)
    assert closed_before(now, Grain.DAY, UTC_ZONE, timedelta(0)) == datetime(2026, 1, 15)  # noqa: DTZ001
    assert closed_before(now, Grain.DAY, UTC_ZONE, timedelta(hours=2)) == datetime(2026, 1, 14)  # noqa: DTZ001
    assert closed_before(now, Grain.DAY, UTC_ZONE, timedelta(hours=26)) == datetime(2026, 1, 13)  # noqa: DTZ001
    assert closed_before(now, Grain.MONTH, UTC_ZONE, timedelta(0)) == datetime(2026, 1, 1)  # noqa: DTZ001


def test_own_dates_are_days_and_spans() -> None:
    assert len(parse_dates(["2026-01-05", "2026-03-01..2026-03-07"])) == 8
    with pytest.raises(ValueError, match="write 2026-01-05"):
        parse_dates(["5 January"])


# --- series -----------------------------------------------------------------------------------------------------
def test_the_second_look_judges_only_what_is_new() -> None:
    kept, rows = series(), noise(101)
    assert kept.update(days(rows[:100]), FIRST + 100 * DAY, None, {})
    before = kept.dump()
    assert not kept.update(days(rows[:100]), FIRST + 100 * DAY, None, {})
    assert kept.update({FIRST + 100 * DAY: rows[100]}, FIRST + 101 * DAY, FIRST + 95 * DAY, {}) is True
    assert len(kept.rows) == 101 and kept.shown[:-1] != before["shown"] and kept.shown[-1].start == FIRST + 100 * DAY


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 2000), min_size=30, max_size=90), st.data())
def test_looks_in_any_number_give_what_one_look_gives(rows: list[int], data: st.DataObject) -> None:
    rows[0] = 5
    at_once, in_parts = series(), series()
    at_once.update(days(rows), FIRST + len(rows) * DAY, None, {})
    done = 0
    while done < len(rows):
        done = min(len(rows), done + data.draw(st.integers(1, 20)))
        in_parts.update(days(rows[:done]), FIRST + done * DAY, FIRST + max(0, done - 14) * DAY, {})
        in_parts = series().load(json.loads(json.dumps(in_parts.dump())))
    assert json.dumps(in_parts.dump()) == json.dumps(at_once.dump())


def test_measuring_again_changes_nothing_and_a_repair_replays_from_that_day() -> None:
    kept, rows = series(), noise(60)
    rows[55] = 10
    kept.update(days(rows), FIRST + 60 * DAY, None, {})
    assert [one.start for one in kept.shown if one.anomaly] == [FIRST + 55 * DAY]
    rows[55] = 1020
    assert kept.update(days(rows), FIRST + 60 * DAY, FIRST + 46 * DAY, {})
    assert not any(one.anomaly for one in kept.shown)
    fresh = series()
    fresh.update(days(rows), FIRST + 60 * DAY, None, {})
    assert fresh.dump() == kept.dump()


def test_old_partitions_that_are_dropped_do_not_become_zeros_and_backfilled_ones_count() -> None:
    kept, rows = series(), noise(60)
    kept.update(days(rows), FIRST + 60 * DAY, None, {})
    recent = {start: count for start, count in days(noise(61)).items() if start >= FIRST + 40 * DAY}
    kept.update(recent, FIRST + 61 * DAY, FIRST + 46 * DAY, {})
    assert kept.rows[:40] == rows[:40] and len(kept.rows) == 61
    kept.update({**recent, FIRST + 3 * DAY: 7}, FIRST + 61 * DAY, FIRST + 46 * DAY, {})
    assert kept.rows[3] == 7


def test_a_clock_that_jumps_back_forgets_nothing() -> None:
    kept, rows = series(), noise(60)
    kept.update(days(rows), FIRST + 60 * DAY, None, {})
    assert not kept.update(days(rows[:50]), FIRST + 50 * DAY, FIRST + 60 * DAY, {})
    assert len(kept.rows) == 60


def test_ten_years_are_kept_in_a_bounded_way_and_revised_alike() -> None:
    kept, rows = series(), noise(3650)
    kept.update(days(rows), FIRST + 3650 * DAY, None, {})
    assert len(kept.rows) <= KEPT[Grain.DAY] * 9 // 8
    rows[3640] = 3
    kept.update(days(rows), FIRST + 3650 * DAY, FIRST + 3630 * DAY, {})
    assert [one.start for one in kept.shown if one.anomaly] == [FIRST + 3640 * DAY]


def test_feedback_is_heard_by_replaying() -> None:
    kept, rows = series(), noise(60)
    rows[55] = 5000
    kept.update(days(rows), FIRST + 60 * DAY, None, {})
    assert any(one.anomaly for one in kept.shown)
    assert kept.update(days(rows), FIRST + 60 * DAY, FIRST + 46 * DAY, {Grain.DAY.text(FIRST + 55 * DAY): "expected"})
    assert not any(one.anomaly for one in kept.shown)


# --- arrivals ---------------------------------------------------------------------------------------------------
def test_lateness_is_learned_from_growth_after_the_end_of_a_bucket() -> None:
    arrivals = Arrivals()
    assert arrivals.lateness() is None
    for day in range(12):
        start = FIRST + day * DAY
        for hour, rows in ((10, 50), (23, 100), (27, 100), (29, 160), (32, 160)):
            counts = {start: rows, start - DAY: 160}
            arrivals.saw(counts, (start + timedelta(hours=hour)).replace(tzinfo=UTC), Grain.DAY, UTC_ZONE)
        arrivals = Arrivals.load(json.loads(json.dumps(arrivals.dump())))
    lateness = arrivals.lateness()
    assert lateness is not None and timedelta(hours=5) <= lateness <= timedelta(hours=6)


def test_a_batch_that_comes_in_the_morning_is_waited_for() -> None:
    arrivals = Arrivals()
    for day in range(10):
        start = FIRST + day * DAY
        for hour in (0, 5, 7, 12, 23):
            arrived = {FIRST + done * DAY: 100 for done in range(day if hour >= 6 else day - 1)}
            arrivals.saw(arrived, (start + timedelta(hours=hour)).replace(tzinfo=UTC), Grain.DAY, UTC_ZONE)
    assert timedelta(hours=7) <= (arrivals.lateness() or timedelta(0)) <= timedelta(hours=8)


def test_lateness_is_learned_from_a_log_without_the_commits_that_fill_up_the_past() -> None:
    def commit(version: int, at: datetime, *partitions: str) -> CommitInfo:
        return CommitInfo(version, at.replace(tzinfo=UTC), "WRITE", "Append", added=10, removed=0, partitions=dict.fromkeys(partitions, 10))

    past = commit(0, FIRST + 40 * DAY, *(f"day={FIRST + day * DAY:%Y-%m-%d}" for day in range(20)))
    daily = [commit(day, FIRST + (day + 1) * DAY + timedelta(hours=6), f"day={FIRST + day * DAY:%Y-%m-%d}/part=3") for day in range(20, 32)]
    arrivals = Arrivals()
    arrivals.learn_from_commits([past], "day", Grain.DAY, UTC_ZONE)
    assert arrivals.lateness() is None
    arrivals.learn_from_commits([past, *daily], "day", Grain.DAY, UTC_ZONE)
    assert timedelta(hours=6) <= (arrivals.lateness() or timedelta(0)) <= timedelta(hours=7)


def test_a_hopeless_day_is_known_before_it_ends() -> None:
    arrivals = Arrivals()
    for day in range(40):
        start = FIRST + day * DAY
        for hour in range(24):
            arrivals.saw({start: 100 * hour}, (start + timedelta(hours=hour)).replace(tzinfo=UTC), Grain.DAY, UTC_ZONE)
    today = FIRST + 42 * DAY
    noon = (today + timedelta(hours=12)).replace(tzinfo=UTC)
    assert arrivals.hopeless({today: 1100}, noon, UTC_ZONE) is None
    assert "only 120 rows today by 12:00" in (arrivals.hopeless({today: 120}, noon, UTC_ZONE) or "")
    assert arrivals.hopeless({today: 0}, (today + timedelta(minutes=5)).replace(tzinfo=UTC), UTC_ZONE) is None
