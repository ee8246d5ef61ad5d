"""Keeps in memory what the collector keeps in the store, so that a source can be asked again and again in a test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from exporter.pipelines.base import DeadLetter, Flow, Known, OpenRun, Polled, SourceModel, TestResult
from exporter.pipelines.http import Http, Patience
from exporter.pipelines.run import PipelineRun, RunReport, RunState
from exporter.pipelines.state import advance


def http_to(url: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC), sleep: Callable[[float], None] = lambda seconds: None, **patience: Any) -> Http:
    """HTTP without waits between attempts."""
    return Http(url, Patience(**{"timeout": timedelta(seconds=5), "wait": timedelta(milliseconds=1), **patience}), sleep, clock)


class Driver:
    """One source under watch: what a poll finds is kept together with its checkpoint, or, when it raises, nothing is."""

    def __init__(self, source: SourceModel, http: Http, jobs: Iterable[str] = (), wants: Callable[[str], bool] | None = None, secrets: Mapping[str, str] | None = None) -> None:
        self.source, self.http, self.jobs = source, http, frozenset(jobs)
        self.wants = wants or (lambda job: job in self.jobs)
        self.secrets = dict(secrets or {})
        self.runs: dict[tuple[str, str], tuple[PipelineRun, ...]] = {}
        self.heard: dict[tuple[str, str], datetime] = {}
        self.checkpoint: dict[str, Any] = {}
        self.letters: list[DeadLetter] = []
        self.tests: dict[tuple[str, str], TestResult] = {}
        self.flows: tuple[Flow, ...] = ()
        self.with_history: set[str] = set()
        self.clock: Callable[[], datetime] = http.clock
        self.restart()

    def restart(self) -> None:
        """A new process: only what was stored is left."""
        poller = self.source.poller(self.secrets, self.http)
        assert poller is not None
        self.poller = poller

    def poll(self) -> Polled:
        """Asks once and keeps what was found."""
        polled = self.poller.poll(self.known())
        for report in polled.reports:
            assert self.wants(report.job), report
            self.keep(report)
        self.checkpoint = json.loads(json.dumps(polled.checkpoint))
        self.letters += polled.letters
        self.with_history |= set(polled.histories)
        self.tests.update({(test.dataset, test.name): test for test in polled.tests})
        self.flows = tuple(polled.flows) or self.flows
        return polled

    def known(self) -> Known:
        """What the collector would hand to a poll."""
        open_runs = [OpenRun(*key, self.heard[key]) for key, attempts in self.runs.items() if not attempts[-1].state.is_terminal]
        return Known(
            json.loads(json.dumps(self.checkpoint)), self.wants, self.jobs,
            lambda jobs: [job for job in dict.fromkeys(jobs) if job not in self.with_history], open_runs, self.clock(),
        )  # fmt: skip

    def keep(self, report: RunReport) -> None:
        """One report through the state machine."""
        key = (report.job, report.run_id)
        self.heard[key] = self.clock()
        self.runs[key] = advance("source", self.runs.get(key, ()), report, self.clock())

    def states(self) -> dict[str, list[RunState]]:
        """The states of all attempts by run id."""
        return {run_id: [attempt.state for attempt in attempts] for (_, run_id), attempts in self.runs.items()}
