"""Tables of strangers in every container: read whole, refused in words, with flat memory."""

import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import arrays, packed
from core.reading import MAX_LINE_BYTES, BadRow, TableRow, UnreadableFile
from core.tables import container_of, table_rows

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\"\\[]{}", max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
OBJECTS = st.lists(
    st.dictionaries(st.text('ab"[]{}', min_size=1, max_size=4), JSON, min_size=1, max_size=3), max_size=6
)


def write(folder: Path, content: bytes, name: str = "t") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def pack(folder: Path, content: bytes) -> Path:
    path = folder / "t.zst"
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        file.write(content)
    return path


def read(path: Path) -> list[Any]:
    return [
        row.value if isinstance(row, TableRow) else (row.line, row.reason)
        for row in table_rows(path, container_of(path))
    ]


@given(rows=OBJECTS.filter(bool), indent=st.sampled_from([None, 0, 2]), ascii_only=st.booleans())
def test_an_array_and_lines_hold_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], indent: int | None, ascii_only: bool
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    whole = write(folder, json.dumps(rows, indent=indent, ensure_ascii=ascii_only).encode())
    lines = write(folder, b"".join(json.dumps(row).encode() + b"\n" for row in rows), "l")
    assert container_of(whole) == "array" and container_of(lines) == "jsonl"
    assert read(whole) == rows == read(lines) == read(pack(folder, lines.read_bytes()))


def test_an_array_is_read_across_the_borders_of_what_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"a": 'x\\"]}' * number, "b": [number, {"c": []}]} for number in range(20)]
    path = write(tmp_path, b"\xef\xbb\xbf \n" + json.dumps(rows, indent=1).encode() + b"\n")
    for size in (1, 2, 7, 64):
        monkeypatch.setattr(arrays, "READ_BYTES", size)
        assert [row.value for row in arrays.array_rows(path) if isinstance(row, TableRow)] == rows


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b'[{"a": 1}, {"a": 1, "a": 2}, {"b": NaN}, {"c": 2}]', [{"a": 1}, (2, "there twice"), (3, "NaN"), {"c": 2}]),
        (b'[{"a": 1}, 7, {"c": 2}]', [{"a": 1}, (2, "not JSON")]),
        (b'[{"a": "\\u0000"}]', [(1, "NUL")]),
        (b'[{"a": [{"b": {"c": 1}}' + b', {"b": {"c": 1}}' * 999 + b"]}]", [{"a": [{"b": {"c": 1}}] * 1000}]),
        (b'[{"a": {' + b", ".join(b'"%d": 1' % n for n in range(1001)) + b"}}]", [{"a": {str(n): 1 for n in range(1001)}}]),
        (b"[{" + b", ".join(b'"%d": 1' % n for n in range(1001)) + b"}]", [(1, "more than 1,000 keys")]),
        (b'[{"a": [' + b"{" + b'"": 1}, {' * 400_000 + b"}]}]", [(1, "more than 400,000 keys")]),
        (b'[{"a": ' + b"[" * 60 + b"]" * 60 + b"}]", [(1, "nested")]),
        (b'[\n{"a": "' + b"x" * (MAX_LINE_BYTES + 9) + b'"}, {"b": 1}]', [(1, "longer than 4 MiB"), {"b": 1}]),
        (b'[{"a": [' + b'"xxxxxxx",' * 900_000 + b'1]}, {"b": 1}]', [(1, "longer than 4 MiB"), {"b": 1}]),
    ],
)  # fmt: skip
def test_a_member_that_cannot_be_used_is_a_row_with_its_reason(tmp_path: Path, content: bytes, rows: list[Any]) -> None:
    found = read(write(tmp_path, content))
    assert len(found) == len(rows)
    for have, wanted in zip(found, rows, strict=True):
        assert have == wanted if isinstance(wanted, dict) else (have[0] == wanted[0] and wanted[1] in have[1])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'[{"a": 1},', "cut off"),
        (b'[{"a": 1}] [', "Something follows"),
        (b'[{"a": 1}, {"b": "x', "cut off"),
        (b'{\n "a": 1\n}', "several lines"),
        (b"x" * 257 + b"ustar" + b"x" * 500, "tar archive"),
        (b"", "empty"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_words(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(UnreadableFile) as refused:
        read(write(tmp_path, content))
    assert said in refused.value.sentence


# ---- .zst ------------------------------------------------------------------------------------------------------------


def test_a_bomb_is_refused_while_it_unpacks_and_by_what_it_declares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # T069
    monkeypatch.setattr(packed, "SMALL_BYTES", 1 << 20)
    bomb = pack(tmp_path, b'{"a": 1}\n' * 3_000_000)
    assert bomb.stat().st_size < 10_000
    tracemalloc.start()
    with pytest.raises(UnreadableFile, match="more than 200 times"):
        read(bomb)
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()
    declared = write(tmp_path, packed.ZSTD + bytes([0b11100000]) + (10 << 30).to_bytes(8, "little") + b"x" * 20)
    with pytest.raises(UnreadableFile, match="10,240 MiB"):
        container_of(declared)
    window = write(tmp_path, packed.ZSTD + bytes([0, 31 << 3]) + b"x" * 20)
    with pytest.raises(UnreadableFile, match="window of more than 128 MiB"):
        container_of(window)


def test_a_damaged_or_cut_off_file_is_refused(tmp_path: Path) -> None:
    dice = random.Random(1)  # what the damage does depends on where it falls: some other rows it only changes
    rows = (json.dumps({"a": dice.randbytes(20).hex()}).encode() + b"\n" for _ in range(50_000))
    whole = pack(tmp_path, b"".join(rows))
    content = whole.read_bytes()
    with pytest.raises(UnreadableFile, match="damaged or cut off"):
        read(write(tmp_path, content[: len(content) // 2]))
    # Without a checksum, which is the writer's choice, damage shows in the rows.
    damaged = read(write(tmp_path, content[:200] + b"\x00" * 400 + content[600:]))
    assert any(isinstance(row, tuple) and "not JSON" in row[1] for row in damaged)
    with pytest.raises(UnreadableFile, match="no JSON Lines"):
        read(pack(tmp_path, b"a,b\n1,2\n"))


def test_a_line_of_a_packed_file_that_is_too_long_is_never_held(tmp_path: Path) -> None:
    path = pack(tmp_path, b'{"a": "' + b"x" * (30 << 20) + b'"}\n{"b": 1}\n')
    assert read(path)[1] == {"b": 1}
    first = next(iter(table_rows(path, "zst")))
    assert isinstance(first, BadRow) and "longer than 4 MiB" in first.reason
