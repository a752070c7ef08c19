"""Which answers are compared: pure functions from the answers of one prompt to sets, and from sets to a reproducible draw.

Nothing here touches the database, and nothing depends on its order: the same answers give the same tasks.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as fields_of
from itertools import combinations
from math import comb
from typing import Any, Literal

from annotation.protocol import MAX_ANSWERS
from annotation.texts import NEAR, distinct, is_near, leaks, names_itself
from core.ids import keys_sha256, seed_from, sha256_hex

Kind = Literal["within", "across", "baseline", "random"]
KINDS = ("within", "across", "baseline", "random")
# Why one answer is left out; ``truncated`` is the one that is off unless asked for.
REASONS = ("empty", "leaking", "naming", "truncated")
BY_DEFAULT = ("empty", "leaking", "naming")
MOST_TRIES = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """One candidate as far as comparing is concerned."""

    pk: int
    key: str
    arm: int
    model: str
    text: str


@dataclass(frozen=True, slots=True)
class Pairing:
    """How answers meet.

    pairs      ``within`` one arm · ``across`` arms · ``baseline``: a version against every other one · ``random``: any two
    baseline   the model version's key, for ``baseline``
    per_prompt the most sets of one prompt; None for all pairs, and for larger sets as many as share no answer
    max_tasks  the most sets of all; every prompt has its first before one has its second
    n_answers  2 for pairs; up to 9 where answers are ranked or rated (a prompt with fewer gives a smaller set)
    leave_out  which answers stay out: empty, leaking, naming, truncated
    near       likeness from which two answers count as the same (see ``texts.likeness``); 0 lets all but equal ones meet
    new, old   keys of the version that is tried and of the one before, for tasks of new against old
    """

    pairs: Kind = "within"
    baseline: str = ""
    per_prompt: int | None = None
    max_tasks: int | None = None
    n_answers: int = 2
    leave_out: tuple[str, ...] = BY_DEFAULT
    near: float = NEAR
    new: str = ""
    old: str = ""

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Pairing":
        """Read the stored form. Raises ValueError with a sentence for what makes no sense."""
        unknown = set(given) - {field.name for field in fields_of(cls)}
        if unknown:
            raise ValueError(f"A pairing has no setting {sorted(unknown)[0]!r}.")
        kind, baseline = given.get("pairs", "within"), given.get("baseline") or ""
        if kind not in KINDS:
            raise ValueError("Answers meet within an arm, across arms, against a baseline, or at random.")
        if kind == "baseline" and not baseline:
            raise ValueError("Choose the version that the others are compared with.")
        numbers: dict[str, int | None] = {}
        for name in ("per_prompt", "max_tasks"):
            number = given.get(name)
            if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
                raise ValueError("The number of comparisons must be a whole number from 1.")
            numbers[name] = number
        n_answers, near = given.get("n_answers") or 2, given.get("near", NEAR)
        if not isinstance(n_answers, int) or not 2 <= n_answers <= MAX_ANSWERS:
            raise ValueError(f"Two to {MAX_ANSWERS} answers are shown together.")
        leave_out = tuple(given.get("leave_out", BY_DEFAULT))
        if not set(leave_out) <= set(REASONS):
            raise ValueError(f"Answers are left out that are {', '.join(REASONS)}.")
        if not isinstance(near, int | float) or not (near == 0 or 0.5 <= near <= 1):
            raise ValueError("Answers count as nearly the same from a likeness of 0.5 to 1; 0 switches it off.")
        return cls(
            pairs=kind,
            baseline=baseline if kind == "baseline" else "",
            n_answers=n_answers,
            leave_out=tuple(reason for reason in REASONS if reason in leave_out),
            near=float(near),
            new=given.get("new") or "",
            old=given.get("old") or "",
            **numbers,
        )

    def stored(self) -> dict[str, Any]:
        plain: dict[str, Any] = {"pairs": self.pairs}
        for field in fields_of(self):
            value = getattr(self, field.name)
            if value != field.default:
                plain[field.name] = list(value) if isinstance(value, tuple) else value
        return plain


def reason_to_leave_out(
    text: str, leave_out: Collection[str] = BY_DEFAULT, *, own_names: Collection[str] = (), is_truncated: bool = False
) -> str:
    """The first reason of ``leave_out`` that holds for an answer; "" where none does."""
    if not text.strip():
        return "empty" if "empty" in leave_out else ""
    if "leaking" in leave_out and leaks(text):
        return "leaking"
    if "naming" in leave_out and names_itself(text, own_names):
        return "naming"
    return "truncated" if is_truncated and "truncated" in leave_out else ""


def set_sha256(keys: Iterable[str]) -> str:
    """The identity of a task: its candidates' keys, whatever their order and their texts."""
    return keys_sha256(keys)


