"""One export into one file: the format's rows into the container, or the files of a zip."""

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from training.exports import pairs
from training.exports.containers import CONTAINERS, LINE, joined
from training.exports.formats import Format
from training.exports.options import Options
from training.exports.source import Row, Source
from training.formats.records import readable

Beat = Callable[[int], None]  # called with the bytes read so far; may raise
BEAT_ROWS = 1000
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file of a zip, so that equal exports are equal bytes

FACTORY_FILES: dict[str, tuple[Callable[[Source], Iterator[Row]], dict[str, Any]]] = {
    "preference": (
        pairs.factory_preference,
        {"ranking": True, "columns": {"messages": "conversations", "system": "system", "chosen": "chosen", "rejected": "rejected"}},
    ),
    "kto": (pairs.factory_kto, {"columns": {"messages": "conversations", "system": "system", "kto_tag": "kto_tag"}}),
    "sft": (pairs.factory_sft, {"columns": {"messages": "conversations", "system": "system"}}),
}  # fmt: skip


def write_export(
    directory: Path, path: Path, *, export_format: Format, container: str, options: Options, beat: Beat = lambda _: None
) -> int:
    """Write the frozen ``directory`` to ``path``; returns the number of rows. Flat in memory, whatever its size."""
    source = Source(directory, options)
    source.beat = beat
    counter = Counter(source, beat)
    if container == "zip":
        _write_factory(path, source, counter)
    elif export_format.has_split:
        rows = counter.over(export_format.rows(source))
        CONTAINERS[container].write(path, rows, export_format.columns_for(options))
    else:
        _write_full(path, source, counter, is_packed=container == "jsonl.zst")
    return counter.n


class Counter:
    """Counts what passes, and says so now and then."""

    def __init__(self, source: Source, beat: Beat) -> None:
        self.source, self.beat, self.n = source, beat, 0

    def over(self, rows: Iterable[Any], *, is_row: Callable[[Any], bool] = lambda row: True) -> Iterator[Any]:
        for row in rows:
            self.n += is_row(row)
            if self.n % BEAT_ROWS == 0:
                self.beat(self.source.n_read)
            yield row


def _write_full(path: Path, source: Source, counter: Counter, *, is_packed: bool) -> None:
    """The full format: its lines as they were frozen, or with names hidden."""
    if source.options.models and source.options.people:
        lines = source.raw()
    else:
        lines = (line for record in source.records() for line in _lines_of(record))
    with pa.CompressedOutputStream(str(path), "zstd") if is_packed else path.open("wb") as file:
        for chunk in joined(counter.over(lines, is_row=_is_task)):
            file.write(chunk)


def _lines_of(record: Row) -> list[bytes]:
    return readable(record, _sorted_line) if "votes" in record else [_sorted_line(record)]


def _sorted_line(record: Row) -> bytes:
    return orjson.dumps(record, option=LINE | orjson.OPT_SORT_KEYS)


def _is_task(line: bytes) -> bool:
    return not line.startswith(b'{"campaign":{')


def _write_factory(path: Path, source: Source, counter: Counter) -> None:
    """LLaMA-Factory's layout: a file for each kind of training, and the ``dataset_info.json`` that names them."""
    split = source.options.split
    info = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, (make, columns) in FACTORY_FILES.items():
            file_name = f"{name}_{split}.jsonl"
            with archive.open(zipfile.ZipInfo(file_name, EPOCH), "w", force_zip64=True) as file:
                for chunk in joined(orjson.dumps(row, option=LINE) for row in counter.over(make(source))):
                    file.write(chunk)
            info[f"whetstone_{name}_{split}"] = {"file_name": file_name, "formatting": "sharegpt", **columns}
        text = json.dumps(info, indent=2).encode() + b"\n"
        with archive.open(zipfile.ZipInfo("dataset_info.json", EPOCH), "w") as file:
            file.write(text)
