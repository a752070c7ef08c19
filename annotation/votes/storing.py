"""The second pass: the checked copy into the database, a chunk at a time, each with its progress in one transaction.

Nobody sees any of it before the end: the campaign is in stage building, the prompts belong to an import that has not ended.
What identifies a prompt, an answer or a task is a hash of its content, so a chunk finds what earlier ones have stored.
"""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
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
    Judgement,
    RankedCandidate,
    Score,
    TaskCandidate,
)
from annotation.pairs import position_of, set_sha256
from core.bulk import Rows, keys_from, new_ids
from core.ids import KEY_LENGTH, new_key, seed_from
from generation.groups import Groups
from generation.models import Candidate, GenerationJob, JobArm, ModelVersion, Prompt, PromptImport

CHUNK_LINES = 1000
CHUNK_BYTES = 8 << 20
KEPT_PEOPLE = 200_000  # ids of people held in memory; more of them are asked for again
NONE = "[]"


@dataclass(frozen=True)
class Target:
    """Where the rows go."""

    project_id: int
    prompts: PromptImport
    job: GenerationJob
    campaign: Campaign
    source: str
    open_for: int  # seats of each task beyond the votes that came with it


@dataclass(slots=True)
class _Task:
    pk: int
    slots: dict[int, int]  # candidate -> slot
    n_votes: int = 0  # before this chunk


def checked_lines(path: Path, offset: int) -> Iterator[tuple[list[Any], int]]:
    """Chunks of the checked copy from a byte on, each with the byte after it."""
    with path.open("rb") as file:
        file.seek(offset)
        chunk: list[Any] = []
        n_bytes = 0
        for line in file:
            chunk.append(orjson.loads(line))
            n_bytes += len(line)
            if len(chunk) >= CHUNK_LINES or n_bytes >= CHUNK_BYTES:
                offset += n_bytes
                yield chunk, offset
                chunk, n_bytes = [], 0
        if chunk:
            yield chunk, offset + n_bytes


