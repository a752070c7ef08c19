"""Imports of votes as jobs: a draft that shows what was recognised, then two passes, all or nothing.

The first pass checks every row and writes a checked copy (``checking``); the second stores it in committed chunks that stay
invisible (``storing``); one transaction then shows it all. A worker that is killed leaves a row that another takes up.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from django.db import InterfaceError, OperationalError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts.audit import record
from accounts.models import Project, User
from annotation.models import VoteImport
from annotation.models.imports import ImportStatus
from annotation.votes.becoming import lay_out, show, take_back, target_of
from annotation.votes.checking import Checker, Found, TooMuch
from annotation.votes.choices import Choices
from annotation.votes.formats import MAPPED, Unrecognised, columns_of, first_objects, label_of, read, recognise
from annotation.votes.judged import Header, Judged
from annotation.votes.outside import Models
from annotation.votes.sources import mapped
from annotation.votes.storing import Store, checked_lines
from core.bulk import room_to_write, undisturbed
from core.errors import DomainError, require
from core.ids import new_key
from core.jobs import (
    JobStatus,
    Stopped,
    beat,
    cancelled,
    claim,
    enqueue_on_commit,
    fail,
    finish,
    release,
    request_cancel,
    requeue,
)
from core.reading import BadRow, UnreadableFile, has_byte_order_mark
from core.tables import container_of
from core.transitions import move
from core.uploads import keep_upload, plain_name, uploads
from generation.groups import Groups
from generation.models import PromptImport

logger = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
SHOWN_ROWS = 5
KEPT_DRAFT_SECONDS = 2 * 24 * 3600

Progress = Callable[[VoteImport], None]


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
    key      the import's key where the caller brings one: the same request sent twice is one import
    enqueue  false for a caller that runs it itself
    The same file under the same name, imported or on its way, is that import again. Raises DomainError for a file that holds
    no votes, and for a name that is taken.
    """
    if key and (twin := project.vote_imports.filter(key=key).first()):
        return twin
    made = Choices.parse(choices or {})
    name = name.strip()[:100]
    require(name, "Give the import a name: the campaign and the prompt set are called so.")
    sweep_uploads()
    stored, sha256 = keep_upload(upload, "votes")
    try:
        if twin := _same(project, name, sha256):
            stored.unlink(missing_ok=True)
            return twin
        _refuse_taken(project, name)
        try:
            file_format, roles = _format_of(stored, filename, mapping or {}, is_draft=is_draft)
        except UnreadableFile as problem:
            raise DomainError(problem.sentence, how=problem.how) from None
        return _record(
            project=project, stored=stored, sha256=sha256, file_format=file_format, mapping=roles, filename=plain_name(filename), name=name,
            source=(source.strip() or name)[:60], choices=made, skip_bad_rows=skip_bad_rows, is_draft=is_draft, by=by,
            key=key or new_key(), enqueue=enqueue,
        )  # fmt: skip
    except BaseException:
        stored.unlink(missing_ok=True)
        raise


def _format_of(
    stored: Path, filename: str, mapping: Mapping[str, Any], *, is_draft: bool
) -> tuple[str, dict[str, str]]:
    """(format, mapping) of a file; a draft that no format knows waits for its mapping, with no format."""
    if mapping:
        columns = columns_of(first_objects(stored, container_of(stored, filename)))
        return MAPPED, mapped.checked(mapping, columns)
    try:
        return recognise(stored, filename).name, {}
    except Unrecognised as problem:
        if is_draft and problem.columns:
            return "", {}
        raise


@transaction.atomic
def map_import(job: VoteImport, mapping: Mapping[str, Any], *, by: User | None) -> None:
    """Say which column of a draft is what. Raises DomainError for what makes no sense, and for an import that was begun."""
    require(job.status == ImportStatus.DRAFT, "This import was begun: its columns stay as they are.")
    path = stored_path(job)
    require(path.exists(), "The uploaded file is gone.", how="Upload it again.")
    roles = mapped.checked(mapping, columns_of(first_objects(path, container_of(path))))
    VoteImport.objects.filter(pk=job.pk, status=ImportStatus.DRAFT).update(file_format=MAPPED, mapping=roles)
    record("votes.map_import", project=job.project, user=by, subject=job, detail={"mapping": roles})


