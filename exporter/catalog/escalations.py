"""Escalations: whom an alert reaches that fires on and on."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.catalog import foreign as f
from exporter.catalog import labels as lb
from exporter.catalog.labels import Severity
from exporter.catalog.promql import Expr, aggregate, is_, label_replace, sel


@dataclass(frozen=True)
class Escalation:
    """Whom an alert that nobody silenced reaches when it fires on and on."""

    to: str
    severity: Severity
    after: str


ESCALATIONS = (Escalation("manager", Severity.CRITICAL, "30m"), Escalation("vp", Severity.CRITICAL, "2h"), Escalation("team_lead", Severity.HIGH, "2h"))
ESCALATED = "AlertEscalated"


def escalated(step: Escalation) -> Expr:
    """The alerts of a severity that fire, under another name."""
    by = (lb.ALERTNAME, lb.JOB, lb.TABLE, lb.PIPELINE, lb.TEAM)
    firing = sel(f.ALERTS, {lb.ALERTSTATE: is_("firing"), lb.SEVERITY: step.severity, lb.ESCALATION: is_("")})
    return label_replace(aggregate("max", firing, by), lb.ESCALATED_FROM, "$1", lb.ALERTNAME, "(.*)")
