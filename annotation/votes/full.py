"""What only Whetstone's full format says (docs/reference/votes.md): campaigns, sampling, flags, who judged and when. Checked here.

Each function raises ``Unusable`` with the reason.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from annotation.models import Campaign, Flag
from annotation.protocol import LETTERS, Protocol
from annotation.votes.judged import MAX_DESCRIBED_STRENGTH, Header, name_of, text_of, time_of
from annotation.votes.outside import SEPARATOR, arm_key
from core.errors import DomainError
from core.names import plain
from core.reading import Unusable

MAX_GUIDELINES = 60_000
MAX_VERSION = 1_000_000
MAX_FLAGS = 100
MAX_OVERLAP = 2**31 - 1  # what the column holds: an import sets it to the votes of its most judged task
CAMPAIGN_KEYS = frozenset(
    {
        "id", "name", "kind", "question", "guidelines", "protocol", "protocol_version", "overlap", "strength_levels", "allow_tie",
        "allow_both_good", "allow_both_bad", "chosen_is_worse",
    }
)  # fmt: skip
TASK_KEYS = frozenset({"campaign", "following_turns", "why", "probability"})
ANSWER_KEYS = frozenset({"sampling", "seed", "engine", "n_prompt_tokens", "n_completion_tokens", "latency_seconds"})
VOTE_KEYS = frozenset(
    {"by", "opened", "edited_from", "guidelines_version", "protocol_version", "unblinded", "probation", "flags"}
)
BY = ("adjudicator", "ai", "simulated")


def header_of(given: Mapping[str, Any], line: int) -> Header:
    """A campaign, with every setting that is left out at its default."""
    unknown = given.keys() - CAMPAIGN_KEYS
    if unknown:
        raise Unusable(f"The key “{min(unknown)[:60]}” is not known of a campaign.")
    kind = given.get("kind", Campaign.Kind.PAIR)
    if kind not in Campaign.Kind.values:
        raise Unusable(f"The kind of a campaign is one of {', '.join(Campaign.Kind.values)}.")
    try:
        protocol = Protocol.parse(given.get("protocol") or {}).stored()
    except (DomainError, TypeError, ValueError, AttributeError) as problem:
        raise Unusable(f"The protocol cannot be used: {getattr(problem, 'sentence', problem)}") from None
    settings = {
        "id": name_of(given.get("id", ""), "The id of the campaign", 40),
        "name": _name(given.get("name", "")),
        "kind": str(kind),
        "question": text_of(given.get("question", "Which answer is better?"), "question", 300),
        "guidelines": _guidelines(given.get("guidelines") or {}),
        "protocol": protocol,
        "protocol_version": _whole(given.get("protocol_version", 1), "protocol_version", 1, MAX_VERSION),
        "overlap": _whole(given.get("overlap", 1), "overlap", 1, MAX_OVERLAP),
        "strength_levels": _whole(given.get("strength_levels", 0), "strength_levels", 0, MAX_DESCRIBED_STRENGTH),
    }
    for name, default in (
        ("allow_tie", True),
        ("allow_both_good", False),
        ("allow_both_bad", False),
        ("chosen_is_worse", False),
    ):
        settings[name] = _flag(given.get(name, default), name)
    return Header(line, settings)


def _name(given: Any) -> str:
    """Empty where the file has none: then the import's name is the campaign's."""
    if not isinstance(given, str):
        raise Unusable("The name of the campaign is not text.")
    try:
        return plain(given, "campaign") if given.strip() else ""
    except DomainError as problem:
        raise Unusable(problem.sentence) from None


def _guidelines(given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or not all(map(_is_version, given)):
        raise Unusable(f"The guidelines are an object: version, from 1 to {MAX_VERSION:,}, and text.")
    return {number: text_of(text, "guidelines", MAX_GUIDELINES) for number, text in given.items()}


def _is_version(number: str) -> bool:
    # "²" is a digit to Python, and no number.
    return number.isascii() and number.isdecimal() and len(number) <= 7 and 1 <= int(number) <= MAX_VERSION


def of_task(given: Mapping[str, Any], campaigns: Mapping[str, int]) -> dict[str, Any] | None:
    """campaign (its number in the file), why, probability; None where the line says nothing of them."""
    more: dict[str, Any] = {}
    if "campaign" in given:
        number = campaigns.get(str(given["campaign"]))
        if number is None:
            raise Unusable(f"No line above describes the campaign “{str(given['campaign'])[:40]}”.")
        more["campaign"] = number
    if "why" in given:
        more["why"] = text_of(given["why"], "why", 60)
    if "probability" in given:
        more["probability"] = _number(given["probability"], "probability", 0, 1)
    return more or None


def following_turns(given: Mapping[str, Any]) -> list[str]:
    turns = given.get("following_turns") or []
    if (
        not isinstance(turns, list)
        or len(turns) > 400
        or not all(isinstance(turn, str) and turn.strip() for turn in turns)
    ):
        raise Unusable("The following turns are a list of texts.")
    return turns


def of_answer(
    given: Mapping[str, Any], model: str
) -> tuple[str, tuple[int, int | None, int | None, float | None] | None]:
    """(key of the arm, what the server reported)"""
    if ANSWER_KEYS.isdisjoint(given):
        return "", None
    sampling = given.get("sampling") or {}
    if not isinstance(sampling, dict):
        raise Unusable("The sampling of an answer is not an object.")
    arm = arm_key(model, sampling, text_of(given.get("engine", ""), "engine", 60))
    if arm.count(SEPARATOR) not in (0, 2):
        raise Unusable("The name of a model or an engine holds a NUL character.")
    counts = [given.get(name) for name in ("n_prompt_tokens", "n_completion_tokens")]
    tokens = [None if n is None else _whole(n, "number of tokens", 0, 2**31 - 1) for n in counts]
    latency = given.get("latency_seconds")
    seconds = None if latency is None else _number(latency, "latency", 0, 1e9)
    told = (_whole(given.get("seed", 0), "seed", -(2**63), 2**63 - 1), tokens[0], tokens[1], seconds)
    return (arm if arm != model else ""), told if told != (0, None, None, None) else None


def of_vote(given: Mapping[str, Any], n_answers: int, *, now: datetime) -> dict[str, Any] | None:
    if VOTE_KEYS.isdisjoint(given):
        return None
    more: dict[str, Any] = {}
    if "by" in given:
        if given["by"] not in BY:
            raise Unusable(f"by is one of {', '.join(BY)}.")
        more["by"] = given["by"]
    if "opened" in given:
        more["opened"] = time_of(given["opened"], now=now)
    if "edited_from" in given:
        more["edited_from"] = _letter(given["edited_from"], n_answers)
    for name in ("guidelines_version", "protocol_version"):
        if name in given:
            more[name] = _whole(given[name], name, 1, MAX_VERSION)
    for name in ("unblinded", "probation"):
        if name in given:
            more[name] = _flag(given[name], name)
    if "flags" in given:
        more["flags"] = _flags(given["flags"], n_answers)
    return more


def _flags(value: Any, n_answers: int) -> list[tuple[int | None, str, str, str]]:
    """(number of the answer or None, kind, reason, status) of each."""
    if not isinstance(value, list) or len(value) > MAX_FLAGS or not all(isinstance(flag, dict) for flag in value):
        raise Unusable(f"The flags are a list of at most {MAX_FLAGS} objects.")
    flags = []
    for flag in value:
        kind, status = flag.get("kind"), flag.get("status", "open")
        if kind not in Flag.Kind.values or status not in Flag.Status.values:
            raise Unusable(
                f"A flag's kind is one of {', '.join(Flag.Kind.values)}; its status open, upheld or dismissed."
            )
        letter = flag.get("answer")
        answer = None if letter is None else _letter(letter, n_answers)
        flags.append((answer, str(kind), text_of(flag.get("reason", ""), "reason of a flag", 1000), str(status)))
    return flags


def _letter(value: Any, n_answers: int) -> int:
    letters = LETTERS[:n_answers].lower()
    if not isinstance(value, str) or len(value) != 1 or value not in letters:
        raise Unusable(f"An answer is named by its letter, one of {letters}.")
    return letters.index(value)


def _whole(value: Any, what: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Unusable(f"The {what} is not a whole number from {low:,} to {high:,}.")
    return value


def _number(value: Any, what: str, low: float, high: float) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise Unusable(f"The {what} is not a number from {low:g} to {high:g}.")
    return float(value)


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise Unusable(f"{what} is neither true nor false.")
    return value
