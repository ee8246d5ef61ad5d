"""docker-compose.yml is valid, and what it mounts is what its programs take."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.bundle.grafana.boards import dashboards
from exporter.config import ConfigError, load
from tests.tools import stack

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_compose_accepts_the_file() -> None:
    compose = stack.find_binary("docker-compose")
    done = subprocess.run([compose, "-f", ROOT / "docker-compose.yml", "config", "-q"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_hardened_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":v?\d+\.\d+", service["image"]) and "latest" not in service["image"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("read_only") or name == "postgres"
    assert "healthcheck" in service
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert not [value for value in service.get("environment", {}).values() if "password" in str(value).lower() and not str(value).startswith("/run/secrets/")]


def test_what_is_mounted_exists_and_secrets_are_made_by_the_script(tmp_path: Path) -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
    script = tmp_path / "make-secrets.sh"
    script.write_text((ROOT / "deploy" / "make-secrets.sh").read_text())
    subprocess.run(["sh", script], check=True)
    made = {path.name for path in (tmp_path / "secrets").iterdir()}
    assert made == set(COMPOSE["secrets"]) and all((tmp_path / "secrets" / name).read_text() for name in made)


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
    config["rule_files"] = [str(ROOT / one) for one in config["rule_files"]]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    done = subprocess.run([stack.find_binary("promtool"), "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "rules found" in done.stdout, done.stderr


@pytest.mark.parametrize(("service", "program"), [("prometheus", "prometheus"), ("alertmanager", "alertmanager")])
def test_the_flags_of_a_service_are_known_to_its_program(service: str, program: str) -> None:
    shown = subprocess.run([stack.find_binary(program), "--help"], capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})
    for flag in SERVICES[service]["command"]:
        name = flag.split("=")[0]
        assert name.replace("--web.enable", "--[no-]web.enable") in shown.stdout + shown.stderr or name in shown.stdout + shown.stderr, name


def test_the_exporters_configuration_lacks_only_the_mounted_secrets() -> None:
    with pytest.raises(ConfigError) as caught:
        load(ROOT / "deploy" / "dq-exporter.yml", {})
    assert {problem.message.split(":")[0] for problem in caught.value.problems} == {"password_file"}


def test_grafana_is_given_every_board_and_one_data_source() -> None:
    (source,) = yaml.safe_load((ROOT / "deploy" / "grafana" / "datasources.yml").read_text())["datasources"]
    assert source["uid"] == "prometheus" and source["isDefault"] and source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((ROOT / "deploy" / "grafana" / "dashboards.yml").read_text())["providers"]
    assert any(volume == f"./dashboards:{provider['options']['path']}:ro" for volume in SERVICES["grafana"]["volumes"])
    assert {path.name for path in (ROOT / "dashboards").glob("*.json")} == set(dashboards())
