"""The interpreter's own work beside ours: seldom, while millions of rows go by."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

SWITCH_SECONDS = 0.0005

# Settings of the process, as each block that wants others found them.
_found: list[tuple[tuple[int, int, int], float]] = []
_FOUND = Lock()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Collect garbage seldom: millions of short-lived rows, none in a cycle, would be searched again and again.

    And who waits for a database takes the interpreter's lock back quickly from the thread that makes the next rows.
    """
    with _FOUND:
        _found.append((gc.get_threshold(), sys.getswitchinterval()))
        gc.set_threshold(200_000, 20, 100)
        sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        # Jobs on other threads may begin and end in any order: the last one to end puts back what the first one found.
        with _FOUND:
            before, switch = _found.pop()
            gc.set_threshold(*before)
            sys.setswitchinterval(switch)
