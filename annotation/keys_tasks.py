"""The three tasks that teach the keys: built in, of plain content, with the campaign's own buttons."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django.db import transaction

from annotation.models import Campaign, PracticeItem
from annotation.onboarding import N_KEYS
from annotation.practice_items import accepted_words, read_accepted
from annotation.protocol import LETTERS, Protocol

if TYPE_CHECKING:
    from annotation.screen import Asked

GOOD, WRONG, SILLY = "2 + 2 = 4.", "2 + 2 = 5.", "Bananas grow in bunches."


@dataclass(frozen=True)
class KeysTask:
    prompt: str
    answers: tuple[str, ...]
    accepted: str


def keys_tasks(campaign: Campaign) -> list[KeysTask]:
    """What is taught depends on what the campaign asks, and on nothing else."""
    made = {Campaign.Kind.PAIR: _pair, Campaign.Kind.RANK: _rank, Campaign.Kind.RATE: _rate}[
        Campaign.Kind(campaign.kind)
    ]
    return made(campaign)[:N_KEYS]


def _pair(campaign: Campaign) -> list[KeysTask]:
    strong = str(campaign.strength_levels) if campaign.strength_levels > 1 else ""
    tasks = [KeysTask("What is 2 + 2?", (GOOD, SILLY), f"a{strong}")]
    if campaign.allow_tie:
        tasks.append(KeysTask("Name a colour.", ("Blue.", "Green."), "tie"))
    if campaign.allow_both_bad:
        tasks.append(KeysTask("How many legs does a cat have?", ("Nine.", "Twelve."), "both_bad"))
    if campaign.allow_both_good:
        tasks.append(KeysTask("Name a fruit.", ("An apple.", "A pear."), "both_good"))
    weak = "1" if campaign.strength_levels > 1 else ""
    more = [
        KeysTask("Say hello to Ana.", ("Hello.", "Hello Ana!"), f"b{weak}"),
        KeysTask("Which is the capital of France?", ("Paris.", "Rome."), f"a{strong}"),
    ]
    return [tasks[0], *tasks[1:], *more]


def _rank(campaign: Campaign) -> list[KeysTask]:
    ties = Protocol.parse(campaign.protocol).allow_rank_ties
    return [
        KeysTask("What is 2 + 2?", (GOOD, WRONG, SILLY), "A > B > C"),
        KeysTask("Name a colour.", ("Blue.", "Green.", SILLY), "A = B > C" if ties else "A > B > C"),
        KeysTask("Say hello to Ana.", ("Hello Ana!", "Hello.", "Bye.", SILLY), "A > B > C > D"),
    ]


def _rate(campaign: Campaign) -> list[KeysTask]:
    first = next((each for each in Protocol.parse(campaign.protocol).criteria if each.kind == "rate"), None)
    if first is None:
        return []
    best, worst = (first.levels, 1) if first.is_higher_better else (1, first.levels)
    middle = (first.levels + 1) // 2
    return [
        KeysTask("What is 2 + 2?", (GOOD, SILLY), f"{first.name}: A {best}, B {worst}"),
        KeysTask("Name a colour.", ("Blue.", "Green."), f"{first.name}: A {best}, B {best}"),
        KeysTask("Say hello to Ana.", ("Hello.", "Hello Ana!"), f"{first.name}: A {middle}, B {best}"),
    ]


@transaction.atomic
def keys_items(campaign: Campaign) -> list[PracticeItem]:
    """The rows of the tasks, made on first use and again where the campaign has changed what it asks."""
    Campaign.objects.select_for_update(no_key=True).filter(
        pk=campaign.pk
    ).first()  # so that two first people make three rows
    standing = {
        item.position: item for item in campaign.practice_items.filter(use=PracticeItem.Use.KEYS, is_active=True)
    }
    items = []
    for position, task in enumerate(keys_tasks(campaign)):
        columns = {
            "messages": [{"role": "user", "content": task.prompt}],
            "answers": list(task.answers),
            "expected": [read_accepted(campaign, task.accepted, n_answers=len(task.answers))],
        }
        item = standing.pop(position, None)
        if item is None or any(getattr(item, name) != value for name, value in columns.items()):
            PracticeItem.objects.filter(pk__in=[item.pk] if item else []).update(is_active=False)
            item = PracticeItem.objects.create(
                campaign=campaign, use=PracticeItem.Use.KEYS, position=position, **columns
            )
        items.append(item)
    PracticeItem.objects.filter(pk__in=[item.pk for item in standing.values()]).update(is_active=False)
    return items


def asks(campaign: Campaign, item: PracticeItem) -> Campaign:
    """The campaign as a practice item asks it: its own choice and criteria; nothing to write, to give reasons for or to flag.

    A task that teaches the keys asks only what it teaches.
    """
    protocol = Protocol.parse(campaign.protocol)
    criteria = protocol.criteria
    if item.use == PracticeItem.Use.KEYS:
        first = next((each for each in criteria if each.kind == "rate"), None)
        criteria = (first,) if campaign.kind == Campaign.Kind.RATE and first else ()
    reduced = copy(campaign)
    reduced.protocol = replace(
        protocol, criteria=criteria, reasons=(), needs_reason=False, comment="off", min_comment=0, write_in="off",
        has_flags=False, show=(), has_diff=False,
    ).stored()  # fmt: skip
    return reduced


def lesson(item: PracticeItem, asked: "Asked", display_order: Sequence[int]) -> tuple[str, tuple[str, ...]]:
    """What a task teaches: (what the right answer is, the keys that say it), by the letters of this page."""
    accepted: Mapping[str, Any] = item.expected[0]
    letters = [LETTERS[display_order.index(slot)] for slot in range(len(display_order))]
    words = accepted_words(accepted, letters)
    if accepted.get("scores"):
        levels = [value for _, slot, value in sorted(accepted["scores"], key=lambda score: letters[score[1]])]
        return words, (*(str(value % 10) for value in levels), "Enter")
    if len(accepted.get("ranks", ())) > 2:
        typed = words.lower().replace(">", " ").split()
        return words, (*typed, "Enter")
    value = accepted["verdict"] if accepted["verdict"] != "all_bad" else "both_bad"
    if accepted["verdict"] == "ranked":
        value = f"{letters[accepted['ranks'].index(1)].lower()}{accepted.get('strength') or ''}"
    option = next((each for each in asked.choice.options if each.value == value), None) if asked.choice else None
    return (option.label if option else words), ((option.key, "Enter") if option else ())
