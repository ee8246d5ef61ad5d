"""The store: one SQL database, SQLite or PostgreSQL, in which every evaluation is one transaction."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from exporter.catalog.labels import Outcome
from exporter.model import NO_HISTORY, CheckSpec, Evaluation, History, Json, Point, TableSpec
from exporter.score import Score
from exporter.store import counters, history, learned, results
from exporter.store.learned import Remark
from exporter.store.state import CounterKey, StoredTable

_BUSY_SECONDS = 30
_MIGRATION_LOCK = 0x6471_6578
_ALEMBIC = threading.Lock()  # its environment is global to the process


class StoreError(Exception):
    """The store cannot be opened, read or written: what, where, and what to do; never with a password."""


class Store:
    """The durable state of the exporter. Safe to use from several threads; failures raise StoreError."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._where = engine.url.render_as_string(hide_password=True)
        self._password = engine.url.password
        self._writing = threading.Lock() if engine.dialect.name == "sqlite" else None

    @classmethod
    def open(cls, url: str, password: str | None = None) -> Store:
        """Opens the database at `url`, makes it where there is none, and brings its tables up to date.

        `sqlite:///FILE` (four slashes for an absolute path; its folder is made) or
        `postgresql+psycopg://user@host/database`; `password` replaces one in the URL. Raises StoreError.
        """
        target = _parse(url, password)
        if target.get_backend_name() == "sqlite":
            engine = _sqlite(target)
        else:
            engine = sa.create_engine(target, pool_pre_ping=True, hide_parameters=True)
        store = cls(engine)
        try:
            store._migrate()
        except BaseException:
            engine.dispose()
            raise
        return store

    def save(self, evaluation: Evaluation, increments: Mapping[CounterKey, float], score: Score | None = None) -> None:
        """Stores an evaluation with the table's score after it and adds to counters, all or nothing."""
        with self.transaction() as connection:
            results.save(connection, evaluation)
            history.save(connection, evaluation)
            learned.save(connection, evaluation)
            counters.add(connection, increments)
            if score is not None:
                learned.save_score(connection, evaluation.table.name, evaluation.started_at, score)

    def add(self, increments: Mapping[CounterKey, float]) -> None:
        """Adds to counters outside an evaluation."""
        with self.transaction() as connection:
            counters.add(connection, increments)

    def load_counters(self) -> dict[CounterKey, float]:
        """Every counter as last stored."""
        with self.reading() as connection:
            return counters.load(connection)

    def past(self, table: str, check: str, since: datetime) -> list[Point]:
        """What the check saw from `since` on, and the newest it saw before, oldest first."""
        with self.reading() as connection:
            return history.past(connection, table, check, since)

    def history(self, table: str, check: CheckSpec, now: datetime) -> History:
        """Everything that a check may know of its past."""
        kind = check.check
        with self.reading() as connection:
            if results.is_of_another_rule(connection, table, check):
                return NO_HISTORY
            return History(
                history.past(connection, table, check.id, now - kind.history) if kind.history else (),
                learned.recall(connection, table, check.id) if kind.learns else None,
                feedback=learned.remarks(connection, table, check.id) if kind.learns else {},
            )

    def memories(self, table: str) -> dict[str, Json]:
        """What the learned checks of a table keep, by check id."""
        with self.reading() as connection:
            return learned.memories(connection, table)

    def remark(self, said: Remark) -> None:
        """Keeps what a person said of a bucket."""
        with self.transaction() as connection:
            learned.remark(connection, said)

    def scores(self, table: str, since: datetime) -> list[tuple[datetime, Score]]:
        """How the score of a table went from `since` on, oldest first; each holds until the next."""
        with self.reading() as connection:
            return learned.scores(connection, table, since)

    def restore(self, specs: Iterable[TableSpec]) -> list[StoredTable]:
        """The last state of every configured table; what is no longer configured is left out but not deleted."""
        with self.reading() as connection:
            return results.restore(connection, specs)

    def sparkline(self, table: str, limit: int = 60) -> dict[str, list[tuple[datetime, Outcome, float | None]]]:
        """The last runs of each check of a table, oldest first: when, what came of it, and the value."""
        with self.reading() as connection:
            return history.sparkline(connection, table, limit)

    def prune(self, before: datetime) -> int:
        """Deletes history that ended before `before`, never the newest of a check; returns the rows deleted."""
        with self.transaction() as connection:
            return history.prune(connection, before) + learned.prune_scores(connection, before)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A connection whose writes happen together or not at all."""
        with self._named_errors("write to"):
            if self._writing is None:
                with self._engine.begin() as connection:
                    yield connection
            else:
                with self._writing, self._engine.begin() as connection:
                    yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that only reads, one state of everything."""
        with self._named_errors("read"), self._engine.connect().execution_options(dq_reading=True) as connection:
            yield connection

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        with self._named_errors("open"), _ALEMBIC, self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def _named_errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = _without(str(getattr(error, "orig", None) or error), self._password)
            raise StoreError(f"cannot {doing} the store {self._where}: {cause}; {_mend(self._engine)}") from None
        except CommandError as error:
            raise StoreError(
                f"cannot {doing} the store {self._where}: {error}; it was made by a newer dq-exporter: install that "
                "version, or name another database at store.url"
            ) from None


def _parse(url: str, password: str | None) -> sa.URL:
    try:
        target = sa.make_url(url)
    except ArgumentError:
        raise StoreError(
            "store.url cannot be read as a database URL: write sqlite:///FILE or postgresql+psycopg://user@host/database"
        ) from None
    where = target.render_as_string(hide_password=True)
    if target.drivername not in ("sqlite", "postgresql+psycopg"):
        raise StoreError(f"store.url {where}: {target.drivername} is not supported; use sqlite or postgresql+psycopg")
    if target.drivername == "sqlite" and target.database in (None, "", ":memory:"):
        raise StoreError(f"store.url {where} keeps nothing: name a file, such as sqlite:///dq-exporter.db")
    return target if password is None else target.set(password=password)


def _sqlite(target: sa.URL) -> sa.Engine:
    assert target.database is not None
    try:
        Path(target.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot make the folder of the store {target.database}: {error.strerror}; name another at store.url"
        ) from None
    engine = sa.create_engine(target, connect_args={"timeout": _BUSY_SECONDS}, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: object) -> None:
        connection.isolation_level = None  # the driver begins no transactions of its own
        connection.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous=NORMAL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A writer takes its lock at once: one that read first could not wait for another writer.
        reading = connection.get_execution_options().get("dq_reading")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _write_ahead(connection: Any) -> None:
    """Switches to WAL; SQLite does not wait for others in that, so we do."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _without(text: str, password: str | None) -> str:
    return text.replace(password, "***") if password else text


def _mend(engine: sa.Engine) -> str:
    if engine.dialect.name == "sqlite":
        return (
            "check that the folder can be written to, that the disk is not full, and that the file is a SQLite database"
        )
    return "check that the server is reachable, and the user, the password and the database of store.url"
