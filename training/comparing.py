"""Two frozen datasets side by side: which rows are in one only, which changed, and why. Both are read once, prompt by prompt.

What was found can be kept without any text: where the rows shown stand in the files is enough to read them again.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from django.db.models import Exists, OuterRef

from core.errors import require
from training.formats.files import LINEAGE, UNPAIRED, name_of, names_of
from training.models import Snapshot
from training.since import WORDS, why_excluded
from training.snapshots import directory_of

SHOWN = 50
BEAT_PROMPTS = 1000
WHY = {
    "new_judgements": "judged since, or not chosen before",
    "gone_judgements": "judgements behind it are not in the other one",
    "turned": "the other answer is chosen now",
    "turned_good": "called good instead of bad",
    "turned_bad": "called bad instead of good",
    "moved": "it changed sides: training or held out",
    "policy": "the same judgements under another recipe",
    "others": "other judgements joined or left: a majority, a limit or a duplicate decides otherwise now",
}


@dataclass(frozen=True)
class Difference:
    """A pair of answers, or an answer without a pair, that the two datasets do not have alike.

    ``before`` and ``after`` are rows, one of them may be missing.
    """

    what: str  # in, out or changed
    why: str  # a key of WHY
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    n_new: int  # judgements behind it that only the later one has
    n_gone: int

    @property
    def words(self) -> str:
        return WHY[self.why]

    @property
    def row(self) -> dict[str, Any]:
        found = self.after or self.before
        assert found is not None
        return found

    @property
    def kind(self) -> str:
        return _kind_of(self.row)


class Keys:
    """Keys of judgements, eight bytes each, however many there are."""

    def __init__(self) -> None:
        self._digests = array("Q")
        self._sorted: np.ndarray[Any, np.dtype[np.uint64]] | None = None

    def add(self, key: str) -> None:
        self._digests.append(_digest(key))

    def __len__(self) -> int:
        return len(self._digests)

    def has_any(self, keys: Iterable[str]) -> bool:
        if not self._digests:
            return False
        if self._sorted is None:
            self._sorted = np.sort(np.frombuffer(self._digests, np.uint64))
        wanted = np.fromiter(map(_digest, keys), np.uint64)
        places = np.searchsorted(self._sorted, wanted)
        inside = places < len(self._sorted)
        return bool((self._sorted[places[inside]] == wanted[inside]).any())


def _digest(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())


@dataclass
class Comparison:
    """How the second differs from the first.

    counts  rows: in, out, changed, same
    why     (what, why) -> rows
    left    judgements of the first that the second has not, by what became of them
    """

    first: Snapshot
    second: Snapshot
    counts: Counter[str] = field(default_factory=Counter)
    why: Counter[tuple[str, str]] = field(default_factory=Counter)
    shown: dict[str, list[Difference]] = field(default_factory=lambda: {"in": [], "out": [], "changed": []})
    left: dict[str, int] = field(default_factory=dict)
    n_joined: int = 0
    joined: Keys = field(default_factory=Keys)  # judgements of the second that the first has not
    gone: Keys = field(default_factory=Keys)  # and of the first that the second has not

    @cached_property
    def why_else(self) -> str:
        """The reason where a row's own judgements are in both."""
        return "policy" if self.settings else "others"

    @property
    def reasons(self) -> list[tuple[str, str, int]]:
        return [(what, WHY[why], n) for (what, why), n in sorted(self.why.items())]

    @property
    def left_in_words(self) -> list[tuple[str, int]]:
        words = {**WORDS, "not_chosen": "they stand, and the other selection or cap leaves them out"}
        return [(words[why], n) for why, n in self.left.items()]

    @property
    def settings(self) -> list[tuple[str, Any, Any]]:
        """Those of the recipes that differ: name, then what the first and the second have; None where one has no such setting."""
        mine, other = ({**each.selection, **each.pair_policy} for each in (self.first, self.second))
        return [
            (name, mine.get(name), other.get(name)) for name in {**mine, **other} if mine.get(name) != other.get(name)
        ]


def require_comparable(first: Snapshot, second: Snapshot) -> tuple[Path, Path]:
    """Where the files of both lie. Raises DomainError where they cannot be compared."""
    require(first.project_id == second.project_id, "These datasets belong to two projects.")
    require(first.pk != second.pk, "This is one and the same dataset.", how="Choose another one to compare it with.")
    return directory_of(first), directory_of(second)


