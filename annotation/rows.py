"""What a person said, to rows and back: slots on this side, candidates on that. The write path is ``annotation.judge``."""

from collections.abc import Mapping

from annotation import prepared
from annotation.models import Assignment, Flag, Judgement
from annotation.protocol import Said

Verdict = Judgement.Verdict


def slots_of(task_id: int) -> dict[int, int]:
    """Slot -> candidate id."""
    return dict(prepared.slots.all(task=task_id))


def insert_parts(judgement: Judgement, said: Said, slots: Mapping[int, int]) -> None:
    """The ranks and scores of a judgement. Where nothing is better every answer has rank 1."""
    ranks = said.ranks if said.verdict == Verdict.RANKED else (1,) * len(slots)
    prepared.new_ranks.many(
        {"judgement": judgement.pk, "candidate": slots[slot], "rank": rank} for slot, rank in enumerate(ranks)
    )
    prepared.new_scores.many(
        {
            "judgement": judgement.pk,
            "candidate": slots[slot] if slot is not None else None,
            "criterion": criterion,
            "value": value,
        }
        for criterion, slot, value in said.scores
    )


def said_of(judgement: Judgement) -> Said:
    """A judgement as its author said it, the open flags of that person on the task with it."""
    turn: Assignment = judgement.assignment
    slot_of = {candidate: slot for slot, candidate in slots_of(turn.task_id).items()}
    ranks = {slot_of[candidate]: rank for candidate, rank in judgement.ranks.values_list("candidate_id", "rank")}
    scores = [
        (criterion, slot_of[candidate] if candidate is not None else None, value)
        for criterion, candidate, value in judgement.scores.order_by("id").values_list(
            "criterion", "candidate_id", "value"
        )
    ]
    flags = Flag.objects.filter(task=turn.task_id, annotator=turn.annotator_id, status=Flag.Status.OPEN).order_by("id")
    return Said(
        verdict=judgement.verdict,
        ranks=tuple(ranks[slot] for slot in sorted(ranks)) if judgement.verdict == Verdict.RANKED else (),
        strength=judgement.strength,
        scores=tuple(scores),
        reasons=tuple(judgement.reasons),
        comment=judgement.comment,
        write_in=judgement.write_in,
        edited_from=slot_of.get(judgement.edited_from_id) if judgement.edited_from_id is not None else None,
        flags=tuple(
            (flag.kind, slot_of.get(flag.candidate_id) if flag.candidate_id is not None else None) for flag in flags
        ),
        flag_reason=next((flag.reason for flag in flags if flag.reason), ""),
        active_seconds=judgement.seconds_active,
    )
