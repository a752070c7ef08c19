"""What a process that reads makes of its answers in the tests: it needs no Django."""

from collections.abc import Callable, Mapping
from typing import Any


def naming(word: str) -> Callable[..., Any]:
    def make(asked: Mapping[int, str], found: Mapping[str, Any]) -> Any:
        return {pk: f"{word} {asked[pk]} {name}" for pk, (name,) in found["groups"].items()}

    return make


def failing() -> Callable[..., Any]:
    raise ArithmeticError("two and two")


def unsendable() -> Callable[..., Any]:
    return lambda asked, found: object()
