"""What was said in recorded judgements, read some prompts at a time: once, for the rows and for the full format alike.

A chunk holds tuples as the database gave them; what is made of them needs no database.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import TextField
from django.db.models.functions import Cast

from annotation.models import (
    Campaign,
    ComparisonTask,
    Flag,
    Judgement,
    RankedCandidate,
    Score,
    TaskCandidate,
)
from core.answering import Answer, Making, Step
from core.asking import Answers, answered, step
from core.bulk import among
from generation.models import Candidate, JobArm, Prompt
from training.formats.ballots import Messages, Split
from training.formats.canonical import messages_in
from training.formats.records import Names, Row
from training.selecting import Member

CHUNK = 1000  # judgements, and those of the last prompt


def text_of(column: str) -> Cast:
    """A column as the database writes it, JSON for ``messages_in`` and ``value_in``."""
    return Cast(column, TextField())


# What rows are made of, and what the full format has besides.
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
RANK = ("judgement_id", "candidate_id", "rank")
SLOT = ("task_id", "candidate_id")
SCORE = ("judgement_id", "candidate_id", "criterion", "value")
FLAG = ("task_id", "annotator_id", "candidate_id", "kind", "reason", "status")
FOR_ROWS = {"judgements": JUDGEMENT, "tasks": TASK, "prompts": PROMPT, "candidates": CANDIDATE}
ARM = ("pk", "model_version_id", text_of("sampling"), "engine_version")


@dataclass(slots=True)
class Chunk:
    """Some members with what was said in them. Rows are the columns above, without the key that they stand under.

    members     judgement -> (split, hash of its prompt); those of one prompt are together
    judgements  judgement -> row                      ranks   judgement -> (candidate, rank)
    tasks       task -> row                           slots   task -> candidates in the order of their slots
    prompts     prompt -> messages                    scores  judgement -> (candidate or None, criterion, value)
    candidates  candidate -> row                      lines   of the full format
    """

    members: Mapping[int, tuple[Split, str]]
    judgements: dict[int, Row]
    ranks: dict[int, list[tuple[int, int]]]
    tasks: dict[int, Row]
    prompts: dict[int, Messages]
    candidates: dict[int, Row]
    slots: dict[int, list[int]]
    scores: dict[int, list[Row]]
    lines: bytes


class Reader:
    """Reads chunks. ``arms`` and ``campaigns`` are what they share, and grow with what was met.

    names      of ``training.records``, where the lines of the full format are wanted too
    criteria   whose scores decide
    arms       arm -> key of its model version
    campaigns  campaign -> its key
    """

    def __init__(self, *, criteria: Iterable[str] = (), names: Names | None = None) -> None:
        self.names, self.criteria = names, list(criteria)
        self.arms: dict[int, str] = {}
        self.campaigns: dict[int, str] = {}

    def chunks(self, members: Iterable[Member], answers: Callable[..., Answers] = answered) -> Iterator[Chunk]:
        """members  ordered by the hash of their prompt
        answers  of ``core.asking.answering``, where a process of its own is to read ahead
        """
        handfuls = (
            {member.judgement_id: (member.split, member.content_sha256) for member in some}
            for some in _whole_prompts(members)
        )
        if self.names is None:
            for some, found in answers(self._steps(), handfuls):
                yield self._chunk(some, found)
            return
        left = {name: len(columns) - 1 for name, columns in FOR_ROWS.items()}
        whole = ["ranks", *(("slots", "scores") if self.criteria else ())]
        making = Making("training.formats.records", "lines_maker", (tuple(self.names), left | dict.fromkeys(whole, 0)))
        for some, (found, lines) in answers(self._steps(), handfuls, making):
            yield self._chunk(some, found, lines)

    def _steps(self) -> list[Step]:
        full = self.names is not None

        def more(columns: tuple[Any, ...]) -> tuple[Any, ...]:
            return columns if full else ()

        candidates = [("ranks", 0)]
        steps = [
            step("judgements", Judgement.objects.all(), "id", *JUDGEMENT, *more(MORE_OF_JUDGEMENT)),
            step("ranks", RankedCandidate.objects.order_by(), "judgement_id", *RANK, is_many=True),
            step("tasks", ComparisonTask.objects.all(), "id", *TASK, *more(MORE_OF_TASK), of=[("judgements", 5)]),
            step("prompts", Prompt.objects.all(), "id", *PROMPT, *more(MORE_OF_PROMPT), of=[("tasks", 0)]),
        ]
        if full or self.criteria:
            slots = TaskCandidate.objects.order_by("task_id", "slot")
            steps.append(step("slots", slots, "task_id", *SLOT, of=[("tasks", -1)], is_many=True))
            candidates.append(("slots", 0))
            scores = Score.objects.all() if full else Score.objects.filter(criterion__in=self.criteria)
            steps.append(step("scores", scores, "judgement_id", *SCORE, is_many=True))
        of_answers = (*CANDIDATE, *more(MORE_OF_CANDIDATE))
        steps.append(step("candidates", Candidate.objects.all(), "id", *of_answers, of=candidates))
        if full:
            flags = Flag.objects.exclude(status=Flag.Status.WITHDRAWN)
            steps.append(step("flags", flags, "task_id", *FLAG, of=[("tasks", -1)], n_keys=2, is_many=True))
            steps.append(step("arms", JobArm.objects.all(), "id", *ARM, of=[("candidates", 2)]))
        return steps

    def _chunk(
        self, members: Mapping[int, tuple[Split, str]], found: Mapping[str, Answer], lines: bytes = b""
    ) -> Chunk:
        chunk = Chunk(
            members, found["judgements"], found["ranks"], found["tasks"],
            {pk: messages_in(row[0]) for pk, row in found["prompts"].items()}, found["candidates"],
            {task: [slot[0] for slot in slots] for task, slots in found.get("slots", {}).items()},
            found.get("scores", {}), lines,
        )  # fmt: skip
        unknown = {row[1] for row in chunk.tasks.values()} - self.campaigns.keys()
        if unknown:
            self.campaigns.update(Campaign.objects.filter(pk__in=unknown).values_list("pk", "key"))
        unknown = {row[2] for row in chunk.candidates.values()} - self.arms.keys()
        if unknown:
            self.arms.update(JobArm.objects.filter(pk__in=unknown).values_list("pk", "model_version__key"))
        return chunk


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
