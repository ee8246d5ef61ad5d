"""The row-count model: what it must be by construction, and what it must survive."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.catalog.labels import Learning
from exporter.learned.calendar import Calendar, Grain
from exporter.learned.judged import Feedback, Judged, Sensitivity
from exporter.learned.volume import VolumeModel
from tests.bench import generated
from tests.bench.peers import ours
from tests.bench.protocol import evaluate, young

MONDAY = datetime(2025, 1, 6)  # noqa: DTZ001
DAILY = Calendar()


def judge(rows: Sequence[int], calendar: Calendar = DAILY, sensitivity: Sensitivity = Sensitivity.MEDIUM, first: datetime = MONDAY, feedback: dict[int, Feedback] | None = None) -> list[Judged]:
    model = VolumeModel(calendar, sensitivity)
    found, at = [], first
    for place, count in enumerate(rows):
        found.append(model.step(at, count, (feedback or {}).get(place)))
        at = calendar.grain.after(at)
    return found


def flagged(judged: Sequence[Judged]) -> list[int]:
    return [place for place, one in enumerate(judged) if one.anomaly]


def noise(days: int, level: float = 1000, sigma: float = 0.05, seed: int = 1, week: Sequence[float] = (1.0,) * 7) -> list[int]:
    rng = random.Random(seed)
    return [round(level * week[day % 7] * math.exp(rng.gauss(0, sigma))) for day in range(days)]


WEEKDAYS_ONLY = (1, 1, 1, 1, 1, 0, 0)

# --- properties -------------------------------------------------------------------------------------------------
SERIES = st.lists(st.one_of(st.integers(0, 50), st.integers(0, 10_000), st.integers(900, 1100)), min_size=1, max_size=150)


@settings(max_examples=60, deadline=None)
@given(SERIES, st.integers(1, 150))
def test_the_future_changes_nothing(rows: list[int], cut: int) -> None:
    assert judge(rows)[:cut] == judge(rows[:cut])


@settings(max_examples=40, deadline=None)
@given(SERIES, st.sampled_from(Grain))
def test_a_state_that_was_kept_goes_on_like_one_that_was_not(rows: list[int], grain: Grain) -> None:
    calendar = Calendar(grain, "US")
    whole, kept, at = VolumeModel(calendar), VolumeModel(calendar), grain.start(MONDAY)
    for count in rows:
        kept = VolumeModel.load(calendar, Sensitivity.MEDIUM, json.loads(json.dumps(kept.dump())))
        assert whole.step(at, count) == kept.step(at, count)
        at = grain.after(at)
    assert whole.dump() == kept.dump()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 10_000), st.sampled_from([10, 1000]))
def test_scale_does_not_matter_beyond_the_poisson_floor(seed: int, factor: int) -> None:
    rows = noise(120, 20_000, 0.1, seed, (1, 1, 1, 1, 0.9, 0.4, 0.3))
    rows[100], rows[110] = rows[100] // 3, rows[110] * 2
    assert flagged(judge(rows)) == flagged(judge([count * factor for count in rows]))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 10_000))
def test_a_higher_sensitivity_is_never_blind_to_the_first_anomaly_that_a_lower_one_sees(seed: int) -> None:
    rows = noise(100, 5_000, 0.12, seed)
    rows[70] = rows[70] * 6 // 10
    first = [min(flagged(judge(rows, sensitivity=one)), default=10**9) for one in (Sensitivity.LOW, Sensitivity.MEDIUM, Sensitivity.HIGH)]
    assert first == sorted(first, reverse=True)


@settings(max_examples=60, deadline=None)
@given(SERIES)
def test_a_band_holds_what_is_no_anomaly_and_never_is_negative(rows: list[int]) -> None:
    for one in judge(rows):
        if one.expected is not None and one.lower is not None and one.upper is not None:
            assert 0 <= one.lower <= one.expected <= one.upper
            assert one.anomaly or one.state is Learning.LEARNING or one.lower - 1e-6 <= one.rows <= one.upper + 1e-6 or one.rows == 0


# --- what it must survive ---------------------------------------------------------------------------------------
def test_a_constant_history_then_a_drop_is_an_anomaly() -> None:
    judged = judge([200] * 20 + [1])
    assert flagged(judged) == [20]
    assert judged[20].expected == pytest.approx(200, rel=0.05)


def test_a_tenth_of_the_noise_at_day_eight_counts_only_when_it_is_none_at_all() -> None:
    assert flagged(judge([*noise(8), 0])) == [8]


def test_whole_buckets_missing_are_two_anomalies_of_value_zero() -> None:
    judged = judge([*noise(40), 0, 0, *noise(5)])
    assert [(place, judged[place].rows) for place in flagged(judged)] == [(40, 0), (41, 0)]


def test_a_repaired_value_replaces_the_failed_one() -> None:
    rows = [*noise(40), 10, *noise(3, seed=2)]
    assert 40 in flagged(judge(rows))
    rows[40] = 1000
    assert not flagged(judge(rows))


def test_a_new_weekly_pattern_alarms_three_times_and_is_then_expected() -> None:
    rows = noise(150)
    for day in range(70, 150, 7):
        rows[day] *= 5
    assert flagged(judge(rows)) == [70, 77, 84]


def test_weekends_from_the_first_week_on_are_not_locked_out() -> None:
    rows = noise(120, week=(1, 1, 1, 1, 1, 0.3, 0.25))
    assert not flagged(judge(rows))


def test_weekday_only_tables_are_quiet_on_weekends_and_a_lost_tuesday_is_seen() -> None:
    rows = noise(90, week=WEEKDAYS_ONLY)
    rows[78] = 0
    judged = judge(rows)
    assert flagged(judged) == [78]
    assert {judged[day].state for day in (82, 83)} == {Learning.QUIET}


def test_a_lasting_new_level_is_adopted_and_recorded() -> None:
    judged = judge([*noise(60), *noise(40, 500, seed=2)])
    assert flagged(judged) == list(range(60, 66))
    assert [one.event for one in judged if one.event] == ["level shift"]
    doubled = judge([*noise(60), *noise(40, 2000, seed=3)])
    assert 0 < len(flagged(doubled)) <= 7 and max(flagged(doubled)) <= 67


def test_growth_of_one_percent_a_day_is_no_anomaly() -> None:
    assert not flagged(judge([round(count * 1.01**day) for day, count in enumerate(noise(300))]))


def test_a_table_that_stopped_says_so_once_and_its_return_is_not_judged() -> None:
    judged = judge([*noise(60), *[0] * 30, *noise(20, seed=4)])
    assert flagged(judged) == list(range(60, 67))
    assert judged[66].event == "stopped"
    assert {one.state for one in judged[67:90]} == {Learning.STOPPED}
    assert (judged[90].event, judged[90].anomaly) == ("resumed", False)
    assert not flagged(judged[91:])


@pytest.mark.parametrize("rows", [[0] * 120, [3, 0, 5, 2, 4, 1, 3] * 20, [1] * 100])
def test_counts_below_ten_and_empty_tables_raise_no_alarm(rows: list[int]) -> None:
    assert not flagged(judge(rows))


def test_holidays_are_neither_judged_nor_learned() -> None:
    calendar = Calendar(country="US")
    rows = noise(400)
    days = [MONDAY + timedelta(days=day) for day in range(400)]
    for place, day in enumerate(days):
        if calendar.mark(day).neutral:
            rows[place] = 5
    judged = judge(rows, calendar)
    assert not flagged(judged)
    assert judged[days.index(datetime(2025, 7, 4))].state is Learning.NEUTRAL  # noqa: DTZ001


def test_own_closed_days_are_neutral() -> None:
    closed = Calendar(closed=frozenset({date(2025, 3, 12)}))
    rows = noise(100)
    rows[65] = 0
    assert flagged(judge(rows)) == [65] and not flagged(judge(rows, closed))


def test_a_billing_day_is_learned_after_two_months() -> None:
    rows = noise(300)
    days = [MONDAY + timedelta(days=day) for day in range(300)]
    for place, day in enumerate(days):
        rows[place] *= 6 if day.day == 1 else 1
    late = [place for place in flagged(judge(rows)) if place > 100]
    assert not late
    rows[days.index(datetime(2025, 9, 1))] //= 6  # noqa: DTZ001
    assert days.index(datetime(2025, 9, 1)) in flagged(judge(rows))  # noqa: DTZ001


@pytest.mark.parametrize("first", [datetime(2024, 1, 1), datetime(2023, 12, 4)])  # noqa: DTZ001
def test_a_leap_day_is_a_day_like_any_other(first: datetime) -> None:
    assert not flagged(judge(noise(120, week=WEEKDAYS_ONLY), first=first))


def test_about_twice_the_rows_is_said_to_be_that() -> None:
    rows = noise(60, sigma=0.1)
    rows[55] *= 2
    judged = judge(rows)
    assert flagged(judged) == [55] and judged[55].note == "about 2 × the expected rows"


def test_feedback_readmits_what_was_expected_and_excludes_what_was_bad() -> None:
    rows = [*noise(60), 2500, *noise(5, seed=5)]
    assert flagged(judge(rows)) == [60]
    assert not flagged(judge(rows, feedback={60: Feedback.EXPECTED}))
    quiet = [*noise(60), 1000, *noise(5, seed=5)]
    assert flagged(judge(quiet, feedback={60: Feedback.BAD})) == [60]


def test_too_many_anomalies_are_called_unstable() -> None:
    rng = random.Random(3)
    rows = [round(1000 * (1 if rng.random() < 0.55 or day < 40 else 0.3 + 0.2 * rng.random())) for day in range(120)]
    assert Learning.UNSTABLE in {one.state for one in judge(rows)}


@pytest.mark.parametrize(("grain", "count"), [(Grain.HOUR, 24 * 50), (Grain.WEEK, 80), (Grain.MONTH, 40)])
def test_every_grain_sees_a_loss_and_little_else(grain: Grain, count: int) -> None:
    rng, at, rows = random.Random(7), grain.start(MONDAY), []
    for _ in range(count):
        shape = 1 + 0.5 * math.sin(at.hour / 24 * 2 * math.pi) if grain is Grain.HOUR else 1
        rows.append(round(2000 * shape * math.exp(rng.gauss(0, 0.05))))
        at = grain.after(at)
    rows[-5] = 0
    found = flagged(judge(rows, Calendar(grain)))
    assert count - 5 in found and len(found) <= 1 + count / 200


def test_a_decade_is_judged_at_bounded_cost() -> None:
    model, sizes = VolumeModel(DAILY), []
    for day, count in enumerate(noise(3650)):
        model.step(MONDAY + timedelta(days=day), count)
        if day in (800, 3649):
            sizes.append(len(json.dumps(model.dump())))
    assert sizes[1] < 1.1 * sizes[0]


# --- quality ----------------------------------------------------------------------------------------------------
def test_on_generated_series_it_finds_what_was_planted() -> None:
    earlier, new = (evaluate(ours(), generated.series(shapes), (11,)) for shapes in (generated.EARLIER, generated.NEW))
    assert earlier.f1 >= 0.88 and new.f1 >= 0.78, (earlier.f1, new.f1)
    assert max(earlier.per_hundred, new.per_hundred) <= 0.7
    assert earlier.by_kind()["zero"] == new.by_kind()["zero"] == 1.0


def test_on_young_tables_it_finds_more_than_half_of_what_was_planted() -> None:
    score = evaluate(ours(), [cut for one in generated.series() for cut in young(one)], (11,), every=9, start=14)
    assert score.f1 >= 0.65 and score.per_hundred <= 2, (score.f1, score.per_hundred)


def test_an_outage_of_a_thin_hourly_table_never_reads_as_expected() -> None:
    rng = random.Random(5)
    rows = [sum(rng.random() < 0.08 for _ in range(120)) + 3 for _ in range(24 * 50)]
    judged = judge([*rows, *[0] * 40], Calendar(Grain.HOUR))
    first = next(place for place in flagged(judged) if place >= len(rows))
    assert first <= len(rows) + 2 and all(one.anomaly for one in judged[first:])
    assert all(one.upper is None or one.upper <= 101 * ((one.expected or 0) + 1) for one in judged)


def test_an_open_incident_closes_later_than_it_opened() -> None:
    rows = noise(70, sigma=0.12, seed=9)
    after, plain = (judge([*rows, before, 900])[-1].lower for before in (300, 1000))
    assert after is not None and plain is not None and after > plain, "after an anomaly the band below is narrower"
