"""Content-addressed directories under ``WHETSTONE_HOME/artifacts``.

A directory is complete if and only if its ``manifest.json`` exists; the manifest is written last and its hash is the directory's name.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from core.errors import DomainError
from core.ids import canonical_json, new_key, sha256_hex

MANIFEST = "manifest.json"
CHUNK_BYTES = 1 << 20
STALE_SECONDS = 24 * 3600


def home() -> Path:
    return Path(settings.WHETSTONE.home)


def artifacts_root() -> Path:
    return home() / "artifacts"


def artifact_path(kind: str, sha256: str) -> Path:
    """Where a stored directory lies. Raises DomainError for a hash that is none, so that no id can become a path."""
    if not (len(sha256) == 64 and set(sha256) <= set("0123456789abcdef") and kind.isidentifier()):
        raise DomainError("That is not the hash of a stored artifact.")
    return artifacts_root() / kind / sha256


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(path: Path) -> Iterator[Path]:
    for file in sorted(path.rglob("*")):
        if file.is_symlink():
            raise DomainError(f"{file.name} is a symbolic link.", how="Copy the file itself into the directory.")
        if file.is_file() and file != path / MANIFEST:
            yield file


def manifest_of(path: Path) -> dict[str, dict[str, object]]:
    """Relative name -> sha256 and size in bytes, for every file below ``path``."""
    return {
        file.relative_to(path).as_posix(): {"sha256": file_sha256(file), "n_bytes": file.stat().st_size}
        for file in _files(path)
    }


@contextmanager
def workspace(kind: str, key: str) -> Iterator[Path]:
    """An empty directory for one attempt at ``key``, removed at its end.

    What an attempt left that was killed, or that lost its lease, is removed first.
    """
    clear_workspace(kind, key)
    directory = home() / kind / f"{key}-{new_key()}"
    directory.mkdir(parents=True, mode=0o700)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def clear_workspace(kind: str, key: str) -> None:
    """Remove what attempts at ``key`` left that were killed: for who knows that none is at work."""
    for stale in (home() / kind).glob(f"{key}-*"):
        shutil.rmtree(stale, ignore_errors=True)


def _remove_stale(root: Path) -> None:
    """What a killed process was storing. By its age: others may be storing at this moment."""
    for left in root.glob(".tmp-*"):
        try:
            is_stale = time.time() - left.stat().st_mtime > STALE_SECONDS
        except OSError:
            continue
        if is_stale:
            shutil.rmtree(left, ignore_errors=True)


def store_directory(
    kind: str, path: Path, *, take: bool = False, note: Callable[[str], object] = lambda sha256: None
) -> str:
    """Copy ``path`` into the store and return its hash; the same content stored twice is one directory.

    take  the files themselves are moved, and are gone from ``path`` whatever comes of it
    note  told the hash before anything lies under it; what it raises ends the storing
    Raises DomainError when the disk is full, and leaves nothing behind.
    """
    root = artifacts_root() / kind
    temporary = root / f".tmp-{new_key()}"
    _remove_stale(root)
    try:
        temporary.mkdir(parents=True)
        for file in _files(path):
            target = temporary / file.relative_to(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(file, target) if take else shutil.copyfile(file, target)
            with target.open("r+b") as sink:
                os.fsync(sink.fileno())
        manifest = canonical_json(manifest_of(temporary))
        sha256 = sha256_hex(manifest)
        note(sha256)
        final = artifact_path(kind, sha256)
        if (final / MANIFEST).exists():
            if manifest_of(final) == manifest_of(temporary):
                return sha256
            # Damaged since it was stored: these are its bytes again. Moved first: a half removed one is never under its hash.
            damaged = root / f".tmp-{new_key()}"
            final.rename(damaged)
            shutil.rmtree(damaged, ignore_errors=True)
        with (temporary / MANIFEST).open("wb") as sink:
            sink.write(manifest)
            sink.flush()
            os.fsync(sink.fileno())
        try:
            temporary.rename(final)
        except OSError:
            if not (final / MANIFEST).exists():  # not merely stored by somebody else in this very moment
                raise
        return sha256
    except OSError as problem:
        raise DomainError(
            f"The files could not be stored: {problem.strerror}.", how="Free some disk space and try again."
        ) from problem
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_directory(kind: str, sha256: str, *, is_wanted: Callable[[], bool]) -> None:
    """Delete a stored directory, if there is one, unless others want it: those who note its hash before they store the same."""
    place = artifact_path(kind, sha256)
    aside = place.with_name(f".tmp-{new_key()}")
    if is_wanted() or not place.exists():
        return
    # Asked again once it is out of its place: who found it there is known by then, who comes later stores it anew.
    place.rename(aside)
    if is_wanted() and not place.exists():
        aside.rename(place)
    shutil.rmtree(aside, ignore_errors=True)


def read_manifest(kind: str, sha256: str) -> dict[str, dict[str, object]]:
    path = artifact_path(kind, sha256) / MANIFEST
    if not path.exists():
        raise DomainError(
            f"The stored {kind} {sha256[:8]} is missing.", how="Restore it from a backup, or make it again."
        )
    manifest: dict[str, dict[str, object]] = json.loads(path.read_bytes())
    return manifest


def verify(kind: str, sha256: str) -> None:
    """Raises DomainError unless every byte of the stored directory is as it was stored."""
    path = artifact_path(kind, sha256)
    manifest = read_manifest(kind, sha256)
    if sha256_hex(canonical_json(manifest)) != sha256 or manifest_of(path) != manifest:
        raise DomainError(
            f"The stored {kind} {sha256[:8]} is damaged: its files no longer match their hashes.",
            how="Restore it from a backup, or make it again.",
        )
