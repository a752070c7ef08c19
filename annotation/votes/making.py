"""The rows that a chunk becomes, of every table: made of its lines, the ids that were kept for it and what is known. No database,
so that another thread makes the next chunk's while the database takes this one's.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

import orjson
from django.db import connection
from django.utils import timezone

from annotation.models import (
    Assignment,
    Campaign,
    ComparisonTask,
    Flag,
    Judgement,
    RankedCandidate,
    Score,
    TaskCandidate,
)
from annotation.pairs import position_of
from annotation.votes.chunks import Chunk, Task, is_asked
from core.bulk import Rows, keys_from
from core.ids import KEY_LENGTH, new_key, seed_from
from generation.models import Candidate, GenerationJob, Prompt, PromptImport

SHARED_LETTERS = 3  # of the keys of a chunk's rows: 45 bits are left to tell them apart
NONE = "[]"
NOTHING: Mapping[str, Any] = {}
WORK = Assignment.Purpose.WORK.value
OPEN, COMPLETE = ComparisonTask.Status.OPEN.value, ComparisonTask.Status.COMPLETE.value
PLAIN = (Judgement.Source.IMPORT.value, 1, 1, False, False)


@dataclass(frozen=True)
class Target:
    """Where the rows go."""

    project_id: int
    prompts: PromptImport
    job: GenerationJob
    campaigns: Sequence[Campaign]  # in the file's order; none where nothing was asked
    source: str
    open_for: int  # seats of each task beyond the votes that came with it


class Maker:
    """Makes the rows of one chunk after the other. ``arms``: of ``outside.Models``; ``people``: ids by name, of the chunk's at least."""

    def __init__(self, target: Target, arms: Mapping[str, int], people: Mapping[str, int]) -> None:
        self.target, self.arms, self.people = target, arms, people
        now = timezone.now()
        self.as_taken = connection.ops.adapt_datetimefield_value
        self.now = self.as_taken(now)
        self.prompt_rows = Rows(
            Prompt, "id", "key", "number", "messages", "following_turns", "content_sha256", "group_sha256", "split", "tags",
            "note", "reference", "metadata", "random",
            set_id=target.prompts.set_id, brought_by_id=target.prompts.pk, created_at=now,
        )  # fmt: skip
        self.candidate_rows = Rows(
            Candidate, "id", "key", "arm_id", "prompt_id", "index", "text", "text_sha256", "finish_reason", "seed",
            "n_prompt_tokens", "n_completion_tokens", "latency_seconds", created_at=now,
        )  # fmt: skip
        self.task_rows = Rows(
            ComparisonTask, "id", "key", "campaign_id", "prompt_id", "candidates_sha256", "seats", "n_taken", "n_submitted",
            "position", "status", "source_id", "chosen_why", "probability", created_at=now,
        )  # fmt: skip
        self.slot_rows = Rows(TaskCandidate, "task_id", "candidate_id", "slot")
        self.turn_rows = Rows(
            Assignment, "id", "key", "task_id", "annotator_id", "purpose", "seat", "display_order", "current_id", "opened_at",
            "finished_at", status=Assignment.Status.SUBMITTED, created_at=now,
        )  # fmt: skip
        self.judgement_rows = Rows(
            Judgement, "id", "key", "assignment_id", "source", "verdict", "strength", "reasons", "comment", "write_in",
            "edited_from_id", "seconds_active", "source_id", "guidelines_version", "protocol_version", "is_unblinded",
            "is_probation", "created_at",
        )  # fmt: skip
        self.rank_rows = Rows(RankedCandidate, "judgement_id", "candidate_id", "rank")
        self.score_rows = Rows(Score, "judgement_id", "candidate_id", "criterion", "value")
        self.flag_rows = Rows(
            Flag, "key", "task_id", "candidate_id", "annotator_id", "kind", "reason", "status", created_at=now
        )  # fmt: skip

    def make(self, chunk: Chunk) -> None:
        """Fill ``chunk.rows``, ``chunk.seats`` and ``chunk.counts``, and let go of its lines."""
        self._make_prompts(chunk)
        self._make_candidates(chunk)
        if self.target.campaigns:
            self._make_tasks(chunk)
            self._make_votes(chunk)
        chunk.lines = ()

    def _make_prompts(self, chunk: Chunk) -> None:
        fresh: dict[str, Any] = {}
        for line in chunk.lines:
            if line[0] not in chunk.prompts:
                fresh.setdefault(line[0], line)
        rows = []
        for number, pk, key, line in zip(
            count(chunk.first_number), chunk.ids[Prompt], _keys(len(fresh)), fresh.values(), strict=False
        ):
            content, group, messages, extras = line[:4]
            split, random = chunk.splits[group], seed_from("random order", content)
            if extras is None:
                rows.append((pk, key, number, _json(messages), NONE, content, group, split, NONE, "", "", "{}", random))
            else:
                tags, note, reference, metadata, following = extras
                rows.append(
                    (
                        pk, key, number, _json(messages), _json(following), content, group, split, _json(tags), note, reference,
                        _json(metadata), random,
                    )
                )  # fmt: skip
            chunk.prompts[content] = pk
        chunk.add(self.prompt_rows, rows)
        chunk.counts["prompts"] += len(rows)

    def _make_candidates(self, chunk: Chunk) -> None:
        fresh: dict[str, tuple[Any, ...]] = {}
        arms, indexes, n_empty = self.arms, chunk.indexes, 0
        for keys, line in zip(chunk.keys, chunk.lines, strict=True):
            prompt = chunk.prompts[line[0]]
            for key, (_, model, text, text_sha256, finish, more) in zip(keys, line[4], strict=True):
                if key in chunk.candidates or key in fresh:
                    continue
                arm = arms[model]
                index = indexes.get((arm, prompt), 0)
                indexes[arm, prompt] = index + 1
                told = more or (0, None, None, None)
                fresh[key] = (key, arm, prompt, index, text, text_sha256, finish, *told)
                n_empty += not text.strip()
        ids = chunk.ids[Candidate]
        chunk.candidates.update(zip(fresh, ids, strict=True))
        chunk.add(self.candidate_rows, [(pk, *row) for pk, row in zip(ids, fresh.values(), strict=True)])
        chunk.counts["answers"] += len(fresh)
        chunk.counts["empty"] += n_empty

    def _make_tasks(self, chunk: Chunk) -> None:
        n_more: Counter[tuple[int, str]] = Counter()
        fresh: dict[tuple[int, str], int] = {}
        for place, (task, line) in enumerate(zip(chunk.tasks, chunk.lines, strict=True)):
            n_seats = len(line[5]) if line[7] is None else sum(_purpose(vote[12]) == WORK for vote in line[5])
            if task not in chunk.known and is_asked(line):
                fresh.setdefault(task, place)
            n_more[task] += n_seats
        rows, slots = [], []
        for pk, key, (task, place) in zip(chunk.ids[ComparisonTask], _keys(len(fresh)), fresh.items(), strict=True):
            line, n, (number, sha) = chunk.lines[place], n_more[task], task
            campaign = self.target.campaigns[number]
            # Nobody is asked about an answer alone.
            spare = self.target.open_for if len(line[4]) > 1 else 0
            status, more = OPEN if spare else COMPLETE, line[7] or NOTHING
            rows.append(
                (
                    pk, key, campaign.pk, chunk.prompts[line[0]], sha, n + spare, n, n, position_of(campaign.key, sha), status,
                    line[6], more.get("why", "imported"), more.get("probability", 1.0),
                )
            )  # fmt: skip
            of_task = [chunk.candidates[key] for key in sorted(chunk.keys[place])]
            slots += [(pk, candidate, slot) for slot, candidate in enumerate(of_task)]
            chunk.known[task] = Task(pk, {candidate: slot for slot, candidate in enumerate(of_task)})
        chunk.add(self.task_rows, rows)
        chunk.add(self.slot_rows, slots)
        chunk.seats = [(n, n, n, chunk.known[task].pk) for task, n in n_more.items() if n and task not in fresh]
        chunk.counts["tasks"] += len(rows)

    def _make_votes(self, chunk: Chunk) -> None:
        n = sum(len(line[5]) for line in chunk.lines)
        turn_ids, judgement_ids, keys = chunk.ids[Assignment], chunk.ids[Judgement], _keys(2 * n)
        turns, judgements, ranks, scores = [], [], [], []
        flags: list[tuple[Any, ...]] = []
        counts, at, n_ordered, people = chunk.counts, 0, 0, self.people
        verdicts: Counter[str] = Counter()
        times = _Times(self.now, self.as_taken)
        for line, ident, own in zip(chunk.lines, chunk.tasks, chunk.keys, strict=True):
            if not line[5]:
                continue
            task = chunk.known[ident]
            candidates = [chunk.candidates[key] for key in own]
            slots = [task.slots[candidate] for candidate in candidates]
            for vote in line[5]:
                (
                    name,
                    verdict,
                    given,
                    order,
                    strength,
                    scored,
                    reasons,
                    comment,
                    write_in,
                    seconds,
                    time,
                    own_id,
                    more,
                ) = vote
                turn, judgement, when = turn_ids[at], judgement_ids[at], times[time]
                purpose, told, opened, edited = WORK, PLAIN, when if order else None, None
                if more is not None:
                    purpose, told = _purpose(more), _told(more)
                    opened = times[more["opened"]] if "opened" in more else opened
                    edited = candidates[more["edited_from"]] if "edited_from" in more else None
                    flags += _flagged(more, task.pk, candidates, people[name])
                # An order that is not known is that of the slots, of a turn that was never opened: see ``Assignment``.
                shown = str([slots[number] for number in order] if order else list(range(len(slots))))
                seat = task.n_seats if purpose == WORK else None
                turns.append((turn, keys[2 * at], task.pk, people[name], purpose, seat, shown, judgement, opened, when))
                source, guidelines, protocol, is_unblinded, is_probation = told
                judgements.append(
                    (
                        judgement, keys[2 * at + 1], turn, source, verdict, strength, _json(reasons) if reasons else NONE, comment,
                        write_in, edited, seconds, own_id, guidelines, protocol, is_unblinded, is_probation, when,
                    )
                )  # fmt: skip
                for candidate, rank in zip(candidates, given, strict=True):
                    ranks.append((judgement, candidate, rank))
                for criterion, number, value in scored:
                    if number is None:
                        scores.append((judgement, None, criterion, value if slots[0] == 0 else -value))
                    else:
                        scores.append((judgement, candidates[number], criterion, value))
                task.n_seats += purpose == WORK
                verdicts[verdict] += 1
                n_ordered += bool(order)
                at += 1
        chunk.add(self.turn_rows, turns)
        chunk.add(self.judgement_rows, judgements)
        chunk.add(self.rank_rows, ranks)
        chunk.add(self.score_rows, scores)
        chunk.add(self.flag_rows, flags)
        counts.update(verdicts)
        counts["with_order"] += n_ordered
        counts["votes"] += n


