"""Rounds: start one, take its next step, give it up. The only writes that know all the stages.

Each step is one call of another layer's service; a round holds nothing that the stages do not know themselves.
``advance_round`` does at most one thing a call and is safe at any time, from anywhere.
"""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from pydantic import BaseModel, ConfigDict, Field

from accounts.audit import record
from accounts.models import Project, User
from annotation.campaign_options import options_of
from annotation.campaigns import close_campaign, start_campaign
from annotation.models import Campaign
from core.errors import Conflict, DomainError, require
from core.ids import seed_from
from core.jobs import JobStatus
from core.transitions import move, try_move
from generation.deploy import live_deployment, request_deployment, serving
from generation.models import Candidate, Endpoint, GenerationJob, ModelVersion, Prompt, PromptSet
from generation.sampling import start_generation
from loop.models import Round, RoundStep
from training.evaluate import people_between, start_evaluation
from training.freezing import start_freeze
from training.models import Evaluation, Snapshot, TrainingRun
from training.run_start import start_run

logger = logging.getLogger(__name__)

Stage = RoundStep.Stage
ALIAS = "policy"


class Plan(BaseModel):
    """What a researcher asks of a round. Frozen into ``Round.plan``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_prompts: int = Field(default=100, ge=1, le=1_000_000)
    n_answers: int = Field(default=4, ge=2, le=64)
    n_judgements: int = Field(default=100, ge=1, le=10_000_000)
    overlap: int = Field(default=1, ge=1, le=20)
    temperature: float = Field(default=1.0, ge=0, le=2)
    max_tokens: int = Field(default=96, ge=1, le=8192)
    effort: str = "small"
    with_reward: bool = True
    with_simulated: bool = False
    with_earlier_rounds: bool = False
    # Of the tasks, how many pit this round's policy against the one before, on held-out prompts; 0 switches it off.
    regression_share: float = Field(default=0.1, ge=0, le=0.5)


def plan_of(round_: Round) -> Plan:
    return Plan.model_validate(round_.plan)


def open_round(project: Project) -> Round | None:
    return project.rounds.filter(status=Round.Status.OPEN).first()


def latest_round(project: Project) -> Round | None:
    return project.rounds.order_by("-number").first()


def current_policy(project: Project) -> ModelVersion | None:
    """The version behind the project's alias; before anything was deployed, its newest base policy."""
    live = live_deployment(project, ALIAS)
    if live is not None:
        return live.model_version
    return project.model_versions.filter(purpose="policy", kind__in=["base", "full"]).order_by("-id").first()


def endpoint_for(project: Project) -> Endpoint | None:
    """Where the project's policy is served: where it is live now, else the one enabled endpoint that can deploy."""
    live = live_deployment(project, ALIAS)
    if live is not None:
        return live.endpoint
    return Endpoint.objects.filter(is_enabled=True).exclude(engine=Endpoint.Engine.OPENAI).order_by("id").first()


def start_round(*, project: Project, prompt_set: PromptSet, plan: Plan, by: User) -> Round:
    """Open the next round from the current policy. Of two people who start together, one starts it; the other gets Conflict."""
    policy = current_policy(project)
    if policy is None:
        raise DomainError("There is no model to start from.", how="Register a base model on the Models page.")
    require(prompt_set.n_prompts, f"The prompt set “{prompt_set}” is empty.", how="Import prompts into it first.")
    last = latest_round(project)
    try:
        with transaction.atomic():
            round_ = Round.objects.create(
                project=project,
                number=(last.number if last else 0) + 1,
                prompt_set=prompt_set,
                policy_in=policy,
                plan=plan.model_dump(),
                started_by=by,
            )
            round_.events.create(before="", after=Round.Status.OPEN, by=by)
            record("round.start", project=project, user=by, subject=round_, detail={"number": round_.number})
    except IntegrityError:
        raise Conflict("Somebody else has just started this round.", how="Go on with it on the round board.") from None
    return round_


@transaction.atomic
def abandon_round(*, round_: Round, note: str, by: User) -> None:
    """End a round without a new policy. What it made stays: answers, judgements and datasets are still there."""
    move(round_, Round.Status.ABANDONED, note=note, by=by, finished_at=Now())
    record("round.abandon", project=round_.project, user=by, subject=round_, detail={"note": note})


