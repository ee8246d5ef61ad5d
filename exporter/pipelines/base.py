"""What a source of pipeline runs is: its YAML schema and how it is asked or listened to, in one class per file.

Defining a subclass of `SourceModel` with a `kind` registers it; nothing else has to know of it. A source that is asked has a
`poller`; one that is sent to only has `understand`.
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, Protocol

from pydantic import Field

from exporter.catalog.labels import Dimension, Outcome, Severity, SourceType
from exporter.catalog.metrics import Metric
from exporter.checks.base import Strict
from exporter.model import Json
from exporter.pipelines.http import Http
from exporter.pipelines.run import RunError, RunReport
from exporter.redaction import redact, redacted
from exporter.units import Duration

SOURCES: dict[SourceType, type[SourceModel]] = {}
_LONGEST_MESSAGE = 2000
_LONGEST_CLASS = 80


class SourceError(Exception):
    """A source could not be asked to the end: what, where, and what to do. Nothing of the attempt counts."""


class Unreadable(ValueError):
    """A payload cannot be understood: why, in a sentence."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Which data sets a job reads and writes, by the names that the source gives them."""

    job: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TestResult:
    """A test that a source ran on a data set (`dataset` is the source's name for it); published like the checks of a table.

    `name` is unique for the data set. `type` is what kind of test it is (`dbt_test`, `dbt_source_freshness`, `openlineage_assertion`).
    `newest_at` is the time of the newest data, for a test of freshness. A new result of a source replaces all
    earlier ones of the same data set and name; those that its newest run left out age.
    """

    dataset: str
    name: str
    type: str
    outcome: Outcome
    at: datetime
    column: str = ""
    dimension: Dimension = Dimension.VALIDITY
    severity: Severity = Severity.HIGH
    failed_rows: int | None = None
    message: str = ""
    newest_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A payload that could not be understood, as JSON text, and why."""

    payload: str
    reason: str


@dataclass(frozen=True, slots=True)
class Understood:
    """What one payload says: of runs, and of lineage. Equal `key`s are the same event sent again."""

    key: str
    reports: tuple[RunReport, ...] = ()
    flows: tuple[Flow, ...] = ()
    tests: tuple[TestResult, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that is queued or running as far as is known, and when (our clock) it was last heard of."""

    job: str
    run_id: str
    heard_at: datetime


@dataclass(frozen=True)
class Known:
    """What a poll may know: where it stopped last, which jobs are watched, which of them have no history yet, which runs are open."""

    checkpoint: Json
    wants: Callable[[str], bool]
    jobs: frozenset[str]
    """Ids of the pipelines that are configured by id."""
    without_history: Callable[[Iterable[str]], list[str]]
    """Of some jobs those whose past was not fetched yet; a poll fetches that of a few."""
    open_runs: Sequence[OpenRun] = ()
    now: datetime = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Polled:
    """What one complete poll found; it is stored together with the checkpoint, or not at all.

    `until` is the source's time up to which everything is known. `histories` names the jobs whose past is among the reports. `gauges` are
    published for the source as they are, with its name as the first label value. `paused` jobs have no backlog (None: not asked this time).
    """

    checkpoint: Json
    until: datetime
    reports: Sequence[RunReport] = ()
    letters: Sequence[DeadLetter] = ()
    flows: Sequence[Flow] = ()
    tests: Sequence[TestResult] = ()
    histories: Sequence[str] = ()
    gauges: Mapping[tuple[Metric, tuple[str, ...]], float] = field(default_factory=dict)
    paused: frozenset[str] | None = None


class Poller(Protocol):
    """Asks one source. Lives as long as the configuration of the source stays."""

    def poll(self, known: Known) -> Polled:
        """Everything that changed since `known.checkpoint`. Raises SourceError."""


class RetryModel(Strict):
    """How requests are sent again: after 1, 2, 4 … times `wait` with jitter (exponential), or after `wait` each time (fixed)."""

    strategy: Literal["exponential", "fixed"] = "exponential"
    attempts: int = Field(default=4, ge=1, le=20, description="how often a request is sent at most")
    wait: Duration = timedelta(seconds=1)
    longest: Duration = timedelta(seconds=30)


