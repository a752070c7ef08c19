"""Argilla 2.x: records as its ``records.to_json`` and ``to_list`` write them, nested or flattened.

A ranking question orders the answers, a label question names one of them (or a tie), rating and text questions become a
score of the task's only answer and a comment. Fields that are answers end in a number or a letter (response_1, response-b).
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from annotation.protocol import MAX_LEVELS
from annotation.votes.judged import CRITERION, Judged, Score, Vote
from annotation.votes.parts import Row, answer, id_in, is_messages, judged, prompt_of, said
from core.reading import Unusable

ANSWER = re.compile(r"(.*?(?:response|answer|completion|generation|output|candidate|text|reply)s?)[-_ ]*(\d|[a-i])$")
ASKED = ("prompt", "instruction", "question", "query", "input", "messages", "chat", "context", "conversation", "text")
TIES = {
    "tie": "tie",
    "both": "tie",
    "equal": "tie",
    "both good": "both_good",
    "both bad": "all_bad",
    "neither": "all_bad",
}


def is_nested(rows: Sequence[Row]) -> bool:
    return any(isinstance(row.get("fields"), dict) and isinstance(row.get("responses"), dict) for row in rows)


def is_flat(rows: Sequence[Row]) -> bool:
    return any(name.endswith(".responses") for row in rows for name in row)


def nested(row: Row, line: int, now: datetime) -> Judged:
    fields, metadata = row.get("fields"), row.get("metadata") or {}
    given = row.get("responses") or {}
    if not isinstance(fields, dict) or not isinstance(metadata, dict) or not isinstance(given, dict):
        raise Unusable("The record has no fields, metadata and responses as objects.")
    people: dict[str, dict[str, Any]] = defaultdict(dict)
    for question, responses in given.items():
        for number, response in enumerate(responses if isinstance(responses, list) else []):
            if not isinstance(response, dict):
                raise Unusable(f"A response to {str(question)[:40]} is not an object.")
            if response.get("status") not in (None, "submitted"):
                continue  # drafts and discarded ones were not said
            people[str(response.get("user_id") or f" {number}")][str(question)] = response.get("value")
    return _judged(fields, metadata, people, line, id_in(row, "id"))


def flat(row: Row, line: int, now: datetime) -> Judged:
    people: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, values in row.items():
        if not name.endswith(".responses") or not isinstance(values, list):
            continue
        users, statuses = row.get(f"{name}.users") or [], row.get(f"{name}.status") or []
        if not isinstance(users, list) or not isinstance(statuses, list):
            raise Unusable(
                f"The columns {name[:40]}.users and {name[:40]}.status are not lists, one entry for each response."
            )
        for number, value in enumerate(values):
            status = statuses[number] if number < len(statuses) else None
            if status in (None, "submitted"):
                who = str(users[number]) if number < len(users) else f" {number}"
                people[who][name.removesuffix(".responses")] = value
    fields = {
        name: value for name, value in row.items() if "." not in name and name not in ("id", "_server_id", "status")
    }
    return _judged(fields, {}, people, line, id_in(row, "id"))


@dataclass
class _Fields:
    """Which field is the prompt, and which are answers; every other field becomes metadata."""

    prompt: str = ""
    answers: list[str] = field(default_factory=list)


def _judged(
    fields: Mapping[str, Any], metadata: Mapping[str, Any], people: Mapping[str, Mapping[str, Any]], line: int, own: str
) -> Judged:
    roles = _roles(fields, people)
    answers = [answer(said(fields[name], name), metadata.get(f"{name}_model")) for name in roles.answers]
    rest = {name: value for name, value in fields.items() if name != roles.prompt and name not in roles.answers}
    rest |= {name: value for name, value in metadata.items() if not name.endswith("_model")}
    prompt = prompt_of(rest, fields[roles.prompt], line, used=())
    votes = [_vote(said_by, roles.answers, "" if who.startswith(" ") else who) for who, said_by in people.items()]
    return judged(line, prompt, answers, [vote for vote in votes if vote is not None], id=own)


def _roles(fields: Mapping[str, Any], people: Mapping[str, Mapping[str, Any]]) -> _Fields:
    usable = [name for name, value in fields.items() if isinstance(value, str) or is_messages(value)]
    answers = [name for name in usable if ANSWER.match(name.casefold())]
    if len(answers) < 2:
        options = {_plain(value) for by in people.values() for values in by.values() for value in _options(values)}
        answers = [name for name in usable if _plain(name) in options] or answers
    rest = [name for name in usable if name not in answers]
    prompt = next((name for wanted in ASKED for name in rest if name.casefold() == wanted), rest[0] if rest else "")
    if not prompt:
        raise Unusable("No field of the record is a prompt.")
    if not answers:
        named = ("response", "answer", "completion", "generation", "output")
        answers = [name for name in rest if name != prompt and name.casefold() in named]
    if not answers:
        raise Unusable("No field of the record is an answer: their names end in a number or a letter.")
    return _Fields(prompt, answers)


def _options(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(each.get("value")) if isinstance(each, dict) else str(each) for each in value]
    return [value] if isinstance(value, str) else []


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).casefold()


def _vote(said_by: Mapping[str, Any], answers: Sequence[str], who: str) -> Vote | None:
    places = {_plain(name): number for number, name in enumerate(answers)}
    verdict, ranks, comment = "", (1,) * len(answers), []
    scores: list[Score] = []
    for question, value in said_by.items():
        if isinstance(value, list) and value and {_plain(each) for each in _options(value)} == set(places):
            ranks = _ranks(value, places)
            verdict = "ranked" if len(set(ranks)) > 1 else "tie"
        elif isinstance(value, str) and (_plain(value) in places or value.strip().casefold() in TIES):
            verdict, ranks = _label(value, places)
        elif isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_LEVELS and len(answers) == 1:
            name = re.sub(r"[^a-z0-9_]", "_", question.casefold())
            if CRITERION.fullmatch(name):
                scores.append((name, 0, value))
        elif isinstance(value, str) and value:
            comment.append(value)
    if not verdict and not scores:
        return None
    return Vote(verdict or "tie", ranks, who, scores=tuple(scores), comment="\n\n".join(comment))


def _ranks(value: Sequence[Any], places: Mapping[str, int]) -> tuple[int, ...]:
    """Ranks of an ordered list of options, or of options with a rank each."""
    ranks = [0] * len(places)
    for number, (each, option) in enumerate(zip(value, _options(value), strict=True), 1):
        rank = each.get("rank") if isinstance(each, dict) else None
        ranks[places[_plain(option)]] = rank if isinstance(rank, int) else number
    closed = {rank: number for number, rank in enumerate(sorted(set(ranks)), 1)}
    return tuple(closed[rank] for rank in ranks)


def _label(value: str, places: Mapping[str, int]) -> tuple[str, tuple[int, ...]]:
    if _plain(value) not in places:
        return TIES[value.strip().casefold()], (1,) * len(places)
    if len(places) != 2:
        raise Unusable("A label for the best of more than two answers says nothing of the others.")
    return "ranked", (1, 2) if places[_plain(value)] == 0 else (2, 1)
