"""The values of a form's fields, each by itself: choices, ranks, texts."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from annotation.protocol.criteria import LETTERS

_CHOICE = re.compile(r"([ab])([1-4]?)")
_FIELDS = frozenset({"choice", "reason", "comment", "write_in", "edited_from", "flag", "flag_reason"})


def choice_of(text: str, *, levels: int) -> tuple[int, int | None] | None:
    """(place of the better answer, strength) of a value such as ``b`` or ``b3``; None if it is none."""
    match = _CHOICE.fullmatch(text)
    if match is None:
        return None
    strength = int(match[2]) if match[2] else None
    return None if strength is not None and strength > levels else (LETTERS.index(match[1].upper()), strength)


def closed_up(numbers: Sequence[int]) -> tuple[int, ...]:
    """Numbers as ranks from 1 without gaps, in the same order: 7, 2, 7 gives 2, 1, 2."""
    place = {number: rank for rank, number in enumerate(sorted(set(numbers)), 1)}
    return tuple(place[number] for number in numbers)


def tidy(text: str) -> str:
    """A typed text as it is stored: ends of lines as one sign, no blank ends, nothing that a database refuses."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return text.encode("utf-8", "replace").decode().strip()


def values_of(given: Mapping[str, Any], name: str) -> list[str]:
    """All values of a field, of a QueryDict or of a mapping to strings or lists of strings."""
    if hasattr(given, "getlist"):
        return [str(value) for value in given.getlist(name)]
    value = given.get(name)
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list | tuple) else [str(value)]


def is_field(name: str) -> bool:
    """Whether a form's field is part of what a person says, and so of a draft."""
    return name in _FIELDS or name.startswith(("rank-", "rate-", "compare-"))


def is_rank(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= 2 and int(text) >= 1