class Store:
    """Stores chunks for one target. ``prepare`` reads; ``write`` only writes, within a transaction of the caller's."""

    def __init__(self, target: Target, models: "Models", groups: Groups) -> None:
        self.target, self.models, self.groups = target, models, groups
        self.people: dict[str, int] = {}
        self.salt = target.job.key.encode()
        now = timezone.now()
        self.now: datetime = now
        campaign = target.campaign
        self.prompt_rows = Rows(
            Prompt, "id", "key", "number", "messages", "content_sha256", "group_sha256", "split", "tags", "note",
            "reference", "metadata", "random",
            set_id=target.prompts.set_id, brought_by_id=target.prompts.pk, created_at=now,
        )  # fmt: skip
        self.candidate_rows = Rows(
            Candidate,
            "id",
            "key",
            "arm_id",
            "prompt_id",
            "index",
            "text",
            "text_sha256",
            "finish_reason",
            created_at=now,
        )
        self.task_rows = Rows(
            ComparisonTask, "id", "key", "prompt_id", "candidates_sha256", "seats", "n_taken", "n_submitted", "position",
            "status", "source_id", campaign_id=campaign.pk, chosen_why="imported", created_at=now,
        )  # fmt: skip
        self.slot_rows = Rows(TaskCandidate, "task_id", "candidate_id", "slot")
        self.turn_rows = Rows(
            Assignment, "id", "key", "task_id", "annotator_id", "seat", "display_order", "current_id", "opened_at",
            "finished_at", status=Assignment.Status.SUBMITTED, created_at=now,
        )  # fmt: skip
        self.judgement_rows = Rows(
            Judgement, "id", "key", "assignment_id", "verdict", "strength", "reasons", "comment", "write_in",
            "seconds_active", "source_id", "created_at", source=Judgement.Source.IMPORT,
            guidelines_version=campaign.guidelines_version, protocol_version=campaign.protocol_version,
        )  # fmt: skip
        self.rank_rows = Rows(RankedCandidate, "judgement_id", "candidate_id", "rank")
        self.score_rows = Rows(Score, "judgement_id", "candidate_id", "criterion", "value")

    # ---- reading ----

    def prepare(self, lines: Sequence[Any]) -> "_Chunk":
        """Look up what is there already. Nobody else writes to these rows, so no lock is needed yet."""
        chunk = _Chunk(lines, self.salt)
        contents = {line[0] for line in lines}
        chunk.prompts = dict(
            Prompt.objects.filter(set=self.target.prompts.set_id, content_sha256__in=contents).values_list(
                "content_sha256", "pk"
            )
        )
        fresh = contents - chunk.prompts.keys()
        chunk.splits = self.groups.splits({line[1] for line in lines if line[0] in fresh})
        old = {key for keys, line in zip(chunk.keys, lines, strict=True) if line[0] in chunk.prompts for key in keys}
        if old:
            chunk.candidates = dict(Candidate.objects.filter(key__in=old).values_list("key", "pk"))
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
        self._know_people({vote[0] for line in lines for vote in line[5]})
        return chunk

    def _find_tasks(self, chunk: "_Chunk") -> None:
        maybe = {
            task for task, keys in zip(chunk.tasks, chunk.keys, strict=True) if all(k in chunk.candidates for k in keys)
        }
        there = ComparisonTask.objects.filter(campaign=self.target.campaign, candidates_sha256__in=maybe)
        found = {pk: (sha, n) for pk, sha, n in there.values_list("pk", "candidates_sha256", "n_submitted")}
        slots: dict[int, dict[int, int]] = defaultdict(dict)
        for task, candidate, slot in TaskCandidate.objects.filter(task__in=found).values_list(
            "task_id", "candidate_id", "slot"
        ):
            slots[task][candidate] = slot
        chunk.known = {sha: _Task(pk, slots[pk], n) for pk, (sha, n) in found.items()}

    def _know_people(self, names: Iterable[str]) -> None:
        if len(self.people) > KEPT_PEOPLE:
            self.people.clear()
        unknown = [name for name in names if name not in self.people]
        for start in range(0, len(unknown), 5000):
            rows = Annotator.objects.filter(
                project=self.target.project_id, source=self.target.source, external_id__in=unknown[start : start + 5000]
            )
            self.people.update((str(name), pk) for name, pk in rows.values_list("external_id", "pk"))

    # ---- writing ----

    def write(self, chunk: "_Chunk") -> Counter[str]:
        """Insert what is new; how many of each kind that was. The caller's transaction holds the lock on writing."""
        self._make_people(chunk)
        self._write_prompts(chunk)
        self._write_candidates(chunk)
        self._write_tasks(chunk)
        self._write_votes(chunk)
        return chunk.counts

    def _make_people(self, chunk: "_Chunk") -> None:
        names = {vote[0] for line in chunk.lines for vote in line[5]} - self.people.keys()
        if not names:
            return
        fresh = [
            Annotator(
                project_id=self.target.project_id, kind=Annotator.Kind.OUTSIDE, source=self.target.source,
                external_id=name, pseudonym=f"outside-{new_key()}",
            )
            for name in sorted(names)
        ]  # fmt: skip
        # Another import from the same source may have made some of them in this moment.
        Annotator.objects.bulk_create(fresh, ignore_conflicts=True, batch_size=1000)
        self._know_people(names)

    def _write_prompts(self, chunk: "_Chunk") -> None:
        fresh: dict[str, Any] = {}
        for line in chunk.lines:
            if line[0] not in chunk.prompts:
                fresh.setdefault(line[0], line)
        number = self.target.prompts.n_added
        ids = new_ids(Prompt, len(fresh))
        keys = _keys(len(fresh))
        rows = []
        for pk, key, line in zip(ids, keys, fresh.values(), strict=True):
            number += 1
            content, group, messages, extras = line[:4]
            tags, note, reference, metadata = extras or ([], "", "", {})
            dumped = (json.dumps(tags), json.dumps(metadata)) if extras else (NONE, "{}")
            rows.append(
                (
                    pk, key, number, json.dumps(messages), content, group, chunk.splits[group], dumped[0], note,
                    reference, dumped[1], seed_from("random order", content),
                )
            )  # fmt: skip
            chunk.prompts[content] = pk
        self.prompt_rows.insert(rows)
        self.target.prompts.n_added = number
        chunk.counts["prompts"] += len(rows)

    def _write_candidates(self, chunk: "_Chunk") -> None:
        fresh: dict[str, tuple[Any, ...]] = {}
        for keys, line in zip(chunk.keys, chunk.lines, strict=True):
            prompt = chunk.prompts[line[0]]
            for key, (_, model, text, text_sha256, finish) in zip(keys, line[4], strict=True):
                if key in chunk.candidates or key in fresh:
                    continue
                arm = self.models.arms[model]
                index = chunk.indexes.get((arm, prompt), 0)
                chunk.indexes[arm, prompt] = index + 1
                fresh[key] = (key, arm, prompt, index, text, text_sha256, finish)
                chunk.counts["empty"] += not text.strip()
        ids = new_ids(Candidate, len(fresh))
        chunk.candidates.update(zip(fresh, ids, strict=True))
        self.candidate_rows.insert((pk, *row) for pk, row in zip(ids, fresh.values(), strict=True))
        chunk.counts["answers"] += len(fresh)

    def _write_tasks(self, chunk: "_Chunk") -> None:
        n_more: Counter[str] = Counter()
        fresh: dict[str, int] = {}
        for place, (task, line) in enumerate(zip(chunk.tasks, chunk.lines, strict=True)):
            n_more[task] += len(line[5])
            if task not in chunk.known:
                fresh.setdefault(task, place)
        ids, keys = new_ids(ComparisonTask, len(fresh)), _keys(len(fresh))
        rows, slots = [], []
        campaign, spare = self.target.campaign.key, self.target.open_for
        status = ComparisonTask.Status.OPEN if spare else ComparisonTask.Status.COMPLETE
        for pk, key, (task, place) in zip(ids, keys, fresh.items(), strict=True):
            line, n = chunk.lines[place], n_more[task]
            rows.append(
                (pk, key, chunk.prompts[line[0]], task, n + spare, n, n, position_of(campaign, task), status, line[6])
            )
            of_task = [chunk.candidates[key] for key in sorted(chunk.keys[place])]
            slots += [(pk, candidate, slot) for slot, candidate in enumerate(of_task)]
            chunk.known[task] = _Task(pk, {candidate: slot for slot, candidate in enumerate(of_task)})
        self.task_rows.insert(rows)
        self.slot_rows.insert(slots)
        old = [(n, n, n, chunk.known[task].pk) for task, n in n_more.items() if task not in fresh and n]
        if old:
            table = connection.ops.quote_name(ComparisonTask._meta.db_table)
            with connection.cursor() as cursor:
                cursor.executemany(
                    f"UPDATE {table} SET seats = seats + %s, n_taken = n_taken + %s, n_submitted = n_submitted + %s"
                    " WHERE id = %s",
                    old,
                )
        chunk.counts["tasks"] += len(rows)

    def _write_votes(self, chunk: "_Chunk") -> None:
        n = sum(len(line[5]) for line in chunk.lines)
        turn_ids, judgement_ids = new_ids(Assignment, n), new_ids(Judgement, n)
        keys = _keys(2 * n)
        turns, judgements, ranks, scores = [], [], [], []
        counts, at = chunk.counts, 0
        orders: dict[tuple[int, ...], str] = {}
        times: dict[str | None, datetime] = {None: self.now}
        for line, task_hash, own in zip(chunk.lines, chunk.tasks, chunk.keys, strict=True):
            task = chunk.known[task_hash]
            candidates = [chunk.candidates[key] for key in own]
            slots = [task.slots[candidate] for candidate in candidates]
            for (
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
            ) in line[5]:
                turn, judgement = turn_ids[at], judgement_ids[at]
                if time not in times:
                    times[time] = datetime.fromisoformat(time)
                # An order that is not known is that of the slots, of a turn that was never opened: see ``Assignment``.
                places = tuple([slots[number] for number in order]) or tuple(range(len(slots)))
                if places not in orders:
                    orders[places] = json.dumps(places)
                when, shown = times[time], orders[places]
                turns.append(
                    (
                        turn,
                        keys[2 * at],
                        task.pk,
                        self.people[name],
                        task.n_votes,
                        shown,
                        judgement,
                        when if order else None,
                        when,
                    )
                )
                judgements.append(
                    (
                        judgement, keys[2 * at + 1], turn, verdict, strength, json.dumps(reasons) if reasons else NONE,
                        comment, write_in, seconds, own_id, when,
                    )
                )  # fmt: skip
                ranks += [(judgement, candidate, rank) for candidate, rank in zip(candidates, given, strict=True)]
                for criterion, number, value in scored:
                    if number is None:
                        scores.append((judgement, None, criterion, value if slots[0] == 0 else -value))
                    else:
                        scores.append((judgement, candidates[number], criterion, value))
                task.n_votes += 1
                counts[verdict] += 1
                counts["with_order"] += bool(order)
                at += 1
        self.turn_rows.insert(turns)
        self.judgement_rows.insert(judgements)
        self.rank_rows.insert(ranks)
        if scores:
            self.score_rows.insert(scores)
        counts["votes"] += n


