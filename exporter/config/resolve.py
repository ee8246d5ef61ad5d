"""Tables and checks as configured into runtime specifications: inheritance, and what they say of one another.

Tables may refer to one another in a circle (orders → customers → orders): a check reads another table's rows, never
its results, so there is no order of evaluation to respect.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from exporter.catalog.labels import Dimension
from exporter.checks import ConfiguredCheck
from exporter.checks.base import ScheduleModel
from exporter.config.binding import Scope
from exporter.config.check_items import Item, items
from exporter.config.effective import plain
from exporter.config.problems import nearest
from exporter.config.schedules import part_at_fault, schedule
from exporter.config.sections import DefaultsModel, engine_of
from exporter.config.settings import EngineSettings
from exporter.config.tables import Entry
from exporter.model import CheckSpec, TableSpec
from exporter.timetable import Schedule


def resolve_tables(
    tables: Sequence[Entry], defaults: DefaultsModel, engine: EngineSettings | None, weights: Mapping[Dimension, float]
) -> tuple[TableSpec, ...]:
    """The enabled tables; a disabled one stays, without checks, where another table's check reads it."""
    by_name = _unique(tables)
    checked = {name: list(items(entry.model.checks, entry.scope.at("checks"))) for name, entry in by_name.items()}
    read = _check_references(by_name, checked)
    specs = []
    for name, entry in by_name.items():
        if not entry.configured_checks and name not in read:
            entry.scope.report(f'table "{name}" has no checks, and no other table refers to it')
        _check_ids(name, checked[name])
        spec = _table(entry, checked[name], defaults, engine, weights)
        if entry.model.enabled or name in read:
            specs.append(spec)
    return tuple(specs)


def _unique(tables: Sequence[Entry]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for entry in tables:
        first = found.setdefault(entry.name, entry)
        if first is not entry:
            here, there = entry.scope.place, first.scope.place
            entry.scope.report(f'table "{entry.name}" is defined twice: at {there} and at {here}', "name")
    return found


def _check_references(tables: Mapping[str, Entry], checked: Mapping[str, list[Item]]) -> set[str]:
    """Reports references to undefined tables; returns the names that enabled checks of enabled tables read."""
    read: set[str] = set()
    for name, found in checked.items():
        for item in found:
            for other in item.check.references():
                if other not in tables:
                    guess = nearest(other, tables) or ": define it under tables (it needs no checks of its own)"
                    item.report_reference(f'table "{other}" is not defined{guess}', other)
                elif item.check.enabled and tables[name].model.enabled:
                    read.add(other)
    return read


def _check_ids(table: str, found: Sequence[Item]) -> None:
    first: dict[str, Item] = {}
    for item in found:
        earlier = first.setdefault(item.check.id, item)
        if earlier is not item:
            here, there = item.scope.place, earlier.scope.place
            item.scope.report(
                f'check "{item.check.id}" is defined twice in table "{table}": at {there} and at {here}; give one of them a name'
            )


def _table(
    entry: Entry, found: Sequence[Item], defaults: DefaultsModel, engine: EngineSettings | None, weights: Mapping[Dimension, float]
) -> TableSpec:
    model, scope = entry.model, entry.scope
    inherited = _Inherited(entry, defaults)
    forced = engine_of(model.engine) if model.engine is not None else engine.default if engine is not None else None
    table = TableSpec(
        name=entry.name,
        format=entry.format,
        path=entry.path,
        identifier=model.table,
        jdbc=model.jdbc.options(scope.at("jdbc")) if model.jdbc is not None else {},
        storage=scope.at("storage").settings(model.storage),
        filter=model.filter,
        time_column=model.time_column,
        timezone=model.timezone or defaults.timezone,
        owner=inherited.owner,
        team=inherited.team,
        severity=inherited.severity,
        runbook=inherited.runbook,
        engine=forced,
        weights=weights,
        datasets=model.datasets,
    )
    checks = [inherited.spec(item, table) for item in found]
    return replace(table, checks=tuple(spec for spec in checks if spec is not None) if model.enabled else ())


def _fingerprint(table: TableSpec, check: ConfiguredCheck) -> str:
    """Changes with the rule and with the rows it is about, not with who is told of it or when it runs."""
    rule = {name: value for name, value in plain(check).items() if name not in _ABOUT}
    scope = [table.place, table.filter.sql if table.filter else None, table.time_column, table.timezone.key]
    return hashlib.sha256(json.dumps([check.type, rule, scope], sort_keys=True, default=str).encode()).hexdigest()[:16]


_ABOUT = frozenset({"name", "severity", "team", "owner", "runbook", "suggested_action", "schedule", "timeout", "enabled"})


class _Inherited:
    """What the checks of one table inherit: check before table before defaults."""

    def __init__(self, entry: Entry, defaults: DefaultsModel) -> None:
        model = entry.model
        self.severity = model.severity or defaults.severity
        self.owner = model.owner if model.owner is not None else defaults.owner
        self.team = model.team if model.team is not None else defaults.team
        self.runbook = model.runbook if model.runbook is not None else defaults.runbook
        self._timeout = model.timeout or defaults.timeout
        self._on_empty = defaults.on_empty
        self._zone = model.timezone or defaults.timezone
        own = None if model.schedule is None else self._schedule_of(model.schedule, entry.scope.at("schedule"))
        self._schedule = own or self._schedule_of(defaults.schedule, None)

    def _schedule_of(self, model: ScheduleModel, scope: Scope | None) -> Schedule | None:
        """The schedule; None after reporting why not. Faults of the defaults are reported with that section."""
        try:
            return schedule(model, self._zone)
        except ValueError as error:
            if scope is not None:
                scope.report(str(error), *part_at_fault(model))
            return None

    def spec(self, item: Item, table: TableSpec) -> CheckSpec | None:
        """The check with what it inherits; None when it is disabled or its schedule is faulty."""
        check = item.check
        own = None if check.schedule is None else self._schedule_of(check.schedule, item.scope.at("schedule"))
        if check.timeout is not None and check.timeout <= timedelta(0):
            item.scope.report("must be longer than 0s", "timeout")
        due = own or self._schedule
        if due is None or not check.enabled:
            return None
        rule = self._with_on_empty(check).in_zone(self._zone)
        return CheckSpec(
            id=check.id,
            check=rule,
            severity=check.severity or self.severity,
            team=check.team if check.team is not None else self.team,
            owner=check.owner if check.owner is not None else self.owner,
            runbook=check.runbook if check.runbook is not None else self.runbook,
            suggested_action=check.suggested_action or "",
            schedule=due,
            timeout=check.timeout or self._timeout,
            fingerprint=_fingerprint(table, rule),
        )

    def _with_on_empty(self, check: ConfiguredCheck) -> ConfiguredCheck:
        """The default applies only where no rows leave nothing to judge (a row count judges zero)."""
        if self._on_empty is None or check.on_empty is not None or check.empty == "judge":
            return check
        return check.model_copy(update={"on_empty": self._on_empty})
