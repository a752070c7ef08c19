"""What was frozen: a ready dataset's files, and whether files, record and hash still agree."""

import hashlib
from pathlib import Path
from typing import Any

from core.errors import require
from core.storage import artifact_path, read_manifest
from training.formats.ballots import Counts
from training.formats.files import name_of, names_of, rows_sha256, stored_sha256
from training.formats.preference import line_of
from training.models import Snapshot
from training.rows import build, recipe_of, recorded_members, twins_among

ARTIFACT_KIND = "datasets"
WORKSPACE = "freezing"
FILES = (
    "train.jsonl", "test.jsonl", "train.parquet", "test.parquet", "lineage.jsonl", "records.jsonl", "dataset.json",
    "README.md", "manifest.json",
)  # fmt: skip


def setting_in_words(name: str, value: Any) -> tuple[str, str]:
    """One of a recipe's, as a page tells it."""
    return name.replace("_", " ").capitalize(), _in_words(value)


def _in_words(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "–", False: "no", True: "yes"}[value]
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):  # of settings or, within, the parts of one
        return ", ".join(
            " ".join(map(_in_words, each)) if isinstance(each, list) else _in_words(each) for each in value
        )
    return str(value)


def directory_of(snapshot: Snapshot) -> Path:
    """Where a ready dataset's files lie. Raises DomainError if it is not ready, or its files are gone."""
    require(snapshot.is_ready, f"The dataset “{snapshot}” is not frozen yet.", how="Wait until it is.")
    read_manifest(ARTIFACT_KIND, snapshot.artifact_sha256)
    return artifact_path(ARTIFACT_KIND, snapshot.artifact_sha256)


def rebuilt_sha256(snapshot: Snapshot) -> str:
    """The hash that recipe and recorded membership give now; equal to ``snapshot.sha256`` for ever."""
    recipe = recipe_of(snapshot)
    digests = {name: hashlib.sha256() for name in names_of(with_unpaired=recipe.policy.unpaired)}
    twins = twins_among(recorded_members(snapshot), recipe)
    for built in build(recorded_members(snapshot), recipe, Counts(), twins=twins):
        digests[name_of(built.split, built.kind)].update(line_of(built.row))
    return rows_sha256({name: digest.hexdigest() for name, digest in digests.items()})


def check_snapshot(snapshot: Snapshot) -> None:
    """Raises DomainError unless files, record and hash agree."""
    require(
        snapshot.erased_at is None,
        f"Text was erased from “{snapshot}”, so its files are a redacted revision and its hash is that of the rows before.",
    )
    require(
        stored_sha256(directory_of(snapshot)) == snapshot.sha256,
        f"The files of “{snapshot}” no longer match their hash.",
        how="Restore them from a backup.",
    )
    require(
        rebuilt_sha256(snapshot) == snapshot.sha256,
        f"“{snapshot}” cannot be built again from what was recorded: a judgement, an answer or a prompt has been changed.",
    )
