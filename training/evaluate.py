"""Evaluations: how good a reward model is on held-out judgements, and whether a new version beats the old on held-out prompts.

Judges are never mixed, and only a judge that stands apart from the training may call a win: the reward model learnt from the
same people's pairs, so its win rate is shown under its own name and never has an outcome.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from accounts.audit import record
from accounts.models import Project, User
from annotation.judge import live_judgements
from annotation.models import Annotator, Campaign, Judgement, RankedCandidate
from annotation.winrate import ENOUGH_PROMPTS, Tally, rate, tally, verdict
from core import jobs
from core.beating import Keeper, attempt
from core.errors import Conflict, DomainError, require
from core.ids import new_key, seed_from, sha256_hex
from core.jobs import JobStatus
from generation.deploy import run_deployment_job, serving, stage_for_evaluation
from generation.engines.base import Sampling
from generation.models import Candidate, Deployment, GenerationJob, JobArm, ModelVersion, Prompt, PromptSet
from generation.sampling import CAN_ANSWER, start_generation
from generation.sampling_run import run_generation
from starter import judge as simulated
from training.formats.ballots import Counts
from training.formats.files import read_rows
from training.models import Evaluation, Snapshot
from training.reward_scores import score
from training.rows import Recipe, build, recipe_of, recorded_members
from training.snapshots import directory_of

Judge, Outcome = Evaluation.Judge, Evaluation.Outcome
LEASE_SECONDS = 60.0
N_ANSWERS, N_PROMPTS, MAX_PROMPTS = 4, 200, 5000
MAX_TOKENS = 256
PAUSE_SECONDS = 1.0
WAIT_SECONDS = 900.0  # for a version to be served, and for an engine that is down
N_EXAMPLES = 4
CALLS_NO_WIN = (Judge.REWARD_ACCURACY, Judge.REWARD_MODEL)


# --- asking for one ---------------------------------------------------------------------------------------------------


def start_evaluation(
    *,
    project: Project,
    model_version: ModelVersion,
    judge: str,
    against: ModelVersion | None = None,
    prompt_set: PromptSet | None = None,
    snapshot: Snapshot | None = None,
    reward_model: ModelVersion | None = None,
    campaign: Campaign | None = None,
    options: Mapping[str, Any] | None = None,
    by: User | None = None,
) -> Evaluation:
    """Record an evaluation and queue it.

    judge     reward_accuracy needs ``snapshot``; the others need ``against``; reward_model and simulated sample answers to the
              holdout prompts of ``prompt_set``; people reads judgements that exist, of ``campaign`` or of all
    options   n_answers, n_prompts, sampling, seed
    Raises DomainError with what is missing.
    """
    given = [model_version, against, prompt_set, snapshot, reward_model, campaign]
    require(all(it.project_id == project.pk for it in given if it is not None), "That belongs to another project.")
    require(judge in Judge.values, "Choose one of the judges.")
    if judge == Judge.REWARD_ACCURACY:
        reward_model = _reward_model(reward_model or model_version)
        _check_held_out_rows(snapshot)
    else:
        _check_versions(model_version, against)
    if judge == Judge.REWARD_MODEL:
        reward_model = _reward_model(reward_model)
    require(
        judge != Judge.SIMULATED or project.is_demo,
        "Only the demo's own simulated people have a known preference.",
        how="Let people compare the versions, or judge by the reward model.",
    )
    if judge == Judge.PEOPLE:
        assert against is not None
        require(
            people_between(project, model_version, against, campaign).exists(),
            f"Nobody has compared {model_version} with {against} on held-out prompts yet.",
            how="Open a campaign whose pairs are made across these two versions, on held-out prompts.",
        )
    if judge in (Judge.REWARD_MODEL, Judge.SIMULATED):
        _check_prompts(prompt_set)
    evaluation = Evaluation(
        project=project,
        model_version=model_version,
        against=against,
        prompt_set=prompt_set,
        snapshot=snapshot,
        reward_model=reward_model,
        campaign=campaign,
        judge=judge,
        requested_by=by,
    )
    evaluation.options = _options(evaluation, options or {})
    with transaction.atomic():
        evaluation.save(force_insert=True)
        evaluation.events.create(before="", after=evaluation.status, by=by)
        detail = {"judge": judge, "version": model_version.slug, "against": against.slug if against else ""}
        record("evaluation.start", user=by, project=project, subject=evaluation, detail=detail)
        jobs.enqueue_on_commit(evaluation)
    return evaluation


def _reward_model(version: ModelVersion | None) -> ModelVersion:
    if version is None:
        raise DomainError("There is no reward model to judge by.", how="Train one on a dataset first.")
    require(
        version.purpose == ModelVersion.Purpose.REWARD,
        f"{version} is not a reward model.",
        how="Choose a reward model.",
    )
    return version


def _check_held_out_rows(snapshot: Snapshot | None) -> None:
    require(snapshot is not None, "Choose the dataset whose held-out judgements the reward model is measured on.")
    assert snapshot is not None
    require(snapshot.is_ready, f"The dataset “{snapshot}” is not frozen yet.", how="Wait until it is.")
    require(
        snapshot.counts.get("rows", {}).get("test"),
        f"The dataset “{snapshot}” has no held-out pair, so there is nothing to measure on.",
        how="Judge answers to held-out prompts too, then freeze again.",
    )


def _check_versions(version: ModelVersion, against: ModelVersion | None) -> None:
    require(against is not None, "Choose the version to compare with.")
    require(against != version, "A version cannot be compared with itself.", how="Choose another one.")
    for one in (version, against):
        assert one is not None
        require(one.purpose == ModelVersion.Purpose.POLICY, f"{one} is a reward model; it writes no answers.")


def _check_prompts(prompt_set: PromptSet | None) -> None:
    require(prompt_set is not None, "Choose the prompt set whose held-out prompts are asked.")
    assert prompt_set is not None
    require(
        held_out_prompts(prompt_set).exists(),
        f"“{prompt_set}” has no held-out prompt.",
        how="Import a set that is held out as a whole, or a larger one: about one prompt in seven is held out.",
    )


def held_out_prompts(prompt_set: PromptSet) -> QuerySet[Prompt]:
    return Prompt.objects.filter(set=prompt_set, split=Prompt.Split.HOLDOUT).ready()


def _options(evaluation: Evaluation, given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(given) - {"n_answers", "n_prompts", "sampling", "seed"}
    require(not unknown, f"An evaluation has no option {', '.join(sorted(unknown))!r}.")
    seed = given.get("seed")
    options: dict[str, Any] = {"seed": seed_from(evaluation.key, "evaluate") if seed is None else int(seed)}
    if evaluation.judge not in (Judge.REWARD_MODEL, Judge.SIMULATED):
        return options
    n_answers, n_prompts = given.get("n_answers") or N_ANSWERS, given.get("n_prompts") or N_PROMPTS
    require(1 <= n_answers <= 16, "Ask for 1 to 16 answers a prompt.")
    require(1 <= n_prompts <= MAX_PROMPTS, f"Ask at most {MAX_PROMPTS:,} prompts.")
    try:
        sampling = Sampling.from_json(given.get("sampling") or sampling_of(evaluation)).as_json()
    except (TypeError, ValueError) as problem:
        raise DomainError(f"These sampling settings cannot be used: {problem}.") from None
    # The job's key is fixed now: a worker that is killed right after starting the job finds it again.
    return options | {"n_answers": n_answers, "n_prompts": n_prompts, "sampling": sampling, "job": new_key()}


def sampling_of(evaluation: Evaluation) -> dict[str, Any]:
    """The settings with which people last saw answers of these versions; without any, temperature 1."""
    versions = [evaluation.model_version_id, evaluation.against_id]
    arms = JobArm.objects.filter(model_version__in=versions, job__project=evaluation.project_id, job__kind="generate")
    last = arms.order_by("-pk").first()
    return dict(last.sampling) if last else {"temperature": 1.0, "max_tokens": MAX_TOKENS}


def cancel_evaluation(evaluation: Evaluation, *, by: User) -> None:
    with transaction.atomic():
        jobs.request_cancel(evaluation, by=by)
        record("evaluation.cancel", user=by, project=evaluation.project, subject=evaluation)


def evaluate_again(evaluation: Evaluation, *, by: User) -> None:
    """A person's "try again". Answers that were sampled before are kept and only completed."""
    with transaction.atomic():
        jobs.requeue(evaluation, by=by)
        record("evaluation.retry", user=by, project=evaluation.project, subject=evaluation)