def _belongs(first: Answer, second: Answer, pairing: Pairing) -> bool:
    if pairing.pairs == "within":
        return first.arm == second.arm
    if pairing.pairs == "across":
        return first.arm != second.arm
    if pairing.pairs == "random":
        return True
    return (first.model == pairing.baseline) != (second.model == pairing.baseline)


@dataclass(frozen=True, slots=True)
class Found:
    """What the answers of one prompt give: the sets in the order of the draw, and out of how many they were taken."""

    sets: list[tuple[Answer, ...]]
    n_eligible: int
    left_out: Counter[str]


def sets_of_prompt(answers: Sequence[Answer], pairing: Pairing, *, salt: str) -> Found:
    """All sets of one prompt's answers that may be asked about.

    The answers of a set stand in the order of their keys, which are random: it says nothing of the models.
    """
    if pairing.n_answers == 2:
        pairs, left_out = pairs_of_prompt(answers, pairing, salt=salt)
        return Found(list(pairs[: pairing.per_prompt]), len(pairs), left_out)
    return _larger_sets(answers, pairing, salt=salt)


def pairs_of_prompt(
    answers: Sequence[Answer], pairing: Pairing, *, salt: str
) -> tuple[list[tuple[Answer, Answer]], Counter[str]]:
    """All pairs of one prompt's answers in the order of the draw, and how many were left out, by reason.

    Equal texts cannot be compared; of pairs with the same two texts one is kept, for a second would ask the same again.
    """
    pairs = [
        (first, second)
        for first, second in combinations(sorted(answers, key=lambda answer: answer.key), 2)
        if _belongs(first, second, pairing)
    ]
    return _worth_asking(pairs, pairing, salt=salt)


def new_against_old(
    answers: Sequence[Answer], pairing: Pairing, *, salt: str
) -> tuple[list[tuple[Answer, Answer]], Counter[str]]:
    """Pairs of an answer by the new version and one by the old, whatever the pairing of the other tasks."""
    ours, theirs = ([a for a in answers if a.model == model] for model in (pairing.new, pairing.old))
    pairs = [(min(a, b, key=_key), max(a, b, key=_key)) for a in ours for b in theirs]
    return _worth_asking(pairs, pairing, salt=f"{salt}:regression")


def _key(answer: Answer) -> str:
    return answer.key


def _worth_asking(
    pairs: list[tuple[Answer, Answer]], pairing: Pairing, *, salt: str
) -> tuple[list[tuple[Answer, Answer]], Counter[str]]:
    left_out: Counter[str] = Counter()
    kept: list[tuple[Answer, Answer]] = []
    seen: set[frozenset[str]] = set()
    for first, second in sorted(pairs, key=lambda pair: sha256_hex(f"{salt}:{set_sha256(map(_key, pair))}")):
        texts = frozenset((first.text.strip(), second.text.strip()))
        if len(texts) == 1:
            left_out["equal"] += 1
        elif texts in seen:
            left_out["repeated"] += 1
        elif is_near(first.text, second.text, pairing.near):
            left_out["near"] += 1
        else:
            seen.add(texts)
            kept.append((first, second))
    return kept, left_out


# ---- more than two -----------------------------------------------------------------------------------------------------


def _larger_sets(answers: Sequence[Answer], pairing: Pairing, *, salt: str) -> Found:
    """Sets of three to nine. Of answers that say the same one may stand in them; the rest is counted as ``same``."""
    left_out: Counter[str] = Counter()
    found: list[tuple[Answer, ...]] = []
    n_eligible = 0
    for group in _groups(answers, pairing):
        ordered = sorted(group, key=lambda answer: sha256_hex(f"{salt}:{answer.key}"))
        kept = [ordered[position] for position in distinct([a.text for a in ordered], pairing.near)]
        left_out["same"] += len(ordered) - len(kept)
        n_eligible += _n_sets(kept, pairing)
        found += _drawn_sets(kept, pairing, salt)
    found.sort(key=lambda chosen: sha256_hex(f"{salt}:{set_sha256(map(_key, chosen))}"))
    return Found(found[: pairing.per_prompt], n_eligible, +left_out)


