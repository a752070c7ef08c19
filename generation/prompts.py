"""Prompt sets: import and delete. An import is a job: it checks every row, then stores them in small transactions.

Rows of an import that has not ended stay invisible (``Prompt.objects.ready()``); the set shows them all at once, in the
transaction that ends the job. Files are read by ``prompt_readers``.
"""

import csv
import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from django.db import IntegrityError, transaction
from django.db.models import F, Max
from django.db.models.deletion import ProtectedError
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import Project, User
from core.csvs import inert
from core.errors import Conflict, DomainError, require
from core.ids import new_key, seed_from
from core.jobs import (
    JobStatus,
    Stopped,
    beat,
    cancelled,
    claim,
    enqueue_on_commit,
    fail,
    finish,
    request_cancel,
    requeue,
)
from core.storage import home
from core.uploads import keep_upload, plain_name
from generation.groups import Groups, Placed
from generation.models import Prompt, PromptImport, PromptSet
from generation.prompt_readers import (
    BadRow,
    Format,
    PromptRow,
    Row,
    UnreadableFile,
    detect_format,
    detect_pasted,
    has_byte_order_mark,
    read_rows,
)

logger = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
CHUNK_ROWS = 500  # of one transaction: others write in between
SHOWN_BAD_ROWS = 1000


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
    is_pasted: bool = False,
    by: User | None,
    key: str = "",
    enqueue: bool = True,
) -> PromptImport:
    """Keep the upload under a name of our own and queue its import, into a new set or an existing one.

    key      the import's key where the form brings one: the same form sent twice is one import
    enqueue  false for a caller that runs it itself
    Raises DomainError for a file that cannot be an import, a name that is taken, or a set that is being imported into.
    """
    if key and (twin := PromptImport.objects.filter(set__project=project, key=key).first()):
        return twin
    sweep_uploads()
    stored, sha256 = keep_upload(upload, "prompts")
    try:
        return _queue(
            project=project,
            stored=stored,
            sha256=sha256,
            file_format=_recognise(stored, filename, is_pasted=is_pasted),
            filename=plain_name(filename),
            prompt_set=prompt_set,
            about={"name": name.strip(), "source": source, "licence": licence, "is_holdout_only": is_holdout_only},
            skip_bad_rows=skip_bad_rows,
            by=by,
            key=key or new_key(),
            enqueue=enqueue,
        )
    except BaseException:
        stored.unlink(missing_ok=True)
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
                unit="rows",
                requested_by=by,
            )
    except IntegrityError:
        raise Conflict("Another import into this set is under way.", how="Wait for it, or cancel it.") from None
    job.events.create(before="", after=job.status, by=by)
    record("prompts.import", project=project, user=by, subject=job, detail={"set": prompt_set.key})
    if enqueue:
        enqueue_on_commit(job)
    return job


def import_now(
    *,
    project: Project,
    name: str,
    path: Path,
    source: str = "",
    licence: str = "",
    is_holdout_only: bool = False,
    skip_bad_rows: bool = False,
    by: User | None = None,
) -> PromptSet:
    """Import a file into a new set at once, without a worker. Raises DomainError if it fails, and leaves no set."""
    job = start_import(
        project=project, upload=path, filename=path.name, name=name, source=source, licence=licence,
        is_holdout_only=is_holdout_only, skip_bad_rows=skip_bad_rows, by=by, enqueue=False,
    )  # fmt: skip
    run_import(job.pk)
    job.refresh_from_db()
    if job.status != JobStatus.SUCCEEDED:
        sentence, bad = job.error, job.bad_rows[:1]
        delete_set(job.set, by=by)
        detail = f" Line {bad[0]['line']}: {bad[0]['reason']}" if bad else ""
        raise DomainError(f"{sentence or 'The import did not end.'}{detail}")
    job.set.refresh_from_db()
    return job.set


def sweep_uploads(older_than_seconds: float = 2 * 24 * 3600) -> int:
    """Remove what killed processes left in the uploads directory: files of no import, scratch of no worker. How many."""
    n_removed, oldest = 0, time.time() - older_than_seconds
    for path in (home() / "uploads").glob("*-*"):
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


# ---- the job ---------------------------------------------------------------------------------------------------------


def stored_path(job: PromptImport) -> Path:
    return home() / "uploads" / job.stored_name


