"""The real process, scraped by the real Prometheus, looked at with a real browser, and killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from exporter import demo
from tests.tools import stack

pytestmark = pytest.mark.e2e
NATIVE_TABLES = ("sales.customers", "sales.orders", "raw.orders", "web.events", "finance.ledger")


def get(url: str, timeout: float = 10) -> str:
    with urllib.request.urlopen(url, timeout=timeout) as response:
        return str(response.read().decode())


def samples(page: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in text_string_to_metric_families(page) for one in family.samples}


def until(holds: Any, seconds: float = 60) -> Any:
    """The first true value of `holds()`."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if (value := holds()) or time.monotonic() > end:
                assert value, f"not within {seconds} s"
                return value
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)


@pytest.fixture
def native_demo(tmp_path: Path) -> Path:
    """The demo without the table that needs Spark, evaluated every second."""
    path = demo.write(tmp_path / "demo")
    config = yaml.safe_load(path.read_text())
    config["tables"] = [table for table in config["tables"] if table["name"] in NATIVE_TABLES]
    config["defaults"]["schedule"] = {"every": "1s"}
    path.write_text(yaml.safe_dump(config))
    return path


@contextlib.contextmanager
def exporter(config: Path, port: int, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    log = config.parent / "exporter.log"
    argv = [sys.executable, "-m", "exporter.cli", "run", "-c", config, "--web.listen-address", f"127.0.0.1:{port}", *more]
    with stack.server(argv, f"http://127.0.0.1:{port}/-/ready", log, timeout=60) as process:
        yield process


def evaluated(url: str, tables: int) -> str | None:
    page = get(url + "/metrics")
    seen = {dict(labels)["table"] for (name, labels), _ in samples(page).items() if name == "dq_check_last_outcome"}
    return page if len(seen) == tables else None


def test_prometheus_scrapes_the_process_and_promtool_finds_nothing(native_demo: Path, tmp_path: Path) -> None:
    port, prometheus_port = stack.free_port(), stack.free_port()
    promtool = stack.find_binary("promtool")
    config = tmp_path / "prometheus.yml"
    config.write_text(json.dumps({"scrape_configs": [{"job_name": "dq", "scrape_interval": "1s", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]}))
    with exporter(native_demo, port):
        page = until(lambda: evaluated(f"http://127.0.0.1:{port}", len(NATIVE_TABLES)))
        lint = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, text=True, check=False)
        assert (lint.returncode, lint.stdout + lint.stderr) == (0, "")
        argv = [stack.find_binary("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}", f"--web.listen-address=127.0.0.1:{prometheus_port}"]
        with stack.server(argv, f"http://127.0.0.1:{prometheus_port}/-/ready", tmp_path / "prometheus.log"):

            def failing() -> Any:
                found = json.loads(get(f"http://127.0.0.1:{prometheus_port}/api/v1/query?query=dq_check_status==0".replace("==", "%3D%3D")))
                return found["data"]["result"]

            names = {(one["metric"]["table"], one["metric"]["check"]) for one in until(failing)}
    expected = json.loads((native_demo.parent / "expected.json").read_text())
    assert names == {(table, check) for table in NATIVE_TABLES for check, verdict in expected[table].items() if verdict["outcome"] == "fail"}


def test_the_pages_open_without_a_console_error(native_demo: Path) -> None:
    from playwright.sync_api import sync_playwright

    chromium = stack.find_binary("chromium")
    port = stack.free_port()
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with exporter(native_demo, port), sync_playwright() as play:
        url = f"http://127.0.0.1:{port}"
        until(lambda: evaluated(url, len(NATIVE_TABLES)))
        browser = play.chromium.launch(executable_path=str(chromium), args=flags)
        page, errors = browser.new_page(), list[str]()
        page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        assert "cannot be trusted" in page.inner_text("body")
        page.click("text=sales.orders")
        assert "unique_order_id" in page.inner_text("body")
        browser.close()
        assert errors == []


def test_a_bad_new_configuration_keeps_the_old_one_and_says_so_and_sigterm_drains(native_demo: Path) -> None:
    port = stack.free_port()
    url, good = f"http://127.0.0.1:{port}", native_demo.read_text()
    with exporter(native_demo, port) as process:
        until(lambda: evaluated(url, len(NATIVE_TABLES)))
        before = samples(get(url + "/metrics"))
        native_demo.write_text(good + "\nnonsense: true\n")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(url + "/-/reload", method="POST"), timeout=10)
        assert "nonsense" in refused.value.read().decode()
        after = samples(get(url + "/metrics"))
        assert after["dq_exporter_config_last_reload_successful", ()] == 0
        assert {key for key in before if key[0] == "dq_check_info"} == {key for key in after if key[0] == "dq_check_info"}
        smaller = yaml.safe_load(good)
        smaller["tables"] = [table for table in smaller["tables"] if table["name"] != "finance.ledger"]
        native_demo.write_text(yaml.safe_dump(smaller))
        process.send_signal(signal.SIGHUP)
        until(lambda: "finance.ledger" not in get(url + "/metrics"))
        kept = samples(get(url + "/metrics"))
        assert kept["dq_exporter_config_last_reload_successful", ()] == 1
        runs = [key for key in before if key[0] == "dq_check_runs_total" and ("table", "sales.orders") in key[1]]
        assert runs
        assert all(kept[key] >= before[key] for key in runs)
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0


def test_killed_at_any_moment_no_counter_goes_back_and_no_verdict_is_invented(native_demo: Path) -> None:
    expected = json.loads((native_demo.parent / "expected.json").read_text())
    port, chance, last = stack.free_port(), random.Random(7), dict[Any, float]()
    url = f"http://127.0.0.1:{port}"
    for round_ in range(20):
        with exporter(native_demo, port) as process:
            time.sleep(chance.random() * 1.5)
            page = samples(get(url + "/metrics"))
            process.kill()
            process.wait()
        counters = {key: value for key, value in page.items() if key[0].startswith("dq_") and key[0].endswith(("_total", "_bucket", "_count", "_sum"))}
        gone_back = {key: (value, counters.get(key)) for key, value in last.items() if counters.get(key, -1.0) < value}
        assert not gone_back, f"round {round_}: {gone_back}"
        last = counters
        for (name, labels), value in page.items():
            if name == "dq_check_status":
                table, check = dict(labels)["table"], dict(labels)["check"]
                assert value == (0 if expected[table][check]["outcome"] == "fail" else 1)
    with exporter(native_demo, port):
        until(lambda: evaluated(url, len(NATIVE_TABLES)))


def test_on_a_machine_without_java_native_tables_work_and_the_other_says_what_is_missing(tmp_path: Path) -> None:
    config = demo.write(tmp_path / "demo")
    bare = {key: value for key, value in os.environ.items() if key != "JAVA_HOME"} | {"PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "exporter.cli", "check", "-c", config, "--format", "json"], env=bare, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    checks = {(table["table"], check["check"]): check for table in json.loads(done.stdout)["tables"] for check in table["checks"]}
    assert checks["sales.returns", "pattern_code"]["reason"] == "spark_unavailable"
    assert "Java 17" in checks["sales.returns", "pattern_code"]["message"]
    assert all(check["outcome"] != "error" for (table, _), check in checks.items() if table in NATIVE_TABLES)


def test_check_gives_exactly_what_was_planted(tmp_path: Path) -> None:
    config = demo.write(tmp_path / "demo")
    done = subprocess.run([sys.executable, "-m", "exporter.cli", "check", "-c", config, "--format", "json"], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 1, done.stderr
    expected = json.loads((tmp_path / "demo" / "expected.json").read_text())
    seen = {
        table["table"]: {check["check"]: {key: check[key] for key in ("outcome", "value", "failed_rows")} for check in table["checks"]}
        for table in json.loads(done.stdout)["tables"]
    }
    assert seen == expected
