"""From a defect in the data to the phone and back: real exporter, Prometheus and Alertmanager, doubles of the receivers."""

from __future__ import annotations

import contextlib
import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from exporter.bundle.alertmanager import alertmanager
from exporter.bundle.prometheus import rule_files
from exporter.config.settings import BusinessHours, NotifySettings, PagerDutySettings, SlackSettings, WebhookSettings
from tests.conftest import write_delta
from tests.tools import history, stack

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
SEVERITIES = ("critical", "high", "medium", "low")
CHANNELS = {"high": "#urgent", "medium": "#alerts", "low": "#info"}


class Receivers:
    """PagerDuty, Slack and ServiceNow's bridge over HTTP: what each was sent, in order."""

    def __init__(self) -> None:
        self.pages: list[dict[str, Any]] = []
        self.slack: list[dict[str, Any]] = []
        self.tickets: list[dict[str, Any]] = []
        kept = {"/pagerduty": self.pages, "/slack": self.slack, "/servicenow": self.tickets}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                kept[self.path].append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(202 if self.path == "/pagerduty" else 200)
                self.end_headers()
                self.wfile.write(b'{"status": "success"}' if self.path == "/pagerduty" else b"ok")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.loads(response.read())


def until(holds: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if value := holds():
                return value
        time.sleep(0.25)
    pytest.fail(f"not within {seconds} s: {what}")


def firing(prometheus: str) -> dict[tuple[str, str], dict[str, Any]]:
    alerts = get(f"{prometheus}/api/v1/alerts")["data"]["alerts"]
    return {(one["labels"]["alertname"], one["labels"].get("table", one["labels"].get("instance", ""))): one for one in alerts if one["state"] == "firing"}


@pytest.fixture(params=sorted(path.name for path in stack.TOOLS.glob("*") if (path / "usr/bin/prometheus").exists()) or ["installed"])
def generation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The distribution's Prometheus and Alertmanager, and the newest, where they are here."""
    name = str(request.param)
    monkeypatch.setattr(stack, "TOOLS", stack.TOOLS / name if name != "installed" else stack.TOOLS)
    return name


@pytest.fixture
def receivers() -> Iterator[Receivers]:
    found = Receivers()
    yield found
    found.close()


def settings(folder: Path, receivers: Receivers) -> NotifySettings:
    (folder / "slack").write_text(f"{receivers.url}/slack")
    (folder / "pagerduty").write_text("k" * 32)
    return NotifySettings(
        PagerDutySettings(str(folder / "pagerduty")), SlackSettings(str(folder / "slack"), "#urgent", "#alerts", "#info"), None,
        WebhookSettings(f"{receivers.url}/servicenow", None), hours=BusinessHours("monday:sunday", "00:00", "24:00", "UTC"), patience=0.01,
    )  # fmt: skip


@contextlib.contextmanager
def monitoring(folder: Path, notify: NotifySettings, target: int, receivers: Receivers, relabel: str = "exporter:9818", **scrape: Any) -> Iterator[tuple[str, str]]:
    """Prometheus with the generated rules and Alertmanager with the generated routing; their URLs."""
    rules = folder / "rules"
    rules.mkdir()
    for name, text in rule_files(notify, "test").items():
        (rules / name).write_text(text)
    routing = yaml.safe_load(alertmanager(notify, "test"))
    routing["templates"] = [str(ROOT / "exporter" / "bundle" / "templates" / "*.tmpl")]
    routing["global"]["pagerduty_url"] = f"{receivers.url}/pagerduty"
    (folder / "alertmanager.yml").write_text(json.dumps(routing))
    with stack.alertmanager(folder / "alertmanager.yml", folder / "am") as am:
        job = {"job_name": "dq-exporter", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}], "relabel_configs": [{"target_label": "instance", "replacement": relabel}], **scrape}
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(rules / "*.yml")], "scrape_configs": [job],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [am.removeprefix("http://")]}]}]},
        }  # fmt: skip
        (folder / "prometheus.yml").write_text(json.dumps(config))
        with stack.prometheus(folder / "prometheus.yml", folder / "tsdb") as prometheus:
            yield prometheus, am


def lake(folder: Path, broken: bool) -> None:
    """One table per severity, with nulls where they must not be while it is broken."""
    for severity in SEVERITIES:
        write_delta(folder / severity, {"id": "int"}, [[None if broken and i < 3 else i] for i in range(10)])


def configuration(folder: Path) -> Path:
    path = folder / "dq.yml"
    tables = [{"name": f"t.{one}", "path": str(folder / one), "severity": one, "team": "sales", "checks": [{"not_null": "id"}, {"row_count": {"min": 1}}]} for one in SEVERITIES]
    path.write_text(yaml.safe_dump({"version": 1, "store": {"url": f"sqlite:///{folder}/dq.db"}, "defaults": {"schedule": {"every": "1s"}}, "tables": tables}))
    return path


