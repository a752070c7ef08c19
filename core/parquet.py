"""Rows of Parquet files of strangers: refused by the description alone what would unpack to more than memory holds."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from core.packed import MAX_INFLATION, SMALL_BYTES
from core.reading import (
    MAX_COLUMNS,
    MAX_LINE_BYTES,
    BadRow,
    TableRow,
    UnreadableFile,
    Unusable,
    check_header,
    excerpt_of,
)

MAX_ROWS = 20_000_000
MAX_ROW_GROUPS = 100_000
MAX_FOOTER_BYTES = 32 << 20
MAX_CHUNK_BYTES = 2 << 30  # of one column of one row group, unpacked


def parquet_rows(path: Path, *, check: Callable[[list[str]], None] | None = None) -> Iterator[TableRow | BadRow]:
    """Rows as JSON would hold them. ``check`` may refuse the header."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_footer(path)
    try:
        file = pq.ParquetFile(
            path, thrift_string_size_limit=MAX_FOOTER_BYTES, thrift_container_size_limit=1_000_000, memory_map=False
        )
        _check_parquet(file)
        check_header(list(file.schema_arrow.names))
        if check:
            check(list(file.schema_arrow.names))
        number = n_bytes = 0
        most = max(SMALL_BYTES, MAX_INFLATION * path.stat().st_size)
        for batch in file.iter_batches(batch_size=256, use_threads=False):
            n_bytes += batch.nbytes
            if n_bytes > most:
                raise UnreadableFile(
                    f"The file unpacks to more than {MAX_INFLATION} times its size.",
                    "Save it as JSON Lines if that is right.",
                )
            for value in batch.to_pylist():
                number += 1
                text = str(value)
                if len(text) > MAX_LINE_BYTES:
                    yield BadRow(number, f"The row is longer than {MAX_LINE_BYTES >> 20} MiB.", excerpt_of(text))
                    continue
                try:
                    yield TableRow(number, _plain(value), text[:400])
                except Unusable as reason:
                    yield BadRow(number, str(reason), excerpt_of(text))
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
        raise UnreadableFile("The file has no rows.", "Choose a file that holds some.")
    if about.num_row_groups > MAX_ROW_GROUPS or about.num_columns > MAX_COLUMNS:
        raise UnreadableFile("The file has absurdly many row groups or columns.", "Write it again with fewer.")
    for group in range(about.num_row_groups):
        row_group = about.row_group(group)
        for column in range(about.num_columns):
            if not 0 <= row_group.column(column).total_uncompressed_size <= MAX_CHUNK_BYTES:
                raise UnreadableFile(
                    "A column would unpack to more than 2 GiB.", "Write the file again with smaller row groups."
                )
    for member in file.schema_arrow:
        _refuse_extension(member, pa)


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
