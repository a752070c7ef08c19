"""Start, stop and go on with a training run. What a run does is frozen here; who does it is ``supervise``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts import audit
from accounts.models import Project, User
from core.errors import Conflict, DomainError, require
from core.ids import seed_from
from core.jobs import enqueue_on_commit, request_cancel, requeue
from core.storage import artifact_path
from generation.artifacts import inspect_model_dir, model_directory
from generation.deploy import live_deployment
from generation.endpoints import problems_for_training
from generation.models import ModelVersion
from training.models import Snapshot, TrainingRun
from training.specs import EFFORTS, METHODS, Method, Spec, command_for, derive

DATASET_KIND = "datasets"
TRAIN_FILE, TEST_FILE = "train.jsonl", "test.jsonl"
DEFAULT_CONTEXT = 1024


def start_run(
    *,
    project: Project,
    method: str,
    base: ModelVersion,
    snapshot: Snapshot,
    effort: str = "small",
    overrides: Mapping[str, Any] | None = None,
    by: User | None = None,
    reward_model: ModelVersion | None = None,
    seed: int | None = None,
    name: str = "",
    must_be_servable: bool = True,
) -> TrainingRun:
    """Freeze the spec, record the run and queue it.

    overrides         settings by name (``training.specs.derive``); everything else comes from the method's preset
    must_be_servable  refuse a policy that the project's live endpoint could not load
    Raises DomainError for data or a base that cannot be trained on, Conflict while another run of the method is open.
    """
    spec = plan_run(
        project=project, method=method, base=base, snapshot=snapshot, effort=effort, overrides=overrides, seed=seed
    )
    if must_be_servable and METHODS[method].produces == "policy":
        _check_endpoint(project, base, spec)
    run = TrainingRun(
        project=project,
        name=name,
        method=method,
        effort=effort,
        base=base,
        snapshot=snapshot,
        reward_model=reward_model,
        seed=spec.seed,
        unit="steps",
        requested_by=by,
    )
    spec = spec.model_copy(update={"output_dir": f"runs/{run.key}"})
    run.spec, run.spec_sha256 = spec.model_dump(mode="json"), spec.sha256
    run.command = " ".join(command_for(spec, f"{settings.WHETSTONE.path('runs', run.key)}/spec.json"))
    try:
        with transaction.atomic():
            run.save(force_insert=True)
            run.events.create(before="", after=run.status, note=f"{effort}, {spec_in_words(spec)}", by=by)
            audit.record(
                "run.start", user=by, project=project, subject=run, detail={"method": method, "effort": effort}
            )
            enqueue_on_commit(run)
    except IntegrityError:
        raise Conflict(
            f"Another {METHODS[method].label} run is open in this project.",
            how="Wait until it has ended, or cancel it; both would train on the same machine.",
        ) from None
    return run


def plan_run(
    *,
    project: Project,
    method: str,
    base: ModelVersion,
    snapshot: Snapshot,
    effort: str = "small",
    overrides: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Spec:
    """The spec that ``start_run`` would freeze, for a form's preview. Raises DomainError for what stands against it."""
    require(method in METHODS, f"There is no method {method!r}.", how=f"Choose one of {', '.join(METHODS)}.")
    require(effort in EFFORTS, f"There is no effort {effort!r}.", how=f"Choose one of {', '.join(EFFORTS)}.")
    require(base.project_id == project.pk and snapshot.project_id == project.pk, "That belongs to another project.")
    chosen = METHODS[method]
    _check_not_blocked(snapshot)
    _check_base(base, chosen)
    n_train, has_test = _count_rows(snapshot)
    root = base.root
    adapter = base if base.kind == ModelVersion.Kind.ADAPTER else None
    n_parameters, context_length = _size_of(root)
    try:
        return derive(
            method,
            effort,  # type: ignore[arg-type]  # checked above
            n_parameters=n_parameters,
            context_length=context_length,
            n_train=n_train,
            base_model=_place_of(root),
            adapter=_place_of(adapter) if adapter is not None else "",
            train_file=f"artifacts/{DATASET_KIND}/{snapshot.artifact_sha256}/{TRAIN_FILE}",
            test_file=f"artifacts/{DATASET_KIND}/{snapshot.artifact_sha256}/{TEST_FILE}" if has_test else "",
            output_dir="runs/preview",
            seed=seed_from(snapshot.sha256, base.key, method) if seed is None else seed,
            threads=settings.WHETSTONE.training_threads,
            overrides={"keep_checkpoints": settings.WHETSTONE.keep_checkpoints, **(overrides or {})},
        )
    except ValueError as problem:
        raise DomainError(str(problem), how="Correct that setting, or leave it to the preset.") from None


