"""Live conversations: a person writes a prompt, two models answer, the person judges, and the chosen answer goes on.

A turn is a prompt with a generation job of its own. Whatever dies, that job goes on and ends with one answer by each arm; only
then does the turn get its task, with the seat taken by the person who wrote the prompt. Nobody else is ever offered it, and
nothing that a person writes here is ever an answer to be judged. Order of locks: the conversation, then as in ``annotation.assign``.
"""

import logging
import random
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from celery import current_app
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now
from django.urls import reverse

from accounts.models import Project
from annotation.assign import lease_seconds, release_assignment, retried, why_nothing
from annotation.models import (
    Annotator,
    Assignment,
    Campaign,
    ComparisonTask,
    Conversation,
    Judgement,
    Place,
    TaskCandidate,
    Turn,
)
from annotation.onboarding import first_columns
from annotation.pairs import position_of, set_sha256
from annotation.refusals import IN_WORDS, NOT_OPEN, Refusal, stands_before
from core.errors import Conflict, DomainError, require
from core.ids import group_sha256, seed_from
from core.jobs import JobStatus, from_now
from core.transitions import move
from generation.live import (
    ask_again,
    forget_live,
    live_job,
    serving_arms,
    shortest_context,
    store_live_prompt,
)
from generation.models import Candidate, GenerationJob, Prompt

logger = logging.getLogger(__name__)

MAX_PROMPT = 20_000  # characters of one message; how many tokens fit is the model's affair
SWEEP = 200
TOO_LONG = "longer than the model's context"  # what an engine says of a prompt that does not fit
SETTLED_FIRST = ("guidelines", "agree")
ANSWER_TASK = "annotation.tasks.answer_turn"
_shuffle = random.SystemRandom().shuffle


class Standing(StrEnum):
    """Where a turn stands, as far as the person is concerned."""

    WAITING = "waiting"  # the answers are being written
    FAILED = "failed"  # they could not be; the prompt is kept
    JUDGE = "judge"  # both are there
    PARKED = "parked"  # the person asked the lead about it
    CHOOSE = "choose"  # judged without a better one: the person says which goes on
    DONE = "done"  # it is clear which answer goes on


# ---- reading ---------------------------------------------------------------------------------------------------------


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


# ---- a conversation --------------------------------------------------------------------------------------------------


@retried
def start_conversation(*, campaign: Campaign, annotator: Annotator) -> Conversation:
    """This person's open conversation in a campaign, begun if there is none. Raises DomainError where they may not begin one."""
    with transaction.atomic():
        there = open_conversation(annotator, campaign)
        if there is not None:
            return there
        check_may_write(annotator, campaign)
        conversation, is_new = Conversation.objects.get_or_create(
            campaign=campaign, annotator=annotator, status=Conversation.Status.OPEN
        )
        if is_new:
            conversation.events.create(before="", after=conversation.status, by=annotator.user)
        return conversation


@retried
def send_prompt(*, conversation_key: str, annotator: Annotator, number: int, text: str) -> Turn:
    """Store what the person wrote as the turn of this number, and ask both models.

    The same text sent twice is one turn. Another text for a turn that exists raises Conflict. Raises DomainError where nothing
    can be written now; then nothing is stored.
    """
    text = tidy(text)
    with transaction.atomic():
        conversation = _locked(annotator, conversation_key)
        turns = turns_of(conversation)
        twin = next((turn for turn in turns if turn.number == number), None)
        if twin is not None and twin.prompt.last_turn == text:
            return twin
        _require_open(conversation)
        last = turns[-1] if turns else None
        if twin is not None or number != (last.number + 1 if last else 1):
            raise Conflict(
                "This conversation has gone on in another tab.",
                how="Your text is kept below. See where it stands first.",
            )
        require(text, "Write something first.")
        require(len(text) <= MAX_PROMPT, f"A message has at most {MAX_PROMPT:,} characters; this has {len(text):,}.")
        campaign = conversation.campaign
        check_may_write(annotator, campaign)
        answer = _settled_answer(last) if last else None
        if last is not None:
            full = "This conversation fills what the models can read at once."
            require(not is_full(last), full, how="End it here, and start another one.")
            Turn.objects.filter(pk=last.pk).update(chosen=answer)
        return _ask(conversation, number, _prompt_for(conversation, turns, answer, text, number))


