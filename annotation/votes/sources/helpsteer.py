"""NVIDIA's HelpSteer2 (preferences and ratings) and HelpSteer3-Preference. Individual votes are kept, not their summary.

A preference runs from -3 (the first response is much better) to 3 (the second is).
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from annotation.votes.judged import MAX_COMMENT_CHARS, Judged, Score, Vote, text_of
from annotation.votes.judged import Row as Read
from annotation.votes.parts import Row, answer, is_missing, judged, number_in, prompt_of, text_in, vote_of_score
from core.reading import BadRow, TableRow, Unusable, excerpt_of

LEVELS = 3
RATED = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
THIRD = {"context", "response1", "response2", "overall_preference", "individual_preference"}
UNSAID = (("domain", "general"), ("language", "english"))  # what stands there where nothing else is known
SECOND = {
    "prompt", "response_1", "response_2", "preference_strength", "preference_statement", "preference_elaboration",
    "three_most_similar_preferences", "all_preferences_unprocessed",
}  # fmt: skip


def is_third(rows: Sequence[Row]) -> bool:
    return any(
        "response1" in row
        and "response2" in row
        and not THIRD.isdisjoint({*row} - {"response1", "response2", "context"})
        for row in rows
    )


def third(row: Row, line: int, now: datetime) -> Judged:
    votes = _votes(row.get("individual_preference"), "score", "reasoning")
    votes = votes or [_overall(row, "overall_preference")]
    answers = [
        answer(text_in(row, name), row.get(model)) for name, model in (("response1", "model1"), ("response2", "model2"))
    ]
    prompt = row["context"] if "context" in row else row.get("prompt")
    told = {name: value for name, value in row.items() if (name, value) not in UNSAID}
    if "tags" not in told and isinstance(told.get("domain"), str):
        told["tags"] = [told.pop("domain")]
    return judged(line, prompt_of(told, prompt, line, used=THIRD | {"model1", "model2"}), answers, votes)


def is_second(rows: Sequence[Row]) -> bool:
    return any("response_1" in row and "response_2" in row and "preference_strength" in row for row in rows)


def second(row: Row, line: int, now: datetime) -> Judged:
    """Every vote where the row lists them all, else the three that were nearest, else the one summary."""
    votes = _votes(row.get("all_preferences_unprocessed"), "strength", "justification")
    votes = votes or _votes(row.get("three_most_similar_preferences"), "strength", "elaboration")
    votes = votes or [_overall(row, "preference_strength")]
    answers = [answer(text_in(row, name)) for name in ("response_1", "response_2")]
    return judged(line, prompt_of(row, row.get("prompt"), line, used=SECOND), answers, votes)


def _votes(value: Any, score: str, reason: str) -> list[Vote]:
    if is_missing(value):
        return []
    if not isinstance(value, list) or not all(isinstance(vote, dict) for vote in value):
        raise Unusable("The single preferences are not a list of objects.")
    votes = []
    for vote in value:
        number = number_in(vote, score)
        if number is None:
            raise Unusable(f"A preference has no {score}.")
        words = text_of(vote.get(reason) or "", reason, MAX_COMMENT_CHARS)
        who = vote.get("annotator")
        votes.append(vote_of_score(number, LEVELS, comment=words, annotator="" if is_missing(who) else str(who)))
    return votes


def _overall(row: Row, name: str) -> Vote:
    number = number_in(row, name)
    if number is None:
        raise Unusable(f"The row has no {name}.")
    return vote_of_score(number, LEVELS)


# ---- ratings ---------------------------------------------------------------------------------------------------------


def is_rated(rows: Sequence[Row]) -> bool:
    return any("prompt" in row and "response" in row and "helpfulness" in row for row in rows)


def read_rated(rows: Iterable[TableRow | BadRow], now: datetime) -> Iterator[Read]:
    """Responses that follow each other and share their prompt are answers of one task, each rated 0 ... 4 (here 1 ... 5)."""
    waiting: TableRow | None = None
    for row in rows:
        if waiting is not None:
            if isinstance(row, TableRow) and row.value.get("prompt") == waiting.value.get("prompt"):
                yield _rated([waiting, row])
                waiting = None
                continue
            yield _rated([waiting])
            waiting = None
        if isinstance(row, BadRow):
            yield row
        else:
            waiting = row
    if waiting is not None:
        yield _rated([waiting])


def _rated(rows: Sequence[TableRow]) -> Read:
    first = rows[0]
    try:
        answers = [answer(text_in(row.value, "response"), row.value.get("model")) for row in rows]
        scores = tuple(score for number, row in enumerate(rows) for score in _scores(row.value, number))
        totals = [row.value.get("helpfulness") for row in rows]
        worse = sorted({int(total) for total in totals if total is not None}, reverse=True)
        ranks = tuple(worse.index(int(total or 0)) + 1 for total in totals)
        vote = Vote("ranked" if len(worse) > 1 else "tie", ranks, scores=scores)
        prompt = prompt_of(first.value, first.value.get("prompt"), first.line, used={"response", "model", *RATED})
        return judged(first.line, prompt, answers, [vote])
    except Unusable as reason:
        return BadRow(first.line, str(reason), excerpt_of(first.raw))


def _scores(row: Row, number: int) -> Iterator[Score]:
    if is_missing(row.get("helpfulness")):
        raise Unusable("The response has no helpfulness.")
    for name in RATED:
        level = number_in(row, name)
        if level is not None:
            if not level.is_integer() or not 0 <= level <= 4:
                raise Unusable(f"A score of {name} is not a whole number from 0 to 4.")
            yield name, number, int(level) + 1
