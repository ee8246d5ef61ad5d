"""The pages for people, as HTML: no script, nothing from elsewhere, everything escaped."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from exporter import __version__
from exporter.catalog.labels import Bound, Outcome
from exporter.model import Verdict
from exporter.score import Score
from exporter.units import format_duration
from exporter.web.band import Band
from exporter.web.status import CheckView, Standing, StatusView, TableView

_FOLDER = Path(__file__).parent / "templates"
_CSS = (_FOLDER / "style.css").read_text(encoding="utf-8")
_CSS_HASH = base64.b64encode(hashlib.sha256(_CSS.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_CSS_HASH}'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""The Content-Security-Policy of every page: its one style sheet and its icon, nothing else."""
_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><rect width='16' height='16' rx='4' fill='#2f5bd0'/>"
    "<path d='M4 8.5l3 3 5-6' fill='none' stroke='#fff' stroke-width='2'/></svg>"
)
Run = tuple[datetime, Outcome, float | None]

WORDS = {
    Standing.FAIL: "failing",
    Standing.ERROR: "not evaluated",
    Standing.WARN: "warning",
    Standing.LEARNING: "learning",
    Standing.SKIPPED: "skipped",
    Standing.NEVER: "not run yet",
    Standing.PASS: "passing",
}
SYMBOLS = {
    Standing.FAIL: "✕",
    Standing.ERROR: "?",
    Standing.WARN: "▲",
    Standing.LEARNING: "…",
    Standing.SKIPPED: "–",
    Standing.NEVER: "○",
    Standing.PASS: "✓",
}


def home(status: StatusView) -> str:
    """The status page."""
    return render("home.html", status.at, status=status)


def table(
    shown: TableView, runs: Mapping[str, Sequence[Run]], bands: Mapping[str, Band], scores: Sequence[tuple[datetime, Score]], because: str | None, now: datetime
) -> str:
    """The page of one table; `runs` are the last runs of its checks, oldest first, `bands` the pictures of learned ones.

    `scores` are those of the last `SCORE_SPAN` and the one before, oldest first. `because` says which pipeline holds its data up.
    """
    lines = {check: spark(points) for check, points in runs.items()}
    return render("table.html", now, table=shown, sparks=lines, bands=bands, scores=score_line(scores, now), because=because)


def missing(name: str) -> str:
    """The page of a table that is not configured."""
    return render("missing.html", None, name=name, kind="table")


def render(template: str, now: datetime | None, **values: object) -> str:
    """The page of a template."""
    return _ENVIRONMENT.get_template(template).render(now=now, **values)


SCORE_SPAN = timedelta(days=30)
_SCORE_WIDTH, _SCORE_HEIGHT = 240, 30


def score_line(scores: Sequence[tuple[datetime, Score]], now: datetime) -> tuple[str, ...]:
    """Points of the steps in which the overall score went, one polyline for each time in which it was known."""
    lines: list[list[tuple[float, float]]] = [[]]
    for place, (at, score) in enumerate(scores):
        until = scores[place + 1][0] if place + 1 < len(scores) else now
        if score.ratio is None:
            lines.append([])
            continue
        y = round(_SCORE_HEIGHT - 2 - (_SCORE_HEIGHT - 4) * score.ratio, 1)
        for moment in (at, until):
            share = max(0.0, 1 - (now - moment) / SCORE_SPAN)
            lines[-1].append((round(share * _SCORE_WIDTH, 1), y))
    return tuple(" ".join(f"{x},{y}" for x, y in line) for line in lines if line)


# --- sparklines -----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Dot:
    """One run in a sparkline, in the units of its view box; `title` says what it was."""

    x: float
    y: float
    outcome: str
    title: str


_STEP, _TOP, _BOTTOM = 6.0, 4.0, 24.0


def spark(runs: Sequence[Run]) -> list[Dot]:
    """Dots from left to right, one per run, high values at the top; a run without a value stays at the bottom."""
    values = [value for _, _, value in runs if value is not None and math.isfinite(value)]
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    dots = []
    for place, (at, outcome, value) in enumerate(runs):
        y = _BOTTOM
        if value is not None and math.isfinite(value) and outcome.is_verdict:
            y = _BOTTOM - (_BOTTOM - _TOP) * (value - low) / (high - low) if high > low else (_TOP + _BOTTOM) / 2
        shown = "" if value is None else f": {_plain(value)}"
        dots.append(Dot(_STEP * (place + 0.5), round(y, 1), outcome.value, f"{utc(at)} {outcome.value}{shown}"))
    return dots


