"""Checkpoints: complete when our manifest of their hashes was written last, and read only if they still match it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from core.ids import canonical_json, sha256_hex
from training.recipes.files import COMPLETE, file_sha256, manifest_of, sync, write_last
from training.recipes.frame import Cancelled, RecipeError, Run
from training.specs import Spec


def identity_of(spec: Spec) -> str:
    """The hash of what decides the weights: the spec without places and without what is only shown."""
    places = {
        "base_model",
        "adapter",
        "train_file",
        "test_file",
        "output_dir",
        "sources",
        "keep_checkpoints",
        "n_samples",
        "sample_tokens",
    }
    return sha256_hex(canonical_json(spec.model_dump(mode="json", exclude=places)))


def seal(run: Run, step: int, data_sha256: str) -> None:
    """Make checkpoint ``step`` complete: hash its files, write the manifest last, then let the oldest ones go."""
    directory = run.checkpoints / f"checkpoint-{step}"
    # Pickled arguments that nothing reads; a card; the frozen copy of the parent, which is made again at each start.
    # (With ``ref/`` there, the trainer loads *only* the adapters in sub-directories and would go on from the parent.)
    (directory / "training_args.bin").unlink(missing_ok=True)
    (directory / "README.md").unlink(missing_ok=True)
    shutil.rmtree(directory / "ref", ignore_errors=True)
    for file in directory.rglob("*"):
        if file.is_file():
            sync(file)
    write_last(
        directory / COMPLETE,
        {"step": step, "spec": identity_of(run.spec), "data_sha256": data_sha256, "files": manifest_of(directory)},
    )
    (run.checkpoints / "README.md").unlink(missing_ok=True)
    run.emit("checkpoint", step=step, name=directory.name)
    for old in _by_step(run.checkpoints)[run.spec.keep_checkpoints :]:
        shutil.rmtree(old, ignore_errors=True)


def _by_step(checkpoints: Path) -> list[Path]:
    """Checkpoint directories, the newest first."""
    found = [path for path in checkpoints.glob("checkpoint-*") if path.is_dir() and path.name[11:].isdigit()]
    return sorted(found, key=lambda path: -int(path.name[11:]))


def newest_complete(run: Run) -> Path | None:
    """The newest checkpoint that is whole and of this very run. Others are named in the log and removed, never read."""
    data_sha256 = file_sha256(Path(run.spec.train_file))
    for directory in _by_step(run.checkpoints):
        fault = _fault_of(directory, identity_of(run.spec), data_sha256)
        if not fault:
            run.log(f"Going on from {directory.name}.")
            return directory
        run.log(f"{directory.name} is not used: {fault}.")
        shutil.rmtree(directory, ignore_errors=True)
    return None


def _fault_of(directory: Path, identity: str, data_sha256: str) -> str:
    try:
        manifest = json.loads((directory / COMPLETE).read_bytes())
        files, step = manifest["files"], manifest["step"]
    except FileNotFoundError:
        return "it was not written to its end"
    except (OSError, ValueError, KeyError, TypeError):
        return "its manifest cannot be read"
    if any(path.is_symlink() for path in directory.rglob("*")):
        return "it holds a symbolic link"
    if manifest.get("spec") != identity or manifest.get("data_sha256") != data_sha256:
        return "it belongs to another spec or other data"
    if directory.name != f"checkpoint-{step}" or "trainer_state.json" not in files:
        return "its manifest is not its own"
    if files != manifest_of(directory):
        return "its files do not match their hashes"
    return ""


def train_to_the_end(run: Run, trainer: Any) -> None:
    """Train from the newest complete checkpoint, or the start. Raises Cancelled when stopped before the last step."""
    if run.cancel_asked:
        raise Cancelled
    checkpoint = newest_complete(run)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.state.global_step < trainer.state.max_steps:
        if run.cancel_asked:
            raise Cancelled
        raise RecipeError(f"The trainer stopped at step {trainer.state.global_step} of {trainer.state.max_steps}.")
