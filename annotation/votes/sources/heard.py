"""What one person said in an annotation tool: responses to questions that nobody here knows, gathered into a vote.

Nothing that was said vanishes. It becomes a choice, a score, a reason or a part of the comment; else the row is told of.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from annotation.protocol import LETTERS, MAX_CRITERIA, MAX_LEVELS
from annotation.votes.judged import MAX_COMMENT_CHARS, MAX_REASON_CHARS, Score, Vote, reasons_of, text_of
from core.reading import Unusable

WORDS = "response|answer|completion|generation|output|candidate|text|reply"
ANSWER = re.compile(rf"(.*?(?:{WORDS})s?)[-_ ]*(\d|[a-i])$")
OPTION = re.compile(rf"(?:{WORDS}|option|model)?(.+?)(?:(?:is)?better)?")  # of a plain name: response a is better
QUESTION = re.compile(r"(.*?)(?:_?(\d)|_([a-i]))")  # of a criterion's name: helpful_response_a, helpful_1
ANSWER_AT_END = re.compile(rf"_?(?:{WORDS})?s?_?$")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
TIES = {
    "tie": "tie", "both": "tie", "equal": "tie", "draw": "tie", "bothgood": "both_good", "bothbad": "all_bad", "neither": "all_bad",
}  # fmt: skip
WORSE = re.compile(r"worse|worst|reject|disprefer|least", re.IGNORECASE)
AGAINST = re.compile(  # the beginnings of words, in a name whose words are parted by _
    r"(?:^|_)(?:more|most)?(?<!non_)(?<!not_)(?<!un_)(?:harm(?!less|on)|toxic|bias|error(?!less)|mistake|bad(?:ly|ness)?(?![a-z])|"
    r"less(?:er)?(?![a-z])|unsafe|offens|inferior|hallucinat|wrong|problem(?!s?_?solv)|sever(?:e|ity)|risk(?!less)|spam|rude|false|"
    r"unhelpful|untruthful|incorrect|inaccura|irrelevan|misleading|danger|hate|flaw(?!less)|issue|poor(?:ly)?(?![a-z]))"
)
BEST_FIRST = re.compile(r"best.*worst|better.*worse", re.IGNORECASE)  # of an order's name: from_best_to_worst
MAX_OPTION_CHARS = 60  # longer texts are no names
Names = tuple[str, ...]  # of the answers, in their order


def plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).casefold()


@lru_cache(maxsize=4096)
def counts_against(name: str) -> bool:
    """Whether a question or criterion asks for what is worse: worse, moreHarmful, error_count; not harmless or non_toxic."""
    words = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).casefold())
    return bool(WORSE.search(name) or AGAINST.search(words))


@lru_cache(maxsize=256)
def places_of(answers: Names) -> Mapping[str, int]:
    """Every plain word that clearly means one of these answers: its name, the name's last part, its letter, number or ordinal."""
    found = {plain(name): place for place, name in enumerate(answers)}
    if len(answers) == 1:
        return found
    parts = _parts(answers)
    found = {**{part: place for place, part in enumerate(parts)}, **found}
    if parts != sorted(parts):
        return found  # “first” may be of the names or of the order in which they stand
    words: list[Sequence[str]] = [ORDINALS, *([("left", "right")] if len(answers) == 2 else [])]
    if not any(part.isdigit() for part in parts):  # response_0 and response_1 have numbers of their own
        words.append([str(place + 1) for place in range(len(answers))])
    if not any(part.isalpha() for part in parts):
        words.append(LETTERS.lower())
    for each in words:
        for place, word in enumerate(each[: len(answers)]):
            found.setdefault(word, place)
    return found


def _parts(answers: Names) -> list[str]:
    """The last parts of the names (a, 1), where each has one of its own."""
    parts = [match[2] for name in answers if (match := ANSWER.match(name.casefold()))]
    return parts if len(set(parts)) == len(answers) else []


def place_of(word: str, answers: Names) -> int | None:
    """The number of the answer that a word means, if it clearly means one."""
    if len(word) > MAX_OPTION_CHARS:
        return None
    places, name = places_of(answers), plain(word)
    if name in places or len(answers) == 1:
        return places.get(name)
    match = OPTION.fullmatch(name)
    return places.get(match[1]) if match else None