def cancel_run(run: TrainingRun, *, by: User | None = None) -> None:
    """Ask a run to stop at its next step; its checkpoint is kept. Asking twice, or too late, changes nothing."""
    with transaction.atomic():
        request_cancel(run, by=by)
        audit.record("run.cancel", user=by, project=run.project, subject=run)


def resume_run(run: TrainingRun, *, by: User | None = None) -> None:
    """Go on with a failed or cancelled run from its last complete checkpoint, with the spec it was frozen with."""
    _check_not_blocked(run.snapshot)
    try:
        with transaction.atomic():
            requeue(run, by=by, note="goes on from the last checkpoint")
            audit.record("run.resume", user=by, project=run.project, subject=run)
    except IntegrityError:
        raise Conflict(
            "Another run of this method is open in this project.", how="Wait until it has ended, or cancel it."
        ) from None


def spec_in_words(spec: Spec) -> str:
    return "an adapter (LoRA)" if spec.lora else "all weights"


def _check_not_blocked(snapshot: Snapshot) -> None:
    require(
        not snapshot.is_blocked,
        f"Text was erased from {snapshot}, so nothing new is trained on it.",
        how="Freeze a dataset anew, or waive the block on its page with a note.",
    )


def _check_base(base: ModelVersion, method: Method) -> None:
    require(
        base.is_trainable,
        f"{base.slug} cannot be trained: only its answers are here, not its weights.",
        how="Choose a model that was registered with its weights.",
    )
    require(
        base.purpose == ModelVersion.Purpose.POLICY,
        f"{base.slug} is a reward model; {method.label} starts from a policy.",
        how="Choose a policy as the base.",
    )
    require(
        method.produces == "policy" or base.kind != ModelVersion.Kind.ADAPTER,
        f"A reward model is trained from full weights, and {base.slug} is an adapter.",
        how=f"Choose {base.root.slug} as the base.",
    )


def _check_endpoint(project: Project, base: ModelVersion, spec: Spec) -> None:
    """An hour of training that nobody can deploy helps no one: ask the server that this project's policy lives on."""
    deployment = live_deployment(project)
    if deployment is None:
        return
    rank = base.facts.get("rank") if spec.adapter else spec.lora.r if spec.lora else None
    problems = problems_for_training(deployment.endpoint, base, rank=rank)
    require(not problems, " ".join(problems), how="Or say that the result will be served elsewhere.")


def _count_rows(snapshot: Snapshot) -> tuple[int, bool]:
    """Rows to train on, and whether there are held-out ones; from the files themselves."""
    require(snapshot.is_ready, f"{snapshot} is still being frozen.", how="Wait until it is ready, then start the run.")
    directory = artifact_path(DATASET_KIND, snapshot.artifact_sha256)
    n_train = _n_lines(directory / TRAIN_FILE)
    require(
        n_train > 0,
        f"{snapshot} has no training pairs.",
        how="Judge more answers to prompts of the train split, or let the dataset include more campaigns.",
    )
    return n_train, _n_lines(directory / TEST_FILE) > 0


def _n_lines(path: Path) -> int:
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def _size_of(root: ModelVersion) -> tuple[int, int]:
    """(parameters, context in tokens) of the weights underneath, from the content check."""
    facts = root.facts
    if not facts.get("n_parameters"):
        facts = inspect_model_dir(Path(model_directory(root))).as_json()
    return int(facts["n_parameters"]), int(facts.get("context_length") or DEFAULT_CONTEXT)


def _place_of(version: ModelVersion) -> str:
    """How a spec names a version: by hash below the home directory where it is stored, else by its source."""
    return f"artifacts/models/{version.artifact_sha256}" if version.artifact_sha256 else version.source