def report_path(job: PromptImport) -> Path:
    """Every bad row, one a line of CSV; complete once the rows are checked."""
    return home() / "uploads" / f"{job.stored_name}.report.csv"


def run_import(import_id: int) -> None:
    """Claim the import and do what is left of it. Does nothing where somebody else has it, or where it is over."""
    job = PromptImport.objects.select_related("set__project").filter(pk=import_id).first()
    token = claim(job, seconds=LEASE_SECONDS) if job else None
    if job is None or token is None:
        return
    worker = _Worker(job, token)
    try:
        worker.run()
    except Stopped as stop:
        if stop.is_ours:
            worker.take_back()
            cancelled(job, token, message="Cancelled: nothing was imported.")
    except (DomainError, UnreadableFile) as problem:
        worker.take_back()
        how = f" {problem.how}" if problem.how else ""
        fail(job, token, f"{problem.sentence}{how}", message="Nothing was imported.")
    except OSError as problem:
        worker.take_back()
        fail(job, token, f"The file could not be read: {problem.strerror or problem}.", message="Nothing was imported.")
    except Exception as problem:
        logger.exception("Prompt import %s failed.", job.key)
        worker.take_back()
        fail(job, token, f"The import stopped on something unexpected: {type(problem).__name__}.")
        raise