@lru_cache(maxsize=4096)
def rated_by(question: str, answers: Names) -> tuple[str, int | None]:
    """(criterion, number of the answer) of a question such as helpful_response_a or helpful_1; None where it names no answer."""
    name = re.sub(r"[^a-z0-9]+", "_", question.casefold()).strip("_")
    if len(answers) == 1:
        return _criterion(name), 0
    by_length = sorted(enumerate(answers), key=lambda each: -len(each[1]))
    for place, answer in by_length:
        called = re.sub(r"[^a-z0-9]+", "_", answer.casefold()).strip("_")
        if called and (name.endswith(called) or name.startswith(called)):
            rest = name.removesuffix(called) if name.endswith(called) else name.removeprefix(called)
            return _criterion(rest), place
    parts, match = _parts(answers), QUESTION.fullmatch(name)
    if match and (part := match[2] or match[3]) in parts:
        head = ANSWER_AT_END.sub("", match[1], count=1)
        if head not in ("", "q", "question"):  # the second question, rather than one about the second answer
            return _criterion(head), parts.index(part)
    return _criterion(name), None


def _criterion(name: str) -> str:
    return name.strip("_").lstrip("0123456789_")[:40] or "rating"


@dataclass(frozen=True, slots=True)
class Said:
    """A text or a label; of what is complete by itself there is no question."""

    text: str
    question: str = ""
    about: str = ""  # the answer that it is about, where a control says so