def compare(first: Snapshot, second: Snapshot, *, beat: Callable[[int], None] = lambda n_bytes: None) -> Comparison:
    """What the second has that the first has not, and the other way. Raises DomainError where one cannot be read.

    beat  called now and then with the bytes read of both; may raise
    """
    files = [_Files(directory) for directory in require_comparable(first, second)]
    found = Comparison(first, second)
    _count_judgements(found)
    for number, (before, after) in enumerate(_merged(*(each.prompts() for each in files))):
        if number % BEAT_PROMPTS == 0:
            beat(sum(each.n_read for each in files))
        for difference in _differences(before, after, found):
            found.counts[difference.what] += 1
            found.why[difference.what, difference.why] += 1
            if len(found.shown[difference.what]) < SHOWN:
                found.shown[difference.what].append(difference)
    return found


# ---- reading ---------------------------------------------------------------------------------------------------------


class Line(dict[str, Any]):
    """One row with its split and the keys of the judgements behind it; ``at`` is where its line begins in its file."""

    at: int = 0


# Under its two answers, several where every vote is a row; a row without a pair under its one.
Answers = tuple[str, ...]
Rows = dict[Answers, list[Line]]


def _kind_of(row: Mapping[str, Any]) -> str:
    return UNPAIRED if "completion" in row else "pair"


def _answers_of(row: Mapping[str, Any]) -> Answers:
    names = ("completion",) if _kind_of(row) == UNPAIRED else ("chosen", "rejected")
    return tuple(sorted(row[name][0]["content"] for name in names))


class _Files:
    """The files of one dataset. ``n_read`` grows with the bytes that were read."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.n_read = directory, 0

    def prompts(self) -> Iterator[tuple[str, Rows]]:
        """(prompt_id, its rows by their answers), by prompt_id. The lineage holds all rows in the order of prompts."""
        for prompt_id, of_prompt in groupby(self._rows(), key=lambda row: str(row["prompt_id"])):
            found: Rows = {}
            for row in of_prompt:
                found.setdefault(_answers_of(row), []).append(row)
            yield prompt_id, found

    def _rows(self) -> Iterator[Line]:
        # A file is opened when the lineage first names a row of it: datasets without unpaired rows may have no file for them.
        rows = {name: self._lines(f"{name}.jsonl") for name in names_of(with_unpaired=True)}
        for _, entry in self._lines(LINEAGE):
            at, row = next(rows[name_of(entry["split"], entry.get("kind", "pair"))])
            line = Line(row, split=entry["split"], judgements={each["key"] for each in entry["judgements"]})
            line.at = at
            yield line

    def _lines(self, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
        at = 0
        with (self.directory / name).open("rb") as file:
            for line in file:
                yield at, orjson.loads(line)
                at += len(line)
                self.n_read += len(line)


def bytes_of(*directories: Path) -> int:
    """How many bytes a comparison reads."""
    names = [*(f"{name}.jsonl" for name in names_of(with_unpaired=True)), LINEAGE]
    paths = [directory / name for directory in directories for name in names]
    return sum(path.stat().st_size for path in paths if path.exists() or not path.name.startswith(UNPAIRED))


def _merged(first: Iterator[tuple[str, Rows]], second: Iterator[tuple[str, Rows]]) -> Iterator[tuple[Rows, Rows]]:
    """The rows of each prompt in both, in the order of the prompts' hashes."""
    before, after = next(first, None), next(second, None)
    while before or after:
        if after is None or (before is not None and before[0] < after[0]):
            assert before is not None
            yield before[1], {}
            before = next(first, None)
        elif before is None or after[0] < before[0]:
            yield {}, after[1]
            after = next(second, None)
        else:
            yield before[1], after[1]
            before, after = next(first, None), next(second, None)


# ---- why -------------------------------------------------------------------------------------------------------------


def _differences(before: Rows, after: Rows, found: Comparison) -> Iterator[Difference]:
    for answers in sorted(before.keys() | after.keys(), key=lambda answers: (-len(answers), answers)):  # pairs first
        olds, news = before.get(answers, []), after.get(answers, [])
        same = [row for row in olds if row in news]
        found.counts["same"] += len(same)
        olds, news = [row for row in olds if row not in same], [row for row in news if row not in same]
        for number in range(max(len(olds), len(news))):
            old = olds[number] if number < len(olds) else None
            new = news[number] if number < len(news) else None
            yield _difference(old, new, found)


