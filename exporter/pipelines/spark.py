"""Spark applications, read from a history server or from a driver that is running.

Spark does not say whether an application succeeded. It did when it ended properly and none of its jobs failed; a driver that dies leaves
an application "incomplete" for ever, which is told by nothing having been written for `lost_after`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field

from exporter.catalog.labels import SourceType
from exporter.model import Json
from exporter.pipelines.base import (
    DeadLetter,
    Known,
    Polled,
    Poller,
    SourceError,
    SourceModel,
    Understood,
    Unreadable,
    key_of,
    letter,
    parse_time,
)
from exporter.pipelines.http import Http, HttpError
from exporter.pipelines.run import RunReport, RunState
from exporter.pipelines.spark_facts import attempt_number, ended, failed_tasks, failure, last_sign, resources
from exporter.units import Duration

_API = "/api/v1"
_OVERLAP = timedelta(hours=1)
"""A history server shows an application when it has read its log, which may be long after the application ended."""
_FIRST = timedelta(hours=24)
_PAST = 30
_PAST_LIST = 20_000
_JOBS_PER_POLL = 25
_READ_PER_POLL = 200
"""Applications whose details are read in one poll; a poll that finds more stops at the end of the last of these."""
_ASKED_PER_POLL = 50
_TRIES = 3
"""Polls that fail on the details of one application before it is given up: its log may be broken for good."""
_LOST = "lost"

_JOB_KEYS = ("jobId", "status", "submissionTime", "completionTime")
_STAGE_KEYS = ("stageId", "attemptId", "status", "failureReason", "submissionTime", "completionTime", "executorRunTime", "executorCpuTime")
_EXECUTOR_KEYS = ("id", "isActive", "totalCores", "failedTasks", "removeTime", "removeReason", "peakMemoryMetrics")
_PROPERTIES = ("spark.executor.memory", "spark.driver.memory")


class SparkSource(SourceModel):
    """A Spark history server, or the web interface of a driver; jobs are named by the application's name."""

    kind: ClassVar[SourceType] = SourceType.SPARK
    paths: ClassVar[tuple[str, ...]] = ("ca_file",)

    type: Literal["spark"]
    url: str = Field(pattern=r"^https?://\S+$", description="address of the history server or of a driver", examples=["http://history:18080", "http://driver:4040"])
    ca_file: str | None = None
    lost_after: Duration = Field(
        default=timedelta(minutes=15),
        description="an application that has not ended and of which the history server has read nothing new for so long has failed; raise it above the longest pause between two events",
    )

    def poller(self, secrets: Mapping[str, str], http: Http) -> Poller:
        """Asks the server."""
        return SparkPoller(self, http)

    def understand(self, payload: Json, received_at: datetime) -> Understood:
        """What the facts of one attempt of an application say; see `_Attempt.facts`."""
        return Understood(key_of(payload), (_report(payload, received_at, self.url.rstrip("/")),))


class SparkPoller:
    """Asks a server; remembers which applications it could not read."""

    def __init__(self, model: SparkSource, http: Http) -> None:
        self.model, self.http = model, http
        self.trouble: Counter[str] = Counter()

    def poll(self, known: Known) -> Polled:
        """Everything that changed since the checkpoint. Raises SourceError."""
        try:
            return _Poll(self, known).result()
        except HttpError as error:
            raise SourceError(str(error)) from error


@dataclass(frozen=True)
class _Attempt:
    """One attempt of an application, as the list of applications shows it."""

    app: str
    name: str
    row: Json
    is_superseded: bool = False

    @property
    def key(self) -> str:
        """What tells it from all other attempts."""
        return f"{self.app}/{self.row.get('attemptId') or ''}"

    @property
    def path(self) -> str:
        """Where its details are: an attempt has a place of its own only where attempts have ids (YARN in cluster mode)."""
        attempt = self.row.get("attemptId")
        return f"{_API}/applications/{quote(self.app, safe='')}" + (f"/{quote(str(attempt), safe='')}" if attempt else "")

    @property
    def version(self) -> int | str | None:
        """Changes when the server has read more of its log."""
        return self.row.get("lastUpdatedEpoch") or self.row.get("lastUpdated")

    def facts(self, is_lost: bool = False, **details: Any) -> Json:
        """Everything that is known of it, as one payload."""
        return {"id": self.app, "name": self.name, "attempt": self.row, "lost": is_lost, **details}