@dataclass(slots=True)
class Heard:
    """What one person said, question by question."""

    answers: Names
    verdict: str = ""
    ranks: tuple[int, ...] = ()
    chosen_by: tuple[str, ...] = ()  # the questions that say which answer is better
    scores: tuple[Score, ...] = ()
    against: tuple[str, ...] = ()  # the criteria of which more is worse
    reasons: tuple[Said, ...] = ()
    comments: tuple[Said, ...] = ()

    def choose(self, question: str, verdict: str, ranks: tuple[int, ...]) -> None:
        """Take a choice for what is better. Raises Unusable where the question's name says that it asks for the worse one."""
        if counts_against(question):
            raise Unusable(
                f"The question {question[:40]} asks which answer is worse: it is not taken for the better one."
            )
        self._choose(question, verdict, ranks)

    def _choose(self, question: str, verdict: str, ranks: tuple[int, ...]) -> None:
        self.verdict, self.ranks = verdict, ranks
        self.chosen_by += (question,)

    def choose_option(self, question: str, option: str) -> bool:
        """Whether an option names an answer, or a tie: then it is the choice."""
        place = place_of(option, self.answers)
        if place is None or len(self.answers) == 1:
            verdict = TIES.get(plain(option)) if len(option) <= MAX_OPTION_CHARS else None
            if verdict:
                self.choose(question, verdict, (1,) * len(self.answers))
            return verdict is not None
        if len(self.answers) != 2:
            raise Unusable("A label for the best of more than two answers says nothing of the others.")
        self.choose(question, "ranked", (2, 1) if place else (1, 2))
        return True

    def rank(self, question: str, ranks: Sequence[int]) -> None:
        closed = closed_up(ranks)
        choose = self._choose if BEST_FIRST.search(question) else self.choose
        choose(question, "ranked" if len(set(closed)) > 1 else "tie", closed)

    def rate(self, question: str, value: Any, place: int | None = None) -> None:
        """A level of one answer; of what is no answer it is a part of the comment. ``place``: the answer, where it is known."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Unusable(f"The rating {question[:40]} is not a number.")
        criterion, named = rated_by(question, self.answers)
        if place is None and named is None:
            self.comments += (Said(f"{question}: {value}"),)
            return
        if named is None:  # the control says which answer; its name may say so once more
            head, _, last = criterion.rpartition("_")
            criterion = head if head and place_of(last, self.answers) == place else criterion
        place = named if place is None else place
        if not 1 <= value <= MAX_LEVELS or value % 1:
            raise Unusable(f"The rating {question[:40]} is not a whole number from 1 to {MAX_LEVELS}.")
        if any(score[:2] == (criterion, place) for score in self.scores):
            raise Unusable(f"One answer is rated twice by {criterion}.")
        self.scores += ((criterion, place, int(value)),)
        if counts_against(criterion) or (counts_against(question) and not any(map(counts_against, self.answers))):
            self.against += (criterion,)

    def told(self) -> tuple[list[str], list[str]]:
        """(comments, reasons), each with its question or answer where the bare text would not say which.

        A reason that is too long together with these is a part of the comment.
        """
        comments = self._named(self.comments)
        reasons: list[str] = []
        for each, full in zip(self.reasons, self._named(self.reasons), strict=True):
            too_long = len(each.text) <= MAX_REASON_CHARS < len(full)
            (comments if too_long else reasons).append(full)
        return comments, reasons

    def _named(self, said: Sequence[Said]) -> list[str]:
        asked = Counter(about for about, _ in {(each.about, each.question) for each in said if each.question})
        named = []
        for each in said:
            parts = [each.about] if each.about else []
            if each.question and (asked[each.about] > 1 or (not parts and self._names_an_answer(each.question))):
                parts.append(each.question)
            named.append(f"{', '.join(parts)}: {each.text}" if parts else each.text)
        return named

    def _names_an_answer(self, question: str) -> bool:
        return len(self.answers) > 1 and rated_by(question, self.answers)[1] is not None

    def has_said(self) -> bool:
        return bool(self.chosen_by or self.scores or self.reasons or self.comments)

    def by_ratings(self) -> None:
        """Where nobody chooses, the one criterion that rates every answer says which is better."""
        criteria = sorted({criterion for criterion, *_ in self.scores})
        if len(criteria) > 1:
            shown = ", ".join(criteria)
            raise Unusable(
                f"The answers are rated by {shown}, and nothing says which of them is better: keep one of these."
            )
        if criteria[0] in self.against:
            raise Unusable(f"The answers are rated by {criteria[0]} alone, which does not say which of them is better.")
        levels = {place: level for _, place, level in self.scores}
        if len(levels) < len(self.answers):
            raise Unusable(f"Nothing says which answer is better, and {criteria[0]} does not rate every answer.")
        closed = closed_up([-levels[place] for place in range(len(self.answers))])
        self.verdict, self.ranks = "ranked" if len(set(closed)) > 1 else "tie", closed

    def vote(self, who: str, **about: Any) -> Vote:
        if self.scores and len({criterion for criterion, *_ in self.scores}) > MAX_CRITERIA:
            raise Unusable(f"There are more than {MAX_CRITERIA} ratings of an answer.")
        comments, reasons = self.told()
        return Vote(
            self.verdict, self.ranks, who, scores=self.scores, reasons=reasons_of(reasons) if reasons else (),
            comment=text_of("\n\n".join(comments), "comment", MAX_COMMENT_CHARS) if comments else "", **about,
        )  # fmt: skip


def closed_up(ranks: Sequence[int]) -> tuple[int, ...]:
    places = {rank: number for number, rank in enumerate(sorted(set(ranks)), 1)}
    return tuple(places[rank] for rank in ranks)


def settle(heard: Sequence[Heard]) -> None:
    """Give each person's responses their verdict. Raises Unusable where what somebody said is no vote, or two."""
    if len(heard) == 1 and len(heard[0].chosen_by) == 1:
        return  # what most rows have
    choosing = list(dict.fromkeys(question for each in heard for question in each.chosen_by))
    if len(choosing) > 1:
        count, shown = "two" if len(choosing) == 2 else len(choosing), ", ".join(each[:40] for each in choosing[:6])
        raise Unusable(f"The row answers {count} questions by choosing ({shown}): keep one of them in the file.")
    for each in heard:
        if len(each.chosen_by) > 1:
            raise Unusable(f"One person answers {choosing[0][:40]} twice.")
        if each.verdict:
            continue
        if each.scores and len(each.answers) == 1:
            each.verdict, each.ranks = "tie", (1,)
        elif each.scores and not choosing:
            each.by_ratings()
        else:
            comments, reasons = each.told()
            shown = "; ".join([*comments, *reasons])[:60]
            raise Unusable(
                f"There is a response, and no vote in it that is understood{f': “{shown}”' if shown else ''}."
            )
