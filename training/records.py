"""The full format: every judged task of a frozen dataset with its answers and votes, as ``records.jsonl`` beside the rows.

Its keys are those of docs/reference/votes.md. It holds the recorded members and nobody else's votes, no id of the database, and the
same bytes on every database. Read by prompt, so that memory stays flat.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from annotation.models import (
    Campaign,
    ComparisonTask,
    Flag,
    GuidelinesVersion,
    Judgement,
    RankedCandidate,
    Score,
    TaskCandidate,
)
from annotation.protocol import LETTERS
from core.bulk import among
from core.ids import canonical_json, group_sha256
from generation.models import Candidate, JobArm, ModelVersion, Prompt
from training.formats.canonical import canonical, messages_in, text_of, value_in
from training.formats.files import RECORDS, WRITE_BYTES
from training.models import Snapshot

CHUNK_JUDGEMENTS = 2000
IMPORTED = "imported"
CHOICES = {"tie": "tie", "both_good": "both_good", "all_bad": "both_bad"}
BY = {"adjudicator": "adjudicator", "ai": "ai", "simulated": "simulated"}

Record = dict[str, Any]
Row = tuple[Any, ...]


def write_records(directory: Path, snapshot: Snapshot, *, beat: Callable[[], None] = lambda: None) -> int:
    """Write ``records.jsonl``; returns how many tasks are in it. ``beat`` is called between chunks and may raise."""
    n = 0
    with (directory / RECORDS).open("wb", WRITE_BYTES) as file:
        reader = RecordReader(snapshot)
        for header in reader.headers:
            file.write(canonical_json(header) + b"\n")
        for lines in reader.lines():
            file.writelines(lines)
            n += len(lines)
            beat()
    return n


@dataclass(slots=True)
class _Chunk:
    """The members of some prompts, whole: judgement -> split, and the tasks of each prompt."""

    members: dict[int, str] = field(default_factory=dict)
    tasks: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


class RecordReader:
    """Reads the recorded members of one snapshot. ``headers`` are the campaigns, ``lines`` the tasks of a few prompts at a time."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.names: dict[int, str] = {}  # campaign -> its id in the file
        self.headers = self._campaigns()
        self.models = _model_names(snapshot)
        self.arms: dict[int, Record] = {}

    # ---- campaigns ----

    def _campaigns(self) -> list[Record]:
        campaign = "judgement__assignment__task__campaign_id"
        named: dict[int, set[int]] = defaultdict(set)
        for pk, version in self.snapshot.members.values_list(campaign, "judgement__guidelines_version").distinct():
            named[pk].add(version)
        found = [
            (canonical_json(_campaign(each, named[each.pk])), each) for each in Campaign.objects.filter(pk__in=named)
        ]
        headers = []
        for number, (_, each) in enumerate(sorted(found, key=lambda pair: (pair[0], pair[1].key)), 1):
            self.names[each.pk] = f"c{number}"
            headers.append({"campaign": {"id": f"c{number}", **_campaign(each, named[each.pk])}})
        return headers

    # ---- tasks ----

    def lines(self) -> Iterator[list[bytes]]:
        for chunk in self._chunks():
            yield self._lines(chunk)

    def _chunks(self) -> Iterator[_Chunk]:
        task = "judgement__assignment__task"
        rows = self.snapshot.members.order_by(f"{task}__prompt__content_sha256", f"{task}_id").values_list(
            "judgement_id", "split", f"{task}_id", f"{task}__prompt__content_sha256"
        )
        chunk, last = _Chunk(), ""
        for judgement, split, task_id, content in rows.iterator(chunk_size=2000):
            if content != last and len(chunk.members) >= CHUNK_JUDGEMENTS:
                yield chunk
                chunk = _Chunk()
            last = content
            chunk.members[judgement] = split
            tasks = chunk.tasks[content]
            if not tasks or tasks[-1] != task_id:
                tasks.append(task_id)
        if chunk.members:
            yield chunk

    def _lines(self, chunk: _Chunk) -> list[bytes]:
        tasks = [task for of_prompt in chunk.tasks.values() for task in of_prompt]
        answers = self._answers(tasks)
        votes, splits = self._votes(chunk.members, tasks, answers)
        shells = self._shells(tasks)
        lines = []
        for of_prompt in chunk.tasks.values():
            of_this = []
            for task in of_prompt:
                record = {**shells[task], "answers": answers[task].records, "votes": votes[task]}
                record["split"] = "holdout" if splits[task] == "test" else "train"
                of_this.append(canonical(record) + b"\n")
            lines += sorted(of_this)
        return lines

    def _shells(self, tasks: Sequence[int]) -> dict[int, Record]:
        """Each task with its prompt, without answers and votes."""
        rows = list(
            among(ComparisonTask.objects.all(), "id", tasks).values_list(
                "pk", "prompt_id", "campaign_id", "key", "source_id", "chosen_why", "probability"
            )
        )
        columns = (
            "pk", text_of("messages"), text_of("following_turns"), "group_sha256", text_of("tags"), "note", "reference",
            text_of("metadata"),
        )  # fmt: skip
        wanted = among(Prompt.objects.all(), "id", {row[1] for row in rows})
        prompts = {row[0]: _prompt(row) for row in wanted.values_list(*columns)}
        return {
            pk: {
                **prompts[prompt],
                "campaign": self.names[campaign],
                "id": source_id or key,
                **({"why": why} if why and why != IMPORTED else {}),
                **({"probability": probability} if probability != 1 else {}),
            }
            for pk, prompt, campaign, key, source_id, why, probability in rows
        }

    def _answers(self, tasks: Sequence[int]) -> dict[int, "_Answers"]:
        slots: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for task, candidate, slot in among(TaskCandidate.objects.all(), "task_id", tasks).values_list(
            "task_id", "candidate_id", "slot"
        ):
            slots[task].append((candidate, slot))
        ids = {candidate for of_task in slots.values() for candidate, _ in of_task}
        rows = list(
            among(Candidate.objects.all(), "id", ids).values_list(
                "pk", "arm_id", "text", "text_sha256", "index", "seed", "finish_reason", "n_prompt_tokens",
                "n_completion_tokens", "latency_seconds", "key",
            )
        )  # fmt: skip
        self._know_arms({row[1] for row in rows} - self.arms.keys())
        candidates = {row[0]: (self._rank_of(row), self._answer(row)) for row in rows}
        return {task: _Answers.of(of_task, candidates) for task, of_task in slots.items()}

    def _rank_of(self, row: Row) -> Row:
        """By content; the key settles only what no reader can tell apart."""
        _, arm, _, text_sha256, index, seed, *_, key = row
        return text_sha256, self.arms[arm]["model"], seed, index, key

    def _answer(self, row: Row) -> Record:
        _, arm, text, _, _, seed, finish, n_prompt, n_completion, latency, _ = row
        answer = {**self.arms[arm], "text": text}
        if seed:
            answer["seed"] = seed
        if finish:
            answer["finish_reason"] = finish
        if n_prompt is not None:
            answer["n_prompt_tokens"] = n_prompt
        if n_completion is not None:
            answer["n_completion_tokens"] = n_completion
        if latency is not None:
            answer["latency_seconds"] = latency
        return answer

    def _know_arms(self, arms: Iterable[int]) -> None:
        rows = JobArm.objects.filter(pk__in=list(arms)).values_list(
            "pk", "model_version_id", "sampling", "engine_version"
        )
        for pk, version, sampling, engine in rows:
            said = {name: value for name, value in sampling.items() if value not in (None, [], "")}
            self.arms[pk] = {
                "model": self.models[version],
                **({"sampling": said} if said else {}),
                **({"engine": engine} if engine else {}),
            }

    def _votes(
        self, members: Mapping[int, str], tasks: Sequence[int], answers: Mapping[int, "_Answers"]
    ) -> tuple[dict[int, list[Record]], dict[int, str]]:
        """The votes of each task in their order, and each task's split."""
        ids = list(members)
        ranks: dict[int, dict[int, int]] = defaultdict(dict)
        for judgement, candidate, rank in among(RankedCandidate.objects.all(), "judgement_id", ids).values_list(
            "judgement_id", "candidate_id", "rank"
        ):
            ranks[judgement][candidate] = rank
        scores: dict[int, list[Row]] = defaultdict(list)
        for judgement, *score in among(Score.objects.all(), "judgement_id", ids).values_list(
            "judgement_id", "candidate_id", "criterion", "value"
        ):
            scores[judgement].append(tuple(score))
        flags = _flags(tasks)
        found: dict[int, list[Record]] = defaultdict(list)
        splits: dict[int, str] = {}
        rows = among(Judgement.objects.all(), "id", ids).values_list(
            "assignment__task_id", "pk", "assignment__annotator_id", "assignment__annotator__pseudonym", "verdict",
            text_of("assignment__display_order"), text_of("assignment__opened_at"), text_of("created_at"), "key",
            "source_id", "source", "strength", text_of("reasons"), "comment", "write_in", "edited_from_id",
            "seconds_active", "guidelines_version", "protocol_version", "is_unblinded", "is_probation",
        )  # fmt: skip
        for task, pk, annotator, *row in rows:
            found[task].append(
                _vote(row, answers[task], ranks[pk], scores.get(pk, ()), flags.get((task, annotator), ()))
            )
            splits[task] = members[pk]
        for votes in found.values():
            votes.sort(key=lambda vote: (vote["annotator"], vote["time"], vote["vote_id"]))
        return found, splits


