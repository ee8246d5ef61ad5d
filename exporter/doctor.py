"""What `doctor` looks at: one line each, with the mend."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from exporter.config import Config
from exporter.daemon import Parts, spark_conf, utc_now
from exporter.engine.cancel import Cancel
from exporter.engine.native import READABLE
from exporter.engine.session import delta_package
from exporter.engine.snapshot import EngineError
from exporter.pipelines.base import Known, SourceError
from exporter.pipelines.http import Http, HttpError, Patience
from exporter.store import Store, StoreError


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `mend` says what to do when it is not right."""

    what: str
    ok: bool
    seen: str
    mend: str = ""


def examine(config: Config) -> Iterator[Finding]:
    """Java, Spark, the Delta jar, the store, the sources and every table, in that order."""
    java = shutil.which("java")
    needs_spark = "tables that only Spark can read are errors until then"
    if java:
        command = [java, "-version"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stderr.splitlines()  # noqa: S603 - the PATH's own Java
        yield Finding("java", True, told[0] if told else java)
    else:
        yield Finding("java", False, "not found", f"install Java 17, a JRE is enough; {needs_spark}")
    yield Finding("spark", True, f"pyspark {version('pyspark')}, {config.spark.remote or config.spark.master or 'local[2]'}")
    yield _delta_jar(config)
    try:
        Store.open(config.store.url, config.store.password).close()
        yield Finding("store", True, config.store.url)
    except StoreError as error:
        yield Finding("store", False, str(error), "see above")
    yield from _sources(config)
    yield from _tables(config)


def _delta_jar(config: Config) -> Finding:
    if config.spark.remote or {"spark.jars", "spark.jars.packages"} & set(spark_conf(config)):
        return Finding("delta jar", True, "as configured in spark")
    group, artifact, number = delta_package().split(":")
    name = f"{group}_{artifact}-{number}.jar"
    found = [path for cache in Path.home().glob(".ivy2*") for path in cache.glob(f"jars/{name}")]
    if found:
        return Finding("delta jar", True, name)
    text = "not fetched yet: the first Spark session does, from Maven Central"
    return Finding("delta jar", True, text, f"without a way there, put {name} and its dependencies on the machine and name them in spark.jars")


def _sources(config: Config) -> Iterator[Finding]:
    """Each source that is asked, asked once, with its login and rights; nothing of it is kept."""
    for spec in config.watching.sources:
        if not spec.model.is_polled:
            continue
        patience = Patience(spec.model.timeout, attempts=1)
        http = Http(getattr(spec.model, "url", ""), patience, time.sleep, utc_now, verify=getattr(spec.model, "ca_file", None) or True)
        poller = spec.model.poller(spec.secrets, http)
        assert poller is not None
        try:
            poller.poll(Known({}, lambda job: False, frozenset(), lambda jobs: [], now=utc_now()))
            yield Finding(f"source {spec.name}", True, f"{spec.type}, answered")
        except (SourceError, HttpError) as error:
            yield Finding(f"source {spec.name}", False, spec.type, str(error))
        finally:
            http.close()


def _tables(config: Config) -> Iterator[Finding]:
    parts = Parts.build(config, keep=False)
    try:
        for table in config.tables:
            if table.format not in READABLE:
                yield Finding(f"table {table.name}", True, f"{table.format}: read by Spark, not tried here")
                continue
            cancel = Cancel(timedelta(seconds=60))
            try:
                facts = parts.workers.open(table, cancel).facts
                yield Finding(f"table {table.name}", True, f"version {facts.version}, {facts.files} files")
            except EngineError as error:
                yield Finding(f"table {table.name}", False, error.failure.reason.value, error.failure.message)
            finally:
                cancel.close()
    finally:
        parts.close()
