"""What a loaded configuration is made of: frozen, with secrets resolved and kept out of every repr."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from exporter.catalog.labels import Dimension, Engine
from exporter.model import TableSpec

if TYPE_CHECKING:
    from exporter.config.pipelines import Watching
    from exporter.config.sections import DefaultsModel


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where state is kept; history older than `retention` is deleted."""

    url: str
    retention: timedelta
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SparkSettings:
    """The Spark session: local or cluster by `master`, or Spark Connect by `remote`."""

    master: str | None
    remote: str | None
    conf: Mapping[str, str] = field(default_factory=dict, repr=False)
    jars: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Which engine reads; `default` None chooses per table. Sizes in bytes."""

    default: Engine | None
    native_max_bytes: int
    native_memory: int
    workers: int


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The HTTP server of the exporter; `token` guards its write endpoints."""

    listen_address: str
    max_series: int
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """How many tables are evaluated at a time, and over what time due tables are spread."""

    workers: int
    jitter: timedelta


@dataclass(frozen=True, slots=True)
class StatsdSettings:
    """The DogStatsD agent that is sent the same results, if any."""

    address: str | None = None


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How log lines look and from which level on they are written."""

    format: Literal["auto", "json", "console"]
    level: Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class PagerDutySettings:
    """Events API v2; the file is read by Alertmanager."""

    routing_key_file: str


@dataclass(frozen=True, slots=True)
class SlackSettings:
    """An incoming webhook and a channel per loudness."""

    api_url_file: str
    urgent: str
    alerts: str
    info: str


@dataclass(frozen=True, slots=True)
class EmailSettings:
    """A mail server and the recipients of P2 and P3."""

    smarthost: str
    sender: str
    high: str
    medium: str
    username: str | None
    password_file: str | None
    require_tls: bool


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """A webhook and the file with the bearer token that it wants."""

    url: str
    token_file: str | None


@dataclass(frozen=True, slots=True)
class EscalationSettings:
    """Mail addresses of those who hear of alerts that fire on."""

    manager: str | None = None
    vp: str | None = None
    team_lead: str | None = None


@dataclass(frozen=True, slots=True)
class BusinessHours:
    """When P3 is delivered; days as Alertmanager writes them (`monday:friday`), times as HH:MM."""

    days: str = "monday:friday"
    begin: str = "09:00"
    end: str = "17:00"
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Links:
    """Where people reach the parts."""

    grafana: str = "http://127.0.0.1:3000"
    exporter: str = "http://127.0.0.1:9818"
    alertmanager: str = "http://127.0.0.1:9093"


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """Who is told what; what is None is not told. `patience` multiplies all waiting times of alerts."""

    pagerduty: PagerDutySettings | None = None
    slack: SlackSettings | None = None
    email: EmailSettings | None = None
    servicenow: WebhookSettings | None = None
    deadman: WebhookSettings | None = None
    escalation: EscalationSettings = EscalationSettings()
    hours: BusinessHours = BusinessHours()
    links: Links = Links()
    patience: float = 1.0


@dataclass(frozen=True)
class Config:
    """The whole configuration, checked. `secrets` are all values that must never be shown."""

    store: StoreSettings
    spark: SparkSettings
    engine: EngineSettings
    web: WebSettings
    scheduler: SchedulerSettings
    log: LogSettings
    notify: NotifySettings
    statsd: StatsdSettings
    weights: Mapping[Dimension, float]
    tables: tuple[TableSpec, ...]
    files: tuple[str, ...]
    defaults: DefaultsModel
    watching: Watching
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def effective(self) -> dict[str, Any]:
        """The configuration as it is applied, all defaults filled in and secrets as `***`; fit for YAML."""
        from exporter.config.effective import effective  # the module needs this class

        return effective(self)
