"""Plain data into models, with every fault as a problem at its place and in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from yaml.nodes import ScalarNode

from exporter.config.problems import Problem, nearest
from exporter.config.secret_values import (
    MASK,
    check_environment_name,
    looks_secret,
    mask_urls,
    mask_values,
    read_secret_file,
    url_has_secret,
)  # fmt: skip
from exporter.config.yaml_file import Document, Path_

ModelT = TypeVar("ModelT", bound=BaseModel)
Scalar = str | int | float | bool


@dataclass
class Findings:
    """What a load gathers: problems, and the secrets that were read (never shown)."""

    environ: Mapping[str, str] = field(repr=False)
    problems: list[Problem] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set, repr=False)

    def safe_problems(self) -> list[Problem]:
        """The problems with anything secret masked."""
        return [
            Problem(p.file, p.line, p.column, mask_values(mask_urls(p.message), self.secrets)) for p in self.problems
        ]


@dataclass(frozen=True)
class Scope:
    """A place in a file: reports problems there and below, and reads the secrets named there."""

    document: Document
    path: Path_
    findings: Findings

    def at(self, *parts: str | int) -> Scope:
        """The place further down."""
        return Scope(self.document, (*self.path, *parts), self.findings)

    @property
    def place(self) -> str:
        """`file:line:column`."""
        return self.document.place(self.path)

    def report(self, message: str, *parts: str | int, at_key: bool = False) -> None:
        """Adds a problem at the value or the key of `parts`."""
        self.findings.problems.append(self.document.problem(message, (*self.path, *parts), at_key))

    def file(self, name: str) -> Path:
        """A path of the configuration; a relative one starts at the directory of its file."""
        return self.document.folder / name

    def secret(self, key: str, from_file: str | None, from_env: str | None) -> str | None:
        """The secret named by `<key>_file` or `<key>_env`, or None; what is wrong with it is reported."""
        if from_file is not None and from_env is not None:
            self.report(f"give {key}_file or {key}_env, not both", f"{key}_env", at_key=True)
            return None
        source = f"{key}_file" if from_file is not None else f"{key}_env"
        try:
            value = self._read(from_file, from_env)
        except ValueError as error:
            self.report(f"{source}: {error}", source)
            return None
        if value is not None:
            self.findings.secrets.add(value)
        return value

    def _read(self, from_file: str | None, from_env: str | None) -> str | None:
        if from_file is not None:
            return read_secret_file(self.file(from_file))
        if from_env is None:
            return None
        check_environment_name(from_env)
        value = self.findings.environ.get(from_env)
        if not value:
            raise ValueError(f"environment variable {from_env} is {'not set' if value is None else 'empty'}")
        return value

    def settings(self, given: Mapping[str, Scalar]) -> dict[str, str]:
        """Free-form settings as text; `x_file` and `x_env` become `x`."""
        result: dict[str, str] = {}
        for key, value in given.items():
            name, _, source = key.rpartition("_")
            if name and source in ("file", "env") and isinstance(value, str):
                if name in given or (source == "env" and f"{name}_file" in given):
                    self.report(f"{name} is given twice", key, at_key=True)
                    continue
                secret = self.secret(name, *((value, None) if source == "file" else (None, value)))
                if secret is not None:
                    result[name] = secret
            else:
                result[key] = str(value).lower() if isinstance(value, bool) else str(value)
        return result

    def refuse_inline_secrets(self, value: Any, skip: frozenset[str] = frozenset()) -> Any:
        """Reports secrets that stand in the file itself; returns the value without them."""
        if isinstance(value, dict):
            kept = {}
            for key, item in value.items():
                if key not in skip and looks_secret(key) and not isinstance(item, bool | dict | list):
                    self.report(f"a secret must not stand in the file: use {key}_file or {key}_env", key, at_key=True)
                else:
                    kept[key] = item if key in skip else self.at(key).refuse_inline_secrets(item)
            return kept
        if isinstance(value, list):
            return [self.at(index).refuse_inline_secrets(item) for index, item in enumerate(value)]
        if isinstance(value, str) and url_has_secret(value):
            self.report("a URL must not hold a password or token: remove it and use password_file or password_env (or token_file, token_env)")
            return mask_urls(value)
        return value

    def validate(self, model: type[ModelT], data: Any, salvage: bool = False) -> ModelT | None:
        """The model, or None after reporting all that is wrong with `data`.

        With `salvage` the model of the keys that are sound, so that what depends on it is checked as well.
        """
        try:
            return model.model_validate(data)
        except ValidationError as error:
            self.explain(error, model)
            bad = {detail["loc"][0] for detail in error.errors(include_url=False) if detail["loc"]}
            if salvage and isinstance(data, dict) and bad & set(data):
                sound = {key: value for key, value in data.items() if key not in bad}
                return self._quietly(model, sound)
        return None

    @staticmethod
    def _quietly(model: type[ModelT], data: Any) -> ModelT | None:
        try:
            return model.model_validate(data)
        except ValidationError:
            return None

    def explain(self, error: ValidationError, model: type[BaseModel]) -> None:
        """Reports pydantic's errors; several at one value (the members of a union) become one."""
        grouped: dict[tuple[Path_, bool], list[tuple[str, str | None]]] = {}
        details = error.errors(include_url=False)
        misspelt = {_guess(model, detail) for detail in details if detail["type"] == "extra_forbidden"}
        for detail in details:
            if detail["type"] == "missing" and detail["loc"] in misspelt:
                continue
            location = (*self.path, *detail["loc"])
            if detail["type"] in ("missing", "extra_forbidden"):
                holder = self.document.find(location[:-1]).path
                word = str(detail["loc"][-1])
                if detail["type"] == "missing":
                    grouped.setdefault((holder, False), []).append((f'"{word}" is required', None))
                else:
                    choices = _keys(model, detail["loc"][:-1])
                    text = f'unknown key "{word}"' + (nearest(word, choices) or f": valid keys are {', '.join(choices)}")
                    grouped.setdefault(((*holder, word), True), []).append((text, None))
                continue
            found = self.document.find(location)
            grouped.setdefault((found.path, False), []).append(self._words(detail, found.node, location))
        for (path, at_key), faults in grouped.items():
            for message in _joined(faults):
                self.findings.problems.append(self.document.problem(message, path, at_key))

    def _words(self, detail: ErrorDetails, node: Any, location: Path_) -> tuple[str, str | None]:
        """The message, and what was expected where several such expectations can be joined by `or`."""
        kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
        hidden = any(isinstance(part, str) and looks_secret(part) for part in location)
        shown = MASK if hidden else show(value)
        if kind in _EXPECTED:
            hint = ""
            if kind == "string_type" and isinstance(node, ScalarNode) and not isinstance(value, dict | list) and value is not None:
                shown = MASK if hidden else f"{node.value}"
                hint = ": put it in quotes"
            return f"found {shown}{hint}", _EXPECTED[kind]
        if kind in ("enum", "literal_error"):
            choices = [part.strip(" '") for part in str(context["expected"]).replace(" or ", ", ").split(",")]
            return f"{shown} is not one of {', '.join(choices)}{nearest(str(value), choices)}", None
        if kind in ("value_error", "assertion_error"):
            return str(context.get("error", detail["msg"])) if not hidden else "is not valid", None
        if kind in _LIMITS:
            return _LIMITS[kind].format(**context), None
        return detail["msg"].replace("Input should be", "expected").replace("Value error, ", ""), None


