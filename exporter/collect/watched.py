"""Which pipelines are watched: those configured by id, and those that a pattern found."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import structlog

from exporter.config import Watching
from exporter.pipelines.spec import PipelineSpec, SourceSpec

log = structlog.get_logger("dq_exporter")
Job = tuple[str, str]


class Watched:
    """The pipelines of a configuration; a job that a pattern matches becomes one when it is first heard of. Safe to use from several threads."""

    def __init__(self, watching: Watching, known: Iterable[Job] = ()) -> None:
        self.watching = watching
        self.sources: dict[str, SourceSpec] = {source.name: source for source in watching.sources}
        self._lock = threading.Lock()
        self._by_job: dict[Job, PipelineSpec] = {(spec.source, spec.job): spec for spec in watching.pipelines if spec.match is None}
        self._by_name = {spec.name: spec for spec in self._by_job.values()}
        self._patterns = [spec for spec in watching.pipelines if spec.match is not None]
        self._counts = dict.fromkeys(range(len(self._patterns)), 0)
        self._refused: set[str] = set()
        for source, job in sorted(known):
            self.wants(source, job)

    def wants(self, source: str, job: str, is_inner: bool = False) -> bool:
        """True when runs of a job are to be kept; a part of another job (`is_inner`) only when it is configured by its id."""
        return (source, job) in self._by_job or (not is_inner and self._matched(source, job))

    def _matched(self, source: str, job: str) -> bool:
        place = next((place for place, spec in enumerate(self._patterns) if spec.source == source and spec.is_for(job)), None)
        if place is None:
            return False
        pattern = self._patterns[place]
        with self._lock:
            if (source, job) in self._by_job:
                return True
            spec = pattern.of(job)
            if self._counts[place] >= pattern.limit or spec.name in self._by_name:
                if spec.name not in self._refused and len(self._refused) < pattern.limit:
                    self._refused.add(spec.name)
                    taken = "its name is taken" if spec.name in self._by_name else f"the match {pattern.match} has its {pattern.limit} pipelines; raise its limit"
                    log.warning("a job is not watched", source=source, job=job, reason=taken)
                return False
            self._counts[place] += 1
            self._by_job = {**self._by_job, (source, job): spec}
            self._by_name = {**self._by_name, spec.name: spec}
            return True

    def spec(self, source: str, job: str) -> PipelineSpec | None:
        """The pipeline of a job."""
        return self._by_job.get((source, job))

    def told_of(self, source: str, job: str) -> PipelineSpec | None:
        """The pipeline that a source of lineage means by a job: its own, else the only one of another source whose id is the job's name.

        An Airflow that is polled as `sales_daily` is `prod/sales_daily` in OpenLineage.
        """
        own = self._by_job.get((source, job))
        if own is not None:
            return own
        name = job.rpartition("/")[2]
        others = [spec for (other, other_job), spec in self._by_job.items() if other_job == name and other != source]
        return others[0] if len(others) == 1 else None

    def named(self, name: str) -> PipelineSpec | None:
        """The pipeline of a name."""
        return self._by_name.get(name)

    def addressed(self, source: str, text: str) -> PipelineSpec | None:
        """The pipeline that an event means: by its name, or by its id at the source that is sent to."""
        return self.named(text) or (self.spec(source, text) if self.wants(source, text) else None)

    def jobs(self, source: str) -> frozenset[str]:
        """Ids of the watched pipelines of a source."""
        return frozenset(job for name, job in self._by_job if name == source)

    @property
    def pipelines(self) -> list[PipelineSpec]:
        """All watched pipelines, as configured and then as found."""
        return list(self._by_job.values())

    @property
    def names(self) -> list[str]:
        """Their names."""
        return list(self._by_name)

    @property
    def most(self) -> int:
        """How many pipelines there can be."""
        return sum(spec.limit if spec.match is not None else 1 for spec in self.watching.pipelines)
