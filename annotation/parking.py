"""A parked task: its holder has asked the lead. The seat is kept, and no lease runs until it is taken up again."""

from django.db import transaction
from django.db.models.functions import Now

from annotation.models import Annotator, Assignment, Campaign, ComparisonTask
from annotation.turns import lease_seconds, locked_turn, retried
from core.errors import Conflict
from core.jobs import from_now
from core.transitions import move


@retried
def park_assignment(*, assignment_key: str, annotator: Annotator) -> Assignment:
    """Open -> parked. Idempotent; raises Conflict where the task is this person's no more."""
    with transaction.atomic():
        _, turn = locked_turn(annotator, assignment_key)
        if turn.status == Assignment.Status.PARKED:
            return turn
        if turn.status != Assignment.Status.OPEN:
            raise Conflict(
                "This task is not open for you any more, so it cannot be parked.", how="Go on with the next one."
            )
        move(turn, Assignment.Status.PARKED, only_from=Assignment.Status.OPEN, leased_until=None)
        return turn


@retried
def resume_assignment(*, assignment_key: str, annotator: Annotator) -> Assignment:
    """Parked -> open, with a new lease. Idempotent; raises Conflict where it can no longer be judged."""
    with transaction.atomic():
        task, turn = locked_turn(annotator, assignment_key)
        campaign = turn.task.campaign
        if turn.status == Assignment.Status.OPEN:
            return turn
        if campaign.stage == Campaign.Stage.CLOSED:
            raise Conflict("This campaign is closed: nothing can be judged in it any more.")
        if turn.status != Assignment.Status.PARKED or task.status == ComparisonTask.Status.RETIRED:
            raise Conflict("This task is no longer waiting for you.", how="Go on with the next one.")
        move(
            turn,
            Assignment.Status.OPEN,
            only_from=Assignment.Status.PARKED,
            note="taken up again",
            opened_at=Now(),
            leased_until=from_now(lease_seconds(campaign)),
        )
        return turn
