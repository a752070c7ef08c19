"""Sixteen go-lives and rollbacks of one alias at once, on PostgreSQL: at every moment exactly one version is live."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.db import connection

from core import jobs
from core.errors import Conflict, DomainError
from core.ids import new_key
from generation import deploy
from generation.deploy import live_deployment, request_deployment, roll_back, run_deployment_job
from generation.models import Deployment, DeploymentEvent, ModelVersion
from tests.generation.serving_world import make_adapter, make_base, make_endpoint, make_project
from tests.generation.stub_vllm import StubVllm

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]

N_AT_ONCE = 16


@pytest.fixture(autouse=True)
def quiet_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_send", lambda job: None)


@pytest.fixture
def stub() -> Iterator[StubVllm]:
    with StubVllm() as server:
        yield server


@pytest.fixture
def base(stub: StubVllm) -> ModelVersion:
    """The base, live."""
    version = make_base(make_project())
    run_deployment_job(request_deployment(version=version, endpoint=make_endpoint(stub.url)).pk)
    return version


def checked(version: ModelVersion, served_name: str) -> tuple[Deployment, str]:
    """A deployment whose canary has just passed, with the lease of its worker: the next step is the flip.

    Only one is on its way to an alias as a rule; here that rule is stepped over, so that the flip itself must hold.
    """
    before = live_deployment(version.project)
    assert before is not None
    deployment = Deployment.objects.create(
        key=new_key(), project=version.project, endpoint=before.endpoint, model_version=version, alias="policy",
        served_name=served_name, stage="checking",
    )  # fmt: skip
    token = jobs.claim(deployment)
    assert token is not None
    return deployment, token


class AtOnce:
    """Run many calls in the same moment; keeps what each raised, and how many were live whenever somebody looked."""

    def __init__(self, project_id: int) -> None:
        self.project_id = project_id
        self.problems: list[BaseException] = []
        self.seen: set[int] = set()
        self.is_over = threading.Event()

    def run(self, calls: list[Callable[[], Any]]) -> None:
        ready = threading.Barrier(len(calls) + 1)
        watcher = threading.Thread(target=self._watch, args=[ready])
        threads = [threading.Thread(target=self._call, args=[call, ready]) for call in calls]
        for thread in [watcher, *threads]:
            thread.start()
        for thread in threads:
            thread.join()
        self.is_over.set()
        watcher.join()

    def _call(self, call: Callable[[], Any], ready: threading.Barrier) -> None:
        try:
            ready.wait()
            call()
        except BaseException as problem:
            self.problems.append(problem)
        finally:
            connection.close()

    def _watch(self, ready: threading.Barrier) -> None:
        try:
            ready.wait()
            while not self.is_over.is_set():
                self.seen.add(Deployment.objects.filter(project=self.project_id, alias="policy", stage="live").count())
        finally:
            connection.close()


def replaces_of_live(project: Any) -> list[str]:
    """The versions that answered before the live one, newest first."""
    found, deployment = [], live_deployment(project)
    while deployment is not None:
        found.append(deployment.served_name)
        deployment = deployment.replaces
    return found


def test_of_sixteen_go_lives_at_once_exactly_one_is_live(base: ModelVersion) -> None:
    ready = [checked(make_adapter(base, f"round-{n}"), f"round-{n}") for n in range(N_AT_ONCE)]
    race = AtOnce(base.project_id)
    race.run([partial(deploy.conclude, *one, None) for one in ready])
    assert race.problems == []
    assert race.seen == {1}
    stages = list(Deployment.objects.order_by("pk").values_list("stage", flat=True))
    assert sorted(stages) == ["draining"] * N_AT_ONCE + ["live"]
    assert set(Deployment.objects.values_list("status", flat=True)) == {"succeeded"}
    # They came one after the other: each took over from the one that was live then, and none from the same.
    assert len(replaces_of_live(base.project)) == N_AT_ONCE + 1


def test_go_lives_and_rollbacks_at_once_leave_exactly_one_live(base: ModelVersion) -> None:
    run_deployment_job(
        request_deployment(version=make_adapter(base), endpoint=live_deployment(base.project).endpoint).pk
    )
    ready = [checked(make_adapter(base, f"new-{n}"), f"new-{n}") for n in range(N_AT_ONCE // 2)]
    calls: list[Callable[[], Any]] = [partial(deploy.conclude, *one, None) for one in ready]
    calls += [partial(roll_back, project=base.project)] * (N_AT_ONCE // 2)
    race = AtOnce(base.project_id)
    race.run(calls)
    # A rollback may find nothing before what is live, or its way back on the way already; a flip may be overtaken.
    assert [problem for problem in race.problems if not isinstance(problem, DomainError | Conflict | deploy.Lost)] == []
    assert race.seen == {1}
    assert Deployment.objects.filter(stage="live").count() == 1
    n_flips = DeploymentEvent.objects.filter(after="live").count()
    assert n_flips == DeploymentEvent.objects.filter(before="live", after="draining").count() + 1


def test_sixteen_rollbacks_at_once_keep_one_live(base: ModelVersion) -> None:
    project = base.project
    for n in range(3):
        adapter = make_adapter(base, f"round-{n}")
        run_deployment_job(request_deployment(version=adapter, endpoint=live_deployment(project).endpoint).pk)
    race = AtOnce(project.pk)
    race.run([partial(roll_back, project=project)] * N_AT_ONCE)
    assert [problem for problem in race.problems if not isinstance(problem, DomainError)] == []
    assert race.seen == {1}
    assert Deployment.objects.filter(stage="live").count() == 1
