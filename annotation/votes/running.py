"""One attempt at an import of votes: claimed, checked, stored, shown; or taken back. ``job`` starts them."""

import os
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F
from django.db.models.functions import Now

from annotation.at_work import newest_event
from annotation.models import VoteImport
from annotation.votes import chunks
from annotation.votes.becoming import lay_out, show, take_back, target_of
from annotation.votes.checking import Checker, Found
from annotation.votes.choices import Choices
from annotation.votes.chunks import Chunk
from annotation.votes.files import remove_scratch, report_path, scratch_path, stored_path
from annotation.votes.formats import read
from annotation.votes.outside import Models
from annotation.votes.storing import WRITTEN, Store
from core.beating import Keeper, LeaseLost, attempt
from core.bulk import analyze, room_to_write, settled_later
from core.counting import counted
from core.errors import DomainError, require
from core.jobs import cancelled, request_cancel
from core.reading import UnreadableFile
from core.undisturbed import undisturbed
from core.way import Way
from generation.groups import Groups
from generation.models import PromptImport

LEASE_SECONDS = 60.0
TELL_SECONDS = 0.25  # between two looks at the job while rows are checked

Progress = Callable[[VoteImport], None]


def run_import(import_id: int, *, progress: Progress | None = None) -> None:
    """Claim the import and do what is left of it. Does nothing where somebody else has it, or where it is over."""
    job = VoteImport.objects.select_related("project", "campaign", "prompt_set", "job").filter(pk=import_id).first()
    attempt(
        job, partial(_import, progress=progress), seconds=LEASE_SECONDS, what="The import",
        cancelled="Cancelled: nothing was imported.",
    )  # fmt: skip


def _import(job: VoteImport, keeper: Keeper, *, progress: Progress | None) -> None:
    """All of it, or nothing: what was stored is taken back, but where another worker or a later attempt goes on with it."""
    worker = _Worker(job, keeper, progress)
    try:
        with undisturbed():
            worker.run()
    except (LeaseLost, OperationalError, InterfaceError):
        raise
    except UnreadableFile as problem:
        worker.undo()
        raise DomainError(problem.sentence, how=problem.how) from None
    except KeyboardInterrupt:  # of a person at a shell
        request_cancel(job)
        worker.undo()
        cancelled(job, keeper.token, message="Stopped: nothing was imported.")
        raise
    except Exception:
        worker.undo()
        raise


