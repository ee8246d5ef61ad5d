"""The Spark session: started when a table needs it, shared by all runs, and started anew when it was lost."""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from exporter.engine.cancel import Cancel
from exporter.engine.snapshot import EngineError, redacted
from exporter.model import Reason

_LOCAL = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.shuffle.partitions": "4",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.debug.maxToStringFields": "50",
    "spark.driver.host": "localhost",
}
_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
_LOST = ("SparkContext was shut down", "stopped SparkContext", "Connection refused", "Answer from Java side is empty", "UNAVAILABLE", "INVALID_HANDLE.SESSION", "Connection reset")

_REASONS: tuple[tuple[str, Reason], ...] = (
    ("ARITHMETIC_OVERFLOW", Reason.OVERFLOW),
    ("NUMERIC_VALUE_OUT_OF_RANGE", Reason.OVERFLOW),
    ("CAST_OVERFLOW", Reason.OVERFLOW),
    ("DIVIDE_BY_ZERO", Reason.ARITHMETIC),
    ("REMAINDER_BY_ZERO", Reason.ARITHMETIC),
    ("CAST_INVALID_INPUT", Reason.CAST),
    ("UNRESOLVED_COLUMN", Reason.COLUMN_NOT_FOUND),
    ("FIELD_NOT_FOUND", Reason.COLUMN_NOT_FOUND),
    ("TABLE_OR_VIEW_NOT_FOUND", Reason.TABLE_NOT_FOUND),
    ("PATH_NOT_FOUND", Reason.TABLE_NOT_FOUND),
    ("DELTA_TABLE_NOT_FOUND", Reason.TABLE_NOT_FOUND),
    ("DELTA_PATH_DOES_NOT_EXIST", Reason.TABLE_NOT_FOUND),
    ("DELTA_MISSING_DELTA_TABLE", Reason.TABLE_NOT_FOUND),
    ("DATATYPE_MISMATCH", Reason.TYPE),
    ("OPERATION_CANCELED", Reason.CANCELLED),
    ("FAILED_READ_FILE", Reason.CORRUPT),
    ("CANNOT_READ_FILE", Reason.CORRUPT),
    ("DELTA_LOG", Reason.CORRUPT),
    ("FAILED_JDBC", Reason.CONNECTION),
    ("PARSE_SYNTAX_ERROR", Reason.EXPRESSION),
    ("INVALID_IDENTIFIER", Reason.EXPRESSION),
    ("UNBOUND_SQL_PARAMETER", Reason.EXPRESSION),
    ("TIME_TRAVEL", Reason.HISTORY),
    ("UNSUPPORTED_FEATURE", Reason.UNSUPPORTED),
    ("UNRESOLVED_ROUTINE", Reason.EXPRESSION),
    ("INVALID_REGEXP", Reason.EXPRESSION),
    ("INVALID_PARAMETER_VALUE", Reason.EXPRESSION),
    ("INSUFFICIENT_PERMISSIONS", Reason.PERMISSION),
    ("Permission denied", Reason.PERMISSION),
    ("AccessControlException", Reason.PERMISSION),
    ("is not a Parquet file", Reason.CORRUPT),
    ("FileNotFoundException", Reason.CORRUPT),
    ("OutOfMemoryError", Reason.MEMORY),
    ("ClassNotFoundException", Reason.SPARK_UNAVAILABLE),
    ("DATA_SOURCE_NOT_FOUND", Reason.SPARK_UNAVAILABLE),
    ("No suitable driver", Reason.SPARK_UNAVAILABLE),
    ("SQLException", Reason.CONNECTION),
    ("ConnectException", Reason.CONNECTION),
    ("cancelled", Reason.CANCELLED),
)


_OF_VALUES = {
    Reason.OVERFLOW: "a number is too large for its type",
    Reason.ARITHMETIC: "a division by zero",
    Reason.CAST: "a value cannot be cast; use try_cast where that is to be expected",
}
"""What is said of errors whose own text quotes values of the data."""


