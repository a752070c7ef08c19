"""Taking tasks out of their campaign: nobody is given them any more, and datasets leave their judgements out. For good."""

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from accounts.models import User
from annotation.models import Assignment, Campaign, ComparisonTask
from annotation.turns import IN_HAND, free_seat, locked_task, retried
from core.transitions import move, try_move


@retried
def retire_task(task: ComparisonTask, *, by: User | None, note: str) -> bool:
    """Open or complete -> retired; whoever has it open or parked is freed of it. False: it was retired already.

    What was said about it is kept as it was said.
    """
    with transaction.atomic():
        locked = locked_task(task.pk)
        if locked is None or locked.status == ComparisonTask.Status.RETIRED:
            return False
        move(locked, ComparisonTask.Status.RETIRED, by=by, note=note)
        wait_for_fewer(locked, locked.seats - locked.n_submitted)
        for turn in Assignment.objects.filter(task=locked, status__in=IN_HAND).order_by("pk"):
            freed = try_move(turn, Assignment.Status.RELEASED, by=by, note="its task was retired", finished_at=Now())
            if freed and turn.seat is not None:
                free_seat(locked)
        return True


def wait_for_fewer(task: ComparisonTask, n_seats: int) -> None:
    """Judgements of a retired task that will not come any more: the campaign's progress does without them."""
    if n_seats:
        Campaign.objects.filter(pk=task.campaign_id).update(n_seats_retired=F("n_seats_retired") + n_seats)
