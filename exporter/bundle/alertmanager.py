"""Alertmanager's configuration from `notify`: who is told what, when, and what holds back what.

The output is the subset that Alertmanager 0.25 and the newest both accept; secrets are named by file only.
Alerts of P1 and P2 go to the ServiceNow bridge by a route of their own, because a ticket wants another grouping and another
repetition than a page: one ticket per thing that broke, whatever its severity becomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exporter.bundle.prometheus import scaled
from exporter.bundle.yaml_text import dump
from exporter.catalog import labels as lb
from exporter.catalog.alerts import NO_PAGE, all_alerts
from exporter.catalog.escalations import ESCALATED
from exporter.catalog.labels import Label, Severity
from exporter.config.settings import EmailSettings, NotifySettings, WebhookSettings

Node = dict[str, Any]

NOWHERE, DEADMAN, TICKETS, PAGE, URGENT, ALERTS, INFO = "nowhere", "deadman", "servicenow", "p1-page", "p2-urgent", "p3-alerts", "p4-info"
OFFICE_HOURS = "business-hours"
TEMPLATES = "templates/*.tmpl"
GROUP = [lb.ALERTNAME.name, lb.JOB.name, lb.PIPELINE.name, lb.TABLE.name]
"""One notification per thing that broke: all failing checks of a table are one."""
_PRIORITY = (("if", "critical", "critical"), ("else if", "high", "error"), ("else if", "medium", "warning"), ("else if", "low", "info"))
"""PagerDuty's name of each severity, as a chain of conditions."""


def alertmanager(notify: NotifySettings, command: str) -> str:
    """alertmanager.yml."""
    config: Node = {
        "global": _global(notify),
        "templates": [TEMPLATES],
        "route": _route(notify),
        "inhibit_rules": inhibitions(),
        "time_intervals": [{"name": OFFICE_HOURS, "time_intervals": [_office_hours(notify)]}],
        "receivers": _receivers(notify),
    }
    return dump(config, command)


def _global(notify: NotifySettings) -> Node:
    out: Node = {"resolve_timeout": "5m"}
    if notify.slack:
        out["slack_api_url_file"] = notify.slack.api_url_file
    mail = notify.email
    if mail:
        out |= {"smtp_smarthost": mail.smarthost, "smtp_from": mail.sender, "smtp_require_tls": mail.require_tls}
        if mail.username and mail.password_file:
            out |= {"smtp_auth_username": mail.username, "smtp_auth_password_file": mail.password_file}
    return out


def _office_hours(notify: NotifySettings) -> Node:
    hours = notify.hours
    first, _, last = hours.days.partition(":")
    # Alertmanager's week begins on Sunday: a range cannot end there
    days = [f"{first}:saturday", "sunday"] if last == "sunday" else [hours.days]
    return {"times": [{"start_time": hours.begin, "end_time": hours.end}], "weekdays": days, "location": hours.timezone}


# --- routes ---------------------------------------------------------------------------------------------------
def _is(label: Label, *values: str) -> str:
    return f'{label.name}="{values[0]}"' if len(values) == 1 else f'{label.name}=~"{"|".join(values)}"'


def _route(notify: NotifySettings) -> Node:
    def timed(group: str, repeat: str) -> Node:
        interval = scaled(group, notify.patience)
        return {"group_wait": scaled("30s", notify.patience), "group_interval": "1s" if interval == "0s" else interval, "repeat_interval": repeat}

    routes = [
        {"receiver": DEADMAN if notify.deadman else NOWHERE, "matchers": [_is(lb.ALERTNAME, "Watchdog")], "group_wait": "0s", "group_interval": "1m", "repeat_interval": "5m"},
        {"receiver": NOWHERE, "matchers": [_is(lb.SEVERITY, NO_PAGE)]},
        *_escalations(notify),
    ]
    if notify.servicenow:
        tickets = {"receiver": TICKETS, "matchers": [_is(lb.SEVERITY, Severity.CRITICAL, Severity.HIGH)], **timed("1m", "24h"), "continue": True}
        routes.append(tickets)
    routes += [
        {"receiver": PAGE, "matchers": [_is(lb.SEVERITY, Severity.CRITICAL)], **timed("1m", "1h")},
        {"receiver": URGENT, "matchers": [_is(lb.SEVERITY, Severity.HIGH)], **timed("5m", "4h")},
        {"receiver": ALERTS, "matchers": [_is(lb.SEVERITY, Severity.MEDIUM)], **timed("15m", "24h"), "active_time_intervals": [OFFICE_HOURS]},
    ]
    return {"receiver": INFO, "group_by": GROUP, **timed("1h", "7d"), "routes": routes}


