"""What was said in recorded judgements, read some prompts at a time: once, for the rows and for the full format alike.

A chunk holds tuples as the database gave them; what is made of them needs no database.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotation.models import (
    Campaign,
    ComparisonTask,
    Flag,
    Judgement,
    RankedCandidate,
    Score,
    TaskCandidate,
)
from core.bulk import among
from generation.models import Candidate, JobArm, Prompt
from training.formats.canonical import messages_in, text_of
from training.selecting import Member

CHUNK = 2000  # judgements, and those of the last prompt

JUDGEMENT = ("pk", "key", "verdict", "strength", "source", "write_in", "assignment__task_id")
MORE_OF_JUDGEMENT = (
    "assignment__annotator_id", "assignment__annotator__pseudonym", text_of("assignment__display_order"),
    text_of("assignment__opened_at"), text_of("created_at"), "source_id", text_of("reasons"), "comment", "edited_from_id",
    "seconds_active", "guidelines_version", "protocol_version", "is_unblinded", "is_probation",
)  # fmt: skip
TASK = ("pk", "prompt_id", "campaign_id")
MORE_OF_TASK = ("key", "source_id", "chosen_why", "probability")
PROMPT = ("pk", text_of("messages"))
MORE_OF_PROMPT = (
    text_of("following_turns"), "group_sha256", text_of("tags"), "note", "reference", text_of("metadata"),
)  # fmt: skip
CANDIDATE = ("pk", "key", "text", "arm_id")
MORE_OF_CANDIDATE = (
    "text_sha256", "index", "seed", "finish_reason", "n_prompt_tokens", "n_completion_tokens", "latency_seconds",
)  # fmt: skip

Row = Sequence[Any]


@dataclass(slots=True)
class Chunk:
    """Some members with all that was said in them. Rows are the columns above, without the key that they stand under.

    members     judgement -> member; those of one prompt are together
    judgements  judgement -> row                      ranks   judgement -> (candidate, rank)
    tasks       task -> row                           slots   task -> candidates in the order of their slots
    prompts     prompt -> messages, then the row      scores  judgement -> (candidate or None, criterion, value)
    candidates  candidate -> row                      flags   (task, annotator) -> (candidate or None, kind, reason, status)
    """

    members: dict[int, Member]
    judgements: dict[int, Row] = field(default_factory=dict)
    ranks: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    tasks: dict[int, Row] = field(default_factory=dict)
    prompts: dict[int, Row] = field(default_factory=dict)
    candidates: dict[int, Row] = field(default_factory=dict)
    slots: dict[int, list[int]] = field(default_factory=dict)
    scores: dict[int, list[Row]] = field(default_factory=dict)
    flags: dict[tuple[int, int], list[Row]] = field(default_factory=dict)


class Reader:
    """Reads chunks. ``arms`` and ``campaigns`` are what they share, and grow with what was met.

    in_full    all columns, for the full format; else those that rows are made of
    criteria   whose scores decide
    arms       arm -> (model version, its key, sampling, engine version)
    campaigns  campaign -> its key
    """

    def __init__(self, *, criteria: Iterable[str] = (), in_full: bool = False) -> None:
        self.in_full, self.criteria = in_full, list(criteria)
        self.arms: dict[int, Row] = {}
        self.campaigns: dict[int, str] = {}

    def chunks(self, members: Iterable[Member]) -> Iterator[Chunk]:
        """members  ordered by the hash of their prompt"""
        for some in _whole_prompts(members):
            yield self.read({member.judgement_id: member for member in some})

    def read(self, members: dict[int, Member]) -> Chunk:
        chunk, full, ids = Chunk(members), self.in_full, list(members)
        rows = among(Judgement.objects.all(), "id", ids).values_list(*JUDGEMENT, *(MORE_OF_JUDGEMENT if full else ()))
        chunk.judgements = {pk: row for pk, *row in rows}
        ranks: dict[int, list[tuple[int, int]]] = {pk: [] for pk in ids}
        given = among(RankedCandidate.objects.order_by(), "judgement_id", ids)
        for judgement, candidate, rank in given.values_list("judgement_id", "candidate_id", "rank"):
            ranks[judgement].append((candidate, rank))
        chunk.ranks = ranks
        self._read_tasks(chunk)
        self._read_candidates(chunk)
        if full or self.criteria:
            scores = among(Score.objects.all(), "judgement_id", ids)
            if not full:
                scores = scores.filter(criterion__in=self.criteria)
            for judgement, *score in scores.values_list("judgement_id", "candidate_id", "criterion", "value"):
                chunk.scores.setdefault(judgement, []).append(tuple(score))
        if full:
            self._read_flags(chunk)
        return chunk

    def _read_tasks(self, chunk: Chunk) -> None:
        full, ids = self.in_full, {row[5] for row in chunk.judgements.values()}
        rows = among(ComparisonTask.objects.all(), "id", ids).values_list(*TASK, *(MORE_OF_TASK if full else ()))
        chunk.tasks = {pk: row for pk, *row in rows}
        prompts = among(Prompt.objects.all(), "id", {row[0] for row in chunk.tasks.values()})
        for pk, messages, *row in prompts.values_list(*PROMPT, *(MORE_OF_PROMPT if full else ())):
            chunk.prompts[pk] = (messages_in(messages), *row)
        if full or self.criteria:
            slots = among(TaskCandidate.objects.order_by("task_id", "slot"), "task_id", ids)
            for task, candidate in slots.values_list("task_id", "candidate_id"):
                chunk.slots.setdefault(task, []).append(candidate)
        unknown = {row[1] for row in chunk.tasks.values()} - self.campaigns.keys()
        if unknown:
            self.campaigns.update(Campaign.objects.filter(pk__in=unknown).values_list("pk", "key"))

    def _read_candidates(self, chunk: Chunk) -> None:
        ids = {candidate for of_one in chunk.ranks.values() for candidate, _ in of_one}
        ids.update(*chunk.slots.values())
        rows = among(Candidate.objects.all(), "id", ids)
        columns = (*CANDIDATE, *(MORE_OF_CANDIDATE if self.in_full else ()))
        chunk.candidates = {pk: row for pk, *row in rows.values_list(*columns)}
        unknown = {row[2] for row in chunk.candidates.values()} - self.arms.keys()
        if unknown:
            arms = JobArm.objects.filter(pk__in=unknown).values_list(
                "pk", "model_version_id", "model_version__key", "sampling", "engine_version"
            )
            self.arms.update({pk: row for pk, *row in arms})

    def _read_flags(self, chunk: Chunk) -> None:
        rows = among(Flag.objects.all(), "task_id", chunk.tasks).exclude(status=Flag.Status.WITHDRAWN)
        for task, annotator, *flag in rows.values_list(
            "task_id", "annotator_id", "candidate_id", "kind", "reason", "status"
        ):
            chunk.flags.setdefault((task, annotator), []).append(tuple(flag))


def prompts_of(judgements: Iterable[int]) -> dict[int, list[dict[str, str]]]:
    """The messages that each judgement's answers answer."""
    rows = among(Judgement.objects.all(), "id", judgements)
    return {pk: messages_in(text) for pk, text in rows.values_list("pk", text_of("assignment__task__prompt__messages"))}


def _whole_prompts(members: Iterable[Member]) -> Iterator[list[Member]]:
    some: list[Member] = []
    for member in members:
        if len(some) >= CHUNK and member.content_sha256 != some[-1].content_sha256:
            yield some
            some = []
        some.append(member)
    if some:
        yield some
