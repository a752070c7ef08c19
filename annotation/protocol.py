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
_CHOICE = re.compile(r"([ab])([1-4]?)")
_FIELDS = frozenset({"choice", "reason", "comment", "write_in", "edited_from", "flag", "flag_reason"})


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
        return _Reading(given, campaign, display_order).said()

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


class Incomplete(DomainError):
    """Something required is missing or cannot be (422). ``fields`` names the form's fields, for the page to point at."""

    def __init__(self, sentence: str, *, fields: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.fields = tuple(fields)


class _Reading:
    """One form being read: places and letters on the outside, slots on the inside."""

    def __init__(self, given: Mapping[str, Any], campaign: AsksFor, display_order: Sequence[int]) -> None:
        self.given, self.campaign, self.order = given, campaign, list(display_order)
        self.protocol = Protocol.parse(campaign.protocol)
        self.letters = LETTERS[: len(self.order)]

    def said(self) -> Said:
        scores = self._scores()
        verdict, ranks, strength = self._verdict(scores)
        write_in = self._text("write_in", MAX_WRITE_IN, "Your answer") if self.protocol.write_in != "off" else ""
        flags, flag_reason = self._flags() if self.protocol.has_flags else ((), "")
        said = Said(
            verdict=verdict,
            ranks=ranks,
            strength=strength,
            scores=scores,
            reasons=self._reasons(),
            comment=self._comment(),
            write_in=write_in,
            edited_from=self._slot(self._one("edited_from"), "edited_from") if write_in else None,
            flags=flags,
            flag_reason=flag_reason,
            active_seconds=self._seconds("active"),
            open_seconds=self._seconds("open"),
        )
        try:
            said.check(self.campaign, n_answers=len(self.order))
        except Incomplete:
            raise
        except DomainError as problem:
            raise Incomplete(problem.sentence, fields=["choice"]) from None
        return said

    # ---- the choice ----

    def _verdict(self, scores: Sequence[tuple[str, int | None, int]]) -> tuple[str, tuple[int, ...], int | None]:
        if self.campaign.kind == "rate":
            return *self._by_ratings(scores), None
        choice = self._one("choice")
        if choice in ("tie", "both_good", "both_bad"):
            return "all_bad" if choice == "both_bad" else choice, (), None
        if self.campaign.kind == "rank":
            return *self._ranking(), None
        levels = self.campaign.strength_levels
        found = choice_of(choice, levels=levels)
        if found is None or found[0] >= len(self.order):
            sentence = "Choose one of the buttons." if not levels else "Choose a step of the scale."
            raise Incomplete(sentence, fields=["choice"])
        place, strength = found
        if levels and strength is None:
            raise Incomplete("Say how much better it is.", fields=["choice"])
        return "ranked", tuple(1 if slot == self.order[place] else 2 for slot in range(len(self.order))), strength

    def _ranking(self) -> tuple[str, tuple[int, ...]]:
        """The numbers as given, closed up: 1, 3, 3 says the same as 1, 2, 2."""
        given = {letter: self._one(f"rank-{letter}") for letter in self.letters}
        missing = [letter for letter, text in given.items() if not _is_rank(text)]
        if missing:
            which = "every answer" if len(missing) == len(given) else " and ".join(missing)
            raise Incomplete(f"Give {which} a place in the ranking.", fields=[f"rank-{letter}" for letter in missing])
        numbers = {self.order[place]: int(given[letter]) for place, letter in enumerate(self.letters)}
        if len(set(numbers.values())) < len(numbers) and not self.protocol.allow_rank_ties:
            twice = [number for number in numbers.values() if list(numbers.values()).count(number) > 1]
            shared = [f"rank-{letter}" for letter in self.letters if int(given[letter]) in twice]
            raise Incomplete("No two answers may share a place.", fields=shared)
        ranks = closed_up([numbers[slot] for slot in range(len(self.order))])
        if len(set(ranks)) > 1:
            return "ranked", ranks
        if not self.campaign.allow_tie:
            raise Incomplete("Put at least one answer above another.", fields=[f"rank-{each}" for each in self.letters])
        return "tie", ()

    def _by_ratings(self, scores: Sequence[tuple[str, int | None, int]]) -> tuple[str, tuple[int, ...]]:
        """Of a rating the first criterion ranks the answers; equal values tie."""
        first = next((criterion for criterion in self.protocol.criteria if criterion.kind == "rate"), None)
        require(first, "This campaign rates, but has no criterion to rate by.")
        assert first is not None
        values = {slot: value for name, slot, value in scores if name == first.name and slot is not None}
        missing = [self.letters[place] for place, slot in enumerate(self.order) if slot not in values]
        if missing:
            which = "every answer" if len(missing) == len(self.order) else " and ".join(missing)
            raise Incomplete(f"{first.label}: rate {which}.", fields=[f"rate-{first.name}-{each}" for each in missing])
        sign = -1 if first.is_higher_better else 1
        ranks = closed_up([sign * values[slot] for slot in range(len(self.order))])
        return ("ranked", ranks) if len(set(ranks)) > 1 else ("tie", ())

    # ---- the further questions ----

    def _scores(self) -> tuple[tuple[str, int | None, int], ...]:
        scores: list[tuple[str, int | None, int]] = []
        for criterion in self.protocol.criteria:
            if criterion.kind == "rate":
                scores += self._rating(criterion)
            elif len(self.order) == 2:  # a comparison is of two
                scores += self._comparison(criterion)
        return tuple(scores)

    def _rating(self, criterion: Criterion) -> list[tuple[str, int | None, int]]:
        names = {f"rate-{criterion.name}-{letter}": self.order[place] for place, letter in enumerate(self.letters)}
        levels = {str(level) for level in range(1, criterion.levels + 1)}
        given = {name: self._one(name) for name in names}
        if wrong := [name for name, text in given.items() if text and text not in levels]:
            raise Incomplete(f"{criterion.label} goes from 1 to {criterion.levels}.", fields=wrong)
        missing = [name for name, text in given.items() if not text]
        if missing and criterion.is_required:
            which = "every answer" if len(missing) == len(names) else " and ".join(name[-1] for name in missing)
            raise Incomplete(f"{criterion.label}: rate {which}.", fields=missing)
        return sorted((criterion.name, names[name], int(text)) for name, text in given.items() if text)

    def _comparison(self, criterion: Criterion) -> list[tuple[str, int | None, int]]:
        name = f"compare-{criterion.name}"
        text = self._one(name)
        if not text and not criterion.is_required:
            return []
        if text == "tie" and criterion.allow_tie:
            return [(criterion.name, None, 0)]
        found = choice_of(text, levels=criterion.levels)
        if found is None or (found[1] is None) != (criterion.levels == 1):
            raise Incomplete(f"{criterion.label}: say which answer is better.", fields=[name])
        place, strength = found
        value = strength or 1
        return [(criterion.name, None, -value if self.order[place] == 0 else value)]

    def _reasons(self) -> tuple[str, ...]:
        given = set(self._all("reason"))
        if given - set(self.protocol.reasons):
            raise Incomplete("Choose reasons from the list.", fields=["reason"])
        if self.protocol.needs_reason and not given:
            raise Incomplete("Choose at least one reason.", fields=["reason"])
        return tuple(reason for reason in self.protocol.reasons if reason in given)

    def _comment(self) -> str:
        if self.protocol.comment == "off":
            return ""
        comment = self._text("comment", MAX_COMMENT, "The comment")
        least = max(1, self.protocol.min_comment) if self.protocol.comment == "required" else 0
        if len(comment) < least:
            short = f"Write a comment of at least {least} characters." if least > 1 else "Write a comment."
            raise Incomplete(short, fields=["comment"])
        return comment

    def _flags(self) -> tuple[tuple[tuple[str, int | None], ...], str]:
        flags: set[tuple[str, int | None]] = set()
        for text in self._all("flag"):
            kind, _, letter = text.partition(":")
            if kind not in FLAGS:
                raise Incomplete("There is no such flag.", fields=["flag"])
            flags.add((kind, self._slot(letter, "flag")))
        reason = self._text("flag_reason", MAX_FLAG_REASON, "What is wrong") if flags else ""
        return tuple(sorted(flags, key=lambda flag: (FLAGS.index(flag[0]), -1 if flag[1] is None else flag[1]))), reason

    # ---- values ----

    def _slot(self, letter: str, name: str) -> int | None:
        if not letter:
            return None
        place = self.letters.find(letter.upper()) if len(letter) == 1 else -1
        if place < 0:
            raise Incomplete("There is no such answer.", fields=[name])
        return self.order[place]

    def _all(self, name: str) -> list[str]:
        return [text for text in values_of(self.given, name) if text]

    def _one(self, name: str) -> str:
        values = values_of(self.given, name)
        return values[-1].strip() if values else ""

    def _text(self, name: str, most: int, what: str) -> str:
        text = tidy(self._one(name))
        if len(text) > most:
            raise Incomplete(f"{what} has {len(text):,} characters; {most:,} are the most.", fields=[name])
        return text

    def _seconds(self, name: str) -> float:
        """What is no number, or more than a day, counts as not measured."""
        try:
            seconds = float(self._one(name) or 0)
        except ValueError:
            return 0.0
        return seconds if 0 <= seconds < MAX_SECONDS else 0.0  # also for what is no number at all


def choice_of(text: str, *, levels: int) -> tuple[int, int | None] | None:
    """(place of the better answer, strength) of a value such as ``b`` or ``b3``; None if it is none."""
    match = _CHOICE.fullmatch(text)
    if match is None:
        return None
    strength = int(match[2]) if match[2] else None
    return None if strength is not None and strength > levels else (LETTERS.index(match[1].upper()), strength)


def closed_up(numbers: Sequence[int]) -> tuple[int, ...]:
    """Numbers as ranks from 1 without gaps, in the same order: 7, 2, 7 gives 2, 1, 2."""
    place = {number: rank for rank, number in enumerate(sorted(set(numbers)), 1)}
    return tuple(place[number] for number in numbers)


def tidy(text: str) -> str:
    """A typed text as it is stored: ends of lines as one sign, no blank ends, nothing that a database refuses."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return text.encode("utf-8", "replace").decode().strip()


def values_of(given: Mapping[str, Any], name: str) -> list[str]:
    """All values of a field, of a QueryDict or of a mapping to strings or lists of strings."""
    if hasattr(given, "getlist"):
        return [str(value) for value in given.getlist(name)]
    value = given.get(name)
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list | tuple) else [str(value)]


def is_field(name: str) -> bool:
    """Whether a form's field is part of what a person says, and so of a draft."""
    return name in _FIELDS or name.startswith(("rank-", "rate-", "compare-"))


def _is_rank(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= 2 and int(text) >= 1


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list | tuple) else value


__all__ = [
    "FLAGS", "LETTERS", "MAX_ANSWERS", "MAX_COMMENT", "MAX_FLAG_REASON", "MAX_SECONDS", "MAX_WRITE_IN", "SCALES", "SHOWN",
    "Criterion", "Incomplete", "Protocol", "Said", "choice_of", "closed_up", "is_field", "tidy", "values_of",
]  # fmt: skip
