"""Imports of votes as jobs: a draft that shows what was recognised, then two passes, all or nothing.

The first pass checks every row and writes a checked copy (``checking``); the second stores it in committed chunks that stay
invisible (``storing``); one transaction then shows it all. A worker that is killed leaves a row that another takes up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts.access import may
from accounts.audit import record
from accounts.models import Project, Role, User
from annotation.models import VoteImport
from annotation.models.imports import ImportStatus
from annotation.votes.choices import Choices
from annotation.votes.files import report_path, stored_path
from annotation.votes.formats import MAPPED, columns_of, looked_at
from annotation.votes.previewing import format_of
from annotation.votes.running import Progress
from annotation.votes.running import run_import as run_import
from annotation.votes.sources import mapped
from core.errors import DomainError, require
from core.ids import new_key
from core.jobs import (
    JobStatus,
    enqueue_on_commit,
    request_cancel,
    requeue,
)
from core.names import plain
from core.reading import UnreadableFile, has_byte_order_mark
from core.transitions import move
from core.uploads import keep_upload, plain_name, require_same, uploads

KEPT_DRAFT_SECONDS = 2 * 24 * 3600


# ---- starting --------------------------------------------------------------------------------------------------------


def start_import(
    *,
    project: Project,
    upload: BinaryIO | Path,
    name: str,
    filename: str = "",
    source: str = "",
    choices: Mapping[str, Any] | None = None,
    mapping: Mapping[str, Any] | None = None,
    skip_bad_rows: bool = False,
    is_draft: bool = False,
    by: User | None,
    key: str = "",
    enqueue: bool = True,
) -> VoteImport:
    """Keep the upload and queue its import, or (``is_draft``) keep it for a look at its preview.

    source   where the people are from: one id from one source is one person in this project; the name, if empty
    mapping  role -> column (``sources.mapped``), for a table that no format knows; what is given counts even if one does
    key      the import's key where the caller brings one: the same request sent twice, or twice at once, is one import; with
             another file or name it is refused
    enqueue  false for a caller that runs it itself
    The same file under the same name and with the same choices, imported or on its way, is that import again, begun if it waits
    as a draft and no draft is asked for; a draft with other choices gives way. Raises DomainError for a file that holds no votes,
    for a name that is taken, and for a draft that cannot be begun.
    """
    made = Choices.parse(choices or {})
    require(
        not made.allow_secrets or by is None or may(by, project, Role.ADMIN),
        "Only an admin of the project lets rows in that hold what looks like a secret.",
    )
    name = plain(name, "import")
    sweep_uploads()
    stored, sha256 = keep_upload(upload, "votes")
    try:
        asked = _Asked(
            name, sha256, (source.strip() or name)[:60], made.stored(), skip_bad_rows, mapped.roles_of(mapping or {})
        )
        if twin := _sent_before(project, key, name, sha256) or _same(project, asked):
            stored.unlink(missing_ok=True)
            return twin if is_draft else _begun(twin, asked, by=by, enqueue=enqueue)
        _refuse_taken(project, name)
        try:
            file_format, roles = format_of(stored, filename, mapping or {}, is_draft=is_draft)
        except UnreadableFile as problem:
            raise DomainError(problem.sentence, how=problem.how) from None
        job = _record(
            project=project, stored=stored, asked=asked, file_format=file_format, mapping=roles, filename=plain_name(filename),
            is_draft=is_draft, by=by, key=key or new_key(), enqueue=enqueue,
        )  # fmt: skip
        if job.stored_name != stored.name:
            stored.unlink(missing_ok=True)
        return job
    except IntegrityError:  # sent twice at once, and the other was faster
        stored.unlink(missing_ok=True)
        twin = _sent_before(project, key, name, sha256)
        require_same(twin is not None)
        twin = cast(VoteImport, twin)
        return twin if is_draft else _begun(twin, asked, by=by, enqueue=enqueue)
    except BaseException:
        stored.unlink(missing_ok=True)
        raise


@transaction.atomic
def map_import(job: VoteImport, mapping: Mapping[str, Any], *, by: User | None) -> None:
    """Say which column of a draft is what. Raises DomainError for what makes no sense, and for an import that was begun."""
    require(job.status == ImportStatus.DRAFT, "This import was begun: its columns stay as they are.")
    path = stored_path(job)
    require(path.exists(), "The uploaded file is gone.", how="Upload it again.")
    roles = mapped.checked(mapping, columns_of(looked_at(path)[0]))
    VoteImport.objects.filter(pk=job.pk, status=ImportStatus.DRAFT).update(file_format=MAPPED, mapping=roles)
    record("votes.map_import", project=job.project, user=by, subject=job, detail={"mapping": roles})


def _detail(job: VoteImport) -> dict[str, Any]:
    return {"name": job.name, **({"allow_secrets": True} if job.choices.get("allow_secrets") else {})}


def _sent_before(project: Project, key: str, name: str, sha256: str) -> VoteImport | None:
    """The import of the same request. Raises DomainError where its key came with another file."""
    twin = project.vote_imports.filter(key=key).first() if key else None
    require_same(twin is None or (twin.name, twin.sha256) == (name, sha256))
    return twin


@dataclass(frozen=True)
class _Asked:
    """What makes one import the same as another."""

    name: str
    sha256: str
    source: str
    choices: Mapping[str, Any]
    skip_bad_rows: bool
    mapping: Mapping[str, str]

    def is_that_of(self, job: VoteImport) -> bool:
        said = (job.source, job.choices, job.skip_bad_rows)
        # A mapping that is left out asks for nothing: a person gives it on the draft's page.
        return said == (self.source, self.choices, self.skip_bad_rows) and self.mapping in ({}, job.mapping)


def _of_file(project: Project, asked: _Asked) -> VoteImport | None:
    """The import of this file under this name, with whatever choices."""
    there = project.vote_imports.filter(name=asked.name, sha256=asked.sha256)
    return there.exclude(status__in=[ImportStatus.FAILED, ImportStatus.CANCELLED]).order_by("-pk").first()


def _same(project: Project, asked: _Asked) -> VoteImport | None:
    """The import that this file under this name already is; a draft with other choices is not. Raises DomainError where an import
    was made with others."""
    twin = _of_file(project, asked)
    if twin is None or asked.is_that_of(twin):
        return twin
    require(
        twin.status == ImportStatus.DRAFT,
        f"This file is here as “{asked.name}” already, with other choices.",
        how="Choose another name.",
    )
    return None


def _begun(twin: VoteImport, asked: _Asked, *, by: User | None, enqueue: bool) -> VoteImport:
    """The import that is there already; a draft is begun now, since who asks for no draft would wait for its end."""
    if twin.status == ImportStatus.DRAFT:
        require(
            asked.is_that_of(twin),
            "This has been sent before, as a draft with other choices.",
            how="Begin the draft, or send a new Idempotency-Key.",
        )
        begin_import(twin, by=by, enqueue=enqueue)
    return twin


def _refuse_taken(project: Project, name: str) -> None:
    is_taken = (
        project.prompt_sets.filter(name=name).exists()
        or project.vote_imports.filter(name=name, status__in=[JobStatus.QUEUED, JobStatus.RUNNING]).exists()
    )
    require(not is_taken, f"There is a prompt set “{name}” already.", how="Choose another name.")


def _lock(project: Project) -> None:
    """Until the transaction ends nobody else begins an import in the project: of two at once the second sees the first."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)