class _Chunk:
    """Lines of the checked copy with what is known of them."""

    def __init__(self, lines: Sequence[Any], salt: bytes) -> None:
        self.lines = lines
        self.keys: list[list[str]] = []  # of the candidates, in the row's order
        self.tasks: list[str] = []  # candidates_sha256
        for line in lines:
            # The key is drawn from the import's own and the answer's content: found again after a kill, told by nobody else.
            keys = [keys_from(hashlib.sha256(salt + answer[0].encode()).digest()[:KEY_LENGTH])[0] for answer in line[4]]
            self.keys.append(keys)
            self.tasks.append(set_sha256(keys))
        self.prompts: dict[str, int] = {}
        self.splits: dict[str, Any] = {}
        self.candidates: dict[str, int] = {}
        self.indexes: dict[tuple[int, int], int] = {}
        self.known: dict[str, _Task] = {}
        self.counts: Counter[str] = Counter()


class Models:
    """The outside models of an import, each with its arm of the import's job."""

    def __init__(self, project_id: int, job: GenerationJob, *, licence: str) -> None:
        self.project_id, self.job, self.licence = project_id, job, licence
        self.arms = dict(
            JobArm.objects.filter(job=job).values_list("model_version__source", "pk"),
        )

    def learn(self, names: Iterable[str]) -> None:
        """Make an outside model and an arm for each name that has none; a name that the project knows is that model."""
        wanted = sorted(set(names) - self.arms.keys())
        if not wanted:
            return
        outside = ModelVersion.objects.filter(project=self.project_id, kind=ModelVersion.Kind.OUTSIDE)
        there = dict(outside.values_list("source", "pk"))
        taken = set(ModelVersion.objects.filter(project=self.project_id).values_list("slug", flat=True))
        fresh = []
        for name in wanted:
            if name not in there:
                slug = _free_slug(name, taken)
                taken.add(slug)
                fresh.append(
                    ModelVersion(
                        project_id=self.project_id, slug=slug, kind=ModelVersion.Kind.OUTSIDE, source=name,
                        licence=self.licence[:100], facts={"imported_by": self.job.key},
                    )
                )  # fmt: skip
        for version in ModelVersion.objects.bulk_create(fresh):
            there[version.source] = version.pk
        first = len(self.arms)
        arms = JobArm.objects.bulk_create(
            JobArm(job=self.job, number=number, model_version_id=there[name])
            for number, name in enumerate(wanted, first)
        )
        self.arms.update(zip(wanted, (arm.pk for arm in arms), strict=True))


def _free_slug(name: str, taken: set[str]) -> str:
    from django.utils.text import slugify

    stem = slugify(name.replace(".", "-").replace("/", "-"))[:50].strip("-_") or "model"
    if stem not in taken:
        return stem
    number = 2
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"


def _keys(n: int) -> list[str]:
    return keys_from(os.urandom(KEY_LENGTH * n)) if n else []
