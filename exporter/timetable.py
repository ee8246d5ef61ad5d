"""When something is due: intervals, cron expressions, working days and holidays; pure, the clock is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import holidays as holiday_calendars
from cronsim import CronSim, CronSimError

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_GAPS_LOOKED_AT = 40


@dataclass(frozen=True, slots=True)
class Schedule:
    """Either `every` (fixed interval) or `cron` (five fields, 0 and 7 are Sunday) in `timezone`.

    Raises ValueError for neither, both, or a cron expression that is malformed or never due.
    """

    every: timedelta | None = None
    cron: str | None = None
    timezone: ZoneInfo = ZoneInfo("UTC")

    def __post_init__(self) -> None:
        if (self.every is None) == (self.cron is None):
            raise ValueError("a schedule has either `every` or `cron`")
        if self.every is not None and self.every < timedelta(seconds=1):
            raise ValueError("`every` is at least 1s")
        if self.cron is not None:
            if len(self.cron.split()) != 5:
                raise ValueError(f"cron expression {self.cron!r} has {len(self.cron.split())} fields; it has five: minute hour day month weekday")
            try:
                next(CronSim(self.cron, datetime(2026, 1, 1, tzinfo=self.timezone)))
            except CronSimError as error:
                raise ValueError(f"cron expression {self.cron!r}: {error} (five fields: minute hour day month weekday)") from None
            except StopIteration:
                raise ValueError(f"cron expression {self.cron!r} is never due") from None

    def next_after(self, moment: datetime) -> datetime:
        """The first due time strictly after `moment` (aware), in UTC."""
        if self.every is not None:
            return moment.astimezone(UTC) + self.every
        assert self.cron is not None
        return next(CronSim(self.cron, moment.astimezone(self.timezone))).astimezone(UTC)

    @property
    def interval(self) -> timedelta:
        """The longest time between two due times (of the next forty, for a cron expression)."""
        return self.every if self.every is not None else _longest_gap(self.cron or "", self.timezone)

    def __str__(self) -> str:
        if self.every is not None:
            return f"every {int(self.every.total_seconds())}s"
        return f"cron {self.cron} ({self.timezone.key})"


@lru_cache(maxsize=1024)
def _longest_gap(cron: str, timezone: ZoneInfo) -> timedelta:
    due = islice(CronSim(cron, datetime(2026, 1, 1, tzinfo=timezone)), _GAPS_LOOKED_AT)
    return max(later.astimezone(UTC) - earlier.astimezone(UTC) for earlier, later in pairwise(due))


def parse_days(text: str) -> frozenset[int]:
    """Weekday numbers (Monday 0) of `mon-fri`, `mon,wed,fri`, `fri-mon` or `daily`. Raises ValueError."""
    if text.strip().lower() == "daily":
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.lower().replace(" ", "").split(","):
        first, _, last = part.partition("-")
        try:
            start, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
        except ValueError:
            raise ValueError(f"days {text!r}: use names such as mon-fri or mon,wed,fri (of {', '.join(WEEKDAYS)})") from None
        days.update((start + step) % 7 for step in range((end - start) % 7 + 1))
    return frozenset(days)


def check_days(text: str) -> str:
    """`text` if `parse_days` understands it. Raises ValueError."""
    parse_days(text)
    return text


@lru_cache(maxsize=1024)
def _calendar(country: str, year: int) -> dict[date, str]:
    code, _, subdivision = country.partition("-")
    return dict(holiday_calendars.country_holidays(code, subdiv=subdivision or None, years=year))


def holiday_name(day: date, country: str) -> str | None:
    """The name of a public holiday of `country`, an ISO 3166 code with an optional subdivision (`DE`, `US-CA`), else None."""
    return _calendar(country.upper(), day.year).get(day)


def is_holiday(day: date, country: str) -> bool:
    """True on a public holiday of `country`."""
    return holiday_name(day, country) is not None


def check_country(country: str) -> str:
    """`country` if there is a calendar for it. Raises ValueError."""
    try:
        _calendar(country.upper(), 2026)
    except (NotImplementedError, KeyError, AttributeError):
        raise ValueError(f"no holiday calendar for {country!r}: use an ISO 3166 code such as DE, US or US-CA") from None
    return country


_FORMS = ("%Y%m%d", "%Y%m%d%H", "%Y-%m-%d-%H", "%Y/%m/%d", "%Y-%m", "%Y%m")


def read_time(text: str, zone: ZoneInfo) -> datetime | None:
    """A value of a time column or date partition as local time; None when it is none."""
    try:
        moment = datetime.fromisoformat(text) if "-" in text else None
    except ValueError:
        moment = None
    if moment is None:
        for form in _FORMS:
            try:
                moment = datetime.strptime(text, form)  # noqa: DTZ007 - local by definition
                break
            except ValueError:
                continue
    if moment is None or moment.tzinfo is None:
        return moment
    return moment.astimezone(zone).replace(tzinfo=None)
