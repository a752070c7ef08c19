"""The contexts of the annotate screen, and how a task becomes one. Views choose the page; templates show it.

What is sent to an annotator is built from the assignment's random key, the letters of the answers as shown, and their
texts: no id, time, length or order that a model could have left its mark on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.urls import reverse

from accounts import preferences
from accounts.models import Project
from accounts.preferences import Preferences
from annotation import prepared
from annotation.campaigns import Progress
from annotation.models import Assignment, Campaign, Judgement
from annotation.protocol import LETTERS, Protocol
from annotation.refusals import Refusal
from annotation.rows import saids_of
from annotation.screen import SKIP_REASONS, Asked, Entered, asked_of
from generation.models import Prompt

SWITCHES = {
    "submit_on_choice": "Send as soon as I choose, where nothing else is required (from the next task on)",
    "equal_scroll": "Answers scroll together",
    "show_diff": "Mark the words that differ, where the campaign offers it",
}
SELECTS = {
    "font_size": ("Size of the text", preferences.FONT_SIZES),
    "text_width": ("Width of the text", preferences.TEXT_WIDTHS),
    "layout": ("Answers", preferences.LAYOUTS),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """One answer as an annotator sees it."""

    letter: str
    text: str
    is_chosen: bool = False


@dataclass(frozen=True, slots=True)
class Extra:
    """Something of the prompt beside it: its note, a reference answer, a checklist."""

    label: str
    text: str = ""
    points: tuple[str, ...] = ()
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class Ways:
    """Where the buttons of a task lead; an empty one is not offered."""

    submit: str
    start: str = ""
    skip: str = ""
    ask: str = ""
    undo: str = ""
    draft: str = ""
    renew: str = ""
    ahead: str = ""
    leave: str = ""
    correct: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """One control of the display form."""

    name: str
    label: str
    value: Any
    choices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class CampaignPage:
    """What every page about one campaign needs: its guidelines, keys and display settings stand beside each of them."""

    project: Project
    campaign: Campaign
    look: Preferences = field(default_factory=Preferences)
    here: str = ""  # the address that the display form comes back to

    @property
    def keys(self) -> list[tuple[str, str]]:
        return asked_of(self.campaign, n_answers=2 if self.campaign.kind == Campaign.Kind.PAIR else 4).keys

    @property
    def display_url(self) -> str:
        return reverse("accounts:set_preferences")

    @property
    def look_selects(self) -> list[Setting]:
        return [
            Setting(name, label, getattr(self.look, name), tuple(choices.items()))
            for name, (label, choices) in SELECTS.items()
        ]

    @property
    def look_switches(self) -> list[Setting]:
        return [Setting(name, label, getattr(self.look, name)) for name, label in SWITCHES.items()]


@dataclass(frozen=True, kw_only=True)
class TaskPage(CampaignPage):
    """One task. Practice pages and previews fill it too: everything here is a plain value."""

    key: str
    turns: Sequence[Mapping[str, str]]
    answers: Sequence[Shown]
    asked: Asked
    to: Ways
    skip_reasons: Sequence[tuple[int, str]] = tuple(enumerate(SKIP_REASONS, start=1))
    extras: Sequence[Extra] = ()
    n_mine: int = 0
    progress: Progress | None = None
    error: str = ""
    said: str = ""
    done: str = ""  # set where the task is judged: what was said
    is_correction: bool = False
    stands: str = ""  # key of the judgement that is corrected
    is_begun: bool = False  # a better answer was just begun from one of those shown
    draft_number: int = 0
    lease_seconds: int = 0
    asked_lead: Any = None  # the question to the lead about this task: text, answer
    announcements: Sequence[Any] = ()
    news: Sequence[Any] = ()  # answers of the lead about other tasks
    is_sensitive: bool = False
    support_text: str = ""

    @property
    def keys(self) -> list[tuple[str, str]]:
        return self.asked.keys

    @property
    def lease_whole_seconds(self) -> int:
        return self.campaign.lease_minutes * 60

    @property
    def is_bar_tall(self) -> bool:
        """On a phone such a bar would cover what is read: it stands at the end instead."""
        return self.asked.kind == "rank" or (self.asked.choice is not None and len(self.asked.choice.options) > 5)

    @property
    def can(self) -> tuple[str, ...]:
        """What the small buttons offer."""
        return tuple(name for name in ("undo", "skip", "ask") if getattr(self.to, name))

    @property
    def sends_on_choice(self) -> bool:
        """Whether the choices are buttons that send: the person wants it, and a choice is a whole judgement."""
        return self.look.submit_on_choice and self.asked.is_choice_enough and not (self.error or self.is_correction)


@dataclass(frozen=True, kw_only=True)
class StartPage(CampaignPage):
    n_mine: int
    progress: Progress
    has_work: bool
    n_with_others: int
    open_key: str
    undo_key: str
    is_several: bool
    said: str = ""
    announcements: Sequence[Any] = ()
    news: Sequence[Any] = ()
    needs_consent: bool = False
    needs_confirmation: bool = False
    refusal: Refusal | None = None  # why there is no task for this person
    changed: str = ""  # what changed in the guidelines since this person confirmed them


@dataclass(frozen=True, kw_only=True)
class LostPage(CampaignPage):
    """A judgement that could not be kept: what happened, everything that was written, and the way on."""

    sentence: str
    how: str
    undo_key: str = ""
    written: str = ""


# ---- a task as it is shown ---------------------------------------------------------------------------------------------


def turns_of(prompt: Prompt) -> list[dict[str, str]]:
    return [{"role": message["role"], "content": message["content"]} for message in prompt.messages]


def extras_of(campaign: Campaign, prompt: Prompt) -> list[Extra]:
    """What the campaign shows of a prompt beside its turns, where the prompt has it."""
    shown = Protocol.parse(campaign.protocol).show
    extras = []
    if "note" in shown and prompt.note.strip():
        extras.append(Extra("Note", prompt.note))
    if "checklist" in shown and (points := _points(prompt.metadata.get("checklist"))):
        extras.append(Extra("Checklist", points=points))
    if "reference" in shown and prompt.reference.strip():
        extras.append(Extra("Reference answer", prompt.reference, is_open=False))
    return extras


def _points(checklist: Any) -> tuple[str, ...]:
    """A prompt's ``metadata.checklist``: a list of sentences, or a text with one a line."""
    lines = checklist.splitlines() if isinstance(checklist, str) else checklist if isinstance(checklist, list) else []
    return tuple(str(line).strip().removeprefix("- ") for line in lines if str(line).strip())


