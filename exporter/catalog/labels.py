"""Label names and the closed sets of their values.

A label whose values are closed (`outcome`, `dimension` …) carries them, so that the number of series can be
computed from the configuration before anything runs.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How loudly a failing check is announced; P1 to P4 of the routing matrix."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Dimension(StrEnum):
    """The six data-quality dimensions of DAMA-DMBOK."""

    COMPLETENESS = "completeness"
    UNIQUENESS = "uniqueness"
    VALIDITY = "validity"
    ACCURACY = "accuracy"
    CONSISTENCY = "consistency"
    TIMELINESS = "timeliness"


class Outcome(StrEnum):
    """What one evaluation of a check ended in; only pass, warn and fail are verdicts."""

    PASS = "pass"  # noqa: S105 - an outcome, not a password
    WARN = "warn"
    FAIL = "fail"
    ERROR = "error"
    SKIPPED = "skipped"
    LEARNING = "learning"

    @property
    def is_verdict(self) -> bool:
        """True when the data was judged, so that the last good value may be replaced."""
        return self in (Outcome.PASS, Outcome.WARN, Outcome.FAIL)


class Tier(StrEnum):
    """Where a measurement came from, cheapest first."""

    METADATA = "metadata"
    PARTIALS = "partials"
    SCAN = "scan"
    JOB = "job"
    HISTORY = "history"


class Engine(StrEnum):
    """What reads the rows."""

    NATIVE = "native"
    SPARK = "spark"


class TableFormat(StrEnum):
    """How a table is stored."""

    DELTA = "delta"
    PARQUET = "parquet"
    ICEBERG = "iceberg"
    TABLE = "table"
    JDBC = "jdbc"


class Bound(StrEnum):
    """Which threshold a value is compared with."""

    MIN = "min"
    MAX = "max"
    WARN_MIN = "warn_min"
    WARN_MAX = "warn_max"
    EXPECTED = "expected"


class Change(StrEnum):
    """How a column differs from the schema seen before."""

    ADDED = "added"
    REMOVED = "removed"
    TYPE = "type"
    NULLABILITY = "nullability"


class Learning(StrEnum):
    """How much a learned check knows; only `active` and `unstable` have stood the test of the table's own past.

    `unstable`: more than three in ten buckets were anomalies, so it only warns. `quiet` and `neutral` buckets are not
    judged (no data is due, or a holiday). `stopped`: no rows for so long that only their return is news.
    """

    LEARNING = "learning"
    TENTATIVE = "tentative"
    ACTIVE = "active"
    UNSTABLE = "unstable"
    QUIET = "quiet"
    NEUTRAL = "neutral"
    STOPPED = "stopped"


class Quantile(StrEnum):
    """Points of a distribution that are published."""

    P50 = "0.5"
    P95 = "0.95"
    P99 = "0.99"


class SourceType(StrEnum):
    """What tells of pipeline runs."""

    AIRFLOW = "airflow"
    DATABRICKS = "databricks"
    SPARK = "spark"
    OPENLINEAGE = "openlineage"
    DBT = "dbt"
    EVENTS = "events"


class Window(StrEnum):
    """Over how long something is counted, added up or averaged; `1d` is the present calendar day."""

    TODAY = "1d"
    DAY = "24h"
    MONTH = "30d"


class Resource(StrEnum):
    """What a run uses up."""

    CPU = "cpu"
    MEMORY = "memory"


class SlotState(StrEnum):
    """What the slots of an Airflow pool do; waiting tasks are `scheduled` as well as `queued`."""

    OPEN = "open"
    RUNNING = "running"
    QUEUED = "queued"
    SCHEDULED = "scheduled"
    DEFERRED = "deferred"


class Receipt(StrEnum):
    """What became of an event that was sent to the exporter."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


class ReloadTrigger(StrEnum):
    """What asked for a new configuration."""

    SIGNAL = "signal"
    HTTP = "http"


@dataclass(frozen=True)
class Label:
    """A label name; `values` is its closed set, or None where users choose the values."""

    name: str
    values: type[StrEnum] | None = None

    @property
    def cardinality(self) -> int:
        """Number of values of a closed set; 1 where the configuration decides."""
        return len(self.values) if self.values else 1


TABLE = Label("table")
CHECK = Label("check")
CHECK_TYPE = Label("check_type")
COLUMN = Label("column")
TEAM = Label("team")
VERSION = Label("version")
SEVERITY = Label("severity", Severity)
DIMENSION = Label("dimension", Dimension)
OUTCOME = Label("outcome", Outcome)
BOUND = Label("bound", Bound)
TIER = Label("tier", Tier)
ENGINE = Label("engine", Engine)
FORMAT = Label("format", TableFormat)
CHANGE = Label("change", Change)
STATE = Label("state", Learning)
QUANTILE = Label("quantile", Quantile)
TRIGGER = Label("trigger", ReloadTrigger)
PIPELINE = Label("pipeline")
SOURCE = Label("source", SourceType)
WINDOW = Label("window", Window)
RESOURCE = Label("resource", Resource)
RUN_ID = Label("run_id")
ERROR_CLASS = Label("error_class")
COLLECTOR = Label("collector", SourceType)
INSTANCE_NAME = Label("instance_name")
POOL = Label("pool")
SLOT_STATE = Label("state", SlotState)
COMPONENT = Label("component")
RECEIPT = Label("receipt", Receipt)
UPSTREAM = Label("upstream")
DOWNSTREAM = Label("downstream")

# What Prometheus adds: to every scraped series, to histograms, and to the series of its alerts.
JOB = Label("job")
INSTANCE = Label("instance")
LE = Label("le")
ALERTNAME = Label("alertname")
ALERTSTATE = Label("alertstate")
ESCALATION = Label("escalation")
ESCALATED_FROM = Label("escalated_from")
SLO = Label("slo")
