"""Read text files of strangers: what is no text is refused as a whole, what cannot be used is refused line by line.

Nothing here knows what the lines are about. Memory stays flat whatever a file holds, and text is never changed.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MAX_LINE_BYTES = 4 << 20  # one line of JSON or text, one cell of CSV, one row of Parquet
MAX_DEPTH = 40  # of JSON
MAX_KEYS = 400_000  # of one row, at all depths: 10,000 votes of 40 keys, about what fits into a line
MAX_COLUMNS = 1_000  # of one row, in its first level
HEAD_BYTES = 256 << 10
EXCERPT_CHARS = 100
UTF8_BOM = b"\xef\xbb\xbf"
MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "a gzip archive", "Unpack it and upload the file inside."),
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "Unpack it, or save the sheet as CSV."),
    (b"PK\x05\x06", "an empty zip archive", "Upload the file itself."),
    (b"BZh", "a bzip2 archive", "Unpack it and upload the file inside."),
    (b"\xfd7zXZ", "an xz archive", "Unpack it and upload the file inside."),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive", "Unpack it and upload the file inside."),
    (b"7z\xbc\xaf", "a 7-zip archive", "Unpack it and upload the file inside."),
    (b"ARROW1", "an Arrow (Feather) file", "Save the table as Parquet."),
    (b"\x7fELF", "a program", "Upload a JSONL, CSV or Parquet file."),
    (b"MZ\x90", "a program", "Upload a JSONL, CSV or Parquet file."),
    (b"%PDF", "a PDF", "Upload a JSONL, CSV or Parquet file."),
    (b"\x89PNG", "an image", "Upload a JSONL, CSV or Parquet file."),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV."),
    (b"\xff\xfe\x00\x00", "text in UTF-32", "Save it as UTF-8."),
    (b"\x00\x00\xfe\xff", "text in UTF-32", "Save it as UTF-8."),
    (b"\xff\xfe", "text in UTF-16", "Save it as UTF-8."),
    (b"\xfe\xff", "text in UTF-16", "Save it as UTF-8."),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x95}\](c]")
_HTML = re.compile(rb"\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE)


class UnreadableFile(Exception):
    """The file as a whole cannot be read; ``how`` says what to do."""

    def __init__(self, sentence: str, how: str = "") -> None:
        super().__init__(sentence)
        self.sentence, self.how = sentence, how


class Unusable(Exception):
    """One row cannot be used; the message is its reason."""


@dataclass(frozen=True, slots=True)
class BadRow:
    line: int
    reason: str
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: ``line`` counts from 1 (in Parquet and in an array: the row), ``raw`` is its beginning as it stood."""

    line: int
    value: dict[str, Any]
    raw: bytes | str = ""


# ---- files and lines -------------------------------------------------------------------------------------------------