def _same(project: Project, name: str, sha256: str) -> VoteImport | None:
    """The import that this file under this name already is."""
    there = project.vote_imports.filter(name=name, sha256=sha256)
    return there.exclude(status__in=[ImportStatus.FAILED, ImportStatus.CANCELLED]).order_by("-pk").first()


def _refuse_taken(project: Project, name: str) -> None:
    is_taken = (
        project.prompt_sets.filter(name=name).exists()
        or project.vote_imports.filter(name=name, status__in=[JobStatus.QUEUED, JobStatus.RUNNING]).exists()
    )
    require(not is_taken, f"There is a prompt set “{name}” already.", how="Choose another name.")


@transaction.atomic
def _record(
    *,
    project: Project,
    stored: Path,
    sha256: str,
    choices: Choices,
    is_draft: bool,
    by: User | None,
    enqueue: bool,
    **fields: Any,
) -> VoteImport:
    notes = []
    if has_byte_order_mark(stored):
        notes.append("The file begins with a byte order mark, which is no part of its first line.")
    for other in project.vote_imports.filter(sha256=sha256, status=ImportStatus.SUCCEEDED)[:1]:
        notes.append(f"The same file has been imported before, as “{other.name}”: its votes will be here twice.")
    job = VoteImport.objects.create(
        project=project,
        status=ImportStatus.DRAFT if is_draft else ImportStatus.QUEUED,
        stored_name=stored.name,
        sha256=sha256,
        n_bytes=stored.stat().st_size,
        choices=choices.stored(),
        notes=notes,
        unit="rows",
        requested_by=by,
        **fields,
    )
    job.events.create(before="", after=job.status, by=by)
    if not is_draft:
        record("votes.import", project=project, user=by, subject=job, detail={"name": job.name})
        if enqueue:
            enqueue_on_commit(job)
    return job


@transaction.atomic
def begin_import(job: VoteImport, *, by: User | None) -> None:
    """Queue a draft: its preview was as it should be. Done twice it is done once."""
    if job.status in (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED):
        return
    require(job.status == ImportStatus.DRAFT, "This import has ended.", how="Try it again, or upload the file again.")
    require(
        job.file_format, "It is not known yet which column is what.", how="Say it on the import's page, or as mapping."
    )
    _refuse_taken(job.project, job.name)
    move(job, JobStatus.QUEUED, by=by, only_from=ImportStatus.DRAFT)
    record("votes.import", project=job.project, user=by, subject=job, detail={"name": job.name})
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
        detail = f" Line {bad[0]['line']}: {bad[0]['reason']}" if bad else ""
        raise DomainError(f"{job.error or 'The import did not end.'}{detail}")
    return job


@dataclass(frozen=True)
class Preview:
    """What a file looks like before it is imported: its first rows as they will be read."""

    label: str
    rows: tuple[Judged | BadRow, ...]
    columns: Mapping[str, list[str]] = field(
        default_factory=dict
    )  # name -> the first cells, of a table that may be mapped


def preview_of(job: VoteImport) -> Preview:
    """The first rows, and (of a table whose columns may be mapped) the columns with the beginnings of their cells."""
    path, label = stored_path(job), label_of(job.file_format)
    if not path.exists():
        return Preview(label, ())
    if job.file_format in ("", MAPPED):
        found = first_objects(path, container_of(path), SHOWN_ROWS)
        columns = {name: [_beginning(row[name]) for row in found if name in row] for name in columns_of(found)}
    else:
        columns = {}
    rows = (
        (row for row in read(path, job.file_format, job.mapping) if not isinstance(row, Header))
        if job.file_format
        else ()
    )
    return Preview(label, tuple(islice(rows, SHOWN_ROWS)), columns)


