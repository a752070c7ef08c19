"""Who may start a run on what; and of two who press the button at once, one wins."""

import json
import threading
from typing import Any

import pytest
from django.db import connection

from accounts.models import AuditEvent, Project, User
from config.env import ROOT
from core.errors import Conflict, DomainError
from core.ids import new_key
from core.jobs import JobStatus, claim
from core.storage import home, store_directory
from generation.models import Deployment, Endpoint, ModelVersion
from tests.training.tiny import make_pairs, write_rows
from training.models import Snapshot, TrainingRun
from training.run_start import cancel_run, plan_run, resume_run, start_run
from training.specs import parse_spec

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    messages: list[int] = []
    monkeypatch.setattr("core.jobs._send", lambda job: messages.append(job.pk))
    return messages


@pytest.fixture
def project() -> Project:
    return Project.objects.create(slug="p", name="P")


def make_base(project: Project, **fields: Any) -> ModelVersion:
    options = {"slug": f"m-{new_key()}", "kind": "base", "source": str(ROOT / "starter" / "model"), **fields}
    return ModelVersion.objects.create(project=project, **options)


def make_adapter(project: Project, parent: ModelVersion, **fields: Any) -> ModelVersion:
    return make_base(project, kind="adapter", source="", parent=parent, artifact_sha256="a" * 64, **fields)


def make_snapshot(project: Project, n_train: int = 12, n_test: int = 3, **fields: Any) -> Snapshot:
    directory = home() / f"draft-{new_key()}"
    directory.mkdir()
    write_rows(directory / "train.jsonl", make_pairs(n_train))
    write_rows(directory / "test.jsonl", make_pairs(n_test, offset=60))
    options = {"name": new_key(), "status": JobStatus.SUCCEEDED, "sha256": new_key() * 5, **fields}
    return Snapshot.objects.create(project=project, artifact_sha256=store_directory("datasets", directory), **options)


def test_a_run_is_frozen_queued_and_audited(
    project: Project, sent: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    ravi = User.objects.create(username="ravi")
    base, snapshot = make_base(project), make_snapshot(project)
    with django_capture_on_commit_callbacks(execute=True):
        run = start_run(project=project, method="dpo", base=base, snapshot=snapshot, overrides={"beta": 0.5}, by=ravi)
    assert sent == [run.pk]
    spec = parse_spec(run.spec)
    assert run.spec_sha256 == spec.sha256
    assert spec.output_dir == f"runs/{run.key}"
    assert spec.train_file == f"artifacts/datasets/{snapshot.artifact_sha256}/train.jsonl"
    assert run.spec["settings"]["beta"] == 0.5
    assert str(home()) not in json.dumps(run.spec)
    assert AuditEvent.objects.get(action="run.start").user == ravi
    # The same data and base give the same seed; another run of the same may be told another.
    plan = plan_run(project=project, method="dpo", base=base, snapshot=snapshot)
    assert plan.seed == run.seed


def test_a_policy_that_is_an_adapter_is_continued(project: Project) -> None:
    root = make_base(project)
    policy = make_adapter(project, root, facts={"rank": 16})
    run = start_run(project=project, method="dpo", base=policy, snapshot=make_snapshot(project))
    assert run.spec["adapter"] == f"artifacts/models/{'a' * 64}"
    assert run.spec["base_model"] == str(ROOT / "starter" / "model")


def test_what_cannot_be_trained_is_refused_with_what_to_do(project: Project) -> None:
    base, snapshot = make_base(project), make_snapshot(project)
    outside = make_base(project, kind="outside", source="")
    reward = make_base(project, purpose="reward")
    adapter = make_adapter(project, base)
    elsewhere = Project.objects.create(slug="q", name="Q")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"snapshot": make_snapshot(project, n_train=0)}, "has no training pairs"),
        ({"snapshot": make_snapshot(project, status=JobStatus.RUNNING)}, "still being frozen"),
        ({"base": outside}, "only its answers are here"),
        ({"base": reward}, "is a reward model"),
        ({"base": adapter, "method": "reward"}, "is an adapter"),
        ({"base": make_base(project, source="/nowhere")}, "is gone"),
        ({"method": "magic"}, "no method 'magic'"),
        ({"effort": "heroic"}, "no effort 'heroic'"),
        ({"overrides": {"beta": -1}}, "beta: Input should be greater than 0"),
        ({"snapshot": make_snapshot(elsewhere)}, "another project"),
    ]
    for change, sentence in cases:
        with pytest.raises(DomainError, match=sentence):
            start_run(**{"project": project, "method": "dpo", "base": base, "snapshot": snapshot, **change})
    assert not TrainingRun.objects.exists()


