"""Any other table, once a person (or the API) has said which column is what: ``mapping`` is role -> column."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from annotation.votes.judged import MAX_COMMENT_CHARS, MAX_STRENGTH, Answer, Judged, Vote, order_of, seconds_of, text_of
from annotation.votes.parts import (
    Row,
    annotator_in,
    answer,
    flag_in,
    id_in,
    is_messages,
    judged,
    number_in,
    prompt_of,
    said,
    split_last,
    time_in,
)
from annotation.votes.sources.arena import WINNERS
from core.errors import require
from core.reading import Unusable
from generation.transcripts import opened

LEFT = {"left", "first", "1", "a", "model_a", "answer_a", "response_a", "answer_1", "response_1", "chosen_a"}
RIGHT = {"right", "second", "2", "b", "model_b", "answer_b", "response_b", "answer_2", "response_2", "chosen_b"}


@dataclass(frozen=True, slots=True)
class RoleOfColumn:
    name: str
    label: str
    help: str = ""


ROLES: tuple[RoleOfColumn, ...] = (
    RoleOfColumn("prompt", "Prompt", "text or messages"),
    RoleOfColumn("system", "System message"),
    RoleOfColumn("answer_a", "Answer a", "with answer b: two answers side by side"),
    RoleOfColumn("answer_b", "Answer b"),
    RoleOfColumn("winner", "Winner", "of a and b: a, b, left, right, 1, 2, a model's name, tie, both good, both bad"),
    RoleOfColumn("chosen", "Chosen answer", "with the rejected one: the better of two"),
    RoleOfColumn("rejected", "Rejected answer"),
    RoleOfColumn("answer", "Answer", "one answer alone, judged by the next column or not at all"),
    RoleOfColumn("label", "Good or bad", "of one answer: true, false, 1, 0"),
    RoleOfColumn("model_a", "Model of a", "or of the chosen, or of the only answer"),
    RoleOfColumn("model_b", "Model of b", "or of the rejected"),
    RoleOfColumn("annotator", "Who said it"),
    RoleOfColumn("time", "When", "ISO 8601, or seconds since 1970"),
    RoleOfColumn("order", "Order shown", "ab or ba"),
    RoleOfColumn("strength", "How much better", "1 to 4"),
    RoleOfColumn("seconds", "How long it took"),
    RoleOfColumn("comment", "Comment"),
    RoleOfColumn("id", "Id of the row"),
    RoleOfColumn("group", "Group of prompts"),
    RoleOfColumn("split", "Split", "train or holdout"),
    RoleOfColumn("tags", "Tags"),
)
NAMES = tuple(role.name for role in ROLES)
CALLED = {
    "prompt": "prompt", "answer_a": "answer a", "answer_b": "answer b", "chosen": "chosen answer", "rejected": "rejected answer",
    "answer": "answer",
}  # fmt: skip
TOGETHER = (("answer_a", "answer_b"), ("chosen", "rejected"))


def roles_of(mapping: Mapping[str, Any]) -> dict[str, str]:
    """The roles that have a column, as they are stored."""
    require(isinstance(mapping, Mapping), "A mapping is an object: role and column.")
    return {str(role): str(column) for role, column in mapping.items() if column}


def checked(mapping: Mapping[str, Any], columns: Sequence[str] = ()) -> dict[str, str]:
    """A mapping that makes sense, without empty roles. Raises DomainError with what is missing.

    columns  of the file, where they are known
    """
    found = roles_of(mapping)
    unknown = sorted(found.keys() - set(NAMES))
    require(not unknown, f"There is no role “{unknown[0][:40]}”." if unknown else "", how=f"Roles: {', '.join(NAMES)}.")
    require("prompt" in found, "Say which column holds the prompt.")
    for one, other in TOGETHER:
        require(
            (one in found) == (other in found), f"{one} and {other} belong together.", how="Choose both, or neither."
        )
    kinds = [name for name in ("answer_a", "chosen", "answer") if name in found]
    require(len(kinds) == 1, "Choose answers a and b, or chosen and rejected, or one answer alone.")
    require("winner" not in found or kinds == ["answer_a"], "A winner needs answers a and b.")
    require("label" not in found or kinds == ["answer"], "Good or bad is said of one answer alone.")
    twice = sorted({column for column in found.values() if list(found.values()).count(column) > 1})
    require(not twice, f"The column “{twice[0][:60]}” has two roles." if twice else "")
    missing = sorted(set(found.values()) - set(columns)) if columns else []
    require(not missing, f"The file has no column “{missing[0][:60]}”." if missing else "")
    return found


LIKELY: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt", "question", "instruction", "query", "input", "context", "text"),
    "system": ("system", "system_prompt"),
    "answer_a": ("answer_a", "response_a", "answer1", "response1", "response_1", "answer_1", "output_1", "completion_a", "a"),
    "answer_b": ("answer_b", "response_b", "answer2", "response2", "response_2", "answer_2", "output_2", "completion_b", "b"),
    "winner": ("winner", "preference", "preferred", "choice", "label", "vote"),
    "chosen": ("chosen", "chosen_response", "preferred_response", "better"),
    "rejected": ("rejected", "rejected_response", "dispreferred_response", "worse"),
    "answer": ("answer", "response", "completion", "output"),
    "label": ("label", "is_good", "thumbs_up"),
    "model_a": ("model_a", "model1", "model_1", "model"), "model_b": ("model_b", "model2", "model_2"),
    "annotator": ("annotator", "worker", "worker_id", "user_id", "judge", "rater"),
    "time": ("time", "timestamp", "created_at", "tstamp"),
}  # fmt: skip


def guessed(columns: Iterable[str]) -> dict[str, str]:
    """A first proposal by the columns' names, for a person to look at."""
    names = {name.strip().casefold().replace(" ", "_").replace("-", "_"): name for name in columns}
    found: dict[str, str] = {}
    for role, likely in LIKELY.items():
        name = next((names[each] for each in likely if each in names and names[each] not in found.values()), "")
        if name:
            found[role] = name
    for one, other in TOGETHER:
        if (one in found) != (other in found):
            found.pop(one, None)
            found.pop(other, None)
    if "answer_a" in found or "chosen" in found:
        found.pop("answer", None)
        found.pop("label", None)
    if "answer_a" not in found:
        found.pop("winner", None)
    return found


