"""The pages of a live campaign: where one begins, the conversation, the form that starts such a campaign.

A page says where the person's turn stands and nothing of the models: not how far either is, nor which was done first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from accounts.models import Project
from annotation.campaign_templates import Template
from annotation.campaigns import Progress, progress_of
from annotation.live import MAX_PROMPT
from annotation.live_standing import (
    ComesFirst,
    Standing,
    assignment_of_turn,
    continuing,
    conversations_of,
    is_full,
    is_second_try,
    is_too_long,
    open_conversation,
    pattern_of,
    standing_of,
    turns_of,
    why_not,
)
from annotation.models import (
    Annotator,
    Assignment,
    Campaign,
    Conversation,
    Judgement,
    Place,
    Question,
    TaskCandidate,
    Turn,
)
from annotation.pages import CampaignPage
from annotation.protocol import LETTERS
from core.jobs import JobStatus
from generation.live import NotServed

LISTED = 50
SLOW_SECONDS = 20
BEGUN = 80  # characters of a first prompt that a list shows
VERDICTS = {"tie": "both alike", "both_good": "both good", "all_bad": "both bad"}


@dataclass(frozen=True)
class Answer:
    """One answer as its judge saw it."""

    letter: str
    text: str
    is_chosen: bool = False


@dataclass(frozen=True)
class Message:
    """One message of the chat; ``said`` is what the person said of the two answers that it was one of."""

    role: str
    text: str
    said: str = ""


@dataclass(frozen=True)
class Row:
    """One conversation in a person's own list."""

    key: str
    begins: str
    n_judged: int
    status: str
    began_at: datetime


@dataclass(frozen=True, kw_only=True)
class BeginPage(CampaignPage):
    n_mine: int
    progress: Progress
    open_key: str
    rows: Sequence[Row]
    why_not: str = ""
    how: str = ""
    is_several: bool = False
    said: str = ""


@dataclass(frozen=True, kw_only=True)
class LivePage(CampaignPage):
    """One conversation. ``state``: write, wait, failed, choose, parked, full, first, over or stopped."""

    conversation: Conversation
    state: str
    chat: Sequence[Message]
    number: int  # of the turn that a form here is about
    n_mine: int
    progress: Progress
    answers: Sequence[Answer] = ()
    can_again: bool = False
    is_slow: bool = False
    is_too_long: bool = False
    undo_key: str = ""
    parked_key: str = ""  # of the assignment that waits for an answer of the lead
    asked: Question | None = None  # what was asked about it
    text: str = ""  # what was typed and not stored
    error: str = ""
    how: str = ""
    said: str = ""
    most: int = MAX_PROMPT

    @property
    def shown(self) -> str:
        """What the page shows, for the clock: it draws itself anew only when this changes."""
        return f"{self.state}-{self.number}{'-slow' if self.is_slow else ''}{'-answered' if self.is_answered else ''}"

    @property
    def is_answered(self) -> bool:
        return self.asked is not None and self.asked.status == Question.Status.ANSWERED

    @property
    def waits(self) -> bool:
        return self.state == "wait"


@dataclass(frozen=True)
class NewPage:
    project: Project
    form: Any
    has_models: bool
    templates: Sequence[Template]
    focus: str = ""  # the row that was just added


def begin_page(project: Project, campaign: Campaign, me: Annotator | None, **more: Any) -> BeginPage:
    talk = open_conversation(me, campaign) if me is not None else None
    return BeginPage(
        project=project,
        campaign=campaign,
        n_mine=_n_mine(campaign, me),
        progress=progress_of(campaign),
        open_key=talk.key if talk else "",
        rows=_rows(campaign, me) if me is not None else [],
        **more,
    )


def _n_mine(campaign: Campaign, me: Annotator | None) -> int:
    place = Place.objects.filter(annotator=me, campaign=campaign).first() if me is not None else None
    return place.n_submitted if place else 0


def _rows(campaign: Campaign, me: Annotator) -> list[Row]:
    talks = list(conversations_of(me, campaign)[:LISTED])
    first = Turn.objects.filter(conversation__in=talks, number=1).select_related("prompt")
    begins = {turn.conversation_id: turn.prompt.last_turn for turn in first}
    return [
        Row(
            talk.key,
            begins.get(talk.pk, "")[:BEGUN],
            talk.n_judged,  # type: ignore[attr-defined]  # annotated by conversations_of
            talk.status,
            talk.created_at,
        )
        for talk in talks
        if talk.status != Conversation.Status.ABANDONED or talk.pk in begins
    ]


