"""Live conversations: a person writes a prompt, two models answer, the person judges, and the chosen answer goes on.

A turn is a prompt with a generation job of its own: ``annotation.live_turns`` has its answers, ``annotation.live_standing`` says
where it stands. Nobody else is ever offered a turn's task, and nothing that a person writes here is ever an answer to be judged.
Order of locks: the conversation, then as in ``annotation.turns``.
"""

import logging

from celery import current_app
from django.db import transaction
from django.db.models.functions import Now

from annotation.assign import release_assignment
from annotation.live_standing import (
    Standing,
    assignment_of_turn,
    check_may_write,
    continuing,
    is_full,
    is_second_try,
    open_conversation,
    pattern_of,
    standing_of,
    turns_of,
)
from annotation.models import Annotator, Assignment, Campaign, Conversation, Turn
from annotation.turns import retried
from core.errors import Conflict, DomainError, require
from core.ids import group_sha256, seed_from
from core.transitions import move
from generation.live import ask_again, forget_live, live_job, store_live_prompt
from generation.models import Candidate, GenerationJob, Prompt

logger = logging.getLogger(__name__)

MAX_PROMPT = 20_000  # characters of one message; how many tokens fit is the model's affair
ANSWER_TASK = "annotation.tasks.answer_turn"


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
            finish_conversation(conversation, note="ended by its author")
        return conversation


def finish_conversation(conversation: Conversation, *, note: str) -> None:
    """End a conversation that the caller has locked."""
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


# ---- steps -----------------------------------------------------------------------------------------------------------


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


def _send(turn: Turn) -> None:
    """Hint to a worker; as with every job the row decides, and the tick sends again what nobody has heard."""
    GenerationJob.objects.filter(pk=turn.job_id).update(enqueued_at=Now())
    try:
        current_app.send_task(ANSWER_TASK, args=[turn.pk], queue=GenerationJob.job_queue, retry=False)
    except Exception as problem:
        logger.warning("Could not send %s %s (%s); the tick will.", ANSWER_TASK, turn.pk, problem)
