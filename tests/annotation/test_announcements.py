"""Announcements are told to those they are for, confirmed by each, and withdrawn."""

import pytest

from accounts.models import Membership, Role
from annotation import announcements
from annotation.campaigns import close_campaign
from annotation.models import AnnouncementRead
from core.errors import Conflict, DomainError
from tests.annotation.builders import make_annotator, make_campaign, make_project, make_user

pytestmark = pytest.mark.django_db


class Hall:
    def __init__(self) -> None:
        self.project = make_project()
        self.campaign = make_campaign(self.project)
        self.ravi = make_user("Ravi", self.project, Role.RESEARCHER)
        self.ana = make_annotator(self.project)
        self.newcomer = make_user("Ben", self.project, Role.ANNOTATOR)  # has never judged here

    def announce(self, text: str = "Read **this**.", **options):
        return announcements.announce(project=self.project, text=text, by=self.ravi, **options)


def test_it_is_told_until_it_is_confirmed():
    hall = Hall()
    told = hall.announce()
    for annotator in (hall.ana, None):
        assert announcements.unread(hall.project, annotator, [hall.campaign]) == [told]
    for _ in range(2):
        announcements.confirm(announcement=told, annotator=hall.ana)
    assert announcements.unread(hall.project, hall.ana, [hall.campaign]) == []
    assert AnnouncementRead.objects.count() == 1


def test_one_for_a_campaign_is_told_to_those_who_judge_in_it():
    hall = Hall()
    told = hall.announce(campaign=hall.campaign)
    other = make_campaign(hall.project)
    assert announcements.unread(hall.project, hall.ana, [other]) == []
    assert announcements.unread(hall.project, hall.ana, [other, hall.campaign]) == [told]


def test_a_withdrawn_one_is_told_to_nobody_and_confirmed_by_nobody():
    hall = Hall()
    told = hall.announce()
    announcements.withdraw(announcement=told, by=hall.ravi)
    assert announcements.unread(hall.project, hall.ana, []) == []
    with pytest.raises(Conflict):
        announcements.confirm(announcement=told, annotator=hall.ana)


def test_the_lead_sees_who_has_read_it_and_who_has_not():
    hall = Hall()
    told = hall.announce()
    assert announcements.n_read_of(hall.project, [told]) == {told.pk: (0, 2)}
    announcements.confirm(announcement=told, annotator=hall.ana)
    readers = [(reader.annotator, reader.read_at is not None) for reader in announcements.readers_of(told)]
    assert readers == [(None, False), (hall.ana, True)]
    Membership.objects.filter(user=hall.ana.user).delete()  # who has left had read it all the same
    assert announcements.n_read_of(hall.project, [told]) == {told.pk: (1, 2)}
    assert len(announcements.readers_of(told)) == 2


def test_one_for_a_campaign_is_to_be_read_by_those_whom_the_campaign_is_for():
    hall = Hall()
    hall.campaign.audience = {"groups": ["doctors"]}
    hall.campaign.save(update_fields=["audience"])
    told = hall.announce(campaign=hall.campaign)
    assert announcements.readers_of(told) == [] and announcements.n_read_of(hall.project, [told]) == {told.pk: (0, 0)}
    Membership.objects.filter(user=hall.ana.user).update(groups=["doctors"])
    assert [reader.annotator for reader in announcements.readers_of(told)] == [hall.ana]


def test_what_cannot_be_announced_is_refused():
    hall = Hall()
    for text in ("  ", "x" * 10_001):
        with pytest.raises(DomainError):
            hall.announce(text)
    with pytest.raises(DomainError):
        hall.announce(campaign=make_campaign())
    close_campaign(hall.campaign, by=hall.ravi)
    with pytest.raises(DomainError):
        hall.announce(campaign=hall.campaign)
