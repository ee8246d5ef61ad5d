"""The commands around learned checks: what they would have said, and what people say of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from exporter import backtest as testing
from exporter.checks.freshness_cadence import FreshnessCadence
from exporter.checks.row_count_anomaly import RowCountAnomaly
from exporter.cli.common import (
    DEFAULT_CONFIG,
    FINE,
    TROUBLE,
    ConfigOption,
    TextFormat,
    app,
    fail,
    load_config,
    parts_of,
    select,
)
from exporter.daemon import Parts, utc_now
from exporter.engine.cancel import Cancel
from exporter.learned.calendar import Calendar, Grain
from exporter.learned.judged import Feedback, Sensitivity
from exporter.model import CheckSpec, Failure, TableSpec
from exporter.store import Remark
from exporter.timetable import check_country
from exporter.units import parse_zone


@app.command(epilog="Example: dq-exporter backtest sales.orders --days 90")
def backtest(
    table: Annotated[str | None, typer.Argument(help="a configured table", metavar="[TABLE]")] = None,
    checks: Annotated[list[str] | None, typer.Argument(help="its learned checks; all without any", metavar="[CHECK]...")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    days: Annotated[int | None, typer.Option("--days", min=1, help="report the last N days only")] = None,
    series: Annotated[Path | None, typer.Option("--series", help="a file with columns date,rows instead of a table")] = None,
    updates: Annotated[Path | None, typer.Option("--updates", help="a file with the column updated_at (UTC) instead of a table")] = None,
    grain: Annotated[Grain, typer.Option("--grain")] = Grain.DAY,
    sensitivity: Annotated[Sensitivity, typer.Option("--sensitivity")] = Sensitivity.MEDIUM,
    holidays: Annotated[str | None, typer.Option("--holidays", help="a country such as US or DE-BY", metavar="COUNTRY")] = None,
    timezone: Annotated[str, typer.Option("--timezone", help="zone of --updates")] = "UTC",
    until: Annotated[str | None, typer.Option("--until", help="the end of --updates (default: now)")] = None,
    output: Annotated[TextFormat, typer.Option("--format")] = TextFormat.TEXT,
) -> None:
    """What learned checks would have said in the past, each point by what came before it."""
    if sum(given is not None for given in (table, series, updates)) != 1:
        fail("give one of: a configured TABLE, --series FILE or --updates FILE")
    try:
        zone = parse_zone(timezone)
        calendar = Calendar(grain, check_country(holidays) if holidays else None)
        if series is not None:
            _series(series, calendar, sensitivity, days, output)
        elif updates is not None:
            _updates(updates, zone, Calendar(country=calendar.country), until, days, output)
        else:
            _table(table or "", checks or [], config, days, output)
    except (testing.MalformedFile, ValueError) as error:
        fail(str(error))


def _series(path: Path, calendar: Calendar, sensitivity: Sensitivity, days: int | None, output: TextFormat) -> None:
    judged = list(testing.judge_series(testing.read_series(path, calendar.grain), calendar, sensitivity))
    if days is not None:
        judged = [one for one in judged if one.start > judged[-1].start - timedelta(days=days)]
    if output is TextFormat.JSON:
        typer.echo("\n".join(testing.judged_json(one, calendar.grain) for one in judged))
    else:
        typer.echo(testing.series_text(judged, calendar.grain))


def _updates(path: Path, zone: ZoneInfo, calendar: Calendar, until: str | None, days: int | None, output: TextFormat) -> None:
    times = testing.read_updates(path)
    end = datetime.fromisoformat(until) if until else utc_now()
    end = end if end.tzinfo else end.replace(tzinfo=UTC)
    times = [moment for moment in times if moment <= end]
    periods = list(testing.late_periods(times, zone, calendar, end))
    if days is not None:
        periods = [one for one in periods if one.late_from > end - timedelta(days=days)]
    _print_late(periods, len(times), zone, output)


def _print_late(periods: list[testing.Late], updates: int, zone: ZoneInfo, output: TextFormat) -> None:
    if output is TextFormat.TEXT:
        typer.echo(testing.late_text(periods, updates, zone))
    elif periods:
        typer.echo("\n".join(testing.late_json(one) for one in periods))


def _table(name: str, names: list[str], config: Path, days: int | None, output: TextFormat) -> None:
    settings = load_config(config)
    [table] = select(settings, [name])
    learned = [spec for spec in table.checks if isinstance(spec.check, RowCountAnomaly | FreshnessCadence)]
    if unknown := [one for one in names if one not in {spec.id for spec in learned}]:
        fail(f"{name} has no learned check {', '.join(unknown)}; it has: {', '.join(spec.id for spec in learned) or 'none'}")
    if not learned:
        fail(f"{name} has no learned check; add row_count_anomaly or freshness_cadence")
    with parts_of(settings, keep=False) as parts:
        troubles = [_replay(parts, table, spec, days, output) for spec in learned if not names or spec.id in names]
    raise typer.Exit(TROUBLE if any(troubles) else FINE)


def _replay(parts: Parts, table: TableSpec, spec: CheckSpec, days: int | None, output: TextFormat) -> bool:
    """Prints what one check would have said; True when its past could not be read."""
    now, cancel = utc_now(), Cancel(spec.timeout)
    seen = parts.evaluator.look(table, spec, now, cancel)
    cancel.close()
    if failure := next((value for value in seen.values() if isinstance(value, Failure)), None):
        typer.echo(f"{table.name} {spec.id}: {failure.message}", err=True)
        return True
    if output is TextFormat.TEXT:
        typer.echo(f"{table.name} {spec.id}")
    values = {name: value for name, value in seen.items() if not isinstance(value, Failure)}
    if isinstance(spec.check, RowCountAnomaly):
        judged = spec.check.replay(values, now)
        if days is not None:
            judged = [one for one in judged if one.start > now.replace(tzinfo=None) - timedelta(days=days)]
        lines = "\n".join(testing.judged_json(one, spec.check.grain) for one in judged)
        typer.echo(lines if output is TextFormat.JSON else testing.series_text(judged, spec.check.grain))
    elif isinstance(spec.check, FreshnessCadence):
        zone, times = spec.check.zone, spec.check.updates(values, now)
        periods = list(testing.late_periods(times, zone, spec.check.calendar(), now))
        _print_late([one for one in periods if days is None or one.late_from > now - timedelta(days=days)], len(times), zone, output)
    return False


@app.command(epilog="Example: dq-exporter feedback sales.orders row_count_anomaly_order_date 2026-01-14 expected --note 'Black Friday'")
def feedback(
    table: Annotated[str, typer.Argument(help="a configured table")],
    check: Annotated[str, typer.Argument(help="its row_count_anomaly check")],
    date: Annotated[str, typer.Argument(help="the bucket as it is shown: 2026-01-14, 2026-01-14T07 or 2026-01")],
    says: Annotated[Feedback, typer.Argument(help="expected: it was fine; bad: it was not")],
    config: ConfigOption = DEFAULT_CONFIG,
    note: Annotated[str, typer.Option("--note", help="why, for the record")] = "",
) -> None:
    """Tells a learned check that a flagged bucket was fine, or that a quiet one was bad; it is used from the next run on."""
    settings = load_config(config)
    [spec] = select(settings, [table])
    found = next((one for one in spec.checks if one.id == check), None)
    if found is None or not isinstance(found.check, RowCountAnomaly):
        ids = [one.id for one in spec.checks if isinstance(one.check, RowCountAnomaly)]
        fail(f"{table} has no row_count_anomaly check {check}; it has: {', '.join(ids) or 'none'}")
    try:
        bucket = found.check.bucket(date)
    except ValueError as error:
        fail(str(error))
    with parts_of(settings) as parts:
        assert parts.store is not None
        parts.store.remark(Remark(table, check, bucket, says.value, note, utc_now()))
    typer.echo(f"{table} {check} {bucket}: {says.value}; used from the next run on")