class _Poll:
    """One poll: what was found so far."""

    def __init__(self, poller: SparkPoller, known: Known) -> None:
        self._poller, self._known = poller, known
        self._http, self._model = poller.http, poller.model
        self._open = {run.run_id for run in known.open_runs}
        self._until = parse_time(known.checkpoint.get("until"))
        self._done: Mapping[str, Any] = known.checkpoint.get("done") or {}
        self._now_done: dict[str, Any] = {}
        self._reports: list[RunReport] = []
        self._letters: list[DeadLetter] = []
        self._ids: set[str] = set()

    def result(self) -> Polled:
        """The whole poll."""
        since = self._until - _OVERLAP if self._until else self._http.get(f"{_API}/version").date - _FIRST
        rows, date = self._list({"minEndDate": since.strftime("%Y-%m-%dT%H:%M:%S.000GMT")})
        attempts = [attempt for row in rows for attempt in self._attempts(row)]
        attempts += self._missing(date)
        over = [(end, attempt) for attempt in attempts if (end := self._end(attempt, date)) is not None and self._is_news(attempt, end, since)]
        over.sort(key=lambda pair: pair[0])
        for _, attempt in over[:_READ_PER_POLL]:
            self._read(attempt, date)
        for attempt in attempts:
            if self._end(attempt, date) is None:
                self._running(attempt, date)
        until = min(date, over[_READ_PER_POLL - 1][0]) if len(over) > _READ_PER_POLL else date
        until = max(until, self._until) if self._until else until
        histories = self._fetch_pasts(date) if len(over) < _READ_PER_POLL else []
        return Polled({"until": until.isoformat(), "done": self._now_done}, until, self._reports, self._letters, histories=histories)

    def _list(self, params: Mapping[str, Any]) -> tuple[list[Any], datetime]:
        answer = self._http.get(f"{_API}/applications", params)
        if not isinstance(answer.body, list):
            raise SourceError(f"{self._http.base}{_API}/applications: not a list of applications; check `url`")
        return answer.body, answer.date

    def _attempts(self, row: Any) -> list[_Attempt]:
        """The attempts of one application of the list, oldest first; a row that cannot be read is a dead letter."""
        try:
            if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not isinstance(row.get("attempts"), list):
                raise Unreadable("an application needs an id and a list of attempts")
            app, name = row["id"], str(row.get("name") or row["id"])
            self._ids.add(app)
            if not self._known.wants(name):
                return []
            found = sorted((_Attempt(app, name, attempt) for attempt in row["attempts"]), key=lambda attempt: attempt_number(attempt.row))
            for attempt in found:
                _report(attempt.facts(), self._known.now, "")  # what cannot be understood later is found now
                parse_time(attempt.version)
        except Unreadable as error:
            if key_of(row) not in {*self._done, *self._now_done}:
                self._letters.append(letter(row, error))
            self._now_done[key_of(row)] = 0
            return []
        return [_Attempt(app, name, attempt.row, is_superseded=attempt is not found[-1]) for attempt in found]

    def _missing(self, date: datetime) -> list[_Attempt]:
        """Open runs that the list had not; those that are gone were cleaned away."""
        found: list[_Attempt] = []
        missing = sorted((run for run in self._known.open_runs if run.run_id not in self._ids), key=lambda run: run.heard_at)
        for run in missing[:_ASKED_PER_POLL]:
            try:
                found += self._attempts(self._http.get(f"{_API}/applications/{quote(run.run_id, safe='')}").body)
            except HttpError as error:
                if error.status != 404 or not ("unknown app" in error.detail or "no such app" in error.detail):
                    raise
                self._reports.append(RunReport(run.job, run.run_id, RunState.CANCELLED, date))
        return found

    def _end(self, attempt: _Attempt, date: datetime) -> datetime | None:
        """When it ended, or was last heard of before it was lost; None while it runs."""
        end = ended(attempt.row)
        if end is not None:
            return end
        updated, started = parse_time(attempt.version), parse_time(attempt.row.get("startTimeEpoch") or attempt.row.get("startTime"))
        if attempt.row.get("completed") is not False or updated is None:
            return None
        if attempt.is_superseded or self._done.get(attempt.key) == _LOST:
            return updated
        is_live = updated == started  # a driver writes its start here; a history server the time at which it read the log
        return updated if not is_live and date - updated > self._model.lost_after else None

    def _is_news(self, attempt: _Attempt, end: datetime, since: datetime) -> bool:
        """True when its end was not told yet; what was told is remembered as long as the server lists it."""
        mark = attempt.version if attempt.row.get("completed") else _LOST
        is_told = self._done.get(attempt.key) == mark
        if is_told or (end < since and attempt.app not in self._open):
            self._now_done[attempt.key] = mark
            return False
        return True

    def _read(self, attempt: _Attempt, date: datetime) -> None:
        """Reads the details of an attempt that ended, and tells of it."""
        key, is_lost = attempt.key, not attempt.row.get("completed")
        try:
            facts = attempt.facts(is_lost, **self._details(attempt, ("jobs", "stages", "executors", "properties")))
            self._poller.trouble.pop(key, None)
        except HttpError as error:
            self._poller.trouble[key] += 1
            if error.status is None or self._poller.trouble[key] < _TRIES:
                raise
            self._letters.append(letter(attempt.facts(is_lost), f"the details cannot be read: {error}"))
            report = _report(attempt.facts(), date, self._http.base)
            self._reports.append(replace(report, state=RunState.CANCELLED, ended_at=self._end(attempt, date)))
        else:
            try:
                self._reports.append(_report(facts, date, self._http.base))
            except Unreadable as error:
                self._letters.append(letter(facts, error))
        self._now_done[key] = _LOST if is_lost else attempt.version

    def _running(self, attempt: _Attempt, date: datetime) -> None:
        """Tells of an attempt that has not ended. A driver tells its resources; of a history server they would cost the whole log each time."""
        facts = attempt.facts()
        if attempt.row.get("completed") is False and attempt.row.get("lastUpdated") == attempt.row.get("startTime"):
            facts |= self._details(attempt, ("stages", "executors", "properties"))
        self._reports.append(_report(facts, date, self._http.base))

    def _details(self, attempt: _Attempt, what: Sequence[str]) -> Json:
        """Jobs, stages, executors and settings, reduced to what is used."""
        found: Json = {}
        if "jobs" in what:
            found["jobs"] = self._rows(f"{attempt.path}/jobs", _JOB_KEYS)
        if "stages" in what:
            found["stages"] = self._rows(f"{attempt.path}/stages", _STAGE_KEYS)
        if "executors" in what:
            found["executors"] = self._rows(f"{attempt.path}/allexecutors", _EXECUTOR_KEYS)
        if "properties" in what:
            body = self._http.get(f"{attempt.path}/environment").body
            pairs = body.get("sparkProperties") if isinstance(body, dict) else None
            found["properties"] = [pair for pair in pairs or () if isinstance(pair, list) and len(pair) == 2 and pair[0] in _PROPERTIES]
        return found

    def _rows(self, path: str, keys: Sequence[str]) -> list[Json]:
        body = self._http.get(path).body
        if not isinstance(body, list):
            raise SourceError(f"{self._http.base}{path}: not a list")
        return [{key: row[key] for key in keys if key in row} for row in body if isinstance(row, dict)]

    def _fetch_pasts(self, date: datetime) -> list[str]:
        """The last successful runs of jobs that are new, as many jobs as one poll can read."""
        names = {*self._known.jobs, *(report.job for report in self._reports)}
        chosen = self._known.without_history(sorted(names))[:_JOBS_PER_POLL]
        if not chosen:
            return []
        rows, _ = self._list({"status": "completed", "limit": _PAST_LIST})
        told = {(report.run_id, report.ordinal) for report in self._reports}
        fetched: list[str] = []
        budget = _READ_PER_POLL
        for job in chosen:
            mine = [attempt for row in rows if isinstance(row, dict) and row.get("name") == job for attempt in self._attempts(row) if attempt.row.get("completed") is True]
            mine = sorted(mine, key=lambda attempt: ended(attempt.row) or date, reverse=True)[: 2 * _PAST]
            if fetched and len(mine) > budget:
                break
            budget -= len(mine)
            fetched.append(job)
            found = 0
            for attempt in mine:
                if found < _PAST and (attempt.app, attempt_number(attempt.row)) not in told:
                    found += self._has_told_past(attempt, date)
        return fetched

    def _has_told_past(self, attempt: _Attempt, date: datetime) -> bool:
        """Tells of a run before the first poll, if it was successful; one whose log cannot be read is passed over."""
        try:
            report = _report(attempt.facts(**self._details(attempt, ("jobs",))), date, self._http.base)
        except HttpError as error:
            if error.status is None or error.status in (429, 503):
                raise
            return False
        if report.state is RunState.SUCCESS:
            self._reports.append(report)
        return report.state is RunState.SUCCESS


