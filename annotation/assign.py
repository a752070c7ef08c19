"""Who gets what: a person's next task, and every way in which a person gives a seat back without a judgement."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from annotation import prepared, worktime
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Place
from annotation.onboarding import first_columns
from annotation.refusals import Refusal, cap_of_the_day, n_on, stands_before, takes_no_more
from annotation.turns import (
    ATTEMPTS,
    IN_HAND,
    Lost,
    SeatGone,
    Turn,
    assignment_of,
    free_seat,
    held_turn,
    lease_from,
    locked_place,
    lowest_free_seat,
    retried,
    take_seat,
    take_seat_again,
)
from core.errors import Conflict, require
from core.transitions import move

MAX_REASON = 200
_shuffle = random.SystemRandom().shuffle


# ---- the next task ---------------------------------------------------------------------------------------------------


def next_assignment(annotator: Annotator, campaign: Campaign, *, prefetch: bool = False) -> Assignment | None:
    """This person's next assignment: one that they hold already, else a lease on a task that they have never seen.

    prefetch  the one after the task at hand, not shown yet: its ``opened_at`` is null, it counts to the overlap and the caps
              like any other, and there is one at most. Asked for without ``prefetch`` it is the next one, and opens.
    The walk begins at the person's hand, a hint, and goes once round the tasks with a free seat. None: nothing is free for
    this person now; ``why_nothing`` says why. Costs the same however large the campaign is and however much the person has done.
    """
    found = next_turn(annotator, campaign, prefetch=prefetch)
    return found.assignment if found is not None else None


@retried
def next_turn(annotator: Annotator, campaign: Campaign, *, prefetch: bool = False) -> Turn | None:
    """``next_assignment`` with what was read on the way, for the page that shows it."""
    for attempt in range(ATTEMPTS):
        try:
            with transaction.atomic():
                place = _locked_desk(annotator, campaign.pk)
                fresh = place.campaign
                if stands_before(place, fresh, annotator) is not None:
                    return None
                held = _in_hand(annotator, fresh) if place.has_in_hand else []  # type: ignore[attr-defined]
                mine = _held_already(held, prefetch=prefetch)
                if mine is not None:
                    return Turn(place, mine.task, mine) if _lease_again(mine, place, opens=not prefetch) else None
                # The tasks of a live campaign belong to those who wrote their prompts: see annotation.live.
                if fresh.is_live or _takes_no_more(place, fresh, annotator, held) is not None:
                    return None
                task = _free_task(annotator, fresh, place)
                if task is None:
                    return None
                turn = _take(task, annotator, place, opens=not prefetch, may_be_known=attempt > 0)
                prepared.hand_moved.run(place=place.pk, hand=task.line)
                return turn
        except (IntegrityError, SeatGone):  # somebody else was faster, or this person has had it before, unseen
            continue
    return None


def why_nothing(annotator: Annotator, campaign: Campaign) -> Refusal | None:
    """Why ``next_assignment`` gives this person nothing, in words; None where it would give a task. Changes nothing."""
    places = Place.objects.filter(annotator=annotator, campaign=campaign).annotate(now=Now())
    place = places.first() or Place(annotator=annotator, campaign=campaign, **first_columns(campaign, annotator))
    if (first := stands_before(place, campaign, annotator)) is not None:
        return first
    held = _in_hand(annotator, campaign)
    if _held_already(held, prefetch=False) is not None:
        return None
    place.now = getattr(place, "now", timezone.now())  # type: ignore[attr-defined]
    if (refusal := _takes_no_more(place, campaign, annotator, held)) is not None:
        return refusal
    if not campaign.is_live and untouched(annotator, campaign).exists():
        return None
    if n_others := n_with_others(annotator, campaign):
        are = "one task is" if n_others == 1 else f"{n_others:,} tasks are"
        return Refusal("none_now", f"Nothing is free for you now: {are} being judged by others.", n=n_others)
    return Refusal("done", "There is nothing left for you to judge here.")


def open_assignment(annotator: Annotator, campaign: Campaign) -> Assignment | None:
    """The lease that this person holds here, the latest first (an undo may leave two); one only prefetched comes last."""
    return _held_already(_in_hand(annotator, campaign), prefetch=False)


def _locked_desk(annotator: Annotator, campaign_id: int) -> Place:
    """The person's place, locked, with all that "next" and its page ask: see ``prepared.desk``."""
    place: Place | None = prepared.desk.first(annotator=annotator.pk, campaign=campaign_id)
    if place is None:
        locked_place(annotator, campaign_id)
        place = prepared.desk.first(annotator=annotator.pk, campaign=campaign_id)
        assert place is not None
    return place


