"""Preference rows from votes: TRL's conversational format with an explicit prompt, and how several votes become one row.

Pure: the same votes give the same rows, in whatever order they come. Rows hold no database id; a row's id is a hash of
its prompt and its answers, and everything is sorted by such hashes.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from core.ids import WORDS, levelled, normalised, sha256_hex
from training.formats.ballots import Ballot, Counts, Messages, Split, Vote, ballots_of, count_agreement
from training.formats.canonical import canonical
from training.formats.policy import PairPolicy

_SYMBOLS = "+*/=<>%^&|~$#@"  # of ASCII: they tell formulas and code apart
_BLANKS = str.maketrans(
    {chr(code): " " for code in range(128) if not chr(code).isalnum() and chr(code) not in _SYMBOLS}
)
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
UNPAIRED_COLUMNS: Mapping[str, str] = {
    "id": "hash of the prompt and the answer",
    "prompt_id": "hash of the prompt's messages",
    "prompt": "messages up to the answer",
    "completion": "one assistant message: the answer",
    "label": "true: called good together with the others shown, false: called bad with them",
    "n_votes": "judgements that call it good or bad",
    "vote_share": "share of them that say what the label says",
}
FLOATS = ("margin", "vote_share", "weight", "share")  # of any line


class Built(NamedTuple):
    """One row with what it comes from: (judgement key, weight, what it says of the row: for, against or neither)."""

    split: Split
    row: Row
    lineage: tuple[tuple[str, float, str], ...]
    kind: Literal["pair", "unpaired"] = "pair"
    is_beaten: bool = False  # its chosen answer lost in a pair that was cut: it is not the best of its prompt


def rows_of_prompt(votes: Iterable[Vote], policy: PairPolicy, counts: Counts) -> list[Built]:
    """All rows of one prompt, pairs before unpaired ones, sorted by id; ``counts`` is added to."""
    ordered = list(votes)
    if len(ordered) > 1:
        ordered.sort(key=lambda vote: vote.key)
    if not ordered:
        return []
    split = ordered[0].split
    counts.judgements[split] += len(ordered)
    standing = _without_overruled(ordered, counts)
    for vote in standing:
        if vote.verdict == "tie" or (vote.verdict == "both_good" and not policy.unpaired):
            counts.dropped["ties"] += 1
        elif vote.verdict == "all_bad" and not policy.unpaired:
            counts.dropped["both_bad"] += 1
        elif vote.verdict == "unscored":
            counts.dropped["unscored"] += 1
    first = standing[0]
    prompt = [{"role": m["role"], "content": m["content"]} for m in first.prompt]
    built: list[Built] = []
    n_prompt = sum([len(m["content"]) for m in prompt])
    vetoed = {text for vote in ordered for text in vote.vetoed}  # whatever else their authors' votes come to
    losers: set[str] = set()
    for better, worse, figures, lineage in _pairs(standing, policy, counts):
        why = _why_dropped(better, worse, figures, n_prompt, vetoed, policy)
        if why != "vetoed":  # to have lost to an answer that must not be chosen is no blemish
            losers.add(worse)
        if why:
            counts.dropped[why] += 1
        else:
            built.append(Built(split, _row(prompt, first.prompt_id, better, worse, figures), lineage))
    if len(built) > 1:
        built.sort(key=lambda b: (b.row["id"], b.row["margin"], b.row["weight"], b.lineage))
    built = _with_beaten(_cut(built, policy, counts), losers)
    if len(built) > 1:
        _tell_twins_apart(built)
    _count_lengths(built, counts)
    counts.rows[split] += len(built)
    unpaired = _unpaired(standing, split, prompt, vetoed, policy, counts) if policy.unpaired else []
    counts.prompts[split] += bool(built)
    return [*built, *unpaired]


# --- parts ------------------------------------------------------------------------------------------------------------

Figures = dict[str, float]
Lineage = tuple[tuple[str, float, str], ...]
Made = tuple[str, str, Figures, Lineage]


def _without_overruled(votes: list[Vote], counts: Counts) -> list[Vote]:
    """Without the votes on a task that an adjudicator has decided."""
    ruled = {vote.task for vote in votes if vote.is_ruling}
    if not ruled:
        return votes
    standing = [vote for vote in votes if vote.is_ruling or vote.task not in ruled]
    counts.dropped["overruled"] += len(votes) - len(standing)
    return standing


def _pairs(votes: Sequence[Vote], policy: PairPolicy, counts: Counts) -> Iterable[Made]:
    if len(votes) == 1 and (only := _of_one_ranking(votes[0])):
        return (only,)
    ballots = ballots_of(votes, policy, counts)
    count_agreement(ballots, counts)
    return _by_majority(ballots, counts) if policy.aggregation == "majority" else _by_vote(ballots)


def _of_one_ranking(vote: Vote) -> Made | None:
    """What most prompts come to, one ranking of two answers, without the ballots: the same by majority and by vote."""
    if len(vote.answers) != 2 or vote.write_in:
        return None
    (better, best), (worse, worst) = vote.answers
    if best == worst or better.strip() == worse.strip():
        return None
    more = vote.values[0] - vote.values[1] if vote.values else 0.0
    if best > worst:
        better, worse, more = worse, better, -more
    margin = max(0.0, more) if vote.values else vote.strength
    figures = {"margin": margin, "n_votes": 1, "vote_share": 1.0, "weight": 1.0, "n_all": 1, "agreement": 1.0}
    return better, worse, figures, ((vote.key, 1.0, "for"),)


def _by_majority(ballots: Sequence[Ballot], counts: Counts) -> Iterator[Made]:
    for ballot in ballots:
        if not ballot.is_asked:
            continue
        (n_first, n_second), n_all, winner = ballot.sides(), len(ballot.marks), ballot.winner
        if winner is None:
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
            "n_all": n_all,
            "agreement": max(n_first, n_second) / n_all,
        }
        lineage = tuple(
            sorted(
                (key, round(weight, 6), "neither" if side is None else "for" if side == winner else "against")
                for key, weight, _, side in ballot.marks
            )
        )
        better, worse = (ballot.first, ballot.second) if winner == 0 else (ballot.second, ballot.first)
        yield better, worse, figures, lineage


def _by_vote(ballots: Sequence[Ballot]) -> Iterator[Made]:
    for ballot in ballots:
        n_all, n_for = len(ballot.marks), ballot.sides()
        for key, weight, strength, side in ballot.marks:
            if side is None or not weight:
                continue
            better, worse = (ballot.first, ballot.second) if side == 0 else (ballot.second, ballot.first)
            figures = {"margin": strength, "n_votes": 1, "vote_share": 1.0, "weight": weight}
            figures |= {"n_all": n_all, "agreement": n_for[side] / n_all}
            yield better, worse, figures, ((key, round(weight, 6), "for"),)


def _why_dropped(better: str, worse: str, figures: Figures, n_prompt: int, vetoed: set[str], policy: PairPolicy) -> str:
    """The first reason against a pair; empty where there is none."""
    if better in vetoed:
        return "vetoed"
    if figures["n_all"] < policy.min_votes:
        return "few_votes"
    if figures["agreement"] < policy.min_agreement:
        return "low_agreement"
    if figures["margin"] < policy.min_strength:
        return "weak"
    if policy.max_chars is not None and n_prompt + max(len(better), len(worse)) > policy.max_chars:
        return "too_long"
    return ""


def _cut(built: list[Built], policy: PairPolicy, counts: Counts) -> list[Built]:
    """Without duplicates and pairs over the cap, where the policy says so. The rows are sorted by id, a hash of their content."""
    if policy.duplicates != "keep":
        seen: dict[tuple[str, ...], tuple[str, ...]] = {}
        left = []
        for one in built:
            texts = [_chosen(one), _rejected(one)]
            alike = [normalised(text) for text in texts]
            if policy.aggregation == "votes":  # those on one pair, for either answer, are no duplicates of each other
                texts.sort()
                alike.sort()
            if seen.setdefault(tuple(alike), tuple(texts)) == tuple(texts):
                left.append(one)
        counts.dropped["duplicates"] += len(built) - len(left)
        built = left
    if policy.max_per_prompt is not None and len(built) > policy.max_per_prompt:
        counts.dropped["over_prompt_cap"] += len(built) - policy.max_per_prompt
        built = built[: policy.max_per_prompt]
    return built


def _with_beaten(built: list[Built], losers: set[str]) -> list[Built]:
    """The rows, those marked whose chosen answer lost in a pair that is no row: nothing else of the dataset says so."""
    hidden = losers.difference(_rejected(one) for one in built)
    return [one._replace(is_beaten=True) if _chosen(one) in hidden else one for one in built] if hidden else built


def _chosen(one: Built) -> str:
    return str(one.row["chosen"][0]["content"])


def _rejected(one: Built) -> str:
    return str(one.row["rejected"][0]["content"])


def _count_lengths(built: Sequence[Built], counts: Counts) -> None:
    for one in built:
        n_chosen, n_rejected = len(_chosen(one)), len(_rejected(one))
        counts.chosen_chars += n_chosen
        counts.rejected_chars += n_rejected
        counts.n_chosen_longer += n_chosen > n_rejected


def _unpaired(
    votes: Sequence[Vote], split: Split, prompt: Messages, vetoed: set[str], policy: PairPolicy, counts: Counts
) -> list[Built]:
    """A row for each answer that was called good, or bad, together with all others shown; none where people are split evenly."""
    n_prompt = sum(len(message["content"]) for message in prompt)
    said: dict[str, list[tuple[str, bool]]] = {}
    for vote in votes:
        if vote.verdict in ("both_good", "all_bad"):
            for text in {text for text, _ in vote.answers}:
                said.setdefault(text, []).append((vote.key, vote.verdict == "both_good"))
    found = []
    for text, marks in said.items():
        n_good = sum(is_good for _, is_good in marks)
        if 2 * n_good == len(marks):
            continue
        label = 2 * n_good > len(marks)
        share = max(n_good, len(marks) - n_good) / len(marks)
        if why := _why_alone_dropped(text, label, len(marks), share, n_prompt, vetoed, policy):
            counts.dropped[why] += 1
            continue
        lineage = tuple(sorted((key, 1.0, "for" if is_good == label else "against") for key, is_good in marks))
        row = _unpaired_row(prompt, votes[0].prompt_id, text, label, lineage)
        found.append(Built(split, row, lineage, "unpaired"))
    counts.unpaired[split] += len(found)
    return sorted(found, key=lambda one: str(one.row["id"]))


def _why_alone_dropped(
    text: str, label: bool, n_votes: int, share: float, n_prompt: int, vetoed: set[str], policy: PairPolicy
) -> str:
    """The first reason against an answer without a pair; empty where there is none. A bad example may be one that is vetoed."""
    if label and text in vetoed:
        return "alone_vetoed"
    if n_votes < policy.min_votes:
        return "alone_few_votes"
    if share < policy.min_agreement:
        return "alone_low_agreement"
    if policy.max_chars is not None and n_prompt + len(text) > policy.max_chars:
        return "alone_too_long"
    return ""


def _unpaired_row(prompt: Messages, prompt_id: str, text: str, label: bool, lineage: Lineage) -> Row:
    return {
        "id": sha256_hex(canonical([prompt_id, text], floats=()))[:32],
        "prompt_id": prompt_id[:32],
        "prompt": prompt,
        "completion": [{"role": "assistant", "content": text}],
        "label": label,
        "n_votes": len(lineage),
        "vote_share": round(sum(says == "for" for _, _, says in lineage) / len(lineage), 6),
    }


def row_id(prompt_id: str, chosen: str, rejected: str) -> str:
    return sha256_hex(canonical([prompt_id, chosen, rejected], floats=()))[:32]


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
    return canonical(row, floats=[row[name] for name in FLOATS if name in row]) + b"\n"


def word_signature(messages: Messages) -> str:
    """Equal for prompts of the same words and symbols, whatever their case, order and punctuation."""
    text = levelled(" ".join(m["content"] for m in messages))
    words = text.translate(_BLANKS).split() if text.isascii() else WORDS.findall(text)
    return sha256_hex(" ".join(sorted(set(words))) or text.strip())
