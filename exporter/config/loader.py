"""Finds the files of a configuration, merges them, and hands each section to its model."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from exporter.config import notify as _notify  # noqa: F401 - registers its section
from exporter.config.binding import Findings, Scope, show
from exporter.config.pipelines import WATCHING, check_written_tables, resolve_watching
from exporter.config.problems import ConfigError, Problem, nearest
from exporter.config.resolve import resolve_tables
from exporter.config.sections import LATER, SECTIONS, DefaultsModel
from exporter.config.settings import Config
from exporter.config.tables import Entry, entries
from exporter.config.yaml_file import Document, read

_SUFFIXES = (".yml", ".yaml")


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """The configuration in a file, a directory (`*.yml`, `*.yaml`) or the files that a pattern matches.

    Raises ConfigError with all problems of all files. 10,000 tables take some ten seconds, most of it for parsing YAML
    and SQL, and half as long again if the garbage collector looked over the growing heap meanwhile: it is paused.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _load(path, environ)
    finally:
        if collecting:
            gc.enable()


def load_section(path: Path, key: str, environ: Mapping[str, str]) -> Any:
    """The settings of one section alone, for those who have neither the tables nor the secrets of the others.

    Raises ConfigError with the problems of the files and of that section.
    """
    findings = Findings(environ)
    scopes = []
    for file in _files(Path(path), findings):
        document, problems = read(file)
        findings.problems += problems
        if document is not None:
            scopes.append(Scope(document, (), findings))
    settings = _section(key, scopes) if scopes else None
    if findings.problems or settings is None:
        raise ConfigError(findings.safe_problems())
    return settings


def _load(path: Path, environ: Mapping[str, str]) -> Config:
    findings = Findings(environ)
    documents = []
    for file in _files(Path(path), findings):
        document, problems = read(file)
        findings.problems += problems
        if document is not None:
            documents.append(document)
    config = _assemble(documents, findings) if documents else None
    if findings.problems or config is None:
        raise ConfigError(findings.safe_problems())
    return config


def _files(path: Path, findings: Findings) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES and file.is_file())
        missing = "is a directory without *.yml or *.yaml files"
    elif path.exists() or not has_magic(str(path)):
        files, missing = ([path] if path.exists() else []), "no such file or directory"
    else:
        files, missing = sorted(Path(name) for name in glob(str(path)) if Path(name).is_file()), "matches no file"
    if not files:
        findings.problems.append(Problem(str(path), 1, 1, missing))
    return files


def _assemble(documents: list[Document], findings: Findings) -> Config | None:
    scopes = [Scope(document, (), findings) for document in documents]
    _check_keys(scopes)
    settings = {model.field: _section(key, scopes) for key, model in SECTIONS.items()}
    tables: list[Entry] = []
    for scope in scopes:
        tables += _tables(scope)
    _check_there_are_tables(scopes)
    defaults = settings.get("defaults")
    weights = settings.get("weights")
    specs = resolve_tables(tables, defaults or DefaultsModel(), settings.get("engine"), weights or {})
    watching = resolve_watching(scopes, defaults or DefaultsModel())
    check_written_tables(specs, watching.pipelines, tables)
    if findings.problems:
        return None
    files = tuple(document.file for document in documents)
    return Config(tables=specs, watching=watching, files=files, secrets=frozenset(findings.secrets), **settings)


def _check_there_are_tables(scopes: list[Scope]) -> None:
    given = [scope for scope in scopes if "tables" in scope.document.data]
    if not given:
        scopes[0].report('"tables" is required: list at least one table')
    elif not any(scope.document.data["tables"] or isinstance(scope.document.data["tables"], dict) for scope in given):
        given[0].report("tables is empty: list at least one table", "tables")


def _check_keys(scopes: list[Scope]) -> None:
    valid = ["version", "tables", *WATCHING, *SECTIONS]
    for scope in scopes:
        for key in scope.document.data:
            if key in LATER and key not in SECTIONS:
                scope.report(f'"{key}" is not yet available in this version: remove it', key, at_key=True)
            elif key not in valid:
                guess = nearest(key, [*valid, *LATER]) or f": valid keys are {', '.join(valid)}"
                scope.report(f'unknown key "{key}"{guess}', key, at_key=True)
        version = scope.document.data.get("version", 1)
        if version is True or version != 1 or not isinstance(version, int):
            scope.report(f"version must be 1, found {show(version)}", "version")
    if not any("version" in scope.document.data for scope in scopes):
        scopes[0].report('"version" is required: start with `version: 1`')


def _section(key: str, scopes: list[Scope]) -> Any:
    model = SECTIONS[key]
    holders = [scope for scope in scopes if key in scope.document.data]
    for other in holders[1:]:
        other.report(f'section "{key}" is given twice: first at {holders[0].at(key).place}', key, at_key=True)
    scope = holders[0] if holders else scopes[0]
    data = scope.document.data.get(key)
    inner = scope.at(key)
    validated = inner.validate(model, inner.refuse_inline_secrets({} if data is None else data), salvage=True)
    return None if validated is None else validated.resolve(inner)


def _tables(scope: Scope) -> list[Entry]:
    data = scope.document.data.get("tables")
    if data is None:
        return []
    if not isinstance(data, list):
        scope.report(f"tables must be a list, found {show(data)}", "tables")
        return []
    return [entry for index, item in enumerate(data) for entry in entries(item, scope.at("tables", index))]
