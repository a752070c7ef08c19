"""What the formats of other projects share: texts and messages, numbers and flags, a pair with a vote for one of its answers.

Everything here raises ``Unusable`` with the reason. What a source does not say stays unknown: no annotator, no order, no time.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from annotation.votes.judged import (
    MAX_COMPARISON,
    MAX_ID_CHARS,
    MAX_STRENGTH,
    Answer,
    Judged,
    Vote,
    answers_checked,
    name_of,
    time_of,
)
from core.reading import Unusable
from generation.prompt_readers import PROMPT_COLUMNS, Message, PromptRow, message_of, prompt_from

UNKNOWN = "unknown"  # the outside model of answers whose author the source does not name
FINE_LEVELS = 12  # of a margin from 0 to 1: halves, thirds and quarters are whole numbers of it
Row = Mapping[str, Any]

# What our own exports say of a row that follows from its votes, and is not to become the prompt's metadata.
DERIVED = frozenset({"id", "prompt_id", "n_votes", "vote_share", "weight", "source_format"})


def is_missing(value: Any) -> bool:
    """Nothing said: null, or an empty cell."""
    return value is None or value == ""


def text_in(row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise Unusable(f"The column {name} is not text.")
    return value


def number_in(row: Row, name: str) -> float | None:
    """A finite number, also as text (CSV); None where there is none."""
    value = row.get(name)
    if is_missing(value):
        return None
    try:
        number = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Unusable(f"The column {name} is not a number.")
    return number


def flag_in(row: Row, name: str) -> bool:
    """True or false, also as text or as 0 and 1."""
    value = row.get(name)
    if isinstance(value, bool):
        return value
    word = str(value).strip().casefold()
    if word in ("true", "1", "1.0", "yes"):
        return True
    if word in ("false", "0", "0.0", "no", "-1"):
        return False
    raise Unusable(f"The column {name} is neither true nor false.")


def id_in(row: Row, *names: str) -> str:
    """The first of these columns that holds an id; empty where none does."""
    for name in names:
        if not is_missing(row.get(name)):
            return name_of(row[name], f"The column {name}", MAX_ID_CHARS)
    return ""


def annotator_in(row: Row, *names: str) -> str:
    return next((name_of(row[name], "The annotator") for name in names if not is_missing(row.get(name))), "")


def time_in(row: Row, name: str, now: datetime) -> datetime | None:
    value = row.get(name)
    return None if is_missing(value) else time_of(value, now=now)


# ---- messages --------------------------------------------------------------------------------------------------------


def is_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(turn, dict) for turn in value)


def messages_of(value: Any, name: str) -> list[Message]:
    if not is_messages(value):
        raise Unusable(f"The column {name} is not a list of messages.")
    return [message_of(turn, number) for number, turn in enumerate(value, 1)]


def said(value: Any, name: str) -> str:
    """The text of one answer: text, one assistant message, or a list of one."""
    if isinstance(value, str):
        return value
    turns = value if isinstance(value, list) else [value]
    if len(turns) != 1 or not isinstance(turns[0], dict):
        raise Unusable(f"The column {name} is neither text nor one message of the assistant.")
    message = message_of(turns[0], 1)
    if message["role"] != "assistant":
        raise Unusable(f"The message in {name} is the {message['role']}'s, not the assistant's.")
    return message["content"]


def split_last(value: Any, name: str) -> tuple[list[Message], str]:
    """(what comes before, the answer) of a conversation that ends with the assistant."""
    messages = messages_of(value, name)
    if messages[-1]["role"] != "assistant":
        raise Unusable(f"The conversation in {name} does not end with the assistant's answer.")
    return messages[:-1], messages[-1]["content"]


def split_pair(first: Any, second: Any, names: tuple[str, str]) -> tuple[list[Message], str, str]:
    """(prompt, answer, answer) of two conversations that part only at their last turns."""
    prompt, one = split_last(first, names[0])
    other_prompt, other = split_last(second, names[1])
    if prompt != other_prompt:
        raise Unusable("The two conversations part before their last answers, so they answer different prompts.")
    if not prompt:
        raise Unusable("The conversations hold an answer and no prompt.")
    return prompt, one, other


# ---- a row -----------------------------------------------------------------------------------------------------------


def prompt_of(row: Row, prompt: Any, line: int, *, used: Iterable[str]) -> PromptRow:
    """The prompt with the columns that nothing has used: tags, group, split, ... by their names, the others as metadata."""
    drop = DERIVED.union(used, PROMPT_COLUMNS)
    columns = {name: value for name, value in row.items() if name not in drop and not is_missing(value)}
    columns["prompt"] = prompt
    return prompt_from(columns, line)


def answer(text: str, model: Any = None) -> Answer:
    return Answer(model=UNKNOWN if is_missing(model) else name_of(model, "The name of a model") or UNKNOWN, text=text)


def judged(
    line: int, prompt: PromptRow, answers: Sequence[Answer], votes: Sequence[Vote], *, id: str = ""
) -> Judged:  # fmt: skip
    """A row. Answers that are the same text by the same model are told apart by their places."""
    found = list(answers)
    if len(set(found)) < len(found):
        found = [Answer(each.model, each.text, str(number)) for number, each in enumerate(found, 1)]
    return Judged(line=line, prompt=prompt, answers=answers_checked(found, least=1), votes=tuple(votes), id=id)


def strength_of_margin(row: Row, name: str = "margin") -> tuple[int | None, int]:
    """(strength, levels) of a margin from 0 to 1 in halves, thirds or quarters; (None, 0) for any other, and for none."""
    margin = number_in(row, name)
    if margin is None or not 0 < margin <= 1:
        return None, 0
    strength = round(margin * FINE_LEVELS)
    return (strength, FINE_LEVELS) if abs(strength / FINE_LEVELS - margin) < 1e-6 else (None, 0)


def vote_of_score(score: float, levels: int, **fields: Any) -> Vote:
    """A vote of a number from -levels (the first answer is better) over 0 to levels (the second is)."""
    if not float(score).is_integer() or abs(score) > min(levels, MAX_STRENGTH, MAX_COMPARISON):
        raise Unusable(f"The preference is not a whole number from -{levels} to {levels}.")
    if score == 0:
        return Vote("tie", (1, 1), **fields)
    return Vote("ranked", (1, 2) if score < 0 else (2, 1), strength=abs(int(score)), levels=levels, **fields)
