"""A run from its row to its model version, with the real trainer, through every way in which it can be interrupted."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from accounts.models import Project
from config.env import ROOT
from core.ids import new_key
from core.jobs import JobStatus, reap
from core.storage import artifact_path, home, store_directory, verify
from generation.models import ModelVersion
from tests.training.tiny import make_model, make_pairs, write_rows
from training import supervise
from training.models import Snapshot, TrainingRun
from training.run_start import cancel_run, resume_run, start_run
from training.supervise import supervise_run

pytestmark = [pytest.mark.training, pytest.mark.django_db(transaction=True)]

PATIENCE_SECONDS = 600
SETTINGS = {"epochs": 2, "batch_size": 4, "save_every": 3, "evaluate_every": 5, "n_samples": 1, "sample_tokens": 4}
# Seven batches an epoch; long enough to be interrupted at a chosen step.
LONG = SETTINGS | {"epochs": 12}  # where this process must act before the trainer ends, however busy the machine is


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)  # no broker here: the tests are the worker
    monkeypatch.setattr(supervise, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(supervise, "LOOK_SECONDS", 0.02)


def make_snapshot(project: Project, rows: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> Snapshot:
    directory = home() / f"draft-{new_key()}"
    directory.mkdir()
    write_rows(directory / "train.jsonl", rows)
    write_rows(directory / "test.jsonl", held_out)
    return Snapshot.objects.create(
        project=project,
        name=new_key(),
        status=JobStatus.SUCCEEDED,
        sha256="0" * 64,
        artifact_sha256=store_directory("datasets", directory),
    )


def make_base(directory: Path, *, slug: str = "base") -> ModelVersion:
    project, _ = Project.objects.get_or_create(slug="p", name="P")
    base, _ = ModelVersion.objects.get_or_create(
        project=project, slug=slug, kind="base", source=str(directory), is_toy=True, licence="Apache-2.0"
    )
    return base


def make_run(
    base_dir: Path, *, method: str = "dpo", rows: list[dict[str, Any]] | None = None, **more: Any
) -> TrainingRun:
    project, _ = Project.objects.get_or_create(slug="p", name="P")
    base = make_base(base_dir)
    snapshot = make_snapshot(project, make_pairs(26) if rows is None else rows, make_pairs(6, offset=60))
    # Two runs of one test start from the same seed, so that their weights can be compared.
    options: dict[str, Any] = {"base": base, "overrides": SETTINGS, "seed": 7, **more}
    if method == "dpo":
        options["overrides"] = {"sft_weight": 0.0, **options["overrides"]}  # so that the first loss is ln 2
    return start_run(project=project, method=method, snapshot=snapshot, **options)


def again(run: TrainingRun) -> TrainingRun:
    return TrainingRun.objects.get(pk=run.pk)


def wait_until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)


def trainer_pid(run: TrainingRun) -> int:
    return int(again(run).pid or 0)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def in_thread() -> Iterator[Callable[[TrainingRun], threading.Thread]]:
    """Supervise a run beside the test; the thread is joined at the end."""
    threads: list[threading.Thread] = []

    def start(run: TrainingRun) -> threading.Thread:
        def work() -> None:
            try:
                supervise_run(run.pk)
            finally:
                connection.close()

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return threads[-1]

    yield start
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def finished(run: TrainingRun) -> TrainingRun:
    run = again(run)
    assert run.status == JobStatus.SUCCEEDED, (run.status, run.error, run.log_tail)
    return run


WHOLE: dict[str, Any] = {}


def undisturbed(base_dir: Path) -> TrainingRun:
    run = make_run(base_dir)
    supervise_run(run.pk)
    run = finished(run)
    assert run.produced is not None
    WHOLE.update(sha256=run.produced.artifact_sha256, curves=curves(run))
    return run


def uninterrupted(base_dir: Path) -> dict[str, Any]:
    """The hash and the curves of a run that nobody disturbed; made once for the module."""
    if not WHOLE:
        undisturbed(base_dir)
    return WHOLE


def curves(run: TrainingRun) -> list[tuple[str, int, float]]:
    return sorted(run.metrics.values_list("name", "step", "value"))


def test_a_run_makes_a_model_version_and_tells_its_story(base_dir: Path) -> None:
    run = undisturbed(base_dir)
    version = run.produced
    assert version is not None
    assert (version.slug, version.kind, version.purpose, version.parent) == ("dpo-1", "adapter", "policy", run.base)
    assert version.is_toy
    assert version.facts["rank"] == 16
    verify("models", version.artifact_sha256)
    stored = artifact_path("models", version.artifact_sha256)
    assert {
        "adapter_model.safetensors",
        "adapter_config.json",
        "tokenizer.json",
        "chat_template.jinja",
        "canary.json",
    } <= {file.name for file in stored.iterdir()}
    assert not [file for file in stored.rglob("*") if file.suffix == ".bin" or file.is_dir()]
    assert (run.step, run.total_steps) == (14, 14)
    losses = dict(run.metrics.filter(name="loss").values_list("step", "value"))
    assert sorted(losses) == list(range(1, 15))
    assert losses[1] == pytest.approx(0.693147, abs=1e-4)
    assert set(run.metrics.filter(name="heldout_accuracy").values_list("step", flat=True)) == {5, 10, 14}
    assert run.metrics.filter(name="train_accuracy").count() == 14
    assert [sample["step"] for sample in run.samples] == [0, 5, 10, 14]
    assert run.versions["trl"]
    assert "training pairs" in run.log_tail
    assert run.command.startswith("python -m training.recipes.dpo ")
    assert [event.after for event in run.events.all()] == ["queued", "running", "succeeded"]

    supervise_run(run.pk)  # a message that comes once more
    assert ModelVersion.objects.filter(parent=run.base).count() == 1


def test_the_next_round_continues_the_adapter_and_the_reward_model_starts_from_the_root(base_dir: Path) -> None:
    first = make_run(base_dir)
    supervise_run(first.pk)
    policy = finished(first).produced
    assert policy is not None
    second = make_run(base_dir, base=policy)
    assert second.spec["adapter"] == f"artifacts/models/{policy.artifact_sha256}"
    supervise_run(second.pk)
    child = finished(second).produced
    assert child is not None
    assert child.lineage == [child, policy, first.base]
    assert child.root == first.base
    reward = make_run(base_dir, method="reward", base=policy.root)
    supervise_run(reward.pk)
    scorer = finished(reward).produced
    assert scorer is not None
    assert (scorer.kind, scorer.purpose, scorer.slug) == ("full", "reward", "reward-1")


def test_a_killed_trainer_goes_on_and_ends_with_the_same_weights(
    base_dir: Path, in_thread: Callable[[TrainingRun], threading.Thread]
) -> None:
    whole = uninterrupted(base_dir)
    broken = make_run(base_dir)
    in_thread(broken)
    wait_until(lambda: again(broken).step >= 8, "step 8")
    os.kill(trainer_pid(broken), signal.SIGKILL)
    wait_until(lambda: again(broken).is_terminal, "the end")
    broken = finished(broken)
    assert broken.n_resumes == 1
    assert broken.produced is not None
    assert broken.produced.artifact_sha256 == whole["sha256"]
    assert curves(broken) == whole["curves"]


WORKER = "import django; django.setup(); from training.supervise import supervise_run; supervise_run({pk})"


def start_worker(run: TrainingRun) -> subprocess.Popen[bytes]:
    """A worker process that can be killed, on the test's own database."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WHETSTONE_")} | {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "WHETSTONE_HOME": str(home()),
        "WHETSTONE_ENV_FILE": "",
        "WHETSTONE_DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}",
    }
    return subprocess.Popen([sys.executable, "-c", WORKER.format(pk=run.pk)], env=environment, cwd=ROOT)


