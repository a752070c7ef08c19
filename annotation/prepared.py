"""The statements behind "submit, and the next task": what each asks is said here, when and why in ``assign`` and ``judge``.

They are compiled once (``core.prepared``), since an annotator waits for all of them with every judgement.
"""

from datetime import date, datetime
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Now

from annotation.models import (
    Annotator,
    Announcement,
    AnnouncementRead,
    Assignment,
    Campaign,
    ComparisonTask,
    Draft,
    Flag,
    Judgement,
    Place,
    Question,
    RankedCandidate,
    Score,
    TaskCandidate,
    VoteImport,
)
from core.jobs import JobStatus
from core.prepared import Insert, Query, Update, given
from core.transitions import Move
from generation.models import GenerationJob, ModelReveal

HOLDING = (Assignment.Status.OPEN, Assignment.Status.PARKED, Assignment.Status.SUBMITTED)
FIRST_IN_LINE = -(2**63)
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

texts = Query(
    lambda: TaskCandidate.objects.filter(task=given("task")).order_by("slot").values_list("slot", "candidate__text")
)
place_now = Query(lambda: Place.objects.filter(annotator=given("annotator"), campaign=given("campaign")))
n_submitted = Query(
    lambda: (
        Place.objects.filter(campaign=given("campaign"))
        .order_by()
        .values("campaign")
        .annotate(n=Sum("n_submitted"))
        .values_list("n")
    )
)
# What an import of votes has counted, of a campaign that came from one.
imported = Query(
    lambda: VoteImport.objects.filter(campaign=given("campaign"), status=JobStatus.SUCCEEDED).values_list("counts")
)
# As ``announcements.unread`` for one campaign.
_read = AnnouncementRead.objects.filter(announcement=OuterRef("pk"), annotator=given("annotator"))
unread_announcements = Query(
    lambda: Announcement.objects.filter(
        ~Exists(_read),
        Q(campaign=None) | Q(campaign=given("campaign")),
        project=given("project"),
        withdrawn_at=None,
    ).order_by("id")
)
# Answered questions that concern this person now: about this task, not read yet, or about a task that is still parked.
answered_questions = Query(
    lambda: Question.objects.filter(
        Q(seen_at=None) | Q(assignment__status=Assignment.Status.PARKED) | Q(assignment=given("turn")),
        assignment__annotator=given("annotator"),
        campaign=given("campaign"),
        status=Question.Status.ANSWERED,
    ).order_by("-id")[:50]
)

# ---- locks ---------------------------------------------------------------------------------------------------------------

place = Query(
    lambda: (
        Place.objects.select_for_update(no_key=True)
        .filter(annotator=given("annotator"), campaign=given("campaign"))
        .annotate(now=Now())
    )
)
task = Query(lambda: ComparisonTask.objects.select_for_update(no_key=True).filter(pk=given("task")))

# ---- the next task -------------------------------------------------------------------------------------------------------

# The campaign as it is now; ``has_human``: people wrote some of its answers.
campaign = Query(
    lambda: Campaign.objects.filter(pk=given("campaign")).annotate(
        has_human=Exists(GenerationJob.objects.filter(campaigns=OuterRef("pk"), kind=GenerationJob.Kind.HUMAN))
    )
)
in_hand = Query(
    lambda: (
        Assignment.objects.select_related("task__campaign", "task__prompt", "current", "annotator__user")
        .filter(
            annotator=given("annotator"),
            task__campaign=given("campaign"),
            status__in=[Assignment.Status.OPEN, Assignment.Status.PARKED],
            purpose=_work,
        )
        .order_by(F("opened_at").desc(nulls_last=True), "-id")
    )
)
renewed = Update(
    lambda: Assignment.objects.filter(pk=given("turn"), status=Assignment.Status.OPEN),
    leased_until=given("until", datetime),
    opened_at=given("opened", datetime),
)
# A lease that ended before its task was shown, such as a prefetched one: the only turn that is offered again.
_NEVER_SEEN = Q(
    status__in=[Assignment.Status.RELEASED, Assignment.Status.EXPIRED], opened_at__isnull=True, current__isnull=True
)


def never_seen(task: int, annotator: int) -> QuerySet[Assignment]:
    return Assignment.objects.filter(_NEVER_SEEN, task=task, annotator=annotator, purpose=_work)


def untouched(annotator: Any, campaign: Any, user: Any, *, has_human: bool = True) -> QuerySet[ComparisonTask]:
    """Open tasks with a free seat that this person was never shown and, if ``has_human``, wrote no answer of."""
    turns = Assignment.objects.filter(task=OuterRef("pk"), annotator=annotator, purpose=_work).exclude(_NEVER_SEEN)
    free = ComparisonTask.objects.filter(~Exists(turns), campaign=campaign, is_free=True)
    if not has_human:
        return free
    written = TaskCandidate.objects.filter(
        task=OuterRef("pk"),
        candidate__arm__job__kind=GenerationJob.Kind.HUMAN,
        candidate__arm__job__requested_by=user,
    )
    return free.filter(~Exists(written))


def _free(skip_locked: bool, has_human: bool, **where: object) -> Query[ComparisonTask]:
    return Query(
        lambda: (
            untouched(given("annotator"), given("campaign"), given("user"), has_human=has_human)
            .filter(**where)
            .select_related("prompt")
            .order_by("line")
            .select_for_update(of=("self",), no_key=True, skip_locked=skip_locked)[:1]
        )
    )


# By whether tasks that others are just taking are passed over, and whether people wrote some of the answers: from the hand to
# the end of the line, then what is before it.
free_tasks = {
    (skip_locked, has_human): (
        _free(skip_locked, has_human, line__gte=given("hand")),
        _free(skip_locked, has_human, line__lt=given("hand")),
    )
    for skip_locked in (True, False)
    for has_human in (True, False)
}
seats_held = Query(
    lambda: Assignment.objects.filter(task=given("task"), status__in=HOLDING, seat__isnull=False).values_list("seat")
)
new_turn = Insert(Assignment)
new_turn_event = Insert(Assignment.events.rel.related_model)
seat_taken = Update(
    lambda: ComparisonTask.objects.filter(pk=given("task"), status=ComparisonTask.Status.OPEN, n_taken__lt=F("seats")),
    n_taken=F("n_taken") + 1,
)
hand_moved = Update(lambda: Place.objects.filter(pk=given("place")), hand=given("hand"))

# ---- a judgement ---------------------------------------------------------------------------------------------------------

# Pages that name a model: of a job whose answers are compared here, and of a live campaign itself, both arms of every turn.
reveals = Query(
    lambda: ModelReveal.objects.filter(
        Q(job__in=TaskCandidate.objects.filter(task=given("task")).values("candidate__arm__job"))
        | Q(job__in=GenerationJob.objects.filter(campaigns=given("campaign"), campaigns__is_live=True).values("pk")),
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
    opened_at=given("opened_at", datetime),
    finished_at=given("finished_at", datetime),
    leased_until=None,
)
draft = Query(lambda: Draft.objects.filter(assignment=given("turn")).values_list("pk"))
task_counted = Update(
    lambda: ComparisonTask.objects.filter(pk=given("task")), n_submitted=F("n_submitted") + given("change")
)
task_complete = Move(ComparisonTask, ComparisonTask.Status.COMPLETE, n_submitted=given("n_submitted"))
place_counted = Update(
    lambda: Place.objects.filter(pk=given("place")),
    n_submitted=F("n_submitted") + given("change"),
    day=given("day", date),
    n_today=given("n_today"),
)