def _groups(answers: Sequence[Answer], pairing: Pairing) -> list[list[Answer]]:
    """Answers that may stand in one set: those of one arm, or all."""
    if pairing.pairs != "within":
        return [list(answers)]
    by_arm: dict[int, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_arm[answer.arm].append(answer)
    return [by_arm[arm] for arm in sorted(by_arm)]


def _drawn_sets(answers: Sequence[Answer], pairing: Pairing, salt: str) -> list[tuple[Answer, ...]]:
    """First sets that share no answer, then, where more are wanted, others that differ from all before."""
    found: dict[str, tuple[Answer, ...]] = {}
    used: set[str] = set()
    wanted = pairing.per_prompt
    for number in range(MOST_TRIES * (wanted or len(answers) or 1)):
        fresh = [answer for answer in answers if answer.key not in used]
        chosen = _one_set(fresh, pairing, f"{salt}:{number}")
        if (
            len(chosen) < min(pairing.n_answers, len(answers)) and found
        ):  # not another whole set without an answer twice
            if wanted is None:
                break
            chosen = _one_set(answers, pairing, f"{salt}:{number}")
        if len(chosen) < 2:
            break
        used.update(map(_key, chosen))
        found.setdefault(set_sha256(map(_key, chosen)), tuple(sorted(chosen, key=_key)))
        if wanted is not None and len(found) >= wanted:
            break
    return list(found.values())


def _one_set(answers: Sequence[Answer], pairing: Pairing, salt: str) -> list[Answer]:
    shuffled = sorted(answers, key=lambda answer: sha256_hex(f"{salt}:{answer.key}"))
    if pairing.pairs == "baseline":
        base = [answer for answer in shuffled if answer.model == pairing.baseline][:1]
        others = [answer for answer in shuffled if answer.model != pairing.baseline]
        return [*base, *others[: pairing.n_answers - 1]] if base else []
    if pairing.pairs == "across":
        return list(_one_an_arm(shuffled))[: pairing.n_answers]
    return shuffled[: pairing.n_answers]


def _one_an_arm(answers: Iterable[Answer]) -> Iterator[Answer]:
    arms: set[int] = set()
    for answer in answers:
        if answer.arm not in arms:
            arms.add(answer.arm)
            yield answer


def _n_sets(answers: Sequence[Answer], pairing: Pairing) -> int:
    """How many sets of the wanted size these answers have, of whole size or of what there is."""
    if pairing.pairs == "baseline":
        n_base = sum(answer.model == pairing.baseline for answer in answers)
        others = len(answers) - n_base
        return n_base * comb(others, min(pairing.n_answers - 1, others)) if n_base and others else 0
    if pairing.pairs == "across":
        sizes = Counter(answer.arm for answer in answers)
        size = min(pairing.n_answers, len(sizes))
        ways = [1] + [0] * size  # ways[k]: sets of k answers of different arms, over the arms so far
        for n in sizes.values():
            for k in range(size, 0, -1):
                ways[k] += ways[k - 1] * n
        return ways[size] if size >= 2 else 0
    size = min(pairing.n_answers, len(answers))
    return comb(len(answers), size) if size >= 2 else 0


# ---- the draw ----------------------------------------------------------------------------------------------------------


def draw(by_prompt: Mapping[str, Sequence[Any]], *, most: int | None, salt: str) -> list[tuple[str, Any]]:
    """Take sets in rounds: the first of every prompt, then the second of every prompt, until ``most`` are taken.

    by_prompt  prompt key -> its sets in order. The prompts' order is drawn from ``salt``, so a build done again draws the same.
    """
    prompts = sorted(by_prompt, key=lambda key: sha256_hex(f"{salt}:{key}"))
    drawn: list[tuple[str, Any]] = []
    for number in range(max((len(sets) for sets in by_prompt.values()), default=0)):
        for key in prompts:
            if most is not None and len(drawn) >= most:
                return drawn
            if number < len(by_prompt[key]):
                drawn.append((key, by_prompt[key][number]))
    return drawn


def chances(n_sets: Mapping[str, tuple[int, int]], *, most: int | None) -> dict[str, float]:
    """Prompt key -> the probability with which each eligible set of that prompt is drawn by ``draw``.

    n_sets  prompt key -> (sets that stand for the draw, sets that were eligible before ``per_prompt`` cut them)
    """
    deepest = max((standing for standing, _ in n_sets.values()), default=0)
    left, shares = most, []
    for number in range(deepest):
        n_here = sum(standing > number for standing, _ in n_sets.values())
        taken = n_here if left is None else min(n_here, left)
        left = None if left is None else left - taken
        shares.append(taken / n_here)
    return {key: sum(shares[:standing]) / eligible for key, (standing, eligible) in n_sets.items() if eligible}


def position_of(campaign_key: str, candidates_sha256: str) -> int:
    """A task's random, fixed place in its campaign's line."""
    return seed_from(campaign_key, candidates_sha256)
