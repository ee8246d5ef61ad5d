"""DAGs that succeed, fail, are tried again, take long, wait in a queue, and leave a killed task behind."""

import os
import signal
import time
from datetime import datetime, timedelta

from airflow.sdk import DAG, task

COMMON = {"start_date": datetime(2026, 1, 1), "schedule": None, "catchup": False, "default_args": {"owner": "sales-data"}}  # noqa: DTZ001

with DAG("sales_ok", **COMMON):

    @task
    def load():
        return "ok"

    load()

with DAG("sales_fail", **COMMON):

    @task
    def boom():
        raise ValueError("column customer_id is missing; password=hunter2")

    boom()

with DAG("sales_retry", **COMMON):

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def flaky(ti=None):
        if ti.try_number == 1:
            raise RuntimeError("warehouse not reachable (first try)")

    flaky()

with DAG("sales_long", **COMMON):

    @task
    def wait():
        time.sleep(12)

    wait()

with DAG("sales_queue", max_active_runs=1, **COMMON):

    @task
    def pause():
        time.sleep(3)

    pause()

with DAG("sales_killed", **COMMON):

    @task
    def oom():
        os.kill(os.getpid(), signal.SIGKILL)

    @task(trigger_rule="all_done")
    def cleanup():
        return "clean"

    oom() >> cleanup()

with DAG("sales_many", max_active_runs=200, **COMMON):
    from airflow.providers.standard.operators.empty import EmptyOperator

    EmptyOperator(task_id="nothing")
