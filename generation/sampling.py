"""Generation jobs: choose the prompts, freeze the arms, start, cancel, go on. ``sampling_run`` writes the answers.

Everything a job will ask is fixed when it starts: the prompts in their order, the sampling settings and the seed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, StrIndex
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from accounts.audit import record
from accounts.models import Project, User
from core.errors import DomainError, require
from core.ids import new_key
from core.jobs import enqueue_on_commit, request_cancel, requeue
from generation.deploy import serving
from generation.engines.base import Sampling
from generation.models import Candidate, Deployment, GenerationJob, JobArm, ModelReveal, ModelVersion, Prompt, PromptSet

MAX_ANSWERS_PER_PROMPT = 64
MAX_ARMS = 16
MAX_ANSWERS = 10_000_000  # of one job: more is several jobs
CAN_ANSWER = (
    Deployment.Stage.PENDING,
    Deployment.Stage.LOADING,
    Deployment.Stage.CHECKING,
    Deployment.Stage.LIVE,
    Deployment.Stage.DRAINING,
)


class Selection(BaseModel):
    """Which prompts of a set. ``n`` at random are the first n of a fixed random order: the same n comes back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tags: tuple[str, ...] = ()
    split: Literal["", "train", "holdout"] = ""
    n: int | None = Field(default=None, ge=1)
    order: Literal["random", "number"] = "random"
    unused_first: bool = False


class ArmRequest(TypedDict, total=False):
    """One arm as asked: a deployment, or a version that is deployed in the project; and fields of ``Sampling``."""

    deployment: Deployment
    model_version: ModelVersion
    sampling: Mapping[str, Any]


def as_written(text: str) -> set[str]:
    """The ways in which a JSON column may hold ``text``: SQLite keeps it as it was written, with escapes or without."""
    return {json.dumps(text), json.dumps(text, ensure_ascii=False)}


def with_tags(prompts: QuerySet[Prompt], tags: Sequence[str]) -> QuerySet[Prompt]:
    """Prompts that carry every one of ``tags``; by the column's text, since SQLite knows no containment for JSON."""
    for number, tag in enumerate(tags):
        stands = Q()
        for way, needle in enumerate(sorted(as_written(tag))):
            name = f"at_tag_{number}_{way}"
            place = StrIndex(Cast("tags", TextField()), Value(needle, output_field=TextField()))
            prompts, stands = prompts.alias(**{name: place}), stands | Q(**{f"{name}__gt": 0})
        prompts = prompts.filter(stands)
    return prompts


def selected_prompts(prompt_set: PromptSet, selection: Selection) -> QuerySet[Prompt]:
    """The prompts that ``selection`` means, in the order in which they are asked."""
    prompts = with_tags(Prompt.objects.filter(set=prompt_set).ready(), selection.tags)
    if selection.split:
        prompts = prompts.filter(split=selection.split)
    order = ["random", "pk"] if selection.order == "random" else ["number", "pk"]
    if selection.unused_first:
        prompts = prompts.annotate(is_used=Exists(Candidate.objects.filter(prompt=OuterRef("pk"))))
        order = ["is_used", *order]
    prompts = prompts.order_by(*order)
    return prompts[: selection.n] if selection.n else prompts


def read_selection(selection: Mapping[str, Any]) -> Selection:
    try:
        return Selection.model_validate(dict(selection))
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DomainError(f"This selection of prompts cannot be read: {where}: {first['msg']}.") from None


def read_sampling(sampling: Mapping[str, Any]) -> Sampling:
    try:
        return Sampling.from_json(sampling)
    except (TypeError, ValueError) as problem:
        raise DomainError(f"These sampling settings cannot be used: {problem}.") from None


def _arm(project: Project, asked: ArmRequest) -> tuple[Deployment, Sampling]:
    deployment = asked.get("deployment")
    version = asked.get("model_version")
    if deployment is None:
        if version is None:
            raise DomainError("Each arm needs a model.", how="Choose a deployed model for it.")
        deployment = serving(version, project)
        if deployment is None:
            raise DomainError(f"{version} is not deployed.", how="Deploy it on the Deployments page first.")
    require(
        deployment.project_id == project.pk and deployment.stage in CAN_ANSWER,
        f"{deployment.model_version} is not served any more.",
        how="Choose a model that is live.",
    )
    return deployment, read_sampling(asked.get("sampling", {}))


