"""The picture of the lineage: nodes in columns from what feeds to what is fed, coloured by how they stand; pure but for reading the keeper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from exporter.collect import Collectors
from exporter.pipelines.lineage import Kind, Node
from exporter.pipelines.run import RunState

_MOST = 150
_COLUMN, _ROW, _WIDE, _HIGH = 250, 44, 200, 30
_LETTERS = 27


@dataclass(frozen=True, slots=True)
class Box:
    """A node: its place, its text, how it stands, and where a click leads."""

    x: int
    y: int
    text: str
    title: str
    kind: str
    standing: str
    link: str


@dataclass(frozen=True)
class Picture:
    """Boxes and the lines between them; `left_out` nodes do not fit."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    lines: tuple[str, ...]
    left_out: int


def lineage_picture(collectors: Collectors, tables: Mapping[str, str], focus: Node | None) -> Picture | None:
    """The whole lineage, or what is around one node; None when there is nothing. `tables` are standings by name."""
    keeper = collectors.keeper
    edges = keeper.lineage.shown()
    if focus is not None:
        around = {focus, *keeper.lineage.upstream(focus), *keeper.lineage.downstream(focus)}
        edges = [(above, below) for above, below in edges if above in around and below in around]
    nodes = {node for edge in edges for node in edge} | ({focus} if focus and focus in keeper.causes else set())
    if not nodes:
        return None
    standing = {node: _standing(node, collectors, tables) for node in nodes}
    kept = _chosen(nodes, edges, standing, focus)
    edges = [(above, below) for above, below in edges if above in kept and below in kept]
    places = _places(kept, edges)
    boxes = tuple(
        Box(16 + column * _COLUMN, 16 + row * _ROW, _short(node.name), f"{node.kind.value} {node.name}", node.kind.value, standing[node], _link(node))
        for node, (column, row) in places.items()
    )
    lines = tuple(_line(places[above], places[below]) for above, below in edges)
    width = 32 + _WIDE + _COLUMN * max(column for column, _ in places.values())
    height = 32 + _ROW * (1 + max(row for _, row in places.values()))
    return Picture(width, height, boxes, lines, len(nodes) - len(kept))


def _standing(node: Node, collectors: Collectors, tables: Mapping[str, str]) -> str:
    if node.kind is Kind.TABLE:
        return tables.get(node.name, "idle")
    if node.kind is Kind.PIPELINE:
        health = collectors.keeper.health.get(node.name)
        if health is None or health.state is None:
            return "idle"
        late = bool(health.deadline and health.deadline.is_breached)
        return "fail" if late else {RunState.FAILED: "fail", RunState.SUCCESS: "pass", RunState.RUNNING: "warn"}.get(health.state, "idle")
    return "idle"


def _chosen(nodes: set[Node], edges: Iterable[tuple[Node, Node]], standing: Mapping[Node, str], focus: Node | None) -> set[Node]:
    """So many nodes as fit: what fails and its neighbours first."""
    if len(nodes) <= _MOST:
        return nodes
    bad = {node for node in nodes if standing[node] in ("fail", "error")} | ({focus} if focus else set())
    near = {node for edge in edges if edge[0] in bad or edge[1] in bad for node in edge}
    ranked = sorted(nodes, key=lambda node: (node not in bad, node not in near, node))
    return set(ranked[:_MOST])


def _places(nodes: set[Node], edges: Iterable[tuple[Node, Node]]) -> dict[Node, tuple[int, int]]:
    """Columns by the longest way from what nothing feeds (steps that would close a circle do not count), rows near those that feed."""
    below: dict[Node, list[Node]] = {}
    above: dict[Node, list[Node]] = {}
    for start, end in edges:
        below.setdefault(start, []).append(end)
        above.setdefault(end, []).append(start)
    column = _columns(nodes, below)
    rows: dict[Node, int] = {}
    for index in range(max(column.values()) + 1):
        members = [node for node in nodes if column[node] == index]
        members.sort(key=lambda node: (sum(rows.get(one, 0) for one in above.get(node, ())) / max(1, len(above.get(node, ()))), node))
        rows |= {node: place for place, node in enumerate(members)}
    return {node: (column[node], rows[node]) for node in sorted(nodes)}


def _columns(nodes: set[Node], below: Mapping[Node, list[Node]]) -> dict[Node, int]:
    order: list[Node] = []
    seen: set[Node] = set()
    for start in sorted(nodes):
        stack = [(start, iter(below.get(start, ())))] if start not in seen else []
        seen.add(start)
        while stack:
            node, rest = stack[-1]
            following = next((one for one in rest if one not in seen), None)
            if following is None:
                stack.pop()
                order.append(node)
            else:
                seen.add(following)
                stack.append((following, iter(below.get(following, ()))))
    position = {node: place for place, node in enumerate(reversed(order))}
    column = dict.fromkeys(nodes, 0)
    for node in reversed(order):
        for following in below.get(node, ()):
            if position[following] > position[node]:
                column[following] = max(column[following], column[node] + 1)
    return column


def _line(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = 16 + start[0] * _COLUMN + _WIDE, 16 + start[1] * _ROW + _HIGH // 2
    x2, y2 = 16 + end[0] * _COLUMN, 16 + end[1] * _ROW + _HIGH // 2
    bend = max(40, abs(x2 - x1) // 2)
    return f"M{x1},{y1} C{x1 + bend},{y1} {x2 - bend},{y2} {x2},{y2}"


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else "…" + name[-(_LETTERS - 1) :]


def _link(node: Node) -> str:
    pages = {Kind.TABLE: "/tables/", Kind.PIPELINE: "/pipelines/"}
    return pages[node.kind] + quote(node.name, safe="") if node.kind in pages else ""