def _difference(old: dict[str, Any] | None, new: dict[str, Any] | None, found: Comparison) -> Difference:
    """A judgement that is not behind the row may be in the dataset all the same: then it is the recipe."""
    mine: set[str] = old["judgements"] if old else set()
    theirs: set[str] = new["judgements"] if new else set()
    n_new, n_gone = len(theirs - mine), len(mine - theirs)
    joined, left = found.joined.has_any(theirs - mine), found.gone.has_any(mine - theirs)
    if old is None:
        return Difference("in", "new_judgements" if joined else found.why_else, old, new, n_new, n_gone)
    if new is None:
        return Difference("out", "gone_judgements" if left else found.why_else, old, new, n_new, n_gone)
    if turned := _turned(old, new):
        why = turned
    elif old["split"] != new["split"]:
        why = "moved"
    else:
        why = "new_judgements" if joined else "gone_judgements" if left else found.why_else
    return Difference("changed", why, old, new, n_new, n_gone)


def _turned(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Why two rows of the same answers say the opposite; empty where they do not."""
    if _kind_of(new) == UNPAIRED:
        return "" if old["label"] == new["label"] else "turned_good" if new["label"] else "turned_bad"
    return "turned" if old["chosen"] != new["chosen"] else ""


def _count_judgements(found: Comparison) -> None:
    """Which judgements joined, which left, and why."""
    first, second = found.first.members, found.second.members
    # NOT EXISTS, because PostgreSQL joins it whatever the size; of a NOT IN that outgrows its memory it makes a loop.
    joined = second.exclude(Exists(first.filter(judgement=OuterRef("judgement")))).values_list(
        "judgement__key", flat=True
    )
    for key in joined.iterator(chunk_size=2000):
        found.joined.add(key)
    found.n_joined = len(found.joined)
    turn = "judgement__assignment"
    left = first.exclude(Exists(second.filter(judgement=OuterRef("judgement")))).values_list(
        "judgement__key",
        f"{turn}__current_id",
        "judgement_id",
        f"{turn}__current__verdict",
        f"{turn}__status",
        f"{turn}__task__status",
    )
    reasons: Counter[str] = Counter()
    for key, current, judgement, verdict, status, task in left.iterator(chunk_size=2000):
        found.gone.add(key)
        stands = current == judgement and status == "submitted" and task != "retired"
        reasons["not_chosen" if stands else why_excluded(verdict, status, task)] += 1
    found.left = dict(sorted(reasons.items()))


# ---- keeping ---------------------------------------------------------------------------------------------------------


def stored(found: Comparison) -> dict[str, Any]:
    """What was found as JSON, without a text: of the rows shown only where they stand."""

    def place(row: dict[str, Any] | None) -> list[Any] | None:
        if not isinstance(row, Line):
            return None
        kind = _kind_of(row)
        return [row["split"], row.at] if kind == "pair" else [row["split"], row.at, kind]

    return {
        "counts": dict(found.counts),
        "why": [[what, why, n] for (what, why), n in sorted(found.why.items())],
        "left": found.left,
        "n_joined": found.n_joined,
        "shown": [
            [each.what, each.why, place(each.before), place(each.after), each.n_new, each.n_gone]
            for shown in found.shown.values()
            for each in shown
        ],
    }


def read_stored(first: Snapshot, second: Snapshot, kept: Mapping[str, Any]) -> Comparison:
    """What was found, with the rows shown read from the files. Raises DomainError where those are gone."""
    found = Comparison(first, second, Counter(kept["counts"]), left=kept["left"], n_joined=kept["n_joined"])
    found.why.update({(what, why): n for what, why, n in kept["why"]})
    older, newer = require_comparable(first, second)
    for what, why, before, after, n_new, n_gone in kept["shown"]:
        rows = _row_at(older, before), _row_at(newer, after)
        found.shown[what].append(Difference(what, why, rows[0], rows[1], n_new, n_gone))
    return found


def _row_at(directory: Path, place: Sequence[Any] | None) -> dict[str, Any] | None:
    """place  split, where the line begins, and the kind of a row that is no pair"""
    if place is None:
        return None
    split, at, *kind = place
    with (directory / f"{name_of(split, *kind)}.jsonl").open("rb") as file:
        file.seek(at)
        return {**orjson.loads(file.readline()), "split": split}
