"""PromQL as trees that know only the metrics and labels of the catalogue.

A name or a label that does not exist, a join on a label that one side lacks, an aggregation by a label that is not
there: each raises BadQuery where the expression is written. `where` adds matchers to every selector that has the label, which is
how a panel narrows the very expression that an alert compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from exporter.catalog import labels as lb
from exporter.catalog.foreign import Foreign
from exporter.catalog.labels import Label
from exporter.catalog.metrics import Kind, Metric

TARGET_LABELS = (lb.JOB, lb.INSTANCE)
"""Labels that a scrape adds to every series."""

_AGGREGATES = frozenset({"sum", "min", "max", "avg", "count", "topk", "bottomk", "quantile", "group"})
_SET_OPERATORS = frozenset({"and", "or", "unless"})
_COMPARISONS = frozenset({">", "<", ">=", "<=", "==", "!="})
_OPERATORS = frozenset({"+", "-", "*", "/", "> bool", "<= bool"}) | _COMPARISONS | _SET_OPERATORS


class BadQuery(ValueError):
    """An expression that names what the catalogue does not have."""


@dataclass(frozen=True)
class Recording:
    """A recording rule, named level:metric:operation."""

    name: str
    expr: Expr
    help: str

    @property
    def labels(self) -> tuple[Label, ...]:
        """The labels that its series have."""
        return tuple(sorted(self.expr.labels, key=lambda label: label.name))


Series = Metric | Recording | Foreign


@dataclass(frozen=True)
class Match:
    """A condition on a label's value: `=`, `!=`, `=~` or `!~`."""

    op: str
    value: str


def is_(value: str) -> Match:
    """Equal to a value."""
    return Match("=", str(value))


def not_(value: str) -> Match:
    """Different from a value."""
    return Match("!=", str(value))


def like(pattern: str) -> Match:
    """Matched as a whole by a regular expression."""
    return Match("=~", pattern)


def unlike(pattern: str) -> Match:
    """Not matched as a whole by a regular expression."""
    return Match("!~", pattern)


Matchers = Mapping[Label, Match | StrEnum | str]


@dataclass(frozen=True)
class Expr:
    """A part of a query; `labels` are those that its series can have."""

    @property
    def labels(self) -> frozenset[Label]:
        """Label names of the result."""
        return frozenset()

    @property
    def parts(self) -> tuple[Expr, ...]:
        """The expressions inside."""
        return ()

    def __str__(self) -> str:
        raise NotImplementedError

    def with_parts(self, parts: Sequence[Expr]) -> Expr:
        """The same with other expressions inside."""
        return self

    def where(self, matchers: Matchers) -> Expr:
        """The same with matchers added to every selector that has the label."""
        return self.with_parts([part.where(matchers) for part in self.parts])

    def selectors(self) -> Iterator[Selector]:
        """All series that are read."""
        for part in self.parts:
            yield from part.selectors()

    def compare(self, op: str, limit: float | Expr) -> Expr:
        """Keeps the series for which the comparison with a number holds."""
        return binary(op, self, limit if isinstance(limit, Expr) else Number(limit))

    def __gt__(self, limit: float) -> Expr:
        return self.compare(">", limit)

    def __lt__(self, limit: float) -> Expr:
        return self.compare("<", limit)

    def __mul__(self, factor: float) -> Expr:
        return self.compare("*", factor)

    def __truediv__(self, factor: float) -> Expr:
        return self.compare("/", factor)


@dataclass(frozen=True)
class Number(Expr):
    """A number."""

    value: float

    def __str__(self) -> str:
        return f"{self.value:g}" if abs(self.value) < 1e5 else str(int(self.value))