def _settled_answer(last: Turn) -> Candidate:
    answer = continuing(last)
    if standing_of(last) != Standing.DONE or answer is None:
        raise Conflict("The turn before is not judged yet.", how="Judge its answers first, then write on.")
    return answer


def _prompt_for(
    conversation: Conversation, turns: list[Turn], answer: Candidate | None, text: str, number: int
) -> Prompt:
    """The whole conversation so far, with the new message at its end."""
    pattern = pattern_of(conversation.campaign)
    if turns and answer is not None:
        before = [*turns[-1].prompt.messages, {"role": "assistant", "content": answer.text}]
        group = turns[0].prompt.group_sha256
    else:
        system = pattern.selection.get("system", "")
        before = [{"role": "system", "content": system}] if system else []
        group = group_sha256(text)
    assert pattern.prompt_set is not None
    return store_live_prompt(
        pattern.prompt_set,
        [*before, {"role": "user", "content": text}],
        group=group,
        metadata={"campaign": conversation.campaign.key, "conversation": conversation.key, "turn": number},
    )


def _ask(conversation: Conversation, number: int, prompt: Prompt) -> Turn:
    seed = seed_from(conversation.key, number)
    job = live_job(pattern_of(conversation.campaign), prompt, seed=seed)
    turn = Turn.objects.create(conversation=conversation, number=number, prompt=prompt, job=job)
    transaction.on_commit(lambda: _send(turn), robust=True)
    return turn


@retried
def pick_answer(*, conversation_key: str, annotator: Annotator, number: int, letter: str) -> Candidate:
    """Say which answer goes on where the judgement does not: after a tie, both bad or a skip. Idempotent."""
    with transaction.atomic():
        conversation, turn = _last_turn(annotator, conversation_key, number)
        _require_open(conversation)
        assignment = assignment_of_turn(turn)
        if assignment is None or standing_of(turn) not in (Standing.CHOOSE, Standing.DONE):
            raise Conflict("This turn is not judged yet.", how="Judge its answers first.")
        places = "abcdefghi"[: len(assignment.display_order)]
        require(letter and letter in places, "There is no such answer.")
        slot = assignment.display_order[places.index(letter)]
        picked = Candidate.objects.get(slots__task=turn.task_id, slots__slot=slot)
        better = continuing(turn, assignment)
        if better is not None and better != picked and better != turn.chosen:
            raise Conflict("You said that the other answer is better, so that one goes on.")
        Turn.objects.filter(pk=turn.pk).update(chosen=picked)
        return picked


@retried
def write_again(*, conversation_key: str, annotator: Annotator, number: int) -> Turn:
    """Ask for two other answers to the same prompt, once: a turn of its own, judged of its own. Idempotent."""
    with transaction.atomic():
        conversation = _locked(annotator, conversation_key)
        turn = conversation.turns.filter(number=number).first()
        require(turn, "There is no such turn.")
        assert turn is not None
        after = conversation.turns.filter(number=number + 1).first()
        if after is not None and after.prompt_id == turn.prompt_id:
            return after
        _require_open(conversation)
        if after is not None or standing_of(turn) not in (Standing.CHOOSE, Standing.DONE):
            raise Conflict("This conversation has gone on in another tab.", how="Reload to see where it stands.")
        assignment = assignment_of_turn(turn)
        is_decided = assignment is not None and continuing(turn, assignment) not in (None, turn.chosen)
        require(not is_decided, "You said that one answer is better, so that one goes on.")
        require(not is_second_try(turn), "Other answers can be asked for once.", how="Pick one of these, or end here.")
        check_may_write(annotator, conversation.campaign)
        return _ask(conversation, number + 1, turn.prompt)


@retried
def try_again(*, conversation_key: str, annotator: Annotator, number: int) -> Turn:
    """Ask again for answers that could not be written. Idempotent: one that is asked for already is left alone."""
    with transaction.atomic():
        conversation, turn = _last_turn(annotator, conversation_key, number)
        _require_open(conversation)
        if standing_of(turn) == Standing.FAILED:
            ask_again(pattern_of(conversation.campaign), turn.job)
            transaction.on_commit(lambda: _send(turn), robust=True)
        return turn


