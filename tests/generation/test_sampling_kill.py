"""A generation job while everything around it is killed: the real worker, the real broker, the real vLLM.

Whatever dies, the job goes on and ends with exactly one candidate for each prompt, arm and index.
"""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from config.env import ROOT
from tests.services.servers import Redis, ServiceFailed
from tests.services.workers import Site

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

WORLD = """
from pathlib import Path
from accounts.models import Project
from generation.models import Deployment, Endpoint
from generation.prompt_importing import import_now
from generation.registry import register_base
project = Project.objects.create(slug="loop", name="Loop")
import_now(project=project, name="set", path=Path("starter/prompts.jsonl"))
base = register_base(project=project, source=str(Path("starter/model").absolute()), slug="starter", by=None)
endpoint = Endpoint.objects.create(
    name="here", engine="vllm", is_managed=True, base_url="", base_model=base.source, base_served_name="starter",
    max_concurrency=8, timeout_seconds=60,
)
Deployment.objects.create(
    project=project, endpoint=endpoint, model_version=base, served_name="starter", stage="live", status="succeeded"
)
"""
START = """
from accounts.models import Project
from generation.models import Deployment, PromptSet
from generation.sampling import start_generation
job = start_generation(
    project=Project.objects.get(), prompt_set=PromptSet.objects.get(), selection={{"n": {n}}},
    arms=[{{"deployment": Deployment.objects.get(), "sampling": {{"max_tokens": 64, "temperature": t}}}} for t in (0.7, 1.0)],
    n_answers=2, seed=11, by=None,
)
print("JOB", job.pk)
"""


class House:
    """One installation with the starter model behind a vLLM that Whetstone supervises."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def shell(self, code: str) -> str:
        return self.site.manage("shell", "--no-imports", "-c", code)

    def start_job(self, n: int) -> int:
        return int(self.shell(START.format(n=n)).split("JOB ")[1])

    def ask(self, sql: str, *values: Any) -> list[Any]:
        with sqlite3.connect(self.site.home / "db.sqlite3", timeout=20) as database:
            return database.execute(sql, values).fetchall()

    def n_candidates(self, job: int) -> int:
        sql = (
            "select count(*) from generation_candidate c join generation_jobarm a on c.arm_id = a.id where a.job_id = ?"
        )
        return int(self.ask(sql, job)[0][0])

    def status(self, job: int) -> str:
        return str(self.ask("select status from generation_generationjob where id = ?", job)[0][0])

    def message(self, job: int) -> str:
        return str(self.ask("select message from generation_generationjob where id = ?", job)[0][0])

    def until(self, fact: Callable[[], object], what: str, seconds: float = 300) -> None:
        end = time.monotonic() + seconds
        while not fact():
            if time.monotonic() > end:
                raise ServiceFailed(f"{what} never came true; worker:\n{self.site.log('worker')[-3000:]}")
            time.sleep(0.1)

    def until_over(self, job: int) -> None:
        self.until(lambda: self.status(job) == "succeeded", "the end of the job")

    def assert_exactly_once(self, job: int, n_prompts: int) -> None:
        rows = self.ask(
            'select a.number, c.prompt_id, c."index", c.seed, c.text from generation_candidate c'
            " join generation_jobarm a on c.arm_id = a.id where a.job_id = ?",
            job,
        )
        triples = {(arm, prompt, index) for arm, prompt, index, _, _ in rows}
        ids = json.loads(self.ask("select prompt_ids from generation_generationjob where id = ?", job)[0][0])
        assert len(ids) == n_prompts
        assert triples == {(arm, prompt, index) for arm in (0, 1) for prompt in ids for index in (0, 1)}
        assert len(rows) == len(triples) == 4 * n_prompts
        assert len({seed for *_, seed, _ in rows}) == len(rows)

    def kill_vllm(self) -> None:
        """SIGKILL every process of the server, as a full memory would; not its supervisor."""
        supervisor = self.site.processes["engine"].pid
        assert supervisor
        killed = 0
        for pid in descendants(supervisor):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            if ("vllm_main.py" in command and "process.py" not in command) or "EngineCore" in command:
                os.kill(pid, signal.SIGKILL)
                killed += 1
        assert killed


def descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    import sys

    with Site(tmp_path_factory.mktemp("kill")) as site:
        site.migrate()
        house = House(site)
        house.shell(WORLD)
        site._start("engine", [sys.executable, str(ROOT / "manage.py"), "serve_engine"])
        site.start_worker()
        site.start_beat()
        house.until(lambda: house.ask("select state from generation_endpoint")[0][0] == "ready", "a ready vLLM", 600)
        yield house


def test_a_worker_killed_in_the_middle_costs_no_answer_and_doubles_none(house: House) -> None:
    # T182
    job = house.start_job(200)
    house.until(lambda: house.n_candidates(job) > 100, "the first hundred answers")
    house.site.kill("worker")
    kept = house.n_candidates(job)
    assert house.status(job) == "running"
    assert 100 < kept < 800
    house.site.start_worker()
    house.until_over(job)
    house.assert_exactly_once(job, 200)
    assert house.n_candidates(job) >= kept


def test_a_vllm_killed_in_the_middle_is_waited_for(house: House) -> None:
    job = house.start_job(200)
    house.until(lambda: house.n_candidates(job) > 100, "the first hundred answers")
    house.kill_vllm()
    house.until(lambda: "trying again in" in house.message(job), "the job to say that vLLM is down")
    assert house.status(job) == "running"
    house.until(lambda: house.status(job) == "succeeded", "the end of the job", 600)
    house.assert_exactly_once(job, 200)
    assert house.ask("select n_failed from generation_generationjob where id = ?", job) == [(0,)]


def test_a_flushed_broker_loses_no_job(house: House) -> None:
    house.site.stop("worker")
    job = house.start_job(20)
    for message in (house.site.home / "broker" / "queue").glob("*.msg"):
        message.unlink()
    house.site.start_worker()
    house.until_over(job)
    house.assert_exactly_once(job, 20)


@pytest.mark.redis
def test_a_redis_that_dies_in_the_middle_stops_no_job(house: House, redis: Redis) -> None:
    site = house.site
    embedded = site.environment
    for name in ("worker", "beat"):
        site.stop(name)
    site.environment = {**embedded, "WHETSTONE_BROKER_URL": redis.url}
    try:
        site.start_worker()
        site.start_beat()
        running = house.start_job(100)
        house.until(lambda: house.n_candidates(running) > 50, "the first fifty answers")
        redis.crash()
        waiting = house.start_job(10)  # nobody can be told of it: its row waits
        house.until_over(running)
        assert house.status(waiting) == "queued"
        redis.start()
        house.until_over(waiting)
    finally:
        for name in ("worker", "beat"):
            site.stop(name)
        site.environment = embedded
        site.start_worker()
        site.start_beat()
    house.assert_exactly_once(running, 100)
    house.assert_exactly_once(waiting, 10)


def test_the_same_seeds_ask_again_for_the_same_answers(house: House) -> None:
    first, second = (house.start_job(10) for _ in range(2))
    for job in (first, second):
        house.until_over(job)
    sql = (
        'select c.prompt_id, a.number, c."index", c.seed from generation_candidate c'
        " join generation_jobarm a on c.arm_id = a.id where a.job_id = ? order by 1, 2, 3"
    )
    assert house.ask(sql, first) == house.ask(sql, second)
