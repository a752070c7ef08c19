"""What the readers make of files of strangers: odd text byte for byte, every refusal with its line, nothing unbounded."""

import csv
import gzip
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core import parquet
from generation import prompt_readers as readers
from generation.prompt_readers import BadRow, PromptRow, Row, UnreadableFile, detect_format, detect_pasted, read_rows

# Everything that a database can hold: no NUL, no lone surrogates.
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda text: text.strip()
)
ODD = '  e\u0301 \u00e9 \u202e rtl \u2028 \u0085 \U0001f469\u200d\U0001f680 \ufeff =1+1 "quoted", \\ \t tab\r\nline '


def write(tmp_path: Path, data: bytes | str, name: str = "p.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def read(path: Path, filename: str = "") -> list[Row]:
    return list(read_rows(path, detect_format(path, filename or path.name)))


def prompts(rows: list[Row]) -> list[str]:
    assert all(isinstance(row, PromptRow) for row in rows), rows
    return [row.messages[-1]["content"] for row in rows if isinstance(row, PromptRow)]


def reasons(rows: list[Row]) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in rows if isinstance(row, BadRow)]


def one(row: dict[str, Any]) -> PromptRow:
    return readers.row_of(row, 1)


# ---- text comes out as it went in ------------------------------------------------------------------------------------


@given(st.lists(TEXTS, min_size=1, max_size=5))
@example([ODD])
def test_jsonl_keeps_every_character(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    data = "".join(json.dumps({"prompt": text}, ensure_ascii=bool(i % 2)) + "\n" for i, text in enumerate(texts))
    assert prompts(read(write(tmp_path_factory.getbasetemp(), data))) == texts


@given(st.lists(TEXTS, min_size=1, max_size=5))
@example([ODD])
@example(['"'])
@example(["a\rb"])
def test_csv_keeps_every_character(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, quoting=csv.QUOTE_ALL)
    writer.writerows([["id", "prompt"], *([str(i), text] for i, text in enumerate(texts))])
    path = write(tmp_path_factory.getbasetemp(), sink.getvalue(), "p.csv")
    assert prompts(read(path)) == texts


@given(st.lists(TEXTS, min_size=1, max_size=5))
@example([ODD])
def test_parquet_keeps_every_character(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "p.parquet"
    pq.write_table(pa.table({"prompt": texts}), path)
    assert prompts(read(path)) == texts


@given(st.lists(TEXTS.filter(lambda text: not set(text) & set("\r\n") and text[0] != "\ufeff"), min_size=1, max_size=5))
def test_pasted_lines_keep_every_character(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = write(tmp_path_factory.getbasetemp(), "\n".join(texts), "pasted")
    assert prompts(list(read_rows(path, "lines"))) == texts


@given(st.binary(max_size=400))
@example(b'{"a":' * 200)
@example(b"\xef\xbb\xbf")
@example(b"PAR1" + b"\x00" * 20)
def test_no_bytes_break_a_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp(), data, "any")
    for kind in ("jsonl", "csv", "parquet", "lines"):
        try:
            rows = list(read_rows(path, kind))  # type: ignore[arg-type]
        except UnreadableFile:
            continue
        for row in rows:
            assert isinstance(row, BadRow) or row.messages[-1]["content"].strip()


# ---- what is recognised ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        ({"prompt": "hi"}, [("user", "hi")]),
        ({"Text": "hi"}, [("user", "hi")]),
        ({"instruction": "Sum up", "input": "a, b"}, [("user", "Sum up\n\na, b")]),
        ({"question": "hi", "system": "Be brief"}, [("system", "Be brief"), ("user", "hi")]),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                          {"role": "user", "content": "c"}]},
            [("user", "a"), ("assistant", "b"), ("user", "c")],
        ),
        ({"prompt": [{"role": "developer", "content": "s"}, {"role": "user", "content": "u"}]}, [("system", "s"), ("user", "u")]),
        ({"conversations": [{"from": "human", "value": "hi"}]}, [("user", "hi")]),
        ({"prompt": "", "text": "hi"}, [("user", "hi")]),
    ],
)  # fmt: skip
def test_the_prompt_is_found_in_the_columns_people_use(row: dict[str, Any], messages: list[tuple[str, str]]) -> None:
    assert [(m["role"], m["content"]) for m in one(row).messages] == messages


def test_turns_are_asked_one_after_the_other() -> None:
    row = one({"turns": ["first", "second", "third"], "category": "writing, long", "question_id": 81})
    assert (row.messages[-1]["content"], row.following_turns) == ("first", ["second", "third"])
    assert (row.tags, row.metadata) == (["writing, long"], {"question_id": 81})


