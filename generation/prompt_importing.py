"""The worker's part of an import of prompts: check every row, then store them in small transactions, all at once to see.

A row is stored once it is known that none has to keep the others out; what an attempt leaves behind, the next one clears away.
"""

import csv
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Max
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import Project, User
from core.beating import CancelAsked, Keeper, LeaseLost, attempt
from core.bulk import Rows, among, analyze, chunks, keys_from, room_to_write
from core.confidential import first_secret, has_address
from core.counting import counted
from core.csvs import inert
from core.errors import DomainError, require
from core.ids import KEY_LENGTH, seed_from
from core.jobs import JobStatus, cancelled
from core.undisturbed import undisturbed
from core.way import Way
from generation.groups import Groups, Placed
from generation.models import Prompt, PromptImport, PromptSet
from generation.prompt_readers import BadRow, PromptRow, Row, UnreadableFile, has_byte_order_mark, read_rows
from generation.prompts import delete_set, report_path, start_import, stored_path

LEASE_SECONDS = 60.0
CHUNK_ROWS = 1000  # of one transaction: others write in between
POLITE_ROWS = 100  # while they do, on SQLite
SHOWN_BAD_ROWS = 1000


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


def run_import(import_id: int) -> None:
    """Claim the import and do what is left of it. Does nothing where somebody else has it, or where it is over."""
    job = PromptImport.objects.select_related("set__project").filter(pk=import_id).first()
    attempt(job, _import, seconds=LEASE_SECONDS, what="The import")


def _import(job: PromptImport, keeper: Keeper) -> None:
    worker = _Worker(job, keeper)
    try:
        with undisturbed(), room_to_write():
            worker.run()
    except (LeaseLost, OperationalError, InterfaceError):
        raise  # what is stored stays: whoever has the import next goes on from there
    except CancelAsked:
        worker.take_back()
        cancelled(job, keeper.token, message="Cancelled: nothing was imported.")
    except UnreadableFile as problem:
        worker.take_back()
        raise DomainError(problem.sentence, how=problem.how) from None
    except Exception:
        worker.take_back()
        raise


