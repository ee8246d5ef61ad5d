"""The metadata tier: what the table's log or footers say exactly, without reading a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter

from exporter.catalog.labels import Engine, Tier
from exporter.engine.cancel import Cancel
from exporter.engine.plan import Answers, Offer
from exporter.engine.snapshot import EngineError, Snapshot
from exporter.model import Counts, Failure, Measure, Measurement, Reason, Value


class Metadata:
    """Answers schema, last commit, partitions and unfiltered rows from the snapshot."""

    engine: Engine | None = None

    def offer(self, snapshot: Snapshot, wanted: Sequence[Measurement]) -> Offer:
        tiers: dict[Measurement, Tier] = {}
        refused: dict[Measurement, str | Failure] = {}
        for one in wanted:
            answer = self._answer(snapshot, one)
            if isinstance(answer, tuple):
                tiers[one] = Tier.METADATA
            else:
                refused[one] = answer
        return Offer(tiers, refused)

    def answer(self, snapshot: Snapshot, offer: Offer, cancel: Cancel) -> Answers:
        started = perf_counter()
        values: dict[Measurement, Value | Failure] = {}
        for one in offer.tiers:
            found = self._answer(snapshot, one)
            assert isinstance(found, tuple)
            values[one] = found[0]
        return Answers(values, {Tier.METADATA: perf_counter() - started})

    def _answer(self, snapshot: Snapshot, wanted: Measurement) -> tuple[Value] | str | Failure:
        """The value in a tuple, why metadata cannot tell, or a final failure."""
        match wanted.kind:
            case Measure.SCHEMA:
                return (snapshot.schema,)
            case Measure.COMMIT:
                if snapshot.commit is None and snapshot.facts.version is not None and snapshot.facts.rows == 0:
                    return (None,)  # created, and never loaded
                if snapshot.commit is None:
                    text = f"{snapshot.spec.name} ({snapshot.spec.format}) has no commit that tells when data came; give a column"
                    return Failure(Reason.UNSUPPORTED, text)
                return (snapshot.commit,)
            case Measure.ROWS if wanted.where is None and snapshot.spec.filter is None:
                return (snapshot.facts.rows,) if snapshot.facts.rows is not None else "no exact row counts in the metadata"
            case Measure.COMMITS:
                return ""  # the log itself is asked next
            case Measure.ROWS:
                return "a filter needs the rows themselves"
            case Measure.PARTITIONS | Measure.BUCKETS if wanted.where is None and snapshot.spec.filter is None and snapshot.partitions is not None:
                return self._partitions(snapshot, wanted, snapshot.partitions)
        return f"metadata has no {wanted.kind.replace('_', ' ')}"

    def _partitions(self, snapshot: Snapshot, wanted: Measurement, known: Mapping[str, Mapping[str, int | None]]) -> tuple[Value] | str | Failure:
        """The values of a partition column, or the rows of each."""
        try:
            column = snapshot.column(wanted.columns[0])
        except EngineError as error:
            return error.failure
        if column.name not in known:
            return f"{column.name} is no partition column"
        values = known[column.name]
        if wanted.among:
            return "rows by a second column need the rows themselves"
        if wanted.kind is Measure.PARTITIONS:
            return (tuple(values),)
        rows = {value: count for value, count in values.items() if count is not None}
        return (Counts(rows),) if len(rows) == len(values) else "no exact row counts in the metadata"