def texts_shown(turn: Assignment, *, texts: Mapping[int, str] | None = None) -> list[str]:
    """The texts of a task's answers in this person's order; ``texts`` by slot, where they were read already."""
    texts = texts or dict(prepared.texts.all(task=turn.task_id))
    return [texts[slot] for slot in turn.display_order]


def answers_shown(turn: Assignment, *, chosen: str = "", texts: Mapping[int, str] | None = None) -> list[Shown]:
    """The answers under the letters of their places; ``chosen`` is the letter of the better one."""
    return [
        Shown(LETTERS[place], text, is_chosen=LETTERS[place].lower() == chosen)
        for place, text in enumerate(texts_shown(turn, texts=texts))
    ]


def words_of(asked: Asked) -> str:
    """What was said in a line: the choice, or the order, or the first ratings."""
    if asked.ranks and asked.ranks[0].is_answered:
        return order_of(asked)
    if asked.choice is not None and asked.choice.chosen:
        return asked.choice.chosen
    cells = [f"{cell.letter} {cell.chosen}" for cell in asked.ratings[0].cells] if asked.ratings else []
    return f"{asked.ratings[0].label}: {', '.join(cells)}" if cells else "Judged"


def words_said(judgements: Sequence[Judgement], campaign: Campaign) -> list[str]:
    """Each judgement in a line, under the letters that its author saw. Their assignments should have been selected with them."""
    saids, lines = saids_of(judgements), []
    for judgement in judgements:
        order = judgement.assignment.display_order
        fields = saids[judgement.pk].to_fields(campaign=campaign, display_order=order)
        lines.append(words_of(asked_of(campaign, n_answers=len(order), entered=Entered(fields))))
    return lines


def order_of(asked: Asked) -> str:
    """``B > A = C``."""
    ranks = sorted((int(row.chosen), row.letter) for row in asked.ranks if row.chosen)
    words = ""
    for place, (rank, letter) in enumerate(ranks):
        words += letter if place == 0 else f" {'=' if rank == ranks[place - 1][0] else '>'} {letter}"
    return words


def written_in(asked: Asked, entered: Entered) -> str:
    """Everything that a person entered, as a text to copy."""
    lines = [("You chose", words_of(asked)), ("Reasons", ", ".join(entered.all("reason")))]
    lines += [(question.label, question.chosen) for question in asked.comparisons]
    lines += [(cell.label, cell.chosen) for rating in asked.ratings for cell in rating.cells]
    flags = [f"{flag.label}: {option.label}" for flag in asked.flags for option in flag.options if option.is_chosen]
    lines += [("Flags", "; ".join(flags)), ("What is wrong", entered.one("flag_reason"))]
    lines += [("Your comment", entered.one("comment")), ("Your better answer", entered.one("write_in"))]
    return "\n".join(f"{label}: {text.strip()}" for label, text in lines if text.strip() and text != "Judged")