def _escalations(notify: NotifySettings) -> list[Node]:
    """An escalation goes to the person who is named, and else is seen where the alert was."""
    people = {"manager": notify.escalation.manager, "vp": notify.escalation.vp, "team_lead": notify.escalation.team_lead}
    by = [lb.ESCALATED_FROM.name, *GROUP]
    named = [
        {"receiver": f"escalation-{to.replace('_', '-')}", "matchers": [_is(lb.ESCALATION, to)], "group_by": by, "group_wait": "30s", "repeat_interval": "24h"}
        for to, address in people.items()
        if address
    ]
    rest = {"receiver": URGENT, "matchers": [_is(lb.ALERTNAME, ESCALATED)], "group_by": by, "repeat_interval": "24h"}
    return [*named, rest]


# --- inhibition -----------------------------------------------------------------------------------------------
def inhibitions() -> list[Node]:
    """What holds back what, so that one fault is one message."""
    following = [alert.name for alert in all_alerts() if alert.follows]
    symptoms = [alert.name for alert in all_alerts() if alert.group == "exporter" and alert.name not in ("ExporterDown", "ExporterAbsent", "Watchdog")]
    rules = [
        _inhibit([_is(lb.ALERTNAME, "ProbableCause")], [_is(lb.ALERTNAME, *following)], [lb.JOB, lb.TABLE]),
        _inhibit([_is(lb.ALERTNAME, "ExporterDown")], [_is(lb.ALERTNAME, "DQCheckError", "DQCheckNotRunning", "DQCheckNeverRun", "ExporterAvailabilityBudgetBurns")], [lb.JOB]),
        _inhibit([_is(lb.ALERTNAME, "ExporterDown")], [_is(lb.ALERTNAME, *symptoms)], [lb.JOB, lb.INSTANCE]),
        _inhibit([_is(lb.ALERTNAME, "DQScoreLow")], [_is(lb.ALERTNAME, "DQScoreDegraded", "DQScoreDropping")], [lb.JOB, lb.TABLE]),
        _inhibit([_is(lb.ALERTNAME, "PipelineSLABreached")], [_is(lb.ALERTNAME, "PipelineSLAAtRisk")], [lb.JOB, lb.PIPELINE]),
        _inhibit([_is(lb.ALERTNAME, "PipelineRunFailed")], [_is(lb.ALERTNAME, "PipelineSuccessRateLow")], [lb.JOB, lb.PIPELINE]),
        _inhibit([_is(lb.ALERTNAME, "ExporterCollectorDown")], [_is(lb.ALERTNAME, "ExporterBreakerOpen")], [lb.JOB, lb.INSTANCE_NAME]),
        _inhibit([_is(lb.ALERTNAME, "FreshnessBudgetBurnsFast")], [_is(lb.ALERTNAME, "FreshnessBudgetBurnsSlowly")], [lb.JOB, lb.TABLE]),
    ]
    return rules + [_of_escalations(rule) for rule in rules]


def _of_escalations(rule: Node) -> Node:
    """The same for the escalations of the alerts that are held back."""
    names = rule["target_matchers"][0].removeprefix(lb.ALERTNAME.name)
    return {**rule, "target_matchers": [_is(lb.ALERTNAME, ESCALATED), lb.ESCALATED_FROM.name + names]}


def _inhibit(source: list[str], target: list[str], equal: Sequence[Label]) -> Node:
    return {"source_matchers": source, "target_matchers": target, "equal": [label.name for label in equal]}


