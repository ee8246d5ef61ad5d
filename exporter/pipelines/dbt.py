"""dbt projects, read from the files that dbt leaves in its `target` directory.

A directory shows only the newest run of each kind: what was overwritten between two looks, or killed before it wrote, is not seen. Looking
costs next to nothing while no file changes, so it is done every few seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from exporter.catalog.labels import SourceType
from exporter.model import Json
from exporter.pipelines.base import (
    DeadLetter,
    Flow,
    Known,
    Polled,
    Poller,
    SourceError,
    SourceModel,
    TestResult,
    Understood,
    Unreadable,
    key_of,
    letter,
)
from exporter.pipelines.dbt_manifest import Manifest, read_manifest
from exporter.pipelines.dbt_results import freshness_of, report_of, tests_of
from exporter.pipelines.http import Http
from exporter.pipelines.run import RunReport
from exporter.units import Duration

_LARGEST = 2**30
_MANIFEST, _RUN, _SOURCES = "manifest.json", "run_results.json", "sources.json"
_Signature = tuple[int, int, int]


class DbtSource(SourceModel):
    """A `target` directory of dbt; the job is the project, by its name. Only build, run, test, seed and snapshot are runs."""

    kind: ClassVar[SourceType] = SourceType.DBT
    paths: ClassVar[tuple[str, ...]] = ("target",)

    type: Literal["dbt"]
    target: Path = Field(description="directory with run_results.json, sources.json and manifest.json", examples=["/srv/dbt/target"])
    job: str | None = Field(default=None, min_length=1, description="name of the job; default: the name of the project")
    every: Duration = Field(default=timedelta(seconds=5), description="how often the files are looked at; what is overwritten in between is not seen")

    def poller(self, secrets: Mapping[str, str], http: Http) -> Poller:
        """Looks at the directory."""
        return DbtPoller(self)

    def understand(self, payload: Json, received_at: datetime) -> Understood:
        """What a run_results.json says of the run, with `project` added where the job is not configured; tests also need the manifest."""
        report = report_of(payload, str(self.job or payload.get("project") or ""), None)
        return Understood(key_of(report.run_id if report else payload), (report,) if report else ())


class DbtPoller:
    """Looks at a directory; keeps what the manifest says until it changes."""

    def __init__(self, model: DbtSource) -> None:
        self.model = model
        self._manifest: Manifest | None = None
        self._seen: dict[str, _Signature | None] = {}

    def poll(self, known: Known) -> Polled:
        """What the files say that changed since the last look; after a start what all of them say, but for a run that was told. Raises SourceError."""
        look = _Look(self.model, self._manifest, self._seen, known)
        polled = look.result()
        self._manifest, self._seen = look.manifest, look.signatures
        return polled


class _Look:
    """One look at the directory."""

    def __init__(self, model: DbtSource, manifest: Manifest | None, seen: Mapping[str, _Signature | None], known: Known) -> None:
        self._model, self._known, self._seen = model, known, seen
        self.manifest = manifest
        self.signatures = {name: self._signature(name) for name in (_MANIFEST, _RUN, _SOURCES)}
        self._letters: list[DeadLetter] = []
        self._told: dict[str, Any] = dict(known.checkpoint)

    def result(self) -> Polled:
        """What the files say."""
        self._check_place()
        flows: tuple[Flow, ...] = ()
        if self._is_changed(_MANIFEST):
            document = self._document(_MANIFEST)
            self.manifest = self._manifest_of(document) if document is not None else None
        job = self._model.job or (self.manifest.project if self.manifest else "")
        if self.manifest and self._is_changed(_MANIFEST):
            flows = self.manifest.flows(job)
        reports, tests = self._run(job)
        tests += self._freshness()
        self._told["files"] = {name: list(signature) if signature else None for name, signature in self.signatures.items()}
        histories = self._known.without_history([job]) if job else []
        return Polled(self._told, self._known.now, reports, self._letters, flows=flows, tests=tests, histories=histories)

    def _check_place(self) -> None:
        target = self._model.target
        if not target.is_dir():
            raise SourceError(f"{target} is not a directory that can be read; check `target`")
        if self.signatures[_RUN] and not self.signatures[_MANIFEST] and not self._model.job:
            raise SourceError(f"{target} has {_RUN} but no {_MANIFEST}, so the project is not known; set `job`, or let dbt write both to one place")

    def _run(self, job: str) -> tuple[list[RunReport], list[TestResult]]:
        """The run and its tests. A manifest that is new tells more of the tests of the same run."""
        if not self._is_changed(_RUN) and not self._is_changed(_MANIFEST):
            return [], []
        document = self._document(_RUN)
        if document is None:
            return [], []
        try:
            report = report_of(document, job, self.manifest)
            tests = list(tests_of(document, self.manifest, job, self._refuse)) if report else []
        except Unreadable as error:
            self._refuse({**document, "project": job}, error)
            return [], []
        if report is None:
            return [], []
        if not self._known.wants(job):
            return [], tests
        mark = [report.run_id, report.at.isoformat()]
        is_told = self._told.get("run") == mark
        self._told["run"] = mark
        return ([] if is_told else [report]), tests

    def _freshness(self) -> list[TestResult]:
        if not self._is_changed(_SOURCES) and not self._is_changed(_MANIFEST):
            return []
        document = self._document(_SOURCES)
        if document is None:
            return []
        try:
            return list(freshness_of(document, self.manifest, self._refuse))
        except Unreadable as error:
            self._refuse(document, error)
            return []

    def _refuse(self, payload: Any, reason: Exception) -> None:
        """Keeps what cannot be understood, once for each payload."""
        key = key_of(json.dumps(payload, sort_keys=True, default=str), reason)
        told = [*self._told.get("letters", ())]
        if key not in told:
            self._letters.append(letter(payload, reason))
            self._told["letters"] = [*told, key][-200:]

    def _is_changed(self, name: str) -> bool:
        """True for a file that is new since the last look, or since what the last look found was not stored."""
        if name not in self._seen or self._seen[name] != self.signatures[name]:
            return True
        stored = (self._known.checkpoint.get("files") or {}).get(name)
        return (tuple(stored) if stored else None) != self.signatures[name]

    def _signature(self, name: str) -> _Signature | None:
        """What changes when a file is written: its inode, time and size; None when it is not there."""
        path = self._model.target / name
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror}; check `target` and its permissions") from error
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _document(self, name: str) -> Json | None:
        """The content of a file; None when it is not there. One that is half written, or is written while it is read, is left to the next look."""
        if self.signatures[name] is None:
            return None
        path = self._model.target / name
        try:
            if path.stat().st_size > _LARGEST:
                raise SourceError(f"{path} is larger than {_LARGEST // 2**20} MiB; this is not an artifact of dbt")
            document = json.loads(path.read_bytes())
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{path} is not complete JSON: dbt is writing it, or was killed while it did") from error
        if self._signature(name) != self.signatures[name]:
            raise SourceError(f"{path} was written while it was read; it is read again at the next look")
        if not isinstance(document, dict):
            raise SourceError(f"{path} is not an artifact of dbt")
        return document

    def _manifest_of(self, document: Json) -> Manifest | None:
        try:
            return read_manifest(document)
        except Unreadable as error:
            self._refuse({"metadata": document.get("metadata")}, error)
            return None