_EXPECTED = {
    "string_type": "text", "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "float_parsing": "a number", "decimal_type": "a number", "decimal_parsing": "a number",
    "bool_type": "true or false", "bool_parsing": "true or false", "list_type": "a list", "tuple_type": "a list",
    "dict_type": "a mapping", "mapping_type": "a mapping", "model_type": "a mapping", "model_attributes_type": "a mapping",
    "date_type": "a date", "date_parsing": "a date", "date_from_datetime_parsing": "a date", "date_from_datetime_inexact": "a date",
    "datetime_type": "a date and time", "datetime_parsing": "a date and time", "datetime_from_date_parsing": "a date and time",
    "time_type": "a time", "time_parsing": "a time", "set_type": "a list", "frozen_set_type": "a list",
}  # fmt: skip
_LIMITS = {
    "greater_than": "must be greater than {gt}", "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}", "less_than_equal": "must be at most {le}",
    "too_short": "needs at least {min_length} entry", "too_long": "takes at most {max_length} entries",
    "string_too_short": "must not be empty", "string_too_long": "is longer than {max_length} characters",
    "finite_number": "must be a finite number",
}  # fmt: skip


def _joined(faults: Sequence[tuple[str, str | None]]) -> list[str]:
    expected = list(dict.fromkeys(kind for _, kind in faults if kind))
    others = list(dict.fromkeys(text for text, kind in faults if not kind))
    if not expected:
        return others
    found = next(text for text, kind in faults if kind)
    return [f"expected {' or '.join(expected)}, {found}", *others]


def _guess(model: type[BaseModel], detail: ErrorDetails) -> tuple[str | int, ...]:
    """Where the key would be that an unknown key was probably meant to be."""
    found = nearest(str(detail["loc"][-1]), _keys(model, detail["loc"][:-1]))
    return (*detail["loc"][:-1], found.split('"')[1]) if found else ()


def _keys(model: Any, location: Sequence[str | int]) -> list[str]:
    """The keys that are valid in the model at `location` below `model`."""
    for part in location:
        names = {(f.alias or name): f.annotation for name, f in model.model_fields.items()}
        if part in names:
            model = _model_in(names[str(part)]) or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_in(part) for part in getattr(annotation, "__args__", ()))
    return next((found for found in inner if found), None)


def show(value: Any) -> str:
    """A value as a user would recognise it, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "…"
