"""Deployments: a version is loaded under a fresh name, proven by the canary, and takes over its alias in one transaction.

    pending -> loading -> checking -> live -> draining -> retired        (failed from the first three)

Whoever is killed, wherever: the version that was live stays live until the one transaction in ``_go_live`` commits. The one
before stays loaded (draining) until a third takes over, so requests in flight end on it and a rollback needs no loading.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import Project, User
from core import jobs
from core.beating import CancelAsked, Keeper, LeaseLost
from core.errors import Conflict, DomainError, require
from core.ids import new_key
from core.jobs import TERMINAL, JobStatus
from core.storage import verify
from generation.artifacts import ARTIFACT_KIND, model_directory
from generation.canary import Canary, CanaryError, Finding, judge_canary, read_canary
from generation.endpoints import deployer_for, engine_for, facts_of, note_state, path_on_server, serves_base, talk
from generation.engines.base import OWN_NAME, BadRequest, EngineError, SampleRequest, Sampling
from generation.engines.vllm import Vllm
from generation.models import Deployment, DeploymentEvent, Endpoint, JobArm, ModelVersion

T = TypeVar("T")
Stage = Deployment.Stage
POLICY = "policy"
CANDIDATE = "candidate"  # what an evaluation asks before the policy's alias may flip
LEASE_SECONDS = 60.0
CANDIDATE_SECONDS = 600.0
WAIT_FOR_ENGINE_SECONDS = 90.0
ON_THE_WAY = (Stage.PENDING, Stage.LOADING, Stage.CHECKING)
LOADED = (Stage.LIVE, Stage.DRAINING)

NEXT_STAGE: dict[str, set[str]] = {
    Stage.PENDING: {Stage.LOADING, Stage.FAILED},
    Stage.LOADING: {Stage.LOADING, Stage.CHECKING, Stage.FAILED},  # loading again: its worker was killed
    Stage.CHECKING: {Stage.LOADING, Stage.LIVE, Stage.FAILED},
    Stage.LIVE: {Stage.DRAINING},
    Stage.DRAINING: {Stage.LIVE, Stage.RETIRED},  # live again: rolled back
    Stage.FAILED: {Stage.LOADING},  # a person's "try again"
}


class Lost(Exception):
    """This worker no longer holds the deployment: another has it, or it was cancelled."""


# --- reading ---------------------------------------------------------------------------------------------------------


def live_deployment(project: Project, alias: str = POLICY) -> Deployment | None:
    """What the alias answers with now."""
    rows = Deployment.objects.select_related("endpoint", "model_version")
    return rows.filter(project=project, alias=alias, stage=Stage.LIVE).first()


def serving(version: ModelVersion, project: Project) -> Deployment | None:
    """A deployment from which this version can be sampled now, whatever its alias; the policy's own first."""
    rows = Deployment.objects.select_related("endpoint", "model_version").filter(
        project=project, model_version=version, stage__in=LOADED, endpoint__is_enabled=True
    )
    return min(rows, key=lambda d: (d.stage != Stage.LIVE, d.alias != POLICY, -d.pk), default=None)


def before(deployment: Deployment) -> Deployment | None:
    """What a rollback of this live deployment goes back to."""
    earlier = deployment.replaces
    while earlier is not None and earlier.model_version_id == deployment.model_version_id:
        earlier = earlier.replaces
    return earlier


def loaded_on(endpoint: Endpoint) -> QuerySet[Deployment]:
    """Adapters that must be loaded before this endpoint takes traffic, after a restart too."""
    rows = Deployment.objects.select_related("model_version", "endpoint").order_by("pk")
    return rows.filter(endpoint=endpoint, stage__in=LOADED, model_version__kind=ModelVersion.Kind.ADAPTER)


def adapters_on(endpoint: Endpoint) -> dict[str, str]:
    """Served name -> directory as the endpoint's host sees it, of what is live; what is damaged is left out."""
    found = {}
    for deployment in loaded_on(endpoint):
        try:
            found[deployment.served_name] = artifact_on_server(deployment)
        except DomainError:
            continue
    return found


def artifact_on_server(deployment: Deployment) -> str:
    return path_on_server(deployment.endpoint, Path(model_directory(deployment.model_version)))


