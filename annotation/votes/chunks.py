"""Chunks of the checked copy, with what a chunk knows of its rows before and while they are stored."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from django.db.models import Model

from annotation.pairs import set_sha256
from core.bulk import Rows, keys_from
from core.ids import KEY_LENGTH

CHUNK_LINES = 2000
POLITE_LINES = 30  # while others are at work: some 5 ms
CHUNK_BYTES = 8 << 20


@dataclass(slots=True)
class Task:
    pk: int
    slots: dict[int, int]  # candidate -> slot
    n_seats: int = 0  # taken before this chunk


def checked_lines(path: Path, offset: int, most: Callable[[], int]) -> Iterator[tuple[list[Any], int]]:
    """Chunks of the checked copy from a byte on, each with the byte after it; ``most`` is asked how many lines each may have."""
    with path.open("rb") as file:
        file.seek(offset)
        chunk: list[Any] = []
        n_bytes, n_most = 0, most()
        for line in file:
            chunk.append(orjson.loads(line))
            n_bytes += len(line)
            if len(chunk) >= n_most or n_bytes >= CHUNK_BYTES:
                offset += n_bytes
                yield chunk, offset
                chunk, n_bytes, n_most = [], 0, most()
        if chunk:
            yield chunk, offset + n_bytes


class Chunk:
    """Lines of the checked copy, up to byte ``end``, with what is known of them."""

    def __init__(self, lines: Sequence[Any], salt: bytes, end: int) -> None:
        self.lines, self.n_lines, self.end = lines, len(lines), end
        self.keys: list[list[str]] = []  # of the candidates, in the row's order
        self.tasks: list[tuple[int, str]] = []  # (campaign, candidates_sha256)
        digests = bytearray()
        for line in lines:
            for answer in line[4]:
                # The key is drawn from the import's own and the answer's content: found again after a kill, told by nobody else.
                digests += hashlib.sha256(salt + answer[0].encode()).digest()[:KEY_LENGTH]
        drawn = iter(keys_from(bytes(digests)))
        for line in lines:
            keys = [next(drawn) for _ in line[4]]
            self.keys.append(keys)
            self.tasks.append((line[7].get("campaign", 0) if line[7] else 0, set_sha256(keys)))
        self.prompts: dict[str, int] = {}
        self.splits: dict[str, Any] = {}
        self.candidates: dict[str, int] = {}
        self.indexes: dict[tuple[int, int], int] = {}
        self.known: dict[tuple[int, str], Task] = {}
        self.counts: Counter[str] = Counter()
        # What was kept for it, and what it becomes: see ``making``.
        self.ids: dict[type[Model], list[int]] = {}
        self.first_number = 1  # of its prompts
        self.rows: list[tuple[Rows, list[Any]]] = []
        self.seats: list[tuple[int, int, int, int]] = []  # of tasks that were there: three times how many more, id

    def add(self, rows: Rows, values: Sequence[Sequence[Any]]) -> None:
        if values:
            self.rows.append((rows, rows.pack(values)))

    def asked(self) -> Iterator[tuple[int, str]]:
        """The tasks of its lines, again and again; an answer alone that nobody judged asks nothing."""
        return (task for task, line in zip(self.tasks, self.lines, strict=True) if is_asked(line))


def is_asked(line: Sequence[Any]) -> bool:
    return bool(line[5]) or len(line[4]) > 1
