"""The lines of the full format, from rows as the database gives them: what ``training.records`` puts beside a dataset's rows.

Needs no Django: the process that reads for a freeze makes them too, so that two cores are at work.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from core.answering import Answer
from core.ids import canonical_json, group_sha256
from core.reading import MAX_LINE_BYTES
from training.formats.canonical import ERASED, agrees, canonical, messages_in, value_in
from training.formats.twins import Look, Task, ids_of_twins

IMPORTED = "imported"
CHOICES = {"tie": "tie", "both_good": "both_good", "all_bad": "both_bad"}
MAX_VOTES = 10_000  # of one line, as ``annotation.votes`` reads it
BY = {"adjudicator": "adjudicator", "ai": "ai", "simulated": "simulated"}

Record = dict[str, Any]
Row = Sequence[Any]
Found = Mapping[str, Answer]
Asked = Mapping[int, tuple[str, str]]  # judgement -> (split, hash of its prompt)


class Names(NamedTuple):
    """What campaigns and models are called in the file, by their ids; and the letters of answers, in their order."""

    campaigns: Mapping[int, str]
    models: Mapping[int, str]
    letters: str


def lines_maker(
    names: Sequence[Any], left: Mapping[str, int]
) -> Callable[[Asked, Found], tuple[dict[str, Answer], bytes]]:
    """What makes of some judgements, and of what was found for them, that which rows are made of and the lines of their tasks.

    names  of ``Names``
    left   of these steps the first columns, so many of them, or all for 0; the rest was for the lines alone
    """
    lines = TaskLines(Names(*names))

    def make(asked: Asked, found: Found) -> tuple[dict[str, Answer], bytes]:
        for_rows = {
            name: {key: row[:n_columns] for key, row in found[name].items()} if n_columns else found[name]
            for name, n_columns in left.items()
        }
        return for_rows, b"".join(lines.of(asked, found))

    return make


class TaskLines:
    """A line for each task. Found are the steps of ``training.reading.Reader``, in full."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.arms: dict[int, tuple[Record, bool]] = {}  # what an answer says of its arm; whether it is plain

    def of(self, asked: Asked, found: Found) -> list[bytes]:
        """Prompts in the order of what was asked, the tasks of one prompt in that of their lines."""
        for pk, row in found["arms"].items():
            if pk not in self.arms:
                self.arms[pk] = self._arm(*row)
        tasks: dict[str, dict[int, str]] = defaultdict(dict)  # of each prompt, with their split
        for pk, (split, prompt) in asked.items():
            tasks[prompt][found["judgements"][pk][5]] = split
        ids: dict[int, str] = {}
        for of_prompt in tasks.values():
            if len(of_prompt) > 1:
                ids |= self._ids_of_twins(of_prompt, asked, found)
        votes = self._votes(asked, found, ids)
        prompts = {pk: _prompt(row) for pk, row in found["prompts"].items()}
        lines: list[bytes] = []
        for of_prompt in tasks.values():
            of_this = [
                self._lines(found["tasks"][task], votes[task], prompts, split=split)
                for task, split in of_prompt.items()
            ]
            of_this.sort()
            lines += chain.from_iterable(of_this)
        return lines

    def _lines(
        self, row: Row, votes: "_Votes", prompts: Mapping[int, tuple[Record, bool]], *, split: str
    ) -> list[bytes]:
        """One, unless nobody could read it."""
        prompt_id, campaign, key, source_id, why, probability = row
        prompt, is_plain = prompts[prompt_id]
        record = {
            **prompt,
            "campaign": self.names.campaigns[campaign],
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
        return readable(record, lambda part: canonical(part, floats=floats) + b"\n")

    # ---- answers ----

    def _ids_of_twins(self, tasks: Iterable[int], asked: Asked, found: Found) -> dict[int, str]:
        candidates = found["candidates"]
        given = {
            task: Task(self.names.campaigns[found["tasks"][task][1]], tuple(slot[0] for slot in found["slots"][task]))
            for task in tasks
        }
        looks: dict[int, Look] = {}
        for task in given.values():
            for candidate in task.candidates:
                _, _, arm, text_sha256, *_ = candidates[candidate]
                looks[candidate] = self.arms[arm][0]["model"], text_sha256
        if len(set(looks.values())) == len(looks):
            return {}

        def said(candidate: int) -> bytes:
            alone = _Answers([], {}, [], [], [], [])
            self._add_answer(candidates[candidate], alone)
            return canonical_json(alone.records[0])

        return ids_of_twins(given, looks, said, lambda some, twins: self._heard(some, twins, asked, found))

    def _heard(
        self, tasks: Iterable[int], twins: Collection[int], asked: Asked, found: Found
    ) -> dict[int, tuple[Any, ...]]:
        """The tasks of each answer, its ranks and its places on the screen there, by ids that an import keeps; then its key."""
        heard: dict[int, list[Any]] = defaultdict(list)
        for pk in asked:
            key, _, _, _, _, task, _, _, display_order, opened, _, source_id, *_ = found["judgements"][pk]
            if task not in tasks:
                continue
            _, campaign, task_key, task_id, *_ = found["tasks"][task]
            where = self.names.campaigns[campaign], task_id or task_key, source_id or key
            slots = [slot[0] for slot in found["slots"][task]]
            ranks = dict(found["ranks"].get(pk, ()))
            shown = [slots[slot] for slot in _order_in(display_order)] if opened is not None else []
            for candidate in set(slots).intersection(twins):
                place = shown.index(candidate) if candidate in shown else -1
                heard[candidate].append((*where, ranks.get(candidate, 0), place))
        return {candidate: (sorted(heard[candidate]), found["candidates"][candidate][0]) for candidate in twins}

    def _answers(self, slots: list[int], rows: Mapping[int, Row], ids: Mapping[int, str]) -> "_Answers":
        by_text = {rows[candidate][3]: candidate for candidate in slots}
        differ = len(by_text) == len(slots)
        if differ:
            ordered = [by_text[text_sha256] for text_sha256 in sorted(by_text)]
        else:
            ordered = sorted(slots, key=lambda candidate: self._rank_of(rows[candidate], ids.get(candidate, "")))
        letters = dict(zip(ordered, self.names.letters, strict=False))
        found = _Answers([], letters, [letters[candidate] for candidate in slots], ordered, [], [])
        for candidate in ordered:
            self._add_answer(rows[candidate], found)
            if candidate in ids:
                found.records[-1]["id"] = ids[candidate]
        known_by = {(record["model"], record["text"], record.get("id")) for record in found.records}
        if not differ and len(known_by) < len(slots):
            # only then do two answers need more than themselves to be told apart
            for number, record in enumerate(found.records, 1):
                record.setdefault("id", str(number))
        return found

    def _rank_of(self, row: Row, own: str) -> tuple[Any, ...]:
        """By content; the key settles only what no reader can tell apart."""
        key, _, arm, text_sha256, index, seed, *_ = row
        said = self.arms[arm][0]
        return text_sha256, said["model"], seed, int(own or 0), canonical_json(said), index, key

    def _add_answer(self, row: Row, answers: "_Answers") -> None:
        _, text, arm, _, _, seed, finish, n_prompt, n_completion, latency = row
        said, is_plain = self.arms[arm]
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

    def _arm(self, version: int, sampling: str, engine: str) -> tuple[Record, bool]:
        arm: Record = {"model": self.names.models[version]}
        if said := {name: value for name, value in json.loads(sampling).items() if value not in (None, [], "")}:
            arm["sampling"] = said
        if engine:
            arm["engine"] = engine
        return arm, agrees(arm)

    # ---- votes ----

    def _votes(self, asked: Asked, found: Found, ids: Mapping[int, str]) -> dict[int, "_Votes"]:
        """The votes of each task, in their order. ``ids`` of the answers that need one, by candidate."""
        judgements, ranks, scores, flags = found["judgements"], found["ranks"], found["scores"], found["flags"]
        slots, candidates = found["slots"], found["candidates"]
        by_task: dict[int, _Votes] = {}
        for pk in asked:
            _, _, _, _, _, task, annotator, *_ = row = judgements[pk]
            votes = by_task.get(task)
            if votes is None:
                of_task = self._answers([candidate for (candidate,) in slots[task]], candidates, ids)
                votes = by_task[task] = _Votes(of_task, [], [])
            votes.said.append(
                _vote(row, votes, ranks.get(pk, ()), scores.get(pk, ()), flags.get((task, annotator), ()))
            )
        for votes in by_task.values():
            if len(votes.said) > 1:
                votes.said.sort(key=lambda vote: (vote["annotator"], vote["time"], vote["vote_id"]))
        return by_task


def readable(record: Record, write: Callable[[Record], bytes]) -> list[bytes]:
    """The line of a task; where an import would refuse it, lines of the halves of its votes, which make the same task again."""
    line, votes = write(record), record["votes"]
    if (len(line) <= MAX_LINE_BYTES and len(votes) <= MAX_VOTES) or len(votes) < 2:
        return [line]
    middle = len(votes) // 2
    halves = ({**record, "votes": part} for part in (votes[:middle], votes[middle:]))
    return [part for half in halves for part in readable(half, write)]


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
    if write_in and write_in != ERASED:
        vote["better_answer"] = write_in
    if comment and comment != ERASED:
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
    text, following, group, tags, note, reference, metadata = row
    messages = messages_in(text)
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


def _time(text: str) -> str:
    """A time as the database writes it: PostgreSQL with its offset, SQLite in UTC without one."""
    at = text.removesuffix("+00")
    if len(at) not in (19, 26) or at[-3] in "+-" or at[-6] in "+-":  # fewer digits of a second, or another offset
        moment = datetime.fromisoformat(text)
        at = (moment if moment.tzinfo is None else moment.astimezone(UTC)).isoformat(timespec="microseconds")[:26]
    return f"{at[:10]}T{at[11:]}{'.000000' if len(at) == 19 else ''}Z"
