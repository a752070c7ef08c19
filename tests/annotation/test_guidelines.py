"""Guidelines have versions: published, compared, confirmed; a judgement names the one it was made under."""

import pytest

from accounts.models import AuditEvent, Role
from annotation import guidelines
from annotation.campaigns import close_campaign
from annotation.models import Campaign, GuidelinesVersion, Place
from core.errors import Conflict, DomainError
from tests.annotation.builders import make_annotator, make_campaign, make_project, make_user

pytestmark = pytest.mark.django_db


class Stand:
    def __init__(self, text: str = "Be fair.") -> None:
        self.project = make_project()
        self.campaign: Campaign = make_campaign(self.project, guidelines=text)
        self.ravi = make_user("Ravi", self.project, Role.RESEARCHER)
        self.ana = make_annotator(self.project)

    def publish(self, text: str, note: str = "Said better.", **options) -> GuidelinesVersion:
        return guidelines.publish(self.campaign, text, note, self.ravi, **options)


def test_a_campaign_starts_with_version_one():
    stand = Stand()
    assert [(v.number, v.text) for v in guidelines.versions_of(stand.campaign)] == [(1, "Be fair.")]


def test_a_new_version_is_in_force_at_once_and_the_old_one_stays():
    stand = Stand()
    stand.publish("Be fair.\nBe quick.", "Speed matters too.", seen=1)
    stored = Campaign.objects.get()
    assert (stored.guidelines, stored.guidelines_version) == ("Be fair.\nBe quick.", 2)
    assert [v.number for v in guidelines.versions_of(stored)] == [2, 1]
    event = AuditEvent.objects.get(action="guidelines.publish")
    assert (event.user, event.detail) == (stand.ravi, {"version": 2})


def test_of_two_leads_who_write_at_once_the_second_is_told():
    stand = Stand()
    stand.publish("One.", seen=1)
    with pytest.raises(Conflict):
        stand.publish("Two.", seen=1)
    assert Campaign.objects.get().guidelines == "One."


def test_what_makes_no_version_is_refused():
    stand = Stand()
    for text, note in (("Be fair.  ", "The same"), ("New.", " "), ("x" * 60_001, "Long")):
        with pytest.raises(DomainError):
            stand.publish(text, note)
    close_campaign(stand.campaign, by=stand.ravi)
    with pytest.raises(DomainError):
        stand.publish("Late.")
    assert GuidelinesVersion.objects.count() == 1


def test_people_confirm_what_is_in_force_and_again_when_it_changes():
    stand = Stand()
    assert guidelines.needs_confirmation(None, stand.campaign)
    place = guidelines.confirm(stand.ana, stand.campaign, 1)
    assert not guidelines.needs_confirmation(place, stand.campaign)
    assert guidelines.unconfirmed_note(place, stand.campaign) == ""
    stand.publish("Be kind.", "Kindness first.")
    stand.publish("Be kind and fair.", "Fairness too.")
    assert guidelines.needs_confirmation(place, stand.campaign)
    assert guidelines.unconfirmed_note(place, stand.campaign) == "Kindness first. Fairness too."
    assert guidelines.n_confirmed(stand.campaign) == (0, 1)
    with pytest.raises(Conflict):
        guidelines.confirm(stand.ana, stand.campaign, 2)
    place = guidelines.confirm(stand.ana, stand.campaign, 3)
    assert not guidelines.needs_confirmation(place, stand.campaign)
    assert guidelines.n_confirmed(stand.campaign) == (1, 1)
    assert Place.objects.get().guidelines_version == 3


def test_without_a_text_there_is_nothing_to_confirm():
    stand = Stand("")
    assert not guidelines.needs_confirmation(None, stand.campaign)


def test_a_comparison_shows_what_changed_and_what_stands_around_it():
    before = "\n".join(f"Rule {n}" for n in range(10))
    after = before.replace("Rule 5", "Rule five\nRule five and a half")
    lines = [(line.kind, line.text) for line in guidelines.diff(before, after, around=1)]
    assert lines == [
        ("gap", ""),
        ("same", "Rule 4"),
        ("removed", "Rule 5"),
        ("added", "Rule five"),
        ("added", "Rule five and a half"),
        ("same", "Rule 6"),
        ("gap", ""),
    ]
    assert guidelines.diff("same", "same") == []
