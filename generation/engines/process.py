"""Start a server in its own process group and leave nothing of it behind, however its supervisor ends.

Run as a script this file is the *nurse*: a small process of the standard library alone between the supervisor and the
server. It holds the reading end of a pipe whose other end only the supervisor has, so it learns of the supervisor's
death (kill -9 included) from the kernel, and then ends the whole group: vLLM has an engine core and workers of its own.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 10.0
LOG_TAIL_LINES = 60


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on now. Somebody may take it before we do: callers retry with another."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@dataclass
class ServerProcess:
    """A server under a nurse. ``stop`` is safe to call at any time and more than once."""

    command: Sequence[str]
    environment: Mapping[str, str]
    log_path: Path
    grace_seconds: float = GRACE_SECONDS
    working_directory: Path | None = None
    _nurse: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _log_from: int = 0
    _seen: int = 0

    def start(self) -> None:
        if self.is_running:
            return
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._log_from = self._seen = log.tell()
            self._nurse = subprocess.Popen(
                [sys.executable, "-S", "-E", str(Path(__file__).resolve()), str(self.grace_seconds), *self.command],
                stdin=subprocess.PIPE,  # never written to: its closing is the message
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                cwd=self.working_directory,
                start_new_session=True,  # a Ctrl-C in the terminal reaches the supervisor, which ends the server in order
            )

    @property
    def is_running(self) -> bool:
        return self._nurse is not None and self._nurse.poll() is None

    @property
    def pid(self) -> int | None:
        return self._nurse.pid if self._nurse else None

    def new_lines(self) -> Iterator[str]:
        """What the server has logged since the last call, in whole lines."""
        if not self.log_path.exists():
            return
        with self.log_path.open("rb") as log:
            log.seek(self._seen)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._seen += len(line)
                yield line.decode(errors="replace").rstrip()

    def tail(self, n_lines: int = LOG_TAIL_LINES) -> list[str]:
        """The last lines of this start's log."""
        if not self.log_path.exists():
            return []
        with self.log_path.open("rb") as log:
            log.seek(self._log_from)
            return [line.decode(errors="replace").rstrip() for line in deque(log, maxlen=n_lines)]

    def stop(self) -> None:
        """End the server and everything it started; returns when the group is gone."""
        nurse = self._nurse
        if nurse is None:
            return
        if nurse.stdin and not nurse.stdin.closed:
            nurse.stdin.close()
        try:
            nurse.wait(self.grace_seconds + 5)
        except subprocess.TimeoutExpired:
            nurse.kill()
            nurse.wait()

    def kill_server(self) -> None:
        """SIGKILL the server itself, not its nurse: what a crash looks like. For tests."""
        if self.pid:
            for child in _children_of(self.pid):
                os.kill(child, signal.SIGKILL)


# --- the nurse ---------------------------------------------------------------------------------------------------


def nurse(grace_seconds: float, command: Sequence[str]) -> int:
    """Run the command until it ends or until stdin closes, then end everything it started; its exit code."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans of the server become ours, so that none can slip away
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    asked_to_stop: list[int] = []
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGTERM, lambda number, _frame: asked_to_stop.append(number))
    signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes the selector below

    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent)
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    while server.poll() is None and not asked_to_stop:
        for key, _ in selector.select(timeout=5):
            if not os.read(key.fd, 4096) and key.fd == sys.stdin.fileno():
                asked_to_stop.append(0)
    _end_group(server, grace_seconds)
    return server.returncode if server.returncode is not None and server.returncode >= 0 else 1


def _end_group(server: subprocess.Popen[bytes], grace_seconds: float) -> None:
    with suppress(ProcessLookupError):
        os.kill(server.pid, signal.SIGTERM)  # the server alone: it ends its own children in order, requests first
    _wait_until(lambda: server.poll() is not None, grace_seconds)
    _signal_group(server.pid, signal.SIGKILL)
    # What left the group (its own session) is our child since its parent died: end it as well.
    for _ in range(50):
        server.poll()
        _reap()
        left = _children_of(os.getpid())
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:  # macOS says so for a group of zombies
        pass


def _wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _children_of(pid: int) -> list[int]:
    """Direct children by the kernel's list; empty where there is none (not Linux)."""
    found: list[int] = []
    for entry in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in entry.read_text().split()]
        except OSError:
            continue
    return found


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _die_with_parent() -> None:
    """The server dies if even the nurse is killed. Safe here: the nurse has one thread, and it lives as long as it."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(nurse(float(sys.argv[1]), sys.argv[2:]))
