"""New against old: tasks that measure a version against the one before, and enter no dataset."""

from itertools import pairwise

import pytest

from annotation.assign import next_assignment
from annotation.campaigns import start_campaign
from annotation.models import Campaign, ComparisonTask, Judgement
from annotation.regression import new_against_old_of
from core.errors import DomainError
from generation.models import GenerationJob, ModelVersion, Prompt
from tests.annotation.builders import (
    judge,
    make_annotator,
    make_campaign,
    make_job,
    make_model,
    make_project,
    make_prompts,
)
from training.previewing import preview

pytestmark = pytest.mark.django_db


def two_versions(n_prompts: int = 60, n_answers: int = 2) -> tuple[GenerationJob, ModelVersion, ModelVersion]:
    """A job with answers by a version and by the one that it was made from."""
    project = make_project()
    old = make_model(project, "old")
    new = ModelVersion.objects.create(project=project, slug="new", kind="adapter", parent=old, artifact_sha256="a" * 64)
    prompts = make_prompts(project, n_prompts)
    return make_job(project, prompts=prompts, n_answers=n_answers, models=[old, new]), new, old


def with_regression(share: float = 0.2, **fields) -> Campaign:
    job, _, _ = two_versions(**{name: fields.pop(name) for name in ("n_prompts", "n_answers") if name in fields})
    return make_campaign(job.project, job=job, regression_share=share, **fields)


def regression(campaign: Campaign):
    return campaign.tasks.filter(chosen_why="regression")


def test_a_share_of_the_tasks_pits_the_new_version_against_its_parent_on_held_out_prompts():
    campaign = with_regression(0.1, n_prompts=80)
    n_regression = regression(campaign).count()
    assert n_regression == round(0.1 * campaign.n_tasks) > 0
    for task in regression(campaign):
        assert task.prompt.split == Prompt.Split.HOLDOUT
        versions = {candidate.arm.model_version.slug for candidate in task.candidates.select_related("arm")}
        assert versions == {"new", "old"}
    assert (
        regression(campaign).values("prompt").distinct().count() == n_regression
    )  # one a prompt while there are prompts


def test_the_old_versions_answers_are_there_for_nothing_else():
    campaign = with_regression(0.1)
    others = campaign.tasks.exclude(chosen_why="regression")
    assert others.exists()
    assert not others.filter(candidates__arm__model_version__slug="old").exists()


def test_a_share_of_all_asks_nothing_else_and_a_share_of_none_asks_none():
    assert not with_regression(1.0).tasks.exclude(chosen_why="regression").exists()
    assert not regression(with_regression(0.0)).exists()


def test_the_limit_on_tasks_holds_with_the_share():
    campaign = with_regression(0.25, pairing={"max_tasks": 16})
    assert campaign.n_tasks == 16
    assert regression(campaign).count() == 4


def test_versions_must_have_answered():
    project = make_project()
    with pytest.raises(DomainError, match="no version and one before"):
        make_campaign(project, job=make_job(project), regression_share=0.1)
    job, new, _ = two_versions(4)
    with pytest.raises(DomainError, match="two versions"):
        start_campaign(
            project=job.project, name="x", jobs=[job], pairing={"new": new.key, "old": "nowhere"}, by=None,
            options={"regression_share": 0.5},
        )  # fmt: skip


def test_its_judgements_enter_no_training_data_and_no_test_data():
    campaign = with_regression(0.5, n_prompts=40)
    ana = make_annotator(campaign.project)
    while turn := next_assignment(ana, campaign):
        judge(turn)
    seen = preview(project=campaign.project, campaigns=[campaign])
    n_regression = regression(campaign).count()
    assert n_regression > 0 and Judgement.objects.count() == campaign.n_tasks
    assert seen.n_judgements == campaign.n_tasks - n_regression
    assert ("regression", n_regression) in [(reason, n) for reason, n, _, _ in seen.dropped]


def test_the_win_rate_counts_prompts_and_turns_round_where_the_worse_is_chosen():
    campaign = with_regression(1.0, n_prompts=80)
    ana = make_annotator(campaign.project)
    n_judged = 0
    while turn := next_assignment(ana, campaign):
        by_slot = {slot.slot: slot.candidate.arm.model_version.slug for slot in turn.task.slots.all()}
        best = 0 if n_judged % 4 else 1  # the new one wins three of four
        ranks = [1 if (by_slot[slot] == "new") == (best == 0) else 2 for slot in turn.display_order]
        judge(turn, ranks)
        n_judged += 1
    found = new_against_old_of(campaign)
    assert found is not None
    assert (found.new.slug, found.old.slug, found.n_judgements) == ("new", "old", n_judged)
    assert found.people.value == pytest.approx(found.wins / n_judged, abs=0.2) and found.wins > found.losses
    assert found.people.value is not None
    assert found.people.low < found.people.value < found.people.high
    Campaign.objects.update(chosen_is_worse=True)
    campaign.refresh_from_db()
    flipped = new_against_old_of(campaign)
    assert flipped is not None and (flipped.wins, flipped.losses) == (found.losses, found.wins)


def test_a_campaign_without_it_has_no_win_rate():
    assert new_against_old_of(make_campaign()) is None


def test_nothing_that_an_annotator_sees_tells_such_a_task_from_others():
    campaign = with_regression(0.5)
    lines = sorted(campaign.tasks.values_list("line", "chosen_why"))
    reasons = [why for _, why in lines]
    # Mixed in line: neither kind stands in one block.
    assert sum(one != two for one, two in pairwise(reasons)) > len(reasons) / 4
    assert not ComparisonTask.objects.exclude(priority=0).exists()
