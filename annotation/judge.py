"""The write path of judgements. Rows are inserted, never updated; the assignment is the token that makes a click idempotent.

Every function here holds the person's place and the task's row (see ``annotation.assign``).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User
from annotation import prepared
from annotation.assign import (
    free_seat,
    lease_seconds,
    locked_all,
    retried,
    take_seat_again,
    take_up_again,
)
from annotation.flags import set_flags
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Judgement, Place
from annotation.onboarding import after_submit, after_undo, check_may_work
from annotation.protocol import Said
from annotation.rows import insert_parts, said_of, slots_of
from core.errors import Conflict, require
from core.jobs import from_now
from core.transitions import move

Verdict = Judgement.Verdict


def live_judgements() -> QuerySet[Judgement]:
    """Judgements that stand: the current revision of submitted work, neither withdrawn nor voided."""
    return Judgement.objects.filter(
        assignment__status=Assignment.Status.SUBMITTED,
        assignment__purpose=Assignment.Purpose.WORK,
        assignment__current=F("pk"),
    )


@retried
def submit_judgement(*, assignment_key: str, annotator: Annotator, said: Said) -> Judgement:
    """Record what a person said.

    The same judgement sent again is answered with the row that stands; another one for a judged task raises Conflict.
    A late one counts while the task has a free seat, otherwise it raises Conflict.
    """
    with transaction.atomic():
        place, task, assignment = locked_all(annotator, assignment_key)
        campaign = assignment.task.campaign
        slots = slots_of(task.pk)
        said.check(campaign, n_answers=len(slots))
        if assignment.status == Assignment.Status.SUBMITTED:
            return _again(assignment, said)
        check_may_work(annotator, campaign)
        seat = _seat_to_keep(assignment, task, campaign)
        judgement = _insert_said(assignment, said, slots, place)
        prepared.submitted.run(assignment, current=judgement.pk, seat=seat)
        _count(task, place, +1)
        return judgement


@retried
def undo_judgement(*, assignment_key: str, annotator: Annotator) -> Assignment:
    """Take back one's judgement (or skip): the seat is kept, and the task is the person's to judge again. Idempotent.

    Possible until the campaign closes. Raises Conflict after that.
    """
    with transaction.atomic():
        place, task, assignment = locked_all(annotator, assignment_key)
        campaign = assignment.task.campaign
        if campaign.stage == Campaign.Stage.CLOSED:
            raise Conflict("This campaign is closed: judgements can no longer be changed.")
        if assignment.status == Assignment.Status.OPEN:
            return assignment
        check_may_work(annotator, campaign)
        if assignment.status == Assignment.Status.SKIPPED:
            return take_up_again(assignment_key=assignment_key, annotator=annotator)
        if assignment.status != Assignment.Status.SUBMITTED or task.status == ComparisonTask.Status.RETIRED:
            raise Conflict("There is nothing of yours to undo on this task.", how="Go on with the next one.")
        withdrawn = _insert(assignment, verdict=Verdict.WITHDRAWN, source=_source(annotator), by=annotator.user)
        _count(task, place, -1)
        move(
            assignment,
            Assignment.Status.OPEN,
            only_from=Assignment.Status.SUBMITTED,
            note="undone",
            current=withdrawn,
            opened_at=Now(),
            finished_at=None,
            leased_until=from_now(lease_seconds(campaign)),
        )
        return assignment


@retried
def void_judgement(*, judgement: Judgement, by: User, reason: str) -> Judgement:
    """A reviewer sets a judgement aside: the row is kept, its seat is open again, its author is not offered the task again.

    Raises Conflict if the judgement is no longer the one that stands.
    """
    require(reason.strip(), "Say why this judgement is set aside.")
    with transaction.atomic():
        turn = Assignment.objects.select_related("annotator").get(pk=judgement.assignment_id)
        place, task, assignment = locked_all(turn.annotator, turn.key)
        if assignment.status != Assignment.Status.SUBMITTED or assignment.current_id != judgement.pk:
            raise Conflict("This judgement has been changed or set aside in the meantime.", how="Reload the list.")
        voided = _insert(
            assignment, verdict=Verdict.VOIDED, source=Judgement.Source.ADJUDICATOR, comment=reason.strip(), by=by
        )
        _count(task, place, -1)
        move(
            assignment,
            Assignment.Status.RELEASED,
            only_from=Assignment.Status.SUBMITTED,
            by=by,
            note="voided",
            current=voided,
            seat=None,
        )
        free_seat(task)
        campaign = assignment.task.campaign
        record(
            "judgement.void", user=by, project=campaign.project, subject=judgement, detail={"campaign": campaign.key}
        )
        return voided


def is_unblinded(annotator: Annotator, task: ComparisonTask) -> bool:
    """Whether this person has opened a page that says which model wrote one of the task's answers."""
    if annotator.user_id is None:
        return False
    found = prepared.reveals.first(task=task.pk, campaign=task.campaign_id, user=annotator.user_id)
    return found is not None