# --- receivers ------------------------------------------------------------------------------------------------
def _receivers(notify: NotifySettings) -> list[Node]:
    mail, slack = notify.email, notify.slack
    receivers: list[Node] = [
        {"name": NOWHERE},
        {"name": PAGE, **_pagerduty(notify), **(_slack(slack.urgent) if slack and not notify.pagerduty else {})},
        {"name": URGENT, **(_slack(slack.urgent) if slack else {}), **(_email(mail, mail.high) if mail else {})},
        {"name": ALERTS, **(_slack(slack.alerts) if slack else {}), **(_email(mail, mail.medium) if mail else {})},
        {"name": INFO, **(_slack(slack.info) if slack else {})},
    ]
    if notify.servicenow:
        receivers.append({"name": TICKETS, **_webhook(notify.servicenow)})
    if notify.deadman:
        receivers.append({"name": DEADMAN, **_webhook(notify.deadman)})
    people = {"manager": notify.escalation.manager, "vp": notify.escalation.vp, "team-lead": notify.escalation.team_lead}
    receivers += [{"name": f"escalation-{to}", **_email(mail, address)} for to, address in people.items() if address and mail]
    return receivers


def _pagerduty(notify: NotifySettings) -> Node:
    if not notify.pagerduty:
        return {}
    severity = "".join(f'{{{{ {word} eq .CommonLabels.severity "{name}" }}}}{level}' for word, name, level in _PRIORITY)
    details = {
        "alerts": '{{ template "dq.text" . }}',
        "owner": '{{ with index .Alerts 0 }}{{ .Annotations.owner }}{{ end }}',
        "suggested_action": "{{ with index .Alerts 0 }}{{ .Annotations.suggested_action }}{{ end }}",
        "last_failed_run": "{{ with index .Alerts 0 }}{{ .Annotations.last_failed_run }}{{ end }}",
        "downstream": "{{ with index .Alerts 0 }}{{ .Annotations.downstream }}{{ end }}",
    }
    config = {
        "routing_key_file": notify.pagerduty.routing_key_file,
        "send_resolved": True,
        "description": '{{ template "dq.title" . }}',
        "severity": severity + "{{ else }}error{{ end }}",
        "class": "{{ .CommonLabels.alertname }}",
        "group": "{{ .CommonLabels.team }}",
        "component": "{{ .CommonLabels.pipeline }}{{ .CommonLabels.table }}",
        "client": "dq-exporter",
        "client_url": '{{ template "dq.dashboard" (index .Alerts 0) }}',
        "links": [
            {"href": "{{ (index .Alerts 0).Annotations.runbook_url }}", "text": "Runbook"},
            {"href": '{{ template "dq.dashboard" (index .Alerts 0) }}', "text": "Dashboard"},
            {"href": '{{ template "dq.silence" . }}', "text": "Silence"},
        ],
        "details": details,
    }
    return {"pagerduty_configs": [config]}


def _slack(channel: str) -> Node:
    config = {
        "channel": channel,
        "send_resolved": True,
        "color": '{{ template "dq.colour" . }}',
        "title": '{{ template "dq.slack.title" . }}',
        "title_link": '{{ template "dq.dashboard" (index .Alerts 0) }}',
        "fallback": '{{ template "dq.title" . }}',
        "text": '{{ template "dq.slack.text" . }}',
        "footer": "dq-exporter",
        "short_fields": False,
        "actions": [
            {"type": "button", "text": "Runbook", "url": "{{ (index .Alerts 0).Annotations.runbook_url }}"},
            {"type": "button", "text": "Dashboard", "url": '{{ template "dq.dashboard" (index .Alerts 0) }}'},
            {"type": "button", "text": "Silence", "url": '{{ template "dq.silence" . }}'},
        ],
    }
    return {"slack_configs": [config]}


def _email(mail: EmailSettings | None, to: str) -> Node:
    assert mail is not None
    headers = {"Subject": '{{ template "dq.title" . }}'}
    config = {"to": to, "send_resolved": True, "headers": headers, "html": '{{ template "dq.email.html" . }}', "text": '{{ template "dq.text" . }}'}
    return {"email_configs": [config]}


def _webhook(webhook: WebhookSettings) -> Node:
    config: Node = {"url": webhook.url, "send_resolved": True, "max_alerts": 0}  # a cut message can claim that all is resolved
    if webhook.token_file:
        config["http_config"] = {"authorization": {"type": "Bearer", "credentials_file": webhook.token_file}}
    return {"webhook_configs": [config]}