def live_page(
    project: Project,
    conversation: Conversation,
    *,
    text: str = "",
    error: str = "",
    how: str = "",
    said: str = "",
    **more: Any,
) -> LivePage:
    """Where a conversation stands now. A turn that waits for its judgement has the annotate screen as its page."""
    campaign, me = conversation.campaign, conversation.annotator
    turns = turns_of(conversation)
    last = turns[-1] if turns else None
    assignment = assignment_of_turn(last) if last is not None else None
    state = _state(conversation, last)
    problem = why_not(me, campaign) if state in ("write", "stopped") else None
    if problem is not None and not error:
        error, how = problem.sentence, problem.how
    if problem is not None and not isinstance(problem, NotServed):
        state = "first" if isinstance(problem, ComesFirst) else "stopped"
    is_decided = last is not None and assignment is not None and continuing(last, assignment) is not None
    may_undo = assignment is not None and assignment.status in (Assignment.Status.SUBMITTED, Assignment.Status.SKIPPED)
    return LivePage(
        project=project,
        campaign=campaign,
        conversation=conversation,
        state=state,
        chat=chat_of(turns, system=pattern_of(campaign).selection.get("system", "")),
        number=last.number + (state == "write") if last is not None else 1,
        n_mine=_n_mine(campaign, me),
        progress=progress_of(campaign),
        answers=answers_of(assignment) if assignment is not None and state == "choose" else [],
        can_again=last is not None and not is_decided and not is_second_try(last),
        is_slow=state == "wait" and last is not None and _is_slow(last),
        is_too_long=state == "failed" and last is not None and is_too_long(last),
        parked_key=assignment.key if assignment is not None and state == "parked" else "",
        asked=assignment.questions.order_by("-id").first() if assignment is not None and state == "parked" else None,
        undo_key=assignment.key if assignment is not None and may_undo and campaign.stage != "closed" else "",
        text=text,
        error=error,
        how=how,
        said=said,
        **more,
    )


def _state(conversation: Conversation, last: Turn | None) -> str:
    if conversation.status != Conversation.Status.OPEN:
        return "over"
    if last is None:
        return "write"
    standing = standing_of(last)
    names: Mapping[Standing, str] = {
        Standing.WAITING: "wait", Standing.FAILED: "failed", Standing.JUDGE: "judge", Standing.PARKED: "parked",
        Standing.CHOOSE: "choose",
    }  # fmt: skip
    if conversation.campaign.stage == Campaign.Stage.CLOSED:
        return "stopped"
    if standing in names:
        return names[standing]
    return "full" if is_full(last) else "write"


def _is_slow(turn: Turn) -> bool:
    """Whether the answers take longer than a person expects: said without a word of which, or why."""
    age = (timezone.now() - (turn.job.enqueued_at or turn.created_at)).total_seconds()
    return (bool(turn.job.message) and turn.job.status == JobStatus.RUNNING) or age > SLOW_SECONDS


def chat_of(turns: Sequence[Turn], *, system: str = "") -> list[Message]:
    """What was written, and the answers that it went on with. A turn that was asked again shows once."""
    chat = [Message("system", system)] if system else []
    for turn in turns:
        if not is_second_try(turn):
            chat.append(Message("user", turn.prompt.last_turn))
        answer = continuing(turn)
        if answer is not None:
            chat.append(Message("assistant", answer.text, _said_of(turn)))
    return chat


def _said_of(turn: Turn) -> str:
    assignment = assignment_of_turn(turn)
    if assignment is None or assignment.current is None or assignment.status != Assignment.Status.SUBMITTED:
        return ""
    if assignment.current.verdict == Judgement.Verdict.RANKED:
        return "you found it better than the other answer"
    return f"you found {VERDICTS.get(assignment.current.verdict, '')}, and went on with this one"


def answers_of(assignment: Assignment) -> list[Answer]:
    rows = TaskCandidate.objects.filter(task=assignment.task_id).values_list("slot", "candidate__text")
    texts = dict(rows)
    return [Answer(LETTERS[place], texts[slot]) for place, slot in enumerate(assignment.display_order)]
