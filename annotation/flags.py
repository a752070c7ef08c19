"""Flags: somebody says that something is wrong with a task or one of its answers. What the lead does about it is elsewhere."""

from collections.abc import Iterable

from django.db import transaction

from annotation import prepared
from annotation.models import Annotator, Assignment, Flag
from annotation.rows import slots_of
from core.transitions import try_move


@transaction.atomic(savepoint=False)
def set_flags(
    assignment: Assignment, annotator: Annotator, flags: Iterable[tuple[str, int | None]], *, reason: str = ""
) -> None:
    """Make these the open flags of this person on this task: (kind, slot, or None for the whole task). Idempotent.

    One that is no longer among them is withdrawn; one that the lead has decided on stays decided.
    """
    said = list(flags)
    slots = slots_of(assignment.task_id) if said else {}
    wanted = {(kind, slots[slot] if slot is not None else None) for kind, slot in said}
    before = prepared.flags.all(task=assignment.task_id, annotator=annotator.pk)
    there = {(flag.kind, flag.candidate_id): flag for flag in before}
    for place, flag in there.items():
        if place in wanted and flag.status == Flag.Status.WITHDRAWN:
            try_move(flag, Flag.Status.OPEN, only_from=Flag.Status.WITHDRAWN, by=annotator.user, reason=reason)
        elif place in wanted and flag.status == Flag.Status.OPEN and flag.reason != reason:
            Flag.objects.filter(pk=flag.pk, status=Flag.Status.OPEN).update(reason=reason)
        elif place not in wanted and flag.status == Flag.Status.OPEN:
            try_move(flag, Flag.Status.WITHDRAWN, only_from=Flag.Status.OPEN, by=annotator.user)
    for kind, candidate in sorted(wanted - set(there), key=str):
        made = Flag.objects.create(
            task_id=assignment.task_id, candidate_id=candidate, annotator=annotator, kind=kind, reason=reason
        )
        made.events.create(before="", after=Flag.Status.OPEN, by=annotator.user)
