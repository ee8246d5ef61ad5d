"""The probable root cause in a graph of any shape: the highest failed ancestor, found in time and memory that an outage of everything does not exhaust."""

from __future__ import annotations

import tracemalloc
from time import monotonic

from exporter.pipelines.lineage import Kind, Lineage, Node


def p(name: object) -> Node:
    return Node(Kind.PIPELINE, str(name))


def test_the_highest_failed_one_is_the_cause_whichever_failed_first() -> None:
    graph = Lineage([(p("a"), p("b")), (p("b"), p("c")), (p("c"), p("d"))])
    for failed in ({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 3.0, "b": 2.0, "c": 1.0}, {"b": 1.0, "a": 2.0}):
        assert graph.causes(failed)[p("d")] == p("a")


def test_in_a_circle_the_one_that_failed_first_is_the_cause() -> None:
    graph = Lineage([(p("a"), p("b")), (p("b"), p("a")), (p("b"), p("c"))])
    assert graph.causes({"a": 2.0, "b": 1.0})[p("c")] == p("b")


def test_five_thousand_nodes_that_all_failed_are_looked_through_at_once() -> None:
    size = 5000
    graph = Lineage((p(number), p((number * 7 + step) % size)) for number in range(size) for step in range(4))
    tracemalloc.start()
    began = monotonic()
    graph.causes({str(number): float(number) for number in range(size)})
    took, (_, peak) = monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 5
    assert peak < 50e6
