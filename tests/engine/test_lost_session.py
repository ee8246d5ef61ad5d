"""A driver that dies costs one evaluation, not the process."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.spark
def test_each_time_the_jvm_is_killed_one_run_errs_and_the_next_starts_another(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.engine.lost_probe", str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    lines = [line.split(" ")[1:3] for line in done.stdout.splitlines() if line.startswith("verdict")]
    assert lines == [["fail", "None"], ["error", "engine_lost"], ["fail", "None"], ["error", "engine_lost"], ["fail", "None"]], done.stdout + done.stderr[-2000:]
