"""What a campaign can be told besides its answers: every option with its rule, and which of them change what is asked."""

from collections.abc import Mapping
from typing import Any

from accounts.models import Project
from annotation.models import Campaign
from annotation.onboarding import Onboarding
from annotation.pairs import Pairing
from annotation.protocol import Protocol
from core.errors import DomainError, require

MAX_OVERLAP, MAX_LEASE_MINUTES, MAX_STRENGTH = 50, 24 * 60, 4
MAX_QUESTION, MAX_MARKDOWN = 300, 50_000
MAX_CAP = 10_000_000
KINDS = ("pair", "rank", "rate")

# A judgement given under other values of these answers another question.
MEANING = ("question", "protocol", "allow_tie", "allow_both_good", "allow_both_bad", "strength_levels")
# These say how the work is organised, and may change at any time.
WORK = (
    "name", "lease_minutes", "closes_at", "cap_per_person", "cap_per_day", "audience", "pay_per_hour", "support_text",
    "onboarding", "is_sensitive",
)  # fmt: skip
# These decide which tasks there are, and are fixed at the start.
FIXED = ("kind", "is_live", "regression_share", "chosen_is_worse", "template", "cloned_from")
OPTIONS = frozenset({*MEANING, *WORK, *FIXED, "guidelines"} - {"name"})


def checked(options: Mapping[str, Any], *, project: Project, kind: str) -> dict[str, Any]:
    """The options as they are stored. Raises DomainError with a sentence for what makes no sense."""
    given = dict(options)
    unknown = set(given) - OPTIONS - {"name"}
    require(not unknown, f"A campaign has no option {', '.join(sorted(unknown))!r}.")
    require(kind in KINDS, "A campaign compares pairs, ranks answers, or rates them.")
    _text(given, "question", MAX_QUESTION, "Ask a question.")
    _text(given, "guidelines", MAX_MARKDOWN)
    _text(given, "support_text", MAX_MARKDOWN)
    require(
        1 <= given.get("lease_minutes", 30) <= MAX_LEASE_MINUTES,
        "A task is kept for a person for 1 minute to 24 hours.",
    )
    require(given.get("strength_levels", 0) in range(MAX_STRENGTH + 1), "A preference has up to four levels a side.")
    require(
        kind == "pair" or not given.get("strength_levels"),
        "How much better is asked of pairs only.",
        how="Switch the strength off, or compare pairs.",
    )
    require(
        kind == "pair" or not given.get("chosen_is_worse"), "Only of a pair can the worse answer be the one to choose."
    )
    for name in ("cap_per_person", "cap_per_day"):
        cap = given.get(name)
        require(cap is None or 1 <= cap <= MAX_CAP, "A cap is a number from 1, or empty.")
    pay = given.get("pay_per_hour")
    require(pay is None or 0 <= pay <= 100_000, "The pay for an hour is a number from 0, or empty.")
    share = given.get("regression_share", 0.0)
    require(0 <= share <= 1, "The share of tasks of new against old is from 0 to 100 %.")
    require(not share or kind != "rate", "New against old needs a preference, and rating asks for none.")
    if "protocol" in given:
        given["protocol"] = _protocol(given["protocol"])
    if kind == "rate" and "protocol" in given:
        criteria = Protocol.parse(given["protocol"]).criteria
        require(
            any(criterion.kind == "rate" for criterion in criteria),
            "There is nothing to rate by yet.",
            how="Add at least one criterion with a scale.",
        )
    if "audience" in given:
        given["audience"] = _audience(given["audience"], project)
    if "onboarding" in given:
        given["onboarding"] = _onboarding(given["onboarding"])
    return given


def _text(given: dict[str, Any], name: str, most: int, missing: str = "") -> None:
    if name not in given:
        return
    given[name] = given[name].replace("\r\n", "\n").strip()
    require(given[name] or not missing, missing)
    require(len(given[name]) <= most, f"The {name.replace('_', ' ')} has at most {most:,} characters.")


def _protocol(given: Protocol | Mapping[str, Any]) -> dict[str, Any]:
    protocol = given if isinstance(given, Protocol) else Protocol.parse(given)
    protocol.check()
    return protocol.stored()


def _audience(given: Mapping[str, Any], project: Project) -> dict[str, list[str]]:
    """{"groups": [...], "languages": [...], "people": [user key]}; empty lists are not stored: they mean everybody."""
    unknown = set(given) - {"groups", "languages", "people"}
    require(not unknown, "A campaign is for groups, languages or people.")
    lists = {name: sorted({str(value).strip() for value in given.get(name) or ()} - {""}) for name in given}
    people = set(lists.get("people", ()))
    members = set(
        project.memberships.filter(is_annotator=True, user__key__in=people).values_list("user__key", flat=True)
    )
    require(people <= members, "One of the people chosen does not annotate in this project.", how="Choose again.")
    return {name: values for name, values in lists.items() if values}


def _onboarding(given: Mapping[str, Any]) -> dict[str, Any]:
    """As ``annotation.onboarding`` reads it; a pass mark and tries alone ask nothing."""
    onboarding = Onboarding.parse({name: value for name, value in given.items() if value is not None})
    return onboarding.stored() if len(onboarding.stages) > 1 else {}


def options_of(campaign: Campaign) -> dict[str, Any]:
    """The options of a campaign, to begin another one with: what it asks and how its work was organised, not its dates."""
    names = sorted(({*MEANING, *WORK, "guidelines", "regression_share", "chosen_is_worse"}) - {"name", "closes_at"})
    return {name: getattr(campaign, name) for name in names}


def read_pairing(given: Mapping[str, Any]) -> Pairing:
    """``Pairing.parse`` for services: what makes no sense is a DomainError."""
    try:
        return Pairing.parse(given)
    except ValueError as problem:
        raise DomainError(str(problem)) from None
