"""Read prompts from a file of strangers: a table (``core.tables``) or one prompt a line. No Django, no database.

A file that is not what it claims to be is refused as a whole (``UnreadableFile``); a row that cannot be used comes out
as a ``BadRow`` with its line and its reason, and reading goes on. Memory stays flat whatever the file holds, and text is
never changed: what comes out is byte for byte what went in.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from core.packed import ZSTD
from core.parquet import parquet_rows
from core.reading import (
    EXCERPT_CHARS,
    HEAD_BYTES,
    MAX_COLUMNS,
    MAX_LINE_BYTES,
    UTF8_BOM,
    BadRow,
    TableRow,
    UnreadableFile,
    Unusable,
    check_header,
    check_strings,
    decoded,
    excerpt_of,
    has_byte_order_mark,
    is_json_object,
    parse_json,
    raw_lines,
    refuse_binary,
    too_long,
)
from core.tables import NAMES as TABLE_NAMES
from core.tables import container_of, csv_rows, is_json_array, table_rows
from generation.transcripts import is_asked, transcript

Format = Literal["jsonl", "array", "csv", "parquet", "zst", "lines"]
Split = Literal["", "train", "holdout"]
Message = dict[str, str]

MAX_TEXT_CHARS = 1_000_000  # of one message
MAX_MESSAGES = 400
MAX_TAGS, MAX_TAG_CHARS = 50, 100
MAX_METADATA_BYTES = 256 << 10
MAX_NOTE_CHARS = 20_000

PROMPT_COLUMNS = (
    "prompt", "turns", "messages", "conversations", "conversation", "instruction", "question", "query", "text",
    "user_input",
)  # fmt: skip
TAG_COLUMNS = ("tags", "tag", "category")
GROUP_COLUMNS = ("group", "group_id")
NOTE_COLUMNS = ("note", "notes")
REFERENCE_COLUMNS = ("reference", "reference_answer")
SYSTEM_COLUMNS = ("system", "system_prompt")
KNOWN_COLUMNS = {
    *PROMPT_COLUMNS, *TAG_COLUMNS, *GROUP_COLUMNS, *NOTE_COLUMNS, *REFERENCE_COLUMNS, *SYSTEM_COLUMNS, "split", "input",
}  # fmt: skip
ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant",
}  # fmt: skip
SPLITS: dict[str, Split] = {
    "": "", "train": "train", "training": "train",
    **dict.fromkeys(("holdout", "held_out", "heldout", "test", "testing", "validation", "valid", "val"), "holdout"),
    **dict.fromkeys(("eval", "dev"), "holdout"),
}  # fmt: skip
EXTENSIONS: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
    ".pq": "parquet", ".txt": "lines", ".text": "lines",
}  # fmt: skip
NAMES = {**TABLE_NAMES, "lines": "plain lines"}


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One prompt as its source gave it. ``line`` counts from 1 (in Parquet: the row)."""

    line: int
    messages: list[Message]
    following_turns: list[str] = field(default_factory=list)
    group: str = ""
    split: Split = ""
    tags: list[str] = field(default_factory=list)
    note: str = ""
    reference: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def first_user_turn(self) -> str:
        return next(message["content"] for message in self.messages if message["role"] == "user")


Row = PromptRow | BadRow


# ---- which format ----------------------------------------------------------------------------------------------------