# --- the job ----------------------------------------------------------------------------------------------------------


def run_evaluation(evaluation_id: int) -> None:
    """Do an evaluation from wherever it was left. Safe to call at any time, by any number of workers."""
    rows = Evaluation.objects.select_related(
        "project", "model_version", "against", "prompt_set", "snapshot", "reward_model", "campaign", "job"
    )
    evaluation = rows.filter(pk=evaluation_id).first()
    attempt(evaluation, _measure, seconds=LEASE_SECONDS, what="The evaluation")


def _measure(evaluation: Evaluation, keeper: Keeper) -> None:
    result = MEASURES[Judge(evaluation.judge)](evaluation, keeper)
    keeper.finish(message="", **result)


def _reward_accuracy(evaluation: Evaluation, keeper: Keeper) -> dict[str, Any]:
    """Of the held-out pairs: how often the reward model scores the chosen answer higher (a tie is one half)."""
    snapshot, model = evaluation.snapshot, evaluation.reward_model
    assert snapshot is not None and model is not None
    rows = list(read_rows(directory_of(snapshot) / "test.jsonl"))
    require(rows, "The dataset has no held-out pair any more.")
    keeper.beat(message="Scoring the held-out pairs", total_steps=len(rows), unit="pairs")
    asked = [(row["prompt"], row[side][0]["content"]) for row in rows for side in ("chosen", "rejected")]
    scores = score(model, asked, name=evaluation.key, beat=keeper.beat)
    right = [_half(scores[2 * i] - scores[2 * i + 1]) for i in range(len(rows))]
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for row, mark in zip(rows, right, strict=True):
        by_prompt[row["prompt_id"]].append(mark)
    measured = rate(
        [sum(marks) for marks in by_prompt.values()],
        [len(marks) for marks in by_prompt.values()],
        seed=_seed(evaluation),
    )
    several = [mark for row, mark in zip(rows, right, strict=True) if row["n_votes"] >= 2]
    people = agreement_on_held_out(snapshot)
    keeper.beat(step=len(rows))
    return {
        "n_prompts": measured.n_prompts,
        "wins": float(right.count(1.0)),
        "ties": float(right.count(0.5)),
        "losses": float(right.count(0.0)),
        "value": measured.value,
        "low": measured.low,
        "high": measured.high,
        "ceiling": people.agreement,
        "outcome": Outcome.NONE,
        "details": {
            "n_pairs": len(rows),
            "n_pairs_judged_twice": people.n_overlapping,
            "accuracy_where_judged_twice": sum(several) / len(several) if several else None,
            "mean_gap": sum(scores[2 * i] - scores[2 * i + 1] for i in range(len(rows))) / len(rows),
            "warnings": _warnings(measured.n_prompts),
        },
    }


