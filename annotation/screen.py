"""What the annotate screen asks, as plain values: built from a campaign's columns and the fields as they stand.

No database and no request here: the task, a correction, the practice pages and a preview of a campaign all show the same.
Every option carries the key that presses it; a page prints it, and static/js/annotate.js listens for it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from annotation.models import Campaign, Flag
from annotation.protocol import LETTERS, MAX_COMMENT, MAX_WRITE_IN, Criterion, Protocol

STRENGTHS = {
    1: ("",),
    2: ("slightly", "clearly"),
    3: ("slightly", "clearly", "far"),
    4: ("barely", "slightly", "clearly", "far"),
}
SKIP_REASONS = (
    "I do not know enough about this",
    "The prompt makes no sense",
    "The answers are too long to judge",
    "Something is displayed wrongly",
    "I do not want to read this",
    "Another reason",
)
# Command -> its key, and the one that it has where the first is the letter of an answer in a ranking.
COMMANDS = {
    "guidelines": "gy", "flag": "fl", "diff": "dm", "place": "p", "reveal": "r", "ask": "q", "note": "n", "write": "w",
    "skip": "s", "undo": "u", "display": "o", "next": "j", "previous": "k",
}  # fmt: skip
DIGITS = "1234567890"


class Entered:
    """The fields of a form as they stand: what was typed, a draft, or a judgement that is corrected."""

    def __init__(self, fields: Mapping[str, Sequence[str]] | None = None) -> None:
        self._fields = {name: list(values) for name, values in (fields or {}).items()}

    def one(self, name: str) -> str:
        values = self._fields.get(name, ())
        return values[-1] if values else ""

    def all(self, name: str) -> list[str]:
        return self._fields.get(name, [])

    def but(self, **values: str) -> "Entered":
        """The same with some fields set."""
        return Entered({**self._fields, **{name: [value] for name, value in values.items()}})

    def __bool__(self) -> bool:
        return any(any(values) for values in self._fields.values())


@dataclass(frozen=True, slots=True)
class Option:
    """One thing to choose: what it sends, what it says, the key printed on it and others that press it too."""

    value: str
    label: str
    keys: tuple[str, ...] = ()
    is_chosen: bool = False

    @property
    def key(self) -> str:
        return self.keys[0] if self.keys else ""

    @property
    def data_key(self) -> str:
        return " ".join(self.keys)


@dataclass(frozen=True, slots=True)
class Question:
    """Options of which one (or, for reasons, any number) is chosen. ``letter``: the answer that it is about."""

    name: str
    label: str
    options: tuple[Option, ...]
    is_required: bool = True
    low: str = ""
    high: str = ""
    letter: str = ""
    is_wrong: bool = False

    @property
    def is_answered(self) -> bool:
        return any(option.is_chosen for option in self.options)

    @property
    def chosen(self) -> str:
        return next((option.label for option in self.options if option.is_chosen), "")


@dataclass(frozen=True, slots=True)
class Rating:
    """One criterion for every answer: a row of the grid."""

    name: str
    label: str
    low: str
    high: str
    is_required: bool
    cells: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything that a task's form asks. ``choice`` is None where the ratings are the whole judgement."""

    kind: str
    letters: str
    choice: Question | None
    ranks: tuple[Question, ...] = ()
    allows_rank_ties: bool = True
    comparisons: tuple[Question, ...] = ()
    ratings: tuple[Rating, ...] = ()
    reasons: Question | None = None
    flags: tuple[Question, ...] = ()
    flag_reason: str = ""
    comment: str = "off"
    comment_text: str = ""
    min_comment: int = 0
    max_comment: int = MAX_COMMENT
    write_in: str = "off"
    write_in_text: str = ""
    edited_from: str = ""
    max_write_in: int = MAX_WRITE_IN
    has_diff: bool = False
    asks_more: bool = False
    wrong: tuple[str, ...] = ()
    commands: Mapping[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:  # of what mostly differs: the rest is compared
        return hash((self.kind, self.letters, self.choice, self.comment_text, self.write_in_text, self.flag_reason))

    @property
    def has_questions(self) -> bool:
        return bool(self.comparisons or self.ratings or self.reasons or self.comment == "required")

    @property
    def n_flags(self) -> int:
        return sum(option.is_chosen for flag in self.flags for option in flag.options)

    @property
    def is_comment_wrong(self) -> bool:
        return "comment" in self.wrong

    @property
    def is_choice_enough(self) -> bool:
        """Whether a choice alone is a whole judgement, so that it may be sent at once."""
        return self.choice is not None and self.kind == "pair" and not self.asks_more

    @property
    def keys(self) -> list[tuple[str, str]]:
        """(keys, what they do), for the help."""
        return [*self._answering_keys(), *self._command_keys(), ("Enter", "Send"), ("?", "This help"),
                ("Esc", "Close what is open")]  # fmt: skip

    def _answering_keys(self) -> list[tuple[str, str]]:
        keys = [(" or ".join(option.keys), option.label) for option in self.choice.options] if self.choice else []
        if self.kind == "rank":
            first, last = self.letters[0], self.letters[-1]
            keys = [(f"{first} … {last}", "Put this answer on the next place, the best first"),
                    *([("=", "Then a letter: as good as the one before")] if self.allows_rank_ties else []),
                    ("Backspace", "Take the last one off again"),
                    (self.commands["place"], "Place the next answer by comparing it with others"), *keys]  # fmt: skip
        if self.comparisons or self.ratings or self.reasons:
            keys += [("1 … 9", "Answer the question that is marked; then the next one is marked"),
                     (f"{self.commands['next']} {self.commands['previous']}", "Mark the next question, the one before")]  # fmt: skip
        return keys

    def _command_keys(self) -> list[tuple[str, str]]:
        has = {
            "note": self.comment != "off",
            "write": self.write_in != "off",
            "flag": bool(self.flags),
            "diff": self.has_diff,
        }
        said = {
            "note": "Write a comment", "write": "Write a better answer", "flag": "Flag something",
            "skip": "Skip, then the number of a reason", "ask": "Ask the lead, and go on meanwhile",
            "undo": "Undo the last judgement or skip", "guidelines": "Guidelines", "display": "How answers are displayed",
            "diff": "Mark the words that differ", "reveal": "Reveal what is blurred",
        }  # fmt: skip
        return [(self.commands[name], words) for name, words in said.items() if has.get(name, True)]


def asked_of(
    campaign: Campaign,
    *,
    n_answers: int,
    entered: Entered | None = None,
    wrong: Sequence[str] = (),
) -> Asked:
    """The questions of a campaign about ``n_answers`` answers, with what was entered already.

    wrong  names of fields to point at, as in ``annotation.protocol.Incomplete``
    """
    if entered or wrong:
        return _asked(campaign, n_answers, entered or Entered(), wrong)
    settings = {name: getattr(campaign, name) for name in (*_CHOICES, "protocol")}
    return _asked_first(json.dumps(settings, sort_keys=True), n_answers)


_CHOICES = ("kind", "question", "strength_levels", "allow_tie", "allow_both_good", "allow_both_bad")


@lru_cache(maxsize=256)
def _asked_first(settings: str, n_answers: int) -> Asked:
    """What everybody is asked at first, the same object each time."""
    return _asked(Campaign(**json.loads(settings)), n_answers, Entered(), ())


def _asked(campaign: Campaign, n_answers: int, entered: Entered, wrong: Sequence[str]) -> Asked:
    protocol, letters = Protocol.parse(campaign.protocol), LETTERS[:n_answers]
    is_rank = campaign.kind == Campaign.Kind.RANK
    compared = [criterion for criterion in protocol.criteria if criterion.kind == "compare"]
    rated = [criterion for criterion in protocol.criteria if criterion.kind == "rate"]
    choice = _choice(campaign, entered, wrong, n_answers)
    return Asked(
        kind=campaign.kind,
        letters=letters,
        choice=choice,
        ranks=_ranks(letters, entered, wrong) if is_rank else (),
        allows_rank_ties=protocol.allow_rank_ties,
        comparisons=tuple(_comparison(criterion, entered, wrong) for criterion in compared) if n_answers == 2 else (),
        ratings=tuple(_rating(criterion, letters, entered, wrong) for criterion in rated),
        reasons=_reasons(protocol, entered, wrong) if protocol.reasons else None,
        flags=_flags(letters, entered) if protocol.has_flags else (),
        flag_reason=entered.one("flag_reason"),
        comment=protocol.comment,
        comment_text=entered.one("comment"),
        min_comment=protocol.min_comment if protocol.comment == "required" else 0,
        write_in=protocol.write_in,
        write_in_text=entered.one("write_in"),
        edited_from=entered.one("edited_from"),
        has_diff=protocol.has_diff and n_answers == 2,
        asks_more=protocol.asks_more,
        wrong=tuple(wrong),
        commands=_commands(letters if is_rank else ""),
    )


def _commands(letters: str) -> dict[str, str]:
    taken = letters.lower()
    return {name: next(key for key in keys if key not in taken) for name, keys in COMMANDS.items()}


def scale_options(levels: int, *, has_tie: bool, chosen: str = "") -> list[Option]:
    """A against B: plain where ``levels`` is 0 or 1, else a scale from "A far better" to "B far better", keyed from the left."""
    if levels < 2:
        options = [("a", "A is better", "a"), ("b", "B is better", "b")]
        options += [("tie", "Tie", "t")] if has_tie else []
    else:
        words = STRENGTHS[levels]
        options = [(f"a{n}", f"A {words[n - 1]} better", "") for n in range(levels, 0, -1)]
        options += [("tie", "About the same", "t")] if has_tie else []
        options += [(f"b{n}", f"B {words[n - 1]} better", "") for n in range(1, levels + 1)]
    return [
        Option(value, label, tuple(key for key in (DIGITS[n], letter) if key), value == chosen)
        for n, (value, label, letter) in enumerate(options)
    ]


def _choice(campaign: Campaign, entered: Entered, wrong: Sequence[str], n_answers: int) -> Question | None:
    chosen = entered.one("choice")
    if campaign.kind == Campaign.Kind.PAIR:
        options = scale_options(campaign.strength_levels, has_tie=campaign.allow_tie, chosen=chosen)
    elif campaign.kind == Campaign.Kind.RANK:
        options = []
    else:
        return None
    every = "Both" if n_answers == 2 else "All"
    more = [("both_good", f"{every} good", "v")] if campaign.allow_both_good else []
    more += [("both_bad", f"{every} bad", "x")] if campaign.allow_both_bad else []
    has_digits = campaign.kind == Campaign.Kind.PAIR and campaign.strength_levels < 2
    for value, label, letter in more:
        keys = (DIGITS[len(options)], letter) if has_digits else (letter,)
        options.append(Option(value, label, keys, value == chosen))
    return Question("choice", campaign.question, tuple(options), is_wrong="choice" in wrong)


def _comparison(criterion: Criterion, entered: Entered, wrong: Sequence[str]) -> Question:
    name = f"compare-{criterion.name}"
    options = scale_options(criterion.levels, has_tie=criterion.allow_tie, chosen=entered.one(name))
    return Question(
        name, criterion.label, tuple(options), criterion.is_required, criterion.low, criterion.high,
        is_wrong=name in wrong,
    )  # fmt: skip


def _rating(criterion: Criterion, letters: str, entered: Entered, wrong: Sequence[str]) -> Rating:
    cells = []
    for letter in letters:
        name = f"rate-{criterion.name}-{letter}"
        chosen = entered.one(name)
        options = [
            Option(str(level), str(level), (DIGITS[level - 1],), str(level) == chosen)
            for level in range(1, criterion.levels + 1)
        ]
        label = f"{criterion.label}, answer {letter}"
        cells.append(
            Question(name, label, tuple(options), criterion.is_required, letter=letter, is_wrong=name in wrong)
        )
    return Rating(criterion.name, criterion.label, criterion.low, criterion.high, criterion.is_required, tuple(cells))


def _ranks(letters: str, entered: Entered, wrong: Sequence[str]) -> tuple[Question, ...]:
    rows = []
    for letter in letters:
        name = f"rank-{letter}"
        chosen = entered.one(name)
        options = [Option(str(n), str(n), (), str(n) == chosen) for n in range(1, len(letters) + 1)]
        is_wrong = name in wrong or "choice" in wrong
        rows.append(Question(name, f"Rank of answer {letter}", tuple(options), letter=letter, is_wrong=is_wrong))
    return tuple(rows)


def _reasons(protocol: Protocol, entered: Entered, wrong: Sequence[str]) -> Question:
    chosen = entered.all("reason")
    options = [
        Option(reason, reason, (DIGITS[n],) if n < len(DIGITS) else (), reason in chosen)
        for n, reason in enumerate(protocol.reasons)
    ]
    return Question("reason", "Why?", tuple(options), protocol.needs_reason, is_wrong="reason" in wrong)


def _flags(letters: str, entered: Entered) -> tuple[Question, ...]:
    chosen = entered.all("flag")
    rows = []
    for number, kind in enumerate(Flag.Kind):
        options = [Option(kind.value, "The task", (DIGITS[number],), kind.value in chosen)]
        for letter in letters:
            value = f"{kind.value}:{letter}"
            options.append(Option(value, letter, (), value in chosen))
        rows.append(Question("flag", str(kind.label), tuple(options), is_required=False))
    return tuple(rows)


__all__ = ["SKIP_REASONS", "Asked", "Entered", "Option", "Question", "Rating", "asked_of", "scale_options"]
