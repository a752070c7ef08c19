"""The queue that needs no server: kombu's filesystem transport with its two races closed.

kombu creates a message's file before writing it, so that a worker may take an empty message, and rewrites an
exchange's table in place, so that a reader may see half of it. Here both are written aside and renamed. A folder that
was emptied or deleted under running processes is made again. kombu looks for messages a few times a second; here Linux
wakes it when one arrives.
"""

import contextlib
import ctypes
import os
import select
import time
import uuid
from collections.abc import Mapping
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
        # Every queue of ours is bound under its own name, so a lost table of bindings loses no message. What goes to another
        # exchange that nobody listens to, such as the workers' heartbeats, is for nobody.
        queues: list[str] = super()._lookup(exchange, routing_key, default)
        return queues or ([routing_key] if exchange in ("", routing_key) else [])


class Transport(filesystem.Transport):
    Channel = Channel
    polling_interval: float = 1.0  # seconds; the queue's settings say otherwise
    # kombu's own name a host, and it warns wherever none is given, on the console of every command that queues something.
    default_connection_params: Mapping[str, Any] = {}

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        # kombu keeps one table of bindings for all folders of a process; a second folder would look bound and not be.
        self.state = virtual.BrokerState()
        self._news = News()
        self._folder: str = client.transport_options.get("data_folder_in", "data_in")

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:
        """Deliver one message. Raises TimeoutError if none came within ``timeout`` seconds."""
        assert self.cycle is not None
        began = time.monotonic()
        while True:
            # Before the folder is read, so that what comes after that is told.
            self._news.watch(self._folder)
            try:
                self.cycle.get(self._deliver, timeout=timeout)
                return
            except Empty:
                left = self.polling_interval if timeout is None else began + timeout - time.monotonic()
                if left <= 0:
                    raise TimeoutError from None
                self._news.wait(min(left, self.polling_interval))

    def close_connection(self, connection: Any) -> None:
        super().close_connection(connection)
        self._news.close()


class News:
    """Waits for a file to be renamed into a watched folder, by Linux's inotify; where there is none, for the time to pass.

    A hint, not the truth: who was woken looks for itself, and who was not looks again after a while.
    """

    IN_MOVED_TO = 0x80

    def __init__(self) -> None:
        self._fd = -1

    def watch(self, folder: str) -> None:
        """Watching twice is once; a folder that was deleted and made again is another one."""
        if _inotify is None:
            return
        if self._fd < 0:
            self._fd = _inotify.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd >= 0:
            _inotify.inotify_add_watch(self._fd, os.fsencode(folder), self.IN_MOVED_TO)

    def wait(self, seconds: float) -> None:
        if self._fd < 0:
            time.sleep(seconds)
            return
        poll = select.poll()  # not select.select, which knows no descriptor above 1,023
        poll.register(self._fd, select.POLLIN)
        if poll.poll(seconds * 1000):
            with contextlib.suppress(OSError):  # somebody else has read it
                os.read(self._fd, 1 << 16)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _libc() -> Any:
    """The C library, if it has inotify."""
    library = ctypes.CDLL(None)
    return library if hasattr(library, "inotify_init1") else None


_inotify = _libc()


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