@retried
def take_back(*, conversation_key: str, annotator: Annotator, number: int) -> str:
    """Take a prompt back whose answers nobody has seen: nothing of the turn is left. Returns its text; empty if it was gone."""
    with transaction.atomic():
        conversation = _locked(annotator, conversation_key)
        turn = _locked_turn(conversation, number)
        if turn is None:
            return ""
        if turn.task_id is not None:
            raise Conflict("The answers are there already.", how="Judge them, or end the conversation.")
        text = "" if is_second_try(turn) else turn.prompt.last_turn
        _remove(turn)
        return text


@retried
def end_conversation(*, conversation_key: str, annotator: Annotator) -> Conversation:
    """End a conversation: what is judged stays, answers that are not judged are let go. Idempotent."""
    with transaction.atomic():
        conversation = _locked(annotator, conversation_key)
        if conversation.status == Conversation.Status.OPEN:
            _end(conversation, note="ended by its author")
        return conversation


def _end(conversation: Conversation, *, note: str) -> None:
    number = conversation.turns.order_by("-number").values_list("number", flat=True).first()
    last = _locked_turn(conversation, number) if number else None
    if last is not None:
        assignment = assignment_of_turn(last)
        if assignment is None:
            _remove(last)
        elif assignment.status == Assignment.Status.OPEN:
            release_assignment(assignment_key=assignment.key, annotator=assignment.annotator)
        elif (answer := continuing(last, assignment)) is not None:
            Turn.objects.filter(pk=last.pk).update(chosen=answer)
    judged = (Assignment.Status.SUBMITTED, Assignment.Status.PARKED)  # parked: it may be judged still
    is_judged = conversation.turns.filter(task__assignments__status__in=judged).exists()
    to = Conversation.Status.FINISHED if is_judged else Conversation.Status.ABANDONED
    move(conversation, to, note=note, by=conversation.annotator.user, finished_at=Now())


def _locked_turn(conversation: Conversation, number: int) -> Turn | None:
    """A turn, locked: its answers may be there in this moment (``settle_turn`` locks it too)."""
    turns = conversation.turns.select_for_update(of=("self",), no_key=True).select_related("prompt", "job")
    return turns.filter(number=number).first()


def _remove(turn: Turn) -> None:
    job = turn.job
    turn.delete()
    forget_live(job)  # where its worker is just at it, the chore comes again


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


def _locked(annotator: Annotator, key: str) -> Conversation:
    """One's own conversation, its row locked: two tabs, and a double click, come one after the other."""
    mine = Conversation.objects.select_for_update(of=("self",), no_key=True).filter(annotator=annotator, key=key)
    conversation = mine.select_related("campaign__project", "annotator__user").first()
    if conversation is None:
        raise DomainError("There is no such conversation of yours.")
    return conversation


def _last_turn(annotator: Annotator, key: str, number: int) -> tuple[Conversation, Turn]:
    conversation = _locked(annotator, key)
    turn = conversation.turns.select_related("prompt", "job", "task", "chosen").order_by("-number").first()
    if turn is None or turn.number != number:
        raise Conflict("This conversation has gone on in another tab.", how="Reload to see where it stands.")
    return conversation, turn


def _require_open(conversation: Conversation) -> None:
    if conversation.status != Conversation.Status.OPEN:
        raise Conflict("This conversation has ended.", how="Start another one.")


