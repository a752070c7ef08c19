"""Things made one ahead of their use."""

import threading
from collections.abc import Iterator

import pytest

from core.ahead import ahead


def test_everything_comes_in_order():
    assert list(ahead(iter(range(100)))) == list(range(100))
    assert list(ahead(iter([]))) == []


def test_the_next_is_made_while_one_is_used():
    made = threading.Event()

    def things() -> Iterator[int]:
        yield 1
        made.set()
        yield 2

    coming = ahead(things())
    assert next(coming) == 1
    assert made.wait(5)
    assert list(coming) == [2]


def test_an_error_comes_after_what_was_made_before_it():
    def things() -> Iterator[int]:
        yield 1
        raise OSError("unreadable")

    coming = ahead(things())
    assert next(coming) == 1
    with pytest.raises(OSError, match="unreadable"):
        next(coming)


def test_who_stops_early_leaves_no_thread():
    coming = ahead(iter(range(100)))
    assert next(coming) == 0
    coming.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
