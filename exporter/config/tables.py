"""The section `tables`: its model, and entries with `glob` expanded to one table each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from exporter.catalog.labels import Severity, TableFormat
from exporter.checks.base import ScheduleModel, Strict
from exporter.config.binding import Scalar, Scope
from exporter.config.sections import EngineChoice, Name, PositiveDuration
from exporter.units import SqlExpression, Zone

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_PLACEHOLDER = "{name}"
_FORMATS = {
    "path": (TableFormat.DELTA, TableFormat.PARQUET, TableFormat.ICEBERG),
    "table": (TableFormat.TABLE, TableFormat.DELTA, TableFormat.PARQUET, TableFormat.ICEBERG),
    "jdbc": (TableFormat.JDBC,),
}
"""Formats by where a table is; the first is the default."""


def check_table_name(name: str) -> str:
    """Raises ValueError unless the name is 1 to 200 printable characters."""
    if not name.strip():
        raise ValueError("a table name must not be empty")
    if len(name) > 200:
        raise ValueError(f"a table name has at most 200 characters, this one has {len(name)}")
    if not name.isprintable():
        raise ValueError("a table name is one line of printable text")
    return name


def _jdbc_url(url: str) -> str:
    if not url.startswith("jdbc:"):
        raise ValueError("a JDBC URL starts with jdbc:, such as jdbc:postgresql://db/shop")
    return url


class JdbcModel(Strict):
    """A table or query in a database, read by Spark; further keys are options of Spark's JDBC source."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)
    __pydantic_extra__: dict[str, Scalar] = Field(init=False)

    url: Annotated[str, AfterValidator(_jdbc_url)] = Field(examples=["jdbc:postgresql://db/shop"])
    dbtable: Name | None = None
    query: Name | None = None
    user: str | None = None
    password_file: Name | None = None
    password_env: Name | None = None
    driver: str | None = None

    def options(self, scope: Scope) -> dict[str, str]:
        """Options of Spark's JDBC source, with the password."""
        if (self.dbtable is None) == (self.query is None):
            scope.report("jdbc needs either dbtable or query")
        fixed = {name: getattr(self, name) for name in type(self).model_fields}
        given = {key: value for key, value in fixed.items() if value is not None}
        return scope.settings({**given, **(self.__pydantic_extra__ or {})})


class TableModel(Strict):
    """One table, or with `glob` a block for many."""

    name: Annotated[str, AfterValidator(check_table_name)] | None = Field(
        default=None, description="value of the label `table`; for a glob a template with {name} (the last part of the path)"
    )
    path: Name | None = None
    table: Name | None = Field(default=None, description="an identifier such as catalog.schema.table")
    jdbc: JdbcModel | None = None
    glob: Name | None = Field(default=None, description="a pattern of directories, one table each")
    format: TableFormat | None = None
    storage: dict[str, Scalar] = Field(default_factory=dict, description="options of the object store; x_file and x_env give a secret x")
    owner: str | None = None
    team: str | None = None
    severity: Severity | None = None
    runbook: str | None = None
    time_column: Name | None = None
    timezone: Zone | None = None
    filter: SqlExpression | None = None
    engine: EngineChoice | None = None
    datasets: tuple[Name, ...] = Field(default=(), description="further names under which OpenLineage or dbt know the table")
    schedule: ScheduleModel | None = None
    timeout: PositiveDuration | None = None
    enabled: bool = True
    checks: list[Any] = Field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """A table as configured, with its name, its place and where its data are."""

    name: str
    model: TableModel
    scope: Scope
    format: TableFormat
    path: str | None = None

    @property
    def configured_checks(self) -> bool:
        """True when something stands under `checks`, valid or not."""
        holder = (*self.scope.path, "checks")
        return bool(self.model.checks) or ("checks" not in self.model.model_fields_set and self.scope.document.find(holder).path == holder)


def entries(data: Any, scope: Scope) -> Iterator[Entry]:
    """The tables of one item of the list; nothing when it is faulty, which is reported."""
    if not isinstance(data, dict):
        scope.report("a table must be a mapping such as {name: sales.orders, path: …, checks: […]}")
        return
    clean = scope.refuse_inline_secrets(data, frozenset({"checks"}))
    model = scope.validate(TableModel, clean, salvage=True)
    if model is None:
        return
    faulty = Entry(model.name or f"#{scope.path[-1]}", model, scope, TableFormat.DELTA)  # its checks are still looked at
    format_ = _format(model, scope, data)
    if format_ is None:
        yield faulty
    elif model.glob is not None:
        yield from list(_expanded(model, model.glob, format_, scope)) or [faulty]
    elif model.name is None:
        if "name" not in data:
            scope.report('"name" is required')
        yield faulty
    else:
        yield Entry(model.name, model, scope, format_, None if model.path is None else _path(model.path, scope))


def _format(model: TableModel, scope: Scope, data: dict[str, Any]) -> TableFormat | None:
    given = [key for key in ("path", "table", "jdbc", "glob") if getattr(model, key) is not None]
    if not given and any(key in data for key in ("path", "table", "jdbc", "glob")):
        return None  # it is there, and reported as faulty
    if len(given) != 1:
        found = f"found {' and '.join(given)}" if given else "found none"
        scope.report(f"a table has exactly one of path, table, jdbc or glob, {found}")
        return None
    allowed = _FORMATS["path" if given[0] == "glob" else given[0]]
    if model.format is not None and model.format not in allowed:
        scope.report(f"format {model.format} does not go with {given[0]}: use {', '.join(allowed)}", "format")
        return None
    return model.format or allowed[0]


def _path(path: str, scope: Scope) -> str:
    return path if _SCHEME.match(path) else str(Path(scope.file(path)).absolute())


def _expanded(model: TableModel, pattern: str, format_: TableFormat, scope: Scope) -> Iterator[Entry]:
    if _SCHEME.match(pattern):
        scope.report("glob is not available for remote paths yet: list the tables by path", "glob")
        return
    if not has_magic(pattern):
        scope.report('a glob has a wildcard such as "lake/*"; use path for one table', "glob")
        return
    template = model.name or _PLACEHOLDER
    found = sorted(match for match in glob(str(scope.file(pattern)), recursive=True) if Path(match).is_dir())
    if not found:
        scope.report(f'no directory matches "{pattern}"', "glob")
    elif len(found) > 1 and _PLACEHOLDER not in template:
        scope.report(f"{len(found)} tables cannot share one name: put {{name}} into it", "name")
    else:
        for match in found:
            name = template.replace(_PLACEHOLDER, Path(match).name)
            try:
                yield Entry(check_table_name(name), model, scope, format_, str(Path(match).absolute()))
            except ValueError as error:
                scope.report(f"{error} ({match!r})", "glob")
