"""Exports as jobs: asked for, written by a worker, found again by whoever asks the same, deleted after a while.

The same dataset, format and options are one file: who asks for it while it is there gets it at once.
"""

import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils.text import slugify

from accounts.access import may
from accounts.audit import record
from accounts.models import Project, Role, User
from core import jobs
from core.beating import Keeper, attempt
from core.counting import counted
from core.errors import require
from core.ids import canonical_json, sha256_hex
from core.jobs import JobStatus
from core.storage import artifact_path, artifacts_root, file_sha256, read_manifest, store_directory, workspace
from training.exports.containers import CONTAINERS
from training.exports.formats import Format, format_named
from training.exports.options import Options
from training.exports.writing import write_export
from training.models import ExportJob, Snapshot
from training.snapshots import directory_of

ARTIFACT_KIND = "exports"
VERSION = 1  # of the formats: an export of an earlier one is not taken for the same
LEASE_SECONDS = 300
KIB = 10
ASIDE = ".aside-"  # of a stored file that is about to be deleted
LIVE = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.CANCELLING, JobStatus.SUCCEEDED)


# ---- asking ----------------------------------------------------------------------------------------------------------


def start_export(
    *, snapshot: Snapshot, file_format: str, container: str, options: Mapping[str, Any] | None = None, by: User | None
) -> ExportJob:
    """The export of a frozen dataset: the one that is there, else a new one, queued.

    options  as ``Options``: split, details, models, people
    Raises DomainError for a dataset that is not ready, and for what a format cannot be.
    """
    chosen, made = format_named(file_format), Options.parse(options or {})
    require(
        container in chosen.containers,
        f"{chosen.label} is not written as {container[:40]}.",
        how=f"Choose one of {', '.join(chosen.containers)}.",
    )
    directory_of(snapshot)
    made = _only_what_matters(made, chosen)
    recipe = sha256_hex(canonical_json([VERSION, snapshot.artifact_sha256, chosen.name, container, made.model_dump()]))
    fields = {
        "project": snapshot.project, "snapshot": snapshot, "file_format": chosen.name, "container": container,
        "options": made.model_dump(), "source_sha256": snapshot.artifact_sha256, "recipe_sha256": recipe,
        "filename": filename_of(snapshot, chosen, container, made), "unit": "KiB", "requested_by": by,
    }  # fmt: skip
    try:
        with transaction.atomic():
            job = ExportJob.objects.create(**fields)
            job.events.create(before="", after=job.status, by=by)
            _record("export.start", job, by)
            jobs.enqueue_on_commit(job)
    except IntegrityError:
        job = ExportJob.objects.get(snapshot=snapshot, recipe_sha256=recipe, removed_at=None, status__in=LIVE)
        _keep_longer(job)
        _record("export.reuse", job, by)
    return job


def _only_what_matters(options: Options, chosen: Format) -> Options:
    """Without what changes nothing in this format, so that equal files are one export."""
    return Options(**{name: value for name, value in options.model_dump().items() if name in chosen.uses})


def filename_of(snapshot: Snapshot, chosen: Format, container: str, options: Options) -> str:
    stem = slugify(snapshot.name)[:60] or snapshot.key
    ending = "zip" if container == "zip" else CONTAINERS[container].ending
    parts = [stem, chosen.name, *([options.split] if chosen.has_split else [])]
    if container == "csv-spreadsheet":  # else it would be named as the exact one, which it is not
        parts.append("spreadsheet")
    return f"{'-'.join(parts)}.{ending}"


def _keep_longer(job: ExportJob) -> None:
    if job.status == JobStatus.SUCCEEDED:
        ExportJob.objects.filter(pk=job.pk, removed_at=None).update(expires_at=_expiry())
        job.refresh_from_db()


def _expiry() -> Any:
    return jobs.from_now(timedelta(days=settings.WHETSTONE.export_keep_days).total_seconds())


def _record(action: str, job: ExportJob, by: User | None) -> None:
    detail = {
        "dataset": job.snapshot.name, "format": job.file_format, "container": job.container, "options": job.options,
    }  # fmt: skip
    record(action, user=by, project=job.project, subject=job, detail=detail)


def cancel_export(job: ExportJob, *, by: User) -> None:
    with transaction.atomic():
        jobs.request_cancel(job, by=by)
        _record("export.cancel", job, by)


def exports_of(snapshot: Snapshot) -> QuerySet[ExportJob]:
    """What was exported of a dataset and can be had or is on its way, newest first."""
    return snapshot.exports.filter(removed_at=None).exclude(status=JobStatus.CANCELLED).order_by("-id")


# ---- making ----------------------------------------------------------------------------------------------------------


def run_export(job_id: int) -> None:
    """Write an export's file. Safe to call at any time, by any number of workers."""
    job = ExportJob.objects.select_related("project", "snapshot", "requested_by").filter(pk=job_id).first()
    attempt(job, _write, seconds=LEASE_SECONDS, what="The export")


