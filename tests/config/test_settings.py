"""What a valid configuration comes to: inheritance, secrets, paths, and the printed form."""

from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.catalog.labels import Dimension, Engine, Severity, TableFormat
from exporter.checks import REGISTRY
from exporter.config import Config, ConfigError, load

DATA = Path(__file__).resolve().parents[1] / "data"
CHECKS = "checks: [{row_count: {min: 1}}]"


def loaded(folder: Path, body: str, environ: dict[str, str] | None = None) -> Config:
    path = folder / "dq.yml"
    path.write_text(body if "version: 1\n" in body else "version: 1\n" + body)
    return load(path, environ or {})


@pytest.fixture(scope="module")
def everything() -> Config:
    return load(DATA / "good" / "everything.yml", {})


def test_defaults_are_those_of_the_interface(tmp_path: Path) -> None:
    config = loaded(tmp_path, f"tables: [{{name: a, path: x, {CHECKS}}}]")
    assert config.store.url == "sqlite:///dq-exporter.db" and config.store.retention == timedelta(days=30)
    assert (config.spark.master, config.spark.remote) == ("local[2]", None)
    assert (config.engine.default, config.engine.native_max_bytes, config.engine.workers) == (None, 8 * 2**30, 2)
    assert (config.web.listen_address, config.web.max_series) == ("127.0.0.1:9818", 500_000)
    assert (config.scheduler.workers, config.scheduler.jitter) == (4, timedelta(seconds=10))
    assert set(config.weights) == set(Dimension)
    (table,) = config.tables
    (check,) = table.checks
    assert (table.format, table.severity, table.engine, table.timezone.key) == (TableFormat.DELTA, Severity.HIGH, None, "UTC")
    assert check.schedule.every == timedelta(minutes=15) and check.timeout == timedelta(minutes=10)


def test_a_check_inherits_from_its_table_and_that_from_the_defaults(everything: Config) -> None:
    orders, customers = everything.tables[:2]
    checks = {check.id: check for check in orders.checks}
    assert orders.engine is Engine.NATIVE
    assert (checks["row_count"].severity, checks["not_null_email"].severity) == (Severity.CRITICAL, Severity.MEDIUM)
    assert (checks["row_count"].team, checks["row_count"].owner) == ("sales", "sales-data-team")
    assert checks["row_count"].schedule.every == timedelta(minutes=5)
    assert checks["row_count"].timeout == timedelta(minutes=2)
    assert checks["unique_order_id"].schedule.every == timedelta(days=1)
    assert checks["not_null_email"].suggested_action == "ask sales"
    (parent,) = customers.checks
    assert (parent.severity, parent.team, parent.timeout) == (Severity.MEDIUM, "data-platform", timedelta(seconds=90))
    assert str(parent.schedule) == "cron 0 6 * * * (Europe/Berlin)"


def test_on_empty_of_the_defaults_leaves_checks_alone_that_judge_no_rows(everything: Config) -> None:
    policies = {check.id: check.check.on_empty for check in everything.tables[0].checks}  # type: ignore[attr-defined]
    assert (policies["not_null_email"], policies["row_count"]) == ("fail", None)


def test_disabled_tables_and_checks_are_left_out(everything: Config) -> None:
    assert "sales.reference" not in [table.name for table in everything.tables]
    assert "not_null_note" not in [check.id for check in everything.tables[0].checks]


def test_a_parent_may_be_without_checks_and_even_disabled(tmp_path: Path) -> None:
    body = """tables:
  - name: child
    path: child
    checks: [{referential_integrity: {columns: [p], to: parent}}]
  - {name: parent, path: parent, enabled: %s}
"""
    for enabled in ("true", "false"):
        assert [table.name for table in loaded(tmp_path, body % enabled).tables] == ["child", "parent"]


def test_tables_may_refer_to_one_another_in_a_circle(everything: Config) -> None:
    references = {table.name: [name for check in table.checks for name in check.check.references()] for table in everything.tables}  # type: ignore[attr-defined]
    assert references["sales.orders"] == ["sales.customers"] and references["sales.customers"] == ["sales.orders"]


def test_relative_table_paths_start_at_the_file_and_urls_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    config = loaded(tmp_path, f"tables: [{{name: a, path: x/y, {CHECKS}}}, {{name: b, path: 's3://x/y', {CHECKS}}}]")
    assert [table.path for table in config.tables] == [str(tmp_path / "x/y"), "s3://x/y"]


