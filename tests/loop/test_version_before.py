"""From the second round on, a share of the tasks pits the round's policy against the one before it."""

import pytest

from annotation.assign import next_assignment
from annotation.building import build_tasks
from annotation.models import Campaign, ComparisonTask
from core.errors import DomainError
from core.jobs import JobStatus
from generation.models import Deployment, GenerationJob, ModelVersion
from loop.board import board_of
from loop.models import Round, RoundStep
from loop.rounds import advance_round, comparison_job, evaluations_of, take_step, version_before
from tests.annotation.builders import judge, make_annotator, make_candidates
from tests.loop.builders import World
from training.models import Evaluation

pytestmark = pytest.mark.django_db
Stage = RoundStep.Stage


def second_round(world: World, **plan) -> tuple[Round, ModelVersion]:
    """A round that begins from what the first one made; the base is still loaded, as it is after a deployment."""
    first = world.round()
    version = world.trained(first)
    deployment = world.deployed(version)
    Deployment.objects.filter(pk=deployment.pk).update(live_at=deployment.created_at)
    RoundStep.objects.create(round=first, stage=Stage.DEPLOY, deployment=deployment)
    assert advance_round(first)
    return world.round(**plan), version


def answered(job: GenerationJob, word: str) -> None:
    arm = job.arms.get()
    for pk in job.prompt_ids:
        prompt = arm.job.prompt_set.prompts.get(pk=pk)
        make_candidates(arm, prompt, [f"{word} one to {prompt.key}", f"{word} other to {prompt.key}"])
    GenerationJob.objects.filter(pk=job.pk).update(status=JobStatus.SUCCEEDED, step=2 * len(job.prompt_ids))


def opened(world: World, round_: Round) -> Campaign:
    step = take_step(round_=round_, stage=Stage.GENERATE, by=world.ravi)
    assert step.job is not None
    answered(step.job, "new")
    comparison = comparison_job(round_)
    if comparison is not None:
        answered(comparison, "old")
    campaign = take_step(round_=round_, stage=Stage.ANNOTATE, by=world.ravi).campaign
    assert campaign is not None
    build_tasks(campaign)
    campaign.refresh_from_db()
    return campaign


def cards(world: World, round_: Round) -> dict[str, str]:
    found = board_of(round_, user=world.ravi, membership=world.project.memberships.get(user=world.ravi))
    return {card.stage: card.did for card in found.cards}


def test_the_version_before_answers_the_held_out_prompts_of_the_round_and_no_other():
    world = World(n_prompts=60)
    round_, version = second_round(world)
    assert version_before(round_) == world.base
    step = take_step(round_=round_, stage=Stage.GENERATE, by=world.ravi)
    comparison = comparison_job(round_)
    assert step.job is not None and comparison is not None
    assert comparison.arms.get().model_version == world.base and step.job.arms.get().model_version == version
    held_out = [p.pk for p in world.prompts if p.split == "holdout"]
    assert set(comparison.prompt_ids) == set(held_out) & set(step.job.prompt_ids) != set()
    assert comparison.arms.get().sampling == step.job.arms.get().sampling


def test_a_first_round_and_a_plan_without_it_compare_nothing():
    world = World(n_prompts=60)
    first = world.round()
    take_step(round_=first, stage=Stage.GENERATE, by=world.ravi)
    assert comparison_job(first) is None and first.steps.count() == 1
    other = World(n_prompts=60)
    round_, _ = second_round(other, regression_share=0.0)
    assert opened(other, round_).regression_share == 0
    assert comparison_job(round_) is None


def test_a_version_that_is_no_longer_served_is_not_waited_for():
    world = World(n_prompts=60)
    round_, _ = second_round(world)
    Deployment.objects.filter(model_version=world.base).update(stage="retired")
    take_step(round_=round_, stage=Stage.GENERATE, by=world.ravi)
    assert comparison_job(round_) is None


def test_judging_waits_for_both_and_then_compares_a_share():
    world = World(n_prompts=100)
    round_, version = second_round(world, n_judgements=60, regression_share=0.1)
    step = take_step(round_=round_, stage=Stage.GENERATE, by=world.ravi)
    answered(step.job, "new")
    with pytest.raises(DomainError, match="still being written"):
        take_step(round_=round_, stage=Stage.ANNOTATE, by=world.ravi)
    found = board_of(round_, user=world.ravi, membership=world.project.memberships.get(user=world.ravi))
    assert next(card.state for card in found.cards if card.stage == Stage.GENERATE) == "running"
    answered(comparison_job(round_), "old")
    campaign = take_step(round_=round_, stage=Stage.ANNOTATE, by=world.ravi).campaign
    build_tasks(campaign)
    campaign.refresh_from_db()
    assert campaign.n_tasks == 60
    assert campaign.tasks.filter(chosen_why="regression").count() == 6
    assert campaign.pairing["new"] == version.key and campaign.pairing["old"] == world.base.key


def test_the_board_and_the_evaluation_say_how_the_two_compare():
    world = World(n_prompts=100)
    round_, version = second_round(world, n_judgements=400, regression_share=0.1)
    campaign = opened(world, round_)
    assert "tasks compare with the version before" in cards(world, round_)[Stage.ANNOTATE]
    ComparisonTask.objects.filter(campaign=campaign, chosen_why="regression").update(priority=10)
    ana = make_annotator(world.project)
    while (turn := next_assignment(ana, campaign)).task.chosen_why == "regression":
        texts = {slot.slot: slot.candidate.text for slot in turn.task.slots.select_related("candidate")}
        judge(turn, [1 if texts[slot].startswith("new") else 2 for slot in turn.display_order])
    assert "Against the version before: 1.00 [" in cards(world, round_)[Stage.ANNOTATE]
    world.trained(round_)
    from loop.rounds import _evaluate_comparison

    _evaluate_comparison(round_, world.ravi)
    made = Evaluation.objects.get()
    assert (made.judge, made.model_version, made.against, made.campaign) == ("people", version, world.base, campaign)
    assert made not in evaluations_of(round_)  # it is about what is live, and clears no gate


def test_a_rounds_campaign_asks_what_the_latest_one_asked():
    world = World(n_prompts=20)
    first = world.round()
    campaign = opened(world, first)
    Campaign.objects.filter(pk=campaign.pk).update(
        stage="closed",
        question="Which one is kinder?",
        strength_levels=3,
        protocol={"reasons": ["Tone"], "needs_reason": True},
        cap_per_day=7,
        audience={"people": [world.ravi.key]},
    )
    again = take_step(round_=first, stage=Stage.ANNOTATE, by=world.ravi).campaign
    assert again is not None and again.question == "Which one is kinder?" and again.strength_levels == 3
    assert again.protocol == {"reasons": ["Tone"], "needs_reason": True}
    assert again.cap_per_day == 7 and again.audience == {"people": [world.ravi.key]}
