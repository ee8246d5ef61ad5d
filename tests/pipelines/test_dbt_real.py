"""A real dbt, with tests that pass, warn, fail and do not run, with commands that only compile, and with an interruption."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from exporter.catalog.labels import Outcome
from exporter.pipelines.base import Flow
from exporter.pipelines.dbt import DbtSource
from exporter.pipelines.run import RunState
from tests.pipelines.poll_driver import Driver, http_to
from tests.tools.dbt import DbtProject

FILES = {
    "seeds/raw_orders.csv": "order_id,customer_id,status,loaded_at\n1,7,paid,2026-01-01 00:00:00\n2,8,new,2026-01-01 00:00:00\n2,,odd,2026-01-01 00:00:00\n",
    "models/stg_orders.sql": "select order_id, customer_id, status from {{ ref('raw_orders') }}",
    "models/known.sql": "{{ config(materialized='ephemeral') }} select * from {{ ref('stg_orders') }} where customer_id is not null",
    "models/by_customer.sql": "select customer_id, count(*) as n from {{ ref('known') }} group by 1",
    "tests/no_such_column.sql": "select nope from {{ ref('stg_orders') }}",
    "models/schema.yml": """
sources:
  - name: landing
    schema: main
    loaded_at_field: cast(loaded_at as timestamp)
    tables:
      - {name: raw_orders, config: {freshness: {warn_after: {count: 1, period: day}, error_after: {count: 2, period: day}}}}
      - {name: missing, config: {freshness: {warn_after: {count: 1, period: day}}}}
      - {name: other}
models:
  - name: stg_orders
    columns:
      - {name: order_id, data_tests: [unique, not_null]}
      - {name: customer_id, data_tests: [{not_null: {config: {severity: warn}}}]}
exposures:
  - {name: kpis, type: dashboard, owner: {name: BI}, depends_on: [ref('by_customer')]}
""",
}
SLOW = "{{ config(materialized='table') }} select count(*) as n from range(3000000) a, range(3000000) b where hash(a.range * b.range) % 7 = 3"


def watch(project: DbtProject) -> Driver:
    return Driver(DbtSource(type="dbt", target=project.target), http_to("http://127.0.0.1:9"), ["shop"])


@pytest.mark.e2e
def test_a_real_build_is_told_as_it_was_and_later_commands_do_not_whitewash_it(tmp_path: Path) -> None:
    project = DbtProject(tmp_path, FILES)
    assert project.run("build") == 1, project.output()
    driver = watch(project)
    driver.poll()
    ((run,),) = driver.runs.values()
    assert run.state is RunState.FAILED
    assert run.error and run.error.error_class == "RuntimeError"
    assert "nope" in run.error.message
    assert run.failed_tasks == 2
    assert run.duration and 0 < run.duration.total_seconds() < 120
    outcomes = {(test.dataset, test.name): (test.outcome, test.failed_rows) for test in driver.tests.values()}
    staged = "shop.main.stg_orders"
    assert outcomes == {
        (staged, "unique_stg_orders_order_id"): (Outcome.FAIL, 1), (staged, "not_null_stg_orders_order_id"): (Outcome.PASS, 0),
        (staged, "not_null_stg_orders_customer_id"): (Outcome.WARN, 1), (staged, "no_such_column"): (Outcome.ERROR, None),
    }  # fmt: skip
    assert set(driver.flows) == {
        Flow("shop", (), ("shop.main.raw_orders",)), Flow("shop", ("shop.main.raw_orders",), (staged,)),
        Flow("shop", (staged,), ("shop.main.by_customer",)), Flow("shop", ("shop.main.by_customer",), ("dashboard.kpis",)),
    }  # fmt: skip

    assert project.run("docs", "generate") == 0
    assert project.run("source", "freshness") == 1
    polled = driver.poll()
    assert not polled.reports
    assert {(test.dataset, test.outcome, test.newest_at) for test in polled.tests} == {
        ("shop.main.raw_orders", Outcome.FAIL, datetime(2026, 1, 1, tzinfo=UTC)), ("shop.main.missing", Outcome.ERROR, None),
    }  # fmt: skip
    assert [attempt.state for (attempt,) in driver.runs.values()] == [RunState.FAILED]

    (tmp_path / "tests" / "no_such_column.sql").unlink()
    assert project.run("test", "--select", "stg_orders", "--exclude", "unique_stg_orders_order_id") == 0
    driver.poll()
    assert [attempt.state for (attempt,) in driver.runs.values()] == [RunState.FAILED, RunState.SUCCESS]
    assert driver.tests[staged, "not_null_stg_orders_customer_id"].outcome is Outcome.WARN
    assert not driver.letters


@pytest.mark.e2e
def test_a_real_build_that_is_interrupted_is_no_success(tmp_path: Path) -> None:
    project = DbtProject(tmp_path, {"models/fast.sql": "select 1 as n", "models/slow.sql": SLOW.replace("from range", "from {{ ref('fast') }} f, range")})
    with project.start("build") as process:
        deadline = time.monotonic() + 60
        while "START sql table model main.slow" not in project.output():
            assert time.monotonic() < deadline, project.output()
            time.sleep(0.1)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
    driver = watch(project)
    driver.poll()
    ((run,),) = driver.runs.values()
    assert run.state is RunState.FAILED
    assert run.error and (run.error.error_class, run.error.message) == ("Interrupted", "the run was interrupted before it came to model.shop.slow")
