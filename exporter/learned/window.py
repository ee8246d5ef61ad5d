"""The last numbers of a series, with their median at hand."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence


def median(ordered: Sequence[float]) -> float:
    """The median of sorted numbers, at least one."""
    middle = len(ordered) >> 1
    return ordered[middle] if len(ordered) & 1 else 0.5 * (ordered[middle - 1] + ordered[middle])


class Window:
    """The last numbers, with their median at hand."""

    __slots__ = ("arrived", "ordered", "size")

    def __init__(self, size: int, numbers: Iterable[float] = ()) -> None:
        self.size, self.arrived = size, list(numbers)
        self.ordered = sorted(self.arrived)

    def add(self, number: float) -> None:
        self.arrived.append(number)
        insort(self.ordered, number)
        if len(self.arrived) > self.size:
            del self.ordered[bisect_left(self.ordered, self.arrived.pop(0))]

    def __len__(self) -> int:
        return len(self.ordered)
