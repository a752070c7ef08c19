"""A Celery worker killed (SIGKILL) in the middle of a deployment, between the load and the flip.

The version before stays live all the while, and the deployment ends right once the reaper has found the lost lease.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.generation.stub_vllm import StubVllm
from tests.services.workers import Site

pytestmark = [pytest.mark.slow, pytest.mark.sqlite]

WORLD = """
from generation.deploy import request_deployment, run_deployment_job
from tests.generation.serving_world import make_adapter, make_base, make_endpoint, make_project
endpoint = make_endpoint("{url}", timeout_seconds=300)
base = make_base(make_project())
run_deployment_job(request_deployment(version=base, endpoint=endpoint).pk)
request_deployment(version=make_adapter(base), endpoint=endpoint)
"""


class Blocked:
    """A stub that hangs at one address until it is let go."""

    def __init__(self, stub: StubVllm, at: str) -> None:
        self.stub, self.at = stub, at
        self.reached, self.go = threading.Event(), threading.Event()

    def close(self) -> None:
        self.stub.on_request = self.wait

    def wait(self, path: str, body: dict[str, Any]) -> None:
        if path == self.at:
            self.reached.set()
            self.go.wait(300)


@pytest.fixture
def blocked() -> Iterator[Blocked]:
    with StubVllm() as stub:
        found = Blocked(stub, "/v1/completions")  # the canary's question: loaded, and not live yet
        yield found
        found.go.set()


def until(fact: Callable[[], object], what: str, site: Site, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, f"{what} never came true\n{site.log('worker')[-3000:]}"
        time.sleep(0.1)


def test_a_worker_killed_between_load_and_flip_leaves_the_old_version_live(tmp_path: Path, blocked: Blocked) -> None:
    def ask(sql: str) -> list[Any]:
        with sqlite3.connect(tmp_path / "db.sqlite3", timeout=20) as database:
            return database.execute(sql).fetchall()

    def stages() -> list[tuple[str, str]]:
        return ask("select stage, status from generation_deployment order by id")

    with Site(tmp_path) as site:
        site.migrate()
        site.manage("shell", "--no-imports", "-c", WORLD.format(url=blocked.stub.url))
        assert stages() == [("live", "succeeded"), ("pending", "queued")]
        blocked.close()
        site.start_worker("default")
        # The message of the request was sent before there was a worker; the broker has kept it.
        until(blocked.reached.is_set, "the worker at the engine", site)
        assert stages() == [("live", "succeeded"), ("checking", "running")]
        site.kill("worker")
        assert stages() == [("live", "succeeded"), ("checking", "running")]
        blocked.go.set()

        # Its lease would run out by itself: nobody waits for that here.
        ask("update generation_deployment set leased_until = '2020-01-01' where status = 'running'")
        seen = set()
        site.start_worker("default,tick")
        site.start_beat()
        end = time.monotonic() + 120
        while stages()[1] != ("live", "succeeded"):
            seen.add(sum(stage == "live" for stage, _ in stages()))
            assert time.monotonic() < end, (stages(), site.log("worker")[-3000:])
            time.sleep(0.05)
        assert seen == {1}
        assert stages() == [("draining", "succeeded"), ("live", "succeeded")]
        assert ask("select count(*) from generation_deploymentevent where after = 'live'") == [(2,)]
        assert ask("select count(*) from generation_deploymentevent where note = 'lease lost'") == [(1,)]
        [(served_name,)] = ask("select served_name from generation_deployment where stage = 'live'")
        assert list(blocked.stub.adapters) == [served_name]
