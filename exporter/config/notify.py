"""The section `notify`: whom alerts reach, by which channel, and where links lead; `dq-exporter bundle` reads it.

Secrets are named by the file that Alertmanager reads; dq-exporter neither needs nor opens them.
"""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated

from pydantic import AfterValidator, Field

from exporter.checks.base import Strict
from exporter.config.binding import Scope
from exporter.config.sections import Name, Section, section
from exporter.config.settings import (
    BusinessHours,
    EmailSettings,
    EscalationSettings,
    Links,
    NotifySettings,
    PagerDutySettings,
    SlackSettings,
    WebhookSettings,
)
from exporter.units import Zone, parse_zone

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _http(url: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", url):
        raise ValueError(f'"{url}" is not an address: write http://HOST:PORT or https://HOST/PATH')
    return url.rstrip("/")


def _address(text: str) -> str:
    if not re.fullmatch(r"[^@\s,]+@[^@\s,]+(, ?[^@\s,]+@[^@\s,]+)*", text):
        raise ValueError(f'"{text}" is not an e-mail address')
    return text


def _smarthost(text: str) -> str:
    if not re.fullmatch(r"[^\s:]+:\d{1,5}", text):
        raise ValueError(f'"{text}" is not a mail server: write HOST:PORT, such as mail.example.com:587')
    return text


def _channel(text: str) -> str:
    if not re.fullmatch(r"[#@]?[^\s#@]+", text):
        raise ValueError(f'"{text}" is not a channel: write "#name" in quotes')
    return text


def _weekdays(text: str) -> str:
    first, _, last = text.partition("-")
    short = [day[:3] for day in _DAYS]
    if first not in short or (last and (last not in short or short.index(last) < short.index(first))):
        raise ValueError(f'"{text}" are no days: write mon-fri or a single day')
    return text


Url = Annotated[str, AfterValidator(_http)]
Address = Annotated[str, AfterValidator(_address)]
Channel = Annotated[str, AfterValidator(_channel)]


class PagerDutyModel(Strict):
    """Events API v2; P1 calls on-call people."""

    routing_key_file: Name


class ChannelsModel(Strict):
    """P2, P3 and P4."""

    urgent: Channel = "#data-urgent"
    alerts: Channel = "#data-alerts"
    info: Channel = "#data-info"


class SlackModel(Strict):
    """An incoming webhook."""

    api_url_file: Name
    channels: ChannelsModel = ChannelsModel()


class RecipientsModel(Strict):
    """P2 and P3."""

    high: Address
    medium: Address


class EmailModel(Strict):
    """A mail server."""

    smarthost: Annotated[str, AfterValidator(_smarthost)]
    from_: Address = Field(alias="from")
    to: RecipientsModel
    username: Name | None = None
    password_file: Name | None = None
    require_tls: bool = True


class WebhookModel(Strict):
    """A webhook of Alertmanager: the bridge to ServiceNow, or what watches the Watchdog."""

    url: Url
    token_file: Name | None = None


class EscalationModel(Strict):
    """Mail addresses of those who hear of alerts that fire on: P1 after 30 min and 2 h, P2 after 2 h."""

    manager: Address | None = None
    vp: Address | None = None
    team_lead: Address | None = None


class HoursModel(Strict):
    """When P3 is delivered."""

    days: Annotated[str, AfterValidator(_weekdays)] = "mon-fri"
    begin: time = time(9)
    end: time = time(17)
    timezone: Zone = parse_zone("UTC")


class LinksModel(Strict):
    """Where people reach the parts, as their browsers see them."""

    grafana: Url = "http://127.0.0.1:3000"
    exporter: Url = "http://127.0.0.1:9818"
    alertmanager: Url = "http://127.0.0.1:9093"


@section("notify")
class NotifyModel(Section):
    """Who is told what; `patience` multiplies all waiting times of alerts (less than 1 for tests)."""

    pagerduty: PagerDutyModel | None = None
    slack: SlackModel | None = None
    email: EmailModel | None = None
    servicenow: WebhookModel | None = None
    deadman: WebhookModel | None = None
    escalation: EscalationModel = EscalationModel()
    business_hours: HoursModel = HoursModel()
    links: LinksModel = LinksModel()
    patience: float = Field(default=1.0, gt=0, le=100)

    def resolve(self, scope: Scope) -> NotifySettings:
        hours, mail, slack = self.business_hours, self.email, self.slack
        if hours.begin >= hours.end:
            scope.report("business hours must begin before they end", "business_hours", "end")
        named = [name for name in ("manager", "vp", "team_lead") if getattr(self.escalation, name)]
        if named and mail is None:
            scope.report(f"escalation to {', '.join(named)} goes by mail: give email too", "escalation", at_key=True)
        if mail is not None and (mail.username is None) != (mail.password_file is None):
            scope.report("give username and password_file together", "email", at_key=True)
        return NotifySettings(
            pagerduty=PagerDutySettings(self.pagerduty.routing_key_file) if self.pagerduty else None,
            slack=SlackSettings(slack.api_url_file, slack.channels.urgent, slack.channels.alerts, slack.channels.info) if slack else None,
            email=EmailSettings(mail.smarthost, mail.from_, mail.to.high, mail.to.medium, mail.username, mail.password_file, mail.require_tls) if mail else None,
            servicenow=WebhookSettings(self.servicenow.url, self.servicenow.token_file) if self.servicenow else None,
            deadman=WebhookSettings(self.deadman.url, self.deadman.token_file) if self.deadman else None,
            escalation=EscalationSettings(self.escalation.manager, self.escalation.vp, self.escalation.team_lead),
            hours=BusinessHours(_long(hours.days), f"{hours.begin:%H:%M}", f"{hours.end:%H:%M}", hours.timezone.key),
            links=Links(self.links.grafana, self.links.exporter, self.links.alertmanager),
            patience=self.patience,
        )


def _long(days: str) -> str:
    """`mon-fri` as Alertmanager writes it."""
    return ":".join(day for short in days.split("-") for day in _DAYS if day.startswith(short))
