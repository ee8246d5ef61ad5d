"""JSON Schema (2020-12) of the configuration file, for editors and other tools."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import models_json_schema

from exporter.checks import REGISTRY, ConfiguredCheck
from exporter.checks.base import Strict
from exporter.config.pipelines import AssetModel, PipelineModel
from exporter.config.sections import SECTIONS
from exporter.config.tables import TableModel
from exporter.pipelines import SOURCES

Schema = dict[str, Any]


def json_schema() -> Schema:
    """The schema with every section and every check type in all its forms."""
    models: list[type[Strict]] = [
        TableModel, PipelineModel, AssetModel, *SECTIONS.values(), *(SOURCES[kind] for kind in sorted(SOURCES)), *(REGISTRY[name] for name in sorted(REGISTRY)),
    ]  # fmt: skip
    names = dict(zip(models, _names(models), strict=True))
    references, schema = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    definitions: Schema = schema["$defs"]
    by_model = {model: references[(model, "validation")]["$ref"].rsplit("/", 1)[1] for model in models}
    renamed = {by_model[model]: names[model] for model in models}
    definitions = {renamed.get(key, key): _renamed(value, renamed) for key, value in definitions.items()}
    definitions["check"] = _check_item()
    definitions[names[TableModel]]["properties"]["checks"]["items"] = {"$ref": "#/$defs/check"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dq-exporter configuration",
        "type": "object",
        "properties": {
            "version": {"const": 1},
            **{key: {"anyOf": [{"$ref": f"#/$defs/{names[model]}"}, {"type": "null"}]} for key, model in SECTIONS.items()},
            "tables": {"type": "array", "items": {"$ref": f"#/$defs/{names[TableModel]}"}},
            "sources": {"type": ["object", "null"], "additionalProperties": {"oneOf": [{"$ref": f"#/$defs/{names[SOURCES[kind]]}"} for kind in sorted(SOURCES)]}},
            "pipelines": {"type": ["array", "null"], "items": {"$ref": f"#/$defs/{names[PipelineModel]}"}},
            "assets": {"type": ["array", "null"], "items": {"$ref": f"#/$defs/{names[AssetModel]}"}},
        },
        "additionalProperties": False,
        "$defs": definitions,
    }


def _names(models: list[type[Strict]]) -> list[str]:
    keys: dict[type[Strict], str] = {model: f"section_{key}" for key, model in SECTIONS.items()}
    keys |= {TableModel: "table", PipelineModel: "pipeline", AssetModel: "asset"}
    keys |= {model: f"source_{kind}" for kind, model in SOURCES.items()}
    keys |= {model: f"check_{type_}" for type_, model in REGISTRY.items()}
    return [keys[model] for model in models]


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _reference(item, names) if key == "$ref" else _renamed(item, names) for key, item in value.items()}
    return [_renamed(item, names) for item in value] if isinstance(value, list) else value


def _reference(target: Any, names: dict[str, str]) -> Any:
    if not isinstance(target, str):
        return _renamed(target, names)
    head, _, name = target.rpartition("/")
    return f"{head}/{names.get(name, name)}"


def _check_item() -> Schema:
    bare = [name for name in sorted(REGISTRY) if _accepts(REGISTRY[name], None)]
    types = {name: _forms(REGISTRY[name]) for name in sorted(REGISTRY)}
    item = {"type": "object", "properties": types, "minProperties": 1, "maxProperties": 1, "additionalProperties": False}
    return {"anyOf": [item, {"enum": bare}]} if bare else item


def _forms(cls: type[ConfiguredCheck]) -> Schema:
    """The full form and the shorthands, found by trying them."""
    forms: list[Schema] = [{"$ref": f"#/$defs/check_{cls.type}"}]
    if _accepts(cls, None):
        forms.append({"type": "null"})
    if _accepts(cls, "a"):
        forms.append({"type": "string"})
    if _accepts(cls, ["a"]):
        forms.append({"type": "array", "items": {"type": "string"}, "minItems": 1})
    if _accepts(cls, 1):
        forms.append({"type": "number"})
    description = (cls.__doc__ or "").strip().split("\n", 1)[0]
    return {"description": description, "anyOf": forms}


def _accepts(cls: type[ConfiguredCheck], body: Any) -> bool:
    try:
        return bool([cls.model_validate(expanded) for expanded in cls.expand(body)])
    except (ValueError, ValidationError):
        return False
