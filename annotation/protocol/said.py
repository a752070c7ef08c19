"""One person's whole answer to one task, by slot: read from a form, checked against the protocol, filled into a form again."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from annotation.protocol.criteria import (
    FLAGS,
    LETTERS,
    MAX_COMMENT,
    MAX_FLAG_REASON,
    MAX_WRITE_IN,
    AsksFor,
    Protocol,
)
from annotation.protocol.reading import Incomplete, Reading
from core.errors import DomainError, require


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said about one task, by slot.

    ranks     rank of each slot, 1 is best, equal ranks are ties; () where the verdict is not ``ranked``
    strength  1 ... levels, only where one answer of two is better
    scores    (criterion, slot or None for a comparison, value); of a comparison -n ... n, negative where slot 0 is better
    flags     (kind, slot or None for the whole task)
    """

    verdict: str
    ranks: tuple[int, ...] = ()
    strength: int | None = None
    scores: tuple[tuple[str, int | None, int], ...] = ()
    reasons: tuple[str, ...] = ()
    comment: str = ""
    write_in: str = ""
    edited_from: int | None = None
    flags: tuple[tuple[str, int | None], ...] = ()
    flag_reason: str = ""
    active_seconds: float = field(default=0.0, compare=False)
    open_seconds: float = field(default=0.0, compare=False)

    def stored(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value not in ((), "", None, 0.0)}

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Said":
        """Read the stored form, from JSON too."""
        values = {name: _tuples(value) for name, value in given.items()}
        return cls(**values)

    @classmethod
    def from_fields(cls, given: Mapping[str, Any], *, campaign: AsksFor, display_order: Sequence[int]) -> "Said":
        """Read a form (a QueryDict, or a mapping to strings and lists of strings) that one person filled in.

        display_order  the slots in the order shown: letter A of the page is the first of them
        Raises Incomplete for what is missing or cannot be, with the fields to point at.
        """
        said = cls(**Reading(given, campaign, display_order).values())
        try:
            said.check(campaign, n_answers=len(display_order))
        except DomainError as problem:
            raise Incomplete(problem.sentence, fields=["choice"]) from None
        return said

    def to_fields(self, *, campaign: AsksFor, display_order: Sequence[int]) -> dict[str, list[str]]:
        """The form filled in with this, as lists of values: ``from_fields`` of it gives the same again."""
        letters = {slot: LETTERS[place] for place, slot in enumerate(display_order)}
        filled: dict[str, list[str]] = {"choice": [self._choice(letters)]}
        if campaign.kind == "rank" and self.verdict == "ranked":
            filled |= {f"rank-{letters[slot]}": [str(rank)] for slot, rank in enumerate(self.ranks)}
        for name, slot, value in self.scores:
            if slot is not None:
                filled[f"rate-{name}-{letters[slot]}"] = [str(value)]
            else:
                levels = next(
                    (each.levels for each in Protocol.parse(campaign.protocol).criteria if each.name == name), 1
                )
                strength = str(abs(value)) if levels > 1 else ""
                filled[f"compare-{name}"] = [f"{letters[int(value > 0)].lower()}{strength}" if value else "tie"]
        filled |= {"reason": list(self.reasons), "comment": [self.comment], "write_in": [self.write_in]}
        filled["edited_from"] = [letters[self.edited_from] if self.edited_from is not None else ""]
        filled["flag"] = [kind if slot is None else f"{kind}:{letters[slot]}" for kind, slot in self.flags]
        filled["flag_reason"] = [self.flag_reason]
        return {name: values for name, values in filled.items() if any(values)}

    def _choice(self, letters: Mapping[int, str]) -> str:
        if self.verdict != "ranked":
            return "both_bad" if self.verdict == "all_bad" else self.verdict
        if len(self.ranks) != 2:
            return "ranking"
        return f"{letters[self.ranks.index(1)].lower()}{self.strength or ''}"

    def check(self, campaign: AsksFor, *, n_answers: int) -> None:
        """Raises DomainError for what this campaign does not ask, whoever made it: a form, a script, an importer."""
        protocol = Protocol.parse(campaign.protocol)
        taken = {
            "ranked": True, "tie": campaign.allow_tie or campaign.kind == "rate",
            "both_good": campaign.allow_both_good, "all_bad": campaign.allow_both_bad,
        }  # fmt: skip
        require(taken.get(self.verdict), "Choose one of the answers that this campaign takes.")
        if self.verdict == "ranked":
            levels = sorted(set(self.ranks))
            covers = len(self.ranks) == n_answers and levels == list(range(1, len(levels) + 1))
            require(covers and len(levels) > 1, "The ranking does not cover the answers that were shown.")
            has_ties = len(levels) < n_answers
            require(
                not has_ties or campaign.kind == "rate" or protocol.allow_rank_ties, "No two answers may share a place."
            )
        else:
            require(not self.ranks, "There is a ranking where nothing is better.")
        self._check_strength(campaign)
        self._check_scores(protocol, n_answers)
        require(not self.reasons or set(self.reasons) <= set(protocol.reasons), "This campaign has no such reason.")
        slots = [slot for _, slot in self.flags if slot is not None]
        slots += [] if self.edited_from is None else [self.edited_from]
        require(all(0 <= slot < n_answers for slot in slots), "There is no such answer.")
        require(all(kind in FLAGS for kind, _ in self.flags), "There is no such flag.")
        lengths = ((self.comment, MAX_COMMENT), (self.write_in, MAX_WRITE_IN), (self.flag_reason, MAX_FLAG_REASON))
        require(all(len(text) <= most for text, most in lengths), "One of the texts is too long.")

    def _check_strength(self, campaign: AsksFor) -> None:
        if self.strength is None:
            return
        asked = campaign.kind == "pair" and self.verdict == "ranked"
        require(
            asked and 1 <= self.strength <= campaign.strength_levels, "This campaign does not ask for that strength."
        )

    def _check_scores(self, protocol: "Protocol", n_answers: int) -> None:
        asked = {criterion.name: criterion for criterion in protocol.criteria}
        places = [(name, slot) for name, slot, _ in self.scores]
        require(len(set(places)) == len(places), "An answer has two scores for the same criterion.")
        for name, slot, value in self.scores:
            criterion = asked.get(name)
            require(criterion is not None, f"This campaign does not ask for {name!r}.")
            assert criterion is not None
            fits = (slot is not None) == (criterion.kind == "rate") and (slot is None or 0 <= slot < n_answers)
            low = 1 if criterion.kind == "rate" else -criterion.levels
            in_range = low <= value <= criterion.levels and (value != 0 or criterion.allow_tie)
            require(fits and in_range, f"{criterion.label}: {value} is no level of its scale.")


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list | tuple) else value
