"""An attempt at a job: its lease kept while something slow is done, a cancel heard within a second, its end told in words."""

from __future__ import annotations

import errno
import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connections

from core import jobs
from core.errors import DomainError
from core.jobs import JobFields

logger = logging.getLogger(__name__)
T = TypeVar("T")
J = TypeVar("J", bound=JobFields)
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
    _beaten_at: float = field(default=-math.inf, init=False)

    def beat(self, **progress: Any) -> None:
        """Renew the lease and write progress. Raises CancelAsked or LeaseLost."""
        beat = jobs.beat(self.job, self.token, seconds=self.seconds, **progress)
        if beat.cancel:
            raise CancelAsked
        if not beat.alive:
            raise LeaseLost
        self._beaten_at = time.monotonic()

    def beat_at_times(self, **progress: Any) -> None:
        """The same, unless the last one is less than a second ago: for work in many small steps."""
        if time.monotonic() - self._beaten_at >= BEAT_SECONDS:
            self.beat(**progress)

    @contextmanager
    def often(self, seconds: float) -> Iterator[None]:
        """While the work beats again and again: a lease so short that another worker soon goes on where this one is killed."""
        whole, self.seconds = self.seconds, seconds
        try:
            yield
        finally:
            self.seconds = whole
        self.beat()

    def finish(self, *, message: str, **results: Any) -> None:
        """End the job well. Raises CancelAsked where it was asked to stop in its last moment, or LeaseLost: no result is written then."""
        if not jobs.succeed(self.job, self.token, message=message, **results):
            self.beat()
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
                        if future.done():  # the timeout was the work's own, or it has ended since
                            return future.result()
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


def attempt(
    job: J | None, work: Callable[[J, Keeper], None], *, seconds: float, what: str, cancelled: str = "Cancelled"
) -> None:
    """Claim a job and do what is left of it. Does nothing where it is gone, over, or somebody else has it.

    what       the subject of the sentences on its row: "The export"
    cancelled  what the row says where it was asked to stop
    ``work`` ends the job itself where all went well; what it raises ends the job here, in a sentence. A database that did not
    answer sends it back to the queue, a few times.
    """
    token = jobs.claim(job, seconds=seconds) if job else None
    if job is None or token is None:
        return
    try:
        work(job, Keeper(job, token, seconds))
    except LeaseLost:
        return
    except CancelAsked:
        jobs.cancelled(job, token, message=cancelled)
    except DomainError as problem:
        jobs.fail(job, token, problem.words)
    except (OperationalError, InterfaceError):
        logger.exception("%s (%s) goes back to the queue.", what, job)
        jobs.retry(job, token, what=what)
    except OSError as problem:
        is_full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
        how = "Free some disk space and try again." if is_full else "Try again once that is put right."
        jobs.fail(job, token, f"A file could not be read or written: {problem.strerror or problem}. {how}")
    except Exception as problem:
        logger.exception("%s (%s) stopped.", what, job)
        sentence = f"{what} stopped on something unexpected: {type(problem).__name__}. The log has the details."
        jobs.fail(job, token, sentence)
