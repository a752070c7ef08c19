"""Rows with named columns out of files of strangers: JSON Lines (also as .zst), a JSON array, CSV and Parquet.

Nothing here knows what the columns are about. A row that cannot be read comes out as a ``BadRow`` with its line and its
reason, and reading goes on; memory stays flat whatever the file holds, and text is never changed.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from core.arrays import array_rows
from core.counting import counted
from core.packed import ZSTD, unpacked
from core.parquet import parquet_rows
from core.reading import (
    HEAD_BYTES,
    MAX_LINE_BYTES,
    UTF8_BOM,
    BadRow,
    TableRow,
    UnreadableFile,
    Unusable,
    check_header,
    check_strings,
    excerpt_of,
    is_json_object,
    json_object,
    raw_lines,
    refuse_binary,
    too_long,
)

Container = Literal["jsonl", "array", "csv", "parquet", "zst"]

TOO_LONG = "\ufffe\ufffe"  # stands for a line that was not read; no text holds these two
NAMES: dict[str, str] = {
    "jsonl": "JSON Lines", "array": "a JSON array", "csv": "CSV", "parquet": "Parquet", "zst": "packed JSON Lines (.zst)",
}  # fmt: skip
EXTENSIONS: dict[str, tuple[Container, ...]] = {
    ".jsonl": ("jsonl",), ".ndjson": ("jsonl",), ".json": ("array", "jsonl"), ".csv": ("csv",), ".tsv": ("csv",),
    ".parquet": ("parquet",), ".pq": ("parquet",), ".zst": ("zst",), ".zstd": ("zst",),
}  # fmt: skip


# ---- which container -------------------------------------------------------------------------------------------------


def head_of(path: Path) -> bytes:
    """The beginning of a file, without a byte order mark. Raises UnreadableFile for an empty one."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES).removeprefix(UTF8_BOM)
    if not head.strip():
        raise UnreadableFile("The file is empty.", "Choose a file that holds something.")
    return head


def container_of(path: Path, filename: str = "") -> Container:
    """What a table comes in, by its content; a name that says otherwise is an error. Raises UnreadableFile."""
    head = head_of(path)
    suffix = Path(filename).suffix.lower()
    named = EXTENSIONS.get(suffix, ())
    if head.startswith(b"PAR1"):
        found: Container = "parquet"
    elif head.startswith(ZSTD):
        found = "zst"
        with unpacked(path) as file:
            inside = file.read(HEAD_BYTES)
        refuse_binary(inside)
        if not inside.strip() or text_container(inside, whole=len(inside) < HEAD_BYTES) != "jsonl":
            raise UnreadableFile("The packed file holds no JSON Lines.", "Unpack it and upload what is inside.")
    else:
        refuse_binary(head)
        found = text_container(head, whole=len(head) < HEAD_BYTES - 3, named=named)
    if named and found not in named:
        raise UnreadableFile(
            f"The name ends in {suffix}, but the file holds {NAMES[found]}.",
            f"Rename it, or save it as {NAMES[named[0]]}.",
        )
    return found


def text_container(head: bytes, *, whole: bool, named: Sequence[str] = ()) -> Literal["jsonl", "array", "csv"]:
    lines = [line.strip() for line in head.split(b"\n") if line.strip()]
    if lines[0].startswith(b"[") and is_json_array(lines[0], head, whole=whole):
        return "array"
    if any(is_json_object(line) for line in lines[:20]):
        return "jsonl"
    if lines[0].startswith(b"[") and named and "csv" not in named:  # what is wrong with it, its rows will say
        return "array" if "array" in named else "jsonl"
    if lines[0] == b"{" and len(lines) > 1:
        raise UnreadableFile("This is one JSON object spread over several lines.", "Write one object on each line.")
    return "jsonl" if lines[0].startswith(b"{") else "csv"


def is_json_array(first: bytes, head: bytes, *, whole: bool) -> bool:
    if first == b"[" or re.match(rb"\[\s*\{", first):
        return True
    try:
        return whole and isinstance(json.loads(head), list)
    except (ValueError, RecursionError):
        return False


