"""The answers of a live turn: written by a worker, then given their task; and what a worker left behind.

The turn's job ends with one answer by each arm, whatever dies. Only then does the turn get its task, with the seat taken by the
person who wrote the prompt.
"""

import random
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from annotation.live import finish_conversation
from annotation.models import Assignment, Campaign, ComparisonTask, Conversation, TaskCandidate, Turn
from annotation.pairs import position_of, set_sha256
from annotation.turns import lease_seconds, retried
from core.jobs import JobStatus, from_now
from generation.live import forget_live
from generation.models import Candidate, GenerationJob

SWEEP = 200
_shuffle = random.SystemRandom().shuffle


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
    finish_conversation(conversation, note="its campaign was closed")
    return True
