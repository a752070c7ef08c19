import threading

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import AuditEvent, Role
from annotation.assign import next_assignment, skip_assignment
from annotation.building import build_tasks
from annotation.judge import submit_judgement
from annotation.models import Campaign
from annotation.people import annotator_for
from annotation.protocol import Said
from core.errors import Conflict, DomainError
from core.transitions import IllegalMove
from generation.models import Deployment, Endpoint, GenerationJob
from loop.board import board_of
from loop.models import Round, RoundStep
from loop.rounds import abandon_round, advance_round, gate_is_cleared, last_step, open_round, start_round, take_step
from tests.annotation.builders import make_model, make_user
from tests.loop.builders import World

pytestmark = pytest.mark.django_db
Stage = RoundStep.Stage


def board(world: World, round_: Round):
    round_.refresh_from_db()
    return board_of(round_, user=world.ravi, membership=world.project.memberships.get(user=world.ravi))


def card(world: World, round_: Round, stage: str):
    return next(card for card in board(world, round_).cards if card.stage == stage)


def judging(world: World, round_: Round) -> Campaign:
    """Take the round to its open campaign."""
    step = take_step(round_=round_, stage=Stage.GENERATE, by=world.ravi)
    world.generated(step.job)
    campaign = take_step(round_=round_, stage=Stage.ANNOTATE, by=world.ravi).campaign
    assert campaign is not None
    build_tasks(campaign)
    campaign.refresh_from_db()
    return campaign


def test_a_round_starts_from_what_is_live():
    world = World()
    assert world.round().policy_in == world.base
    with pytest.raises(Conflict):
        world.round()


def test_a_round_needs_a_model_and_prompts():
    world = World()
    Deployment.objects.all().delete()
    world.base.delete()
    with pytest.raises(DomainError, match="no model"):
        world.round()
    other = World()
    other.prompt_set.n_prompts = 0
    with pytest.raises(DomainError, match="empty"):
        other.round()


@pytest.mark.django_db(transaction=True)
def test_of_sixteen_people_who_start_a_round_one_starts_it():
    world = World()
    barrier, outcomes = threading.Barrier(16), []

    def work() -> None:
        barrier.wait()
        try:
            outcomes.append(world.round())
        except Conflict as problem:
            outcomes.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(outcome, Round) for outcome in outcomes) == 1
    assert len(outcomes) == 16
    assert Round.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_sixteen_clicks_on_generate_one_starts_a_job():
    world = World()
    round_ = world.round()
    barrier, outcomes = threading.Barrier(16), []

    def work() -> None:
        barrier.wait()
        try:
            outcomes.append(take_step(round_=round_, stage=Stage.GENERATE, by=world.ravi))
        except Conflict as problem:
            outcomes.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(outcome, RoundStep) for outcome in outcomes) == 1
    assert len(outcomes) == 16
    assert GenerationJob.objects.count() == 1


def test_generating_waits_for_the_engine_and_says_so():
    world = World()
    round_ = world.round()
    assert card(world, round_, Stage.GENERATE).state == "ready"
    Endpoint.objects.update(state="starting", state_message="Loading weights")
    waiting = card(world, round_, Stage.GENERATE)
    assert (waiting.state, waiting.waits_for) == ("running", "Loading weights")
    assert board(world, round_).next is None


def test_generating_is_refused_while_another_model_answers():
    world = World()
    round_ = world.round()
    world.deployed(make_model(world.project, "other"))
    with pytest.raises(DomainError, match="not served"):
        take_step(round_=round_, stage=Stage.GENERATE, by=world.ravi)
    assert last_step(round_, Stage.GENERATE) is None


def test_the_answers_are_judged_once_they_are_written():
    world = World()
    round_ = world.round()
    step = take_step(round_=round_, stage=Stage.GENERATE, by=world.ravi)
    with pytest.raises(DomainError, match="still being written"):
        take_step(round_=round_, stage=Stage.ANNOTATE, by=world.ravi)
    world.generated(step.job)
    campaign = take_step(round_=round_, stage=Stage.ANNOTATE, by=world.ravi).campaign
    assert list(campaign.jobs.all()) == [step.job]
    with pytest.raises(Conflict):
        take_step(round_=round_, stage=Stage.ANNOTATE, by=world.ravi)


def test_the_next_button_leads_an_annotating_researcher_to_the_answers():
    world = World()
    round_ = world.round()
    judging(world, round_)
    assert "/annotate/campaign/" in board(world, round_).next.url


def test_whoever_skipped_the_rest_alone_is_led_on_to_the_freeze():
    world = World(n_prompts=2)
    round_ = world.round()
    campaign, ravi = judging(world, round_), annotator_for(world.ravi, world.project)
    first = next_assignment(ravi, campaign)
    submit_judgement(assignment_key=first.key, annotator=ravi, said=Said("tie"))
    skipped = next_assignment(ravi, campaign)
    assert board(world, round_).next.label == "Judge answers"
    skip_assignment(assignment_key=skipped.key, annotator=ravi)
    assert board(world, round_).next.label == "Freeze with 1 judgement"
    make_user("Ana", world.project, Role.ANNOTATOR)  # now there is somebody who may still judge it
    assert board(world, round_).next is None


