"""What a campaign asks beyond "which is better?", and what a person says: plain values, no database.

``Protocol`` is stored with the campaign; ``Said`` is one person's whole answer to one task, read from a form's fields or from an
importer, checked against the protocol, and stored by ``annotation.judge``. Answers are named by *slot* here (their fixed place in
the task); the letters A, B, C of a page are places in the order shown to one person, and ``Said.from_fields`` turns one into the other.

The fields of the annotate form (names are a contract with the templates, the API and ``annotation.pageclient``):

    choice               a · b · tie · both_good · both_bad; on a scale also the strength: a1 ... a4, b1 ... b4; ranking: "ranking"
    rank-LETTER          1 ... n, equal numbers are ties; of a half-done ranking some are missing
    rate-CRITERION-LETTER  a level of that criterion's scale
    compare-CRITERION    a · b · tie, or with a strength a1 ... b4
    reason               any number of the protocol's chips
    comment, write_in    text; edited_from: the letter of the answer that the write-in began from, or ""
    flag                 any number of KIND or KIND:LETTER; flag_reason: text
    active, open         seconds
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from core.errors import DomainError, require

LETTERS = "ABCDEFGHI"
MAX_ANSWERS = len(LETTERS)
MAX_CRITERIA, MAX_LEVELS, MAX_REASONS = 12, 10, 30
MAX_COMMENT, MAX_WRITE_IN = 5_000, 50_000
FLAGS = ("harmful", "private", "names_model", "broken", "cannot_judge")
SHOWN = ("note", "reference", "checklist")
# Levels of a whole scale -> levels on each side, and whether the middle is a tie.
SCALES: dict[int, tuple[int, bool]] = {0: (0, True), 4: (2, False), 6: (3, False), 7: (3, True), 8: (4, False)}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_CHOICE = re.compile(r"([ab])([1-4]?)")


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


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said about one task, by slot.

    ranks     rank of each slot, 1 is best; () where the verdict is not ``ranked``
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


class Incomplete(DomainError):
    """Something required is missing or cannot be (422). ``fields`` names the form's fields, for the page to point at."""

    def __init__(self, sentence: str, *, fields: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.fields = tuple(fields)


def choice_of(text: str, *, levels: int) -> tuple[int, int | None] | None:
    """(place of the better answer, strength) of a value such as ``b`` or ``b3``; None if it is none."""
    match = _CHOICE.fullmatch(text)
    if match is None:
        return None
    strength = int(match[2]) if match[2] else None
    return None if strength is not None and strength > levels else (LETTERS.index(match[1].upper()), strength)


__all__ = [
    "FLAGS", "LETTERS", "MAX_ANSWERS", "MAX_COMMENT", "MAX_WRITE_IN", "SCALES", "SHOWN",
    "Criterion", "Incomplete", "Protocol", "Said", "choice_of",
]  # fmt: skip
