"""Every check type does what its own good and bad example say, on both engines."""

from __future__ import annotations

import pytest

from exporter.catalog.labels import Engine
from exporter.checks import REGISTRY
from exporter.checks.base import ConfiguredCheck, Example
from tests.conftest import Bench

NAMES = ["row_count", "row_count_anomaly", "frozen_table", "latency", "distribution_drift", "not_null", "unique", "primary_key", "duplicate_load", "range", "accepted_values", "pattern", "format", "length", "aggregate", "expression", "sum_of_parts", "referential_integrity", "reconciliation", "schema", "schema_change", "freshness", "freshness_deadline", "freshness_cadence", "partitions", "row_count_change", "query"]
EXAMPLES = [pytest.param(cls, getattr(cls, which), id=f"{cls.type}-{which}") for cls in REGISTRY.values() for which in ("good", "bad")]


def test_every_promised_type_is_there() -> None:
    assert sorted(NAMES) == sorted(REGISTRY)


@pytest.mark.parametrize("engine", [pytest.param(Engine.NATIVE), pytest.param(Engine.SPARK, marks=pytest.mark.spark)])
@pytest.mark.parametrize(("cls", "example"), EXAMPLES)
def test_example_gives_its_outcome(bench: Bench, cls: type[ConfiguredCheck], example: Example, engine: Engine) -> None:
    verdict = bench.example(cls, example, engine)
    assert verdict.outcome is example.outcome, verdict.message
    assert example.value is None or verdict.value == example.value
    assert example.failed_rows is None or verdict.failed_rows == example.failed_rows


@pytest.mark.parametrize("cls", REGISTRY.values(), ids=lambda cls: cls.type)
def test_every_type_explains_itself_and_has_a_dimension(cls: type[ConfiguredCheck]) -> None:
    assert (cls.__doc__ or "").strip()
    assert cls.dimension.value in cls.dimension


@pytest.mark.parametrize(("cls", "example"), EXAMPLES)
def test_no_type_passes_an_empty_table_by_accident(bench: Bench, cls: type[ConfiguredCheck], example: Example) -> None:
    """Case 1: nothing to judge is skipped or judged as zero, never a pass of a bound that was not met."""
    others = [bench.delta(columns, rows, name=name) for name, (columns, rows) in example.others.items()]
    table = bench.delta(example.columns, (), example.partitioned_by)
    verdict = bench.evaluate(table, {cls.type: example.body}, engine=Engine.NATIVE, others=others).results[0].verdict
    if cls.type in ("schema", "query"):  # these judge without rows
        return
    assert verdict.outcome.value != "pass", verdict.message
    assert verdict.message
