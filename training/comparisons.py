"""Comparing two large datasets as a job: asked for, read by a worker, found again by whoever asks the same.

Small ones are compared while the page is made; see ``is_small``.
"""

from django.db import IntegrityError, transaction
from django.db.models import F

from accounts.audit import record
from accounts.models import User
from core import jobs
from core.beating import Keeper, attempt
from core.errors import require
from core.jobs import JobStatus
from training.comparing import Comparison, bytes_of, compare, read_stored, require_comparable, stored
from training.formats.files import UNPAIRED
from training.models import ComparisonJob, Snapshot

ENOUGH_FOR_A_PAGE = 20_000  # rows of both, read in about a second
LEASE_SECONDS = 300
KIB = 10
LIVE = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.CANCELLING, JobStatus.SUCCEEDED)


def n_rows_of(*snapshots: Snapshot) -> int:
    """Pairs and answers without a pair."""
    return sum(n for each in snapshots for kind in ("rows", UNPAIRED) for n in each.counts.get(kind, {}).values())


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
    attempt(job, _compare, seconds=LEASE_SECONDS, what="The comparison")


def _compare(job: ComparisonJob, keeper: Keeper) -> None:
    require(job.is_of_the_files_now, "One of the datasets has been changed.", how="Compare them again.")
    keeper.beat(step=0, total_steps=max(1, bytes_of(*require_comparable(job.first, job.second)) >> KIB))

    def beat(n_bytes: int) -> None:
        keeper.beat_at_times(step=n_bytes >> KIB)

    found = compare(job.first, job.second, beat=beat)
    keeper.finish(message="Compared", found=stored(found), step=F("total_steps"))
