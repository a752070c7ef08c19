"""``make demo`` as a person at a console has it: it starts, ends without a trace, and goes on where it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from config.env import ROOT
from generation.engines.process import _children_of
from tests.e2e.conftest import DemoSite
from tests.services.workers import process_environment

pytestmark = [pytest.mark.e2e, pytest.mark.vllm, pytest.mark.slow, pytest.mark.sqlite]


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for child in _children_of(waiting.pop()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def alive(pids: set[int]) -> set[int]:
    def runs(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    return {pid for pid in pids if runs(pid)}


def gone(pids: set[int], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while alive(pids) and time.monotonic() < end:
        time.sleep(0.2)
    return not alive(pids)


def demo_pid(site: DemoSite) -> int:
    assert site.process.pid
    [pid] = _children_of(site.process.pid)
    return pid


def test_the_demo_opens_its_first_answers_ends_cleanly_and_goes_on(tmp_path: Path):
    site = DemoSite(tmp_path / "home")
    try:
        site.start()
        site.wait_for("ready to be judged")
        assert httpx.get(f"{site.url}/sign-in/").status_code == 200
        pid = demo_pid(site)
        everything = descendants(pid)
        assert len(everything) >= 10  # web, two workers, beat, engine with vLLM's own, and a nurse for each
        os.kill(pid, signal.SIGINT)
        site.wait_for("Stopping")
        os.kill(pid, signal.SIGINT)  # an impatient one
        assert gone(everything | {pid}, 40), "processes were left behind"
        assert "Everything has ended" in site.console

        again = DemoSite(site.home)
        again.start()
        again.wait_for("Open this link once")
        # The round that stands is not started anew.
        assert "ready to be judged" not in again.console
        everything = descendants(demo_pid(again))
        os.kill(demo_pid(again), signal.SIGKILL)  # the worst end: no handler of ours runs
        assert gone(everything, 40), "a killed demo left processes behind"
        again.stop()
    finally:
        site.stop()


def test_no_password_and_no_key_is_shipped(demo_site: DemoSite, tmp_path: Path):
    environment = process_environment(tmp_path / "another")
    subprocess.run([sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, check=True)
    keys = {(home / "secret_key").read_text() for home in (demo_site.home, tmp_path / "another")}
    assert len(keys) == 2
    assert all(len(key) >= 50 for key in keys)
    with httpx.Client(base_url=demo_site.url, follow_redirects=True) as client:
        for name, password in [("demo", "demo"), ("admin", "admin"), ("admin", "password"), ("demo", "12345678")]:
            token = client.get("/sign-in/").text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
            data = {"csrfmiddlewaretoken": token, "username": name, "password": password}
            client.post("/sign-in/", data=data, headers={"Referer": f"{demo_site.url}/sign-in/"})
            assert client.get("/").url.path == "/sign-in/"
