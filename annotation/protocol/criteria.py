"""What a campaign asks beyond "which is better?": its criteria, reasons, comments and flags, checked and stored."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal
from typing import Protocol as Interface

from core.errors import DomainError, require

LETTERS = "ABCDEFGHI"
MAX_ANSWERS = len(LETTERS)
MAX_CRITERIA, MAX_LEVELS, MAX_REASONS = 12, 10, 30
MAX_COMMENT, MAX_WRITE_IN, MAX_FLAG_REASON = 5_000, 50_000, 1_000
MAX_SECONDS = 24 * 3600.0
FLAGS = ("harmful", "private", "names_model", "broken", "cannot_judge")
SHOWN = ("note", "reference", "checklist")
# Levels of a whole scale -> levels on each side, and whether the middle is a tie.
SCALES: dict[int, tuple[int, bool]] = {0: (0, True), 4: (2, False), 6: (3, False), 7: (3, True), 8: (4, False)}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class Criterion:
    """One further question. ``rate``: each answer on a scale; ``compare``: the answers against each other."""

    name: str
    label: str
    kind: Literal["rate", "compare"] = "compare"
    levels: int = (
        1  # rate: 2 ... 10 levels, stored as 1 ... levels; compare: strengths on each side, 1 is a plain A/B/tie
    )
    low: str = ""  # what the lowest and the highest level mean
    high: str = ""
    allow_tie: bool = True
    is_higher_better: bool = True
    is_required: bool = True

    def check(self) -> None:
        require(_NAME.fullmatch(self.name), f"{self.name!r} is no name for a criterion: lower-case letters, digits, _.")
        require(self.label.strip(), f"The criterion {self.name} needs a label.")
        least, most = (2, MAX_LEVELS) if self.kind == "rate" else (1, 4)
        require(self.kind in ("rate", "compare"), f"The criterion {self.name} either rates or compares.")
        require(least <= self.levels <= most, f"{self.label} has {least} to {most} levels.")


@dataclass(frozen=True, slots=True)
class Protocol:
    """The further questions of a campaign; the defaults ask nothing."""

    criteria: tuple[Criterion, ...] = ()
    reasons: tuple[str, ...] = ()
    needs_reason: bool = False
    comment: Literal["off", "optional", "required"] = "optional"
    min_comment: int = 0  # characters, where a comment is required
    write_in: Literal["off", "optional"] = "off"
    has_flags: bool = True
    show: tuple[str, ...] = ()  # of the prompt: note, reference, checklist
    has_diff: bool = False  # offer a word diff of two answers
    allow_rank_ties: bool = True

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Protocol":
        """Read the stored form. Raises DomainError with a sentence for what makes no sense."""
        known = {each.name for each in fields(cls)}
        unknown = sorted(set(given) - known)
        require(not unknown, f"A protocol has no setting {unknown[0]!r}." if unknown else "")
        values = dict(given)
        try:
            values["criteria"] = tuple(Criterion(**row) for row in given.get("criteria", ()))
        except TypeError as problem:
            raise DomainError(f"A criterion cannot be read: {problem}.") from None
        for name in ("reasons", "show"):
            if name in values:
                values[name] = tuple(values[name])
        made = cls(**values)
        made.check()
        return made

    def check(self) -> None:
        for criterion in self.criteria:
            criterion.check()
        names = [criterion.name for criterion in self.criteria]
        require(len(set(names)) == len(names), "Two criteria have the same name.")
        require(len(names) <= MAX_CRITERIA, f"A campaign asks at most {MAX_CRITERIA} criteria.")
        require(len(self.reasons) <= MAX_REASONS, f"A campaign offers at most {MAX_REASONS} reasons.")
        require(len(set(self.reasons)) == len(self.reasons), "Two reasons are the same.")
        require(not self.needs_reason or self.reasons, "Reasons are required, but there is none to choose.")
        require(self.comment in ("off", "optional", "required"), "A comment is off, optional or required.")
        require(0 <= self.min_comment <= MAX_COMMENT, f"A comment has at most {MAX_COMMENT:,} characters.")
        require(self.write_in in ("off", "optional"), "A better answer is off or optional.")
        require(set(self.show) <= set(SHOWN), "Of a prompt the note, the reference and the checklist can be shown.")

    def stored(self) -> dict[str, Any]:
        """Only what differs from the defaults, as plain values."""
        plain = asdict(self)
        default = asdict(type(self)())
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in plain.items()
            if value != default[name]
        }

    @property
    def asks_more(self) -> bool:
        """Whether something besides the choice is required, so that a choice alone cannot be sent."""
        return bool(
            any(criterion.is_required for criterion in self.criteria) or self.needs_reason or self.comment == "required"
        )


class AsksFor(Interface):
    """What a campaign says about its question; ``annotation.models.Campaign`` has it all."""

    kind: Any
    allow_tie: Any
    allow_both_good: Any
    allow_both_bad: Any
    strength_levels: Any
    protocol: Any
