"""Rows become files: canonical bytes, Parquet with the same content, and a hash that depends on the rows alone."""

import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.formats.ballots import Counts, Vote
from training.formats.files import (
    RowFiles,
    name_of,
    names_of,
    read_lineage,
    read_rows,
    stored_sha256,
    write_description,
    write_parquet,
)
from training.formats.policy import PairPolicy
from training.formats.preference import Built, rows_of_prompt

ODD = [
    "plain",
    "two\nlines\r\n",
    "\u2028separators\u2029\x85",
    'tab\tand "quotes" \\',
    "naïve 日本 🙂 e\u0301",
    "\u202eback",
    " \x07 ",
]


def built(texts: list[str], split: str = "train") -> list:
    rows = []
    for number, better in enumerate(texts):
        prompt = [{"role": "system", "content": better}, {"role": "user", "content": "?"}]
        vote = Vote(f"key{number}", split, f"{number:064x}", prompt, [(better + "+", 1), ("worse", 2)], "ranked", 1 / 3)
        rows += rows_of_prompt([vote], PairPolicy(), Counts())
    return rows


def write_rows(directory: Path, rows: Iterable[Built]) -> str:
    """Write rows in the order given; the dataset's hash."""
    with RowFiles(directory) as files:
        for one in rows:
            files.add(one)
    return files.sha256


def test_a_row_lies_in_a_file_of_its_split_and_kind():
    assert [name_of("train"), name_of("test", "pair"), name_of("test", "unpaired")] == [
        "train",
        "test",
        "unpaired-test",
    ]
    assert names_of(with_unpaired=True) == ["train", "test", "unpaired-train", "unpaired-test"]
    assert names_of(with_unpaired=False) == ["train", "test"]


def test_the_hash_of_known_rows_never_changes(tmp_path):
    sha256 = write_rows(tmp_path, [*built(ODD), *built(["held out"], "test")])
    assert sha256 == "1d4c45b1ac058965a56b42d164183597c7dda0e87089cd2ac1053ab1a7d1259c"
    assert stored_sha256(tmp_path) == sha256


def test_odd_text_comes_back_byte_for_byte(tmp_path):
    rows = built(ODD)
    write_rows(tmp_path, rows)
    assert list(read_rows(tmp_path / "train.jsonl")) == [one.row for one in rows]
    assert (tmp_path / "train.jsonl").read_bytes().count(b"\n") == len(ODD)


def test_parquet_holds_the_same_rows(tmp_path):
    rows = built(ODD)
    write_rows(tmp_path, rows)
    write_parquet(tmp_path)
    assert pq.read_table(tmp_path / "train.parquet").to_pylist() == [one.row for one in rows]
    assert pq.read_table(tmp_path / "test.parquet").num_rows == 0


def test_the_lineage_names_the_judgements_of_every_row(tmp_path):
    rows = built(["a", "b"])
    write_rows(tmp_path, rows)
    entries = list(read_lineage(tmp_path))
    assert [entry["id"] for entry in entries] == [one.row["id"] for one in rows]
    assert entries[0]["judgements"] == [{"key": "key0", "says": "for", "weight": 1.0}]


def test_the_description_is_the_same_bytes_whatever_the_order_of_its_parts(tmp_path):
    write_description(tmp_path, recipe={"a": 1, "b": [2]}, counts={"x": 1}, sha256="0" * 64)
    first = (tmp_path / "dataset.json").read_bytes()
    write_description(tmp_path, recipe={"b": [2], "a": 1}, counts={"x": 1}, sha256="0" * 64)
    assert (tmp_path / "dataset.json").read_bytes() == first
    assert json.loads(first)["format"] == "whetstone-preference-1"


def test_a_lone_surrogate_is_refused_rather_than_altered(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_rows(tmp_path, built(["\ud800"]))


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=5))
def test_any_text_round_trips(tmp_path_factory, texts):
    directory = tmp_path_factory.mktemp("rows")
    rows = built(texts)
    write_rows(directory, rows)
    write_parquet(directory)
    assert list(read_rows(directory / "train.jsonl")) == [one.row for one in rows]
    assert pq.read_table(directory / "train.parquet").to_pylist() == [one.row for one in rows]