def test_the_other_columns_go_where_they_belong() -> None:
    row = one(
        {"prompt": "p", "tags": "a; b,a", "category": "c", "group": 7, "split": "Validation", "note": "n",
         "reference": ["r1", "r2"], "Some Key": {"deep": [1, None]}, "nothing": None}
    )  # fmt: skip
    assert (row.tags, row.group, row.split, row.note, row.reference) == (
        ["a", "b", "c"],
        "7",
        "holdout",
        "n",
        "r1\n\nr2",
    )
    assert row.metadata == {"Some Key": {"deep": [1, None]}}


def test_csv_reads_lists_of_messages_written_as_json(tmp_path: Path) -> None:
    path = write(tmp_path, 'messages;tags\n"[{""role"": ""user"", ""content"": ""hi""}]";"[""a"", ""b""]"\n', "p.csv")
    [row] = read(path)
    assert isinstance(row, PromptRow)
    assert (row.messages, row.tags) == ([{"role": "user", "content": "hi"}], ["a", "b"])


def test_parquet_reads_messages_turns_and_missing_cells(tmp_path: Path) -> None:
    table = pa.table(
        {
            "messages": [[{"role": "user", "content": "hi"}], None],
            "turns": [None, ["a", "b"]],
            "score": [float("nan"), 1.5],
        }
    )
    pq.write_table(table, tmp_path / "p.parquet")
    first, second = read(tmp_path / "p.parquet")
    assert isinstance(first, PromptRow) and isinstance(second, PromptRow)
    assert (first.messages[0]["content"], first.metadata) == ("hi", {})
    assert (second.following_turns, second.metadata) == (["b"], {"score": 1.5})


def test_blank_lines_are_no_rows_and_line_numbers_stay_true(tmp_path: Path) -> None:
    path = write(tmp_path, b'\n{"prompt": "a"}\r\n\n   \nbroken\n{"prompt": "b"}')
    rows = read(path)
    assert [row.line for row in rows] == [2, 5, 6]
    assert isinstance(rows[1], BadRow)


def test_csv_line_numbers_count_lines_inside_cells(tmp_path: Path) -> None:
    path = write(tmp_path, 'prompt,tags\n"two\nlines",a\n,b\n', "p.csv")
    rows = read(path)
    assert (rows[0].line, reasons(rows)) == (2, [(4, "The prompt is empty.")])


# ---- files that are refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("p.jsonl", b"", "is empty"),
        ("p.jsonl", b" \r\n \n", "is empty"),
        ("p.jsonl", b"\xef\xbb\xbf", "is empty"),
        ("p.jsonl", gzip.compress(b'{"prompt": "a"}'), "gzip"),
        ("p.jsonl", b"PK\x03\x04....", "zip"),
        ("p.csv", b"PK\x03\x04....", "Excel"),
        ("p.jsonl", '{"prompt": "a"}'.encode("utf-16"), "UTF-16"),
        ("p.txt", "prompt one\nprompt two\n".encode("utf-16-le"), "UTF-16"),
        ("p.txt", "a".encode("utf-32"), "UTF-32"),
        ("p.csv", b"prompt\ncaf\xe9\n", None),
        ("p.txt", b"caf\xe9\n", "not UTF-8"),
        ("p.jsonl", b"\x80\x04\x95\x10\x00", "pickle"),
        ("p.feather", b"ARROW1\x00\x00", "Feather"),
        ("p.jsonl", b"\x7fELF\x02\x01", "program"),
        ("p.jsonl", b"<!DOCTYPE html><html></html>", "web page"),
        ("p.csv", b'{"prompt": "a"}\n', "holds JSON Lines"),
        ("p.txt", b'{"prompt": "a"}\n', "holds JSON Lines"),
        ("p.parquet", b'{"prompt": "a"}\n', "holds JSON Lines"),
        ("p.jsonl", b"prompt,tags\na,b\n", "looks like CSV"),
        ("p.jsonl", b"What is this?\n", "looks like plain text"),
        ("p.json", b'{\n  "prompt": "a"\n}\n', "several lines"),
        ("p.jsonl", b"PAR1....PAR1", "holds Parquet"),
        ("p.parquet", b"PAR1", "cut off"),
        ("p.parquet", b"PAR1" + b"x" * 40 + b"\xff\xff\xff\x7fPAR1", "cut off"),
        ("p.csv", b"a,b\n1,2\n", "No column holds a prompt; found: a, b"),
        ("p.csv", b"prompt,Prompt\n1,2\n", "is there twice"),
    ],
)
def test_a_file_that_is_not_what_it_claims_is_refused_in_words(
    tmp_path: Path, name: str, data: bytes, words: str | None
) -> None:
    # T068, T069
    path = write(tmp_path, data, name)
    if words is None:
        assert reasons(read(path)) == [(2, "The row is not UTF-8.")]
        return
    with pytest.raises(UnreadableFile, match=words) as refused:
        read(path)
    assert refused.value.sentence.endswith(".")