def problems_of(version: ModelVersion, endpoint: Endpoint) -> list[str]:
    """Why this version cannot be served by this endpoint, in sentences; empty when it can."""
    kinds = ModelVersion.Kind
    if version.purpose != ModelVersion.Purpose.POLICY:
        return [f"{version} is a reward model; only policies are deployed."]
    if version.kind == kinds.OUTSIDE:
        return [f"{version} is another lab's model: its answers were imported, and it cannot be served."]
    if not endpoint.is_enabled:
        return [f"The endpoint {endpoint} is switched off."]
    if not serves_base(endpoint, version):
        what = (
            "Full weights need a server of their own" if version.kind == kinds.FULL else "An adapter needs its own base"
        )
        return [f"{endpoint} serves {endpoint.base_model or 'another model'}, not {version.root}. {what}."]
    if version.kind != kinds.ADAPTER:
        return []
    if endpoint.engine == Endpoint.Engine.OPENAI:
        return [f"The endpoint {endpoint} can only answer; no adapter can be loaded into it."]
    rank = version.facts.get("rank")
    if isinstance(rank, int) and rank > endpoint.max_lora_rank:
        how = f"Start that server with --max-lora-rank {rank}, and enter it on the endpoint's page."
        return [f"{version} has rank {rank}, but {endpoint} takes at most {endpoint.max_lora_rank}. {how}"]
    return []


# --- asking for one --------------------------------------------------------------------------------------------------


@transaction.atomic
def request_deployment(
    *,
    version: ModelVersion,
    endpoint: Endpoint,
    alias: str = POLICY,
    project: Project | None = None,
    by: User | None = None,
) -> Deployment:
    """Record a deployment and queue it; nothing changes for anyone until its canary has passed.

    Raises DomainError if this endpoint cannot serve this version, Conflict if the same is already on its way.
    """
    project = project or version.project
    require(version.project_id == project.pk, f"{version} belongs to another project.")
    if problems := problems_of(version, endpoint):
        raise DomainError(problems[0])
    Project.objects.select_for_update().get(pk=project.pk)  # two people pressing at once must not both pass the check
    on_the_way = Deployment.objects.filter(project=project, alias=alias, stage__in=ON_THE_WAY).exclude(
        status__in=TERMINAL
    )
    if other := on_the_way.select_related("model_version").first():
        raise Conflict(
            f"{other.model_version} is already on its way to {alias}.", how="Wait until it is there, or cancel it."
        )
    key = new_key()
    deployment = Deployment.objects.create(
        key=key,
        project=project,
        endpoint=endpoint,
        model_version=version,
        alias=alias,
        served_name=_fresh_name(version, endpoint, key),
        requested_by=by,
        message="Waiting for a worker",
    )
    _note(deployment, "", Stage.PENDING, by=by)
    record(
        "deployment.request",
        user=by,
        project=project,
        subject=deployment,
        detail={"version": version.slug, "alias": alias},
    )
    jobs.enqueue_on_commit(deployment)
    return deployment


def stage_for_evaluation(*, version: ModelVersion, project: Project, by: User | None = None) -> Deployment:
    """Load a version beside the live one, so that it can be compared; what is live stays live.

    Returns the deployment that serves it or will: the one there is, if there is one. Raises DomainError as ``request_deployment``.
    """
    if (there := serving(version, project)) is not None:
        return there
    coming = Deployment.objects.filter(project=project, model_version=version, stage__in=ON_THE_WAY)
    if (on_its_way := coming.exclude(status__in=TERMINAL).first()) is not None:
        return on_its_way
    live = live_deployment(project)
    endpoint = live.endpoint if live else endpoint_that_serves(version)
    if endpoint is None:
        raise DomainError(
            f"There is no endpoint that could serve {version}.", how="A site admin adds one on the Endpoints page."
        )
    return request_deployment(version=version, endpoint=endpoint, alias=CANDIDATE, project=project, by=by)


def endpoint_that_serves(version: ModelVersion) -> Endpoint | None:
    rows = Endpoint.objects.filter(is_enabled=True).order_by("-is_managed", "id")
    return next((endpoint for endpoint in rows if not problems_of(version, endpoint)), None)


