"""What an upload has sent so far, and whether it is to stop: written by the upload's thread, read by the job's."""

import io
from pathlib import Path
from threading import Event
from typing import Any

KIB = 10


class Halted(Exception):
    """Raised in the upload where the job was told to stop."""


class Watch:
    """sent  file -> SHA-256 of those that lie there whole, from an earlier attempt on"""

    def __init__(self, sent: dict[str, str]) -> None:
        self.sent = dict(sent)
        self._n_bytes: dict[str, int] = {}
        self._stop = Event()

    def stop(self) -> None:
        self._stop.set()

    def at(self, name: str, n_bytes: int) -> None:
        """So many bytes of a file were read to be sent. Raises Halted."""
        if self._stop.is_set():
            raise Halted
        self._n_bytes[name] = n_bytes

    def is_there(self, name: str, sha256: str, n_bytes: int) -> None:
        self.at(name, n_bytes)
        self.sent[name] = sha256

    def progress(self) -> dict[str, Any]:
        return {"step": sum(list(self._n_bytes.values())) >> KIB, "sent": dict(self.sent)}


class WatchedFile(io.BufferedReader):
    """A file that says how far it was read, once it is watched."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(io.FileIO(path))
        self._called, self._watch = name, None  # type: tuple[str, Watch | None]  # fmt: skip

    def watched_by(self, watch: Watch) -> None:
        self._watch = watch

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self._watch is not None:
            self._watch.at(self._called, self.tell())
        return data