def _report(facts: Json, at: datetime, base: str) -> RunReport:
    """What the facts of one attempt say. Raises Unreadable."""
    row = facts.get("attempt")
    if not isinstance(facts.get("id"), str) or not isinstance(row, dict):
        raise Unreadable("an application needs an id and an attempt")
    number, end = attempt_number(row), ended(row)
    started = parse_time(row.get("startTimeEpoch") or row.get("startTime"))
    jobs, stages, executors = (_listed(facts, name) for name in ("jobs", "stages", "executors"))
    state, error = _state(facts, row), None
    if state is RunState.FAILED:
        error = failure(bool(facts.get("lost")), jobs, stages, executors)
        end = end or last_sign(row, [*jobs, *stages])
    place = f"{base}/history/{facts['id']}" + (f"/{row['attemptId']}" if row.get("attemptId") else "") + "/jobs/"
    return RunReport(
        str(facts.get("name") or facts["id"]), facts["id"], state, at, ordinal=number, chain=facts["id"], started_at=started,
        ended_at=end if state.is_terminal else None, retries=number - 1, failed_tasks=failed_tasks(executors), error=error,
        url=place if base else "", owner=str(row.get("sparkUser") or ""),
        resources=resources(stages, executors, {str(pair[0]): pair[1] for pair in _listed(facts, "properties", list) if len(pair) == 2}, started, end),
    )  # fmt: skip


def _state(facts: Json, row: Json) -> RunState:
    """Success is only what ended properly with all its jobs; until the jobs are known, a completed application has no verdict."""
    if facts.get("lost"):
        return RunState.FAILED
    match row.get("completed"):
        case True:
            if "jobs" not in facts:
                return RunState.UNKNOWN
            return RunState.SUCCESS if all(job.get("status") == "SUCCEEDED" for job in _listed(facts, "jobs")) else RunState.FAILED
        case False:
            return RunState.RUNNING
        case None:
            return RunState.UNKNOWN
    raise Unreadable(f"completed is {str(row.get('completed'))[:40]!r}")


def _listed(facts: Json, name: str, of: type[Any] = dict) -> list[Any]:
    rows: Iterable[Any] = facts[name] if isinstance(facts.get(name), list) else ()
    return [row for row in rows if isinstance(row, of)]
