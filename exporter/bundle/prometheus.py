"""Rule files: alerts by group, recording rules, escalations, and the names of the first design."""

from __future__ import annotations

import re
from typing import Any

from exporter.bundle.yaml_text import dump
from exporter.catalog import labels as lb
from exporter.catalog import words as w
from exporter.catalog.alerts import OWN_TEAM, Alert, Subject, all_alerts
from exporter.catalog.escalations import ESCALATED, ESCALATIONS, Escalation, escalated
from exporter.catalog.labels import Label
from exporter.catalog.promql import Recording
from exporter.catalog.recordings import COMPATIBLE, all_recordings
from exporter.config.settings import Links, NotifySettings

Rule = dict[str, Any]
BOARDS = {Subject.CHECK: "dq-table", Subject.TABLE: "dq-table", Subject.PIPELINE: "dq-pipeline", Subject.PROCESS: "dq-exporter"}
"""The board that shows what an alert is about."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def rule_files(notify: NotifySettings, command: str) -> dict[str, str]:
    """Every rule file by its name."""
    files = {}
    for group in ("tables", "pipelines", "objectives", "exporter"):
        rules = [alert_rule(alert, notify) for alert in all_alerts() if alert.group == group]
        files[f"{group}.rules.yml"] = _file(f"dq-{group}", rules, command)
    files["escalation.rules.yml"] = _file("dq-escalation", [escalation_rule(step, notify) for step in ESCALATIONS], command)
    files["recording.rules.yml"] = _file("dq-recording", [recording_rule(one) for one in all_recordings()], command)
    files["compat.rules.yml"] = _file("dq-compat", [recording_rule(one) for one in COMPATIBLE], command)
    return files


def _file(group: str, rules: list[Rule], command: str) -> str:
    return dump({"groups": [{"name": group, "rules": rules}]}, command)


def recording_rule(recording: Recording) -> Rule:
    """A recording rule."""
    return {"record": recording.name, "expr": str(recording.expr)}


def alert_rule(alert: Alert, notify: NotifySettings) -> Rule:
    """An alerting rule with all that those who are woken need to know."""
    labels: dict[str, str] = {}
    if alert.subject.info is None:
        labels |= {"severity": alert.severity, "team": OWN_TEAM}
    if alert.dimension is not None:
        labels["dimension"] = alert.dimension.value
    return {
        "alert": alert.name,
        "expr": str(alert.expr()),
        **_waiting(alert.wait, alert.keep, notify.patience),
        **({"labels": labels} if labels else {}),
        "annotations": told(alert, notify.links),
    }


def _waiting(wait: str, keep: str, patience: float) -> dict[str, str]:
    """`for` and `keep_firing_for`, left out where they are nothing."""
    times = {"for": scaled(wait, patience), "keep_firing_for": scaled(keep, patience)}
    return {key: value for key, value in times.items() if value != "0s"}


def scaled(duration: str, patience: float) -> str:
    """A duration times the patience, in whole seconds unless nothing changes."""
    match = re.fullmatch(r"(\d+)([smhd])", duration)
    assert match, duration
    if patience == 1:
        return duration
    return f"{round(int(match[1]) * _UNITS[match[2]] * patience)}s"


def told(alert: Alert, links: Links) -> dict[str, str]:
    """What an alert says, in words and links."""
    subject = alert.subject
    return {
        "summary": alert.summary,
        "description": alert.description,
        "impact": alert.impact,
        "suggested_action": alert.action,
        "owner": f"{{{{ with $labels.{lb.TEAM.name} }}}}team {{{{ . }}}}{{{{ else }}}}no team is configured{{{{ end }}}}" + _person(subject),
        "last_failed_run": _last_failed_run(subject),
        "downstream": w.downstream(_thing(subject)) if subject is not Subject.PROCESS else "everything that this exporter watches",
        "runbook_url": f"{links.exporter}/runbooks#{alert.anchor}",
        "dashboard_url": dashboard_url(subject, links),
        "context_url": f"{links.exporter}/" + _context(subject),
    }


def _thing(subject: Subject) -> Label:
    return lb.PIPELINE if subject is Subject.PIPELINE else lb.TABLE


def _person(subject: Subject) -> str:
    return "" if subject is Subject.PROCESS else " (the person is in the context)"


def _last_failed_run(subject: Subject) -> str:
    if subject is Subject.PROCESS:
        return "not about a run"
    return w.failed_run_of_pipeline() if subject is Subject.PIPELINE else w.failed_run_above_table()


def _context(subject: Subject) -> str:
    if subject is Subject.PROCESS:
        return "api/v1/status"
    thing = _thing(subject)
    return f"api/v1/context?{thing.name}={{{{ $labels.{thing.name} | urlquery }}}}"


def dashboard_url(subject: Subject, links: Links) -> str:
    """The board with its variables set to what the alert is about."""
    variables = [lb.JOB] if subject is Subject.PROCESS else [lb.JOB, _thing(subject)]
    query = "&".join(f"var-{label.name}={{{{ $labels.{label.name} | urlquery }}}}" for label in variables)
    return f"{links.grafana}/d/{BOARDS[subject]}?{query}"


def escalation_rule(step: Escalation, notify: NotifySettings) -> Rule:
    """Fires when alerts of a severity have fired for so long."""
    of = "{{ $labels.escalated_from }}"
    about = "{{ with $labels.pipeline }} of {{ . }}{{ end }}{{ with $labels.table }} of {{ . }}{{ end }}"
    return {
        "alert": ESCALATED,
        "expr": str(escalated(step)),
        **_waiting(step.after, "0s", notify.patience),
        "labels": {"severity": step.severity.value, lb.ESCALATION.name: step.to},
        "annotations": {
            "summary": f"An alert has fired for {step.after}",
            "description": f"{of}{about} has fired for {step.after} and nobody has silenced it.",
            "impact": "What the alert says goes on.",
            "suggested_action": "Find out who works on it; silence the alert when somebody does.",
            "owner": "{{ with $labels.team }}team {{ . }}{{ else }}no team is configured{{ end }}",
            "last_failed_run": "see the alert itself",
            "downstream": "see the alert itself",
            "runbook_url": f"{notify.links.exporter}/runbooks#{ESCALATED.lower()}",
            "dashboard_url": f"{notify.links.grafana}/d/dq-alerts?var-job={{{{ $labels.job | urlquery }}}}",
            "context_url": f"{notify.links.exporter}/api/v1/status",
        },
    }