def _in_hand(annotator: Annotator, campaign: Campaign) -> list[Assignment]:
    """What this person has open or parked here, the latest opened first, what was not shown yet last."""
    held: list[Assignment] = prepared.in_hand.all(annotator=annotator.pk, campaign=campaign.pk)
    for turn in held:
        turn.annotator = annotator
    return held


def _held_already(held: list[Assignment], *, prefetch: bool) -> Assignment | None:
    """Of what is open: the latest opened, else the first that waits unseen; to prefetch only one that waits."""
    is_open = [turn for turn in held if turn.status == Assignment.Status.OPEN]
    waiting = [turn for turn in reversed(is_open) if turn.opened_at is None]
    opened = [] if prefetch else [turn for turn in is_open if turn.opened_at is not None]
    return next(iter([*opened, *waiting]), None)


def _lease_again(turn: Assignment, place: Place, *, opens: bool) -> bool:
    turn.leased_until = lease_from(place.now, turn.task.campaign)  # type: ignore[attr-defined]
    if opens and turn.opened_at is None:
        turn.opened_at = place.now  # type: ignore[attr-defined]
    return prepared.renewed.run(turn=turn.pk, until=turn.leased_until, opened=turn.opened_at) == 1


def _takes_no_more(place: Place, campaign: Campaign, annotator: Annotator, held: list[Assignment]) -> Refusal | None:
    n_open = sum(turn.status == Assignment.Status.OPEN for turn in held)
    now: datetime = place.now  # type: ignore[attr-defined]
    return takes_no_more(place, campaign, annotator, now=now, n_open=n_open, n_parked=len(held) - n_open)


def untouched(annotator: Annotator, campaign: Campaign) -> QuerySet[ComparisonTask]:
    """Open tasks with a free seat that this person has never been shown and has no answer of their own in, in line."""
    return prepared.untouched(annotator.pk, campaign.pk, annotator.user_id or 0).order_by("line")


def _free_task(annotator: Annotator, campaign: Campaign, place: Place) -> ComparisonTask | None:
    """The next free task from the hand on, locked.

    Tasks that others are just taking are passed over first; only when nothing else is left does it wait for them: the last
    task may have two seats.
    """
    who = {"annotator": annotator.pk, "campaign": campaign.pk, "user": annotator.user_id or 0}
    hand = prepared.FIRST_IN_LINE if place.hand is None else place.hand
    has_human: bool = place.has_human  # type: ignore[attr-defined]
    # SQLite has no row locks: one walk is enough there.
    for skip_locked in (True, False) if connection.features.has_select_for_update_skip_locked else (False,):
        for part in prepared.free_tasks[skip_locked, has_human]:
            task: ComparisonTask | None = part.first(**who, hand=hand)
            if task is not None:
                return task
    return None


def _take(task: ComparisonTask, annotator: Annotator, place: Place, *, opens: bool, may_be_known: bool) -> Turn:
    """Claim the lowest free seat of a task, by constraint. Raises IntegrityError or SeatGone where somebody was faster.

    may_be_known  look for a lease that this person had on the task and was never shown, which is rare, and take it up
    """
    task.campaign = place.campaign
    now: datetime = place.now  # type: ignore[attr-defined]
    lease: dict[str, Any] = {"leased_until": lease_from(now, place.campaign), "opened_at": now if opens else None}
    seat = lowest_free_seat(task)
    texts: dict[int, str] = dict(prepared.texts.all(task=task.pk))
    turn = prepared.never_seen(task.pk, annotator.pk).first() if may_be_known else None
    if turn is not None:
        move(turn, Assignment.Status.OPEN, note="offered again", seat=seat, finished_at=None, **lease)
        turn = assignment_of(annotator, turn.key)
    else:
        turn = Assignment(task=task, annotator=annotator, seat=seat, display_order=_shuffled(texts), **lease)
        prepared.new_turn.save(turn)
        prepared.new_turn_event.one(subject_id=turn.pk, before="", after=Assignment.Status.OPEN)
    take_seat(task)
    return Turn(place, task, turn, texts)


def shuffled_slots(task_id: int) -> list[int]:
    """The order in which one person sees the answers."""
    return _shuffled(slot for slot, _ in prepared.slots.all(task=task_id))


