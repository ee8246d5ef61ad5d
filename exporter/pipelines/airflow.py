"""`airflow`: DAG runs from the REST API, v2 (Airflow 3, tokens) or v1 (Airflow 2, basic auth), asked only for what changed.

The watermark is the server's clock at the poll before, less a minute: a run that is running is always among what changed, and so are
runs that were cleared or whose state was set by hand. An attempt is told by its time in the queue, as a clear keeps the run id.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field

from exporter.catalog import metrics as m
from exporter.catalog.labels import SlotState, SourceType
from exporter.catalog.metrics import Metric
from exporter.model import Json
from exporter.pipelines.airflow_tasks import Tasks
from exporter.pipelines.base import (
    DeadLetter,
    Known,
    OpenRun,
    Polled,
    SourceError,
    SourceModel,
    Understood,
    Unreadable,
    key_of,
    letter,
    parse_time,
)
from exporter.pipelines.http import Http, HttpError
from exporter.pipelines.run import RunError, RunReport, RunState
from exporter.units import Duration

_PAGE = 100
_OVERLAP = timedelta(minutes=1)
_FIRST_LOOK = timedelta(hours=24)
_HISTORIES = 25
_HISTORY = 50
_ASKED_SINGLY = 50
_PASSES = 3
_MOST_POOLS = 50
_STATES = {"queued": RunState.QUEUED, "running": RunState.RUNNING, "success": RunState.SUCCESS, "failed": RunState.FAILED}
_SLOTS = {SlotState.OPEN: "open_slots", SlotState.RUNNING: "running_slots", SlotState.QUEUED: "queued_slots", SlotState.SCHEDULED: "scheduled_slots", SlotState.DEFERRED: "deferred_slots"}


class AirflowModel(SourceModel):
    """An Airflow deployment."""

    kind: ClassVar[SourceType] = SourceType.AIRFLOW
    secrets: ClassVar[tuple[str, ...]] = ("password", "token")
    paths: ClassVar[tuple[str, ...]] = ("ca_file",)

    type: Literal["airflow"]
    url: str = Field(min_length=1, examples=["https://airflow.example.com"])
    api: Literal["auto", "v1", "v2"] = "auto"
    username: str | None = None
    password_file: str | None = None
    password_env: str | None = None
    token_file: str | None = Field(default=None, description="a bearer token instead of a user")
    token_env: str | None = None
    ca_file: str | None = None
    logs: bool = Field(default=True, description="read the log of a failed task for its error")
    catalog_every: Duration = Field(default=timedelta(minutes=5), description="how often the list of DAGs is read")

    def problems(self, given: frozenset[str]) -> Iterable[tuple[str, str]]:
        if ("password" in given) != (self.username is not None):
            yield ("username", "username and password go together: give username and password_file or password_env")
        if "token" in given and self.username is not None:
            yield ("token_file" if self.token_file else "token_env", "give a user with a password or a token, not both")
        if not self.url.startswith(("http://", "https://")):
            yield ("url", f'"{self.url}" is not an address: write https://HOST')

    def poller(self, secrets: Mapping[str, str], http: Http) -> AirflowPoller:
        return AirflowPoller(self, secrets, http)

    def understand(self, payload: Json, received_at: datetime) -> Understood:
        report = run_report(payload, received_at, self.url, {})
        return Understood(key_of(report.job, report.run_id, report.queued_at, report.state, report.ended_at), (report,))


def run_report(row: Mapping[str, Any], at: datetime, url: str, owners: Mapping[str, str]) -> RunReport:
    """One row of `dagRuns`. Raises Unreadable."""
    dag, run = row.get("dag_id"), row.get("dag_run_id")
    if not isinstance(dag, str) or not dag or not isinstance(run, str) or not run:
        raise Unreadable("dag_id and dag_run_id must be texts")
    state = _STATES.get(str(row.get("state")), RunState.UNKNOWN)
    started_at, ended_at = parse_time(row.get("start_date")), parse_time(row.get("end_date"))
    if state is RunState.UNKNOWN and ended_at is not None:
        state = RunState.CANCELLED
    nominal = row.get("logical_date") or row.get("execution_date")
    return RunReport(
        dag, run, state, at, queued_at=parse_time(row.get("queued_at")), started_at=started_at, ended_at=ended_at if state.is_terminal else None,
        nominal_at=parse_time(nominal), url=f"{url.rstrip('/')}/dags/{quote(dag, safe='')}/runs/{quote(run, safe='')}", owner=owners.get(dag, ""),
    )  # fmt: skip


class _UserLogin:
    """A token for a user (v2), asked for when there is none or the old one was refused."""

    def __init__(self, username: str | None, password: str | None) -> None:
        self._credentials = {"username": username, "password": password} if username is not None else None
        self._token: str | None = None

    def headers(self, http: Http, anew: bool) -> dict[str, str]:
        if self._token is None or anew:
            if self._credentials is not None:
                answer = http.post("/auth/token", self._credentials, login=False)
            else:
                answer = http.ask("GET", "/auth/token", login=False)  # a deployment where everybody may do everything
            body = answer.body if isinstance(answer.body, dict) else {}
            token = body.get("access_token") or body.get("jwt_token")
            if not isinstance(token, str):
                raise HttpError(f"POST {http.base}/auth/token: the answer has no access_token; is this Airflow 3?")
            self._token = token
        return {"Authorization": f"Bearer {self._token}"}

    def is_refused(self, status: int, detail: str) -> bool:
        return status == 401 or (status == 403 and "Invalid JWT token" in detail)


class _FixedLogin:
    """A token that is given, or a user of the old API."""

    def __init__(self, authorization: str | None) -> None:
        self._authorization = authorization

    def headers(self, http: Http, anew: bool) -> dict[str, str]:
        return {"Authorization": self._authorization} if self._authorization else {}

    def is_refused(self, status: int, detail: str) -> bool:
        return False


class AirflowPoller:
    """Asks one Airflow."""

    def __init__(self, model: AirflowModel, secrets: Mapping[str, str], http: Http) -> None:
        self._model, self._secrets, self._http = model, secrets, http
        self._version: Literal["v1", "v2"] | None = None
        self._has_cursor: bool | None = None
        self._catalog_at: datetime | None = None
        self._owners: dict[str, str] = {}
        self._dags: list[str] = []
        self._tasks = Tasks(model.logs)

    def poll(self, known: Known) -> Polled:
        try:
            return self._poll(known)
        except HttpError as error:
            hint = ""
            if error.status == 401:
                hint = "; check username and password_file (or token_file)"
            elif error.status == 403:
                hint = "; the user lacks a right: the role Viewer is enough"
            raise SourceError(f"{error}{hint}") from None

    def _poll(self, known: Known) -> Polled:
        begin, gauges = self._health()
        since = parse_time(known.checkpoint.get("since"))
        letters: list[DeadLetter] = []
        paused = self._catalog(begin, known)
        rows = list(self._rows("updated_at_gte", _stamp(since - _OVERLAP if since else begin - _FIRST_LOOK)))
        rows += self._rows("state", "queued")
        reports = list(self._reports(rows, known, letters))
        histories = known.without_history({*known.jobs, *(report.job for report in reports), *filter(known.wants, self._dags)})[:_HISTORIES]
        past = list(self._histories(histories, known, letters))
        missing = self._missing(known.open_runs, {(report.job, report.run_id) for report in reports}, letters)
        news = self._tasks.told(self._http, self._api, [*reports, *missing], known.now)
        gauges |= self._extras()
        return Polled(
            {"since": begin.isoformat()}, begin, [*past, *news], letters, histories=histories, gauges=gauges, paused=paused
        )

    # --- what kind of Airflow ---
    @property
    def _api(self) -> str:
        return f"/api/{self._version}"

    def _health(self) -> tuple[datetime, dict[tuple[Metric, tuple[str, ...]], float]]:
        """The server's clock before anything else is asked, and how the components say that they are."""
        if self._version is None:
            self._version = self._model.api if self._model.api != "auto" else self._probed()
            self._log_in()
        path = f"{self._api}/monitor/health" if self._version == "v2" else f"{self._api}/health"
        try:
            answer = self._http.ask("GET", path, login=self._version == "v1")
        except HttpError as error:
            if error.status == 404 and self._model.api == "auto":  # another version by now: the next poll finds out which
                self._version = self._has_cursor = None
                self._tasks = Tasks(self._model.logs)
            raise
        body = answer.body if isinstance(answer.body, dict) else {}
        told = {name: part.get("status") for name, part in body.items() if isinstance(part, dict) and part.get("status")}
        return answer.date, {(m.SCHEDULER_UP, (name[:40],)): float(status == "healthy") for name, status in list(told.items())[:10]}

    def _probed(self) -> Literal["v1", "v2"]:
        try:
            self._http.ask("GET", "/api/v2/version", login=False)
            return "v2"
        except HttpError as error:
            if error.status not in (401, 403, 404, 405):
                raise
        try:
            self._http.ask("GET", "/api/v1/health", login=False)
            return "v1"
        except HttpError as error:
            return "v1" if error.status in (401, 403) else "v2"

    def _log_in(self) -> None:
        username, password, token = self._model.username, self._secrets.get("password"), self._secrets.get("token")
        if token is not None:
            self._http.login = _FixedLogin(f"Bearer {token}")
        elif self._version == "v2":
            self._http.login = _UserLogin(username, password)
        else:
            pair = base64.b64encode(f"{username}:{password}".encode()).decode() if username is not None else None
            self._http.login = _FixedLogin(f"Basic {pair}" if pair else None)

    # --- runs ---
    def _rows(self, key: str, value: str) -> Iterator[tuple[Json, datetime]]:
        """The runs that a filter lets through, each with the server's time, all pages; an unknown filter is ignored by the server, which only costs."""
        path, params = f"{self._api}/dags/~/dagRuns", {key: value, "limit": _PAGE}
        if self._version == "v2" and self._has_cursor is not False:
            try:
                yield from self._by_cursor(path, params)
                return
            except _NoCursor:
                self._has_cursor = False
        yield from self._by_offset(path, "dag_runs", {**params, "order_by": "id"})

    def _by_cursor(self, path: str, params: Mapping[str, Any]) -> Iterator[tuple[Json, datetime]]:
        cursor = ""
        while True:
            try:
                answer = self._http.get(path, {**params, "order_by": "updated_at", "cursor": cursor})
            except HttpError as error:
                if error.status in (400, 422) and not cursor and self._has_cursor is None:
                    raise _NoCursor from None
                raise
            if "next_cursor" not in _mapping(answer.body, path):
                raise _NoCursor
            self._has_cursor = True
            yield from ((row, answer.date) for row in _list(answer.body, "dag_runs", path))
            cursor = answer.body["next_cursor"]
            if not cursor:
                return

    def _by_offset(self, path: str, name: str, params: Mapping[str, Any]) -> Iterator[tuple[Json, datetime]]:
        """All rows, though rows come and go meanwhile: a pass that did not see as many as there are is made again."""
        seen: dict[str, tuple[Json, datetime]] = {}
        for _ in range(_PASSES):
            offset, total, most = 0, 0, 0
            while True:
                answer = self._http.get(path, {**params, "offset": offset})
                rows = _list(answer.body, name, path)
                total = _total(answer.body, offset + len(rows))
                most = max(most, total)
                for row in rows:
                    seen[_identity(row)] = (row, answer.date)
                offset += len(rows)  # the server may give fewer than asked
                if not rows or offset >= total:
                    break
            if len(seen) >= total == most:  # when some went, others moved up to where the pass had been already
                break
        yield from seen.values()

    def _reports(self, rows: Iterable[tuple[Json, datetime]], known: Known, letters: list[DeadLetter]) -> Iterator[RunReport]:
        newest: dict[tuple[str, str], RunReport] = {}
        for row, at in rows:
            dag = row.get("dag_id")
            if isinstance(dag, str) and not known.wants(dag):
                continue
            try:
                report = run_report(row, at, self._model.url, self._owners)
            except Unreadable as problem:
                letters.append(letter(row, problem))
                continue
            newest[report.job, report.run_id] = report
        yield from newest.values()

    def _histories(self, dags: Sequence[str], known: Known, letters: list[DeadLetter]) -> Iterator[RunReport]:
        """The last ended runs of some DAGs; one that does not exist has none."""
        for dag in dags:
            params = [("state", "success"), ("state", "failed"), ("order_by", "-end_date"), ("limit", _HISTORY)]
            try:
                answer = self._http.ask("GET", f"{self._api}/dags/{quote(dag, safe='')}/dagRuns", params=params)
            except HttpError as error:
                if error.status != 404:
                    raise
                continue
            rows = [(row, answer.date) for row in _list(answer.body, "dag_runs", dag)]
            yield from (report for report in self._reports(rows, known, letters) if report.state.is_terminal)

    def _missing(self, open_runs: Sequence[OpenRun], seen: set[tuple[str, str]], letters: list[DeadLetter]) -> list[RunReport]:
        """Runs that were open and are in no answer, asked for one by one; one that was deleted has ended without a verdict."""
        found = []
        for run in [run for run in open_runs if (run.job, run.run_id) not in seen][:_ASKED_SINGLY]:
            path = f"{self._api}/dags/{quote(run.job, safe='')}/dagRuns/{quote(run.run_id, safe='')}"
            try:
                answer = self._http.get(path)
                found.append(run_report(_mapping(answer.body, path), answer.date, self._model.url, self._owners))
            except Unreadable as problem:
                letters.append(letter({"dag_id": run.job, "dag_run_id": run.run_id}, problem))
            except HttpError as error:
                if error.status != 404:
                    raise
                at = max(self._http.clock(), run.heard_at)
                found.append(RunReport(run.job, run.run_id, RunState.CANCELLED, at, error=RunError("Deleted", "the run was deleted")))
        return found

    # --- everything else ---
    def _catalog(self, now: datetime, known: Known) -> frozenset[str] | None:
        """Owners of the DAGs and which are paused, now and then; None when they were not asked for."""
        if self._catalog_at is not None and now - self._catalog_at < self._model.catalog_every:
            return None
        rows = [row for row, _ in self._by_offset(f"{self._api}/dags", "dags", {"limit": _PAGE, "order_by": "dag_id"})]
        dags = [row for row in rows if isinstance(row.get("dag_id"), str)]
        self._dags = [row["dag_id"] for row in dags]
        self._owners = {row["dag_id"]: owner for row in dags if (owner := _owner(row))}
        self._catalog_at = now
        return frozenset(row["dag_id"] for row in dags if row.get("is_paused"))

    def _extras(self) -> dict[tuple[Metric, tuple[str, ...]], float]:
        """Pools and import errors, as far as the user may see them."""
        gauges: dict[tuple[Metric, tuple[str, ...]], float] = {}
        pools = self._allowed(f"{self._api}/pools", {"limit": _MOST_POOLS})
        for pool in _list(pools, "pools", "pools") if pools else ():
            for state, key in _SLOTS.items():
                if isinstance(pool.get("name"), str) and isinstance(pool.get(key), int):
                    gauges[m.POOL_SLOTS, (pool["name"][:100], state.value)] = pool[key]
        errors = self._allowed(f"{self._api}/importErrors", {"limit": 1})
        if errors:
            gauges[m.IMPORT_ERRORS, ()] = _total(errors, 0)
        return gauges

    def _allowed(self, path: str, params: Mapping[str, Any]) -> Json | None:
        try:
            body = self._http.get(path, params).body
        except HttpError as error:
            if error.status in (403, 404):
                return None
            raise
        return body if isinstance(body, dict) else None


class _NoCursor(Exception):
    """The server pages by offset only."""


def _identity(row: Mapping[str, Any]) -> str:
    return f"{row.get('dag_id')}\x1f{row.get('dag_run_id', '')}"


def _owner(dag: Mapping[str, Any]) -> str:
    """The first owner that is a person; `airflow` is what stands there when nobody said."""
    owners = [str(owner) for owner in dag.get("owners") or () if owner and owner != "airflow"]
    return owners[0][:200] if owners else ""


def _stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _mapping(body: Any, where: str) -> Json:
    if not isinstance(body, dict):
        raise SourceError(f"{where}: the answer is no object; is this Airflow's API?")
    return body


def _list(body: Any, name: str, where: str) -> list[Json]:
    """The rows of an answer; an answer without them is no empty answer."""
    rows = _mapping(body, where).get(name)
    if not isinstance(rows, list):
        raise SourceError(f"{where}: the answer has no {name}; is this Airflow's API?")
    return [row for row in rows if isinstance(row, dict)]


def _total(body: Json, default: int) -> int:
    total = body.get("total_entries")
    return total if isinstance(total, int) else default
