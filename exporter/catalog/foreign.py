"""Series that others make and that our rules and panels read: of Prometheus itself and of the Python process."""

from dataclasses import dataclass

from exporter.catalog import labels as lb
from exporter.catalog.labels import Label


@dataclass(frozen=True)
class Foreign:
    """A series that dq-exporter does not declare; `maker` says where it comes from."""

    name: str
    labels: tuple[Label, ...]
    maker: str


_TARGET: tuple[Label, ...] = ()
UP = Foreign("up", _TARGET, "Prometheus, per scraped target")
SCRAPE_DURATION = Foreign("scrape_duration_seconds", _TARGET, "Prometheus, per scraped target")
SCRAPE_SAMPLES = Foreign("scrape_samples_scraped", _TARGET, "Prometheus, per scraped target")
ALERTS = Foreign(
    "ALERTS",
    (lb.ALERTNAME, lb.ALERTSTATE, lb.SEVERITY, lb.TEAM, lb.DIMENSION, lb.TABLE, lb.CHECK, lb.PIPELINE, lb.ESCALATION),
    "Prometheus, per pending or firing alert",
)
ALERTS_FOR_STATE = Foreign(
    "ALERTS_FOR_STATE",
    (lb.ALERTNAME, lb.SEVERITY, lb.TEAM, lb.DIMENSION, lb.TABLE, lb.CHECK, lb.PIPELINE, lb.ESCALATION),
    "Prometheus, the time since when an alert is active",
)
PROCESS_CPU = Foreign("process_cpu_seconds_total", _TARGET, "prometheus_client, per process")
PROCESS_MEMORY = Foreign("process_resident_memory_bytes", _TARGET, "prometheus_client, per process")
PROCESS_START = Foreign("process_start_time_seconds", _TARGET, "prometheus_client, per process")
PROCESS_OPEN_FDS = Foreign("process_open_fds", _TARGET, "prometheus_client, per process")
PROCESS_MAX_FDS = Foreign("process_max_fds", _TARGET, "prometheus_client, per process")


def all_foreign() -> tuple[Foreign, ...]:
    """Every series of others that may be read."""
    return tuple(value for value in globals().values() if isinstance(value, Foreign))
