"""A frozen dataset as files: JSONL, Parquet derived from it, the lineage, and a description of how it was made.

The lines are canonical JSON, so the hash over them depends on the rows alone; Parquet's own bytes also depend on the
version of the library that wrote them, which is why the dataset's hash is not taken over those.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from core.ids import canonical_json, sha256_hex
from core.storage import file_sha256
from training.formats.ballots import SPLITS
from training.formats.preference import COLUMNS, UNPAIRED_COLUMNS, Built, Row, line_of

T = TypeVar("T")
FORMAT = "whetstone-preference-1"
BLOCK_BYTES = 4 << 20
WRITE_BYTES = 1 << 20  # gathered before the system is asked to write
LINEAGE, RECORDS, DESCRIPTION = "lineage.jsonl", "records.jsonl", "dataset.json"
UNPAIRED, NEAR = "unpaired", "near_duplicates.jsonl"

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
UNPAIRED_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("prompt_id", pa.string()),
        ("prompt", _MESSAGES),
        ("completion", _MESSAGES),
        ("label", pa.bool_()),
        ("n_votes", pa.int64()),
        ("vote_share", pa.float64()),
    ]
)


def rows_sha256(by_file: Mapping[str, str]) -> str:
    """The dataset's hash, from the hashes of its canonical lines: ``train`` and ``test``, and ``unpaired-...`` where there are such."""
    return sha256_hex(canonical_json(dict(by_file)))


def names_of(*, with_unpaired: bool) -> list[str]:
    """The files of rows, without their suffix."""
    return [*SPLITS, *(f"{UNPAIRED}-{split}" for split in SPLITS)] if with_unpaired else [*SPLITS]


def name_of(one: Built) -> str:
    return one.split if one.kind == "pair" else f"{UNPAIRED}-{one.split}"


def write_rows(directory: Path, built: Iterable[Built], *, with_unpaired: bool = False) -> str:
    """Write the rows of each split and ``lineage.jsonl`` in the order given; returns the dataset's hash."""
    names = names_of(with_unpaired=with_unpaired)
    digests = {name: hashlib.sha256() for name in names}
    with ExitStack() as stack:
        files = {name: stack.enter_context((directory / f"{name}.jsonl").open("wb", WRITE_BYTES)) for name in names}
        lineage = stack.enter_context((directory / LINEAGE).open("wb", WRITE_BYTES))
        for one in built:
            line, name = line_of(one.row), name_of(one)
            files[name].write(line)
            digests[name].update(line)
            judgements = [{"key": key, "weight": weight, "says": says} for key, weight, says in one.lineage]
            entry = {"id": one.row["id"], "split": one.split, "judgements": judgements}
            lineage.write(line_of(entry if one.kind == "pair" else {**entry, "kind": one.kind}))
    return rows_sha256({name: digest.hexdigest() for name, digest in digests.items()})


def write_parquet(directory: Path) -> None:
    """Derive ``train.parquet`` and ``test.parquet`` from the lines, and those of unpaired rows where there are such."""
    for path in sorted(directory.glob("*.jsonl")):
        schema = SCHEMA if path.stem in SPLITS else UNPAIRED_SCHEMA if path.stem.startswith(UNPAIRED) else None
        if schema is None:
            continue
        with pq.ParquetWriter(path.with_suffix(".parquet"), schema, compression="zstd") as writer:
            for batch in _batches(path, schema):
                writer.write_batch(batch)


def _batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The lines of a file, read by Arrow. A block holds whole lines, so it is at least as long as the longest of them."""
    longest = _longest_line(path)
    if not longest:
        return
    reading = pj.ReadOptions(block_size=max(BLOCK_BYTES, 2 * longest))
    parsing = pj.ParseOptions(explicit_schema=schema, newlines_in_values=False, unexpected_field_behavior="error")
    with pj.open_json(path, read_options=reading, parse_options=parsing) as batches:
        yield from batches


def _longest_line(path: Path) -> int:
    with path.open("rb", WRITE_BYTES) as file:
        return max(map(len, file), default=0)


def write_description(directory: Path, *, recipe: Mapping[str, Any], counts: Mapping[str, Any], sha256: str) -> None:
    """``dataset.json``: what the columns mean, the recipe, the counts and the hash over the rows."""
    description = {
        "format": FORMAT,
        "columns": dict(COLUMNS),
        **({"unpaired_columns": dict(UNPAIRED_COLUMNS)} if "unpaired" in counts else {}),
        "recipe": dict(recipe),
        "counts": dict(counts),
        "sha256": sha256,
    }
    (directory / DESCRIPTION).write_bytes(
        json.dumps(description, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    )


def write_near(directory: Path, across: Sequence[tuple[str, str]]) -> None:
    """``near_duplicates.jsonl``: prompts of the same words on both sides of the border, with their texts; no file for none.

    across  (test, train): the first 16 digits of the prompts' hashes
    """
    if not across:
        return
    wanted = {prompt for pair in across for prompt in pair}
    texts: dict[str, tuple[str, Any]] = {}
    for name in SPLITS:
        for row in read_rows(directory / f"{name}.jsonl"):
            if row["prompt_id"][:16] in wanted:
                texts[row["prompt_id"][:16]] = row["prompt_id"], row["prompt"]
    with (directory / NEAR).open("wb") as file:
        for pair in across:
            if not set(pair) <= set(texts):  # a prompt whose rows are unpaired
                continue
            sides = {
                split: {"prompt_id": texts[prompt][0], "prompt": texts[prompt][1]}
                for split, prompt in zip(("test", "train"), pair, strict=True)
            }
            file.write(line_of(sides))


def read_rows(path: Path) -> Iterator[Row]:
    # Binary, because only \n ends a line here: text files would also break at the Unicode separators in answers.
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def read_lineage(directory: Path) -> Iterator[dict[str, Any]]:
    yield from read_rows(directory / LINEAGE)


def stored_sha256(directory: Path) -> str:
    """The dataset's hash as its stored lines have it now."""
    names = names_of(with_unpaired=(directory / f"{UNPAIRED}-train.jsonl").exists())
    return rows_sha256({name: file_sha256(directory / f"{name}.jsonl") for name in names})


def chunks(things: Iterable[T], size: int) -> Iterator[list[T]]:
    things = iter(things)
    while chunk := list(islice(things, size)):
        yield chunk
