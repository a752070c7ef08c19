"""Practice items: comparisons with a known answer, which a lead writes, imports, or takes from a task or a ruling.

What is accepted is written as a person would say it, by the letters of the answers as written down, and stored by slot:

    pair   a · b · tie · both_good · both_bad; a2: A better by just this strength
    rank   B > A = C; tie
    rate   helpful: A 4-5, B 1; correct: A 5        (criterion: answer level or levels)

What a person says is right if it agrees with one of the accepted; what an accepted answer does not mention is not compared.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Max

from accounts.audit import record
from accounts.models import User
from annotation.models import Campaign, ComparisonTask, PracticeItem, Ruling
from annotation.protocol import LETTERS, MAX_ANSWERS, Protocol, Said, choice_of
from core.errors import DomainError, require

Use = PracticeItem.Use
MAX_TEXT, MAX_TURNS, MAX_ACCEPTED = 50_000, 40, 20
MAX_LINES, MAX_BYTES = 500, 5_000_000
ROLES = ("system", "user", "assistant")
_VERDICTS = {
    "tie": "tie",
    "both_good": "both_good",
    "all_good": "both_good",
    "both_bad": "all_bad",
    "all_bad": "all_bad",
}
_LEVELS = re.compile(r"(\d{1,2})(?:\s*(?:-|–|to)\s*(\d{1,2}))?")


@dataclass(frozen=True)
class ItemText:
    """What makes an item, checked: ``read_item`` makes one."""

    use: str
    messages: list[dict[str, str]]
    answers: list[str]
    expected: list[dict[str, Any]]
    reason: str = ""


# ---- right and wrong ---------------------------------------------------------------------------------------------------


def is_right(said: Said, expected: Sequence[Mapping[str, Any]]) -> bool:
    """Whether what was said agrees with one of the accepted answers."""
    return any(_agrees(said, each) for each in expected)


def _agrees(said: Said, accepted: Mapping[str, Any]) -> bool:
    if "verdict" in accepted and said.verdict != accepted["verdict"]:
        return False
    if accepted.get("ranks") and list(said.ranks) != list(accepted["ranks"]):
        return False
    if accepted.get("strength") and said.strength != accepted["strength"]:
        return False
    wanted: dict[tuple[str, int | None], set[int]] = defaultdict(set)
    for name, slot, value in accepted.get("scores", ()):
        wanted[name, slot].add(value)  # several values of one place: any of them
    given = {(name, slot): value for name, slot, value in said.scores}
    return all(given.get(place) in values for place, values in wanted.items())


# ---- accepted answers, read and written --------------------------------------------------------------------------------


def read_accepted(campaign: Campaign, text: str, *, n_answers: int) -> dict[str, Any]:
    """One accepted answer in its stored form. Raises DomainError for what this campaign does not ask."""
    text = text.strip()
    verdict = _VERDICTS.get(text.lower().replace(" ", "_"))
    if campaign.kind == Campaign.Kind.RATE:
        return {"scores": _scores(campaign, text, n_answers)}
    if verdict is not None:
        taken = {"tie": campaign.allow_tie, "both_good": campaign.allow_both_good, "all_bad": campaign.allow_both_bad}
        require(taken[verdict], f"This campaign has no button for {text!r}.")
        return {"verdict": verdict}
    if campaign.kind == Campaign.Kind.RANK:
        return {"verdict": "ranked", "ranks": _ranks(text, n_answers)}
    found = choice_of(text.lower(), levels=campaign.strength_levels)
    require(found is not None and found[0] < n_answers, f"{text[:40]!r} is no answer here: write a, b or tie.")
    assert found is not None
    place, strength = found
    ranks = [1 if slot == place else 2 for slot in range(n_answers)]
    return {"verdict": "ranked", "ranks": ranks, **({"strength": strength} if strength else {})}


def _ranks(text: str, n_answers: int) -> list[int]:
    """``B > A = C`` as the rank of each slot."""
    groups = [[letter.strip().upper() for letter in group.split("=")] for group in text.split(">")]
    named = [letter for group in groups for letter in group]
    require(
        sorted(named) == list(LETTERS[:n_answers]) and len(groups) > 1,
        f"{text[:40]!r} is no order of {n_answers} answers: write {' > '.join(LETTERS[:n_answers])}, with = for a tie.",
    )
    rank_of = {letter: rank for rank, group in enumerate(groups, 1) for letter in group}
    return [rank_of[letter] for letter in LETTERS[:n_answers]]


def _scores(campaign: Campaign, text: str, n_answers: int) -> list[list[Any]]:
    levels = {each.name: each.levels for each in Protocol.parse(campaign.protocol).criteria if each.kind == "rate"}
    scores: list[list[Any]] = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, cells = part.partition(":")
        name = name.strip()
        require(name in levels, f"{name[:40]!r} is no criterion that is rated here: {', '.join(levels)}.")
        for cell in cells.split(","):
            letter, _, range_ = cell.strip().partition(" ")
            slot = LETTERS.find(letter.upper()) if len(letter) == 1 else -1
            match = _LEVELS.fullmatch(range_.strip())
            require(0 <= slot < n_answers and match, f"{cell.strip()[:40]!r} is no rating: write A 4 or A 4-5.")
            assert match is not None
            low, high = int(match[1]), int(match[2] or match[1])
            require(1 <= low <= high <= levels[name], f"{name} has the levels 1 to {levels[name]}.")
            scores += [[name, slot, value] for value in range(low, high + 1)]
    require(scores, "Write what ratings are right, such as helpful: A 4-5, B 1-2.")
    return scores


def accepted_words(accepted: Mapping[str, Any], letters: Sequence[str] = LETTERS) -> str:
    """An accepted answer as a person reads it; ``letters[slot]`` is the letter that the answer has on the page."""
    if scores := accepted.get("scores"):
        return "; ".join(_scores_words(scores, letters))
    verdict = accepted["verdict"]
    if verdict != "ranked":
        return {"tie": "Tie", "both_good": "Both good", "all_bad": "Both bad"}[verdict]
    ranks = accepted["ranks"]
    if len(ranks) == 2:
        strength = f" ({accepted['strength']})" if accepted.get("strength") else ""
        return f"{letters[ranks.index(1)]} is better{strength}"
    levels = [sorted(letters[slot] for slot in range(len(ranks)) if ranks[slot] == rank) for rank in sorted(set(ranks))]
    return " > ".join(" = ".join(level) for level in levels)


def _scores_words(scores: Sequence[Sequence[Any]], letters: Sequence[str]) -> list[str]:
    by_place: dict[tuple[str, int], list[int]] = defaultdict(list)
    for name, slot, value in scores:
        by_place[name, slot].append(value)
    by_name: dict[str, list[str]] = defaultdict(list)
    for (name, slot), values in sorted(by_place.items(), key=lambda place: (place[0][0], letters[place[0][1]])):
        span = f"{min(values)}-{max(values)}" if len(values) > 1 else str(values[0])
        by_name[name].append(f"{letters[slot]} {span}")
    return [f"{name}: {', '.join(cells)}" for name, cells in by_name.items()]


def accepted_text(accepted: Mapping[str, Any]) -> str:
    """An accepted answer as it is written down: ``read_accepted`` of it gives the same again."""
    if "scores" in accepted or len(accepted.get("ranks", ())) > 2:
        return accepted_words(accepted)
    if accepted["verdict"] != "ranked":
        return {"all_bad": "both_bad"}.get(accepted["verdict"], accepted["verdict"])
    return f"{LETTERS[accepted['ranks'].index(1)].lower()}{accepted.get('strength') or ''}"


# ---- items -------------------------------------------------------------------------------------------------------------


def read_item(campaign: Campaign, given: Mapping[str, Any]) -> ItemText:
    """Check one item: use, prompt or messages, answers, accepted, reason. Raises DomainError with what is wrong."""
    unknown = set(given) - {"use", "prompt", "messages", "answers", "accepted", "reason"}
    require(not unknown, f"An item has no field {sorted(unknown)[0]!r}." if unknown else "")
    use = given.get("use", Use.PRACTICE)
    require(use in (Use.PRACTICE, Use.QUALIFICATION), "“use” is practice or qualification.")
    answers = given.get("answers")
    require(_are_texts(answers, MAX_ANSWERS), "“answers” is a list of texts.")
    assert isinstance(answers, list)
    n_wanted = "two answers" if campaign.kind == Campaign.Kind.PAIR else f"2 to {MAX_ANSWERS} answers"
    fits = len(answers) == 2 if campaign.kind == Campaign.Kind.PAIR else len(answers) >= 2
    require(fits, f"An item of this campaign has {n_wanted}.")
    accepted = given.get("accepted")
    accepted = [accepted] if isinstance(accepted, str) else accepted
    require(_are_texts(accepted, MAX_ACCEPTED), '“accepted” says what is right, such as ["a", "tie"].')
    assert isinstance(accepted, list)
    expected = [read_accepted(campaign, text, n_answers=len(answers)) for text in accepted if text.strip()]
    require(expected, "Say what the right answer is.")
    reason = given.get("reason") or ""
    require(isinstance(reason, str) and len(reason) <= MAX_TEXT, "“reason” is a text.")
    return ItemText(use=use, messages=_messages(given), answers=answers, expected=expected, reason=reason.strip())


def _are_texts(given: Any, most: int) -> bool:
    is_list = isinstance(given, list) and 0 < len(given) <= most
    return is_list and all(isinstance(text, str) and len(text) <= MAX_TEXT for text in given)


def _messages(given: Mapping[str, Any]) -> list[dict[str, str]]:
    messages = given.get("messages")
    if messages is None:
        prompt = given.get("prompt")
        require(isinstance(prompt, str) and prompt.strip() and len(prompt) <= MAX_TEXT, "The prompt is missing.")
        return [{"role": "user", "content": str(prompt).strip()}]
    is_list = isinstance(messages, list) and 0 < len(messages) <= MAX_TURNS
    require(is_list and "prompt" not in given, "“messages” is a list of turns, in place of “prompt”.")
    read = []
    for message in messages:
        has_both = (
            isinstance(message, dict) and message.get("role") in ROLES and isinstance(message.get("content"), str)
        )
        require(
            has_both and len(message["content"]) <= MAX_TEXT, "A turn has a role (user, assistant, system) and content."
        )
        read.append({"role": message["role"], "content": message["content"]})
    require(read[-1]["role"] == "user", "The last turn is the user's.")
    return read


@transaction.atomic
def add_item(campaign: Campaign, text: ItemText, *, by: User | None) -> PracticeItem:
    last = campaign.practice_items.filter(use=text.use).aggregate(last=Max("position"))["last"]
    item = PracticeItem.objects.create(
        campaign=campaign,
        use=text.use,
        position=0 if last is None else last + 1,
        messages=text.messages,
        answers=text.answers,
        expected=text.expected,
        reason=text.reason,
    )
    record(
        "practice_item.add",
        user=by,
        project=campaign.project,
        subject=item,
        detail={"campaign": campaign.key, "use": text.use},
    )
    return item


@transaction.atomic
def change_item(item: PracticeItem, text: ItemText, *, by: User | None) -> PracticeItem:
    """Change an item. Once somebody has answered it, prompt, answers and what is right stay with what was answered: the
    item is taken out, and a new one stands in its place."""
    is_new = item.practice_answers.exclude(answered_at=None).exists() and (
        [item.messages, item.answers, item.expected] != [text.messages, text.answers, text.expected]
    )
    if is_new:
        set_active(item, active=False, by=by)
        made = add_item(item.campaign, text, by=by)
        PracticeItem.objects.filter(pk=made.pk).update(position=item.position)
        return made
    item.use, item.messages, item.answers = text.use, text.messages, text.answers
    item.expected, item.reason = text.expected, text.reason
    item.save(update_fields=["use", "messages", "answers", "expected", "reason"])
    record("practice_item.change", user=by, project=item.campaign.project, subject=item)
    return item


@transaction.atomic
def set_active(item: PracticeItem, *, active: bool, by: User | None) -> None:
    """Take an item out, or put it in again. What was answered stays."""
    if PracticeItem.objects.filter(pk=item.pk).exclude(is_active=active).update(is_active=active):
        action = "practice_item.restore" if active else "practice_item.retire"
        record(action, user=by, project=item.campaign.project, subject=item)


@dataclass(frozen=True)
class BadItem:
    line: int
    sentence: str


def read_items(campaign: Campaign, text: str) -> tuple[list[ItemText], list[BadItem]]:
    """Read JSON lines, one item each. Raises DomainError for what is no such file."""
    require(len(text.encode()) <= MAX_BYTES, "The file is larger than 5 MB.", how="Split it.")
    lines = [(number, line) for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1) if line.strip()]
    require(lines, "There is no item in it.", how="One JSON object a line.")
    require(len(lines) <= MAX_LINES, f"There are {len(lines):,} items; {MAX_LINES} at a time.", how="Split the file.")
    items: list[ItemText] = []
    bad: list[BadItem] = []
    for number, line in lines:
        try:
            given = json.loads(line)
            require(isinstance(given, dict), "This line is no JSON object.")
            items.append(read_item(campaign, given))
        except DomainError as problem:
            bad.append(BadItem(number, problem.words))
        except (ValueError, RecursionError) as problem:
            bad.append(BadItem(number, f"This line is no JSON: {str(problem)[:100]}."))
    return items, bad


@transaction.atomic
def add_items(campaign: Campaign, items: Sequence[ItemText], *, by: User | None) -> int:
    """All of them or none."""
    for item in items:
        add_item(campaign, item, by=by)
    return len(items)


def from_task(task: ComparisonTask) -> dict[str, Any]:
    """The beginning of an item from a task: its texts in slot order, which says nothing of any model."""
    answers = list(task.slots.order_by("slot").values_list("candidate__text", flat=True))
    messages = [{"role": message["role"], "content": message["content"]} for message in task.prompt.messages]
    return {"messages": messages, "answers": answers}


def from_ruling(ruling: Ruling) -> dict[str, Any]:
    """The beginning of an item from a ruling's example, with the ruling as its reason."""
    example = ruling.example or {}
    return {
        "messages": example.get("messages", []),
        "answers": example.get("answers", []),
        "reason": f"**{ruling.title}**\n\n{ruling.text}",
    }
