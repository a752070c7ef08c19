"""A day's work: added up, never lost between two at once, and without active time where a person wants none."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from accounts import preferences
from annotation import worktime
from annotation.models import Place, Workday
from tests.annotation.builders import make_annotator, make_campaign


def make_place() -> Place:
    campaign = make_campaign()
    return Place.objects.create(annotator=make_annotator(campaign.project), campaign=campaign)


@pytest.mark.django_db
def test_a_day_adds_up_in_one_row():
    place = make_place()
    worktime.note(place.pk, judged=1, active_seconds=35, open_seconds=60)
    worktime.note(place.pk, judged=1, active_seconds=5, open_seconds=5)
    worktime.note(place.pk, skipped=1, parked=1, practice=2, returned=1)
    day = Workday.objects.get()
    assert (day.n_judged, day.n_skipped, day.n_parked, day.n_practice, day.n_returned) == (2, 1, 1, 2, 1)
    assert (day.active_seconds, day.open_seconds) == (40, 65)


@pytest.mark.django_db
def test_the_row_of_today_costs_one_statement(django_assert_num_queries):
    place = make_place()
    worktime.note(place.pk, judged=1, active_seconds=5, open_seconds=5)
    with django_assert_num_queries(1):
        worktime.note(place.pk, judged=1, active_seconds=5, open_seconds=5)
    with django_assert_num_queries(0):
        worktime.note(place.pk)


@pytest.mark.django_db
def test_active_time_is_not_stored_for_someone_who_switched_it_off():
    place = make_place()
    preferences.change(place.annotator.user, is_active_time_on=False)
    worktime.note(place.pk, judged=1, active_seconds=35, open_seconds=60)
    worktime.note(place.pk, judged=1, active_seconds=35, open_seconds=60)
    day = Workday.objects.get()
    assert (day.n_judged, day.active_seconds, day.open_seconds) == (2, 0, 120)
    preferences.change(place.annotator.user, is_active_time_on=True)
    worktime.note(place.pk, active_seconds=35, open_seconds=60)
    assert Workday.objects.get().active_seconds == 35


@pytest.mark.django_db
@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -5.0, 1e12])
def test_times_that_make_no_sense_do_no_harm(seconds):
    place = make_place()
    for _ in range(2):
        worktime.note(place.pk, judged=1, active_seconds=seconds, open_seconds=seconds)
    day = Workday.objects.get()
    assert day.n_judged == 2
    assert 0 <= day.active_seconds <= worktime.DAY_SECONDS and 0 <= day.open_seconds <= worktime.DAY_SECONDS


@pytest.mark.django_db
def test_no_more_is_active_than_was_open():
    place = make_place()
    worktime.note(place.pk, active_seconds=600, open_seconds=60)
    assert Workday.objects.get().active_seconds == 60


@pytest.mark.django_db
def test_an_undo_is_counted_back_and_never_below_zero():
    place = make_place()
    worktime.note(place.pk, judged=1)
    for _ in range(3):
        worktime.note(place.pk, judged=-1)
    assert Workday.objects.get().n_judged == 0


@pytest.mark.django_db(transaction=True)
def test_first_notes_of_a_day_at_once_are_all_counted():
    place = make_place()

    def work(_: int) -> None:
        try:
            worktime.note(place.pk, judged=1, active_seconds=5, open_seconds=5)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as people:
        list(people.map(work, range(24)))
    day = Workday.objects.get()
    assert (day.n_judged, day.active_seconds) == (24, 120)
