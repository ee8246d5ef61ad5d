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
class LogSettings:
    """How log lines look and from which level on they are written."""

    format: Literal["auto", "json", "console"]
    level: Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True)
class Config:
    """The whole configuration, checked. `secrets` are all values that must never be shown."""

    store: StoreSettings
    spark: SparkSettings
    engine: EngineSettings
    web: WebSettings
    scheduler: SchedulerSettings
    log: LogSettings
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
