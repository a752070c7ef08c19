"""Statements of work add up what days hold, for those who pay and for the person."""

import datetime

import pytest

from annotation.models import Annotator, Place, Workday
from annotation.statements import HEADER, Period, last_days, last_month, row_of, statement_of, statements_of, this_month
from core.errors import DomainError
from tests.annotation.builders import make_annotator, make_campaign, make_project

pytestmark = pytest.mark.django_db
MARCH = Period(datetime.date(2026, 3, 1), datetime.date(2026, 3, 31))


def work(place: Place, day: int, month: int = 3, **counts) -> Workday:
    return Workday.objects.create(place=place, day=datetime.date(2026, month, day), **counts)


def make_place(annotator: Annotator, **columns) -> Place:
    campaign = make_campaign(annotator.project)
    for name, value in columns.items():
        setattr(campaign, name, value)
    campaign.save(update_fields=list(columns))
    return Place.objects.create(annotator=annotator, campaign=campaign)


def test_days_add_up_by_person_and_campaign_and_stay_in_their_period():
    project = make_project()
    ana, ben = make_annotator(project), make_annotator(project, "Ben")
    first, second, bens = make_place(ana, pay_per_hour=30.0), make_place(ana), make_place(ben)
    work(first, 1, n_judged=10, active_seconds=3600, open_seconds=4000)
    work(first, 31, n_judged=5, n_skipped=1, active_seconds=1800, open_seconds=1800)
    work(second, 31, n_practice=3, n_parked=2, n_returned=1, active_seconds=900, open_seconds=900)
    work(first, 1, month=4, n_judged=100)
    work(bens, 2, n_judged=7)
    made = {statement.annotator: statement for statement in statements_of(project, MARCH)}
    assert set(made) == {ana, ben}
    total = made[ana].total
    assert (total.n_judged, total.n_practice, total.n_skipped, total.n_parked, total.n_returned) == (15, 3, 1, 2, 1)
    assert (total.active_hours, total.open_hours) == (1.75, 1.86)
    assert made[ana].pay == 45.0  # 1.5 hours at 30; the other campaign has no rate
    assert made[ben].pay is None
    assert len(made[ana].lines) == 3
    assert sorted(line.work.n_judged for line in made[ana].campaigns) == [0, 15]
    assert statement_of(ana, MARCH) == made[ana]


def test_other_projects_and_simulated_people_are_left_out():
    project = make_project()
    ana = make_annotator(project)
    machine = Annotator.objects.create(project=project, pseudonym="machine", kind="simulated")
    work(make_place(ana), 1, n_judged=1)
    work(make_place(machine), 1, n_judged=1)
    work(make_place(make_annotator(make_project(), "Olga")), 1, n_judged=1)
    assert [statement.annotator for statement in statements_of(project, MARCH)] == [ana]


def test_a_row_has_a_cell_for_every_column():
    ana = make_annotator(make_project())
    work(make_place(ana, pay_per_hour=20.0), 1, n_judged=3, active_seconds=90, open_seconds=100)
    line = statement_of(ana, MARCH).lines[0]
    cells = dict(zip(HEADER, row_of(line), strict=True))
    assert cells["day"] == "2026-03-01" and cells["judgements"] == 3
    assert (cells["active_hours"], cells["rate_per_hour"], cells["active_hours_at_rate"]) == (0.03, 20.0, 0.5)


def test_periods():
    today = datetime.date(2026, 3, 15)
    assert this_month(today) == Period(datetime.date(2026, 3, 1), today)
    assert last_month(today) == Period(datetime.date(2026, 2, 1), datetime.date(2026, 2, 28))
    assert last_days(7, today) == Period(datetime.date(2026, 3, 9), today) and last_days(7, today).n_days == 7
    for first, last in ((MARCH.last, MARCH.first), (datetime.date(2020, 1, 1), MARCH.last)):
        with pytest.raises(DomainError):
            Period(first, last).check()
