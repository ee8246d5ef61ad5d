"""Sources, pipelines and assets as configured: resolved, printed without secrets, loaded back, and accepted by the schema."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import jsonschema
import pytest
import yaml

from exporter.config import Config, json_schema, load
from tests.config.test_files import DATA

FILE = DATA / "good" / "pipelines.yml"
SECRETS = {"PW": "svc-password", "TOKEN": "a-token"}


@pytest.fixture(scope="module")
def config() -> Config:
    return load(FILE, SECRETS)


def test_a_pipeline_is_as_configured(config: Config) -> None:
    daily = config.watching.pipelines[0]
    assert (daily.name, daily.source, daily.job, daily.writes) == ("sales_daily", "airflow_prod", "sales_daily_v2", ("sales.orders",))
    assert daily.sla is not None
    assert daily.sla.next_after(datetime(2026, 11, 20, 12, tzinfo=UTC)) == datetime(2026, 11, 23, 6, tzinfo=UTC), "Friday noon, so Monday in Berlin"
    assert date(2026, 12, 28) in daily.sla.exclude


def test_the_source_of_events_is_always_there(config: Config) -> None:
    assert {source.name for source in config.watching.sources} >= {"events", "lineage"}
    assert config.watching.pipelines[-1].source == "events"


def test_a_number_is_an_id(config: Config) -> None:
    assert next(one for one in config.watching.pipelines if one.name == "etl").job == "4711"


def test_paths_start_at_the_file(config: Config) -> None:
    transform = next(source for source in config.watching.sources if source.name == "transform")
    assert transform.model.target == FILE.absolute().parent / "dbt" / "target"  # type: ignore[attr-defined]


def test_the_printed_configuration_holds_no_secret_and_loads_back(config: Config, tmp_path: Path) -> None:
    printed = yaml.safe_dump(config.effective())
    assert not any(secret in printed for secret in SECRETS.values())
    assert "svc-password" not in repr(config)
    back = yaml.safe_load(printed)
    for source in back["sources"].values():
        for key in [key for key, value in source.items() if value == "***"]:
            del source[key]
    (tmp_path / "dq.yml").write_text(yaml.safe_dump(back))
    again = load(tmp_path / "dq.yml", SECRETS)
    assert again.watching.pipelines == config.watching.pipelines
    assert again.watching.assets == config.watching.assets


def test_the_schema_accepts_what_loads_and_refuses_an_unknown_key() -> None:
    good = yaml.safe_load(FILE.read_text())
    for date_list in (good["pipelines"][0]["sla"],):
        date_list["exclude"] = [str(one) for one in date_list["exclude"]]
    validator = jsonschema.Draft202012Validator(json_schema())
    assert not list(validator.iter_errors(good))
    good["sources"]["lake"]["colour"] = "blue"
    assert list(validator.iter_errors(good))
