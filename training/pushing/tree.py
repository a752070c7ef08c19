"""Which files a push sends, in which order. The card comes after the rows and the manifest last: it says that all is there."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.counting import counted
from core.ids import canonical_json
from core.storage import MANIFEST, file_sha256, read_manifest
from training.card import CARD
from training.exports.formats import Format, format_named
from training.exports.job import file_of
from training.exports.options import Options
from training.models import ExportJob, PushJob, Snapshot
from training.snapshots import ARTIFACT_KIND, directory_of

# What load_dataset reads by the card, and what explains it; the rest names people, tasks and every vote.
ROWS = ("train.parquet", "test.parquet", "unpaired-train.parquet", "unpaired-test.parquet", "dataset.json")
LOADED = ("parquet", "jsonl", "csv", "csv-spreadsheet")  # containers that load_dataset reads from a directory


@dataclass(frozen=True)
class Piece:
    """One file: its name there, and where it lies here."""

    name: str
    path: Path
    n_bytes: int
    sha256: str


def tree_of(push: PushJob, folder: Path) -> list[Piece]:
    """The files of a push, the manifest last. Those that are made for it are written into ``folder``.

    Raises DomainError where the dataset or the export is not, or no longer, there.
    """
    pieces = list(_of_export(push.export, folder) if push.export else _of_dataset(push, folder))
    manifest = {piece.name: {"sha256": piece.sha256, "n_bytes": piece.n_bytes} for piece in pieces}
    return [*pieces, _written(folder, MANIFEST, canonical_json(manifest))]


def _of_dataset(push: PushJob, folder: Path) -> Iterator[Piece]:
    directory = directory_of(push.snapshot)
    stored = read_manifest(ARTIFACT_KIND, push.snapshot.artifact_sha256)
    names = [name for name in sorted(stored) if name != CARD and (push.with_votes or name in ROWS)]
    for name in names:
        yield Piece(name, directory / name, int(str(stored[name]["n_bytes"])), str(stored[name]["sha256"]))
    card = (directory / CARD).read_text(encoding="utf-8")
    left_out = sorted(set(stored) - {CARD, *names})
    if left_out:
        card += f"\nNot in this copy: {', '.join(f'`{name}`' for name in left_out)}.\n"
    yield _written(folder, CARD, card.encode())


def _of_export(export: ExportJob, folder: Path) -> Iterator[Piece]:
    yield Piece(export.filename, file_of(export), export.n_bytes, export.sha256)
    yield _written(folder, CARD, export_card(export).encode())


def _written(folder: Path, name: str, content: bytes) -> Piece:
    path = folder / name
    path.write_bytes(content)
    return Piece(name, path, len(content), file_sha256(path))


# ---- the card of an export -------------------------------------------------------------------------------------------


def export_card(export: ExportJob) -> str:
    """The dataset's card cut down to what an export may say: neither people nor the recipe, which may name some."""
    _, head, body = (directory_of(export.snapshot) / CARD).read_text(encoding="utf-8").split("---\n", 2)
    chosen = format_named(export.file_format)
    metadata = head.split("configs:", 1)[0]
    if export.container in LOADED:
        split = export.options.get("split", "train")
        metadata += (
            f"configs:\n- config_name: default\n  data_files:\n  - split: {split}\n    path: {export.filename}\n"
        )
    first, *sections = body.split("\n## ")
    title = first.strip().split("\n", 1)[0]
    licence = next(text for text in sections if text.startswith("Licence"))
    parts = [
        f"---\n{metadata}---\n",
        title,
        *_format_words(export, chosen),
        *_source_words(export.snapshot),
        f"## {licence}",
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _format_words(export: ExportJob, chosen: Format) -> Iterator[str]:
    n_rows = counted(export.n_rows, "row")
    yield f"{n_rows} in `{export.filename}`: {chosen.label}. Read by {chosen.reads}. One row is {chosen.one_row}."
    if export.options.get("split") == "test":
        yield "These prompts are held out: do not train on them."
    columns = [f"| `{column.name}` | {column.words} |" for column in chosen.columns_for(Options(**export.options))]
    if columns:
        yield "\n".join(["| column | holds |", "| --- | --- |", *columns])
    yield f"It cannot carry {'; '.join(chosen.cannot)}."


def _source_words(snapshot: Snapshot) -> Iterator[str]:
    yield f"Made by Whetstone of a frozen dataset whose rows have the SHA-256 `{snapshot.sha256}`."
