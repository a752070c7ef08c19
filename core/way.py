"""Giving way: who writes much writes little at a time, and pauses, while others are at work.

On SQLite only one connection can write. It does not say that somebody waits, but ``data_version`` says that another connection has
written, and a waiting writer asks again every few milliseconds, so that a short pause is enough for it. On PostgreSQL nobody waits for
a lock, but for a processor: there the caller says what changes when others are at work.
"""

import time
from collections.abc import Callable, Hashable

from django.db import connection

from core.bulk import copy_log_back

POLITE_SECONDS = 5.0  # after somebody else was at work
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 0.5
PAUSED = 1.0  # times as long as was worked before


class Way:
    """``give`` it between two transactions; ``most`` says how much the next one may write.

    others  what is another thing whenever others were at work, and the same whatever the caller writes
    """

    def __init__(self, most: int, *, polite: int, others: Callable[[], Hashable]) -> None:
        self._most, self._polite, self._until, self._others = most, polite, 0.0, others
        self._seen, self._began = self._signs(), time.monotonic()

    @property
    def most(self) -> int:
        return self._polite if time.monotonic() < self._until else self._most

    def look(self) -> None:
        """See whether others are at work."""
        if (signs := self._signs()) != self._seen:
            self._seen, self._until = signs, time.monotonic() + POLITE_SECONDS

    def give(self) -> None:
        """Pause if others were at work lately, and before that copy SQLite's log back, which else one of them would have to."""
        self.look()
        if (now := time.monotonic()) < self._until:
            copy_log_back()
            time.sleep(min(max(PAUSE_SECONDS, PAUSED * (now - self._began)), LONGEST_PAUSE_SECONDS))
        self._began = time.monotonic()

    def _signs(self) -> Hashable:
        if connection.vendor != "sqlite":
            return self._others()
        with connection.cursor() as cursor:
            return int(cursor.execute("PRAGMA data_version").fetchone()[0])
