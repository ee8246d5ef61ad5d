"""Running, checking and looking: the commands around the evaluation of tables."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import make_url

from exporter import __version__, report
from exporter import demo as demo_tables
from exporter import doctor as doctoring
from exporter.backtest import incidents_per_week
from exporter.catalog.labels import Outcome, Severity, SourceType
from exporter.checks.row_count_anomaly import RowCountAnomaly
from exporter.cli.common import (
    DEFAULT_CONFIG,
    FAILED,
    FINE,
    TROUBLE,
    CheckFormat,
    ConfigOption,
    EngineChoice,
    Tables,
    TextFormat,
    app,
    fail,
    load_config,
    parts_of,
    select,
)
from exporter.config import Config, ConfigError, json_schema, load
from exporter.daemon import Exporter, Parts, TooManySeries, check_cardinality, utc_now
from exporter.engine.cancel import Cancel
from exporter.engine.evaluate import Explained
from exporter.learned.buckets import judged_from
from exporter.logs import set_up
from exporter.model import Evaluation, TableSpec
from exporter.publish.series import series_bounds
from exporter.publish.statsd import Statsd, gauges, samples_of
from exporter.store import Store, StoreError
from exporter.web import AddressError, WebConfigError, WebSettings

_SEVERITIES = list(reversed(Severity))
_PAGES_PER_WEEK = 2


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    if version:
        typer.echo(f"dq-exporter {__version__}")
        raise typer.Exit


@app.command(epilog="Example: dq-exporter run -c dq-exporter.yml --web.listen-address 0.0.0.0:9818")
def run(
    config: ConfigOption = DEFAULT_CONFIG,
    listen: Annotated[str | None, typer.Option("--web.listen-address", metavar="HOST:PORT")] = None,
    web_config: Annotated[Path | None, typer.Option("--web.config.file", help="TLS and users, in Prometheus's format")] = None,
) -> None:
    """Runs the exporter until SIGTERM; SIGHUP or POST /-/reload takes on a changed configuration."""
    settings = load_config(config)
    try:
        web = WebSettings.of(listen or settings.web.listen_address, web_config, settings.web.token)
        with parts_of(settings) as parts:
            mirror = Statsd(settings.statsd.address) if settings.statsd.address else None

            def evaluated(evaluation: Evaluation) -> None:
                if mirror is not None:
                    mirror.send(gauges(samples_of(evaluation, parts.publisher.score_after(evaluation)), utc_now().timestamp()))

            exporter = Exporter(config, parts, web, evaluated, mirror.send if mirror else lambda lines: None)
            exporter.handle_signals()
            exporter.start()
            try:
                exporter.wait()
            finally:
                exporter.stop()
    except (WebConfigError, TooManySeries, AddressError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"cannot listen on {listen or settings.web.listen_address}: {error.strerror or error}; choose another with --web.listen-address")


@app.command(epilog="Example: dq-exporter check sales.orders --format junit --fail-on high > dq.xml")
def check(
    tables: Tables = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: Annotated[CheckFormat, typer.Option("--format")] = CheckFormat.TABLE,
    fail_on: Annotated[Severity, typer.Option("--fail-on", help="only failing checks of at least this severity exit 1")] = Severity.LOW,
    engine: Annotated[EngineChoice, typer.Option("--engine")] = EngineChoice.AUTO,
    no_store: Annotated[bool, typer.Option("--no-store", help="neither use nor update the store")] = False,
) -> None:
    """Evaluates now, once: for CI and for a pipeline's last task."""
    settings = load_config(config)
    if settings.log.level == "info":
        set_up("error", settings.log.format, settings.secrets)
    chosen = select(settings, tables)
    started, at = perf_counter(), utc_now()
    with parts_of(settings, keep=not no_store, engine=report.ENGINES[engine]) as parts:
        evaluations = _evaluate(parts, chosen)
        scores = {status.spec.name: status.score for status in parts.publisher.state()}
    seconds = perf_counter() - started
    if output is CheckFormat.JSON:
        typer.echo(json.dumps(report.check_json(evaluations, scores, at, seconds), ensure_ascii=False, indent=2))
    elif output is CheckFormat.JUNIT:
        typer.echo(report.check_junit(evaluations, seconds))
    else:
        Console(width=None if sys.stdout.isatty() else 200).print(report.check_table(evaluations))
    raise typer.Exit(_exit_code(evaluations, fail_on))


