"""The JSON Schema accepts what loads, for every check type and its shorthands, and refuses what is misspelt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from exporter.checks import REGISTRY
from exporter.config import json_schema
from exporter.config.sections import SECTIONS

DATA = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(json.loads(json.dumps(schema)))


def with_check(item: Any) -> dict[str, Any]:
    return {"version": 1, "tables": [{"name": "a", "path": "x", "checks": [item]}]}


@pytest.mark.parametrize("path", sorted((DATA / "good").glob("*.yml")), ids=lambda path: path.stem)
def test_good_files_are_valid(path: Path, validator: Draft202012Validator) -> None:
    data = json.loads(json.dumps(yaml.safe_load(path.read_text()), default=str))
    assert [error.message for error in validator.iter_errors(data)] == []


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_each_check_type_is_valid_in_its_examples_and_not_with_an_unknown_key(name: str, validator: Draft202012Validator) -> None:
    for example in (REGISTRY[name].good, REGISTRY[name].bad):
        assert validator.is_valid(with_check({name: json.loads(json.dumps(example.body, default=str))}))
    assert not validator.is_valid(with_check({name: {"misspelt_key": 1}}))


def test_shorthands_are_valid_where_the_type_takes_them(validator: Draft202012Validator) -> None:
    assert validator.is_valid(with_check({"not_null": "a"})) and validator.is_valid(with_check({"not_null": ["a", "b"]}))
    assert validator.is_valid(with_check({"primary_key": ["a", "b"]}))
    assert not validator.is_valid(with_check({"range": "a"}))
    assert not validator.is_valid(with_check({"not_nul": "a"}))
    assert not validator.is_valid(with_check({"not_null": "a", "unique": "a"}))


@pytest.mark.parametrize("key", sorted(SECTIONS))
def test_each_section_is_there_and_closed(key: str, validator: Draft202012Validator) -> None:
    assert validator.is_valid({"version": 1, key: {}})
    assert not validator.is_valid({"version": 1, key: {"misspelt_key": 1}})


def test_the_schema_is_the_same_each_time() -> None:
    assert json.dumps(json_schema()) == json.dumps(json_schema())
