"""LLaMA-Factory's rows: Alpaca (instruction, input, output) and ShareGPT (conversations), as pairs, KTO tags or plain answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from annotation.votes.judged import Judged, Vote
from annotation.votes.parts import Row, answer, flag_in, is_missing, judged, messages_of, prompt_of, said, split_last
from core.reading import Unusable

USED = {
    "instruction", "input", "output", "history", "conversations", "chosen", "rejected", "kto_tag", "messages", "tools",
    "images", "videos", "audios",
}  # fmt: skip


def is_pairs(rows: Sequence[Row]) -> bool:
    return any("chosen" in row and "rejected" in row and _has_prompt(row) for row in rows)


def pair(row: Row, line: int, now: datetime) -> Judged:
    answers = [answer(said(row.get(name), name)) for name in ("chosen", "rejected")]
    return judged(line, prompt_of(row, _prompt(row), line, used=USED), answers, [Vote("ranked", (1, 2))])


def is_tagged(rows: Sequence[Row]) -> bool:
    return any("kto_tag" in row for row in rows)


def tagged(row: Row, line: int, now: datetime) -> Judged:
    prompt, text = _answered(row)
    vote = Vote("both_good" if flag_in(row, "kto_tag") else "all_bad", (1,))
    return judged(line, prompt_of(row, prompt, line, used=USED), [answer(text)], [vote])


def is_answers(rows: Sequence[Row]) -> bool:
    return any(("instruction" in row and "output" in row) or _ends_with_answer(row) for row in rows)


def answers(row: Row, line: int, now: datetime) -> Judged:
    prompt, text = _answered(row)
    return judged(line, prompt_of(row, prompt, line, used=USED), [answer(text)], [])


def _has_prompt(row: Row) -> bool:
    return "instruction" in row or "conversations" in row


def _ends_with_answer(row: Row) -> bool:
    turns = row.get("conversations")
    return isinstance(turns, list) and bool(turns) and isinstance(turns[-1], dict) and turns[-1].get("from") == "gpt"


def _answered(row: Row) -> tuple[Any, str]:
    if "conversations" in row or "messages" in row:
        name = "conversations" if "conversations" in row else "messages"
        return split_last(row[name], name)
    output = row.get("output")
    if not isinstance(output, str):
        raise Unusable("The output is not text.")
    return _prompt(row), output


def _prompt(row: Row) -> Any:
    """The prompt as messages; an Alpaca row's input follows its instruction on a line of its own, as LLaMA-Factory has it."""
    if any(not is_missing(row.get(name)) and row[name] != [] for name in ("tools", "images", "videos", "audios")):
        raise Unusable("The row uses tools or media; only plain text can be used.")
    if "conversations" in row:
        return messages_of(row["conversations"], "conversations")
    words = [row.get("instruction"), row.get("input")]
    text = "\n".join(part for part in words if isinstance(part, str) and part)
    messages: list[dict[str, str]] = []
    history = row.get("history") or []
    if not isinstance(history, list):
        raise Unusable("The history is not a list of pairs of texts.")
    for turn in history:
        if not isinstance(turn, list) or len(turn) != 2 or not all(isinstance(part, str) for part in turn):
            raise Unusable("The history is not a list of pairs of texts.")
        messages += [{"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]
    return [*messages, {"role": "user", "content": text}]
