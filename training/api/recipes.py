"""The settings of a recipe as their models describe them: for the API's schema and for docs/reference/recipes.md.

Nothing is checked here. The services read a recipe, by page, by token and by command alike, and refuse in their own sentences.
"""

from functools import cache
from typing import Any

from drf_spectacular.utils import extend_schema_field
from pydantic import TypeAdapter
from rest_framework import serializers

from training.formats.policy import PairPolicy
from training.selecting import Selection

Schema = dict[str, Any]
CAMPAIGNS: Schema = {
    "type": "array",
    "items": {"type": "string"},
    "description": "as a dataset's own selection tells them; left out, or the same as the campaigns that are to be frozen",
}


@cache
def schema_of(model: type) -> Schema:
    """The JSON Schema of ``Selection`` or ``PairPolicy``, with nothing but what a reader needs: each setting by its name."""
    made = TypeAdapter(model).json_schema()
    settings = {name: _plain(each, made.get("$defs", {})) for name, each in made["properties"].items()}
    return {
        "type": "object",
        "description": made["description"].split("\n")[0],
        "properties": settings,
        "additionalProperties": False,
    }


def _plain(setting: Schema, defs: Schema) -> Schema:
    """Without titles and references; what may be null says so by its type, and has no default besides."""
    found = {name: value for name, value in setting.items() if name not in ("title", "anyOf")}
    if "anyOf" in setting:  # X, or null
        kind = setting["anyOf"][0]
        found = {**kind, **found, "type": [kind["type"], "null"]}
    if "$ref" in found.get("items", {}):
        kind = defs[found["items"]["$ref"].rsplit("/", 1)[1]]
        found["items"] = {"type": kind["type"], "enum": kind["enum"]}
    if found["type"] == "object":
        found["default"] = {}
    return found


def _given(words: str, model: type, **more: Schema) -> Schema:
    schema = schema_of(model)
    return {**schema, "description": words, "properties": {**schema["properties"], **more}}


@extend_schema_field(_given("which judgements go in: docs/reference/recipes.md", Selection, campaigns=CAMPAIGNS))
class SelectionField(serializers.DictField):
    """Which judgements go in."""


@extend_schema_field(_given("how they become rows: docs/reference/recipes.md", PairPolicy))
class PairPolicyField(serializers.DictField):
    """How they become rows."""
