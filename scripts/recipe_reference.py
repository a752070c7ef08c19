"""Write docs/reference/recipes.md from the models of a recipe; --check only says whether it is current."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from scripts.pages import keep  # noqa: E402

REFERENCE = ROOT / "docs" / "reference" / "recipes.md"

INTRODUCTION = """# Recipes

<!-- Written from training/selecting.py and training/formats/policy.py by `make docs`; changes belong there. -->

What a [freeze](../how-to/freeze-a-dataset.md) and its preview take besides the campaigns, by [API](api.md) and on the server: `selection`,
which judgements go in, and `pair_policy`, how they become rows. Both are JSON objects. What is left out has its default; a setting that
there is not, and a value that cannot be, is refused with a sentence. The form of a new dataset asks the same.

```sh
.venv/bin/python manage.py freeze strong-ones --project house \\
    --selection '{"tags": ["harmless"], "since": "2026-01-31", "without_flags": ["private"]}' \\
    --pair-policy '{"pairs": "best_worst", "criteria": {"helpful": 2, "honest": 1}, "min_agreement": 0.75}'
```

A dataset tells its recipe in its file `dataset.json`, on its page, and by the API: of the settings those that differ from the default, and
always how simulated people, machines and judges who were not blind were dealt with. `selection` then also names the `campaigns`; with
these left out, or with the same ones given beside it, it can be sent again as it stands.
"""
NAMES = {"boolean": "true, false", "integer": "whole number", "number": "number", "string": "text"}


def schemas() -> dict[str, dict[str, Any]]:
    import django

    with tempfile.TemporaryDirectory() as home:  # nothing of this installation enters
        os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings", "WHETSTONE_HOME": home, "WHETSTONE_ENV_FILE": ""}
        django.setup()
        from training.api.recipes import schema_of
        from training.formats.policy import PairPolicy
        from training.selecting import Selection

        return {"selection": schema_of(Selection), "pair_policy": schema_of(PairPolicy)}


def page(found: dict[str, dict[str, Any]]) -> str:
    parts = [INTRODUCTION]
    for name, schema in found.items():
        rows = [
            f"## {name}",
            "",
            schema["description"],
            "",
            "| setting | values | default | what it does |",
            "| --- | --- | --- | --- |",
        ]
        for setting, each in schema["properties"].items():
            words = each["description"].replace("|", "\\|")
            rows.append(f"| `{setting}` | {_values(each)} | {_default(each)} | {words} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _values(setting: dict[str, Any]) -> str:
    """What may be given, in words."""
    if "enum" in setting:
        return " · ".join(f"`{value}`" for value in setting["enum"])
    kind = setting["type"][0] if isinstance(setting["type"], list) else setting["type"]
    if kind == "array":
        of = setting["items"]
        return f"list of {_values(of)}" if "enum" in of else f"list of {NAMES[of['type']]}s"
    if kind == "object":
        return f"object: name → {_values(setting['additionalProperties'])}"
    return ("day, as 2026-01-31" if setting.get("format") == "date" else NAMES[kind]) + _bounds(setting)


def _bounds(setting: dict[str, Any]) -> str:
    low, high = setting.get("minimum"), setting.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    return f", at least {low}" if low is not None else ""


def _default(setting: dict[str, Any]) -> str:
    value = setting["default"]
    return "none" if value in (None, [], {}, "") else f"`{json.dumps(value).strip(chr(34))}`"


if __name__ == "__main__":
    raise SystemExit(keep(REFERENCE, page(schemas())))
