"""One form being read: letters and places on the outside, slots on the inside. What is missing is named with its fields."""

from collections.abc import Mapping, Sequence
from typing import Any

from annotation.protocol.criteria import (
    FLAGS,
    LETTERS,
    MAX_COMMENT,
    MAX_FLAG_REASON,
    MAX_SECONDS,
    MAX_WRITE_IN,
    AsksFor,
    Criterion,
    Protocol,
)
from annotation.protocol.values import choice_of, closed_up, is_rank, tidy, values_of
from core.errors import DomainError, require


class Incomplete(DomainError):
    """Something required is missing or cannot be (422). ``fields`` names the form's fields, for the page to point at."""

    def __init__(self, sentence: str, *, fields: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.fields = tuple(fields)


class Reading:
    """One form being read: places and letters on the outside, slots on the inside."""

    def __init__(self, given: Mapping[str, Any], campaign: AsksFor, display_order: Sequence[int]) -> None:
        self.given, self.campaign, self.order = given, campaign, list(display_order)
        self.protocol = Protocol.parse(campaign.protocol)
        self.letters = LETTERS[: len(self.order)]

    def values(self) -> dict[str, Any]:
        """What was said, as arguments for ``Said``; not yet held against what the campaign takes."""
        scores = self._scores()
        verdict, ranks, strength = self._verdict(scores)
        write_in = self._text("write_in", MAX_WRITE_IN, "Your answer") if self.protocol.write_in != "off" else ""
        flags, flag_reason = self._flags() if self.protocol.has_flags else ((), "")
        return {
            "verdict": verdict,
            "ranks": ranks,
            "strength": strength,
            "scores": scores,
            "reasons": self._reasons(),
            "comment": self._comment(),
            "write_in": write_in,
            "edited_from": self._slot(self._one("edited_from"), "edited_from") if write_in else None,
            "flags": flags,
            "flag_reason": flag_reason,
            "active_seconds": self._seconds("active"),
            "open_seconds": self._seconds("open"),
        }

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
        missing = [letter for letter, text in given.items() if not is_rank(text)]
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
