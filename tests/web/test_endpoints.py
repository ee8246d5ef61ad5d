"""The endpoints over a real socket: pages, life cycle, logins and TLS."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import bcrypt
import httpx
import pytest

from exporter.catalog.labels import Outcome, Severity
from exporter.checks.row_count_anomaly import RowCountAnomaly
from exporter.model import CheckSpec, Counts, History
from exporter.publish.prometheus import Publisher, increments_of
from exporter.score import Score
from exporter.store import Store
from exporter.timetable import Schedule
from exporter.web import Server, WebConfig, WebConfigError, WebSettings, create_app, serve
from exporter.web.pages import score_line
from tests.web.fabricate import MINUTE, NOW, check, evaluation, problem, table, verdict


@dataclass
class Reloaded:
    ok: bool = True
    problems: tuple[str, ...] = ()


class Site:
    """An exporter's web side with tables that can be evaluated at will."""

    def __init__(self, store: Store, settings: WebSettings) -> None:
        self.store, self.publisher = store, Publisher(persist=store.add)
        self.reloaded, self.ready, self.now = Reloaded(), True, NOW
        app = create_app(
            self.publisher, store, on_reload=lambda: self.reloaded, ready=lambda: self.ready, web=settings, clock=lambda: self.now
        )  # fmt: skip
        self.server: Server = serve(app, "127.0.0.1:0", settings.config)
        self.server.start()

    def get(self, path: str, method: str = "GET", **more: object) -> httpx.Response:
        verify = more.pop("verify", True)
        with httpx.Client(verify=verify, trust_env=False) as client:  # type: ignore[arg-type]
            return client.request(method, self.server.url + path, **more)  # type: ignore[arg-type]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def build(config: Path | None = None, token: str | None = None) -> Site:
        site = Site(Store.open(f"sqlite:///{tmp_path}/dq.db"), WebSettings.of("127.0.0.1:0", config, token))
        sites.append(site)
        return site

    yield build
    for site in sites:
        site.server.stop()
        site.store.close()


@pytest.fixture
def site(make: Callable[..., Site]) -> Site:
    """A failing table, one with an error, one that passes, one never run."""
    site = make()
    link = "https://wiki.example.com/runbook"
    bad = table(
        "sales.orders",
        check("email", Severity.CRITICAL, suggested_action="Rerun <sales_daily>", runbook=link),
        check("id"),
    )
    specs = [
        table("good"),
        table("new"),
        table("x.<script>alert(1)</script>/y", check(runbook="javascript:alert(1)")),
        bad,
    ]
    site.publisher.reconfigure(specs)
    runs = [(bad, [verdict(Outcome.FAIL, 7), verdict()]), (specs[2], [problem()]), (specs[0], [verdict()])]
    for spec, verdicts in runs:
        done = evaluation(spec, verdicts, NOW - 5 * MINUTE)
        site.store.save(done, increments_of(done))
        site.publisher.publish(done, increments_of(done))
    return site


