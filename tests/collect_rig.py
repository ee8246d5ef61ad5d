"""Collectors with a store in a file and a real publisher, driven step by step: one poll, one tick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from exporter.collect import Collectors
from exporter.collect.polling import PollLoop
from exporter.config import Config, load
from exporter.publish.prometheus import Publisher
from exporter.store import Ledger, Store


class Clock:
    """A clock that tests move."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **delta: float) -> datetime:
        self.now += timedelta(**delta)
        return self.now


class Rig:
    """One exporter's collectors on a configuration; `restart` is what a new process would find."""

    def __init__(self, folder: Path, config: Mapping[str, Any], clock: Clock, store_url: str | None = None) -> None:
        self.folder, self.clock = folder, clock
        self.url = store_url or f"sqlite:///{folder}/dq.db"
        (folder / "table").mkdir(parents=True, exist_ok=True)
        self.raw = {"version": 1, "store": {"url": self.url}, "tables": [{"name": "sales.orders", "path": str(folder / "table"), "checks": [{"row_count": {"min": 1}}]}], **config}
        self.config = self._loaded()
        self._open()

    def _loaded(self) -> Config:
        file = self.folder / "dq-exporter.yml"
        file.write_text(yaml.safe_dump(self.raw))
        return load(file, {"PW": "pw", "TOKEN": "secret-token"})

    def _open(self) -> None:
        self.store = Store.open(self.url)
        self.publisher = Publisher(persist=self.store.add)
        self.publisher.restore(self.store.restore(self.config.tables), self.store.load_counters())
        self.ledger = Ledger(self.store)
        self.collectors = Collectors(self.config.watching, self.config.tables, self.ledger, self.publisher, self.clock)
        self.collectors.receiver.start()
        self.loops = {
            name: PollLoop(spec, lambda: self.collectors.watched, self.ledger, self.publisher, self.collectors.keeper.changed, self.clock)
            for name, spec in self.collectors.watched.sources.items() if spec.model.is_polled
        }  # fmt: skip
        self.collectors.loops.update(self.loops)

    def restart(self) -> None:
        """A new process on the same store."""
        self.close()
        self.config = self._loaded()
        self._open()

    def poll(self, name: str = "airflow") -> str | None:
        """One attempt to ask a source, and a tick; the error, if there was one."""
        self.loops[name]._attempt()
        self.tick()
        return self.loops[name].error

    def tick(self, seconds: float = 10) -> None:
        """Time passes, and everything is brought up to date."""
        self.clock.forward(seconds=seconds)
        self.collectors.keeper.tick()

    def series(self) -> dict[str, float]:
        """The exposition: values by `name{label="value",…}` with sorted labels."""
        text = self.publisher.render()[0].decode()
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                key = f"{sample.name}{{{labels}}}" if labels else sample.name
                assert key not in found, f"{key} is there twice"
                found[key] = sample.value
        return found

    def of(self, name: str, **labels: str) -> float | None:
        """The value of the only series of a name that has these labels; None when there is none."""
        found = [value for key, value in self.series().items() if key.partition("{")[0] == name and all(f'{label}="{text}"' in key for label, text in labels.items())]
        assert len(found) <= 1, (name, labels, found)
        return found[0] if found else None

    def counts(self, pipeline: str) -> tuple[float | None, ...]:
        """Runs, successes, failures and retried successes as counted."""
        names = ("runs", "runs_succeeded", "runs_failed", "runs_retried")
        return tuple(self.of(f"pipeline_{name}_total", pipeline=pipeline) for name in names)

    def close(self) -> None:
        for loop in self.loops.values():
            loop.stop()
        self.collectors.receiver.stop()
        self.store.close()


def events(rig: Rig, *payloads: Mapping[str, Any]) -> Sequence[str]:
    """Sends events; the reasons why some were refused."""
    from exporter.catalog.labels import SourceType

    return list(rig.collectors.receiver.take(SourceType.EVENTS, list(payloads)).refused.values())


def at(hour: int, minute: int = 0, day: int = 20) -> datetime:
    """A time of November 2026 in UTC."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)
