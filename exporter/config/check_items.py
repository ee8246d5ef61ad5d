"""The items of a table's `checks`: from YAML to validated checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from exporter.checks import REGISTRY, ConfiguredCheck
from exporter.config.binding import Scope, show
from exporter.config.problems import nearest


@dataclass(frozen=True)
class Item:
    """A valid check and its place."""

    check: ConfiguredCheck
    scope: Scope

    def report_reference(self, message: str, name: str) -> None:
        """A problem at the value that names another table."""
        node = self.scope.document.find(self.scope.path).node
        pairs = node.value if isinstance(node.value, list) else []
        key = next((k.value for k, v in (p for p in pairs if isinstance(p, tuple)) if v.value == name), None)
        self.scope.report(message, *(() if key is None else (key,)))


def items(data: list[Any], scope: Scope) -> Iterator[Item]:
    """The checks of a table; faults are reported."""
    for index, item in enumerate(data):
        yield from _item(item, scope.at(index))


def _item(item: Any, scope: Scope) -> Iterator[Item]:
    if isinstance(item, str):
        name, body, inner = item, None, scope
    elif isinstance(item, dict) and len(item) == 1:
        name, body = next(iter(item.items()))
        inner = scope.at(name)
    elif isinstance(item, dict) and item:
        _report_crowd(item, scope)
        return
    else:
        scope.report(f"a check is written as `- type: parameters`, found {show(item) if item != {} else 'an empty mapping'}")
        return
    cls = REGISTRY.get(name)
    if cls is None:
        guess = nearest(name, REGISTRY)
        inner.report(f'unknown check type "{name}"{guess or ":"} valid types are {", ".join(sorted(REGISTRY))}', at_key=True)
        return
    yield from _bodies(cls, body, inner)


def _report_crowd(item: dict[str, Any], scope: Scope) -> None:
    first, second = list(item)[:2]
    if first in REGISTRY and second not in REGISTRY:
        scope.report(f'"{second}" stands beside "{first}": put it inside, as {first}: {{{second}: …}}', second, at_key=True)
    else:
        scope.report(f'one check per list item: "{second}" stands beside "{first}"', second, at_key=True)


def _bodies(cls: type[ConfiguredCheck], body: Any, scope: Scope) -> Iterator[Item]:
    try:
        bodies = cls.expand(body)
    except ValueError as error:
        odd = [index for index, part in enumerate(body) if not isinstance(part, str)] if isinstance(body, list) else []
        if odd and len(odd) < len(body):
            scope.report(f"expected a column name, found {show(body[odd[0]])}", odd[0])
        else:
            scope.report(str(error)[:300])
        return
    one_each = isinstance(body, list) and len(bodies) == len(body) and len(bodies) > 0
    for index, expanded in enumerate(bodies):
        place = scope.at(index) if one_each else scope
        check = place.validate(cls, expanded)
        if check is not None:
            yield Item(check, place)
    if not bodies:
        scope.report(f"{cls.type} has an empty list: name at least one column")
