"""Prompt sets: what people do with them and with their imports. An import is a job, whose worker is ``prompt_importing``.

Rows of an import that has not ended stay invisible (``Prompt.objects.ready()``); the set shows them all at once, in the
transaction that ends the job. Files are read by ``prompt_readers``.
"""

import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from django.db import IntegrityError, transaction
from django.db.models.deletion import ProtectedError

from accounts.access import may
from accounts.audit import record
from accounts.models import Project, Role, User
from core.errors import Conflict, DomainError, require
from core.ids import new_key
from core.jobs import (
    JobStatus,
    enqueue_on_commit,
    request_cancel,
    requeue,
)
from core.uploads import keep_upload, plain_name, require_same, uploads
from generation.models import Prompt, PromptImport, PromptSet
from generation.prompt_readers import (
    Format,
    UnreadableFile,
    detect_format,
    detect_pasted,
)

logger = logging.getLogger(__name__)

# ---- starting --------------------------------------------------------------------------------------------------------


def start_import(
    *,
    project: Project,
    upload: BinaryIO | Path,
    filename: str = "",
    prompt_set: PromptSet | None = None,
    name: str = "",
    source: str = "",
    licence: str = "",
    is_holdout_only: bool = False,
    skip_bad_rows: bool = False,
    allow_secrets: bool = False,
    is_pasted: bool = False,
    by: User | None,
    key: str = "",
    enqueue: bool = True,
) -> PromptImport:
    """Keep the upload under a name of our own and queue its import, into a new set or an existing one.

    allow_secrets  rows that hold what looks like a secret come in too: an admin's decision
    key            the import's key where the form brings one: the same form sent twice, or twice at once, is one import; with
                   another file or set it is refused
    enqueue        false for a caller that runs it itself
    Raises DomainError for a file that cannot be an import, a name that is taken, or a set that is being imported into.
    """
    require(
        not allow_secrets or by is None or may(by, project, Role.ADMIN),
        "Only an admin of the project lets rows in that hold what looks like a secret.",
    )
    sweep_uploads()
    stored, sha256 = keep_upload(upload, "prompts")

    def sent_before() -> PromptImport | None:
        twin = PromptImport.objects.filter(set__project=project, key=key).select_related("set").first() if key else None
        require_same(
            twin is None
            or (twin.sha256 == sha256 and (twin.set == prompt_set if prompt_set else twin.set.name == name.strip()))
        )
        return twin

    try:
        if twin := sent_before():
            stored.unlink(missing_ok=True)
            return twin
        return _queue(
            project=project,
            stored=stored,
            sha256=sha256,
            file_format=_recognise(stored, filename, is_pasted=is_pasted),
            filename=plain_name(filename),
            prompt_set=prompt_set,
            about={"name": name.strip(), "source": source, "licence": licence, "is_holdout_only": is_holdout_only},
            skip_bad_rows=skip_bad_rows,
            options={"allow_secrets": True} if allow_secrets else {},
            by=by,
            key=key or new_key(),
            enqueue=enqueue,
        )
    except BaseException as problem:
        stored.unlink(missing_ok=True)
        # Sent twice at once, and the other was faster: its set, or its import into this one, stands in the way.
        if isinstance(problem, DomainError) and (twin := sent_before()):
            return twin
        raise


def _recognise(stored: Path, filename: str, *, is_pasted: bool) -> Format:
    try:
        return detect_pasted(stored) if is_pasted else detect_format(stored, filename)
    except UnreadableFile as problem:
        raise DomainError(problem.sentence, how=problem.how) from None


@transaction.atomic
def _queue(
    *,
    project: Project,
    stored: Path,
    sha256: str,
    file_format: Format,
    filename: str,
    prompt_set: PromptSet | None,
    about: Mapping[str, Any],
    skip_bad_rows: bool,
    options: dict[str, Any],
    by: User | None,
    key: str,
    enqueue: bool,
) -> PromptImport:
    if prompt_set is None:
        require(about["name"], "The prompt set needs a name.")
        try:
            with transaction.atomic():
                prompt_set = PromptSet.objects.create(project=project, **about)
        except IntegrityError:
            raise DomainError(
                f"There is a prompt set “{about['name']}” already.", how="Choose another name, or import into that set."
            ) from None
    try:
        with transaction.atomic():
            job = PromptImport.objects.create(
                key=key,
                set=prompt_set,
                filename=filename,
                stored_name=stored.name,
                sha256=sha256,
                file_format=file_format,
                skip_bad_rows=skip_bad_rows,
                options=options,
                unit="rows",
                requested_by=by,
            )
    except IntegrityError:
        raise Conflict("Another import into this set is under way.", how="Wait for it, or cancel it.") from None
    job.events.create(before="", after=job.status, by=by)
    record("prompts.import", project=project, user=by, subject=job, detail={"set": prompt_set.key, **options})
    if enqueue:
        enqueue_on_commit(job)
    return job