@dataclass(frozen=True)
class Selector(Expr):
    """The series of a metric, at an instant or over a window."""

    series: Series
    matchers: tuple[tuple[Label, Match], ...] = ()
    suffix: str = ""
    window: str = ""
    offset: str = ""
    at: str = ""

    @property
    def labels(self) -> frozenset[Label]:
        own = frozenset(self.series.labels)
        if self.suffix == "_bucket":
            own |= {lb.LE}
        return own if isinstance(self.series, Recording) else own | frozenset(TARGET_LABELS)

    @property
    def name(self) -> str:
        """The name that is scraped."""
        return self.series.name + self.suffix

    def where(self, matchers: Matchers) -> Selector:
        added = [(label, match if isinstance(match, Match) else is_(match)) for label, match in matchers.items() if label in self.labels]
        return replace(self, matchers=(*self.matchers, *added))

    def selectors(self) -> Iterator[Selector]:
        yield self

    def over(self, window: str) -> Selector:
        """The range of samples of a window such as `5m` or `$__rate_interval`."""
        return replace(self, window=window)

    def ago(self, offset: str) -> Selector:
        """The same some time before."""
        return replace(self, offset=offset)

    def at_end(self) -> Selector:
        """The samples up to the end of the shown time, at every step."""
        return replace(self, at="end()")

    def __str__(self) -> str:
        inside = ", ".join(f"{label.name}{match.op}{json.dumps(match.value, ensure_ascii=False)}" for label, match in self.matchers)
        text = self.name + (f"{{{inside}}}" if inside else "")
        return text + (f"[{self.window}]" if self.window else "") + (f" @ {self.at}" if self.at else "") + (f" offset {self.offset}" if self.offset else "")


@dataclass(frozen=True)
class Call(Expr):
    """A function; text arguments stand as they are."""

    function: str
    arguments: tuple[Expr | str, ...]
    result: frozenset[Label] = frozenset()

    @property
    def labels(self) -> frozenset[Label]:
        return self.result

    @property
    def parts(self) -> tuple[Expr, ...]:
        return tuple(one for one in self.arguments if isinstance(one, Expr))

    def with_parts(self, parts: Sequence[Expr]) -> Call:
        fresh = iter(parts)
        return replace(self, arguments=tuple(next(fresh) if isinstance(one, Expr) else one for one in self.arguments))

    def __str__(self) -> str:
        shown = [str(one) if isinstance(one, Expr) else json.dumps(one, ensure_ascii=False) for one in self.arguments]
        return f"{self.function}({', '.join(shown)})"


@dataclass(frozen=True)
class Subquery(Expr):
    """An expression evaluated again and again over a window."""

    inner: Expr
    window: str
    step: str

    @property
    def labels(self) -> frozenset[Label]:
        return self.inner.labels

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.inner,)

    def with_parts(self, parts: Sequence[Expr]) -> Subquery:
        return replace(self, inner=parts[0])

    def __str__(self) -> str:
        return f"({self.inner})[{self.window}:{self.step}]"


@dataclass(frozen=True)
class Aggregate(Expr):
    """An aggregation by labels."""

    op: str
    inner: Expr
    by: tuple[Label, ...] = ()
    parameter: float | None = None

    @property
    def labels(self) -> frozenset[Label]:
        return self.inner.labels if self.op in ("topk", "bottomk") else frozenset(self.by)

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.inner,)

    def with_parts(self, parts: Sequence[Expr]) -> Aggregate:
        return replace(self, inner=parts[0])

    def __str__(self) -> str:
        by = f" by ({_names(self.by)}) " if self.by else ""
        parameter = f"{Number(self.parameter)}, " if self.parameter is not None else ""
        return f"{self.op}{by}({parameter}{self.inner})"


@dataclass(frozen=True)
class Binary(Expr):
    """Two expressions and an operator; `on` are the labels that must agree, `take` those that the right side lends."""

    op: str
    left: Expr
    right: Expr
    on: tuple[Label, ...] | None = None
    take: tuple[Label, ...] | None = None

    @property
    def labels(self) -> frozenset[Label]:
        if self.op == "or":
            return self.left.labels | self.right.labels
        if self.on is None or self.take is not None or self.op in _SET_OPERATORS | _COMPARISONS:
            return (self.left.labels or self.right.labels) | frozenset(self.take or ())
        return frozenset(self.on)

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.left, self.right)

    def with_parts(self, parts: Sequence[Expr]) -> Binary:
        return replace(self, left=parts[0], right=parts[1])

    def __str__(self) -> str:
        matching = "" if self.on is None else f" on ({_names(self.on)})"
        if self.take is not None:
            matching += f" group_left ({_names(self.take)})"
        return f"{_inside(self.left)} {self.op}{matching} {_inside(self.right)}"


