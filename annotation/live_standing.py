"""Where a live conversation stands, and whether a person may write in it now. Nothing here changes anything."""

from enum import StrEnum

from django.db.models import Count, Q, QuerySet
from django.urls import reverse

from accounts.models import Project
from annotation.assign import why_nothing
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Conversation, Judgement, Place, Turn
from annotation.onboarding import first_columns
from annotation.refusals import IN_WORDS, NOT_OPEN, Refusal, stands_before
from core.errors import DomainError, require
from core.jobs import JobStatus
from generation.live import serving_arms, shortest_context
from generation.models import Candidate, GenerationJob

TOO_LONG = "longer than the model's context"  # what an engine says of a prompt that does not fit
SETTLED_FIRST = ("guidelines", "agree")


class Standing(StrEnum):
    """Where a turn stands, as far as the person is concerned."""

    WAITING = "waiting"  # the answers are being written
    FAILED = "failed"  # they could not be; the prompt is kept
    JUDGE = "judge"  # both are there
    PARKED = "parked"  # the person asked the lead about it
    CHOOSE = "choose"  # judged without a better one: the person says which goes on
    DONE = "done"  # it is clear which answer goes on


def pattern_of(campaign: Campaign) -> GenerationJob:
    """The job that names the two arms of a live campaign. It is the only one that belongs to the campaign itself."""
    return campaign.jobs.get(kind=GenerationJob.Kind.LIVE)


def open_conversation(annotator: Annotator, campaign: Campaign) -> Conversation | None:
    return campaign.conversations.filter(annotator=annotator, status=Conversation.Status.OPEN).first()


def live_url(project: Project, me: Annotator | None, campaign: Campaign) -> str:
    """Where this person goes on in a live campaign: their open conversation, or the page where one begins."""
    talk = open_conversation(me, campaign) if me is not None else None
    if talk is None:
        return reverse("annotation:live", args=[project.slug, campaign.key])
    return reverse("annotation:conversation", args=[project.slug, campaign.key, talk.key])


def conversations_of(annotator: Annotator, campaign: Campaign) -> QuerySet[Conversation]:
    """This person's conversations, the latest first, each with the number of its judged turns."""
    judged = Count("turns", filter=Q(turns__task__assignments__status=Assignment.Status.SUBMITTED))
    return campaign.conversations.filter(annotator=annotator).annotate(n_judged=judged).order_by("-id")


def turns_of(conversation: Conversation) -> list[Turn]:
    return list(conversation.turns.select_related("prompt", "job", "task", "chosen").order_by("number"))


def assignment_of_turn(turn: Turn) -> Assignment | None:
    """The seat of the person who wrote the prompt; None while the answers are not there."""
    if turn.task_id is None:
        return None
    mine = Assignment.objects.select_related("current", "task__campaign", "task__prompt", "annotator__user")
    return mine.filter(task=turn.task_id, purpose=Assignment.Purpose.WORK).order_by("pk").first()


def standing_of(turn: Turn) -> Standing:
    assignment = assignment_of_turn(turn)
    if assignment is None:
        over = turn.job.status in (JobStatus.FAILED, JobStatus.CANCELLED)
        return Standing.FAILED if over else Standing.WAITING
    statuses = Assignment.Status
    if assignment.status in (statuses.OPEN, statuses.EXPIRED):
        return Standing.JUDGE
    if assignment.status == statuses.PARKED:
        return Standing.PARKED
    return Standing.DONE if continuing(turn, assignment) is not None else Standing.CHOOSE


def continuing(turn: Turn, assignment: Assignment | None = None) -> Candidate | None:
    """The answer that the conversation goes on with: the better one; of two equal ones the one that the person picked."""
    assignment = assignment or assignment_of_turn(turn)
    is_judged = assignment is not None and assignment.status == Assignment.Status.SUBMITTED
    judgement = assignment.current if assignment is not None and is_judged else None
    if judgement is None or judgement.verdict != Judgement.Verdict.RANKED:
        return turn.chosen
    best = list(Candidate.objects.filter(ranks__judgement=judgement, ranks__rank=1)[:2])
    return best[0] if len(best) == 1 else turn.chosen


def is_second_try(turn: Turn) -> bool:
    """Whether this turn asked for other answers to the prompt of the turn before."""
    return turn.conversation.turns.filter(number=turn.number - 1, prompt=turn.prompt_id).exists()


def is_too_long(turn: Turn) -> bool:
    """Whether the answers failed because the conversation does not fit into a model."""
    return any(TOO_LONG in row["reason"] for row in turn.job.failures) or TOO_LONG in turn.job.error


def is_full(turn: Turn) -> bool:
    """Whether what has been said fills the context of a model already, so that no further prompt can be answered."""
    answer, context = continuing(turn), shortest_context(pattern_of(turn.conversation.campaign))
    if answer is None or context is None or answer.n_prompt_tokens is None:
        return False
    return answer.n_prompt_tokens + (answer.n_completion_tokens or 0) + 2 >= context


def n_turns(campaign: Campaign) -> int:
    """Turns that are judged or on their way: what counts towards the campaign's number of turns."""
    turns = Turn.objects.filter(conversation__campaign=campaign)
    return turns.exclude(task__status=ComparisonTask.Status.OPEN, task__n_taken=0).count()  # skipped, or let go


# ---- who may write ---------------------------------------------------------------------------------------------------


class ComesFirst(DomainError):
    """Something is to be read or agreed to first; the campaign's start page asks for it."""


def check_may_write(annotator: Annotator | None, campaign: Campaign) -> None:
    """Raises DomainError with the reason why this person cannot write a prompt here now.

    annotator  None for someone who has never judged in this project
    """
    require(campaign.is_live, "Nobody writes prompts in this campaign.")
    campaign = Campaign.objects.get(pk=campaign.pk)
    refusal = _refusal(annotator, campaign)
    if refusal is not None:
        raise (ComesFirst if refusal.code in SETTLED_FIRST else DomainError)(refusal.sentence, how=refusal.how)
    require(n_turns(campaign) < campaign.n_tasks, "This campaign has all the turns that it wants.", how="Thank you.")
    serving_arms(pattern_of(campaign))


def _refusal(annotator: Annotator | None, campaign: Campaign) -> Refusal | None:
    """What keeps this person from any further work here; that no task is free is no reason where people write the prompts."""
    unknown = annotator is None
    annotator = annotator or Annotator(project=campaign.project)
    if unknown:
        begins = Place(annotator=annotator, campaign=campaign, **first_columns(campaign, annotator))
        first = stands_before(begins, campaign, annotator)
        code = NOT_OPEN.get(campaign.stage)
        return first or (Refusal(code, f"This campaign {IN_WORDS[code]}.") if code else None)
    refusal = why_nothing(annotator, campaign)
    return None if refusal is None or refusal.code in ("none_now", "done") else refusal


def why_not(annotator: Annotator | None, campaign: Campaign) -> DomainError | None:
    """Why this person cannot write here now; None where they can. ``annotator`` is None for someone who never judged here."""
    try:
        check_may_write(annotator, campaign)
    except DomainError as problem:
        return problem
    return None
