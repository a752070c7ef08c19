"""What a lead does to the tasks of a campaign that runs: bring some forward, free what people hold, hand it to others."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count, QuerySet

from accounts.audit import record
from accounts.models import Membership, User
from annotation.audience import is_for
from annotation.leases import release_leases
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Place
from annotation.people import annotator_for
from annotation.retire import retire_task
from annotation.turns import IN_HAND
from core.errors import Conflict, require

FIRST, NORMAL, LAST = 10, 0, -10
PRIORITIES = {"first": FIRST, "normal": NORMAL, "last": LAST}
CHUNK = 500
MOST_RETIRED = 1000


@dataclass(frozen=True, slots=True)
class Holding:
    """What one person has in hand in a campaign."""

    place: Place
    n_open: int
    n_parked: int


@dataclass(frozen=True, slots=True)
class HandedOver:
    n_given: int
    n_free: int  # released, and open to everybody now: ``why_not`` says why the other person does not have them
    why_not: tuple[str, ...] = ()


def tasks_of(campaign: Campaign, *, split: str = "", why: str = "", status: str = "", priority: str = "") -> QuerySet:
    """The campaign's tasks that fit, first in line first."""
    tasks = ComparisonTask.objects.filter(campaign=campaign)
    if split:
        tasks = tasks.filter(prompt__split=split)
    if why:
        tasks = tasks.filter(chosen_why=why)
    if status == "free":
        tasks = tasks.filter(is_free=True)
    elif status == "held":
        tasks = tasks.filter(assignments__status__in=IN_HAND).distinct()
    elif status:
        tasks = tasks.filter(status=status)
    if priority in PRIORITIES:
        tasks = tasks.filter(priority=PRIORITIES[priority])
    return tasks.order_by("line")


def set_priority(campaign: Campaign, tasks: QuerySet[ComparisonTask], priority: str, *, by: User) -> int:
    """Put these tasks first in line, back to their place, or last. Returns how many."""
    require(priority in PRIORITIES, "A task comes first, in its turn, or last.")
    pks = list(tasks.filter(campaign=campaign).order_by().values_list("pk", flat=True))
    with transaction.atomic():
        for start in range(0, len(pks), CHUNK):
            ComparisonTask.objects.filter(pk__in=pks[start : start + CHUNK]).update(priority=PRIORITIES[priority])
        # People walk on from where they stand in line; from here they begin at its head again.
        Place.objects.filter(campaign=campaign).update(hand=None)
        detail = {"priority": priority, "n_tasks": len(pks)}
        record("campaign.priority", user=by, project=campaign.project, subject=campaign, detail=detail)
    return len(pks)


def retire_tasks(campaign: Campaign, tasks: QuerySet[ComparisonTask], *, by: User, note: str) -> int:
    """Take these tasks out of the campaign for good. Returns how many it took out."""
    require(note.strip(), "Say why these tasks are taken out.")
    chosen = list(tasks.filter(campaign=campaign).exclude(status=ComparisonTask.Status.RETIRED)[: MOST_RETIRED + 1])
    require(len(chosen) <= MOST_RETIRED, f"At most {MOST_RETIRED:,} tasks are taken out at once.", how="Choose fewer.")
    n_retired = sum(retire_task(task, by=by, note=note.strip()) for task in chosen)
    detail = {"n_tasks": n_retired, "note": note.strip()}
    record("campaign.retire", user=by, project=campaign.project, subject=campaign, detail=detail)
    return n_retired


# ---- people ------------------------------------------------------------------------------------------------------------


def holdings_of(campaign: Campaign) -> list[Holding]:
    """Who has tasks in hand, most first."""
    held = Assignment.objects.filter(task__campaign=campaign, status__in=IN_HAND).values("annotator", "status")
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for row in held.annotate(n=Count("pk")).order_by():
        counts[row["annotator"]][row["status"]] += row["n"]
    places = Place.objects.filter(campaign=campaign, annotator__in=counts).select_related("annotator")
    found = [Holding(p, counts[p.annotator_id]["open"], counts[p.annotator_id]["parked"]) for p in places]
    return sorted(found, key=lambda it: (-it.n_open - it.n_parked, it.place.annotator.pseudonym))


def release_held(campaign: Campaign, annotators: Sequence[Annotator], *, by: User) -> int:
    """Free the places that these people hold: open leases and parked tasks. Returns how many."""
    return sum(release_leases(campaign=campaign, by=by, annotator=each).n_released for each in annotators)


def hand_over(campaign: Campaign, annotators: Sequence[Annotator], to: Membership, *, by: User) -> HandedOver:
    """Take back what these people hold and give it to another, for whom it comes next; see ``leases.release_leases``.

    Raises Conflict where that person may not work here.
    """
    if not is_for(campaign, to):
        raise Conflict(f"This campaign is not for {to.user}.", how="Change whom it is for, or choose somebody else.")
    receiver = annotator_for(to.user, campaign.project)
    handed = [release_leases(campaign=campaign, by=by, annotator=each, to=receiver) for each in annotators]
    n_given = sum(each.n_handed for each in handed)
    why_not = dict.fromkeys(sentence for each in handed for sentence in each.why_not)
    return HandedOver(n_given, sum(each.n_released for each in handed) - n_given, tuple(why_not))
