"""`backtest` on files and on a table, and what a malformed file is told."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from exporter.cli import app
from tests.conftest import write_delta

DAY = timedelta(days=1)
RUNNER = CliRunner()


def run(*arguments: object) -> Result:
    return RUNNER.invoke(app, ["backtest", *map(str, arguments)])


def lines(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def series(tmp_path: Path) -> Path:
    rng, path = random.Random(1), tmp_path / "rows.csv"
    rows = [f"{date(2025, 1, 6) + day * DAY},{0 if day == 80 else 1000 + rng.randrange(100)}" for day in range(100) if day != 90]
    path.write_text("date,rows\n" + "\n".join(rows) + "\n")
    return path


def test_a_series_is_judged_line_by_line_oldest_first(series: Path) -> None:
    found = lines(run("--series", series, "--format", "json"))
    assert len(found) == 100 and [line["date"] for line in found] == sorted(str(line["date"]) for line in found)
    assert set(found[0]) == {"date", "value", "expected", "lower", "upper", "score", "state", "anomaly"}
    assert [line["date"] for line in found if line["anomaly"]] == ["2025-03-27", "2025-04-06"]
    assert found[0]["state"] == "learning" and found[0]["expected"] is None and found[-1]["state"] == "active"


def test_cutting_the_file_off_changes_no_earlier_line(series: Path, tmp_path: Path) -> None:
    whole = lines(run("--series", series, "--format", "json"))
    short = tmp_path / "short.csv"
    short.write_text("\n".join(series.read_text().splitlines()[:61]) + "\n")
    assert lines(run("--series", short, "--format", "json")) == whole[:60]


def test_people_read_dates_bands_and_a_total(series: Path) -> None:
    text = run("--series", series).stdout
    assert "2025-03-27" in text and "no rows" in text and "2 anomalies in 2 incidents" in text


@pytest.mark.parametrize(("grain", "buckets"), [("week", 14), ("month", 3)])
def test_days_are_added_up_to_coarser_buckets_and_the_unfinished_last_one_is_left_out(series: Path, grain: str, buckets: int) -> None:
    assert len(lines(run("--series", series, "--grain", grain, "--format", "json"))) == buckets


def test_hours_are_buckets_too(tmp_path: Path) -> None:
    path = tmp_path / "hours.csv"
    start = datetime(2025, 1, 6)  # noqa: DTZ001
    path.write_text("date,rows\n" + "".join(f"{start + timedelta(hours=hour)},{500 + hour % 24 * 10}\n" for hour in range(24 * 40)))
    found = lines(run("--series", path, "--grain", "hour", "--format", "json"))
    assert (len(found), found[0]["date"], found[-1]["anomaly"]) == (960, "2025-01-06T00", False)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "no column date, rows"),
        ("date,count\n2025-01-01,1\n", 1, "no column rows"),
        ("date,rows\n", 1, "no line after the header"),
        ("date,rows\n2025-01-01,1\n2025-13-01,2\n", 3, "no date or time"),
        ("date,rows\n2025-01-01,1\n2025-01-02,many\n", 3, "no count"),
        ("date,rows\n2025-01-01,1\n2025-01-02,-5\n", 3, "no count"),
        ("date,rows\n2025-01-01,1\n2025-01-02,nan\n", 3, "no count"),
        ("date,rows\n2025-01-01,1\n2025-01-02,1.5\n", 3, "no count"),
        ("date,rows\n2025-01-01,1\n2025-01-01,2\n", 3, "twice, first in line 2"),
        ("date,rows\n2025-01-01,1\n2025-01-02\n", 3, "has 1 values"),
        ('date,rows\n"2025-01-01,1\n', 2, "no CSV"),
        ("date,rows\n2025-01-01,1\n9999-12-31,1\n", 3, "too far from 2025-01-01"),
    ],
)
def test_a_malformed_file_is_told_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    result = run("--series", path)
    assert result.exit_code == 2 and f"{path}:{line}: " in result.stderr and says in result.stderr, result.output


def test_a_file_that_is_not_there_or_no_text_is_told_so(tmp_path: Path) -> None:
    assert "cannot be read" in run("--series", tmp_path / "none.csv").stderr
    (tmp_path / "bin.csv").write_bytes(b"date,rows\n\xff\xfe\n")
    assert "no UTF-8" in run("--series", tmp_path / "bin.csv").stderr


def test_updates_give_the_periods_in_which_the_alarm_would_have_stood(tmp_path: Path) -> None:
    path = tmp_path / "updates.csv"
    times = [datetime(2025, 3, 3, 7, day * 7 % 20) + day * DAY for day in range(60) if day not in (40, 41)]  # noqa: DTZ001
    path.write_text("updated_at\n" + "\n".join(f"{moment.isoformat()}Z" for moment in times) + "\n")
    [gap, end] = lines(run("--updates", path, "--until", "2025-05-05T00:00:00", "--format", "json"))
    assert gap["at"] == "2025-04-11T07:13:00Z" and str(gap["late_from"]).startswith("2025-04-12T0") and gap["late_until"] == "2025-04-14T07:14:00Z"
    assert end["late_until"] is None and str(end["late_from"]).startswith("2025-05-02T0")
    assert not run("--updates", path, "--until", "2025-04-11T12:00:00", "--format", "json").stdout
    assert "2 alarms over 58 updates (Asia/Tokyo)" in run("--updates", path, "--until", "2025-05-05", "--timezone", "Asia/Tokyo").stdout


def test_exactly_one_source_is_asked_for(series: Path) -> None:
    assert run().exit_code == run("t", "--series", series).exit_code == 2
    assert "is not a time zone" in run("--updates", series, "--timezone", "Mars").stderr


@pytest.fixture
def config(tmp_path: Path) -> Path:
    today = datetime.now(UTC).date()
    rows = [(i, (today - (60 - day) * DAY).isoformat()) for day in range(60) for i in range(3 if day == 45 else 40 + day % 5)]
    write_delta(tmp_path / "orders", {"id": "int", "day": "date"}, rows, ["day"])
    path = tmp_path / "dq-exporter.yml"
    path.write_text(
        f"version: 1\nstore: {{url: 'sqlite:///{tmp_path}/dq.db'}}\ntables:\n  - name: orders\n    path: {tmp_path}/orders\n"
        "    checks: [{row_count_anomaly: {name: rows, column: day}}, {freshness_cadence: {}}, {row_count: {min: 1}}]\n"
    )
    return path


def test_a_table_is_tested_on_its_own_history_without_a_trace(config: Path) -> None:
    found = lines(run("orders", "rows", "-c", config, "--format", "json"))
    assert len(found) == 60 and sum(bool(line["anomaly"]) for line in found) == 1
    assert len(lines(run("orders", "rows", "-c", config, "--days", "7", "--format", "json"))) == 6
    assert not (config.parent / "dq.db").exists()
    assert "orders freshness_cadence" in run("orders", "-c", config).stdout
    assert "has no learned check row_count" in run("orders", "row_count", "-c", config).stderr


def test_feedback_is_kept_used_and_checked(config: Path) -> None:
    day = (datetime.now(UTC).date() - 15 * DAY).isoformat()

    def tell(*arguments: str) -> Result:
        return RUNNER.invoke(app, ["feedback", *arguments, "-c", str(config)])

    def memory() -> list[str]:
        RUNNER.invoke(app, ["check", "-c", str(config), "--format", "json"])
        from exporter.config import load
        from exporter.store import Store

        loaded = load(config, {})
        spec = next(check for check in loaded.tables[0].checks if check.id == "rows")
        history = Store.open(loaded.store.url).history("orders", spec, datetime.now(UTC))
        assert history.memory is not None
        return [line[0] for line in history.memory["series"]["shown"] if line[7]]

    assert memory() == [f"{day}T00:00:00"]
    assert tell("orders", "rows", day, "expected", "--note", "a test").exit_code == 0
    assert memory() == []
    assert tell("orders", "rows", day, "bad").exit_code == 0
    assert memory() == [f"{day}T00:00:00"]
    for wrong in (("orders", "row_count", day, "bad"), ("orders", "rows", "yesterday", "bad"), ("none", "rows", day, "bad")):
        assert tell(*wrong).exit_code == 2


def test_validate_warns_of_a_check_that_would_page_more_than_twice_a_week(tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    rows = [(i, (today - (90 - day) * DAY).isoformat()) for day in range(90) for i in range(400 if day < 40 or day % 2 else 40 + day)]
    write_delta(tmp_path / "noisy", {"id": "int", "day": "date"}, rows, ["day"])
    path = tmp_path / "dq.yml"
    path.write_text(
        f"version: 1\nstore: {{url: 'sqlite:///{tmp_path}/dq.db'}}\ntables:\n  - {{name: noisy, path: {tmp_path}/noisy, checks: [{{row_count_anomaly: {{column: day, sensitivity: high}}}}]}}\n"
    )

    def validated() -> str:
        result = RUNNER.invoke(app, ["validate", "-c", str(path)])
        assert result.exit_code == 0, result.output
        return result.stderr

    assert not validated() and not (tmp_path / "dq.db").exists()
    RUNNER.invoke(app, ["check", "-c", str(path)])
    assert "would have paged" in validated() and "times a week" in validated()


def test_explain_knows_what_was_learned(config: Path) -> None:
    RUNNER.invoke(app, ["check", "-c", str(config)])
    text = RUNNER.invoke(app, ["explain", "-c", str(config)]).stdout
    assert "buckets of day: metadata" in text and "commits: metadata" in text
