"""The page says exactly what was stored, in both formats, and never goes back."""

from __future__ import annotations

import gzip
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import parser
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from exporter.catalog import metrics as m
from exporter.catalog.labels import Outcome
from exporter.model import Evaluation, Reason, TableSpec, Verdict
from exporter.publish.encoding import accepts_gzip, gzip_member, segment, wants_openmetrics
from exporter.publish.prometheus import Publisher, increments_of, series_bound
from exporter.store import Store
from tests.web.fabricate import MINUTE, NOW, check, evaluation, problem, table, verdict

OM = "application/openmetrics-text;version=1.0.0"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(publisher: Publisher, accept: str = "", prefix: str = "dq_") -> Samples:
    body, _, _ = publisher.render(accept)
    parse = parse_openmetrics if accept else parser.text_string_to_metric_families
    found: Samples = {}
    for family in parse(body.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"twice: {key}"
            if sample.name.startswith(prefix):
                found[key] = sample.value
    return found


def of(page: Samples, metric: m.Metric, **labels: str) -> list[float]:
    return [
        value for (name, found), value in page.items() if name == metric.name and labels.items() <= dict(found).items()
    ]


def running(*specs: TableSpec) -> Publisher:
    publisher = Publisher()
    publisher.reconfigure(specs)
    return publisher


def run(publisher: Publisher, done: Evaluation) -> None:
    publisher.publish(done, increments_of(done))


NASTY = ['quote " quote', "back \\ slash", "new\nline", "ünï ☃ 𝄞", "\\n not a newline", "a,b={c}"]


@pytest.mark.parametrize("name", NASTY)
def test_label_values_survive_both_formats(name: str) -> None:
    spec = table(name, check(name))
    publisher = running(spec)
    run(publisher, evaluation(spec, [verdict()]))
    text, open_ = samples(publisher), samples(publisher, OM)
    assert text == open_
    assert of(text, m.CHECK_STATUS, table=name, check=f"not_null_{name}") == [1]
    assert publisher.render(OM)[0].endswith(b"# EOF\n")


def test_before_any_run_the_check_is_announced_and_has_no_status() -> None:
    page = samples(running(table()))
    assert of(page, m.CHECK_INFO, check="not_null_email", column="email", severity="high") == [1]
    assert of(page, m.CHECK_INTERVAL) == [900]
    assert of(page, m.CHECK_RUNS) == [0] * 6
    absent = (m.CHECK_STATUS, m.CHECK_LAST_OUTCOME, m.CHECK_LAST_RUN, m.OVERALL_SCORE, m.TABLE_ROWS)
    assert not any(of(page, metric) for metric in absent)
    assert of(page, m.OVERALL_COVERAGE) == [0]


def test_an_error_keeps_the_last_verdict_and_lets_it_age() -> None:
    spec = table()
    publisher = running(spec)
    run(publisher, evaluation(spec, [verdict(Outcome.FAIL, 7)]))
    run(publisher, evaluation(spec, [problem()], NOW + 5 * MINUTE))
    page = samples(publisher)
    assert of(page, m.CHECK_STATUS) == [0]
    assert of(page, m.CHECK_LAST_OUTCOME) == of(page, m.CHECK_LAST_OUTCOME, outcome="error") == [1]
    assert of(page, m.CHECK_FAILED_ROWS) == [7]
    assert of(page, m.CHECK_LAST_VERDICT) == [NOW.timestamp()]
    assert of(page, m.CHECK_LAST_RUN) == [(NOW + 5 * MINUTE).timestamp()]
    assert of(page, m.OVERALL_COVERAGE) == [0]
    assert of(page, m.OVERALL_SCORE)[0] < 1


def test_a_value_that_does_not_exist_is_absent_not_nan() -> None:
    spec = table()
    publisher = running(spec)
    run(publisher, evaluation(spec, [replace(verdict(), value=math.nan)], version=None))
    page = samples(publisher)
    assert not any(of(page, metric) for metric in (m.CHECK_VALUE, m.TABLE_ROWS, m.TABLE_VERSION))
    assert not any(math.isnan(value) for value in page.values())


def test_gauges_of_a_check_are_published_even_when_it_is_not_due() -> None:
    spec = table()
    publisher = running(spec)
    quiet = Verdict(Outcome.SKIPPED, "not today", Reason.NOT_DUE, gauges={(m.FRESHNESS, ()): 5.0})
    run(publisher, evaluation(spec, [quiet]))
    assert of(samples(publisher), m.FRESHNESS) == [5]


def test_a_restart_publishes_the_same_samples(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/dq.db"
    specs = [table("a", check("x"), check("y")), table("b", check("z"))]
    store = Store.open(url)
    before = Publisher(persist=store.add)
    before.restore(store.restore(specs), store.load_counters())
    for minute, verdicts in enumerate([[verdict(), verdict(Outcome.FAIL, 9)], [problem(), verdict(Outcome.WARN, 1)]]):
        done = evaluation(specs[0], verdicts, NOW + minute * MINUTE)
        store.save(done, increments_of(done))
        run(before, done)
    before.count(m.CONFIG_RELOADS, ("http",))
    expected = samples(before)
    store.close()
    again = Store.open(url)
    after = Publisher(persist=again.add)
    after.restore(again.restore(specs), again.load_counters())
    after.render()
    assert samples(after) == samples(after, OM) == samples(before) == {**expected, **samples(before)}


def test_counters_never_go_back_over_save_and_reopen(tmp_path: Path) -> None:
    spec, last = table(), -1.0
    for minute in range(5):
        store = Store.open(f"sqlite:///{tmp_path}/dq.db")
        publisher = Publisher()
        publisher.restore(store.restore([spec]), store.load_counters())
        done = evaluation(spec, [verdict()], NOW + minute * MINUTE)
        store.save(done, increments_of(done))
        run(publisher, done)
        [now] = of(samples(publisher), m.CHECK_RUNS, outcome="pass")
        assert now > last
        last = now
        store.close()
    assert last == 5


def test_a_failing_store_neither_breaks_nor_loses_process_counters() -> None:
    stored: dict[object, float] = {}
    failing = [True]

    def persist(increments: object) -> None:
        if failing[0]:
            raise OSError("disk full")
        assert isinstance(increments, dict)
        stored.update(increments)

    publisher = Publisher(persist=persist)
    publisher.count(m.STORE_ERRORS)
    assert of(samples(publisher), m.STORE_ERRORS) == [1]
    failing[0] = False
    publisher.count(m.STORE_ERRORS)
    assert stored == {(m.STORE_ERRORS.name, ()): 2}


def test_a_reload_keeps_the_state_of_what_stays() -> None:
    a, b = table("a", check("x"), check("y")), table("b")
    publisher = running(a, b)
    run(publisher, evaluation(a, [verdict(), verdict()]))
    publisher.reconfigure([table("a", check("x"), check("new")), table("c")])
    page = samples(publisher)
    assert of(page, m.CHECK_STATUS) == of(page, m.CHECK_STATUS, check="not_null_x") == [1]
    assert of(page, m.CHECK_RUNS, check="not_null_x", outcome="pass") == [1]
    assert not of(page, m.CHECK_RUNS, check="not_null_y")
    assert not of(page, m.TABLE_INFO, table="b")
    assert of(page, m.TABLE_INFO, table="c") == [1]


def test_a_check_that_became_another_has_no_verdict_until_it_is_run() -> None:
    before = table("a", replace(check("x"), fingerprint="1"), check("y"))
    publisher = running(before)
    run(publisher, evaluation(before, [verdict(), verdict()]))
    publisher.reconfigure([table("a", replace(check("x"), fingerprint="2"), check("y"))])
    page = samples(publisher)
    assert not of(page, m.CHECK_STATUS, check="not_null_x") and of(page, m.CHECK_STATUS, check="not_null_y") == [1]
    run(publisher, evaluation(before, [verdict(), verdict()]))  # it was under way when the configuration changed
    assert not of(samples(publisher), m.CHECK_STATUS, check="not_null_x")


def test_a_table_that_moved_has_no_facts_until_it_is_read() -> None:
    publisher = running(table("a"))
    run(publisher, evaluation(table("a"), [verdict()]))
    moved = replace(table("a"), path="/elsewhere")
    publisher.reconfigure([moved])
    assert not of(samples(publisher), m.TABLE_ROWS)
    run(publisher, evaluation(table("a"), [verdict()]))
    assert not of(samples(publisher), m.TABLE_ROWS)


def test_of_two_checks_that_publish_the_same_gauge_the_worse_one_counts() -> None:
    spec = table("a", check("strict"), check("lenient"))
    publisher = running(spec)
    strict = replace(verdict(Outcome.FAIL, 1), gauges={(m.FRESHNESS_MAX_AGE, ()): 1800.0})
    lenient = replace(verdict(), gauges={(m.FRESHNESS_MAX_AGE, ()): 777600.0})
    run(publisher, evaluation(spec, [strict, lenient]))
    assert of(samples(publisher), m.FRESHNESS_MAX_AGE) == [1800]


def test_an_evaluation_of_a_removed_table_does_not_come_back() -> None:
    publisher = running(table("a"))
    run(publisher, evaluation(table("gone"), [verdict()]))
    assert not of(samples(publisher), m.TABLE_INFO, table="gone")


def test_histograms_are_cumulative() -> None:
    spec = table()
    publisher = running(spec)
    run(publisher, evaluation(spec, [verdict()]))
    page = samples(publisher)
    buckets = {dict(labels)["le"]: value for (name, labels), value in page.items()
               if name == m.EVALUATION_DURATION.name + "_bucket" and dict(labels)["tier"] == "scan"}  # fmt: skip
    assert buckets == {"0.1": 0, "1.0": 0, "10.0": 1, "60.0": 1, "300.0": 1, "1800.0": 1, "+Inf": 1}


def test_a_zipped_page_is_the_plain_page() -> None:
    spec = table()
    publisher = running(spec)
    for minute in range(3):
        run(publisher, evaluation(spec, [verdict()], NOW + minute * MINUTE))
        body, _, encoding = publisher.render(gzip=True)
        assert encoding == "gzip"
        plain = publisher.render()[0].decode()
        ours = [line for line in gzip.decompress(body).decode().splitlines() if "dq_" in line]
        assert ours == [line for line in plain.splitlines() if "dq_" in line]


@given(st.binary(max_size=5000), st.binary(max_size=500))
def test_one_gzip_member_of_two_parts(first: bytes, tail: bytes) -> None:
    assert gzip.decompress(gzip_member(segment(first), tail)) == first + tail


def test_the_series_stay_below_the_bound() -> None:
    specs = [table("a", check("x"), check("y")), table("b")]
    publisher = running(*specs)
    run(publisher, evaluation(specs[0], [verdict(), verdict(Outcome.FAIL, 1)]))
    page = samples(publisher)
    [counted] = of(samples(publisher), m.SERIES)
    assert counted <= len(page) <= series_bound(specs)


def test_live_gauges_that_fail_do_not_break_the_scrape() -> None:
    def broken() -> dict[tuple[m.Metric, tuple[str, ...]], float]:
        raise RuntimeError("the scheduler is gone")

    assert of(samples(Publisher(live=broken)), m.EVALUATIONS) == [0]
    assert of(samples(Publisher(live=lambda: {(m.SCHEDULER_QUEUE, ()): 3})), m.SCHEDULER_QUEUE) == [3]


def test_the_format_is_negotiated() -> None:
    prometheus = f"{OM};q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
    assert wants_openmetrics(prometheus)
    assert not any(
        wants_openmetrics(accept) for accept in ("", "*/*", "text/html", f"text/plain,{OM};q=0.5", f"{OM};q=0")
    )
    assert accepts_gzip("deflate, gzip;q=0.5")
    assert not any(accepts_gzip(value) for value in ("", "br", "gzip;q=0", "identity"))
