"""One YAML file as plain data that remembers where each value stands.

Scalars are PyYAML's (YAML 1.1: a bare `on` is true, a bare date is a date), except that `12:30` is text and not
750, and that keys are always text as written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from exporter.config.problems import Problem

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_MERGE, _TEXT = _TAG + "merge", _TAG + "str"
_KINDS = {_TAG + kind for kind in ("int", "float", "bool", "null", "timestamp", "str", "value", "merge")}
_SIZE_LIMIT = 256 * 2**20
_DEPTH_LIMIT = 60
_ALIAS_LIMIT = 1_000_000

class _Loader(_BASE):  # type: ignore[misc]  # libyaml's where there is one
    """Refuses deep nesting while composing: libyaml's composer recurses on the C stack and would crash the process."""

    _depth = 0

    def descend_resolver(self, parent: Node | None, index: Any) -> None:
        self._depth += 1
        if self._depth > _DEPTH_LIMIT:
            mark = parent.start_mark if parent is not None else None
            raise yaml.MarkedYAMLError(problem=f"is nested more than {_DEPTH_LIMIT} levels deep", problem_mark=mark)

    def ascend_resolver(self) -> None:
        self._depth -= 1


Path_ = tuple[str | int, ...]
"""Keys and list indexes from the top of a file to a value."""


@dataclass(frozen=True)
class Found:
    """The part of a path that exists, its value and, for a value in a mapping, its key."""

    path: Path_
    node: Node
    key: Node | None