def test_metrics_are_compressed_and_negotiated(site: Site) -> None:
    answer = site.get("/metrics", headers={"Accept-Encoding": "gzip", "Accept": "application/openmetrics-text"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    plain = site.get("/metrics", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_the_status_page_leads_with_what_cannot_be_trusted(site: Site) -> None:
    page = site.get("/").text
    assert "<h1>1 of 4 tables cannot be trusted</h1>" in page
    places = [page.index(f"/tables/{name}") for name in ("sales.orders", "x.%3Cscript", "new", "good")]
    assert places == sorted(places)


def test_names_and_messages_are_escaped_and_scripts_forbidden(site: Site) -> None:
    for path in ("/", "/tables/x.%3Cscript%3Ealert(1)%3C%2Fscript%3E%2Fy", "/tables/%3Cscript%3E"):
        answer = site.get(path)
        assert "<script" not in answer.text
        assert 'href="javascript' not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "server" not in answer.headers


def test_a_table_page_says_what_to_do(site: Site) -> None:
    page = site.get("/tables/sales.orders").text
    for part in (
        "7 rows",
        "at most 0 rows",
        "Rerun &lt;sales_daily&gt;",
        "https://wiki.example.com/runbook",
        "<circle",
        "5m ago",
    ):
        assert part in page
    assert site.get("/tables/none").status_code == 404


def test_a_table_with_a_slash_in_its_name_has_a_page(site: Site) -> None:
    assert site.get("/tables/x.%3Cscript%3Ealert(1)%3C%2Fscript%3E%2Fy").status_code == 200


def test_stale_results_are_marked(site: Site) -> None:
    assert "stale" not in site.get("/tables/good").text.split("</style>")[1]
    site.now = NOW + 26 * MINUTE
    assert "stale" in site.get("/tables/good").text.split("</style>")[1]


def test_the_api_has_the_tables_in_the_order_of_the_page(site: Site) -> None:
    status = site.get("/api/v1/status").json()
    assert [one["status"] for one in status["tables"]] == ["fail", "error", "never", "pass"]
    assert status["summary"]["tables"]["fail"] == 1
    first = status["tables"][0]["checks"][0]
    assert (first["check"], first["failed_rows"], first["last_run_at"]) == ("not_null_email", 7, "2026-01-15T11:55:00Z")
    json.dumps(status, allow_nan=False)


def test_a_failing_verdict_stays_failing_when_it_can_no_longer_be_judged(site: Site) -> None:
    spec = site.publisher.state()[3].spec
    done = evaluation(spec, [problem(), verdict()])
    site.publisher.publish(done, increments_of(done))
    status = site.get("/api/v1/status").json()["tables"][0]["checks"][0]
    assert (status["status"], status["outcome"], status["last_verdict"]) == ("fail", "error", "fail")


def test_health_and_readiness(site: Site) -> None:
    assert site.get("/-/healthy", "HEAD").status_code == site.get("/-/ready").status_code == 200
    site.ready = False
    assert site.get("/-/ready").status_code == 503
    assert site.get("/-/healthy").status_code == 200
    assert [site.get(path).status_code for path in ("/docs", "/openapi.json", "/redoc")] == [404] * 3


def test_a_reload_says_what_is_wrong(site: Site) -> None:
    assert site.get("/-/reload").status_code == 405
    assert [site.get("/-/reload", method).status_code for method in ("POST", "PUT")] == [200, 200]
    site.reloaded = Reloaded(False, ("dq-exporter.yml:3:1: unknown key",))
    answer = site.get("/-/reload", "POST")
    assert answer.status_code == 500
    assert "dq-exporter.yml:3:1: unknown key" in answer.text


def test_a_reload_needs_the_token_where_there_is_one(make: Callable[..., Site]) -> None:
    site = make(token="s3cret")
    statuses = [site.get("/-/reload", "POST", headers=headers).status_code
                for headers in ({}, {"Authorization": "Bearer no"}, {"Authorization": "Bearer s3cret"})]  # fmt: skip
    assert statuses == [401, 401, 200]
    assert "s3cret" not in repr(WebSettings(token="s3cret"))


def write(path: Path, **content: object) -> Path:
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def test_users_log_in_and_changes_need_no_restart(make: Callable[..., Site], tmp_path: Path) -> None:
    file = write(tmp_path / "web.yml", basic_auth_users={"ann": hashed("one")},
                 http_server_config={"headers": {"Strict-Transport-Security": "max-age=1"}})  # fmt: skip
    site = make(file)
    assert site.get("/metrics").status_code == 401
    tries = [("ann", "two"), ("bob", "one"), ("ann", "x" * 100), ("ann", "one"), ("ann", "one")]
    assert [site.get("/metrics", auth=one).status_code for one in tries] == [401, 401, 401, 200, 200]
    assert site.get("/", auth=("ann", "one")).headers["strict-transport-security"] == "max-age=1"
    config = WebConfig(file)
    assert config.login("ann", "one")
    write(file, basic_auth_users={"ann": hashed("changed")})
    assert config.refresh()
    assert [config.login("ann", password) for password in ("one", "changed")] == [False, True]
    file.write_text("basic_auth_users: [")
    assert not config.refresh()
    assert config.login("ann", "changed")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"tls_config": {}}, "tls_config: unknown key"),
        ({"basic_auth_users": {"ann": "plain"}}, "bcrypt"),
        ({"http_server_config": {"headers": {"X-Mine": "1"}}}, "X-Mine"),
        ({"tls_server_config": {"cert_file": "a", "key_file": "b"}}, "No such file"),
        ({"tls_server_config": {"cert_file": "a", "key_file": "b", "cipher_suites": []}}, "cipher_suites: unknown key"),
        (
            {
                "tls_server_config": {
                    "cert_file": "a",
                    "key_file": "b",
                    "client_auth_type": "RequireAndVerifyClientCert",
                }
            },
            "client_ca_file",
        ),
    ],
)
def test_a_web_config_that_cannot_be_used_is_refused(tmp_path: Path, content: dict[str, object], named: str) -> None:
    with pytest.raises(WebConfigError, match=named):
        WebConfig(write(tmp_path / "web.yml", **content))


