"""Comparing two large datasets as a job: asked for, read by a worker, found again by whoever asks the same.

Small ones are compared while the page is made; see ``is_small``.
"""

import logging
import time

from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import F

from accounts.audit import record
from accounts.models import User
from core import jobs
from core.beating import CancelAsked, Keeper, LeaseLost
from core.errors import DomainError, require
from core.jobs import JobStatus
from training.comparing import Comparison, bytes_of, compare, read_stored, require_comparable, stored
from training.models import ComparisonJob, Snapshot

ENOUGH_FOR_A_PAGE = 20_000  # rows of both, read in about a second
LEASE_SECONDS = 300
BEAT_SECONDS = 1.0
KIB = 10
LIVE = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.CANCELLING, JobStatus.SUCCEEDED)
logger = logging.getLogger(__name__)


def n_rows_of(*snapshots: Snapshot) -> int:
    return sum(sum(snapshot.counts.get("rows", {}).values()) for snapshot in snapshots)


def is_small(first: Snapshot, second: Snapshot) -> bool:
    """Whether the two are compared at once."""
    return n_rows_of(first, second) <= ENOUGH_FOR_A_PAGE


def comparison_of(first: Snapshot, second: Snapshot) -> ComparisonJob | None:
    """The last time that somebody had these two compared, as their files are now."""
    rows = ComparisonJob.objects.filter(
        first=first, second=second, first_sha256=first.artifact_sha256, second_sha256=second.artifact_sha256
    )
    return rows.order_by("-id").first()


def start_comparison(*, first: Snapshot, second: Snapshot, by: User | None) -> ComparisonJob:
    """How the second differs from the first: what was found already, else a job. Raises DomainError where they cannot be compared."""
    require_comparable(first, second)
    same = {
        "first": first,
        "second": second,
        "first_sha256": first.artifact_sha256,
        "second_sha256": second.artifact_sha256,
    }
    try:
        with transaction.atomic():
            job = ComparisonJob.objects.create(**same, project=second.project, unit="KiB", requested_by=by)
            job.events.create(before="", after=job.status, by=by)
            detail = {"first": first.name, "second": second.name}
            record("dataset.compare", user=by, project=second.project, subject=job, detail=detail)
            jobs.enqueue_on_commit(job)
    except IntegrityError:
        return ComparisonJob.objects.get(**same, status__in=LIVE)
    return job


def cancel_comparison(job: ComparisonJob, *, by: User) -> None:
    with transaction.atomic():
        jobs.request_cancel(job, by=by)
        record("dataset.compare_cancel", user=by, project=job.project, subject=job)


def result_of(job: ComparisonJob) -> Comparison:
    """What was found. Raises DomainError where the files are gone."""
    return read_stored(job.first, job.second, job.found)


def run_comparison(job_id: int) -> None:
    """Compare two datasets. Safe to call at any time, by any number of workers."""
    job = ComparisonJob.objects.select_related("project", "first", "second").filter(pk=job_id).first()
    token = jobs.claim(job, seconds=LEASE_SECONDS) if job else None
    if job is None or token is None:
        return
    try:
        _compare(job, Keeper(job, token, LEASE_SECONDS))
    except LeaseLost:
        return
    except CancelAsked:
        jobs.cancelled(job, token, message="Cancelled")
    except DomainError as problem:
        jobs.fail(job, token, f"{problem.sentence} {problem.how}".strip())
    except OSError as problem:
        jobs.fail(job, token, f"The files could not be read: {problem.strerror}. Compare the datasets again.")
    except (OperationalError, InterfaceError):
        logger.exception("Comparison %s goes back to the queue.", job.key)
        jobs.release(job, token, note="The database did not answer; comparing goes on in a moment.", is_failure=True)
    except Exception as problem:
        logger.exception("Comparison %s stopped.", job.key)
        sentence = f"Comparing stopped on something unexpected: {type(problem).__name__}. The log has the details."
        jobs.fail(job, token, sentence)


def _compare(job: ComparisonJob, keeper: Keeper) -> None:
    require(job.is_of_the_files_now, "One of the datasets has been changed.", how="Compare them again.")
    keeper.beat(step=0, total_steps=max(1, bytes_of(*require_comparable(job.first, job.second)) >> KIB))
    last = 0.0

    def beat(n_bytes: int) -> None:
        nonlocal last
        if time.monotonic() - last >= BEAT_SECONDS:
            keeper.beat(step=n_bytes >> KIB)
            last = time.monotonic()

    found = compare(job.first, job.second, beat=beat)
    jobs.finish(job, keeper.token, message="Compared", found=stored(found), step=F("total_steps"))
