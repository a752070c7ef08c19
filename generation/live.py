"""Live prompts: written by a person a moment ago, answered at once. One job a turn, its arms copied from a pattern.

The pattern is a job of kind ``live`` that is never run: it names the models and their settings for a whole campaign. What a
turn's job writes is stored like every other answer, by the same worker; who shows it to whom is the affair of ``annotation``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Max
from django.db.models.deletion import ProtectedError
from django.db.models.functions import Now

from accounts.models import Project, User
from core.errors import Conflict, require
from core.ids import content_sha256, seed_from, split_for
from core.jobs import JobStatus, request_cancel
from core.transitions import move
from generation.deploy import serving
from generation.models import Deployment, GenerationJob, JobArm, Prompt, PromptSet
from generation.sampling import CAN_ANSWER, ArmRequest, read_sampling

N_ARMS = 2
LIVE_TAG = "live"


class NotServed(Conflict):
    """A model of the pattern answers nowhere now (409)."""

    def __init__(self) -> None:
        super().__init__(
            "The models of this campaign cannot be asked at the moment.",
            how="Nothing is lost. Try again in a while; if it stays like this, tell the people who run the campaign.",
        )


@transaction.atomic
def live_pattern(
    *, project: Project, name: str, arms: Sequence[ArmRequest], system: str = "", by: User | None
) -> GenerationJob:
    """The two arms of a live campaign, with a prompt set for what will be written there.

    system  a system message that begins every conversation; none where empty
    Raises DomainError for arms that cannot be asked, or that could only ever answer the same.
    """
    require(len(arms) == N_ARMS, "A live conversation has two answers a turn: choose two arms.")
    chosen = []
    for arm in arms:
        deployment = arm["deployment"]
        require(
            deployment.project_id == project.pk and deployment.stage in CAN_ANSWER,
            f"{deployment.model_version} is not served any more.",
            how="Choose a model that is live.",
        )
        chosen.append((deployment, read_sampling(arm.get("sampling", {}))))
    same = chosen[0] == chosen[1]
    require(
        not same or chosen[0][1].temperature > 0,
        "Both arms are the same model at temperature 0, so both answers would always be the same.",
        how="Choose another model or a higher temperature for one of them.",
    )
    job = GenerationJob.objects.create(
        project=project,
        kind=GenerationJob.Kind.LIVE,
        prompt_set=_set_for(project, name),
        selection={"system": system} if system else {},
        n_answers=1,
        total_steps=0,
        status=JobStatus.SUCCEEDED,
        finished_at=Now(),
        requested_by=by,
    )
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
    return job


def _set_for(project: Project, name: str) -> PromptSet:
    """A new prompt set, under a name that is free."""
    for number in range(1, 1000):
        wanted = f"Live: {name}"[:90] + (f" ({number})" if number > 1 else "")
        prompt_set, is_new = PromptSet.objects.get_or_create(
            project=project, name=wanted, defaults={"source": "written in live conversations"}
        )
        if is_new:
            return prompt_set
    raise Conflict("There are too many prompt sets of this name.", how="Give the campaign another name.")


def serving_arms(pattern: GenerationJob) -> list[tuple[JobArm, Deployment]]:
    """Each arm with what answers for its model now: a model may have been deployed again since. Raises NotServed."""
    found = []
    for arm in pattern.arms.select_related("deployment__endpoint", "model_version").order_by("number"):
        deployment = arm.deployment
        if deployment is None or deployment.stage != Deployment.Stage.LIVE or not deployment.endpoint.is_enabled:
            deployment = serving(arm.model_version, pattern.project)
        if deployment is None:
            raise NotServed
        found.append((arm, deployment))
    return found


def shortest_context(pattern: GenerationJob) -> int | None:
    """Tokens that fit into every arm's model; None where no server has said."""
    lengths = pattern.arms.filter(deployment__endpoint__max_model_length__isnull=False)
    found = lengths.values_list("deployment__endpoint__max_model_length", flat=True)
    return min((length for length in found if length is not None), default=None)


@transaction.atomic
def store_live_prompt(
    prompt_set: PromptSet, messages: Sequence[Mapping[str, str]], *, group: str, metadata: Mapping[str, Any]
) -> Prompt:
    """The prompt of these messages in this set, made if nobody has written the same before.

    group  hash of the conversation's group: all its turns lie on one side of the border between training and holdout
    """
    plain = [{"role": message["role"], "content": message["content"]} for message in messages]
    content = content_sha256(plain)
    if (there := prompt_set.prompts.filter(content_sha256=content).first()) is not None:
        return there
    number = (prompt_set.prompts.aggregate(n=Max("number"))["n"] or 0) + 1
    try:
        with transaction.atomic():
            prompt = Prompt.objects.create(
                set=prompt_set,
                number=number,
                messages=plain,
                content_sha256=content,
                group_sha256=group,
                split="holdout" if prompt_set.is_holdout_only else split_for(group),
                tags=[LIVE_TAG],
                metadata=dict(metadata),
                random=seed_from("random order", content),
            )
    except IntegrityError:  # somebody else wrote it in this moment
        return prompt_set.prompts.get(content_sha256=content)
    PromptSet.objects.filter(pk=prompt_set.pk).update(n_prompts=F("n_prompts") + 1)
    return prompt


@transaction.atomic
def live_job(pattern: GenerationJob, prompt: Prompt, *, seed: int) -> GenerationJob:
    """A queued job for one answer by each arm. The caller sends its message. Raises NotServed."""
    arms = serving_arms(pattern)
    job = GenerationJob.objects.create(
        project_id=pattern.project_id,
        kind=GenerationJob.Kind.LIVE,
        prompt_set_id=pattern.prompt_set_id,
        prompt_ids=[prompt.pk],
        n_answers=1,
        seed=seed,
        total_steps=len(arms),
        unit="answers",
    )
    JobArm.objects.bulk_create(
        JobArm(
            job=job,
            number=arm.number,
            model_version_id=arm.model_version_id,
            deployment=deployment,
            sampling=arm.sampling,
        )
        for arm, deployment in arms
    )
    job.events.create(before="", after=job.status)
    return job


@transaction.atomic
def ask_again(pattern: GenerationJob, job: GenerationJob) -> None:
    """Queue a job that had failed: it writes what is missing, from what serves its models now. Raises NotServed."""
    served = {arm.number: deployment for arm, deployment in serving_arms(pattern)}
    for arm in job.arms.all():
        JobArm.objects.filter(pk=arm.pk).update(deployment=served[arm.number])
    move(job, JobStatus.QUEUED, note="tried again", error="", n_attempts=0, finished_at=None)


@transaction.atomic
def forget_live(job: GenerationJob) -> bool:
    """Remove a job whose answers nobody has seen, and its prompt if nothing else holds it. False: it still runs, come again."""
    request_cancel(job)
    job.refresh_from_db()
    if not job.is_terminal:
        return False
    prompts = list(Prompt.objects.filter(pk__in=job.prompt_ids))
    try:
        with transaction.atomic():
            job.delete()
    except ProtectedError:  # its answers are part of a task after all
        return False
    for prompt in prompts:
        try:
            with transaction.atomic():
                prompt.delete()
        except ProtectedError:  # somebody else wrote the same
            continue
        PromptSet.objects.filter(pk=prompt.set_id).update(n_prompts=F("n_prompts") - 1)
    return True
