"""What is wrong with a configuration: where and why, all of it at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault; line and column count from 1. The text never holds a secret."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ConfigError(Exception):
    """The configuration cannot be used; `problems` are sorted by file, line and column."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: list[Problem] = sorted(set(problems))
        super().__init__("\n".join(map(str, self.problems)))


def nearest(word: str, choices: Iterable[str]) -> str:
    """`, did you mean "…"?` for the choice spelt most alike, or nothing."""
    options = list(choices)
    by_lower = {option.lower(): option for option in reversed(options)}
    found = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.6)
    return f', did you mean "{by_lower[found[0]]}"?' if found else ""