class _Answers(NamedTuple):
    """The answers of a task in the order of their content, and the letter of each."""

    records: list[Record]
    letters: dict[int, str]  # candidate -> letter
    by_slot: list[str]  # letters
    order: list[int]  # candidates

    @classmethod
    def of(cls, slots: list[tuple[int, int]], candidates: Mapping[int, tuple[Row, Record]]) -> "_Answers":
        ordered = sorted((candidate for candidate, _ in slots), key=lambda candidate: candidates[candidate][0])
        letters = dict(zip(ordered, LETTERS.lower(), strict=False))
        records = [candidates[candidate][1] for candidate in ordered]
        twins = [(record["model"], record["text"]) for record in records]
        if len(set(twins)) < len(twins):  # only then do two answers need more than themselves to be told apart
            records = [{**record, "id": str(number)} for number, record in enumerate(records, 1)]
        by_slot = [letters[candidate] for candidate, _ in sorted(slots, key=lambda pair: pair[1])]
        return cls(records, letters, by_slot, ordered)


def _vote(
    row: Sequence[Any], answers: _Answers, ranks: Mapping[int, int], scores: Iterable[Row], flags: Iterable[Row]
) -> Record:
    (
        pseudonym, verdict, display_order, opened, at, key, source_id, source, strength, reasons, comment, write_in,
        edited_from, seconds, guidelines, protocol, is_unblinded, is_probation,
    ) = row  # fmt: skip
    vote: Record = {
        "annotator": pseudonym,
        "time": _time(at),
        "vote_id": source_id or key,
        **_said(verdict, ranks, answers),
    }
    if opened is not None:
        vote["order"] = "".join(answers.by_slot[slot] for slot in _order_in(display_order))
        if opened != at:
            vote["opened"] = _time(opened)
    more = {
        "by": BY.get(source), "strength": strength, "reasons": value_in(reasons) or None, "comment": comment or None,
        "better_answer": write_in or None, "edited_from": answers.letters.get(edited_from), "seconds": seconds or None,
        "guidelines_version": guidelines if guidelines != 1 else None,
        "protocol_version": protocol if protocol != 1 else None,
        "unblinded": is_unblinded or None, "probation": is_probation or None,
        "scores": _scores(scores, answers) or None, "flags": _flags_said(flags, answers) or None,
    }  # fmt: skip
    return vote | {name: value for name, value in more.items() if value is not None}