def _beginning(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{text[:60]}…" if len(text) > 60 else text


# ---- files -----------------------------------------------------------------------------------------------------------


def stored_path(job: VoteImport) -> Path:
    return uploads() / job.stored_name


def report_path(job: VoteImport) -> Path:
    """Every bad row, one a line of CSV; complete once the rows are checked."""
    return uploads() / f"{job.stored_name}.report.csv"


def _scratch(job: VoteImport, what: str) -> Path:
    return uploads() / f"{job.stored_name}.{what}"


def _remove_scratch(job: VoteImport) -> None:
    for what in ("checked", "seen", "groups", "report.csv.part"):
        _scratch(job, what).unlink(missing_ok=True)


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


# ---- the job ---------------------------------------------------------------------------------------------------------


def run_import(import_id: int, *, progress: Progress | None = None) -> None:
    """Claim the import and do what is left of it. Does nothing where somebody else has it, or where it is over."""
    job = VoteImport.objects.select_related("project", "campaign", "prompt_set", "job").filter(pk=import_id).first()
    token = claim(job, seconds=LEASE_SECONDS) if job else None
    if job is None or token is None:
        return
    worker = _Worker(job, token, progress)
    try:
        with undisturbed():
            worker.run()
    except Stopped as stop:
        if stop.is_ours:
            worker.undo()
            cancelled(job, token, message="Cancelled: nothing was imported.")
    except KeyboardInterrupt:  # of a person at a shell
        request_cancel(job)
        worker.undo()
        cancelled(job, token, message="Stopped: nothing was imported.")
        raise
    except (DomainError, UnreadableFile) as problem:
        worker.undo()
        how = f" {problem.how}" if problem.how else ""
        fail(job, token, f"{problem.sentence}{how}", message="Nothing was imported.")
    except TooMuch as problem:
        worker.undo()
        fail(job, token, str(problem), message="Nothing was imported.")
    except (OperationalError, InterfaceError):
        logger.exception("Vote import %s goes back to the queue.", job.key)
        release(job, token, note="The database did not answer; the import goes on in a moment.", is_failure=True)
    except OSError as problem:
        worker.undo()
        fail(job, token, f"The file could not be read: {problem.strerror or problem}.", message="Nothing was imported.")
    except Exception as problem:
        logger.exception("Vote import %s failed.", job.key)
        worker.undo()
        fail(job, token, f"The import stopped on something unexpected: {type(problem).__name__}.")
        raise


class _Worker:
    """One attempt at an import."""

    def __init__(self, job: VoteImport, token: str, progress: Progress | None) -> None:
        self.job, self.token, self.progress = job, token, progress
        self.choices = Choices.parse(job.choices)

    def run(self) -> None:
        if self.job.checked_at is None or not _scratch(self.job, "checked").exists():
            require(stored_path(self.job).exists(), "The uploaded file is gone.", how="Upload it again.")
            self._begin()
            self._check()
        self._store()
        self._end()
        stored_path(self.job).unlink(missing_ok=True)
        _remove_scratch(self.job)

    def _begin(self) -> None:
        """Clear away what an earlier attempt left behind."""
        take_back(self.job)
        _remove_scratch(self.job)
        self._update(
            step=0, offset=0, total_steps=None, n_rows=0, n_bad=0, bad_rows=[], counts={}, checked_at=None, message="Checking."
        )  # fmt: skip
        self.job.refresh_from_db()

    def _check(self) -> None:
        """The first pass; stops if a row is bad and none may be skipped."""
        groups_file = _scratch(self.job, "groups")
        with self._groups() as groups:
            checker = Checker(
                groups=groups,
                scratch=_scratch(self.job, "seen"),
                copy=_scratch(self.job, "checked"),
                report=report_path(self.job),
                progress=self._checked_so_far,
            )
            found = checker.check(read(stored_path(self.job), self.job.file_format, self.job.mapping))
        _to_disk(groups_file)
        _scratch(self.job, "seen").unlink(missing_ok=True)
        self._update(bad_rows=found.bad, n_bad=found.n_bad, n_rows=found.n_rows)
        require(found.n_rows, "The file has no rows.", how="Choose a file that holds votes.")
        if found.n_bad and not self.job.skip_bad_rows:
            what = "One row" if found.n_bad == 1 else f"{found.n_bad:,} of {found.n_rows:,} rows"
            raise DomainError(f"{what} cannot be imported, so nothing was.", how="Put them right, or skip them.")
        require(found.n_bad < found.n_rows, "No row of the file can be imported.", how="The list below says why.")
        self._prepare(found)

    def _checked_so_far(self, n_rows: int, n_bad: int) -> None:
        self._beat(step=n_rows, message=f"Checking: {n_rows:,} rows read.", n_rows=n_rows, n_bad=n_bad)

    def _prepare(self, found: Found) -> None:
        """Lay out what the rows will belong to, seen by nobody, in the transaction that ends the check."""
        with transaction.atomic():
            self._beat(message="Storing.")
            made = lay_out(self.job, self.choices, found)
            Models(self.job.project_id, made.job, licence=self.choices.licence).learn(found.models)
            self._update(
                checked_at=Now(), step=0, offset=0, total_steps=found.n_rows - found.n_bad, campaign=made.campaign,
                prompt_set=made.prompt_set, job=made.job, counts={"duplicates": found.n_duplicates},
            )  # fmt: skip
        self.job.refresh_from_db()

    def _store(self) -> None:
        job = self.job
        target = target_of(job, self.choices)
        models = Models(job.project_id, target.job, licence=self.choices.licence)
        done, counts = job.step, Counter(job.counts)
        with room_to_write(), self._groups() as groups:
            store = Store(target, models, groups)
            for lines, offset in checked_lines(_scratch(job, "checked"), job.offset):
                chunk = store.prepare(lines)
                done += len(lines)
                with transaction.atomic():
                    self._beat(step=done, offset=offset, message=f"Storing: {done:,} of {job.total_steps:,} rows.")
                    counts.update(store.write(chunk))
                    self._update(counts=dict(counts))
                    PromptImport.objects.filter(pk=target.prompts.pk).update(n_added=target.prompts.n_added)
        self.job.refresh_from_db()

    def _groups(self) -> Groups:
        return Groups(
            self.job.project_id, is_holdout_only=self.choices.is_holdout_only, file=_scratch(self.job, "groups")
        )

    def _end(self) -> None:
        """Show everything at once, in the transaction that ends the job."""
        n = self.job.counts.get("votes", 0)
        tasks, answers = self.job.counts.get("tasks", 0), self.job.counts.get("answers", 0)
        message = f"{n:,} votes on {tasks:,} tasks imported." if n else f"{answers:,} answers imported."
        show_all = show(self.job, self.choices)  # what takes long comes first, outside the transaction
        with transaction.atomic():
            if not finish(self.job, self.token, message=message):
                raise Stopped(is_ours=False)
            if self.job.status == JobStatus.SUCCEEDED:
                show_all()
            else:  # cancelled in its last moment
                transaction.set_rollback(True)
        if self.job.status != JobStatus.SUCCEEDED:
            self.job.refresh_from_db()
            raise Stopped(is_ours=True)

    def undo(self) -> None:
        """Delete what this import stored; it was visible to nobody."""
        if self._update(checked_at=None, offset=0, counts={}):
            take_back(self.job)
            _remove_scratch(self.job)

    def _update(self, **changes: Any) -> bool:
        return bool(VoteImport.objects.filter(pk=self.job.pk, lease_token=self.token).update(**changes))

    def _beat(self, **progress: Any) -> None:
        pulse = beat(self.job, self.token, seconds=LEASE_SECONDS, **progress)
        if not pulse.alive or pulse.cancel:
            raise Stopped(is_ours=pulse.alive)
        if self.progress:
            for name, value in progress.items():
                setattr(self.job, name, value)
            self.progress(self.job)


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


# ---- what people do with imports ---------------------------------------------------------------------------------------


@transaction.atomic
def cancel_import(job: VoteImport, *, by: User | None) -> None:
    """Stop an import, or give up a draft. What was stored is taken back; an ended import is left as it is."""
    if job.status == ImportStatus.DRAFT:
        move(job, JobStatus.CANCELLED, by=by, only_from=ImportStatus.DRAFT, finished_at=Now())
        stored_path(job).unlink(missing_ok=True)
    else:
        request_cancel(job, by=by)
    record("votes.cancel_import", project=job.project, user=by, subject=job)


@transaction.atomic
def retry_import(job: VoteImport, *, skip_bad_rows: bool = False, by: User | None) -> None:
    """Queue a failed or cancelled import again, without bad rows if so asked. Raises IllegalMove if it is neither."""
    require(stored_path(job).exists(), "The uploaded file is gone.", how="Upload it again.")
    _refuse_taken(job.project, job.name)
    VoteImport.objects.filter(pk=job.pk).update(
        checked_at=None, step=0, offset=0, skip_bad_rows=job.skip_bad_rows or skip_bad_rows
    )
    requeue(job, by=by)
    record("votes.retry_import", project=job.project, user=by, subject=job, detail={"skip": skip_bad_rows})