# ---- parts -----------------------------------------------------------------------------------------------------------


def _insert_said(assignment: Assignment, said: Said, slots: Mapping[int, int], place: Place) -> Judgement:
    annotator = assignment.annotator
    judgement = _insert(
        assignment,
        verdict=said.verdict,
        strength=said.strength,
        reasons=list(said.reasons),
        comment=said.comment,
        write_in=said.write_in,
        edited_from_id=slots[said.edited_from] if said.edited_from is not None else None,
        seconds_active=said.active_seconds,
        source=_source(annotator),
        is_unblinded=is_unblinded(annotator, assignment.task),
        is_probation=place.stage == Place.Stage.PROBATION,
        by=annotator.user,
    )
    insert_parts(judgement, said, slots)
    set_flags(assignment, annotator, said.flags, reason=said.flag_reason)
    return judgement


def _again(assignment: Assignment, said: Said) -> Judgement:
    """The judgement that stands, if the same was sent again; Conflict if another one was."""
    current = assignment.current
    assert current is not None
    if not is_same(said_of(current), said):
        raise Conflict(
            "You have judged this task already, in another way.",
            how="The first judgement stands. Correct it if you have changed your mind.",
        )
    return current


def is_same(one: Said, other: Said) -> bool:
    """Whether two say the same, flags apart: what became of a flag is the lead's, and no reason to refuse a second click."""
    one, other = (
        replace(said, flags=(), flag_reason="", scores=tuple(sorted(said.scores, key=str))) for said in (one, other)
    )
    return one == other


def _seat_to_keep(assignment: Assignment, task: ComparisonTask, campaign: Campaign) -> int | None:
    """The seat for this judgement: the one held, or a free one where the lease was lost. Raises Conflict without one."""
    if campaign.stage == Campaign.Stage.CLOSED:
        raise Conflict("This campaign was closed before your judgement arrived, so it does not count.")
    if task.status == ComparisonTask.Status.RETIRED:
        raise Conflict("This task was taken out of the campaign.", how="Go on with the next one.")
    if assignment.status == Assignment.Status.OPEN:
        return assignment.seat
    if assignment.status == Assignment.Status.EXPIRED:
        seat = take_seat_again(task)
        if seat is not None:
            return seat
        raise Conflict(
            "This task was kept for you for a while, then given to somebody else, who has it now.",
            how="Your judgement could not be counted. Go on with the next task.",
        )
    if assignment.status == Assignment.Status.SKIPPED:
        raise Conflict("You have skipped this task.", how="Undo the skip if you want to judge it after all.")
    raise Conflict("This task is no longer yours.", how="Go on with the next one.")


def _insert(assignment: Assignment, **fields: Any) -> Judgement:
    revision = assignment.current.revision + 1 if assignment.current is not None else 1
    campaign = assignment.task.campaign
    judgement = Judgement(
        assignment=assignment,
        revision=revision,
        guidelines_version=campaign.guidelines_version,
        protocol_version=campaign.protocol_version,
        **fields,
    )
    prepared.new_judgement.save(judgement)
    return judgement


def _source(annotator: Annotator) -> str:
    simulated = annotator.kind == Annotator.Kind.SIMULATED
    return Judgement.Source.SIMULATED if simulated else Judgement.Source.ANNOTATOR


def _count(task: ComparisonTask, place: Place, change: int) -> None:
    """Move the counters with a judgement, and the task between open and complete. The caller holds the locks."""
    if change > 0 and task.n_submitted + change >= task.seats and task.status == ComparisonTask.Status.OPEN:
        prepared.task_complete.run(task)
    else:
        prepared.task_counted.run(task=task.pk, change=change)
        task.n_submitted += change
    if task.n_submitted < task.seats and task.status == ComparisonTask.Status.COMPLETE:
        move(task, ComparisonTask.Status.OPEN)
    prepared.place_counted.run(place=place.pk, change=change)
    place.n_submitted += change
    if change > 0:
        after_submit(place)
    else:
        after_undo(place)
