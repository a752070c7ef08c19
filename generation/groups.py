"""Which side of the border between training and holdout a prompt lies on, in files of any size."""

import re
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.bulk import among
from core.ids import content_sha256, group_sha256, split_for
from core.jobs import JobStatus
from core.reading import BadRow
from core.uploads import uploads
from generation.models import Prompt, PromptImport, PromptSet
from generation.prompt_readers import PromptRow

Split = Literal["train", "holdout"]
HASH = re.compile(r"[0-9a-f]{64}")


@dataclass
class Placed:
    """A row with what identifies it."""

    row: PromptRow
    content: str
    group: str
    split: Split


class Groups:
    """Which side of the border a group lies on: as a row says, else as the project has it, else by its hash.

    The groups whose side the file names are kept in a scratch file, so that memory stays flat over a million rows.
    """

    def __init__(self, project_id: int, *, is_holdout_only: bool = False, file: Path | None = None) -> None:
        """``file`` is a scratch file of the caller's, which it removes; without one it lasts as long as this object."""
        self.project_id, self.is_holdout_only, self.file = project_id, is_holdout_only, file
        self.folder = ""

    def __enter__(self) -> "Groups":
        if self.file is None:
            self.folder = tempfile.mkdtemp(prefix="groups-", dir=uploads())
        self.scratch = sqlite3.connect(self.file or Path(self.folder) / "groups.sqlite3", isolation_level=None)
        self.scratch.execute("PRAGMA journal_mode=OFF")
        self.scratch.execute("PRAGMA synchronous=OFF")
        self.scratch.execute(
            "CREATE TABLE IF NOT EXISTS named (hash BLOB PRIMARY KEY, split TEXT, line INTEGER) WITHOUT ROWID"
        )
        self.has_named = bool(self.scratch.execute("SELECT EXISTS (SELECT 1 FROM named)").fetchone()[0])
        return self

    def __exit__(self, *_: object) -> None:
        self.scratch.close()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def learn(self, rows: Iterable[PromptRow]) -> None:
        """Note the side of every group that a row names one for; the first row decides."""
        named = [(bytes.fromhex(group_of(row)), row.split, row.line) for row in rows if row.split]
        if named:
            self.scratch.execute("BEGIN")
            self.scratch.executemany("INSERT OR IGNORE INTO named VALUES (?, ?, ?)", named)
            self.scratch.execute("COMMIT")
            self.has_named = True

    def _named(self, groups: Iterable[str]) -> dict[str, tuple[Split, int]]:
        keys = [bytes.fromhex(group) for group in groups]
        if not self.has_named:
            return {}
        marks = ",".join("?" * len(keys))
        found = self.scratch.execute(f"SELECT hash, split, line FROM named WHERE hash IN ({marks})", keys)
        return {key.hex(): (split, line) for key, split, line in found}

    def _in_project(self, groups: Iterable[str]) -> dict[str, tuple[Split, str]]:
        """Where the project has a group already, in this set or another; (split, name of the set)."""
        # By the groups alone: asked for the project's, SQLite walks along all of its prompts.
        columns = ("group_sha256", "split", "set_id", "brought_by_id")
        there = list(among(Prompt.objects.all(), "group_sha256", groups).values_list(*columns))
        if not there:
            return {}
        sets = PromptSet.objects.filter(project=self.project_id, pk__in={set_id for _, _, set_id, _ in there})
        names = dict(sets.values_list("pk", "name"))
        imports = PromptImport.objects.filter(pk__in={brought_by for *_, brought_by in there if brought_by})
        hidden = set(imports.exclude(status=JobStatus.SUCCEEDED).values_list("pk", flat=True))
        return {
            group: (split, names[set_id])
            for group, split, set_id, brought_by in there
            if set_id in names and brought_by not in hidden
        }

    def conflicts(self, rows: Sequence[PromptRow], hashes: Sequence[str] = ()) -> list[BadRow]:
        """Rows that would put one group on both sides of the border between training and holdout.

        hashes  of the rows' groups, where the caller has them already
        """
        self.learn(rows)
        by_row = list(zip(rows, hashes or [group_of(row) for row in rows], strict=True))
        groups = {group for _, group in by_row}
        named, there = self._named(groups), self._in_project(groups)
        bad = []
        for row, group in by_row:
            reason = self._conflict(row, named.get(group), there.get(group))
            if reason:
                bad.append(BadRow(row.line, reason, row.first_user_turn[:100]))
        return bad

    def _conflict(self, row: PromptRow, named: tuple[Split, int] | None, there: tuple[Split, str] | None) -> str:
        holdout_only = self.is_holdout_only
        if holdout_only and row.split == "train":
            return "The row says train, but this set is for holdout only."
        if row.split and named and named[0] != row.split:
            return f"The same group is in {named[0]} in line {named[1]}, here in {row.split}."
        wanted = row.split or (named[0] if named else "holdout" if holdout_only else "")
        if there and wanted and there[0] != wanted:
            return f"The same group is in {there[0]} in the prompt set “{there[1]}”, here in {wanted}."
        return ""

    def splits(self, groups: Collection[str]) -> dict[str, Split]:
        """The side of each group, by its hash."""
        if self.is_holdout_only:
            return dict.fromkeys(groups, "holdout")
        named, there = self._named(groups), self._in_project(groups)
        sides: dict[str, Split] = {}
        for group in groups:
            if group in named:
                sides[group] = named[group][0]
            else:
                sides[group] = there[group][0] if group in there else split_for(group)
        return sides

    def place(self, rows: Sequence[PromptRow]) -> list[Placed]:
        """Give each row its hashes and its split."""
        by_row = [(row, group_of(row)) for row in rows]
        sides = self.splits({group for _, group in by_row})
        return [Placed(row, content_sha256(row.messages), group, sides[group]) for row, group in by_row]


def group_of(row: PromptRow) -> str:
    """The hash of a row's group. An export names a group whose name is not kept by ``sha256:`` and that hash."""
    kind, _, digits = row.group.partition(":")
    if kind == "sha256" and HASH.fullmatch(digits):
        return digits
    return group_sha256(row.group or row.first_user_turn)