def has_byte_order_mark(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == UTF8_BOM


def refuse_binary(head: bytes) -> None:
    for magic, what, how in MAGIC:
        if head.startswith(magic):
            raise UnreadableFile(f"This is {what}.", how)
    if _PICKLE.match(head):
        raise UnreadableFile(
            "This looks like a pickle, which runs code when it is read.", "Upload a JSONL, CSV or Parquet file."
        )
    if _HTML.match(head.removeprefix(UTF8_BOM)):
        raise UnreadableFile("This is a web page (HTML).", "Download the file itself, not the page that shows it.")
    if head[257:262] == b"ustar":
        raise UnreadableFile("This is a tar archive.", "Unpack it and upload the file inside.")
    if head.count(0) > len(head) // 5:
        raise UnreadableFile("This is a binary file, or text in UTF-16.", "Save it as text in UTF-8.")
    try:
        head.decode()
    except UnicodeDecodeError as problem:
        if problem.start >= len(head) - 4 and problem.reason == "unexpected end of data":
            return  # a character cut by the end of the head
        if b"\n" in head[: problem.start]:
            return  # the first lines are UTF-8: the others are reported one by one
        raise UnreadableFile(
            f"The text is not UTF-8 (byte 0x{head[problem.start]:02x} at position {problem.start + 1}).",
            "Save it as UTF-8; in a spreadsheet choose “CSV UTF-8”.",
        ) from None


def is_json_object(line: bytes) -> bool:
    if not (line.startswith(b"{") and line.endswith(b"}")):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def raw_lines(file: BinaryIO, *, keep_ends: bool = False) -> Iterator[tuple[int, bytes | None]]:
    """(number, line); None for a line that is too long, which is never held in memory."""
    number = 0
    while raw := file.readline(MAX_LINE_BYTES + 2):
        number += 1
        if number == 1:
            raw = raw.removeprefix(UTF8_BOM)
        if len(raw) > MAX_LINE_BYTES and not raw.endswith(b"\n"):
            while (rest := file.readline(1 << 20)) and not rest.endswith(b"\n"):
                pass
            yield number, None
            continue
        yield number, raw if keep_ends else raw.removesuffix(b"\n").removesuffix(b"\r")


def too_long(line: int) -> BadRow:
    return BadRow(line, f"The line is longer than {MAX_LINE_BYTES >> 20} MiB.")


def decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as problem:
        raise Unusable(
            f"The line is not UTF-8 (byte 0x{raw[problem.start]:02x} at position {problem.start + 1})."
        ) from None


def needs_check(raw: bytes) -> bool:
    """Whether a line of JSON could hold what ``check_strings`` refuses; most lines show at a glance that they do not.

    Text that is UTF-8 and JSON has a NUL or half a character only by an escape.
    """
    return (
        (b"\\" in raw and (b"\\u0000" in raw or b"\\ud" in raw or b"\\uD" in raw))
        or raw.count(b":") > MAX_COLUMNS
        or raw.count(b"[") + raw.count(b"{") > MAX_DEPTH
    )


def check_strings(value: Any, *, max_keys: int = MAX_KEYS) -> None:
    """Raise for what a database cannot keep byte for byte (NUL, lone surrogates) and for absurd nesting or size."""
    if isinstance(value, dict) and len(value) > MAX_COLUMNS:
        raise Unusable(f"The row has more than {MAX_COLUMNS:,} keys.")
    n_keys, stack = 0, [(value, 1)]
    while stack:
        part, depth = stack.pop()
        if isinstance(part, str):
            if "\x00" in part:
                raise Unusable("The text holds a NUL character.")
            if not part.isascii():
                try:
                    part.encode()
                except UnicodeEncodeError:
                    raise Unusable("The text holds half of a character (a lone surrogate).") from None
        elif isinstance(part, (dict, list)):
            if depth > MAX_DEPTH:
                raise Unusable(f"The row is nested more than {MAX_DEPTH} levels deep.")
            if isinstance(part, dict):
                n_keys += len(part)
                if n_keys > max_keys:
                    raise Unusable(f"The row has more than {max_keys:,} keys.")
                stack.extend((key, depth) for key in part)
                stack.extend((inner, depth + 1) for inner in part.values())
            else:
                stack.extend((inner, depth + 1) for inner in part)


def check_header(header: list[str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise UnreadableFile(f"The table has more than {MAX_COLUMNS:,} columns.")
    seen: set[str] = set()
    twice = sorted({name for name in header if name in seen or seen.add(name)})  # type: ignore[func-returns-value]
    if twice:
        raise UnreadableFile(f"The column {twice[0] or '(without a name)'} is there twice.", "Give each its own name.")


# ---- JSON without its traps ------------------------------------------------------------------------------------------


def parse_json(text: str) -> Any:
    """A JSON value; Unusable for duplicate keys, NaN, infinity, numbers that no database holds and absurd nesting."""
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise Unusable(f"The row is nested more than {MAX_DEPTH} levels deep.")
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as problem:
        raise Unusable(f"The line is not JSON: {problem.msg} at position {problem.pos + 1}.") from None
    except RecursionError:
        raise Unusable("The row is nested too deeply.") from None


def json_object(raw: bytes, number: int, what: str) -> TableRow | BadRow:
    """One object of JSON as a row, its texts known to be storable. ``what`` it is: a line, a row."""
    try:
        value = parse_json(decoded(raw))
        if not isinstance(value, dict):
            raise Unusable(f"The {what} is JSON, but not an object.")
        if needs_check(raw):
            check_strings(value)
    except Unusable as reason:
        return BadRow(number, str(reason), excerpt_of(raw))
    return TableRow(number, value, raw)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Unusable(f"The key “{twice[:60]}” is there twice.")
    return value


def _integer(digits: str) -> int:
    if len(digits) > 19 or abs(int(digits)) >= 2**63:
        raise Unusable(f"A number is too large ({digits[:20]}…); write it as text.")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Unusable(f"A number is too large ({digits[:20]}).")
    return number


def _no_constant(name: str) -> Any:
    raise Unusable(f"{name} is not JSON.")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_no_constant, strict=True
)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def _depth(text: str) -> int:
    depth = deepest = 0
    for sign in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        depth += 1 if sign in "[{" else -1
        deepest = max(deepest, depth)
        if deepest > MAX_DEPTH:
            break
    return deepest


def excerpt_of(raw: bytes | str) -> str:
    """The beginning of a row, safe to show and to store."""
    text = raw[: 4 * EXCERPT_CHARS].decode(errors="replace") if isinstance(raw, bytes) else raw[: 4 * EXCERPT_CHARS]
    shown = "".join(char if char.isprintable() else " " for char in text.encode(errors="replace").decode())
    return shown[:EXCERPT_CHARS] + ("…" if len(shown) > EXCERPT_CHARS else "")