def test_nothing_is_frozen_before_anybody_judged():
    world = World()
    round_ = world.round()
    with pytest.raises(DomainError, match="Nobody has judged"):
        take_step(round_=round_, stage=Stage.DATASET, by=world.ravi)


def test_training_needs_a_frozen_dataset():
    world = World()
    round_ = world.round()
    for stage in (Stage.TRAIN, Stage.REWARD):
        with pytest.raises(DomainError, match="no frozen dataset"):
            take_step(round_=round_, stage=stage, by=world.ravi)


@pytest.mark.parametrize("outcome", ["worse", "unclear", "none"])
def test_without_a_win_a_deployment_needs_a_note(outcome):
    world = World()
    round_ = world.round()
    world.evaluated(round_, world.trained(round_), outcome)
    assert not gate_is_cleared(round_)
    deploy = card(world, round_, Stage.DEPLOY)
    assert deploy.actions[0].needs_note
    with pytest.raises(DomainError, match="No evaluation says"):
        take_step(round_=round_, stage=Stage.DEPLOY, by=world.ravi, note="  ")


def test_a_win_opens_the_gate():
    world = World()
    round_ = world.round()
    world.evaluated(round_, world.trained(round_), "better")
    assert gate_is_cleared(round_)
    assert not card(world, round_, Stage.DEPLOY).actions[0].needs_note


def test_a_win_of_an_earlier_attempt_does_not_open_the_gate_for_a_later_one():
    world = World()
    round_ = world.round()
    first = world.trained(round_)
    world.evaluated(round_, first, "better")
    run = last_step(round_, Stage.TRAIN).run
    run.pk, run.key, run.produced = None, "another", None
    run.save(force_insert=True)
    RoundStep.objects.create(round=round_, stage=Stage.TRAIN, attempt=2, run=run)
    assert not gate_is_cleared(round_)


def test_a_round_is_complete_once_its_policy_is_live_and_the_next_starts_from_it():
    world = World()
    round_ = world.round()
    version = world.trained(round_)
    deployment = world.deployed(version, stage=Deployment.Stage.CHECKING)
    RoundStep.objects.create(round=round_, stage=Stage.DEPLOY, deployment=deployment)
    assert not advance_round(round_)
    Deployment.objects.filter(pk=deployment.pk).update(stage=Deployment.Stage.LIVE, live_at=timezone.now())
    assert advance_round(round_)
    assert not advance_round(round_)
    round_.refresh_from_db()
    assert (round_.status, round_.policy_out) == (Round.Status.COMPLETE, version)
    assert world.round().policy_in == version


def test_a_round_is_complete_even_if_its_policy_was_rolled_back_before_the_tick():
    world = World()
    round_ = world.round()
    version = world.trained(round_)
    deployment = world.deployed(version, stage=Deployment.Stage.DRAINING)
    Deployment.objects.filter(pk=deployment.pk).update(live_at=timezone.now())
    RoundStep.objects.create(round=round_, stage=Stage.DEPLOY, deployment=deployment)
    assert advance_round(round_)
    assert round_.policy_out == version


def test_a_round_that_is_given_up_keeps_what_it_made_and_makes_room():
    world = World()
    round_ = world.round()
    take_step(round_=round_, stage=Stage.GENERATE, by=world.ravi)
    abandon_round(round_=round_, note="Wrong prompts", by=world.ravi)
    assert open_round(world.project) is None
    assert GenerationJob.objects.count() == 1
    with pytest.raises(DomainError, match="is abandoned"):
        take_step(round_=round_, stage=Stage.ANNOTATE, by=world.ravi)
    with pytest.raises(IllegalMove):
        abandon_round(round_=round_, note="again", by=world.ravi)
    assert (
        start_round(project=world.project, prompt_set=world.prompt_set, plan=_plan(round_), by=world.ravi).number == 2
    )


def _plan(round_: Round):
    from loop.rounds import plan_of

    return plan_of(round_)


def test_models_are_unnamed_until_a_reveal_or_the_close():
    world = World()
    round_ = world.round()
    campaign = judging(world, round_)
    assert not board(world, round_).is_revealed
    Campaign.objects.filter(pk=campaign.pk).update(stage=Campaign.Stage.CLOSED)
    assert board(world, round_).is_revealed


def test_every_step_leaves_an_audit_row():
    world = World()
    round_ = world.round()
    take_step(round_=round_, stage=Stage.GENERATE, by=world.ravi)
    actions = list(AuditEvent.objects.filter(project=world.project).values_list("action", flat=True))
    assert {"round.start", "round.generate"} <= set(actions)
