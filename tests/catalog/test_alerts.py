"""Every alert is complete, every signal has an alert or a reason, and each has its runbook."""

from __future__ import annotations

import re

import pytest

from exporter.catalog.alerts import NO_PAGE, Alert, all_alerts
from exporter.catalog.escalations import ESCALATED
from exporter.catalog.labels import Severity
from exporter.catalog.runbooks import PARTS, page, sections, written
from exporter.catalog.signals import Signal, all_signals
from exporter.checks import REGISTRY

ALERTS = {alert.name: alert for alert in all_alerts()}


@pytest.fixture(params=ALERTS.values(), ids=list(ALERTS))
def alert(request: pytest.FixtureRequest) -> Alert:
    found: Alert = request.param
    return found


def test_names_are_unique() -> None:
    assert len(ALERTS) == len(all_alerts())


def test_an_alert_says_what_is_wrong_what_follows_and_what_to_do(alert: Alert) -> None:
    assert re.fullmatch(r"[A-Z][A-Za-z]{3,49}", alert.name)
    assert re.fullmatch(r"[A-Z][^.{]{10,80}", alert.summary), "one sentence, the same for all of its series"
    assert alert.description.endswith(".")
    for text in (alert.action, alert.impact):
        assert re.fullmatch(r"[A-Z].{3,200}[.?]", text), text


def test_an_alert_compares_a_limit_of_its_signal(alert: Alert) -> None:
    limits = alert.signal.limits
    assert limits is not None and not alert.signal.why_no_alert
    assert f" {limits.op} {limits.bad:g}" in str(alert.expr())
    if limits.warn is not None:
        assert (limits.warn < limits.bad) == (limits.worse == "above")
    if limits.clear is not None:
        assert (limits.clear < limits.bad) == (limits.worse == "above")


def test_severity_comes_from_the_configuration_or_is_fixed(alert: Alert) -> None:
    if alert.subject.info is None:
        assert alert.severity in {*Severity, NO_PAGE}
    else:
        assert not alert.severity and "group_left (severity, team" in str(alert.expr())


def test_a_description_has_the_value_or_a_measurement_with_its_limit(alert: Alert) -> None:
    states = {"DataTimeUnknown", "DQCheckNeverRun", "PipelineRunFailed", "ProbableCause", "Watchdog", "ExporterDown", "ExporterAbsent", "ExporterReloadFailed"}
    states |= {"PipelineSchedulerDown", "ExporterCollectorDown", "ExporterBreakerOpen"}  # a state has no value
    assert ("$value" in alert.description or "query" in alert.description) != (alert.name in states)


def test_check_types_that_alerts_name_exist() -> None:
    named = {one for alert in all_alerts() for one in alert.types.removeprefix("!").split("|") if one}
    assert named <= set(REGISTRY)


def test_every_type_of_check_is_covered_by_exactly_one_verdict_alert() -> None:
    verdicts = [alert for alert in all_alerts() if alert.types]
    for type_ in REGISTRY:
        hits = [alert.name for alert in verdicts if (type_ in alert.types.removeprefix("!").split("|")) != alert.types.startswith("!")]
        wanted = ["DataTimeUnknown"] if type_ == "freshness" else hits[:1]  # the age of fresh data has DataStale
        assert hits == wanted and hits


@pytest.mark.parametrize(("name", "signal"), list(all_signals().items()))
def test_a_signal_is_compared_by_an_alert_or_says_why_not(name: str, signal: Signal) -> None:
    compared = any(alert.signal == signal for alert in all_alerts())
    assert compared != bool(signal.why_no_alert), name
    assert signal.help.endswith("."), name
    assert set(signal.key) <= set(signal.expr.labels) or not signal.key


@pytest.mark.parametrize("name", [*ALERTS, ESCALATED])
def test_an_alert_has_a_runbook_with_all_its_parts_and_an_anchor_on_the_page(name: str) -> None:
    text = sections()[name]
    for part in ("Meaning", "Impact", *PARTS):
        assert f"**{part}.** " in text
    assert f'<section id="{name.lower()}">' in page()


def test_no_runbook_is_left_behind() -> None:
    assert set(written()) == {*ALERTS, ESCALATED}