def _check_right(job: ExportJob) -> None:
    """Who asked may have lost the role meanwhile. An export that nobody asked for is the system's own."""
    if job.requested_by is None:
        return
    require(may_export(job.requested_by, job.project), "Whoever asked for this export may no longer export here.")


def may_export(user: User, project: Project) -> bool:
    return may(user, project, Role.RESEARCHER)


def _write(job: ExportJob, keeper: Keeper) -> None:
    _check_right(job)
    chosen, source = format_named(job.file_format), directory_of(job.snapshot)
    require(job.source_sha256 == job.snapshot.artifact_sha256, "The dataset has been changed.", how="Export it again.")
    keeper.beat(step=0, total_steps=max(1, _bytes_to_read(source, chosen, job.options["split"]) >> KIB))

    def beat(n_read: int) -> None:
        keeper.beat_at_times(step=n_read >> KIB)

    with workspace("exporting", job.key) as directory:
        path = directory / job.filename
        n_rows = write_export(
            source, path, export_format=chosen, container=job.container, options=Options(**job.options), beat=beat
        )
        require(
            n_rows,
            f"The dataset has nothing for {chosen.label} on this side of the split.",
            how="Choose another format, or the other split.",
        )
        keeper.beat()
        n_bytes, sha256 = path.stat().st_size, file_sha256(path)
        artifact = store_directory(ARTIFACT_KIND, directory, take=True)
    keeper.finish(
        message=counted(n_rows, "row"), n_rows=n_rows, n_bytes=n_bytes, sha256=sha256, artifact_sha256=artifact,
        expires_at=_expiry(), step=F("total_steps"),
    )  # fmt: skip


def _bytes_to_read(directory: Path, chosen: Format, split: str) -> int:
    paths = [directory / name.format(split=split) for name in chosen.files]
    return sum(path.stat().st_size for path in paths if path.exists())


# ---- having ----------------------------------------------------------------------------------------------------------


def file_of(job: ExportJob) -> Path:
    """Where the file of an export lies. Raises DomainError where it is not ready, was deleted, or is out of date."""
    require(job.removed_at is None, "This export has been deleted.", how="Export the dataset again.")
    require(job.is_ready, "This export is not ready.", how="Wait until it is.")
    require(
        job.source_sha256 == job.snapshot.artifact_sha256,
        "The dataset has been changed since it was exported.",
        how="Export it again.",
    )
    read_manifest(ARTIFACT_KIND, job.artifact_sha256)
    return artifact_path(ARTIFACT_KIND, job.artifact_sha256) / job.filename


# ---- deleting --------------------------------------------------------------------------------------------------------


def remove_old_exports() -> int:
    """Delete the files of exports whose time has come, or whose dataset is no longer as it was exported. A chore of the tick."""
    due = Q(expires_at__lt=Now()) | ~Q(source_sha256=F("snapshot__artifact_sha256"))
    rows = ExportJob.objects.filter(due, status=JobStatus.SUCCEEDED, removed_at=None)
    pks = list(rows.values_list("pk", flat=True)[:1000])
    n = ExportJob.objects.filter(pk__in=pks, removed_at=None).update(removed_at=Now()) if pks else 0
    gone = ExportJob.objects.filter(removed_at__isnull=False).exclude(artifact_sha256="")
    stored = dict(gone.values_list("pk", "artifact_sha256"))
    if stored:
        _delete_unused()
        rest = {sha256 for sha256 in stored.values() if artifact_path(ARTIFACT_KIND, sha256).exists()} - _live()
        ended = [pk for pk, sha256 in stored.items() if sha256 not in rest]
        gone.filter(pk__in=ended).update(artifact_sha256="")
    return n


def _delete_unused() -> None:
    """Delete the stored files that no export has; none while one is being made: it may be about to find its own bytes there."""
    root = artifacts_root() / ARTIFACT_KIND
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        sha256 = path.name.removeprefix(ASIDE)
        if sha256.startswith(".") or (path.name == sha256 and _is_wanted(sha256)):
            continue
        try:
            _delete_or_put_back(path, root / sha256, root / f"{ASIDE}{sha256}")
        except OSError:
            continue  # another worker deletes it, or has just made it


def _delete_or_put_back(path: Path, place: Path, aside: Path) -> None:
    """Out of its place, where nobody finds it, before it is asked again whether anybody needs it: who found it before is still
    writing, or has it by now. ``path`` is one of the two; aside it was left by a worker that was killed.
    """
    if path == place:
        path.rename(aside)
    if _is_wanted(place.name) and not place.exists():
        aside.rename(place)
    else:
        shutil.rmtree(aside)


def _is_wanted(sha256: str) -> bool:
    is_being_made = ExportJob.objects.filter(status__in=[JobStatus.RUNNING, JobStatus.CANCELLING]).exists()
    return is_being_made or sha256 in _live()


def _live() -> set[str]:
    rows = ExportJob.objects.filter(removed_at=None, status=JobStatus.SUCCEEDED)
    return set(rows.values_list("artifact_sha256", flat=True))
