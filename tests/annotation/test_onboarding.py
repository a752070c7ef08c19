"""The settings of the way in, its stages, and the end of a probation."""

from typing import Any

import pytest

from annotation.assign import next_assignment
from annotation.judge import submit_judgement, undo_judgement
from annotation.models import Annotator, Campaign, Judgement, Place
from annotation.onboarding import Onboarding, enter, first_stage, onboarding_of
from annotation.protocol import Said
from core.errors import Conflict, DomainError
from tests.annotation.builders import make_annotator, make_campaign

Stage = Place.Stage


def campaign_with(n_tasks: int = 5, **onboarding: Any) -> Campaign:
    campaign = make_campaign(n_tasks=n_tasks)
    Campaign.objects.filter(pk=campaign.pk).update(onboarding=Onboarding(**onboarding).stored())
    campaign.refresh_from_db()
    return campaign


@pytest.mark.parametrize(
    ("given", "stages"),
    [
        ({}, ["normal"]),
        ({"keys": True}, ["keys", "normal"]),
        ({"n_practice": 2, "probation": 9}, ["practice", "probation", "normal"]),
        (
            {"keys": True, "n_practice": 3, "n_qualification": 5, "probation": 1},
            ["keys", "practice", "qualification", "probation", "normal"],
        ),
    ],
)
def test_the_stages_are_those_that_are_asked(given: dict[str, Any], stages: list[str]) -> None:
    onboarding = Onboarding.parse(given)
    assert onboarding.stages == stages
    assert Onboarding.parse(onboarding.stored()) == onboarding
    assert [onboarding.after(stage) for stage in onboarding.stages[:-1]] == onboarding.stages[1:]


@pytest.mark.parametrize(
    "given",
    [{"n_practice": -1}, {"n_practice": True}, {"pass_mark": 0}, {"pass_mark": 80}, {"tries": 0}, {"keys": "yes"}, {"nonsense": 1},
     {"n_qualification": 51}, {"probation": 1.5}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(DomainError):
        Onboarding.parse(given)


@pytest.mark.parametrize(("n", "mark", "to_pass"), [(5, 0.8, 4), (3, 0.8, 3), (10, 0.7, 7), (1, 0.01, 1), (7, 1.0, 7)])
def test_the_pass_mark_is_rounded_up_and_never_by_rounding_errors(n: int, mark: float, to_pass: int) -> None:
    assert Onboarding(n_qualification=n, pass_mark=mark).n_to_pass == to_pass


@pytest.mark.django_db
def test_nobody_gets_a_task_before_the_way_in_is_behind_them() -> None:
    campaign = campaign_with(n_qualification=2)
    ana = make_annotator(campaign.project)
    assert next_assignment(ana, campaign) is None
    place = Place.objects.get(annotator=ana)
    assert place.stage == Stage.QUALIFICATION
    enter(place, Stage.NORMAL)
    assert next_assignment(ana, campaign) is not None


@pytest.mark.django_db
def test_simulated_people_need_no_way_in() -> None:
    campaign = campaign_with(keys=True)
    assert first_stage(campaign, Annotator(kind=Annotator.Kind.SIMULATED)) == Stage.NORMAL
    assert first_stage(campaign, Annotator(kind=Annotator.Kind.HUMAN)) == Stage.KEYS


@pytest.mark.django_db
def test_of_two_who_move_a_person_one_wins() -> None:
    campaign = campaign_with(n_qualification=2)
    next_assignment(make_annotator(campaign.project), campaign)
    first, second = Place.objects.get(), Place.objects.get()
    enter(first, Stage.FAILED)
    with pytest.raises(Conflict):
        enter(second, Stage.NORMAL)


def judge(ana: Annotator, campaign: Campaign) -> Judgement:
    turn = next_assignment(ana, campaign)
    assert turn is not None
    return submit_judgement(assignment_key=turn.key, annotator=ana, said=Said("tie"))


@pytest.mark.django_db
def test_probation_ends_by_itself_and_its_judgements_are_marked() -> None:
    campaign = campaign_with(probation=2)
    ana = make_annotator(campaign.project)
    judged = [judge(ana, campaign)]
    undo_judgement(assignment_key=judged[0].assignment.key, annotator=ana)  # does not count
    assert Place.objects.get().n_probation_left == 2
    judged = [judge(ana, campaign) for _ in range(3)]
    assert [judgement.is_probation for judgement in judged] == [True, True, False]
    assert Place.objects.get().stage == Stage.NORMAL


@pytest.mark.django_db
def test_settings_of_a_later_version_ask_what_is_known() -> None:
    assert onboarding_of(Campaign(onboarding={"keys": True, "songs": 3})) == Onboarding(keys=True)
