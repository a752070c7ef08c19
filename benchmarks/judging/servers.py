"""The servers under test, and what processor time they take."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from generation.engines.process import ServerProcess, free_port
from tests.services.servers import Postgres

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 120.0
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(*roots: int | None) -> float:
    """Processor time, user and system, of these processes and everything below them, ended children included."""
    stats: dict[int, tuple[int, float]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            stats[int(entry.name)] = (int(fields[1]), sum(map(int, fields[11:15])) / TICKS)
    below = {root for root in roots if root}
    todo = list(below)
    while todo:
        parent = todo.pop()
        children = {child for child, (its_parent, _) in stats.items() if its_parent == parent} - below
        below |= children
        todo += children
    return sum(stats[each][1] for each in below if each in stats)


def wait_for(url: str, process: ServerProcess) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.is_running:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError as answer:
            if answer.code < 500:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"{url} does not answer:\n" + "\n".join(process.tail(30)))


def new_database(postgres: Postgres, name: str) -> str:
    import psycopg

    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "bench_{name}"')  # type: ignore[call-overload]
    return postgres.url.removesuffix("/postgres") + f"/bench_{name}"


class Whetstone:
    """The app as ``make demo`` and a server run it: one Granian, nothing in front of it."""

    name = "Whetstone"

    def __init__(self, home: Path, postgres: Postgres | None, *, workers: int) -> None:
        self.home, self.postgres = home, postgres
        home.mkdir(parents=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("WHETSTONE_")} | {
            "WHETSTONE_HOME": str(home),
            "WHETSTONE_ENV_FILE": "",
            "WHETSTONE_LOG_LEVEL": "WARNING",
            "WHETSTONE_PORT": str(self.port),
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        if postgres:
            self.environment["WHETSTONE_DATABASE_URL"] = new_database(postgres, home.name)
        self._run("manage.py", "migrate", "--verbosity", "0")
        from loop.processes import web_command

        self.process = ServerProcess(
            web_command("127.0.0.1", self.port, workers=workers),
            self.environment, home / "web.log", working_directory=ROOT, grace_seconds=3,
        )  # fmt: skip

    def start(self) -> None:
        self.process.start()
        wait_for(f"{self.url}/sign-in/", self.process)

    def stop(self) -> None:
        self.process.stop()

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        return done.stdout

    def world(self, *arguments: object) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._run("-m", "benchmarks.judging.world", *map(str, arguments)))
        return answer

    def cpu(self) -> tuple[float, float]:
        """(web, database) seconds so far. In SQLite the database's share is the web process's own."""
        return cpu_seconds(self.process.pid), cpu_seconds(self.postgres._process.pid) if self.postgres else 0.0  # type: ignore[union-attr]


LABEL_CONFIG = """<View><Text name="prompt" value="$prompt"/>
<Pairwise name="pairwise" toName="answer1,answer2"/>
<Text name="answer1" value="$answer1"/><Text name="answer2" value="$answer2"/></View>"""


class LabelStudio:
    """Label Studio as its own image runs it: uwsgi with four processes, sessions in the database, settings untouched."""

    name = "Label Studio"

    def __init__(self, home: Path, postgres: Postgres, python: Path, *, processes: int = 4) -> None:
        self.home, self.postgres, self.python = home, postgres, python
        home.mkdir(parents=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        [found] = python.parent.parent.glob("lib/python*/site-packages/label_studio")
        self.package = found
        new_database(postgres, home.name)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("WHETSTONE_")} | {
            "DJANGO_DB": "default",
            "POSTGRE_NAME": f"bench_{home.name}",
            "POSTGRE_USER": "whetstone",
            "POSTGRE_PASSWORD": "",
            "POSTGRE_HOST": "127.0.0.1",
            "POSTGRE_PORT": str(postgres.port),
            "LABEL_STUDIO_BASE_DATA_DIR": str(home),
            "LABEL_STUDIO_HOST": self.url,
            "SECRET_KEY": "only for this measurement, thrown away with its database",
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "DEBUG": "false",
            "LOG_LEVEL": "WARNING",
            "DJANGO_SETTINGS_MODULE": "core.settings.label_studio",
            "PYTHONPATH": str(found),
        }
        self._run("manage.py", "migrate", "--verbosity", "0")
        command = [
            str(python.parent / "uwsgi"), "--http", f"127.0.0.1:{self.port}", "--http-keepalive", "--module",
            "core.wsgi:application", "--chdir", str(found), "--home", str(python.parent.parent), "--master", "--processes", str(processes),
            "--listen", "128", "--buffer-size", "65535", "--disable-logging", "--lazy-apps", "--die-on-term",
        ]  # fmt: skip
        self.process = ServerProcess(
            command, self.environment, home / "web.log", working_directory=home, grace_seconds=5
        )

    def start(self) -> None:
        self.process.start()
        wait_for(f"{self.url}/user/login/", self.process)

    def stop(self) -> None:
        self.process.stop()

    def _run(self, *arguments: str, given: str = "") -> str:
        done = subprocess.run(
            [str(self.python), *arguments], cwd=self.package, env=self.environment, input=given,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"Label Studio: {arguments[0]} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        return done.stdout

    def world(self, *arguments: object) -> dict[str, Any]:
        script = (Path(__file__).parent / "label_studio_world.py").read_text(encoding="utf-8")
        out = self._run("-c", script, *map(str, arguments))
        answer: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
        return answer

    def version(self) -> str:
        out = self._run("-c", "import importlib.metadata as m; print(m.version('label-studio'))")
        return out.strip()

    def cpu(self) -> tuple[float, float]:
        return cpu_seconds(self.process.pid), cpu_seconds(self.postgres._process.pid)  # type: ignore[union-attr]


Server = Whetstone | LabelStudio
