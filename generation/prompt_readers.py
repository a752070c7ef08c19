"""Read prompts from a file of strangers: JSON Lines, CSV, Parquet or one prompt a line. No Django, no database.

A file that is not what it claims to be is refused as a whole (``UnreadableFile``); a row that cannot be used comes out
as a ``BadRow`` with its line and its reason, and reading goes on. Memory stays flat whatever the file holds, and text is
never changed: what comes out is byte for byte what went in.
"""

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Literal

from core.reading import (
    EXCERPT_CHARS,
    HEAD_BYTES,
    MAX_LINE_BYTES,
    UTF8_BOM,
    BadRow,
    UnreadableFile,
    Unusable,
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

Format = Literal["jsonl", "csv", "parquet", "lines"]
Split = Literal["", "train", "holdout"]
Message = dict[str, str]

MAX_TEXT_CHARS = 1_000_000  # of one message
MAX_MESSAGES = 400
MAX_TAGS, MAX_TAG_CHARS = 50, 100
MAX_METADATA_BYTES = 256 << 10
MAX_NOTE_CHARS = 20_000
MAX_COLUMNS = 1_000
MAX_ROWS = 20_000_000
MAX_ROW_GROUPS = 100_000
MAX_FOOTER_BYTES = 32 << 20
MAX_CHUNK_BYTES = 2 << 30  # of one column of one row group, unpacked
MAX_PAGE_BYTES = 256 << 20

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
NAMES = {"jsonl": "JSON Lines", "csv": "CSV", "parquet": "Parquet", "lines": "plain lines"}
TOO_LONG = "\ufffe\ufffe"  # stands for a line that was not read; no text holds these two


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
    if head.startswith(b"PAR1"):
        found: Format = "parquet"
    else:
        refuse_binary(head)
        found = _text_format(head.removeprefix(UTF8_BOM), named, whole=len(head) < HEAD_BYTES)
    if named and found != named:
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
    objects = [line for line in lines[:20] if is_json_object(line)]
    if objects:
        return "jsonl"
    if lines[0].startswith(b"{") and (named == "jsonl" or (not whole and len(lines) == 1)):
        if len(lines) > 1 and lines[0] == b"{":
            raise UnreadableFile("This is one JSON object spread over several lines.", "Write one object on each line.")
        return "jsonl"
    if lines[0].startswith(b"[") and (named == "jsonl" or _is_json_array(lines[0], head, whole=whole)):
        raise UnreadableFile("This is one JSON array.", "Write one object on each line (JSON Lines).")
    if named == "jsonl":
        looks = "CSV" if _csv_header(lines[0]) else "plain text"
        raise UnreadableFile(
            f"The name says JSON Lines, but the first lines are no JSON objects; this looks like {looks}.",
            "Write one JSON object on each line, or give the file its right name.",
        )
    if named in ("csv", "lines"):
        return named
    return "csv" if _csv_header(lines[0]) else "lines"


def _is_json_array(first: bytes, head: bytes, *, whole: bool) -> bool:
    if first in (b"[", b"[{") or first.startswith(b"[{"):
        return True
    try:
        return whole and isinstance(json.loads(head), list)
    except (ValueError, RecursionError):
        return False


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
    if file_format == "parquet":
        return _parquet_rows(path)
    if file_format == "csv":
        return _csv_rows(path)
    return _jsonl_rows(path) if file_format == "jsonl" else _line_rows(path)


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


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, raw in raw_lines(file):
            if raw is None:
                yield too_long(number)
            elif raw.strip():
                try:
                    value = parse_json(decoded(raw))
                    if not isinstance(value, dict):
                        raise Unusable("The line is JSON, but not an object with named columns.")
                    yield row_of(value, number)
                except Unusable as reason:
                    yield BadRow(number, str(reason), excerpt_of(raw))


def _csv_lines(file: BinaryIO) -> Iterator[str]:
    # Bytes that are not UTF-8 travel as lone surrogates to the row that holds them, and are reported there.
    # Line ends are kept: inside quotation marks they are the text's own.
    for _, raw in raw_lines(file, keep_ends=True):
        yield TOO_LONG + "\n" if raw is None else raw.decode(errors="surrogateescape")


def _csv_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        first = file.readline(MAX_LINE_BYTES).removeprefix(UTF8_BOM).strip(b"\r\n")
        file.seek(0)
        delimiter = _csv_header(first) or max(",\t;", key=lambda sign: first.count(sign.encode()))
        csv.field_size_limit(MAX_LINE_BYTES)
        reader = csv.reader(_csv_lines(file), delimiter=delimiter, strict=True)
        try:
            header = [_named(name) for name in next(reader, [])]
        except csv.Error as problem:
            raise UnreadableFile(f"The header cannot be read: {problem}.", "Quote cells as spreadsheets do.") from None
        _check_header(header)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as problem:
                yield BadRow(line, _csv_reason(str(problem)))
                continue
            if not any(cell.strip() for cell in cells):
                continue
            try:
                yield _csv_row(header, cells, line)
            except Unusable as reason:
                yield BadRow(line, str(reason), excerpt_of(delimiter.join(cells)))


def _csv_reason(problem: str) -> str:
    if "field limit" in problem:
        return f"A cell is longer than {MAX_LINE_BYTES >> 20} MiB: most often a quotation mark that is never closed."
    if "end of data" in problem:
        return "A quotation mark is never closed."
    if "expected after" in problem:
        return "A quoted cell goes on after its closing quotation mark; double the quotation marks inside a cell."
    return f"The row cannot be read: {problem}."


def _csv_row(header: list[str], cells: list[str], line: int) -> PromptRow:
    if len(cells) != len(header):
        raise Unusable(f"The row has {len(cells)} cells, the header {len(header)}.")
    if any(TOO_LONG in cell for cell in cells):
        raise Unusable(f"A line of it is longer than {MAX_LINE_BYTES >> 20} MiB.")
    for cell in cells:
        if not cell.isascii() and any("\udc80" <= char <= "\udcff" for char in cell):
            raise Unusable("The row is not UTF-8.")
    row: dict[str, Any] = dict(zip(header, cells, strict=True))
    for name in (*PROMPT_COLUMNS[:5], "tags"):
        text = row.get(name)
        if isinstance(text, str) and text.lstrip().startswith("["):
            try:
                value = parse_json(text)
            except Unusable:
                continue  # a text that begins with a bracket
            row[name] = value if isinstance(value, list) else text
    return row_of(row, line)


def _check_header(header: list[str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise UnreadableFile(f"The table has more than {MAX_COLUMNS:,} columns.")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UnreadableFile(f"The column {twice[0] or '(without a name)'} is there twice.", "Give each its own name.")
    if not any(name in PROMPT_COLUMNS for name in header):
        shown = ", ".join(name[:40] or "(no name)" for name in header[:8])
        raise UnreadableFile(
            f"No column holds a prompt; found: {shown}.", f"Name it one of: {', '.join(PROMPT_COLUMNS)}."
        )


# ---- Parquet ---------------------------------------------------------------------------------------------------------


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_footer(path)
    try:
        file = pq.ParquetFile(
            path, thrift_string_size_limit=MAX_FOOTER_BYTES, thrift_container_size_limit=1_000_000, memory_map=False
        )
        _check_parquet(file)
        number = 0
        for batch in file.iter_batches(batch_size=256, use_threads=False):
            for value in batch.to_pylist():
                number += 1
                try:
                    yield row_of(_plain(value), number)
                except Unusable as reason:
                    yield BadRow(number, str(reason), excerpt_of(str(value)[:400]))
    except (pa.ArrowException, OSError, MemoryError, OverflowError) as problem:
        raise UnreadableFile(
            f"This Parquet file cannot be read: {_first_line(problem)}.", "Write it again, for example with pyarrow."
        ) from None


def _first_line(problem: BaseException) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0][:200]


def _check_footer(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size < 12:
            raise UnreadableFile("This Parquet file is cut off.", "Upload it again.")
        file.seek(size - 8)
        tail = file.read(8)
    n_bytes = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or n_bytes > size:
        raise UnreadableFile("This Parquet file is cut off or encrypted.", "Upload it again.")
    if n_bytes > MAX_FOOTER_BYTES:
        raise UnreadableFile(f"The description of this Parquet file is {n_bytes >> 20} MiB long; that cannot be right.")


def _check_parquet(file: Any) -> None:
    """Refuse by the description alone what would unpack to more than memory holds, and types that bring code."""
    import pyarrow as pa

    about = file.metadata
    if about.num_rows > MAX_ROWS or about.num_rows < 0:
        raise UnreadableFile(f"The file claims {about.num_rows:,} rows; at most {MAX_ROWS:,} are read.", "Split it.")
    if about.num_rows == 0:
        raise UnreadableFile("The file has no rows.", "Choose a file that holds prompts.")
    if about.num_row_groups > MAX_ROW_GROUPS or about.num_columns > MAX_COLUMNS:
        raise UnreadableFile("The file has absurdly many row groups or columns.", "Write it again with fewer.")
    for group in range(about.num_row_groups):
        row_group = about.row_group(group)
        for column in range(about.num_columns):
            if not 0 <= row_group.column(column).total_uncompressed_size <= MAX_CHUNK_BYTES:
                raise UnreadableFile(
                    "A column would unpack to more than 2 GiB.", "Write the file again with smaller row groups."
                )
    schema = file.schema_arrow
    for member in schema:
        _refuse_extension(member, pa)
    _check_header([_named(name) for name in schema.names])


def _refuse_extension(member: Any, pa: Any) -> None:
    marked = member.metadata is not None and b"ARROW:extension:name" in member.metadata
    if marked or isinstance(member.type, pa.BaseExtensionType):
        raise UnreadableFile(
            f"The column {member.name[:60]} has a type of its own (an Arrow extension), which is not read.",
            "Save it as plain text, numbers or lists.",
        )
    for index in range(member.type.num_fields):
        _refuse_extension(member.type.field(index), pa)


def _plain(value: Any) -> Any:
    """A cell of Parquet as JSON would hold it: NaN and missing are the same there, and structs fill up with None."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items() if not _is_missing(inner)}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Unusable("A cell is infinite or not a number.")
        return value
    if isinstance(value, (bytes, bytearray)):
        raise Unusable("A cell holds bytes, not text.")
    return str(value)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


# ---- one row ---------------------------------------------------------------------------------------------------------


def row_of(row: Mapping[str, Any], line: int) -> PromptRow:
    """A prompt from named columns. Raises Unusable with the reason.

    The first column of ``PROMPT_COLUMNS`` that holds something is the prompt: text, a list of messages, or (``turns``)
    the user's turns, of which all but the first are still to come. Columns that nothing here knows become metadata.
    """
    check_strings(row)
    return prompt_from(row, line)


def prompt_from(row: Mapping[str, Any], line: int) -> PromptRow:
    """As ``row_of``, of a row whose texts are known to be storable."""
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
    return [_message(turn, number) for number, turn in enumerate(value, 1)], []


def _message(turn: Any, number: int) -> Message:
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
    "Unusable", "detect_format", "detect_pasted", "excerpt_of", "has_byte_order_mark", "prompt_from", "read_rows", "row_of",
]  # fmt: skip
