"""Every metric that dq-exporter exports: name, kind, help, labels, unit, buckets.

Nothing else in the code spells a metric name. `SCOPES` says what a series of a metric exists for, which is
what the cardinality bound is computed from.
"""

from dataclasses import dataclass
from enum import StrEnum

from exporter.catalog import labels as lb
from exporter.catalog.labels import Label


class Kind(StrEnum):
    """Prometheus metric kinds in use. `INFO` is a gauge of value 1 whose labels are the information."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True)
class Metric:
    """One metric family.

    `per_subject` is the greatest number of series that one (table) or (table, check) can have; by default the
    product of the closed label sets. `buckets` are upper bounds in the metric's unit, without +Inf.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[Label, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    per_subject: int | None = None

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels in the order in which values are given."""
        return tuple(label.name for label in self.labels)

    def series_bound(self) -> int:
        """The most series that one subject (table, check or process) can have."""
        combinations = self.per_subject
        if combinations is None:
            combinations = 1
            for label in self.labels:
                combinations *= label.cardinality
        return combinations * (len(self.buckets) + 3 if self.kind is Kind.HISTOGRAM else 1)


_CHECK = (lb.TABLE, lb.CHECK)
_TABLE = (lb.TABLE,)


def _gauge(name: str, text: str, labels: tuple[Label, ...] = (), unit: str = "", per: int | None = None) -> Metric:
    return Metric(name, Kind.GAUGE, text, labels, unit, per_subject=per)


def _counter(name: str, text: str, labels: tuple[Label, ...] = (), unit: str = "", per: int | None = None) -> Metric:
    return Metric(name, Kind.COUNTER, text, labels, unit, per_subject=per)


# --- checks ---------------------------------------------------------------------------------------------------
CHECK_STATUS = _gauge(
    "dq_check_status",
    "Last verdict: 1 pass or warn, 0 fail. Absent until the first verdict; an error or a skip leaves it as it is.",
    _CHECK,
)
CHECK_LAST_OUTCOME = _gauge(
    "dq_check_last_outcome",
    "What the last run ended in; exactly one series per check, value 1.",
    (*_CHECK, lb.OUTCOME),
    per=1,
)
CHECK_VALUE = _gauge(
    "dq_check_value", "Last measured value, in the unit of the check (rows, ratio, seconds …).", _CHECK
)
CHECK_FAILED_ROWS = _gauge("dq_check_failed_rows", "Rows that broke the rule at the last verdict.", _CHECK)
CHECK_EVALUATED_ROWS = _gauge("dq_check_evaluated_rows", "Rows in the scope of the check at the last verdict.", _CHECK)
CHECK_THRESHOLD = _gauge(
    "dq_check_threshold",
    "Limit that dq_check_value is compared with; absent where there is none.",
    (*_CHECK, lb.BOUND),
)
CHECK_LAST_RUN = _gauge(
    "dq_check_last_run_timestamp_seconds", "When the check was last run, whatever came of it.", _CHECK, "seconds"
)
CHECK_LAST_VERDICT = _gauge(
    "dq_check_last_verdict_timestamp_seconds", "When the check last ended in pass, warn or fail.", _CHECK, "seconds"
)
CHECK_INTERVAL = _gauge(
    "dq_check_interval_seconds",
    "Longest time between two runs that the schedule of the check allows.",
    _CHECK,
    "seconds",
)
CHECK_INFO = Metric(
    "dq_check_info",
    Kind.INFO,
    "What the check is; joins to every other series on (table, check).",
    (*_CHECK, lb.CHECK_TYPE, lb.DIMENSION, lb.COLUMN, lb.SEVERITY, lb.TEAM),
    per_subject=1,
)
CHECK_LEARNING_STATE = _gauge(
    "dq_check_learning_state",
    "How much a learned check knows; exactly one series per learned check, value 1.",
    (*_CHECK, lb.STATE),
    per=1,
)
CHECK_RUNS = _counter("dq_check_runs_total", "Runs of the check by outcome.", (*_CHECK, lb.OUTCOME))

# --- tables ---------------------------------------------------------------------------------------------------
EVALUATION_DURATION = Metric(
    "dq_evaluation_duration_seconds",
    Kind.HISTOGRAM,
    "Time that one evaluation of a table spent in a tier.",
    (lb.TABLE, lb.TIER),
    "seconds",
    buckets=(0.1, 1.0, 10.0, 60.0, 300.0, 1800.0),
    per_subject=3,  # metadata, scan and job take time; history takes none
)
SCANNED_BYTES = _counter(
    "dq_scanned_bytes_total",
    "Size of the data files that scans and jobs were run over (before column pruning).",
    (lb.TABLE, lb.ENGINE),
    "bytes",
)
SCANNED_ROWS = _counter("dq_scanned_rows_total", "Rows of the table versions that were scanned.", (lb.TABLE, lb.ENGINE))
SCANNED_FILES = _counter("dq_scanned_files_total", "Data files that scans and jobs were run over.", (lb.TABLE, lb.ENGINE))
TABLE_INFO = Metric(
    "dq_table_info",
    Kind.INFO,
    "What the table is; joins to every other series on table.",
    (lb.TABLE, lb.TEAM, lb.SEVERITY, lb.FORMAT, lb.ENGINE),
    per_subject=1,
)
TABLE_ROWS = _gauge("dq_table_rows", "Rows of the last seen table version, from metadata.", _TABLE)
TABLE_BYTES = _gauge("dq_table_bytes", "Size of the data files of the last seen table version.", _TABLE, "bytes")
TABLE_FILES = _gauge("dq_table_files", "Data files of the last seen table version.", _TABLE)
TABLE_VERSION = _gauge("dq_table_version", "Last seen version of the table.", _TABLE)
ROWS_EXPECTED = _gauge("dq_table_rows_expected", "Rows that the last judged bucket was expected to have.", _CHECK)
ROWS_EXPECTED_MIN = _gauge("dq_table_rows_expected_min", "Fewest rows of the last judged bucket that are no anomaly.", _CHECK)
ROWS_EXPECTED_MAX = _gauge("dq_table_rows_expected_max", "Most rows of the last judged bucket that are no anomaly.", _CHECK)
ROWS_ANOMALY_SCORE = _gauge(
    "dq_table_rows_anomaly_score",
    "Deviation of the last judged bucket in robust standard deviations of ln(1 + rows); negative for too few.",
    _CHECK,
)
FRESHNESS = _gauge(
    "dq_freshness_timestamp_seconds",
    "Time of the newest data that is not in the future; the age is time() minus this.",
    _TABLE,
    "seconds",
)
FRESHNESS_MAX_AGE = _gauge(
    "dq_freshness_max_age_seconds", "Greatest age that the freshness check allows.", _TABLE, "seconds"
)
FRESHNESS_DEADLINE = _gauge(
    "dq_freshness_deadline_timestamp_seconds", "Next time by which new data must have arrived.", _TABLE, "seconds"
)
LATENCY = _gauge(
    "dq_latency_seconds", "Time from event to ingest of recently ingested rows, by quantile.", (lb.TABLE, lb.QUANTILE), "seconds"
)
FUTURE_ROWS = _gauge("dq_future_rows", "Rows whose event time lies in the future; ignored for freshness.", _TABLE)
MISSING_PARTITIONS = _gauge("dq_missing_partitions", "Expected partitions that do not exist.", _TABLE)
SCHEMA_CHANGES = _gauge(
    "dq_schema_changes", "Columns that differ from the schema seen before, by kind of change.", (lb.TABLE, lb.CHANGE)
)
SCORE = _gauge(
    "dq_score_ratio",
    "Score of a dimension, 0 to 1, over the checks that have a verdict; absent when none has.",
    (lb.TABLE, lb.DIMENSION),
)
SCORE_COVERAGE = _gauge(
    "dq_score_coverage_ratio", "Share of the dimension's checks whose verdict is known and current.", (lb.TABLE, lb.DIMENSION)
)
OVERALL_SCORE = _gauge(
    "dq_overall_score_ratio", "Weighted score over the dimensions that are known, 0 to 1.", _TABLE
)
OVERALL_COVERAGE = _gauge(
    "dq_overall_score_coverage_ratio", "Share of all checks of the table whose verdict is known and current.", _TABLE
)

# --- the product itself ---------------------------------------------------------------------------------------
BUILD_INFO = Metric("dq_exporter_build_info", Kind.INFO, "Version of dq-exporter.", (lb.VERSION,))
CONFIG_RELOAD_SUCCESSFUL = _gauge(
    "dq_exporter_config_last_reload_successful", "1 if the last configuration that was offered is in use, else 0."
)
CONFIG_RELOAD_TIMESTAMP = _gauge(
    "dq_exporter_config_last_reload_success_timestamp_seconds",
    "When the configuration in use was loaded.",
    unit="seconds",
)
CONFIG_RELOADS = _counter("dq_exporter_config_reloads_total", "Configurations offered after the start.", (lb.TRIGGER,))
SCHEDULER_TABLES = _gauge("dq_exporter_scheduler_tables", "Tables that have at least one scheduled check.")
SCHEDULER_RUNNING = _gauge("dq_exporter_scheduler_running", "Evaluations that are running now.")
SCHEDULER_QUEUE = _gauge("dq_exporter_scheduler_queue_depth", "Tables that are due and wait for a worker.")
SCHEDULER_LAG = _gauge(
    "dq_exporter_scheduler_lag_seconds",
    "How long the table that waits longest has been due, or the last one waited when none does.",
    unit="seconds",
)
SCHEDULER_MISSED = _counter(
    "dq_exporter_scheduler_missed_runs_total", "Due evaluations left out because the one before was still running."
)
EVALUATIONS = _counter("dq_exporter_evaluations_total", "Evaluations of tables that were completed.")
EVALUATION_ERRORS = _counter(
    "dq_exporter_evaluation_errors_total", "Evaluations in which at least one check could not be evaluated."
)
EVALUATION_TIMEOUTS = _counter("dq_exporter_evaluation_timeouts_total", "Evaluations cancelled at their timeout.")
STORE_ERRORS = _counter("dq_exporter_store_errors_total", "Results that could not be stored; they are not published.")
SERIES = _gauge("dq_exporter_series", "Series in the last assembled page, without those of the process itself.")
SERIES_BOUND = _gauge("dq_exporter_series_bound", "The most series that the configuration in use can make.")


def all_metrics() -> tuple[Metric, ...]:
    """Every metric of the catalogue, in the order of the exposition."""
    return tuple(value for value in globals().values() if isinstance(value, Metric))
