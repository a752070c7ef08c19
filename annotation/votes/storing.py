"""The second pass: the checked copy into the database, a chunk at a time, each with its progress in one transaction.

Nobody sees any of it before the end: the campaign is in stage building, the prompts belong to an import that has not ended.
What identifies a prompt, an answer or a task is a hash of its content, so a chunk finds what earlier ones have stored.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Set
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from django.db import connection
from django.db.models import Max, Model

from annotation.models import (
    Annotator,
    Assignment,
    ComparisonTask,
    Flag,
    Judgement,
    RankedCandidate,
    Score,
    TaskCandidate,
)
from annotation.votes.chunks import Chunk, Task, checked_lines
from annotation.votes.making import Maker, Target
from annotation.votes.outside import Models
from core.ahead import ahead
from core.bulk import among, analyze, new_ids
from core.ids import new_key
from generation.groups import Groups
from generation.models import Candidate, Prompt

# Rows of an attempt after which PostgreSQL is told that these tables are not empty any more: first so that people who judge beside a
# first import are not read along whole tables by plans of empty ones, then so that its own look-ups are not.
TOLD_FIRST, TOLD_AFTER = 3_000, 10_000
KEPT_PEOPLE = 200_000  # ids of people held in memory; more of them are asked for again
WRITTEN = (
    Annotator, Assignment, Candidate, ComparisonTask, Flag, Judgement, Prompt, RankedCandidate, Score, TaskCandidate,
)  # fmt: skip


class Stored:
    """Which prompts may be stored already: a bit for each, as its hash begins, so that most new ones need no look at the table.

    Where it is not known what earlier attempts have stored, all may be.
    """

    def __init__(self, *, is_known: bool) -> None:
        self.is_known, self.bits = is_known, bytearray(1 << 21)

    def maybe(self, contents: Set[str]) -> list[str]:
        """Those that were here before, in an earlier call, and a few others; all are from now on."""
        found, bits = [], self.bits
        for content in contents:
            place, bit = divmod(int(content[:6], 16), 8)
            if bits[place] >> bit & 1 or not self.is_known:
                found.append(content)
            bits[place] |= 1 << bit
        return found


class Store:
    """Stores chunks for one target, each by ``prepare``, ``keep`` and ``write``.

    While the database takes one chunk's rows, another thread makes the next one's: so a chunk is prepared and kept before the one
    before it is written, and what that one becomes counts as there. Leave the block to end the threads.
    """

    def __init__(self, target: Target, models: Models, groups: Groups) -> None:
        self.target, self.groups = target, groups
        self.people: dict[str, int] = {}
        self.salt = target.job.key.encode()
        self.n_prompts = target.prompts.n_added
        self.maker = Maker(target, models.arms, self.people)
        self.stored = Stored(is_known=not self.n_prompts)
        self.before: Chunk | None = None
        self.n_lines = 0
        self._reading: Generator[Chunk, None, None] | None = None
        self._making: Future[None] | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="making")

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        if self._reading:
            self._reading.close()

    # ---- reading ----

    def chunks(self, copy: Path, offset: int, most: Callable[[], int]) -> Iterator[Chunk]:
        """As ``checked_lines``, the next one read while one is used."""
        self._reading = ahead(Chunk(lines, self.salt, end) for lines, end in checked_lines(copy, offset, most))
        return self._reading

    def prepare(self, chunk: Chunk | None) -> None:
        """Await the rows of the chunk before, and look up what is there already of this one, if there is one.

        Nobody else writes to these rows, so no lock is needed yet.
        """
        if self._making:
            self._making.result()
        if chunk is None:
            return
        before, self.n_lines = self.n_lines, self.n_lines + chunk.n_lines
        if before < TOLD_FIRST <= self.n_lines:
            analyze(self.n_lines, *WRITTEN)
        if before < TOLD_AFTER <= self.n_lines:
            analyze(self.n_lines, Prompt, Candidate, ComparisonTask, TaskCandidate)
        lines = chunk.lines
        contents = {line[0] for line in lines}
        if maybe := self.stored.maybe(contents):
            there = among(Prompt.objects.filter(set=self.target.prompts.set_id), "content_sha256", maybe)
            chunk.prompts = dict(there.values_list("content_sha256", "pk"))
        if self.before:
            chunk.prompts |= {
                content: self.before.prompts[content] for content in contents & self.before.prompts.keys()
            }
        fresh = contents - chunk.prompts.keys()
        chunk.splits = self.groups.splits({line[1] for line in lines if line[0] in fresh})
        old = {key for keys, line in zip(chunk.keys, lines, strict=True) if line[0] in chunk.prompts for key in keys}
        if old:
            self._find_candidates(old, chunk)
            self._find_tasks(chunk)
        if len(self.people) > KEPT_PEOPLE:
            self.people.clear()
        self._know_people({vote[0] for line in lines for vote in line[5]})

    def _find_candidates(self, keys: set[str], chunk: Chunk) -> None:
        chunk.candidates = dict(among(Candidate.objects.all(), "key", keys).values_list("key", "pk"))
        prompts = set(chunk.prompts.values())
        there = Candidate.objects.filter(prompt__in=prompts, arm__job=self.target.job).values_list(
            "arm_id", "prompt_id"
        )
        chunk.indexes = {(arm, prompt): last + 1 for arm, prompt, last in there.annotate(last=Max("index")).order_by()}
        if self.before:
            chunk.candidates |= {key: self.before.candidates[key] for key in keys & self.before.candidates.keys()}
            chunk.indexes |= {where: n for where, n in self.before.indexes.items() if where[1] in prompts}

    def _find_tasks(self, chunk: Chunk) -> None:
        maybe: dict[int, set[str]] = defaultdict(set)
        for (campaign, task), keys in zip(chunk.tasks, chunk.keys, strict=True):
            if all(key in chunk.candidates for key in keys):
                maybe[campaign].add(task)
        for number, tasks in maybe.items():
            if number < len(self.target.campaigns):
                self._find_tasks_of(number, tasks, chunk)
        if self.before:
            asked = {(number, task) for number, tasks in maybe.items() for task in tasks}
            chunk.known |= {task: self.before.known[task] for task in asked & self.before.known.keys()}

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

    def keep(self, chunk: Chunk | None) -> None:
        """Take the ids of its rows, if there is one, and have them made. Within a transaction of the caller's."""
        if chunk is None:
            return
        self._make_people(chunk)
        keys = {key for keys in chunk.keys for key in keys}
        n_fresh: dict[type[Model], int] = {
            Prompt: len({line[0] for line in chunk.lines} - chunk.prompts.keys()),
            Candidate: len(keys - chunk.candidates.keys()),
        }
        if self.target.campaigns:
            n_fresh[ComparisonTask] = len(set(chunk.asked()) - chunk.known.keys())
            n_fresh[Assignment] = n_fresh[Judgement] = sum(len(line[5]) for line in chunk.lines)
        chunk.ids = {model: new_ids(model, n) for model, n in n_fresh.items()}
        chunk.first_number = self.n_prompts + 1
        self.n_prompts += n_fresh[Prompt]
        self.before, self._making = chunk, self._pool.submit(self.maker.make, chunk)

    def write(self, chunk: Chunk) -> Counter[str]:
        """Insert what is new; how many of each kind that was. Within a transaction of the caller's."""
        for rows, packed in chunk.rows:
            rows.put(packed)
        if chunk.seats:
            table = connection.ops.quote_name(ComparisonTask._meta.db_table)
            with connection.cursor() as cursor:
                cursor.executemany(
                    f"UPDATE {table} SET seats = seats + %s, n_taken = n_taken + %s, n_submitted = n_submitted + %s"
                    " WHERE id = %s",
                    chunk.seats,
                )
        return chunk.counts

    def _make_people(self, chunk: Chunk) -> None:
        names = {vote[0] for line in chunk.lines for vote in line[5]} - self.people.keys()
        self._insert_people(names, self._kept_names(chunk, names))
        # Another import, from another source, may have taken a pseudonym in this moment.
        self._insert_people(names - self.people.keys(), frozenset())

    def _kept_names(self, chunk: Chunk, names: set[str]) -> set[str]:
        """Those that are pseudonyms already, as the full format says, and nobody's here. Any other name may be a person's own."""
        full = {vote[0] for line in chunk.lines if line[7] and "campaign" in line[7] for vote in line[5]} & names
        # One that begins with a space is nobody's: ``checking`` calls those so whom the file does not name.
        maybe = {name for name in full if len(name) <= 60 and not name.startswith(" ")}
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
