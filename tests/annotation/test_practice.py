"""The walk: keys, practice, qualification with tries and fresh items, and what cannot be gamed by a reload."""

from itertools import pairwise
from typing import Any

import pytest

from annotation.assign import next_assignment
from annotation.keys_tasks import asks, keys_items, keys_tasks
from annotation.models import Campaign, Judgement, Place, PracticeAnswer, PracticeItem, Workday
from annotation.onboarding import Onboarding
from annotation.practice import answer, answered, begin, last_result, n_missing, place_of, practise_again, results_of
from annotation.practice_items import add_items, read_item
from annotation.protocol import Criterion, Protocol, Said
from core.errors import Conflict, DomainError
from tests.annotation.builders import make_annotator
from tests.annotation.test_onboarding import campaign_with

pytestmark = pytest.mark.django_db
Stage = Place.Stage
RIGHT, WRONG = Said("ranked", ranks=(1, 2)), Said("ranked", ranks=(2, 1))


def write_items(campaign: Campaign, *, practice: int = 0, qualification: int = 0) -> None:
    given = {"answers": ["good", "bad"], "accepted": ["a"], "reason": "Because."}
    uses = ["practice"] * practice + ["qualification"] * qualification
    add_items(
        campaign,
        [read_item(campaign, {**given, "use": use, "prompt": f"{use} {n}"}) for n, use in enumerate(uses)],
        by=None,
    )


def walk(place: Place, *said: Said) -> list[PracticeAnswer]:
    """Answer the items one after the other."""
    rows = []
    for each in said:
        row = begin(place)
        assert row is not None
        rows.append(answer(place, item_key=row.item.key, said=each))
    place.refresh_from_db()
    return rows


def new_place(**onboarding: Any) -> Place:
    campaign = campaign_with(**onboarding)
    return place_of(make_annotator(campaign.project), campaign)


def test_the_whole_way() -> None:
    place = new_place(keys=True, n_practice=2, n_qualification=2, probation=3)
    write_items(place.campaign, practice=3, qualification=2)
    assert place.stage == Stage.KEYS
    for _ in range(3):
        row = begin(place)
        assert row is not None
        place.refresh_from_db()
        answer(place, item_key=row.item.key, said=Said.parse(row.item.expected[0]))
    place.refresh_from_db()
    assert place.stage == Stage.PRACTICE
    practised = walk(place, RIGHT, WRONG)
    assert [row.is_right for row in practised] == [True, False]
    assert place.stage == Stage.QUALIFICATION
    walk(place, RIGHT, RIGHT)
    assert (place.stage, place.n_probation_left) == (Stage.PROBATION, 3)
    assert begin(place) is None
    assert next_assignment(place.annotator, place.campaign) is not None
    assert Workday.objects.get().n_practice == 7


def test_nothing_of_practice_is_a_judgement() -> None:
    place = new_place(n_practice=1)
    write_items(place.campaign, practice=1)
    walk(place, RIGHT)
    assert place.stage == Stage.NORMAL
    assert not Judgement.objects.exists()
    assert place.n_submitted == 0


def test_a_task_for_the_keys_is_done_when_it_is_right() -> None:
    place = new_place(keys=True)
    first = begin(place)
    assert first is not None
    wrong = Said("both_good")
    assert answer(place, item_key=first.item.key, said=wrong).answered_at is None
    assert begin(place) == first
    answer(place, item_key=first.item.key, said=Said.parse(first.item.expected[0]))
    assert begin(place) != first


PROTOCOL = Protocol(
    criteria=(Criterion("helpful", "Helpful", "rate", levels=5),), comment="required", reasons=("x",)
).stored()


@pytest.mark.parametrize(
    "columns",
    [
        {}, {"allow_tie": False, "allow_both_bad": False}, {"strength_levels": 4}, {"allow_both_good": True},
        {"kind": "rank"}, {"kind": "rank", "protocol": {"allow_rank_ties": False}}, {"kind": "rate", "protocol": PROTOCOL},
        {"protocol": PROTOCOL},
    ],
)  # fmt: skip
def test_three_tasks_teach_the_buttons_of_every_campaign(columns: dict[str, Any]) -> None:
    campaign = campaign_with(keys=True)
    for name, value in columns.items():
        setattr(campaign, name, value)
    campaign.save()
    assert len(keys_tasks(campaign)) == 3
    items = keys_items(campaign)
    assert keys_items(campaign) == items
    for item in items:
        reduced = asks(campaign, item)
        order = list(range(len(item.answers)))
        fields = Said.parse({"verdict": "ranked", **item.expected[0]}).to_fields(campaign=reduced, display_order=order)
        said = Said.from_fields(fields, campaign=reduced, display_order=order)  # can be said with this form alone
        assert said.verdict in ("ranked", "tie", "all_bad", "both_good")


def test_other_buttons_make_other_tasks() -> None:
    campaign = campaign_with(keys=True)
    before = keys_items(campaign)
    campaign.allow_tie = False
    campaign.save()
    after = keys_items(campaign)
    assert before[1] not in after
    assert campaign.practice_items.filter(use="keys", is_active=True).count() == 3


def test_a_campaign_that_rates_nothing_teaches_no_keys() -> None:
    campaign = campaign_with(keys=True)
    Campaign.objects.filter(pk=campaign.pk).update(kind="rate")
    place = place_of(make_annotator(campaign.project), Campaign.objects.get(pk=campaign.pk))
    assert begin(place) is None
    place.refresh_from_db()
    assert place.stage == Stage.NORMAL


