"""Expressions know only what the catalogue has, and the text that comes of them is PromQL."""

from __future__ import annotations

import pytest

from exporter.catalog import labels as lb
from exporter.catalog import metrics as m
from exporter.catalog.labels import Outcome, Window
from exporter.catalog.promql import (
    BadQuery,
    Number,
    aggregate,
    binary,
    buckets,
    increase,
    label_replace,
    like,
    now,
    observations,
    rate,
    sel,
)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: sel(m.CHECK_STATUS, {lb.PIPELINE: "p"}), "dq_check_status has no label pipeline"),
        (lambda: sel(m.EVALUATION_DURATION), "is a histogram"),
        (lambda: buckets(m.CHECK_STATUS), "not a histogram"),
        (lambda: rate(sel(m.CHECK_STATUS), "5m"), "rate of dq_check_status, which is a gauge"),
        (lambda: aggregate("sum", sel(m.TABLE_ROWS), (lb.CHECK,)), "cannot aggregate by check"),
        (lambda: aggregate("median", sel(m.TABLE_ROWS)), "median is no aggregation"),
        (lambda: binary("/", sel(m.TABLE_ROWS), sel(m.PIPELINE_STATUS), (lb.TABLE,)), "cannot join on table"),
        (lambda: binary("*", sel(m.TABLE_ROWS), sel(m.TABLE_INFO), (lb.TABLE,), (lb.CHECK,)), "cannot take check"),
        (lambda: binary("%%", sel(m.TABLE_ROWS), Number(1)), "is no operator"),
    ],
)
def test_what_the_catalogue_does_not_have_cannot_be_asked(build: object, says: str) -> None:
    with pytest.raises(BadQuery, match=says):
        build()  # type: ignore[operator]


def test_expressions_are_written_with_all_the_parentheses_they_need() -> None:
    age = binary("-", now(), aggregate("max", sel(m.FRESHNESS), (lb.TABLE,)))
    assert str(binary("/", age, Number(3600)) > 24) == "((time() - max by (table) (dq_freshness_timestamp_seconds)) / 3600) > 24"
    joined = binary("*", sel(m.CHECK_STATUS), sel(m.CHECK_INFO), (lb.TABLE, lb.CHECK), (lb.TEAM,))
    assert str(joined) == "dq_check_status * on (table, check) group_left (team) dq_check_info"
    assert joined.labels >= {lb.TABLE, lb.CHECK, lb.TEAM, lb.JOB}


def test_matchers_quote_what_users_write() -> None:
    assert str(sel(m.TABLE_ROWS, {lb.TABLE: 'a"b\\c'})) == r'dq_table_rows{table="a\"b\\c"}'
    assert str(sel(m.CHECK_RUNS, {lb.OUTCOME: Outcome.ERROR})) == 'dq_check_runs_total{outcome="error"}'


def test_where_reaches_every_selector_that_has_the_label_and_no_other() -> None:
    share = binary("/", aggregate("max", sel(m.PIPELINE_COST, {lb.WINDOW: Window.DAY}), (lb.PIPELINE,)), aggregate("max", sel(m.SLA_DEADLINE), (lb.PIPELINE,)), (lb.PIPELINE,))
    narrowed = str(share.where({lb.PIPELINE: like("$pipeline"), lb.TABLE: "t"}))
    assert narrowed.count('pipeline=~"$pipeline"') == 2 and "table" not in narrowed


def test_functions_keep_labels_and_windows() -> None:
    assert str(increase(sel(m.CHECK_RUNS).ago("1d"), "1h")) == "increase(dq_check_runs_total[1h] offset 1d)"
    assert lb.TEAM in label_replace(sel(m.TABLE_ROWS), lb.TEAM, "x", lb.TABLE, ".*").labels
    assert lb.LE in buckets(m.EVALUATION_DURATION).labels and lb.LE not in observations(m.EVALUATION_DURATION).labels
    assert str(aggregate("topk", sel(m.TABLE_ROWS), (), 5)) == "topk(5, dq_table_rows)"
    assert [one.name for one in (sel(m.TABLE_ROWS) > 5).selectors()] == ["dq_table_rows"]
