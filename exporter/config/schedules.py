"""Schedules as configured into timetables."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from exporter.checks.base import ScheduleModel
from exporter.timetable import Schedule
from exporter.units import parse_zone


def schedule(model: ScheduleModel, zone: ZoneInfo) -> Schedule:
    """The timetable of a model; `zone` applies to cron expressions without one. Raises ValueError."""
    if model.every is not None and model.cron is None and model.timezone is not None:
        raise ValueError("`timezone` is only for `cron`")
    return _schedule(model.every, model.cron, parse_zone(model.timezone) if model.timezone is not None else zone)


@lru_cache(maxsize=4096)
def _schedule(every: timedelta | None, cron: str | None, zone: ZoneInfo) -> Schedule:
    return Schedule(every, cron, zone)


def part_at_fault(model: ScheduleModel) -> tuple[str, ...]:
    """The key of a faulty schedule to point at; nothing when it is the whole."""
    if model.timezone is not None:
        try:
            parse_zone(model.timezone)
        except ValueError:
            return ("timezone",)
        if model.cron is None:
            return ("timezone",)
    if (model.every is None) == (model.cron is None):
        return ()
    return ("cron",) if model.cron is not None else ("every",)