@transaction.atomic
def _record(
    *, project: Project, stored: Path, asked: _Asked, is_draft: bool, by: User | None, enqueue: bool, **fields: Any
) -> VoteImport:
    """The new import; or its twin, where that was begun while this one's file was looked at.

    A draft with other choices gives way only here, where nothing can refuse the new import any more.
    """
    _lock(project)
    if twin := _same(project, asked):
        return twin if is_draft else _begun(twin, asked, by=by, enqueue=enqueue)
    _refuse_taken(project, asked.name)
    if draft := _of_file(project, asked):
        cancel_import(draft, by=by)
    notes = []
    if has_byte_order_mark(stored):
        notes.append("The file begins with a byte order mark, which is no part of its first line.")
    for other in project.vote_imports.filter(sha256=asked.sha256, status=ImportStatus.SUCCEEDED)[:1]:
        notes.append(f"The same file has been imported before, as “{other.name}”: its votes will be here twice.")
    job = VoteImport.objects.create(
        project=project,
        status=ImportStatus.DRAFT if is_draft else ImportStatus.QUEUED,
        name=asked.name,
        source=asked.source,
        stored_name=stored.name,
        sha256=asked.sha256,
        n_bytes=stored.stat().st_size,
        choices=dict(asked.choices),
        skip_bad_rows=asked.skip_bad_rows,
        notes=notes,
        unit="rows",
        requested_by=by,
        **fields,
    )
    job.events.create(before="", after=job.status, by=by)
    if not is_draft:
        record("votes.import", project=project, user=by, subject=job, detail=_detail(job))
        if enqueue:
            enqueue_on_commit(job)
    return job


