"""Packed JSON Lines (.zst), opened for reading: refused by what the file declares, and counted as it is read."""

import io
from pathlib import Path
from typing import Any, BinaryIO

from core.reading import UnreadableFile

READ_BYTES = 1 << 20
ZSTD = b"\x28\xb5\x2f\xfd"
MAX_INFLATION = 200  # times the size of the file; text seldom packs to less than a fiftieth
MAX_WINDOW_BYTES = 128 << 20  # what a file may ask its reader to hold
SMALL_BYTES = 64 << 20  # what any file may unpack to


def unpacked(path: Path) -> BinaryIO:
    """A .zst opened for reading, refused by what its frame declares; what it unpacks to is counted as it is read."""
    import pyarrow as pa

    with path.open("rb") as file:
        window, declared = _zstd_frame(file.read(18).ljust(18, b"\x00"))
    most = max(SMALL_BYTES, MAX_INFLATION * path.stat().st_size)
    if declared > most:
        raise UnreadableFile(
            f"The file would unpack to {declared >> 20:,} MiB, more than {MAX_INFLATION} times its size.", "Unpack it yourself."
        )  # fmt: skip
    if window > MAX_WINDOW_BYTES:
        raise UnreadableFile(
            "The file was packed with a window of more than 128 MiB.", "Pack it without --ultra/--long."
        )
    stream = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
    return io.BufferedReader(_Unpacking(stream, most), READ_BYTES)


def _zstd_frame(head: bytes) -> tuple[int, int]:
    """(window, declared content size) in bytes of the first frame, 0 where it declares none: RFC 8878, section 3.1.1.1."""
    descriptor = head[4]
    is_single, n_dictionary, at = descriptor >> 5 & 1, (0, 1, 2, 4)[descriptor & 3], 5
    window = 0
    if not is_single:
        exponent, mantissa = head[at] >> 3, head[at] & 7
        window, at = (1 << 10 + exponent) // 8 * (8 + mantissa), at + 1
    at += n_dictionary
    n_bytes = (is_single, 2, 4, 8)[descriptor >> 6]
    declared = int.from_bytes(head[at : at + n_bytes], "little") + (256 if n_bytes == 2 else 0)
    return window, declared


class _Unpacking(io.RawIOBase):
    """Counts what comes out, and gives Arrow's errors as ours."""

    def __init__(self, stream: Any, most: int) -> None:
        self.stream, self.left = stream, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            part = self.stream.read(len(buffer))
        except OSError as problem:
            raise UnreadableFile("The packed file is damaged or cut off.", "Upload it again.") from problem
        self.left -= len(part)
        if self.left < 0:
            raise UnreadableFile(
                f"The file unpacks to more than {MAX_INFLATION} times its size.", "Unpack it yourself and split it."
            )
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self.stream.close()
        super().close()
