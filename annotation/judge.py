"""The write path of judgements. Rows are inserted, never updated; the assignment is the token that makes a click idempotent.

Every function here holds the person's place and the task's row (see ``annotation.assign``).
"""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User
from annotation.assign import (
    free_seat,
    lease_seconds,
    locked_turn,
    retried,
    take_seat_again,
    take_up_again,
)
from annotation.models import (
    Annotator,
    Assignment,
    Campaign,
    ComparisonTask,
    Judgement,
    Place,
    RankedCandidate,
    TaskCandidate,
)
from annotation.onboarding import after_submit, after_undo
from core.errors import Conflict, require
from core.jobs import from_now
from core.transitions import move
from generation.models import ModelReveal

Verdict = Judgement.Verdict
MAX_SECONDS = 24 * 3600.0
MAX_COMMENT = 5000


def live_judgements() -> QuerySet[Judgement]:
    """Judgements that stand: the current revision of submitted work, neither withdrawn nor voided."""
    return Judgement.objects.filter(
        assignment__status=Assignment.Status.SUBMITTED,
        assignment__purpose=Assignment.Purpose.WORK,
        assignment__current=F("pk"),
    )


@retried
def submit_judgement(
    *,
    assignment_key: str,
    annotator: Annotator,
    verdict: str,
    ranks: Sequence[int] = (),
    strength: int | None = None,
    seconds_active: float = 0.0,
    reasons: Sequence[str] = (),
    comment: str = "",
) -> Judgement:
    """Record what a person said.

    verdict   ``ranked``, ``tie`` or ``all_bad``
    ranks     for ``ranked``: the rank of each answer in the order shown, 1 is best, equal ranks are ties
    strength  1 ... the campaign's levels; kept only where one answer is better
    The same judgement sent again is answered with the row that stands; another one for a judged task raises Conflict.
    A late one counts while the task has a free seat, otherwise it raises Conflict.
    """
    with transaction.atomic():
        task, assignment = locked_turn(annotator, assignment_key)
        campaign = assignment.task.campaign
        shown = _shown(assignment)
        ranks = _checked(campaign, verdict, ranks, strength, n_answers=len(shown))
        strength = strength if verdict == Verdict.RANKED else None
        if assignment.status == Assignment.Status.SUBMITTED:
            return _again(assignment, verdict, strength, dict(zip(shown, ranks, strict=True)))
        seat = _seat_to_keep(assignment, task, campaign)
        judgement = _insert(
            assignment,
            verdict=verdict,
            strength=strength,
            reasons=list(reasons),
            comment=comment.strip()[:MAX_COMMENT],
            seconds_active=min(max(0.0, seconds_active), MAX_SECONDS),
            source=_source(annotator),
            is_unblinded=is_unblinded(annotator, task),
            is_probation=_is_on_probation(annotator, task),
            by=annotator.user,
        )
        RankedCandidate.objects.bulk_create(
            RankedCandidate(judgement=judgement, candidate_id=candidate, rank=rank)
            for candidate, rank in zip(shown, ranks, strict=True)
        )
        move(
            assignment,
            Assignment.Status.SUBMITTED,
            current=judgement,
            seat=seat,
            finished_at=Now(),
            leased_until=None,
        )
        _count(task, assignment, +1)
        return judgement


@retried
def undo_judgement(*, assignment_key: str, annotator: Annotator) -> Assignment:
    """Take back one's judgement (or skip): the seat is kept, and the task is the person's to judge again. Idempotent.

    Possible until the campaign closes. Raises Conflict after that.
    """
    with transaction.atomic():
        task, assignment = locked_turn(annotator, assignment_key)
        campaign = assignment.task.campaign
        if campaign.stage == Campaign.Stage.CLOSED:
            raise Conflict("This campaign is closed: judgements can no longer be changed.")
        if assignment.status == Assignment.Status.OPEN:
            return assignment
        if assignment.status == Assignment.Status.SKIPPED:
            return take_up_again(assignment_key=assignment_key, annotator=annotator)
        if assignment.status != Assignment.Status.SUBMITTED or task.status == ComparisonTask.Status.RETIRED:
            raise Conflict("There is nothing of yours to undo on this task.", how="Go on with the next one.")
        withdrawn = _insert(assignment, verdict=Verdict.WITHDRAWN, source=_source(annotator), by=annotator.user)
        _count(task, assignment, -1)
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
        task, assignment = locked_turn(turn.annotator, turn.key)
        if assignment.status != Assignment.Status.SUBMITTED or assignment.current_id != judgement.pk:
            raise Conflict("This judgement has been changed or set aside in the meantime.", how="Reload the list.")
        voided = _insert(
            assignment, verdict=Verdict.VOIDED, source=Judgement.Source.ADJUDICATOR, comment=reason.strip(), by=by
        )
        _count(task, assignment, -1)
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
    wrote_one = Q(job__arms__candidates__slots__task=task)
    is_pattern = Q(job__campaigns=task.campaign_id, job__campaigns__is_live=True)  # it names both arms of every turn
    return ModelReveal.objects.filter(wrote_one | is_pattern, user=annotator.user_id, created_at__lte=Now()).exists()


