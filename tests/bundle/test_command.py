"""`dq-exporter bundle` writes, compares, and says what differs."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from exporter.cli import app

BODY = "version: 1\nnotify: {slack: {api_url_file: /run/secrets/slack}}\ntables: [{name: a, path: x, checks: [{row_count: {min: 1}}]}]\n"


def bundle(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["bundle", *map(str, arguments)])
    return done.exit_code, done.output


def test_it_writes_and_then_finds_no_difference(tmp_path: Path) -> None:
    config = tmp_path / "dq.yml"
    config.write_text(BODY)
    assert bundle("-c", config, "-o", tmp_path / "out", "--check")[0] == 1
    code, text = bundle("-c", config, "-o", tmp_path / "out")
    assert code == 0 and "changed" in text
    assert bundle("-c", config, "-o", tmp_path / "out", "--check") == (0, "21 files are as generated\n")


def test_a_new_table_changes_nothing_and_another_receiver_does(tmp_path: Path) -> None:
    config, out = tmp_path / "dq.yml", tmp_path / "out"
    config.write_text(BODY)
    bundle("-c", config, "-o", out)
    config.write_text(BODY + "  \n".join(["", "defaults: {team: x, severity: low}"]))
    assert bundle("-c", config, "-o", out, "--check")[0] == 0
    config.write_text(BODY.replace("checks: [", "severity: critical, checks: [{not_null: b}, "))
    assert bundle("-c", config, "-o", out, "--check")[0] == 0
    config.write_text(BODY.replace("slack: {api", "pagerduty: {routing_key_file: /k}, slack: {api"))
    code, text = bundle("-c", config, "-o", out, "--check")
    assert code == 1 and "alertmanager.yml: differs" in text and "1 of 21 files" in text


def test_a_changed_and_a_missing_file_are_named(tmp_path: Path) -> None:
    config, out = tmp_path / "dq.yml", tmp_path / "out"
    config.write_text(BODY)
    bundle("-c", config, "-o", out)
    (out / "dashboards" / "table.json").write_text("{}")
    (out / "alert_rules" / "tables.rules.yml").unlink()
    code, text = bundle("-c", config, "-o", out, "--check")
    assert code == 1 and "table.json: differs" in text and "tables.rules.yml: is missing" in text


def test_a_fault_in_notify_is_bad_usage_and_faults_elsewhere_do_not_matter(tmp_path: Path) -> None:
    config = tmp_path / "dq.yml"
    config.write_text("version: 1\nnotify: {slack: {}}\n")
    code, text = bundle("-c", config, "-o", tmp_path)
    assert code == 2 and "dq.yml:2:" in text and "api_url_file" in text
    config.write_text("version: 1\nstore: {url: 'postgresql://h/d', password_file: /not/here}\n")
    assert bundle("-c", config, "-o", tmp_path / "out")[0] == 0
    assert bundle("-c", tmp_path / "no.yml", "-o", tmp_path)[0] == 2


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = tmp_path / "dq.yml"
    config.write_text(BODY)
    code, text = bundle("-c", config, "-o", tmp_path / "file")
    assert code == 2 and "name another directory with -o" in text