@transaction.atomic
def start_generation(
    *,
    project: Project,
    prompt_set: PromptSet,
    selection: Mapping[str, Any],
    arms: Sequence[ArmRequest | Mapping[str, Any]],
    n_answers: int,
    seed: int,
    by: User | None,
    key: str = "",
    prompts: Sequence[int] | None = None,
) -> GenerationJob:
    """Record a generation job and queue it.

    selection  fields of ``Selection``; frozen into the job as the prompts' ids, in order
    prompts    exactly these prompts of the selection, in this order: what another job has asked before
    arms       each with a ``deployment`` or a ``model_version``, and ``sampling``
    key        the job's key where the form brings one: the same form sent twice is one job
    Raises DomainError with what is missing.
    """
    if key and (twin := GenerationJob.objects.filter(key=key).first()):
        if twin.project_id == project.pk:
            return twin
        key = ""  # another project's: not a form that was sent twice
    require(prompt_set.project_id == project.pk, "That prompt set belongs to another project.")
    require(1 <= n_answers <= MAX_ANSWERS_PER_PROMPT, f"Ask for 1 to {MAX_ANSWERS_PER_PROMPT} answers a prompt.")
    require(arms, "Choose at least one model.")
    require(len(arms) <= MAX_ARMS, f"A job has at most {MAX_ARMS} arms.")
    chosen = [_arm(project, arm) for arm in arms]  # type: ignore[arg-type]
    require(
        len({(deployment.pk, json.dumps(sampling.as_json())) for deployment, sampling in chosen}) == len(chosen),
        "Two arms are the same.",
        how="Give them another model or other settings.",
    )
    wanted = read_selection(selection)
    prompt_ids = list(selected_prompts(prompt_set, wanted).values_list("pk", flat=True))
    if prompts is not None:
        selected = set(prompt_ids)
        prompt_ids = [pk for pk in dict.fromkeys(prompts) if pk in selected]
    require(prompt_ids, f"No prompt of “{prompt_set}” fits this selection.", how="Widen it, or import prompts.")
    n_total = len(prompt_ids) * n_answers * len(chosen)
    require(n_total <= MAX_ANSWERS, f"That would be {n_total:,} answers; a job writes at most {MAX_ANSWERS:,}.")
    try:
        with transaction.atomic():
            job = GenerationJob.objects.create(
                key=key or new_key(),
                project=project,
                prompt_set=prompt_set,
                selection=wanted.model_dump(mode="json"),
                prompt_ids=prompt_ids,
                n_answers=n_answers,
                seed=seed,
                total_steps=n_total,
                unit="answers",
                requested_by=by,
            )
    except IntegrityError:  # the same form, sent twice in the same moment
        return project.generation_jobs.get(key=key)
    JobArm.objects.bulk_create(
        JobArm(
            job=job,
            number=number,
            model_version_id=deployment.model_version_id,
            deployment=deployment,
            sampling=sampling.as_json(),
        )
        for number, (deployment, sampling) in enumerate(chosen)
    )
    job.events.create(before="", after=job.status, by=by)
    record("generation.start", project=project, user=by, subject=job, detail={"n_answers": n_total})
    enqueue_on_commit(job)
    return job


@transaction.atomic
def cancel_generation(job: GenerationJob, *, by: User) -> None:
    """Ask a job to stop; the answers that are there stay. Asking twice, or too late, changes nothing."""
    request_cancel(job, by=by)
    record("generation.cancel", project=job.project, user=by, subject=job)


@transaction.atomic
def continue_generation(job: GenerationJob, *, by: User) -> None:
    """Queue a failed or cancelled job again: it writes what is missing. Raises IllegalMove if it is neither."""
    gone = job.arms.exclude(deployment__stage__in=CAN_ANSWER).first()
    require(
        gone is None,
        f"The model of arm {gone.letter if gone else ''} is not served any more.",
        how="Start a new job with a model that is live.",
    )
    requeue(job, by=by, note="went on")
    record("generation.continue", project=job.project, user=by, subject=job)


# ---- blindness -------------------------------------------------------------------------------------------------------


def models_are_open(job: GenerationJob) -> bool:
    """Whether nobody can judge this job's answers any more, so that naming its models unblinds nobody.

    ``campaigns`` is annotation's own relation to this job: it is read here by name, never imported.
    """
    campaigns = getattr(job, "campaigns", None)
    if campaigns is None or not campaigns.exists():
        return False
    return not campaigns.exclude(stage="closed").exists()


def may_see_models(job: GenerationJob, user: User) -> bool:
    """Whether a page may name this job's models to this person. Asked by the pages that then do, so it is recorded:

    a later campaign over the same answers must know who has seen them named while nothing was open.
    """
    if job.reveals.filter(user=user).exists():
        return True
    if not models_are_open(job):
        return False
    ModelReveal.objects.get_or_create(user=user, job=job, defaults={"page": "open"})
    return True


@transaction.atomic
def reveal_models(job: GenerationJob, *, user: User, page: str) -> None:
    """Record that this person asked which model wrote what; what they judge of it afterwards is not blind."""
    ModelReveal.objects.get_or_create(user=user, job=job, defaults={"page": page})
    record("generation.reveal", project=job.project, user=user, subject=job, detail={"page": page})
