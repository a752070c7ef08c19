"""Scores of a reward model, by a process of its own: its memory returns, and a crash of it ends nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from django.conf import settings

from core.errors import DomainError, require
from core.ids import KEY_ALPHABET, KEY_LENGTH, canonical_json
from core.storage import workspace
from generation.artifacts import model_directory
from generation.models import ModelVersion
from training.formats.files import read_rows
from training.specs import Spec
from training.supervise import environment_for


def score(
    model: ModelVersion,
    asked: Sequence[tuple[Sequence[Mapping[str, str]], str]],
    *,
    name: str,
    beat: Callable[[], object],
) -> list[float]:
    """Raw scores of (messages, answer) by a reward model, in order; only differences mean something.

    name  a key of what the scores are for: what an earlier, killed attempt left under it is removed
    beat  called twice a second; what it raises ends the scoring
    """
    require(len(name) == KEY_LENGTH and set(name) <= set(KEY_ALPHABET), "That is not a key.")
    with workspace("scoring", name) as directory:
        with (directory / "input.jsonl").open("wb") as file:
            for messages, answer in asked:
                file.write(canonical_json({"messages": list(messages), "answer": answer}) + b"\n")
        spec = {
            "reward_model": model_directory(model),
            "base_model": model_directory(model.root) if model.kind == ModelVersion.Kind.ADAPTER else "",
            "input": str(directory / "input.jsonl"),
            "output": str(directory / "output.jsonl"),
            "threads": settings.WHETSTONE.training_threads,
        }
        (directory / "spec.json").write_text(json.dumps(spec))
        _run_child(directory, beat)
        scores = [float(row["score"]) for row in read_rows(directory / "output.jsonl")]
    require(len(scores) == len(asked), "The reward model did not score every answer.", how="Try again.")
    return scores


def _run_child(directory: Path, beat: Callable[[], object]) -> None:
    threads = settings.WHETSTONE.training_threads
    environment = environment_for(cast(Spec, SimpleNamespace(threads=threads)))
    command = [sys.executable, "-m", "training.recipes.score", str(directory / "spec.json"), "--supervised"]
    with (directory / "log").open("wb") as log:
        child = subprocess.Popen(
            command,
            env=environment,
            cwd=settings.BASE_DIR,
            stdin=subprocess.PIPE,  # never written to: its closing tells the scorer that we are gone
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C in the terminal reaches the worker, which may first end what it does
        )
        try:
            while child.poll() is None:
                beat()
                time.sleep(0.5)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    if child.returncode:
        lines = (directory / "log").read_text(errors="replace").strip().splitlines()
        raise DomainError(
            f"The reward model could not score the answers: {(lines or ['it ended without a word'])[-1][:300]}"
        )
