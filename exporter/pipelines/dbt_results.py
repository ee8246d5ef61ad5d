"""What run_results.json (v6) and sources.json (v3) of dbt say: the verdict of a run, its tests, and the freshness of sources; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from exporter.catalog.labels import Dimension, Outcome, Severity
from exporter.model import Json
from exporter.pipelines.base import TestResult, Unreadable, class_in, parse_time, run_error
from exporter.pipelines.dbt_manifest import Manifest, Node
from exporter.pipelines.run import RunError, RunReport, RunState
from exporter.redaction import redact
from exporter.units import format_duration

COMMANDS = frozenset({"build", "run", "test", "seed", "snapshot"})
"""Commands that are runs. Others write the same file: `docs generate` and `compile` say success of everything, tests too."""
_GOOD = frozenset({"success", "pass", "warn", "no-op", "reused"})
_BAD = frozenset({"error", "fail", "runtime error", "partial success"})
_OUTCOMES = {
    "pass": Outcome.PASS, "warn": Outcome.WARN, "fail": Outcome.FAIL, "error": Outcome.ERROR, "runtime error": Outcome.ERROR, "skipped": Outcome.SKIPPED,
}  # fmt: skip
_FRESHNESS = {"pass": Outcome.PASS, "warn": Outcome.WARN, "error": Outcome.FAIL}
_ERROR = re.compile(r"^\s*(\w+) Error\b")
_LONGEST = 2000
_NAMED = 5

Refuse = Callable[[Any, Exception], None]


def report_of(document: Json, job: str, manifest: Manifest | None) -> RunReport | None:
    """The run that a run_results.json tells of; None for a command that is not a run. Raises Unreadable."""
    metadata, results, args = document.get("metadata"), document.get("results"), document.get("args")
    if not isinstance(metadata, dict) or not isinstance(results, list) or not isinstance(args, dict):
        raise Unreadable("run_results needs metadata, args and results")
    if args.get("which") not in COMMANDS:
        return None
    run_id, at = metadata.get("invocation_id"), parse_time(metadata.get("generated_at"))
    if not isinstance(run_id, str) or not run_id or at is None:
        raise Unreadable("run_results needs invocation_id and generated_at")
    if not job:
        raise Unreadable("the project is not known: there is no manifest, and no job is configured")
    started = parse_time(metadata.get("invocation_started_at"))
    elapsed = document.get("elapsed_time")
    if started is None and isinstance(elapsed, int | float) and 0 <= elapsed < 10**7:
        started = at - timedelta(seconds=elapsed)
    failed = [result for result in results if _is_bad(result)]
    error = _error(failed) if failed else _interruption(run_id, args, results, manifest)
    broken = sum(not (isinstance(result, dict) and result.get("status") == "skipped") for result in failed)
    return RunReport(job, run_id, RunState.FAILED if error else RunState.SUCCESS, at, started_at=started, ended_at=at, failed_tasks=broken, error=error)


def tests_of(document: Json, manifest: Manifest | None, job: str, refuse: Refuse) -> Iterator[TestResult]:
    """The tests of a run; a result that cannot be read is refused and the rest goes on."""
    at = parse_time(document["metadata"].get("generated_at"))
    assert at is not None
    taken: set[tuple[str, str]] = set()
    for result in document["results"]:
        if not isinstance(result, dict) or not isinstance(result.get("unique_id"), str) or not isinstance(result.get("status"), str):
            refuse(result, Unreadable("a result needs unique_id and status"))
            continue
        if result["unique_id"].startswith("test."):
            try:
                test = _test(result, manifest, job, at)
            except Unreadable as error:
                refuse(result, error)
                continue
            if (test.dataset, test.name) in taken:  # two packages may have a test of one name
                test = _test(result, manifest, job, at, result["unique_id"])
            taken.add((test.dataset, test.name))
            yield test


def freshness_of(document: Json, manifest: Manifest | None, refuse: Refuse) -> Iterator[TestResult]:
    """The freshness of each source in sources.json, and of those that should be in it. Raises Unreadable."""
    metadata, results = document.get("metadata"), document.get("results")
    at = parse_time(metadata.get("generated_at")) if isinstance(metadata, dict) else None
    if at is None or not isinstance(results, list):
        raise Unreadable("sources needs metadata with generated_at, and results")
    told = set()
    for result in results:
        try:
            if not isinstance(result, dict) or not isinstance(result.get("unique_id"), str):
                raise Unreadable("a result needs unique_id")
            told.add(result["unique_id"])
            yield _freshness(result, manifest, at)
        except Unreadable as error:
            refuse(result, error)
    for node in manifest.nodes.values() if manifest else ():
        if node.kind == "source" and node.has_freshness and node.unique_id not in told:
            message = "dbt has no result for it: its query failed (is the table there?), or it was not selected"
            yield _source_test(_source_name(node.unique_id, manifest), Outcome.ERROR, at, message)


def _is_bad(result: Any) -> bool:
    """As dbt decides about its exit code: all that was not done or not good, but for exposures, of which nothing is done."""
    if not isinstance(result, dict):
        return True
    status = str(result.get("status") or "").lower()
    if status == "skipped":
        return not str(result.get("unique_id")).startswith("exposure.")
    return status not in _GOOD


def _error(failed: list[Any]) -> RunError:
    """Why a run failed: errors before failed tests before what was only left out because of them."""
    rank = {"error": 0, "runtime error": 0, "partial success": 1, "fail": 2, "skipped": 4}
    rows = sorted((row for row in failed if isinstance(row, dict)), key=lambda row: rank.get(str(row.get("status")).lower(), 3))
    if not rows:
        return run_error("UnknownStatus", "a result cannot be read")
    lines = [f"{row.get('unique_id')} {row.get('status')}: {str(row.get('message') or '').strip()}".rstrip(": ") for row in rows if row.get("status") != "skipped"]
    skipped = sum(row.get("status") == "skipped" for row in rows)
    first, message = rows[0], str(rows[0].get("message") or "")
    match str(first.get("status")).lower():
        case "fail":
            name = "TestFailure"
        case "skipped":
            name = "Skipped"
        case "error" | "runtime error" | "partial success":
            found = _ERROR.match(message)
            name = class_in(message) or (f"{found[1]}Error" if found else "DbtError")
        case _:
            name = "UnknownStatus"
    more = [f"and {len(lines) - _NAMED} more"] if len(lines) > _NAMED else []
    return run_error(name, "\n".join([*(line[:400] for line in lines[:_NAMED]), *more, *([f"{skipped} skipped"] if skipped else [])]))


def _interruption(run_id: str, args: Json, results: list[Any], manifest: Manifest | None) -> RunError | None:
    """An interrupted run leaves out what it did not come to and calls nothing failed: seen where everything was to be run and nothing failed.

    The manifest must be that of the run. `dbt retry` calls itself by the command that it repeats, and selects nothing.
    """
    words = str(args.get("invocation_command") or "").split()
    chosen = any(args.get(name) for name in ("select", "exclude", "models", "selector", "selector_name", "resource_types", "exclude_resource_types", "state"))
    if manifest is None or manifest.invocation_id != run_id or manifest.has_default_selector or chosen or args["which"] not in words or "retry" in words:
        return None
    missing = manifest.whole(args["which"]) - {str(result.get("unique_id")) for result in results}
    if not missing:
        return None
    names = sorted(missing)
    shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return run_error("Interrupted", f"the run was interrupted before it came to {shown}")


def _test(result: Json, manifest: Manifest | None, job: str, at: datetime, name: str = "") -> TestResult:
    unique_id = result["unique_id"]
    node = (manifest.nodes.get(unique_id) if manifest else None) or Node(unique_id, "test", unique_id.split(".")[2] if unique_id.count(".") > 1 else unique_id)
    failures = result.get("failures")
    timing = result.get("timing")
    times = [parse_time(one.get("completed_at")) for one in timing if isinstance(one, dict)] if isinstance(timing, list) else []
    return TestResult(
        (manifest.dataset(node) if manifest else "") or job, name or node.name, "dbt_test", _OUTCOMES.get(result["status"].lower(), Outcome.ERROR),
        max((one for one in times if one is not None), default=at), column=node.column, dimension=node.dimension, severity=node.severity,
        failed_rows=failures if isinstance(failures, int) and not isinstance(failures, bool) else None, message=redact(str(result.get("message") or ""))[:_LONGEST],
    )  # fmt: skip


def _freshness(result: Json, manifest: Manifest | None, at: datetime) -> TestResult:
    newest, taken = parse_time(result.get("max_loaded_at")), parse_time(result.get("snapshotted_at")) or at
    outcome = _FRESHNESS.get(str(result.get("status") or "").lower(), Outcome.ERROR)
    message = str(result.get("error") or result.get("message") or "")
    if newest and outcome in (Outcome.WARN, Outcome.FAIL):
        criteria = result.get("criteria")
        limit = criteria.get("warn_after" if outcome is Outcome.WARN else "error_after") if isinstance(criteria, dict) else None
        allowed = f"; allowed: {limit['count']} {limit.get('period')}" if isinstance(limit, dict) and limit.get("count") else ""
        message = f"the newest row is {format_duration(taken - newest)} old{allowed}"
    return _source_test(_source_name(result["unique_id"], manifest), outcome, taken, message, newest)


def _source_name(unique_id: str, manifest: Manifest | None) -> str:
    node = manifest.nodes.get(unique_id) if manifest else None
    return (node.relation if node else "") or ".".join(unique_id.split(".")[2:]) or unique_id


def _source_test(dataset: str, outcome: Outcome, at: datetime, message: str, newest: datetime | None = None) -> TestResult:
    return TestResult(
        dataset, "source_freshness", "dbt_source_freshness", outcome, at, dimension=Dimension.TIMELINESS, severity=Severity.HIGH,
        message=redact(message)[:_LONGEST], newest_at=newest,
    )  # fmt: skip
