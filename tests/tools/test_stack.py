"""The servers that other tests rely on start, answer and stop."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.tools.stack import alertmanager, find_binary, free_port, postgres, prometheus


def test_a_program_that_lacks_skips_or_fails_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DQ_REQUIRE_STACK", raising=False)
    with pytest.raises(pytest.skip.Exception, match="program no-such-program not found"):
        find_binary("no-such-program")
    monkeypatch.setenv("DQ_REQUIRE_STACK", "1")
    with pytest.raises(pytest.fail.Exception, match=r"\.ci/run"):
        find_binary("no-such-program")


def test_free_ports_differ() -> None:
    assert free_port() > 1024


@pytest.mark.postgres
def test_postgres_answers() -> None:
    with postgres() as url:
        engine = create_engine(url)
        with engine.connect() as connection:
            assert connection.execute(text("select 1")).scalar() == 1
        engine.dispose()


@pytest.mark.e2e
def test_prometheus_and_alertmanager_are_ready(tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(json.dumps({"global": {"scrape_interval": "1s"}}))
    (tmp_path / "alertmanager.yml").write_text(json.dumps({"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}))
    with (
        prometheus(tmp_path / "prometheus.yml", tmp_path / "p") as url,
        alertmanager(tmp_path / "alertmanager.yml", tmp_path / "a") as other,
    ):
        for base in (url, other):
            with urllib.request.urlopen(f"{base}/-/ready", timeout=5) as response:
                assert response.status == 200
