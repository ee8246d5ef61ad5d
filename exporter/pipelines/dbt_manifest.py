"""What the manifest of a dbt project (v12) says: its nodes, what they read and write, and what a whole run consists of; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from exporter.catalog.labels import Dimension, Severity
from exporter.model import Json
from exporter.pipelines.base import Flow, Unreadable

_QUOTED = re.compile(r'"((?:[^"]|"")*)"|`((?:[^`]|``)*)`|\[([^\]]*)\]|([^."`\[\]]+)')
_WRITERS = frozenset({"model", "seed", "snapshot"})
_WHOLE = {"build": frozenset({"model", "seed", "snapshot", "test"}), "run": frozenset({"model"}), "test": frozenset({"test"}), "seed": frozenset({"seed"}), "snapshot": frozenset({"snapshot"})}
"""Kinds of nodes that a command works on when nothing is selected."""
_DIMENSIONS = (
    (re.compile(r"unique|primary_key|duplicate"), Dimension.UNIQUENESS),
    (re.compile(r"not_null|null|not_empty|at_least_one|missing"), Dimension.COMPLETENESS),
    (re.compile(r"relationship|equal|cardinality|fewer_rows|mutually_exclusive|foreign_key"), Dimension.CONSISTENCY),
    (re.compile(r"recen|fresh|elapsed"), Dimension.TIMELINESS),
)
"""By the name of a generic test; what none of these fits judges values."""


@dataclass(frozen=True, slots=True)
class Node:
    """A model, seed, snapshot, source, test or exposure."""

    unique_id: str
    kind: str
    name: str
    relation: str = ""
    reads: tuple[str, ...] = ()
    attached_to: str = ""
    column: str = ""
    dimension: Dimension = Dimension.VALIDITY
    severity: Severity = Severity.HIGH
    is_ephemeral: bool = False
    has_freshness: bool = False


@dataclass(frozen=True)
class Manifest:
    """A project: its nodes, sources and exposures by unique id."""

    project: str
    invocation_id: str
    nodes: Mapping[str, Node] = field(default_factory=dict)
    has_default_selector: bool = False

    def flows(self, job: str) -> tuple[Flow, ...]:
        """What each node reads and writes; an exposure is an output named by its type and name."""
        found = []
        for node in self.nodes.values():
            if node.relation and node.kind in _WRITERS | {"exposure"}:
                found.append(Flow(job, tuple(dict.fromkeys(self._inputs(node))), (node.relation,)))
        return tuple(found)

    def dataset(self, test: Node) -> str:
        """The data set that a test is about: what it is attached to, else the first that it reads."""
        attached = self.nodes.get(test.attached_to)
        if attached and attached.relation:
            return attached.relation
        return next(iter(self._inputs(attached or test)), "")

    def whole(self, command: str) -> frozenset[str]:
        """The unique ids of which a run without selection has a result."""
        return frozenset(node.unique_id for node in self.nodes.values() if node.kind in _WHOLE.get(command, ()) and not node.is_ephemeral)

    def _inputs(self, node: Node) -> Iterator[str]:
        """Data sets that a node reads; through models that are not stored."""
        waiting, seen = list(reversed(node.reads)), set(node.reads)
        while waiting:
            read = self.nodes.get(waiting.pop())
            if read is None:
                continue
            if read.relation:
                yield read.relation
                continue
            waiting += [one for one in reversed(read.reads) if one not in seen]
            seen.update(read.reads)


def read_manifest(document: Json) -> Manifest:
    """What is used of a manifest. Raises Unreadable."""
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(document.get("nodes"), dict):
        raise Unreadable("a manifest needs metadata and nodes")
    project = str(metadata.get("project_name") or "")
    nodes: dict[str, Node] = {}
    for section in ("nodes", "sources", "exposures"):
        given = document.get(section)
        for unique_id, row in (given if isinstance(given, dict) else {}).items():
            if isinstance(row, dict):
                nodes[unique_id] = _node(unique_id, row)
    selectors = document.get("selectors")
    has_default = any(isinstance(one, dict) and one.get("default") for one in selectors.values()) if isinstance(selectors, dict) else False
    return Manifest(project, str(metadata.get("invocation_id") or ""), nodes, has_default)


def plain_name(relation: str) -> str:
    """`database.schema.identifier` of a relation name, without the quotes of any database."""
    return ".".join("".join(parts).strip().replace('""', '"').replace("``", "`") for parts in _QUOTED.findall(relation))


def _node(unique_id: str, row: Json) -> Node:
    kind = str(row.get("resource_type") or unique_id.partition(".")[0])
    config, reads, test = _part(row, "config"), _part(row, "depends_on").get("nodes"), _part(row, "test_metadata")
    relation = plain_name(row["relation_name"]) if isinstance(row.get("relation_name"), str) and kind != "test" else ""
    name = str(row.get("name") or unique_id)
    return Node(
        unique_id, kind, name, relation=f"{row.get('type') or 'exposure'}.{name}" if kind == "exposure" else relation,
        reads=tuple(one for one in reads if isinstance(one, str)) if isinstance(reads, list) else (),
        attached_to=str(row.get("attached_node") or ""), column=str(row.get("column_name") or ""), dimension=_dimension(str(test.get("name") or "")),
        severity=Severity.MEDIUM if str(config.get("severity")).lower() == "warn" else Severity.HIGH, is_ephemeral=config.get("materialized") == "ephemeral",
        has_freshness=any(_part(_part(row, "freshness"), limit).get("count") for limit in ("warn_after", "error_after")),
    )  # fmt: skip


def _dimension(test: str) -> Dimension:
    return next((dimension for pattern, dimension in _DIMENSIONS if pattern.search(test)), Dimension.VALIDITY)


def _part(row: Json, name: str) -> Json:
    part = row.get(name)
    return part if isinstance(part, dict) else {}
