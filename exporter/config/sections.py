"""The sections of a configuration file but for `tables`.

A section is a model with a `resolve`, and one `@section` line registers it: the loader, the list of valid keys and the
JSON Schema read the registry.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, Field

from exporter.catalog.labels import Dimension, Engine, Severity
from exporter.checks.base import ScheduleModel, Strict
from exporter.config.binding import Scalar, Scope
from exporter.config.schedules import part_at_fault, schedule
from exporter.config.settings import (
    EngineSettings,
    LogSettings,
    SchedulerSettings,
    SparkSettings,
    StatsdSettings,
    StoreSettings,
    WebSettings,
)
from exporter.score import DEFAULT_WEIGHTS
from exporter.units import Duration, Size, Zone, parse_zone

SECTIONS: dict[str, type[Section]] = {}
LATER = ("bridge",)
"""Sections of the interface that this version does not have yet; each leaves the list when it is registered."""


class Section(Strict):
    """One top-level mapping; absent means all its defaults."""

    field: ClassVar[str]
    """The field of `Config` that `resolve` fills."""

    @abstractmethod
    def resolve(self, scope: Scope) -> Any:
        """The settings with secrets read; faults are reported to `scope`."""


SectionT = TypeVar("SectionT", bound=Section)


def section(key: str, field: str | None = None) -> Callable[[type[SectionT]], type[SectionT]]:
    """Registers a model as the section `key`."""

    def register(model: type[SectionT]) -> type[SectionT]:
        if SECTIONS.setdefault(key, model) is not model:
            raise TypeError(f"section {key} is defined twice")
        model.field = field or key
        return model

    return register


def positive(value: timedelta) -> timedelta:
    """Raises ValueError for a duration of nothing."""
    if value <= timedelta(0):
        raise ValueError("must be longer than 0s")
    return value


def not_negative_size(value: int) -> int:
    """Raises ValueError for no bytes at all."""
    if value < 1:
        raise ValueError("must be at least 1 byte")
    return value


PositiveDuration = Annotated[Duration, AfterValidator(positive)]
PositiveSize = Annotated[Size, AfterValidator(not_negative_size)]
Name = Annotated[str, Field(min_length=1)]


def _store_url(url: str) -> str:
    if not re.match(r"(sqlite|postgresql)(\+\w+)?://", url):
        raise ValueError("the store is sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE")
    if re.fullmatch(r"sqlite(\+\w+)?:///?(:memory:)?", url):
        raise ValueError("this store keeps nothing: name a file, such as sqlite:///dq-exporter.db")
    return url


@section("store")
class StoreModel(Section):
    """Where measurements, history and incidents are kept."""

    url: Annotated[str, AfterValidator(_store_url)] = Field(
        default="sqlite:///dq-exporter.db", examples=["postgresql+psycopg://dq@db/dq"]
    )
    password_file: Name | None = None
    password_env: Name | None = None
    retention: PositiveDuration = timedelta(days=30)

    def resolve(self, scope: Scope) -> StoreSettings:
        password = scope.secret("password", self.password_file, self.password_env)
        if password is not None and not re.match(r"\w+(\+\w+)?://[^/@:]+:?@", self.url):
            scope.report("a password is given, but the URL names no user: write postgresql+psycopg://USER@HOST/DATABASE", "url")
        return StoreSettings(self.url, self.retention, password)


@section("defaults")
class DefaultsModel(Section):
    """What tables and checks inherit."""

    schedule: ScheduleModel = ScheduleModel(every=timedelta(minutes=15))
    timeout: PositiveDuration = timedelta(minutes=10)
    timezone: Zone = parse_zone("UTC")
    severity: Severity = Severity.HIGH
    team: str = ""
    owner: str = ""
    runbook: str = ""
    on_empty: Literal["pass", "fail", "skip"] | None = None

    def resolve(self, scope: Scope) -> DefaultsModel:
        try:
            schedule(self.schedule, self.timezone)
        except ValueError as error:
            scope.report(str(error), "schedule", *part_at_fault(self.schedule))
        return self


@section("spark")
class SparkModel(Section):
    """The Spark session."""

    master: Name | None = Field(default=None, examples=["local[2]", "spark://host:7077", "yarn"])
    remote: Name | None = Field(default=None, examples=["sc://connect:15002"])
    conf: dict[str, Scalar] = Field(default_factory=dict)
    jars: tuple[str, ...] = ()
    token_file: Name | None = None
    token_env: Name | None = None

    def resolve(self, scope: Scope) -> SparkSettings:
        if self.master is not None and self.remote is not None:
            scope.report("give master or remote (Spark Connect), not both", "remote", at_key=True)
        if self.remote is not None and not re.match(r"sc://|local(\[[\d*]+\])?$", self.remote):
            scope.report(f'"{self.remote}" is not a Spark Connect address: write sc://HOST:15002, or local[2] for a server of its own', "remote")
        token = scope.secret("token", self.token_file, self.token_env)
        if token is not None and self.remote is None:
            scope.report("a token is only for remote (Spark Connect)", at_key=True)
        master = self.master or (None if self.remote else "local[2]")
        return SparkSettings(master, self.remote, scope.at("conf").settings(self.conf), self.jars, token)


EngineChoice = Literal["auto", "native", "spark"]


def engine_of(choice: EngineChoice) -> Engine | None:
    """The engine that is forced, None for `auto`."""
    return None if choice == "auto" else Engine(choice)


@section("engine")
class EngineModel(Section):
    """Which engine reads the rows, and the limits of the native one."""

    default: EngineChoice = "auto"
    native_max_bytes: PositiveSize = 8 * 2**30
    native_memory: PositiveSize = 2 * 2**30
    workers: int = Field(default=2, ge=1, le=1024)

    def resolve(self, scope: Scope) -> EngineSettings:
        return EngineSettings(engine_of(self.default), self.native_max_bytes, self.native_memory, self.workers)


def _address(text: str) -> str:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]*):(\d{1,5})", text)
    if not match or int(match[2]) > 65535:
        raise ValueError(f'"{text}" is not an address: write HOST:PORT, such as 127.0.0.1:9818, or :9818 for all interfaces')
    return text


@section("web")
class WebModel(Section):
    """The HTTP server."""

    listen_address: Annotated[str, AfterValidator(_address)] = "127.0.0.1:9818"
    max_series: int = Field(default=500_000, ge=1)
    token_file: Name | None = None
    token_env: Name | None = None

    def resolve(self, scope: Scope) -> WebSettings:
        return WebSettings(self.listen_address, self.max_series, scope.secret("token", self.token_file, self.token_env))


@section("scheduler")
class SchedulerModel(Section):
    """How many tables run at a time."""

    workers: int = Field(default=4, ge=1, le=1024)
    jitter: Duration = timedelta(seconds=10)

    def resolve(self, scope: Scope) -> SchedulerSettings:
        return SchedulerSettings(self.workers, self.jitter)


Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@section("score", field="weights")
class ScoreModel(Section):
    """How much each dimension counts in the overall score: 0.3 unless it is named, timeliness 0.1; only the ratios matter."""

    weights: dict[Dimension, Weight] = Field(default_factory=dict)

    def resolve(self, scope: Scope) -> dict[Dimension, float]:
        weights = {dimension: float(self.weights.get(dimension, DEFAULT_WEIGHTS[dimension])) for dimension in Dimension}
        if not any(weights.values()):
            scope.report("at least one weight must be greater than 0", "weights")
        return weights


def _agent(text: str) -> str:
    if not re.fullmatch(r"udp://([^/:]+|\[[0-9a-fA-F:]+\]):\d{1,5}|unix:///.+", text):
        raise ValueError(f'"{text}" is not an agent: write udp://HOST:PORT or unix:///PATH')
    return text


@section("statsd")
class StatsdModel(Section):
    """A DogStatsD agent that is sent the same results; nothing is sent without an address."""

    address: Annotated[str, AfterValidator(_agent)] | None = Field(default=None, examples=["udp://127.0.0.1:8125", "unix:///var/run/datadog/dsd.socket"])

    def resolve(self, scope: Scope) -> StatsdSettings:
        return StatsdSettings(self.address)


@section("log")
class LogModel(Section):
    """What is logged, and how; `auto` is console on a terminal and json elsewhere."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"

    def resolve(self, scope: Scope) -> LogSettings:
        return LogSettings(self.format, self.level)
