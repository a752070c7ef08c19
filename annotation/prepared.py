"""The statements behind "submit, and the next task": what each asks is said here, when and why in ``assign`` and ``judge``.

They are compiled once (``core.prepared``), since an annotator waits for all of them with every judgement.
"""

from datetime import timedelta

from django.db.models import DateTimeField, Exists, ExpressionWrapper, F, OuterRef, Q
from django.db.models.functions import Now

from annotation.models import (
    Annotator,
    Assignment,
    Campaign,
    ComparisonTask,
    Flag,
    Judgement,
    Place,
    RankedCandidate,
    Score,
    TaskCandidate,
)
from core.prepared import Insert, Query, Update, given
from core.transitions import Move
from generation.models import ModelReveal

HOLDING = (Assignment.Status.OPEN, Assignment.Status.PARKED, Assignment.Status.SUBMITTED)
FIRST_IN_LINE = -(2**63)
_lease = ExpressionWrapper(Now() + given("lease", timedelta), output_field=DateTimeField())
_work = Assignment.Purpose.WORK

# ---- who and what (me, a turn with all that its page shows) -------------------------------------------------------------

annotator_of = Query(
    lambda: Annotator.objects.select_related("user").filter(project=given("project"), user=given("user"))
)
turn_of = Query(
    lambda: Assignment.objects.select_related("task__campaign", "task__prompt", "current", "annotator__user").filter(
        annotator=given("annotator"), key=given("key", str)
    )
)
turn_ids = Query(
    lambda: Assignment.objects.filter(annotator=given("annotator"), key=given("key", str)).values_list(
        "task_id", "task__campaign_id"
    )
)
slots = Query(
    lambda: TaskCandidate.objects.filter(task=given("task")).order_by("slot").values_list("slot", "candidate_id")
)

# ---- locks ---------------------------------------------------------------------------------------------------------------

place = Query(
    lambda: Place.objects.select_for_update(no_key=True).filter(
        annotator=given("annotator"), campaign=given("campaign")
    )
)
task = Query(lambda: ComparisonTask.objects.select_for_update(no_key=True).filter(pk=given("task")))

# ---- the next task -------------------------------------------------------------------------------------------------------

open_turn = Query(
    lambda: (
        Assignment.objects.select_related("task__campaign", "task__prompt", "current", "annotator__user")
        .filter(
            annotator=given("annotator"),
            task__campaign=given("campaign"),
            status=Assignment.Status.OPEN,
            purpose=_work,
        )
        .order_by("-opened_at", "-id")[:1]
    )
)
renewed = Update(
    lambda: Assignment.objects.filter(pk=given("turn"), status=Assignment.Status.OPEN), leased_until=_lease
)


def _free(skip_locked: bool, **where: object) -> Query[ComparisonTask]:
    turns = Assignment.objects.filter(task=OuterRef("pk"), annotator=given("annotator"), purpose=_work)
    return Query(
        lambda: (
            ComparisonTask.objects.filter(~Exists(turns), campaign=given("campaign"), is_free=True, **where)
            .order_by("line")
            .select_for_update(of=("self",), no_key=True, skip_locked=skip_locked)[:1]
        )
    )


# By whether tasks that others are just taking are passed over: from the hand to the end of the line, then what is before it.
free_tasks = {
    skip_locked: (_free(skip_locked, line__gte=given("hand")), _free(skip_locked, line__lt=given("hand")))
    for skip_locked in (True, False)
}
is_given_out = Query(
    lambda: Campaign.objects.filter(pk=given("campaign"), stage=Campaign.Stage.OPEN, is_live=False).values_list("pk")
)
seats_held = Query(
    lambda: Assignment.objects.filter(task=given("task"), status__in=HOLDING, seat__isnull=False).values_list("seat")
)
new_turn = Insert(Assignment, created_at=Now(), opened_at=Now(), leased_until=_lease)
new_turn_event = Insert(Assignment.events.rel.related_model)  # type: ignore[attr-defined]
seat_taken = Update(
    lambda: ComparisonTask.objects.filter(pk=given("task"), status=ComparisonTask.Status.OPEN, n_taken__lt=F("seats")),
    n_taken=F("n_taken") + 1,
)
hand_moved = Update(lambda: Place.objects.filter(pk=given("place")), hand=given("hand"))

# ---- a judgement ---------------------------------------------------------------------------------------------------------

# Pages that name a model: of a job whose answers are compared here, and of a live campaign itself, both arms of every turn.
reveals = Query(
    lambda: ModelReveal.objects.filter(
        Q(job__arms__candidates__slots__task=given("task"))
        | Q(job__campaigns=given("campaign"), job__campaigns__is_live=True),
        user=given("user"),
        created_at__lte=Now(),
    ).values_list("pk")[:1]
)
new_judgement = Insert(Judgement)
new_ranks = Insert(RankedCandidate)
new_scores = Insert(Score)
flags = Query(lambda: Flag.objects.filter(task=given("task"), annotator=given("annotator")))
submitted = Move(
    Assignment,
    Assignment.Status.SUBMITTED,
    current=given("current"),
    seat=given("seat"),
    finished_at=Now(),
    leased_until=None,
)
task_counted = Update(
    lambda: ComparisonTask.objects.filter(pk=given("task")), n_submitted=F("n_submitted") + given("change")
)
task_complete = Move(ComparisonTask, ComparisonTask.Status.COMPLETE, n_submitted=F("n_submitted") + 1)
place_counted = Update(lambda: Place.objects.filter(pk=given("place")), n_submitted=F("n_submitted") + given("change"))