def test_a_killed_worker_takes_its_trainer_with_it_and_the_run_goes_on(base_dir: Path) -> None:
    whole = uninterrupted(base_dir)
    broken = make_run(base_dir)
    worker = start_worker(broken)
    wait_until(lambda: again(broken).step >= 4 or worker.poll() is not None, "step 4")
    assert worker.poll() is None
    pid = trainer_pid(broken)
    worker.kill()
    worker.wait()
    wait_until(lambda: not is_alive(pid), "the trainer's end")
    supervise_run(broken.pk)
    assert again(broken).status == JobStatus.RUNNING  # the lease still stands: nobody else may have it
    TrainingRun.objects.filter(pk=broken.pk).update(leased_until=timezone.now() - timedelta(seconds=1))
    reap()
    assert again(broken).status == JobStatus.QUEUED
    supervise_run(broken.pk)
    broken = finished(broken)
    assert broken.produced is not None
    assert broken.produced.artifact_sha256 == whole["sha256"]
    assert curves(broken) == whole["curves"]


def test_a_cancelled_run_keeps_its_checkpoint_and_goes_on_when_asked(
    base_dir: Path, in_thread: Callable[[TrainingRun], threading.Thread]
) -> None:
    run = make_run(base_dir, overrides=LONG)
    thread = in_thread(run)
    wait_until(lambda: again(run).step >= 4, "step 4")
    cancel_run(again(run))
    cancel_run(again(run))  # twice is once
    thread.join(PATIENCE_SECONDS)
    run = again(run)
    assert run.status == JobStatus.CANCELLED, run.error
    assert "checkpoint is kept" in run.message
    assert run.last_checkpoint
    assert run.produced is None
    assert not is_alive(run.pid or 0)
    resume_run(run)
    supervise_run(run.pk)
    assert finished(run).produced is not None


