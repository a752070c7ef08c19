"""Seats that come back by themselves: of leases that ran out, and of people who may judge no more."""

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from accounts.access import not_expired
from accounts.models import Membership, Project, User
from annotation.models import Assignment, Place
from annotation.onboarding import not_working
from annotation.turns import IN_HAND, free_seat, locked_task
from core.transitions import try_move

SWEEP = 1000


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