def detect_format(path: Path, filename: str = "") -> Format:
    """What the file holds, by its content; the name is a hint, and one that says otherwise is an error."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    named = EXTENSIONS.get(Path(filename).suffix.lower())
    if not head.strip(b" \t\r\n" + UTF8_BOM):
        raise UnreadableFile("The file is empty.", "Choose a file that holds prompts.")
    if head.startswith(ZSTD):
        return container_of(path, filename)
    if head.startswith(b"PAR1"):
        found: Format = "parquet"
    else:
        refuse_binary(head)
        found = _text_format(head.removeprefix(UTF8_BOM), named, whole=len(head) < HEAD_BYTES)
    if named and found != named and not (found == "array" and named == "jsonl"):
        raise UnreadableFile(
            f"The name ends in {Path(filename).suffix.lower()}, but the file holds {NAMES[found]}.",
            f"Rename it, or save it as {NAMES[named]}.",
        )
    return found


def detect_pasted(path: Path) -> Format:
    """Pasted text is one prompt a line, unless its lines are JSON objects."""
    with path.open("rb") as file:
        lines = [line for line in file.read(HEAD_BYTES).split(b"\n")[:20] if line.strip()]
    if not lines:
        raise UnreadableFile("There is nothing to import.", "Paste one prompt on each line.")
    return "jsonl" if all(is_json_object(line.strip()) for line in lines) else "lines"


def _text_format(head: bytes, named: Format | None, *, whole: bool) -> Format:
    lines = [line.strip() for line in head.split(b"\n") if line.strip()]
    if lines[0].startswith(b"[") and is_json_array(lines[0], head, whole=whole):
        return "array"
    objects = [line for line in lines[:20] if is_json_object(line)]
    if objects:
        return "jsonl"
    if lines[0].startswith(b"{") and (named == "jsonl" or (not whole and len(lines) == 1)):
        if len(lines) > 1 and lines[0] == b"{":
            raise UnreadableFile("This is one JSON object spread over several lines.", "Write one object on each line.")
        return "jsonl"
    if lines[0].startswith(b"[") and named == "jsonl":
        return "array"
    if named == "jsonl":
        looks = "CSV" if _csv_header(lines[0]) else "plain text"
        raise UnreadableFile(
            f"The name says JSON Lines, but the first lines are no JSON objects; this looks like {looks}.",
            "Write one JSON object on each line, or give the file its right name.",
        )
    if named in ("csv", "lines"):
        return named
    return "csv" if _csv_header(lines[0]) else "lines"


def _csv_header(line: bytes) -> str:
    """The delimiter, if the line is a header that names a column of prompts."""
    text = line.decode(errors="replace")
    for delimiter in ",\t;":
        try:
            names = next(csv.reader([text], delimiter=delimiter, strict=True), [])
        except csv.Error:
            continue
        if len(names) <= MAX_COLUMNS and any(_column(name) in PROMPT_COLUMNS for name in names):
            # A single word such as “text” may well be a prompt of its own; with company it is a header.
            return delimiter
    return ""


# ---- rows ------------------------------------------------------------------------------------------------------------


def read_rows(path: Path, file_format: Format) -> Iterator[Row]:
    """Every row of the file in order, good or bad. Raises UnreadableFile where there is no going on."""
    if file_format == "lines":
        return _line_rows(path)
    if file_format == "csv":
        return _table_rows(
            map(_structured, csv_rows(path, delimiter=_delimiter(path), rename=_named, check=_check_header))
        )
    if file_format == "parquet":
        return _table_rows(parquet_rows(path, check=_check_header))
    return _table_rows(table_rows(path, file_format))


def _table_rows(rows: Iterator[TableRow | BadRow]) -> Iterator[Row]:
    for row in rows:
        if isinstance(row, BadRow):
            yield row
            continue
        try:
            yield row_of(row.value, row.line)
        except Unusable as reason:
            yield BadRow(row.line, str(reason), excerpt_of(row.raw))


def _line_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, raw in raw_lines(file):
            if raw is None:
                yield too_long(number)
            elif raw.strip():
                try:
                    yield row_of({"prompt": decoded(raw)}, number)
                except Unusable as reason:
                    yield BadRow(number, str(reason), excerpt_of(raw))


def _delimiter(path: Path) -> str:
    with path.open("rb") as file:
        return _csv_header(file.readline(MAX_LINE_BYTES).removeprefix(UTF8_BOM).strip(b"\r\n"))


def _structured(row: TableRow | BadRow) -> TableRow | BadRow:
    """A row of CSV with the lists that its cells hold as JSON."""
    if isinstance(row, TableRow):
        for name in (*PROMPT_COLUMNS[:5], "tags"):
            text = row.value.get(name)
            if isinstance(text, str) and text.lstrip().startswith("["):
                try:
                    value = parse_json(text)
                except Unusable:
                    continue  # a text that begins with a bracket
                row.value[name] = value if isinstance(value, list) else text
    return row


def _check_header(names: list[str]) -> None:
    header = [_named(name) for name in names]
    check_header(header)
    if not any(name in PROMPT_COLUMNS for name in header):
        shown = ", ".join(name[:40] or "(no name)" for name in header[:8])
        raise UnreadableFile(
            f"No column holds a prompt; found: {shown}.", f"Name it one of: {', '.join(PROMPT_COLUMNS)}."
        )


# ---- one row ---------------------------------------------------------------------------------------------------------


def row_of(row: Mapping[str, Any], line: int) -> PromptRow:
    """A prompt from named columns. Raises Unusable with the reason.

    The first column of ``PROMPT_COLUMNS`` that holds something is the prompt: text, a list of messages, or (``turns``)
    the user's turns, of which all but the first are still to come. A transcript up to the answer is the conversation that it
    writes down. Columns that nothing here knows become metadata.
    """
    check_strings(row)
    if is_asked(row.get("prompt")):  # as our own export of prompts and HH's readers have it
        row = {**row, "prompt": transcript(row["prompt"])[:-1]}
    return prompt_from(row, line)


def prompt_from(row: Mapping[str, Any], line: int) -> PromptRow:
    """As ``row_of``, of a row whose texts are known to be storable."""
    if len(row) == 1 and isinstance(row.get("prompt"), str):  # most rows of an import of votes
        messages = [{"role": "user", "content": row["prompt"]}]
        _check_conversation(messages)
        return PromptRow(line, messages)
    columns = {_named(name): value for name, value in row.items()}
    if len(columns) != len(row):
        raise Unusable("Two columns have the same name but for case or spaces.")
    source = next((name for name in PROMPT_COLUMNS if not _is_blank(columns.get(name))), None)
    if source is None:
        named = next((name for name in PROMPT_COLUMNS if name in columns), None)
        wanted = ", ".join(PROMPT_COLUMNS)
        raise Unusable("The prompt is empty." if named else f"No column holds a prompt (one of {wanted}).")
    messages, following = _conversation(source, columns.pop(source))
    if source == "instruction" and not _is_blank(columns.get("input")):
        extra = _text(columns.pop("input"), "input")
        # As Alpaca's own template does.
        messages = [{"role": "user", "content": f"{messages[0]['content']}\n\n{extra}"}]
    system = _take(columns, SYSTEM_COLUMNS)
    if not _is_blank(system):
        if messages[0]["role"] == "system":
            raise Unusable("The row has a system column and a system message.")
        messages = [{"role": "system", "content": _text(system, "system")}, *messages]
    _check_conversation(messages)
    split = _take(columns, ("split",))
    split_name = str(split or "").strip().casefold()
    if split_name not in SPLITS:
        raise Unusable(f"The split is “{split_name[:40]}”; it can be train or holdout (or test, validation).")
    group = _take(columns, GROUP_COLUMNS)
    prompt = PromptRow(
        line=line,
        messages=messages,
        following_turns=following,
        group="" if _is_blank(group) else _scalar(group, "group"),
        split=SPLITS[split_name],
        tags=_tags(columns),
        note=_words(_take(columns, NOTE_COLUMNS), "note"),
        reference=_words(_take(columns, REFERENCE_COLUMNS), "reference"),
        metadata={name: value for name, value in columns.items() if value is not None and value != ""},
    )
    if prompt.metadata and len(json.dumps(prompt.metadata)) > MAX_METADATA_BYTES:
        raise Unusable(f"The other columns hold more than {MAX_METADATA_BYTES >> 10} KiB.")
    return prompt


def _column(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def _named(name: str) -> str:
    """The name of a column as it is used here; a column that nothing here knows keeps its own."""
    return _column(name) if _column(name) in KNOWN_COLUMNS else name


def _take(columns: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The first of these columns that holds something; the others stay and become metadata."""
    for name in names:
        if name in columns and not _is_blank(columns[name]):
            return columns.pop(name)
    for name in names:
        columns.pop(name, None)
    return None


