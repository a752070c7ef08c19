"""S3-compatible storage, by Arrow's client. A folder is whole if and only if its ``manifest.json`` is there.

An object appears when its upload has ended, never before: of a worker that is killed nothing is seen but whole files without a
manifest. Credentials come from the settings alone.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.conf import settings

from core.errors import Conflict, DomainError, require
from core.storage import CHUNK_BYTES
from training.pushing.tree import Piece
from training.pushing.watch import Halted, Watch

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

CONNECT_SECONDS, REQUEST_SECONDS = 10.0, 60.0
FAULT = re.compile(r"AWS Error (\w+) during (\w+) operation: (.*?)(?: \(Request ID.*)?$", re.DOTALL)
SENTENCES: Mapping[str, tuple[str, str]] = {
    "NO_SUCH_BUCKET": ("There is no bucket {bucket}.", "Make it, or correct WHETSTONE_S3_URL."),
    "ACCESS_DENIED": (
        "The storage lets this key not do that in {bucket}.",
        "The key of WHETSTONE_S3_ACCESS_KEY_ID must be able to list, write and delete there.",
    ),
    "INVALID_ACCESS_KEY_ID": ("The storage does not know the access key.", "Correct WHETSTONE_S3_ACCESS_KEY_ID."),
    "INVALID_CLIENT_TOKEN_ID": ("The storage does not know the access key.", "Correct WHETSTONE_S3_ACCESS_KEY_ID."),
    "SIGNATURE_DOES_NOT_MATCH": ("The storage refuses the secret key.", "Correct WHETSTONE_S3_SECRET_ACCESS_KEY."),
    "NETWORK_CONNECTION": (
        "The storage could not be reached.", "Look at the network and at WHETSTONE_S3_ENDPOINT, then go on with the push.",
    ),
}  # fmt: skip


class S3Place:
    """One folder of the bucket that the settings name."""

    def __init__(self, address: str) -> None:
        self.root = address.removeprefix("s3://")
        self.bucket = self.root.split("/", 1)[0]

    @property
    def _files(self) -> "S3FileSystem":
        from pyarrow.fs import S3FileSystem  # starts threads of its own: in workers only

        env = settings.WHETSTONE
        endpoint = urlsplit(env.s3_endpoint)
        return S3FileSystem(
            access_key=env.s3_access_key_id,
            secret_key=env.s3_secret_access_key.get_secret_value() if env.s3_secret_access_key else "",
            region=env.s3_region or "us-east-1",
            scheme=endpoint.scheme or "https",
            endpoint_override=endpoint.netloc or None,
            connect_timeout=CONNECT_SECONDS,
            request_timeout=REQUEST_SECONDS,
            background_writes=False,
        )

    def begin(self, *, is_ours: bool) -> None:
        """Raises Conflict where something lies there that this project did not put there."""
        if self._listed() and not is_ours:
            raise Conflict(
                f"There is something in s3://{self.root} already, and this project did not push it.",
                how="Choose another folder, or delete what is there.",
            )

    def send(self, pieces: Sequence[Piece], watch: Watch) -> str:
        """Upload what is not there yet, delete what is of an earlier push, look whether all is there, then the manifest.

        Returns the manifest's hash. Raises DomainError, and Halted where the watch says so.
        """
        *files, manifest = pieces
        there = self._listed()
        # First, so that what lies there while it is replaced does not look whole.
        for name in sorted(
            set(there) - {piece.name for piece in files}, key=lambda name: (name != manifest.name, name)
        ):
            self._delete(name)
        for piece in files:
            if watch.sent.get(piece.name) != piece.sha256 or there.get(piece.name) != piece.n_bytes:
                self._put(piece, watch)
            watch.is_there(piece.name, piece.sha256, piece.n_bytes)
        wanted, there = {piece.name: piece.n_bytes for piece in files}, self._listed()
        require(
            {name: there.get(name) for name in wanted} == wanted,
            f"What lies in s3://{self.root} is not what was sent: somebody else writes there.",
            how="Choose a folder of its own, and push again.",
        )
        self._put(manifest, watch)
        watch.is_there(manifest.name, manifest.sha256, manifest.n_bytes)
        return manifest.sha256

    def _listed(self) -> dict[str, int]:
        """Name -> bytes, of every file in the folder."""
        from pyarrow.fs import FileSelector, FileType

        with self._faults():
            # What lies in folders below is of other pushes.
            found = self._files.get_file_info(FileSelector(self.root, allow_not_found=True))
        return {info.path.removeprefix(f"{self.root}/"): info.size for info in found if info.type == FileType.File}

    def _delete(self, name: str) -> None:
        with self._faults():
            self._files.delete_file(f"{self.root}/{name}")

    def _put(self, piece: Piece, watch: Watch) -> None:
        digest, n_bytes = hashlib.sha256(), 0
        with piece.path.open("rb") as source, self._faults():
            try:
                with self._files.open_output_stream(f"{self.root}/{piece.name}") as sink:
                    while chunk := source.read(CHUNK_BYTES):
                        watch.at(piece.name, n_bytes)
                        sink.write(chunk)
                        digest.update(chunk)
                        n_bytes += len(chunk)
            except Halted:
                # Arrow ends an upload that it closes: what lies there now is a part of the file.
                self._delete(piece.name)
                raise
        if digest.hexdigest() != piece.sha256:
            self._delete(piece.name)
            raise DomainError(
                f"The stored file {piece.name} is damaged, so it was not pushed.", how="Restore it from a backup."
            )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What the storage says, in a sentence."""
        try:
            yield
        except OSError as problem:
            fault = FAULT.search(str(problem))
            if fault is None:
                raise
            code, operation, said = fault.groups()
            general = (
                f"The storage answers {operation} with {code}: {said.strip()[:200]}",
                "Go on with the push later.",
            )
            sentence, how = SENTENCES.get(code, general)
            raise DomainError(sentence.replace("{bucket}", self.bucket), how=how) from problem