class _Times(dict[str | None, Any]):
    """Times as the database takes them, of times as the checked copy has them; None is the import's own."""

    def __init__(self, now: Any, as_taken: Callable[[datetime], Any]) -> None:
        super().__init__({None: now})
        self.as_taken = as_taken

    def __missing__(self, time: str) -> Any:
        self[time] = found = self.as_taken(datetime.fromisoformat(time))
        return found


def _purpose(more: Mapping[str, Any] | None) -> str:
    return Assignment.Purpose.REVIEW.value if more and more.get("by") == "adjudicator" else WORK


def _told(more: Mapping[str, Any]) -> tuple[Any, ...]:
    """(source, guidelines version, protocol version, unblinded, probation)"""
    return (
        more.get("by", Judgement.Source.IMPORT.value), more.get("guidelines_version", 1), more.get("protocol_version", 1),
        more.get("unblinded", False), more.get("probation", False),
    )  # fmt: skip


def _flagged(more: Mapping[str, Any], task: int, candidates: Sequence[int], person: int) -> Iterator[tuple[Any, ...]]:
    for answer, kind, reason, status in more.get("flags", ()):
        yield new_key(), task, None if answer is None else candidates[answer], person, kind, reason, status


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _keys(n: int) -> list[str]:
    """Random keys that begin alike: side by side in their index, a chunk of them changes a few of its pages, not one each."""
    beginning, rest = os.urandom(SHARED_LETTERS), os.urandom(KEY_LENGTH * n)
    return keys_from(
        b"".join(
            [beginning + rest[at : at + KEY_LENGTH - SHARED_LETTERS] for at in range(0, KEY_LENGTH * n, KEY_LENGTH)]
        )
    )