def _is_blank(value: Any) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _conversation(source: str, value: Any) -> tuple[list[Message], list[str]]:
    """The messages so far, and the user's turns that follow."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}], []
    if not isinstance(value, list):
        raise Unusable(f"The column {source} holds neither text nor a list.")
    if len(value) > MAX_MESSAGES:
        raise Unusable(f"The conversation has more than {MAX_MESSAGES} turns.")
    if all(isinstance(turn, str) for turn in value):
        if source != "turns":
            raise Unusable(f"The column {source} is a list of texts; name it turns if they are the user's turns.")
        if any(not turn.strip() for turn in value):
            raise Unusable("A turn is empty.")
        return [{"role": "user", "content": value[0]}], value[1:]
    return [message_of(turn, number) for number, turn in enumerate(value, 1)], []


def message_of(turn: Any, number: int) -> Message:
    """One turn as role and content, or as from and value. Raises Unusable with the number of the message."""
    if not isinstance(turn, dict):
        raise Unusable(f"Message {number} is not an object with role and content.")
    role = turn.get("role", turn.get("from"))
    content = turn.get("content", turn.get("value"))
    if not isinstance(role, str) or role.casefold() not in ROLES:
        raise Unusable(f"Message {number} has the role “{str(role)[:40]}”; it can be system, user or assistant.")
    if isinstance(content, list):
        raise Unusable(f"Message {number} has several parts; only plain text can be used.")
    if not isinstance(content, str):
        raise Unusable(f"Message {number} has no text.")
    if any(turn.get(name) for name in ("tool_calls", "tool_call_id", "function_call", "images", "audio")):
        raise Unusable(f"Message {number} uses tools or media; only plain text can be used.")
    return {"role": ROLES[role.casefold()], "content": content}


def _check_conversation(messages: list[Message]) -> None:
    for number, message in enumerate(messages, 1):
        if not message["content"].strip():
            raise Unusable(f"Message {number} is empty." if len(messages) > 1 else "The prompt is empty.")
        if len(message["content"]) > MAX_TEXT_CHARS:
            raise Unusable(f"Message {number} is longer than {MAX_TEXT_CHARS:,} characters.")
        if message["role"] == "system" and number > 1:
            raise Unusable("A system message can only be the first.")
    turns = [message["role"] for message in messages if message["role"] != "system"]
    if not turns:
        raise Unusable("There is no user turn.")
    if turns[-1] != "user":
        raise Unusable("The last turn is the assistant's; a prompt ends with the user's turn.")
    if turns[0] != "user":
        raise Unusable("The first turn is the assistant's; a conversation begins with the user.")
    if any(before == after for before, after in pairwise(turns)):
        raise Unusable("Two turns in a row have the same role; user and assistant take turns.")


def _tags(columns: dict[str, Any]) -> list[str]:
    tags: list[str] = []
    for name in TAG_COLUMNS:
        value = columns.pop(name, None)
        if _is_blank(value):
            continue
        # A category is one name, commas and all; tags in one cell are separated by commas or semicolons.
        found = value if isinstance(value, list) else re.split(r"[,;]", str(value)) if name != "category" else [value]
        for tag in found:
            if not isinstance(tag, (str, int, float)) or isinstance(tag, bool):
                raise Unusable(f"The column {name} holds something that is no tag.")
            tags.append(str(tag).strip())
    tags = list(dict.fromkeys(tag for tag in tags if tag))
    if len(tags) > MAX_TAGS or any(len(tag) > MAX_TAG_CHARS for tag in tags):
        raise Unusable(f"There are more than {MAX_TAGS} tags, or one is longer than {MAX_TAG_CHARS} characters.")
    return tags


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise Unusable(f"The column {name} is not text.")
    return value


def _scalar(value: Any, name: str) -> str:
    if isinstance(value, (dict, list)):
        raise Unusable(f"The column {name} holds a list or an object.")
    return str(value)


def _words(value: Any, name: str) -> str:
    """A note or a reference: text, a number, or a list of texts (one for each turn, as MT-Bench has it)."""
    if value is None:
        return ""
    words = "\n\n".join(_scalar(part, name) for part in value) if isinstance(value, list) else _scalar(value, name)
    if len(words) > (MAX_TEXT_CHARS if name == "reference" else MAX_NOTE_CHARS):
        raise Unusable(f"The column {name} is too long.")
    return words


__all__ = [
    "EXCERPT_CHARS", "MAX_LINE_BYTES", "NAMES", "BadRow", "Format", "Message", "PromptRow", "Row", "Split", "UnreadableFile",
    "Unusable", "detect_format", "detect_pasted", "excerpt_of", "has_byte_order_mark", "message_of", "prompt_from", "read_rows", "row_of",
]  # fmt: skip
