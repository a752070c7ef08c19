"""The API as people read it, from its OpenAPI document: groups of operations with their fields. Markdown and the page say the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator

Schema = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """One parameter or one field of a body.

    words   its values (``is_choice``), else what it means
    fields  of the object in it, or of each object in a list
    """

    name: str
    words: str
    is_optional: bool = False
    is_choice: bool = False
    fields: tuple["Field", ...] = ()


@dataclass(frozen=True)
class Body:
    """What is sent, or what comes back: its fields; ``of`` says what it is where fields do not."""

    fields: tuple[Field, ...] = ()
    is_page: bool = False
    of: str = ""


@dataclass(frozen=True)
class Operation:
    method: str
    path: str  # below /api/v1
    summary: str
    description: str
    query: tuple[Field, ...]
    asks: Body | None
    answers: tuple[tuple[str, Body], ...]  # by HTTP status
    headers: tuple[str, ...]

    @property
    def anchor(self) -> str:
        steps = "".join(letter if letter.isalnum() else "-" for letter in self.path)
        return f"{self.method.lower()}{steps}".replace("--", "-").strip("-")


@dataclass(frozen=True)
class Group:
    name: str
    operations: tuple[Operation, ...]


@lru_cache(maxsize=1)
def document() -> Schema:
    """The OpenAPI document of the code as it is; it names no object."""
    found: Schema = SchemaGenerator().get_schema(request=None, public=True)
    return found


def groups_of(found: Schema) -> list[Group]:
    """Every operation, by its tag, in the document's order."""
    by_tag: dict[str, list[Operation]] = {}
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(path, method, operation, found))
    return [Group(tag.capitalize(), tuple(operations)) for tag, operations in by_tag.items()]


def _operation(path: str, method: str, operation: Schema, found: Schema) -> Operation:
    parameters = operation.get("parameters", ())
    body = next(iter(operation.get("requestBody", {}).get("content", {}).values()), None)
    return Operation(
        method=method.upper(),
        path=path.removeprefix("/api/v1"),
        summary=operation.get("summary", ""),
        description=" ".join(operation.get("description", "").split("\n")).strip(),
        query=tuple(_field(each["name"], each["schema"], each.get("description", ""), found, is_optional=True)
                    for each in parameters if each["in"] == "query"),
        asks=_body(body["schema"], found, is_sent=True) if body is not None else None,
        answers=tuple(_answers(operation["responses"], found)),
        headers=tuple(each["name"] for each in parameters if each["in"] == "header"),
    )  # fmt: skip


def _answers(responses: Schema, found: Schema) -> Iterator[tuple[str, Body]]:
    """The good answers; beside a 201 the 200 of the same request sent twice says nothing more."""
    nothing: tuple[str, Schema] = "", {}
    good = [(code, answer) for code, answer in responses.items() if code.startswith("2")]
    for code, answer in good[-1:] if len(good) == 1 else [each for each in good if each[0] != "200"]:
        media_type, content = next(iter(answer.get("content", {}).items()), nothing)
        if not media_type:
            yield code, Body(of="no body")
        elif content["schema"].get("format") == "binary":
            yield code, Body(of=f"a file ({', '.join(f'`{each}`' for each in answer['content'])})")
        else:
            yield code, _body(content["schema"], found)


def _body(schema: Schema, found: Schema, *, is_sent: bool = False) -> Body:
    schema, is_page = _resolved(schema, found)
    fields = _fields(schema, found, is_sent=is_sent)
    return Body(fields, is_page, "" if fields else "an object")


def _fields(schema: Schema, found: Schema, *, is_sent: bool) -> tuple[Field, ...]:
    needed = set(schema.get("required", ()))
    return tuple(
        _field(
            name, each, each.get("description", ""), found, is_optional=is_sent and name not in needed, is_sent=is_sent
        )
        for name, each in schema.get("properties", {}).items()
    )


def _resolved(schema: Schema, found: Schema) -> tuple[Schema, bool]:
    """(the schema itself, whether it is a page of what it describes)."""
    while "$ref" in schema:
        schema = found["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    results = schema.get("properties", {}).get("results")
    if results is not None and "next" in schema["properties"]:
        return _resolved(results["items"], found)[0], True
    return schema, False


def _field(name: str, schema: Schema, words: str, found: Schema, *, is_optional: bool, is_sent: bool = False) -> Field:
    within = schema.get("items", schema)
    for part in within.get("allOf", within.get("oneOf", ())):  # a reference that has words beside it, or may be null
        within = part if "$ref" in part else within
    values = [str(each) for each in (*schema.get("enum", ()), *within.get("enum", ())) if each not in (None, "")]
    said = "" if values else words.split("\n")[0].rstrip(".")
    fields = _fields(_resolved(within, found)[0], found, is_sent=is_sent)
    return Field(name, " · ".join(dict.fromkeys(values)) or said, is_optional, bool(values), fields)
