"""Leases in the hands of people at work, and of the lead: renewed, opened, let go of, handed to somebody else.

How a lease is first given, and given up by its holder, is in ``annotation.assign``; the order of locks is that of ``annotation.turns``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User
from annotation import prepared
from annotation.assign import check_room, next_assignment, shuffled_slots
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask
from annotation.refusals import stands_before, takes_no_more
from annotation.turns import (
    IN_HAND,
    Lost,
    SeatGone,
    Turn,
    free_seat,
    held_turn,
    lease_from,
    lease_seconds,
    locked_place,
    locked_task,
    lowest_free_seat,
    retried,
    take_seat,
    take_seat_again,
)
from core.errors import Conflict, require
from core.transitions import move

MAX_QUEUE_SECONDS = 24 * 3600.0
MAX_NOTE = 300
HANDED = "handed over"


# ---- one's own -----------------------------------------------------------------------------------------------------------


@retried
def renew_lease(*, assignment_key: str, annotator: Annotator) -> datetime:
    """The person is at work on this task: its lease begins again, and that of the task prefetched behind it. Returns its end.

    A lease that ran out meanwhile (the machine slept) is taken again while a seat is free. Raises Lost where the task is this
    person's no more, so that its page can say so before more is written.
    """
    with transaction.atomic():
        turn = held_turn(annotator, assignment_key)
        assignment, until = turn.assignment, lease_from(turn.now, turn.campaign)
        if turn.campaign.stage == Campaign.Stage.CLOSED:
            raise Lost("This campaign was closed: nothing more is taken in it.")
        if turn.task.status == ComparisonTask.Status.RETIRED:
            raise Lost("This task was taken out of the campaign.", how="Go on with the next one.")
        if assignment.status == Assignment.Status.EXPIRED:
            _take_again(turn, until)
        elif assignment.status != Assignment.Status.OPEN:
            raise Lost("This task is not open for you any more.", how="Go on with the next one.")
        waiting = _waiting(annotator, turn.campaign).values_list("pk", flat=True)
        # Handed over, a task waits longer than one lease: that is not made shorter.
        leases = Assignment.objects.filter(pk__in=[assignment.pk, *waiting], status=Assignment.Status.OPEN)
        leases.filter(leased_until__lt=until).update(leased_until=until)
        return until


def _take_again(turn: Turn, until: datetime) -> None:
    check_room(turn)
    seat = take_seat_again(turn.task)
    if seat is None:
        raise Lost(
            "This task was kept for you for a while, then given to somebody else, who has it now.",
            how="Copy what you have written, then go on with the next task.",
        )
    move(
        turn.assignment,
        Assignment.Status.OPEN,
        only_from=Assignment.Status.EXPIRED,
        note="at work again",
        seat=seat,
        finished_at=None,
        opened_at=turn.assignment.opened_at or turn.now,
        leased_until=until,
    )


def prefetch_assignment(annotator: Annotator, campaign: Campaign) -> Assignment | None:
    """A lease on the task after the one at hand; at most one waits like this for a person in a campaign. None: there is none."""
    return next_assignment(annotator, campaign, prefetch=True)


@retried
def open_task(*, assignment_key: str, annotator: Annotator) -> Assignment:
    """The prefetched task is shown now: its time begins. Idempotent; raises Lost where it is this person's no more."""
    with transaction.atomic():
        turn = held_turn(annotator, assignment_key)
        assignment, until = turn.assignment, lease_from(turn.now, turn.campaign)
        if assignment.status == Assignment.Status.EXPIRED:
            _take_again(turn, until)
        elif assignment.status == Assignment.Status.OPEN:
            assignment.opened_at, assignment.leased_until = assignment.opened_at or turn.now, until
            prepared.renewed.run(turn=assignment.pk, until=until, opened=assignment.opened_at)
        elif assignment.status != Assignment.Status.SUBMITTED:  # judged before this message came: nothing is lost
            raise Lost("This task is not yours any more.", how="Go on with the next one.")
        return assignment


@retried
def release_waiting(*, annotator: Annotator, campaign: Campaign) -> int:
    """The person leaves: what was prefetched and never shown goes back, to them too when they return. Returns how many did."""
    with transaction.atomic():
        locked_place(annotator, campaign.pk)
        waiting = _waiting(annotator, campaign).exclude(events__note=HANDED)
        return sum(_release(turn, note="not shown") for turn in waiting.order_by("task_id"))


def _waiting(annotator: Annotator, campaign: Campaign) -> QuerySet[Assignment]:
    """What this person holds and was never shown: one that is prefetched, and what a lead has handed over."""
    held = Assignment.objects.filter(annotator=annotator, status=Assignment.Status.OPEN, opened_at=None)
    return held.filter(task__campaign=campaign, purpose=Assignment.Purpose.WORK)


