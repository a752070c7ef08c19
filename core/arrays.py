"""The members of one JSON array in a file of any size, each held alone."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from core.reading import MAX_LINE_BYTES, UTF8_BOM, BadRow, TableRow, UnreadableFile, json_object

READ_BYTES = 1 << 20
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]"]', re.DOTALL)


def array_rows(path: Path) -> Iterator[TableRow | BadRow]:
    """The members of one array, each held alone; rows are counted from 1."""
    with path.open("rb") as file:
        for number, raw in enumerate(_members(file), 1):
            if raw is None:
                yield BadRow(number, f"The row is longer than {MAX_LINE_BYTES >> 20} MiB.")
            else:
                yield json_object(raw, number, "row")


def _members(file: BinaryIO) -> Iterator[bytes | None]:
    """The bytes of each member; None for one that is too long. Raises UnreadableFile where the array breaks off."""
    if (buffer := file.read(len(UTF8_BOM))) == UTF8_BOM:
        buffer = b""
    while not buffer.strip():
        if not (buffer := file.read(READ_BYTES)):
            raise UnreadableFile("The file is empty.", "Choose a file that holds something.")
    buffer = buffer.lstrip()[1:]
    at = start = depth = 0  # the next byte to look at, the first byte of the member
    is_too_long = False
    while True:
        found = _TOKEN.search(buffer, at)
        if found is None or found.group() == b'"':
            # Nothing whole is left in the buffer: what stands of this member is kept, and more is read.
            at = found.start() if found else len(buffer)
            if at - start > MAX_LINE_BYTES or len(buffer) - start > MAX_LINE_BYTES + READ_BYTES:
                is_too_long = True
                if found and len(buffer) - at > MAX_LINE_BYTES:
                    raise UnreadableFile("A text in the array is not closed, or longer than 4 MiB.", "Split it.")
                start = at
            more = file.read(READ_BYTES)
            if not more:
                raise UnreadableFile("The array is not closed: the file is cut off.", "Upload it again.")
            buffer, at, start = buffer[start:] + more, at - start, 0
            continue
        token, at = found.group(), found.end()
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
            if depth < 0:
                if (rest := buffer[start : found.start()].strip(b" \t\r\n,")) and not is_too_long:
                    yield rest
                if (buffer[at:] + file.read(READ_BYTES)).strip():
                    raise UnreadableFile("Something follows the array.", "Save the array alone, or as JSON Lines.")
                return
            if depth == 0:
                yield None if is_too_long or at - start > MAX_LINE_BYTES else buffer[start:at].lstrip(b" \t\r\n,")
                start, is_too_long = at, False
