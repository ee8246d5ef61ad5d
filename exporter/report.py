"""What `check` and `explain` print: a table for people, JSON and JUnit for machines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree

from rich.table import Column, Table
from rich.text import Text

from exporter.catalog.labels import Engine, Outcome
from exporter.engine.evaluate import Explained
from exporter.model import CheckResult, Evaluation, Json, Measurement
from exporter.score import Score

COLOURS = {
    Outcome.PASS: "green", Outcome.WARN: "yellow", Outcome.FAIL: "bold red", Outcome.ERROR: "magenta",
    Outcome.SKIPPED: "dim", Outcome.LEARNING: "cyan",
}  # fmt: skip
_WORST_FIRST = (Outcome.FAIL, Outcome.ERROR, Outcome.WARN, Outcome.LEARNING, Outcome.SKIPPED, Outcome.PASS)


def check_json(evaluations: Sequence[Evaluation], scores: Mapping[str, Score], started_at: datetime, seconds: float) -> Json:
    """The object that `check --format json` prints; `scores` by table, as they are published."""
    return {
        "version": 1,
        "started_at": started_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "duration_seconds": round(seconds, 3),
        "tables": [_table_json(evaluation, scores[evaluation.table.name]) for evaluation in evaluations],
    }


def _table_json(evaluation: Evaluation, total: Score) -> Json:
    return {
        "table": evaluation.table.name,
        "engine": evaluation.engine.value if evaluation.engine else None,
        "table_version": evaluation.facts.version,
        "score_ratio": total.ratio,
        "score_coverage_ratio": total.coverage,
        "checks": [_result_json(result) for result in evaluation.results],
    }


def _result_json(result: CheckResult) -> Json:
    verdict, check = result.verdict, result.spec.check
    value = verdict.value if verdict.value is None or math.isfinite(verdict.value) else None
    return {
        "check": result.spec.id, "type": check.type, "dimension": check.dimension.value, "severity": result.spec.severity.value,
        "columns": list(check.columns), "outcome": verdict.outcome.value, "reason": verdict.reason.value if verdict.reason else None,
        "value": value, "unit": verdict.unit, "threshold": verdict.threshold, "evaluated_rows": verdict.evaluated_rows,
        "failed_rows": verdict.failed_rows, "tier": result.tier.value if result.tier else None, "message": verdict.message,
    }  # fmt: skip


def check_table(evaluations: Sequence[Evaluation]) -> Table:
    """The verdicts, worst first within each table."""
    shown = Table("table", "check", "outcome", Column("value", justify="right"), "limit", "engine", "what was seen", box=None, header_style="bold", pad_edge=False)
    for evaluation in evaluations:
        for result in sorted(evaluation.results, key=lambda result: _WORST_FIRST.index(result.verdict.outcome)):
            verdict = result.verdict
            outcome = verdict.outcome.value + (f" ({verdict.reason})" if verdict.reason else "")
            shown.add_row(
                Text(evaluation.table.name), Text(result.spec.id), Text(outcome, style=COLOURS[verdict.outcome]),
                Text("" if verdict.value is None else f"{verdict.value:,.6g}", justify="right"), Text(verdict.threshold or ""),
                evaluation.engine.value if evaluation.engine else "metadata", Text(verdict.message),
            )  # fmt: skip
    return shown


def check_junit(evaluations: Sequence[Evaluation], seconds: float) -> str:
    """JUnit XML: a suite per table; fail is a failure, error an error, learning and skipped are skipped."""
    root = ElementTree.Element("testsuites", name="dq-exporter", time=f"{seconds:.3f}")
    for evaluation in evaluations:
        outcomes = [result.verdict.outcome for result in evaluation.results]
        counts = {"failures": outcomes.count(Outcome.FAIL), "errors": outcomes.count(Outcome.ERROR)}
        counts["skipped"] = outcomes.count(Outcome.SKIPPED) + outcomes.count(Outcome.LEARNING)
        suite = ElementTree.SubElement(
            root, "testsuite",
            {"name": _xml(evaluation.table.name), "tests": str(len(outcomes)), "time": f"{evaluation.duration:.3f}"} | {name: str(count) for name, count in counts.items()},
        )  # fmt: skip
        for result in evaluation.results:
            case = ElementTree.SubElement(suite, "testcase", classname=_xml(evaluation.table.name), name=_xml(result.spec.id))
            tag = {Outcome.FAIL: "failure", Outcome.ERROR: "error", Outcome.SKIPPED: "skipped", Outcome.LEARNING: "skipped"}.get(result.verdict.outcome)
            if tag:
                ElementTree.SubElement(case, tag, message=_xml(result.verdict.message), type=result.verdict.reason or result.spec.check.type)
            elif result.verdict.outcome is Outcome.WARN:
                ElementTree.SubElement(case, "system-out").text = _xml(f"warning: {result.verdict.message}")
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _xml(text: str) -> str:
    """`text` without the characters that XML cannot hold."""
    return "".join(char if char in "\t\n" or (ord(char) >= 32 and not 0xD800 <= ord(char) <= 0xDFFF and ord(char) not in (0xFFFE, 0xFFFF)) else "�" for char in text)


# --- explain ----------------------------------------------------------------------------------------------------
def explain_json(explained: Sequence[Explained]) -> Json:
    """Per check and measurement: tier, engine, what is read, and why nothing cheaper is exact."""
    return {"version": 1, "tables": [_explained_json(one) for one in explained]}


def _explained_json(one: Explained) -> Json:
    facts = one.snapshot.facts if one.snapshot else None
    return {
        "table": one.table.name,
        "table_version": facts.version if facts else None,
        "files": facts.files if facts else None,
        "bytes": facts.bytes if facts else None,
        "error": {"reason": one.failure.reason.value, "message": one.failure.message} if one.failure else None,
        "checks": [
            {"check": check, "measurements": [_measurement_json(one, name, wanted) for name, wanted in measurements.items()]}
            for check, measurements in one.wanted.items()
        ],
    }


def _measurement_json(one: Explained, name: str, wanted: Measurement) -> Json:
    plan, own = one.plans.get(wanted.of), replace(wanted, of=None)
    tier, engine = (plan.tier(own), plan.engine(own)) if plan else (None, None)
    failure = plan.failures.get(own) if plan else None
    facts = one.snapshot.facts if one.snapshot and engine else None
    return {
        "measurement": name, "kind": wanted.kind.value, "columns": list(wanted.columns), "of": wanted.of,
        "tier": tier.value if tier else None, "engine": engine.value if engine else None,
        "files": facts.files if facts else 0, "bytes": facts.bytes if facts else 0,
        "why": list(plan.why_not.get(own, ())) if plan else [],
        "error": {"reason": failure.reason.value, "message": failure.message} if failure else None,
    }  # fmt: skip


def explain_text(explained: Sequence[Explained]) -> str:
    """The same for people."""
    lines: list[str] = []
    for table in explain_json(explained)["tables"]:
        size = "" if table["files"] is None else f": {table['files']:,} files, {table['bytes'] or 0:,} bytes"
        version = "" if table["table_version"] is None else f" at version {table['table_version']}"
        lines.append(f"{table['table']}{version}{size}")
        if table["error"]:
            lines.append(f"  cannot be opened ({table['error']['reason']}): {table['error']['message']}")
            continue
        for check in table["checks"]:
            lines.append(f"  {check['check']}")
            for one in check["measurements"]:
                lines.append(f"    {_explained_line(one)}")
                lines += [f"      because {reason}" for reason in one["why"]]
    return "\n".join(lines)


def _explained_line(one: Json) -> str:
    what = one["kind"].replace("_", " ") + (f" of {', '.join(one['columns'])}" if one["columns"] else "") + (f" in {one['of']}" if one["of"] else "")
    if one["error"]:
        return f"{what}: cannot be measured ({one['error']['reason']}): {one['error']['message']}"
    where = f"{one['tier']}, {one['engine']}" if one["engine"] else one["tier"]
    cost = f", reads {one['files']} files, {one['bytes'] or 0:,} bytes" if one["engine"] and one["files"] else ""
    return f"{what}: {where}{cost}"


ENGINES = {"auto": None, "native": Engine.NATIVE, "spark": Engine.SPARK}
