"""`openlineage`: run events that Airflow, Spark, dbt, Flink and others send to `POST /api/v1/lineage` (OpenLineage spec 2-0-2).

What one run is follows the integrations as they are, not the spec alone:

- Airflow: the run is the DAG run (its run id, and a clear is another attempt of it); its tasks are parts that tell of retries and errors.
- Spark: a FAIL is final whatever follows, and an application with a failed job has failed.
- dbt: the run is the invocation; models and tests are parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from exporter.catalog.labels import Dimension, Outcome, Severity, SourceType
from exporter.model import Json
from exporter.pipelines.base import Flow, SourceModel, TestResult, Understood, Unreadable, key_of, parse_time, run_error
from exporter.pipelines.run import RunError, RunReport, RunState

_STATES = {
    "START": RunState.RUNNING, "RUNNING": RunState.RUNNING, "COMPLETE": RunState.SUCCESS, "FAIL": RunState.FAILED, "ABORT": RunState.CANCELLED,
}  # fmt: skip
_INNER = frozenset({"TASK", "SQL_JOB", "RDD_JOB", "MODEL", "TEST", "SNAPSHOT", "SEED", "QUERY", "COMMAND"})
_TASK_STATES = {"success": RunState.SUCCESS, "failed": RunState.FAILED, "skipped": RunState.CANCELLED, "upstream_failed": RunState.CANCELLED, "removed": RunState.CANCELLED}
_LONGEST_NAME = 1000
_MOST_CLEARS = 10**9
"""A number beyond is none that a database can keep."""
_DIMENSIONS = {
    "not_null": Dimension.COMPLETENESS, "unique": Dimension.UNIQUENESS, "relationships": Dimension.CONSISTENCY, "freshness": Dimension.TIMELINESS,
}  # fmt: skip


class OpenLineageModel(SourceModel):
    """Events of runs and lineage that are sent to the exporter."""

    kind: ClassVar[SourceType] = SourceType.OPENLINEAGE
    secrets: ClassVar[tuple[str, ...]] = ("token",)

    type: Literal["openlineage"]
    token_file: str | None = None
    token_env: str | None = None

    def understand(self, payload: Json, received_at: datetime) -> Understood:
        if "run" not in payload and ("dataset" in payload or "job" in payload):
            return _of_no_run(payload)
        event = _Event.read(payload)
        reports = [*event.own(), *event.for_parent(), *event.of_tasks()]
        key = key_of(event.job, event.run, event.type, event.at.isoformat())
        return Understood(key, tuple(reports), event.flows(), tuple(event.tests()))


@dataclass(frozen=True)
class _Event:
    """One run event, checked as far as it is used."""

    type: str
    at: datetime
    job: str
    run: str
    run_facets: Json
    job_facets: Json
    inputs: tuple[Json, ...]
    outputs: tuple[Json, ...]

    @classmethod
    def read(cls, payload: Json) -> _Event:
        run, job = _mapping(payload, "run"), _mapping(payload, "job")
        at = parse_time(payload.get("eventTime"))
        if at is None:
            raise Unreadable("eventTime is missing")
        kind = payload.get("eventType") or "OTHER"
        if kind not in (*_STATES, "OTHER"):
            raise Unreadable(f"eventType {str(kind)[:40]!r} is not one of {', '.join(_STATES)}, OTHER")
        return cls(
            kind, at, _job_name(job), _text(run, "runId"), _facets(run), _facets(job), _datasets(payload, "inputs"), _datasets(payload, "outputs")
        )

    # --- what it says of runs ---
    @property
    def kind(self) -> str:
        """`DAG`, `TASK`, `APPLICATION` …; nothing when it is not said."""
        return str(_sub(self.job_facets, "jobType").get("jobType") or "").upper()

    @property
    def integration(self) -> str:
        """`AIRFLOW`, `SPARK`, `DBT` …"""
        return str(_sub(self.job_facets, "jobType").get("integration") or "").upper()

    @property
    def is_inner(self) -> bool:
        """True for a task, a query or a model: a part of another run."""
        return self.kind in _INNER or (not self.kind and bool(_sub(self.run_facets, "parent")))

    @property
    def is_spark(self) -> bool:
        """True where a failure is followed by a success that means nothing."""
        return self.integration == "SPARK"

    @property
    def dag_run(self) -> Json:
        """Airflow's DAG run, of a DAG's or a task's event."""
        holder = _sub(self.run_facets, "airflowDagRun") or _sub(self.run_facets, "airflow")
        return _sub(holder, "dagRun")

    @property
    def identity(self) -> tuple[str, int]:
        """Run id and attempt: Airflow's own where there is one, else the UUID of the run."""
        dag_run = self.dag_run
        if dag_run.get("run_id"):
            clears = dag_run.get("clear_number")
            return str(dag_run["run_id"])[:_LONGEST_NAME], (clears if isinstance(clears, int) and 0 <= clears < _MOST_CLEARS else 0) + 1
        return self.run, 1

    @property
    def state(self) -> RunState | None:
        """The state that it tells; None for OTHER."""
        return _STATES.get(self.type)

    def own(self) -> Iterable[RunReport]:
        """What it says of its own job."""
        state = self.state
        if state is None:
            return
        run_id, ordinal = self.identity
        task = _sub(_sub(self.run_facets, "airflow"), "taskInstance")
        if self.kind == "TASK" and task.get("map_index") not in (None, -1):
            run_id = f"{run_id}[{task['map_index']}]"
        if state is RunState.FAILED and self._is_tried_again():
            state = RunState.QUEUED
        states = _sub(_sub(self.run_facets, "airflowState"), "tasksState")
        yield RunReport(
            self.job, run_id, state, self.at, ordinal,
            queued_at=_time(self.dag_run.get("queued_at")) if self.kind == "DAG" else None,
            started_at=self.at if self.type == "START" else _time(self.dag_run.get("start_date")) if self.kind == "DAG" else None,
            ended_at=self.at if state.is_terminal else None,
            nominal_at=_time(_sub(self.run_facets, "nominalTime").get("nominalStartTime")),
            failed_tasks=sum(value == "failed" for value in states.values()) if states else None,
            error=self.error() if state is RunState.FAILED else None,
            url=str(task.get("log_url") or "")[:2000], owner=self._owner(),
            is_sticky=self.is_spark and state is RunState.FAILED, is_inner=self.is_inner,
        )  # fmt: skip

    def _is_tried_again(self) -> bool:
        """True for the failure of an Airflow task that has tries left."""
        airflow = _sub(self.run_facets, "airflow")
        tries, retries = _sub(airflow, "taskInstance").get("try_number"), _sub(airflow, "task").get("retries")
        return self.kind == "TASK" and isinstance(tries, int) and isinstance(retries, int) and tries <= retries

    def for_parent(self) -> Iterable[RunReport]:
        """What a part says of the run that it belongs to: a try, and why it failed."""
        parent = _sub(self.run_facets, "parent")
        job, run = _sub(parent, "job"), _sub(parent, "run")
        if not self.is_inner or not job.get("name") or not run.get("runId") or self.state is None:
            return
        run_id, ordinal = self.identity if self.dag_run else (str(run["runId"])[:_LONGEST_NAME], 1)
        task = _sub(_sub(self.run_facets, "airflow"), "taskInstance")
        tries = task.get("try_number")
        part = f"{self.job}[{task.get('map_index', -1)}]" if self.dag_run else f"{self.job}/{self.run}"
        yield RunReport(
            _job_name(job), run_id, self.state, self.at, ordinal, error=self.error() if self.state is RunState.FAILED else None,
            is_sticky=self.is_spark and self.state is RunState.FAILED, part=part, tries=tries if isinstance(tries, int) else 1,
        )  # fmt: skip

    def of_tasks(self) -> Iterable[RunReport]:
        """How the tasks of an Airflow DAG run ended, as its end event says: a killed task sends no end of its own."""
        states = _sub(_sub(self.run_facets, "airflowState"), "tasksState")
        if self.state is None or not self.state.is_terminal:
            return
        run_id, ordinal = self.identity
        for task, told in states.items():
            state = _TASK_STATES.get(str(told))
            if state is not None:
                error = RunError("NoEnd", "the task ended without a word; killed, perhaps for lack of memory") if state is RunState.FAILED else None
                yield RunReport(f"{self.job}.{task}", run_id, state, self.at, ordinal, error=error, is_inner=True)

    def error(self) -> RunError | None:
        """Why it failed, from the standard facet or Spark's own."""
        told, spark = _sub(self.run_facets, "errorMessage"), _sub(self.run_facets, "spark.exception")
        message, trace = str(told.get("message") or ""), str(told.get("stackTrace") or spark.get("stackTrace") or "")
        if not message and not trace:
            return None
        named = next((line for line in reversed(trace.strip().splitlines()) if line and not line[0].isspace()), "") if told else trace.partition("\n")[0]
        error_class, colon, rest = named.partition(":")
        return run_error(error_class if colon and " " not in error_class else None, message or rest or named)

    def _owner(self) -> str:
        owners = _sub(self.job_facets, "ownership").get("owners")
        first = owners[0] if isinstance(owners, list) and owners and isinstance(owners[0], dict) else {}
        return str(first.get("name") or "")[:200]

    # --- what it says of data sets ---
    def flows(self) -> tuple[Flow, ...]:
        """What the job, or the DAG or application that it is part of, reads and writes."""
        inputs = (*map(dataset_name, self.inputs), *(name for one in self.outputs if (name := _former_name(one))))
        outputs = tuple(map(dataset_name, self.outputs))
        if not inputs and not outputs:
            return ()
        parent = _sub(_sub(self.run_facets, "parent"), "job")
        whole = _job_name(parent) if self.is_inner and parent.get("name") and self.integration != "DBT" else self.job
        return (Flow(whole, inputs, outputs),)

    def tests(self) -> Iterable[TestResult]:
        """Assertions on the inputs, once: of the end event, from the input facet."""
        if self.state is None or not self.state.is_terminal:
            return
        for dataset in self.inputs:
            for one in _list(_sub(_sub(dataset, "inputFacets"), "dataQualityAssertions").get("assertions")):
                kind = str(one.get("assertion") or "")
                column = str(one.get("column") or "")
                name = str(one.get("name") or "_".join(filter(None, (kind, column))))[:200]
                if name and isinstance(one.get("success"), bool):
                    is_warning = one.get("severity") == "warn"
                    outcome = Outcome.PASS if one["success"] else Outcome.WARN if is_warning else Outcome.FAIL
                    text = f"expected {one.get('expected')}, found {one.get('actual')}" if one.get("expected") is not None else ""
                    yield TestResult(
                        dataset_name(dataset), name, "openlineage_assertion", outcome, self.at, column[:200],
                        _DIMENSIONS.get(kind, Dimension.VALIDITY), Severity.MEDIUM if is_warning else Severity.HIGH, message=text[:500],
                    )  # fmt: skip


