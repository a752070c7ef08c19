"""Questions to the lead. Asking parks the task: its seat is kept, and the person goes on with the next one.

One rule: a question is open exactly while its task is parked and nobody has answered. What ends one ends the other, in one
transaction, under the locks of ``annotation.turns``.
"""

from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from accounts.audit import record
from accounts.models import Project, User
from annotation import worktime
from annotation.models import Annotator, Assignment, Campaign, Place, Question
from annotation.parking import park_assignment, resume_assignment
from annotation.turns import assignment_of, retried
from core.errors import Conflict, DomainError, require
from core.transitions import move, try_move

MAX_CHARS = 5_000
MAX_OPEN = 10  # of one person in one campaign: a parked task keeps a seat from others


# ---- the annotator -----------------------------------------------------------------------------------------------------


@retried
def ask(
    *, assignment_key: str, annotator: Annotator, text: str, active_seconds: float = 0.0, open_seconds: float = 0.0
) -> Question:
    """Ask about the task at hand and park it; the time spent on it counts as worked. Sent twice it is one question.

    Raises Conflict where the task is no longer this person's, or where as many questions are open as one may have.
    """
    text = text.strip()
    require(text, "Write what you want to ask.")
    require(len(text) <= MAX_CHARS, f"A question has at most {MAX_CHARS:,} characters.")
    with transaction.atomic():
        turn = assignment_of(annotator, assignment_key)
        if turn.status == Assignment.Status.PARKED:
            standing = Question.objects.filter(assignment=turn, status=Question.Status.OPEN).first()
            if standing is not None and standing.text == text:
                return standing
            raise Conflict("You have asked about this task already.", how="Its answer comes back to you.")
        campaign = turn.task.campaign
        n_open = Question.objects.filter(
            campaign=campaign, assignment__annotator=annotator, status=Question.Status.OPEN
        ).count()
        if n_open >= MAX_OPEN:
            raise Conflict(
                f"{n_open} questions of yours are waiting for an answer.",
                how="Withdraw one of them, or skip this task with a reason.",
            )
        turn = park_assignment(assignment_key=assignment_key, annotator=annotator)
        question = Question.objects.create(campaign=campaign, assignment=turn, text=text)
        question.events.create(before="", after=Question.Status.OPEN, by=annotator.user)
        place = Place.objects.filter(annotator=annotator, campaign=campaign).values_list("pk", flat=True)[0]
        worktime.note(place, parked=1, active_seconds=active_seconds, open_seconds=open_seconds)
        return question


@retried
def take_back_up(*, question: Question, annotator: Annotator) -> Assignment:
    """Go on with the parked task: with its answer, or without one, which withdraws the question. Idempotent.

    Raises Conflict if the task can no longer be judged.
    """
    with transaction.atomic():
        turn = resume_assignment(assignment_key=question.assignment.key, annotator=annotator)
        if question.status == Question.Status.OPEN:
            try_move(question, Question.Status.WITHDRAWN, only_from=Question.Status.OPEN, by=annotator.user)
        mark_seen(question)
        return turn


def mark_seen(question: Question) -> None:
    """The asker has read the answer."""
    Question.objects.filter(pk=question.pk, status=Question.Status.ANSWERED, seen_at=None).update(seen_at=Now())


def questions_of(annotator: Annotator) -> QuerySet[Question]:
    """One's own, newest first."""
    return (
        Question.objects.filter(assignment__annotator=annotator)
        .select_related("campaign", "assignment__task__prompt", "ruling")
        .order_by("-id")
    )


def news_for(annotator: Annotator, campaign: Campaign | None = None) -> list[Question]:
    """Answers that wait for their asker: not read yet, or read while the task is still parked."""
    mine = questions_of(annotator).filter(status=Question.Status.ANSWERED)
    if campaign is not None:
        mine = mine.filter(campaign=campaign)
    return list(mine.filter(Q(seen_at=None) | Q(assignment__status=Assignment.Status.PARKED))[:50])


# ---- the lead ----------------------------------------------------------------------------------------------------------


def inbox(
    project: Project, *, status: str = Question.Status.OPEN, campaign: Campaign | None = None
) -> QuerySet[Question]:
    """Questions of a project: open ones oldest first, since their askers wait; others newest first."""
    found = Question.objects.filter(campaign__project=project, status=status)
    if campaign is not None:
        found = found.filter(campaign=campaign)
    found = found.select_related("campaign", "assignment__annotator__user", "assignment__task__prompt", "answered_by")
    return found.order_by("id" if status == Question.Status.OPEN else "-id")


@transaction.atomic
def answer(*, question: Question, text: str, by: User) -> Question:
    """Answer an open question, or put an answer right: the asker is told again. Raises Conflict for a withdrawn one."""
    text = text.strip()
    require(text, "Write an answer.")
    require(len(text) <= MAX_CHARS, f"An answer has at most {MAX_CHARS:,} characters.")
    changes: dict[str, Any] = {"answer": text, "answered_by": by, "answered_at": timezone.now(), "seen_at": None}
    if question.status == Question.Status.ANSWERED:
        if question.answer == text:  # a second click
            return question
        _still_answered(question).update(**changes)
        question.refresh_from_db()
        what = "question.correct"
    else:
        if question.status == Question.Status.WITHDRAWN:
            raise Conflict("This question was withdrawn: nobody waits for its answer.")
        move(question, Question.Status.ANSWERED, only_from=Question.Status.OPEN, by=by, **changes)
        what = "question.answer"
    record(
        what, user=by, project=question.campaign.project, subject=question, detail={"campaign": question.campaign.key}
    )
    return question


def _still_answered(question: Question) -> QuerySet[Question]:
    return Question.objects.filter(pk=question.pk, status=Question.Status.ANSWERED)


@transaction.atomic
def reopen(*, question: Question, by: User) -> None:
    """Take an answer back while its asker has not gone on with the task."""
    if question.assignment.status != Assignment.Status.PARKED:
        raise Conflict(
            "The asker has gone on with this task: the answer cannot be taken back.", how="Correct it instead."
        )
    if Question.objects.filter(assignment=question.assignment, status=Question.Status.OPEN).exists():
        raise DomainError("Another question about this task is open.")
    move(
        question,
        Question.Status.OPEN,
        only_from=Question.Status.ANSWERED,
        by=by,
        answer="",
        answered_by=None,
        answered_at=None,
        seen_at=None,
    )
    record("question.reopen", user=by, project=question.campaign.project, subject=question)


# ---- what ends by itself -----------------------------------------------------------------------------------------------


def withdraw_orphans() -> int:
    """A chore of the tick: withdraw open questions whose task is parked no more (its holder left, or it was released).

    Safe to run anywhere, any number of times and at once. Returns how many it withdrew.
    """
    parked = Assignment.objects.filter(pk=OuterRef("assignment"), status=Assignment.Status.PARKED)
    orphans = Question.objects.filter(~Exists(parked), status=Question.Status.OPEN)
    return sum(
        try_move(question, Question.Status.WITHDRAWN, only_from=Question.Status.OPEN, note="its task was given back")
        for question in orphans[:500]
    )