def agreement_on_held_out(snapshot: Snapshot) -> Counts:
    """How far people agree with each other on the held-out pairs that were judged more than once."""
    counts = Counts()
    held_out = (member for member in recorded_members(snapshot) if member.split == "test")
    for _ in build(held_out, Recipe(facts=recipe_of(snapshot).facts), counts):
        pass
    return counts


def _win_rate(evaluation: Evaluation, keeper: Keeper) -> dict[str, Any]:
    """Sample both versions on held-out prompts, let the judge score every answer, compare within each prompt."""
    job = _sampled(evaluation, keeper)
    candidates = list(_candidates(job))
    keeper.beat(message="Judging the answers")
    if evaluation.judge == Judge.SIMULATED:
        scores, extra = _by_utility(evaluation, candidates)
    else:
        assert evaluation.reward_model is not None
        asked = [(c.prompt.messages, c.text) for c in candidates]
        scores = score(evaluation.reward_model, asked, name=evaluation.key, beat=keeper.beat)
        extra = {"shared_judgements": n_shared_judgements(evaluation)}
    new, old = _sides(evaluation, candidates, scores)
    prompts = [key for key in new if key in old]
    compared = tally([([s for _, s in new[key]], [s for _, s in old[key]]) for key in prompts])
    return _result(evaluation, compared, {**extra, **_style(evaluation, candidates), **_examples(prompts, new, old)})


