"""What the row-count model remembers of one bucket."""

from __future__ import annotations

from typing import Any

NORMAL, LOW, HIGH, IDLE = 0, -1, 1, 2
"""What became of a bucket: learned from, flagged to one side, or neither judged nor learned from."""


class Seen:
    """What is remembered of a bucket: `zero` is 1 for no rows, 0 for some, -1 when it does not count; `dev` its distance
    from its neighbours while class medians are used; `x` what level and offset left unexplained; `r` the residual."""

    __slots__ = ("dev", "fate", "g", "place", "r", "valid", "weekend", "x", "zero")

    def __init__(
        self, g: float, place: int, weekend: bool, zero: int, valid: bool = False, fate: int = IDLE, x: float = 0.0, r: float = 0.0, dev: float | None = None
    ) -> None:
        self.g, self.place, self.weekend, self.zero, self.valid = g, place, weekend, zero, valid
        self.fate, self.x, self.r, self.dev = fate, x, r, dev

    def dump(self) -> list[Any]:
        return [self.g, self.place, self.weekend, self.zero, self.valid, self.fate, self.x, self.r, self.dev]
