"""The frame around a recipe: its directory, its events, and every way in which it can end.

Events go to ``events.jsonl`` in the run's directory, one JSON object a line; the last one is ``done``, ``cancelled`` or
``failed``, as the exit code says too.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from pydantic import ValidationError
from transformers import set_seed

from training.recipes.files import COMPLETE, manifest_of
from training.specs import (
    EXIT_BAD_SPEC,
    EXIT_CANCELLED,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_LOCKED,
    Spec,
    read_spec,
    sentence_of,
)

LOCK_WAIT_SECONDS = 30
PR_SET_PDEATHSIG = 1
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors", "tokenizers")


class RecipeError(Exception):
    """The run cannot go on; the message is one sentence for the person who started it."""


class Cancelled(Exception):
    """SIGTERM came and everything worth keeping is saved."""


@dataclass
class Run:
    """One attempt at a spec: where it writes, and whether it was asked to stop."""

    spec: Spec
    directory: Path
    is_main: bool = True
    cancel_asked: bool = False
    _events: IO[str] | None = field(default=None, repr=False)

    @property
    def checkpoints(self) -> Path:
        return self.directory / "checkpoints"

    @property
    def final(self) -> Path:
        return self.directory / "final"

    @property
    def scratch(self) -> Path:
        return self.directory / "final.tmp"

    def emit(self, kind: str, **fields: Any) -> None:
        """Append one event. A disk that is full must not hide the sentence, so it goes to standard error then."""
        if not self.is_main:
            return
        line = json.dumps({"kind": kind, **fields, "time": round(time.time(), 3)}, ensure_ascii=False, allow_nan=False)
        try:
            if self._events is None:
                self._events = _open_events(self.directory / "events.jsonl")
            self._events.write(line + "\n")
        except OSError:
            print(line, file=sys.stderr, flush=True)

    def log(self, sentence: str) -> None:
        self.emit("log", message=sentence)
        if self.is_main:
            print(sentence, flush=True)


def _open_events(path: Path) -> IO[str]:
    # A kill in the middle of a line leaves half of one: close it, so that the next event stands on its own.
    is_torn = path.exists() and path.stat().st_size > 0 and path.read_bytes()[-1:] != b"\n"
    events = path.open("a", buffering=1, encoding="utf-8")
    if is_torn:
        events.write("\n")
    return events


def main(train: Callable[[Run], None], arguments: Sequence[str] | None = None) -> int:
    """``python -m training.recipes.<method> SPEC.json [--supervised]``: run ``train``; every ending is a last event.

    --supervised   the parent holds our standard input open; when it closes, the parent is dead and we end at once
    Exit codes     0 done, 1 failed, 2 not a spec, 3 cancelled, 75 another trainer holds the directory
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    is_supervised = "--supervised" in given
    files = [argument for argument in given if not argument.startswith("--")]
    if len(files) != 1:
        print("Usage: python -m training.recipes.<method> SPEC.json", file=sys.stderr)
        return EXIT_BAD_SPEC
    if is_supervised:
        die_with_parent()
    try:
        spec = read_spec(Path(files[0]))
    except (OSError, ValidationError) as problem:
        print(sentence_of(problem) if isinstance(problem, ValidationError) else problem, file=sys.stderr)
        return EXIT_BAD_SPEC
    run = Run(spec, Path(spec.output_dir), is_main=os.environ.get("RANK", "0") == "0")
    try:
        run.directory.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        print(f"The run's directory cannot be made: {problem.strerror}.", file=sys.stderr)
        return EXIT_FAILED
    with _lock(run) as is_ours:
        if not is_ours:
            print("Another trainer is still at work in this directory.", file=sys.stderr)
            return EXIT_LOCKED
        return _guarded(train, run)


def _guarded(train: Callable[[Run], None], run: Run) -> int:
    def ask(_number: int, _frame: Any) -> None:
        run.cancel_asked = True

    signal.signal(signal.SIGTERM, ask)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, ask)
    try:
        if (files := finished_files(run)) is not None:
            run.log("This run is finished; there is nothing left to train.")
            run.emit("done", files=files)
            return EXIT_DONE
        prepare(run)
        train(run)
        return EXIT_DONE
    except Cancelled:
        shutil.rmtree(run.scratch, ignore_errors=True)
        run.emit("cancelled")
        return EXIT_CANCELLED
    except BaseException as problem:
        traceback.print_exc()
        _clean_up(run)
        run.emit("failed", error=sentence_for(problem))
        return EXIT_FAILED


def sentence_for(problem: BaseException) -> str:
    """One sentence of cause, with what to do where that is known."""
    if isinstance(problem, RecipeError):
        return str(problem)
    text = f"{type(problem).__name__}: {problem}"
    if is_disk_full(problem):
        return (
            "The disk is full, so the files could not be written; free some space and try again: "
            "training goes on from the last checkpoint."
        )
    if isinstance(problem, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in text:
        return (
            "The memory was not enough; train an adapter, lower max_length, "
            "or halve batch_size and double gradient_accumulation."
        )
    if isinstance(problem, KeyboardInterrupt):
        return "The run was interrupted."
    return f"The trainer stopped: {text.splitlines()[0][:400]}"


def is_disk_full(problem: BaseException | None) -> bool:
    """Also where torch or safetensors wrapped the system's error in one of their own."""
    while problem is not None:
        if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        text = str(problem).lower()
        if any(
            sign in text
            for sign in (
                "no space left",
                "file too large",
                "disk quota",
                "pytorchstreamwriter failed",
                "unexpected pos",
            )
        ):
            return True
        problem = problem.__cause__ or problem.__context__
    return False


def _clean_up(run: Run) -> None:
    """Leave no half artifact: what was being written is removed, complete checkpoints stay."""
    shutil.rmtree(run.scratch, ignore_errors=True)
    for directory in run.checkpoints.glob("checkpoint-*"):
        if not (directory / COMPLETE).exists():
            shutil.rmtree(directory, ignore_errors=True)
    (run.checkpoints / "README.md").unlink(missing_ok=True)


@contextlib.contextmanager
def _lock(run: Run) -> Iterator[bool]:
    """Hold the directory against a second trainer. The kernel lets go when we die, however we die."""
    if not run.is_main:
        yield True
        return
    with (run.directory / "lock").open("a") as file:
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    yield False
                    return
                time.sleep(0.2)
        yield True


def die_with_parent() -> None:
    """End with the supervisor, even one killed by -9: by the kernel's signal, and by the pipe that only it holds."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def prepare(run: Run) -> None:
    """Threads, seeds and determinism; says what trains this, so that the run can be repeated."""
    torch.set_num_threads(run.spec.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, and only hides reads that nobody does
    set_seed(run.spec.seed)
    run.emit("started", versions=versions(), device=str(device_of(run.spec)), threads=run.spec.threads, pid=os.getpid())


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def device_of(spec: Spec) -> torch.device:
    if spec.device == "cuda" and not torch.cuda.is_available():
        raise RecipeError("This run asks for a CUDA GPU and there is none here; set device to auto.")
    return torch.device("cuda" if spec.device != "cpu" and torch.cuda.is_available() else "cpu")


def finished_files(run: Run) -> dict[str, str] | None:
    """The manifest of ``final/`` if an earlier attempt got that far and every byte still is as it was."""
    try:
        manifest: dict[str, str] = json.loads((run.directory / "final.json").read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return manifest if run.final.is_dir() and manifest_of(run.final) == manifest else None
