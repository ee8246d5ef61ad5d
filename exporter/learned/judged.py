"""What is said of one bucket, by the model and by people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from exporter.catalog.labels import Learning


class Feedback(StrEnum):
    """What a person said of a bucket."""

    EXPECTED = "expected"
    BAD = "bad"


class Sensitivity(StrEnum):
    """How small a deviation is reported."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on one bucket; nothing in it depends on a later one.

    `expected`, `lower` and `upper` are rows, None while too little is known. `score` is the deviation in robust
    standard deviations of ln(1 + rows). `note` says what kind of anomaly it is, or why there is none to report.
    """

    start: datetime
    rows: int
    expected: float | None
    lower: float | None
    upper: float | None
    score: float | None
    state: Learning
    anomaly: bool
    note: str = ""
    event: str | None = None
