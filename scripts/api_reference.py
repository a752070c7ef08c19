"""Write docs/reference/api.md from the API's own schema; --check says whether it is current and the schema without a warning."""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from scripts.pages import keep  # noqa: E402

REFERENCE = ROOT / "docs" / "reference" / "api.md"
if TYPE_CHECKING:  # nothing of the application is read before its settings are
    from accounts.api.reference import Body, Field, Group, Operation

INTRODUCTION = """# The REST API

<!-- Written from the views' declarations by `make docs`; changes belong there. -->

All that the pages do, by script. A site shows this page at `/api-reference/`, and the same as an OpenAPI document at
`GET /api/v1/schema/` (`?format=json` for JSON).
[How to use it](../how-to/use-the-api.md) begins with an example that runs; [Recipes](recipes.md) says what the settings of a dataset do.

- **Token**: `Authorization: Bearer wst_...`, made on a project's Tokens page: of one person, in one project, with scopes, for a time.
  It never allows more than its owner may do at that moment. A token in an address is never read.
- **Lists** are pages: `{"results": [...], "next": address or null}`; `limit` (1-200) and `cursor` choose. A filter that is not named
  here is refused (422).
- **Fields within a field** stand in braces after it: of the object in it, or of each object in a list. `?` marks what may be left out.
- **Objects**, and files of datasets and exports, have an `ETag`. `If-None-Match` with it is answered with 304 while it stands; a change
  with `If-Match` is refused (412) where somebody else has changed it meanwhile.
- **Errors** have one shape: `{"error": sentence, "how": what to do, "fields": {name: [sentences]}, "request_id": ...}`. 400 cannot be
  read, 401 no token, 403 not this token's, 404 not in this project, 409 the world has moved on, 412 changed meanwhile, 415 not
  this kind of body, 422 cannot be done as asked, 429 too many requests (`Retry-After`).
- **Idempotency-Key**: where it is named, a request that is sent again with the same key is answered as it was the first time; for
  two days, of the same person in the same project.
- **Jobs** (`status`: queued, running, cancelling, succeeded, failed, cancelled) are followed at their own address.

`{project}` is the project's name in its address.
"""


def groups() -> "list[Group]":
    """What the code declares. Exits with what its OpenAPI document warns of."""
    import django

    with tempfile.TemporaryDirectory() as home:  # nothing of this installation enters
        os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings", "WHETSTONE_HOME": home, "WHETSTONE_ENV_FILE": ""}
        django.setup()
        from drf_spectacular.drainage import GENERATOR_STATS
        from drf_spectacular.validation import validate_schema

        from accounts.api.reference import document, groups_of

        validate_schema(document())
        if GENERATOR_STATS:
            GENERATOR_STATS.emit_summary()
            raise SystemExit("The schema has warnings.")
        return groups_of(document())


def page(found: "list[Group]") -> str:
    parts = []
    for group in found:
        lines = [line for operation in group.operations for line in _operation(operation)]
        parts.append(f"## {group.name}\n\n" + "\n".join(lines).rstrip() + "\n")
    return INTRODUCTION + "\n" + "\n".join(parts)


def _operation(operation: "Operation") -> list[str]:
    lines = [f"**`{operation.method} {operation.path}`** {operation.summary}".rstrip(), ""]
    if operation.description:
        lines += [operation.description, ""]
    if operation.query:
        lines.append("- Query: " + ", ".join(_field(each, is_marked=False) for each in operation.query))
    if operation.asks is not None:
        lines.append("- Body: " + _body(operation.asks))
    lines += [f"- {code}: {_body(answer)}" for code, answer in operation.answers]
    if operation.headers:
        lines.append("- Headers: " + ", ".join(f"`{name}`" for name in operation.headers))
    return [*lines, ""]


def _body(body: "Body") -> str:
    return ("a page of " if body.is_page else "") + (", ".join(map(_field, body.fields)) or body.of)


def _field(field: "Field", *, is_marked: bool = True, is_within: bool = False) -> str:
    """With what it means; of a field within another one only its values, as the line is long enough."""
    words = f" ({field.words})" if field.words and (field.is_choice or not is_within) else ""
    within = ", ".join(_field(each, is_within=True) for each in field.fields)
    return (
        f"`{field.name}`"
        + ("?" if field.is_optional and is_marked else "")
        + words
        + (f" {{{within}}}" if within else "")
    )


if __name__ == "__main__":
    raise SystemExit(keep(REFERENCE, page(groups())))