def _inside(expr: Expr) -> str:
    return f"({expr})" if isinstance(expr, Binary) else str(expr)


def _names(labels: Sequence[Label]) -> str:
    return ", ".join(label.name for label in labels)


# --- builders -------------------------------------------------------------------------------------------------
def sel(series: Series, matchers: Matchers | None = None) -> Selector:
    """The series of a metric that match. Raises BadQuery for a label that they do not have."""
    if isinstance(series, Metric) and series.kind is Kind.HISTOGRAM:
        raise BadQuery(f"{series.name} is a histogram: use buckets(), total() or observations()")
    return _selected(Selector(series), matchers)


def buckets(metric: Metric, matchers: Matchers | None = None) -> Selector:
    """The buckets of a histogram."""
    return _of_histogram(metric, "_bucket", matchers)


def total(metric: Metric, matchers: Matchers | None = None) -> Selector:
    """The sum of what a histogram observed."""
    return _of_histogram(metric, "_sum", matchers)


def observations(metric: Metric, matchers: Matchers | None = None) -> Selector:
    """How many values a histogram observed."""
    return _of_histogram(metric, "_count", matchers)


def _of_histogram(metric: Metric, suffix: str, matchers: Matchers | None) -> Selector:
    if metric.kind is not Kind.HISTOGRAM:
        raise BadQuery(f"{metric.name} is a {metric.kind}, not a histogram")
    return _selected(Selector(metric, suffix=suffix), matchers)


def _selected(selector: Selector, matchers: Matchers | None) -> Selector:
    if unknown := [label.name for label in matchers or () if label not in selector.labels]:
        raise BadQuery(f"{selector.name} has no label {', '.join(unknown)}; it has {_names(sorted(selector.labels, key=lambda one: one.name))}")
    return selector.where(matchers or {})


def aggregate(op: str, inner: Expr, by: Sequence[Label] = (), parameter: float | None = None) -> Aggregate:
    """`op by (labels) (inner)`."""
    if op not in _AGGREGATES:
        raise BadQuery(f"{op} is no aggregation; there are {', '.join(sorted(_AGGREGATES))}")
    if lacking := [label.name for label in by if label not in inner.labels]:
        raise BadQuery(f"cannot aggregate by {', '.join(lacking)}: {inner} has no such label")
    return Aggregate(op, inner, tuple(by), parameter)


def binary(op: str, left: Expr, right: Expr, on: Sequence[Label] | None = None, take: Sequence[Label] | None = None) -> Binary:
    """`left op on (labels) group_left (labels) right`."""
    if op not in _OPERATORS:
        raise BadQuery(f"{op} is no operator")
    for side in (left, right):
        if lacking := [label.name for label in on or () if label not in side.labels]:
            raise BadQuery(f"cannot join on {', '.join(lacking)}: {side} has no such label")
    if lacking := [label.name for label in take or () if label not in right.labels]:
        raise BadQuery(f"cannot take {', '.join(lacking)} from {right}")
    return Binary(op, left, right, None if on is None else tuple(on), None if take is None else tuple(take))


def call(function: str, *arguments: Expr | str) -> Call:
    """A function that keeps the labels of its vector."""
    inner = [one.labels for one in arguments if isinstance(one, Expr)]
    return Call(function, arguments, frozenset().union(*inner) if inner else frozenset())


def rate(selector: Selector, window: str) -> Call:
    """Increase per second of a counter over a window."""
    return _counted("rate", selector, window)


def increase(selector: Selector, window: str) -> Call:
    """Increase of a counter over a window."""
    return _counted("increase", selector, window)


def _counted(function: str, selector: Selector, window: str) -> Call:
    series = selector.series
    if isinstance(series, Metric) and series.kind is not Kind.COUNTER and not selector.suffix:
        raise BadQuery(f"{function} of {series.name}, which is a {series.kind}")
    return call(function, selector.over(window))


def label_replace(inner: Expr, to: Label, replacement: str, source: Label, pattern: str) -> Call:
    """Sets a label from another where the pattern matches."""
    arguments = (inner, to.name, replacement, source.name, pattern)
    return Call("label_replace", arguments, inner.labels | {to})


def now() -> Call:
    """The time of the evaluation, in seconds."""
    return call("time")