# ---- rows ------------------------------------------------------------------------------------------------------------


def table_rows(path: Path, container: str) -> Iterator[TableRow | BadRow]:
    """Every row in order, its texts known to be storable (``check_strings``). Raises UnreadableFile where there is no going on."""
    if container == "parquet":
        return _checked(parquet_rows(path))
    if container == "csv":
        return _checked(csv_rows(path))
    if container == "array":
        return array_rows(path)
    return jsonl_rows(path, is_packed=container == "zst")


def _checked(rows: Iterable[TableRow | BadRow]) -> Iterator[TableRow | BadRow]:
    for row in rows:
        if isinstance(row, TableRow):
            try:
                check_strings(row.value)
            except Unusable as reason:
                yield BadRow(row.line, str(reason), excerpt_of(row.raw))
                continue
        yield row


def jsonl_rows(path: Path, *, is_packed: bool = False) -> Iterator[TableRow | BadRow]:
    with unpacked(path) if is_packed else path.open("rb") as file:
        for number, raw in raw_lines(file):
            if raw is None:
                yield too_long(number)
            elif raw.strip():
                yield json_object(raw, number, "line")


# ---- CSV -------------------------------------------------------------------------------------------------------------


def csv_rows(
    path: Path,
    *,
    delimiter: str = "",
    rename: Callable[[str], str] = str,
    check: Callable[[list[str]], None] | None = None,
) -> Iterator[TableRow | BadRow]:
    """Rows of text by the header's names. ``check`` may refuse the (renamed) header."""
    with path.open("rb") as file:
        first = file.readline(MAX_LINE_BYTES).removeprefix(UTF8_BOM).strip(b"\r\n")
        file.seek(0)
        delimiter = delimiter or max(",\t;", key=lambda sign: first.count(sign.encode()))
        csv.field_size_limit(MAX_LINE_BYTES)
        reader = csv.reader(_csv_lines(file), delimiter=delimiter, strict=True)
        try:
            header = [rename(name) for name in next(reader, [])]
        except csv.Error as problem:
            raise UnreadableFile(f"The header cannot be read: {problem}.", "Quote cells as spreadsheets do.") from None
        check_header(header)
        if check:
            check(header)
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
            raw = delimiter.join(cells)[:4_000]
            try:
                yield TableRow(line, _cells(header, cells), raw)
            except Unusable as reason:
                yield BadRow(line, str(reason), excerpt_of(raw))


def _csv_lines(file: BinaryIO) -> Iterator[str]:
    # Bytes that are not UTF-8 travel as lone surrogates to the row that holds them, and are reported there.
    # Line ends are kept: inside quotation marks they are the text's own.
    for _, raw in raw_lines(file, keep_ends=True):
        yield TOO_LONG + "\n" if raw is None else raw.decode(errors="surrogateescape")


def _csv_reason(problem: str) -> str:
    if "field limit" in problem:
        return f"A cell is longer than {MAX_LINE_BYTES >> 20} MiB: most often a quotation mark that is never closed."
    if "end of data" in problem:
        return "A quotation mark is never closed."
    if "expected after" in problem:
        return "A quoted cell goes on after its closing quotation mark; double the quotation marks inside a cell."
    return f"The row cannot be read: {problem}."


def _cells(header: list[str], cells: list[str]) -> dict[str, Any]:
    if any(TOO_LONG in cell for cell in cells):  # first: the other cells of such a line were not read
        raise Unusable(f"A line of it is longer than {MAX_LINE_BYTES >> 20} MiB.")
    if len(cells) != len(header):
        raise Unusable(f"The row has {counted(len(cells), 'cell')}, the header {len(header)}.")
    for cell in cells:
        if not cell.isascii() and any("\udc80" <= char <= "\udcff" for char in cell):
            raise Unusable("The row is not UTF-8.")
    return dict(zip(header, cells, strict=True))
