"""The mirror speaks DogStatsD, keeps to the size of a datagram, and never waits."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.catalog import metrics as m
from exporter.publish.statsd import UDP_BYTES, Statsd, gauges, packed, run_lines

NOW = 1_000_000.0
SAMPLES = {
    m.OVERALL_SCORE: {("sales.orders",): 0.93}, m.SCORE: {("sales.orders", "completeness"): 0.5}, m.FRESHNESS: {("sales.orders",): NOW - 7200, ("future",): NOW + 60},
    m.TABLE_ROWS: {("sales.orders",): 2_000_000}, m.PIPELINE_STATUS: {("a", "airflow"): 2, ("b", "airflow"): 0, ("c", "airflow"): 1},
    m.PIPELINE_COST: {("a", "1d"): 2.5, ("a", "30d"): 70}, m.TABLE_VERSION: {("sales.orders",): 7},
}  # fmt: skip


def test_names_and_units_are_those_of_the_first_design() -> None:
    assert set(gauges(SAMPLES, NOW)) == {
        "dq.overall_score:93|g|#table:sales.orders", "dq.completeness_score:50|g|#table:sales.orders", "data.freshness_hours:2|g|#table:sales.orders",
        "data.freshness_hours:0|g|#table:future", "table.row_count:2000000|g|#table:sales.orders", "pipeline.status:1|g|#pipeline:a", "pipeline.status:0|g|#pipeline:b",
        "pipeline.estimated_cost_usd:2.5|g|#pipeline:a",
    }  # fmt: skip


def test_a_run_is_counted_and_timed_with_its_result() -> None:
    assert run_lines("a", True, 61.5) == ["pipeline.runs:1|c|#pipeline:a,status:success", "pipeline.duration:61.5|h|#pipeline:a,status:success"]
    assert "status:failure" in run_lines("a", False, 1)[0]


def test_what_would_break_the_protocol_is_replaced() -> None:
    (line,) = gauges({m.TABLE_ROWS: {("a|b#c,d\ne",): 1}}, NOW)
    assert line == "table.row_count:1|g|#table:a_b_c_d_e"


@given(st.lists(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=300), max_size=60), st.integers(20, 400))
def test_no_datagram_is_too_long_and_no_line_that_fits_is_lost(lines: list[str], limit: int) -> None:
    datagrams = list(packed(lines, limit))
    assert all(len(one) <= limit for one in datagrams)
    assert b"\n".join(datagrams).decode().split("\n") == ([line for line in lines if len(line.encode()) <= limit] or [""])


def test_lines_arrive_over_udp_and_over_a_unix_socket(tmp_path: Path) -> None:
    udp, unix = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    unix.bind(str(tmp_path / "dsd.socket"))
    for server, address in ((udp, f"udp://127.0.0.1:{udp.getsockname()[1]}"), (unix, f"unix://{tmp_path}/dsd.socket")):
        server.settimeout(5)
        agent = Statsd(address)
        agent.send(gauges(SAMPLES, NOW))
        assert b"dq.overall_score:93|g|#table:sales.orders" in server.recv(UDP_BYTES * 6)
        agent.close()
        server.close()


def test_an_agent_that_is_not_there_costs_nothing_and_is_counted(tmp_path: Path) -> None:
    agent = Statsd(f"unix://{tmp_path}/nobody")
    start = time.monotonic()
    for _ in range(1000):
        agent.send(["a:1|g"])
    assert time.monotonic() - start < 2 and agent.dropped == 1000
    agent.close()


@pytest.mark.parametrize("address", ["127.0.0.1:8125", "udp://host", "tcp://h:1", "unix://relative", ""])
def test_an_address_that_is_none_says_how_to_write_it(address: str) -> None:
    with pytest.raises(ValueError, match=r"udp://HOST:PORT or unix:///PATH"):
        Statsd(address)