def _fresh_name(version: ModelVersion, endpoint: Endpoint, key: str) -> str:
    """A name that this endpoint never had and never gets again: a server's caches may remember any other.

    An adapter's is its slug and hash; a second deployment of the same adapter carries its own key as well.
    """
    if version.kind != ModelVersion.Kind.ADAPTER:
        return f"{endpoint.base_served_name}{OWN_NAME}{key}"
    name = f"{version.slug}-{version.artifact_sha256[:8]}"
    taken = Deployment.objects.filter(endpoint=endpoint, served_name=name).exists()
    return f"{name}-{key}" if taken else name


# --- the job ---------------------------------------------------------------------------------------------------------


def run_deployment_job(deployment_id: int) -> None:
    """Do one deployment from wherever it was left. Safe to call at any time, by any number of workers."""
    deployment = (
        Deployment.objects.select_related("endpoint", "model_version", "project").filter(pk=deployment_id).first()
    )
    if deployment is None or deployment.endpoint.reach == Endpoint.Reach.WORKER:
        return  # the worker beside that server takes it
    token = jobs.claim(deployment, seconds=LEASE_SECONDS)
    if token is None:
        return
    try:
        if not _wait_for_engine(deployment, token):
            jobs.release(deployment, token, note=_waits_for(deployment.endpoint))
            return
        begin(deployment, token)
        load(deployment, token)
        check_and_go_live(deployment, token)
    except Lost:
        return
    except EngineError as problem:
        if isinstance(problem, BadRequest):
            fail(deployment, token, problem.sentence, detail=problem.detail)
        else:  # down or busy: the row goes back to the queue, and the reaper sends it again
            jobs.release(deployment, token, note=problem.sentence)
    except DomainError as problem:
        fail(deployment, token, problem.sentence)


def _wait_for_engine(deployment: Deployment, token: str) -> bool:
    """Wait while the endpoint starts, saying what for; False when it takes longer than a worker should be held."""
    end = time.monotonic() + WAIT_FOR_ENGINE_SECONDS
    endpoint = deployment.endpoint
    while endpoint.is_managed and endpoint.state != Endpoint.State.READY:
        if time.monotonic() > end:
            return False
        _beat(deployment, token, message=_waits_for(endpoint))
        time.sleep(0.5)
        endpoint.refresh_from_db()
    return True


def _waits_for(endpoint: Endpoint) -> str:
    unknown = endpoint.state == Endpoint.State.UNKNOWN
    return f"Waiting for {endpoint}: {'it has not been started yet' if unknown else endpoint.state_message or endpoint.state}"


def begin(deployment: Deployment, token: str) -> None:
    """Check what is on disk, and say that loading begins. Raises DomainError for a version that must not be served."""
    version = deployment.model_version
    if problems := problems_of(version, deployment.endpoint):
        raise DomainError(problems[0])
    _to_stage(deployment, Stage.LOADING, token=token)
    if version.artifact_sha256:
        _beat(deployment, token, message="Checking the files")
        _while_beating(deployment, token, lambda: verify(ARTIFACT_KIND, version.artifact_sha256))
    if version.kind == ModelVersion.Kind.ADAPTER and canary_of(version).change == 0.0:
        raise DomainError("This adapter changes nothing: it answers exactly as its parent does.")


def load(deployment: Deployment, token: str) -> None:
    if deployment.model_version.kind != ModelVersion.Kind.ADAPTER:
        return  # the base is what the server was started with
    _beat(deployment, token, message=f"Loading into {deployment.endpoint}")

    path, engine = artifact_on_server(deployment), deployer_for(deployment.endpoint)
    _while_beating(deployment, token, lambda: talk(engine, lambda engine: engine.load(deployment.served_name, path)))
    Deployment.objects.filter(pk=deployment.pk).update(loaded_generation=deployment.endpoint.generation)


def to_checking(deployment: Deployment, token: str) -> None:
    _to_stage(deployment, Stage.CHECKING, token=token)
    _beat(deployment, token, message="Comparing with what the trainer measured")


def check_and_go_live(deployment: Deployment, token: str) -> None:
    to_checking(deployment, token)
    if deployment.model_version.kind == ModelVersion.Kind.ADAPTER:
        canary = canary_of(deployment.model_version)
        figures = _while_beating(deployment, token, _served_figures(deployment, canary))
        conclude(deployment, token, judge_canary(canary, figures))
    else:
        _while_beating(deployment, token, _one_answer(deployment))
        conclude(deployment, token, None)


