"""Endpoints that are sent to: bodies are bounded before they are read, checked before they are stored, and stored before they are answered."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any, NoReturn

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from exporter.catalog.labels import SourceType
from exporter.collect import Collectors
from exporter.collect.receiving import Overloaded, Taken
from exporter.pipelines.http import storable
from exporter.store import StoreError

MOST_BYTES = 4 * 2**20
"""Of a body, both as sent and unpacked."""
_MOST_EVENTS = 1000
_DEEPEST = 100


class Refused(Exception):
    """A body cannot be taken: status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def receiving(collectors: Collectors) -> APIRouter:
    """`POST /api/v1/events`, `POST /api/v1/lineage` and `POST /api/v1/lineage/batch`."""
    router = APIRouter()

    @router.post("/api/v1/events")
    async def events(request: Request) -> Response:
        """One event, a list of events, or `{"events": […]}`; the JSON Schema is at `GET /api/v1/events/schema`."""
        return await _answered(collectors, SourceType.EVENTS, request)

    @router.post("/api/v1/lineage")
    async def lineage(request: Request) -> Response:
        """An OpenLineage event, or a list of them."""
        return await _answered(collectors, SourceType.OPENLINEAGE, request)

    @router.post("/api/v1/lineage/batch")
    async def batch(request: Request) -> Response:
        """A list of OpenLineage events: 204, or 200 with what could not be taken."""
        return await _answered(collectors, SourceType.OPENLINEAGE, request, is_batch=True)

    return router


async def _answered(collectors: Collectors, kind: SourceType, request: Request, is_batch: bool = False) -> Response:
    try:
        payloads = await _payloads(request)
        taken = await run_in_threadpool(collectors.receiver.take, kind, payloads)
    except Refused as refused:
        return JSONResponse({"error": refused.reason}, refused.status)
    except LookupError as missing:
        return JSONResponse({"error": str(missing)}, 404)
    except (Overloaded, StoreError) as busy:
        return JSONResponse({"error": str(busy)}, 503, {"Retry-After": "5"})
    return _batch_answer(payloads, taken) if is_batch else _answer(payloads, taken)


def _answer(payloads: Sequence[Any], taken: Taken) -> Response:
    body: dict[str, Any] = {"accepted": taken.accepted, "duplicates": taken.duplicates}
    if len(payloads) == 1 and taken.refused:
        return JSONResponse({"error": taken.refused[0]}, 422)
    if taken.refused:
        body["refused"] = [{"index": place, "error": reason} for place, reason in taken.refused.items()]
    return JSONResponse(body, 422 if payloads and len(taken.refused) == len(payloads) else 200)


def _batch_answer(payloads: Sequence[Any], taken: Taken) -> Response:
    """As the OpenLineage API answers a batch."""
    if not taken.refused:
        return Response(status_code=204)
    summary = {"received": len(payloads), "successful": len(payloads) - len(taken.refused), "failed": len(taken.refused), "retriable": 0}
    failed = [{"index": place, "reason": reason, "retriable": False} for place, reason in taken.refused.items()]
    return JSONResponse({"status": "partial_success", "summary": summary, "failed_events": failed})


# --- bodies ---------------------------------------------------------------------------------------------------
async def _payloads(request: Request) -> list[Any]:
    """The events of a body. Raises Refused."""
    raw = await _read(request)
    data = parse(raw)
    if isinstance(data, dict) and set(data) == {"events"}:
        data = data["events"]
    events = data if isinstance(data, list) else [data]
    if not events:
        raise Refused(422, "the list of events is empty")
    if len(events) > _MOST_EVENTS:
        raise Refused(413, f"{len(events):,} events at once are too many: send at most {_MOST_EVENTS:,}")
    return events


async def _read(request: Request) -> bytes:
    """The body, unpacked. Raises Refused; reads no more than it may."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", ""):
        _refuse(415, f"Content-Encoding {encoding[:20]} is not supported: send gzip or nothing")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > MOST_BYTES:
        _too_large()
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding == "gzip" else None
    parts: list[bytes] = []
    sent = size = 0
    async for part in request.stream():
        sent += len(part)
        if sent > MOST_BYTES:
            _too_large()
        if unpack is not None:
            part = _unpacked(unpack, part, MOST_BYTES + 1 - size)  # noqa: PLW2901 - the same part, unpacked
        size += len(part)
        if size > MOST_BYTES:
            _too_large()
        parts.append(part)
    if unpack is not None and not unpack.eof:
        _refuse(400, "the gzip body is cut off")
    return b"".join(parts)


def _unpacked(unpack: Any, part: bytes, most: int) -> bytes:
    try:
        data: bytes = unpack.decompress(part, most)
    except zlib.error:
        _refuse(400, "the body is not gzip, though Content-Encoding says so")
    if unpack.unconsumed_tail:
        _too_large()
    return data


def parse(raw: bytes) -> Any:
    """JSON of bounded depth, as text that every database can keep. Raises Refused."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        _refuse(400, "the body is not UTF-8 text")
    if not text.strip():
        _refuse(400, "the body is empty: send a JSON object")
    try:
        data = json.loads(text, parse_constant=lambda name: _refuse(400, f"{name} is not JSON"))
        if "\\u" in text:  # halves of surrogate pairs and NUL are JSON, but no text
            data = storable(data)
    except RecursionError:
        _refuse(400, _TOO_DEEP)
    except ValueError as error:
        _refuse(400, f"the body is not JSON: {error}")
    if _is_too_deep(data):
        _refuse(400, _TOO_DEEP)
    return data


_TOO_DEEP = f"the JSON is nested more than {_DEEPEST} levels deep"


def _is_too_deep(data: Any) -> bool:
    level = [data]
    for _ in range(_DEEPEST):
        level = [item for one in level if isinstance(one, dict | list) for item in (one.values() if isinstance(one, dict) else one)]
        if not level:
            return False
    return True


def _refuse(status: int, reason: str) -> NoReturn:
    raise Refused(status, reason)


def _too_large() -> NoReturn:
    _refuse(413, f"the body is larger than {MOST_BYTES // 2**20} MiB: send fewer events at once")