def last_step(round_: Round, stage: str) -> RoundStep | None:
    return round_.steps.filter(stage=stage).order_by("-attempt").first()


def add_step(round_: Round, stage: str, *, by: User | None, note: str = "", **made: Any) -> RoundStep:
    """Record what a stage made, as its next attempt. Raises Conflict when somebody else did the same just now."""
    last = last_step(round_, stage)
    try:
        with transaction.atomic():
            return RoundStep.objects.create(
                round=round_, stage=stage, attempt=(last.attempt if last else 0) + 1, created_by=by, note=note, **made
            )
    except IntegrityError:
        raise Conflict("Somebody else has just taken this step.", how="Reload the page to see it.") from None


def _locked(round_: Round) -> Round:
    """The round's row, locked: two people who press the same button together take one step."""
    fresh = (
        Round.objects.select_for_update(of=("self",))
        .select_related("project", "policy_in", "prompt_set")
        .get(pk=round_.pk)
    )
    require(fresh.status == Round.Status.OPEN, f"Round {fresh.number} is {fresh.status}.", how="Start the next round.")
    return fresh


def _must_be_over(step: RoundStep | None, made: str) -> None:
    """A second click on a step that is on its way is a conflict, not a second job."""
    job = getattr(step, made) if step else None
    if job is not None and job.status in (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.CANCELLING):
        raise Conflict("This step is on its way already.", how="Reload the page to follow it.")


@transaction.atomic
def take_step(*, round_: Round, stage: str, by: User, note: str = "") -> RoundStep:
    """Take one stage's step: the button of the round board. Raises DomainError with what is missing."""
    round_ = _locked(round_)
    step = STEPS[stage](round_, by, note)
    record(f"round.{stage}", project=round_.project, user=by, subject=round_, detail={"attempt": step.attempt})
    return step


def _generate(round_: Round, by: User, note: str) -> RoundStep:
    _must_be_over(last_step(round_, Stage.GENERATE), "job")
    plan = plan_of(round_)
    deployment = live_deployment(round_.project, ALIAS)
    if deployment is None or deployment.model_version_id != round_.policy_in_id:
        raise DomainError(
            "The policy of this round is not served at the moment.",
            how="Wait until the engine is ready, or deploy it on the Models page.",
        )
    assert round_.prompt_set is not None
    common: dict[str, Any] = {
        "project": round_.project,
        "prompt_set": round_.prompt_set,
        "n_answers": plan.n_answers,
        "by": by,
    }
    sampling = {"temperature": plan.temperature, "max_tokens": plan.max_tokens}
    job = start_generation(
        **common,
        selection={"n": plan.n_prompts, "order": "random", "unused_first": True},
        arms=[{"deployment": deployment, "sampling": sampling}],
        seed=seed_from(round_.key, "generate"),
    )
    # The version before answers the same held-out prompts, as a job of its own: it comes first, so that the round's own
    # answers stay its latest ones.
    before = version_before(round_)
    there = serving(before, round_.project) if before is not None and plan.regression_share else None
    held_out = Prompt.objects.filter(pk__in=job.prompt_ids, split=Prompt.Split.HOLDOUT)
    if there is not None and (prompts := set(held_out.values_list("pk", flat=True))):
        comparison = start_generation(
            **common,
            selection={"split": "holdout"},
            prompts=[pk for pk in job.prompt_ids if pk in prompts],
            arms=[{"deployment": there, "sampling": sampling}],
            seed=seed_from(round_.key, "version before"),
        )
        add_step(round_, Stage.GENERATE, by=by, note="the version before, to compare with", job=comparison)
    return add_step(round_, Stage.GENERATE, by=by, note=note, job=job)


def version_before(round_: Round) -> ModelVersion | None:
    """What the round's policy took over from: the policy of the round that made it, else what it was trained from."""
    made_by = Round.objects.filter(project=round_.project, number__lt=round_.number, policy_out=round_.policy_in_id)
    earlier = made_by.exclude(policy_in=round_.policy_in_id).order_by("-number").first()
    return earlier.policy_in if earlier is not None else round_.policy_in.parent


