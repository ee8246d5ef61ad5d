"""The sections `sources`, `pipelines` and `assets`: from YAML to what is watched, with every fault at its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from exporter.catalog.labels import Severity, SourceType
from exporter.checks.base import Dates, Strict
from exporter.checks.freshness_deadline import time_of_day
from exporter.config.binding import Scope, show
from exporter.config.problems import nearest
from exporter.config.sections import DefaultsModel, Name, PositiveDuration
from exporter.config.tables import Entry, check_table_name
from exporter.model import TableSpec
from exporter.pipelines import SOURCES, SourceModel
from exporter.pipelines.spec import AssetSpec, Cost, PipelineSpec, Sla, SourceSpec
from exporter.timetable import check_country, check_days, parse_days
from exporter.units import Zone

WATCHING = ("sources", "pipelines", "assets")
"""The sections that are read here."""
IMPLICIT = "events"
"""The source of pipelines that tell of themselves; it is always there."""
_ONCE = (SourceType.EVENTS, SourceType.OPENLINEAGE)
"""Sources that are sent to at one address, so there is one of each."""


class SlaModel(Strict):
    """A run must have succeeded by a time of day."""

    by: Annotated[time, BeforeValidator(time_of_day), WithJsonSchema({"type": "string", "examples": ["07:00"]})]
    days: Annotated[str, AfterValidator(check_days)] = Field(default="daily", examples=["mon-fri"])
    timezone: Zone | None = None
    holidays: Annotated[str, AfterValidator(check_country)] | None = Field(default=None, description="no deadline on public holidays of this country")
    exclude: Dates = frozenset()
    window: PositiveDuration = Field(default=timedelta(hours=12), description="how long before the deadline a run that counts may start")


class CostModel(Strict):
    """What running costs."""

    usd_per_hour: float | None = Field(default=None, ge=0)
    budget_usd_per_day: float | None = Field(default=None, ge=0)
    timezone: Zone | None = None


def _id(value: object) -> object:
    """Ids of Databricks are numbers."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class PipelineModel(Strict):
    """One pipeline, or with `match` one per job that the pattern matches."""

    name: Annotated[str, AfterValidator(check_table_name)] | None = Field(
        default=None, description="value of the label `pipeline`; with match a template with {id}, by default {id} itself"
    )
    source: Name = IMPLICIT
    id: Annotated[str | None, BeforeValidator(_id), WithJsonSchema({"type": ["string", "integer", "null"]})] = Field(
        default=None, description="dag_id, job_id, application name, OpenLineage namespace/name; default: name"
    )
    match: Name | None = Field(default=None, description="a pattern such as sales_* instead of an id")
    limit: int = Field(default=200, ge=1, le=10_000, description="so many pipelines a match makes at most")
    owner: str | None = None
    team: str | None = None
    severity: Severity | None = None
    runbook: str | None = None
    suggested_action: str | None = None
    reads: tuple[Name, ...] = ()
    writes: tuple[Name, ...] = ()
    sla: SlaModel | None = None
    cost: CostModel | None = None
    ci: str | None = Field(default=None, description="the configuration item of tickets")


class AssetModel(Strict):
    """Something downstream that is not a table."""

    name: Name
    kind: Name = "asset"
    owner: str = ""
    reads: tuple[Name, ...] = ()


@dataclass(frozen=True)
class Watching:
    """Everything that is configured of pipelines."""

    sources: tuple[SourceSpec, ...] = ()
    pipelines: tuple[PipelineSpec, ...] = ()
    assets: tuple[AssetSpec, ...] = ()


def resolve_watching(scopes: Iterable[Scope], defaults: DefaultsModel) -> Watching:
    """Sources, pipelines and assets of all files; faults are reported."""
    scopes = list(scopes)
    sources = _sources(scopes)
    pipelines = _pipelines(scopes, sources, defaults)
    return Watching(tuple(sources.values()), tuple(pipelines), tuple(_assets(scopes)))


# --- sources --------------------------------------------------------------------------------------------------
def _sources(scopes: Iterable[Scope]) -> dict[str, SourceSpec]:
    found: dict[str, SourceSpec] = {}
    places: dict[str, str] = {}
    for scope in scopes:
        data = scope.document.data.get("sources")
        if data is None:
            continue
        if not isinstance(data, dict):
            scope.report(f"sources must be a mapping of names to sources, found {show(data)}", "sources")
            continue
        for name, body in data.items():
            inner = scope.at("sources", name)
            if name in places:
                inner.report(f'source "{name}" is defined twice: at {places[name]} and at {inner.place}', at_key=True)
                continue
            places[name] = inner.place
            spec = _source(name, body, inner)
            if spec is not None:
                _check_once(spec, found, inner)
                found[name] = spec
    if not any(spec.type is SourceType.EVENTS for spec in found.values()) and IMPLICIT not in places:
        found[IMPLICIT] = SourceSpec(IMPLICIT, SOURCES[SourceType.EVENTS].model_validate({"type": SourceType.EVENTS.value}))
    return found


def _check_once(spec: SourceSpec, found: Mapping[str, SourceSpec], scope: Scope) -> None:
    other = next((one for one in found.values() if one.type is spec.type), None)
    if spec.type in _ONCE and other is not None:
        scope.report(f'there is one source of type {spec.type} at most, as its address is fixed; "{other.name}" is one already', "type")


