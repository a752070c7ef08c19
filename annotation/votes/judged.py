"""The one form that every format of votes is read into: a prompt, its answers, and what people said about them. No database."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from annotation.protocol import LETTERS, MAX_ANSWERS, MAX_CRITERIA, MAX_LEVELS, MAX_REASONS
from core.reading import BadRow, Unusable
from generation.prompt_readers import PromptRow

MAX_ANSWER_CHARS = 1_000_000
MAX_COMMENT_CHARS = 50_000
MAX_NAME_CHARS = 200  # of a model, a person's id
MAX_ID_CHARS = 100  # of a task or a vote
MAX_REASON_CHARS = 200
MAX_VOTES = 10_000  # of one row
MAX_STRENGTH, MAX_COMPARISON = 4, 4
MAX_DESCRIBED_STRENGTH = 12  # on the scale of a campaign that a file describes: margins need twelfths
MAX_SECONDS = 24 * 3600.0
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
CRITERION = re.compile(r"[a-z][a-z0-9_]{0,39}")
_NUMBERS = {("ab", 2): (0, 1), ("ba", 2): (1, 0)}  # what nearly all rows have
VERDICTS = {"tie": "tie", "both_good": "both_good", "both_bad": "all_bad"}

Score = tuple[str, int | None, int]  # criterion, number of the answer (None: a comparison of two), value


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. Two are the same answer where prompt, model, id and text are.

    arm   key of ``outside.arm_key``: the model and how it was sampled; the model alone, where empty
    told  seed, tokens of the prompt, tokens of the answer, seconds: as its server reported them
    """

    model: str
    text: str
    id: str = ""
    finish_reason: str = field(default="", compare=False)
    arm: str = field(default="", compare=False)
    told: tuple[int, int | None, int | None, float | None] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Vote:
    """What one person said, by the answers' numbers in their row, from 0.

    verdict    ranked, tie, both_good or all_bad
    ranks      1 is best, equal ranks are ties, without gaps
    annotator  the person's id where the vote is from; empty where it is not known
    order      the answers in the order shown; empty where it is not known
    levels     the highest strength of the source's scale, where the source says; 0 where not
    scores     of a rating 1 ... 10; of a comparison -4 ... 4, negative where the first answer is better
    """

    verdict: str
    ranks: tuple[int, ...]
    annotator: str = ""
    order: tuple[int, ...] = ()
    strength: int | None = None
    scores: tuple[Score, ...] = ()
    reasons: tuple[str, ...] = ()
    comment: str = ""
    write_in: str = ""
    seconds: float = 0.0
    at: datetime | None = None
    id: str = ""
    levels: int = 0
    more: Mapping[str, Any] | None = None  # what only the full format says, as ``full`` reads it


@dataclass(frozen=True, slots=True)
class Judged:
    """One row of a file: a prompt with answers and any number of votes on them; an answer alone is judged good or bad."""

    line: int
    prompt: PromptRow
    answers: tuple[Answer, ...]
    votes: tuple[Vote, ...]
    id: str = ""
    more: Mapping[str, Any] | None = None  # of the full format: campaign (its number), why, probability


@dataclass(frozen=True, slots=True)
class Header:
    """A line of the full format that describes a campaign, checked by ``full``."""

    line: int
    settings: Mapping[str, Any]


Row = Judged | BadRow | Header


# ---- parts of a row, checked; each raises Unusable with its reason -----------------------------------------------------