@dataclass(frozen=True)
class Document:
    """A parsed file. `data` is plain: dict, list, str, int, float, bool, date, datetime, None."""

    file: str
    root: MappingNode
    data: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The directory of the file; relative paths in it start there."""
        return Path(self.file).absolute().parent

    def find(self, path: Sequence[str | int]) -> Found:
        """Follows a path as far as it exists; parts that name nothing (pydantic's union tags) are skipped."""
        node: Node = self.root
        key: Node | None = None
        walked: Path_ = ()
        for part in path:
            step = _child(node, part)
            if step is not None:
                key, node = step
                walked = (*walked, part)
        return Found(walked, node, key)

    def problem(self, message: str, path: Sequence[str | int] = (), at_key: bool = False) -> Problem:
        """A problem at the value (or its key) of `path`, or at what holds it where it is absent."""
        found = self.find(path)
        return _problem(self.file, found.key if at_key and found.key is not None else found.node, message)

    def place(self, path: Sequence[str | int]) -> str:
        """`file:line:column` of a value."""
        mark = self.find(path).node.start_mark
        return f"{self.file}:{mark.line + 1}:{mark.column + 1}"


def _child(node: Node, part: str | int) -> tuple[Node | None, Node] | None:
    if isinstance(node, SequenceNode):
        return (None, node.value[part]) if isinstance(part, int) and part < len(node.value) else None
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.tag != _MERGE and key.value == part:
                return key, value
        for key, value in node.value:
            if key.tag == _MERGE:
                for parent in value.value if isinstance(value, SequenceNode) else (value,):
                    if (found := _child(parent, part)) is not None:
                        return found
    return None


def _problem(file: str, node: Node, message: str) -> Problem:
    return Problem(file, node.start_mark.line + 1, node.start_mark.column + 1, message)


def read(path: Path) -> tuple[Document | None, list[Problem]]:
    """The file as a document, and what is wrong with its form; None when nothing can be made of it."""
    file = str(path)
    try:
        with path.open("rb") as handle:
            raw = handle.read(_SIZE_LIMIT + 1)
    except OSError as error:
        return None, [Problem(file, 1, 1, f"cannot be read: {error.strerror or type(error).__name__}")]
    if len(raw) > _SIZE_LIMIT:
        return None, [Problem(file, 1, 1, f"is larger than {_SIZE_LIMIT // 2**20} MiB: not a configuration")]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        return None, [_at_end(file, before, f"is not UTF-8 text (byte 0x{raw[error.start]:02x})")]
    return _parse(file, text)


def _at_end(file: str, before: str, message: str) -> Problem:
    return Problem(file, before.count("\n") + 1, len(before) - before.rfind("\n"), message)


def _parse(file: str, text: str) -> tuple[Document | None, list[Problem]]:
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return None, [Problem(file, line, column, _plain(error, text, line, column))]
    except yaml.reader.ReaderError:
        bad = re.search("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
        start = bad.start() if bad else 0
        return None, [_at_end(file, text[:start], f"a control character ({text[start : start + 1]!r}) is not allowed in YAML")]
    except (yaml.YAMLError, ValueError):
        return None, [Problem(file, 1, 1, "is not valid YAML")]
    except RecursionError:
        return None, [Problem(file, 1, 1, "is nested too deeply")]
    if root is None:
        return None, [Problem(file, 1, 1, "is empty: a configuration starts with `version: 1`")]
    if not isinstance(root, MappingNode):
        kind = "a list" if isinstance(root, SequenceNode) else "a single value"
        return None, [_problem(file, root, f"must be a mapping of sections such as `version: 1` and `tables:`, found {kind}")]
    return _convert(file, root)


def _plain(error: yaml.MarkedYAMLError, text: str, line: int, column: int) -> str:
    lines = text.split("\n")
    row = lines[line - 1] if line <= len(lines) else ""
    if "\t" in row[:column] or "\t" in row[: len(row) - len(row.lstrip())]:
        return "a tab cannot indent YAML: use spaces"
    fault = (error.problem or "is not valid YAML").strip()
    if "undefined alias" in fault:
        return "unknown anchor: the alias names nothing defined above it"
    if "expected a single document" in str(error.context):
        return "has more than one YAML document: remove the `---`"
    if "levels deep" in fault:
        return fault
    context = f" ({error.context})" if error.context else ""
    return f"not valid YAML: {fault}{context}"


def _convert(file: str, root: MappingNode) -> tuple[Document | None, list[Problem]]:
    measure = _Size(file)
    try:
        measure.of(root, 0)
    except _TooMuchError as stop:
        return None, [stop.problem]
    if measure.expanded[id(root)] - len(measure.expanded) > _ALIAS_LIMIT:
        return None, [_problem(file, root, f"its aliases stand for more than {_ALIAS_LIMIT:,} values")]
    values = _Values(file)
    data = values.of(root)
    return Document(file, root, data), values.problems


class _TooMuchError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Size:
    """Counts the values that a document stands for once aliases are followed; refuses what has no end."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.expanded: dict[int, int] = {}
        self._open: set[int] = set()

    def of(self, node: Node, depth: int) -> int:
        if isinstance(node, ScalarNode):
            return 1
        known = self.expanded.get(id(node))
        if known is not None:
            return known
        if id(node) in self._open:
            raise _TooMuchError(_problem(self.file, node, "an alias refers to what contains it"))
        if depth > _DEPTH_LIMIT:
            raise _TooMuchError(_problem(self.file, node, f"is nested more than {_DEPTH_LIMIT} levels deep"))
        self._open.add(id(node))
        children = node.value if isinstance(node, SequenceNode) else [part for pair in node.value for part in pair]
        total = 1 + sum(self.of(child, depth + 1) for child in children)
        self._open.discard(id(node))
        self.expanded[id(node)] = total
        return total


class _Values:
    """Makes plain data of nodes; what is shared by aliases stays shared."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._seen: dict[int, Any] = {}
        self._scalars: Any = SafeConstructor()

    def of(self, node: Node) -> Any:
        if isinstance(node, ScalarNode):
            return node.value if node.tag == _TEXT else self._scalar(node)
        if id(node) not in self._seen:
            standard = _TAG + ("seq" if isinstance(node, SequenceNode) else "map")
            if node.tag != standard:
                self.problems.append(_problem(self.file, node, f"the tag {node.tag.replace(_TAG, '!!')} is not supported: remove it"))
            items = [self.of(child) for child in node.value] if isinstance(node, SequenceNode) else self._mapping(node)
            self._seen[id(node)] = items
        return self._seen[id(node)]

    def _scalar(self, node: ScalarNode) -> Any:
        if node.tag not in _KINDS:
            self.problems.append(_problem(self.file, node, f"the tag {node.tag.replace(_TAG, '!!')} is not supported: remove it"))
            return node.value
        if ":" in node.value and node.tag in (_TAG + "int", _TAG + "float"):
            return node.value
        if node.tag in (_TAG + "value", _MERGE):
            return node.value
        try:
            return self._scalars.construct_object(node)
        except (ValueError, KeyError, OverflowError, yaml.YAMLError):
            kind = "date" if node.tag.endswith("timestamp") else node.tag.replace(_TAG, "")
            self.problems.append(_problem(self.file, node, f"{node.value!r} is not a valid {kind}: put it in quotes if it is text"))
            return node.value

    def _mapping(self, node: Node) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                for name, item in self._merged(value).items():
                    merged.setdefault(name, item)
            elif not isinstance(key, ScalarNode):
                self.problems.append(_problem(self.file, key, "a key must be text (quote a value that starts with { or [)"))
            elif key.value in own:
                first = f"first on line {lines[key.value]}"
                self.problems.append(_problem(self.file, key, f'duplicate key "{key.value}" ({first}): remove one of them'))
                self.of(value)
            else:
                own[key.value] = self.of(value)
                lines[key.value] = key.start_mark.line + 1
        return {**merged, **own} if merged else own

    def _merged(self, node: Node) -> dict[str, Any]:
        parents = node.value if isinstance(node, SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for parent in parents:
            if isinstance(parent, MappingNode):
                merged = {**self.of(parent), **merged}
            else:
                self.problems.append(_problem(self.file, parent, "`<<` takes a mapping or a list of mappings"))
        return merged