def _is_on_probation(annotator: Annotator, task: ComparisonTask) -> bool:
    places = Place.objects.filter(annotator=annotator, campaign=task.campaign_id)
    return places.filter(stage=Place.Stage.PROBATION).exists()


# ---- parts -----------------------------------------------------------------------------------------------------------


def _shown(assignment: Assignment) -> list[int]:
    """Candidate ids in the order in which this person saw them."""
    by_slot = dict(TaskCandidate.objects.filter(task=assignment.task_id).values_list("slot", "candidate_id"))
    return [by_slot[slot] for slot in assignment.display_order]


def _checked(
    campaign: Campaign, verdict: str, ranks: Sequence[int], strength: int | None, *, n_answers: int
) -> list[int]:
    """The ranks to store. Raises DomainError for a verdict that this campaign does not take."""
    allowed = {Verdict.RANKED: True, Verdict.TIE: campaign.allow_tie, Verdict.ALL_BAD: campaign.allow_both_bad}
    require(
        allowed.get(Verdict(verdict) if verdict in Verdict.values else Verdict.VOIDED), "Choose one of the buttons."
    )
    require(
        strength is None or 1 <= strength <= campaign.strength_levels, "This campaign does not ask for that strength."
    )
    if verdict != Verdict.RANKED:
        return [1] * n_answers
    levels = sorted(set(ranks))
    require(
        len(ranks) == n_answers and len(levels) > 1 and levels == list(range(1, len(levels) + 1)),
        "The ranking does not cover the answers that were shown.",
    )
    return list(ranks)


def _again(assignment: Assignment, verdict: str, strength: int | None, ranks: dict[int, int]) -> Judgement:
    """The judgement that stands, if the same was sent again; Conflict if another one was."""
    current = assignment.current
    assert current is not None
    standing = dict(current.ranks.values_list("candidate_id", "rank"))
    if (current.verdict, current.strength, standing) != (verdict, strength, ranks):
        raise Conflict(
            "You have judged this task already, in another way.",
            how="The first judgement stands. Undo it if you want to judge again.",
        )
    return current


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
    version = assignment.task.campaign.guidelines_version
    return Judgement.objects.create(assignment=assignment, revision=revision, guidelines_version=version, **fields)


def _source(annotator: Annotator) -> str:
    simulated = annotator.kind == Annotator.Kind.SIMULATED
    return Judgement.Source.SIMULATED if simulated else Judgement.Source.ANNOTATOR


def _count(task: ComparisonTask, assignment: Assignment, change: int) -> None:
    """Move the counters with a judgement, and the task between open and complete. The caller holds the locks."""
    ComparisonTask.objects.filter(pk=task.pk).update(n_submitted=F("n_submitted") + change)
    task.n_submitted += change
    if task.n_submitted >= task.seats and task.status == ComparisonTask.Status.OPEN:
        move(task, ComparisonTask.Status.COMPLETE)
    elif task.n_submitted < task.seats and task.status == ComparisonTask.Status.COMPLETE:
        move(task, ComparisonTask.Status.OPEN)
    places = Place.objects.filter(annotator=assignment.annotator_id, campaign=task.campaign_id)
    places.update(n_submitted=F("n_submitted") + change)
    place = places.get()
    if change > 0:
        after_submit(place)
    else:
        after_undo(place)
