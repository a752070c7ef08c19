"""Who gets what: a person's next task, and every way in which a seat is given back without a judgement.

One rule keeps it right: whatever changes a task's seats holds the task's row lock (on SQLite the transaction is the lock).
The order is always the person's place, the task, the assignment, so nothing here waits in a circle. The constraints on
``Assignment`` and the check on ``ComparisonTask.n_taken`` stand behind it: a bug becomes an error, never a task judged once too often.
"""

import logging
import random
import time
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from accounts.access import not_expired
from accounts.models import Membership, Project, User
from annotation import prepared
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Place
from annotation.onboarding import first_columns, may_work, not_working
from core.errors import Conflict, DomainError, require
from core.ids import new_key
from core.jobs import from_now
from core.transitions import move, try_move

logger = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

ATTEMPTS = 5
SWEEP = 1000
MAX_REASON = 200
IN_HAND = (Assignment.Status.OPEN, Assignment.Status.PARKED)
_shuffle = random.SystemRandom().shuffle


class Busy(DomainError):
    """The database refused several times in a row (503). Nothing was stored."""

    status_code = 503


class _SeatGone(Exception):
    """Somebody else has the seat; rolls the savepoint back."""


def retried(function: Callable[P, R]) -> Callable[P, R]:
    """Do a whole transaction again when the database gave it up (a deadlock, a lock that took too long). Raises Busy at last."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for attempt in range(ATTEMPTS):
            try:
                return function(*args, **kwargs)
            except OperationalError as problem:
                if connection.in_atomic_block:  # only the outermost transaction can be repeated
                    raise
                logger.info("%s is tried again: %s", function.__name__, problem)
                time.sleep(random.uniform(0.01, 0.05) * 2**attempt)
        raise Busy("The database is very busy.", how="Nothing was stored. Send it again in a moment.")

    return run


# ---- the next task ---------------------------------------------------------------------------------------------------


@retried
def next_assignment(annotator: Annotator, campaign: Campaign) -> Assignment | None:
    """This person's next assignment: an open one of their own, else a lease on a task that they have never touched.

    The walk begins at the person's hand, a hint, and goes once round the tasks with a free seat. None: nothing is free for
    this person now. Costs the same however large the campaign is and however much the person has done.
    """
    for _ in range(ATTEMPTS):
        try:
            with transaction.atomic():
                place = locked_place(annotator, campaign.pk)
                if not may_work(place):  # the way in is not behind this person
                    return None
                mine = _resumed(annotator, campaign)
                if mine is not None:
                    return mine
                # The tasks of a live campaign belong to those who wrote their prompts: see annotation.live.
                if not prepared.is_given_out.first(campaign=campaign.pk):
                    return None
                task = _free_task(annotator, campaign, place)
                if task is None:
                    return None
                assignment = _take(task, annotator, campaign)
                prepared.hand_moved.run(place=place.pk, hand=task.line)
                return assignment
        except (IntegrityError, _SeatGone):  # somebody else was faster
            continue
    return None


def open_assignment(annotator: Annotator, campaign: Campaign) -> Assignment | None:
    """The lease that this person holds here, the latest first (an undo may leave two)."""
    found: Assignment | None = prepared.open_turn.first(annotator=annotator.pk, campaign=campaign.pk)
    return found


def lease_seconds(campaign: Campaign) -> float:
    return campaign.lease_minutes * 60.0


def _lease_of(campaign: Campaign) -> timedelta:
    return timedelta(seconds=lease_seconds(campaign))


def locked_place(annotator: Annotator, campaign_id: int) -> Place:
    place: Place | None = prepared.place.first(annotator=annotator.pk, campaign=campaign_id)
    if place is None:
        begins = first_columns(Campaign.objects.get(pk=campaign_id), annotator)
        Place.objects.get_or_create(annotator=annotator, campaign_id=campaign_id, defaults=begins)
        place = prepared.place.first(annotator=annotator.pk, campaign=campaign_id)
        assert place is not None
    return place


def _resumed(annotator: Annotator, campaign: Campaign) -> Assignment | None:
    mine = open_assignment(annotator, campaign)
    if mine is None:
        return None
    return mine if prepared.renewed.run(turn=mine.pk, lease=_lease_of(campaign)) else None


def untouched(annotator: Annotator, campaign: Campaign) -> QuerySet[ComparisonTask]:
    """Open tasks with a free seat that this person has never had, first in line first."""
    turns = Assignment.objects.filter(task=OuterRef("pk"), annotator=annotator, purpose=Assignment.Purpose.WORK)
    return ComparisonTask.objects.filter(~Exists(turns), campaign=campaign, is_free=True).order_by("line")


def _free_task(annotator: Annotator, campaign: Campaign, place: Place) -> ComparisonTask | None:
    """The next free task from the hand on, locked.

    Tasks that others are just taking are passed over first; only when nothing else is left does it wait for them: the last
    task may have two seats.
    """
    who = {"annotator": annotator.pk, "campaign": campaign.pk}
    hand = prepared.FIRST_IN_LINE if place.hand is None else place.hand
    # SQLite has no row locks: one walk is enough there.
    for skip_locked in (True, False) if connection.features.has_select_for_update_skip_locked else (False,):
        for part in prepared.free_tasks[skip_locked]:
            task: ComparisonTask | None = part.first(**who, hand=hand)
            if task is not None:
                return task
    return None


def _take(task: ComparisonTask, annotator: Annotator, campaign: Campaign) -> Assignment:
    """Claim the lowest free seat of a task, by constraint. Raises IntegrityError or _SeatGone where somebody was faster."""
    order = [slot for slot, _ in prepared.slots.all(task=task.pk)]
    _shuffle(order)
    key = new_key()
    pk = prepared.new_turn.one(
        key=key,
        task=task.pk,
        annotator=annotator.pk,
        seat=lowest_free_seat(task),
        display_order=order,
        lease=_lease_of(campaign),
    )
    prepared.new_turn_event.one(subject_id=pk, before="", after=Assignment.Status.OPEN)
    take_seat(task)
    return assignment_of(annotator, key)


# ---- seats -----------------------------------------------------------------------------------------------------------


def locked_task(task_id: int, *, skip_locked: bool = False) -> ComparisonTask | None:
    """The task's row, locked: whatever is to be done with its seats."""
    if not skip_locked:
        task: ComparisonTask | None = prepared.task.first(task=task_id)
        return task
    return ComparisonTask.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=task_id).first()


