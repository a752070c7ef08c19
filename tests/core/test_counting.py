"""Counts in words."""

import pytest

from core.counting import counted


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("task",), "0 tasks"),
        (1, ("task",), "1 task"),
        (12_000, ("task",), "12,000 tasks"),
        (1, ("try", "tries"), "1 try"),
        (2, ("was", "were"), "2 were"),
    ],
)
def test_one_is_said_otherwise_than_many(number: int, words: tuple[str, ...], said: str) -> None:
    assert counted(number, *words) == said
