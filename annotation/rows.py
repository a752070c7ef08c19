"""What a person said, to rows and back: slots on this side, candidates on that. The write path is ``annotation.judge``."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from annotation import prepared
from annotation.models import Assignment, Flag, Judgement, RankedCandidate, Score, TaskCandidate
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
    return saids_of([judgement])[judgement.pk]


def saids_of(judgements: Sequence[Judgement]) -> dict[int, Said]:
    """The same for many, in four queries. Their assignments should have been selected with them."""
    turns: dict[int, Assignment] = {judgement.pk: judgement.assignment for judgement in judgements}
    tasks, pks = {turn.task_id for turn in turns.values()}, list(turns)
    slot_of: dict[tuple[int, int], int] = {}
    for task, slot, candidate in TaskCandidate.objects.filter(task__in=tasks).values_list(
        "task_id", "slot", "candidate_id"
    ):
        slot_of[task, candidate] = slot
    ranks: dict[int, dict[int, int]] = defaultdict(dict)
    for pk, candidate, rank in RankedCandidate.objects.filter(judgement__in=pks).values_list(
        "judgement_id", "candidate_id", "rank"
    ):
        ranks[pk][slot_of[turns[pk].task_id, candidate]] = rank
    scores: dict[int, list[tuple[str, int | None, int]]] = defaultdict(list)
    for pk, criterion, answer, value in (
        Score.objects.filter(judgement__in=pks)
        .order_by("id")
        .values_list("judgement_id", "criterion", "candidate_id", "value")
    ):
        scores[pk].append((criterion, None if answer is None else slot_of[turns[pk].task_id, answer], value))
    flags: dict[tuple[int, int], list[Flag]] = defaultdict(list)
    people = {turn.annotator_id for turn in turns.values()}
    for flag in Flag.objects.filter(task__in=tasks, annotator__in=people, status=Flag.Status.OPEN).order_by("id"):
        flags[flag.task_id, flag.annotator_id].append(flag)
    found = {}
    for judgement in judgements:
        turn = turns[judgement.pk]
        mine = flags[turn.task_id, turn.annotator_id]
        by_slot = ranks[judgement.pk]
        edited = judgement.edited_from_id
        found[judgement.pk] = Said(
            verdict=judgement.verdict,
            ranks=tuple(by_slot[slot] for slot in sorted(by_slot)) if judgement.verdict == Verdict.RANKED else (),
            strength=judgement.strength,
            scores=tuple(scores[judgement.pk]),
            reasons=tuple(judgement.reasons),
            comment=judgement.comment,
            write_in=judgement.write_in,
            edited_from=None if edited is None else slot_of.get((turn.task_id, edited)),
            flags=tuple(
                (flag.kind, None if flag.candidate_id is None else slot_of.get((turn.task_id, flag.candidate_id)))
                for flag in mine
            ),
            flag_reason=next((flag.reason for flag in mine if flag.reason), ""),
            active_seconds=judgement.seconds_active,
        )
    return found
