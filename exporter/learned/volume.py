"""How many rows a bucket should have, learned from the buckets before it.

The model works on g = ln(1 + rows). It predicts a bucket from a level, an offset of its place in the week, what is left
over from the bucket before and from the season before, and what repeated at this place of the month; a count is an anomaly
when it leaves a band whose width follows the recent residuals. A bucket is judged before it is learned from, an anomaly
is not learned from, and what is forgotten is forgotten for good: the state after n buckets is a function of these n.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from exporter.catalog.labels import Learning
from exporter.learned.calendar import Calendar, Mark
from exporter.learned.judged import Feedback, Judged, Sensitivity
from exporter.learned.pace import PACES
from exporter.learned.seen import HIGH, IDLE, LOW, NORMAL, Seen
from exporter.learned.window import Window, median

_MAD = 1.4826
"""Median absolute deviation of a normal distribution to its standard deviation."""


WIDTH = {Sensitivity.LOW: 4.0, Sensitivity.MEDIUM: 3.0, Sensitivity.HIGH: 2.2}
_LEAST_CHANGE = 0.22
_LEAST_ROWS = 5.0
_MOST_TIMES = math.log(100)
"""However noisy a table is, a hundred times the expected rows are too many."""
_FULL = 8.0
"""Expected rows from which a bucket without any is an anomaly however noisy the table is."""


@dataclass(frozen=True, slots=True)
class _Forecast:
    """What is expected of a bucket: `base` from level and offset, `echo` from the place in the month, `spread` of residuals."""

    base: float
    pred: float
    echo: float
    spread: float


class VolumeModel:
    """The state of one series. `step` judges the next bucket and learns from it; `dump` and `load` keep it.

    `wider` stretches the band, for series of which many are judged at once.
    """

    def __init__(self, calendar: Calendar, sensitivity: Sensitivity = Sensitivity.MEDIUM, wider: float = 1.0) -> None:
        self.calendar, self.width, self.pace = calendar, WIDTH[sensitivity] * wider, PACES[calendar.grain]
        self.t = 0
        self.memory: list[Seen] = []
        self.level, self.offsets, self.step_size = 0.0, [0.0] * self.pace.places, 0.1
        self.smoothing = False
        self.residuals = Window(self.pace.residuals)
        self.recent, self.weight = 0.0, 0.0
        self.pairs: list[tuple[float, float, float]] = []
        self.sums = [0.0] * 5
        self.run: list[tuple[int, float]] = []
        self.zeros, self.stopped, self.wide_until, self.flagged_at = 0, False, 0, -self.pace.memory
        self.echoes: dict[str, list[tuple[int, float]]] = {}
        self.holidays: dict[str, tuple[int, float]] = {}

    def step(self, start: datetime, rows: int, feedback: Feedback | None = None) -> Judged:
        """Judges the next bucket by what came before it, then learns from it. Buckets come in order, without gaps."""
        mark, g = self.calendar.mark(start), math.log1p(rows)
        judged = self._step(start, rows, mark, g, feedback)
        self.t += 1
        if len(self.memory) > self.pace.memory:
            del self.memory[0]
        return judged

    def _step(self, start: datetime, rows: int, mark: Mark, g: float, feedback: Feedback | None) -> Judged:
        seen = Seen(g, mark.place, mark.weekend, -1 if mark.neutral else int(rows == 0))
        self.zeros = self.zeros + 1 if rows == 0 else 0
        if mark.neutral:
            return self._idle(seen, start, rows, Learning.NEUTRAL, "a holiday")
        if self.stopped:
            return self._while_stopped(seen, start, rows)
        if self._is_quiet():
            return self._idle(seen, start, rows, Learning.QUIET, "rows on a quiet day" if rows else "")
        seen.valid = rows > 0
        forecast = self._forecast(mark)
        if forecast is None:
            return self._idle(seen, start, rows, Learning.LEARNING, "")
        return self._judge(seen, start, rows, mark, forecast, feedback)

    def _idle(self, seen: Seen, start: datetime, rows: int, state: Learning, note: str, event: str | None = None) -> Judged:
        self._remember(seen)
        return Judged(start, rows, None, None, None, None, state, False, note, event)

    # --- what is expected ----------------------------------------------------------------------------------------
    def _is_quiet(self) -> bool:
        """True when no data is expected at this place of the week."""
        places = self.pace.places
        if places == 1 or len(self.memory) < 2 * places:
            return False
        zeros = [seen.zero for seen in self.memory[-places::-places] if seen.zero >= 0]
        return len(zeros) >= 2 and (sum(zeros) >= 0.6 * len(zeros) or (len(zeros) >= 3 and sum(zeros[:3]) == 3))

    def _forecast(self, mark: Mark) -> _Forecast | None:
        pace = self.pace
        if self.t < pace.least or not self._knows_rows():
            return None
        spread = 0.0
        if self.t < pace.mature or not self.smoothing:
            level, offsets, spread = self._class_medians()
            if not self.smoothing:
                self.level, self.offsets = level, offsets
                self.smoothing = self.t >= pace.tentative
        base = self.level + self.offsets[mark.place]
        m = self._spread()
        carried = self._carried(m) if self.smoothing else 0.0
        echo = self._echo(mark, m) if self.t >= pace.mature - 1 else 0.0
        pred = max(0.0, base + carried + echo)
        if self.t >= pace.mature:
            typical = _MAD * median(self.residuals.ordered) if len(self.residuals) >= 7 else 0.3
            spread = max(typical, 1.5 * self.recent / self.weight if self.weight else 0.0)
        else:
            spread *= 3.0
        return _Forecast(base, pred, echo, max(spread, 0.01, 1 / math.sqrt(max(math.expm1(pred), 1.0))))

    def _knows_rows(self) -> bool:
        """True when at least five buckets in memory had rows and are trusted."""
        found = 0
        for seen in reversed(self.memory):
            found += seen.valid
            if found == 5:
                return True
        return False

    def _class_medians(self) -> tuple[float, list[float], float]:
        """Level, offsets and spread from the medians of each place of the week; for young series."""
        pace = self.pace
        known = [seen for seen in self.memory if seen.dev is not None]
        by_place: dict[int, list[float]] = {}
        by_rest: dict[bool, list[float]] = {False: [], True: []}
        for seen in known:
            by_place.setdefault(seen.place, []).append(seen.dev)  # type: ignore[arg-type]
            by_rest[seen.weekend].append(seen.dev)  # type: ignore[arg-type]
        pooled = {rest: median(sorted(devs)) if devs else 0.0 for rest, devs in by_rest.items()}
        offsets = []
        for place in range(pace.places):
            devs, common = by_place.get(place, ()), pooled[pace.places > 1 and place * 7 // pace.places >= 5]
            offsets.append((len(devs) * median(sorted(devs)) + common) / (len(devs) + 1) if devs else common)
        long = sorted(seen.g - offsets[seen.place] for seen in known[-pace.long :])
        short = sorted(seen.g - offsets[seen.place] for seen in known[-pace.short :])
        rest = sorted(abs(seen.dev - offsets[seen.place]) for seen in known)  # type: ignore[operator]
        return 0.5 * (median(long) + median(short)), offsets, _MAD * median(rest)

    def _spread(self) -> float:
        return max(_MAD * median(self.residuals.ordered), 0.01) if len(self.residuals) >= 7 else 0.1

    def _carried(self, m: float) -> float:
        """What is left over from the bucket before and from a season before, by a ridge fit on both."""
        n = len(self.pairs)
        if n < 14:
            return 0.0
        s11, s77, s17, s1, s7 = self.sums
        penalty = 0.05 * n * m * m
        a, b = s11 + penalty, s77 + penalty
        determinant = a * b - s17 * s17
        if determinant <= 0:
            return 0.0
        first = min(max((s1 * b - s7 * s17) / determinant, 0.0), 0.9)
        season = min(max((s7 * a - s1 * s17) / determinant, 0.0), 0.6)
        bound, memory = 4 * m, self.memory
        before = min(max(memory[-1].x, -bound), bound)
        earlier = min(max(memory[-self.pace.season].x, -bound), bound) if len(memory) >= self.pace.season else 0.0
        return first * before + season * earlier

    def _echo(self, mark: Mark, m: float) -> float:
        """What repeated at this place of the month: the most consistent of the marks, 0 where nothing did."""
        best, agreement = 0.0, 0.8
        for key in mark.echoes:
            values = sorted(v for t, v in self.echoes.get(key, ()) if self.t - t <= 400)
            if len(values) < 2:
                continue
            middle = median(values)
            size = abs(middle)
            if size <= max(3 * m, 0.15):
                continue
            apart = max(values[-1] - middle, middle - values[0]) / size
            if apart < agreement:
                best, agreement = middle, apart
        return best

    # --- the verdict ---------------------------------------------------------------------------------------------
    def _judge(self, seen: Seen, start: datetime, rows: int, mark: Mark, forecast: _Forecast, feedback: Feedback | None) -> Judged:
        pred, s = forecast.pred, forecast.spread
        expected = math.expm1(pred)
        low, high = self._bands(mark, s)
        r = seen.g - pred
        note = self._note(seen, rows, r, s, low, high, expected)
        if feedback is not None:
            note = "" if feedback is Feedback.EXPECTED else note or "said to be bad"
        state = self._state()
        guard = max(_LEAST_CHANGE * expected, _LEAST_ROWS)
        lower = max(0.0, min(math.expm1(pred - low), expected - guard))
        upper = max(math.expm1(pred + high), expected + guard)
        seen.x, seen.r = seen.g - forecast.base - forecast.echo, r
        event = self._learn(seen, mark, forecast, min(max(r, -low), high) if note else r, bool(note), feedback)
        return Judged(start, rows, expected, lower, upper, r / s, state, bool(note), note, event)

    def _bands(self, mark: Mark, s: float) -> tuple[float, float]:
        """How far below and above the forecast a count may lie, in ln(1 + rows)."""
        low, high = self.width * s, 3 * self.width * s
        if self.t < self.pace.tentative or self.t < self.wide_until:
            low, high = 1.5 * low, 1.5 * high
        if self.memory and self.memory[-1].fate == LOW:
            low *= 0.8
        if mark.beside:
            low, high = 2 * low, 2 * high
        for name in mark.near:
            last, q = self.holidays.get(name, (self.t, 0.0))
            if self.t - last > 60:
                low, high = (max(low, -1.5 * q), high) if q < 0 else (low, max(high, 1.5 * q))
        return low, min(high, _MOST_TIMES)

    def _note(self, seen: Seen, rows: int, r: float, s: float, low: float, high: float, expected: float) -> str:
        """What kind of anomaly the count is, or nothing."""
        outage = bool(self.memory) and self.memory[-1].fate == LOW and self.memory[-1].g == 0
        if rows == 0 and (expected >= _FULL or outage) and self._zeros_are_rare():
            return "no rows"
        change = abs(rows - expected)
        if self.t < self.pace.learning or change <= _LEAST_CHANGE * max(expected, 1.0) or change < _LEAST_ROWS:
            return ""
        if r < -low:
            return "fewer rows than expected"
        if r > 3 * s:
            for times in (2, 3):
                if abs(seen.g - math.log1p(times * expected)) < min(0.15, 1.5 * s):
                    return f"about {times} × the expected rows"
        return "more rows than expected" if r > high else ""

    def _zeros_are_rare(self) -> bool:
        """True unless empty buckets are common here; those that were reported do not count as common."""
        places = self.pace.places
        counted = [seen for seen in self.memory if seen.zero >= 0]
        here = [seen for seen in self.memory[-places::-places] if seen.zero >= 0] if places > 1 else counted
        accepted, accepted_here = (sum(seen.zero == 1 and seen.fate != LOW for seen in found) for found in (counted, here))
        return accepted < 0.1 * max(len(counted), 1) and accepted_here < 0.2 * max(len(here), 1)

    def _state(self) -> Learning:
        if self.t < self.pace.learning:
            return Learning.LEARNING
        if self.t < self.pace.tentative:
            return Learning.TENTATIVE
        if self.t - self.flagged_at > self.pace.memory:
            return Learning.ACTIVE
        judged = [seen.fate for seen in self.memory if seen.fate != IDLE]
        return Learning.UNSTABLE if len(judged) - judged.count(NORMAL) > 0.3 * len(judged) else Learning.ACTIVE

    # --- learning ------------------------------------------------------------------------------------------------
    def _learn(self, seen: Seen, mark: Mark, forecast: _Forecast, r: float, flagged: bool, feedback: Feedback | None) -> str | None:
        """Takes the bucket in; returns what changed for good, if anything did."""
        m, event = self._spread(), None
        raw = seen.r + forecast.echo
        for key in mark.echoes:
            if seen.g > 0:
                self.echoes[key] = [*self.echoes.get(key, ())[-5:], (self.t, raw)]
        for name in mark.near:
            self.holidays[name] = (self.t, seen.r)
        self.residuals.add(abs(r))
        self.recent, self.weight = 0.93 * self.recent + min(abs(r), 6 * m), 0.93 * self.weight + 1
        if flagged:
            seen.fate, self.flagged_at = LOW if seen.r < 0 else HIGH, self.t
            learned = self.t < self.pace.learning and feedback is None
            seen.valid = seen.valid and learned
        else:
            seen.fate, learned = NORMAL, True
        if forecast.echo:
            seen.zero, seen.valid = -1, False
        if self.smoothing and learned:
            self._smooth(seen)
        if not learned:
            seen.x = 0.0
        self._remember(seen)
        self._pair(m)
        if flagged and feedback is not Feedback.BAD:
            event = self._reconsider(seen, forecast.spread)
        elif not flagged:
            self.run = []
        return event

    def _smooth(self, seen: Seen) -> None:
        """Moves level and offset by a part of what they left unexplained."""
        bound = 3 * self.step_size
        error = min(max(seen.x, -bound), bound)
        self.step_size = 0.97 * self.step_size + 0.0375 * min(abs(seen.x), 4 * self.step_size)
        self.level += self.pace.rate * error
        if self.pace.places > 1:
            self.offsets[seen.place] += 0.08 * error
            shift = 0.08 * error / self.pace.places
            self.offsets = [offset - shift for offset in self.offsets]
            self.level += shift

    def _pair(self, m: float) -> None:
        """Keeps the sums of the ridge fit."""
        memory, season, bound = self.memory, self.pace.season, 4 * m
        if len(memory) <= season:
            return
        y, first, earlier = (min(max(memory[-back].x, -bound), bound) for back in (1, 2, season + 1))
        self._sum(y, first, earlier, 1)
        self.pairs.append((y, first, earlier))
        if len(self.pairs) > self.pace.residuals:
            self._sum(*self.pairs.pop(0), -1)

    def _sum(self, y: float, first: float, earlier: float, sign: int) -> None:
        sums = self.sums
        sums[0] += sign * first * first
        sums[1] += sign * earlier * earlier
        sums[2] += sign * first * earlier
        sums[3] += sign * first * y
        sums[4] += sign * earlier * y

    def _remember(self, seen: Seen) -> None:
        self.memory.append(seen)
        if self.t < self.pace.mature or not self.smoothing:
            self._refresh(len(self.memory) - 1 - self.pace.around)

    def _refresh(self, first: int) -> None:
        """Distances from the neighbours, from an index of the memory on."""
        memory, around = self.memory, self.pace.around
        for i in range(max(0, first), len(memory)):
            if memory[i].valid:
                memory[i].dev = memory[i].g - median(sorted(s.g for s in memory[max(0, i - around) : i + around + 1] if s.valid))
            else:
                memory[i].dev = None

    # --- what repeated anomalies mean ----------------------------------------------------------------------------
    def _reconsider(self, seen: Seen, s: float) -> str | None:
        """A new weekly pattern, a new level, or a table that stopped."""
        if seen.g == 0:
            if self.zeros >= self.pace.stopped:
                self.stopped = True
                for earlier in self.memory[-self.zeros :]:
                    earlier.zero = -1
                return "stopped"
            return None
        side = seen.fate
        if self.run and self.run[-1][0] != side:
            self.run = []
        self.run.append((side, seen.g - self.offsets[seen.place]))
        if self._new_weekly_pattern(seen, s):
            return "new weekly pattern"
        values = [value for _, value in self.run]
        alike = max(values) - min(values) < max(6 * s, 0.3)
        if len(values) >= self.pace.shift + (not alike):
            self._shift_level(values)
            return "level shift"
        return None

    def _new_weekly_pattern(self, seen: Seen, s: float) -> bool:
        places = self.pace.places
        weeks = self.memory[-1 : -2 * places - 2 : -places] if places > 1 else []
        if len(weeks) < 3 or any(week.fate not in (LOW, HIGH) for week in weeks):
            return False
        values = [week.g for week in weeks]
        if max(values) - min(values) >= max(3 * s, 0.2):
            return False
        self.offsets[seen.place] += median(sorted(week.r for week in weeks))
        for week in weeks:
            week.valid, week.fate = True, NORMAL
        self.run = []
        self._refresh(0)
        return True

    def _shift_level(self, values: Sequence[float]) -> None:
        self.level = median(sorted(values))
        left = len(values)
        for seen in reversed(self.memory):
            in_run = left > 0 and seen.fate in (LOW, HIGH) and seen.g > 0
            left -= in_run
            seen.valid, seen.x = in_run, 0.0
        self.pairs, self.sums, self.run = [], [0.0] * 5, []
        self._refresh(0)

    def _while_stopped(self, seen: Seen, start: datetime, rows: int) -> Judged:
        seen.zero = -1
        if rows == 0:
            return self._idle(seen, start, rows, Learning.STOPPED, "still no rows")
        self.stopped, self.run = False, []
        self.level = seen.g - self.offsets[seen.place]
        self.wide_until = self.t + self.pace.short + 1
        for earlier in self.memory:
            earlier.x = 0.0
        return self._idle(seen, start, rows, Learning.NEUTRAL, "rows are back", "resumed")

    # --- keeping -------------------------------------------------------------------------------------------------
    def dump(self) -> dict[str, Any]:
        """The whole state as JSON values; `load` gives a model that goes on exactly as this one would."""
        return {name: getattr(self, name) for name in _PLAIN} | {
            "memory": [seen.dump() for seen in self.memory], "residuals": self.residuals.arrived,
        }  # fmt: skip

    @classmethod
    def load(cls, calendar: Calendar, sensitivity: Sensitivity, state: Mapping[str, Any], wider: float = 1.0) -> VolumeModel:
        """A model from what `dump` gave, which may have been JSON in between."""
        model = cls(calendar, sensitivity, wider)
        for name in _PLAIN:
            setattr(model, name, copy.deepcopy(state[name]))
        model.pairs, model.run = ([tuple(items) for items in state[name]] for name in ("pairs", "run"))
        model.echoes = {key: [(t, v) for t, v in values] for key, values in state["echoes"].items()}
        model.holidays = {key: (t, q) for key, (t, q) in state["holidays"].items()}
        model.memory = [Seen(g, place, weekend, zero, valid, fate, x, r, dev) for g, place, weekend, zero, valid, fate, x, r, dev in state["memory"]]
        model.residuals = Window(model.pace.residuals, state["residuals"])
        return model


_PLAIN = (
    "t", "level", "offsets", "step_size", "smoothing", "recent", "weight", "pairs", "sums", "run", "zeros", "stopped",
    "wide_until", "flagged_at", "echoes", "holidays",
)  # fmt: skip
