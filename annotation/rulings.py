"""Rulings: dated decisions of the lead, with an example, in the guidelines drawer for everybody in the campaign."""

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User
from annotation.examples import Example, example_of, read_example
from annotation.models import Campaign, Question, Ruling
from core.errors import Conflict, require

MAX_TITLE, MAX_TEXT, MAX_QUERY = 200, 10_000, 200


@transaction.atomic
def rule(
    *, campaign: Campaign, title: str, text: str, by: User, question: Question | None = None, has_example: bool = True
) -> Ruling:
    """Put a decision into the drawer.

    question     what it came from; one question gives one ruling, so that a second click changes nothing
    has_example  keep the task of the question, as its asker saw it, beside the text
    """
    title, text = _checked(title, text)
    example = Example()
    if question is not None:
        require(question.campaign_id == campaign.pk, "This question belongs to another campaign.")
        standing = Ruling.objects.filter(question=question).first()
        if standing is not None:
            return standing
        require(question.status == Question.Status.ANSWERED, "Answer the question first.")
        example = example_of(question.assignment) if has_example else example
    try:
        with transaction.atomic():
            ruling = Ruling.objects.create(
                campaign=campaign,
                question=question,
                title=title,
                text=text,
                example=example.stored() if example else {},
                by=by,
            )
    except IntegrityError:  # two clicks at once
        return Ruling.objects.get(question=question)
    record("ruling.add", user=by, project=campaign.project, subject=ruling, detail={"campaign": campaign.key})
    return ruling


@transaction.atomic
def edit(*, ruling: Ruling, title: str, text: str, by: User, has_example: bool = True) -> None:
    """Say a ruling better. Its date stays, with the date of the edit beside it; without ``has_example`` its example is
    dropped for good. What changes nothing is no edit."""
    title, text = _checked(title, text)
    changes: dict[str, Any] = {"title": title, "text": text, **({} if has_example else {"example": {}})}
    if ruling.withdrawn_at is None and all(getattr(ruling, name) == value for name, value in changes.items()):
        return
    changes["edited_at"] = Now()
    if Ruling.objects.filter(pk=ruling.pk, withdrawn_at=None).update(**changes) != 1:
        raise Conflict("This ruling was withdrawn in the meantime.", how="Put it back in force first.")
    ruling.refresh_from_db()
    record("ruling.edit", user=by, project=ruling.campaign.project, subject=ruling)


@transaction.atomic
def withdraw(*, ruling: Ruling, by: User) -> None:
    """Take a ruling out of the drawer. Idempotent."""
    if Ruling.objects.filter(pk=ruling.pk, withdrawn_at=None).update(withdrawn_at=Now()):
        record("ruling.withdraw", user=by, project=ruling.campaign.project, subject=ruling)
    ruling.refresh_from_db()


@transaction.atomic
def put_back(*, ruling: Ruling, by: User) -> None:
    """Undo a withdrawal. Idempotent."""
    if Ruling.objects.filter(pk=ruling.pk, withdrawn_at__isnull=False).update(withdrawn_at=None):
        record("ruling.put_back", user=by, project=ruling.campaign.project, subject=ruling)
    ruling.refresh_from_db()


def rulings_of(campaign: Campaign) -> QuerySet[Ruling]:
    """All, the withdrawn ones too, newest first; for the lead."""
    return Ruling.objects.filter(campaign=campaign).select_related("by", "question").order_by("-id")


def standing_rulings(campaign: Campaign, query: str = "") -> list[Ruling]:
    """Those in force, newest first; each word of ``query`` occurs in the title, the text or the example.

    Compared here, not in the database: SQLite knows small and capital letters of English alone, and they are few.
    """
    words = query[:MAX_QUERY].casefold().split()
    found = Ruling.objects.filter(campaign=campaign, withdrawn_at=None).order_by("-id")
    return [ruling for ruling in found if not words or _has(ruling, words)]


def _has(ruling: Ruling, words: list[str]) -> bool:
    example = read_example(ruling.example)
    texts = [ruling.title, ruling.text, *(text for _, text in (*example.turns, *example.answers))]
    everything = "\n".join(texts).casefold()
    return all(word in everything for word in words)


def _checked(title: str, text: str) -> tuple[str, str]:
    title, text = " ".join(title.split()), text.strip()
    require(title, "Give the ruling a title: people find it by its words.")
    require(len(title) <= MAX_TITLE, f"A title has at most {MAX_TITLE} characters.")
    require(text, "Write what is decided.")
    require(len(text) <= MAX_TEXT, f"A ruling has at most {MAX_TEXT:,} characters.")
    return title, text