def _by_people(evaluation: Evaluation, keeper: Keeper) -> dict[str, Any]:
    """Judgements that people gave, blind, of a pair of answers by these two versions to a held-out prompt."""
    assert evaluation.against is not None
    found = people_between(evaluation.project, evaluation.model_version, evaluation.against, evaluation.campaign)
    by_prompt: dict[int, list[float]] = defaultdict(list)
    annotators: set[int] = set()
    rows = RankedCandidate.objects.filter(judgement__in=found).order_by("judgement_id")
    marks: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    prompt_of: dict[int, int] = {}
    for judgement, rank, version, prompt, annotator, is_flipped in rows.values_list(
        "judgement_id",
        "rank",
        "candidate__arm__model_version_id",
        "candidate__prompt_id",
        "judgement__assignment__annotator_id",
        "judgement__assignment__task__campaign__chosen_is_worse",
    ):
        marks[judgement][version].append(-rank if is_flipped else rank)
        prompt_of[judgement] = prompt
        annotators.add(annotator)
    wins = ties = losses = 0
    for judgement, ranks in marks.items():
        for ours in ranks[evaluation.model_version_id]:
            for theirs in ranks[evaluation.against_id]:  # type: ignore[index]  # checked at the start
                mark = _half(theirs - ours)
                wins, ties, losses = wins + (mark == 1.0), ties + (mark == 0.5), losses + (mark == 0.0)
                by_prompt[prompt_of[judgement]].append(mark)
    shares = tuple(sum(marks) / len(marks) for marks in by_prompt.values())
    keeper.beat(step=len(marks))
    return _result(
        evaluation,
        Tally(wins, ties, losses, shares),
        {"n_judgements": len(marks), "n_people": len(annotators)},
    )


MEASURES = {
    Judge.REWARD_ACCURACY: _reward_accuracy,
    Judge.REWARD_MODEL: _win_rate,
    Judge.SIMULATED: _win_rate,
    Judge.PEOPLE: _by_people,
}


# --- parts ------------------------------------------------------------------------------------------------------------


def _seed(evaluation: Evaluation) -> int:
    return int(evaluation.options.get("seed", 0))


def _half(gap: float) -> float:
    """1 for a positive gap, 0 for a negative one, one half for none."""
    return 0.5 if abs(gap) <= 1e-9 else float(gap > 0)


def _result(evaluation: Evaluation, compared: Tally, details: dict[str, Any]) -> dict[str, Any]:
    measured = rate(compared.shares, seed=_seed(evaluation))
    outcome = Outcome.NONE if evaluation.judge in CALLS_NO_WIN else verdict(measured)
    return {
        "n_prompts": measured.n_prompts,
        "wins": float(compared.wins),
        "ties": float(compared.ties),
        "losses": float(compared.losses),
        "value": measured.value,
        "low": measured.low,
        "high": measured.high,
        "outcome": outcome,
        "details": {**details, "warnings": _warnings(measured.n_prompts)},
    }


def _warnings(n_prompts: int) -> list[str]:
    if n_prompts >= ENOUGH_PROMPTS:
        return []
    return [f"Measured on {n_prompts} held-out prompts. Under {ENOUGH_PROMPTS} there is no verdict."]


def people_between(
    project: Project, version: ModelVersion, against: ModelVersion, campaign: Campaign | None = None
) -> QuerySet[Judgement]:
    """Standing, blind judgements by people that rank answers of both versions to a held-out prompt."""
    found = live_judgements().filter(
        assignment__task__campaign__project=project,
        assignment__task__prompt__split=Prompt.Split.HOLDOUT,
        assignment__annotator__kind__in=[Annotator.Kind.HUMAN, Annotator.Kind.OUTSIDE],
        is_unblinded=False,
    )
    if campaign is not None:
        found = found.filter(assignment__task__campaign=campaign)
    for one in (version, against):
        found = found.filter(
            pk__in=RankedCandidate.objects.filter(candidate__arm__model_version=one).values("judgement")
        )
    return found


