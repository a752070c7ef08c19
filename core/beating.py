"""Keep a job's lease while something slow is done for it, and hear of a cancel within a second."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import DatabaseError, connections

from core import jobs
from core.jobs import JobFields

logger = logging.getLogger(__name__)
T = TypeVar("T")
BEAT_SECONDS = 1.0


class LeaseLost(Exception):
    """Another worker has the job: write nothing more."""


class CancelAsked(Exception):
    """A person asked the job to stop."""


@dataclass
class Keeper:
    """One claim of one job."""

    job: JobFields
    token: str
    seconds: float = 60.0

    def beat(self, **progress: Any) -> None:
        """Renew the lease and write progress. Raises CancelAsked or LeaseLost."""
        beat = jobs.beat(self.job, self.token, seconds=self.seconds, **progress)
        if beat.cancel:
            raise CancelAsked
        if not beat.alive:
            raise LeaseLost

    def while_beating(
        self,
        work: Callable[[], T],
        *,
        progress: Callable[[], dict[str, Any]] = dict,
        on_stop: Callable[[], None] | None = None,
    ) -> T:
        """Do ``work`` in a thread with connections of its own, beating meanwhile.

        on_stop  asks the work to end early; it is awaited all the same
        """

        def whole() -> T:
            try:
                return work()
            finally:
                connections.close_all()

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="work") as pool:
            future: Future[T] = pool.submit(whole)
            try:
                while True:
                    try:
                        return future.result(timeout=BEAT_SECONDS)
                    except NotYet:
                        if future.done():
                            raise  # the work's own timeout, not ours
                        self._beat_if_the_database_answers(progress())
            except (CancelAsked, LeaseLost):
                if on_stop is not None:
                    on_stop()
                raise

    def _beat_if_the_database_answers(self, progress: dict[str, Any]) -> None:
        # A database that is away for a moment ends no download: the lease is longer than that, and decides.
        try:
            self.beat(**progress)
        except DatabaseError:
            logger.warning("The lease of %s could not be renewed; trying again.", self.job, exc_info=True)
            connections.close_all()