def test_a_glob_makes_a_table_of_each_directory(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / "lake" / name).mkdir(parents=True)
    (tmp_path / "lake" / "file").touch()
    config = loaded(tmp_path, f'tables: [{{glob: "lake/*", name: "silver.{{name}}", {CHECKS}}}]')
    assert [(table.name, table.path) for table in config.tables] == [
        ("silver.a", str(tmp_path / "lake" / "a")),
        ("silver.b", str(tmp_path / "lake" / "b")),
    ]
    with pytest.raises(ConfigError, match="2 tables cannot share one name"):
        loaded(tmp_path, f'tables: [{{glob: "lake/*", name: silver, {CHECKS}}}]')


SECRETS = f"""
store: {{url: "postgresql+psycopg://dq@db/dq", password_file: store.txt}}
web: {{token_env: DQ_TOKEN}}
spark: {{conf: {{spark.hadoop.fs.s3a.secret.key_env: DQ_KEY}}}}
tables:
  - {{name: a, path: x, storage: {{secret_access_key_file: store.txt, region: eu}}, {CHECKS}}}
  - {{name: b, jdbc: {{url: "jdbc:x:y", dbtable: t, user: u, password_env: DQ_TOKEN, fetchsize: 10}}, {CHECKS}}}
"""


@pytest.fixture
def secretive(tmp_path: Path) -> Config:
    (tmp_path / "store.txt").write_text("p@ss/wörd-1\n")
    return loaded(tmp_path, SECRETS, {"DQ_TOKEN": "tok-12345", "DQ_KEY": "key-12345"})


def test_secrets_come_from_files_and_the_environment(secretive: Config) -> None:
    a, b = secretive.tables
    assert secretive.web.token == "tok-12345"
    assert secretive.spark.conf == {"spark.hadoop.fs.s3a.secret.key": "key-12345"}
    assert a.storage == {"secret_access_key": "p@ss/wörd-1", "region": "eu"}
    assert b.jdbc == {"url": "jdbc:x:y", "dbtable": "t", "user": "u", "password": "tok-12345", "fetchsize": "10"}
    assert secretive.secrets == {"p@ss/wörd-1", "tok-12345", "key-12345"}


def test_no_secret_is_in_a_repr_or_in_the_printed_form(secretive: Config) -> None:
    printed = yaml.safe_dump(secretive.effective())
    for secret in secretive.secrets:
        assert secret not in repr(secretive) and secret not in printed
    assert printed.count("***") == 5


def test_a_secret_that_a_problem_would_quote_is_masked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, "web: {token_env: T, listen_address: tok-12345}\ntables: []", {"T": "tok-12345"})
    assert "tok-12345" not in str(caught.value) and '"***" is not an address' in str(caught.value)


@pytest.mark.parametrize(("content", "fault"), [(None, "No such file"), ("", "is empty"), (b"\xff\xfe", "is not UTF-8")])
def test_a_secret_file_that_gives_nothing_is_a_problem(tmp_path: Path, content: Any, fault: str) -> None:
    if content is not None:
        (tmp_path / "t").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=fault):
        loaded(tmp_path, f"web: {{token_file: t}}\ntables: [{{name: a, path: x, {CHECKS}}}]")


@pytest.mark.parametrize("path", [path for path in sorted((DATA / "good").glob("*.yml")) if path.stem != "pipelines"], ids=lambda path: path.stem)
def test_the_printed_form_loads_back_to_the_same(path: Path, tmp_path: Path) -> None:
    config = load(path, {})
    again = loaded(tmp_path, yaml.safe_dump(config.effective(), sort_keys=False))
    assert again.effective() == config.effective()
    assert [table.name for table in again.tables] == [table.name for table in config.tables]


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_the_printed_form_of_each_check_type_loads_back_to_an_equal_check(name: str, tmp_path: Path) -> None:
    for example in (REGISTRY[name].good, REGISTRY[name].bad):
        tables: list[dict[str, Any]] = [{"name": "t", "path": "/x", "checks": [{name: example.body}]}]
        tables += [{"name": other, "path": f"/{other}"} for other in example.others]
        first = loaded(tmp_path, yaml.safe_dump({"tables": tables}))
        again = loaded(tmp_path, yaml.safe_dump(first.effective()))
        assert [type(spec.check) for spec in again.tables[0].checks] == [REGISTRY[name]] * len(again.tables[0].checks)
        assert again.effective() == first.effective()


def test_specifications_cross_process_borders(everything: Config) -> None:
    assert pickle.loads(pickle.dumps(everything.tables)) == everything.tables


def test_timeliness_weighs_less_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    config = loaded(tmp_path, f"score: {{weights: {{uniqueness: 2}}}}\ntables: [{{name: a, path: x, {CHECKS}}}]")
    assert (config.weights[Dimension.UNIQUENESS], config.weights[Dimension.VALIDITY], config.weights[Dimension.TIMELINESS]) == (2, 0.3, 0.1)