def n_shared_judgements(evaluation: Evaluation) -> int:
    """Judgements that trained both the reward model and the version that it judges."""
    from training.lineage import judgements_behind

    assert evaluation.reward_model is not None
    policy = judgements_behind(evaluation.model_version).values("pk")
    return judgements_behind(evaluation.reward_model).filter(pk__in=policy).count()


def _sampled(evaluation: Evaluation, keeper: Keeper) -> GenerationJob:
    """Both versions' answers to the held-out prompts, as a generation job; done here unless another worker has it."""
    job = evaluation.job
    if job is None or (job.status in (JobStatus.FAILED, JobStatus.CANCELLED) and not _can_go_on(job)):
        job = _start_sampling(evaluation, keeper)
    elif job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        jobs.requeue(job, note="its evaluation is tried again")
    keeper.beat(total_steps=job.total_steps, unit="answers", message="Sampling answers of both versions")
    while not job.is_terminal:
        keeper.while_beating(
            partial(run_generation, job.pk), progress=partial(_progress, job), on_stop=partial(jobs.request_cancel, job)
        )
        job.refresh_from_db()
        if not job.is_terminal:  # another worker has it, or waits for its lease to end
            keeper.beat(**_progress(job))
            time.sleep(0.5)
    if job.status != JobStatus.SUCCEEDED:
        raise DomainError(
            f"The answers could not be sampled: {job.error or 'the job was cancelled'}.".replace("..", "."),
            how="Look at the generation job, then try again.",
        )
    return job


def _progress(job: GenerationJob) -> dict[str, Any]:
    step, message = GenerationJob.objects.values_list("step", "message").get(pk=job.pk)
    return {"step": step, "message": message or "Sampling answers of both versions"}


def _can_go_on(job: GenerationJob) -> bool:
    return not job.arms.exclude(deployment__stage__in=CAN_ANSWER).exists()


def _start_sampling(evaluation: Evaluation, keeper: Keeper) -> GenerationJob:
    assert evaluation.against is not None and evaluation.prompt_set is not None
    served = [_served(version, evaluation, keeper) for version in (evaluation.model_version, evaluation.against)]
    options = dict(evaluation.options)
    if GenerationJob.objects.filter(key=options["job"]).exclude(evaluations=None).exists():
        options["job"] = new_key()  # the one before cannot go on: its models are gone
        Evaluation.objects.filter(pk=evaluation.pk, lease_token=keeper.token).update(options=options)
    job = start_generation(
        project=evaluation.project,
        prompt_set=evaluation.prompt_set,
        selection={"split": "holdout", "n": options["n_prompts"]},
        arms=[{"deployment": deployment, "sampling": options["sampling"]} for deployment in served],
        n_answers=options["n_answers"],
        seed=options["seed"],
        by=evaluation.requested_by,
        key=options["job"],
    )
    Evaluation.objects.filter(pk=evaluation.pk).update(job=job)
    evaluation.refresh_from_db()
    return job


def _served(version: ModelVersion, evaluation: Evaluation, keeper: Keeper) -> Deployment:
    """Where this version can be sampled, loading it beside the live one if need be: the policy's alias does not move."""
    end = time.monotonic() + WAIT_SECONDS
    keeper.beat(message=f"Loading {version}")
    while (there := serving(version, evaluation.project)) is None:
        deployment = _stage(version, evaluation)
        if deployment is not None:
            keeper.while_beating(partial(run_deployment_job, deployment.pk))
            deployment.refresh_from_db()
        if deployment is not None and deployment.stage == Deployment.Stage.FAILED:
            raise DomainError(
                f"{version} could not be loaded: {deployment.error}", how="See the deployment, then try again."
            )
        if time.monotonic() > end:
            raise DomainError(
                f"{version} was not served within {WAIT_SECONDS / 60:.0f} minutes.",
                how="Check the endpoint, then try again.",
            )
        if serving(version, evaluation.project) is None:
            keeper.beat(message=(deployment and deployment.message) or f"Waiting to load {version}")
            time.sleep(PAUSE_SECONDS)
    return there


