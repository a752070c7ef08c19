"""A reward model as an annotator: marked, left out of datasets unless asked for, never in a person's seat."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from annotation.models import Annotator, Assignment, Campaign, Judgement, RankedCandidate
from core.errors import Conflict, DomainError
from generation.models import Candidate, ModelVersion
from tests.annotation.builders import make_annotator, make_campaign, make_job, make_project
from training import machine_judge
from training.machine_judge import judge_by_reward_model
from training.previewing import preview

pytestmark = pytest.mark.django_db


@pytest.fixture
def lengths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The longer an answer, the better: scores without a process, and how many were asked at once."""
    asked_at_once: list[int] = []

    def score(model: ModelVersion, asked: Any, **_: Any) -> list[float]:
        asked_at_once.append(len(asked))
        return [float(len(answer)) for _, answer in asked]

    monkeypatch.setattr(machine_judge, "score", score)
    return asked_at_once


def make_reward(campaign: Campaign) -> ModelVersion:
    return ModelVersion.objects.create(project=campaign.project, slug="reward-1", kind="base", purpose="reward")


def make_ranking(n_tasks: int = 3) -> Campaign:
    project = make_project()
    job = make_job(project, n_prompts=n_tasks, n_answers=4)
    for candidate in Candidate.objects.filter(arm__job=job):
        Candidate.objects.filter(pk=candidate.pk).update(text="x" * (10 + (candidate.index * 7) % 4))
    return make_campaign(project, job=job, kind="rank", pairing={"pairs": "within", "n_answers": 4})


def test_every_task_is_ranked_by_score_under_the_rules_of_people(lengths):
    campaign = make_ranking()
    model = make_reward(campaign)
    told: list[tuple[int, int]] = []
    assert judge_by_reward_model(campaign=campaign, model=model, by=None, tell=lambda *now: told.append(now)) == 3
    assert told == [(1, 3), (2, 3), (3, 3)] and lengths == [12]
    for judgement in Judgement.objects.all():
        assert (judgement.source, judgement.verdict, judgement.is_unblinded) == ("ai", "ranked", False)
        by_rank = judgement.ranks.order_by("rank").values_list("rank", "candidate__text")
        assert [rank for rank, _ in by_rank] == [1, 2, 3, 4]
        assert [len(text) for _, text in by_rank] == [13, 12, 11, 10]
    annotator = Annotator.objects.get()
    assert (annotator.kind, annotator.user, annotator.external_id) == ("ai", None, model.key)
    assert judge_by_reward_model(campaign=campaign, model=model, by=None) == 0, "a second call finds nothing left"
    assert not Assignment.objects.exclude(status="submitted").exists()


def test_a_dataset_leaves_it_out_unless_it_is_asked_for(lengths):
    campaign = make_ranking()
    judge_by_reward_model(campaign=campaign, model=make_reward(campaign), by=None)
    without = preview(project=campaign.project, campaigns=[campaign])
    assert (without.n_judgements, [why[:2] for why in without.dropped]) == (0, [("ai", 3)])
    assert preview(project=campaign.project, campaigns=[campaign], selection={"with_ai": True}).n_judgements == 3


def test_where_the_worse_answer_is_asked_for_the_worse_is_chosen(lengths):
    campaign = make_campaign(chosen_is_worse=True)
    Candidate.objects.filter(index=0).update(text="much longer than the other answer")
    judge_by_reward_model(campaign=campaign, model=make_reward(campaign), by=None)
    assert not RankedCandidate.objects.filter(rank=1, candidate__text="much longer than the other answer").exists()


def test_it_takes_no_seat_of_people(lengths):
    campaign = make_campaign()
    from annotation.assign import next_assignment

    next_assignment(make_annotator(campaign.project), campaign)
    with pytest.raises(Conflict, match="a machine would take their seats"):
        judge_by_reward_model(campaign=campaign, model=make_reward(campaign), by=None)
    assert not Annotator.objects.filter(kind="ai").exists()


def test_only_a_reward_model_of_the_project_where_there_is_a_choice(lengths):
    campaign = make_campaign()
    model = make_reward(campaign)
    policy = ModelVersion.objects.create(project=campaign.project, slug="policy", kind="base")
    with pytest.raises(DomainError, match="policy is not a reward model"):
        judge_by_reward_model(campaign=campaign, model=policy, by=None)
    with pytest.raises(DomainError, match="another project"):
        judge_by_reward_model(campaign=make_campaign(), model=model, by=None)
    rating = make_campaign(
        campaign.project,
        kind="rate",
        protocol={"criteria": [{"name": "clear", "label": "C", "kind": "rate", "levels": 5}]},
    )
    with pytest.raises(DomainError, match="cannot rate"):
        judge_by_reward_model(campaign=rating, model=model, by=None)
    Campaign.objects.filter(pk=campaign.pk).update(stage="paused")
    with pytest.raises(Conflict, match="paused"):
        judge_by_reward_model(campaign=campaign, model=model, by=None)


def test_the_command_says_what_is_missing(lengths):
    campaign = make_campaign()
    for given, sentence in (
        (["--campaign", "x", "--model", "y"], "no campaign with that key"),
        (["--campaign", campaign.key, "--model", "y"], "There is no model 'y'"),
        (["--campaign", campaign.key, "--model", make_reward(campaign).slug, "--by", "z"], "There is no user 'z'"),
    ):
        with pytest.raises(CommandError, match=sentence):
            call_command("judge_with_reward_model", *given)
    out = StringIO()
    call_command("judge_with_reward_model", "--campaign", campaign.key, "--model", "reward-1", stdout=out)
    assert "reward-1 judged 3 tasks" in out.getvalue()


@pytest.mark.training
@pytest.mark.django_db(transaction=True)
def test_a_trained_reward_model_prefers_polite_answers(tmp_path: Path):
    from tests.training.bench import Bench
    from training.publish import store_final

    bench = Bench(tmp_path)
    assert bench.go(bench.spec("scorer", "reward", learning_rate=0.003, epochs=6)) == 0, bench.output("scorer")
    stored = store_final(tmp_path / "scorer", "reward")
    campaign = make_campaign()
    Candidate.objects.filter(index=0).update(text="What a silly question. Ask a cat.")
    Candidate.objects.filter(index=1).update(text="Happy to help! A cat may eat fish.")
    base = ModelVersion.objects.create(project=campaign.project, slug="start", kind="base", source=str(bench.base))
    model = ModelVersion.objects.create(
        project=campaign.project, slug="reward-1", kind=stored.facts.kind, purpose="reward", parent=base,
        artifact_sha256=stored.sha256,
    )  # fmt: skip
    assert judge_by_reward_model(campaign=campaign, model=model, by=None) == 3
    best = RankedCandidate.objects.filter(rank=1).values_list("candidate__text", flat=True)
    assert set(best) == {"Happy to help! A cat may eat fish."}
