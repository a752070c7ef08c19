"""What the supervisor writes, hides and ends, without a trainer."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Project
from config.env import ROOT
from core.jobs import JobStatus, claim, request_cancel
from generation.models import ModelVersion
from training.models import MetricPoint, Snapshot, TrainingRun
from training.specs import derive
from training.supervise import (
    Supervision,
    command_of,
    end_stale_trainer,
    environment_for,
    lane_is_taken,
    note_trainer,
    supervise_run,
    write_events,
)

pytestmark = pytest.mark.django_db


def make_run(method: str = "dpo", *, project: str = "p", **fields: Any) -> TrainingRun:
    place, _ = Project.objects.get_or_create(slug=project, name=project)
    base, _ = ModelVersion.objects.get_or_create(project=place, slug="base", kind="base", source=str(ROOT))
    snapshot, _ = Snapshot.objects.get_or_create(project=place, name="s", artifact_sha256="0" * 64)
    spec = derive(
        method,
        "smoke",
        n_parameters=1000,
        context_length=64,
        n_train=10,
        base_model="m",
        train_file="t",
        output_dir="runs/x",
    )
    return TrainingRun.objects.create(
        project=place, method=method, base=base, snapshot=snapshot, spec=spec.model_dump(mode="json"), **fields
    )


def metric(step: int, **values: float) -> dict[str, Any]:
    return {"kind": "metric", "step": step, "total_steps": 9, "values": values}


EVENTS: list[dict[str, Any]] = [
    {"kind": "started", "versions": {"trl": "1.16"}, "device": "cpu"},
    {"kind": "steps", "step": 0, "total_steps": 9},
    {"kind": "sample", "step": 0, "prompt": "Hello?", "answer": "Hello."},
    metric(1, loss=0.69),
    metric(2, loss=0.6, heldout_accuracy=0.625),
    {"kind": "checkpoint", "step": 2, "name": "checkpoint-2"},
]


def test_events_become_columns_points_and_samples() -> None:
    run = make_run()
    token = claim(run)
    assert token
    assert write_events(run, token, EVENTS, "a log").alive
    run.refresh_from_db()
    assert (run.step, run.total_steps, run.last_checkpoint) == (2, 9, "checkpoint-2")
    assert run.message == "Step 2 of 9. 62% of the held-out pairs right."
    assert run.samples == [{"step": 0, "prompt": "Hello?", "answer": "Hello."}]
    assert run.versions == {"trl": "1.16", "device": "cpu"}
    assert run.log_tail == "a log"
    assert sorted(run.metrics.values_list("name", "step", "value")) == [
        ("heldout_accuracy", 2, 0.625),
        ("loss", 1, 0.69),
        ("loss", 2, 0.6),
    ]


def test_events_read_again_after_a_resume_stand_once_and_the_last_word_counts() -> None:
    run = make_run()
    token = claim(run)
    assert token
    write_events(run, token, EVENTS, "")
    write_events(run, token, [*EVENTS, metric(2, loss=0.61)], "")
    assert MetricPoint.objects.filter(run=run, name="loss").count() == 2
    assert MetricPoint.objects.get(run=run, name="loss", step=2).value == 0.61
    run.refresh_from_db()
    assert len(run.samples) == 1


def test_a_supervisor_without_the_lease_writes_nothing() -> None:
    """T145: stopped for ten minutes, woken again, and somebody else has the run."""
    run = make_run()
    claim(run)
    TrainingRun.objects.filter(pk=run.pk).update(lease_token="somebody else's")
    assert not write_events(run, "the old token", EVENTS, "old").alive
    assert not MetricPoint.objects.exists()
    run.refresh_from_db()
    assert (run.step, run.log_tail) == (0, "")


def test_a_cancel_is_heard_with_the_next_beat() -> None:
    run = make_run()
    token = claim(run)
    assert token
    request_cancel(run)
    assert write_events(run, token, [], "").cancel


def test_one_run_at_a_time_in_a_lane() -> None:
    first, second = make_run(), make_run("reward")
    assert claim(first)
    assert lane_is_taken(second)
    supervise_run(second.pk)
    second.refresh_from_db()
    assert second.status == JobStatus.QUEUED  # the reaper sends it again
    TrainingRun.objects.filter(pk=first.pk).update(leased_until=timezone.now() - timedelta(seconds=1))
    assert not lane_is_taken(second)  # its worker is dead
    assert not lane_is_taken(make_run(project="q", lane="other"))


def test_a_message_for_a_run_that_is_over_or_gone_does_nothing() -> None:
    run = make_run(status=JobStatus.SUCCEEDED)
    supervise_run(run.pk)
    supervise_run(10**9)
    run.refresh_from_db()
    assert (run.status, run.n_attempts) == (JobStatus.SUCCEEDED, 0)


def test_an_input_that_is_gone_fails_the_run_before_a_trainer_starts() -> None:
    run = make_run()
    supervise_run(run.pk)
    run.refresh_from_db()
    assert run.status == JobStatus.FAILED
    assert run.error.startswith("The stored datasets 00000000 is missing. Restore it from a backup")
    assert run.pid is None


def test_the_trainer_sees_no_secret_and_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WHETSTONE_DATABASE_URL", "DJANGO_SETTINGS_MODULE", "MY_SECRET", "HF_TOKEN", "PGPASSWORD"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    environment = environment_for(Supervision(make_run(), "token").spec)
    assert "x" not in environment.values()
    assert environment["CUDA_VISIBLE_DEVICES"] == "0"
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_the_command_is_a_list_of_arguments_and_takes_a_launcher(settings: Any) -> None:
    spec = Supervision(make_run(), "token").spec
    assert command_of(spec, Path("/a b/$(x).json")) == [
        sys.executable,
        "-m",
        "training.recipes.dpo",
        "/a b/$(x).json",
        "--supervised",
    ]
    settings.WHETSTONE = settings.WHETSTONE.model_copy(
        update={"training_launcher": "accelerate launch --num_processes 2"}
    )
    assert command_of(spec, Path("s.json"))[:5] == ["accelerate", "launch", "--num_processes", "2", "-m"]


def test_a_trainer_left_by_another_supervisor_is_ended_and_a_stranger_is_not(tmp_path: Path) -> None:
    left, stranger = (subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(2))
    try:
        note_trainer(tmp_path, left.pid)
        end_stale_trainer(tmp_path)
        assert left.wait(10) == -9
        note_trainer(tmp_path, stranger.pid)
        note = json.loads((tmp_path / "trainer.json").read_text()) | {
            "started": "1"
        }  # an earlier process of that number
        (tmp_path / "trainer.json").write_text(json.dumps(note))
        end_stale_trainer(tmp_path)
        assert stranger.poll() is None
        (tmp_path / "trainer.json").write_text("garbage")
        end_stale_trainer(tmp_path)
    finally:
        for process in (left, stranger):
            process.kill()
            process.wait()


def test_half_a_line_is_left_until_it_is_whole_and_garbage_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervision, "directory", tmp_path)
    work = Supervision(make_run(), "token")
    assert work._new_events() == []
    with (tmp_path / "events.jsonl").open("wb") as file:
        file.write(b'{"kind": "log", "message": "one"}\nnot json\n[1]\n{"kind": "lo')
        file.flush()
        assert [event["message"] for event in work._new_events()] == ["one"]
        file.write(b'g", "message": "two"}\n')
        file.flush()
        assert [event["message"] for event in work._new_events()] == ["two"]
