"""What a lead does to the tasks of a campaign that runs: bring some forward, free what people hold, hand it to others."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count, QuerySet
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import Membership, User
from annotation.assign import IN_HAND, lease_seconds, locked_task, release_turns_of, retried, take_seat_again
from annotation.audience import is_for
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Place
from annotation.onboarding import first_columns, may_work
from annotation.people import annotator_for
from annotation.retire import retire_task
from core.errors import Conflict, require
from core.jobs import from_now

FIRST, NORMAL, LAST = 10, 0, -10
PRIORITIES = {"first": FIRST, "normal": NORMAL, "last": LAST}
CHUNK = 500
MOST_RETIRED = 1000
_shuffle = random.SystemRandom().shuffle


@dataclass(frozen=True, slots=True)
class Holding:
    """What one person has in hand in a campaign."""

    place: Place
    n_open: int
    n_parked: int


@dataclass(frozen=True, slots=True)
class HandedOver:
    n_given: int
    n_free: int  # released, and open to everybody now: the other person had seen them, or may not judge here


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
    """Free the seats that these people hold: open leases and parked tasks. Returns how many."""
    n_freed = 0
    for place in Place.objects.filter(campaign=campaign, annotator__in=annotators):
        before = _in_hand(place).count()
        release_turns_of(place, "a lead freed it")
        n_freed += before - _in_hand(place).count()
    detail = {"people": sorted(annotator.pseudonym for annotator in annotators), "n_tasks": n_freed}
    record("campaign.release", user=by, project=campaign.project, subject=campaign, detail=detail)
    return n_freed


def hand_over(campaign: Campaign, annotators: Sequence[Annotator], to: Membership, *, by: User) -> HandedOver:
    """Free what these people hold, and give as much of it as may be to another: it stands before that person's next task.

    What the other person has had before, or may not be given, is free for everybody else. Raises Conflict where that person
    cannot work here at all.
    """
    require(campaign.stage == Campaign.Stage.OPEN, f"This campaign is {campaign.stage}.", how="Open it first.")
    if not is_for(campaign, to):
        raise Conflict(f"This campaign is not for {to.user}.", how="Change whom it is for, or choose somebody else.")
    receiver = annotator_for(to.user, campaign.project)
    require(receiver not in annotators, "That is the person who holds them.", how="Choose somebody else.")
    begins = first_columns(campaign, receiver)
    place, _ = Place.objects.get_or_create(annotator=receiver, campaign=campaign, defaults=begins)
    if not may_work(place):
        raise Conflict(f"{to.user} may not judge here yet.", how="See where that person stands on the way in.")
    held = Assignment.objects.filter(annotator__in=annotators, task__campaign=campaign, status__in=IN_HAND)
    tasks = list(held.order_by("opened_at", "pk").values_list("task_id", flat=True))
    n_free = release_held(campaign, annotators, by=by)
    n_given = sum(_give(task, place) for task in tasks)
    detail = {"to": receiver.pseudonym, "n_given": n_given}
    record("campaign.hand_over", user=by, project=campaign.project, subject=campaign, detail=detail)
    return HandedOver(n_given=n_given, n_free=max(0, n_free - n_given))


@retried
def _give(task_id: int, place: Place) -> bool:
    """Open a lease on this task for somebody who has never had it. False: they had, or no seat is free."""
    with transaction.atomic():
        Place.objects.select_for_update(no_key=True).get(pk=place.pk)  # the order of locks is that of annotation.assign
        task = locked_task(task_id)
        theirs = Assignment.objects.filter(task=task_id, annotator=place.annotator_id)
        if task is None or theirs.filter(purpose=Assignment.Purpose.WORK).exists():
            return False
        seat = take_seat_again(task)
        if seat is None:
            return False
        order = list(task.slots.values_list("slot", flat=True))
        _shuffle(order)
        turn = Assignment.objects.create(
            task=task,
            annotator_id=place.annotator_id,
            seat=seat,
            display_order=order,
            opened_at=Now(),
            leased_until=from_now(lease_seconds(place.campaign)),
        )
        turn.events.create(before="", after=Assignment.Status.OPEN, note="handed over by a lead")
        return True


def _in_hand(place: Place) -> QuerySet[Assignment]:
    return Assignment.objects.filter(annotator=place.annotator_id, task__campaign=place.campaign_id, status__in=IN_HAND)