def _stage(version: ModelVersion, evaluation: Evaluation) -> Deployment | None:
    """The deployment that loads this version; None while another one is on its way there, which passes."""
    try:
        return stage_for_evaluation(version=version, project=evaluation.project, by=evaluation.requested_by)
    except Conflict:
        return None


def _candidates(job: GenerationJob) -> QuerySet[Candidate]:
    return (
        Candidate.objects.filter(arm__job=job)
        .select_related("arm", "prompt")
        .order_by("prompt__content_sha256", "arm__number", "index")
    )


Side = dict[str, list[tuple[Candidate, float]]]


def _sides(evaluation: Evaluation, candidates: Sequence[Candidate], scores: Sequence[float]) -> tuple[Side, Side]:
    """Prompt key -> its answers with their scores, of the new version and of the old."""
    new: Side = defaultdict(list)
    old: Side = defaultdict(list)
    for candidate, value in zip(candidates, scores, strict=True):
        side = new if candidate.arm.model_version_id == evaluation.model_version_id else old
        side[candidate.prompt.key].append((candidate, value))
    return new, old


def _by_utility(evaluation: Evaluation, candidates: Sequence[Candidate]) -> tuple[list[float], dict[str, Any]]:
    """The simulated people's preference without its noise, and how often each version is right and polite."""
    scores: list[float] = []
    found: dict[bool, list[simulated.Features]] = {True: [], False: []}
    for candidate in candidates:
        features = simulated.features(
            candidate.prompt.last_turn,
            candidate.text,
            truncated=candidate.finish_reason == "length",
            reference=candidate.prompt.reference or None,
        )
        scores.append(simulated.FIXED.utility(features))
        found[candidate.arm.model_version_id == evaluation.model_version_id].append(features)
    names = ("acceptable", "polite", "rude", "rambling", "refusal")
    traits = {
        name: {
            "new": _share([getattr(f, name) for f in found[True]]),
            "old": _share([getattr(f, name) for f in found[False]]),
        }
        for name in names
    }
    return scores, {"traits": traits}


def _share(flags: Sequence[bool]) -> float | None:
    return round(sum(flags) / len(flags), 4) if flags else None


def _style(evaluation: Evaluation, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """What a judge may be swayed by: length, and answers that were cut off. Also how many answers are the same."""
    sides: dict[str, list[Candidate]] = {"new": [], "old": []}
    for candidate in candidates:
        is_new = candidate.arm.model_version_id == evaluation.model_version_id
        sides["new" if is_new else "old"].append(candidate)
    return {
        "n_answers": {name: len(side) for name, side in sides.items()},
        "words": {
            name: round(sum(len(c.text.split()) for c in side) / len(side), 2) if side else None
            for name, side in sides.items()
        },
        "cut_off": {name: _share([c.finish_reason == "length" for c in side]) for name, side in sides.items()},
        "distinct": {
            name: round(len({(c.prompt_id, c.text_sha256) for c in side}) / len(side), 4) if side else None
            for name, side in sides.items()
        },
    }


def _examples(prompts: Sequence[str], new: Side, old: Side) -> dict[str, Any]:
    """Where the new version gained and lost most, as keys of candidates: the first answer of each, so none is picked."""
    gaps = [(new[key][0][1] - old[key][0][1], key) for key in prompts]
    gaps.sort(key=lambda pair: (pair[0], sha256_hex(pair[1])))
    chosen = gaps[-N_EXAMPLES:][::-1] + [pair for pair in gaps[:N_EXAMPLES] if pair not in gaps[-N_EXAMPLES:]]
    return {
        "examples": [
            {"new": new[key][0][0].key, "old": old[key][0][0].key, "gap": round(gap, 4)} for gap, key in chosen if gap
        ]
    }
