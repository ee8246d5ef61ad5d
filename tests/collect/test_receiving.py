"""What is sent to the exporter over HTTP: stored before it is answered, once, in any order; what cannot be taken is refused with a status and a reason."""

from __future__ import annotations

import concurrent.futures
import gzip
import json
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from exporter.catalog.labels import SourceType
from exporter.web import Server, WebSettings, create_app, serve
from tests.collect_rig import Clock, Rig, at

CONFIG: dict[str, Any] = {
    "sources": {"lineage": {"type": "openlineage"}},
    "pipelines": [{"name": "nightly"}, {"name": "hourly", "id": "etl-7"}, {"source": "lineage", "match": "prod/*"}],
}


def http(rig: Rig, web: WebSettings | None = None) -> Server:
    """The rig's endpoints on loopback."""
    app = create_app(rig.publisher, rig.store, on_reload=lambda: None, ready=lambda: True, web=web or WebSettings(), clock=rig.clock, collectors=rig.collectors)  # type: ignore[arg-type, return-value]
    server = serve(app, "127.0.0.1:0")
    server.start()
    return server


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, CONFIG, Clock(at(6)))
    yield made
    made.close()


@pytest.fixture
def client(rig: Rig) -> Iterator[httpx.Client]:
    server = http(rig)
    with httpx.Client(base_url=server.url, timeout=30) as made:
        yield made
    server.stop()


def event(state: str, run: str | None = "r1", minute: int = 0, **more: Any) -> dict[str, Any]:
    return {"pipeline": "nightly", "state": state, "run_id": run, "at": at(5, minute).isoformat(), **more}


def lineage(kind: str, run: str, minute: float, job: str = "sales", **more: Any) -> dict[str, Any]:
    """An OpenLineage event of a job of nobody in particular."""
    moment = at(5).timestamp() + 60 * minute
    from datetime import UTC, datetime

    return {
        "eventType": kind, "eventTime": datetime.fromtimestamp(moment, UTC).isoformat(), "producer": "https://example.com/test",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json", "run": {"runId": run}, "job": {"namespace": "prod", "name": job}, **more,
    }  # fmt: skip


def test_a_curl_is_enough(rig: Rig, client: httpx.Client) -> None:
    answer = client.post("/api/v1/events", json={"pipeline": "nightly", "state": "success"})
    assert (answer.status_code, answer.json()) == (200, {"accepted": 1, "duplicates": 0})
    rig.tick()
    assert rig.counts("nightly") == (1, 1, 0, 0)


def test_a_run_in_three_events_in_any_order_is_one_run(rig: Rig, client: httpx.Client) -> None:
    for one in (event("failed", minute=12, error={"class": "java.lang.OutOfMemoryError", "message": "heap; token=abcdefgh"}), event("queued", minute=0), event("running", minute=2)):
        assert client.post("/api/v1/events", json=one).status_code == 200
    rig.tick()
    assert rig.counts("nightly") == (1, 0, 1, 0)
    assert rig.of("pipeline_last_run_duration_seconds", pipeline="nightly") == 600
    assert rig.of("pipeline_queue_delay_seconds", pipeline="nightly") == 120
    assert rig.of("pipeline_last_failed_run_info", pipeline="nightly", run_id="r1", error_class="OutOfMemoryError") == 1
    context = client.get("/api/v1/context", params={"pipeline": "nightly"}).json()
    assert context["last_failed_run"]["error_message"] == "heap; token=***"


def test_an_event_id_counts_once(rig: Rig, client: httpx.Client) -> None:
    one = {"pipeline": "nightly", "state": "success", "event_id": "e-1"}
    assert client.post("/api/v1/events", json=one).json() == {"accepted": 1, "duplicates": 0}
    assert client.post("/api/v1/events", json=one).json() == {"accepted": 0, "duplicates": 1}
    rig.restart()
    rig.tick()
    assert rig.counts("nightly")[0] == 1


