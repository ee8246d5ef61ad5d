"""Log lines are structured, and no secret is in any of them."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from exporter.logs import set_up

SECRET = 'hun"ter\\2\nx'


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_and_logger() -> None:
    stream = io.StringIO()
    set_up("info", "json", stream=stream)
    structlog.get_logger("dq").info("evaluated", table="a", seconds=1.5)
    (line,) = lines(stream)
    assert {key: line[key] for key in ("event", "level", "logger", "table", "seconds")} == {
        "event": "evaluated", "level": "info", "logger": "dq", "table": "a", "seconds": 1.5,
    }  # fmt: skip
    assert line["timestamp"].endswith("Z")


def test_the_standard_library_and_warnings_take_the_same_way() -> None:
    stream = io.StringIO()
    set_up("warning", "json", ["hunter22"], stream)
    logging.getLogger("lib").warning("of %s", "hunter22", extra={"more": {"deep": ["hunter22"]}})
    logging.getLogger("lib").info("not shown")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("about hunter22", stacklevel=1)
    first, second = lines(stream)
    assert first["event"] == "of ***" and first["more"] == {"deep": ["***"]}
    assert "hunter22" not in str(second) and "about ***" in second["event"]


@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize("logger", [structlog.get_logger("a"), logging.getLogger("b")])
def test_secrets_are_masked_in_texts_values_keys_and_exceptions(format_: Any, logger: Any) -> None:
    stream = io.StringIO()
    set_up("debug", format_, [SECRET, "12345678", "abc"], stream)
    try:
        raise RuntimeError(f"cannot open postgresql://dq:pass@db/x with {SECRET} or {SECRET!r}")
    except RuntimeError:
        logger.exception("failed with 12345678")
    text = stream.getvalue()
    assert "RuntimeError" in text and "failed with ***" in text and "postgresql://dq:***@db/x" in text
    for hidden in (SECRET, SECRET.replace("\n", "\\n"), json.dumps(SECRET)[1:-1], repr(SECRET)[1:-1], "12345678", "pass@"):
        assert hidden not in text


def test_numbers_objects_and_tuples_are_masked_too() -> None:
    stream = io.StringIO()
    redaction = set_up("info", "json", ["12345678"], stream)
    redaction.add(["later-secret"])
    structlog.get_logger().info("x", number=12345678, error=ValueError("later-secret"), pair=("later-secret", None), later_secret=True)
    (line,) = lines(stream)
    assert (line["number"], line["error"], line["pair"]) == ("***", "***", ["***", None])


def test_short_values_are_not_masked() -> None:
    stream = io.StringIO()
    set_up("info", "json", ["abc"], stream)
    structlog.get_logger().info("abcdef")
    assert lines(stream)[0]["event"] == "abcdef"


def test_a_second_set_up_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    set_up("info", "json", stream=first)
    set_up("error", "json", stream=second)
    structlog.get_logger().info("quiet")
    structlog.get_logger().error("loud")
    assert first.getvalue() == "" and [line["event"] for line in lines(second)] == ["loud"]