def tidy(text: str) -> str:
    """What a person typed, as it is stored: one kind of line end, no white space around it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").strip()
    require(not any("\ud800" <= letter <= "\udfff" for letter in text), "The text holds half of a character.")
    return text


# ---- the answers -----------------------------------------------------------------------------------------------------


def _send(turn: Turn) -> None:
    """Hint to a worker; as with every job the row decides, and the tick sends again what nobody has heard."""
    GenerationJob.objects.filter(pk=turn.job_id).update(enqueued_at=Now())
    try:
        current_app.send_task(ANSWER_TASK, args=[turn.pk], queue=GenerationJob.job_queue, retry=False)
    except Exception as problem:
        logger.warning("Could not send %s %s (%s); the tick will.", ANSWER_TASK, turn.pk, problem)


def answer_turn(turn_id: int, run: Callable[[int], Any]) -> None:
    """The worker's part: write the answers (``run`` takes the job's id), then give the turn its task."""
    job = Turn.objects.filter(pk=turn_id).values_list("job_id", flat=True).first()
    if job is not None:
        run(job)
        settle_turn(turn_id)


@retried
def settle_turn(turn_id: int) -> bool:
    """Give a turn whose answers are both there its task, and its author the seat. Idempotent; says whether it did.

    Slots follow the candidates' random keys, the order shown is drawn here: neither says which model wrote what, or was quicker.
    """
    with transaction.atomic():
        turns = Turn.objects.select_for_update(of=("self",), no_key=True).filter(pk=turn_id, task__isnull=True)
        turn = turns.select_related("conversation__campaign", "conversation__annotator", "job").first()
        if turn is None or turn.job.status != JobStatus.SUCCEEDED:
            return False
        campaign, conversation = turn.conversation.campaign, turn.conversation
        candidates = list(Candidate.objects.filter(arm__job=turn.job_id).order_by("key"))
        if len(candidates) != turn.job.n_expected or conversation.status != Conversation.Status.OPEN:
            return False
        order = list(range(len(candidates)))
        _shuffle(order)
        hashed = set_sha256(candidate.key for candidate in candidates)
        task = ComparisonTask.objects.create(
            campaign=campaign,
            prompt_id=turn.prompt_id,
            candidates_sha256=hashed,
            seats=1,
            n_taken=1,
            position=position_of(campaign.key, hashed),
            chosen_why="live",
        )
        TaskCandidate.objects.bulk_create(
            TaskCandidate(task=task, candidate=candidate, slot=slot) for slot, candidate in enumerate(candidates)
        )
        assignment = Assignment.objects.create(
            task=task,
            annotator=conversation.annotator,
            seat=0,
            display_order=order,
            opened_at=Now(),
            leased_until=from_now(lease_seconds(campaign)),
        )
        assignment.events.create(before="", after=Assignment.Status.OPEN)
        earlier = conversation.turns.filter(number__lt=turn.number, chosen__isnull=False)
        before = earlier.exclude(prompt=turn.prompt_id).order_by("-number").first()
        if before is not None:
            Candidate.objects.filter(arm__job=turn.job_id).update(continues=before.chosen_id)
        turn.task = task
        turn.save(update_fields=["task"])
        return True


def settle_turns() -> int:
    """A chore of the tick, for what a worker left behind: answers without a task, conversations that nobody can go on with.

    Safe to run anywhere, any number of times. Returns how many rows it touched.
    """
    waiting = Turn.objects.filter(task__isnull=True, conversation__status=Conversation.Status.OPEN)
    ready = waiting.filter(job__status=JobStatus.SUCCEEDED).values_list("pk", flat=True)[:SWEEP]
    n_touched = sum(settle_turn(pk) for pk in list(ready))
    n_touched += sum(_end_for_good(pk) for pk in list(_stranded().values_list("pk", flat=True)[:SWEEP]))
    orphans = GenerationJob.objects.filter(kind=GenerationJob.Kind.LIVE, turns__isnull=True, campaigns__isnull=True)
    return n_touched + sum(forget_live(job) for job in orphans[:SWEEP])


def _stranded() -> QuerySet[Conversation]:
    """Open conversations of campaigns that are closed."""
    return Conversation.objects.filter(status=Conversation.Status.OPEN, campaign__stage=Campaign.Stage.CLOSED)


@transaction.atomic
def _end_for_good(pk: int) -> bool:
    rows = Conversation.objects.select_for_update(of=("self",), no_key=True, skip_locked=True)
    conversation = rows.select_related("annotator__user").filter(pk=pk, status=Conversation.Status.OPEN).first()
    if conversation is None:
        return False
    _end(conversation, note="its campaign was closed")
    return True
