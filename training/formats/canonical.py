"""Canonical JSON, quickly: the bytes of ``core.ids.canonical_json``, written by orjson where the two are known to agree.

And the other way: the values of JSON columns from their text, past Django's converters.
"""

import json
from collections.abc import Iterable
from typing import Any

import orjson

from core.ids import canonical_json

ERASED = "[erased]"  # stands where a text was erased

_LEAST, _MOST = 1e-4, 1e16  # from here on Python writes an exponent, and orjson does not, or another one


def canonical(value: Any, *, floats: Iterable[float] | None = None) -> bytes:
    """The same bytes and the same errors as ``canonical_json``. Values are plain: dicts with text keys, lists, text, numbers.

    floats  those that are in it, where the caller knows them all: the rest is not searched for more
    """
    if agrees(value) if floats is None else _agree(floats):
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError:  # half of a character, a number beyond 64 bits
            pass
    return canonical_json(value)


def messages_in(text: str) -> list[dict[str, str]]:
    """Messages hold text alone, so that orjson reads the same."""
    try:
        found: list[dict[str, str]] = orjson.loads(text)
    except orjson.JSONDecodeError:  # half of a character
        found = json.loads(text)
    return found


def value_in(text: str) -> Any:
    """Any value; the empty ones, which are most, without a parser."""
    return [] if text == "[]" else {} if text == "{}" else json.loads(text)


def _agree(floats: Iterable[float]) -> bool:
    for each in floats:  # noqa: SIM110 (as below)
        if each and not _LEAST <= abs(each) < _MOST:
            return False
    return True


def agrees(value: Any) -> bool:
    """Whether orjson writes every number in it as Python does."""
    kind = type(value)
    if kind is str:
        return True
    if kind is float:
        return value == 0 or _LEAST <= abs(value) < _MOST
    if kind is dict:
        value = value.values()
    elif kind is not list and kind is not tuple:
        return True
    for each in value:  # noqa: SIM110 (a generator costs more than the values)
        if type(each) is not str and not agrees(each):
            return False
    return True
