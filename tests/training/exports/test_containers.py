"""Files that rows are written into: whatever the text holds comes back as it was, and a spreadsheet finds no formula."""

import csv
import io
import json
import tempfile
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.csvs import FORMULA_SIGNS
from core.tables import container_of, table_rows
from generation.prompt_readers import detect_format, read_rows
from tests.training.exports.world import ODD
from training.exports.columns import MESSAGES, NUMBER, TEXT, TRUTH, Column
from training.exports.containers import CONTAINERS

COLUMNS = (
    Column("prompt", MESSAGES, ""), Column("text", TEXT, ""), Column("label", TRUTH, ""), Column("margin", NUMBER, ""),
    Column("note", TEXT, ""),
)  # fmt: skip
# Anything that both databases can keep: no NUL and no half of a character.
TEXTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0")) | st.sampled_from(
    [*ODD, "", "\r", "\u2029", "a,b", "'=1", "\t=1", "＝1", "\u200f\u202e", "\ufeff", '"']
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "prompt": st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": TEXTS}), min_size=1, max_size=3),
            "text": TEXTS, "label": st.booleans(), "margin": st.floats(0, 1), "note": st.none() | TEXTS,
        }
    ),
    max_size=5,
)  # fmt: skip


def written(name: str, rows: list[dict]) -> bytes:
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "file"
        CONTAINERS[name].write(path, iter(rows), COLUMNS)
        return path.read_bytes()


def unpacked(data: bytes) -> bytes:
    return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()


def read_csv(data: bytes) -> list[dict]:
    """As any reader of RFC 4180 does; an empty cell that is not quoted is null, which Python's own cannot tell."""
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


@given(ROWS)
@hypothesis_settings(max_examples=60)
def test_any_text_comes_back_as_it_was(rows):
    lines = written("jsonl", rows)
    assert [orjson.loads(line) for line in lines.split(b"\n")[:-1]] == rows
    assert unpacked(written("jsonl.zst", rows)) == lines
    assert pq.read_table(io.BytesIO(written("parquet", rows))).to_pylist() == rows
    for row, cells in zip(rows, read_csv(written("csv", rows)), strict=True):
        assert json.loads(cells["prompt"]) == row["prompt"]
        assert (cells["text"], cells["note"]) == (row["text"], row["note"] or "")
        assert (cells["label"], float(cells["margin"])) == (str(row["label"]).lower(), row["margin"])


@given(ROWS)
@hypothesis_settings(max_examples=60)
def test_t075_no_cell_of_the_safe_profile_is_a_formula(rows):
    for row, cells in zip(rows, read_csv(written("csv-spreadsheet", rows)), strict=True):
        for value in cells.values():
            assert not value.lstrip(" ").startswith(FORMULA_SIGNS)
        assert cells["text"].removeprefix("'") == row["text"].removeprefix("'")


def test_an_empty_text_is_not_no_text():
    row = {"prompt": [], "text": "", "label": True, "margin": 0.5, "note": None}
    assert written("csv", [row]).split(b"\r\n")[1] == b'"[]","",true,0.5,'


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_long_line_and_no_row_at_all(name):
    row = {
        "prompt": [{"role": "user", "content": "x" * 1_000_000}],
        "text": "\n" * 9,
        "label": True,
        "margin": 0.0,
        "note": "",
    }
    assert len(written(name, [row] * 3)) > 100
    nothing = written(name, [])
    assert (unpacked(nothing) if name == "jsonl.zst" else nothing) == {
        "jsonl": b"", "jsonl.zst": b"", "csv": b'"prompt","text","label","margin","note"\r\n',
        "csv-spreadsheet": b'"prompt","text","label","margin","note"\r\n', "parquet": nothing,
    }[name]  # fmt: skip


def test_pandas_reads_the_csv_and_the_parquet():
    import pandas

    rows = [
        {"prompt": [{"role": "user", "content": text}], "text": text, "label": True, "margin": 0.5, "note": None}
        for text in ODD
    ]
    for read, name in ((pandas.read_csv, "csv"), (pandas.read_parquet, "parquet")):
        assert list(read(io.BytesIO(written(name, rows)))["text"]) == ODD


def test_packed_lines_are_read_by_datasets_pandas_and_our_own_importers(tmp_path):
    """``datasets`` and pandas unpack with the package ``zstandard``."""
    import pandas as pd
    from datasets import load_dataset

    rows = [{"prompt": f"{number}? {odd}", "text": odd} for number, odd in enumerate(ODD)]
    path = tmp_path / "rows.jsonl.zst"
    CONTAINERS["jsonl.zst"].write(path, iter(rows), (Column("prompt", TEXT, ""), Column("text", TEXT, "")))
    loaded = load_dataset("json", data_files={"train": str(path)}, cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].to_list() == rows
    assert pd.read_json(path, lines=True).to_dict("records") == rows
    assert [row.value for row in table_rows(path, container_of(path, path.name))] == rows
    assert [row.messages[0]["content"] for row in read_rows(path, detect_format(path, path.name))] == [
        row["prompt"] for row in rows
    ]