def name_of(value: Any, what: str, most: int = MAX_NAME_CHARS) -> str:
    """A name or an id: text or a whole number."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Unusable(f"{what} is neither text nor a whole number.")
    name = str(value).strip()
    if len(name) > most:
        raise Unusable(f"{what} is longer than {most} characters.")
    return name


def answers_checked(answers: Sequence[Answer], *, least: int = 2) -> tuple[Answer, ...]:
    """``least`` is one where a source judges answers alone."""
    if not least <= len(answers) <= MAX_ANSWERS:
        raise Unusable(f"The row has {len(answers)} answers; two to {MAX_ANSWERS} can be compared.")
    for letter, answer in zip(LETTERS.lower(), answers, strict=False):
        if not answer.model:
            raise Unusable(f"Answer {letter} does not say which model wrote it.")
        if len(answer.text) > MAX_ANSWER_CHARS:
            raise Unusable(f"Answer {letter} is longer than {MAX_ANSWER_CHARS:,} characters.")
    if len(set(answers)) < len(answers):
        raise Unusable("Two answers are the same text by the same model; give each an id if they are two answers.")
    return tuple(answers)


def ranks_of(value: Any, n_answers: int) -> tuple[int, ...]:
    """Ranks without gaps, of ranks as they were given: 1, 1, 3 becomes 1, 1, 2."""
    if not isinstance(value, list) or len(value) != n_answers:
        raise Unusable(f"The ranks are not a list of {n_answers} numbers, one for each answer.")
    if any(isinstance(rank, bool) or not isinstance(rank, int) or rank < 1 for rank in value):
        raise Unusable("A rank is a whole number from 1, the best.")
    places = {rank: number for number, rank in enumerate(sorted(set(value)), 1)}
    return tuple(places[rank] for rank in value)


def choice_of(value: Any, n_answers: int) -> tuple[str, tuple[int, ...]]:
    """(verdict, ranks) of a, b, tie, both_good or both_bad."""
    even = (1,) * n_answers
    if isinstance(value, str) and value in VERDICTS:
        return VERDICTS[value], even
    if not isinstance(value, str) or len(value) != 1 or value not in LETTERS[:n_answers].lower():
        raise Unusable("The choice is a letter of an answer (a is the first), tie, both_good or both_bad.")
    if n_answers != 2:
        if n_answers == 1:
            raise Unusable("An answer alone is judged by both_good or both_bad.")
        raise Unusable("The best of more than two answers says nothing of the others; give their ranks.")
    return "ranked", (1, 2) if value == "a" else (2, 1)


def order_of(value: Any, n_answers: int) -> tuple[int, ...]:
    """Numbers of the answers in the order shown, of their letters: ba is (1, 0)."""
    if isinstance(value, str) and (numbers := _NUMBERS.get((value, n_answers))):
        return numbers
    letters = LETTERS[:n_answers].lower()
    if not isinstance(value, str) or sorted(value) != list(letters):
        raise Unusable(f"The order names each answer once, by its letter ({letters} where the first was shown first).")
    return tuple(letters.index(letter) for letter in value)


def strength_of(value: Any, verdict: str, n_answers: int, *, most: int = MAX_STRENGTH) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise Unusable(f"The strength is a whole number from 1 to {most}.")
    if verdict != "ranked" or n_answers != 2:
        raise Unusable("A strength belongs to a vote for one of two answers.")
    return value


def scores_of(value: Any, n_answers: int) -> tuple[Score, ...]:
    if not isinstance(value, dict) or len(value) > MAX_CRITERIA:
        raise Unusable(f"The scores are an object of at most {MAX_CRITERIA} criteria.")
    scores: list[Score] = []
    for criterion, given in value.items():
        if not CRITERION.fullmatch(criterion):
            raise Unusable(f"“{criterion[:40]}” is no name for a criterion: lower-case letters, digits, _.")
        if isinstance(given, list):
            if len(given) != n_answers:
                raise Unusable(f"The scores of {criterion} are not one for each answer (null where there is none).")
            for number, level in enumerate(given):
                if level is not None:
                    scores.append((criterion, number, _whole(level, 1, MAX_LEVELS, criterion)))
        elif n_answers == 2:
            scores.append((criterion, None, _whole(given, -MAX_COMPARISON, MAX_COMPARISON, criterion)))
        else:
            raise Unusable(f"{criterion} compares two answers, but there are {n_answers}.")
    return tuple(scores)


def _whole(value: Any, low: int, high: int, criterion: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Unusable(f"A score of {criterion} is not a whole number from {low} to {high}.")
    return value


def reasons_of(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_REASONS:
        raise Unusable(f"The reasons are a list of at most {MAX_REASONS} texts.")
    if any(not isinstance(reason, str) or len(reason) > MAX_REASON_CHARS for reason in value):
        raise Unusable(f"A reason is a text of at most {MAX_REASON_CHARS} characters.")
    return tuple(value)


def text_of(value: Any, what: str, most: int) -> str:
    if not isinstance(value, str):
        raise Unusable(f"The {what} is not text.")
    if len(value) > most:
        raise Unusable(f"The {what} is longer than {most:,} characters.")
    return value


def seconds_of(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_SECONDS:
        raise Unusable("The seconds are a number from 0 to 86,400.")
    return float(value)


def time_of(value: Any, *, now: datetime) -> datetime:
    """A time as ISO 8601 (UTC where it names no zone) or as seconds since 1970."""
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value.strip())
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            at = datetime.fromtimestamp(value, UTC)
        else:
            raise ValueError
        at = at.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise Unusable("The time is neither ISO 8601, such as 2026-01-31T12:00:00Z, nor seconds since 1970.") from None
    if not EARLIEST <= at <= now + timedelta(days=1):
        raise Unusable(f"The time lies before {EARLIEST.year} or in the future.")
    return at


__all__ = [
    "LETTERS", "MAX_ANSWERS", "MAX_COMMENT_CHARS", "MAX_ID_CHARS", "MAX_NAME_CHARS", "MAX_VOTES", "Answer", "Header", "Judged", "Row",
    "Score", "Vote", "answers_checked", "choice_of", "name_of", "order_of", "ranks_of", "reasons_of", "scores_of",
    "seconds_of", "strength_of", "text_of", "time_of",
]  # fmt: skip
