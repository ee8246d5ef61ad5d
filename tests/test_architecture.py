"""The rules that keep the architecture true are themselves tested."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.catalog.metrics import all_metrics

ROOT = Path(__file__).resolve().parents[1]
LINT = Path(sys.executable).with_name("lint-imports")


@pytest.mark.parametrize("imported", ["pyspark", "prometheus_client"])
def test_a_check_that_imports_an_engine_or_the_client_breaks_a_contract(tmp_path: Path, imported: str) -> None:
    shutil.copytree(ROOT / "exporter", tmp_path / "exporter", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    check = tmp_path / "exporter" / "checks" / "not_null.py"
    check.write_text(check.read_text() + f"\nimport {imported}\n")
    done = subprocess.run([LINT, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(tmp_path), "PATH": ""})
    assert done.returncode == 1
    assert f"exporter.checks.not_null -> {imported}" in done.stdout


def test_no_metric_is_spelt_outside_the_catalogue() -> None:
    names = {metric.name for metric in all_metrics()}
    spelt = [
        f"{file.relative_to(ROOT)}: {node.value}"
        for file in (ROOT / "exporter").rglob("*.py")
        if file.parent.name != "catalog"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert not spelt


def test_metrics_follow_the_conventions() -> None:
    for metric in all_metrics():
        assert metric.help.endswith("."), metric.name
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert not {"type", "owner", "env", "service"} & set(metric.label_names), metric.name
