"""Hashes, and files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from core.ids import canonical_json

COMPLETE = "COMPLETE.json"


def file_sha256(path: Path) -> str:

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_of(directory: Path) -> dict[str, str]:
    return {
        file.relative_to(directory).as_posix(): file_sha256(file)
        for file in sorted(directory.rglob("*"))
        if file.is_file() and file.name != COMPLETE
    }


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_last(path: Path, value: Any) -> None:
    """A file that is there whole or not at all, and after everything that was written before it."""
    draft = path.with_name(path.name + ".tmp")
    with draft.open("wb") as file:
        file.write(canonical_json(value))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    path.write_bytes(canonical_json(value) + b"\n")
