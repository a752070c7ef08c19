"""A turn at a task, and the seats of a task: what has to be locked before either changes, and how a transaction is done again.

One rule keeps it right: whatever changes a task's seats holds the task's row lock (on SQLite the transaction is the lock).
The order is always the person's place, the task, the assignment, so nothing here waits in a circle. The constraints on
``Assignment`` and the check on ``ComparisonTask.n_taken`` stand behind it: a bug becomes an error, never a task judged once too often.
"""

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import OperationalError, connection, transaction
from django.db.models import F

from annotation import prepared
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Place
from annotation.onboarding import first_columns
from core.errors import Conflict, DomainError

logger = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

ATTEMPTS = 5
IN_HAND = (Assignment.Status.OPEN, Assignment.Status.PARKED)


class Busy(DomainError):
    """The database refused several times in a row (503). Nothing was stored."""

    status_code = 503


class Lost(Conflict):
    """The seat is gone, and with it the task: what was written is kept for copying, and the time counts as worked."""


class SeatGone(Exception):
    """Somebody else has the seat; rolls the savepoint back."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One's own assignment, with everything locked that a change of it needs; ``now`` by the database's clock.

    texts  slot -> text of the answers, where they were read on the way
    """

    place: Place
    task: ComparisonTask
    assignment: Assignment
    texts: Mapping[int, str] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        now: datetime = self.place.now  # type: ignore[attr-defined]
        return now

    @property
    def campaign(self) -> Campaign:
        return self.assignment.task.campaign


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


def lease_seconds(campaign: Campaign) -> float:
    return campaign.lease_minutes * 60.0


def lease_from(now: datetime, campaign: Campaign) -> datetime:
    return now + timedelta(seconds=lease_seconds(campaign))


def locked_place(annotator: Annotator, campaign_id: int) -> Place:
    """With ``now``, the time by the database's clock."""
    place: Place | None = prepared.place.first(annotator=annotator.pk, campaign=campaign_id)
    if place is None:
        begins = first_columns(Campaign.objects.get(pk=campaign_id), annotator)
        Place.objects.get_or_create(annotator=annotator, campaign_id=campaign_id, defaults=begins)
        place = prepared.place.first(annotator=annotator.pk, campaign=campaign_id)
        assert place is not None
    return place


def locked_task(task_id: int, *, skip_locked: bool = False) -> ComparisonTask | None:
    """The task's row, locked: whatever is to be done with its seats."""
    if not skip_locked:
        task: ComparisonTask | None = prepared.task.first(task=task_id)
        return task
    return ComparisonTask.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=task_id).first()


def lowest_free_seat(task: ComparisonTask) -> int:
    if task.n_taken == 0:  # the task is locked, so this is true
        return 0
    held = {seat for (seat,) in prepared.seats_held.all(task=task.pk)}
    seat = next((seat for seat in range(task.seats) if seat not in held), None)
    if seat is None:
        raise SeatGone
    return seat


def take_seat(task: ComparisonTask) -> None:
    """Count one more seat as taken, if the task is open and has one."""
    if prepared.seat_taken.run(task=task.pk) != 1:
        raise SeatGone


def take_seat_again(task: ComparisonTask) -> int | None:
    """A seat for somebody who had lost theirs, or None. The caller holds the task's lock."""
    if task.status != ComparisonTask.Status.OPEN:
        return None
    try:
        with transaction.atomic():
            seat = lowest_free_seat(task)
            take_seat(task)
    except SeatGone:
        return None
    return seat


def free_seat(task: ComparisonTask) -> None:
    ComparisonTask.objects.filter(pk=task.pk).update(n_taken=F("n_taken") - 1)


def assignment_of(annotator: Annotator, key: str) -> Assignment:
    """This person's assignment. Raises DomainError for anybody else's."""
    assignment: Assignment | None = prepared.turn_of.first(annotator=annotator.pk, key=key)
    if assignment is None:
        raise DomainError("There is no such assignment of yours.")
    assignment.annotator = annotator
    return assignment


def held_turn(annotator: Annotator, key: str) -> Turn:
    place: Place | None = prepared.place_of_turn.first(annotator=annotator.pk, key=key)
    if place is None:
        place = locked_place(annotator, assignment_of(annotator, key).task.campaign_id)
    # Only now, since it may have changed while we waited.
    assignment: Assignment | None = prepared.turn_held.first(annotator=annotator.pk, key=key)
    assert assignment is not None
    assignment.annotator = annotator
    return Turn(place, assignment.task, assignment)


def locked_turn(annotator: Annotator, key: str) -> tuple[ComparisonTask, Assignment]:
    turn = held_turn(annotator, key)
    return turn.task, turn.assignment
