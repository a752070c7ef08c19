"""TRL's dataset formats (its docs, "Dataset formats and types"), standard and conversational; and Anthropic's HH transcripts.

Preference with an explicit prompt, with an implicit one, with a margin; unpaired (KTO); prompt-completion and language
modelling (SFT), whose completions are answers that nobody has judged.
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
    is_missing,
    judged,
    messages_of,
    prompt_of,
    said,
    split_last,
    split_pair,
    strength_of_margin,
    text_in,
    time_in,
)
from core.reading import Unusable
from generation.transcripts import is_transcript, opened, transcript

PAIR = ("chosen", "rejected")
ANNOTATOR = ("annotator", "annotator_id")


def is_pairs(rows: Sequence[Row]) -> bool:
    return any("chosen" in row and "rejected" in row for row in rows)


def pair(row: Row, line: int, now: datetime) -> Judged:
    """chosen and rejected, with a prompt of their own or one that both begin with."""
    if is_missing(row.get("prompt")):
        prompt, better, worse = _implicit(row)
    else:
        prompt, better, worse = _explicit(row)
    strength, levels = strength_of_margin(row)
    vote = Vote(
        "ranked", (1, 2), annotator_in(row, *ANNOTATOR), strength=strength, levels=levels, at=time_in(row, "time", now)
    )
    models = (row.get("chosen_model"), row.get("rejected_model"))
    used = {*PAIR, "chosen_model", "rejected_model", "time", *ANNOTATOR, *(("margin",) if levels else ())}
    answers = [answer(text, model) for text, model in zip((better, worse), models, strict=True)]
    return judged(line, prompt_of(row, prompt, line, used=used), answers, [vote], id=id_in(row, "id"))


def _given(row: Row, name: str) -> Any:
    value = row.get(name)
    if value is None:
        raise Unusable(f"The row has nothing in its column {name}.")
    return value


def _explicit(row: Row) -> tuple[object, str, str]:
    chosen, rejected = _given(row, "chosen"), _given(row, "rejected")
    if is_messages(chosen) and is_messages(rejected) and min(len(chosen), len(rejected)) > 1:
        # UltraFeedback's habit: the answers bring the prompt once more.
        return split_pair(chosen, rejected, PAIR)
    prompt, (better, worse) = opened(row["prompt"], (said(chosen, "chosen"), said(rejected, "rejected")))
    return prompt, better, worse


def _implicit(row: Row) -> tuple[object, str, str]:
    chosen, rejected = _given(row, "chosen"), _given(row, "rejected")
    if is_messages(chosen) and is_messages(rejected):
        return split_pair(chosen, rejected, PAIR)
    better, worse = text_in(row, "chosen"), text_in(row, "rejected")
    if is_transcript(better) and is_transcript(worse):
        return split_pair(transcript(better), transcript(worse), PAIR)
    pairs = enumerate(zip(better, worse, strict=False))
    n_common = next((at for at, (a, b) in pairs if a != b), min(len(better), len(worse)))
    # As TRL's extract_prompt does: a space before the first difference belongs to the answers.
    if n_common and n_common < min(len(better), len(worse)) and better[n_common - 1] == " ":
        n_common -= 1
    if not better[:n_common].strip():
        raise Unusable("The two texts have no beginning in common, so there is no prompt.")
    return better[:n_common], better[n_common:], worse[n_common:]


# ---- Anthropic's transcripts -----------------------------------------------------------------------------------------


def is_transcripts(rows: Sequence[Row]) -> bool:
    return is_pairs(rows) and any(is_transcript(row.get("chosen")) for row in rows)


def _completed(row: Row) -> tuple[object, str]:
    prompt, [text] = opened(row.get("prompt"), [said(_given(row, "completion"), "completion")])
    return prompt, text


# ---- one answer alone ------------------------------------------------------------------------------------------------


def is_unpaired(rows: Sequence[Row]) -> bool:
    return any("completion" in row and "label" in row for row in rows)


def unpaired(row: Row, line: int, now: datetime) -> Judged:
    """One answer that somebody called good or bad."""
    verdict = "both_good" if flag_in(row, "label") else "all_bad"
    vote = Vote(verdict, (1,), annotator_in(row, *ANNOTATOR), at=time_in(row, "time", now))
    asked, text = _completed(row)
    prompt = prompt_of(row, asked, line, used={"completion", "label", "model", "time", *ANNOTATOR})
    found = answer(text, row.get("model"))
    return judged(line, prompt, [found], [vote], id=id_in(row, "id"))


def is_answered(rows: Sequence[Row]) -> bool:
    return any("completion" in row and "prompt" in row for row in rows) or any(_is_conversation(row) for row in rows)


def _is_conversation(row: Row) -> bool:
    turns = row.get("messages")
    return is_messages(turns) and turns is not None and turns[-1].get("role") == "assistant" and "prompt" not in row


def answered(row: Row, line: int, now: datetime) -> Judged:
    """A prompt and its completion, or a conversation that ends with the answer: nobody has judged it."""
    if "completion" in row:
        (prompt, text), used = _completed(row), {"completion", "model"}
    else:
        prompt, text = split_last(row.get("messages"), "messages")
        used = {"messages", "model"}
    found = answer(text, row.get("model"))
    return judged(line, prompt_of(row, prompt, line, used=used), [found], [], id=id_in(row, "id"))


__all__ = [
    "answered", "is_answered", "is_pairs", "is_transcripts", "is_unpaired", "messages_of", "pair", "transcript", "unpaired",
]  # fmt: skip
