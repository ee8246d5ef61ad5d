"""The worked example of CONTRIBUTING.md is true: one file adds a check type."""

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from exporter.catalog.labels import Engine, Outcome
from exporter.checks import REGISTRY
from exporter.config import json_schema
from exporter.model import Reason
from tests.conftest import Bench

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.spark
def test_the_example_of_a_check_type_works_as_one_file(bench: Bench, tmp_path: Path) -> None:
    block = re.search(r"```python\n(# exporter/checks/multiple_of\.py\n.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block
    file = tmp_path / "multiple_of.py"
    file.write_text(block[1], encoding="utf-8")
    spec = spec_from_file_location("multiple_of", file)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules["multiple_of"] = module
    spec.loader.exec_module(module)
    cls = REGISTRY["multiple_of"]
    try:
        for example in (cls.good, cls.bad):
            table = bench.delta(example.columns, example.rows)
            verdict = bench.evaluate(table, {"multiple_of": example.body}).results[0].verdict
            assert (verdict.outcome, verdict.failed_rows) == (example.outcome, example.failed_rows)
        refused = bench.evaluate(table, {"multiple_of": example.body}, engine=Engine.NATIVE).results[0].verdict
        assert (refused.outcome, refused.reason) == (Outcome.ERROR, Reason.ENGINE)
        assert "multiple_of" in str(json_schema())
    finally:
        del REGISTRY["multiple_of"], sys.modules["multiple_of"]
