"""What is taken out of a campaign is waited for no more, and what was said about it stays counted."""

import pytest

from accounts.models import Role
from annotation.assign import next_assignment
from annotation.campaigns import n_wanted_in, progress_of
from annotation.judge import void_judgement
from annotation.models import Campaign
from annotation.retire import retire_task
from tests.annotation.builders import judge, make_campaign, make_people, make_user
from tests.annotation.checks import violations

pytestmark = pytest.mark.django_db


def progress(campaign: Campaign) -> tuple[int, int]:
    campaign.refresh_from_db()
    found = progress_of(campaign)
    assert n_wanted_in([campaign]) == {campaign.pk: found.n_wanted}
    return found.n_done, found.n_wanted


def test_progress_is_whole_when_all_that_is_left_is_judged() -> None:
    campaign = make_campaign(n_tasks=3, overlap=2)
    ana, ben = make_people(campaign.project, 2)
    first = next_assignment(ana, campaign)
    assert first is not None
    said = judge(first)
    assert progress(campaign) == (1, 6)
    assert retire_task(first.task, by=None, note="Broken.")  # judged once: one judgement is not waited for
    assert progress(campaign) == (1, 5)
    second = next_assignment(ana, campaign)
    assert second is not None
    assert retire_task(second.task, by=None, note="Broken.")  # in somebody's hand
    assert not retire_task(second.task, by=None, note="Again.")
    assert progress(campaign) == (1, 3)
    for person in (ana, ben):
        last = next_assignment(person, campaign)
        assert last is not None
        judge(last)
    assert progress(campaign) == (3, 3)
    void_judgement(judgement=said, by=make_user("Rosa", campaign.project, Role.REVIEWER), reason="By mistake.")
    assert progress(campaign) == (2, 2)
    assert violations(campaign) == []
