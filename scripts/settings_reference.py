"""Write .env.example and docs/reference/settings.md from config/env.py; --check only says whether they are current."""

import sys
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pydantic import SecretStr  # noqa: E402
from pydantic.fields import FieldInfo  # noqa: E402

from config.env import PREFIX, Env  # noqa: E402

EXAMPLE = ROOT / ".env.example"
REFERENCE = ROOT / "docs" / "reference" / "settings.md"
SOURCE = "config/env.py by `make docs`"

INTRODUCTION = f"""# Settings

<!-- Written from {SOURCE}; changes belong there. -->

Every setting is an environment variable; a file `.env` beside `manage.py` is read too, and the environment wins.
A value that cannot work stops the start with a sentence that names the variable.

- Any setting `X` may be given as `X_FILE`: a file that holds the value. Use it for secrets.
- A list is written with commas or spaces between its parts.
- A switch is `true` or `false`.
- `WHETSTONE_SECRET_<NAME>` (or `WHETSTONE_SECRET_<NAME>_FILE`) holds a key that an endpoint refers to by its name; the
  database never holds the key itself.
- `WHETSTONE_ENV_FILE` names another file than `.env`, or none if it is empty.
"""


def group_of(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) else "Other"


def shown_default(field: FieldInfo) -> str:
    """The default as it would be typed."""
    value = field.default
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, Path):
        return str(value.relative_to(ROOT)) if value.is_relative_to(ROOT) else str(value)
    return str(value)


def shown_values(field: FieldInfo) -> str:
    """What may be typed, in words."""
    kind: Any = field.annotation
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Literal:
        return ", ".join(str(value) for value in get_args(kind))
    names = {bool: "switch", int: "whole number", float: "number", Path: "folder", SecretStr: "secret", str: "text"}
    return names.get(kind, "list") + "".join(_bound(part) for part in field.metadata)


def _bound(part: object) -> str:
    for name, words in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
        if hasattr(part, name):
            return f", {words} {getattr(part, name):g}"
    return ""


def grouped() -> dict[str, list[tuple[str, FieldInfo]]]:
    groups: dict[str, list[tuple[str, FieldInfo]]] = {}
    for name, field in Env.model_fields.items():
        groups.setdefault(group_of(field), []).append((f"{PREFIX}{name.upper()}", field))
    return groups


def example() -> str:
    lines = [
        f"# Written from {SOURCE}. Copy it to .env and change what you need; what is commented out is the default."
    ]
    for group, fields in grouped().items():
        lines += ["", f"# ---- {group} ----"]
        for name, field in fields:
            lines += ["", f"# {field.description}", f"#{name}={shown_default(field)}"]
    return "\n".join(lines) + "\n"


def reference() -> str:
    parts = [INTRODUCTION]
    for group, fields in grouped().items():
        rows = ["| setting | default | values | meaning |", "| --- | --- | --- | --- |"]
        for name, field in fields:
            default = f"`{shown_default(field)}`" if shown_default(field) else "unset"
            meaning = str(field.description).replace("|", "\\|")
            rows.append(f"| `{name}` | {default} | {shown_values(field)} | {meaning} |")
        parts.append(f"## {group}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def stale() -> list[str]:
    """The generated files that are not what config/env.py says."""
    wanted = {EXAMPLE: example(), REFERENCE: reference()}
    return [str(p.relative_to(ROOT)) for p, text in wanted.items() if not p.exists() or p.read_text() != text]


def main() -> None:
    if "--check" in sys.argv:
        if names := stale():
            sys.exit(f"Out of date: {', '.join(names)}. Type: make docs")
        return
    REFERENCE.parent.mkdir(parents=True, exist_ok=True)
    EXAMPLE.write_text(example())
    REFERENCE.write_text(reference())


if __name__ == "__main__":
    main()
