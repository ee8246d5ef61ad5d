"""The parts of one configuration, put together: for `run` as a process that stays, for the other commands once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

import structlog

from exporter import __version__
from exporter.catalog import metrics as m
from exporter.catalog.labels import Engine, ReloadTrigger
from exporter.collect import Collectors, Mirror, last_success
from exporter.config import Config, ConfigError, load
from exporter.engine.evaluate import Evaluator
from exporter.engine.native import NativeWorkers
from exporter.engine.session import SparkRuntime
from exporter.model import Evaluation
from exporter.publish.prometheus import Publisher
from exporter.publish.series import series_bound
from exporter.runner import Runner
from exporter.schedule import TableScheduler
from exporter.store import Ledger, Store, StoreError
from exporter.web import Server, WebSettings, create_app, serve

log = structlog.get_logger("dq_exporter")
_DRAIN = timedelta(seconds=25)
_PRUNE_EVERY_SECONDS = 3600


def utc_now() -> datetime:
    """The clock of the process."""
    return datetime.now(UTC)


class TooManySeries(Exception):
    """The configuration could make more series than `web.max_series`."""


@dataclass
class Parts:
    """Everything one configuration needs to evaluate; `store` is None for runs that leave no trace."""

    config: Config
    evaluator: Evaluator
    workers: NativeWorkers
    spark: SparkRuntime
    store: Store | None
    publisher: Publisher
    runner: Runner

    @classmethod
    def build(cls, config: Config, *, keep: bool = True, engine: Engine | None = None) -> Parts:
        """Opens the store and restores what it knows. Raises StoreError."""
        store = Store.open(config.store.url, config.store.password) if keep else None
        workers = NativeWorkers(config.engine.workers, config.engine.native_memory)
        spark = SparkRuntime(config.spark.master or "local[2]", config.spark.remote, spark_conf(config))
        evaluator = Evaluator({table.name: table for table in config.tables}, workers, spark, engine, config.engine.native_max_bytes)
        publisher = Publisher(persist=store.add if store else None)
        if store is not None:
            publisher.restore(store.restore(config.tables), store.load_counters())
            evaluator.last_success = last_success(config.watching, Ledger(store), utc_now)
        else:
            publisher.reconfigure(config.tables)
        return cls(config, evaluator, workers, spark, store, publisher, Runner(evaluator, publisher, store, utc_now))

    def close(self) -> None:
        """Ends worker processes and the Spark session, closes the store."""
        self.workers.close()
        self.spark.close()
        if self.store is not None:
            self.store.close()


def spark_conf(config: Config) -> dict[str, str]:
    """The Spark settings of a configuration with its jars and token."""
    conf = dict(config.spark.conf)
    if config.spark.jars:
        conf["spark.jars"] = ",".join(config.spark.jars)
    return conf


def check_cardinality(config: Config) -> int:
    """The most series the configuration can make. Raises TooManySeries beyond `web.max_series`."""
    pipelines = sum(spec.limit if spec.match is not None else 1 for spec in config.watching.pipelines)
    total = series_bound(config.tables, pipelines, len(config.watching.sources))
    if total > config.web.max_series:
        checks = sum(len(table.checks) for table in config.tables)
        raise TooManySeries(
            f"{len(config.tables):,} tables with {checks:,} checks and {pipelines:,} pipelines can make up to {total:,} series, more than web.max_series "
            f"({config.web.max_series:,}); raise it if Prometheus can take that many, or split the tables over several exporters"
        )
    return total


@dataclass(frozen=True)
class Reloaded:
    """What came of reading the configuration again."""

    problems: Sequence[object] = field(default_factory=tuple)

    @property
    def ok(self) -> bool:
        """True when the new configuration is in use."""
        return not self.problems


class Exporter:
    """The long-running process: scheduler, collectors, publisher and web server around one configuration file.

    Raises StoreError when the store cannot be read.
    """

    def __init__(self, path: Path, parts: Parts, web: WebSettings, on_evaluated: Callable[[Evaluation], None] = lambda evaluation: None, mirror: Mirror = lambda lines: None) -> None:
        self.path, self.parts, self.on_evaluated = path, parts, on_evaluated
        self._stop = threading.Event()
        self._reload_lock = threading.Lock()
        self._ready = False
        publisher = parts.publisher
        self.scheduler = TableScheduler(
            self._run,
            parts.runner.give_up,
            lambda: publisher.count(m.SCHEDULER_MISSED),
            utc_now,
            parts.config.scheduler.workers,
            parts.config.scheduler.jitter,
        )
        assert parts.store is not None
        self.collectors = Collectors(parts.config.watching, parts.config.tables, Ledger(parts.store), publisher, utc_now, mirror)
        publisher.live = self._live
        publisher.set(m.BUILD_INFO, 1, (__version__,))
        self._loaded(parts.config)
        app = create_app(publisher, parts.store, on_reload=lambda: self.reload(ReloadTrigger.HTTP), ready=lambda: self._ready, web=web, clock=utc_now, collectors=self.collectors)
        self.server: Server = serve(app, web.listen_address, web.config)

    def _run(self, table, checks, cancel) -> None:  # type: ignore[no-untyped-def]
        self.on_evaluated(self.parts.runner.run(table, checks, cancel))

    def _live(self) -> dict[tuple[m.Metric, tuple[str, ...]], float]:
        scheduler = self.scheduler
        return {
            (m.SCHEDULER_TABLES, ()): scheduler.tables,
            (m.SCHEDULER_RUNNING, ()): scheduler.running,
            (m.SCHEDULER_QUEUE, ()): scheduler.queued,
            (m.SCHEDULER_LAG, ()): scheduler.lag.total_seconds(),
            **self.collectors.live(),
        }

    def _loaded(self, config: Config) -> None:
        self.parts.publisher.set(m.SERIES_BOUND, check_cardinality(config))
        self.parts.publisher.set(m.CONFIG_RELOAD_SUCCESSFUL, 1)
        self.parts.publisher.set(m.CONFIG_RELOAD_TIMESTAMP, utc_now().timestamp())

    def reload(self, trigger: ReloadTrigger) -> Reloaded:
        """Takes on the file's present content; when it is bad, the old configuration stays and a metric says so."""
        with self._reload_lock:
            publisher = self.parts.publisher
            publisher.count(m.CONFIG_RELOADS, (trigger.value,))
            try:
                config = load(self.path, os.environ)
                check_cardinality(config)
            except (ConfigError, TooManySeries) as error:
                publisher.set(m.CONFIG_RELOAD_SUCCESSFUL, 0)
                problems = error.problems if isinstance(error, ConfigError) else (error,)
                log.error("configuration not reloaded; the old one stays", problems=[str(problem) for problem in problems])
                return Reloaded(tuple(problems))
            old = self.parts.config
            fixed = [name for name in ("store", "spark", "engine", "web", "scheduler") if getattr(old, name) != getattr(config, name)]
            if fixed:
                log.warning("these sections take effect at the next start only", sections=fixed)
            self.parts.config = config
            self.parts.evaluator.tables = {table.name: table for table in config.tables}
            publisher.reconfigure(config.tables)
            self.collectors.update(config.watching, config.tables)
            self.parts.evaluator.last_success = last_success(config.watching, self.collectors.ledger, utc_now)
            self.scheduler.update(config.tables, self._last_runs())
            self._loaded(config)
            log.info("configuration reloaded", tables=len(config.tables))
            return Reloaded()

    def _last_runs(self) -> Callable[[str, str], datetime | None]:
        """When each check of each table was last run, as it is configured now."""
        ran = {status.spec.name: {check: state.at for check, state in status.table.checks.items()} for status in self.parts.publisher.state()}
        return lambda table, check: ran.get(table, {}).get(check)

    def start(self) -> None:
        """Serves, then schedules; returns at once. Raises OSError when the address is taken."""
        self.server.start()
        self.collectors.start()
        self.scheduler.start(self.parts.config.tables, self._last_runs())
        self._ready = True
        log.info("serving", url=self.server.url, tables=self.scheduler.tables)

    def handle_signals(self) -> None:
        """SIGTERM and SIGINT drain, SIGHUP reloads."""

        def end(number: int, frame: FrameType | None) -> None:
            self._stop.set()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGHUP, lambda number, frame: threading.Thread(target=self.reload, args=(ReloadTrigger.SIGNAL,), daemon=True).start())

    def wait(self, until: Callable[[], bool] = lambda: False) -> None:
        """Until a signal, or until `until` holds; prunes the history meanwhile."""
        waited = _PRUNE_EVERY_SECONDS
        while not self._stop.wait(0.5) and not until():
            waited += 1
            if waited >= 2 * _PRUNE_EVERY_SECONDS and self.parts.store is not None:
                waited = 0
                try:
                    self.parts.store.prune(utc_now() - self.parts.config.store.retention)
                    self.collectors.prune(utc_now() - self.parts.config.store.retention)
                except StoreError as error:
                    self.parts.publisher.count(m.STORE_ERRORS)
                    log.error("history not pruned", error=str(error))

    def stop(self) -> None:
        """Starts nothing more, lets running evaluations end, then closes everything."""
        self._ready = False
        log.info("stopping", running=self.scheduler.running)
        self.scheduler.stop(_DRAIN)
        self.server.stop()
        self.collectors.stop()
        self.parts.close()