def _of_no_run(payload: Json) -> Understood:
    """A data set or job event: it tells of lineage at most."""
    at = parse_time(payload.get("eventTime"))
    if at is None:
        raise Unreadable("eventTime is missing")
    if "job" not in payload:
        return Understood(key_of("dataset", at))
    name = _job_name(_mapping(payload, "job"))
    inputs, outputs = (tuple(map(dataset_name, _datasets(payload, key))) for key in ("inputs", "outputs"))
    return Understood(key_of(name, at), flows=(Flow(name, inputs, outputs),) if inputs or outputs else ())


def dataset_name(dataset: Mapping[str, Any]) -> str:
    """`namespace/name`, or the path alone in the namespace `file`; a table's own name where a symlink tells it."""
    links = _list(_sub(_sub(dataset, "facets"), "symlinks").get("identifiers"))
    table = next((one for one in links if one.get("type") == "TABLE" and one.get("name")), None)
    if table is not None:
        return str(table["name"])[:_LONGEST_NAME]
    namespace, name = str(dataset["namespace"]), str(dataset["name"])
    if namespace in ("file", "file://"):
        return name[:_LONGEST_NAME]
    return f"{namespace.rstrip('/')}/{name.lstrip('/')}"[:_LONGEST_NAME]


def _former_name(dataset: Mapping[str, Any]) -> str | None:
    """What a data set was called before it was renamed: the new one is made of it."""
    change = _sub(_sub(dataset, "facets"), "lifecycleStateChange")
    former = _sub(change, "previousIdentifier")
    is_renamed = change.get("lifecycleStateChange") == "RENAME" and isinstance(former.get("namespace"), str) and isinstance(former.get("name"), str)
    return dataset_name(former) if is_renamed else None


