"""What an on-call engineer needs to know of a table or a pipeline, in one sentence and as JSON: cause above, impact below, whom to ask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from exporter.collect import Collectors
from exporter.model import TableSpec
from exporter.pipelines.health import Health
from exporter.pipelines.lineage import Kind, Node
from exporter.pipelines.run import PipelineRun, RunState
from exporter.pipelines.spec import PipelineSpec

_MOST_NEIGHBOURS = 500
_LONGEST = 160


@dataclass(frozen=True)
class Context:
    """What is known around tables and pipelines at one moment."""

    tables: Mapping[str, TableSpec]
    collectors: Collectors

    # --- causes ---
    def cause_of(self, node: Node) -> Health | None:
        """The pipeline that holds it up: the highest failed or late one above; None when there is none."""
        keeper = self.collectors.keeper
        cause = keeper.causes.get(node)
        return keeper.health.get(cause.name) if cause else None

    def because(self, node: Node) -> str | None:
        """Why its data may be missing, in one sentence; None when nothing above it failed."""
        cause = self.cause_of(node)
        return trouble(cause, self._way(cause, node)) if cause else None

    def _way(self, cause: Health, node: Node) -> list[str]:
        """The watched pipelines between a cause and what it holds up."""
        lineage = self.collectors.keeper.lineage
        below = lineage.downstream(Node(Kind.PIPELINE, cause.spec.name))
        between = [other for other in lineage.upstream(node) if other in below and other.kind is Kind.PIPELINE and other.name != cause.spec.name]
        return [other.name for other in sorted(between, key=lambda other: below[other])]

    # --- JSON ---
    def table(self, name: str) -> dict[str, Any] | None:
        """`{table, owner, team, severity, runbook, because, cause, last_failed_run, written_by, upstream, downstream}`; None when it is not configured."""
        spec = self.tables.get(name)
        if spec is None:
            return None
        node = Node(Kind.TABLE, name)
        cause = self.cause_of(node)
        writers = [self.collectors.keeper.health[other.name] for other, steps in self._above(node).items() if other.kind is Kind.PIPELINE and steps == 1 and other.name in self.collectors.keeper.health]
        failures = [one.last_failure for one in writers if one.last_failure]
        return {
            "table": name, "owner": spec.owner, "team": spec.team, "severity": spec.severity.value, "runbook": spec.runbook,
            "suggested_action": cause.spec.suggested_action if cause else "",
            "because": self.because(node), "cause": _cause_json(cause),
            "last_failed_run": _run_json(max(failures, key=lambda run: run.ended_at or run.at)) if failures else None,
            "written_by": [_pipeline_json(one) for one in writers],
            **self._around(node),
        }  # fmt: skip

    def pipeline(self, name: str) -> dict[str, Any] | None:
        """`{pipeline, source, owner, …, state, last_run, last_failed_run, because, cause, upstream, downstream}`; None when it is not watched."""
        health = self.collectors.keeper.health.get(name)
        spec = health.spec if health else self.collectors.watched.named(name)
        if spec is None:
            return None
        health = health or Health(spec)
        node = Node(Kind.PIPELINE, name)
        cause = self.cause_of(node)
        return {
            "pipeline": name, "source": spec.source, "id": spec.job, "owner": owner_of(health), "team": spec.team, "severity": spec.severity.value,
            "runbook": spec.runbook, "suggested_action": spec.suggested_action, "ci": spec.ci,
            "state": health.state.value if health.state else None,
            "last_run": _run_json(health.newest), "last_success": _run_json(health.last_success), "last_failed_run": _run_json(health.last_failure),
            "because": self.because(node), "cause": _cause_json(cause),
            "sla": {"deadline": _time(health.deadline.at), "breached": health.deadline.is_breached, "at_risk": health.deadline.is_at_risk} if health.deadline else None,
            **self._around(node),
        }  # fmt: skip

    def _above(self, node: Node) -> Mapping[Node, int]:
        return self.collectors.keeper.lineage.upstream(node)

    def _around(self, node: Node) -> dict[str, Any]:
        below = self.collectors.keeper.lineage.downstream(node)
        return {"upstream": self._neighbours(self._above(node)), "downstream": self._neighbours(below)}

    def _neighbours(self, nodes: Mapping[Node, int]) -> list[dict[str, Any]]:
        return [{"kind": node.kind.value, "name": node.name, "owner": self.owner(node), "steps": steps} for node, steps in list(nodes.items())[:_MOST_NEIGHBOURS]]

    def owner(self, node: Node) -> str:
        """Whom to ask."""
        if node.kind is Kind.TABLE and node.name in self.tables:
            return self.tables[node.name].owner
        if node.kind is Kind.PIPELINE:
            health = self.collectors.keeper.health.get(node.name)
            return owner_of(health) if health else ""
        return next((asset.owner for asset in self.collectors.watched.watching.assets if node == Node(Kind.ASSET, asset.name)), "")


def owner_of(health: Health) -> str:
    """The configured owner, else the one that the source names."""
    return health.spec.owner or (health.newest.owner if health.newest else "")


def trouble(health: Health, way: Iterable[str] = ()) -> str:
    """What is wrong with a pipeline: `sales_daily failed at 06:12 UTC: OutOfMemory: …; suggested action: …`."""
    spec, run = health.spec, health.newest
    if health.state is RunState.FAILED and run is not None:
        text = f"{spec.name} failed at {_clock(run.ended_at or run.at)}"
        if run.error:
            text += f": {run.error.error_class}" + (f": {_first_line(run.error.message)}" if run.error.message else "")
    elif health.deadline is not None:
        text = f"{spec.name} missed its deadline at {_clock(health.deadline.at)}"
    else:
        text = f"{spec.name} failed"
    names = list(way)
    if names:
        text += f" (by way of {', '.join(names[:3])}{' and more' if len(names) > 3 else ''})"
    return text + (f"; suggested action: {spec.suggested_action}" if spec.suggested_action else "")


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0].rstrip(" .")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%H:%M} UTC on {moment.astimezone(UTC):%Y-%m-%d}"


def _time(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


def _run_json(run: PipelineRun | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "run_id": run.run_id, "attempt": run.ordinal, "state": run.state.value, "queued_at": _time(run.queued_at), "started_at": _time(run.started_at),
        "ended_at": _time(run.ended_at), "duration_seconds": run.duration.total_seconds() if run.duration is not None else None, "retries": run.retries,
        "failed_tasks": run.failed_tasks, "error_class": run.error.error_class if run.error else None,
        "error_message": run.error.message if run.error else None, "url": run.url or None,
    }  # fmt: skip


def _cause_json(cause: Health | None) -> dict[str, Any] | None:
    if cause is None:
        return None
    spec: PipelineSpec = cause.spec
    failed = cause.newest if cause.state is RunState.FAILED else None
    return {
        "pipeline": spec.name, "owner": owner_of(cause), "runbook": spec.runbook, "suggested_action": spec.suggested_action,
        "run": _run_json(failed), "summary": trouble(cause),
    }  # fmt: skip


def _pipeline_json(health: Health) -> dict[str, Any]:
    return {"pipeline": health.spec.name, "state": health.state.value if health.state else None, "last_success_at": _time(health.last_success.ended_at if health.last_success else None)}