def lowest_free_seat(task: ComparisonTask) -> int:
    held = {seat for (seat,) in prepared.seats_held.all(task=task.pk)}
    seat = next((seat for seat in range(task.seats) if seat not in held), None)
    if seat is None:
        raise _SeatGone
    return seat


def take_seat(task: ComparisonTask) -> None:
    """Count one more seat as taken, if the task is open and has one."""
    if prepared.seat_taken.run(task=task.pk) != 1:
        raise _SeatGone


def take_seat_again(task: ComparisonTask) -> int | None:
    """A seat for somebody who had lost theirs, or None. The caller holds the task's lock."""
    if task.status != ComparisonTask.Status.OPEN:
        return None
    try:
        with transaction.atomic():
            seat = lowest_free_seat(task)
            take_seat(task)
    except _SeatGone:
        return None
    return seat


def free_seat(task: ComparisonTask) -> None:
    ComparisonTask.objects.filter(pk=task.pk).update(n_taken=F("n_taken") - 1)


# ---- giving back -----------------------------------------------------------------------------------------------------


def assignment_of(annotator: Annotator, key: str) -> Assignment:
    """This person's assignment. Raises DomainError for anybody else's."""
    assignment: Assignment | None = prepared.turn_of.first(annotator=annotator.pk, key=key)
    if assignment is None:
        raise DomainError("There is no such assignment of yours.")
    return assignment


def locked_turn(annotator: Annotator, key: str) -> tuple[ComparisonTask, Assignment]:
    """One's own assignment and its task, with everything locked that a change of either needs."""
    _, task, assignment = locked_all(annotator, key)
    return task, assignment


def locked_all(annotator: Annotator, key: str) -> tuple[Place, ComparisonTask, Assignment]:
    """``locked_turn`` and the person's place, which is locked with them."""
    ids = prepared.turn_ids.first(annotator=annotator.pk, key=key)
    require(ids, "There is no such assignment of yours.")
    task_id, campaign_id = ids
    place = locked_place(annotator, campaign_id)
    task = locked_task(task_id)
    assert task is not None
    return place, task, assignment_of(annotator, key)  # only now: it may have changed while we waited


@retried
def skip_assignment(*, assignment_key: str, annotator: Annotator, reason: str = "") -> Assignment:
    """Pass on a task, with a reason. Frees the seat; this person is not offered the task again. Idempotent."""
    return _give_up(assignment_key, annotator, Assignment.Status.SKIPPED, skip_reason=reason.strip()[:MAX_REASON])


@retried
def release_assignment(*, assignment_key: str, annotator: Annotator) -> Assignment:
    """Give a task back unread. Idempotent."""
    return _give_up(assignment_key, annotator, Assignment.Status.RELEASED)


@transaction.atomic
def _give_up(key: str, annotator: Annotator, to: Assignment.Status, **changes: str) -> Assignment:
    task, assignment = locked_turn(annotator, key)
    if assignment.status == Assignment.Status.SUBMITTED:
        raise Conflict("You have judged this task already.", how="Undo your judgement first if you want to skip it.")
    if assignment.status != Assignment.Status.OPEN:
        return assignment
    note = changes.get("skip_reason", "")
    move(assignment, to, only_from=Assignment.Status.OPEN, note=note, finished_at=Now(), leased_until=None, **changes)
    free_seat(task)
    return assignment


