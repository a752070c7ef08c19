"""Two frozen datasets side by side: which rows are in one only, which changed, and why. Both are read once, prompt by prompt."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson

from core.errors import require
from training.formats.ballots import SPLITS
from training.formats.files import LINEAGE
from training.models import Snapshot
from training.since import WORDS, why_excluded
from training.snapshots import directory_of

SHOWN = 50
WHY = {
    "new_judgements": "judged since, or not chosen before",
    "gone_judgements": "judgements behind it are not in the other one",
    "turned": "the other answer is chosen now",
    "moved": "it changed sides: training or held out",
    "policy": "the same judgements under another recipe",
}


@dataclass(frozen=True)
class Difference:
    """One pair of answers that the two datasets do not have alike. ``before`` and ``after`` are rows, one of them may be missing."""

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

    @property
    def reasons(self) -> list[tuple[str, str, int]]:
        return [(what, WHY[why], n) for (what, why), n in sorted(self.why.items())]

    @property
    def left_in_words(self) -> list[tuple[str, int]]:
        words = {**WORDS, "not_chosen": "they stand, and the other selection or cap leaves them out"}
        return [(words[why], n) for why, n in self.left.items()]

    @property
    def recipes_differ(self) -> bool:
        mine, other = self.first, self.second
        return (mine.selection, mine.pair_policy) != (other.selection, other.pair_policy)


def compare(first: Snapshot, second: Snapshot) -> Comparison:
    """What the second has that the first has not, and the other way. Raises DomainError where one cannot be read."""
    require(first.project_id == second.project_id, "These datasets belong to two projects.")
    require(first.pk != second.pk, "This is one and the same dataset.", how="Choose another one to compare it with.")
    found = Comparison(first, second)
    for before, after in _merged(_prompts(directory_of(first)), _prompts(directory_of(second))):
        for difference in _differences(before, after, found):
            found.counts[difference.what] += 1
            found.why[difference.what, difference.why] += 1
            if len(found.shown[difference.what]) < SHOWN:
                found.shown[difference.what].append(difference)
    _count_judgements(found)
    return found


# ---- reading ---------------------------------------------------------------------------------------------------------

# One row with its split and the keys of the judgements behind it, under its two answers; several where every vote is a row.
Pair = tuple[str, str]
Rows = dict[Pair, list[dict[str, Any]]]


def _prompts(directory: Path) -> Iterator[tuple[str, Rows]]:
    """(prompt_id, its rows by their two answers), by prompt_id. The lineage holds the rows of both splits in the order of prompts."""
    rows = {split: _lines(directory / f"{split}.jsonl") for split in SPLITS}

    def all_rows() -> Iterator[dict[str, Any]]:
        for entry in _lines(directory / LINEAGE):
            if "kind" not in entry:
                keys = {each["key"] for each in entry["judgements"]}
                yield {**next(rows[entry["split"]]), "split": entry["split"], "judgements": keys}

    for prompt_id, of_prompt in groupby(all_rows(), key=lambda row: str(row["prompt_id"])):
        found: Rows = {}
        for row in of_prompt:
            chosen, rejected = row["chosen"][0]["content"], row["rejected"][0]["content"]
            found.setdefault((min(chosen, rejected), max(chosen, rejected)), []).append(row)
        yield prompt_id, found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            yield orjson.loads(line)


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
    for pair in sorted(before.keys() | after.keys()):
        olds, news = before.get(pair, []), after.get(pair, [])
        same = [row for row in olds if row in news]
        found.counts["same"] += len(same)
        olds, news = [row for row in olds if row not in same], [row for row in news if row not in same]
        for number in range(max(len(olds), len(news))):
            old = olds[number] if number < len(olds) else None
            new = news[number] if number < len(news) else None
            yield _difference(old, new)


def _difference(old: dict[str, Any] | None, new: dict[str, Any] | None) -> Difference:
    mine: set[str] = old["judgements"] if old else set()
    theirs: set[str] = new["judgements"] if new else set()
    n_new, n_gone = len(theirs - mine), len(mine - theirs)
    if old is None:
        return Difference("in", "new_judgements", old, new, n_new, n_gone)
    if new is None:
        return Difference("out", "gone_judgements", old, new, n_new, n_gone)
    if old["chosen"] != new["chosen"]:
        why = "turned"
    elif old["split"] != new["split"]:
        why = "moved"
    else:
        why = "new_judgements" if n_new else "gone_judgements" if n_gone else "policy"
    return Difference("changed", why, old, new, n_new, n_gone)


def _count_judgements(found: Comparison) -> None:
    """Of the judgements: how many joined, and why the ones that left did."""
    theirs = found.second.members.values("judgement_id")
    found.n_joined = found.second.members.exclude(judgement__in=found.first.members.values("judgement_id")).count()
    turn = "judgement__assignment"
    left = found.first.members.exclude(judgement__in=theirs).values_list(
        f"{turn}__current_id", "judgement_id", f"{turn}__current__verdict", f"{turn}__status", f"{turn}__task__status"
    )
    reasons: Counter[str] = Counter()
    for current, judgement, verdict, status, task in left.iterator(chunk_size=2000):
        stands = current == judgement and status == "submitted" and task != "retired"
        reasons["not_chosen" if stands else why_excluded(verdict, status, task)] += 1
    found.left = dict(sorted(reasons.items()))
