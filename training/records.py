"""The full format: every judged task of a frozen dataset with its answers and votes, as ``records.jsonl`` beside the rows.

Its keys are those of docs/reference/votes.md. It holds the recorded members and nobody else's votes, no id of the database, and the
same bytes on every database.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from annotation.models import Campaign, GuidelinesVersion
from annotation.protocol import LETTERS
from core.ids import canonical_json, group_sha256
from generation.models import ModelVersion
from training.formats.canonical import agrees, canonical, value_in
from training.models import Snapshot
from training.reading import Chunk, Reader, Row

IMPORTED = "imported"
CHOICES = {"tie": "tie", "both_good": "both_good", "all_bad": "both_bad"}
LETTERS_IN_FILES = LETTERS.lower()
BY = {"adjudicator": "adjudicator", "ai": "ai", "simulated": "simulated"}

Record = dict[str, Any]


class Records:
    """The lines of one snapshot: ``headers`` are the campaigns, ``lines`` the tasks of a chunk, which asks nothing of the database.

    reader  the one that reads the chunks, in full
    """

    def __init__(self, snapshot: Snapshot, reader: Reader) -> None:
        self.reader = reader
        self.names: dict[int, str] = {}  # campaign -> its id in the file
        self.headers = [canonical_json(header) + b"\n" for header in self._campaigns(snapshot)]
        self.models = _model_names(snapshot)
        self.arms: dict[int, tuple[Record, bool]] = {}  # what an answer says of its arm; whether it is plain

    def _campaigns(self, snapshot: Snapshot) -> list[Record]:
        campaign = "judgement__assignment__task__campaign_id"
        named: dict[int, set[int]] = defaultdict(set)
        for pk, version in snapshot.members.values_list(campaign, "judgement__guidelines_version").distinct():
            named[pk].add(version)
        found = [
            (canonical_json(_campaign(each, named[each.pk])), each) for each in Campaign.objects.filter(pk__in=named)
        ]
        headers = []
        for number, (_, each) in enumerate(sorted(found, key=lambda pair: (pair[0], pair[1].key)), 1):
            self.names[each.pk] = f"c{number}"
            headers.append({"campaign": {"id": f"c{number}", **_campaign(each, named[each.pk])}})
        return headers

    def lines(self, chunk: Chunk) -> list[bytes]:
        """A line for each task; prompts in the order of the chunk, the tasks of one prompt in that of their lines."""
        votes, tasks = self._votes(chunk)
        prompts = {pk: _prompt(row) for pk, row in chunk.prompts.items()}
        lines: list[bytes] = []
        for of_prompt in tasks.values():
            of_this = [self._line(chunk, task, votes[task], prompts, split=split) for task, split in of_prompt.items()]
            lines += sorted(of_this)
        return lines

    def _line(
        self, chunk: Chunk, task: int, votes: "_Votes", prompts: Mapping[int, tuple[Record, bool]], *, split: str
    ) -> bytes:
        prompt_id, campaign, key, source_id, why, probability = chunk.tasks[task]
        prompt, is_plain = prompts[prompt_id]
        record = {
            **prompt,
            "campaign": self.names[campaign],
            "id": source_id or key,
            "answers": votes.answers.records,
            "votes": votes.said,
            "split": "holdout" if split == "test" else "train",
        }
        if why and why != IMPORTED:
            record["why"] = why
        if probability != 1:
            record["probability"] = probability
        floats = (probability, *votes.answers.floats, *votes.floats) if is_plain and not votes.answers.odd else None
        return canonical(record, floats=floats) + b"\n"

    # ---- answers ----

    def _answers(self, chunk: Chunk, task: int) -> "_Answers":
        slots, rows = chunk.slots[task], chunk.candidates
        by_text = {rows[candidate][3]: candidate for candidate in slots}
        differ = len(by_text) == len(slots)
        if differ:
            ordered = [by_text[text_sha256] for text_sha256 in sorted(by_text)]
        else:
            ordered = sorted(slots, key=lambda candidate: self._rank_of(rows[candidate]))
        letters = dict(zip(ordered, LETTERS_IN_FILES, strict=False))
        found = _Answers([], letters, [letters[candidate] for candidate in slots], ordered, [], [])
        for candidate in ordered:
            self._add_answer(rows[candidate], found)
        if not differ and len({(record["model"], record["text"]) for record in found.records}) < len(slots):
            # only then do two answers need more than themselves to be told apart
            for number, record in enumerate(found.records, 1):
                record["id"] = str(number)
        return found

    def _rank_of(self, row: Row) -> tuple[Any, ...]:
        """By content; the key settles only what no reader can tell apart."""
        key, _, arm, text_sha256, index, seed, *_ = row
        return text_sha256, self._arm(arm)[0]["model"], seed, index, key

    def _add_answer(self, row: Row, answers: "_Answers") -> None:
        _, text, arm, _, _, seed, finish, n_prompt, n_completion, latency = row
        said, is_plain = self._arm(arm)
        answer = {**said, "text": text}
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
            answers.floats.append(latency)
        answers.records.append(answer)
        if not is_plain:
            answers.odd.append(arm)

    def _arm(self, pk: int) -> tuple[Record, bool]:
        found = self.arms.get(pk)
        if found is None:
            version, _, sampling, engine = self.reader.arms[pk]
            arm: Record = {"model": self.models[version]}
            if said := {name: value for name, value in sampling.items() if value not in (None, [], "")}:
                arm["sampling"] = said
            if engine:
                arm["engine"] = engine
            found = self.arms[pk] = (arm, agrees(arm))
        return found

    # ---- votes ----

    def _votes(self, chunk: Chunk) -> tuple[dict[int, "_Votes"], dict[str, dict[int, str]]]:
        """The votes of each task, in their order; and for each prompt its tasks with their split."""
        found: dict[int, _Votes] = {}
        tasks: dict[str, dict[int, str]] = defaultdict(dict)
        for pk, member in chunk.members.items():
            _, _, _, _, _, task, annotator, *_ = row = chunk.judgements[pk]
            votes = found.get(task)
            if votes is None:
                votes = found[task] = _Votes(self._answers(chunk, task), [], [])
                tasks[member.content_sha256][task] = member.split
            votes.said.append(
                _vote(
                    row,
                    votes,
                    chunk.ranks.get(pk, ()),
                    chunk.scores.get(pk, ()),
                    chunk.flags.get((task, annotator), ()),
                )
            )
        for votes in found.values():
            if len(votes.said) > 1:
                votes.said.sort(key=lambda vote: (vote["annotator"], vote["time"], vote["vote_id"]))
        return found, tasks


class _Answers(NamedTuple):
    """The answers of a task in the order of their content, and the letter of each."""

    records: list[Record]
    letters: dict[int, str]  # candidate -> letter
    by_slot: list[str]  # letters
    order: list[int]  # candidates
    floats: list[float]  # in the records
    odd: list[int]  # arms with other numbers that not every writer writes alike


class _Votes(NamedTuple):
    answers: _Answers
    said: list[Record]
    floats: list[float]


def _vote(
    row: Row, votes: _Votes, ranks: Iterable[tuple[int, int]], scores: Iterable[Row], flags: Iterable[Row]
) -> Record:
    (
        key, verdict, strength, source, write_in, _, _, pseudonym, display_order, opened, at, source_id, reasons, comment,
        edited_from, seconds, guidelines, protocol, is_unblinded, is_probation,
    ) = row  # fmt: skip
    answers = votes.answers
    time = _time(at)
    vote: Record = {
        "annotator": pseudonym,
        "time": time,
        "vote_id": source_id or key,
        **_said(verdict, dict(ranks), answers),
    }
    if opened is not None:
        by_slot = answers.by_slot
        vote["order"] = "".join([by_slot[slot] for slot in _order_in(display_order)])
        if opened != at:
            vote["opened"] = _time(opened)
    if seconds:
        vote["seconds"] = seconds
        votes.floats.append(seconds)
    if source in BY:
        vote["by"] = BY[source]
    if strength is not None:
        vote["strength"] = strength
    if edited_from in answers.letters:
        vote["edited_from"] = answers.letters[edited_from]
    if guidelines != 1:
        vote["guidelines_version"] = guidelines
    if protocol != 1:
        vote["protocol_version"] = protocol
    if write_in:
        vote["better_answer"] = write_in
    if comment:
        vote["comment"] = comment
    if said := value_in(reasons):
        vote["reasons"] = said
    if is_unblinded:
        vote["unblinded"] = True
    if is_probation:
        vote["probation"] = True
    if scores:
        vote["scores"] = _scores(scores, answers)
    if flags:
        vote["flags"] = _flags_said(flags, answers)
    return vote


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


def _flags_said(flags: Iterable[Row], answers: _Answers) -> list[Record]:
    said = []
    for candidate, kind, reason, status in flags:
        flag = {"kind": kind, "status": status, "reason": reason, "answer": answers.letters.get(candidate, "")}
        said.append({name: value for name, value in flag.items() if value})
    return sorted(said, key=canonical_json)


def _prompt(row: Row) -> tuple[Record, bool]:
    """What a record says of its prompt; and whether all numbers in it are written alike by any writer."""
    messages, following, group, tags, note, reference, metadata = row
    first = next((message["content"] for message in messages if message["role"] == "user"), "")
    said: Record = {
        name: value for name, value in (("tags", value_in(tags)), ("note", note), ("reference", reference)) if value
    }
    if group != group_sha256(first):
        said["group"] = f"sha256:{group}"
    if turns := value_in(following):
        said["following_turns"] = turns
    if given := value_in(metadata):
        said["metadata"] = _same_everywhere(given)
    return {"prompt": messages, **said}, agrees(said)


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
    at = text.removesuffix("+00")
    if len(at) not in (19, 26) or at[-3] in "+-" or at[-6] in "+-":  # fewer digits of a second, or another offset
        moment = datetime.fromisoformat(text)
        at = (moment if moment.tzinfo is None else moment.astimezone(UTC)).isoformat(timespec="microseconds")[:26]
    return f"{at[:10]}T{at[11:]}{'.000000' if len(at) == 19 else ''}Z"