def test_a_byte_order_mark_is_not_part_of_the_first_prompt(tmp_path: Path) -> None:
    for name, data in (("p.jsonl", '{"prompt": "a"}'), ("p.csv", "prompt\na"), ("p.txt", "a")):
        path = write(tmp_path, b"\xef\xbb\xbf" + data.encode(), name)
        assert prompts(read(path)) == ["a"]
        assert readers.has_byte_order_mark(path)


def test_pasted_json_objects_are_read_as_such(tmp_path: Path) -> None:
    assert detect_pasted(write(tmp_path, '{"prompt": "a"}\n{"prompt": "b"}')) == "jsonl"
    assert detect_pasted(write(tmp_path, '{"prompt": "a"}\nand a line')) == "lines"
    assert detect_pasted(write(tmp_path, "prompt\ntext")) == "lines"
    with pytest.raises(UnreadableFile, match="nothing to import"):
        detect_pasted(write(tmp_path, " \n "))


@pytest.mark.parametrize("extension", ["extension type", "nested extension type"])
def test_parquet_with_a_type_of_its_own_is_refused(tmp_path: Path, extension: str) -> None:
    # T071: such a type may carry a pickle
    mark = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": b"\x80\x04cos\nsystem\n."}
    inner = pa.field("x", pa.string(), metadata=mark)
    field = inner if extension == "extension type" else pa.field("x", pa.struct([inner]))
    values: list[Any] = ["a"] if field is inner else [{"x": "a"}]
    table = pa.table(
        [pa.array(["p"]), pa.array(values, field.type)], schema=pa.schema([pa.field("prompt", pa.string()), field])
    )
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(UnreadableFile, match="type of its own"):
        read(tmp_path / "p.parquet")


def test_parquet_that_would_unpack_to_too_much_is_refused_by_its_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # T069
    pq.write_table(pa.table({"prompt": ["x" * 1_000_000] * 50}), tmp_path / "p.parquet", use_dictionary=False)
    assert (tmp_path / "p.parquet").stat().st_size < 5_000_000
    monkeypatch.setattr(parquet, "MAX_CHUNK_BYTES", 20_000_000)
    with pytest.raises(UnreadableFile, match="unpack"):
        read(tmp_path / "p.parquet")
    monkeypatch.setattr(parquet, "MAX_ROWS", 10)
    with pytest.raises(UnreadableFile, match="claims 50 rows"):
        read(tmp_path / "p.parquet")


def test_parquet_that_unpacks_to_much_more_than_its_size_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": pa.array(["x" * 1000] * 80_000)}), tmp_path / "p.parquet")
    assert (tmp_path / "p.parquet").stat().st_size < 50_000
    with pytest.raises(UnreadableFile, match="more than 200 times its size"):
        read(tmp_path / "p.parquet")


def test_parquet_cells_of_bytes_are_bad_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": [b"a"]}), tmp_path / "p.parquet")
    assert reasons(read(tmp_path / "p.parquet")) == [(1, "A cell holds bytes, not text.")]