_order_in = lru_cache(maxsize=1000)(json.loads)  # of a few slots there are few orders


def _said(verdict: str, ranks: Mapping[int, int], answers: _Answers) -> Record:
    if verdict != "ranked":
        return {"choice": CHOICES[verdict]}
    given = [ranks[candidate] for candidate in answers.order]
    if len(given) == 2:
        return {"choice": "a" if given[0] < given[1] else "b"}
    return {"ranks": given}


def _scores(scores: Iterable[Row], answers: _Answers) -> Record:
    found: Record = {}
    for candidate, criterion, value in scores:
        if candidate is None:  # stored as negative where the answer in slot 0 is better; here, where answer a is
            found[criterion] = value if answers.by_slot[0] == "a" else -value
        else:
            levels = found.setdefault(criterion, [None] * len(answers.order))
            levels[answers.order.index(candidate)] = value
    return found


def _flags(tasks: Sequence[int]) -> dict[tuple[int, int], list[Row]]:
    found: dict[tuple[int, int], list[Row]] = defaultdict(list)
    rows = among(Flag.objects.all(), "task_id", tasks).exclude(status=Flag.Status.WITHDRAWN)
    for task, annotator, *flag in rows.values_list(
        "task_id", "annotator_id", "candidate_id", "kind", "reason", "status"
    ):
        found[task, annotator].append(tuple(flag))
    return found


