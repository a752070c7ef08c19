"""More judgements of each task: the overlap of a campaign that runs is raised, never lowered."""

from django.db import transaction
from django.db.models import F

from accounts.audit import record
from accounts.models import User
from annotation.campaign_options import MAX_OVERLAP
from annotation.models import Campaign, ComparisonTask, VoteImport
from annotation.turns import retried
from core.errors import require
from core.transitions import move_all

Status = ComparisonTask.Status


def may_be_raised(campaign: Campaign) -> bool:
    """Whether more people can judge each task: a live turn is its writer's alone, and imported tasks have the seats of their votes."""
    if campaign.is_live or campaign.stage not in (Campaign.Stage.OPEN, Campaign.Stage.PAUSED):
        return False
    return not VoteImport.objects.filter(campaign=campaign).exists()


@retried
def raise_overlap(campaign: Campaign, overlap: int, *, by: User | None) -> bool:
    """Let ``overlap`` people judge each task; complete ones are open again. False: it is as it was. Raises DomainError otherwise.

    Seats rise under the tasks' own locks, so that a judgement that arrives meanwhile counts against the old number or the new
    one, never past it. What retired tasks lack stays out of the campaign's progress.
    """
    with transaction.atomic():
        locked = Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
        if overlap == locked.overlap:
            return False
        require(may_be_raised(locked), "The overlap of this campaign cannot be changed.")
        require(
            locked.overlap < overlap <= MAX_OVERLAP,
            f"The overlap can be raised, from {locked.overlap} up to {MAX_OVERLAP}, and not lowered: people have judged by it.",
            how="Clone the campaign to have fewer judgements of each task.",
        )
        standing = ComparisonTask.objects.filter(campaign=locked).exclude(status=Status.RETIRED)
        standing.filter(seats__lt=overlap).update(seats=overlap)
        move_all(
            standing.filter(status=Status.COMPLETE, n_submitted__lt=F("seats")),
            Status.OPEN,
            note="overlap raised",
            by=by,
        )
        n_retired = locked.tasks.filter(status=Status.RETIRED).count()
        more = (overlap - locked.overlap) * n_retired
        Campaign.objects.filter(pk=locked.pk).update(overlap=overlap, n_seats_retired=F("n_seats_retired") + more)
        detail = {"before": locked.overlap, "after": overlap}
        record("campaign.overlap", user=by, project=locked.project, subject=locked, detail=detail)
    campaign.refresh_from_db()
    return True