def sweep_uploads(older_than_seconds: float = 2 * 24 * 3600) -> int:
    """Remove what killed processes left in the uploads directory: files of no import, scratch of no worker. How many."""
    n_removed, oldest = 0, time.time() - older_than_seconds
    for path in uploads().glob("*-*"):
        owner = path.name.partition(".")[0]
        try:
            if path.stat().st_mtime > oldest:
                continue
            if path.name.startswith("groups-"):
                shutil.rmtree(path, ignore_errors=True)
            elif owner.startswith("prompts-") and not PromptImport.objects.filter(stored_name=owner).exists():
                path.unlink(missing_ok=True)
            else:
                continue
        except OSError:
            continue  # somebody else was faster
        n_removed += 1
    return n_removed


# ---- files -----------------------------------------------------------------------------------------------------------


def stored_path(job: PromptImport) -> Path:
    return uploads() / job.stored_name


def report_path(job: PromptImport) -> Path:
    """Every bad row, one a line of CSV; complete once the rows are checked."""
    return uploads() / f"{job.stored_name}.report.csv"


# ---- what people do with imports and sets ----------------------------------------------------------------------------


@transaction.atomic
def cancel_import(job: PromptImport, *, by: User) -> None:
    request_cancel(job, by=by)
    record("prompts.cancel_import", project=job.set.project, user=by, subject=job)


@transaction.atomic
def retry_import(job: PromptImport, *, skip_bad_rows: bool = False, by: User) -> None:
    """Queue a failed or cancelled import again, without bad rows if so asked. Raises IllegalMove if it is neither."""
    require(stored_path(job).exists(), "The uploaded file is gone.", how="Upload it again.")
    PromptImport.objects.filter(pk=job.pk).update(
        checked_at=None, step=0, skip_bad_rows=job.skip_bad_rows or skip_bad_rows
    )
    try:
        requeue(job, by=by)
    except IntegrityError:
        raise Conflict("Another import into this set is under way.", how="Wait for it, or cancel it.") from None
    record("prompts.retry_import", project=job.set.project, user=by, subject=job, detail={"skip": skip_bad_rows})


def usage_of(prompt_set: PromptSet) -> str:
    """Why a set cannot be deleted, or an empty string. Read by name: the layers above point here."""
    if prompt_set.jobs.exists():
        return "Answers have been generated for it."
    for relation in type(prompt_set)._meta.related_objects:
        if relation.related_model in (Prompt, PromptImport) or relation.many_to_many:
            continue
        if relation.related_model._base_manager.filter(**{relation.field.name: prompt_set}).exists():
            return f"It is used by a {relation.related_model._meta.verbose_name}."
    return ""


def delete_set(prompt_set: PromptSet, *, by: User | None) -> None:
    """Delete a set that nothing uses, its prompts and its files. Raises DomainError for one in use."""
    require(
        not prompt_set.imports.filter(status__in=[JobStatus.RUNNING, JobStatus.CANCELLING]).exists(),
        "An import into this set is under way.",
        how="Cancel it first.",
    )
    reason = usage_of(prompt_set)
    require(not reason, f"The set “{prompt_set}” cannot be deleted. {reason}")
    files = [path for job in prompt_set.imports.all() for path in (stored_path(job), report_path(job))]
    project, detail = prompt_set.project, {"name": prompt_set.name, "n_prompts": prompt_set.n_prompts}
    try:
        with transaction.atomic():
            record("prompts.delete_set", project=project, user=by, subject=prompt_set, detail=detail)
            # One statement: a million rows would not fit into the memory of Django's collector.
            prompts = Prompt.objects.filter(set=prompt_set)
            prompts._raw_delete(prompts.db)
            prompt_set.delete()
    except (ProtectedError, IntegrityError):
        raise DomainError(f"The set “{prompt_set}” cannot be deleted: answers or rounds use it.") from None
    for path in files:
        path.unlink(missing_ok=True)
