"""Drafts: what a person has entered and not sent yet. One for each assignment; it outlives a reload, a crash and a lost lease."""

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from annotation.models import Annotator, Assignment, Draft, Judgement
from annotation.protocol import is_field, tidy, values_of
from annotation.rows import said_of
from core.errors import DomainError, require

MAX_CHARS = 100_000  # more than all texts of a form together
MAX_FIELDS = 400
MAX_NUMBER = 2**62
# Of a task that is judged, skipped or given back a late packet of an old page must not make a draft.
WRITTEN = (Assignment.Status.OPEN, Assignment.Status.PARKED, Assignment.Status.EXPIRED)


def save_draft(*, assignment_key: str, annotator: Annotator, fields: Mapping[str, Any], number: int) -> bool:
    """Keep the form's fields as they stand, half-done or not. Of two saves the one with the higher number counts.

    number  grows with each save: milliseconds since 1970, so that of two tabs the later one wins
    False: a later save stands, or the task is no longer being judged. Nothing is checked: half of a ranking is kept, too.
    """
    given = kept_fields(fields)
    number = min(max(0, number), MAX_NUMBER)
    with transaction.atomic():
        turns = Assignment.objects.select_for_update(no_key=True, of=("self",)).filter(annotator=annotator)
        turn = turns.filter(key=assignment_key).first()
        if turn is None:
            raise DomainError("There is no such assignment of yours.")
        if turn.status not in WRITTEN:
            return False
        return _store(turn, given, number)


def _store(turn: Assignment, given: dict[str, list[str]], number: int) -> bool:
    earlier = Draft.objects.filter(assignment=turn, number__lt=number)
    if earlier.update(said=given, number=number, updated_at=Now()):
        return True
    try:
        with transaction.atomic():
            Draft.objects.create(assignment=turn, said=given, number=number)
    except IntegrityError:  # one stands, and it is the later one
        return False
    return True


def keep_for_copying(turn: Assignment, fields: Mapping[str, Any]) -> None:
    """What came too late, kept for its author; it replaces what was saved on the way there."""
    Draft.objects.update_or_create(assignment=turn, defaults={"said": kept_fields(fields)})


def kept_fields(fields: Mapping[str, Any]) -> dict[str, list[str]]:
    """Of a form only what a person says, as lists of texts. Raises DomainError for more than a form can hold."""
    names = [name for name in fields if is_field(name)]
    require(len(names) <= MAX_FIELDS, "This is more than one form holds.")
    given = {name: [text for value in values_of(fields, name) if (text := tidy(value))] for name in names}
    given = {name: values for name, values in given.items() if values}
    n_chars = sum(len(name) + len(text) for name, values in given.items() for text in values)
    require(n_chars <= MAX_CHARS, f"A draft keeps at most {MAX_CHARS:,} characters.")
    return given


def draft_of(turn: Assignment) -> Draft | None:
    """The draft of a task that is not judged, lost ones included: those are shown for copying."""
    if turn.status == Assignment.Status.SUBMITTED:
        return None
    return Draft.objects.filter(assignment=turn).first()


def filled_in(turn: Assignment) -> dict[str, list[str]]:
    """The fields to begin with: the draft; of a judged task what stands; after an undo what was taken back; else nothing."""
    draft = draft_of(turn)
    if draft is not None:
        return dict(draft.said)
    said = turn.judgements.exclude(verdict__in=[Judgement.Verdict.WITHDRAWN, Judgement.Verdict.VOIDED])
    last = said.select_related("assignment").order_by("-revision").first()
    if last is None:
        return {}
    return said_of(last).to_fields(campaign=turn.task.campaign, display_order=turn.display_order)
