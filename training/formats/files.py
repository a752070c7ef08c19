"""A frozen dataset as files: JSONL, Parquet derived from it, the lineage, and a description of how it was made.

The lines are canonical JSON, so the hash over them depends on the rows alone; Parquet's own bytes also depend on the
version of the library that wrote them, which is why the dataset's hash is not taken over those.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.ids import canonical_json, sha256_hex
from training.formats.preference import COLUMNS, SPLITS, Built, Row, Split, line_of

FORMAT = "whetstone-preference-1"
ROWS_A_GROUP = 2000
LINEAGE, DESCRIPTION = "lineage.jsonl", "dataset.json"

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("prompt_id", pa.string()),
        ("prompt", _MESSAGES),
        ("chosen", _MESSAGES),
        ("rejected", _MESSAGES),
        ("margin", pa.float64()),
        ("n_votes", pa.int64()),
        ("vote_share", pa.float64()),
        ("weight", pa.float64()),
    ]
)


def rows_sha256(by_split: Mapping[Split, str]) -> str:
    """The dataset's hash, from the hashes of its canonical ``train`` and ``test`` lines."""
    return sha256_hex(canonical_json({split: by_split[split] for split in SPLITS}))


def write_rows(directory: Path, built: Iterable[Built]) -> str:
    """Write ``train.jsonl``, ``test.jsonl`` and ``lineage.jsonl`` in the order given; returns the dataset's hash."""
    digests = {split: hashlib.sha256() for split in SPLITS}
    files = {split: (directory / f"{split}.jsonl").open("wb") for split in SPLITS}
    try:
        with (directory / LINEAGE).open("wb") as lineage:
            for one in built:
                line = line_of(one.row)
                files[one.split].write(line)
                digests[one.split].update(line)
                judgements = [{"key": key, "weight": weight, "says": says} for key, weight, says in one.lineage]
                entry = {"id": one.row["id"], "split": one.split, "judgements": judgements}
                lineage.write(canonical_json(entry) + b"\n")
    finally:
        for file in files.values():
            file.close()
    return rows_sha256({split: digest.hexdigest() for split, digest in digests.items()})


def write_parquet(directory: Path) -> None:
    """Derive ``train.parquet`` and ``test.parquet`` from the lines."""
    for split in SPLITS:
        with pq.ParquetWriter(directory / f"{split}.parquet", SCHEMA, compression="zstd") as writer:
            for group in _groups(read_rows(directory / f"{split}.jsonl")):
                writer.write_table(pa.Table.from_pylist(group, schema=SCHEMA))


def write_description(directory: Path, *, recipe: Mapping[str, Any], counts: Mapping[str, Any], sha256: str) -> None:
    """``dataset.json``: what the columns mean, the recipe, the counts and the hash over the rows."""
    description = {
        "format": FORMAT,
        "columns": dict(COLUMNS),
        "recipe": dict(recipe),
        "counts": dict(counts),
        "sha256": sha256,
    }
    (directory / DESCRIPTION).write_bytes(
        json.dumps(description, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    )


def read_rows(path: Path) -> Iterator[Row]:
    # Binary, because only \n ends a line here: text files would also break at the Unicode separators in answers.
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def read_lineage(directory: Path) -> Iterator[dict[str, Any]]:
    yield from read_rows(directory / LINEAGE)


def stored_sha256(directory: Path) -> str:
    """The dataset's hash as its stored lines have it now."""
    digests: dict[Split, str] = {}
    for split in SPLITS:
        digest = hashlib.sha256()
        with (directory / f"{split}.jsonl").open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        digests[split] = digest.hexdigest()
    return rows_sha256(digests)


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    for row in rows:
        group.append(row)
        if len(group) == ROWS_A_GROUP:
            yield group
            group = []
    if group:
        yield group