class BreakerModel(Strict):
    """A source is left alone for `open_for` after so many failed polls in a row; then one poll tries it."""

    failures: int = Field(default=5, ge=1, le=1000)
    open_for: Duration = timedelta(minutes=5)


class SourceModel(Strict, ABC):
    """The settings of one source; the keys that every source takes are declared here."""

    kind: ClassVar[SourceType]
    secrets: ClassVar[tuple[str, ...]] = ()
    """Secrets that it takes as `<key>_file` or `<key>_env`."""
    paths: ClassVar[tuple[str, ...]] = ()
    """Keys that are paths; relative ones start at the folder of the configuration file."""

    type: str
    every: Duration = Field(default=timedelta(minutes=1), description="how often it is asked")
    timeout: Duration = Field(default=timedelta(seconds=30), description="for one request with its body")
    retry: RetryModel = RetryModel()
    breaker: BreakerModel = BreakerModel()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "kind" in cls.__dict__ and SOURCES.setdefault(cls.kind, cls).__qualname__ != cls.__qualname__:
            raise TypeError(f"source type {cls.kind} is defined twice")

    def problems(self, given: frozenset[str]) -> Iterable[tuple[str, str]]:
        """Faults of the settings as (key, message); `given` are the secrets that were found."""
        return ()

    @property
    def is_polled(self) -> bool:
        """True when it is asked, False when it sends."""
        return type(self).poller is not SourceModel.poller

    def poller(self, secrets: Mapping[str, str], http: Http) -> Poller | None:
        """What asks it; None for a source that is sent to."""
        return None

    @abstractmethod
    def understand(self, payload: Json, received_at: datetime) -> Understood:
        """What one payload (a row of an answer, or an event) says. Raises Unreadable."""


def letter(payload: Any, reason: object) -> DeadLetter:
    """A dead letter, without secrets and of bounded size."""
    return DeadLetter(json.dumps(redacted(payload), default=str)[:65536], redact(str(reason))[:500])


def key_of(*parts: object) -> str:
    """A short key for what is made of some parts."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:32]


def run_error(error_class: str | None, message: str | None) -> RunError:
    """An error fit to be stored and shown: secrets masked, the class one short word or two, the text of bounded length."""
    text = redact((message or "").strip())[:_LONGEST_MESSAGE]
    name = re.sub(r"\s+", " ", (error_class or "").strip()).rpartition(".")[2] or class_in(text) or "Failed"
    return RunError(redact(name)[:_LONGEST_CLASS], text)


_CLASS = re.compile(r"\b(?:[a-z_][\w$]*\.)*([A-Z]\w*(?:Error|Exception|Failure|Timeout|Interrupt|Exit))\b")
_MEMORY = re.compile(r"out ?of ?memory|OutOfMemoryError|Java heap space|GC overhead|exit (?:code|status):? 137|signal:? ?-?9\b|exceeding memory limits", re.IGNORECASE)


def class_in(text: str) -> str:
    """The class of error that a text names: memory first, then the innermost exception; nothing when it names none."""
    if _MEMORY.search(text):
        return "OutOfMemory"
    found = _CLASS.findall(text)
    return found[-1] if found else ""


_FIRST_YEAR, _LAST_YEAR = 1900, 2200


def parse_time(value: Any) -> datetime | None:
    """An aware time from ISO 8601 with any number of digits of a second, or from milliseconds since 1970; None for nothing.

    Raises Unreadable for anything else; a time without zone is in UTC.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        raise Unreadable(f"{value!r} is not a time")
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value / 1000, UTC)
        text = re.sub(r"\.(\d+)", lambda found: "." + (found[1] + "000000")[:6], str(value).strip(), count=1)
        moment = datetime.fromisoformat(re.sub(r"GMT$", "+00:00", text))
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise Unreadable(f"{str(value)[:60]!r} is not a time") from None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:  # near the ends of the calendar no time can be added or taken away
        raise Unreadable(f"{str(value)[:60]!r} is not between the years {_FIRST_YEAR} and {_LAST_YEAR}")
    return moment