def _job_name(job: Mapping[str, Any]) -> str:
    return f"{_text(job, 'namespace')}/{_text(job, 'name')}"


def _mapping(holder: Mapping[str, Any], key: str) -> Json:
    value = holder.get(key)
    if not isinstance(value, dict):
        raise Unreadable(f"{key} must be an object, found {type(value).__name__ if value is not None else 'nothing'}")
    return value


def _text(holder: Mapping[str, Any], key: str) -> str:
    value = holder.get(key)
    if not isinstance(value, str) or not value or len(value) > _LONGEST_NAME:
        raise Unreadable(f"{key} must be a text of 1 to {_LONGEST_NAME} characters")
    return value


def _facets(holder: Mapping[str, Any]) -> Json:
    return _sub(holder, "facets")


def _sub(holder: Mapping[str, Any], key: str) -> Json:
    """What an object holds, if it is an object; facets are other people's, so anything may stand there."""
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _datasets(payload: Json, key: str) -> tuple[Json, ...]:
    value = payload.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, dict) and isinstance(one.get("namespace"), str) and isinstance(one.get("name"), str) for one in value):
        raise Unreadable(f"{key} must be a list of objects with namespace and name")
    return tuple(value[:1000])


def _time(value: Any) -> datetime | None:
    try:
        return parse_time(value)
    except Unreadable:
        return None