# --- filters --------------------------------------------------------------------------------------------------
def utc(moment: datetime | None) -> str:
    """`2026-01-15 09:55:01 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else ""


def age(moment: datetime | None, now: datetime) -> str:
    """`2h 5m ago`, `in 3m`, or `never`."""
    if moment is None:
        return "never"
    if moment > now:
        return f"in {format_duration(moment - now)}"
    return f"{format_duration(now - moment)} ago"


def due(moment: datetime | None, now: datetime) -> str:
    """`in 3m`, or `due now`."""
    return age(moment, now) if moment and moment > now else "due now"


def percent(ratio: float | None) -> str:
    """`93.4%`, never rounded up to 100%; a dash where unknown."""
    if ratio is None:
        return "–"
    return "100%" if ratio >= 1 else f"{math.floor(ratio * 1000) / 10:g}%"


def size(count: int | None) -> str:
    """`1.5 GiB`."""
    if count is None:
        return "–"
    amount, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while amount >= 1024 and len(units) > 1:
        amount, units = amount / 1024, units[1:]
    return f"{amount:.4g} {units[0]}"


def count(number: int | None) -> str:
    """`2,000,000`."""
    return "–" if number is None else f"{number:,}"


def seconds(amount: float | None) -> str:
    """`0.12 s`, `3m 4s`."""
    if amount is None:
        return "–"
    if amount < 0.001:
        return "<1 ms"
    return f"{amount:.2g} s" if amount < 10 else _duration(amount)


def observed(verdict: Verdict | None) -> str:
    """The value of a verdict with its unit."""
    return "–" if verdict is None or verdict.value is None else with_unit(verdict.value, verdict.unit)


def with_unit(value: float, unit: str) -> str:
    """A number in the unit of a check, as people write it."""
    if unit == "ratio" and math.isfinite(value):
        return f"{value * 100:.4g}%"
    if unit == "seconds" and math.isfinite(value):
        return _duration(value)
    return f"{_plain(value)} {unit.removesuffix('s') if value == 1 else unit}".strip()


def limit(verdict: Verdict | None) -> str:
    """The thresholds of a verdict in its unit."""
    if verdict is None:
        return "–"
    words = {Bound.MIN: "at least", Bound.MAX: "at most", Bound.WARN_MIN: "warn below", Bound.WARN_MAX: "warn above"}
    parts = [
        f"{words.get(bound, bound.value)} {with_unit(verdict.bounds[bound], verdict.unit)}"
        for bound in Bound
        if bound in verdict.bounds
    ]
    return ", ".join(parts) or verdict.threshold or "–"


def link(address: str) -> str:
    """The address if a browser may follow it (http or https), else nothing."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return address if parts.scheme in ("http", "https") and parts.netloc else ""


def outdated(check: CheckView) -> bool:
    """True when the latest run ended without a verdict, so that what is shown is older."""
    return check.state is not None and check.state.verdict is not None and check.state.latest != check.state.verdict


def _duration(amount: float) -> str:
    sign = "-" if amount < 0 else ""
    days, rest = divmod(round(abs(amount)), 86400)
    parts = [(days, "d"), (rest // 3600, "h"), (rest // 60 % 60, "m"), (rest % 60, "s")]
    return sign + (" ".join([f"{number}{unit}" for number, unit in parts if number][:2]) or "0s")


def _plain(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) or (value.is_integer() and abs(value) >= 1e15) else f"{value:,.15g}"


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.filters |= {
    "utc": utc, "age": age, "due": due, "percent": percent, "size": size, "number": count, "seconds": seconds,
    "observed": observed, "limit": limit, "link": link, "path": lambda text: quote(text, safe=""),
}  # fmt: skip
_ENVIRONMENT.tests["outdated"] = outdated
_ENVIRONMENT.globals |= {
    "css": Markup(_CSS),  # noqa: S704 - our own file
    "icon": "data:image/svg+xml," + quote(_ICON),
    "version": __version__,
    "words": WORDS,
    "symbols": SYMBOLS,
    "standings": tuple(Standing),
}