def test_a_run_that_cannot_learn_fails_with_a_sentence_and_makes_no_model(base_dir: Path) -> None:
    same = [{**row, "rejected": row["chosen"]} for row in make_pairs(4)]
    run = make_run(base_dir, rows=same)
    supervise_run(run.pk)
    run = again(run)
    assert run.status == JobStatus.FAILED
    assert run.error.startswith("4 of 4 pairs of the training set have the same answer")
    assert run.log_tail
    assert not ModelVersion.objects.filter(parent=run.base).exists()


def test_a_loss_that_is_no_number_fails_the_run_and_makes_no_model(base_dir: Path, tmp_path: Path) -> None:
    broken = make_model(tmp_path / "broken", attention_scale=1e38)  # finite weights whose scores overflow
    run = make_run(base_dir, base=make_base(broken, slug="broken"))
    supervise_run(run.pk)
    run = again(run)
    assert run.status == JobStatus.FAILED, run.message
    assert "became nan at step 1; lower the learning rate" in run.error
    assert not ModelVersion.objects.filter(parent=run.base).exists()


def test_a_supervisor_that_lost_its_lease_kills_its_trainer(
    base_dir: Path, in_thread: Callable[[TrainingRun], threading.Thread]
) -> None:
    run = make_run(base_dir, overrides=LONG)
    thread = in_thread(run)
    wait_until(lambda: again(run).step >= 2, "step 2")
    pid = trainer_pid(run)
    TrainingRun.objects.filter(pk=run.pk).update(lease_token="somebody else's")
    thread.join(PATIENCE_SECONDS)
    assert not is_alive(pid)
    run = again(run)
    assert (run.status, run.lease_token, run.produced) == (JobStatus.RUNNING, "somebody else's", None)


def test_training_goes_on_while_the_database_is_away(base_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(base_dir)
    write, refused = supervise.write_events, []

    def flaky(*arguments: Any) -> Any:
        # The first figures do not get through; the trainer is not told.
        if len(refused) < 6 and any(event["kind"] == "metric" for event in arguments[2]):
            refused.append(1)
            raise OperationalError("server closed the connection unexpectedly")
        return write(*arguments)

    monkeypatch.setattr(supervise, "write_events", flaky)
    supervise_run(run.pk)
    assert len(refused) == 6
    assert finished(run).metrics.filter(name="loss").count() == 14
