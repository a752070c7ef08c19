"""The statements behind "submit, and the next task": what each asks is said here, when and why in ``assign`` and ``judge``.

They are compiled once (``core.prepared``), since an annotator waits for all of them with every judgement.
"""

from datetime import date, datetime
from typing import Any

from django.db.models import BigIntegerField, Exists, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Now

from annotation.models import (
    Annotator,
    Announcement,
    AnnouncementRead,
    Assignment,
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

annotator_of = Query(lambda: Annotator.objects.filter(project=given("project"), user=given("user")))
turn_of = Query(
    lambda: Assignment.objects.select_related("task__campaign", "task__prompt").filter(
        annotator=given("annotator"), key=given("key", str)
    )
)
turn_here = Query(
    lambda: Assignment.objects.select_related("annotator", "task__campaign", "task__prompt").filter(
        annotator__project=given("project"), annotator__user=given("user"), key=given("key", str)
    )
)
slots = Query(
    lambda: TaskCandidate.objects.filter(task=given("task")).order_by("slot").values_list("slot", "candidate_id")
)

texts = Query(
    lambda: TaskCandidate.objects.filter(task=given("task")).order_by("slot").values_list("slot", "candidate__text")
)


def _n_submitted() -> QuerySet[Place, Any]:
    places = Place.objects.filter(campaign=given("campaign")).order_by().values("campaign")
    return places.annotate(n=Sum("n_submitted")).values_list("n")


n_submitted = Query(_n_submitted)
# What an import of votes has counted, of a campaign that came from one.
imported = Query(
    lambda: VoteImport.objects.filter(campaign=given("campaign"), status=JobStatus.SUCCEEDED).values_list("counts")
)


def _unread(project: Any) -> QuerySet[Announcement]:
    """As ``announcements.unread`` for one campaign."""
    read = AnnouncementRead.objects.filter(announcement=OuterRef("pk"), annotator=given("annotator"))
    mine = Q(campaign=None) | Q(campaign=given("campaign"))
    return Announcement.objects.filter(~Exists(read), mine, project=project, withdrawn_at=None).order_by("id")


unread_announcements = Query(lambda: _unread(project=given("project")))
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
place_of_turn = Query(
    lambda: (
        Place.objects.select_for_update(no_key=True, of=("self",))
        .filter(
            annotator=given("annotator"),
            campaign__tasks__assignments__annotator=given("annotator"),
            campaign__tasks__assignments__key=given("key", str),
        )
        .annotate(now=Now())
    )
)
task = Query(lambda: ComparisonTask.objects.select_for_update(no_key=True).filter(pk=given("task")))
# A turn with its task: that is locked first, and both are as they are then. The campaign is as it was when this was asked.
# ``has_draft``: something was saved of it; ``has_flags``: its holder has flagged the task before.
turn_held = Query(
    lambda: (
        Assignment.objects.select_for_update(no_key=True, of=("task", "self"))
        .select_related("task__campaign")
        .filter(annotator=given("annotator"), key=given("key", str))
        .annotate(
            has_draft=Exists(Draft.objects.filter(assignment=OuterRef("pk"))),
            has_flags=Exists(Flag.objects.filter(task=OuterRef("task"), annotator=OuterRef("annotator"))),
        )
    )
)

# ---- the next task -------------------------------------------------------------------------------------------------------


def _desk(places: QuerySet[Place]) -> Query[Place]:
    """A person's place with its campaign as it is now, and what decides whether more has to be asked.

    now, n_done            the database's clock; live judgements of the campaign
    has_human, has_import  people wrote some of its answers; an import of votes has counted what it takes
    has_in_hand            this person has something open or parked here
    has_answers, has_news  the lead has answered a question of theirs here; there is an announcement that they have to read
    """
    mine = Assignment.objects.filter(annotator=given("annotator"), task__campaign=given("campaign"), purpose=_work)
    asked = Question.objects.filter(assignment__annotator=given("annotator"), campaign=given("campaign"))
    return Query(
        lambda: (
            places.select_related("campaign")
            .filter(annotator=given("annotator"), campaign=given("campaign"))
            .annotate(
                now=Now(),
                n_done=Subquery(_n_submitted(), output_field=BigIntegerField()),
                has_human=Exists(
                    GenerationJob.objects.filter(campaigns=given("campaign"), kind=GenerationJob.Kind.HUMAN)
                ),
                has_import=Exists(VoteImport.objects.filter(campaign=given("campaign"))),
                has_in_hand=Exists(mine.filter(status__in=[Assignment.Status.OPEN, Assignment.Status.PARKED])),
                has_answers=Exists(asked.filter(status=Question.Status.ANSWERED)),
                has_news=Exists(_unread(project=OuterRef("campaign__project"))),
            )
        )
    )


desk = _desk(Place.objects.select_for_update(no_key=True, of=("self",)))
desk_now = _desk(Place.objects.all())
in_hand = Query(
    lambda: (
        Assignment.objects.select_related("task__campaign", "task__prompt")
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
# With every slot: whether this person has opened one of them.
slots_and_reveal = Query(
    lambda: (
        TaskCandidate.objects.filter(task=given("task"))
        .order_by("slot")
        .annotate(
            is_revealed=Exists(
                ModelReveal.objects.filter(
                    Q(job__in=TaskCandidate.objects.filter(task=given("task")).values("candidate__arm__job"))
                    | Q(
                        job__in=GenerationJob.objects.filter(
                            campaigns=given("campaign"), campaigns__is_live=True
                        ).values("pk")
                    ),
                    user=given("user"),
                    created_at__lte=Now(),
                )
            )
        )
        .values_list("slot", "candidate_id", "is_revealed")
    )
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
