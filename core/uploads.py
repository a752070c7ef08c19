"""Files that people send: kept under names of our own below ``WHETSTONE_HOME/uploads``, whatever they were called."""

import hashlib
import io
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from core.errors import DomainError, require
from core.ids import new_key
from core.storage import home

COPY_BYTES = 1 << 20
MAX_LINES = 10_000  # that a request may bring as JSON, instead of a file


def uploads() -> Path:
    return home() / "uploads"


def too_large(file: UploadedFile) -> str:
    """The sentence for a file above the bound of the settings; empty for one within it."""
    most = settings.WHETSTONE.upload_max_mib
    return f"The file is larger than {most} MiB." if (file.size or 0) > most << 20 else ""


def sent(file: UploadedFile | None, lines: Sequence[Any] | None) -> BinaryIO:
    """What a request brings: a file, or lines of JSON as the file that they would be. Raises DomainError for both, and for none."""
    require((file is None) != (lines is None), "Send either a file or lines.")
    if file is None:
        return io.BytesIO("".join(json.dumps(line) + "\n" for line in lines or ()).encode())
    problem = too_large(file)
    require(not problem, problem, how="Split it.")
    return cast(BinaryIO, file)


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