def _served_figures(deployment: Deployment, canary: Canary) -> Callable[[], Sequence[float]]:
    engine = deployer_for(deployment.endpoint)
    return lambda: talk(engine, lambda engine: engine.logprobs(deployment.served_name, canary.probes))


def _one_answer(deployment: Deployment) -> Callable[[], object]:
    """A server may call itself healthy and write nothing."""
    request = SampleRequest(deployment.served_name, [{"role": "user", "content": "Hello"}], [1], Sampling(max_tokens=4))
    engine = engine_for(deployment.endpoint)
    return lambda: talk(engine, lambda engine: engine.sample(request))


def canary_of(version: ModelVersion) -> Canary:
    try:
        return read_canary(Path(model_directory(version)))
    except CanaryError as problem:
        raise DomainError(str(problem)) from problem


def conclude(deployment: Deployment, token: str, finding: Finding | None) -> None:
    """Let the canary's finding decide: live, or failed with its sentence and unloaded. None: a base, which has no canary."""
    figures = finding.as_json() if finding else {"sentence": "It answers.", "passed": True}
    Deployment.objects.filter(pk=deployment.pk, lease_token=token).update(canary=figures)
    if finding is not None and not finding.passed:
        fail(deployment, token, finding.sentence)
        return
    _go_live(deployment, token)


@transaction.atomic
def _go_live(deployment: Deployment, token: str) -> None:
    """The flip: the old one drains, the new one is live, the job is done; or none of it."""
    Project.objects.select_for_update().get(
        pk=deployment.project_id
    )  # flips of one project's aliases follow each other
    old = Deployment.objects.filter(project=deployment.project_id, alias=deployment.alias, stage=Stage.LIVE).first()
    if old is not None:
        _to_stage(old, Stage.DRAINING, note=f"{deployment.model_version} took over", by=deployment.requested_by)
    _to_stage(
        deployment, Stage.LIVE, token=token, by=deployment.requested_by, live_at=Now(), replaces=old, retired_at=None
    )
    if not jobs.finish(deployment, token, message="Live"):
        raise Lost
    record(
        "deployment.live",
        user=deployment.requested_by,
        project=deployment.project,
        subject=deployment,
        detail={
            "version": deployment.model_version.slug,
            "alias": deployment.alias,
            "served_name": deployment.served_name,
        },
    )


def fail(deployment: Deployment, token: str, sentence: str, *, detail: str = "") -> None:
    """Give up with a reason; what was live stays live. What was loaded is unloaded, if the server can be asked."""
    with transaction.atomic():
        _to_stage(deployment, Stage.FAILED, token=token, note=sentence)
        if not jobs.fail(deployment, token, sentence, log_tail=detail):
            raise Lost
        record(
            "deployment.fail",
            user=deployment.requested_by,
            project=deployment.project,
            subject=deployment,
            detail={"reason": sentence},
        )
    unload_quietly(deployment)


def unload_quietly(deployment: Deployment) -> bool:
    """Unload an adapter nobody asks any more; False when its server could not be asked (it is tried again later)."""
    if deployment.model_version.kind != ModelVersion.Kind.ADAPTER or deployment.endpoint.reach == Endpoint.Reach.WORKER:
        return True  # a worker compares with what it is told to serve, and unloads the rest itself

    try:
        talk(deployer_for(deployment.endpoint), lambda engine: engine.unload(deployment.served_name))
    except (EngineError, DomainError):
        return False
    return True


# --- afterwards ------------------------------------------------------------------------------------------------------


@transaction.atomic
def roll_back(*, project: Project, alias: str = POLICY, by: User | None = None) -> Deployment:
    """Let the version before the live one answer again, with one action.

    While it is still loaded this is the flip alone; else it is deployed again, and the live one answers until then.
    Raises DomainError when there is nothing before.
    """
    Project.objects.select_for_update().get(pk=project.pk)
    live = live_deployment(project, alias)
    if live is None:
        raise DomainError("Nothing is live here.", how="Deploy a version first.")
    earlier = before(live)
    if earlier is None:
        raise DomainError(f"There is no version before {live.model_version}.")
    detail = {"from": live.model_version.slug, "to": earlier.model_version.slug, "alias": alias}
    record("deployment.roll_back", user=by, project=project, subject=live, detail=detail)
    if earlier.stage != Stage.DRAINING:
        return request_deployment(
            version=earlier.model_version, endpoint=earlier.endpoint, alias=alias, project=project, by=by
        )
    _to_stage(live, Stage.DRAINING, note=f"Rolled back to {earlier.model_version}", by=by)
    _to_stage(earlier, Stage.LIVE, note="Rolled back", by=by, live_at=Now(), retired_at=None)
    return earlier