def columns_of_turns(mapping: Mapping[str, str]) -> frozenset[str]:
    """The columns of the prompt and the answers: text or messages."""
    return frozenset(mapping[role] for role in CALLED if role in mapping)


def reader(mapping: Mapping[str, str]) -> Any:
    """A function that reads one row of a table by this mapping."""

    names = next(pair for pair in (*TOGETHER, ("answer",)) if pair[0] in mapping)
    columns = frozenset(mapping.values())

    def read(row: Row, line: int, now: datetime) -> Judged:
        given = {role: row[column] for role, column in mapping.items() if column in row}
        rest = {name: value for name, value in row.items() if name not in columns}
        return _judged(given, rest, names, line, now)

    return read


def _judged(given: Row, rest: Row, names: Sequence[str], line: int, now: datetime) -> Judged:
    for needed in ("prompt", *names):
        if given.get(needed) is None:
            raise Unusable(f"The column of the {CALLED[needed]} is empty.")
    about = {name: given[name] for name in ("system", "group", "split", "tags") if name in given}
    asked, texts = opened(given["prompt"], [_text(given[name], name) for name in names])
    prompt = prompt_of({**rest, **about}, asked, line, used=())
    models = [given.get("model_a"), given.get("model_b")]
    answers = [answer(text, model) for text, model in zip(texts, models, strict=False)]
    vote = _vote(given, names[0], answers, now)
    return judged(line, prompt, answers, [vote] if vote else [], id=id_in(given, "id"))


def _text(value: Any, name: str) -> str:
    """An answer: text, a message, or the last turn of a conversation."""
    return split_last(value, name)[1] if is_messages(value) and len(value) > 1 else said(value, name)


def _vote(given: Row, kind: str, answers: Sequence[Answer], now: datetime) -> Vote | None:
    ranks: tuple[int, ...]
    if kind == "answer":
        if given.get("label") in (None, ""):
            return None
        verdict, ranks = "both_good" if flag_in(given, "label") else "all_bad", (1,)
    elif kind == "chosen":
        verdict, ranks = "ranked", (1, 2)
    elif given.get("winner") in (None, ""):
        return None
    else:
        verdict, ranks = _winner(str(given["winner"]), answers)
    strength = number_in(given, "strength")
    if strength is not None and not (strength.is_integer() and 1 <= strength <= MAX_STRENGTH):
        raise Unusable(f"The strength is a whole number from 1 to {MAX_STRENGTH}.")
    order, seconds = given.get("order"), number_in(given, "seconds")
    return Vote(
        verdict, ranks, annotator_in(given, "annotator"),
        order=order_of(str(order).strip().lower(), len(answers)) if order and len(answers) == 2 else (),
        strength=int(strength) if strength and verdict == "ranked" else None,
        comment=text_of(given.get("comment") or "", "comment", MAX_COMMENT_CHARS),
        seconds=seconds_of(seconds) if seconds is not None else 0.0, at=time_in(given, "time", now),
    )  # fmt: skip


def _winner(said_of: str, answers: Sequence[Answer]) -> tuple[str, tuple[int, ...]]:
    word = said_of.strip().casefold()
    if word in WINNERS:
        return WINNERS[word]
    plain = word.replace(" ", "_")
    if plain in WINNERS:
        return WINNERS[plain]
    if plain in LEFT or plain in RIGHT:
        return "ranked", (1, 2) if plain in LEFT else (2, 1)
    by_model = [number for number, each in enumerate(answers) if each.model.casefold() == word]
    if len(by_model) == 1:
        return "ranked", (1, 2) if by_model[0] == 0 else (2, 1)
    raise Unusable(f"The winner “{said_of[:40]}” is neither a nor b, no model of the row, and no tie.")
