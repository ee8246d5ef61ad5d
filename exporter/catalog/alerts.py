"""Every alert: which signal it compares, for how long, how loud it is, and what it says to whom it wakes.

To add one: an entry here, a heading in alert_rules/runbooks.md, a test in alert_rules/tests/.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from exporter.catalog import foreign as f
from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog import signals as s
from exporter.catalog import words as w
from exporter.catalog.labels import Dimension, Label, Severity
from exporter.catalog.metrics import Metric
from exporter.catalog.promql import Expr, Match, aggregate, binary, is_, label_replace, like, now, sel, unlike
from exporter.catalog.recordings import CHECK_KEY, PIPELINE_KEY, TABLE_KEY
from exporter.catalog.signals import Signal

OWN_TEAM = "data-platform"
"""Whose alerts those about dq-exporter itself are."""
NO_PAGE = "none"
"""Severity of an alert that only inhibits others or proves that alerts get through."""


class Subject(StrEnum):
    """What an alert is about; severity and team come from the configuration of it."""

    CHECK = "check"
    TABLE = "table"
    PIPELINE = "pipeline"
    PROCESS = "process"

    @property
    def info(self) -> Metric | None:
        """The metric that tells severity and team."""
        return _INFO.get(self)

    @property
    def key(self) -> tuple[Label, ...]:
        """The labels by which severity and team are found."""
        return _KEYS.get(self, ())


_INFO = {Subject.CHECK: m.CHECK_INFO, Subject.TABLE: m.TABLE_INFO, Subject.PIPELINE: m.PIPELINE_INFO}
_KEYS = {Subject.CHECK: CHECK_KEY, Subject.TABLE: TABLE_KEY, Subject.PIPELINE: PIPELINE_KEY}


@dataclass(frozen=True)
class Alert:
    """One alerting rule.

    `types`: only checks of these types, or with a leading `!` all others. `at_most`: the loudest it gets, whatever the table's or
    pipeline's severity. `severity`: for alerts about the process. `follows`: what follows from a failed pipeline, and is
    silent while that is the probable cause. `level`: which limit of the signal is compared.
    """

    name: str
    group: Literal["tables", "pipelines", "objectives", "exporter"]
    signal: Signal
    subject: Subject
    wait: str
    keep: str
    summary: str
    description: str
    action: str
    impact: str
    dimension: Dimension | None = None
    severity: str = ""
    at_most: Severity | None = None
    types: str = ""
    follows: bool = False

    @property
    def anchor(self) -> str:
        """The anchor of its runbook."""
        return self.name.lower()

    def expr(self) -> Expr:
        """The expression of the rule: one series per thing that is wrong, with severity and team."""
        condition = self._condition()
        info = self.subject.info
        if info is None:
            return condition
        take: tuple[Label, ...] = (lb.SEVERITY, lb.TEAM)
        if self.subject is Subject.CHECK and self.dimension is None:
            take = (*take, lb.DIMENSION)
        pattern = self.types.removeprefix("!")
        matchers = {lb.CHECK_TYPE: unlike(pattern) if self.types.startswith("!") else like(pattern)} if pattern else {}
        one = aggregate("topk", aggregate("max", sel(info, matchers), (*self.subject.key, *take)), self.subject.key, 1)
        return self._capped(binary("*", condition, one, self.subject.key, take))

    def _condition(self) -> Expr:
        limits = self.signal.limits
        assert limits is not None, f"{self.name} compares a signal without limits"
        bad = self.signal.expr.compare(limits.op, limits.bad)
        if limits.clear is None:
            return bad
        firing = sel(f.ALERTS, {lb.ALERTNAME: is_(self.name), lb.ALERTSTATE: is_("firing")})
        return binary("or", bad, binary("and", self.signal.expr.compare(limits.op, limits.clear), firing, self.signal.key))

    def _capped(self, expr: Expr) -> Expr:
        if self.at_most is None:
            return expr
        louder = list(Severity)[: list(Severity).index(self.at_most)]
        return label_replace(expr, lb.SEVERITY, self.at_most.value, lb.SEVERITY, "|".join(louder))


_OWN_ALERT_TYPES = ("freshness", "freshness_deadline", "freshness_cadence", "row_count_anomaly", "row_count_change", "schema", "schema_change", "partitions", "duplicate_load")
_ASK = "Open the dashboard of the table; compare the failing rows with a day on which the check passed."
_T, _C, _P = w.label(lb.TABLE), w.label(lb.CHECK), w.label(lb.PIPELINE)
_FAILED_ROWS = w.gauge(m.CHECK_FAILED_ROWS, w.CHECK, w.NUMBER)
_EVALUATED = w.gauge(m.CHECK_EVALUATED_ROWS, w.CHECK, w.NUMBER)
_MEASURED = w.gauge(m.CHECK_VALUE, w.CHECK, w.NUMBER, "nothing")


def _limit(*bounds: lb.Bound) -> str:
    """The limit of the check in words."""
    parts = []
    for bound in bounds:
        found = sel(m.CHECK_THRESHOLD, {lb.JOB: Match("=", "%q"), lb.TABLE: Match("=", "%q"), lb.CHECK: Match("=", "%q"), lb.BOUND: bound})
        parts.append(w.looked_up(found, w.CHECK, f'value | humanize | printf " {bound.value} %s"', ""))
    return "".join(parts)


_LIMIT = _limit(lb.Bound.MIN, lb.Bound.MAX)


def _check(name: str, signal: Signal, summary: str, description: str, action: str, impact: str, **more: object) -> Alert:
    return Alert(name, "tables", signal, Subject.CHECK, **{"wait": "1m", "keep": "5m", **more}, summary=summary, description=description, action=action, impact=impact)  # type: ignore[arg-type]


def _table(name: str, signal: Signal, summary: str, description: str, action: str, impact: str, **more: object) -> Alert:
    return Alert(name, "tables", signal, Subject.TABLE, **{"wait": "5m", "keep": "10m", **more}, summary=summary, description=description, action=action, impact=impact)  # type: ignore[arg-type]


def _pipeline(name: str, signal: Signal, summary: str, description: str, action: str, impact: str, **more: object) -> Alert:
    return Alert(name, "pipelines", signal, Subject.PIPELINE, **{"wait": "1m", "keep": "5m", **more}, summary=summary, description=description, action=action, impact=impact)  # type: ignore[arg-type]


def _own(name: str, signal: Signal, severity: str, summary: str, description: str, action: str, impact: str, **more: object) -> Alert:
    values = {"group": "exporter", "wait": "5m", "keep": "5m", **more}
    return Alert(name, signal=signal, subject=Subject.PROCESS, severity=severity, summary=summary, description=description, action=action, impact=impact, **values)  # type: ignore[arg-type]


_I = w.label(lb.INSTANCE)
_SOURCE = f"{w.label(lb.COLLECTOR)} {w.label(lb.INSTANCE_NAME)}"

_TABLE_ALERTS = (
    _check(
        "DQCheckFailing", s.CHECK_STATUS, "A data-quality check fails",
        f"{_C} of {_T} fails: {_FAILED_ROWS} of {_EVALUATED} rows break the rule; measured {_MEASURED}, allowed{_LIMIT}.",
        _ASK, "Rows of this table are wrong; whoever reads them computes with them.", types="!" + "|".join(_OWN_ALERT_TYPES),
    ),
    _table(
        "DataStale", s.FRESHNESS_USED, "Data is older than allowed",
        f"The newest data of {_T} is {w.looked_up(binary('-', now(), w.of(m.FRESHNESS, w.TABLE)), w.TABLE, 'value | humanizeDuration', 'of unknown age')} old, "
        f"allowed are {w.gauge(m.FRESHNESS_MAX_AGE, w.TABLE, w.DURATION, 'no known age')}.",
        "Look whether the pipeline that writes the table ran; if it did, whether it wrote rows.",
        "Reports show the past as if it were the present.", dimension=Dimension.TIMELINESS, follows=True,
    ),
    _check(
        "DataTimeUnknown", s.TIME_UNKNOWN, "No row has a usable time",
        f"{_C} of {_T} fails because no row of the table has a usable time.",
        "Look whether the table is empty or its time column holds nulls or only times in the future.",
        "Nobody can say how old the data is.", types="freshness", dimension=Dimension.TIMELINESS, follows=True,
    ),
    _check(
        "DataDeadlineMissed", s.CHECK_STATUS, "Data did not arrive in time",
        f"{_C} of {_T}: new data is late by {w.gauge(m.CHECK_VALUE, w.CHECK, w.DURATION, 'an unknown time')}.",
        "Look whether the pipeline that writes the table has started, waits or failed.",
        "Whoever works with this data in the morning has yesterday's.", types="freshness_deadline|freshness_cadence",
        dimension=Dimension.TIMELINESS, follows=True,
    ),
    _check(
        "RowCountAnomaly", s.CHECK_STATUS, "The number of rows is unusual",
        f"{_C} of {_T}: {_MEASURED} rows, expected were{_limit(lb.Bound.MIN, lb.Bound.MAX)}"
        f"{w.looked_up(w.of(m.ROWS_EXPECTED, w.CHECK), w.CHECK, 'value | humanize | printf ` (most likely %s)`', '')}.",
        "Compare the last load with the one before: did a source deliver nothing, or twice?",
        "Totals and trends of this table are off.", types="row_count_anomaly|row_count_change", dimension=Dimension.COMPLETENESS, follows=True,
    ),
    _check(
        "SchemaChanged", s.CHECK_STATUS, "The schema of a table changed",
        f"{_C} of {_T}: {w.gauge(m.CHECK_VALUE, w.CHECK, w.NUMBER, 'some')} columns differ from what is expected.",
        "Ask who changed the table; tell its readers or take the change back.",
        "Queries and loads that name these columns break or read nulls.", types="schema|schema_change", dimension=Dimension.CONSISTENCY,
    ),
    _check(
        "PartitionsMissing", s.CHECK_STATUS, "Expected partitions do not exist",
        f"{_C} of {_T}: {_MEASURED} partitions are missing.",
        "Run the loads of the missing days again.", "The missing periods count as nothing in every total.", types="partitions",
        dimension=Dimension.COMPLETENESS, follows=True,
    ),
    _check(
        "DuplicateLoad", s.CHECK_STATUS, "Data was loaded twice",
        f"{_C} of {_T}: {_FAILED_ROWS} rows came with a load that had come before.",
        "Restore the version before the second load, or delete the repeated rows.", "Everything that is summed up is too high.", types="duplicate_load",
        dimension=Dimension.UNIQUENESS,
    ),
    _table(
        "DQScoreLow", s.SCORE, "The data-quality score is low",
        f"The score of {_T} is {w.value(w.PERCENT)}; less than 95% is bad.",
        "Open the dashboard of the table and begin with the dimension that has the lowest score.", "The table cannot be relied on.", at_most=Severity.HIGH,
    ),
    _table(
        "DQScoreDegraded", s.SCORE_WATCH, "The data-quality score is not what it should be",
        f"The score of {_T} is {w.value(w.PERCENT)}; it should be at least 98%.",
        "Put the checks that fail on the list of the team that owns the table.", "Some rows of the table are wrong.", at_most=Severity.MEDIUM,
    ),
    _table(
        "DQScoreDropping", s.SCORE_DROP, "The data-quality score fell",
        f"The score of {_T} is {w.value(w.PERCENT)} below its mean of the last seven days (5% are worth a look).",
        "Look which dimension fell, and what changed on that day.", "The table got worse than people are used to.", at_most=Severity.MEDIUM, wait="15m",
    ),
    _check(
        "DQCheckError", s.CHECK_ERROR, "A check cannot be evaluated",
        f"{_C} of {_T} ended in an error; its last verdict is {w.looked_up(binary('-', now(), w.of(m.CHECK_LAST_VERDICT, w.CHECK)), w.CHECK, 'value | humanizeDuration', 'not there, so it is unknown how')} old.",
        "Run `dq-exporter check` for the table: its message says what is missing.", "Nobody knows whether this rule holds.", wait="15m", at_most=Severity.HIGH,
    ),
    _check(
        "DQCheckNotRunning", s.CHECK_STALENESS, "A check is not run any more",
        f"{_C} of {_T} was last run {w.value(w.TIMES)} intervals ago; it should be run once in {w.gauge(m.CHECK_INTERVAL, w.CHECK, w.DURATION, 'each')}.",
        "Look at the scheduler of the exporter: is it late, or is the table's evaluation stuck?", "Its verdict is old and may be wrong.", wait="5m", at_most=Severity.HIGH,
    ),
    _check(
        "DQCheckNeverRun", s.CHECK_NEVER_RUN, "A configured check was never run",
        f"{_C} of {_T} is configured and has not been run once.",
        "Look at the log of the exporter for the table's name.", "Nobody knows whether this rule holds.", wait="1h", at_most=Severity.MEDIUM,
    ),
    _check(
        "DQCheckLearningLong", s.LEARNING_DAYS, "A learned check does not get beyond learning",
        f"{_C} of {_T} has known too little to judge on {w.value(w.NUMBER)} of 35 days.",
        "Give it a column with a history, a coarser grain, or a fixed limit instead.", "The table is watched less than its configuration suggests.",
        wait="1h", at_most=Severity.LOW,
    ),
)  # fmt: skip

_PIPELINE_ALERTS = (
    _pipeline(
        "PipelineRunFailed", s.PIPELINE_STATUS, "A pipeline failed",
        f"The newest run of {_P} failed.",
        "Read the error of the run; if it is transient, start the run again.", "What it writes keeps the state of the last success.", wait="0s",
    ),
    _pipeline(
        "PipelineSuccessRateLow", s.SUCCESS_RATE, "A pipeline fails too often",
        f"{w.value(w.PERCENT)} of the runs of {_P} in the last 24 h succeeded; at least 95% should.",
        "Compare the failed runs: the same task, the same hour, the same input?", "Its data comes late and its failures become normal.", at_most=Severity.HIGH, wait="5m",
    ),
    _pipeline(
        "PipelineSLABreached", s.SLA_BREACHED, "A pipeline missed its deadline",
        f"The deadline of {_P} passed {w.looked_up(binary('-', now(), w.of(m.SLA_DEADLINE, w.PIPELINE)), w.PIPELINE, 'value | humanizeDuration', 'an unknown time')} ago without a success.",
        "Get the run done; tell those who wait for its data when it will be there.", "A promise to the readers of its data is broken.", wait="0s",
    ),
    _pipeline(
        "PipelineSLAAtRisk", s.SLA_AT_RISK, "A pipeline will miss its deadline",
        f"The deadline of {_P} is in {w.looked_up(binary('-', w.of(m.SLA_DEADLINE, w.PIPELINE), now()), w.PIPELINE, 'value | humanizeDuration', 'an unknown time')}, "
        f"and a run usually takes {w.looked_up(w.of(m.PIPELINE_DURATION_MEDIAN, w.PIPELINE), w.PIPELINE, 'value | humanizeDuration', 'an unknown time')}.",
        "Start the run now, or find out what it waits for.", "There is still time to keep the promise.", at_most=Severity.HIGH, wait="1m",
    ),
    _pipeline(
        "PipelineRunSlow", s.RUN_SLOWNESS, "A run took much longer than usual",
        f"The last run of {_P} took {w.value(w.TIMES)} times its median of {w.looked_up(w.of(m.PIPELINE_DURATION_MEDIAN, w.PIPELINE), w.PIPELINE, 'value | humanizeDuration', 'unknown length')} (2 are too many).",
        "Compare the input's size and the resources with a usual run.", "The next deadline may be missed.", at_most=Severity.MEDIUM,
    ),
    _pipeline(
        "PipelineRunningTooLong", s.RUNNING_SLOWNESS, "A run does not come to an end",
        f"A run of {_P} has run for {w.value(w.TIMES)} times its median of {w.looked_up(w.of(m.PIPELINE_DURATION_MEDIAN, w.PIPELINE), w.PIPELINE, 'value | humanizeDuration', 'unknown length')} (2 are too many).",
        "Look whether it makes progress; if not, stop it and start it again.", "Its data will be late.", at_most=Severity.HIGH,
    ),
    _pipeline(
        "PipelineRetryRateHigh", s.RETRY_RATE, "A pipeline needs many retries",
        f"{w.value(w.PERCENT)} of the runs of {_P} in the last 24 h succeeded only after a retry (20% are too many).",
        "Find the task that is tried again and what it depends on.", "It works by luck; the next failure may last.", at_most=Severity.MEDIUM, wait="5m",
    ),
    _pipeline(
        "PipelineBacklog", s.BACKLOG, "Runs queue up",
        f"{w.value(w.NUMBER)} runs of {_P} have waited to be started for ten minutes (5 are too many).",
        "Look at the slots of the pool and at runs that block them.", "Data comes later and later.", at_most=Severity.HIGH,
    ),
    _pipeline(
        "PipelineResourceHigh", s.RESOURCE_USAGE, "A pipeline is short of CPU or memory",
        f"{_P} has used {w.value(w.PERCENT)} of its {w.label(lb.RESOURCE)} for fifteen minutes (90% are too much).",
        "Give it more, or find what grew.", "It will get slow or be killed.", at_most=Severity.MEDIUM,
    ),
    _pipeline(
        "PipelineCostOverBudget", s.COST_USED, "A pipeline costs more than its budget",
        f"Today's runs of {_P} cost {w.value(w.PERCENT)} of the budget of the day, "
        f"which is {w.looked_up(w.of(m.PIPELINE_BUDGET, w.PIPELINE), w.PIPELINE, 'value | humanize', 'an unknown number of')} USD.",
        "Look which run cost most and whether it was needed.", "Money is spent that was not planned.", at_most=Severity.MEDIUM,
    ),
    _pipeline(
        "PipelineFailureBudgetSpent", s.FAILURE_BUDGET, "A pipeline failed too often in four weeks",
        f"{w.value(w.PERCENT)} of the runs of {_P} in the last 28 days failed (5% are too many).",
        "Take time to make it reliable before adding to it.", "The objective of the month is missed.", at_most=Severity.LOW, wait="1h",
    ),
    _own(
        "PipelineSchedulerDown", s.ORCHESTRATOR_UP, Severity.HIGH, "A scheduler of pipelines is not healthy",
        f"{w.label(lb.COMPONENT)} of {w.label(lb.INSTANCE_NAME)} says that it is not healthy.",
        "Restart the component and read its log.", "No pipeline of this scheduler starts.", group="pipelines",
    ),
    _own(
        "PipelineImportErrors", s.IMPORT_ERRORS, Severity.MEDIUM, "Pipelines cannot be read by their scheduler",
        f"{w.value(w.NUMBER)} files of {w.label(lb.INSTANCE_NAME)} cannot be read.",
        "Open the scheduler's page of import errors.", "The pipelines in these files do not run, and nothing says that they failed.", group="pipelines",
    ),
    Alert(
        "ProbableCause", "pipelines", s.PROBABLE_CAUSE, Subject.PROCESS, "0s", "5m",
        "A failed pipeline lies above a table", f"{_P} failed or is late, and {_T} depends on it; alerts that follow from it are held back.",
        "Mend the pipeline.", "None of its own: it holds back what follows from the pipeline's failure.", severity=NO_PAGE,
    ),
)  # fmt: skip

_OBJECTIVE_ALERTS = (
    Alert(
        "FreshnessBudgetBurnsFast", "objectives", s.FRESHNESS_BURN_FAST, Subject.TABLE, "2m", "10m",
        "The month's budget for stale data is used up within days",
        f"{_T} is stale so often that its budget (1% of a month) is spent {w.value(w.TIMES)} times too fast.",
        "Treat it as an outage of the table, even if it is fresh at this moment.", "The freshness objective of the month will be missed.",
        dimension=Dimension.TIMELINESS, at_most=Severity.HIGH, follows=True,
    ),
    Alert(
        "FreshnessBudgetBurnsSlowly", "objectives", s.FRESHNESS_BURN_SLOW, Subject.TABLE, "15m", "30m",
        "The month's budget for stale data will not last",
        f"{_T} is stale so often that its budget (1% of a month) is spent {w.value(w.TIMES)} times too fast.",
        "Find the load that comes late again and again, or allow a greater age.", "The freshness objective of the month will be missed.",
        dimension=Dimension.TIMELINESS, at_most=Severity.MEDIUM, follows=True,
    ),
    _own(
        "ExporterAvailabilityBudgetBurns", s.AVAILABILITY_BURN, Severity.MEDIUM, "The exporter misses too many scrapes",
        f"Job {w.label(lb.JOB)} misses so many scrapes that its budget (0.1% of a month) is spent {w.value(w.TIMES)} times too fast.",
        "Look for restarts and for memory that runs out.", "Data is unwatched at times.", group="objectives", wait="2m", keep="10m",
    ),
)  # fmt: skip

_EXPORTER_ALERTS = (
    _own(
        "Watchdog", s.WATCHDOG, NO_PAGE, "Alerts get through", "This alert always fires. When it stops arriving, alerts do not get through.",
        "Nothing while it arrives; when it stops, look at Prometheus and Alertmanager.", "None.", wait="0s", keep="0s",
    ),
    _own(
        "ExporterDown", s.EXPORTER_UP, Severity.CRITICAL, "The exporter does not answer", f"{_I} of job {w.label(lb.JOB)} does not answer scrapes.",
        "Look whether the process runs and what it logged last.", "All data is unwatched; what is wrong now is not seen.", wait="2m",
    ),
    _own(
        "ExporterAbsent", s.EXPORTER_ABSENT, Severity.CRITICAL, "Prometheus knows no exporter", "No series of dq-exporter arrives.",
        "Look at the targets of Prometheus: is the exporter among them?", "All data is unwatched.", wait="10m",
    ),
    _own(
        "ExporterReloadFailed", s.RELOAD, Severity.MEDIUM, "A changed configuration was refused", f"{_I} refused the configuration that was offered last and works with the one before.",
        "Run `dq-exporter validate`: it names file, line and the mend.", "New tables and checks are not watched yet.",
    ),
    _own(
        "ExporterSchedulerLate", s.SCHEDULER_LAG, Severity.MEDIUM, "Evaluations start late", f"A table has been due for {w.value(w.DURATION)} at {_I} (5m are too long).",
        "Give it more workers (`scheduler: {workers: …}`), or run costly checks less often.", "Verdicts are older than configured.", wait="10m",
    ),
    _own(
        "ExporterRunsLeftOut", s.MISSED_RUNS, Severity.LOW, "Evaluations overlap and are left out",
        f"{w.value(w.NUMBER)} due evaluations were left out in the last hour at {_I} because the one before still ran.",
        "Find the table that takes longer than its interval and run it less often.", "Its verdicts are older than configured.", wait="15m",
    ),
    _own(
        "ExporterEvaluationTimeouts", s.TIMEOUTS, Severity.MEDIUM, "Evaluations are cancelled at their timeout",
        f"{w.value(w.NUMBER)} evaluations were cancelled in the last hour at {_I}.",
        "Look at `dq-exporter explain` for the table: can a cheaper tier answer, or is the timeout too short?", "Its checks are errors, and their verdicts age.",
    ),
    _own(
        "ExporterStoreErrors", s.STORE_ERRORS, Severity.HIGH, "Results cannot be stored", f"{w.value(w.NUMBER)} results could not be stored in the last 15 minutes at {_I}; they are not published.",
        "Look whether the database is reachable and has space: `dq-exporter doctor`.", "Verdicts stay as they were and age.",
    ),
    _own(
        "ExporterCollectorDown", s.COLLECTOR_UP, Severity.HIGH, "A source of pipelines does not answer", f"{_SOURCE} did not answer the last attempts.",
        "Look whether it is reachable and whether the password or token is still valid: `dq-exporter doctor`.", "What is known of its pipelines gets old.", wait="10m",
    ),
    _own(
        "ExporterBreakerOpen", s.BREAKER, Severity.MEDIUM, "A source is left alone after many errors", f"The circuit breaker of {_SOURCE} is open.",
        "Mend the source; the breaker closes by itself after a success.", "What is known of its pipelines gets old.", wait="15m",
    ),
    _own(
        "ExporterDeadLetters", s.DEAD_LETTERS, Severity.LOW, "Payloads wait for a decision", f"{w.value(w.NUMBER)} payloads from {w.label(lb.COLLECTOR)} could not be understood.",
        "Look at them with `dq-exporter dlq list`, then replay or drop them.", "The runs that they tell of are missing.", wait="15m",
    ),
    _own(
        "ExporterEventsStuck", s.EVENTS_WAIT, Severity.HIGH, "Received events are not worked on", f"The oldest event has waited for {w.value(w.DURATION)} at {_I} (10m are too long).",
        "Read the log of the exporter.", "What is known of pipelines gets old, though they report.",
    ),
)  # fmt: skip


def all_alerts() -> tuple[Alert, ...]:
    """Every alert but the escalations."""
    return (*_TABLE_ALERTS, *_PIPELINE_ALERTS, *_OBJECTIVE_ALERTS, *_EXPORTER_ALERTS)

