"""The overlap of a campaign that runs: raised under people's hands, never lowered."""

import threading

import pytest
from django.db import connection

from accounts.models import AuditEvent
from annotation.assign import next_assignment
from annotation.campaigns import change_campaign, close_campaign, progress_of
from annotation.models import Annotator, Campaign, ComparisonTaskEvent
from annotation.overlap import may_be_raised, raise_overlap
from annotation.retire import retire_task
from core.errors import DomainError
from tests.annotation.builders import judge, make_annotator, make_campaign, make_people
from tests.annotation.checks import violations
from tests.annotation.test_campaign_pages import Desk, changed


def judge_all(annotator: Annotator, campaign: Campaign) -> int:
    n = 0
    while turn := next_assignment(annotator, campaign):
        judge(turn)
        n += 1
    return n


@pytest.mark.django_db
def test_complete_tasks_are_open_again_for_others_and_not_for_who_judged_them() -> None:
    campaign = make_campaign(n_tasks=4)
    ana, ben = make_people(campaign.project, 2)
    assert judge_all(ana, campaign) == 4 and next_assignment(ben, campaign) is None
    retire_task(campaign.tasks.order_by("pk")[0], by=None, note="Broken.")
    assert raise_overlap(campaign, 3, by=None)
    assert not raise_overlap(campaign, 3, by=None)  # a second click
    assert list(campaign.tasks.order_by("pk").values_list("status", "seats")) == [("retired", 1), *[("open", 3)] * 3]
    assert ComparisonTaskEvent.objects.filter(before="complete", after="open", note="overlap raised").count() == 3
    progress = progress_of(campaign)
    assert (progress.n_done, progress.n_wanted) == (4, 10)
    assert next_assignment(ana, campaign) is None
    cem = make_annotator(campaign.project, "Cem")
    assert judge_all(ben, campaign) == judge_all(cem, campaign) == 3
    assert progress_of(campaign).n_left == 0 and violations(campaign) == []


@pytest.mark.django_db
def test_it_is_not_lowered_and_not_raised_where_that_has_no_meaning() -> None:
    campaign = make_campaign(n_tasks=2, overlap=3)
    for overlap in (2, 0, 51):
        with pytest.raises(DomainError, match="can be raised"):
            change_campaign(campaign, options={"overlap": overlap}, by=None)
    assert "overlap" not in change_campaign(campaign, options={"overlap": 3, "name": "Same"}, by=None)
    Campaign.objects.filter(pk=campaign.pk).update(is_live=True)
    campaign.refresh_from_db()
    assert not may_be_raised(campaign)
    with pytest.raises(DomainError, match="cannot be changed"):
        raise_overlap(campaign, 4, by=None)
    Campaign.objects.filter(pk=campaign.pk).update(is_live=False)
    close_campaign(campaign, by=None)
    with pytest.raises(DomainError):
        raise_overlap(campaign, 4, by=None)


@pytest.mark.django_db
def test_a_researcher_raises_it_on_the_form() -> None:
    desk = Desk()
    campaign = make_campaign(desk.project, job=desk.job)
    assert changed(desk, campaign, overlap="2").overlap == 2
    assert AuditEvent.objects.get(action="campaign.overlap").detail == {"before": 1, "after": 2}
    form = desk.page(desk.url("change", campaign.key)).form(id="campaign-form")
    assert form is not None and form.fields["overlap"] == ["2"]
    refused = desk.client.post(desk.url("change", campaign.key), {**form.fields, "overlap": "1"})
    assert refused.status_code == 422 and "not lowered" in refused.content.decode()
    assert campaign.tasks.filter(seats=2).count() == campaign.n_tasks


@pytest.mark.django_db(transaction=True)
def test_people_judge_on_while_it_rises() -> None:
    campaign = make_campaign(n_tasks=12)
    people = make_people(campaign.project, 6)
    done: list[int] = []

    def work(annotator: Annotator) -> None:
        try:
            done.append(judge_all(annotator, campaign))
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[person]) for person in people]
    for thread in threads:
        thread.start()
    for overlap in (2, 4, 6):
        raise_overlap(campaign, overlap, by=None)
    for thread in threads:
        thread.join(120)
    for person in people:  # whoever found nothing in between comes back
        judge_all(person, campaign)
    progress = progress_of(campaign)
    assert (progress.n_done, progress.n_wanted) == (72, 72) and len(done) == 6
    assert violations(campaign) == []