def _release(turn: Assignment, *, note: str, by: User | None = None) -> bool:
    """Open or parked -> released. The caller holds the person's place."""
    task = locked_task(turn.task_id)
    assert task is not None
    fresh = Assignment.objects.get(pk=turn.pk)
    if fresh.status not in IN_HAND:
        return False
    move(fresh, Assignment.Status.RELEASED, by=by, note=note, finished_at=Now(), leased_until=None)
    if fresh.seat is not None:
        free_seat(task)
    return True


# ---- the lead's ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Handed:
    """What became of the leases that a lead took back: ``n_handed`` of them have a new holder, the rest are free for all."""

    n_released: int
    n_handed: int
    why_not: tuple[str, ...] = ()


@retried
def release_leases(
    *,
    campaign: Campaign,
    by: User,
    annotator: Annotator | None = None,
    to: Annotator | None = None,
    with_parked: bool = True,
    note: str = "",
) -> Handed:
    """Take back what a person (or everybody) has open in a campaign, and give it to somebody else, if one is named.

    Handed tasks come to ``to`` before all others, each with its own lease. What cannot be handed over (judged by them before,
    their own answer in it, a cap) stays free for all, and ``why_not`` says so. One transaction, one audit row.
    """
    require(to is None or annotator is None or to.pk != annotator.pk, "These tasks are with this person already.")
    require(to is None or not campaign.is_live, "The turns of a live campaign belong to those who wrote their prompts.")
    with transaction.atomic():
        statuses = IN_HAND if with_parked else (Assignment.Status.OPEN,)
        held = Assignment.objects.filter(task__campaign=campaign, status__in=statuses, purpose=Assignment.Purpose.WORK)
        if annotator is not None:
            held = held.filter(annotator=annotator)
        if to is not None:
            held = held.exclude(annotator=to)
        turns = list(held.select_related("annotator").order_by("annotator_id", "task__line"))
        people = {turn.annotator_id: turn.annotator for turn in turns} | ({to.pk: to} if to is not None else {})
        places = {pk: locked_place(people[pk], campaign.pk) for pk in sorted(people)}
        released = [turn.task_id for turn in turns if _release(turn, note=note[:MAX_NOTE] or "taken back", by=by)]
        n_handed = 0
        why_not: list[str] = []
        if to is not None:
            if (refusal := stands_before(places[to.pk], campaign, to)) is not None:
                raise Conflict(f"Nothing can be given to this person: {refusal.sentence}", how="Choose another one.")
            n_handed, why_not = _hand_over(released, to, campaign)
        detail = {"campaign": campaign.key, "released": len(released), "handed": n_handed, "note": note[:MAX_NOTE]}
        detail |= {"from": annotator.pseudonym} if annotator is not None else {}
        detail |= {"to": to.pseudonym} if to is not None else {}
        record("leases.release", user=by, project=campaign.project, subject=campaign, detail=detail)
        return Handed(len(released), n_handed, tuple(why_not))


def _hand_over(tasks: Iterable[int], to: Annotator, campaign: Campaign) -> tuple[int, list[str]]:
    n_handed, why_not = 0, []
    for task_id in tasks:
        why = _hand(task_id, to, campaign, n_before=n_handed)
        if why:
            why_not.append(why)
        else:
            n_handed += 1
    return n_handed, why_not


def _hand(task_id: int, to: Annotator, campaign: Campaign, *, n_before: int) -> str:
    """Give one task to somebody, unseen. Says why not, or ""."""
    place = locked_place(to, campaign.pk)
    held = prepared.in_hand.all(annotator=to.pk, campaign=campaign.pk)
    n_open = sum(turn.status == Assignment.Status.OPEN for turn in held)
    now: datetime = place.now  # type: ignore[attr-defined]
    refusal = takes_no_more(place, campaign, to, now=now, n_open=n_open, n_parked=len(held) - n_open)
    if refusal is not None:
        return refusal.sentence
    free = prepared.untouched(to.pk, campaign.pk, to.user_id or 0).filter(pk=task_id)
    if not free.exists():
        return "They have had this task, or wrote one of its answers."
    task = locked_task(task_id)
    assert task is not None
    # They work through them one by one, so the later ones wait longer.
    wait = timedelta(seconds=min(lease_seconds(campaign) * (n_before + 1), MAX_QUEUE_SECONDS))
    lease: dict[str, Any] = {"leased_until": now + wait, "opened_at": None}
    try:
        with transaction.atomic():
            seat = lowest_free_seat(task)
            turn = prepared.never_seen(task.pk, to.pk).first()
            if turn is not None:
                move(turn, Assignment.Status.OPEN, note=HANDED, seat=seat, finished_at=None, **lease)
            else:
                order = shuffled_slots(task.pk)
                turn = Assignment.objects.create(task=task, annotator=to, seat=seat, display_order=order, **lease)
                turn.events.create(before="", after=Assignment.Status.OPEN, note=HANDED)
            take_seat(task)
    except (IntegrityError, SeatGone):
        return "Somebody else has this task now."
    return ""
