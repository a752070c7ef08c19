"""Giving way on SQLite, where only one connection can write: who writes much writes little at a time while others write too.

SQLite does not say that somebody waits, but ``data_version`` says that another connection has written. A waiting writer asks again
every few milliseconds, so that a short pause is enough for it.
"""

import time

from django.db import connection

POLITE_SECONDS = 5.0  # after somebody else has written
PAUSE_SECONDS = 0.025


class Way:
    """``give`` it between two transactions; ``most`` says how much the next one may write."""

    def __init__(self, most: int, *, polite: int) -> None:
        self._most, self._polite, self._until = most, polite, 0.0
        self._version = _data_version()

    @property
    def most(self) -> int:
        return self._polite if time.monotonic() < self._until else self._most

    def look(self) -> None:
        """See whether others have written."""
        if (version := _data_version()) != self._version:
            self._version, self._until = version, time.monotonic() + POLITE_SECONDS

    def give(self) -> None:
        """Pause if others have written lately; does nothing on PostgreSQL, where nobody waits for a lock."""
        self.look()
        if time.monotonic() < self._until:
            time.sleep(PAUSE_SECONDS)


def _data_version() -> int:
    if connection.vendor != "sqlite":
        return 0
    with connection.cursor() as cursor:
        return int(cursor.execute("PRAGMA data_version").fetchone()[0])
