"""`events`: any scheduler, cron job or person tells of runs by `POST /api/v1/events`; the JSON Schema is that of `EventModel`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from exporter.catalog.labels import Resource, SourceType
from exporter.model import Json
from exporter.pipelines.base import Flow, SourceModel, Understood, Unreadable, key_of, parse_time, run_error
from exporter.pipelines.run import RunReport, RunState

_FAR = timedelta(days=1)
"""A time further in the future than this is a mistake."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Moment = Annotated[str, StringConstraints(max_length=64)] | Annotated[int | float, Field(ge=0)]


class ErrorModel(BaseModel):
    """Why a run failed."""

    model_config = ConfigDict(extra="forbid")

    class_: str = Field(default="", alias="class", max_length=500)
    message: str = Field(default="", max_length=65536)


class EventModel(BaseModel):
    """One event of a run. Times are ISO 8601 with a zone, or milliseconds since 1970; without `at` the event is of the time it arrives.

    `pipeline` is the name or the id of a configured pipeline. Events of a run share `run_id`; only an event that says all of a
    run by itself (an end) may leave it out. Equal `event_id`s are one event.
    """

    model_config = ConfigDict(extra="forbid", title="Pipeline event")

    pipeline: Text
    state: Literal["queued", "running", "success", "failed", "cancelled"]
    run_id: Text | None = None
    event_id: Text | None = None
    attempt: int | None = Field(default=None, ge=1, le=10_000, description="number of the automatic try, from 1")
    at: Moment | None = None
    queued_at: Moment | None = None
    started_at: Moment | None = None
    ended_at: Moment | None = None
    nominal_at: Moment | None = Field(default=None, description="the time that the run is for, such as Airflow's logical date")
    duration_seconds: float | None = Field(default=None, ge=0, le=10_000_000)
    retries: int | None = Field(default=None, ge=0, le=10_000, description="automatic retries within the run")
    error: ErrorModel | Annotated[str, StringConstraints(max_length=65536)] | None = None
    url: Annotated[str, StringConstraints(max_length=2000)] = ""
    owner: Annotated[str, StringConstraints(max_length=500)] = ""
    inputs: list[Text] = Field(default_factory=list, max_length=1000)
    outputs: list[Text] = Field(default_factory=list, max_length=1000)
    resources: dict[Resource, Annotated[float, Field(ge=0, le=100)]] = Field(default_factory=dict, description="used / given, such as 0.9")
    cost_usd: float | None = Field(default=None, ge=0, le=1e9)


class EventsModel(SourceModel):
    """Pipelines that tell of themselves."""

    kind: ClassVar[SourceType] = SourceType.EVENTS
    secrets: ClassVar[tuple[str, ...]] = ("token",)

    type: Literal["events"]
    token_file: str | None = None
    token_env: str | None = None

    def understand(self, payload: Json, received_at: datetime) -> Understood:
        event = _checked(payload)
        at = _moment(event.at, "at", received_at)
        state = RunState(event.state)
        ended_at = _moment(event.ended_at, "ended_at", received_at) or ((at or received_at) if state.is_terminal else None)
        started_at = _moment(event.started_at, "started_at", received_at)
        if started_at is None and ended_at is not None and event.duration_seconds is not None:
            started_at = ended_at - timedelta(seconds=event.duration_seconds)
        queued_at = _moment(event.queued_at, "queued_at", received_at)
        told_at = at or {RunState.QUEUED: queued_at, RunState.RUNNING: started_at}.get(state, ended_at) or received_at
        if state is RunState.RUNNING:
            started_at = started_at or told_at
        if event.run_id is None and not state.is_terminal:
            raise Unreadable(f'run_id is needed with state "{event.state}", so that the end of the run can be told by another event')
        content = event.model_dump_json(exclude={"event_id"}) + ("" if told_at != received_at else received_at.isoformat())
        key = key_of(event.event_id or content)
        run_id = event.run_id or event.event_id or key
        report = RunReport(
            event.pipeline, run_id, state, told_at, event.attempt, run_id if event.attempt is not None else "",
            queued_at or (told_at if state is RunState.QUEUED else None), started_at, ended_at if state.is_terminal else None, _moment(event.nominal_at, "nominal_at", None), event.retries,
            error=_error(event) if state is RunState.FAILED else None, url=event.url, owner=event.owner,
            resources=dict(event.resources), cost_usd=event.cost_usd,
        )  # fmt: skip
        flows = (Flow(event.pipeline, tuple(event.inputs), tuple(event.outputs)),) if event.inputs or event.outputs else ()
        return Understood(key, (report,), flows)


def _checked(payload: Any) -> EventModel:
    try:
        return EventModel.model_validate(payload)
    except ValidationError as error:
        told = [f"{'.'.join(str(part) for part in detail['loc']) or 'the event'}: {detail['msg']}" for detail in error.errors(include_url=False, include_input=False)]
        raise Unreadable("; ".join(told[:5])) from None


def _moment(value: Any, key: str, now: datetime | None) -> datetime | None:
    try:
        moment = parse_time(value)
    except Unreadable as error:
        raise Unreadable(f"{key}: {error}; write ISO 8601 such as 2026-01-15T06:12:00Z, or milliseconds since 1970") from None
    if moment is not None and now is not None and moment - now > _FAR:
        raise Unreadable(f"{key}: {moment:%Y-%m-%d %H:%M} UTC lies in the future; milliseconds since 1970, or a wrong clock?")
    return moment


def _error(event: EventModel) -> Any:
    if isinstance(event.error, ErrorModel):
        return run_error(event.error.class_, event.error.message)
    return run_error(None, event.error) if event.error else None
