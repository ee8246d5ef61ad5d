"""A real history server over the event logs of applications that really ended well, failed and died."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from exporter.catalog.labels import Resource
from exporter.pipelines.run import PipelineRun, RunState
from exporter.pipelines.spark import SparkSource
from tests.pipelines.poll_driver import Driver, http_to
from tests.tools import stack

APPLICATION = """
import os, sys
from pyspark.sql import SparkSession

how, logs = sys.argv[1:]
settings = {
    "spark.eventLog.enabled": "true", "spark.eventLog.dir": logs, "spark.eventLog.logStageExecutorMetrics": "true", "spark.executor.metrics.pollingInterval": "100ms",
    "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
}
spark = SparkSession.builder.master("local[2]").appName(how).config(map=settings).getOrCreate()
spark.range(2_000_000).selectExpr("sum(id * 2)").collect()
if how == "fails":
    def broken(rows):
        raise ValueError("row 7 is bad, password=hunter2")
    spark.sparkContext.parallelize(range(4)).mapPartitions(broken).collect()
if how == "dies":
    os.kill(spark.sparkContext._gateway.proc.pid, 9)
    os._exit(1)
spark.stop()
"""


@pytest.fixture(scope="module")
def history_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real history server, over the logs of applications that really ended well, failed and died."""
    import pyspark

    home = tmp_path_factory.mktemp("history")
    (home / "logs").mkdir()
    (home / "application.py").write_text(APPLICATION)
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    for how, code in (("succeeds", 0), ("fails", 1), ("dies", 1)):
        done = subprocess.run([sys.executable, home / "application.py", how, home / "logs"], env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == code, done.stderr[-2000:]
    url = f"http://127.0.0.1:{(port := stack.free_port())}"
    options = f"-Dspark.history.fs.logDirectory={(home / 'logs').as_uri()} -Dspark.history.ui.port={port} -Dspark.history.fs.update.interval=1s"
    class_runner = Path(pyspark.__file__).parent / "bin" / "spark-class"
    command = ["env", f"SPARK_HISTORY_OPTS={options}", "SPARK_DAEMON_MEMORY=512m", "SPARK_LOCAL_IP=127.0.0.1", class_runner, "org.apache.spark.deploy.history.HistoryServer"]
    with stack.server(command, f"{url}/api/v1/version", home / "server.log", timeout=60):
        yield url


def only(driver: Driver, name: str) -> PipelineRun:
    (run,) = next(attempts for (job, _), attempts in driver.runs.items() if job == name)
    return run


@pytest.mark.spark
def test_a_real_history_server_tells_what_ended_well_what_failed_and_what_died(history_server: str) -> None:
    source = SparkSource(type="spark", url=history_server, lost_after=timedelta(seconds=2))
    driver = Driver(source, http_to(history_server, timeout=timedelta(seconds=30)), ("succeeds", "fails", "dies"))
    deadline = time.monotonic() + 60
    while not (len(driver.runs) == 3 and all(run.state.is_terminal for (run,) in driver.runs.values())):
        assert time.monotonic() < deadline, driver.runs
        driver.poll()
        time.sleep(0.5)
    good, bad, dead = (only(driver, name) for name in ("succeeds", "fails", "dies"))
    assert (good.state, good.error) == (RunState.SUCCESS, None)
    assert good.duration and timedelta(seconds=1) < good.duration < timedelta(minutes=2)
    assert set(good.resources) == {Resource.CPU, Resource.MEMORY}
    assert all(0 < ratio < 1 for ratio in good.resources.values())
    assert bad.state is RunState.FAILED
    assert bad.error and bad.error.error_class == "ValueError"
    assert "row 7 is bad" in bad.error.message
    assert "hunter2" not in bad.error.message
    assert bad.failed_tasks and bad.failed_tasks >= 1
    assert dead.state is RunState.FAILED
    assert dead.error and dead.error.error_class == "AppLost"
    before = driver.http.requests
    driver.poll()
    assert driver.http.requests - before == 1
    driver.http.close()
