"""What is made next is made while the one before is used: one thing ahead, on one thread.

For a consumer that waits for something else, such as a database, meanwhile. The making touches no database: a connection belongs to
the thread that opened it.
"""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_END = object()


def ahead(things: Iterator[T]) -> Generator[T, None, None]:
    """The same things in the same order. What making one raises comes up where that one would have come."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as pool:
        coming = pool.submit(next, things, _END)
        while (thing := coming.result()) is not _END:
            coming = pool.submit(next, things, _END)
            yield thing  # type: ignore[misc]
