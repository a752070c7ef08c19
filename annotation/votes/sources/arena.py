"""Logs of arena battles: FastChat's cleaned battles (conversation_a, winner) and the table of 55k (response_a, winner_model_a).

The arena shows model_a on the left, so the order is known.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from annotation.votes.judged import Judged, Vote
from annotation.votes.parts import (
    Row,
    annotator_in,
    answer,
    flag_in,
    id_in,
    is_messages,
    judged,
    prompt_of,
    split_pair,
    time_in,
)
from core.reading import Unusable, parse_json

SIDES = ("conversation_a", "conversation_b")
WINNERS: dict[str, tuple[str, tuple[int, int]]] = {
    "model_a": ("ranked", (1, 2)), "model_b": ("ranked", (2, 1)), "a": ("ranked", (1, 2)), "b": ("ranked", (2, 1)),
    "tie": ("tie", (1, 1)), "tie (bothbad)": ("all_bad", (1, 1)), "tie (both bad)": ("all_bad", (1, 1)),
    "bothbad": ("all_bad", (1, 1)), "both_bad": ("all_bad", (1, 1)), "both_good": ("both_good", (1, 1)),
    "tie (bothgood)": ("both_good", (1, 1)),
}  # fmt: skip
USED = {
    *SIDES, "model_a", "model_b", "winner", "judge", "tstamp", "timestamp", "turn", "question_id", "prompt", "response_a",
    "response_b", "winner_model_a", "winner_model_b", "winner_tie", "annotator", "id", "anony",
}  # fmt: skip


def recognises(rows: Sequence[Row]) -> bool:
    return any(
        "model_a" in row and "model_b" in row and ("conversation_a" in row or "response_a" in row) and _has_winner(row)
        for row in rows
    )


def _has_winner(row: Row) -> bool:
    return "winner" in row or "winner_model_a" in row


def read(row: Row, line: int, now: datetime) -> Judged:
    if is_messages(row.get("conversation_a")):
        prompt, one, other = split_pair(row["conversation_a"], row.get("conversation_b"), SIDES)
        if isinstance(row.get("language"), str) and len(row["language"]) > 40:
            raise Unusable("The language is longer than 40 characters.")
    else:
        prompt, one, other = _flat(row)
    verdict, ranks = _winner(row)
    vote = Vote(
        verdict, ranks, annotator_in(row, "judge", "annotator"), order=(0, 1), id=id_in(row, "question_id", "id"),
        at=time_in(row, "tstamp", now) or time_in(row, "timestamp", now),
        more={"unblinded": True} if row.get("anony") is False else None,
    )  # fmt: skip
    answers = [answer(one, row.get("model_a")), answer(other, row.get("model_b"))]
    used = USED | {"language"} if row.get("language") == "unknown" else USED
    told = prompt_of(row, prompt, line, used=used)
    return judged(line, told, answers, [vote])


def _winner(row: Row) -> tuple[str, tuple[int, int]]:
    if "winner" in row:
        found = WINNERS.get(str(row["winner"]).strip().casefold())
        if found is None:
            raise Unusable("The winner is model_a, model_b, tie or tie (bothbad).")
        return found
    said = [name for name in ("winner_model_a", "winner_model_b", "winner_tie") if flag_in(row, name)]
    if len(said) != 1:
        raise Unusable("Of winner_model_a, winner_model_b and winner_tie one is 1.")
    return WINNERS[said[0].removeprefix("winner_")]


def _flat(row: Row) -> tuple[list[dict[str, str]], str, str]:
    """Turns as lists of texts, or as JSON in a cell: a prompt's turns, and each side's answers to them."""
    asked, one, other = (_turns(row.get(name), name) for name in ("prompt", "response_a", "response_b"))
    if not len(asked) == len(one) == len(other):
        raise Unusable("The prompt and the two responses have different numbers of turns.")
    if one[:-1] != other[:-1]:
        raise Unusable("The two conversations part before their last answers, so they answer different prompts.")
    prompt = [{"role": "user", "content": asked[0]}]
    for question, reply in zip(asked[1:], one[:-1], strict=True):
        prompt += [{"role": "assistant", "content": reply}, {"role": "user", "content": question}]
    return prompt, one[-1], other[-1]


def _turns(value: Any, name: str) -> list[str]:
    if isinstance(value, str):
        if value.startswith('["') or value == "[null]":
            value = parse_json(value)
        else:
            return [value]
    if not isinstance(value, list) or not value or not all(isinstance(turn, str) for turn in value):
        raise Unusable(f"The column {name} is neither text nor a list of texts.")
    return value
