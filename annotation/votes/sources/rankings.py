"""Rankings of several answers in one row: InstructGPT's layout (answers and ranks side by side) and Nectar's (a rank in each).

Rows may hold one person's ranks, or ``rankings``: a list of what each person said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from annotation.votes.judged import (
    MAX_COMMENT_CHARS,
    VERDICTS,
    Answer,
    Judged,
    Vote,
    ranks_of,
    reasons_of,
    scores_of,
    strength_of,
    text_of,
)
from annotation.votes.parts import Row, annotator_in, answer, id_in, is_missing, judged, prompt_of, said, time_in
from core.reading import Unusable
from generation.transcripts import is_asked, opened

ANSWERS = ("answers", "responses", "completions", "outputs", "candidates")
RANKS = ("ranks", "ranking", "rank")
TEXTS = ("text", "answer", "response", "completion", "content", "output")
MODELS = ("model", "source", "model_name")


def recognises(rows: Sequence[Row]) -> bool:
    return any("prompt" in row and _is_ranked(row) for row in rows)


def _is_ranked(row: Row) -> bool:
    name = next((name for name in ANSWERS if isinstance(row.get(name), list)), "")
    if not name or len(row[name]) < 2:
        return False
    if any(isinstance(each, dict) and "text" in each and "rank" not in each for each in row[name]):
        return False  # our own form
    has_own = all(isinstance(each, dict) and "rank" in each for each in row[name])
    return has_own or any(name in row for name in (*RANKS, "rankings"))


def read(row: Row, line: int, now: datetime) -> Judged:
    name = next((name for name in ANSWERS if isinstance(row.get(name), list)), "")
    if not name:
        raise Unusable(f"The row has no list of answers ({', '.join(ANSWERS)}).")
    given = row[name]
    models = row.get("models")
    named = models if isinstance(models, list) and len(models) == len(given) else [None] * len(given)
    answers = [_answer(each, model) for each, model in zip(given, named, strict=True)]
    asked = row.get("prompt")
    if is_asked(asked):
        asked, texts = opened(asked, [each.text for each in answers])
        answers = [replace(each, text=text) for each, text in zip(answers, texts, strict=True)]
    used = {name, "models", "rankings", "annotator", "time", "comment", "id", "task", "question", *RANKS}
    prompt = prompt_of(row, asked, line, used=used)
    return judged(line, prompt, answers, _votes(row, given, now), id=id_in(row, "id", "task"))


def _answer(value: Any, model: Any) -> Answer:
    if isinstance(value, dict) and "role" not in value:
        text = next((value[key] for key in TEXTS if isinstance(value.get(key), str)), None)
        if text is None:
            raise Unusable("An answer has no text.")
        return answer(text, next((value[key] for key in MODELS if not is_missing(value.get(key))), model))
    return answer(said(value, "answers"), model)


def _votes(row: Row, given: Sequence[Any], now: datetime) -> list[Vote]:
    if isinstance(row.get("rankings"), list):
        votes = [each for each in row["rankings"] if isinstance(each, dict)]
        if len(votes) != len(row["rankings"]):
            raise Unusable("The rankings are not a list of objects.")
        return [_vote(each, _given_ranks(each), len(given), now) for each in votes]
    ranks = (
        [each["rank"] for each in given] if all(isinstance(each, dict) and "rank" in each for each in given) else None
    )
    return [_vote(row, ranks if ranks is not None else _given_ranks(row), len(given), now)]


def _given_ranks(row: Mapping[str, Any]) -> Any:
    return next((row[name] for name in RANKS if name in row), None)


def _vote(row: Mapping[str, Any], ranks: Any, n: int, now: datetime) -> Vote:
    if isinstance(ranks, list):
        ranks = [int(rank) if isinstance(rank, float) and rank.is_integer() else rank for rank in ranks]
    found = ranks_of(ranks, n)
    comment, strength = row.get("comment") or row.get("reason") or "", row.get("strength")
    verdict = "ranked" if len(set(found)) > 1 else VERDICTS.get(str(row.get("verdict")), "tie")
    return Vote(
        verdict, found, annotator_in(row, "annotator", "worker"),
        strength=None if is_missing(strength) else strength_of(strength, verdict, n),
        scores=scores_of(_scores(row.get("scores")), n), reasons=reasons_of(row.get("reasons") or []),
        comment=text_of(comment, "comment", MAX_COMMENT_CHARS), at=time_in(row, "time", now),
    )  # fmt: skip


def _scores(value: Any) -> dict[str, Any]:
    """By criterion, as our own form has them: an object, or (in a table) a list with ratings or a comparison for each."""
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        return {str(each.get("criterion")): each.get("ratings") or each.get("comparison") or 0 for each in value}
    return value or {}
