"""The queue that needs no server: kombu's filesystem transport with its two races closed.

kombu creates a message's file before writing it, so that a worker may take an empty message, and rewrites an
exchange's table in place, so that a reader may see half of it. Here both are written aside and renamed. A folder that
was emptied or deleted under running processes is made again.
"""

import os
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem, virtual
from kombu.utils.encoding import bytes_to_str, str_to_bytes
from kombu.utils.json import dumps, loads


class Channel(filesystem.Channel):
    """One file a message in ``<broker>/queue``; taking a message is a rename, so exactly one worker takes it."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:
        folder = Path(self.data_folder_out)
        # Names sort by time of writing; the wall clock, because the monotonic one starts again with the machine.
        name = f"{time.time_ns():020d}_{uuid.uuid4().hex}.{queue}.msg"
        _write_whole(folder / name, str_to_bytes(dumps(payload)))

    def _get(self, queue: str) -> Any:
        folder, taken = Path(self.data_folder_in), Path(self.processed_folder)
        for name in _names_in(folder):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            try:
                os.rename(folder / name, taken / name)
            except FileNotFoundError:
                taken.mkdir(parents=True, exist_ok=True)
                continue  # another worker was faster, or the folder was not there: the next poll finds the message
            payload = (taken / name).read_bytes()
            os.unlink(taken / name)
            return loads(bytes_to_str(payload))
        raise Empty

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        file = self._exchange_file(exchange)
        file.parent.mkdir(parents=True, exist_ok=True)
        bound = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with open(file.parent / ".lock", "a") as lock:
            filesystem.lock(lock, filesystem.LOCK_EX)
            table = self.get_table(exchange)
            if bound not in table:
                _write_whole(file, str_to_bytes(dumps([bound, *table])))

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str]:
        # Every queue of ours is bound under its own name, so a lost table of bindings loses no message.
        queues: list[str] = super()._lookup(exchange, routing_key, default)
        return queues or [routing_key]


class Transport(filesystem.Transport):
    Channel = Channel

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        # kombu keeps one table of bindings for all folders of a process; a second folder would look bound and not be.
        self.state = virtual.BrokerState()


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _write_whole(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft.write_bytes(data)
    os.replace(draft, path)
