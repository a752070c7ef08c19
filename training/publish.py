"""From a finished run's ``final/`` to a model version: checked by content, stored by hash, recorded once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from django.db import IntegrityError, transaction

from core.errors import DomainError, require
from core.jobs import JobStatus, finish
from core.storage import file_sha256, store_directory
from generation.artifacts import ARTIFACT_KIND, ModelFacts, inspect_model_dir
from generation.models import ModelVersion
from training.models import TrainingRun
from training.specs import METHODS


@dataclass(frozen=True)
class Stored:
    sha256: str
    facts: ModelFacts


class _NotOurs(Exception):
    """The lease was lost or the run was cancelled in its last moment: undo the version."""


def store_final(directory: Path, method: str) -> Stored:
    """Check ``final/`` against the trainer's manifest and by content, and store it. Touches no database.

    Raises DomainError for a directory that is not what the trainer wrote or that nothing should load.
    """
    final = directory / "final"
    try:
        files: dict[str, str] = json.loads((directory / "final.json").read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DomainError(
            "The trainer left no finished model.", how="Try again: it goes on from its checkpoint."
        ) from None
    found = {file.relative_to(final).as_posix(): file_sha256(file) for file in final.rglob("*") if file.is_file()}
    require(
        found == files, "The finished model is not as the trainer wrote it.", how="Look at the disk, then try again."
    )
    facts = inspect_model_dir(final, purpose=METHODS[method].produces)
    return Stored(store_directory(ARTIFACT_KIND, final), facts)


def publish_run(run: TrainingRun, token: str, stored: Stored) -> ModelVersion | None:
    """Record the version and end the run, in one transaction. Safe to repeat: a run produces one version.

    None: the lease was lost, or the run was cancelled in its last moment; then there is no version.
    """
    if run.produced is not None:
        return run.produced
    try:
        with transaction.atomic():
            version = _create_version(run, stored)
            is_ours = finish(run, token, message=f"Made {version.slug}.", produced=version)
            if not is_ours or run.status != JobStatus.SUCCEEDED:
                raise _NotOurs
            return version
    except _NotOurs:
        run.refresh_from_db()
        return None


def _create_version(run: TrainingRun, stored: Stored) -> ModelVersion:
    n = TrainingRun.objects.filter(project=run.project, method=run.method, pk__lte=run.pk).count()
    try:
        with transaction.atomic():
            return _insert(run, stored, f"{run.method}-{n}")
    except IntegrityError:  # a person has registered a model under that name
        return _insert(run, stored, f"{run.method}-{run.key}")


def _insert(run: TrainingRun, stored: Stored, slug: str) -> ModelVersion:
    facts = stored.facts.as_json()
    root = run.base.root
    if stored.facts.kind == "adapter":
        facts |= {name: root.facts.get(name) for name in ("context_length", "vocab_size")}
    return ModelVersion.objects.create(
        project=run.project,
        slug=slug,
        kind=ModelVersion.Kind.ADAPTER if stored.facts.kind == "adapter" else ModelVersion.Kind.FULL,
        purpose=stored.facts.purpose,
        parent=run.base,
        artifact_sha256=stored.sha256,
        chat_template_sha256=stored.facts.chat_template_sha256,
        licence=run.base.licence,
        is_toy=run.base.is_toy,
        facts=facts,
        created_by=run.requested_by,
    )
