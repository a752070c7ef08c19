"""Files that rows are written into, one after the other: JSON Lines (plain or zstd), Parquet, CSV in two profiles."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from core.csvs import inert
from training.exports.columns import Column
from training.exports.source import Row

CHUNK_BYTES = 1 << 20
GROUP_ROWS = 2000  # of a row group of Parquet
GROUP_BYTES = 16 << 20
LINE = orjson.OPT_APPEND_NEWLINE

Write = Callable[[Path, Iterable[Row], Sequence[Column]], None]


@dataclass(frozen=True)
class Container:
    name: str
    label: str
    ending: str
    write: Write


def write_lines(path: Path, rows: Iterable[Row], columns: Sequence[Column]) -> None:
    with path.open("wb") as file:
        _write_lines(file, rows, columns)


def write_packed_lines(path: Path, rows: Iterable[Row], columns: Sequence[Column]) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        _write_lines(file, rows, columns)


def _write_lines(file: BinaryIO | pa.NativeFile, rows: Iterable[Row], columns: Sequence[Column]) -> None:
    names = [column.name for column in columns]
    for chunk in joined(orjson.dumps({name: row[name] for name in names}, option=LINE) for row in rows):
        file.write(chunk)


def write_parquet(path: Path, rows: Iterable[Row], columns: Sequence[Column]) -> None:
    schema = pa.schema([(column.name, column.type) for column in columns])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(rows):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def write_csv(path: Path, rows: Iterable[Row], columns: Sequence[Column]) -> None:
    """The exact profile: texts are quoted and stand byte for byte, an empty cell is null, lists and objects are JSON."""
    _write_csv(path, rows, columns, lambda value: value)


def write_spreadsheet(path: Path, rows: Iterable[Row], columns: Sequence[Column]) -> None:
    """The safe profile: as the exact one, but a text that a spreadsheet could take for a formula begins with an apostrophe."""
    _write_csv(path, rows, columns, inert)


def _write_csv(path: Path, rows: Iterable[Row], columns: Sequence[Column], made_safe: Callable[[Any], Any]) -> None:
    names = [column.name for column in columns]
    with path.open("wb") as file:
        file.write(_csv_line(names))
        for chunk in joined(_csv_line([made_safe(_cell(row[name])) for name in names]) for row in rows):
            file.write(chunk)


def _cell(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, (dict, list)) else value


def _csv_line(cells: Sequence[Any]) -> bytes:
    # Written here, because Python's csv cannot tell an empty text ("") from no text before its version 3.12.
    return ",".join(map(_csv_cell, cells)).encode() + b"\r\n"


def _csv_cell(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return '"' + cell.replace('"', '""') + '"'
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def joined(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines in chunks that are worth a call to the system."""
    chunk: list[bytes] = []
    n_bytes = 0
    for line in lines:
        chunk.append(line)
        n_bytes += len(line)
        if n_bytes >= CHUNK_BYTES:
            yield b"".join(chunk)
            chunk, n_bytes = [], 0
    yield b"".join(chunk)


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Row groups that are small in number and, roughly, in bytes."""
    group: list[Row] = []
    n_bytes = 0
    for row in rows:
        group.append(row)
        n_bytes += _weight(row)
        if len(group) >= GROUP_ROWS or n_bytes >= GROUP_BYTES:
            yield group
            group, n_bytes = [], 0
    if group:
        yield group


def _weight(value: Any) -> int:
    """About how many characters a row holds: its longest parts are texts within lists of messages."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_weight, value.values()))
    return sum(map(_weight, value)) if isinstance(value, list) else 8


CONTAINERS = {
    each.name: each
    for each in (
        Container("jsonl", "JSON Lines", "jsonl", write_lines),
        Container("jsonl.zst", "JSON Lines, packed (zstd)", "jsonl.zst", write_packed_lines),
        Container("parquet", "Parquet", "parquet", write_parquet),
        Container("csv", "CSV, exact: for programs", "csv", write_csv),
        Container("csv-spreadsheet", "CSV, safe: for spreadsheets", "csv", write_spreadsheet),
    )
}