def _shuffled(slots: Iterable[int]) -> list[int]:
    order = list(slots)
    _shuffle(order)
    return order


# ---- giving back -----------------------------------------------------------------------------------------------------


@retried
def skip_assignment(
    *,
    assignment_key: str,
    annotator: Annotator,
    reason: str = "",
    active_seconds: float = 0.0,
    open_seconds: float = 0.0,
) -> Assignment:
    """Pass on a task, with a reason. Frees the seat; this person is not offered the task again. Idempotent, free of penalty."""
    with transaction.atomic():
        turn = held_turn(annotator, assignment_key)
        if _give_up(turn, Assignment.Status.SKIPPED, skip_reason=reason.strip()[:MAX_REASON]):
            worktime.note(turn.place.pk, skipped=1, active_seconds=active_seconds, open_seconds=open_seconds)
        return turn.assignment


@retried
def release_assignment(*, assignment_key: str, annotator: Annotator) -> Assignment:
    """Give a task back unread. Idempotent."""
    with transaction.atomic():
        turn = held_turn(annotator, assignment_key)
        _give_up(turn, Assignment.Status.RELEASED)
        return turn.assignment


def _give_up(turn: Turn, to: Assignment.Status, **changes: str) -> bool:
    """Whether it was given up now; False where it had been before."""
    assignment = turn.assignment
    if assignment.status == Assignment.Status.SUBMITTED:
        raise Conflict("You have judged this task already.", how="Undo your judgement first if you want to skip it.")
    if assignment.status not in IN_HAND:
        return False
    note = changes.get("skip_reason", "")
    move(assignment, to, note=note, finished_at=Now(), leased_until=None, **changes)
    free_seat(turn.task)
    return True


@retried
def take_up_again(*, assignment_key: str, annotator: Annotator) -> Assignment:
    """Skipped -> open: judge it after all, while a seat is free. Idempotent; raises Conflict otherwise."""
    with transaction.atomic():
        turn = held_turn(annotator, assignment_key)
        assignment, campaign = turn.assignment, turn.campaign
        if assignment.status == Assignment.Status.OPEN:
            return assignment
        require(campaign.stage == Campaign.Stage.OPEN, f"This campaign is {campaign.stage}.")
        check_room(turn)
        seat = take_seat_again(turn.task) if assignment.status == Assignment.Status.SKIPPED else None
        if seat is None:
            raise Conflict("Somebody else has this task now.", how="Go on with the next one.")
        move(
            assignment,
            Assignment.Status.OPEN,
            only_from=Assignment.Status.SKIPPED,
            note="taken up again",
            seat=seat,
            skip_reason="",
            opened_at=turn.now,
            finished_at=None,
            leased_until=lease_from(turn.now, campaign),
        )
        worktime.note(turn.place.pk, skipped=-1)
        return assignment


def check_room(turn: Turn, *, is_in_hand: bool = False) -> None:
    """Raises Lost where one more judgement of this person would pass a cap of the campaign.

    is_in_hand  the task is among what the person has open or parked, and so is counted already
    """
    campaign, place = turn.campaign, turn.place
    if campaign.cap_per_person is None and campaign.cap_per_day is None:
        return
    held = [
        each
        for each in _in_hand(turn.assignment.annotator, campaign)
        if not is_in_hand or each.pk != turn.assignment.pk
    ]
    n_open = sum(each.status == Assignment.Status.OPEN for each in held)
    if campaign.cap_per_person is not None and place.n_submitted + len(held) >= campaign.cap_per_person:
        raise Lost("You have judged as many tasks of this campaign as one person may.")
    if (refusal := cap_of_the_day(place, campaign, now=turn.now, n_open=n_open)) is not None:
        raise Lost(refusal.sentence, how=refusal.how)


def count_judged(turn: Turn, change: int) -> None:
    """Move a person's counters with a judgement given (+1) or taken back (-1); of the day only what was given on it."""
    today, n_today = turn.now.astimezone(UTC).date(), n_on(turn.place, turn.now)
    given = turn.assignment.finished_at
    if change > 0 or (given is not None and given.astimezone(UTC).date() == today):
        n_today = max(0, n_today + change)
    prepared.place_counted.run(place=turn.place.pk, change=change, day=today, n_today=n_today)
    turn.place.n_submitted += change
    turn.place.day, turn.place.n_today = today, n_today


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
