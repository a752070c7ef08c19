"""Deployments: fresh name, canary, flip, drain, rollback; and that a death anywhere leaves the old model live."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from core import jobs
from core.errors import Conflict, DomainError
from core.storage import artifact_path
from generation import deploy
from generation.artifacts import ARTIFACT_KIND
from generation.deploy import (
    live_deployment,
    request_deployment,
    retire_drained,
    roll_back,
    run_deployment_job,
    stage_for_evaluation,
    tend_deployments,
)
from generation.endpoints import problems_for_training
from generation.models import Deployment, GenerationJob, JobArm
from tests.generation.serving_world import make_adapter, make_base, make_endpoint, make_member, make_project
from tests.generation.stub_vllm import StubVllm

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quiet_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_send", lambda job: None)


@pytest.fixture
def stub() -> Iterator[StubVllm]:
    with StubVllm() as server:
        yield server


class Lab:
    """A project with the base live on a stub."""

    def __init__(self, stub: StubVllm) -> None:
        self.stub = stub
        self.project = make_project()
        self.ravi = make_member(self.project, "ravi")
        self.endpoint = make_endpoint(stub.url)
        self.base = make_base(self.project)
        self.deploy(self.base)

    def request(self, version: Any, **options: Any) -> Deployment:
        return request_deployment(version=version, endpoint=self.endpoint, by=self.ravi, **options)

    def deploy(self, version: Any, **options: Any) -> Deployment:
        deployment = self.request(version, **options)
        run_deployment_job(deployment.pk)
        deployment.refresh_from_db()
        return deployment

    @property
    def live(self) -> str:
        deployment = live_deployment(self.project)
        assert deployment is not None
        return deployment.model_version.slug


@pytest.fixture
def lab(stub: StubVllm) -> Lab:
    return Lab(stub)


def expire(deployment: Deployment) -> None:
    """What a killed worker leaves: a lease that runs out."""
    Deployment.objects.filter(pk=deployment.pk, status="running").update(leased_until="2020-01-01T00:00:00Z")


def test_an_adapter_goes_live_and_the_one_before_drains(lab: Lab, stub: StubVllm) -> None:
    first = live_deployment(lab.project)
    new = lab.deploy(make_adapter(lab.base))
    assert (new.stage, new.status, lab.live) == ("live", "succeeded", "round-1")
    assert first is not None
    first.refresh_from_db()
    assert first.stage == "draining"
    assert new.replaces == first
    assert list(stub.adapters) == [new.served_name]
    assert new.canary["passed"] and new.canary["share"] == pytest.approx(1.0)
    assert [event.after for event in new.events.order_by("id") if event.after in deploy.NEXT_STAGE] == [
        "pending",
        "loading",
        "checking",
        "live",
    ]


def test_each_deployment_has_a_name_of_its_own(lab: Lab) -> None:
    adapter = make_adapter(lab.base)
    names = {lab.deploy(version).served_name for version in (adapter, lab.base, adapter)}
    assert len(names) == 3
    assert f"round-1-{adapter.artifact_sha256[:8]}" in names


def test_an_adapter_that_changed_nothing_is_refused_as_that(lab: Lab, stub: StubVllm) -> None:
    failed = lab.deploy(make_adapter(lab.base, change=0.0))
    assert failed.stage == "failed"
    assert "changes nothing" in failed.error
    assert lab.live == "base"
    assert not stub.adapters


def test_a_server_that_keeps_serving_the_old_is_caught(lab: Lab, stub: StubVllm) -> None:
    stub.keeps_serving_old = True
    failed = lab.deploy(make_adapter(lab.base))
    assert failed.stage == "failed"
    assert "answers exactly as before" in failed.error
    assert lab.live == "base"
    assert not stub.adapters, "what failed is unloaded"


def test_answers_far_from_the_trainers_are_refused(lab: Lab, stub: StubVllm) -> None:
    stub.noise = 0.2
    failed = lab.deploy(make_adapter(lab.base))
    assert failed.stage == "failed"
    assert "differ from the trainer's by 0.200" in failed.error


def test_a_version_without_a_canary_is_refused(lab: Lab) -> None:
    failed = lab.deploy(make_adapter(lab.base, **{"canary.json": "{}"}))
    assert failed.stage == "failed"
    assert "canary.json" in failed.error


def test_damaged_files_are_never_loaded(lab: Lab, stub: StubVllm) -> None:
    adapter = make_adapter(lab.base)
    (artifact_path(ARTIFACT_KIND, adapter.artifact_sha256) / "adapter_model.safetensors").write_bytes(b"other")
    failed = lab.deploy(adapter)
    assert failed.stage == "failed"
    assert "damaged" in failed.error
    assert not stub.bodies("/v1/load_lora_adapter")


def test_a_server_without_run_time_loading_says_what_to_type(lab: Lab, stub: StubVllm) -> None:
    stub.lora = False
    failed = lab.deploy(make_adapter(lab.base))
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1" in failed.error


def test_a_server_that_is_down_sends_the_job_back_to_the_queue(lab: Lab, stub: StubVllm) -> None:
    stub.fault, stub.n_faults = "500", 1
    waiting = lab.deploy(make_adapter(lab.base))
    assert (waiting.stage, waiting.status) == ("checking", "queued")
    assert lab.live == "base"
    run_deployment_job(waiting.pk)
    assert lab.live == "round-1"


class Killed(BaseException):
    """Not an Exception: nothing in the code may catch it, as nothing catches SIGKILL."""


STEPS = ["begin", "load", "check_and_go_live", "_served_figures", "conclude", "_go_live"]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_leaves_one_model_live_and_the_job_goes_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, step: str, moment: str
) -> None:
    real = getattr(deploy, step)

    def killed(*args: Any, **kwargs: Any) -> Any:
        if moment == "after":
            result = real(*args, **kwargs)
            if hasattr(result, "close"):
                result.close()
        raise Killed

    new = lab.request(make_adapter(lab.base))
    with monkeypatch.context() as patch:
        patch.setattr(deploy, step, killed)
        with pytest.raises(Killed):
            run_deployment_job(new.pk)
    committed = moment == "after" and step in ("check_and_go_live", "conclude", "_go_live")
    assert lab.live == ("round-1" if committed else "base")
    expire(new)
    jobs.reap()
    run_deployment_job(new.pk)
    assert lab.live == "round-1"
    assert Deployment.objects.filter(project=lab.project, alias="policy", stage="live").count() == 1


def test_a_kill_within_the_flip_leaves_the_old_one_live(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = jobs.finish

    def killed(*args: Any, **kwargs: Any) -> bool:
        real(*args, **kwargs)
        raise Killed

    new = lab.request(make_adapter(lab.base))
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "finish", killed)
        with pytest.raises(Killed):
            run_deployment_job(new.pk)
    new.refresh_from_db()
    assert (lab.live, new.stage) == ("base", "checking")


def test_a_worker_that_lost_its_lease_flips_nothing(lab: Lab) -> None:
    new = lab.request(make_adapter(lab.base))
    token = jobs.claim(new)
    assert token is not None
    Deployment.objects.filter(pk=new.pk).update(lease_token="somebody else's")
    for step in (deploy.begin, deploy.check_and_go_live):
        with pytest.raises(deploy.Lost):
            step(new, token)
    assert lab.live == "base"


@pytest.mark.django_db(transaction=True)
def test_two_people_pressing_at_once_get_one_deployment(lab: Lab) -> None:
    adapter, results = make_adapter(lab.base), []

    def press() -> None:
        try:
            results.append(lab.request(adapter))
        except Conflict as problem:
            results.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(result, Deployment) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 15


def test_a_rollback_is_the_flip_alone_while_the_one_before_is_loaded(lab: Lab, stub: StubVllm) -> None:
    lab.deploy(make_adapter(lab.base))
    second = lab.deploy(make_adapter(lab.base, "round-2"))
    n_requests = len(stub.requests)
    back = roll_back(project=lab.project, by=lab.ravi)
    assert lab.live == "round-1"
    assert back.stage == "live"
    assert len(stub.requests) == n_requests
    second.refresh_from_db()
    assert second.stage == "draining"


def test_a_rollback_works_when_the_newest_files_are_gone(lab: Lab) -> None:
    import shutil

    newest = make_adapter(lab.base)
    lab.deploy(newest)
    shutil.rmtree(artifact_path(ARTIFACT_KIND, newest.artifact_sha256))
    roll_back(project=lab.project)
    assert lab.live == "base"


def test_a_rollback_of_one_that_was_unloaded_deploys_it_again(lab: Lab) -> None:
    lab.deploy(make_adapter(lab.base))
    Deployment.objects.filter(stage="draining").update(stage="retired")
    again = roll_back(project=lab.project)
    assert lab.live == "round-1"
    run_deployment_job(again.pk)
    assert lab.live == "base"


def test_there_is_nothing_before_the_first(lab: Lab) -> None:
    with pytest.raises(DomainError, match="no version before"):
        roll_back(project=lab.project)


def test_what_a_job_still_asks_is_not_unloaded(lab: Lab, stub: StubVllm) -> None:
    first = lab.deploy(make_adapter(lab.base))
    job = GenerationJob.objects.create(project=lab.project, status="running", leased_until="2100-01-01T00:00:00Z")
    JobArm.objects.create(job=job, number=0, model_version=first.model_version, deployment=first)
    lab.deploy(make_adapter(lab.base, "round-2"))
    third = lab.deploy(make_adapter(lab.base, "round-3"))
    retire_drained()
    assert first.served_name in stub.adapters
    GenerationJob.objects.update(status="succeeded")
    retire_drained()
    first.refresh_from_db()
    assert first.stage == "retired"
    assert set(stub.adapters) == {third.served_name, third.replaces.served_name}  # type: ignore[union-attr]


def test_a_server_that_forgot_its_adapters_gets_them_again(lab: Lab, stub: StubVllm) -> None:
    live = lab.deploy(make_adapter(lab.base))
    stub.restart()
    tend_deployments()
    assert list(stub.adapters) == [live.served_name]


def test_a_server_started_by_us_gets_the_live_adapters_at_its_start(lab: Lab) -> None:
    live = lab.deploy(make_adapter(lab.base))
    found = deploy.adapters_on(lab.endpoint)
    assert list(found) == [live.served_name]
    assert found[live.served_name].endswith(live.model_version.artifact_sha256)


def test_a_candidate_is_loaded_beside_the_live_one(lab: Lab, stub: StubVllm) -> None:
    new = make_adapter(lab.base)
    staged = stage_for_evaluation(version=new, project=lab.project)
    assert stage_for_evaluation(version=new, project=lab.project) == staged
    run_deployment_job(staged.pk)
    assert lab.live == "base"
    assert deploy.serving(new, lab.project) == staged
    assert staged.served_name in stub.adapters


def test_a_candidate_that_nobody_asks_gives_its_slot_back(lab: Lab, stub: StubVllm) -> None:
    staged = stage_for_evaluation(version=make_adapter(lab.base), project=lab.project)
    run_deployment_job(staged.pk)
    tend_deployments()
    staged.refresh_from_db()
    assert staged.stage == "live"  # it has only just come
    Deployment.objects.filter(pk=staged.pk).update(live_at=jobs.from_now(-deploy.CANDIDATE_SECONDS - 1))
    tend_deployments()
    staged.refresh_from_db()
    assert (staged.stage, lab.live) == ("retired", "base")
    assert staged.served_name not in stub.adapters


def test_a_slow_load_keeps_its_lease(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.beating.BEAT_SECONDS", 0.01)
    new, ends = lab.request(make_adapter(lab.base)), []
    load, beat = deploy.Vllm.load, jobs.beat

    async def slow(engine: Any, *args: Any) -> Any:
        await asyncio.sleep(0.3)
        return await load(engine, *args)

    def noted(*args: Any, **kwargs: Any) -> Any:
        ends.append(kwargs.get("message", ""))
        return beat(*args, **kwargs)

    monkeypatch.setattr(deploy.Vllm, "load", slow)
    monkeypatch.setattr(jobs, "beat", noted)
    run_deployment_job(new.pk)
    assert lab.live == new.model_version.slug
    assert ends.count("") > 5  # those that only renew


def test_a_cancelled_deployment_is_closed(lab: Lab) -> None:
    new = lab.request(make_adapter(lab.base))
    jobs.request_cancel(new)
    run_deployment_job(new.pk)
    tend_deployments()
    new.refresh_from_db()
    assert (new.stage, lab.live) == ("failed", "base")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda lab: make_adapter(lab.base, rank=64), "rank 64.*--max-lora-rank 64"),
        (lambda lab: make_adapter(make_base(lab.project, "other", "/other")), "serves /base, not other"),
    ],
)
def test_what_an_endpoint_cannot_serve_is_refused_at_once(lab: Lab, make: Any, match: str) -> None:
    with pytest.raises(DomainError, match=match):
        lab.request(make(lab))


def test_an_outside_model_is_never_deployed(lab: Lab) -> None:
    from generation.models import ModelVersion

    outside = ModelVersion.objects.create(project=lab.project, slug="gpt", kind="outside")
    with pytest.raises(DomainError, match="another lab's model"):
        lab.request(outside)


def test_a_run_learns_before_it_starts_what_its_endpoint_cannot_take(lab: Lab) -> None:
    assert problems_for_training(lab.endpoint, lab.base, rank=8) == []
    (problem,) = problems_for_training(lab.endpoint, lab.base, rank=64)
    assert "--max-lora-rank 64" in problem
    (problem,) = problems_for_training(lab.endpoint, make_base(lab.project, "other", "/other"), rank=8)
    assert "not other" in problem
