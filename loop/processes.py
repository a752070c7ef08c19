"""The processes of a one-machine installation: web, workers, beat and the engine, started together and ended together."""

import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from django.conf import settings
from django.db import connection

from core.errors import DomainError
from generation.engines.process import LOG_TAIL_LINES, ServerProcess, free_port

WEB_START_SECONDS = 60
RESTART_PAUSE_SECONDS = 2.0
WEB_THREADS = 8  # of all its processes together: each has a connection of its own to the database
MOST_WEB_WORKERS = 4  # each holds the whole app in memory
Say = Callable[[str], None]


def port_is_free(port: int, host: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def pick_port(wanted: int, host: str) -> int:
    """The wanted port, else one of the next twenty, else any."""
    for port in range(wanted, wanted + 20) if wanted else ():
        if port_is_free(port, host):
            return port
    return free_port(host)


def web_workers(vendor: str) -> int:
    """Processes of the web server: one a core on PostgreSQL, a few at most; SQLite has one writer at a time, and needs no second."""
    return min(len(os.sched_getaffinity(0)), MOST_WEB_WORKERS) if vendor == "postgresql" else 1


def web_command(host: str, port: int, *, workers: int = 1) -> list[str]:
    """The web server, with a few threads in each of its processes."""
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", host, "--port", str(port)]
    return [
        *command,
        "--workers",
        str(workers),
        "--blocking-threads",
        str(max(4, WEB_THREADS // workers)),
        "--no-access-log",
        "config.wsgi:application",
    ]


@dataclass
class Processes:
    """Every process under a nurse of its own, so that none outlives this one, however it ends."""

    port: int
    say: Say
    running: dict[str, ServerProcess] = field(default_factory=dict)
    restarted: dict[str, int] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return str(settings.WHETSTONE.host)

    @property
    def url(self) -> str:
        return f"http://{'127.0.0.1' if self.host in ('0.0.0.0', '::') else self.host}:{self.port}"

    def commands(self) -> dict[str, list[str]]:
        python = sys.executable
        manage = str(Path(settings.BASE_DIR) / "manage.py")
        celery = [python, "-m", "celery", "-A", "config"]
        return {
            "web": web_command(self.host, self.port, workers=web_workers(connection.vendor)),
            "worker": [
                *celery,
                "worker",
                "-Q",
                "default",
                "--pool",
                "threads",
                "--concurrency",
                "8",  # threads: some may hold long jobs while people wait for the answers of a live turn
                "-n",
                "default@%h",
                "-l",
                "INFO",
            ],
            # One task at a time, in the main thread of one process: its child dies with it.
            "trainer": [*celery, "worker", "-Q", "gpu", "--pool", "solo", "-n", "gpu@%h", "-l", "INFO"],
            # The clock, and a worker that does nothing but tick: jobs may hold all the threads above for hours.
            "beat": [*celery, "worker", "-B", "-Q", "tick", "--pool", "solo", "-n", "tick@%h", "-l", "WARNING"],
            "engine": [python, manage, "serve_engine"],
        }

    def start(self) -> None:
        self.port = pick_port(self.port, self.host)
        environment = dict(os.environ) | {
            "WHETSTONE_PORT": str(self.port),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PYTHONUNBUFFERED": "1",
        }
        for name, command in self.commands().items():
            log = Path(settings.WHETSTONE.home) / "logs" / f"{name}.log"
            self.running[name] = ServerProcess(
                command, environment, log, working_directory=Path(settings.BASE_DIR), grace_seconds=GRACE[name]
            )
            self.running[name].start()

    def look_after(self) -> None:
        """Start again whatever died. The work it held goes back to the queue by its lease."""
        for name, process in self.running.items():
            if not process.is_running:
                self.restarted[name] = self.restarted.get(name, 0) + 1
                self.say(f"{name} has ended and is started again; its log is {process.log_path}")
                time.sleep(RESTART_PAUSE_SECONDS)
                process.start()

    def watch(self) -> None:
        """Look after the processes until Ctrl-C."""
        while True:
            self.look_after()
            time.sleep(1)

    def stop(self) -> None:
        # The web first: nobody should press a button that nothing can answer. Then all the others together.
        for name in sorted(self.running, key=lambda name: name != "web"):
            process = self.running[name]
            if process._nurse is not None and process._nurse.stdin and not process._nurse.stdin.closed:
                process._nurse.stdin.close()
        for process in self.running.values():
            process.stop()


# A training child saves at its next step and an engine ends its own workers; the others have nothing to save.
GRACE = {"web": 3.0, "worker": 3.0, "trainer": 8.0, "beat": 2.0, "engine": 15.0}


def wait_for_web(processes: Processes) -> None:
    """Raises DomainError with the log's end when the web server does not come up."""
    end = time.monotonic() + WEB_START_SECONDS
    web = processes.running["web"]
    while time.monotonic() < end:
        if not web.is_running:
            break
        try:
            if httpx.get(f"{processes.url}/sign-in/", timeout=5).status_code < 500:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise DomainError("The web server did not start.\n" + "\n".join(web.tail(LOG_TAIL_LINES)[-15:]))