def _flags_said(flags: Iterable[Row], answers: _Answers) -> list[Record]:
    said = []
    for candidate, kind, reason, status in flags:
        flag = {"kind": kind, "status": status, "reason": reason, "answer": answers.letters.get(candidate, "")}
        said.append({name: value for name, value in flag.items() if value})
    return sorted(said, key=canonical_json)


def _prompt(row: Row) -> Record:
    _, messages, following, group, tags, note, reference, metadata = row
    messages = messages_in(messages)
    first = next((message["content"] for message in messages if message["role"] == "user"), "")
    more = {
        "following_turns": value_in(following), "group": "" if group == group_sha256(first) else f"sha256:{group}",
        "tags": value_in(tags), "note": note, "reference": reference, "metadata": _same_everywhere(value_in(metadata)),
    }  # fmt: skip
    return {"prompt": messages, **{name: value for name, value in more.items() if value}}


def _same_everywhere(value: Any) -> Any:
    """PostgreSQL keeps 1e+16 as the whole number that it is, SQLite as it was written."""
    if isinstance(value, float) and abs(value) >= 1e16:
        return int(value)
    if isinstance(value, dict):
        return {name: _same_everywhere(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_same_everywhere(each) for each in value]
    return value


def _campaign(campaign: Campaign, versions: set[int]) -> Record:
    texts = dict(GuidelinesVersion.objects.filter(campaign=campaign, number__in=versions).values_list("number", "text"))
    if campaign.guidelines_version in versions:
        texts.setdefault(campaign.guidelines_version, campaign.guidelines)
    said = {
        "name": campaign.name, "kind": campaign.kind, "question": campaign.question, "overlap": campaign.overlap,
        "strength_levels": campaign.strength_levels, "allow_tie": campaign.allow_tie,
        "allow_both_good": campaign.allow_both_good, "allow_both_bad": campaign.allow_both_bad,
        "chosen_is_worse": campaign.chosen_is_worse, "protocol_version": campaign.protocol_version,
    }  # fmt: skip
    guidelines = {str(number): text for number, text in sorted(texts.items()) if text}
    more = {"guidelines": guidelines, "protocol": campaign.protocol}
    return said | {name: value for name, value in more.items() if value}


def _model_names(snapshot: Snapshot) -> dict[int, str]:
    """What each model is called: an outside one by its name, unless one of the project's own has that for a slug."""
    versions = list(
        ModelVersion.objects.filter(project=snapshot.project_id).values_list("pk", "kind", "slug", "source")
    )
    own = {slug for _, kind, slug, _ in versions if kind != ModelVersion.Kind.OUTSIDE}
    return {
        pk: source if kind == ModelVersion.Kind.OUTSIDE and source and source not in own else slug
        for pk, kind, slug, source in versions
    }


def _time(text: str) -> str:
    """A time as the database writes it: PostgreSQL with its offset, SQLite in UTC without one."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is not None:
        at = at.astimezone(UTC).replace(tzinfo=None)
    return f"{at.isoformat(timespec='microseconds')}Z"
