"""Votes of one prompt, gathered by pair of answers. Pure: the same votes give the same ballots, in whatever order they come."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, NamedTuple

from training.formats.policy import PairPolicy, Pairs

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
Messages = Sequence[Mapping[str, str]]


class Vote(NamedTuple):
    """One judgement of one prompt's answers.

    key        the judgement's
    answers    (text, rank): 1 is best, equal ranks are a tie
    verdict    ranked, tie, both_good or all_bad
    strength   0 ... 1, 0 where it was not asked
    values     of the answers, 0 ... 1 each, where criteria decide: the margin of a pair is their difference
    task       whose answers these are, where a ruling must be told from the votes that it overrules
    write_in   a better answer, written by the person
    vetoed     answers that must not be chosen
    """

    key: str
    split: Split
    prompt_id: str
    prompt: Messages
    answers: Sequence[tuple[str, int]]
    verdict: str
    strength: float = 0.0
    values: tuple[float, ...] = ()
    task: int = 0
    is_ruling: bool = False
    write_in: str = ""
    vetoed: tuple[str, ...] = ()


@dataclass(slots=True)
class Counts:
    """What came of the votes, for the preview and the manifest."""

    rows: Counter[str] = field(default_factory=Counter)
    prompts: Counter[str] = field(default_factory=Counter)
    judgements: Counter[str] = field(default_factory=Counter)
    unpaired: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    n_disputed: int = 0
    n_overlapping: int = 0
    n_meetings: int = 0
    n_agreements: int = 0
    near_duplicates: int = 0
    chosen_chars: int = 0
    rejected_chars: int = 0
    n_chosen_longer: int = 0

    @property
    def agreement(self) -> float | None:
        """How often two judgements of the same pair, each for one answer, are for the same one."""
        return self.n_agreements / self.n_meetings if self.n_meetings else None

    @property
    def lengths(self) -> dict[str, float] | None:
        """Mean characters of chosen and rejected answers, and the share of rows whose chosen one is longer."""
        if not (n := sum(self.rows.values())):
            return None
        return {
            "chosen": round(self.chosen_chars / n, 1),
            "rejected": round(self.rejected_chars / n, 1),
            "chosen_longer": round(self.n_chosen_longer / n, 6),
        }

    def as_json(self) -> dict[str, Any]:
        found = {
            "rows": {split: self.rows[split] for split in SPLITS},
            "prompts": {split: self.prompts[split] for split in SPLITS},
            "judgements": {split: self.judgements[split] for split in SPLITS},
            "dropped": dict(sorted(self.dropped.items())),
            "disputed": self.n_disputed,
            "overlapping": self.n_overlapping,
            "agreement": None if self.agreement is None else round(self.agreement, 6),
            "meetings": self.n_meetings,
            "near_duplicates": self.near_duplicates,
            "lengths": self.lengths,
        }
        if self.unpaired:
            found["unpaired"] = {split: self.unpaired[split] for split in SPLITS}
        return found


def strict_pairs(answers: Sequence[tuple[str, int]], pairs: Pairs = "all") -> tuple[list[tuple[str, str]], int]:
    """(better, worse) texts of one ranking, sorted; and how many were left out for equal texts.

    all         k answers without a tie give k·(k−1)/2 pairs (Ouyang et al. 2022, section 3.5)
    adjacent    of neighbouring ranks only: k−1
    best_worst  the first rank against the last: 1
    The same text on both sides says nothing, nor does a pair that the same ranking has both ways because two of its answers read alike.
    """
    if len(answers) == 2:  # by far the most, and the same whichever pairs are asked for
        (first, rank_a), (second, rank_b) = answers
        if rank_a == rank_b:
            return [], 0
        if first.strip() == second.strip():
            return [], 1
        return [(first, second) if rank_a < rank_b else (second, first)], 0
    found: set[tuple[str, str]] = set()
    n_equal = 0
    place = {rank: number for number, rank in enumerate(sorted({rank for _, rank in answers}))}
    last = len(place) - 1
    for (first, rank_a), (second, rank_b) in combinations(answers, 2):
        if rank_a == rank_b or not _is_asked_for(pairs, sorted((place[rank_a], place[rank_b])), last):
            continue
        if first.strip() == second.strip():
            n_equal += 1
        else:
            found.add((first, second) if rank_a < rank_b else (second, first))
    both_ways = {pair for pair in found if pair[::-1] in found}
    return sorted(found - both_ways), n_equal + len(both_ways) // 2


def _is_asked_for(pairs: Pairs, places: list[int], last: int) -> bool:
    if pairs == "all":
        return True
    return places[1] - places[0] == 1 if pairs == "adjacent" else places == [0, last]


@dataclass(slots=True)
class Ballot:
    """All judgements of one pair of texts (``first`` < ``second``)."""

    first: str
    second: str
    # (judgement key, weight, strength, 0 = for the first, 1 = for the second, None = for neither); without a weight it is no row of
    # its own: the judgement says so, but the recipe does not ask it for this pair
    marks: list[tuple[str, float, float, int | None]] = field(default_factory=list)
    is_asked: bool = True  # whether the pair is one that the recipe asks for

    def sides(self) -> tuple[int, int]:
        """How many judgements are for the first, and for the second."""
        sides = [mark[3] for mark in self.marks]
        return sides.count(0), sides.count(1)

    @property
    def winner(self) -> int | None:
        """Which side more than half of all judgements are for, those for neither among them."""
        n_first, n_second = self.sides()
        most = max(n_first, n_second)
        return None if 2 * most <= len(self.marks) else 0 if n_first > n_second else 1


def ballots_of(votes: Sequence[Vote], policy: PairPolicy, counts: Counts) -> list[Ballot]:
    """The ballots, sorted by their texts; votes in the order given.

    Every judgement counts for every pair that it has seen, whichever pairs are asked for. Where it is neighbouring ranks or the best
    against the worst, they are those of the majority's ranking or, with a row for each judgement, of its own.
    """
    ballots: dict[tuple[str, str], Ballot] = {}
    said: list[_Said] = []
    for vote in votes:
        answers = _with_write_in(vote) if policy.write_ins and vote.write_in else vote.answers
        pairs, n_equal = strict_pairs(answers)
        asked = pairs
        if policy.pairs != "all" and len(answers) > 2:
            neighbours, n_equal = strict_pairs(answers, policy.pairs)
            asked = [pair for pair in neighbours if pair in set(pairs)]  # the others the ranking has both ways
            n_equal += len(neighbours) - len(asked)
        if n_equal:
            counts.dropped["equal_texts"] += n_equal
        tied = sorted(_ties(answers, pairs)) if not pairs or len(answers) > 2 else []
        said.append(_Said(vote, answers, pairs, asked, tied))
    by_majority = (
        policy.aggregation == "majority" and policy.pairs != "all" and any(len(one.answers) > 2 for one in said)
    )
    if by_majority:
        _mark(ballots, said)
        kept = _asked_by_majority(ballots, said, policy.pairs, counts)
        said = [one._replace(asked=[pair for pair in one.pairs if _ordered(*pair) in kept]) for one in said]
        ballots = {}
    _mark(ballots, said)
    if by_majority:
        for pair, ballot in ballots.items():
            ballot.is_asked = pair in kept
    return [ballots[key] for key in sorted(ballots)]


class _Said(NamedTuple):
    """What one vote says: (better, worse) of all its pairs, those of them that are asked for, and its ties."""

    vote: Vote
    answers: Sequence[tuple[str, int]]
    pairs: Sequence[tuple[str, str]]
    asked: Sequence[tuple[str, str]]
    tied: Sequence[tuple[str, str]]


def _ordered(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)


def _mark(ballots: dict[tuple[str, str], Ballot], said: Sequence[_Said]) -> None:
    def ballot(a: str, b: str) -> Ballot:
        key = (a, b) if a < b else (b, a)
        found = ballots.get(key)
        if found is None:
            found = ballots[key] = Ballot(*key)
        return found

    for vote, _, pairs, asked, tied in said:
        weight = 1 / len(asked) if asked else 0.0
        only = None if asked is pairs else set(asked)
        for better, worse in pairs:
            side, own = 0 if better < worse else 1, weight if only is None or (better, worse) in only else 0.0
            ballot(better, worse).marks.append((vote.key, own, _strength(vote, better, worse), side))
        for pair in tied:
            ballot(*pair).marks.append((vote.key, 0.0, 0.0, None))


def _asked_by_majority(
    ballots: Mapping[tuple[str, str], Ballot], said: Sequence[_Said], pairs: Pairs, counts: Counts
) -> set[tuple[str, str]]:
    """Of each set of answers that was judged: the pairs of neighbours, or of best and worst, in the ranking by how many of the others
    each beats by majority (Copeland's). Answers that beat equally many share a rank; a pair of two is always asked for."""
    kept: set[tuple[str, str]] = set()
    for texts in {frozenset(text for text, _ in one.answers) for one in said}:
        wins = dict.fromkeys(texts, 0)
        for pair in combinations(sorted(texts), 2):
            ballot = ballots.get(pair)
            if ballot is not None and (winner := ballot.winner) is not None:
                wins[pair[winner]] += 1
        place = {n: number for number, n in enumerate(sorted(set(wins.values()), reverse=True))}
        if len(texts) > 2 and len(place) == 1 and any(wins.values()):  # as many as each beats, it is beaten by
            counts.dropped["circular"] += sum(wins.values())
        for a, b in combinations(sorted(texts), 2):
            places = sorted((place[wins[a]], place[wins[b]]))
            if len(texts) == 2 or (places[0] != places[1] and _is_asked_for(pairs, places, len(place) - 1)):
                kept.add((a, b))
    return kept


def _with_write_in(vote: Vote) -> list[tuple[str, int]]:
    """The person's own answer above all that were shown; one that is only an answer shown, copied, takes that one's place."""
    own = vote.write_in.strip()
    return [(vote.write_in, 0), *(answer for answer in vote.answers if answer[0].strip() != own)]


def _strength(vote: Vote, better: str, worse: str) -> float:
    if vote.values:
        by_text = {text: value for (text, _), value in zip(vote.answers, vote.values, strict=True)}
        # Whoever wrote an answer anew that was shown puts it first, whatever the criteria say of it.
        return max(0.0, by_text.get(better, 0.0) - by_text.get(worse, 0.0)) if {better, worse} <= set(by_text) else 0.0
    return 0.0 if vote.write_in and vote.write_in == better else vote.strength


def _ties(answers: Sequence[tuple[str, int]], pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    tied = {
        (a, b) if a < b else (b, a)
        for (a, rank_a), (b, rank_b) in combinations(answers, 2)
        if rank_a == rank_b and a != b
    }
    if tied:
        tied -= {(a, b) if a < b else (b, a) for a, b in pairs}
    return iter(tied)


def count_agreement(ballots: Sequence[Ballot], counts: Counts) -> None:
    for ballot in ballots:
        n_first, n_second = ballot.sides()
        n = n_first + n_second
        counts.n_overlapping += len(ballot.marks) >= 2
        counts.n_disputed += bool(n_first and n_second)
        counts.n_meetings += n * (n - 1) // 2
        counts.n_agreements += n_first * (n_first - 1) // 2 + n_second * (n_second - 1) // 2
