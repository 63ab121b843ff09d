"""The schema of an answer, and that every program that answers follows it."""

import json
from importlib.resources import files
from typing import get_type_hints

import pytest
from jsonschema import Draft202012Validator

from tellsign.pipelines import answer as answers


SCHEMA = json.loads(files("tellsign").joinpath("answer.schema.json").read_text(encoding="utf-8"))
TYPES = ("ImageExplanation", "FailedImage", "Box", "Evidence", "ExplainedArtifact", "Trace", "Statement")
ARRAYS = {"heatmap", "evidence_map"}
"""Keys that Python alone has."""
FACTS = {"made_with", "model_revision", "tellsign_version"}
"""What commands note beside an answer."""


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$defs"].keys() == {*TYPES, *FACTS}


@pytest.mark.parametrize("name", TYPES)
def test_the_schema_has_the_keys_of_the_types(name):
    kind, defined = getattr(answers, name), SCHEMA["$defs"][name]
    assert defined["properties"].keys() - FACTS == get_type_hints(kind).keys() - ARRAYS
    assert set(defined["required"]) == kind.__required_keys__