def test_a_pipeline_is_addressed_by_its_name_or_its_id(rig: Rig, client: httpx.Client) -> None:
    for name in ("hourly", "etl-7"):
        assert client.post("/api/v1/events", json=event("success", run=name) | {"pipeline": name}).status_code == 200
    rig.tick()
    assert rig.counts("hourly")[0] == 2


def test_an_automatic_retry_is_one_chain(rig: Rig, client: httpx.Client) -> None:
    for one in (event("running", minute=0, attempt=1), event("failed", minute=1, attempt=1), event("running", minute=2, attempt=2), event("success", minute=3, attempt=2)):
        client.post("/api/v1/events", json=one)
    rig.tick()
    assert rig.counts("nightly") == (1, 1, 0, 1)
    assert rig.of("pipeline_recent_runs", pipeline="nightly") == 1


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "an unknown pipeline": ({"json": {"pipeline": "nightl", "state": "success"}}, 422, 'did you mean "nightly"?'),
    "a wrong state": ({"json": {"pipeline": "nightly", "state": "done"}}, 422, "state: Input should be 'queued'"),
    "an unknown key": ({"json": {"pipeline": "nightly", "state": "success", "stat": 1}}, 422, "stat: Extra inputs"),
    "a wrong type": ({"json": {"pipeline": 7, "state": "success"}}, 422, "pipeline: Input should be a valid string"),
    "a bad time": ({"json": {"pipeline": "nightly", "state": "success", "at": "yesterday"}}, 422, "write ISO 8601"),
    "seconds for milliseconds in the far future": ({"json": {"pipeline": "nightly", "state": "success", "at": 99999999999999}}, 422, "lies in the future"),
    "a time at the end of the calendar": ({"json": {"pipeline": "nightly", "state": "success", "at": "9999-12-31T23:00:00-05:00"}}, 422, "is not a time"),
    "a time before all": ({"json": {"pipeline": "nightly", "state": "success", "at": "0001-01-01T00:00:00Z"}}, 422, "between the years"),
    "a start that cannot be ended": ({"json": {"pipeline": "nightly", "state": "running"}}, 422, "run_id is needed"),
    "no JSON": ({"content": b"{"}, 400, "not JSON"),
    "nothing": ({"content": b""}, 400, "is empty"),
    "a number": ({"content": b"7"}, 422, "an event is a JSON object, found int"),
    "NaN": ({"content": b'{"pipeline": "nightly", "state": "success", "cost_usd": NaN}'}, 400, "NaN is not JSON"),
    "bytes that are no text": ({"content": b"\xff\xfe"}, 400, "not UTF-8"),
    "deep nesting": ({"content": b"[" * 5000 + b"]" * 5000}, 400, "nested"),
    "very deep nesting": ({"content": b'{"a":' * 200_000 + b"1" + b"}" * 200_000}, 400, "nested"),
    "five megabytes": ({"content": b" " * 5_000_000}, 413, "larger than 4 MiB"),
    "a bomb": ({"content": gzip.compress(b" " * 200_000_000), "headers": {"Content-Encoding": "gzip"}}, 413, "larger than 4 MiB"),
    "half a gzip": ({"content": gzip.compress(json.dumps(["x" * 9000]).encode())[:20], "headers": {"Content-Encoding": "gzip"}}, 400, "cut off"),
    "no gzip": ({"content": b"{}", "headers": {"Content-Encoding": "gzip"}}, 400, "is not gzip"),
    "brotli": ({"content": b"{}", "headers": {"Content-Encoding": "br"}}, 415, "not supported"),
    "too many": ({"content": json.dumps([{}] * 1001).encode()}, 413, "too many"),
    "an empty list": ({"content": b"[]"}, 422, "empty"),
}


