"""The HTTP endpoints of the exporter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from exporter.catalog import runbooks
from exporter.catalog.labels import Outcome, SourceType
from exporter.checks.row_count_anomaly import RowCountAnomaly
from exporter.collect import Collectors
from exporter.learned.judged import Feedback
from exporter.model import Json
from exporter.pipelines.lineage import Kind, Node
from exporter.publish.encoding import accepts_gzip
from exporter.publish.prometheus import Publisher
from exporter.score import Score
from exporter.store import Remark
from exporter.web import pages
from exporter.web.band import bands
from exporter.web.pipelines import context_of, looking
from exporter.web.receive import receiving
from exporter.web.security import Guard
from exporter.web.status import to_json, view
from exporter.web.webconfig import WebConfig


@dataclass(frozen=True, slots=True)
class WebSettings:
    """How the exporter serves: `config` is the file of TLS and users; `token` protects endpoints that write."""

    listen_address: str = "127.0.0.1:9818"
    config: WebConfig | None = None
    token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, listen_address: str, config_file: Path | None = None, token: str | None = None) -> WebSettings:
        """The settings with the web.config.file read. Raises WebConfigError."""
        return cls(listen_address, WebConfig(config_file) if config_file else None, token)


class FeedbackModel(BaseModel):
    """The body of `POST /api/v1/feedback`."""

    model_config = ConfigDict(extra="forbid")

    table: str
    check: str
    date: str
    says: Feedback
    note: str = Field(default="", max_length=1000)


class ReloadOutcome(Protocol):
    """What came of reading the configuration again."""

    @property
    def ok(self) -> bool:
        """True when the new configuration is in use."""

    @property
    def problems(self) -> Sequence[object]:
        """Why it is not, one per problem."""


class Runs(Protocol):
    """What the table page asks the store for."""

    def sparkline(self, table: str, limit: int = 60) -> dict[str, list[tuple[datetime, Outcome, float | None]]]:
        """The last runs of each check of a table, oldest first."""

    def scores(self, table: str, since: datetime) -> list[tuple[datetime, Score]]:
        """How the score of a table went, oldest first."""

    def memories(self, table: str) -> dict[str, Json]:
        """What the learned checks of a table keep."""

    def remark(self, said: Remark) -> None:
        """Keeps what a person said of a bucket."""


def create_app(
    publisher: Publisher,
    store: Runs | None,
    *,
    on_reload: Callable[[], ReloadOutcome],
    ready: Callable[[], bool],
    web: WebSettings,
    clock: Callable[[], datetime],
    collectors: Collectors | None = None,
) -> FastAPI:
    """The application; without a store, table pages have no history, without collectors there are no pipelines. `clock` gives the aware present."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(Guard, config=web.config, token=web.token, policy=pages.POLICY, token_of=_token_of(collectors))
    if collectors is not None:
        app.include_router(receiving(collectors))
        app.include_router(looking(publisher, collectors, clock))

    @app.api_route("/metrics", methods=["GET", "HEAD"])
    def metrics(request: Request) -> Response:
        gzip = accepts_gzip(request.headers.get("accept-encoding", ""))
        body, content_type, encoding = publisher.render(request.headers.get("accept", ""), gzip)
        headers = {"Vary": "Accept, Accept-Encoding", "Content-Type": content_type}
        if encoding:
            headers["Content-Encoding"] = encoding
        return Response(body, headers=headers)

    @app.api_route("/-/healthy", methods=["GET", "HEAD"])
    def healthy() -> Response:
        return PlainTextResponse("dq-exporter is healthy\n")

    @app.api_route("/-/ready", methods=["GET", "HEAD"])
    def is_ready() -> Response:
        if ready():
            return PlainTextResponse("dq-exporter is ready\n")
        return PlainTextResponse("dq-exporter is not ready yet\n", 503)

    @app.api_route("/-/reload", methods=["POST", "PUT"])
    def reload() -> Response:
        outcome = on_reload()
        if outcome.ok:
            return PlainTextResponse("the new configuration is in use\n")
        problems = "".join(f"{problem}\n" for problem in outcome.problems)
        return PlainTextResponse(f"the new configuration is not used, the old one stays in use:\n{problems}", 500)

    @app.api_route("/api/v1/status", methods=["GET", "HEAD"])
    def status() -> dict[str, Any]:
        """The JSON of the status page; its shape is that of `exporter.web.status.to_json`."""
        return to_json(view(publisher.state(), clock()))

    @app.api_route("/", methods=["GET", "HEAD"])
    def home() -> Response:
        return HTMLResponse(pages.home(view(publisher.state(), clock())))

    @app.api_route("/runbooks", methods=["GET", "HEAD"])
    def runbook_page() -> Response:
        """What to do about each alert; the alerts link to it."""
        return HTMLResponse(runbooks.page())

    @app.api_route("/tables/{name:path}", methods=["GET", "HEAD"])
    def table(name: str) -> Response:
        found = next((table for table in view(publisher.state(), clock()).tables if table.name == name), None)
        if found is None:
            return HTMLResponse(pages.missing(name), 404)
        now = clock()
        known = {check.id for check in found.table.spec.checks}
        learned = {check: memory for check, memory in store.memories(name).items() if check in known} if store else {}
        scores = store.scores(name, now - pages.SCORE_SPAN) if store else []
        because = context_of(publisher, collectors).because(Node(Kind.TABLE, name)) if collectors else None
        return HTMLResponse(pages.table(found, store.sparkline(name) if store else {}, bands(learned), scores, because, now))

    @app.post("/api/v1/feedback")
    def feedback(said: FeedbackModel) -> Response:
        """What a person says of a bucket of a learned check: `{table, check, date, says: expected or bad, note}`."""
        return _take(said, publisher, store, clock())

    return app


def _token_of(collectors: Collectors | None) -> Callable[[str], str | None]:
    """The tokens of the endpoints that sources are sent to."""
    kinds = {"/api/v1/events": SourceType.EVENTS, "/api/v1/lineage": SourceType.OPENLINEAGE, "/api/v1/lineage/batch": SourceType.OPENLINEAGE}

    def token(path: str) -> str | None:
        source = collectors.receiver.source(kinds[path]) if collectors and path in kinds else None
        return source.secrets.get("token") if source else None

    return token


def _take(said: FeedbackModel, publisher: Publisher, store: Runs | None, now: datetime) -> Response:
    """Keeps feedback, or says why it cannot be."""
    specs = {status.spec.name: status.spec for status in publisher.state()}
    check = next((one.check for one in specs[said.table].checks if one.id == said.check), None) if said.table in specs else None
    if store is None or not isinstance(check, RowCountAnomaly):
        return PlainTextResponse(f"{said.table} has no row_count_anomaly check {said.check}\n", 404)
    try:
        bucket = check.bucket(said.date)
    except ValueError as error:
        return PlainTextResponse(f"{error}\n", 422)
    store.remark(Remark(said.table, said.check, bucket, said.says.value, said.note, now))
    return PlainTextResponse(f"{said.table} {said.check} {bucket}: {said.says.value}; used from the next run on\n")
