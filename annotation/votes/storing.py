"""The second pass: the checked copy into the database, a chunk at a time, each with its progress in one transaction.

Nobody sees any of it before the end: the campaign is in stage building, the prompts belong to an import that has not ended.
What identifies a prompt, an answer or a task is a hash of its content, so a chunk finds what earlier ones have stored.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import orjson
from django.db import connection
from django.db.models import Max
from django.utils import timezone

from annotation.models import (
    Annotator,
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
from annotation.votes.chunks import Chunk, Task, checked_lines
from annotation.votes.outside import Models
from core.ahead import ahead
from core.bulk import Rows, among, keys_from, new_ids, taken
from core.ids import KEY_LENGTH, new_key, seed_from
from generation.groups import Groups
from generation.models import Candidate, GenerationJob, Prompt, PromptImport

SHARED_LETTERS = 3  # of the keys of a chunk's rows: 45 bits are left to tell them apart
KEPT_PEOPLE = 200_000  # ids of people held in memory; more of them are asked for again
NONE = "[]"
NOTHING: Mapping[str, Any] = {}
WORK = Assignment.Purpose.WORK.value
OPEN, COMPLETE = ComparisonTask.Status.OPEN.value, ComparisonTask.Status.COMPLETE.value
WRITTEN = (
    Annotator, Assignment, Candidate, ComparisonTask, Flag, Judgement, Prompt, RankedCandidate, Score, TaskCandidate,
)  # fmt: skip
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


class Store:
    """Stores chunks for one target. ``prepare`` reads; ``write`` only writes, within a transaction of the caller's."""

    def __init__(self, target: Target, models: Models, groups: Groups) -> None:
        self.target, self.models, self.groups = target, models, groups
        self.people: dict[str, int] = {}
        self.salt = target.job.key.encode()
        now = timezone.now()
        self.now = taken(now)
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

    # ---- reading ----

    def chunks(self, copy: Path, offset: int, most: Callable[[], int]) -> Iterator[tuple[Chunk, int]]:
        """As ``checked_lines``."""
        found = ((Chunk(lines, self.salt), end) for lines, end in checked_lines(copy, offset, most))
        # While PostgreSQL takes one, the next is read. SQLite works in this process and gives way after every row.
        return ahead(found) if connection.vendor == "postgresql" else found

    def prepare(self, chunk: Chunk) -> None:
        """Look up what is there already. Nobody else writes to these rows, so no lock is needed yet."""
        lines = chunk.lines
        contents = {line[0] for line in lines}
        chunk.prompts = dict(
            among(Prompt.objects.filter(set=self.target.prompts.set_id), "content_sha256", contents).values_list(
                "content_sha256", "pk"
            )
        )
        fresh = contents - chunk.prompts.keys()
        chunk.splits = self.groups.splits({line[1] for line in lines if line[0] in fresh})
        old = {key for keys, line in zip(chunk.keys, lines, strict=True) if line[0] in chunk.prompts for key in keys}
        if old:
            chunk.candidates = dict(among(Candidate.objects.all(), "key", old).values_list("key", "pk"))
            chunk.indexes = {
                (arm, prompt): last + 1
                for arm, prompt, last in Candidate.objects.filter(
                    prompt__in=chunk.prompts.values(), arm__job=self.target.job
                )
                .values_list("arm_id", "prompt_id")
                .annotate(last=Max("index"))
                .order_by()
            }
            self._find_tasks(chunk)
        if len(self.people) > KEPT_PEOPLE:
            self.people.clear()
        self._know_people({vote[0] for line in lines for vote in line[5]})

    def _find_tasks(self, chunk: Chunk) -> None:
        maybe: dict[int, set[str]] = defaultdict(set)
        for (campaign, task), keys in zip(chunk.tasks, chunk.keys, strict=True):
            if all(key in chunk.candidates for key in keys):
                maybe[campaign].add(task)
        for number, tasks in maybe.items():
            if number < len(self.target.campaigns):
                self._find_tasks_of(number, tasks, chunk)

    def _find_tasks_of(self, number: int, tasks: Iterable[str], chunk: Chunk) -> None:
        there = ComparisonTask.objects.filter(campaign=self.target.campaigns[number], candidates_sha256__in=tasks)
        found = {pk: (sha, n) for pk, sha, n in there.values_list("pk", "candidates_sha256", "n_taken")}
        slots: dict[int, dict[int, int]] = defaultdict(dict)
        for task, candidate, slot in TaskCandidate.objects.filter(task__in=found).values_list(
            "task_id", "candidate_id", "slot"
        ):
            slots[task][candidate] = slot
        chunk.known |= {(number, sha): Task(pk, slots[pk], n) for pk, (sha, n) in found.items()}

    def _know_people(self, names: Iterable[str]) -> None:
        unknown = [name for name in names if name not in self.people]
        for start in range(0, len(unknown), 5000):
            rows = Annotator.objects.filter(
                project=self.target.project_id, source=self.target.source, external_id__in=unknown[start : start + 5000]
            )
            self.people.update((str(name), pk) for name, pk in rows.values_list("external_id", "pk"))

    # ---- writing ----

    def write(self, chunk: Chunk) -> Counter[str]:
        """Insert what is new; how many of each kind that was. The caller's transaction holds the lock on writing."""
        self._make_people(chunk)
        self._write_prompts(chunk)
        self._write_candidates(chunk)
        if self.target.campaigns:
            self._write_tasks(chunk)
            self._write_votes(chunk)
        return chunk.counts

    def _make_people(self, chunk: Chunk) -> None:
        names = {vote[0] for line in chunk.lines for vote in line[5]} - self.people.keys()
        self._insert_people(names, self._kept_names(chunk, names))
        # Another import, from another source, may have taken a pseudonym in this moment.
        self._insert_people(names - self.people.keys(), frozenset())

    def _kept_names(self, chunk: Chunk, names: set[str]) -> set[str]:
        """Those that are pseudonyms already, as the full format says, and nobody's here. Any other name may be a person's own."""
        full = {vote[0] for line in chunk.lines if line[7] and "campaign" in line[7] for vote in line[5]} & names
        maybe = {name for name in full if len(name) <= 60}
        rows = Annotator.objects.filter(project=self.target.project_id, pseudonym__in=maybe)
        return maybe - set(rows.values_list("pseudonym", flat=True))

    def _insert_people(self, names: Set[str], kept: Set[str]) -> None:
        fresh = [
            Annotator(
                project_id=self.target.project_id, kind=Annotator.Kind.OUTSIDE, source=self.target.source, external_id=name,
                pseudonym=name if name in kept else f"outside-{new_key()}",
            )
            for name in sorted(names)
        ]  # fmt: skip
        # Another import from the same source may have made some of them in this moment.
        Annotator.objects.bulk_create(fresh, ignore_conflicts=True, batch_size=1000)
        self._know_people(names)

    def _write_prompts(self, chunk: Chunk) -> None:
        fresh: dict[str, Any] = {}
        for line in chunk.lines:
            if line[0] not in chunk.prompts:
                fresh.setdefault(line[0], line)
        ids = new_ids(Prompt, len(fresh))
        rows = []
        for number, pk, key, line in zip(
            count(self.target.prompts.n_added + 1), ids, _keys(len(fresh)), fresh.values(), strict=False
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
        self.prompt_rows.insert(rows)
        self.target.prompts.n_added += len(rows)
        chunk.counts["prompts"] += len(rows)

    def _write_candidates(self, chunk: Chunk) -> None:
        fresh: dict[str, tuple[Any, ...]] = {}
        arms, indexes, n_empty = self.models.arms, chunk.indexes, 0
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
        ids = new_ids(Candidate, len(fresh))
        chunk.candidates.update(zip(fresh, ids, strict=True))
        self.candidate_rows.insert((pk, *row) for pk, row in zip(ids, fresh.values(), strict=True))
        chunk.counts["answers"] += len(fresh)
        chunk.counts["empty"] += n_empty

    def _write_tasks(self, chunk: Chunk) -> None:
        n_more: Counter[tuple[int, str]] = Counter()
        fresh: dict[tuple[int, str], int] = {}
        for place, (task, line) in enumerate(zip(chunk.tasks, chunk.lines, strict=True)):
            n_seats = len(line[5]) if line[7] is None else sum(_purpose(vote[12]) == WORK for vote in line[5])
            # An answer alone that nobody judged asks nothing.
            if task not in chunk.known and (line[5] or len(line[4]) > 1):
                fresh.setdefault(task, place)
            n_more[task] += n_seats
        ids, keys = new_ids(ComparisonTask, len(fresh)), _keys(len(fresh))
        rows, slots = [], []
        for pk, key, (task, place) in zip(ids, keys, fresh.items(), strict=True):
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
        self.task_rows.insert(rows)
        self.slot_rows.insert(slots)
        old = [(n, n, n, chunk.known[task].pk) for task, n in n_more.items() if n and task not in fresh]
        if old:
            table = connection.ops.quote_name(ComparisonTask._meta.db_table)
            with connection.cursor() as cursor:
                cursor.executemany(
                    f"UPDATE {table} SET seats = seats + %s, n_taken = n_taken + %s, n_submitted = n_submitted + %s"
                    " WHERE id = %s",
                    old,
                )
        chunk.counts["tasks"] += len(rows)

    def _write_votes(self, chunk: Chunk) -> None:
        n = sum(len(line[5]) for line in chunk.lines)
        turn_ids, judgement_ids, keys = new_ids(Assignment, n), new_ids(Judgement, n), _keys(2 * n)
        turns, judgements, ranks, scores = [], [], [], []
        flags: list[tuple[Any, ...]] = []
        counts, at, n_ordered, people = chunk.counts, 0, 0, self.people
        verdicts: Counter[str] = Counter()
        times = _Times(self.now)
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
        self.turn_rows.insert(turns)
        self.judgement_rows.insert(judgements)
        self.rank_rows.insert(ranks)
        if scores:
            self.score_rows.insert(scores)
        if flags:
            self.flag_rows.insert(flags)
        counts.update(verdicts)
        counts["with_order"] += n_ordered
        counts["votes"] += n


class _Times(dict[str | None, Any]):
    """Times as the database takes them, of times as the checked copy has them; None is the import's own."""

    def __init__(self, now: Any) -> None:
        super().__init__({None: now})

    def __missing__(self, time: str) -> Any:
        self[time] = found = taken(datetime.fromisoformat(time))
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