def comparison_job(round_: Round) -> GenerationJob | None:
    """The answers of the version before, where this round asked for them: the attempt just before its own answers."""
    own = last_step(round_, Stage.GENERATE)
    if own is None:
        return None
    step = round_.steps.filter(stage=Stage.GENERATE, attempt=own.attempt - 1).select_related("job").first()
    if step is None or step.job is None or step.job.arms.filter(model_version=round_.policy_in_id).exists():
        return None
    return step.job


def _annotate(round_: Round, by: User, note: str) -> RoundStep:
    generated = last_step(round_, Stage.GENERATE)
    require(generated and generated.job, "There are no answers to judge yet.", how="Generate them first.")
    assert generated is not None and generated.job is not None
    comparison = comparison_job(round_)
    if not generated.job.is_terminal or (comparison is not None and not comparison.is_terminal):
        raise DomainError(
            "The answers are still being written.",
            how="Wait for the generation job, or cancel it and judge what is there.",
        )
    last = last_step(round_, Stage.ANNOTATE)
    if last and last.campaign and last.campaign.stage != Campaign.Stage.CLOSED:
        raise Conflict("The answers are being judged already.", how="Close that campaign before you start another.")
    plan = plan_of(round_)
    asked = asked_of(round_.project)
    jobs, pairing = [generated.job], {**asked.pairing, "max_tasks": max(1, plan.n_judgements // plan.overlap)}
    options = dict(asked.options)
    before = version_before(round_)
    if comparison is not None and before is not None and Candidate.objects.filter(arm__job=comparison).exists():
        jobs.append(comparison)
        pairing |= {"new": round_.policy_in.key, "old": before.key}
        options["regression_share"] = plan.regression_share
    campaign = start_campaign(
        project=round_.project,
        name=f"Round {round_.number}" + (f", campaign {last.attempt + 1}" if last else ""),
        jobs=jobs,
        kind=asked.kind,
        pairing=pairing,
        overlap=plan.overlap,
        options=options,
        by=by,
    )
    return add_step(round_, Stage.ANNOTATE, by=by, note=note, campaign=campaign)


class Asked(NamedTuple):
    """What a round's campaign asks, and of how many answers at a time."""

    kind: str
    pairing: dict[str, Any]
    options: dict[str, Any]


def asked_of(project: Project) -> Asked:
    """What the project's latest campaign asked, for the next one; the defaults at first.

    Ratings give no preference to train on, and imported votes were asked for elsewhere: both are passed over.
    """
    campaigns = project.campaigns.exclude(kind=Campaign.Kind.RATE).exclude(jobs__kind=GenerationJob.Kind.IMPORT)
    last = campaigns.order_by("-id").first()
    if last is None:
        return Asked(Campaign.Kind.PAIR, {"pairs": "within"}, {"guidelines": project.guidelines})
    kept = {name: last.pairing[name] for name in ("n_answers", "leave_out", "near") if name in last.pairing}
    options = {name: value for name, value in options_of(last).items() if name != "regression_share"}
    return Asked(last.kind, {"pairs": "within", **kept}, options)


def campaigns_of(round_: Round) -> list[Campaign]:
    """The campaigns whose judgements this round may learn from: its own, and earlier ones where the plan says so."""
    rounds = Round.objects.filter(project=round_.project, number__lte=round_.number)
    if not plan_of(round_).with_earlier_rounds:
        rounds = rounds.filter(pk=round_.pk)
    return list(Campaign.objects.filter(round_steps__round__in=rounds).distinct().order_by("id"))


def campaigns_by_round(project: Project) -> dict[int, set[str]]:
    """The keys of the campaigns that were opened in each round."""
    found: dict[int, set[str]] = {}
    steps = RoundStep.objects.filter(round__project=project, campaign__isnull=False)
    for number, key in steps.order_by("round__number").values_list("round__number", "campaign__key"):
        found.setdefault(number, set()).add(key)
    return found


def _dataset(round_: Round, by: User, note: str) -> RoundStep:
    _must_be_over(last_step(round_, Stage.DATASET), "snapshot")
    annotated = last_step(round_, Stage.ANNOTATE)
    require(annotated, "Nobody has judged anything in this round yet.", how="Open the answers for judging first.")
    assert annotated is not None and annotated.campaign is not None
    if annotated.campaign.stage in (Campaign.Stage.OPEN, Campaign.Stage.PAUSED):
        close_campaign(annotated.campaign, by=by)
    attempt = (last.attempt if (last := last_step(round_, Stage.DATASET)) else 0) + 1
    snapshot = start_freeze(
        project=round_.project,
        name=f"round-{round_.number}" + (f"-{attempt}" if attempt > 1 else ""),
        campaigns=campaigns_of(round_),
        selection={"with_simulated": plan_of(round_).with_simulated},
        pair_policy={},
        by=by,
    )
    return add_step(round_, Stage.DATASET, by=by, note=note, snapshot=snapshot)


def ready_snapshot(round_: Round) -> Snapshot:
    step = last_step(round_, Stage.DATASET)
    if step is None or step.snapshot is None or not step.snapshot.is_ready:
        raise DomainError("There is no frozen dataset in this round yet.", how="Freeze one first.")
    return step.snapshot


def _start_training(round_: Round, by: User, note: str, *, stage: str, method: str) -> RoundStep:
    _must_be_over(last_step(round_, stage), "run")
    run = start_run(
        project=round_.project,
        method=method,
        # A reward model learns from the project's root model: its rewards must not move with the policy that they judge.
        base=round_.policy_in if method != TrainingRun.Method.REWARD else round_.policy_in.root,
        snapshot=ready_snapshot(round_),
        effort=plan_of(round_).effort,
        overrides={},
        by=by,
    )
    return add_step(round_, stage, by=by, note=note, run=run)


def _train(round_: Round, by: User, note: str) -> RoundStep:
    return _start_training(round_, by, note, stage=Stage.TRAIN, method=TrainingRun.Method.DPO)


def _reward(round_: Round, by: User, note: str) -> RoundStep:
    return _start_training(round_, by, note, stage=Stage.REWARD, method=TrainingRun.Method.REWARD)


def produced_by(round_: Round, stage: str) -> ModelVersion | None:
    step = last_step(round_, stage)
    return step.run.produced if step and step.run else None


def _evaluate(round_: Round, by: User, note: str) -> RoundStep:
    """Every judge that this round has, each as an evaluation of its own: they are never mixed."""
    new = produced_by(round_, Stage.TRAIN)
    if new is None:
        raise DomainError("There is no new policy to evaluate yet.", how="Train one first.")
    for earlier in round_.steps.filter(stage=Stage.EVALUATE).select_related("evaluation"):
        _must_be_over(earlier, "evaluation")
    reward = produced_by(round_, Stage.REWARD)
    common: dict[str, Any] = {"project": round_.project, "model_version": new, "against": round_.policy_in, "by": by}
    step = None
    _evaluate_comparison(round_, by)
    if reward is not None and ready_snapshot(round_).counts.get("rows", {}).get("test"):
        accuracy = start_evaluation(
            project=round_.project,
            model_version=reward,
            judge=Evaluation.Judge.REWARD_ACCURACY,
            snapshot=ready_snapshot(round_),
            by=by,
        )
        step = add_step(round_, Stage.EVALUATE, by=by, note=note, evaluation=accuracy)
    if round_.project.is_demo:
        by_utility = start_evaluation(**common, judge=Evaluation.Judge.SIMULATED, prompt_set=round_.prompt_set)
        step = add_step(round_, Stage.EVALUATE, by=by, note=note, evaluation=by_utility)
    elif reward is not None:
        by_reward = start_evaluation(
            **common, judge=Evaluation.Judge.REWARD_MODEL, prompt_set=round_.prompt_set, reward_model=reward
        )
        step = add_step(round_, Stage.EVALUATE, by=by, note=note, evaluation=by_reward)
    if step is None:
        raise DomainError(
            "Nothing can judge the new policy yet: there is no reward model in this round.",
            how="Train a reward model on the same dataset, or deploy with a note that says why.",
        )
    return step


def _evaluate_comparison(round_: Round, by: User) -> None:
    """What people said of this round's policy against the one before: an evaluation of what is live, not of the new one."""
    annotated, before = last_step(round_, Stage.ANNOTATE), version_before(round_)
    if annotated is None or annotated.campaign is None or before is None:
        return
    found = people_between(round_.project, round_.policy_in, before, annotated.campaign)
    if found.exists():
        made = start_evaluation(
            project=round_.project,
            model_version=round_.policy_in,
            against=before,
            judge=Evaluation.Judge.PEOPLE,
            campaign=annotated.campaign,
            by=by,
        )
        add_step(round_, Stage.EVALUATE, by=by, note="the policy of this round against the one before", evaluation=made)


def evaluations_of(round_: Round) -> list[Evaluation]:
    """The evaluations of the policy that this round's latest run made, oldest first."""
    steps = round_.steps.filter(stage=Stage.EVALUATE, evaluation__isnull=False).select_related("evaluation")
    made = [step.evaluation for step in steps.order_by("attempt")]
    new, reward = produced_by(round_, Stage.TRAIN), produced_by(round_, Stage.REWARD)
    versions = {version.pk for version in (new, reward) if version is not None}
    return [evaluation for evaluation in made if evaluation is not None and evaluation.model_version_id in versions]


def gate_is_cleared(round_: Round) -> bool:
    """Whether some judge that can call a win says that the new policy is better than the one before."""
    return Evaluation.Outcome.BETTER in _outcomes(round_)


def is_clearly_worse(round_: Round) -> bool:
    """Whether some judge says that the new policy is worse than the one before, and none that it is better."""
    outcomes = _outcomes(round_)
    return Evaluation.Outcome.WORSE in outcomes and Evaluation.Outcome.BETTER not in outcomes


def _outcomes(round_: Round) -> set[str]:
    """What the judges that have ended say of the new policy."""
    new = produced_by(round_, Stage.TRAIN)
    return {
        evaluation.outcome
        for evaluation in evaluations_of(round_)
        if new is not None and evaluation.model_version_id == new.pk and evaluation.status == JobStatus.SUCCEEDED
    }


def _deploy(round_: Round, by: User, note: str) -> RoundStep:
    new = produced_by(round_, Stage.TRAIN)
    if new is None:
        raise DomainError("There is no new policy to deploy yet.", how="Train one first.")
    _must_be_over(last_step(round_, Stage.DEPLOY), "deployment")
    if not gate_is_cleared(round_):
        require(
            note.strip(),
            "No evaluation says that the new policy is better.",
            how="Write a note that says why you deploy it all the same.",
        )
    endpoint = endpoint_for(round_.project)
    if endpoint is None:
        raise DomainError("There is no endpoint to deploy to.", how="A site admin adds one on the Endpoints page.")
    deployment = request_deployment(version=new, endpoint=endpoint, alias=ALIAS, project=round_.project, by=by)
    return add_step(round_, Stage.DEPLOY, by=by, note=note, deployment=deployment)


STEPS: dict[str, Callable[[Round, User, str], RoundStep]] = {
    Stage.GENERATE: _generate,
    Stage.ANNOTATE: _annotate,
    Stage.DATASET: _dataset,
    Stage.TRAIN: _train,
    Stage.REWARD: _reward,
    Stage.EVALUATE: _evaluate,
    Stage.DEPLOY: _deploy,
}


def advance_round(round_: Round) -> bool:
    """Complete the round once its policy is live. Returns whether anything was done."""
    step = last_step(round_, Stage.DEPLOY)
    # Live once is enough: it may have been rolled back before this tick.
    if step is None or step.deployment is None or step.deployment.live_at is None:
        return False
    return try_move(
        round_,
        Round.Status.COMPLETE,
        note=f"{step.deployment.model_version} is live",
        policy_out=step.deployment.model_version,
        finished_at=Now(),
    )


def advance_rounds() -> int:
    return sum(
        advance_round(round_) for round_ in Round.objects.filter(status=Round.Status.OPEN).select_related("project")
    )
