"""Throw-away PostgreSQL and Redis servers on free ports of the loopback, ended with whoever started them."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from generation.engines.process import ServerProcess, free_port

START_SECONDS = 60.0


class ServiceFailed(RuntimeError):
    """A server did not come up; the message holds the end of its log."""


def find_program(*names: str, folders: str = "") -> str | None:
    """The first of these programs on the PATH, else the newest in the folders that the pattern names."""
    for name in names:
        if found := shutil.which(name):
            return found
        if folders:
            matches = sorted(Path("/").glob(f"{folders.lstrip('/')}/{name}"), key=_version_of)
            if matches:
                return str(matches[-1])
    return None


def wait_for_port(process: ServerProcess, port: int, what: str, seconds: float = START_SECONDS) -> None:
    """Return once something accepts connections on the port; raise ServiceFailed if the server ends before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not process.is_running:
            break
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise ServiceFailed(f"{what} did not start:\n" + "\n".join(process.tail(20)))


class Postgres:
    """A PostgreSQL cluster of its own. As root it runs as another user, since PostgreSQL refuses root."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="whetstone-pg-", dir=_quick_folder()))
        self.port = free_port()
        self.user = _unprivileged_user()
        self.url = f"postgresql://whetstone@127.0.0.1:{self.port}/postgres"
        self._process: ServerProcess | None = None
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)

    @staticmethod
    def program(name: str = "postgres") -> str | None:
        return find_program(name, folders="/usr/lib/postgresql/*/bin") or find_program(name, folders="/usr/pgsql-*/bin")

    def create(self) -> None:
        initdb = self.program("initdb")
        assert initdb, "call program() first"
        options = ["--username=whetstone", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        made = subprocess.run(
            self._as_user([initdb, "-D", str(self.data), *options]), capture_output=True, text=True, cwd="/"
        )
        if made.returncode:
            raise ServiceFailed(f"initdb failed:\n{made.stdout}{made.stderr}")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self, **settings: str) -> None:
        """Start, or start again on the same port, with PostgreSQL's own settings save those given."""
        program = self.program()
        assert program, "call program() first"
        given = {"max_connections": "100", **settings}
        options = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
        places = ["-D", str(self.data), "-h", "127.0.0.1", "-p", str(self.port), "-c", "unix_socket_directories="]
        self._process = ServerProcess(
            command=self._as_user([program, *places, *options]),
            environment={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            log_path=self.folder / "log",
            grace_seconds=3,
            working_directory=Path("/"),
        )
        self._process.start()
        wait_for_port(self._process, self.port, "PostgreSQL")
        self._wait_until_it_answers()

    def crash(self) -> None:
        """SIGKILL the postmaster; its children notice and go."""
        assert self._process, "not started"
        self._process.kill_server()
        self._process.stop()

    def stop(self) -> None:
        if self._process and self._process.is_running:
            pg_ctl = self.program("pg_ctl")
            if pg_ctl:
                command = self._as_user([pg_ctl, "stop", "-D", str(self.data), "-m", "fast", "-t", "10"])
                subprocess.run(command, capture_output=True, cwd="/")
            self._process.stop()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _as_user(self, command: Sequence[str]) -> list[str]:
        if self.user is None:
            return list(command)
        who = [f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}", "--clear-groups"]
        return ["setpriv", *who, *command]

    def _wait_until_it_answers(self) -> None:
        import psycopg

        end = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=3).close()
                return
            except psycopg.OperationalError as problem:
                if time.monotonic() > end:
                    raise ServiceFailed(f"PostgreSQL does not answer: {problem}") from problem
                time.sleep(0.05)


class Redis:
    """A Redis server that writes nothing to disk."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="whetstone-redis-"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: ServerProcess | None = None

    @staticmethod
    def program() -> str | None:
        return find_program("redis-server", "valkey-server")

    def start(self) -> None:
        program = self.program()
        assert program, "call program() first"
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self._process = ServerProcess(
            command=[program, *options, "--dir", str(self.folder)],
            environment=dict(os.environ),
            log_path=self.folder / "log",
            grace_seconds=3,
        )
        self._process.start()
        wait_for_port(self._process, self.port, "Redis")

    def crash(self) -> None:
        """SIGKILL: everything that was queued is gone."""
        assert self._process, "not started"
        self._process.kill_server()
        self._process.stop()

    def stop(self) -> None:
        if self._process:
            self._process.stop()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _quick_folder() -> str | None:
    """Memory, where there is enough: the server keeps its promises to a disk that costs nothing."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**30:
        return str(memory)
    return None


def _unprivileged_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServiceFailed("PostgreSQL refuses to run as root, and there is neither a postgres nor a nobody user.")


def _version_of(path: Path) -> tuple[float, str]:
    try:
        return float(path.parent.parent.name), path.name
    except ValueError:
        return 0.0, path.name