def _evaluate(parts: Parts, tables: Sequence[TableSpec]) -> list[Evaluation]:
    """All checks of the tables, a few tables at a time, with progress on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

    def one(table: TableSpec) -> Evaluation:
        cancel = Cancel(max(spec.timeout for spec in table.checks))
        try:
            return parts.runner.run(table, table.checks, cancel)
        finally:
            cancel.close()
            progress.advance(task)

    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("evaluating", total=len(tables))
        with ThreadPoolExecutor(parts.config.scheduler.workers) as pool:
            return list(pool.map(one, [table for table in tables if table.checks]))


def _exit_code(evaluations: Sequence[Evaluation], fail_on: Severity) -> int:
    results = [result for evaluation in evaluations for result in evaluation.results]
    if any(result.verdict.outcome is Outcome.ERROR for result in results):
        return TROUBLE
    loud = _SEVERITIES[_SEVERITIES.index(fail_on) :]
    return FAILED if any(result.verdict.outcome is Outcome.FAIL and result.spec.severity in loud for result in results) else FINE


@app.command(epilog="Example: dq-exporter validate -c conf.d --print")
def validate(
    config: ConfigOption = DEFAULT_CONFIG,
    show: Annotated[bool, typer.Option("--print", help="the effective configuration, secrets masked")] = False,
    output: Annotated[TextFormat, typer.Option("--format")] = TextFormat.TEXT,
) -> None:
    """Every problem of the configuration at once, as file:line:column: message."""
    try:
        settings = load(config, os.environ)
    except ConfigError as error:
        if output is TextFormat.JSON:
            fields = ("file", "line", "column", "message")
            typer.echo(json.dumps({"problems": [{name: getattr(problem, name) for name in fields} for problem in error.problems]}, indent=2))
        else:
            typer.echo("\n".join(str(problem) for problem in error.problems))
        raise typer.Exit(TROUBLE) from None
    bounds = series_bounds(settings.tables)
    too_many = None
    try:
        check_cardinality(settings)
    except TooManySeries as error:
        too_many = str(error)
    total, checks = sum(bounds.values()), sum(len(table.checks) for table in settings.tables)
    if output is TextFormat.JSON:
        largest = {metric.name: count for metric, count in sorted(bounds.items(), key=lambda item: -item[1])}
        problems = [{"file": str(config), "line": 1, "column": 1, "message": too_many}] if too_many else []
        shown = {"problems": problems, "tables": len(settings.tables), "checks": checks, "series_bound": total, "series_bound_by_metric": largest}
        typer.echo(json.dumps(shown | ({"effective": settings.effective()} if show else {}), indent=2, default=str))
    elif show:
        typer.echo(yaml.safe_dump(settings.effective(), sort_keys=False, allow_unicode=True))
    else:
        typer.echo(f"{len(settings.tables):,} tables, {checks:,} checks, at most {total:,} series (web.max_series: {settings.web.max_series:,})")
    for warning in _noisy(settings):
        typer.echo(f"warning: {warning}", err=True)
    if too_many:
        fail(too_many)


def _store_is_there(settings: Config) -> bool:
    """False where looking would make a new database file."""
    return not settings.store.url.startswith("sqlite") or Path(make_url(settings.store.url).database or "").exists()


def _noisy(settings: Config) -> list[str]:
    """Learned checks that would have paged too often, as far as the store knows; an absent store knows nothing."""
    learned = [(table.name, spec, spec.check) for table in settings.tables for spec in table.checks if isinstance(spec.check, RowCountAnomaly)]
    if not learned or not _store_is_there(settings):
        return []
    warnings = []
    try:
        store = Store.open(settings.store.url, settings.store.password)
    except StoreError as error:
        return [f"learned checks were not looked at: {error}"]
    try:
        for table, spec, check in learned:
            memory = store.history(table, spec, utc_now()).memory
            judged = [judged_from(line) for line in memory["series"]["shown"]] if memory else []
            pages = incidents_per_week(judged, check.grain)
            if pages > _PAGES_PER_WEEK:
                mend = "lower its sensitivity, name its holidays, or exclude known days"
                warnings.append(f"{table} {spec.id} would have paged {pages:.1f} times a week in the last eight: {mend} (`dq-exporter backtest {table} {spec.id}`)")
    finally:
        store.close()
    return warnings


@app.command(epilog="Example: dq-exporter explain sales.orders")
def explain(
    tables: Tables = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: Annotated[TextFormat, typer.Option("--format")] = TextFormat.TEXT,
) -> None:
    """Per check: what is measured, by which tier and engine, what is read, and why nothing cheaper is exact."""
    settings = load_config(config)
    explained: list[Explained] = []
    with parts_of(settings, keep=_store_is_there(settings)) as parts:  # what was learned decides what is read
        for table in select(settings, tables):
            cancel = Cancel(max((spec.timeout for spec in table.checks), default=settings.defaults.timeout))
            explained.append(parts.evaluator.explain(table, parts.runner.past, utc_now(), cancel))
            cancel.close()
    if output is TextFormat.JSON:
        typer.echo(json.dumps(report.explain_json(explained), ensure_ascii=False, indent=2))
    else:
        typer.echo(report.explain_text(explained))
    raise typer.Exit(TROUBLE if any(one.failure for one in explained) else FINE)


@app.command(epilog="Example: dq-exporter schema > dq-exporter.schema.json")
def schema() -> None:
    """The JSON Schema of the configuration file, for editors."""
    typer.echo(json.dumps(json_schema(), indent=2))


@app.command(epilog="Example: dq-exporter doctor -c dq-exporter.yml")
def doctor(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Looks whether everything that the configuration needs is there: one line each, with the mend."""
    settings, sound = load_config(config), True
    for finding in doctoring.examine(settings):
        sound &= finding.ok
        typer.echo(f"{'ok  ' if finding.ok else 'MISS'}  {finding.what}: {finding.seen}" + (f"\n      {finding.mend}" if finding.mend else ""))
    raise typer.Exit(FINE if sound else TROUBLE)


