"""The app's own processes, really started: web server, Celery workers and beat against one home directory.

    with Site(tmp_path, WHETSTONE_DATABASE_URL=postgres.url) as site:
        site.migrate()
        site.start_worker()
        site.start_beat()
        site.start_web()          # site.url

Every process stands under the nurse of ``generation.engines.process``: nothing is left, however the test ends.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import httpx

from config.env import ROOT
from generation.engines.process import ServerProcess, free_port
from tests.services.servers import ServiceFailed
from tests.settings import TEST_HOME

START_SECONDS = 90.0


def process_environment(home: Path, **settings: str) -> dict[str, str]:
    """The environment of a process of the app: nothing of the suite's own settings, one thread, no hub."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WHETSTONE_", "DJANGO_"))}
    return kept | {
        "WHETSTONE_HOME": str(home),
        "WHETSTONE_ENV_FILE": "",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": str(ROOT),
        **settings,
    }


class Site:
    """One installation: a home directory, an environment and the processes that serve it."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment: Mapping[str, str] = process_environment(
            home, **{"WHETSTONE_PORT": str(self.port), **settings}
        )
        self.processes: dict[str, ServerProcess] = {}

    def manage(self, *arguments: str, seconds: float = 300) -> str:
        """Run a management command; its output. Raises ServiceFailed with everything it wrote if it fails."""
        ended = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        if ended.returncode:
            raise ServiceFailed(f"manage.py {' '.join(arguments)} failed:\n{ended.stdout}{ended.stderr}")
        return ended.stdout

    def migrate(self) -> None:
        """Prepare the database: really once in a run, and of that SQLite file a copy for everyone after."""
        migrated, own = TEST_HOME / "migrated.sqlite3", self.home / "db.sqlite3"
        if "WHETSTONE_DATABASE_URL" in self.environment or own.exists() or not migrated.exists():
            self.manage("migrate", "--verbosity=0")
        else:
            self.home.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(migrated, own)
        if own.exists() and not migrated.exists():
            shutil.copyfile(own, migrated)  # the command has ended, and with it the log has gone into the file

    def start_worker(
        self, queues: str = "default,gpu,tick", concurrency: int = 2, name: str = "worker"
    ) -> ServerProcess:
        """A real worker; returns once it takes messages."""
        options = ["-Q", queues, "--concurrency", str(concurrency), "--hostname", f"{name}@test", "--loglevel", "INFO"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        process = self._start(name, [sys.executable, "-m", "celery", "-A", "config", "worker", *options, *quiet])
        self._wait_for_line(process, "ready.", f"The worker {name!r}")
        return process

    def start_beat(self) -> ServerProcess:
        process = self._start("beat", [sys.executable, "-m", "celery", "-A", "config", "beat", "--loglevel", "INFO"])
        self._wait_for_line(process, "beat: Starting...", "Beat")
        return process

    def start_web(self) -> ServerProcess:
        """The production server; returns once it answers."""
        options = ["--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        command = [sys.executable, "-m", "granian", *options, "--blocking-threads", "8", "config.wsgi:application"]
        process = self._start("web", command)
        end = time.monotonic() + START_SECONDS
        while process.is_running and time.monotonic() < end:
            try:
                httpx.get(f"{self.url}/sign-in/", timeout=5)
                return process
            except httpx.TransportError:
                time.sleep(0.1)
        raise ServiceFailed("The web server did not start:\n" + "\n".join(process.tail(30)))

    def kill(self, name: str) -> None:
        """SIGKILL one process and what it started, as a crash or a full memory would."""
        process = self.processes.pop(name)
        process.kill_server()
        process.stop()

    def stop(self, name: str) -> None:
        self.processes.pop(name).stop()

    def log(self, name: str) -> str:
        path = self._log_path(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def __enter__(self) -> "Site":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if problem is not None:
            for name in self.processes:
                print(f"--- the end of {name}'s log ---\n{self.log(name)[-4000:]}")
        for name in list(self.processes):
            self.stop(name)

    def _log_path(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def _start(self, name: str, command: list[str]) -> ServerProcess:
        process = ServerProcess(
            command=command,
            environment=self.environment,
            log_path=self._log_path(name),
            grace_seconds=15,
            working_directory=ROOT,
        )
        process.start()
        self.processes[name] = process
        return process

    def _wait_for_line(self, process: ServerProcess, mark: str, what: str) -> None:
        end = time.monotonic() + START_SECONDS
        while process.is_running and time.monotonic() < end:
            if any(mark in line for line in process.tail(60)):
                return
            time.sleep(0.1)
        raise ServiceFailed(f"{what} did not start:\n" + "\n".join(process.tail(30)))
