"""A killed run goes on as if nothing had happened: the same weights, bit for bit (CPU, one thread, same seed)."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.bench import Bench, losses, weights
from tests.training.tiny import events_of

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def whole(bench: Bench) -> Path:
    """The uninterrupted run that the others are held against."""
    assert bench.go(bench.spec("whole")) == 0, bench.output("whole")
    return bench.root / "whole"


KILLS: list[tuple[str, int]] = [
    ("in the middle of the first epoch", 5),
    ("at the border of the epochs", 7),
    ("in the middle of the second epoch", 10),
]


@pytest.mark.parametrize(("where", "step"), KILLS, ids=[name for name, _ in KILLS])
def test_a_dpo_run_killed_resumes_to_the_same_weights(bench: Bench, whole: Path, where: str, step: int) -> None:
    name = f"killed-{step}"
    spec = bench.spec(name)
    assert bench.go(spec, kill_at=step) == -signal.SIGKILL
    assert not (bench.root / name / "final").exists()
    assert bench.go(spec) == 0, bench.output(name)
    assert any("Going on from checkpoint-" in e.get("message", "") for e in events_of(bench.root / name))
    assert weights(bench.root / name) == weights(whole)
    assert losses(bench.root / name) == losses(whole)


def test_a_kill_inside_a_checkpoint_falls_back_to_the_one_before(bench: Bench, whole: Path) -> None:
    spec = bench.spec("torn")
    assert bench.go(spec, fault="kill in the middle of checkpoint 9") == -signal.SIGKILL
    assert (bench.root / "torn" / "checkpoints" / "checkpoint-9" / "optimizer.pt").read_bytes() == b"half"
    assert bench.go(spec) == 0, bench.output("torn")
    messages = [e.get("message", "") for e in events_of(bench.root / "torn")]
    assert "checkpoint-9 is not used: it was not written to its end." in messages
    assert "Going on from checkpoint-6." in messages
    assert weights(bench.root / "torn") == weights(whole)


def test_a_kill_between_the_last_step_and_the_end_trains_no_further(bench: Bench, whole: Path) -> None:
    spec = bench.spec("late")
    assert bench.go(spec, fault="kill before the end") == -signal.SIGKILL
    assert not (bench.root / "late" / "final").exists()
    assert bench.go(spec) == 0, bench.output("late")
    assert weights(bench.root / "late") == weights(whole)
    assert losses(bench.root / "late") == losses(whole)


def test_a_finished_run_started_again_is_done_at_once(bench: Bench, whole: Path) -> None:
    before = weights(whole)
    n_steps = len(losses(whole))
    assert bench.go(bench.root / "whole.json") == 0
    assert events_of(whole)[-1]["kind"] == "done"
    assert weights(whole) == before
    assert len([e for e in events_of(whole) if "loss" in e.get("values", {})]) == n_steps


def test_a_continued_adapter_resumes_to_the_same_weights_and_not_from_its_parent(bench: Bench, whole: Path) -> None:
    adapter = str(whole / "final")
    options = {"gradient_accumulation": 2, "save_every": 2}
    straight = bench.spec("second", adapter=adapter, **options)
    assert bench.go(straight) == 0, bench.output("second")
    assert losses(bench.root / "second")[1] == pytest.approx(0.693147, abs=1e-4)  # the reference is the parent adapter
    broken = bench.spec("second-killed", adapter=adapter, **options)
    assert bench.go(broken, kill_at=5) == -signal.SIGKILL
    assert bench.go(broken) == 0, bench.output("second-killed")
    assert losses(bench.root / "second-killed") == losses(bench.root / "second")
    assert weights(bench.root / "second-killed") == weights(bench.root / "second")
    assert weights(bench.root / "second") != weights(whole)


def test_a_reward_run_killed_resumes_to_the_same_weights(bench: Bench) -> None:
    assert bench.go(bench.spec("reward", "reward")) == 0, bench.output("reward")
    spec = bench.spec("reward-killed", "reward")
    assert bench.go(spec, kill_at=10) == -signal.SIGKILL
    assert bench.go(spec) == 0, bench.output("reward-killed")
    assert weights(bench.root / "reward-killed") == weights(bench.root / "reward")


def test_all_weights_killed_resume_to_the_same_weights(bench: Bench) -> None:
    assert bench.go(bench.spec("full", tuning="full")) == 0, bench.output("full")
    spec = bench.spec("full-killed", tuning="full")
    assert bench.go(spec, kill_at=8) == -signal.SIGKILL
    assert bench.go(spec) == 0, bench.output("full-killed")
    assert weights(bench.root / "full-killed") == weights(bench.root / "full")


def test_a_cancelled_run_keeps_its_checkpoint_hands_nothing_over_and_goes_on_when_asked(
    bench: Bench, whole: Path
) -> None:
    spec = bench.spec("cancelled")
    assert bench.go(spec, stop_at=4) == 3, bench.output("cancelled")
    directory = bench.root / "cancelled"
    assert events_of(directory)[-1]["kind"] == "cancelled"
    assert not (directory / "final").exists()
    assert not (directory / "final.json").exists()
    last = [e for e in events_of(directory) if e["kind"] == "checkpoint"][-1]
    assert (directory / "checkpoints" / last["name"] / "COMPLETE.json").exists()
    assert bench.go(spec) == 0
    assert weights(directory) == weights(whole)


def test_a_disk_that_fills_up_in_a_checkpoint_is_said_in_a_sentence_and_leaves_nothing_half(
    bench: Bench, whole: Path
) -> None:
    spec = bench.spec("full-disk")
    assert bench.go(spec, fault="full disk at checkpoint 6") == 1
    directory = bench.root / "full-disk"
    assert events_of(directory)[-1]["kind"] == "failed"
    assert events_of(directory)[-1]["error"].startswith("The disk is full")
    assert [path.name for path in (directory / "checkpoints").iterdir()] == ["checkpoint-3"]
    assert not (directory / "final").exists()
    assert bench.go(spec) == 0, bench.output("full-disk")
    assert weights(directory) == weights(whole)


def test_a_pickle_planted_in_a_checkpoint_is_never_read(bench: Bench, whole: Path) -> None:
    """T101, TF1: rng_state.pth is a pickle; ours is read only if its bytes are those we wrote."""
    import pickle

    spec = bench.spec("planted")
    assert bench.go(spec, kill_at=8) == -signal.SIGKILL
    directory = bench.root / "planted"
    canary = directory / "executed"

    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.mkdir, (str(canary),)

    newest = sorted((directory / "checkpoints").iterdir(), key=lambda p: int(p.name[11:]))[-1]
    (newest / "rng_state.pth").write_bytes(pickle.dumps(Bomb()))
    assert bench.go(spec) == 0, bench.output("planted")
    assert not canary.exists()
    assert any("do not match their hashes" in e.get("message", "") for e in events_of(directory))
    assert weights(directory) == weights(whole)


def test_two_trainers_never_share_a_directory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    spec = bench.spec("locked")
    (bench.root / "locked").mkdir()
    with (bench.root / "locked" / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        from training.recipes import frame

        monkeypatch.setattr(frame, "LOCK_WAIT_SECONDS", 0)
        assert frame.main(lambda run: None, [str(spec)]) == frame.EXIT_LOCKED
    assert not (bench.root / "locked" / "events.jsonl").exists()


def test_no_space_left_is_told_apart_from_other_errors() -> None:
    from training.recipes import frame

    assert frame.is_disk_full(OSError(errno.ENOSPC, "No space left on device"))
    wrapped = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")
    assert frame.is_disk_full(wrapped)
    assert not frame.is_disk_full(ValueError("shapes do not match"))
