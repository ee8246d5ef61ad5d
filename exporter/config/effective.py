"""The configuration as it is applied, as plain data: what `validate --print` shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from exporter.catalog.labels import Engine
from exporter.checks import ConfiguredCheck
from exporter.config.secret_values import MASK, looks_secret, mask_urls
from exporter.config.settings import Config, NotifySettings, WebhookSettings
from exporter.expression import Expression, Query
from exporter.model import CheckSpec, TableSpec
from exporter.pipelines.spec import PipelineSpec
from exporter.timetable import WEEKDAYS, Schedule
from exporter.units import Limit


def effective(config: Config) -> dict[str, Any]:
    """All sections and tables with their defaults; loads back once the lines with `***` are replaced."""
    secrets = config.secrets
    return {
        "version": 1,
        "store": _present(url=config.store.url, password=MASK if config.store.password else None, retention=_duration(config.store.retention)),
        "defaults": plain(config.defaults),
        "spark": _spark(config),
        "engine": {
            "default": _engine(config.engine.default),
            "native_max_bytes": config.engine.native_max_bytes,
            "native_memory": config.engine.native_memory,
            "workers": config.engine.workers,
        },
        "web": _present(
            listen_address=config.web.listen_address, max_series=config.web.max_series, token=MASK if config.web.token else None
        ),
        "scheduler": {"workers": config.scheduler.workers, "jitter": _duration(config.scheduler.jitter)},
        "score": {"weights": {dimension.value: weight for dimension, weight in config.weights.items()}},
        "log": {"format": config.log.format, "level": config.log.level},
        "statsd": _present(address=config.statsd.address),
        "notify": _notify(config.notify),
        "tables": [_table(table, secrets) for table in config.tables],
        "sources": {source.name: plain(source.model) | dict.fromkeys(source.secrets, MASK) for source in config.watching.sources},
        "pipelines": [_pipeline(pipeline) for pipeline in config.watching.pipelines],
        "assets": [_present(name=asset.name, kind=asset.kind, owner=asset.owner, reads=list(asset.reads)) for asset in config.watching.assets],
    }


def _pipeline(pipeline: PipelineSpec) -> dict[str, Any]:
    sla, cost = pipeline.sla, pipeline.cost
    return _present(
        name=pipeline.name, source=pipeline.source, id=pipeline.job or None, match=pipeline.match, limit=pipeline.limit if pipeline.match else None,
        owner=pipeline.owner, team=pipeline.team, severity=pipeline.severity.value, runbook=pipeline.runbook,
        suggested_action=pipeline.suggested_action or None, reads=list(pipeline.reads), writes=list(pipeline.writes), ci=pipeline.ci or None,
        sla=sla and _present(
            by=plain(sla.by), days=",".join(WEEKDAYS[day] for day in sorted(sla.days)), timezone=sla.timezone.key, holidays=sla.holidays,
            exclude=sorted(sla.exclude) or None, window=_duration(sla.window),
        ),
        cost=cost and _present(usd_per_hour=cost.usd_per_hour, budget_usd_per_day=cost.budget_usd_per_day, timezone=cost.timezone.key),
    )  # fmt: skip


def _spark(config: Config) -> dict[str, Any]:
    spark = config.spark
    return _present(
        master=spark.master, remote=spark.remote, conf=_masked(spark.conf, config.secrets) or None,
        jars=list(spark.jars) or None, token=MASK if spark.token else None,
    )  # fmt: skip


def _notify(notify: NotifySettings) -> dict[str, Any]:
    mail, slack, hours = notify.email, notify.slack, notify.hours
    begin, _, last = hours.days.partition(":")
    return _present(
        pagerduty={"routing_key_file": notify.pagerduty.routing_key_file} if notify.pagerduty else None,
        slack={"api_url_file": slack.api_url_file, "channels": {"urgent": slack.urgent, "alerts": slack.alerts, "info": slack.info}} if slack else None,
        email=_present(
            smarthost=mail.smarthost, **{"from": mail.sender}, to={"high": mail.high, "medium": mail.medium},
            username=mail.username, password_file=mail.password_file, require_tls=mail.require_tls,
        ) if mail else None,
        servicenow=_webhook(notify.servicenow), deadman=_webhook(notify.deadman),
        escalation=_present(manager=notify.escalation.manager, vp=notify.escalation.vp, team_lead=notify.escalation.team_lead),
        business_hours={"days": begin[:3] + (f"-{last[:3]}" if last else ""), "begin": hours.begin, "end": hours.end, "timezone": hours.timezone},
        links={"grafana": notify.links.grafana, "exporter": notify.links.exporter, "alertmanager": notify.links.alertmanager},
        patience=notify.patience,
    )  # fmt: skip


def _webhook(webhook: WebhookSettings | None) -> dict[str, Any] | None:
    return _present(url=webhook.url, token_file=webhook.token_file) if webhook else None


def _table(table: TableSpec, secrets: Collection[str]) -> dict[str, Any]:
    return _present(
        name=table.name, path=table.path, table=table.identifier, jdbc=_masked(table.jdbc, secrets) or None,
        format=table.format.value, storage=_masked(table.storage, secrets) or None, owner=table.owner, team=table.team,
        severity=table.severity.value, runbook=table.runbook, datasets=list(table.datasets) or None, time_column=table.time_column, timezone=table.timezone.key,
        filter=table.filter.sql if table.filter else None, engine=_engine(table.engine),
        checks=[{spec.check.type: _check(spec)} for spec in table.checks],
    )  # fmt: skip


def _check(spec: CheckSpec) -> dict[str, Any]:
    check = spec.check
    assert isinstance(check, ConfiguredCheck)
    body: dict[str, Any] = plain(check)
    return body | _present(
        name=spec.id, severity=spec.severity.value, team=spec.team, owner=spec.owner, runbook=spec.runbook,
        suggested_action=spec.suggested_action or None, schedule=_schedule(spec.schedule), timeout=_duration(spec.timeout),
    )  # fmt: skip


def plain(value: Any) -> Any:
    """A value of a model as YAML has it, exact, with aliases and without what is None."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields.items()
        return _present(**{field.alias or name: plain(getattr(value, name)) for name, field in fields})
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Expression | Query):
        return value.sql
    if isinstance(value, Limit):
        return int(value.amount) if value.unit == "rows" else value.amount
    if isinstance(value, timedelta):
        return _duration(value)
    if isinstance(value, time):
        return value.isoformat("minutes" if value.second == value.microsecond == 0 else "auto")
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Path):
        return str(value)
    return value.key if isinstance(value, ZoneInfo) else value


def _duration(value: timedelta) -> str:
    """Exact to the millisecond, in the largest unit that divides it."""
    milliseconds = round(value.total_seconds() * 1000)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"


def _schedule(schedule: Schedule) -> dict[str, str]:
    if schedule.every is not None:
        return {"every": _duration(schedule.every)}
    return {"cron": schedule.cron or "", "timezone": schedule.timezone.key}


def _engine(engine: Engine | None) -> str:
    return engine.value if engine else "auto"


def _masked(settings: Mapping[str, str], secrets: Collection[str]) -> dict[str, str]:
    return {key: MASK if value in secrets or looks_secret(key) else mask_urls(value) for key, value in settings.items()}


def _present(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