def test_a_second_run_of_a_method_waits_for_the_first_to_end(project: Project) -> None:
    options: dict[str, Any] = {"project": project, "base": make_base(project), "snapshot": make_snapshot(project)}
    first = start_run(method="dpo", **options)
    with pytest.raises(Conflict, match="Another DPO run is open"):
        start_run(method="dpo", **options)
    start_run(method="reward", **options)
    cancel_run(first)
    assert first.status == JobStatus.CANCELLED
    second = start_run(method="dpo", **options)
    with pytest.raises(Conflict, match="is open"):
        resume_run(first)
    cancel_run(second)
    resume_run(first)
    assert first.status == JobStatus.QUEUED


def test_cancelling_a_running_run_asks_and_cancelling_twice_is_once(project: Project) -> None:
    run = start_run(project=project, method="dpo", base=make_base(project), snapshot=make_snapshot(project))
    assert claim(run)
    cancel_run(run)
    cancel_run(run)
    assert run.status == JobStatus.CANCELLING
    assert [event.after for event in run.events.all()] == ["queued", "running", "cancelling"]


def test_a_run_that_the_projects_server_could_not_serve_is_refused_before_it_starts(project: Project) -> None:
    base, snapshot = make_base(project), make_snapshot(project)
    endpoint = Endpoint.objects.create(
        name="e", engine="vllm", base_url="http://127.0.0.1:1", base_model=base.source, max_lora_rank=8
    )
    Deployment.objects.create(
        project=project, endpoint=endpoint, model_version=base, served_name="s", stage="live", status="succeeded"
    )
    options: dict[str, Any] = {"project": project, "method": "dpo", "base": base, "snapshot": snapshot}
    with pytest.raises(DomainError, match="rank 16, but e takes at most 8"):
        start_run(**options)
    with pytest.raises(DomainError, match="train an adapter instead"):
        start_run(**options, overrides={"tuning": "full"})
    assert start_run(**options, overrides={"r": 8}).status == JobStatus.QUEUED


def test_a_run_may_be_meant_for_another_server(project: Project) -> None:
    base = make_base(project)
    endpoint = Endpoint.objects.create(name="e", engine="openai", base_url="http://127.0.0.1:1")
    Deployment.objects.create(
        project=project, endpoint=endpoint, model_version=base, served_name="s", stage="live", status="succeeded"
    )
    options: dict[str, Any] = {"project": project, "method": "dpo", "base": base, "snapshot": make_snapshot(project)}
    with pytest.raises(DomainError, match="can only answer"):
        start_run(**options)
    assert start_run(**options, must_be_servable=False).status == JobStatus.QUEUED


@pytest.mark.django_db(transaction=True)
def test_of_sixteen_who_press_start_at_once_one_wins() -> None:
    project = Project.objects.create(slug="p", name="P")
    base, snapshot = make_base(project), make_snapshot(project)
    barrier, outcomes = threading.Barrier(16), []

    def press() -> None:
        barrier.wait()
        try:
            start_run(project=project, method="dpo", base=base, snapshot=snapshot)
            outcomes.append("won")
        except Conflict:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 15 + ["won"]
    assert TrainingRun.objects.count() == 1
