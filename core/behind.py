"""Work done behind one's back: in order, on one thread, a few pieces ahead.

For what leaves the interpreter's lock alone: files, hashes, compression. The work touches no database: a connection belongs to the
thread that opened it.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any


class Behind:
    """``do`` returns at once while fewer than ``ahead`` pieces wait. What a piece raises comes up at a later ``do``, or at the end.

    After an error nothing more is begun. Leaving the block awaits all that was asked for; leaving it by an error, only what runs.
    """

    def __init__(self, ahead: int = 2) -> None:
        self._ahead = ahead
        self._asked: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="behind")

    def do(self, work: Callable[..., None], *given: Any) -> None:
        while len(self._asked) >= self._ahead:
            self._asked.popleft().result()
        self._asked.append(self._pool.submit(work, *given))

    def wait(self) -> None:
        """Until all that was asked for is done. Raises what it raised."""
        while self._asked:
            self._asked.popleft().result()

    def __enter__(self) -> "Behind":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self._pool.shutdown(cancel_futures=True)
