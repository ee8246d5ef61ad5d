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

# --- pipelines ------------------------------------------------------------------------------------------------
_PIPELINE = (lb.PIPELINE, lb.SOURCE)


def _pipeline(name: str, text: str, labels: tuple[Label, ...] = (), unit: str = "", per: int = 1) -> Metric:
    return Metric(name, Kind.GAUGE, text, (*_PIPELINE, *labels), unit, per_subject=per)


PIPELINE_INFO = Metric(
    "pipeline_info", Kind.INFO, "What the pipeline is; joins to every other series on pipeline.", (*_PIPELINE, lb.TEAM, lb.SEVERITY), per_subject=1
)
PIPELINE_STATUS = _pipeline("pipeline_status", "State of the newest run: 0 failed, 1 queued or running, 2 success. Absent until a run was seen.")
PIPELINE_RUNS = _counter("pipeline_runs_total", "Runs that succeeded or failed since the pipeline was first watched.", _PIPELINE, per=1)
PIPELINE_RUNS_SUCCEEDED = _counter("pipeline_runs_succeeded_total", "Runs that succeeded.", _PIPELINE, per=1)
PIPELINE_RUNS_FAILED = _counter("pipeline_runs_failed_total", "Runs that failed.", _PIPELINE, per=1)
PIPELINE_RUNS_RETRIED = _counter("pipeline_runs_retried_total", "Runs that succeeded after at least one retry.", _PIPELINE, per=1)
PIPELINE_RECENT_RUNS = _pipeline("pipeline_recent_runs", "Runs that ended in the window in success or failure.", (lb.WINDOW,))
PIPELINE_RECENT_SUCCESSES = _pipeline("pipeline_recent_successes", "Runs that ended in the window in success.", (lb.WINDOW,))
PIPELINE_RECENT_RETRIED = _pipeline(
    "pipeline_recent_retried_successes", "Runs that ended in the window in success after at least one retry.", (lb.WINDOW,)
)
PIPELINE_RUN_DURATION = Metric(
    "pipeline_run_duration_seconds",
    Kind.HISTOGRAM,
    "Time from start to end of runs that succeeded or failed.",
    _PIPELINE,
    "seconds",
    buckets=(10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0),
    per_subject=1,
)
PIPELINE_LAST_RUN_DURATION = _pipeline(
    "pipeline_last_run_duration_seconds", "Time from start to end of the run that ended last.", unit="seconds"
)
PIPELINE_DURATION_MEDIAN = _pipeline(
    "pipeline_run_duration_median_seconds",
    "Median duration of the last 30 successful runs within the window; absent below 5.",
    (lb.WINDOW,),
    "seconds",
)
PIPELINE_RUNNING_START = _pipeline(
    "pipeline_running_run_start_timestamp_seconds", "Start of the oldest run that is running; absent when none is.", unit="seconds"
)
PIPELINE_LAST_RUN = _pipeline("pipeline_last_run_timestamp_seconds", "End of the run that ended last.", unit="seconds")
PIPELINE_LAST_SUCCESS = _pipeline("pipeline_last_success_timestamp_seconds", "End of the last successful run.", unit="seconds")
PIPELINE_LAST_FAILURE = _pipeline("pipeline_last_failure_timestamp_seconds", "End of the last failed run.", unit="seconds")
PIPELINE_LAST_FAILED_RUN = Metric(
    "pipeline_last_failed_run_info",
    Kind.INFO,
    "The last failed run; exactly one series per pipeline that ever failed. The message is at /api/v1/context.",
    (*_PIPELINE, lb.RUN_ID, lb.ERROR_CLASS),
    per_subject=1,
)
PIPELINE_QUEUED_RUNS = _pipeline("pipeline_queued_runs", "Runs that wait to be started; those of a paused pipeline do not count.")
PIPELINE_QUEUE_DELAY = _pipeline("pipeline_queue_delay_seconds", "Time that the newest started run waited in the queue.", unit="seconds")
PIPELINE_RESOURCE_USAGE = _pipeline(
    "pipeline_resource_usage_ratio", "Peak memory or mean CPU of the newest run, as a share of what it was given.", (lb.RESOURCE,), per=2
)
_BY_PIPELINE = (lb.PIPELINE,)
SLA_DEADLINE = _gauge(
    "pipeline_sla_deadline_timestamp_seconds", "Deadline that is next, or that passed unmet.", _BY_PIPELINE, "seconds"
)
SLA_BREACHED = _gauge("pipeline_sla_breached", "1 while the last deadline passed and no run that counts for it has succeeded, else 0.", _BY_PIPELINE)
SLA_AT_RISK = _gauge(
    "pipeline_sla_at_risk",
    "1 when the next deadline will be missed if the run takes as long as usual, else 0; absent while the median is unknown.",
    _BY_PIPELINE,
)
SLA_BREACHES = _counter("pipeline_sla_breaches_total", "Deadlines that passed unmet, counted at the deadline.", _BY_PIPELINE)
PIPELINE_COST = _gauge("pipeline_estimated_cost_usd", "Estimated cost of the runs in the window.", (lb.PIPELINE, lb.WINDOW), per=2)
PIPELINE_BUDGET = _gauge("pipeline_cost_budget_usd", "What the runs in the window may cost.", (lb.PIPELINE, lb.WINDOW), per=1)
POOL_SLOTS = _gauge(
    "pipeline_pool_slots", "Slots of an Airflow pool, and tasks that wait for one, by state.", (lb.INSTANCE_NAME, lb.POOL, lb.SLOT_STATE), per=250
)
SCHEDULER_UP = _gauge(
    "pipeline_scheduler_up", "1 if a component of the scheduler says that it is healthy, else 0.", (lb.INSTANCE_NAME, lb.COMPONENT), per=10
)
IMPORT_ERRORS = _gauge("pipeline_import_errors", "Files of pipelines that cannot be read by their scheduler.", (lb.INSTANCE_NAME,))
LINEAGE_EDGE = Metric(
    "dq_lineage_edge_info",
    Kind.INFO,
    "One step of the lineage between tables, pipelines and assets that are configured.",
    (lb.UPSTREAM, lb.DOWNSTREAM),
    per_subject=5000,
)
PROBABLE_CAUSE = Metric(
    "dq_probable_cause_info",
    Kind.INFO,
    "The highest failed or late pipeline above a table; absent when none is.",
    (lb.TABLE, lb.PIPELINE),
    per_subject=1,
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
_INSTANCE = (lb.COLLECTOR, lb.INSTANCE_NAME)
COLLECTOR_UP = _gauge("dq_exporter_collector_up", "1 if the last attempt to ask the source succeeded, else 0.", _INSTANCE, per=1)
COLLECTOR_DURATION = _gauge("dq_exporter_collector_duration_seconds", "How long the last attempt took.", _INSTANCE, "seconds", per=1)
COLLECTOR_LAST_SUCCESS = _gauge(
    "dq_exporter_collector_last_success_timestamp_seconds", "When the source last answered in full.", _INSTANCE, "seconds", per=1
)
COLLECTOR_ERRORS = _counter("dq_exporter_collector_errors_total", "Attempts that failed.", _INSTANCE, per=1)
COLLECTOR_RETRIES = _counter("dq_exporter_retries_total", "Requests to the source that were sent again.", _INSTANCE, per=1)
BREAKER_STATE = _gauge("dq_exporter_circuit_breaker_state", "0 closed, 1 half open, 2 open: the source is left alone.", _INSTANCE, per=1)
EVENTS_RECEIVED = _counter("dq_exporter_events_received_total", "Events that were sent to the exporter.", (lb.COLLECTOR, lb.RECEIPT))
EVENTS_PENDING = _gauge("dq_exporter_events_pending", "Events that are stored and not yet worked on.")
EVENTS_OLDEST_PENDING = _gauge(
    "dq_exporter_events_oldest_pending_seconds", "How long the oldest of them has waited; 0 when none does.", unit="seconds"
)
DEAD_LETTERS = _gauge("dq_exporter_dead_letters", "Payloads that could not be understood; see `dq-exporter dlq list`.", (lb.COLLECTOR,))
SERIES = _gauge("dq_exporter_series", "Series in the last assembled page, without those of the process itself.")
SERIES_BOUND = _gauge("dq_exporter_series_bound", "The most series that the configuration in use can make.")


def all_metrics() -> tuple[Metric, ...]:
    """Every metric of the catalogue, in the order of the exposition."""
    return tuple(value for value in globals().values() if isinstance(value, Metric))
