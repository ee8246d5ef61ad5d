"""Two thousand pipelines with two hundred thousand past runs, and fifty thousand events; ratios are measured side by side in one run."""

from __future__ import annotations

import concurrent.futures
import random
import resource
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from tests.collect.test_receiving import CONFIG, http, lineage
from tests.collect_rig import Clock, Rig, at
from tests.doubles.airflow import Airflow

PIPELINES, RUNS = 2_000, 100
EVENTS = 50_000


def memory() -> float:
    """Peak resident memory in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def scrape(rig: Rig) -> float:
    began = time.perf_counter()
    for _ in range(5):
        rig.publisher.render()
    return (time.perf_counter() - began) / 5


def test_a_poll_costs_what_changed_not_what_there_is(tmp_path: Path) -> None:
    airflow = Airflow()
    for number in range(RUNS):
        for pipeline in range(PIPELINES):
            airflow.queue(f"dag{pipeline}", f"r{number}")
            airflow.begin(f"dag{pipeline}", f"r{number}")
            airflow.runs[f"dag{pipeline}", f"r{number}"] |= {"state": "success", "end_date": airflow.now + timedelta(seconds=30), "updated_at": airflow.now + timedelta(seconds=30)}
        airflow.tick(7 * 3600)
    clock = Clock(airflow.now)
    with airflow.double.serving():
        source = {"type": "airflow", "url": airflow.double.url, "username": "svc", "password_env": "PW", "timeout": "5m"}
        rig = Rig(tmp_path, {"sources": {"airflow": source}, "pipelines": [{"source": "airflow", "match": "*", "limit": PIPELINES}]}, clock)
        idle, began, before = scrape(rig), time.perf_counter(), memory()
        polls = 0
        while True:
            airflow.double.asked.clear()
            assert rig.poll() is None
            polls += 1
            print(f"poll {polls}: {len(airflow.double.asked)} requests, {time.perf_counter() - began:.0f} s", end="\r")
            airflow.now = clock.now
            if len(airflow.double.asked) <= 6:
                break
        print(f"\nthe past of {PIPELINES:,} pipelines ({PIPELINES * RUNS:,} runs): {polls} polls, {time.perf_counter() - began:.0f} s, {memory() - before:+.0f} MiB (the double has its runs in the same process)")
        for news in (0, 1, 10, 100):
            airflow.tick(120)
            for pipeline in range(news):
                airflow.run(f"dag{pipeline}", f"news{news}", seconds=0)
            clock.now = airflow.now
            airflow.double.asked.clear()
            began = time.perf_counter()
            assert rig.poll() is None
            print(f"{news:4} changed: {len(airflow.double.asked)} requests, {time.perf_counter() - began:.2f} s; scrape {scrape(rig) / max(idle, 1e-6):.0f} times an empty one, {scrape(rig) * 1000:.1f} ms")
            airflow.now = clock.now
        rig.close()


def test_fifty_thousand_events_in_random_order_at_five_hundred_a_second(tmp_path: Path) -> None:
    chance = random.Random(11)
    story: list[dict[str, Any]] = []
    for number in range(EVENTS // 4):
        start = number * 0.01
        story += [lineage(kind, f"run-{number}", start + offset, f"job{number % 150}") for kind, offset in (("START", 0), ("RUNNING", 1), (chance.choice(["COMPLETE", "COMPLETE", "FAIL"]), 2))]
    order = chance.sample(story, len(story)) + chance.choices(story, k=EVENTS - len(story))
    chance.shuffle(order)
    rig = Rig(tmp_path, CONFIG, Clock(at(12)))
    server = http(rig)
    began = time.perf_counter()
    with httpx.Client(base_url=server.url, timeout=60, limits=httpx.Limits(max_connections=16)) as client, concurrent.futures.ThreadPoolExecutor(16) as pool:
        statuses = set(pool.map(lambda one: client.post("/api/v1/lineage", json=one).status_code, order))
    took = time.perf_counter() - began
    assert statuses == {200}
    received = time.perf_counter()
    rig.tick()
    for _ in range(20):
        rig.tick()
    counted = sum(value for key, value in rig.series().items() if key.startswith("pipeline_runs_total"))
    assert counted == EVENTS // 4
    print(f"{EVENTS:,} events one by one: {EVENTS / took:,.0f} a second answered ({EVENTS / took / 500:.1f} times 500; client in the same process), then {time.perf_counter() - received:.0f} s of work, {counted:,.0f} runs")
    server.stop()
    rig.close()
