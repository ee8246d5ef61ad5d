"""Databricks jobs, read through the Jobs API 2.2 with a personal access token or as a service principal (OAuth).

The API lists runs by the time they were started, so a run that ends late is not found again by paging: every run that is open is in
the list of active ones, and one that has left that list without being among the newest ended ones is asked for by its id.
A repair runs again under the same run id; what the repairs did is told by `repair_history`, which lists leave out.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field

from exporter.catalog.labels import SourceType
from exporter.model import Json
from exporter.pipelines.base import (
    DeadLetter,
    Known,
    OpenRun,
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
from exporter.pipelines.databricks_rows import ended_before, life_cycle, moment, repairs, reports_of, tasks
from exporter.pipelines.http import Answer, Http, HttpError
from exporter.pipelines.run import RunReport, RunState

_LIST, _GET = "/api/2.2/jobs/runs/list", "/api/2.2/jobs/runs/get"
_PAGE = 25
"""Rows that are asked for at once; the API refuses more."""
_OVERLAP = timedelta(minutes=5)
"""Rows may become visible some time after they ended."""
_FIRST = timedelta(hours=24)
_PAST = 30
_PAST_PAGES = 4
_JOBS_PER_POLL = 25
_ASKED_PER_POLL = 50
_MOST_PAGES = 4000
_REMEMBERED = 1000
_MARGIN = timedelta(minutes=2)
"""A token is renewed so long before it ends, or when half its life is over."""


class DatabricksSource(SourceModel):
    """A Databricks workspace, asked with `token_file` or `token_env`, or as a service principal with `client_id` and `client_secret_*`."""

    kind: ClassVar[SourceType] = SourceType.DATABRICKS
    secrets: ClassVar[tuple[str, ...]] = ("token", "client_secret")
    paths: ClassVar[tuple[str, ...]] = ("ca_file",)

    type: Literal["databricks"]
    url: str = Field(pattern=r"^https?://[^/\s]+/?$", description="address of the workspace", examples=["https://dbc.example.com"])
    token_file: str | None = None
    token_env: str | None = None
    client_id: str | None = Field(default=None, description="id of a service principal")
    client_secret_file: str | None = None
    client_secret_env: str | None = None
    ca_file: str | None = None

    def problems(self, given: frozenset[str]) -> Iterable[tuple[str, str]]:
        """One login is needed, and only one."""
        if self.client_id is not None and "client_secret" not in given:
            yield "client_id", "a service principal also needs its secret: client_secret_file or client_secret_env"
        if self.client_id is None and "client_secret" in given:
            yield "client_id", "the secret of a service principal is of no use without client_id"
        if self.client_id is None and not given & {"token", "client_secret"}:
            yield "url", "a login is needed: token_file or token_env, or client_id with client_secret_file or client_secret_env"
        if self.client_id is not None and "token" in given:
            yield "client_id", "give either a token or a service principal, not both"

    def poller(self, secrets: Mapping[str, str], http: Http) -> Poller:
        """Asks the workspace."""
        http.login = _Principal(self.client_id, secrets["client_secret"]) if self.client_id else _Token(secrets.get("token", ""))
        return DatabricksPoller(self, http)

    def understand(self, payload: Json, received_at: datetime) -> Understood:
        """What a row of `runs/list` or `runs/get` says."""
        return Understood(key_of(payload), reports_of(payload, received_at))


class _Token:
    """A personal access token; there is no other to try when it is refused."""

    def __init__(self, token: str) -> None:
        self._token = token

    def headers(self, http: Http, anew: bool) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def is_refused(self, status: int, detail: str) -> bool:
        return False


class _Principal:
    """A service principal: its token is fetched, kept, and renewed before it ends or when it is refused."""

    def __init__(self, client_id: str, secret: str) -> None:
        self._client, self._token, self._renew_at = (client_id, secret), "", datetime.min.replace(tzinfo=UTC)

    def headers(self, http: Http, anew: bool) -> dict[str, str]:
        if anew or not self._token or http.clock() >= self._renew_at:
            self._fetch(http)
        return {"Authorization": f"Bearer {self._token}"}

    def is_refused(self, status: int, detail: str) -> bool:
        return status == 401

    def _fetch(self, http: Http) -> None:
        form = {"grant_type": "client_credentials", "scope": "all-apis"}
        try:
            body = http.ask("POST", "/oidc/v1/token", login=False, data=form, auth=self._client).body
        except HttpError as error:
            raise HttpError(f"{error}; check client_id and client_secret", None if error.status == 401 else error.status, error.detail) from None
        if not isinstance(body, dict) or not isinstance(body.get("access_token"), str):
            raise HttpError(f"POST {http.base}/oidc/v1/token: the answer has no access_token; check `url`")
        seconds = body.get("expires_in")
        life = timedelta(seconds=seconds if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds < 10**8 else 600)
        self._token, self._renew_at = body["access_token"], http.clock() + max(life / 2, life - _MARGIN)


class DatabricksPoller:
    """Asks a workspace; remembers rows that it completed, so that they are not fetched twice."""

    def __init__(self, model: DatabricksSource, http: Http) -> None:
        self.model, self.http = model, http
        self._whole: OrderedDict[tuple[object, ...], Json] = OrderedDict()

    def poll(self, known: Known) -> Polled:
        """Everything that changed since the checkpoint. Raises SourceError."""
        try:
            return _Poll(self, known).result()
        except HttpError as error:
            raise SourceError(str(error)) from error

    def whole(self, row: Json) -> Json:
        """A row with its repairs and all its tasks, as `runs/get` gives it."""
        key = (row.get("run_id"), row.get("end_time"), len(tasks(row)), life_cycle(row), row.get("has_more"))
        if key not in self._whole:
            self._whole[key] = self.run(str(row.get("run_id")))[0]
            while len(self._whole) > _REMEMBERED:
                self._whole.popitem(last=False)
        return self._whole[key]

    def run(self, run_id: str) -> tuple[Json, datetime]:
        """One run with all pages of its arrays, and the source's time."""
        row: Json = {}
        token: Any = None
        for _ in range(_MOST_PAGES):
            answer = self.http.get(_GET, {"run_id": run_id, "include_history": "true", **({"page_token": token} if token else {})})
            page = _object(answer, _GET)
            row = {**page, **{name: [*row.get(name, ()), *page.get(name, ())] for name in ("tasks", "repair_history") if name in row or name in page}} if row else page
            token = page.get("next_page_token")
            if not token:
                return row, answer.date
        raise SourceError(f"{_GET} of run {run_id} has no end: {_MOST_PAGES} pages")


