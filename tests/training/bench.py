"""A place with a tiny model and pairs, where recipes run in processes of their own, are killed, and run again."""

import json
import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from tests.training.tiny import make_model, make_pairs, write_rows
from training.specs import derive

# A server that has imported TRL once forks a fresh trainer in milliseconds.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["training.recipes.dpo", "training.recipes.reward"])
PATIENCE_SECONDS = 600


def run_recipe(method: str, spec_file: str, out: str, fault: str) -> None:
    """The trainer's process: what ``python -m training.recipes.<method>`` does, with its output in a file."""
    import importlib

    from training.recipes import final, frame

    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if fault.startswith("kill in the middle of checkpoint "):
        _die_while_sealing(int(fault.split()[-1]))
    elif fault.startswith("full disk at checkpoint "):
        _fill_the_disk(int(fault.split()[-1]))
    elif fault == "kill before the end":
        final.finish = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    os._exit(frame.main(importlib.import_module(f"training.recipes.{method}").train, [spec_file]))


def _die_while_sealing(step: int) -> None:
    from training.recipes import checkpoints

    write = checkpoints.write_last

    def die(path: Path, value: Any) -> None:
        if path.name == checkpoints.COMPLETE and value["step"] == step:
            (path.parent / "optimizer.pt").write_bytes(b"half")  # what a kill inside the write leaves behind
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, value)

    checkpoints.write_last = die


def _fill_the_disk(step: int) -> None:
    """From this checkpoint on the kernel refuses to let a file grow past 16 kB (EFBIG, from real system calls)."""
    from training.recipes.progress import Reporter

    before = Reporter.on_step_end

    def fill(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step == step:
            resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, resource.RLIM_INFINITY))
        before(self, args, state, control, **rest)

    Reporter.on_step_end = fill  # type: ignore[method-assign]


class Bench:
    """A place with a model and pairs, where runs are started, killed and started again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base = make_model(root / "base")
        self.train = write_rows(root / "train.jsonl", make_pairs(26))
        self.test = write_rows(root / "test.jsonl", make_pairs(6, offset=60))

    def spec(self, name: str, method: str = "dpo", *, adapter: str = "", **overrides: Any) -> Path:
        """26 pairs in batches of 4: 7 batches an epoch, the last one short; two epochs; a checkpoint each 3 steps."""
        settings = {
            "epochs": 2,
            "batch_size": 4,
            **({"sft_weight": 0.0} if method == "dpo" else {}),  # so that the first loss is ln 2
            "save_every": 3,
            "evaluate_every": 5,
            "n_samples": 1,
            "sample_tokens": 4,
        }
        spec = derive(
            method,
            "small",
            n_parameters=20_000,
            context_length=128,
            n_train=26,
            base_model=str(self.base),
            adapter=adapter,
            train_file=str(self.train),
            test_file=str(self.test),
            output_dir=str(self.root / name),
            overrides={**settings, **overrides},
        )
        file = self.root / f"{name}.json"
        spec.write(file)
        return file

    def go(self, spec_file: Path, *, fault: str = "", kill_at: int | None = None, stop_at: int | None = None) -> int:
        """Run the recipe of a spec in a process of its own; its exit code (-9: killed)."""
        spec = json.loads(spec_file.read_text())
        directory = Path(spec["output_dir"])
        process = SERVER.Process(
            target=run_recipe, args=(spec["method"], str(spec_file), str(spec_file) + ".out", fault)
        )
        process.start()
        if kill_at is not None:
            self._wait_for(directory, kill_at, process)
            os.kill(process.pid, signal.SIGKILL)
        if stop_at is not None:
            self._wait_for(directory, stop_at, process)
            os.kill(process.pid, signal.SIGTERM)
        process.join(PATIENCE_SECONDS)
        assert process.exitcode is not None, "the trainer does not end"
        return process.exitcode

    def _wait_for(self, directory: Path, step: int, process: Any) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while process.is_alive() and time.monotonic() < deadline:
            if any(
                step == event.get("step") and "loss" in event.get("values", {}) for event in whole_events(directory)
            ):
                return
            time.sleep(0.005)
        raise AssertionError(f"step {step} was never reached: {(directory / 'events.jsonl').read_text()[-2000:]}")

    def output(self, name: str) -> str:
        return (self.root / f"{name}.json.out").read_text()


def whole_events(directory: Path) -> list[dict[str, Any]]:
    found = []
    for line in (directory / "events.jsonl").read_text().splitlines() if (directory / "events.jsonl").exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def weights(directory: Path) -> dict[str, str]:
    """Hashes of everything a run hands over."""
    return json.loads((directory / "final.json").read_text())["files"]


def losses(directory: Path) -> dict[int, float]:
    return {e["step"]: e["values"]["loss"] for e in whole_events(directory) if "loss" in e.get("values", {})}