@app.command(epilog="Example: dq-exporter demo --dir demo && dq-exporter check -c demo/dq-exporter.yml")
def demo(
    directory: Annotated[Path, typer.Option("--dir", help="where the tables, the configuration and expected.json go")] = Path("dq-demo"),
    serve: Annotated[bool, typer.Option("--run", help="also run the exporter on them, until Ctrl-C")] = False,
    once: Annotated[bool, typer.Option("--once", help="with --run: stop after the first round")] = False,
    listen: Annotated[str, typer.Option("--web.listen-address", metavar="HOST:PORT")] = "127.0.0.1:9818",
) -> None:
    """Writes small Delta tables with planted defects, a configuration for them, and the expected verdicts."""
    try:
        path = demo_tables.write(directory)
    except OSError as error:
        fail(f"cannot write to {directory}: {error.strerror or error}; name another with --dir")
    typer.echo(f"wrote {directory}/: Delta tables with planted defects, {path.name} and expected.json")
    if serve:
        _run_demo(path, listen, once)


def _run_demo(path: Path, listen: str, once: bool) -> None:
    settings = load_config(path)
    set_up("warning", settings.log.format, settings.secrets)
    console, waiting, seen = Console(width=None if sys.stdout.isatty() else 200), {table.name for table in settings.tables}, list[Evaluation]()

    def evaluated(evaluation: Evaluation) -> None:
        if evaluation.table.name in waiting:
            waiting.discard(evaluation.table.name)
            seen.append(evaluation)
            still = f"; waiting for {', '.join(sorted(waiting))}" if waiting else ""
            typer.echo(f"evaluated {evaluation.table.name} in {evaluation.duration:.1f}s{still}", err=True)

    with parts_of(settings) as parts:
        try:
            exporter = Exporter(path, parts, WebSettings.of(listen), evaluated)
        except AddressError as error:
            fail(str(error))
        except OSError as error:
            fail(f"cannot listen on {listen}: {error.strerror or error}; choose another with --web.listen-address")
        exporter.handle_signals()
        exporter.start()
        exporter.collectors.receiver.take(SourceType.EVENTS, demo_tables.runs(utc_now()))
        try:
            exporter.wait(until=lambda: not waiting)
            console.print(report.check_table(sorted(seen, key=lambda evaluation: evaluation.table.name)))
            if once:
                typer.echo(f"\nconfigured by {path}; without ONCE=1 (or --once) the status page and the metrics are served at {exporter.server.url}/")
            else:
                typer.echo(f"\nstatus page  {exporter.server.url}/\npipelines    {exporter.server.url}/pipelines\nmetrics      {exporter.server.url}/metrics\nconfigured by {path}\nCtrl-C ends it")
                exporter.wait()
        finally:
            exporter.stop()