@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/lineage"])
@pytest.mark.parametrize(("options", "status", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_taken_is_refused_with_a_reason_and_the_receiver_stays_up(client: httpx.Client, path: str, options: dict[str, Any], status: int, reason: str) -> None:
    answer = client.post(path, **options)
    if path == "/api/v1/lineage" and status == 422 and "json" in options:
        assert answer.status_code == 422
    else:
        assert answer.status_code == status
        assert reason in answer.json()["error"]
    assert client.post("/api/v1/events", json={"pipeline": "nightly", "state": "success"}).status_code == 200


@pytest.mark.parametrize(
    "broken",
    [
        {"run": 7}, {"run": {}}, {"job": []}, {"job": {"namespace": "prod"}}, {"eventTime": None}, {"eventTime": 1e300}, {"eventTime": "9999-12-31T23:59:59-23:00"}, {"eventTime": "9999-12-31T23:59:59Z"}, {"eventType": "BEGIN"},
        {"inputs": {}}, {"inputs": [7]}, {"inputs": [{"name": "x"}]}, {"run": {"runId": "x" * 5000}},
    ],
)  # fmt: skip
def test_a_lineage_event_that_cannot_be_understood_is_refused_and_kept(rig: Rig, client: httpx.Client, broken: dict[str, Any]) -> None:
    answer = client.post("/api/v1/lineage", json={**lineage("START", "u1", 0), **broken})
    assert answer.status_code == 422
    assert len(rig.ledger.letters()) == 1


@pytest.mark.parametrize("facets", [{"parent": 7}, {"airflow": {"task": []}}, {"airflowDagRun": {"dagRun": {"run_id": {}, "clear_number": "x"}}}, {"errorMessage": "x"}, {"airflowState": {"tasksState": []}}])
def test_facets_of_any_shape_do_no_harm(rig: Rig, client: httpx.Client, facets: dict[str, Any]) -> None:
    one = lineage("COMPLETE", "u1", 5)
    one["run"]["facets"] = facets
    one["job"]["facets"] = {"jobType": {"jobType": "DAG", "integration": "AIRFLOW"}, "ownership": {"owners": "me"}}
    assert client.post("/api/v1/lineage", json=one).status_code == 200
    rig.tick()
    assert rig.counts("prod/sales")[0] == 1


def test_text_that_no_database_can_keep_is_mended(rig: Rig, client: httpx.Client) -> None:
    raw = b'{"pipeline": "nightly", "state": "failed", "error": "half a \\ud83d, a NUL \\u0000 and a whole \\ud83d\\ude00"}'
    assert client.post("/api/v1/events", content=raw).status_code == 200
    rig.tick()
    assert rig.counts("nightly") == (1, 0, 1, 0)
    assert "\U0001f600" in client.get("/api/v1/context", params={"pipeline": "nightly"}).json()["last_failed_run"]["error_message"]


def test_an_error_that_quotes_an_escaped_nul_is_taken_as_it_is(rig: Rig, client: httpx.Client) -> None:
    text = r"UntranslatableCharacter: unsupported Unicode escape sequence: \u0000 cannot be converted to text."
    assert client.post("/api/v1/events", json=event("failed", error={"class": "", "message": text})).status_code == 200
    rig.tick()
    [run] = rig.ledger.newest("events", "nightly", 1)
    assert run.error is not None
    assert run.error.message == text


def test_gzip_and_batches_are_taken(rig: Rig, client: httpx.Client) -> None:
    some = [lineage("START", "u1", 0), lineage("COMPLETE", "u1", 5), lineage("START", "u2", 6)]
    packed = gzip.compress(json.dumps(some).encode())
    assert client.post("/api/v1/lineage/batch", content=packed, headers={"Content-Encoding": "gzip"}).status_code == 204
    answer = client.post("/api/v1/lineage/batch", json=[lineage("FAIL", "u2", 9), {"run": 7}])
    assert answer.status_code == 200
    assert answer.json()["status"] == "partial_success"
    assert answer.json()["summary"] == {"received": 2, "successful": 1, "failed": 1, "retriable": 0}
    rig.tick()
    assert rig.counts("prod/sales") == (2, 1, 1, 0)


def test_without_a_source_of_lineage_the_endpoint_says_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path, {"pipelines": [{"name": "nightly"}]}, Clock(at(6)))
    server = http(rig)
    answer = httpx.post(server.url + "/api/v1/lineage", json=lineage("START", "u1", 0))
    assert answer.status_code == 404
    assert "add one under `sources`" in answer.json()["error"]
    server.stop()
    rig.close()


def test_each_endpoint_has_a_token_of_its_own(tmp_path: Path) -> None:
    rig = Rig(tmp_path, {**CONFIG, "sources": {"lineage": {"type": "openlineage", "token_env": "TOKEN"}}}, Clock(at(6)))
    server = http(rig, WebSettings(token="admin"))
    statuses = [
        httpx.post(server.url + path, json=lineage("START", "u1", 0), headers={"Authorization": f"Bearer {token}"}).status_code
        for path, token in (("/api/v1/lineage", "secret-token"), ("/api/v1/lineage", "admin"), ("/api/v1/lineage", "x"), ("/api/v1/events", "secret-token"), ("/api/v1/events", "admin"))
    ]
    assert statuses == [200, 200, 401, 401, 422]
    server.stop()
    rig.close()


def test_a_verdict_by_hand_of_the_same_time_counts_and_its_repetition_does_not(rig: Rig, client: httpx.Client) -> None:
    failed, done = lineage("FAIL", "u1", 5), lineage("COMPLETE", "u1", 5)
    for one in (lineage("START", "u1", 0), failed):
        client.post("/api/v1/lineage", json=one)
    rig.tick()
    for one in (done, failed):
        client.post("/api/v1/lineage", json=one)
    rig.tick()
    assert rig.of("pipeline_status", pipeline="prod/sales") == 2
    assert rig.counts("prod/sales") == (1, 0, 1, 0)


def test_spark_says_complete_after_a_failure_and_has_failed_all_the_same(rig: Rig, client: httpx.Client) -> None:
    def of(kind: str, run: str, minute: float, job: str, parent: str | None = None) -> dict[str, Any]:
        one = lineage(kind, run, minute, job)
        one["job"]["facets"] = {"jobType": {"integration": "SPARK", "jobType": "SQL_JOB" if parent else "APPLICATION"}}
        if parent:
            one["run"]["facets"] = {"parent": {"run": {"runId": parent}, "job": {"namespace": "prod", "name": "app"}}}
            if kind == "FAIL":
                one["run"]["facets"]["spark.exception"] = {"stackTrace": "java.lang.OutOfMemoryError: Java heap space\n\tat x"}
        return one

    some = [of("START", "a", 0, "app"), of("START", "j", 1, "app.query", "a"), of("FAIL", "j", 2, "app.query", "a"), of("COMPLETE", "j", 2.001, "app.query", "a"), of("COMPLETE", "a", 3, "app")]
    client.post("/api/v1/lineage/batch", json=some)
    rig.tick()
    assert rig.counts("prod/app") == (1, 0, 1, 0)
    assert rig.of("pipeline_last_failed_run_info", pipeline="prod/app", error_class="OutOfMemoryError") == 1
    assert rig.collectors.watched.named("prod/app.query") is None, "a query is no pipeline"


def test_any_order_with_repetitions_gives_the_state_of_in_order_once(tmp_path: Path) -> None:
    chance = random.Random(7)
    story: list[dict[str, Any]] = []
    for number in range(120):
        run, job, start = str(uuid.UUID(int=number)), f"job{number % 6}", number * 3.0
        story += [lineage("START", run, start, job), lineage("RUNNING", run, start + 1, job), lineage(chance.choice(["COMPLETE", "COMPLETE", "FAIL", "ABORT"]), run, start + 2, job)]
    pages = []
    for name, order in (("once", story), ("shuffled", chance.sample(story + story[::3], len(story) + len(story[::3])))):
        (tmp_path / name).mkdir()
        rig = Rig(tmp_path / name, CONFIG, Clock(at(12)))
        server = http(rig)
        with httpx.Client(base_url=server.url) as client, concurrent.futures.ThreadPoolExecutor(8 if name == "shuffled" else 1) as pool:
            assert {one.status_code for one in pool.map(lambda one: client.post("/api/v1/lineage", json=one), order)} == {200}
        rig.tick()
        rig.tick()
        pages.append({key: value for key, value in rig.series().items() if key.startswith("pipeline_")})
        server.stop()
        rig.close()
    assert pages[0] == pages[1]
    assert sum(value for key, value in pages[0].items() if key.startswith("pipeline_runs_total")) > 80


def test_dead_letters_are_listed_and_replayed_once_they_can_be_understood(rig: Rig, client: httpx.Client) -> None:
    client.post("/api/v1/events", json={"pipeline": "weekly", "state": "failed", "run_id": "w1", "at": at(5).isoformat()})
    [letter] = rig.ledger.letters()
    assert '"weekly" is not configured' in letter.reason

    from typer.testing import CliRunner

    from exporter.cli import app

    path, run = str(rig.folder / "dq-exporter.yml"), CliRunner()
    listed = run.invoke(app, ["dlq", "list", "--from", "collectors", "-c", path], env={"PW": "x"})
    assert '"weekly" is not configured' in listed.output
    assert run.invoke(app, ["dlq", "replay", "-c", path]).exit_code == 1
    rig.raw["pipelines"] = [*CONFIG["pipelines"], {"name": "weekly"}]
    rig.restart()
    assert run.invoke(app, ["dlq", "replay", str(letter.id), "-c", path]).exit_code == 0
    rig.tick()
    assert rig.counts("weekly") == (1, 0, 1, 0)
    assert rig.ledger.letters() == []


def test_a_dead_letter_of_any_shape_and_with_any_brackets_is_listed_and_does_not_hold_up_the_others(rig: Rig, client: httpx.Client) -> None:
    from typer.testing import CliRunner

    from exporter.cli import app

    client.post("/api/v1/lineage", json=[[1, 2], "text", None])
    client.post("/api/v1/events", json={"pipeline": "[/x] [bold]", "state": "failed"})
    client.post("/api/v1/events", json={"pipeline": "weekly", "state": "failed", "run_id": "w1", "at": at(5).isoformat()})
    path = str(rig.folder / "dq-exporter.yml")
    assert "[/x] [bold]" in CliRunner().invoke(app, ["dlq", "list", "-c", path], env={"PW": "x"}).output
    rig.raw["pipelines"] = [*CONFIG["pipelines"], {"name": "weekly"}]
    rig.restart()
    replayed = CliRunner().invoke(app, ["dlq", "replay", "-c", path])
    assert "1 of 5 replayed" in replayed.output
    assert len(rig.ledger.letters()) == 4


def test_a_number_that_no_database_can_keep_does_not_hold_up_what_others_sent(rig: Rig, client: httpx.Client) -> None:
    facets = {"airflowDagRun": {"dagRun": {"run_id": "m1", "clear_number": 10**25}}}
    assert client.post("/api/v1/lineage", json={**lineage("COMPLETE", "u1", 1), "run": {"runId": "u1", "facets": facets}}).status_code == 200
    client.post("/api/v1/events", json=event("success"))
    rig.tick()
    rig.tick()
    assert rig.counts("nightly") == (1, 1, 0, 0)
    assert rig.counts("prod/sales") == (1, 1, 0, 0)


def test_senders_do_not_decide_how_many_series_there_are(rig: Rig) -> None:
    def told(number: int, dataset: str) -> dict[str, Any]:
        assertions = [{"assertion": f"a{number}_{place}", "success": True} for place in range(100)]
        inputs = [{"namespace": "file", "name": dataset, "inputFacets": {"dataQualityAssertions": {"assertions": assertions}}}]
        return lineage("COMPLETE", f"u{number}", number / 60, inputs=inputs)

    mine = str(rig.folder / "table")
    rig.collectors.receiver.take(SourceType.OPENLINEAGE, [told(0, mine), *(told(number, f"/other/{number}") for number in range(1, 80))])
    rig.tick()
    shown = [key for key in rig.series() if key.startswith("dq_check_status{")]
    assert len(shown) == 5000
    assert sum('table="sales.orders"' in key for key in shown) == 100
