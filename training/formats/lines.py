"""Files of lines written behind one's back, and Parquet made of the same lines.

Lines are gathered a few megabytes at a time. A thread writes them, hashes them and turns rows into Parquet meanwhile: all of that leaves
the interpreter's lock alone.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from core.behind import Behind

BLOCK_BYTES = 2 << 20  # of lines; also what becomes one row group of Parquet


class Lines:
    """One file of lines with its hash; with a ``schema`` also the Parquet of the same name."""

    def __init__(self, path: Path, behind: Behind, files: ExitStack, schema: pa.Schema | None = None) -> None:
        self.digest = hashlib.sha256()
        self._file = files.enter_context(path.open("wb", buffering=0))
        self._table = files.enter_context(ParquetFile(path.with_suffix(".parquet"), schema)) if schema else None
        self._behind = behind
        self._lines: list[bytes] = []
        self._n_bytes = 0

    def add(self, line: bytes) -> None:
        self._lines.append(line)
        self._n_bytes += len(line)
        if self._n_bytes >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._lines:
            self._behind.do(self._write, self._lines)
            self._lines, self._n_bytes = [], 0

    def _write(self, lines: list[bytes]) -> None:
        block = b"".join(lines)
        rest = memoryview(block)
        while rest:
            rest = rest[self._file.write(rest) :]
        self.digest.update(block)
        if self._table is not None:
            self._table.add(block)


class ParquetFile:
    """Parquet of lines, which are whole in each block. Within a ``with`` block."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._parsing = pj.ParseOptions(
            explicit_schema=schema, newlines_in_values=False, unexpected_field_behavior="error"
        )

    def add(self, block: bytes) -> None:
        # One block of Arrow's own for all: it splits lines otherwise, and cannot read one that is longer than a block.
        reading = pj.ReadOptions(use_threads=False, block_size=len(block) + 1)
        self._writer.write_table(
            pj.read_json(pa.BufferReader(block), read_options=reading, parse_options=self._parsing)
        )

    def __enter__(self) -> "ParquetFile":
        return self

    def __exit__(self, *error: Any) -> None:
        self._writer.close()


def blocks_of(path: Path) -> Iterator[bytes]:
    """The lines of a file in blocks of the same length as they were written in."""
    lines: list[bytes] = []
    n_bytes = 0
    with path.open("rb", BLOCK_BYTES) as file:
        for line in file:
            lines.append(line)
            n_bytes += len(line)
            if n_bytes >= BLOCK_BYTES:
                yield b"".join(lines)
                lines, n_bytes = [], 0
    if lines:
        yield b"".join(lines)