def _source(name: str, body: Any, scope: Scope) -> SourceSpec | None:
    if not isinstance(body, dict):
        scope.report(f"a source is a mapping such as {{type: airflow, url: …}}, found {show(body)}")
        return None
    kind = body.get("type")
    types = {one.value: cls for one, cls in SOURCES.items()}
    if kind not in types:
        text = '"type" is required' if kind is None else f'unknown source type "{kind}"{nearest(str(kind), types)}'
        scope.report(f"{text}: valid types are {', '.join(sorted(types))}", "type")
        return None
    cls = types[kind]
    model = scope.validate(cls, scope.refuse_inline_secrets(body))
    if model is None:
        return None
    secrets = {}
    for key in cls.secrets:
        value = scope.secret(key, getattr(model, f"{key}_file"), getattr(model, f"{key}_env"))
        if value is not None:
            secrets[key] = value
    named = {key for key in cls.secrets if getattr(model, f"{key}_file") or getattr(model, f"{key}_env")}
    for key, message in model.problems(frozenset(named)):
        scope.report(message, key)
    return SourceSpec(name, _at_home(model, scope), secrets)


def _at_home(model: SourceModel, scope: Scope) -> SourceModel:
    """The model with its relative paths starting at the folder of the file."""
    given = {key: value for key in type(model).paths if (value := getattr(model, key))}
    return model.model_copy(update={key: type(value)(scope.file(str(value))) for key, value in given.items()})


# --- pipelines ------------------------------------------------------------------------------------------------
def _pipelines(scopes: Iterable[Scope], sources: Mapping[str, SourceSpec], defaults: DefaultsModel) -> list[PipelineSpec]:
    found: dict[str, tuple[PipelineSpec, Scope]] = {}
    jobs: dict[tuple[str, str], str] = {}
    for inner, item in _items(scopes, "pipelines"):
        model = inner.validate(PipelineModel, item)
        spec = _pipeline(model, inner, sources, defaults) if model else None
        if spec is None:
            continue
        key = spec.name if spec.match is None else f"{spec.source}: {spec.match}"
        if key in found:
            there = found[key][1].place
            inner.report(f'pipeline "{key}" is defined twice: at {there} and at {inner.place}', "name")
            continue
        found[key] = (spec, inner)
        if spec.match is None and (other := jobs.setdefault((spec.source, spec.job), spec.name)) != spec.name:
            inner.report(f'pipelines "{other}" and "{spec.name}" are both {spec.job} of {spec.source}: give one of them another id', "id")
    return [spec for spec, _ in found.values()]


def _items(scopes: Iterable[Scope], key: str) -> Iterable[tuple[Scope, Any]]:
    for scope in scopes:
        data = scope.document.data.get(key)
        if data is None:
            continue
        if not isinstance(data, list):
            scope.report(f"{key} must be a list, found {show(data)}", key)
            continue
        for index, item in enumerate(data):
            inner = scope.at(key, index)
            if not isinstance(item, dict):
                inner.report(f"an entry of {key} is a mapping such as {{name: …}}, found {show(item)}")
            else:
                yield inner, inner.refuse_inline_secrets(item)


def _pipeline(model: PipelineModel, scope: Scope, sources: Mapping[str, SourceSpec], defaults: DefaultsModel) -> PipelineSpec | None:
    source = sources.get(model.source)
    if source is None:
        scope.report(f'source "{model.source}" is not defined{nearest(model.source, sources) or ": define it under sources"}', "source")
    if model.match is not None and model.id is not None:
        scope.report("give id or match, not both", "match", at_key=True)
    name = model.name or ("{id}" if model.match is not None else model.id)
    if name is None:
        scope.report('"name" is required')
    if model.match is not None and "{id}" not in (name or "{id}"):
        scope.report("the pipelines of a match cannot share one name: put {id} into it, or leave it out", "name")
    if source is None or name is None:
        return None
    return PipelineSpec(
        name, source.name, source.type, model.id or (name if model.match is None else ""), model.match, model.limit,
        owner=model.owner if model.owner is not None else defaults.owner,
        team=model.team if model.team is not None else defaults.team,
        severity=model.severity or defaults.severity,
        runbook=model.runbook if model.runbook is not None else defaults.runbook,
        suggested_action=model.suggested_action or "", reads=model.reads, writes=model.writes,
        sla=_sla(model.sla, defaults) if model.sla else None,
        cost=Cost(model.cost.usd_per_hour, model.cost.budget_usd_per_day, model.cost.timezone or defaults.timezone) if model.cost else None,
        ci=model.ci or "",
    )  # fmt: skip


def _sla(model: SlaModel, defaults: DefaultsModel) -> Sla:
    return Sla(model.by, parse_days(model.days), model.timezone or defaults.timezone, model.holidays, model.exclude, model.window)


def _assets(scopes: Iterable[Scope]) -> Iterable[AssetSpec]:
    seen: dict[str, str] = {}
    for inner, item in _items(scopes, "assets"):
        model = inner.validate(AssetModel, item)
        if model is None:
            continue
        if model.name in seen:
            inner.report(f'asset "{model.name}" is defined twice: at {seen[model.name]} and at {inner.place}', "name")
            continue
        seen[model.name] = inner.place
        yield AssetSpec(model.name, model.kind, model.owner, model.reads)


def check_written_tables(tables: Iterable[TableSpec], pipelines: Iterable[PipelineSpec], entries: Iterable[Entry]) -> None:
    """Reports a freshness that is taken from runs, of a table that no pipeline writes."""
    written = {name for pipeline in pipelines for name in pipeline.writes}
    places = {entry.name: entry.scope for entry in entries}
    for table in tables:
        if table.name not in written and any(getattr(check.check, "source", None) == "run" for check in table.checks):
            places[table.name].report(f'source: run needs a pipeline that writes the table: add "{table.name}" to `writes` of one under `pipelines`', "checks")