class _Poll:
    """One poll: what was found so far."""

    def __init__(self, poller: DatabricksPoller, known: Known) -> None:
        self._poller, self._known = poller, known
        self._open = {run.run_id: run for run in known.open_runs}
        self._reports: dict[str, tuple[RunReport, ...]] = {}
        self._letters: list[DeadLetter] = []
        before = known.checkpoint
        self._until = parse_time(before.get("until"))
        self._seen_letters = set(before.get("letters") or ())
        self._repaired = set(before.get("repaired") or ())
        self._now_repaired: list[str] = []
        self._now_letters: list[str] = []

    def result(self) -> Polled:
        """The whole poll."""
        first: datetime | None = None
        since = self._until - _OVERLAP if self._until else None
        for rows, date in self._pages({"active_only": "true", "expand_tasks": "true"}):
            first = first or date
            for row in rows:
                self._take(row, date, since or date - _FIRST)
        assert first is not None
        since = since or first - _FIRST
        for rows, date in self._pages({"completed_only": "true", "expand_tasks": "true"}):
            for row in rows:
                if not ended_before(row, since) or str(row.get("run_id")) in self._open:
                    self._take(row, date, since)
            if rows and all(ended_before(row, since) for row in rows):
                break
        self._ask_missing(first)
        histories = self._fetch_pasts()
        checkpoint = {"until": first.isoformat(), "letters": self._now_letters[:_REMEMBERED], "repaired": self._now_repaired[:_REMEMBERED]}
        reports = [report for group in self._reports.values() for report in group]
        return Polled(checkpoint, first, reports, self._letters, histories=histories)

    def _pages(self, params: Mapping[str, Any]) -> Iterator[tuple[list[Any], datetime]]:
        """The pages of a list with the source's time; a token that comes again would go round for ever."""
        token, tokens = None, set[str]()
        while True:
            answer = self._poller.http.get(_LIST, {**params, "limit": _PAGE, **({"page_token": token} if token else {})})
            body = _object(answer, _LIST)
            rows = body.get("runs") or []
            if not isinstance(rows, list):
                raise SourceError(f"{_LIST}: `runs` is not a list; `url` is not that of a workspace")
            yield rows, answer.date
            token = body.get("next_page_token")
            if not token:
                return
            if token in tokens or len(tokens) >= _MOST_PAGES:
                raise SourceError(f"{_LIST}: the pages have no end")
            tokens.add(token)

    def _take(self, row: Any, date: datetime, since: datetime) -> None:
        """Keeps what a row says; a later row of the same run replaces an earlier one."""
        try:
            reports = reports_of(row, date)
            if reports and self._job(reports[-1], row) is None:
                return
            if reports and self._is_incomplete(row, reports[-1], since):
                row = self._poller.whole(row)
                reports = reports_of(row, date)
        except Unreadable as error:
            self._refuse(row, error)
            return
        self._keep(row, reports)

    def _keep(self, row: Json, reports: Sequence[RunReport]) -> None:
        job = self._job(reports[-1], row)
        if job is not None:
            self._reports[reports[-1].run_id] = tuple(replace(report, job=job) for report in reports)
            if len(repairs(row)) > 1:
                self._now_repaired.append(reports[-1].run_id)

    def _job(self, report: RunReport, row: Json) -> str | None:
        """The job by the id, or the name, by which it is watched."""
        if report.run_id in self._open:
            return self._open[report.run_id].job
        return next((name for name in (report.job, str(row.get("run_name") or "")) if name and self._known.wants(name)), None)

    def _is_incomplete(self, row: Json, report: RunReport, since: datetime) -> bool:
        """True for a row that leaves out its repairs, or tasks of a failure."""
        if report.state is RunState.FAILED and row.get("has_more"):
            return True
        if row.get("repair_history"):
            return False
        is_back = self._until is not None and not report.state.is_terminal and report.run_id not in self._open and (moment(row, "start_time") or since) < since
        return is_back or report.run_id in self._repaired or any(count > 1 for count in Counter(task.get("task_key") for task in tasks(row)).values())

    def _refuse(self, row: Any, reason: Exception) -> None:
        key = key_of(row.get("run_id") if isinstance(row, dict) and row.get("run_id") else row, reason)
        if key not in self._seen_letters and key not in self._now_letters:
            self._letters.append(letter(row, reason))
        self._now_letters.append(key)

    def _ask_missing(self, date: datetime) -> None:
        """Asks for open runs that no list had; those that are gone were deleted."""
        missing = sorted((run for run in self._known.open_runs if run.run_id not in self._reports), key=lambda run: run.heard_at)
        for run in missing[:_ASKED_PER_POLL]:
            try:
                row, at = self._poller.run(run.run_id)
                self._keep(row, reports_of(row, at))
            except HttpError as error:
                if not _is_gone(error):
                    raise
                self._reports[run.run_id] = (_vanished(run, date),)
            except Unreadable as error:
                self._refuse(row, error)

    def _fetch_pasts(self) -> list[str]:
        """The last successful runs of jobs that are new."""
        jobs = {*self._known.jobs, *(group[-1].job for group in self._reports.values())}
        chosen = self._known.without_history(sorted(jobs))[:_JOBS_PER_POLL]
        for job in chosen:
            job_id = job if job.isdigit() else self._id_of(job)
            if job_id:
                self._fetch_past(job, job_id)
        return chosen

    def _id_of(self, name: str) -> str | None:
        """The id of the job of a name."""
        jobs = _object(self._poller.http.get("/api/2.2/jobs/list", {"name": name, "limit": 1}), "/api/2.2/jobs/list").get("jobs")
        return str(jobs[0].get("job_id")) if isinstance(jobs, list) and jobs and isinstance(jobs[0], dict) else None

    def _fetch_past(self, job: str, job_id: str) -> None:
        found = 0
        for number, (rows, date) in enumerate(self._pages({"completed_only": "true", "job_id": job_id})):
            for row in rows:
                try:
                    reports = [replace(report, job=job) for report in reports_of(row, date) if report.state is RunState.SUCCESS]
                except Unreadable:
                    continue
                if reports and found < _PAST:
                    found += 1
                    self._reports.setdefault(reports[-1].run_id, tuple(reports))
            if found >= _PAST or number + 1 >= _PAST_PAGES:
                return


def _object(answer: Answer, path: str) -> Json:
    if not isinstance(answer.body, dict) or answer.body.get("error_code"):
        raise SourceError(f"{path}: the answer is not what the Jobs API gives: {letter(answer.body, '').payload[:200]}")
    return answer.body


def _is_gone(error: HttpError) -> bool:
    """True when the API says that a run is not there; a page of a proxy, or a path it does not know, says nothing of the run."""
    return error.status in (400, 404) and ("does not exist" in error.detail or "RESOURCE_DOES_NOT_EXIST" in error.detail)


def _vanished(run: OpenRun, at: datetime) -> RunReport:
    return RunReport(run.job, run.run_id, RunState.CANCELLED, at)
