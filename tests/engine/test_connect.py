"""The Spark engine uses only what Spark Connect has."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.connect
@pytest.mark.spark
def test_every_check_and_the_cancelling_work_over_spark_connect(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.engine.connect_probe", str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("same", "differs"))]
    assert done.returncode == 0, done.stderr[-3000:]
    assert not [line for line in lines if line.startswith("differs")], "\n".join(lines)
    assert len(lines) > 35
