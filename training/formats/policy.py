"""The recipe by which votes become rows: what decides, which pairs a ranking gives, how votes are merged, and what is cut."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from annotation.protocol import FLAGS, MAX_LEVELS

Aggregation = Literal["majority", "votes"]
Pairs = Literal["all", "adjacent", "best_worst"]


@dataclass(frozen=True)
class PairPolicy:
    """How votes become rows. The defaults are the plain question, every pair of a ranking, and no limit.

    aggregation    majority: one row a pair, the answer that more than half of all its judgements prefer; a tie or "both bad" is
                   a judgement for neither, and pairs without a majority are dropped and counted.
                   votes: one row for each judgement that prefers one answer; people who disagree give rows both ways
    pairs          of a ranking: all strict pairs; those of neighbouring ranks; the best against the worst
    criteria       (name, weight): rank by the weighted sum of these criteria instead of the overall choice; one is enough
    veto_flags     a pair whose chosen answer is flagged so (open or upheld at the freeze) is dropped
    veto_criterion, veto_at  and so is one whose chosen answer anybody rated this low on a criterion (this high where lower is better)
    write_ins      a better answer that a person wrote is above all that were shown to them
    unpaired       answers called both good or both bad become rows of their own, in files of their own
    min_votes, min_agreement, min_strength  pairs with fewer judgements, a smaller share for the chosen answer, a smaller margin stay out
    max_per_prompt pairs of a prompt, those with the lowest ids
    max_chars      of the prompt and the longer answer together
    duplicates     keep; drop pairs that read the same as another one but for case and spacing (votes on one pair stay), and prompts of
                   the same words; drop_near drops, too, prompts that share four fifths of their word pairs with an earlier one
                   (training.near)
    """

    aggregation: Aggregation = "majority"
    pairs: Pairs = "all"
    criteria: tuple[tuple[str, float], ...] = ()
    veto_flags: tuple[str, ...] = ()
    veto_criterion: str = ""
    veto_at: int = 1
    write_ins: bool = False
    unpaired: bool = False
    min_votes: int = 1
    min_agreement: float = 0.0
    min_strength: float = 0.0
    max_per_prompt: int | None = None
    max_chars: int | None = None
    duplicates: Literal["keep", "drop", "drop_near"] = "keep"

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "PairPolicy":
        """Read the stored form. Raises ValueError with a sentence for what makes no sense."""
        unknown = set(given) - {each.name for each in fields(cls)}
        if unknown:
            raise ValueError(f"A pair policy has no setting {sorted(unknown)[0]!r}.")
        values = dict(given)
        if isinstance(values.get("criteria"), Mapping):
            values["criteria"] = tuple(sorted(values["criteria"].items()))
        try:
            made = _READER.validate_python(values)
        except ValidationError as problem:
            name = str(problem.errors()[0]["loc"][0])
            raise ValueError(_WORDS.get(name, f"The pair policy's {name} cannot be {values.get(name)!r}.")) from None
        made._check()
        return made

    def _check(self) -> None:
        if unknown := set(self.veto_flags) - set(FLAGS):
            raise ValueError(f"There is no flag {sorted(unknown)[0]!r}.")
        names = [name for name, _ in self.criteria]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"The criterion {twice[0][:60]} is there twice.")
        if not 1 <= self.veto_at <= MAX_LEVELS:
            raise ValueError(f"A level that vetoes lies between 1 and {MAX_LEVELS}.")
        if any(not -1000 <= weight <= 1000 or not weight for _, weight in self.criteria):
            raise ValueError("A criterion's weight is a number from -1000 to 1000, and not 0.")
        for name in ("min_votes", "max_per_prompt", "max_chars"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{_LABELS[name]} is at least 1.")
        for name in ("min_agreement", "min_strength"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{_LABELS[name]} is a number from 0 to 1.")

    def stored(self) -> dict[str, Any]:
        """Plain values; of the further settings only those that differ from the default."""
        default = PairPolicy()
        found: dict[str, Any] = {"aggregation": self.aggregation}
        for each in fields(self):
            value = getattr(self, each.name)
            if value != getattr(default, each.name):
                found[each.name] = list(value) if isinstance(value, tuple) else value
        if self.criteria:
            found["criteria"] = dict(self.criteria)
        return found

    @property
    def criteria_used(self) -> frozenset[str]:
        """Criteria whose scores the rows depend on."""
        return frozenset([*(name for name, _ in self.criteria), *filter(None, [self.veto_criterion])])


_READER = TypeAdapter(PairPolicy)
_WORDS = {
    "aggregation": "Votes are merged by majority, or kept as one row each.",
    "pairs": "A ranking gives all its pairs, adjacent ones, or the best against the worst.",
    "criteria": "Criteria are names with a weight each.",
    "duplicates": "Duplicates are kept, dropped (drop), or dropped with near ones (drop_near).",
}
_LABELS = {
    "min_votes": "The least number of judgements of a pair",
    "max_per_prompt": "The largest number of pairs of a prompt",
    "max_chars": "The longest pair, in characters,",
    "min_agreement": "The least agreement",
    "min_strength": "The least strength",
}