@retried
def take_up_again(*, assignment_key: str, annotator: Annotator) -> Assignment:
    """Skipped -> open: judge it after all, while a seat is free. Idempotent; raises Conflict otherwise."""
    with transaction.atomic():
        task, assignment = locked_turn(annotator, assignment_key)
        if assignment.status == Assignment.Status.OPEN:
            return assignment
        campaign = assignment.task.campaign
        require(campaign.stage == Campaign.Stage.OPEN, f"This campaign is {campaign.stage}.")
        seat = take_seat_again(task) if assignment.status == Assignment.Status.SKIPPED else None
        if seat is None:
            raise Conflict("Somebody else has this task now.", how="Go on with the next one.")
        move(
            assignment,
            Assignment.Status.OPEN,
            only_from=Assignment.Status.SKIPPED,
            note="taken up again",
            seat=seat,
            skip_reason="",
            opened_at=Now(),
            finished_at=None,
            leased_until=from_now(lease_seconds(campaign)),
        )
        return assignment


def expire_leases() -> int:
    """A chore of the tick: free the seats of leases that ran out, by the database's clock, and of people who may judge no more.

    Safe to run anywhere, any number of times and at once. Returns how many seats it freed.
    """
    member = Membership.objects.filter(
        not_expired(),
        user=OuterRef("annotator__user"),
        project=OuterRef("annotator__project"),
        is_annotator=True,
        user__is_active=True,
    )
    off = Place.objects.filter(not_working(), annotator=OuterRef("annotator"), campaign=OuterRef("task__campaign"))
    gone = (Q(annotator__user__isnull=False) & ~Exists(member)) | Exists(off)
    held = Assignment.objects.filter(status__in=IN_HAND)
    n_freed = 0
    # A parked task has no lease: it stays its holder's until they may judge no more.
    for pk, task_id in held.filter(leased_until__lt=Now(), status=Assignment.Status.OPEN).values_list("pk", "task_id")[
        :SWEEP
    ]:
        n_freed += _expire(pk, task_id, Assignment.Status.EXPIRED, Q(leased_until__lt=Now()), "its lease ran out")
    for pk, task_id in held.filter(gone).values_list("pk", "task_id")[:SWEEP]:
        n_freed += _expire(pk, task_id, Assignment.Status.RELEASED, Q(), "its holder may judge here no more")
    return n_freed


def release_leases_of(project: Project, user: User) -> None:
    """Free the seats that someone holds who leaves the project or stops annotating in it (called in that transaction)."""
    held = Assignment.objects.filter(annotator__project=project, annotator__user=user, status__in=IN_HAND).values_list(
        "pk", "task_id"
    )
    for pk, task_id in held:
        _expire(pk, task_id, Assignment.Status.RELEASED, Q(), "its holder left")


def release_turns_of(place: Place, note: str) -> None:
    """Free the seats that a person holds in one campaign, because a lead says so."""
    held = Assignment.objects.filter(
        annotator=place.annotator_id, task__campaign=place.campaign_id, status__in=IN_HAND
    ).values_list("pk", "task_id")
    for pk, task_id in held:
        _expire(pk, task_id, Assignment.Status.RELEASED, Q(), note)


@transaction.atomic
def _expire(pk: int, task_id: int, to: Assignment.Status, where: Q, note: str) -> bool:
    task = locked_task(task_id, skip_locked=True)
    if task is None:  # somebody is just working on it; the next sweep comes in seconds
        return False
    assignment = Assignment.objects.get(pk=pk)
    in_hand = Q(status__in=IN_HAND)  # never what was submitted
    freed = try_move(assignment, to, where=where & in_hand, note=note, finished_at=Now())
    if freed and assignment.seat is not None:
        free_seat(task)
    return freed


# ---- what stands ------------------------------------------------------------------------------------------------------


def n_with_others(annotator: Annotator, campaign: Campaign) -> int:
    """How many tasks, untouched by this person, others have open: one may come free again."""
    turns = Assignment.objects.filter(task=OuterRef("task"), annotator=annotator, purpose=Assignment.Purpose.WORK)
    theirs = Assignment.objects.filter(
        ~Exists(turns), status=Assignment.Status.OPEN, purpose=Assignment.Purpose.WORK, task__campaign=campaign
    )
    return theirs.count()


def last_finished(annotator: Annotator, campaign: Campaign) -> Assignment | None:
    """What ``undo`` takes back: this person's latest judgement or skip."""
    mine = Assignment.objects.filter(annotator=annotator, task__campaign=campaign, purpose=Assignment.Purpose.WORK)
    latest = [
        mine.filter(status=status).order_by("-finished_at").first()
        for status in (Assignment.Status.SUBMITTED, Assignment.Status.SKIPPED)
    ]
    found = [assignment for assignment in latest if assignment is not None and assignment.finished_at is not None]
    return max(found, key=lambda assignment: (assignment.finished_at, assignment.pk), default=None)
