"""The client inside other people's pipelines: whatever happens to it or to them, the pipeline goes on as it would without it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from exporter.client import Client
from tests.doubles.serving import Asked, Double, Told


class Receiver:
    """Takes events and remembers them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.double = Double(self._answer)

    def _answer(self, asked: Asked) -> Told:
        self.events.append(asked.body)
        return Told(200, {})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    with made.double.serving():
        yield made


def test_further_keys_of_a_run_never_break_the_pipeline(receiver: Receiver) -> None:
    done = []
    with Client(receiver.double.url).run("nightly", 7, started_at="2026-11-20T05:00:00Z", state="lost", url="https://example.com") as run:  # type: ignore[arg-type]
        done.append(run)
    assert done == ["7"]
    assert [(one["state"], one["run_id"]) for one in receiver.events] == [("running", "7"), ("success", "7")]
    assert receiver.events[0]["started_at"] == "2026-11-20T05:00:00Z"


def test_an_error_that_cannot_be_read_is_raised_on_as_it_is(receiver: Receiver) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    with pytest.raises(Unspeakable), Client(receiver.double.url).run("nightly"):
        raise Unspeakable
    assert receiver.events[-1]["error"]["class"] == "Unspeakable"


@pytest.mark.parametrize(("code", "state"), [(None, "success"), (0, "success"), (1, "failed"), ("disk full", "failed")])
def test_a_script_that_ends_by_sys_exit_has_failed_only_if_its_code_says_so(receiver: Receiver, code: Any, state: str) -> None:
    with pytest.raises(SystemExit), Client(receiver.double.url).run("nightly"):
        sys.exit(code)
    assert receiver.events[-1]["state"] == state
