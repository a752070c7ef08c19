"""Argilla 2.x: records as its ``records.to_json`` and ``to_list`` write them, nested or flattened.

A ranking question orders the answers, a label question names one of them (or a tie), a rating question whose name holds an
answer's is a score of that answer, other labels are reasons, texts a comment. Fields that are answers end in a number or a letter
(response_1, response-b).
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from annotation.votes.judged import Judged, name_of
from annotation.votes.parts import Row, answer, id_in, is_messages, is_missing, judged, prompt_of, said
from annotation.votes.sources.heard import ANSWER, Heard, Names, Said, place_of, plain, settle
from core.reading import Unusable, parse_json

ASKED = ("prompt", "instruction", "question", "query", "input", "messages", "chat", "context", "conversation", "text")
DIGITS = re.compile(r"[0-9]{1,9}")
People = Mapping[str, Mapping[str, Any]]  # a person's id, or a space and a number -> question -> value


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
        for number, response in enumerate(_list(responses, f"The responses to {question[:40]}")):
            if not isinstance(response, dict):
                raise Unusable(f"A response to {question[:40]} is not an object.")
            _say(people, question, response.get("value"), response.get("user_id"), response.get("status"), number)
    return _judged(fields, metadata, people, line, id_in(row, "id"))


def flat(row: Row, line: int, now: datetime) -> Judged:
    people: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, given in row.items():
        if not name.endswith(".responses"):
            continue
        values, users, statuses = (
            _list(each, f"The column {column[:60]}")
            for column, each in (
                (name, given),
                *((f"{name}.{of}", row.get(f"{name}.{of}")) for of in ("users", "status")),
            )
        )
        for number, value in enumerate(values):
            who = users[number] if number < len(users) else None
            status = statuses[number] if number < len(statuses) else None
            _say(people, name.removesuffix(".responses"), value, who, status, number)
    fields = {
        name: value for name, value in row.items() if "." not in name and name not in ("id", "_server_id", "status")
    }
    return _judged(fields, {}, people, line, id_in(row, "id"))


def _list(value: Any, what: str) -> list[Any]:
    """A list, also as JSON (CSV); an empty one where there is nothing."""
    if isinstance(value, str) and value.startswith("["):
        value = parse_json(value)
    if not isinstance(value, list) and value not in (None, ""):
        raise Unusable(f"{what} is not a list.")
    return value or []


def _say(people: dict[str, dict[str, Any]], question: str, value: Any, who: Any, status: Any, number: int) -> None:
    stands = status is None or str(status).casefold().removeprefix("responsestatus.") == "submitted"
    if not stands or value in (None, "", []):
        return  # drafts and discarded ones were not said
    name = (name_of(who, "A user's id") if who is not None else "") or f" {number}"
    if question in people[name]:
        raise Unusable(f"One person answers {question[:40]} twice.")
    people[name][question] = value


@dataclass
class _Fields:
    """Which field is the prompt, and which are answers; every other field becomes metadata."""

    prompt: str = ""
    answers: list[str] = field(default_factory=list)


def _judged(fields: Mapping[str, Any], metadata: Mapping[str, Any], people: People, line: int, own: str) -> Judged:
    roles = _roles(fields, people)
    answers = [answer(said(fields[name], name), metadata.get(f"{name}_model")) for name in roles.answers]
    rest = {name: value for name, value in fields.items() if name != roles.prompt and name not in roles.answers}
    rest |= {name: value for name, value in metadata.items() if not name.endswith("_model")}
    prompt = prompt_of(rest, fields[roles.prompt], line, used=())
    names = tuple(roles.answers)
    heard = {who: _heard(said_by, names) for who, said_by in people.items()}
    settle([*heard.values()])
    votes = [each.vote("" if who.startswith(" ") else who) for who, each in heard.items()]
    return judged(line, prompt, answers, votes, id=own)


def _roles(fields: Mapping[str, Any], people: People) -> _Fields:
    usable = [name for name, value in fields.items() if isinstance(value, str) or is_messages(value)]
    answers = [name for name in usable if ANSWER.match(name.casefold())]
    if len(answers) < 2:
        options = {plain(value) for by in people.values() for values in by.values() for value in _options(values)}
        answers = [name for name in usable if plain(name) in options] or answers
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


def _heard(said_by: Mapping[str, Any], answers: Names) -> Heard:
    heard = Heard(answers)
    for question, value in said_by.items():
        if isinstance(value, str):
            if not heard.choose_option(question, value):
                heard.comments += (Said(value, question),)
        elif isinstance(value, list):
            _listed(heard, question, value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            heard.rate(question, value)
        else:
            raise Unusable(f"The response to {question[:40]} is of a kind that is not understood.")
    return heard


def _listed(heard: Heard, question: str, value: Sequence[Any]) -> None:
    """An order of all answers, as options or as options with a rank each; or labels that name none of them: reasons."""
    options = _options(value)
    places = [place for option in options if (place := place_of(option, heard.answers)) is not None]
    if len(places) == len(options) > 1 and sorted(places) == list(range(len(heard.answers))):
        given = _ranks(question, value)
        heard.rank(question, [given[places.index(place)] for place in range(len(places))])
    elif places:
        raise Unusable(f"The response to {question[:40]} does not order every answer once.")
    elif all(isinstance(each, str) for each in value):
        heard.reasons += tuple(Said(each, question) for each in value)
    else:
        raise Unusable(f"The response to {question[:40]} is of a kind that is not understood.")


def _ranks(question: str, value: Sequence[Any]) -> list[int]:
    """The rank of each option, as it is given; of options without a single rank their places in the list."""
    given = [each.get("rank") if isinstance(each, dict) else None for each in value]
    if all(is_missing(rank) for rank in given):
        return list(range(1, len(given) + 1))
    return [_rank(question, rank) for rank in given]


def _rank(question: str, rank: Any) -> int:
    """A whole number, also as other programs write it: 2.0 or “2”."""
    if is_missing(rank):
        raise Unusable(f"The response to {question[:40]} gives some answers a rank, and others none.")
    if isinstance(rank, (int, float)) and not isinstance(rank, bool) and rank >= 0 and rank % 1 == 0:
        return int(rank)
    if isinstance(rank, str) and DIGITS.fullmatch(rank):
        return int(rank)
    raise Unusable(f"The response to {question[:40]} gives an answer a rank that is not a whole number.")
