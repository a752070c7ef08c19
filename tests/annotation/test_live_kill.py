"""A worker killed (SIGKILL) between the two answers of a live turn: the turn goes on, with one answer by each arm."""

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
from accounts.models import Project
from annotation.live import send_prompt, start_conversation
from annotation.live_campaigns import start_live_campaign
from annotation.models import Annotator
from generation.models import Deployment, Endpoint, ModelVersion
project = Project.objects.create(slug="talk", name="Talk")
version = ModelVersion.objects.create(project=project, slug="base", kind="base", source="/base")
endpoint = Endpoint.objects.create(name="stub", engine="vllm", base_url="{url}", timeout_seconds=300, state="ready")
deployment = Deployment.objects.create(
    project=project, endpoint=endpoint, model_version=version, served_name="base", stage="live", status="succeeded"
)
arms = [{{"deployment": deployment, "sampling": {{"temperature": t, "max_tokens": 16}}}} for t in (0.5, 1.0)]
campaign = start_live_campaign(project=project, name="Chat", arms=arms, n_turns=10, by=None)
ana = Annotator.objects.create(project=project, pseudonym="ana")
talk = start_conversation(campaign=campaign, annotator=ana)
send_prompt(conversation_key=talk.key, annotator=ana, number=1, text="What is the capital of France?")
"""


class Blocked:
    """A stub whose second arm hangs until it is let go."""

    def __init__(self, stub: StubVllm) -> None:
        self.stub, self.go = stub, threading.Event()
        stub.on_request = self.wait

    def wait(self, path: str, body: dict[str, Any]) -> None:
        if path.endswith("chat/completions") and body["temperature"] == 1.0:
            self.go.wait(300)


@pytest.fixture
def blocked() -> Iterator[Blocked]:
    with StubVllm() as stub:
        found = Blocked(stub)
        yield found
        found.go.set()


def until(fact: Callable[[], object], what: str, site: Site, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, f"{what} never came true\n{site.log('worker')[-3000:]}"
        time.sleep(0.1)


def test_a_turn_whose_worker_is_killed_ends_with_one_answer_an_arm(tmp_path: Path, blocked: Blocked) -> None:
    def ask(sql: str) -> list[Any]:
        with sqlite3.connect(tmp_path / "db.sqlite3", timeout=20) as database:
            return database.execute(sql).fetchall()

    answers = (
        "select a.number, c.text from generation_candidate c join generation_jobarm a on a.id = c.arm_id order by 1"
    )
    with Site(tmp_path) as site:
        site.migrate()
        site.manage("shell", "--no-imports", "-c", WORLD.format(url=blocked.stub.url))
        site.start_worker("default")
        until(lambda: len(ask(answers)) == 1, "the first answer", site)
        kept = ask(answers)
        assert kept[0][0] == 0
        assert ask("select count(*) from annotation_comparisontask") == [(0,)]  # nothing is shown yet
        site.kill("worker")
        blocked.go.set()
        # Its lease would run out by itself: nobody waits for that here.
        ask("update generation_generationjob set leased_until = '2020-01-01' where status = 'running'")
        site.start_worker("default,tick")
        site.start_beat()
        until(lambda: ask("select count(*) from annotation_assignment") == [(1,)], "the turn's task", site)
        assert [number for number, _ in ask(answers)] == [0, 1]
        assert ask(answers)[0] == kept[0]  # what was there is not written again
        assert ask("select count(*), min(task_id is not null) from annotation_turn") == [(1, 1)]
        asked = [body["temperature"] for body in blocked.stub.bodies("/v1/chat/completions")]
        assert asked.count(0.5) == 1