def seen(receivers: Receivers) -> set[tuple[str, str, str]]:
    """Channel, alert and table of every message about something that fires."""
    out = set()
    for page in receivers.pages:
        if page["event_action"] == "trigger":
            out.add(("pagerduty", page["payload"]["class"], page["payload"]["component"]))
    for message in receivers.slack:
        title = message["attachments"][0]["title"]
        if "FIRING" in title:
            name, _, table = title.split("] ", 1)[1].partition(" ")
            out.add((message["channel"], name, table))
    for ticket in receivers.tickets:
        if ticket["status"] == "firing":
            out.add(("servicenow", ticket["groupLabels"]["alertname"], ticket["groupLabels"].get("table", "")))
    return out


def expected(alerts: dict[tuple[str, str], dict[str, Any]]) -> set[tuple[str, str, str]]:
    """What the matrix says of the alerts that fire."""
    out = set()
    low = {table for name, table in alerts if name == "DQScoreLow"}
    for (name, table), alert in alerts.items():
        severity = alert["labels"]["severity"]
        if severity == "none" or (name in ("DQScoreDegraded", "DQScoreDropping") and table in low):
            continue
        if severity in ("critical", "high"):
            out.add(("servicenow", name, table))
        out.add(("pagerduty" if severity == "critical" else CHANNELS[severity], name, table))
    return out


def test_a_defect_reaches_exactly_whom_the_matrix_says_and_its_repair_too(tmp_path: Path, generation: str, receivers: Receivers) -> None:
    lake(tmp_path, broken=True)
    port, notify = stack.free_port(), settings(tmp_path, receivers)
    argv = [sys.executable, "-m", "exporter.cli", "run", "-c", configuration(tmp_path), "--web.listen-address", f"127.0.0.1:{port}"]
    with stack.server(argv, f"http://127.0.0.1:{port}/-/ready", tmp_path / "exporter.log", 60) as process, monitoring(tmp_path, notify, port, receivers) as (prometheus, _):
        wanted = {("DQCheckFailing", f"t.{one}") for one in SEVERITIES} | {("DQScoreLow", f"t.{one}") for one in SEVERITIES}
        alerts = until(lambda: (now := firing(prometheus)) and wanted <= set(now) and now, "the alerts of the defect fire", 90)
        assert {name for name, _ in alerts} <= {"DQCheckFailing", "DQScoreLow", "DQScoreDegraded", "Watchdog", "AlertEscalated", "FreshnessBudgetBurnsFast"}
        for one in alerts.values():
            assert set(one["annotations"]) >= {"summary", "description", "runbook_url", "dashboard_url", "suggested_action", "owner", "last_failed_run", "downstream"}
            assert all(text.strip() and "<no value>" not in text and "error" not in text.lower()[:6] for text in one["annotations"].values()), one["annotations"]
        failing = alerts["DQCheckFailing", "t.critical"]["annotations"]
        assert failing["description"] == "not_null_id of t.critical fails: 3 of 10 rows break the rule; measured 3, allowed max 0."
        assert failing["owner"].startswith("team sales") and failing["last_failed_run"] == "no failed run of a pipeline above is known"
        plain = {key: alert for key, alert in alerts.items() if key[0] != "AlertEscalated"}
        until(lambda: expected(plain) <= seen(receivers), "all receivers have heard", 90)
        assert {one for one in seen(receivers) if one[1] != "AlertEscalated"} == expected(plain)
        assert sum(page["event_action"] == "trigger" and page["payload"]["class"] == "DQCheckFailing" for page in receivers.pages) == 1, "one page for one thing"
        page = receivers.pages[0]
        assert page["payload"]["severity"] == "critical" and page["payload"]["custom_details"]["suggested_action"] and len(page["links"]) == 3
        lake(tmp_path, broken=False)
        until(lambda: not set(firing(prometheus)) - {("Watchdog", "")}, "the repair resolves every alert", 90)
        until(lambda: any(page["event_action"] == "resolve" for page in receivers.pages), "PagerDuty hears of the repair")
        until(lambda: {one["groupLabels"]["table"] for one in receivers.tickets if one["status"] == "resolved"} >= {"t.critical", "t.high"}, "the tickets are resolved")
        process.kill()
        until(lambda: ("ExporterDown", "exporter:9818") in firing(prometheus), "the death of the exporter is told")
        time.sleep(5)
        assert {name for name, _ in firing(prometheus)} <= {"Watchdog", "ExporterDown", "ExporterAvailabilityBudgetBurns", "AlertEscalated"}


