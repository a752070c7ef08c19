"""Files that people send: kept under names of our own below ``WHETSTONE_HOME/uploads``, whatever they were called."""

import hashlib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from core.csvs import inert as inert  # for the reports of importers
from core.errors import DomainError
from core.ids import new_key
from core.storage import home

COPY_BYTES = 1 << 20


def uploads() -> Path:
    return home() / "uploads"


def keep_upload(upload: BinaryIO | Path, kind: str) -> tuple[Path, str]:
    """Copy the upload to ``kind``-key; the copy and its hash. Raises DomainError when the disk is full, and leaves nothing."""
    stored = uploads() / f"{kind}-{new_key()}"
    digest = hashlib.sha256()
    try:
        stored.parent.mkdir(parents=True, exist_ok=True)
        opened: AbstractContextManager[BinaryIO] = (
            upload.open("rb") if isinstance(upload, Path) else nullcontext(upload)
        )
        with opened as source, stored.open("xb") as sink:
            while chunk := source.read(COPY_BYTES):
                digest.update(chunk)
                sink.write(chunk)
    except OSError as problem:
        stored.unlink(missing_ok=True)
        raise DomainError(
            f"The file could not be stored: {problem.strerror}.", how="Free some disk space and try again."
        ) from problem
    return stored, digest.hexdigest()


def require_same(is_same: bool) -> None:
    """Of what was sent under a key that has been here before. Raises DomainError where it is not what came with the key then."""
    if not is_same:
        raise DomainError(
            "This has been sent before, with another file or under another name.",
            how="Send a new Idempotency-Key, or open the form again.",
        )


def plain_name(filename: str) -> str:
    """What an upload was called, without a path: for showing, never for opening."""
    return Path(filename.replace("\\", "/").replace("\x00", "")).name[:200]
