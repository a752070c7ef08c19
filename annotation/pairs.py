"""Which answers are compared: pure functions from the answers of one prompt to pairs, and from pairs to a reproducible draw.

Nothing here touches the database, and nothing depends on its order: the same answers give the same tasks.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from core.ids import canonical_json, seed_from, sha256_hex

Kind = Literal["within", "across", "baseline"]
Reason = Literal["empty", "leaking", "equal", "repeated"]

# What a chat template or a tokenizer leaves behind. Shown to an annotator it would say which model wrote the answer.
_SPECIAL = re.compile(
    r"<[|｜]\w"  # <|im_end|>, <|user|>, cut off or not
    r"|\[/?INST\]|<</?SYS>>"
    r"|</?(?:bos|eos|pad|unk|start_of_turn|end_of_turn|assistant|system)>"
    r"|^\s*<s>|</s>\s*$",
    re.IGNORECASE,
)
_ROLE = re.compile(
    r"^[ \t]*(?:"
    r"(?:user|assistant|system|human|model)[ \t]*$"  # the residue of a template whose special tokens were dropped
    r"|(?:#{1,4}[ \t]*)?(?:User|Assistant|System|Human|USER|ASSISTANT|SYSTEM|HUMAN)[ \t]*:"
    r"|#{1,4}[ \t]*(?:Instruction|Response|Input)[ \t]*:?[ \t]*$"
    r")",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One candidate as far as pairing is concerned; ``text_sha256`` is over the text without white space at its ends."""

    pk: int
    key: str
    arm: int
    model: str
    text_sha256: str


@dataclass(frozen=True, slots=True)
class Pairing:
    """How pairs are made.

    pairs      ``within`` one arm · ``across`` arms · ``baseline``: a version against every other one
    baseline   the model version's key, for ``baseline``
    per_prompt the most pairs of one prompt; None for all
    max_tasks  the most pairs of all; every prompt has its first pair before one has its second
    """

    pairs: Kind = "within"
    baseline: str = ""
    per_prompt: int | None = None
    max_tasks: int | None = None

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Pairing":
        """Read the stored form. Raises ValueError with a sentence for what makes no sense."""
        unknown = set(given) - {"pairs", "baseline", "per_prompt", "max_tasks"}
        if unknown:
            raise ValueError(f"A pairing has no setting {sorted(unknown)[0]!r}.")
        pairs, baseline = given.get("pairs", "within"), given.get("baseline") or ""
        if pairs not in ("within", "across", "baseline"):
            raise ValueError("Pairs are made within an arm, across arms, or against a baseline.")
        if pairs == "baseline" and not baseline:
            raise ValueError("Choose the version that the others are compared with.")
        numbers: dict[str, int | None] = {}
        for name in ("per_prompt", "max_tasks"):
            number = given.get(name)
            if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
                raise ValueError("The number of pairs must be a whole number from 1.")
            numbers[name] = number
        return cls(pairs=pairs, baseline=baseline if pairs == "baseline" else "", **numbers)

    def stored(self) -> dict[str, Any]:
        return {
            name: value
            for name in ("pairs", "baseline", "per_prompt", "max_tasks")
            if (value := getattr(self, name)) not in (None, "")
        }


def leaks(text: str) -> bool:
    """Whether an answer holds special tokens or role markers of a chat template."""
    return bool(_SPECIAL.search(text) or _ROLE.search(text))


def reason_to_leave_out(text: str) -> Reason | None:
    if not text.strip():
        return "empty"
    return "leaking" if leaks(text) else None


def set_sha256(keys: Iterable[str]) -> str:
    """The identity of a task: its candidates' keys, whatever their order and their texts."""
    return sha256_hex(canonical_json(sorted(keys)))


def _belongs(first: Answer, second: Answer, pairing: Pairing) -> bool:
    if pairing.pairs == "within":
        return first.arm == second.arm
    if pairing.pairs == "across":
        return first.arm != second.arm
    return (first.model == pairing.baseline) != (second.model == pairing.baseline)


def pairs_of_prompt(
    answers: Sequence[Answer], pairing: Pairing, *, salt: str
) -> tuple[list[tuple[Answer, Answer]], Counter[str]]:
    """All pairs of one prompt's answers in the order of the draw, and how many were left out, by reason.

    The two of a pair stand in the order of their keys, which are random: it says nothing of the models. Equal texts cannot
    be compared; of pairs with the same two texts one is kept, for a second would ask the same question again.
    """
    left_out: Counter[str] = Counter()
    pairs = [
        (first, second)
        for first, second in combinations(sorted(answers, key=lambda answer: answer.key), 2)
        if _belongs(first, second, pairing)
    ]
    pairs.sort(key=lambda pair: sha256_hex(f"{salt}:{set_sha256(answer.key for answer in pair)}"))
    kept: list[tuple[Answer, Answer]] = []
    seen: set[frozenset[str]] = set()
    for first, second in pairs:
        texts = frozenset((first.text_sha256, second.text_sha256))
        if len(texts) == 1:
            left_out["equal"] += 1
        elif texts in seen:
            left_out["repeated"] += 1
        else:
            seen.add(texts)
            kept.append((first, second))
    return kept[: pairing.per_prompt], left_out


def draw(by_prompt: Mapping[str, Sequence[Any]], *, most: int | None, salt: str) -> list[tuple[str, Any]]:
    """Take pairs in rounds: the first of every prompt, then the second of every prompt, until ``most`` are taken.

    by_prompt  prompt key -> its pairs in order. The prompts' order is drawn from ``salt``, so a build done again draws the same.
    """
    prompts = sorted(by_prompt, key=lambda key: sha256_hex(f"{salt}:{key}"))
    drawn: list[tuple[str, Any]] = []
    for number in range(max((len(pairs) for pairs in by_prompt.values()), default=0)):
        for key in prompts:
            if most is not None and len(drawn) >= most:
                return drawn
            if number < len(by_prompt[key]):
                drawn.append((key, by_prompt[key][number]))
    return drawn


def position_of(campaign_key: str, candidates_sha256: str) -> int:
    """A task's random, fixed place in its campaign's line."""
    return seed_from(campaign_key, candidates_sha256)