@transaction.atomic
def begin_import(
    job: VoteImport, *, mapping: Mapping[str, Any] | None = None, by: User | None, enqueue: bool = True
) -> None:
    """Queue a draft, with a mapping if it needs one: its preview was as it should be. Done twice it is done once.

    ``enqueue``: as in ``start_import``.
    """
    _lock(job.project)
    job.refresh_from_db()
    if mapping and (job.status == ImportStatus.DRAFT or mapped.roles_of(mapping) != job.mapping):
        map_import(job, mapping, by=by)
        job.refresh_from_db()
    if job.status in (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED):
        return
    require(job.status == ImportStatus.DRAFT, "This import has ended.", how="Try it again, or upload the file again.")
    require(
        job.file_format, "It is not known yet which column is what.", how="Say it on the import's page, or as mapping."
    )
    _refuse_taken(job.project, job.name)
    move(job, JobStatus.QUEUED, by=by, only_from=ImportStatus.DRAFT)
    record("votes.import", project=job.project, user=by, subject=job, detail=_detail(job))
    if enqueue:
        enqueue_on_commit(job)


def import_now(
    *, project: Project, path: Path, name: str, progress: Progress | None = None, by: User | None = None, **options: Any
) -> VoteImport:
    """Import a file at once, without a worker. Raises DomainError if it fails, and leaves nothing behind but the report."""
    job = start_import(project=project, upload=path, filename=path.name, name=name, by=by, enqueue=False, **options)
    run_import(job.pk, progress=progress)
    job.refresh_from_db()
    if job.status != JobStatus.SUCCEEDED:
        bad = job.bad_rows[:1]
        detail = f" Line {bad[0]['line']}: {bad[0]['reason']} All of them: {report_path(job)}." if bad else ""
        raise DomainError(f"{job.error or 'The import did not end.'}{detail}")
    return job


def sweep_uploads() -> int:
    """Give up drafts that nobody began, and remove files of no import. How many."""
    oldest = timezone.now() - timedelta(seconds=KEPT_DRAFT_SECONDS)
    n_removed = 0
    for job in VoteImport.objects.filter(status=ImportStatus.DRAFT, created_at__lt=oldest):
        cancel_import(job, by=None)
        n_removed += 1
    for path in uploads().glob("votes-*"):
        owner = path.name.partition(".")[0]
        try:
            is_old = path.stat().st_mtime < oldest.timestamp()
            if is_old and not VoteImport.objects.filter(stored_name=owner).exists():
                path.unlink(missing_ok=True)
                n_removed += 1
        except OSError:
            continue  # somebody else was faster
    return n_removed


# ---- what people do with imports ---------------------------------------------------------------------------------------


@transaction.atomic
def cancel_import(job: VoteImport, *, by: User | None) -> None:
    """Stop an import, or give up a draft. What was stored is taken back; an ended import is left as it is."""
    if job.status == ImportStatus.DRAFT:
        move(job, JobStatus.CANCELLED, by=by, only_from=ImportStatus.DRAFT, finished_at=Now())
        path = stored_path(job)
        transaction.on_commit(lambda: path.unlink(missing_ok=True))  # what is rolled back leaves the draft its file
    else:
        request_cancel(job, by=by)
    record("votes.cancel_import", project=job.project, user=by, subject=job)


@transaction.atomic
def retry_import(job: VoteImport, *, skip_bad_rows: bool = False, by: User | None) -> None:
    """Queue a failed or cancelled import again, without bad rows if so asked. Raises IllegalMove if it is neither."""
    require(stored_path(job).exists(), "The uploaded file is gone.", how="Upload it again.")
    _lock(job.project)
    _refuse_taken(job.project, job.name)
    VoteImport.objects.filter(pk=job.pk).update(
        checked_at=None, step=0, offset=0, skip_bad_rows=job.skip_bad_rows or skip_bad_rows
    )
    requeue(job, by=by)
    record("votes.retry_import", project=job.project, user=by, subject=job, detail={"skip": skip_bad_rows})
