"""What the demo's pipelines tell is taken, and shows every kind of trouble."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from exporter import demo
from tests.collect_rig import Clock, Rig, events


@pytest.mark.parametrize("hour", [0, 4, 5, 12, 23])
def test_at_any_hour_one_pipeline_has_failed_one_is_stuck_and_the_others_are_fine(tmp_path: Path, hour: int) -> None:
    now = datetime(2026, 11, 24, hour, 30, tzinfo=UTC)
    config = yaml.safe_load(demo.write(tmp_path / "demo", now).read_text())
    rig = Rig(tmp_path, {"pipelines": config["pipelines"], "assets": config["assets"]}, Clock(now))
    assert events(rig, *demo.runs(now)) == []
    assert events(rig, *demo.runs(now)) == []
    rig.tick()
    states = {name: rig.of("pipeline_status", pipeline=name) for name in ("ingest_shop", "sales_daily", "web_hourly", "month_end_close")}
    assert states == {"ingest_shop": 2, "sales_daily": 0, "web_hourly": 1, "month_end_close": 2}
    assert rig.of("pipeline_run_duration_median_seconds", pipeline="web_hourly") == 300
    assert rig.of("pipeline_last_failed_run_info", pipeline="sales_daily", error_class="OutOfMemoryError") == 1
    rig.close()
