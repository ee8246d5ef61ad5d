"""Whom an alert reaches, at any hour, and what the message says."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from exporter.bundle.alertmanager import alertmanager, inhibitions
from exporter.catalog.alerts import NO_PAGE, all_alerts
from exporter.catalog.escalations import ESCALATIONS
from exporter.catalog.labels import Severity
from exporter.config.settings import (
    BusinessHours,
    EmailSettings,
    EscalationSettings,
    NotifySettings,
    PagerDutySettings,
    SlackSettings,
    WebhookSettings,
)
from tests.tools import stack

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "alert_rules" / "alertmanager.yml"
TEMPLATES = ROOT / "alert_rules" / "templates" / "*.tmpl"
MATRIX = {"critical": ["servicenow", "p1-page"], "high": ["servicenow", "p2-urgent"], "medium": ["p3-alerts"], "low": ["p4-info"], NO_PAGE: ["nowhere"]}
FULL = NotifySettings(
    PagerDutySettings("/s/pd"), SlackSettings("/s/slack", "#u", "#a", "#i"),
    EmailSettings("mail:587", "dq@x.io", "h@x.io", "m@x.io", "u", "/s/mail", True), WebhookSettings("http://b/am", "/s/token"),
    WebhookSettings("http://d", None), EscalationSettings("m@x.io", "v@x.io", "t@x.io"), BusinessHours("monday:friday", "09:00", "17:00", "Europe/Berlin"),
)  # fmt: skip


def amtools() -> list[Path]:
    found = sorted(stack.TOOLS.glob("*/usr/bin/amtool"))
    return found or [stack.find_binary("amtool")]


def run(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def written(tmp_path: Path, notify: NotifySettings) -> Path:
    path = tmp_path / "alertmanager.yml"
    path.write_text(alertmanager(notify, "x").replace("templates/*.tmpl", str(TEMPLATES)))
    return path


def holds(matcher: str, labels: dict[str, str]) -> bool:
    name, op, value = re.fullmatch(r'(\w+)(=~|=)"(.*)"', matcher).groups()  # type: ignore[union-attr]
    seen = labels.get(name, "")
    return bool(re.fullmatch(value, seen)) if op == "=~" else seen == value


def receivers(config: dict[str, Any], labels: dict[str, str], at: datetime | None = None) -> list[str]:
    """Where Alertmanager would send an alert; at a time, only to routes that are active then."""
    intervals = {one["name"]: one["time_intervals"] for one in config["time_intervals"]}
    found = []
    for route in config["route"]["routes"]:
        if all(holds(matcher, labels) for matcher in route["matchers"]):
            if at is None or all(any(covers(part, at) for part in intervals[name]) for name in route.get("active_time_intervals", [])):
                found.append(route["receiver"])
            if not route.get("continue"):
                return found
    return [*found, config["route"]["receiver"]]


def covers(interval: dict[str, Any], at: datetime) -> bool:
    local = at.astimezone(ZoneInfo(interval["location"]))
    days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
    first, _, last = interval["weekdays"][0].partition(":")
    in_days = days.index(first) <= local.weekday() <= days.index(last or first)
    return in_days and any(part["start_time"] <= f"{local:%H:%M}" < part["end_time"] for part in interval["times"])


@pytest.mark.parametrize("notify", [NotifySettings(), FULL, NotifySettings(slack=FULL.slack), NotifySettings(email=FULL.email, servicenow=FULL.servicenow), NotifySettings(hours=BusinessHours("monday:sunday", "00:00", "24:00", "UTC"))])
def test_alertmanager_accepts_whatever_is_configured(tmp_path: Path, notify: NotifySettings) -> None:
    for amtool in amtools():
        assert "SUCCESS" in run(amtool, "check-config", written(tmp_path, notify))


def test_no_secret_is_in_the_file_only_where_it_is() -> None:
    text = alertmanager(FULL, "x")
    assert {"/s/pd", "/s/slack", "/s/mail", "/s/token"} <= set(re.findall(r"/s/\w+", text))
    assert not re.search(r"(routing_key|api_url|password|credentials):", text)


@pytest.mark.parametrize(("severity", "team", "name"), list(itertools.product(MATRIX, ["sales", "", "a b"], ["DQCheckFailing", "PipelineRunFailed"])))
def test_every_severity_of_every_team_reaches_what_the_matrix_says(severity: str, team: str, name: str) -> None:
    wanted = MATRIX[severity]
    labels = {"severity": severity, "team": team, "alertname": name}
    assert receivers(yaml.safe_load(CONFIG.read_text()), labels) == wanted
    for amtool in amtools():
        run(amtool, "config", "routes", "test", f"--config.file={CONFIG}", f"--verify.receivers={','.join(wanted)}", *(f"{key}={value}" for key, value in labels.items()))


@pytest.mark.parametrize("alert", all_alerts(), ids=lambda alert: alert.name)
def test_every_alert_has_a_route(alert: Any) -> None:
    for severity in [alert.severity] if alert.severity else list(Severity):
        assert receivers(yaml.safe_load(CONFIG.read_text()), {"severity": severity, "alertname": alert.name}) == (["nowhere"] if alert.name == "Watchdog" else MATRIX[severity])


@pytest.mark.parametrize("hour", range(0, 24 * 7, 3))
def test_p3_waits_for_business_hours_and_nothing_else_does(hour: int) -> None:
    config = yaml.safe_load(alertmanager(FULL, "x"))
    zone = ZoneInfo("Europe/Berlin")
    at = datetime(2026, 3, 23 + hour // 24, hour % 24, 30, tzinfo=zone)  # a week with a change of the clock at its end
    working = hour // 24 < 5 and 9 <= hour % 24 < 17
    assert receivers(config, {"severity": "medium"}, at) == (["p3-alerts"] if working else [])
    for severity in ("critical", "high", "low"):
        assert receivers(config, {"severity": severity}, at) == MATRIX[severity]


@pytest.mark.parametrize("step", ESCALATIONS, ids=lambda step: step.to)
def test_an_escalation_reaches_its_person_and_without_one_the_urgent_channel(step: Any) -> None:
    labels = {"alertname": "AlertEscalated", "severity": step.severity.value, "escalation": step.to}
    assert receivers(yaml.safe_load(alertmanager(FULL, "x")), labels) == [f"escalation-{step.to.replace('_', '-')}"]
    assert receivers(yaml.safe_load(alertmanager(NotifySettings(slack=FULL.slack), "x")), labels) == ["p2-urgent"]


def test_a_failed_pipeline_holds_back_freshness_and_volume_of_the_table_below_and_nothing_else() -> None:
    rule = next(rule for rule in inhibitions() if holds(rule["source_matchers"][0], {"alertname": "ProbableCause"}))
    held = {alert.name for alert in all_alerts() if holds(rule["target_matchers"][0], {"alertname": alert.name})}
    assert {"DataStale", "RowCountAnomaly", "DataDeadlineMissed"} <= held and not held & {"DQCheckFailing", "PipelineRunFailed", "SchemaChanged", "DuplicateLoad"}
    assert rule["equal"] == ["job", "table"]


def test_what_is_held_back_is_not_escalated_either() -> None:
    rules = inhibitions()
    labels = {"alertname": "AlertEscalated", "escalated_from": "DataStale"}
    holding = [rule["source_matchers"] for rule in rules if all(holds(matcher, labels) for matcher in rule["target_matchers"])]
    assert holding == [['alertname="ProbableCause"']]
    assert len(rules) % 2 == 0


def test_inhibition_names_alerts_that_exist_and_labels_that_they_have() -> None:
    names = {*(alert.name for alert in all_alerts()), "AlertEscalated"}
    for rule in inhibitions():
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            assert set(re.findall(r"[A-Z]\w+", matcher.split("=", 1)[1])) <= names


def message(alerts: int, severity: str = "high", status: str = "firing") -> dict[str, Any]:
    labels = {"alertname": "DQCheckFailing", "severity": severity, "table": "a&b<c>"}
    annotations = {
        "summary": "A check fails", "description": "1 < 2 & so on", "impact": "Bad.", "suggested_action": "Look.", "owner": "team x", "last_failed_run": "r1",
        "downstream": "d", "runbook_url": "http://e/runbooks#x", "dashboard_url": "http://g/d/dq-table?var-table=t",
    }  # fmt: skip
    one = {"status": status, "labels": labels, "annotations": annotations, "startsAt": "2026-01-01T01:00:00Z", "endsAt": "2026-01-01T02:00:00Z"}
    return {"receiver": "r", "status": status, "externalURL": "http://am", "groupLabels": {}, "commonLabels": labels, "commonAnnotations": {"summary": "A check fails"}, "alerts": [one] * alerts}


def rendered(tmp_path: Path, template: str, data: dict[str, Any], kind: str = "text") -> set[str]:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(data))
    text = f'{{{{ template "{template}" . }}}}'
    return {run(amtool, "template", "render", f"--template.glob={TEMPLATES}", f"--template.type={kind}", f"--template.text={text}", f"--template.data={path}") for amtool in amtools()}


@pytest.mark.parametrize(("count", "more"), [(1, ""), (5, ""), (6, "+1 more"), (40, "+35 more")])
def test_at_most_five_alerts_are_told_and_the_rest_counted(tmp_path: Path, count: int, more: str) -> None:
    (text,) = rendered(tmp_path, "dq.slack.text", message(count))
    assert text.count("Runbook>") == min(count, 5)
    assert (more in text) if more else ("more" not in text)
    assert len(text) < 3000 or count > 1


def test_slack_is_escaped_and_links_carry_the_time_and_the_silence(tmp_path: Path) -> None:
    (text,) = rendered(tmp_path, "dq.slack.text", message(1))
    assert "1 &lt; 2 &amp; so on" in text and "<http://e/runbooks#x|Runbook>" in text
    assert "<http://g/d/dq-table?var-table=t&from=1767225600000&to=now|Dashboard>" in text
    assert "http://am/#/silences/new?filter=%7Balertname%3D%22DQCheckFailing%22" in text and "a%26b%3Cc%3E" in text
    (title,) = rendered(tmp_path, "dq.slack.title", message(2))
    assert title.strip() == "[P2][FIRING:2] DQCheckFailing a&amp;b&lt;c&gt;"


@pytest.mark.parametrize(("severity", "priority"), [("critical", "P1"), ("high", "P2"), ("medium", "P3"), ("low", "P4")])
def test_the_title_says_priority_state_and_what(tmp_path: Path, severity: str, priority: str) -> None:
    (title,) = rendered(tmp_path, "dq.title", message(1, severity, "resolved"))
    assert title.strip() == f"[{priority}][RESOLVED] DQCheckFailing a&b<c>: A check fails"


def test_the_mail_is_escaped_html_with_working_links(tmp_path: Path) -> None:
    (page,) = rendered(tmp_path, "dq.email.html", message(7), "html")
    assert "1 &lt; 2 &amp; so on" in page and "+2 more" in page and "ZgotmplZ" not in page
    assert 'href="http://g/d/dq-table?var-table=t&amp;from=1767225600000&amp;to=now"' in page
