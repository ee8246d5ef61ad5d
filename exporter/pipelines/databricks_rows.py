"""What the Jobs API of Databricks says of a run in one row; pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from exporter.model import Json
from exporter.pipelines.base import Unreadable, class_in, parse_time, run_error
from exporter.pipelines.run import RunError, RunReport, RunState

_STATES = {
    "QUEUED": RunState.QUEUED, "BLOCKED": RunState.QUEUED, "PENDING": RunState.RUNNING, "RUNNING": RunState.RUNNING,
    "TERMINATING": RunState.RUNNING, "WAITING": RunState.RUNNING, "WAITING_FOR_RETRY": RunState.RUNNING,
}  # fmt: skip
_ENDED = frozenset({"TERMINATED", "SKIPPED", "INTERNAL_ERROR"})
_SUCCESS = frozenset({"SUCCESS", "SUCCESS_WITH_FAILURES"})
_CANCELLED = frozenset({"USER_CANCELED", "SKIPPED", "EXCLUDED", "DISABLED"})
_CANCELLED_BEFORE = frozenset({"CANCELED", "EXCLUDED", "DISABLED"})
"""Results of the deprecated `state`: there CANCELED means by a user, in `status` it means by the platform."""


def reports_of(row: Any, at: datetime) -> tuple[RunReport, ...]:
    """What a row says of a run: one report for each repair that it tells of, else one. Raises Unreadable."""
    if not isinstance(row, dict) or not isinstance(row.get("run_id"), int | str) or isinstance(row.get("run_id"), bool):
        raise Unreadable("a run needs a run_id")
    if not row.get("status") and not row.get("state"):
        raise Unreadable("a run needs a status")
    name = str(row.get("run_name") or "")
    job = name if name and (not row.get("job_id") or row.get("run_type") == "SUBMIT_RUN") else str(row.get("job_id") or "")
    if not job:
        raise Unreadable("a run needs a job_id or a run_name")
    whole = _report(row, job, at)
    items = repairs(row)
    if not items:
        return (whole,)
    told = []
    for ordinal, item in enumerate(items, 1):
        is_last = ordinal == len(items)
        state = whole.state if is_last else _state(item)
        if not state.is_terminal and not is_last:
            continue
        start, end = moment(item, "start_time") or (whole.started_at if ordinal == 1 else None), moment(item, "end_time")
        if start and ordinal == 1:
            start = min(start + _span(row, "queue_duration"), end or start + _span(row, "queue_duration"))
        told.append(replace(
            whole, state=state, ordinal=ordinal, queued_at=whole.queued_at if ordinal == 1 else None, started_at=start,
            ended_at=(end or (whole.ended_at if is_last else None)) if state.is_terminal else None, retries=(whole.retries or 0) + ordinal - 1,
            failed_tasks=whole.failed_tasks if is_last else None, error=whole.error if is_last else _error(item, state),
        ))  # fmt: skip
    return tuple(told)


def _report(row: Json, job: str, at: datetime) -> RunReport:
    """A run that was never repaired, as far as its row tells."""
    state = _state(row)
    queued_at, started_at, ended_at = _times(row, state)
    original = row.get("original_attempt_run_id") or row["run_id"]
    return RunReport(
        job, str(row["run_id"]), state, at, chain=str(original), queued_at=queued_at, started_at=started_at, ended_at=ended_at,
        retries=_number(row, "attempt_number") or 0, failed_tasks=_failed_tasks(row) if state.is_verdict else None, error=_error(row, state),
        url=str(row.get("run_page_url") or ""), owner=str(row.get("creator_user_name") or ""),
    )  # fmt: skip


def _state(row: Json) -> RunState:
    """The state of a run, a repair or a task; one that nobody has heard of is unknown until the row has an end."""
    status, before = _part(row, "status"), _part(row, "state")
    name = str(status.get("state") or before.get("life_cycle_state") or "").upper()
    if name in _STATES:
        return _STATES[name]
    code = str(_part(status, "termination_details").get("code") or "").upper()
    result = str(before.get("result_state") or "").upper()
    if name not in _ENDED and not moment(row, "end_time"):
        return RunState.UNKNOWN
    if (code or result) in _SUCCESS:
        return RunState.SUCCESS
    if code in _CANCELLED or (not code and result in _CANCELLED_BEFORE) or (not code and not result and name == "SKIPPED"):
        return RunState.CANCELLED
    return RunState.FAILED


def _times(row: Json, state: RunState) -> tuple[datetime | None, datetime | None, datetime | None]:
    """When a run was queued, started and ended.

    `start_time` is when it was made, which may be before it left the queue; durations say the rest. Those of the
    parts are 0 for a run of several tasks, and `run_duration` counts all of them.
    """
    begun, queue = moment(row, "start_time"), _span(row, "queue_duration")
    if state is RunState.QUEUED:
        return begun, None, None
    ended = moment(row, "end_time") if state.is_terminal else None
    started = begun + queue if begun else None
    length = _span(row, "run_duration") or sum((_span(row, f"{part}_duration") for part in ("setup", "execution", "cleanup")), timedelta(0))
    if ended and length:
        started = max(ended - length, begun) if begun else ended - length
    elif ended and started:
        started = min(started, ended)
    return (started - queue if started and queue else None), started, ended


def _error(row: Json, state: RunState) -> RunError | None:
    """Why a run failed: the class that the text names, else the code; the code leads the text."""
    if state is not RunState.FAILED:
        return None
    before = _part(row, "state")
    details = _part(_part(row, "status"), "termination_details")
    code = str(details.get("code") or before.get("result_state") or before.get("life_cycle_state") or "")
    message = str(details.get("message") or before.get("state_message") or "")
    for task in _latest_tasks(row):
        if _state(task) is RunState.FAILED:
            told = str(_part(_part(task, "status"), "termination_details").get("message") or _part(task, "state").get("state_message") or "")
            if told and told not in message:
                message = f"{message}\ntask {task.get('task_key')}: {told}".strip()
    return run_error(class_in(message) or code, ": ".join(part for part in (code, message) if part))


def _failed_tasks(row: Json) -> int | None:
    latest = _latest_tasks(row)
    return None if not latest or row.get("has_more") else sum(_state(task) is RunState.FAILED for task in latest)


def _latest_tasks(row: Json) -> list[Json]:
    """Each task by its last attempt: rows list all attempts, also those before a repair."""
    latest: dict[Any, Json] = {}
    for task in sorted(tasks(row), key=lambda task: (_number(task, "attempt_number") or 0, _number(task, "start_time") or 0)):
        latest[task.get("task_key")] = task
    return list(latest.values())


def tasks(row: Json) -> list[Json]:
    given = row.get("tasks")
    return [task for task in given if isinstance(task, dict)] if isinstance(given, list) else []


def repairs(row: Json) -> list[Json]:
    """The first run and its repairs, oldest first; nothing when the row does not tell of them."""
    items = row.get("repair_history")
    if not isinstance(items, list):
        return []
    return sorted((item for item in items if isinstance(item, dict)), key=lambda item: (item.get("type") == "REPAIR", _number(item, "start_time") or 0))


def _part(row: Json, name: str) -> Json:
    part = row.get(name)
    return part if isinstance(part, dict) else {}


def life_cycle(row: Json) -> str:
    return str(_part(row, "status").get("state") or _part(row, "state").get("life_cycle_state") or "")


def _number(row: Json, name: str) -> int | None:
    """A number of a row, also one that is written as text. Raises Unreadable."""
    value = row.get(name)
    if value is None or value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise Unreadable(f"{name} {str(value)[:60]!r} is not a number") from None


def moment(row: Json, name: str) -> datetime | None:
    """A time of a row; 0 is none. Raises Unreadable."""
    return parse_time(_number(row, name) or None)


def _span(row: Json, name: str) -> timedelta:
    try:
        return timedelta(milliseconds=max(0, _number(row, name) or 0))
    except OverflowError:
        raise Unreadable(f"{name} is too long") from None


def ended_before(row: Any, limit: datetime) -> bool:
    """True for a row that certainly ended, and so began, before a time."""
    try:
        ended = moment(row, "end_time") if isinstance(row, dict) else None
    except Unreadable:
        return False
    return ended is not None and ended < limit
