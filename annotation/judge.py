"""The write path of judgements. Rows are inserted, never updated; the assignment is the token that makes a click idempotent.

Every function here holds the person's place and the task's row (see ``annotation.turns``).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet

from accounts.audit import record
from accounts.models import User
from annotation import prepared, worktime
from annotation.assign import check_room, count_judged, take_up_again
from annotation.drafts import keep_for_copying
from annotation.flags import set_flags
from annotation.guidelines import needs_confirmation
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Draft, Judgement, Place
from annotation.onboarding import after_submit, after_undo, may_work
from annotation.protocol import Said
from annotation.retire import wait_for_fewer
from annotation.rows import insert_parts, said_of
from annotation.turns import IN_HAND, Lost, Turn, free_seat, held_turn, lease_from, retried, take_seat_again
from core.errors import Conflict, require
from core.transitions import move

TOO_LATE = "too late to count"
Verdict = Judgement.Verdict


def live_judgements() -> QuerySet[Judgement]:
    """Judgements that stand: the current revision of submitted work, neither withdrawn nor voided."""
    return Judgement.objects.filter(
        assignment__status=Assignment.Status.SUBMITTED,
        assignment__purpose=Assignment.Purpose.WORK,
        assignment__current=F("pk"),
    )


def submit_judgement(*, assignment_key: str, annotator: Annotator, said: Said) -> Judgement:
    """Record what a person said.

    The same judgement sent again is answered with the row that stands; another one for a judged task raises Conflict.
    A late one counts while the task has a free seat. Otherwise it raises Lost: what was written is kept as a draft, for
    copying, and the time counts as worked.
    """
    try:
        return _submit(assignment_key, annotator, said)
    except Lost:
        _keep_what_was_lost(assignment_key, annotator, said)
        raise


@retried
def _submit(assignment_key: str, annotator: Annotator, said: Said) -> Judgement:
    with transaction.atomic():
        turn = held_turn(annotator, assignment_key)
        assignment, campaign = turn.assignment, turn.campaign
        slots, is_unblinded = _slots(turn)
        said.check(campaign, n_answers=len(slots))
        if assignment.status == Assignment.Status.SUBMITTED:
            return _again(assignment, said)
        seat = _seat_to_keep(turn)
        judgement = _insert_said(turn, said, slots, is_unblinded=is_unblinded)
        times: dict[str, Any] = {"opened_at": assignment.opened_at or turn.now, "finished_at": turn.now}
        prepared.submitted.run(assignment, current=judgement.pk, seat=seat, **times)
        if assignment.has_draft:  # type: ignore[attr-defined]  # of prepared.turn_held
            Draft.objects.filter(assignment=assignment).delete()
        _count(turn, +1)
        worktime.note(turn.place.pk, judged=1, active_seconds=said.active_seconds, open_seconds=said.open_seconds)
        return judgement


@retried
def correct_judgement(
    *, assignment_key: str, annotator: Annotator, said: Said, instead_of: str | None = None
) -> Judgement:
    """Say something else about a task that one has judged: the next revision, which supersedes the one before. Idempotent.

    instead_of  key of the judgement that the person saw; Conflict if another one stands by now
    Possible until the campaign closes, for a judgement that stands. Nothing else changes: the seat, the counts, the day.
    """
    with transaction.atomic():
        turn = held_turn(annotator, assignment_key)
        assignment, campaign = turn.assignment, turn.campaign
        slots, is_unblinded = _slots(turn)
        said.check(campaign, n_answers=len(slots))
        if assignment.status != Assignment.Status.SUBMITTED or assignment.current is None:
            raise Conflict("There is no judgement of yours on this task to correct.", how="Go on with the next one.")
        if is_same(said_of(assignment.current), said):
            set_flags(assignment, annotator, said.flags, reason=said.flag_reason)
            return assignment.current
        if campaign.stage == Campaign.Stage.CLOSED:
            raise Conflict("This campaign is closed: judgements can no longer be changed.")
        if turn.task.status == ComparisonTask.Status.RETIRED:
            raise Conflict("This task was taken out of the campaign.", how="What you said about it is kept as it is.")
        _check_may_work(turn)
        if instead_of is not None and instead_of != assignment.current.key:
            raise Conflict(
                "You have changed this judgement in the meantime, perhaps in another tab.",
                how="Look at what stands now, then correct that.",
            )
        judgement = _insert_said(turn, said, slots, is_unblinded=is_unblinded)
        Assignment.objects.filter(pk=assignment.pk).update(current=judgement)
        assignment.current = judgement
        assignment.events.create(
            before=Assignment.Status.SUBMITTED, after=Assignment.Status.SUBMITTED, note="corrected", by=annotator.user
        )
        worktime.note(turn.place.pk, active_seconds=said.active_seconds, open_seconds=said.open_seconds)
        return judgement


@retried
def undo_judgement(*, assignment_key: str, annotator: Annotator) -> Assignment:
    """Take back one's judgement (or skip): the seat is kept, and the task is the person's to judge again. Idempotent.

    Possible until the campaign closes. Raises Conflict after that.
    """
    with transaction.atomic():
        turn = held_turn(annotator, assignment_key)
        assignment, campaign = turn.assignment, turn.campaign
        if campaign.stage == Campaign.Stage.CLOSED:
            raise Conflict("This campaign is closed: judgements can no longer be changed.")
        if assignment.status == Assignment.Status.OPEN:
            return assignment
        _check_may_work(turn)
        if assignment.status == Assignment.Status.SKIPPED:
            return take_up_again(assignment_key=assignment_key, annotator=annotator)
        if assignment.status != Assignment.Status.SUBMITTED or turn.task.status == ComparisonTask.Status.RETIRED:
            raise Conflict("There is nothing of yours to undo on this task.", how="Go on with the next one.")
        withdrawn = _insert(turn, verdict=Verdict.WITHDRAWN, source=_source(annotator), by=annotator.user)
        _count(turn, -1)
        worktime.note(turn.place.pk, judged=-1)
        move(
            assignment,
            Assignment.Status.OPEN,
            only_from=Assignment.Status.SUBMITTED,
            note="undone",
            current=withdrawn,
            opened_at=turn.now,
            finished_at=None,
            leased_until=lease_from(turn.now, campaign),
        )
        return assignment


@retried
def void_judgement(*, judgement: Judgement, by: User, reason: str) -> Judgement:
    """A reviewer sets a judgement aside: the row is kept, its seat is open again, its author is not offered the task again.

    Raises Conflict if the judgement is no longer the one that stands.
    """
    require(reason.strip(), "Say why this judgement is set aside.")
    with transaction.atomic():
        theirs = Assignment.objects.select_related("annotator").get(pk=judgement.assignment_id)
        turn = held_turn(theirs.annotator, theirs.key)
        assignment = turn.assignment
        if assignment.status != Assignment.Status.SUBMITTED or assignment.current_id != judgement.pk:
            raise Conflict("This judgement has been changed or set aside in the meantime.", how="Reload the list.")
        voided = _insert(
            turn, verdict=Verdict.VOIDED, source=Judgement.Source.ADJUDICATOR, comment=reason.strip(), by=by
        )
        _count(turn, -1)
        if turn.task.status == ComparisonTask.Status.RETIRED:
            wait_for_fewer(turn.task, 1)
        move(
            assignment,
            Assignment.Status.RELEASED,
            only_from=Assignment.Status.SUBMITTED,
            by=by,
            note="voided",
            current=voided,
            seat=None,
        )
        free_seat(turn.task)
        worktime.note(turn.place.pk, returned=1)
        campaign = turn.campaign
        record(
            "judgement.void", user=by, project=campaign.project, subject=judgement, detail={"campaign": campaign.key}
        )
        return voided


def _check_may_work(turn: Turn) -> None:
    """A page that was open when a lead took its person off, or asked for proof again, changes nothing any more."""
    if not may_work(turn.place):
        raise Lost(
            "You are given no tasks in this campaign at the moment, so this does not count.",
            how="Its start page says why.",
        )


# ---- parts -----------------------------------------------------------------------------------------------------------


def _slots(turn: Turn) -> tuple[dict[int, int], bool]:
    """Slot -> candidate id; and whether this person has opened a page that says which model wrote one of these answers."""
    who = turn.assignment.annotator.user_id or 0
    rows = prepared.slots_and_reveal.all(task=turn.task.pk, campaign=turn.task.campaign_id, user=who)
    return {slot: candidate for slot, candidate, _ in rows}, any(is_revealed for *_, is_revealed in rows)


def _insert_said(turn: Turn, said: Said, slots: Mapping[int, int], *, is_unblinded: bool) -> Judgement:
    annotator = turn.assignment.annotator
    judgement = _insert(
        turn,
        verdict=said.verdict,
        strength=said.strength,
        reasons=list(said.reasons),
        comment=said.comment,
        write_in=said.write_in,
        edited_from_id=slots[said.edited_from] if said.edited_from is not None else None,
        seconds_active=worktime.kept(annotator, said.active_seconds),
        source=_source(annotator),
        is_unblinded=is_unblinded,
        is_probation=turn.place.stage == Place.Stage.PROBATION,
        by=annotator.user,
    )
    insert_parts(judgement, said, slots)
    if said.flags or turn.assignment.has_flags:  # type: ignore[attr-defined]  # of prepared.turn_held
        set_flags(turn.assignment, annotator, said.flags, reason=said.flag_reason)
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


def _seat_to_keep(turn: Turn) -> int | None:
    """The seat for this judgement: the one held, or a free one where the lease was lost. Raises Lost without one."""
    assignment = turn.assignment
    if assignment.status == Assignment.Status.SKIPPED:
        raise Conflict("You have skipped this task.", how="Undo the skip if you want to judge it after all.")
    if turn.campaign.stage == Campaign.Stage.CLOSED:
        raise Lost("This campaign was closed before your judgement arrived, so it does not count.")
    if turn.task.status == ComparisonTask.Status.RETIRED:
        raise Lost("This task was taken out of the campaign.", how="Go on with the next one.")
    _check_may_work(turn)
    if assignment.status in IN_HAND:
        return assignment.seat
    if assignment.status == Assignment.Status.EXPIRED:
        check_room(turn)
        seat = take_seat_again(turn.task)
        if seat is not None:
            return seat
        raise Lost(
            "This task was kept for you for a while, then given to somebody else, who has it now.",
            how="Your judgement could not be counted. Go on with the next task.",
        )
    raise Lost("This task is no longer yours.", how="Go on with the next one.")


@retried
def _keep_what_was_lost(assignment_key: str, annotator: Annotator, said: Said) -> None:
    """Keep what was written for copying, and count its time as worked: once, however often it is sent."""
    with transaction.atomic():
        turn = held_turn(annotator, assignment_key)
        assignment = turn.assignment
        keep_for_copying(assignment, said.to_fields(campaign=turn.campaign, display_order=assignment.display_order))
        if assignment.events.filter(note=TOO_LATE).exists():
            return
        assignment.events.create(before=assignment.status, after=assignment.status, note=TOO_LATE, by=annotator.user)
        worktime.note(turn.place.pk, returned=1, active_seconds=said.active_seconds, open_seconds=said.open_seconds)


def _insert(turn: Turn, **fields: Any) -> Judgement:
    assignment, campaign = turn.assignment, turn.campaign
    revision = assignment.current.revision + 1 if assignment.current is not None else 1
    # Judged under the version that its author has confirmed, even if another one came into force in the meantime.
    is_behind = needs_confirmation(turn.place, campaign) and turn.place.guidelines_version > 0
    judgement = Judgement(
        assignment=assignment,
        revision=revision,
        guidelines_version=turn.place.guidelines_version if is_behind else campaign.guidelines_version,
        protocol_version=campaign.protocol_version,
        **fields,
    )
    prepared.new_judgement.save(judgement)
    return judgement


def _source(annotator: Annotator) -> str:
    sources = {Annotator.Kind.SIMULATED: Judgement.Source.SIMULATED, Annotator.Kind.AI: Judgement.Source.AI}
    return sources.get(Annotator.Kind(annotator.kind), Judgement.Source.ANNOTATOR)


def _count(turn: Turn, change: int) -> None:
    """Move the counters with a judgement, and the task between open and complete. The caller holds the locks."""
    task = turn.task
    if change > 0 and task.n_submitted + change >= task.seats and task.status == ComparisonTask.Status.OPEN:
        prepared.task_complete.run(task, n_submitted=task.n_submitted + change)
    else:
        prepared.task_counted.run(task=task.pk, change=change)
        task.n_submitted += change
    if task.n_submitted < task.seats and task.status == ComparisonTask.Status.COMPLETE:
        move(task, ComparisonTask.Status.OPEN)
    count_judged(turn, change)
    (after_submit if change > 0 else after_undo)(turn.place)
