"""Users' SQL is one read-only expression or query, or it is refused when it is loaded."""

import pytest

from exporter.expression import ExpressionError, parse_expression, parse_query

REFUSED = [
    ("a > 1; drop table x", "exactly one statement"),
    ("delete from x", "only read"),
    ("a = (select max(b) from t)", "subquery"),
    ("count(*) > 1", "aggregate"),
    ("row_number() over (order by a) = 1", "window"),
    ("reflect('java.lang.Runtime', 'getRuntime')", "not allowed"),
    ("java_method('a', 'b') = 1", "not allowed"),
    ("select 1", "not a query"),
    ("a >", "not valid"),
    ("dq_col('a') > 1", "reserved"),
    ("", "exactly one"),
]


@pytest.mark.parametrize(("sql", "why"), REFUSED)
def test_what_is_not_one_expression_on_a_row_is_refused(sql: str, why: str) -> None:
    with pytest.raises(ExpressionError, match=why):
        parse_expression(sql)


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("select 1; select 2", "exactly one statement"),
        ("insert into t select 1", "one SELECT|only read"),
        ("select a, b from {table}", "exactly one column"),
        ("select * from {table}", "exactly one column"),
        ("merge into t using s on t.a = s.a when matched then delete", "only read"),
        ("select 1 into x", "only read"),
        ("a > 1", "one SELECT"),
        ("select count(*) from {other}", "placeholder"),
        ("with x as (delete from t) select 1 from x", "only read|not valid"),
        ("create table x as select 1", "only read"),
        ("set spark.sql.ansi.enabled = false", "only read"),
    ],
)
def test_what_is_not_one_reading_query_is_refused(sql: str, why: str) -> None:
    with pytest.raises(ExpressionError, match=why):
        parse_query(sql)


def test_a_comment_does_not_swallow_what_the_text_is_composed_with() -> None:
    assert "--" not in parse_expression("a > 1 -- really").sql


def test_text_is_kept_as_it_was_written() -> None:
    assert parse_expression("  Date_Sub(d, 7) >= DATE'2026-01-01' ;").sql == "Date_Sub(d, 7) >= DATE'2026-01-01'"
