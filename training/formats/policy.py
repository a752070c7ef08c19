"""The recipe by which votes become rows: what decides, which pairs a ranking gives, how votes are merged, and what is cut."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, WithJsonSchema

from annotation.protocol import FLAGS, MAX_LEVELS

Aggregation = Literal["majority", "votes"]
Pairs = Literal["all", "adjacent", "best_worst"]


def _said(words: str, **schema: Any) -> Any:
    """What a setting does; ``schema`` says its bounds, which ``PairPolicy.parse`` checks with sentences of its own."""
    return Field(description=words, json_schema_extra=schema)


@dataclass(frozen=True)
class PairPolicy:
    """How votes become rows. The defaults are the plain question, every pair of a ranking, and no limit.

    The descriptions are the page docs/reference/recipes.md and the schema of the API.
    """

    aggregation: Annotated[
        Aggregation,
        _said(
            "majority: one row a pair, for the answer that more than half of all its judgements prefer; a tie or “both bad” is a "
            "judgement for neither, and pairs without a majority are dropped and counted. votes: one row for each judgement "
            "that prefers one answer; people who disagree give rows both ways"
        ),
    ] = "majority"
    pairs: Annotated[
        Pairs,
        _said(
            "of a ranking of k answers. all: every strict pair, k·(k−1)/2. adjacent: those of neighbouring ranks, k−1. "
            "best_worst: the best against the worst, 1. Of rankings by several people it is the majority's ranking, or each "
            "person's own where every judgement is a row"
        ),
    ] = "all"
    criteria: Annotated[
        tuple[tuple[str, float], ...],
        _said(
            "rank by the weighted sum of these criteria instead of the overall choice; one is enough, a negative weight turns it round"
        ),
        WithJsonSchema(
            {"type": "object", "additionalProperties": {"type": "number", "minimum": -1000, "maximum": 1000}}
        ),
    ] = ()
    veto_flags: Annotated[
        tuple[str, ...],
        _said(
            "pairs whose chosen answer is flagged so, open or upheld at the freeze, stay out, and so do such answers without a pair "
            "that are called good; the rejected one, or a bad one, may be flagged",
            items={"type": "string", "enum": list(FLAGS)},
        ),
    ] = ()
    veto_criterion: Annotated[
        str,
        _said(
            "pairs whose chosen answer anybody rated badly on this criterion stay out, and so do such answers without a pair that are "
            "called good; the criterion has to rate each answer by itself"
        ),
    ] = ""
    veto_at: Annotated[
        int,
        _said(
            "what `veto_criterion` takes for badly: this level and those below it or, where lower is better, those above it",
            minimum=1,
            maximum=MAX_LEVELS,
        ),
    ] = 1
    write_ins: Annotated[bool, _said("a better answer that a person wrote is above all that were shown to them")] = (
        False
    )
    unpaired: Annotated[
        bool, _said("answers called both good or both bad become rows without a pair, in files of their own")
    ] = False
    min_votes: Annotated[int, _said("pairs, and answers without a pair, with fewer judgements stay out", minimum=1)] = 1
    min_agreement: Annotated[
        float,
        _said(
            "pairs with a smaller share of judgements for the chosen answer stay out, and so do answers without a pair with a "
            "smaller share for what they are called",
            minimum=0,
            maximum=1,
        ),
    ] = 0.0
    min_strength: Annotated[float, _said("pairs with a smaller margin stay out", minimum=0, maximum=1)] = 0.0
    max_per_prompt: Annotated[
        int | None, _said("so many pairs of a prompt at most: those with the lowest ids", minimum=1)
    ] = None
    max_chars: Annotated[
        int | None,
        _said(
            "pairs whose prompt and longer answer have more characters together stay out, and so do answers without a pair that "
            "have more with their prompt",
            minimum=1,
        ),
    ] = None
    duplicates: Annotated[
        Literal["keep", "drop", "drop_near"],
        _said(
            "drop: pairs of a prompt that read the same as another one but for case and spacing stay out (votes on one pair stay), "
            "and so do prompts of the same words as one before. drop_near: so do, besides, prompts that share four fifths of "
            "their word pairs with another one on their side"
        ),
    ] = "keep"

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
