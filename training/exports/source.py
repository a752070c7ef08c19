"""The frozen files of one dataset, as an export reads them: line by line, in their fixed order."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson

from training.exports.options import Options
from training.formats.files import LINEAGE, RECORDS

Row = dict[str, Any]
Messages = list[dict[str, str]]

NAMED_BY = ("model", "sampling", "engine", "seed", "n_prompt_tokens", "n_completion_tokens", "latency_seconds")


class Numbered:
    """Names given out in the order in which they are asked for: ``model-1``, ``model-2`` ..."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.names: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        return self.names.setdefault(name, f"{self.word}-{len(self.names) + 1}")


class Source:
    """One frozen directory. ``n_read`` grows with the bytes that were read."""

    def __init__(self, directory: Path, options: Options) -> None:
        self.directory, self.options = directory, options
        self.n_read = 0
        self.beat: Callable[[int], None] = lambda _: None  # to be called where no row comes for long
        self.campaigns: dict[str, Row] = {}
        self._models, self._people = Numbered("model"), Numbered("person")

    # ---- pairs ----

    def pairs(self) -> Iterator[Row]:
        """The preference rows of the split, those of one prompt together."""
        return self._rows(self.directory / f"{self.options.split}.jsonl")

    def pairs_by_prompt(self) -> Iterator[list[Row]]:
        for _, rows in groupby(self.pairs(), key=lambda row: row["prompt_id"]):
            yield list(rows)

    def beaten(self) -> set[str]:
        """Rows (by id) whose chosen answer lost in a pair that is not among the rows."""
        with (self.directory / LINEAGE).open("rb") as file:
            return {orjson.loads(line)["id"] for line in file if line.startswith(b'{"beaten":')}

    def unpaired(self) -> Iterator[Row]:
        """Answers called good or bad by themselves; none where the dataset keeps no such rows."""
        path = self.directory / f"unpaired-{self.options.split}.jsonl"
        return self._rows(path) if path.exists() else iter(())

    # ---- judged tasks ----

    def tasks(self) -> Iterator[Row]:
        """The judged tasks of the split, with names hidden where asked."""
        for task in self.judged():
            self._hide(task)
            yield task

    def judged(self) -> Iterator[Row]:
        """The judged tasks of the split, with all names; each has its campaign's description as ``campaign``."""
        split = "holdout" if self.options.split == "test" else "train"
        for record in _whole(self._rows(self.directory / RECORDS)):
            if isinstance(record["campaign"], dict):
                self.campaigns[record["campaign"]["id"]] = record["campaign"]
            elif record["split"] == split:
                yield {**record, "campaign": self.campaigns[record["campaign"]]}

    def judged_by_prompt(self) -> Iterator[list[Row]]:
        for _, tasks in groupby(self.judged(), key=lambda task: task["prompt"]):
            yield list(tasks)

    def records(self) -> Iterator[Row]:
        """Every line of the full format, those of one task as one, with names hidden where asked.

        Tasks of one prompt are in an order that has nothing to do with names, and the votes of a task in that of their new names: so
        both are when they are imported and come here again.
        """
        whole = _whole(self._rows(self.directory / RECORDS))
        for prompt, records in groupby(whole, key=lambda record: record.get("prompt")):
            if prompt is None:  # descriptions of campaigns
                yield from records
                continue
            for record in sorted(records, key=_content):
                self._hide(record)
                record["votes"].sort(key=lambda vote: (vote["annotator"], vote["time"], vote["vote_id"]))
                yield record

    def model(self, name: str) -> str:
        """What a model is called in this export."""
        return name if self.options.models else self._models[name]

    def person(self, name: str) -> str:
        return name if self.options.people else self._people[name]

    def _hide(self, record: Row) -> None:
        if not self.options.models:
            for answer in record["answers"]:
                hidden = self.model(answer["model"])
                for name in NAMED_BY:
                    answer.pop(name, None)
                answer["model"] = hidden
        if not self.options.people:
            for name in sorted({vote["annotator"] for vote in record["votes"]}, key=lambda name: (len(name), name)):
                self.person(name)  # person-2 before person-10
            for vote in record["votes"]:
                vote["annotator"] = self.person(vote["annotator"])

    # ---- lines ----

    def raw(self) -> Iterator[bytes]:
        """The lines of the full format as they lie."""
        yield from self._lines(self.directory / RECORDS)

    def _rows(self, path: Path) -> Iterator[Row]:
        for line in self._lines(path):
            yield orjson.loads(line)

    def _lines(self, path: Path) -> Iterator[bytes]:
        # Binary, because only \n ends a line here: text files would also break at the Unicode separators in answers.
        with path.open("rb") as file:
            for line in file:
                self.n_read += len(line)
                yield line


def _content(record: Row) -> tuple[list[str], str]:
    return [answer["text"] for answer in record["answers"]], record["id"]


def _whole(records: Iterable[Row]) -> Iterator[Row]:
    """Tasks with all their votes: many may stand on several lines (``training.formats.records.readable``)."""
    last: Row | None = None
    for record in records:
        if last is not None and _is_same_task(last, record):
            last["votes"] += record["votes"]
            continue
        if last is not None:
            yield last
        last = record
    if last is not None:
        yield last


def _is_same_task(one: Row, other: Row) -> bool:
    if one.get("id") != other.get("id") or one.keys() != other.keys():
        return False
    return all(one[name] == other[name] for name in one if name != "votes")
