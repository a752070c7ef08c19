"""Which formats of votes there are, and which one a file is: by its content, never by its name alone.

A format reads the rows of a table (``core.tables``) into rows of ``judged.Judged``; everything after that is the same for all.
Another one is another module in ``sources`` and another entry in ``FORMATS``, before those that would recognise its files too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from annotation.votes import profile
from annotation.votes.judged import Judged, Row
from annotation.votes.sources import (
    arena,
    argilla,
    helpsteer,
    label_studio,
    llamafactory,
    mapped,
    openai,
    rankings,
    trl,
    ultrafeedback,
)
from core.reading import BadRow, TableRow, UnreadableFile, Unusable, excerpt_of, parse_json
from core.tables import container_of, table_rows

LOOKED_AT = 20
MAPPED = "mapped"
Rows = Iterable[TableRow | BadRow]
Objects = Sequence[Mapping[str, Any]]
# Columns of CSV whose cells hold JSON in these formats; elsewhere a text that looks like JSON is a text.
JSON_CELLS = frozenset(
    {
        "prompt", "chosen", "rejected", "completion", "messages", "conversation_a", "conversation_b", "conversations", "context",
        "input", "preferred_output", "non_preferred_output", "individual_preference", "three_most_similar_preferences",
        "all_preferences_unprocessed", "answers", "votes", "responses", "completions", "ranks", "ranking", "rankings", "models",
        "tags", "metadata", "fields", "data", "annotations", "history", "answer_a", "answer_b", "campaign",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Format:
    """One format.

    recognises  looks at the first objects of a file
    read        turns all its rows into ``Judged`` or ``BadRow``
    lacks       what it cannot say, so that an import leaves it unknown
    """

    name: str
    label: str
    recognises: Callable[[Objects], bool]
    read: Callable[[Rows, datetime], Iterator[Row]]
    lacks: str = ""


def row_by_row(read: Callable[[Mapping[str, Any], int, datetime], Judged]) -> Callable[[Rows, datetime], Iterator[Row]]:
    """A reader of files of a reader of rows."""

    def rows(table: Rows, now: datetime) -> Iterator[Row]:
        for row in table:
            if isinstance(row, BadRow):
                yield row
                continue
            try:
                yield read(row.value, row.line, now)
            except Unusable as reason:
                yield BadRow(row.line, str(reason), excerpt_of(row.raw))

    return rows


PEOPLE = "who judged, when, and in which order the answers were shown"
MODELS = "which models wrote the answers"
FORMATS: tuple[Format, ...] = (
    Format("label-studio", "Label Studio (JSON)", label_studio.recognises, row_by_row(label_studio.read), MODELS),
    Format("argilla", "Argilla records", argilla.is_nested, row_by_row(argilla.nested), "the time and the order shown"),
    Format("argilla-flat", "Argilla records, flattened", argilla.is_flat, row_by_row(argilla.flat), "the time and the order shown"),
    Format("arena", "Arena battles", arena.recognises, row_by_row(arena.read), "strength and comments"),
    Format("openai", "OpenAI preferences", openai.recognises, row_by_row(openai.read), f"ties, strength, {PEOPLE}, {MODELS}"),
    Format("helpsteer3", "HelpSteer3 preferences", helpsteer.is_third, row_by_row(helpsteer.third), f"{PEOPLE}, {MODELS}"),
    Format("helpsteer2", "HelpSteer2 preferences", helpsteer.is_second, row_by_row(helpsteer.second), f"{PEOPLE}, {MODELS}"),
    Format("helpsteer2-ratings", "HelpSteer2 ratings", helpsteer.is_rated, helpsteer.read_rated, f"{PEOPLE}, {MODELS}"),
    Format("ultrafeedback", "UltraFeedback, binarized", ultrafeedback.recognises, row_by_row(ultrafeedback.read),
           f"ties, {PEOPLE}, {MODELS}"),
    Format("rankings", "Rankings (InstructGPT, Nectar)", rankings.recognises, row_by_row(rankings.read), "the order shown"),
    Format("votes", "Whetstone votes", profile.recognises, profile.read),
    Format("llamafactory-kto", "LLaMA-Factory, KTO", llamafactory.is_tagged, row_by_row(llamafactory.tagged), f"{PEOPLE}, {MODELS}"),
    Format("llamafactory", "LLaMA-Factory preferences", llamafactory.is_pairs, row_by_row(llamafactory.pair),
           f"ties, strength, {PEOPLE}, {MODELS}"),
    Format("hh", "Anthropic HH transcripts", trl.is_transcripts, row_by_row(trl.pair), f"ties, strength, {PEOPLE}, {MODELS}"),
    Format("trl", "TRL preference", trl.is_pairs, row_by_row(trl.pair), f"ties, {PEOPLE}, {MODELS}"),
    Format("trl-unpaired", "TRL unpaired (KTO)", trl.is_unpaired, row_by_row(trl.unpaired), f"what an answer was compared with, {PEOPLE}"),
    Format("llamafactory-answers", "LLaMA-Factory answers (SFT)", llamafactory.is_answers, row_by_row(llamafactory.answers),
           "judgements"),
    Format("trl-answers", "TRL prompt-completion or messages (SFT)", trl.is_answered, row_by_row(trl.answered), "judgements"),
)  # fmt: skip


class Unrecognised(UnreadableFile):
    """A table that no format knows: its columns may be mapped."""

    def __init__(self, columns: Sequence[str], bad: Sequence[BadRow] = ()) -> None:
        shown = ", ".join(name[:40] for name in columns[:12]) or "none"
        told = f" Line {bad[0].line:,} cannot be read: {bad[0].reason}" if bad else ""
        super().__init__(
            f"No votes in a form that is known here. The columns: {shown}.{told}",
            "Say which column is what, or give each row a prompt, its answers and its votes.",
        )
        self.columns = list(columns)


def label_of(name: str) -> str:
    return next(
        (each.label for each in FORMATS if each.name == name),
        "Columns as you said" if name == MAPPED else "Not recognised",
    )


def recognise(path: Path, filename: str = "") -> Format:
    """The format of a file. Raises Unrecognised for a table of something else, UnreadableFile for what is no table."""
    rows, bad = looked_at(path, filename)
    for each in FORMATS:
        if each.recognises(rows):
            return each
    raise Unrecognised(columns_of(rows), bad)


def read(path: Path, name: str, mapping: Mapping[str, str] | None = None) -> Iterator[Row]:
    """Every row of a file in this format, good or bad. Raises UnreadableFile where there is no going on."""
    if name == MAPPED:
        found, turns = row_by_row(mapped.reader(mapping or {})), mapped.columns_of_turns(mapping or {})
    else:
        found, turns = next(each.read for each in FORMATS if each.name == name), frozenset()
    return found(objects_of(path, container_of(path), turns), datetime.now(UTC))


def looked_at(path: Path, filename: str = "") -> tuple[Objects, Sequence[BadRow]]:
    """The first rows of a file, and those among them that cannot be read. Raises UnreadableFile, with the reason of the first,
    where none can."""
    found = list(islice(objects_of(path, container_of(path, filename)), LOOKED_AT))
    bad = [row for row in found if isinstance(row, BadRow)]
    if not found:
        raise UnreadableFile("The table has no rows.", "Choose a file that holds votes.")
    if len(bad) == len(found):
        which = "The first row" if len(bad) == 1 else f"None of the first {len(bad)} rows"
        can = "cannot" if len(bad) == 1 else "can"
        raise UnreadableFile(
            f"{which} {can} be read. Line {bad[0].line:,}: {bad[0].reason}",
            "Put that right, and upload the file again.",
        )
    return [row.value for row in found if isinstance(row, TableRow)], bad


def first_objects(path: Path, container: str, most: int) -> Objects:
    found = islice(objects_of(path, container), most)
    return [row.value for row in found if isinstance(row, TableRow)]


def columns_of(rows: Objects) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def objects_of(path: Path, container: str, turns: Set[str] = frozenset()) -> Iterator[TableRow | BadRow]:
    """The rows of a table. ``turns``: columns that hold a prompt or an answer, as text or as messages."""
    rows = table_rows(path, container)
    return map(partial(_opened, turns=turns), rows) if container == "csv" else rows


def _opened(row: TableRow | BadRow, turns: Set[str]) -> TableRow | BadRow:
    """A row of CSV with the lists and objects that its cells hold as JSON."""
    if isinstance(row, TableRow):
        for name in JSON_CELLS & row.value.keys():
            text = row.value[name]
            if text.startswith(("[", "{")):
                try:
                    value = parse_json(text)
                except Unusable:
                    continue  # a text that begins with a bracket
                if (
                    not isinstance(value, list)
                    or not value
                    or all(isinstance(each, (dict, int, str)) for each in value)
                ):
                    row.value[name] = value
        for name in turns & row.value.keys():
            row.value[name] = _messages_in(row.value[name])
    return row


def _messages_in(cell: Any) -> Any:
    """The messages of a cell, or the cell: an answer may well be JSON of another kind, and is a text then."""
    if isinstance(cell, str) and cell.startswith(("[{", "{")):
        try:
            value = parse_json(cell)
        except Unusable:
            return cell
        turns = value if isinstance(value, list) else [value]
        if all(isinstance(turn, dict) and ("role" in turn or "from" in turn) for turn in turns):
            return value
    return cell