def retire_drained() -> int:
    """Unload what nobody asks any more. Safe at any time; returns how many were retired.

    Kept: what a job that is not over still samples from, and the one before each live one but candidates, for the rollback.
    """
    # A candidate is for one comparison: nobody rolls one back.
    kept = {live.replaces_id for live in Deployment.objects.filter(stage=Stage.LIVE).exclude(alias=CANDIDATE)}
    n_retired = 0
    for deployment in Deployment.objects.select_related("endpoint", "model_version").filter(stage=Stage.DRAINING):
        if deployment.pk in kept or is_in_use(deployment) or not unload_quietly(deployment):
            continue
        try:
            _to_stage(deployment, Stage.RETIRED, only_from=Stage.DRAINING, retired_at=Now())
        except Lost:  # rolled back in this very moment: it is live, so it must be loaded
            reload_missing(deployment.endpoint)
            continue
        n_retired += 1
    return n_retired


def drain_candidates() -> int:
    """A candidate is there for one comparison: it gives its slot back when nobody has asked it for a while."""
    n_drained = 0
    idle = Deployment.objects.filter(alias=CANDIDATE, stage=Stage.LIVE, live_at__lt=jobs.from_now(-CANDIDATE_SECONDS))
    for deployment in idle:
        asked_of_late = JobArm.objects.filter(
            deployment=deployment, job__finished_at__gt=jobs.from_now(-CANDIDATE_SECONDS)
        )
        if is_in_use(deployment) or asked_of_late.exists():
            continue
        with suppress(Lost):
            _to_stage(deployment, Stage.DRAINING, only_from=Stage.LIVE, note="Compared; nobody asks it any more")
            n_drained += 1
    return n_drained


def is_in_use(deployment: Deployment) -> bool:
    return JobArm.objects.filter(deployment=deployment).exclude(job__status__in=TERMINAL).exists()


@transaction.atomic
def retire_deployment(deployment: Deployment, *, by: User | None = None) -> None:
    """Take an alias out of service. The policy's own cannot be: something must answer, so deploy another instead."""
    require(deployment.alias != POLICY, "The policy is always live; deploy another version in its place.")
    try:
        _to_stage(deployment, Stage.DRAINING, only_from=Stage.LIVE, by=by, note="Retired by hand")
    except Lost:
        raise Conflict(
            "Only a live deployment can be taken out of service.", how="Reload the page to see where it stands."
        ) from None
    record("deployment.retire", user=by, project=deployment.project, subject=deployment)


def retry_deployment(deployment: Deployment, *, by: User | None = None) -> None:
    """A person's "try again" of a failed deployment. Raises IllegalMove if it has not failed."""
    with transaction.atomic():
        jobs.requeue(deployment, by=by)
        record("deployment.retry", user=by, project=deployment.project, subject=deployment)


def cancel_deployment(deployment: Deployment, *, by: User | None = None) -> None:
    """Stop one that is on its way: at once if it waits, at its next step if it runs. What is live stays live."""
    with transaction.atomic():
        jobs.request_cancel(deployment, by=by)
        record("deployment.cancel", user=by, project=deployment.project, subject=deployment)
    _close_lost()


def reload_missing(endpoint: Endpoint) -> list[str]:
    """Load live adapters again that a restart of the server has lost; the names that were missing.

    For servers that Whetstone does not start itself: those it starts get their adapters before they answer.
    """
    wanted = adapters_on(endpoint)
    if not wanted:
        return []

    async def inner(engine: Vllm) -> list[str]:
        there = {model.name for model in await engine.served()}
        missing = [name for name in wanted if name not in there]
        for name in missing:
            await engine.load(name, wanted[name])
        return missing

    return talk(deployer_for(endpoint), inner)