def test_a_second_try_has_fresh_items_and_the_last_failure_ends_it() -> None:
    place = new_place(n_qualification=3, tries=2)
    write_items(place.campaign, qualification=6)
    first = walk(place, RIGHT, WRONG, WRONG)
    assert (place.stage, place.n_tries) == (Stage.QUALIFICATION, 1)
    result = last_result(place)
    assert result is not None and (result.n_right, result.n_items, result.n_to_pass, result.is_passed) == (
        1,
        3,
        3,
        False,
    )
    second = walk(place, RIGHT, RIGHT, WRONG)
    assert not {row.item_id for row in first} & {row.item_id for row in second}
    assert (place.stage, place.n_tries) == (Stage.FAILED, 2)
    with pytest.raises(Conflict):
        begin(place)
    assert [each.n_right for each in results_of(place)] == [2, 1]


def test_without_enough_fresh_items_those_seen_longest_ago_come_again() -> None:
    place = new_place(n_qualification=2, tries=4)
    write_items(place.campaign, qualification=3)
    tries = [{row.item_id for row in walk(place, WRONG, WRONG)} for _ in range(3)]
    assert all(len(each) == 2 for each in tries)
    for before, after in pairwise(tries):
        assert len(before & after) == 1  # one fresh (or longest unseen), one again
    assert len(tries[0] | tries[1]) == 3


def test_a_reload_shows_the_same_item_and_what_was_said_stays() -> None:
    place = new_place(n_qualification=3)
    write_items(place.campaign, qualification=9)
    first = begin(place)
    assert first is not None
    assert [begin(place) for _ in range(5)] == [first] * 5
    place.refresh_from_db()
    assert (place.n_tries, PracticeAnswer.objects.count()) == (1, 3)
    answer(place, item_key=first.item.key, said=WRONG)
    again = answer(place, item_key=first.item.key, said=RIGHT)  # the page from before, sent once more
    assert again.is_right is False and Said.parse(again.said) == WRONG
    other = PracticeAnswer.objects.filter(answered_at=None).order_by("-id")[0]
    with pytest.raises(Conflict):
        answer(place, item_key=other.item.key, said=RIGHT)  # not its turn


def test_the_order_of_a_try_is_drawn_anew() -> None:
    campaign = campaign_with(n_qualification=6)
    write_items(campaign, qualification=6)
    orders = set()
    for number in range(6):
        place = place_of(make_annotator(campaign.project, f"P{number}"), campaign)
        begin(place)
        orders.add(tuple(PracticeAnswer.objects.filter(place=place).order_by("id").values_list("item_id", flat=True)))
    assert len(orders) > 1  # 1 in 720 ** 5 to be one


def test_a_qualification_without_enough_items_lets_nobody_in() -> None:
    place = new_place(n_qualification=3)
    write_items(place.campaign, qualification=2)
    assert n_missing(place.campaign) == 1
    with pytest.raises(Conflict, match="not ready"):
        begin(place)
    place.refresh_from_db()
    assert (place.stage, place.n_tries) == (Stage.QUALIFICATION, 0)


def test_practice_without_items_is_left_out() -> None:
    place = new_place(n_practice=3)
    assert begin(place) is None
    place.refresh_from_db()
    assert place.stage == Stage.NORMAL


def test_one_may_practise_again_between_two_tries_only() -> None:
    place = new_place(n_practice=1, n_qualification=1)
    write_items(place.campaign, practice=2, qualification=2)
    first = walk(place, RIGHT)
    begin(place)
    with pytest.raises(Conflict):
        practise_again(place)
    walk(place, WRONG)
    practise_again(place)
    place.refresh_from_db()
    again = walk(place, RIGHT)
    assert again[0].item_id != first[0].item_id
    assert place.stage == Stage.QUALIFICATION
    walk(place, RIGHT)
    assert place.stage == Stage.NORMAL


def test_a_stage_that_the_campaign_drops_is_passed_over() -> None:
    place = new_place(n_qualification=1, probation=1)
    Campaign.objects.filter(pk=place.campaign_id).update(onboarding=Onboarding(probation=1).stored())
    assert begin(place) is None
    place.refresh_from_db()
    assert place.stage == Stage.PROBATION


def test_who_was_taken_off_goes_no_further() -> None:
    place = new_place(n_practice=1)
    write_items(place.campaign, practice=1)
    Place.objects.update(blocked_at="2026-01-01T00:00Z")
    with pytest.raises(Conflict):
        begin(place)


def test_only_answered_practice_shows_its_reason() -> None:
    place = new_place(n_practice=1, n_qualification=1)
    write_items(place.campaign, practice=1, qualification=1)
    row = begin(place)
    assert row is not None
    with pytest.raises(DomainError):
        answered(place, row.item.key)
    walk(place, RIGHT)
    assert answered(place, row.item.key).is_right
    asked = begin(place)
    assert asked is not None
    with pytest.raises(DomainError):
        answered(place, asked.item.key)
    walk(place, WRONG)
    with pytest.raises(DomainError):
        answered(place, asked.item.key)


def test_a_place_of_another_campaign_is_no_way_in() -> None:
    place = new_place(n_practice=1)
    write_items(place.campaign, practice=1)
    other = campaign_with(n_practice=1)
    write_items(other, practice=1)
    with pytest.raises(Conflict):
        answer(place, item_key=PracticeItem.objects.get(campaign=other).key, said=RIGHT)
