"""The demo, started as ``make demo`` starts it, for the tests that walk its pages."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.env import ROOT
from generation.engines.process import ServerProcess, free_port
from tests.services.missing import missing
from tests.services.workers import process_environment

START_SECONDS = 180.0


class DemoSite:
    """``manage.py demo`` in a home of its own: its address, its log and its links."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home = home
        log = home / "demo.log"
        self._said_before = len(log.read_text()) if log.exists() else 0
        self.environment = process_environment(home, WHETSTONE_PORT=str(free_port()))
        self.process = ServerProcess(
            command=[sys.executable, "manage.py", "demo", *arguments],
            environment=self.environment,
            log_path=home / "demo.log",
            grace_seconds=40,
            working_directory=ROOT,
        )

    @property
    def console(self) -> str:
        """What this start has said."""
        path = self.home / "demo.log"
        return path.read_text()[self._said_before :] if path.exists() else ""

    @property
    def url(self) -> str:
        found = re.search(r"runs at (http://\S+)", self.console)
        assert found, self.console
        return found.group(1)

    def start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.process.start()
        self.wait_for("/sign-in/link/")

    def wait_for(self, words: str, seconds: float = START_SECONDS) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.is_running:
            if words in self.console:
                return
            time.sleep(0.2)
        raise AssertionError(f"The demo never said {words!r}:\n{self.console}")

    def link_for(self, username: str) -> str:
        """A fresh one-time link, as the console command gives it."""
        ended = subprocess.run(
            [sys.executable, "manage.py", "sign_in_link", username, "--base-url", self.url],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found = re.search(r"http://\S+", ended.stdout)
        assert found, ended.stdout
        return found.group(0)

    def stop(self) -> None:
        self.process.stop()


@pytest.fixture(scope="session")
def demo_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoSite]:
    """A running demo without a round, shared by the tests that start rounds of their own."""
    from generation.engines.vllm import installed_build

    if installed_build() is None:
        missing("vLLM", "make setup (it says why vLLM could not be installed)")
    site = DemoSite(tmp_path_factory.mktemp("demo") / "home", "--no-round")
    try:
        site.start()
        yield site
    except BaseException:
        print(site.console)
        for log in sorted((site.home / "logs").glob("*.log")):
            print(f"--- the end of {log.name} ---\n{log.read_text(errors='replace')[-3000:]}")
        raise
    finally:
        site.stop()