def test_a_failed_pipeline_holds_back_the_staleness_of_the_table_below(tmp_path: Path, generation: str, receivers: Receivers) -> None:
    port, notify = stack.free_port(), settings(tmp_path, receivers)
    server = history.serve(time.time(), port)
    try:
        with monitoring(tmp_path, notify, port, receivers) as (_, am):

            def inhibited() -> Any:
                alerts = get(f"{am}/api/v2/alerts?active=true&inhibited=true")
                names = {one["fingerprint"]: one["labels"]["alertname"] for one in alerts}
                held = {(one["labels"]["alertname"], one["labels"].get("table")): one["status"]["inhibitedBy"] for one in alerts}
                causes = held.get(("DataStale", "sales.orders"))
                return causes and {names[one] for one in causes} and held

            held = until(inhibited, "DataStale of sales.orders is held back by the failed pipeline")
            assert not held["PipelineRunFailed", None] and not held["DQCheckFailing", "sales.orders"]
            until(lambda: any(page["payload"]["class"] == "PipelineRunFailed" for page in receivers.pages), "the pipeline itself pages")
            assert not [page for page in receivers.pages if page["payload"]["class"] == "DataStale"]
            failed = next(page for page in receivers.pages if page["payload"]["class"] == "PipelineRunFailed")
            assert "OutOfMemoryError" in failed["payload"]["custom_details"]["last_failed_run"]
            assert "sales.orders" in failed["payload"]["custom_details"]["downstream"]
    finally:
        server.shutdown()
        server.server_close()


def test_a_real_failed_pipeline_pages_alone_and_its_repair_frees_what_it_held_back(tmp_path: Path, generation: str, receivers: Receivers) -> None:
    write_delta(tmp_path / "orders", {"id": "int", "ts": "timestamp"}, [[1, "2026-01-01T00:00:00Z"]])
    port, notify = stack.free_port(), settings(tmp_path, receivers)
    checks = [{"freshness": {"column": "ts", "max_age": "1h"}}]
    config = {
        "version": 1, "store": {"url": f"sqlite:///{tmp_path}/dq.db"}, "defaults": {"schedule": {"every": "1s"}, "team": "sales", "owner": "jo", "severity": "critical"},
        "tables": [{"name": "sales.orders", "path": str(tmp_path / "orders"), "checks": checks}],
        "pipelines": [
            {"name": "sales_daily", "writes": ["sales.orders"], "suggested_action": "Raise the memory", "cost": {"usd_per_hour": 60, "budget_usd_per_day": 1}},
            {"name": "fine", "reads": ["sales.orders"]},
        ],
        "assets": [{"name": "dashboard.kpis", "reads": ["sales.orders"]}],
    }  # fmt: skip
    (tmp_path / "dq.yml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{port}"

    def tell(pipeline: str, state: str, run: str, **more: Any) -> None:
        body = json.dumps({"pipeline": pipeline, "state": state, "run_id": run, **more}).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/events", body), timeout=10) as answer:
            assert answer.status == 200

    argv = [sys.executable, "-m", "exporter.cli", "run", "-c", tmp_path / "dq.yml", "--web.listen-address", f"127.0.0.1:{port}"]
    with stack.server(argv, f"{url}/-/ready", tmp_path / "exporter.log", 60), monitoring(tmp_path, notify, port, receivers) as (prometheus, am):
        tell("fine", "success", "f1")
        tell("sales_daily", "failed", "r7", duration_seconds=600, error={"class": "OutOfMemoryError", "message": "heap on executor 5"})

        def held() -> Any:
            alerts = {(one["labels"]["alertname"], one["labels"].get("table", "")): one for one in get(f"{am}/api/v2/alerts?active=true&inhibited=true")}
            stale = alerts.get(("DataStale", "sales.orders"))
            return stale and stale["status"]["inhibitedBy"] and alerts

        alerts = until(held, "the stale table below the failed pipeline is held back", 90)
        failed = next(one for (name, _), one in alerts.items() if name == "PipelineRunFailed")
        assert (failed["labels"]["pipeline"], failed["labels"]["severity"], failed["labels"]["team"]) == ("sales_daily", "critical", "sales")
        told = failed["annotations"]
        assert "r7" in told["last_failed_run"] and "OutOfMemoryError" in told["last_failed_run"]
        assert "sales.orders" in told["downstream"] and "/runbooks#" in told["runbook_url"] and "var-pipeline=sales_daily" in told["dashboard_url"]
        assert all(text.strip() and "<no value>" not in text for text in told.values()), told
        assert "heap on executor 5" in json.dumps(get(told["context_url"].replace("http://127.0.0.1:9818", url)))
        until(lambda: any(page["payload"]["class"] == "PipelineRunFailed" for page in receivers.pages), "the pipeline pages")
        until(lambda: "PipelineCostOverBudget" in {name for name, _ in firing(prometheus)}, "ten minutes at a dollar each are over the budget", 90)
        assert not [page for page in receivers.pages if page["payload"]["class"] == "DataStale"]
        tell("sales_daily", "success", "r8", duration_seconds=1)
        until(lambda: not [name for name, _ in firing(prometheus) if name == "PipelineRunFailed"], "the next run resolves it", 90)
        until(lambda: any(page["payload"]["class"] == "DataStale" for page in receivers.pages), "the table is stale all the same, and now pages", 90)
