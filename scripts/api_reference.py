"""Write docs/reference/api.md from the API's own schema; --check says whether it is current and the schema without a warning."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
REFERENCE = ROOT / "docs" / "reference" / "api.md"

INTRODUCTION = """# The REST API

<!-- Written from the views' declarations by `make docs`; changes belong there. -->

All that the pages do, by script. `GET /api/v1/schema/` is the same as an OpenAPI document (`?format=json` for JSON).
[How to use it](../how-to/use-the-api.md) begins with an example that runs.

- **Token**: `Authorization: Bearer wst_...`, made on a project's Tokens page: of one person, in one project, with scopes, for a time.
  It never allows more than its owner may do at that moment. A token in an address is never read.
- **Lists** are pages: `{"results": [...], "next": address or null}`; `limit` (1-200) and `cursor` choose. A filter that is not named
  here is refused (422).
- **Objects** have an `ETag`. `If-None-Match` with it is answered with 304 while it stands; a change with `If-Match` is refused
  (412) where somebody else has changed it meanwhile.
- **Errors** have one shape: `{"error": sentence, "how": what to do, "fields": {name: [sentences]}, "request_id": ...}`. 400 cannot be
  read, 401 no token, 403 not this token's, 404 not in this project, 409 the world has moved on, 412 changed meanwhile, 415 not
  this kind of body, 422 cannot be done as asked, 429 too many requests (`Retry-After`).
- **Idempotency-Key**: where it is named, a request that is sent again with the same key is answered as it was the first time; for
  two days, of the same person in the same project.
- **Jobs** (`status`: queued, running, cancelling, succeeded, failed, cancelled) are followed at their own address.

`{project}` is the project's name in its address.
"""


def schema() -> dict[str, Any]:
    """The OpenAPI document of the code as it is. Exits with what it warns of."""
    import django

    with tempfile.TemporaryDirectory() as home:  # nothing of this installation enters
        os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings", "WHETSTONE_HOME": home, "WHETSTONE_ENV_FILE": ""}
        django.setup()
        from drf_spectacular.drainage import GENERATOR_STATS
        from drf_spectacular.generators import SchemaGenerator
        from drf_spectacular.validation import validate_schema

        found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
        validate_schema(found)
        if GENERATOR_STATS:
            GENERATOR_STATS.emit_summary()
            raise SystemExit("The schema has warnings.")
        return found


def page(found: dict[str, Any]) -> str:
    by_tag: dict[str, list[str]] = {}
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            by_tag.setdefault(operation["tags"][0], []).extend(_operation(path, method, operation, found))
    parts = [f"## {tag.capitalize()}\n\n" + "\n".join(lines).rstrip() + "\n" for tag, lines in by_tag.items()]
    return INTRODUCTION + "\n" + "\n".join(parts)


def _operation(path: str, method: str, operation: dict[str, Any], found: dict[str, Any]) -> list[str]:
    shown = path.removeprefix("/api/v1")
    lines = [f"**`{method.upper()} {shown}`** {operation.get('summary', '')}".rstrip(), ""]
    if said := operation.get("description", ""):
        lines += [" ".join(said.split("\n")).strip(), ""]
    query = [each for each in operation.get("parameters", ()) if each["in"] == "query"]
    heads = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "header"]
    if query:
        lines.append(
            "- Query: " + ", ".join(_field(each["name"], each["schema"], each.get("description", "")) for each in query)
        )
    body = next(iter(operation.get("requestBody", {}).get("content", {}).values()), None)
    if body is not None:
        lines.append("- Body: " + _fields(_resolved(body["schema"], found), is_body=True))
    good = [(code, answer) for code, answer in operation["responses"].items() if code.startswith("2")]
    for code, answer in good[-1:] if len(good) == 1 else [(code, answer) for code, answer in good if code != "200"]:
        content = next(iter(answer.get("content", {}).items()), None)
        if content is None:
            lines.append(f"- {code}: no body")
        elif "json" not in content[0]:
            lines.append(f"- {code}: a file (`{content[0]}`)")
        else:
            lines.append(f"- {code}: " + _fields(_resolved(content[1]["schema"], found)))
    if heads:
        lines.append("- Headers: " + ", ".join(f"`{name}`" for name in heads))
    return [*lines, ""]


def _resolved(schema: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = found["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    results = schema.get("properties", {}).get("results")
    if results is not None and "next" in schema["properties"]:
        return {**_resolved(results["items"], found), "is_page": True}
    return schema


def _fields(schema: dict[str, Any], *, is_body: bool = False) -> str:
    needed = set(schema.get("required", ()))
    optional = set(schema.get("properties", ())) - needed if is_body else set()
    named = [
        _field(name, each, each.get("description", ""), is_optional=name in optional)
        for name, each in schema.get("properties", {}).items()
    ]
    return ("a page of " if schema.get("is_page") else "") + (", ".join(named) or "an object")


def _field(name: str, schema: dict[str, Any], words: str, *, is_optional: bool = False) -> str:
    values = [str(each) for each in schema.get("enum", ()) if each not in (None, "")]
    more = [" · ".join(values)] if values else []
    more += [words.split("\n")[0].rstrip(".")] if words and not values else []
    return f"`{name}`" + ("?" if is_optional else "") + (f" ({'; '.join(more)})" if more else "")


def main() -> int:
    text = page(schema())
    if "--check" in sys.argv[1:]:
        if REFERENCE.exists() and REFERENCE.read_text(encoding="utf-8") == text:
            return 0
        print(f"{REFERENCE.relative_to(ROOT)} is not current: make docs")
        return 1
    REFERENCE.write_text(text, encoding="utf-8")
    print(f"wrote {REFERENCE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