class SparkRuntime:
    """Owns the session of the process; `remote` is Spark Connect (`sc://…`, or `local[2]` for a Connect server of its own), `conf` may hold secrets."""

    def __init__(self, master: str = "local[2]", remote: str | None = None, conf: Mapping[str, str] | None = None, session: Any = None) -> None:
        self.master, self.remote, self.conf = master, remote, dict(conf or {})
        self._given, self._session = session, session
        self._lock = threading.Lock()

    @property
    def started(self) -> bool:
        """True once a table has needed Spark."""
        return self._session is not None

    def session(self) -> Any:
        """The session, started if need be (seconds the first time). Raises EngineError with the mend."""
        with self._lock:
            if self._session is None:
                self._session = self._start_over() if _gateway_is_dead() else self._start()
            return self._session

    def _start_over(self) -> Any:
        """Starts again after the JVM died, whose end may take a moment to show."""
        _forget(None)
        try:
            return self._start()
        except EngineError:
            _forget(None)
            return self._start()

    def _start(self) -> Any:
        logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)  # 5 KB for each error, told better by us
        logging.getLogger("pyspark").setLevel(logging.ERROR)
        try:
            warnings.filterwarnings("ignore", category=FutureWarning, module="pyspark")  # on a pandas that we do not use
            from pyspark.sql import SparkSession

            if self.remote:
                builder = SparkSession.builder.remote(self.remote)
                for key, value in {**({} if "://" in self.remote else self._local_conf()), **self.conf}.items():
                    builder = builder.config(key, value)
                session = builder.getOrCreate()
                session.conf.set("spark.sql.session.timeZone", "UTC")
                return session
            if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
                text = "no Java was found, and Spark needs one; install Java 17 (a JRE is enough) or set JAVA_HOME"
                raise EngineError(Reason.SPARK_UNAVAILABLE, text)
            builder = SparkSession.builder.master(self.master).appName("dq-exporter")
            for key, value in {**self._local_conf(), **self.conf}.items():
                builder = builder.config(key, value)
            return builder.getOrCreate()
        except EngineError:
            raise
        except Exception as error:
            text = f"Spark could not be started: {str(error).splitlines()[0][:300] if str(error) else type(error).__name__}; run `dq-exporter doctor`"
            raise EngineError(Reason.SPARK_UNAVAILABLE, text) from None

    def _local_conf(self) -> dict[str, str]:
        log_settings = Path(__file__).with_name("log4j2.properties")
        conf = {**_LOCAL, **_DELTA, "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile=file:{log_settings}"}
        if not {"spark.jars", "spark.jars.packages"} & set(self.conf):
            conf["spark.jars.packages"] = delta_package()
        return conf

    def lost(self, error: BaseException) -> bool:
        """True when the error means that the session is gone; the next `session()` starts another."""
        told = getattr(error, "getCondition", lambda: None)()  # an error class is of a living session, whatever its text quotes
        text = str(error)
        network = isinstance(error, (ConnectionError, EOFError)) or type(error).__name__ == "Py4JNetworkError"
        gone = network or (not told and any(sign in text for sign in _LOST) and not self._answers())
        if gone and self._given is None:
            with self._lock:
                old, self._session = self._session, None
                if old is not None:
                    _forget(old)
        return gone

    def _answers(self) -> bool:
        """True while the session still does something; text that only looks like a lost one may come from the data."""
        try:
            return self._session is not None and len(self._session.sql("SELECT 1").schema.fields) == 1 and not _is_stopped(self._session)
        except Exception:
            return False

    def translate(self, error: BaseException) -> EngineError:
        """Spark's exception as one of our reasons, by its error class where it has one."""
        if isinstance(error, EngineError):
            return error
        condition = getattr(error, "getCondition", lambda: None)() or ""
        text = " ".join(str(error).split())
        if self.lost(error):
            return EngineError(Reason.ENGINE_LOST, f"the Spark session was lost ({redacted(text, 200)}); the next run starts another")
        told = condition or next(iter(re.findall(r"\[([A-Z][A-Z0-9_.]{3,})\]", text)), type(error).__name__)
        for sign, reason in _REASONS:
            if sign in condition or sign in text:
                return EngineError(reason, f"Spark: {told}: {_OF_VALUES[reason]}" if reason in _OF_VALUES else f"Spark: {redacted(text)}")
        return EngineError(Reason.INTERNAL, f"Spark: {told}; the rest is not shown, because it may quote the data (run the expression in Spark to see it)")

    @contextmanager
    def cancellable(self, session: Any, cancel: Cancel) -> Iterator[None]:
        """Spark work in this block is stopped when `cancel` fires: by job tag, or over Connect by operation tag."""
        if cancel.fired:
            raise cancel.error()
        tag, left = f"dq-{uuid.uuid4().hex}", threading.Event()
        connect = hasattr(session, "_client") or "connect" in type(session).__module__
        add, remove, stop = (
            (session.addTag, session.removeTag, session.interruptTag)
            if connect
            else (session.sparkContext.addJobTag, session.sparkContext.removeJobTag, session.sparkContext.cancelJobsWithTag)
        )

        def until_left() -> None:
            """Again and again: what has not been submitted yet cannot be cancelled yet."""
            while not left.is_set():
                with suppress(Exception):
                    stop(tag)
                left.wait(0.2)

        add(tag)
        cancel.on_fire(threading.Thread(target=until_left, daemon=True).start)
        try:
            yield
        finally:
            left.set()
            with suppress(Exception):
                remove(tag)

    def close(self) -> None:
        """Stops the session if this object started it."""
        with self._lock:
            if self._session is not None and self._given is None:
                self._session.stop()
            self._session = None


def _forget(session: Any) -> None:
    """Lets go of a dead session; of a dead JVM too, whose gateway pyspark would use for ever."""
    with suppress(Exception):
        session.stop()
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if _gateway_is_dead():
        SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
        SparkSession._instantiatedSession = None


def _is_stopped(session: Any) -> bool:
    """True for a classic session whose context was stopped."""
    context = None if "connect" in type(session).__module__ else session.sparkContext
    return context is not None and context._jsc.sc().isStopped()


def _gateway_is_dead() -> bool:
    """True when the JVM that pyspark would use has ended, or is about to: it no longer answers."""
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    if gateway is None:
        return False
    for _ in range(20):  # a killed process needs a moment to be reaped
        if gateway.proc.poll() is not None:
            return True
        try:
            gateway.jvm.System.currentTimeMillis()
            return False
        except Exception:
            time.sleep(0.1)
    return True


def delta_package() -> str:
    """Maven coordinates of the Delta jar for the pinned pair of versions."""
    from importlib.metadata import version

    spark = ".".join(version("pyspark").split(".")[:2])
    return f"io.delta:delta-spark_{spark}_2.13:{version('delta-spark')}"
