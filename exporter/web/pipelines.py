"""Pages and JSON of pipelines, of lineage, and the context of a table or pipeline."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from exporter.collect import Collectors
from exporter.pipelines.events import EventModel
from exporter.pipelines.lineage import Kind, Node
from exporter.publish.prometheus import Publisher
from exporter.web import pages
from exporter.web.context import Context
from exporter.web.picture import lineage_picture
from exporter.web.pipeline_view import pipeline_page, pipeline_rows
from exporter.web.status import view

_RUNS_SHOWN = 60


def context_of(publisher: Publisher, collectors: Collectors) -> Context:
    """What is known around tables and pipelines now."""
    return Context({status.spec.name: status.spec for status in publisher.state()}, collectors)


def looking(publisher: Publisher, collectors: Collectors, clock: Callable[[], datetime]) -> APIRouter:
    """`GET /pipelines`, `/pipelines/{name}`, `/lineage`, `/api/v1/context`, and `POST /api/v1/sources/{name}/reset`."""
    router = APIRouter()

    @router.api_route("/pipelines", methods=["GET", "HEAD"])
    def pipelines() -> Response:
        now = clock()
        rows = pipeline_rows(collectors, context_of(publisher, collectors), now)
        return HTMLResponse(pages.render("pipelines.html", now, rows=rows, loops=collectors.loops))

    @router.api_route("/pipelines/{name:path}", methods=["GET", "HEAD"])
    def pipeline(name: str) -> Response:
        spec = collectors.watched.named(name)
        if spec is None:
            return HTMLResponse(pages.render("missing.html", None, name=name, kind="pipeline"), 404)
        now = clock()
        runs = collectors.ledger.newest(spec.source, spec.job, _RUNS_SHOWN)
        shown = pipeline_page(spec, runs, collectors, context_of(publisher, collectors), now)
        return HTMLResponse(pages.render("pipeline.html", now, pipeline=shown))

    @router.api_route("/lineage", methods=["GET", "HEAD"])
    def lineage(table: str | None = None, pipeline: str | None = None) -> Response:
        focus = Node(Kind.TABLE, table) if table else Node(Kind.PIPELINE, pipeline) if pipeline else None
        now = clock()
        standings = {one.name: one.standing.value for one in view(publisher.state(), now).tables}
        picture = lineage_picture(collectors, standings, focus)
        return HTMLResponse(pages.render("lineage.html", now, picture=picture, focus=focus))

    @router.api_route("/api/v1/context", methods=["GET", "HEAD"])
    def context(table: str | None = None, pipeline: str | None = None) -> Response:
        """Owner, runbook, last failed run, cause, upstream and downstream of a table or a pipeline."""
        if (table is None) == (pipeline is None):
            return JSONResponse({"error": "give either ?table=NAME or ?pipeline=NAME"}, 400)
        known = context_of(publisher, collectors)
        found = known.table(table) if table is not None else known.pipeline(pipeline or "")
        if found is None:
            kind, name = ("table", table) if table is not None else ("pipeline", pipeline)
            return JSONResponse({"error": f"no {kind} {name} is configured"}, 404)
        return JSONResponse(found)

    @router.api_route("/api/v1/events/schema", methods=["GET", "HEAD"])
    def schema() -> dict[str, Any]:
        """JSON Schema of an event of `POST /api/v1/events`."""
        return EventModel.model_json_schema()

    @router.post("/api/v1/sources/{name}/reset")
    def reset(name: str, request: Request) -> Response:
        """Closes the circuit breaker of a source and asks it at once."""
        if collectors.reset(name):
            return JSONResponse({"source": name, "asked": True})
        names = ", ".join(collectors.loops) or "none"
        return JSONResponse({"error": f"no source {name} is asked; there are: {names}"}, 404)

    return router
