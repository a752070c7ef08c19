"""Preference rows from votes: TRL's conversational format with an explicit prompt, and how several votes become one row.

Pure: the same votes give the same rows, in whatever order they come. Rows hold no database id; a row's id is a hash of
its prompt and its two answers, and everything is sorted by such hashes.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from core.ids import canonical_json, normalised, sha256_hex

_WORDS = re.compile(r"[^\W_]+")
Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
Messages = Sequence[Mapping[str, str]]
Row = dict[str, Any]

COLUMNS: Mapping[str, str] = {
    "id": "hash of the prompt and both answers",
    "prompt_id": "hash of the prompt's messages",
    "prompt": "messages up to the answer",
    "chosen": "one assistant message: the better answer",
    "rejected": "one assistant message: the other answer",
    "margin": "how much better, 0 to 1; 0 where strength was not asked",
    "n_votes": "judgements of this pair",
    "vote_share": "share of them that say the chosen answer is better",
    "weight": "judgements behind the row; one ranking of k answers is split over its pairs",
}


@dataclass(frozen=True)
class PairPolicy:
    """How votes become rows.

    majority  one row a pair of answers: the answer that more than half of all its judgements prefer. A tie or "both bad"
              is a judgement for neither; pairs without a majority are dropped and counted
    votes     one row for each judgement that prefers one answer; people who disagree give rows both ways
    """

    aggregation: Literal["majority", "votes"] = "majority"

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "PairPolicy":
        """Read the stored form. Raises ValueError with a sentence for what makes no sense."""
        unknown = set(given) - {"aggregation"}
        if unknown:
            raise ValueError(f"A pair policy has no setting {sorted(unknown)[0]!r}.")
        aggregation = given.get("aggregation", "majority")
        if aggregation not in ("majority", "votes"):
            raise ValueError("Votes are merged by majority, or kept as one row each.")
        return cls(aggregation)

    def stored(self) -> dict[str, Any]:
        return {"aggregation": self.aggregation}


@dataclass(frozen=True, slots=True)
class Vote:
    """One judgement of one prompt's answers.

    key       the judgement's
    answers   (text, rank): 1 is best, equal ranks are a tie
    verdict   ranked, tie, both_good or all_bad
    strength  0 ... 1, 0 where it was not asked
    """

    key: str
    split: Split
    prompt_id: str
    prompt: Messages
    answers: Sequence[tuple[str, int]]
    verdict: str
    strength: float = 0.0


@dataclass(slots=True)
class Counts:
    """What came of the votes, for the preview and the manifest."""

    rows: Counter[str] = field(default_factory=Counter)
    prompts: Counter[str] = field(default_factory=Counter)
    judgements: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    n_disputed: int = 0
    n_overlapping: int = 0
    n_meetings: int = 0
    n_agreements: int = 0
    near_duplicates: int = 0

    @property
    def agreement(self) -> float | None:
        """How often two judgements of the same pair, each for one answer, are for the same one."""
        return self.n_agreements / self.n_meetings if self.n_meetings else None

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": {split: self.rows[split] for split in SPLITS},
            "prompts": {split: self.prompts[split] for split in SPLITS},
            "judgements": {split: self.judgements[split] for split in SPLITS},
            "dropped": dict(sorted(self.dropped.items())),
            "disputed": self.n_disputed,
            "overlapping": self.n_overlapping,
            "agreement": None if self.agreement is None else round(self.agreement, 6),
            "near_duplicates": self.near_duplicates,
        }


@dataclass(frozen=True, slots=True)
class Built:
    """One row with what it comes from: (judgement key, weight, what it says of the row: for, against or neither)."""

    split: Split
    row: Row
    lineage: tuple[tuple[str, float, str], ...]


def strict_pairs(answers: Sequence[tuple[str, int]]) -> tuple[list[tuple[str, str]], int]:
    """(better, worse) texts of one ranking, all strict pairs, sorted; and how many were left out for equal texts.

    k answers without a tie give k·(k−1)/2 pairs (Ouyang et al. 2022, section 3.5). The same text on both sides says
    nothing, nor does a pair that the same ranking has both ways because two of its answers read alike.
    """
    pairs: set[tuple[str, str]] = set()
    n_equal = 0
    for (first, rank_a), (second, rank_b) in combinations(answers, 2):
        if rank_a == rank_b:
            continue
        if first.strip() == second.strip():
            n_equal += 1
        else:
            pairs.add((first, second) if rank_a < rank_b else (second, first))
    both_ways = {pair for pair in pairs if pair[::-1] in pairs}
    return sorted(pairs - both_ways), n_equal + len(both_ways) // 2


def rows_of_prompt(votes: Iterable[Vote], policy: PairPolicy, counts: Counts) -> list[Built]:
    """All rows of one prompt, sorted by id; ``counts`` is added to."""
    ordered = sorted(votes, key=lambda vote: vote.key)
    if not ordered:
        return []
    for vote in ordered:
        counts.judgements[vote.split] += 1
        if vote.verdict == "tie" or vote.verdict == "both_good":
            counts.dropped["ties"] += 1
        elif vote.verdict == "all_bad":
            counts.dropped["both_bad"] += 1
    ballots = _ballots(ordered, counts)
    _count_agreement(ballots, counts)
    made = _by_majority(ballots, counts) if policy.aggregation == "majority" else _by_vote(ballots)
    split, first = ordered[0].split, ordered[0]
    prompt = [{"role": m["role"], "content": m["content"]} for m in first.prompt]
    built = sorted(
        (
            Built(split, _row(prompt, first.prompt_id, better, worse, figures), lineage)
            for better, worse, figures, lineage in made
        ),
        key=lambda b: (b.row["id"], b.row["margin"], b.row["weight"], b.lineage),
    )
    _tell_twins_apart(built)
    counts.rows[split] += len(built)
    counts.prompts[split] += bool(built)
    return built


# --- parts ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Ballot:
    """All judgements of one pair of texts (``first`` < ``second``)."""

    first: str
    second: str
    # (judgement key, weight, strength, 0 = for the first, 1 = for the second, None = for neither)
    marks: list[tuple[str, float, float, int | None]] = field(default_factory=list)

    def votes_for(self, side: int) -> int:
        return sum(mark[3] == side for mark in self.marks)


Figures = dict[str, float]
Made = tuple[str, str, Figures, tuple[tuple[str, float, str], ...]]


def _ballots(votes: Sequence[Vote], counts: Counts) -> list[_Ballot]:
    ballots: dict[tuple[str, str], _Ballot] = {}

    def ballot(a: str, b: str) -> _Ballot:
        first, second = sorted((a, b))
        return ballots.setdefault((first, second), _Ballot(first, second))

    for vote in votes:
        pairs, n_equal = strict_pairs(vote.answers)
        counts.dropped["equal_texts"] += n_equal
        decided = {frozenset(pair) for pair in pairs}
        undecided = {
            frozenset((a, b))
            for (a, rank_a), (b, rank_b) in combinations(vote.answers, 2)
            if rank_a == rank_b and a != b
        } - decided
        weight = 1 / len(pairs) if pairs else 0.0
        for better, worse in pairs:
            side = 0 if better < worse else 1
            ballot(better, worse).marks.append((vote.key, weight, vote.strength, side))
        for tied in undecided:
            ballot(*tied).marks.append((vote.key, 0.0, 0.0, None))
    return [ballots[key] for key in sorted(ballots)]


def _count_agreement(ballots: Sequence[_Ballot], counts: Counts) -> None:
    for ballot in ballots:
        n_first, n_second = ballot.votes_for(0), ballot.votes_for(1)
        n = n_first + n_second
        counts.n_overlapping += len(ballot.marks) >= 2
        counts.n_disputed += bool(n_first and n_second)
        counts.n_meetings += n * (n - 1) // 2
        counts.n_agreements += n_first * (n_first - 1) // 2 + n_second * (n_second - 1) // 2


def _by_majority(ballots: Sequence[_Ballot], counts: Counts) -> Iterator[Made]:
    for ballot in ballots:
        n_first, n_second, n_all = ballot.votes_for(0), ballot.votes_for(1), len(ballot.marks)
        winner = 0 if n_first > n_second else 1
        if 2 * max(n_first, n_second) <= n_all:
            if n_first and n_second:
                counts.dropped["contradictory"] += 1
            elif n_first or n_second:
                counts.dropped["no_majority"] += 1
            continue  # all for neither: counted as ties and both bad already
        signed = [strength * (1 if side == winner else -1) for _, _, strength, side in ballot.marks if side is not None]
        figures = {
            "margin": max(0.0, math.fsum(signed) / n_all),
            "n_votes": n_all,
            "vote_share": max(n_first, n_second) / n_all,
            "weight": math.fsum(weight for _, weight, _, _ in ballot.marks),
        }
        lineage = tuple(
            sorted(
                (key, round(weight, 6), "neither" if side is None else "for" if side == winner else "against")
                for key, weight, _, side in ballot.marks
            )
        )
        better, worse = (ballot.first, ballot.second) if winner == 0 else (ballot.second, ballot.first)
        yield better, worse, figures, lineage


def _by_vote(ballots: Sequence[_Ballot]) -> Iterator[Made]:
    for ballot in ballots:
        for key, weight, strength, side in ballot.marks:
            if side is None:
                continue
            better, worse = (ballot.first, ballot.second) if side == 0 else (ballot.second, ballot.first)
            figures = {"margin": strength, "n_votes": 1, "vote_share": 1.0, "weight": weight}
            yield better, worse, figures, ((key, round(weight, 6), "for"),)


def row_id(prompt_id: str, chosen: str, rejected: str) -> str:
    return sha256_hex(canonical_json([prompt_id, chosen, rejected]))[:32]


def _row(prompt: Messages, prompt_id: str, better: str, worse: str, figures: Figures) -> Row:
    return {
        "id": row_id(prompt_id, better, worse),
        "prompt_id": prompt_id[:32],
        "prompt": prompt,
        "chosen": [{"role": "assistant", "content": better}],
        "rejected": [{"role": "assistant", "content": worse}],
        "margin": round(float(figures["margin"]), 6),
        "n_votes": int(figures["n_votes"]),
        "vote_share": round(float(figures["vote_share"]), 6),
        "weight": round(float(figures["weight"]), 6),
    }


def _tell_twins_apart(built: Sequence[Built]) -> None:
    """Rows of equal content, where every vote is a row: the second of them is ``<id>-2``, and so on."""
    seen: Counter[str] = Counter()
    for one in built:
        content = one.row["id"]
        seen[content] += 1
        if seen[content] > 1:
            one.row["id"] = f"{content}-{seen[content]}"


def line_of(row: Row) -> bytes:
    """The row's canonical line, with its line end."""
    return canonical_json(row) + b"\n"


def word_signature(messages: Messages) -> str:
    """Equal for prompts of the same words, whatever their case, order and punctuation."""
    text = normalised(" ".join(m["content"] for m in messages))
    return sha256_hex(" ".join(sorted(set(_WORDS.findall(text)))))
