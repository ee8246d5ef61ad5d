"""Which tier answers which measurement: the first that is exact, in order of cost. `explain` prints a plan, `run` answers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from exporter.catalog.labels import Engine, Tier
from exporter.engine.cancel import Cancel
from exporter.engine.snapshot import Snapshot
from exporter.model import Failure, Measurement, Reason, Scan, Value


@dataclass(frozen=True)
class Offer:
    """What a source can answer exactly (with the tier that each would come from), and why not the rest.

    A refusal that is a `Failure` is final: no engine could answer it. An empty one is not worth telling.
    """

    tiers: Mapping[Measurement, Tier] = field(default_factory=dict)
    refused: Mapping[Measurement, str | Failure] = field(default_factory=dict)


@dataclass(frozen=True)
class Answers:
    """Values or failures, seconds by tier, and what was read for them."""

    values: Mapping[Measurement, Value | Failure] = field(default_factory=dict)
    seconds: Mapping[Tier, float] = field(default_factory=dict)
    scan: Scan | None = None


class Source(Protocol):
    """Something that answers measurements of one snapshot: metadata, the native engine or Spark."""

    engine: Engine | None

    def offer(self, snapshot: Snapshot, wanted: Sequence[Measurement]) -> Offer:
        """What it can answer exactly; reads nothing."""

    def answer(self, snapshot: Snapshot, offer: Offer, cancel: Cancel) -> Answers:
        """Answers its own offer; a failure is a value, nothing is raised."""


@dataclass(frozen=True)
class Plan:
    """For each measurement its source and tier, the reasons why nothing before was exact, or its failure."""

    steps: Sequence[tuple[Source, Offer]]
    failures: Mapping[Measurement, Failure]
    why_not: Mapping[Measurement, tuple[str, ...]]

    def tier(self, wanted: Measurement) -> Tier | None:
        """The tier that answers, or None."""
        return next((offer.tiers[wanted] for _, offer in self.steps if wanted in offer.tiers), None)

    def engine(self, wanted: Measurement) -> Engine | None:
        """The engine that answers, or None where none is needed."""
        return next((source.engine for source, offer in self.steps if wanted in offer.tiers), None)


def plan(snapshot: Snapshot, wanted: Sequence[Measurement], sources: Sequence[Source]) -> Plan:
    """Offers the measurements to the sources in turn; what nobody takes fails with the last reason."""
    steps: list[tuple[Source, Offer]] = []
    failures: dict[Measurement, Failure] = {}
    why_not: dict[Measurement, tuple[str, ...]] = {}
    left = list(dict.fromkeys(wanted))
    for source in sources:
        if not left:
            break
        offer = source.offer(snapshot, left)
        if offer.tiers:
            steps.append((source, offer))
        for measurement, refusal in offer.refused.items():
            if isinstance(refusal, Failure):
                failures[measurement] = refusal
            elif refusal:
                why_not[measurement] = (*why_not.get(measurement, ()), refusal)
        left = [one for one in left if one not in offer.tiers and one not in failures]
    for measurement in left:
        reasons = why_not.get(measurement, ("no engine may answer it",))
        failures[measurement] = Failure(Reason.ENGINE, f"no allowed engine answers this exactly: {reasons[-1]}")
    return Plan(steps, failures, why_not)
