"""The runs of pipelines as a source of measurements: when a table was last written by a run that succeeded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from exporter.catalog.labels import Engine, Tier
from exporter.engine.cancel import Cancel
from exporter.engine.plan import Answers, Offer
from exporter.engine.snapshot import Snapshot
from exporter.model import Failure, Measure, Measurement, Reason

LastSuccess = Callable[[str], datetime | Failure]
"""By name of a table the end of the last successful run that wrote it, or why it is not known."""


def no_runs(table: str) -> Failure:
    """Where nothing is known of runs."""
    return Failure(Reason.HISTORY, f"the runs that write {table} are not known here: they are kept in the store by `dq-exporter run`")


class RunLog:
    """Answers RUN from what is known of runs; reads nothing of the table."""

    engine: Engine | None = None

    def __init__(self, last_success: LastSuccess) -> None:
        self._last_success = last_success

    def offer(self, snapshot: Snapshot, wanted: Sequence[Measurement]) -> Offer:
        return Offer({one: Tier.HISTORY for one in wanted if one.kind is Measure.RUN})

    def answer(self, snapshot: Snapshot, offer: Offer, cancel: Cancel) -> Answers:
        return Answers({one: self._last_success(snapshot.spec.name) for one in offer.tiers})
