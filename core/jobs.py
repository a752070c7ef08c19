"""Long work as rows. A message may arrive zero, one or many times; the row decides.

``claim`` sets a random lease token, ``beat`` extends the lease only while the token matches, ``reap`` returns expired leases to the
queue and sends again what was queued and never claimed. A lost broker, a killed worker and a failed ``on_commit`` heal the same way.
All times are the database's own, so that a wrong clock on one host expires nothing.
"""

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from celery import current_app
from django.apps import apps
from django.db import connection, models, transaction
from django.db.models import ExpressionWrapper, F, Q
from django.db.models.functions import Coalesce, Now

from core.ids import new_token
from core.transitions import IllegalMove, move, try_move

logger = logging.getLogger(__name__)

RESEND_AFTER_SECONDS = 20
SECONDS_BEFORE_FORESIGHT = 3


class JobStatus(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)


class JobFields(models.Model):
    """Columns of long work. The concrete model names its Celery task and has an event table."""

    job_task: ClassVar[str]
    job_queue: ClassVar[str] = "default"
    job_max_attempts: ClassVar[int] = 5

    NEXT: ClassVar = {
        JobStatus.QUEUED: {JobStatus.RUNNING, JobStatus.CANCELLED, JobStatus.FAILED},
        # queued again: its lease was lost
        JobStatus.RUNNING: {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLING, JobStatus.QUEUED},
        JobStatus.CANCELLING: {JobStatus.CANCELLED, JobStatus.FAILED},
        JobStatus.FAILED: {JobStatus.QUEUED},  # by a person: "try again"
        JobStatus.CANCELLED: {JobStatus.QUEUED},  # by a person: "go on"
    }

    status = models.CharField(max_length=20, choices=JobStatus.choices, default=JobStatus.QUEUED)
    lease_token = models.CharField(max_length=64, blank=True, default="")
    leased_until = models.DateTimeField(null=True, blank=True)
    enqueued_at = models.DateTimeField(null=True, blank=True)
    n_attempts = models.PositiveIntegerField(default=0, help_text="claims since the last progress")
    step = models.BigIntegerField(default=0)
    total_steps = models.BigIntegerField(null=True, blank=True)
    unit = models.CharField(max_length=20, blank=True, default="")
    message = models.TextField(blank=True, default="")
    progressed_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True, default="", help_text="one sentence of cause")
    log_tail = models.TextField(blank=True, default="")

    class Meta:
        abstract = True

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def rate_per_second(self) -> float | None:
        """Steps a second since the first start; None before there is anything to measure."""
        if not (self.started_at and self.progressed_at and self.step):
            return None
        seconds = (self.progressed_at - self.started_at).total_seconds()
        return self.step / seconds if seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """None, too, as long as the first steps say more about a worker's start than about its pace."""
        rate = self.rate_per_second
        if self.is_terminal or not rate or not self.total_steps or self.step / rate < SECONDS_BEFORE_FORESIGHT:
            return None
        return max(0.0, (self.total_steps - self.step) / rate)


@dataclass(frozen=True)
class Beat:
    """What the row says to its worker: go on only while ``alive``; stop at the next safe point when ``cancel``."""

    alive: bool
    cancel: bool


def from_now(seconds: float) -> ExpressionWrapper:
    """The database's time, so many seconds from now."""
    return ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=models.DateTimeField())


def enqueue_on_commit(job: JobFields) -> None:
    """Send the job's message once the surrounding transaction has committed."""
    transaction.on_commit(lambda: _send(job), robust=True)


def _send(job: JobFields) -> None:
    # The mark comes first: a broker that is down must not make every tick of the reaper try again at once.
    type(job)._default_manager.filter(pk=job.pk).update(enqueued_at=Now())
    try:
        current_app.send_task(job.job_task, args=[job.pk], queue=job.job_queue, retry=False)
    except Exception as problem:
        # The row is the truth: the reaper sends it again when the broker is back.
        logger.warning("Could not send %s %s (%s); it will be sent again.", job.job_task, job.pk, problem)


def claim(job: JobFields, *, seconds: float = 60) -> str | None:
    """Take the job for this worker: its new lease token, or None when somebody else has it or it is over."""
    token = new_token()
    try:
        move(
            job,
            JobStatus.RUNNING,
            lease_token=token,
            leased_until=from_now(seconds),
            n_attempts=F("n_attempts") + 1,
            started_at=Coalesce(F("started_at"), Now()),
            error="",
        )
    except IllegalMove:
        return None
    return token


def beat(job: JobFields, token: str, *, seconds: float = 60, **progress: Any) -> Beat:
    """Extend the lease and write progress (step, total_steps, unit, message), only while the token is still ours."""
    changes: dict[str, Any] = dict(progress)
    step = progress.get("step")
    if step is not None and step > job.step:
        changes["progressed_at"] = Now()
        changes["n_attempts"] = 1
        job.step = step
    mine = type(job)._default_manager.filter(pk=job.pk, lease_token=token)
    alive = mine.filter(status__in=[JobStatus.RUNNING, JobStatus.CANCELLING]).update(
        leased_until=from_now(seconds), **changes
    )
    cancel = mine.filter(status=JobStatus.CANCELLING).exists()
    return Beat(alive=alive == 1, cancel=cancel)