def certificate(folder: Path, name: str) -> Path:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / f"{name}.crt"


def trusting(file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(file))


def test_tls_is_served_and_new_certificates_are_taken_over(make: Callable[..., Site], tmp_path: Path) -> None:
    first, second = certificate(tmp_path, "first"), certificate(tmp_path, "second")
    used, key = tmp_path / "used.crt", tmp_path / "used.key"
    used.write_bytes(first.read_bytes())
    key.write_bytes(first.with_suffix(".key").read_bytes())
    file = write(
        tmp_path / "web.yml",
        tls_server_config={"cert_file": "used.crt", "key_file": "used.key", "min_version": "TLS13"},
    )
    site = make(file)
    assert site.server.url.startswith("https://")
    assert site.get("/-/healthy", verify=trusting(first)).status_code == 200
    with pytest.raises(httpx.ConnectError):
        site.get("/-/healthy", verify=trusting(second))
    key.write_bytes(second.with_suffix(".key").read_bytes())
    used.write_bytes(second.read_bytes())
    os.utime(used, ns=(1, 1))  # noticed however coarse the clock of the file system is
    assert any(_reached(site, second) for _ in range(100)), "the new certificate was not taken over"


def _reached(site: Site, authority: Path) -> bool:
    try:
        return site.get("/-/healthy", verify=trusting(authority)).status_code == 200
    except httpx.ConnectError:
        time.sleep(0.1)
        return False


@pytest.mark.parametrize("address", ["9818", "host:", "127.0.0.1:x", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        serve(None, address)  # type: ignore[arg-type]


def test_a_learned_check_is_drawn_with_its_band_and_alarms(make: Callable[..., Site]) -> None:
    site = make()
    rows = {(LEARNED_FIRST + timedelta(days=day)).isoformat(): 5 if day == 50 else 100 + day % 7 for day in range(60)}
    check = RowCountAnomaly(column="day")
    spec = table("visits", CheckSpec(check.id, check, Severity.HIGH, "", "", "", "", Schedule(every=timedelta(minutes=15)), timedelta(minutes=10)))
    judged = check.judge({"rows": Counts(rows)}, History(), NOW)
    site.publisher.reconfigure([spec])
    done = evaluation(spec, [judged])
    site.store.save(done, {})
    site.publisher.publish(done, increments_of(done))
    page = site.get("/tables/visits").text
    assert "<polygon" in page and page.count('<circle class="fail"') == 1 and "1 anomaly in 1 incident" in page
    said = {"table": "visits", "check": check.id, "date": "2025-12-31", "says": "expected", "note": "a move"}
    assert site.get("/api/v1/feedback", "POST", json=said).status_code == 200
    assert site.store.history("visits", spec.checks[0], NOW).feedback == {"2025-12-31": "expected"}
    assert site.get("/api/v1/feedback", "POST", json={**said, "date": "soon"}).status_code == 422
    assert site.get("/api/v1/feedback", "POST", json={**said, "says": "maybe"}).status_code == 422
    assert site.get("/api/v1/feedback", "POST", json={**said, "check": "other"}).status_code == 404


def test_the_course_of_the_score_is_drawn_with_gaps_where_it_was_unknown() -> None:
    known, unknown = Score(0.5, 1.0), Score(None, 0.0)
    lines = score_line([(NOW - timedelta(days=15), known), (NOW - timedelta(days=10), unknown), (NOW - timedelta(days=5), Score(1.0, 1.0))], NOW)
    assert lines == ("120.0,15.0 160.0,15.0", "200.0,2.0 240.0,2.0")
    assert score_line([], NOW) == ()


LEARNED_FIRST = date(2025, 11, 16)


def test_an_answer_does_not_wait_for_an_acknowledgement() -> None:
    server = serve(create_app(Publisher(), None, on_reload=lambda: None, ready=lambda: True, web=WebSettings(), clock=lambda: NOW), "127.0.0.1:0")  # type: ignore[arg-type, return-value]
    server.start()
    assert server._listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    server.stop()