@dataclass
class _Worker:
    """One attempt at an import. Reads the file twice: to check it, and to store it."""

    job: PromptImport
    token: str
    n_bad: int = 0
    shown: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> None:
        path = stored_path(self.job)
        require(path.exists(), "The uploaded file is gone.", how="Upload it again.")
        with Groups(self.job.set.project_id, is_holdout_only=self.job.set.is_holdout_only) as groups:
            if self.job.checked_at is None:
                self._begin()
                self._check(path, groups)
            else:
                for chunk in _chunks(self._rows(path)):
                    groups.learn(row for row in chunk if isinstance(row, PromptRow))
                    self._beat(message="Reading the file again, to go on where it stopped.")
            self._store(path, groups)
        path.unlink(missing_ok=True)

    def _rows(self, path: Path) -> Iterator[Row]:
        return read_rows(path, self.job.file_format)  # type: ignore[arg-type]

    def _begin(self) -> None:
        """Clear away what an earlier, unfinished import of this set left behind."""
        others = PromptImport.objects.filter(set=self.job.set).exclude(status=JobStatus.SUCCEEDED)
        for other in others.exclude(pk=self.job.pk):
            _delete_rows_of(other)
        others.exclude(pk=self.job.pk).update(checked_at=None, step=0, n_added=0)
        _delete_rows_of(self.job)
        notes = []
        if has_byte_order_mark(stored_path(self.job)):
            notes.append("The file began with a byte order mark, which is not part of the first prompt.")
        self._update(step=0, total_steps=None, n_rows=0, n_added=0, n_duplicates=0, n_bad=0, bad_rows=[], notes=notes)
        self.job.step = 0

    def _check(self, path: Path, groups: Groups) -> None:
        """Read every row; stop if one is bad and none may be skipped."""
        n_rows = 0
        report = report_path(self.job)
        draft = report.with_name(f"{report.name}.part")
        with draft.open("w", newline="", encoding="utf-8") as sink:
            writer = csv.writer(sink)
            writer.writerow(["line", "reason", "row"])
            for chunk in _chunks(self._rows(path)):
                n_rows += len(chunk)
                bad = [row for row in chunk if isinstance(row, BadRow)]
                good = [row for row in chunk if isinstance(row, PromptRow)]
                bad += groups.conflicts(good)
                for row in sorted(bad, key=lambda bad_row: bad_row.line):
                    self._note_bad(row, writer)
                self._beat(step=n_rows, message=f"Checking: {n_rows:,} rows read.", n_rows=n_rows, n_bad=self.n_bad)
        draft.replace(report)
        self._update(bad_rows=self.shown, n_bad=self.n_bad, n_rows=n_rows)
        require(n_rows, "The file has no rows.", how="Choose a file that holds prompts.")
        if self.n_bad and not self.job.skip_bad_rows:
            what = "One row" if self.n_bad == 1 else f"{self.n_bad:,} of {n_rows:,} rows"
            raise DomainError(f"{what} cannot be imported, so nothing was.", how="Put them right, or skip them.")
        require(self.n_bad < n_rows, "No row of the file can be imported.", how="The list below says why.")
        self._update(checked_at=Now(), step=0, total_steps=n_rows, message="Storing.")
        self.job.refresh_from_db()

    def _note_bad(self, row: BadRow, writer: Any) -> None:
        self.n_bad += 1
        writer.writerow([row.line, row.reason, inert(row.excerpt)])
        if len(self.shown) < SHOWN_BAD_ROWS:
            self.shown.append({"line": row.line, "reason": row.reason, "excerpt": row.excerpt})

    def _store(self, path: Path, groups: Groups) -> None:
        """Insert the rows that are not stored yet: each chunk and its progress in one transaction."""
        done = self.job.step
        rows = islice(self._rows(path), done, None)
        last = Prompt.objects.filter(set=self.job.set).aggregate(last=Max("number"))["last"] or 0
        for chunk in _chunks(rows):
            done += len(chunk)
            bad_lines = {row.line for row in groups.conflicts([row for row in chunk if isinstance(row, PromptRow)])}
            good = [row for row in chunk if isinstance(row, PromptRow) and row.line not in bad_lines]
            placed = groups.place(good)
            # Nobody else adds to this set meanwhile, so all but the writing is done before the lock is taken.
            fresh = self._without_duplicates(placed)
            prompts = [self._prompt(place, last + number) for number, place in enumerate(fresh, 1)]
            with transaction.atomic():
                self._beat(step=done, message=f"Storing: {done:,} of {self.job.n_rows:,} rows.")
                Prompt.objects.bulk_create(prompts)
                self._update(n_added=F("n_added") + len(fresh), n_duplicates=F("n_duplicates") + len(good) - len(fresh))
            last += len(fresh)
        self._end()

    def _without_duplicates(self, placed: Sequence[Placed]) -> list[Placed]:
        there = set(
            Prompt.objects.filter(set=self.job.set, content_sha256__in={place.content for place in placed}).values_list(
                "content_sha256", flat=True
            )
        )
        fresh = []
        for place in placed:
            if place.content not in there:
                there.add(place.content)
                fresh.append(place)
        return fresh

    def _prompt(self, place: Placed, number: int) -> Prompt:
        row = place.row
        return Prompt(
            set_id=self.job.set_id,
            brought_by_id=self.job.pk,
            number=number,
            messages=row.messages,
            following_turns=row.following_turns,
            content_sha256=place.content,
            group_sha256=place.group,
            split=place.split,
            tags=row.tags,
            note=row.note,
            reference=row.reference,
            metadata=row.metadata,
            random=seed_from("random order", place.content),
        )

    def _end(self) -> None:
        """Make the rows visible: the set's count and the end of the job in one transaction."""
        self.job.refresh_from_db()
        message = f"{self.job.n_added:,} prompts imported."
        with transaction.atomic():
            PromptSet.objects.filter(pk=self.job.set_id).update(n_prompts=F("n_prompts") + self.job.n_added)
            if not finish(self.job, self.token, message=message):
                raise Stopped(is_ours=False)
            if self.job.status != JobStatus.SUCCEEDED:  # cancelled in its last moment
                transaction.set_rollback(True)
        if self.job.status != JobStatus.SUCCEEDED:
            self.job.refresh_from_db()
            raise Stopped(is_ours=True)

    def take_back(self) -> None:
        """Delete what this import stored; it was visible to nobody."""
        if self._update(checked_at=None, n_added=0):
            _delete_rows_of(self.job)

    def _update(self, **changes: Any) -> bool:
        return bool(PromptImport.objects.filter(pk=self.job.pk, lease_token=self.token).update(**changes))

    def _beat(self, **progress: Any) -> None:
        pulse = beat(self.job, self.token, seconds=LEASE_SECONDS, **progress)
        if not pulse.alive or pulse.cancel:
            raise Stopped(is_ours=pulse.alive)


def _delete_rows_of(job: PromptImport) -> None:
    while ids := list(Prompt.objects.filter(brought_by=job).values_list("pk", flat=True)[:CHUNK_ROWS]):
        Prompt.objects.filter(pk__in=ids).delete()


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, CHUNK_ROWS)):
        yield chunk


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
