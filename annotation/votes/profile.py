"""Whetstone's own JSON Lines of votes, to the letter of docs/reference/votes.md: a judged task or a single vote on each line."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from annotation.votes import full
from annotation.votes.judged import (
    MAX_COMMENT_CHARS,
    MAX_DESCRIBED_STRENGTH,
    MAX_ID_CHARS,
    MAX_STRENGTH,
    MAX_VOTES,
    Answer,
    Judged,
    Row,
    Vote,
    answers_checked,
    choice_of,
    name_of,
    order_of,
    ranks_of,
    reasons_of,
    scores_of,
    seconds_of,
    strength_of,
    text_of,
    time_of,
)
from core.reading import BadRow, TableRow, Unusable, excerpt_of
from generation.prompt_readers import MAX_METADATA_BYTES, PromptRow, prompt_from

PROMPT_KEYS = frozenset({"prompt", "system", "group", "split", "tags", "note", "reference"})
TASK_KEYS = PROMPT_KEYS | full.TASK_KEYS | {"answers", "votes", "id", "language", "metadata"}
ANSWER_KEYS = full.ANSWER_KEYS | {"model", "text", "id", "finish_reason"}
VOTE_KEYS = full.VOTE_KEYS | {
    "annotator", "choice", "ranks", "order", "strength", "scores", "reasons", "comment", "better_answer", "seconds", "time",
    "vote_id",
}  # fmt: skip


def recognises(rows: Sequence[Mapping[str, Any]]) -> bool:
    return any("prompt" in row and "answers" in row for row in rows) or _is_full(rows)


def _is_full(rows: Sequence[Mapping[str, Any]]) -> bool:
    return bool(rows) and all(isinstance(row.get("campaign"), dict) and len(row) == 1 for row in rows)


def read(rows: Iterable[TableRow | BadRow], now: datetime) -> Iterator[Row]:
    """Every line in order, good or bad."""
    campaigns: dict[str, int] = {}
    for row in rows:
        if isinstance(row, BadRow):
            yield row
            continue
        try:
            described = row.value.get("campaign")
            if isinstance(described, dict):
                header = full.header_of(described, row.line)
                if header.settings["id"] in campaigns:
                    raise Unusable(f"The campaign “{header.settings['id']}” is described twice.")
                campaigns[header.settings["id"]] = len(campaigns)
                yield header
            else:
                yield judged_from(row.value, row.line, now=now, campaigns=campaigns)
        except Unusable as reason:
            yield BadRow(row.line, str(reason), excerpt_of(row.raw))


def judged_from(
    row: Mapping[str, Any], line: int, *, now: datetime, campaigns: Mapping[str, int] | None = None
) -> Judged:
    """One line as a judged task. Raises Unusable with the reason; a key that is not known is one, so that none is lost.

    campaigns  id -> number of those that the lines above have described
    Its texts are known to be storable (``core.reading.check_strings``).
    """
    # null says the same as nothing.
    given = {key: value for key, value in row.items() if value is not None}
    is_single = "votes" not in given
    unknown = given.keys() - (TASK_KEYS | VOTE_KEYS if is_single else TASK_KEYS)
    if unknown:
        hint = " It belongs into the votes." if unknown <= VOTE_KEYS else " Put what should be kept into metadata."
        raise Unusable(f"The key “{min(unknown)[:60]}” is not known here.{hint}")
    answers = answers_checked(_answers(given.get("answers")), least=1)
    # How far the scale of a described campaign goes, ``checking`` looks up.
    most = MAX_DESCRIBED_STRENGTH if "campaign" in given else MAX_STRENGTH
    if is_single:
        if "choice" not in given and "ranks" not in given:
            raise Unusable("The line has no vote: neither votes, nor choice, nor ranks.")
        found = [given]
    else:
        found = given["votes"]
        if not isinstance(found, list) or len(found) > MAX_VOTES:
            raise Unusable(f"The votes are a list of at most {MAX_VOTES:,}.")
    return Judged(
        line=line,
        prompt=_prompt(given, line),
        answers=answers,
        votes=tuple(_vote(vote, number, len(answers), now, is_single, most) for number, vote in enumerate(found, 1)),
        id=name_of(given["id"], "The id", MAX_ID_CHARS) if "id" in given else "",
        more=None if full.TASK_KEYS.isdisjoint(given) else full.of_task(given, campaigns or {}),
    )


def _prompt(given: Mapping[str, Any], line: int) -> PromptRow:
    if "prompt" not in given:
        raise Unusable("The line has no prompt.")
    prompt = prompt_from({key: value for key, value in given.items() if key in PROMPT_KEYS}, line)
    if "following_turns" in given:
        prompt = replace(prompt, following_turns=full.following_turns(given))
    metadata = given.get("metadata", {})
    if not isinstance(metadata, dict):
        raise Unusable("The metadata is not an object.")
    if "language" in given:
        metadata = {**metadata, "language": name_of(given["language"], "The language", 40)}
    if not metadata:
        return prompt
    if len(json.dumps(metadata)) > MAX_METADATA_BYTES:
        raise Unusable(f"The metadata is larger than {MAX_METADATA_BYTES >> 10} KiB.")
    return replace(prompt, metadata=metadata)


def _answers(value: Any) -> list[Answer]:
    if not isinstance(value, list):
        raise Unusable("The answers are not a list.")
    answers = []
    for number, answer in enumerate(value, 1):
        if not isinstance(answer, dict):
            raise Unusable(f"Answer {number} is not an object with model and text.")
        unknown = answer.keys() - ANSWER_KEYS
        if unknown:
            raise Unusable(f"Answer {number} has the key “{min(unknown)[:60]}”, which is not known.")
        text = answer.get("text")
        if not isinstance(text, str):
            raise Unusable(f"Answer {number} has no text; an empty answer is an empty text.")
        model, own, finish = answer.get("model"), answer.get("id"), answer.get("finish_reason")
        called = name_of(model, "The name of a model") if model is not None else ""
        arm, told = full.of_answer(answer, called)
        answers.append(
            Answer(
                model=called,
                text=text,
                id=name_of(own, "The id of an answer", MAX_ID_CHARS) if own is not None else "",
                finish_reason=name_of(finish, "The finish_reason", 20) if finish is not None else "",
                arm=arm,
                told=told,
            )
        )
    return answers


def _vote(value: Any, number: int, n_answers: int, now: datetime, is_single: bool, most: int) -> Vote:
    if not isinstance(value, dict):
        raise Unusable(f"Vote {number} is not an object.")
    try:
        return vote_from(value, n_answers, now=now, is_single=is_single, most_strength=most)
    except Unusable as reason:
        raise Unusable(str(reason) if is_single else f"Vote {number}: {reason}") from None


def vote_from(
    vote: Mapping[str, Any],
    n_answers: int,
    *,
    now: datetime,
    is_single: bool = False,
    most_strength: int = MAX_STRENGTH,
) -> Vote:
    given = vote if is_single else {key: value for key, value in vote.items() if value is not None}
    if not is_single and (unknown := given.keys() - VOTE_KEYS):
        raise Unusable(f"The key “{min(unknown)[:60]}” is not known in a vote.")
    if ("choice" in given) == ("ranks" in given):
        raise Unusable("A vote has either a choice or ranks.")
    if "choice" in given:
        verdict, ranks = choice_of(given["choice"], n_answers)
    else:
        ranks = ranks_of(given["ranks"], n_answers)
        verdict = "ranked" if len(set(ranks)) > 1 else "tie"
    return Vote(
        verdict=verdict,
        ranks=ranks,
        annotator=name_of(given["annotator"], "The annotator") if "annotator" in given else "",
        order=order_of(given["order"], n_answers) if "order" in given else (),
        strength=strength_of(given["strength"], verdict, n_answers, most=most_strength)
        if "strength" in given
        else None,
        scores=scores_of(given["scores"], n_answers) if "scores" in given else (),
        reasons=reasons_of(given["reasons"]) if "reasons" in given else (),
        comment=text_of(given["comment"], "comment", MAX_COMMENT_CHARS) if "comment" in given else "",
        write_in=text_of(given["better_answer"], "better answer", MAX_COMMENT_CHARS)
        if "better_answer" in given
        else "",
        seconds=seconds_of(given["seconds"]) if "seconds" in given else 0.0,
        at=time_of(given["time"], now=now) if "time" in given else None,
        id=name_of(given["vote_id"], "The vote_id", MAX_ID_CHARS) if "vote_id" in given else "",
        more=full.of_vote(given, n_answers, now=now),
    )