def _end(job: JobFields, token: str, to: JobStatus, **changes: Any) -> bool:
    return try_move(
        job, to, where=Q(lease_token=token), lease_token="", leased_until=None, finished_at=Now(), **changes
    )


def succeed(job: JobFields, token: str, *, message: str = "", **changes: Any) -> bool:
    """Running -> succeeded. False, and nothing is changed: the lease was lost, or a cancel was asked."""
    return _end(job, token, JobStatus.SUCCEEDED, message=message, **changes)


def finish(job: JobFields, token: str, *, message: str = "", **changes: Any) -> bool:
    """Running -> succeeded; a job that was asked to stop in its last moment ends as cancelled. False: the lease was lost.

    The changes are written either way: for work that stands whatever becomes of its row. Results that only a job that
    succeeded may have are given to ``core.beating.Keeper.finish``.
    """
    if succeed(job, token, message=message, **changes):
        return True
    return _end(job, token, JobStatus.CANCELLED, message=message, **changes)


def fail(job: JobFields, token: str, sentence: str, *, log_tail: str = "", **changes: Any) -> bool:
    return _end(job, token, JobStatus.FAILED, error=sentence, log_tail=log_tail, note=sentence, **changes)


def cancelled(job: JobFields, token: str, *, message: str = "", **changes: Any) -> bool:
    return _end(job, token, JobStatus.CANCELLED, message=message, **changes)


def release(job: JobFields, token: str, *, note: str) -> bool:
    """Give the job back to the queue, to be done by another worker or later (vLLM is down, this worker stops).

    Who only waits has not failed: it is no attempt after which a job is given up.
    """
    return _back(job, token, note, n_attempts=F("n_attempts") - 1)


def retry(job: JobFields, token: str, *, what: str) -> bool:
    """The database did not answer: back to the queue or, after so many attempts without progress, given up.

    what  the subject of the sentences on the row: "The import"
    """
    # This connection may be the one that was lost: the row is asked by another then.
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
    if job.n_attempts < job.job_max_attempts:
        return _back(job, token, f"The database did not answer; {what[0].lower()}{what[1:]} goes on in a moment.")
    sentence = (
        f"{what} was given up after {job.n_attempts} attempts: the database did not answer. Try again once it does."
    )
    return fail(job, token, sentence)


def _back(job: JobFields, token: str, note: str, **changes: Any) -> bool:
    return try_move(
        job, JobStatus.QUEUED, note=note, where=Q(lease_token=token), lease_token="", leased_until=None, message=note,
        enqueued_at=Now(), **changes,
    )  # fmt: skip


def request_cancel(job: JobFields, *, by: Any = None) -> None:
    """Queued -> cancelled at once; running -> cancelling, which its worker sees at the next beat."""
    if try_move(
        job, JobStatus.CANCELLED, by=by, note="cancelled before it began", only_from=JobStatus.QUEUED, finished_at=Now()
    ):
        return
    try_move(job, JobStatus.CANCELLING, by=by, note="cancel asked")


def requeue(job: JobFields, *, by: Any = None, note: str = "tried again") -> None:
    """A person's "try again" of a failed job or "go on" of a cancelled one. Raises IllegalMove if it is neither."""
    move(job, JobStatus.QUEUED, by=by, note=note, error="", n_attempts=0, finished_at=None)
    enqueue_on_commit(job)


def job_models() -> list[type[JobFields]]:
    return [model for model in apps.get_models() if issubclass(model, JobFields)]


def reap() -> int:
    """Heal what was left behind; safe to run anywhere, any number of times. Returns how many rows it touched."""
    n_touched = 0
    for model in job_models():
        rows = model._default_manager
        for job in rows.filter(status=JobStatus.RUNNING, leased_until__lt=Now()):
            lost = Q(leased_until__lt=Now(), lease_token=job.lease_token)
            if job.n_attempts >= job.job_max_attempts:
                sentence = f"Stopped after {job.n_attempts} attempts without progress: its worker died each time."
                n_touched += try_move(
                    job,
                    JobStatus.FAILED,
                    where=lost,
                    error=sentence,
                    note=sentence,
                    lease_token="",
                    leased_until=None,
                    finished_at=Now(),
                )
            elif try_move(job, JobStatus.QUEUED, where=lost, note="lease lost", lease_token="", leased_until=None):
                _send(job)
                n_touched += 1
        for job in rows.filter(status=JobStatus.CANCELLING, leased_until__lt=Now()):
            n_touched += try_move(
                job,
                JobStatus.CANCELLED,
                where=Q(leased_until__lt=Now()),
                note="its worker was gone",
                lease_token="",
                leased_until=None,
                finished_at=Now(),
            )
        stale = Q(enqueued_at__isnull=True) | Q(enqueued_at__lt=from_now(-RESEND_AFTER_SECONDS))
        for job in rows.filter(stale, status=JobStatus.QUEUED):
            _send(job)
            n_touched += 1
    return n_touched