# ---- rows that are refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"prompt": ""}', "prompt is empty"),
        ('{"prompt": " \\n\\t "}', "prompt is empty"),
        ('{"prompt": null}', "prompt is empty"),
        ('{"other": "x"}', "No column holds a prompt"),
        ("[1, 2]", "not an object"),
        ('{"prompt": "a"', "not JSON"),
        ("{'prompt': 'a'}", "not JSON"),
        ('{"prompt": "a", "x": NaN}', "NaN is not JSON"),
        ('{"prompt": "a", "x": -Infinity}', "-Infinity is not JSON"),
        ('{"prompt": "a", "x": 1e999}', "too large"),
        ('{"prompt": "a", "x": ' + "9" * 30 + "}", "too large"),
        ('{"prompt": "a", "prompt": "b"}', "“prompt” is there twice"),
        ('{"prompt": "a", "x": {"y": 1, "y": 2}}', "“y” is there twice"),
        ('{"prompt": "a", "Prompt ": "b"}', "same name"),
        ('{"prompt": "a\\u0000b"}', "NUL"),
        ('{"prompt": "a", "x": ["\\u0000"]}', "NUL"),
        ('{"prompt": "a\\ud800"}', "lone surrogate"),
        ('{"prompt": "a", "\\udc00": 1}', "lone surrogate"),
        ('{"prompt": 7}', "neither text nor a list"),
        ('{"prompt": ["a", "b"]}', "name it turns"),
        ('{"messages": "x", "prompt": {}}', "neither text"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "role “robot”"),
        ('{"messages": [{"content": "x"}]}', "role “None”"),
        ('{"messages": [{"role": "user"}]}', "has no text"),
        ('{"messages": [{"role": "user", "content": [{"type": "text"}]}]}', "several parts"),
        ('{"messages": [{"role": "user", "content": "x", "tool_calls": [1]}]}', "tools or media"),
        ('{"messages": [{"role": "user", "content": " "}]}', "empty"),
        ('{"messages": [{"role": "system", "content": "x"}]}', "no user turn"),
        ('{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}', "last turn"),
        ('{"messages": [{"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}]}', "first turn"),
        ('{"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]}', "same role"),
        ('{"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "y"}]}', "only be the first"),
        ('{"system": "a", "messages": [{"role": "system", "content": "b"}, {"role": "user", "content": "c"}]}', "system column"),
        ('{"turns": ["a", ""]}', "turn is empty"),
        ('{"turns": []}', "prompt is empty"),
        ('{"prompt": "a", "split": "both"}', "split is “both”"),
        ('{"prompt": "a", "tags": [{}]}', "no tag"),
        ('{"prompt": "a", "tags": ["' + "x" * 101 + '"]}', "longer than 100"),
        ('{"prompt": "a", "group": ["x"]}', "list or an object"),
        ('{"prompt": "a", "x": ' + "[" * 60 + "]" * 60 + "}", "levels deep"),
        ('{"prompt": "a", "x": "' + "y" * 300_000 + '"}', "256 KiB"),
        ('{"prompt": "' + "y" * 1_000_001 + '"}', "1,000,000 characters"),
        ('{"prompt": "a", ' + ", ".join(f'"k{n}": 1' for n in range(1001)) + "}", "1,000 keys"),
        ("caf\xe9", "not JSON"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_says_why(tmp_path: Path, line: str, reason: str) -> None:
    # T070
    path = write(tmp_path, f'{{"prompt": "good"}}\n{line}\n{{"prompt": "also good"}}\n')
    rows = read(path)
    assert [row.line for row in rows] == [1, 2, 3]
    [(number, found)] = reasons(rows)
    assert number == 2
    assert reason in found
    assert found.endswith(".")


def test_a_line_that_is_not_utf_8_is_reported_alone(tmp_path: Path) -> None:
    rows = read(write(tmp_path, b'{"prompt": "a"}\n{"prompt": "caf\xe9"}\n{"prompt": "b"}\n'))
    assert reasons(rows) == [(2, "The line is not UTF-8 (byte 0xe9 at position 16).")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("prompt,tags\na\n", "The row has 1 cell, the header 2."),
        ("prompt,tags\na,b,c\n", "The row has 3 cells, the header 2."),
        ('prompt,tags\n"a"b,c\n', "A quoted cell goes on after its closing quotation mark"),
        ('prompt,tags\n"never closed,c\nd,e\n', "A quotation mark is never closed."),
        ("prompt,tags\na\x00,b\n", "NUL"),
    ],
)
def test_a_csv_row_that_cannot_be_used_says_why(tmp_path: Path, data: str, reason: str) -> None:
    [(_, found), *_] = reasons(read(write(tmp_path, data, "p.csv")))
    assert reason in found


@pytest.mark.parametrize(
    "deep", [b'{"prompt": ' * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b"[" * 1_000_000]
)
def test_a_hundred_thousand_levels_are_a_bad_row_and_no_crash(tmp_path: Path, deep: bytes) -> None:
    # T070
    rows = read(write(tmp_path, b'{"prompt": "a"}\n' + deep + b"\n"))
    assert len(reasons(rows)) == 1


def test_a_line_of_a_hundred_megabytes_is_never_held_in_memory(tmp_path: Path) -> None:
    # T069
    path = tmp_path / "p.jsonl"
    with path.open("wb") as file:
        file.write(b'{"prompt": "a"}\n{"prompt": "')
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n{"prompt": "b"}\n')
    tracemalloc.start()
    try:
        rows = read(path)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reasons(rows) == [(2, "The line is longer than 4 MiB.")]
    assert most < 40 << 20


def test_memory_stays_flat_over_many_rows(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("".join(f'{{"prompt": "{"x" * 200} {n}"}}\n' for n in range(20_000)))

    def peak(n_rows: int) -> int:
        tracemalloc.start()
        try:
            for n, _ in enumerate(read_rows(path, "jsonl")):
                if n == n_rows:
                    break
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(19_999) < peak(500) + 200_000


def test_an_excerpt_is_short_and_printable() -> None:
    assert readers.excerpt_of(b"\x1b[31mred\x07\xff" + b"y" * 500).startswith(" [31mred ")
    assert len(readers.excerpt_of("y" * 500)) == readers.EXCERPT_CHARS + 1
    assert readers.excerpt_of("\ud800") == "?"