@dataclass
class _Worker:
    """One attempt at an import. Reads the file twice: to check it, and to store it."""

    job: PromptImport
    keeper: Keeper
    n_bad: int = 0
    n_secrets: int = 0
    n_addresses: int = 0
    shown: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> None:
        path = stored_path(self.job)
        require(path.exists(), "The uploaded file is gone.", how="Upload it again.")
        with Groups(self.job.set.project_id, is_holdout_only=self.job.set.is_holdout_only) as groups:
            if self.job.checked_at is None:
                self._begin()
                self._check(path, groups)
            else:
                for chunk in chunks(self._rows(path), CHUNK_ROWS):
                    groups.learn(row for row in chunk if isinstance(row, PromptRow))
                    self.keeper.beat(message="Reading the file again, to go on where it stopped.")
            self._store(path, groups)
        path.unlink(missing_ok=True)

    def _rows(self, path: Path) -> Iterator[Row]:
        """The rows of the file; one that holds what looks like a secret is a bad one, whose report never repeats it."""
        allows_secrets = self.job.options.get("allow_secrets", False)
        for row in read_rows(path, self.job.file_format):  # type: ignore[arg-type]
            if isinstance(row, PromptRow):
                texts = _texts(row)
                self.n_addresses += any(map(has_address, texts))
                if not allows_secrets and (what := first_secret(texts)):
                    self.n_secrets += 1
                    row = BadRow(row.line, f"Quarantined: the row holds what looks like {what}.")
            yield row

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
        self.job.step, self.job.notes = 0, notes

    def _check(self, path: Path, groups: Groups) -> None:
        """Read every row; stop if one is bad and none may be skipped."""
        n_rows = 0
        report = report_path(self.job)
        draft = report.with_name(f"{report.name}.part")
        with draft.open("w", newline="", encoding="utf-8") as sink:
            writer = csv.writer(sink)
            writer.writerow(["line", "reason", "row"])
            for chunk in chunks(self._rows(path), CHUNK_ROWS):
                n_rows += len(chunk)
                bad = [row for row in chunk if isinstance(row, BadRow)]
                good = [row for row in chunk if isinstance(row, PromptRow)]
                bad += groups.conflicts(good)
                for row in sorted(bad, key=lambda bad_row: bad_row.line):
                    self._note_bad(row, writer)
                self.keeper.beat(
                    step=n_rows, message=f"Checking: {counted(n_rows, 'row')} read.", n_rows=n_rows, n_bad=self.n_bad
                )
        draft.replace(report)
        notes = [*self.job.notes, *self._counted()]
        self._update(bad_rows=self.shown, n_bad=self.n_bad, n_rows=n_rows, notes=notes)
        require(n_rows, "The file has no rows.", how="Choose a file that holds prompts.")
        if self.n_bad and not self.job.skip_bad_rows:
            what = "One row" if self.n_bad == 1 else f"{self.n_bad:,} of {n_rows:,} rows"
            raise DomainError(f"{what} cannot be imported, so nothing was.", how="Put them right, or skip them.")
        require(self.n_bad < n_rows, "No row of the file can be imported.", how="The list below says why.")
        self._update(checked_at=Now(), step=0, total_steps=n_rows, message="Storing.")
        self.job.refresh_from_db()

    def _counted(self) -> Iterator[str]:
        if self.n_secrets:
            yield f"Rows quarantined because they hold what looks like a secret: {self.n_secrets:,}."
        if self.n_addresses:
            yield f"Rows with an e-mail address or a telephone number: {self.n_addresses:,}."

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
        table = Rows(
            Prompt, "key", "number", "messages", "following_turns", "content_sha256", "group_sha256", "split", "tags", "note",
            "reference", "metadata", "random",
            set_id=self.job.set_id, brought_by_id=self.job.pk, created_at=timezone.now(),
        )  # fmt: skip
        # On PostgreSQL a transaction of this size keeps nobody waiting.
        way = Way(CHUNK_ROWS, polite=POLITE_ROWS, others=lambda: None)
        while chunk := list(islice(rows, way.most)):
            done += len(chunk)
            found = [row for row in chunk if isinstance(row, PromptRow)]
            bad_lines = {row.line for row in groups.conflicts(found)}
            good = [row for row in found if row.line not in bad_lines]
            # Nobody else adds to this set meanwhile, so all but the writing is done before the lock is taken.
            fresh = self._without_duplicates(groups.place(good))
            prompts = _values(fresh, last + 1)
            with transaction.atomic():
                self.keeper.beat(step=done, message=f"Storing: {done:,} of {self.job.n_rows:,} rows.")
                table.insert(prompts)
                self._update(n_added=F("n_added") + len(fresh), n_duplicates=F("n_duplicates") + len(good) - len(fresh))
            last += len(fresh)
            way.give()
        self._end()

    def _without_duplicates(self, placed: Sequence[Placed]) -> list[Placed]:
        mine = Prompt.objects.filter(set=self.job.set)
        contents = among(mine, "content_sha256", {place.content for place in placed})
        there = set(contents.values_list("content_sha256", flat=True))
        fresh = []
        for place in placed:
            if place.content not in there:
                there.add(place.content)
                fresh.append(place)
        return fresh

    def _end(self) -> None:
        """Make the rows visible: the set's count and the end of the job in one transaction."""
        self.job.refresh_from_db()
        analyze(self.job.n_added, Prompt)
        message = f"{counted(self.job.n_added, 'prompt')} imported."
        with transaction.atomic():
            PromptSet.objects.filter(pk=self.job.set_id).update(n_prompts=F("n_prompts") + self.job.n_added)
            self.keeper.finish(message=message)

    def take_back(self) -> None:
        """Delete what this import stored; it was visible to nobody."""
        if self._update(checked_at=None, n_added=0, message="Nothing was imported."):
            _delete_rows_of(self.job)

    def _update(self, **changes: Any) -> bool:
        return bool(PromptImport.objects.filter(pk=self.job.pk, lease_token=self.keeper.token).update(**changes))


def _delete_rows_of(job: PromptImport) -> None:
    while ids := list(Prompt.objects.filter(brought_by=job).values_list("pk", flat=True)[:CHUNK_ROWS]):
        Prompt.objects.filter(pk__in=ids).delete()


def _texts(row: PromptRow) -> list[str]:
    """All text of a row, wherever it stands."""
    turns = [message["content"] for message in row.messages]
    rest = [json.dumps(row.metadata, ensure_ascii=False)] if row.metadata else []
    return [*turns, *row.following_turns, *row.tags, row.note, row.reference, row.group, *rest]


def _values(placed: Sequence[Placed], first: int) -> list[tuple[Any, ...]]:
    """The columns of ``_store``'s table, as the database takes them."""
    keys = keys_from(secrets.token_bytes(KEY_LENGTH * len(placed)))
    return [
        (
            key, number, json.dumps(place.row.messages), json.dumps(place.row.following_turns), place.content, place.group,
            place.split, json.dumps(place.row.tags), place.row.note, place.row.reference, json.dumps(place.row.metadata),
            seed_from("random order", place.content),
        )
        for key, number, place in zip(keys, count(first), placed, strict=False)
    ]  # fmt: skip