def tend_deployments() -> None:
    """The tick's chore: close what lost its job, retire what is drained, look after servers we do not start ourselves."""
    _close_lost()
    drain_candidates()
    retire_drained()
    tend_endpoints()


TEND_EVERY_SECONDS = 15


def tend_endpoints() -> None:
    due = Q(state_at__isnull=True) | Q(state_at__lt=jobs.from_now(-TEND_EVERY_SECONDS))
    rows = Endpoint.objects.filter(due, is_enabled=True, is_managed=False, reach=Endpoint.Reach.SHARED)
    for endpoint in rows.filter(deployments__stage__in=[*LOADED, *ON_THE_WAY]).distinct():
        # Taken by one tick only, though several may run.
        if not Endpoint.objects.filter(due, pk=endpoint.pk).update(state_at=Now()):
            continue

        try:
            health = talk(engine_for(endpoint), lambda engine: engine.health())
            if health.is_ready and endpoint.engine != Endpoint.Engine.OPENAI:
                reload_missing(endpoint)
            state = Endpoint.State.READY if health.is_ready else Endpoint.State.DOWN
            note_state(endpoint, state, health.message, **facts_of(health))
        except (EngineError, DomainError) as problem:
            note_state(endpoint, Endpoint.State.DOWN, problem.sentence)


def _close_lost() -> None:
    """A job that the reaper gave up, or a person cancelled, leaves its deployment on the way: close it."""
    lost = Deployment.objects.filter(stage__in=ON_THE_WAY, status__in=[JobStatus.FAILED, JobStatus.CANCELLED])
    for deployment in lost.select_related("endpoint", "model_version"):
        note = deployment.error or "Cancelled"
        try:
            _to_stage(deployment, Stage.FAILED, note=note)
        except Lost:
            continue
        unload_quietly(deployment)


# --- the machine -----------------------------------------------------------------------------------------------------


def _to_stage(
    deployment: Deployment,
    to: str,
    *,
    token: str | None = None,
    only_from: str | None = None,
    note: str = "",
    by: Any = None,
    **changes: Any,
) -> None:
    """Move the stage by its table, as one compare-and-set with its event. Raises Lost for whoever comes second.

    token   the job's lease, which must still be held
    """
    sources = [stage for stage, targets in NEXT_STAGE.items() if to in targets and only_from in (None, stage)]
    with transaction.atomic():
        was = deployment.stage
        rows = Deployment.objects.filter(pk=deployment.pk, stage__in=sources)
        if token is not None:
            rows = rows.filter(lease_token=token, status=JobStatus.RUNNING)
        try:
            with transaction.atomic():
                changed = rows.update(stage=to, **changes)
        except IntegrityError as problem:  # one live per alias: somebody else's flip came first
            raise Lost from problem
        if changed != 1:
            raise Lost
        _note(deployment, was, to, note=note, by=by)
    deployment.refresh_from_db()


def _note(deployment: Deployment, was: str, to: str, *, note: str = "", by: Any = None) -> None:
    DeploymentEvent.objects.create(subject=deployment, before=was, after=to, note=note, by=by)


def _beat(deployment: Deployment, token: str, **progress: Any) -> None:
    with _or_lost(deployment, token):
        Keeper(deployment, token, LEASE_SECONDS).beat(**progress)


def _while_beating(deployment: Deployment, token: str, work: Callable[[], T]) -> T:
    """Do what takes its time on a large adapter or a slow server, keeping the lease. ``work`` touches no database."""
    with _or_lost(deployment, token):
        return Keeper(deployment, token, LEASE_SECONDS).while_beating(work)


@contextmanager
def _or_lost(deployment: Deployment, token: str) -> Iterator[None]:
    """Raise Lost where the lease is, and close the deployment where a person cancelled it."""
    try:
        yield
    except CancelAsked as problem:
        with transaction.atomic():
            jobs.cancelled(deployment, token, message="Cancelled")
        _close_lost()
        raise Lost from problem
    except LeaseLost as problem:
        raise Lost from problem


__all__ = [
    "CANDIDATE",
    "POLICY",
    "engine_for",
    "live_deployment",
    "request_deployment",
    "retire_drained",
    "roll_back",
    "run_deployment_job",
    "serving",
    "stage_for_evaluation",
    "tend_deployments",
]
