"""The program of docs/how-to/use-the-api.md, run as it stands there against a server of its own."""

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.db import connection

from accounts.models import Role
from accounts.tokens import create_token
from annotation.models import Judgement
from core import jobs
from tests.annotation.builders import make_project, make_user
from tests.annotation.live_world import make_deployment
from tests.generation.stub_vllm import StubVllm
from tests.howto.pages import example, run_example
from training.models import Snapshot


class Worker:
    """Does what is sent to the queue, in order, in a thread of its own: the broker alone is left out."""

    def __init__(self) -> None:
        self.sent: queue.Queue[tuple[str, list[Any]] | None] = queue.Queue()
        self.thread = threading.Thread(target=self._work, daemon=True)

    def send_task(self, name: str, args: list[Any], **_: Any) -> None:
        self.sent.put((name, args))

    def _work(self) -> None:
        while (message := self.sent.get()) is not None:
            current_app.tasks[message[0]](*message[1])
        connection.close()


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    current_app.loader.import_default_modules()
    made = Worker()
    monkeypatch.setattr(jobs, "current_app", made)
    made.thread.start()
    yield made
    made.sent.put(None)
    made.thread.join(20)


@pytest.mark.django_db(transaction=True)
def test_the_example_runs_as_it_stands(live_server: Any, worker: Worker, tmp_path: Path) -> None:
    project = make_project()
    people = {role: make_user(role.label, project, role) for role in (Role.RESEARCHER, Role.ANNOTATOR)}
    scopes = {
        Role.RESEARCHER: ["read", "generate", "campaign", "export"],
        Role.ANNOTATOR: ["annotate"],
    }
    secrets = {
        role: create_token(membership=project.memberships.get(user=user), name="notebook", scopes=scopes[role])[1]
        for role, user in people.items()
    }
    environment = {
        "WHETSTONE_SITE": live_server.url,
        "WHETSTONE_PROJECT": project.slug,
        "WHETSTONE_TOKEN": secrets[Role.RESEARCHER],
        "WHETSTONE_ANNOTATOR_TOKEN": secrets[Role.ANNOTATOR],
    }
    with StubVllm() as stub:
        make_deployment(project, stub.url)
        (printed,) = run_example(example("use-the-api", "From prompts to a dataset"), tmp_path, **environment)
    snapshot = Snapshot.objects.get()
    assert printed.splitlines() == [
        "tasks: 6",
        "judged: 6",
        f"rows: {Judgement.objects.count()}",
        f"{snapshot.sha256} {snapshot.counts['rows']['train']} rows; the first comes from 1 judgement",
    ]
