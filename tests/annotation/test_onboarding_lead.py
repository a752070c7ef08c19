"""What a lead decides about a person on the way in, and what the page of it says."""

import pytest

from accounts.models import AuditEvent, User
from annotation.assign import next_assignment
from annotation.expiry import expire_leases
from annotation.judge import submit_judgement, undo_judgement
from annotation.models import Assignment, Place
from annotation.onboarding_lead import actions_for, decide, items_of, people_of, readiness_of
from annotation.practice import begin
from annotation.protocol import Said
from core.errors import Conflict
from tests.annotation.builders import make_user
from tests.annotation.checks import violations
from tests.annotation.test_practice import RIGHT, WRONG, new_place, walk, write_items

pytestmark = pytest.mark.django_db
Stage = Place.Stage


@pytest.fixture
def ravi() -> User:
    return make_user("Ravi")


def failed() -> Place:
    place = new_place(n_qualification=1, tries=1)
    write_items(place.campaign, qualification=3)
    walk(place, WRONG)
    assert place.stage == Stage.FAILED
    return place


def test_another_try_is_one_more_try_with_fresh_items(ravi: User) -> None:
    place = failed()
    decide(place, "try", by=ravi)
    place.refresh_from_db()
    assert place.stage == Stage.QUALIFICATION
    walk(place, WRONG)
    assert place.stage == Stage.FAILED
    decide(place, "try", by=ravi)
    place.refresh_from_db()
    walk(place, RIGHT)
    assert place.stage == Stage.NORMAL
    assert place.practice_answers.values("item").distinct().count() == 3
    (row,) = people_of(place.campaign)
    assert [result.is_passed for result in row.results] == [False, False, True]


def test_a_person_is_let_in(ravi: User) -> None:
    place = new_place(n_qualification=2)
    write_items(place.campaign, qualification=2)
    begin(place)
    decide(place, "let-in", by=ravi)
    assert next_assignment(place.annotator, place.campaign) is not None
    assert not place.practice_answers.exists()
    event = AuditEvent.objects.get(action="onboarding.stage")
    assert (event.user, event.detail["after"]) == (ravi, "normal")


def test_proof_is_asked_again_and_what_is_held_comes_free(ravi: User) -> None:
    place = new_place(n_qualification=1)
    write_items(place.campaign, qualification=2)
    walk(place, RIGHT)
    turn = next_assignment(place.annotator, place.campaign)
    assert turn is not None
    decide(place, "again", by=ravi)
    turn.refresh_from_db()
    place.refresh_from_db()
    assert (turn.status, place.stage, place.n_tries) == (Assignment.Status.RELEASED, Stage.QUALIFICATION, 0)
    walk(place, RIGHT)
    assert place.stage == Stage.NORMAL


def test_taken_off_means_at_once_and_put_back_where_one_was(ravi: User) -> None:
    place = new_place(n_qualification=1)
    write_items(place.campaign, qualification=1)
    walk(place, RIGHT)
    judged = next_assignment(place.annotator, place.campaign)
    submit_judgement(assignment_key=judged.key, annotator=place.annotator, said=Said("tie"))
    turn = next_assignment(place.annotator, place.campaign)
    decide(place, "off", by=ravi)
    assert next_assignment(place.annotator, place.campaign) is None
    for refused in (
        lambda: submit_judgement(assignment_key=turn.key, annotator=place.annotator, said=Said("tie")),
        lambda: undo_judgement(assignment_key=judged.key, annotator=place.annotator),
    ):
        with pytest.raises(Conflict):
            refused()
    place.refresh_from_db()
    assert actions_for(place) == ["on"]
    decide(place, "on", by=ravi)
    place.refresh_from_db()
    assert place.stage == Stage.NORMAL
    assert next_assignment(place.annotator, place.campaign) is not None
    assert violations(place.campaign) == []
    assert list(AuditEvent.objects.filter(action__startswith="onboarding.o").values_list("action", flat=True)) == [
        "onboarding.off",
        "onboarding.on",
    ]


def test_a_late_judgement_of_somebody_taken_off_does_not_count(ravi: User) -> None:
    place = new_place()
    turn = next_assignment(place.annotator, place.campaign)
    Assignment.objects.update(leased_until="2026-01-01T00:00Z")
    assert expire_leases() == 1
    decide(place, "off", by=ravi)
    with pytest.raises(Conflict):
        submit_judgement(assignment_key=turn.key, annotator=place.annotator, said=Said("tie"))


def test_the_tick_frees_what_somebody_off_the_campaign_still_holds() -> None:
    place = new_place()
    next_assignment(place.annotator, place.campaign)
    Place.objects.update(blocked_at="2026-01-01T00:00Z")
    assert expire_leases() == 1


@pytest.mark.parametrize("action", ["on", "again", "try", "nonsense"])
def test_what_makes_no_sense_is_refused(action: str, ravi: User) -> None:
    place = new_place(n_practice=1)
    with pytest.raises(Conflict):
        decide(place, action, by=ravi)


def test_the_page_says_what_is_missing() -> None:
    place = new_place(n_practice=3, n_qualification=2, tries=2)
    campaign = place.campaign
    ready = readiness_of(campaign)
    assert "2 of them are missing" in ready.stops[0]
    assert "there is none" in ready.warns[0]
    write_items(campaign, practice=3, qualification=3)
    ready = readiness_of(campaign)
    assert ready.stops == []
    assert "from try 2 on" in ready.warns[0] and "4 tasks would keep" in ready.warns[0]
    write_items(campaign, qualification=1)
    assert readiness_of(campaign).warns == []


def test_the_page_counts_answers_and_hides_names() -> None:
    place = new_place(n_practice=2)
    write_items(place.campaign, practice=2)
    walk(place, RIGHT, WRONG)
    assert [(row.n_answered, row.n_right) for row in items_of(place.campaign, "practice")] == [(1, 1), (1, 0)]
    (row,) = people_of(place.campaign)
    assert (row.name, row.n_practised) == ("", 2)
    assert people_of(place.campaign, with_names=True)[0].name == "Ana"
