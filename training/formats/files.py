"""A frozen dataset as files: JSONL, Parquet derived from it, the lineage, and a description of how it was made.

The lines are canonical JSON, so the hash over them depends on the rows alone; Parquet's own bytes also depend on the
version of the library that wrote them, which is why the dataset's hash is not taken over those.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from core.behind import Behind
from core.ids import canonical_json, sha256_hex
from core.storage import file_sha256
from training.formats.ballots import SPLITS
from training.formats.canonical import canonical
from training.formats.lines import Lines, ParquetFile, blocks_of
from training.formats.preference import COLUMNS, UNPAIRED_COLUMNS, Built, Row, line_of

FORMAT = "whetstone-preference-1"
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
    kinds = ("pair", UNPAIRED) if with_unpaired else ("pair",)
    return [name_of(split, kind) for kind in kinds for split in SPLITS]


def name_of(split: str, kind: str = "pair") -> str:
    """The file in which a row lies, without its suffix."""
    return split if kind == "pair" else f"{UNPAIRED}-{split}"


class RowFiles:
    """The rows of each split as lines and as Parquet, and ``lineage.jsonl``; ``extra`` names one more file of lines.

    Within a ``with`` block. ``sha256``, the dataset's hash, is there after it.
    """

    def __init__(self, directory: Path, *, with_unpaired: bool = False, extra: str = "") -> None:
        self.sha256 = ""
        with ExitStack() as files:
            behind = Behind()

            def lines(name: str, schema: pa.Schema | None = None) -> Lines:
                return Lines(directory / name, behind, files, schema)

            names = names_of(with_unpaired=with_unpaired)
            self._rows = {name: lines(f"{name}.jsonl", _schema_of(name)) for name in names}
            self._lineage = lines(LINEAGE)
            self._extra = lines(extra) if extra else None
            files.enter_context(behind)  # the last in is the first out: files are closed once all is written
            self._files = files.pop_all()

    def add(self, one: Built) -> None:
        row = one.row
        self._rows[name_of(one.split, one.kind)].add(line_of(row))
        judgements = [{"key": key, "weight": weight, "says": says} for key, weight, says in one.lineage]
        entry = {"id": row["id"], "split": one.split, "judgements": judgements}
        if one.kind != "pair":
            entry["kind"] = one.kind
        if one.is_beaten:
            entry["beaten"] = True
        self._lineage.add(canonical(entry, floats=[weight for _, weight, _ in one.lineage]) + b"\n")

    def add_extra(self, lines: bytes) -> None:
        """Whole lines, any number of them."""
        assert self._extra is not None
        self._extra.add(lines)

    def __enter__(self) -> "RowFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._files.__exit__(kind, error, trace)
            return
        with self._files:
            for lines in (*self._rows.values(), self._lineage, *filter(None, [self._extra])):
                lines.flush()
        self.sha256 = rows_sha256({name: lines.digest.hexdigest() for name, lines in self._rows.items()})


def _schema_of(name: str) -> pa.Schema | None:
    """Of the Parquet of a file of rows, by its name without suffix; None for other files."""
    return SCHEMA if name in SPLITS else UNPAIRED_SCHEMA if name.startswith(UNPAIRED) else None


def write_parquet(directory: Path) -> None:
    """Derive ``train.parquet`` and ``test.parquet`` from the lines, and those of unpaired rows where there are such."""
    for path in sorted(directory.glob("*.jsonl")):
        if (schema := _schema_of(path.stem)) is not None:
            with ParquetFile(path.with_suffix(".parquet"), schema) as table:
                for block in blocks_of(path):
                    table.add(block)


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


def row_and_lineage(directory: Path, row_id: str) -> tuple[Row, dict[str, Any]] | None:
    """One row, paired or not, and its line of the lineage; None where there is none of this id."""
    entry = next((entry for entry in read_lineage(directory) if entry["id"] == row_id), None)
    if entry is None:
        return None
    name = name_of(entry["split"], entry.get("kind", "pair"))
    return next(row for row in read_rows(directory / f"{name}.jsonl") if row["id"] == row_id), entry


def write_near(directory: Path, across: Sequence[tuple[str, str, float]]) -> None:
    """``near_duplicates.jsonl``: prompts that are nearly the same on both sides of the border, with their texts; no file for none.

    across  (test, train, share of their word pairs): the first 16 digits of the prompts' hashes
    """
    if not across:
        return
    wanted = {prompt for test, train, _ in across for prompt in (test, train)}
    texts: dict[str, tuple[str, Any]] = {}
    paths = (directory / f"{name}.jsonl" for name in names_of(with_unpaired=True))
    for path in paths:
        for row in read_rows(path) if path.exists() else ():
            if row["prompt_id"][:16] in wanted:
                texts[row["prompt_id"][:16]] = row["prompt_id"], row["prompt"]
    with (directory / NEAR).open("wb") as file:
        for test, train, share in across:
            sides = {
                split: {"prompt_id": texts[prompt][0], "prompt": texts[prompt][1]}
                for split, prompt in (("test", test), ("train", train))
            }
            file.write(line_of({**sides, "share": share}))


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