class _Worker:
    """One attempt at an import."""

    def __init__(self, job: VoteImport, keeper: Keeper, progress: Progress | None) -> None:
        self.job, self.keeper, self.progress = job, keeper, progress
        self.choices = Choices.parse(job.choices)
        self.tell_at = 0.0
        self.way = Way(chunks.CHUNK_LINES, polite=chunks.POLITE_LINES, others=newest_event)

    def run(self) -> None:
        if self.job.checked_at is None or not scratch_path(self.job, "checked").exists():
            require(stored_path(self.job).exists(), "The uploaded file is gone.", how="Upload it again.")
            self._begin()
            self._check()
        self._store()
        self._end()
        stored_path(self.job).unlink(missing_ok=True)
        remove_scratch(self.job)

    def _begin(self) -> None:
        """Clear away what an earlier attempt left behind."""
        take_back(self.job)
        remove_scratch(self.job)
        self._update(
            step=0, offset=0, total_steps=None, n_rows=0, n_bad=0, bad_rows=[], counts={}, checked_at=None, message="Checking."
        )  # fmt: skip
        self.job.refresh_from_db()

    def _check(self) -> None:
        """The first pass; stops if a row is bad and none may be skipped."""
        groups_file = scratch_path(self.job, "groups")
        with self._groups() as groups:
            checker = Checker(
                groups=groups,
                scratch=scratch_path(self.job, "seen"),
                copy=scratch_path(self.job, "checked"),
                report=report_path(self.job),
                progress=self._checked_so_far,
                allows_secrets=self.choices.allow_secrets,
            )
            found = checker.check(read(stored_path(self.job), self.job.file_format, self.job.mapping))
        _to_disk(groups_file)
        scratch_path(self.job, "seen").unlink(missing_ok=True)
        self._update(
            bad_rows=found.bad,
            n_bad=found.n_bad,
            n_rows=found.n_rows,
            notes=list(dict.fromkeys([*self.job.notes, *_notes_of(found)])),
        )
        require(found.n_rows, "The file has no rows.", how="Choose a file that holds votes.")
        if found.n_bad and not self.job.skip_bad_rows:
            what = "One row" if found.n_bad == 1 else f"{found.n_bad:,} of {found.n_rows:,} rows"
            them = "it" if found.n_bad == 1 else "them"
            raise DomainError(f"{what} cannot be imported, so nothing was.", how=f"Put {them} right, or skip {them}.")
        require(found.n_bad < found.n_rows, "No row of the file can be imported.", how="The list below says why.")
        self._prepare(found)

    def _checked_so_far(self, n_rows: int, n_bad: int) -> None:
        if time.monotonic() < self.tell_at:
            return
        self.tell_at = time.monotonic() + TELL_SECONDS
        self.way.look()  # chunks are read ahead: the first of them are small already where others write
        self._beat(step=n_rows, message=f"Checking: {counted(n_rows, 'row')} read.", n_rows=n_rows, n_bad=n_bad)

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
        done, offset, counts = job.step, job.offset, Counter(job.counts)
        of_set = PromptImport.objects.filter(pk=target.prompts.pk)
        with room_to_write(), settled_later(), self._groups() as groups, Store(target, models, groups) as store:
            ready: Chunk | None = None
            for chunk in chain(store.chunks(scratch_path(job, "checked"), offset, lambda: self.way.most), [None]):
                self.way.give()
                store.prepare(chunk)
                if ready:
                    done, offset = done + ready.n_lines, ready.end
                with transaction.atomic():
                    self._beat(step=done, offset=offset, message=f"Storing: {done:,} of {job.total_steps:,} rows.")
                    store.keep(chunk)
                    if ready:
                        counts.update(store.write(ready))
                        self._update(counts=dict(counts))
                        of_set.update(n_added=F("n_added") + ready.counts["prompts"])
                ready = chunk
        self.job.refresh_from_db()

    def _groups(self) -> Groups:
        return Groups(
            self.job.project_id, is_holdout_only=self.choices.is_holdout_only, file=scratch_path(self.job, "groups")
        )

    def _end(self) -> None:
        """Show everything at once, in the transaction that ends the job."""
        n = self.job.counts.get("votes", 0)
        tasks, answers = self.job.counts.get("tasks", 0), self.job.counts.get("answers", 0)
        what = f"{counted(n, 'vote')} on {counted(tasks, 'task')}" if n else counted(answers, "answer")
        analyze(n or answers, *WRITTEN)
        show_all = show(self.job, self.choices)  # what takes long comes first, outside the transaction
        with transaction.atomic():
            self.keeper.finish(message=f"{what} imported.")
            show_all()

    def undo(self) -> None:
        """Delete what this import stored; it was visible to nobody."""
        if self._update(checked_at=None, offset=0, counts={}, message="Nothing was imported."):
            take_back(self.job)
            remove_scratch(self.job)

    def _update(self, **changes: Any) -> bool:
        return bool(VoteImport.objects.filter(pk=self.job.pk, lease_token=self.keeper.token).update(**changes))

    def _beat(self, **progress: Any) -> None:
        self.keeper.beat(**progress)
        if self.progress:
            for name, value in progress.items():
                setattr(self.job, name, value)
            self.progress(self.job)


def _notes_of(found: Found) -> list[str]:
    notes = []
    if found.n_secrets:
        notes.append(
            f"Quarantined rows that hold what looks like a secret: {found.n_secrets:,}. Take the secrets out, import without "
            "these rows, or have an admin let them in."
        )
    if found.n_addresses:
        notes.append(f"Rows with what looks like an e-mail address or a telephone number: {found.n_addresses:,}.")
    return notes


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
