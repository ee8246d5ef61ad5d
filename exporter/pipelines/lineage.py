"""What feeds what: a graph of tables, pipelines, other data sets and assets; impact downstream, and the probable cause upstream; pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from exporter.model import TableSpec
from exporter.pipelines.spec import AssetSpec, PipelineSpec


class Kind(StrEnum):
    """What a node is. `JOB` is one that is not watched; it is passed through and not shown."""

    TABLE = "table"
    PIPELINE = "pipeline"
    DATASET = "dataset"
    ASSET = "asset"
    JOB = "job"


class Node(NamedTuple):
    """Something in the lineage; names are unique within a kind."""

    kind: Kind
    name: str


_CONFIGURED = (Kind.TABLE, Kind.PIPELINE, Kind.ASSET)
_SCHEME = re.compile(r"^(s3[an]|abfss|wasbs|gcs|dbfs)(?=:)")
_SAME = {"s3a": "s3", "s3n": "s3", "abfss": "abfs", "wasbs": "wasb", "gcs": "gs", "dbfs": "dbfs"}


def normalized(name: str) -> str:
    """A data set's name without what differs between tools: quotes, s3a for s3, `file://`, a slash at the end."""
    text = re.sub(r"[`\"]", "", name.strip())
    text = _SCHEME.sub(lambda found: _SAME[found[0]], text)
    return re.sub(r"^file:(?://)?(?=/)", "", text).rstrip("/") or text


class Names:
    """Which configured table a data set is.

    In this order: its name, its path, its identifier, one of its `datasets`; else the only table whose name (or identifier) the data set's
    dotted name ends with, as sources put catalogs and hosts in front.
    """

    def __init__(self, tables: Iterable[TableSpec]) -> None:
        self._exact: dict[str, str] = {}
        self._tails: dict[str, str | None] = {}
        for table in tables:
            for name in (table.name, table.path, table.identifier, *table.datasets):
                if name:
                    self._exact.setdefault(normalized(name), table.name)
            for name in {normalized(table.name), normalized(table.identifier or table.name)}:
                if "." in name:
                    self._tails[name] = table.name if self._tails.get(name, table.name) == table.name else None

    def node(self, dataset: str) -> Node:
        """The table, or the data set itself where it is none."""
        name = normalized(dataset)
        table = self._exact.get(name) or self._tail(name)
        return Node(Kind.TABLE, table) if table else Node(Kind.DATASET, name)

    def _tail(self, name: str) -> str | None:
        last = name.rpartition("/")[2]
        parts = last.split(".")
        for start in range(len(parts) - 1):
            if (found := self._tails.get(".".join(parts[start:]))) is not None:
                return found
        return None


class Lineage:
    """The graph. Cycles are allowed; every walk visits a node once."""

    def __init__(self, edges: Iterable[tuple[Node, Node]]) -> None:
        self.edges = frozenset((above, below) for above, below in edges if above != below)
        self._down: dict[Node, list[Node]] = {}
        self._up: dict[Node, list[Node]] = {}
        for above, below in sorted(self.edges):
            self._down.setdefault(above, []).append(below)
            self._up.setdefault(below, []).append(above)

    def downstream(self, node: Node) -> dict[Node, int]:
        """Everything that it feeds, with the number of steps, nearest first; jobs that are not watched are left out."""
        return _walk(node, self._down)

    def upstream(self, node: Node) -> dict[Node, int]:
        """Everything that feeds it, with the number of steps, nearest first."""
        return _walk(node, self._up)

    def shown(self) -> list[tuple[Node, Node]]:
        """Edges between what is shown: those through jobs that are not watched are joined."""
        return self._joined(lambda node: node.kind is not Kind.JOB)

    def configured(self) -> list[tuple[Node, Node]]:
        """Edges between configured tables, pipelines and assets; those through anything else are joined."""
        return self._joined(lambda node: node.kind in _CONFIGURED)

    def _joined(self, is_shown: Callable[[Node], bool]) -> list[tuple[Node, Node]]:
        found = set()
        for start in [node for node in self._down if is_shown(node)]:
            queue, seen = deque(self._down.get(start, ())), {start}
            while queue:
                node = queue.popleft()
                if node in seen:
                    continue
                seen.add(node)
                if is_shown(node):
                    found.add((start, node))
                else:
                    queue.extend(self._down.get(node, ()))
        return sorted(found)

    def causes(self, failed: Mapping[str, float]) -> dict[Node, Node]:
        """For everything below a failed pipeline the highest one above it; `failed` are names and when they failed.

        Highest is one above which none has failed (of several in a circle the one that failed first); of several
        such the one most steps away, as the others may follow from the same.
        """
        nodes = sorted((Node(Kind.PIPELINE, name) for name in failed), key=lambda node: (failed[node.name], node))
        highest: dict[Node, dict[Node, int]] = {}
        covered: set[Node] = set()
        for node in nodes:  # in the order in which they failed: what an earlier one is above of cannot be the highest, nor can an earlier one below a later
            if node not in covered:
                below = self.downstream(node)
                for other in [one for one in highest if one in below]:
                    del highest[other]
                highest[node] = below
                covered |= below.keys()
        found: dict[Node, tuple[int, Node]] = {}
        for node in sorted(highest):
            for reached, steps in highest[node].items():
                if reached not in found or steps > found[reached][0]:
                    found[reached] = (steps, node)
        return {reached: node for reached, (_, node) in found.items()}


def _walk(start: Node, steps: Mapping[Node, list[Node]]) -> dict[Node, int]:
    found: dict[Node, int] = {}
    distance = {start: 0}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for following in steps.get(node, ()):
            if following not in distance:
                distance[following] = distance[node] + (following.kind is not Kind.JOB)
                queue.append(following)
                if following.kind is not Kind.JOB:
                    found[following] = distance[following]
    return found


def edges_of(
    names: Names, pipelines: Iterable[PipelineSpec], assets: Iterable[AssetSpec], flows: Iterable[tuple[str | None, str, str, bool]]
) -> Iterable[tuple[Node, Node]]:
    """Edges from the configuration and from what was seen: (watched pipeline or None, job, data set, whether it is written)."""
    for pipeline in pipelines:
        node = Node(Kind.PIPELINE, pipeline.name)
        yield from ((names.node(dataset), node) for dataset in pipeline.reads)
        yield from ((node, names.node(dataset)) for dataset in pipeline.writes)
    for asset in assets:
        yield from ((names.node(dataset), Node(Kind.ASSET, asset.name)) for dataset in asset.reads)
    for name, job, dataset, is_output in flows:
        node = Node(Kind.PIPELINE, name) if name is not None else Node(Kind.JOB, job)
        yield (node, names.node(dataset)) if is_output else (names.node(dataset), node)
