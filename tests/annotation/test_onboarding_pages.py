"""The pages of the way in, without JavaScript and as fragments: what each shows, what it refuses, what it never says."""

import re
from typing import Any

import pytest
from django.test import Client

from accounts.models import Role
from annotation.models import Campaign, Place, PracticeAnswer
from annotation.onboarding import Onboarding
from annotation.people import annotator_for
from annotation.practice_items import add_item, read_item
from tests.accounts.builders import HTMX
from tests.annotation.builders import make_campaign, make_user
from tests.annotation.test_practice import write_items

pytestmark = pytest.mark.django_db


class Person:
    """Somebody at a browser without JavaScript, at one campaign."""

    def __init__(self, campaign: Campaign, name: str = "Ana", *roles: Role) -> None:
        self.campaign, self.user = campaign, make_user(name, campaign.project, *(roles or (Role.ANNOTATOR,)))
        self.client = Client()
        self.client.force_login(self.user)
        self.root = f"/p/{campaign.project.slug}/annotate/campaign/{campaign.key}/"

    @property
    def place(self) -> Place:
        return Place.objects.get(annotator=annotator_for(self.user, self.campaign.project), campaign=self.campaign)

    def get(self, below: str = "way-in/") -> str:
        response = self.client.get(self.root + below, follow=True)
        assert response.status_code == 200
        return response.content.decode()

    def post(self, below: str = "way-in/", **data: Any) -> Any:
        return self.client.post(self.root + below, data, follow=True)

    def begin(self) -> str:
        """Press the button of the overview; the address of the item at hand, below the campaign's."""
        page = self.get()
        confirms = re.search(r'name="confirms" value="(\d+)"', page)
        response = self.post(**({"confirms": confirms[1]} if confirms else {}))
        assert response.status_code == 200
        return response.wsgi_request.path.removeprefix(self.root)

    def say(self, item: str, *, right: bool) -> Any:
        order = PracticeAnswer.objects.filter(item__key=item.split("/")[1]).order_by("-id")[0].display_order
        best = "ab"[order.index(0)]
        return self.post(item, choice=best if right else "ba"["ab".index(best)])


def campaign_with(practice: int = 0, qualification: int = 0, guidelines: str = "", **onboarding: Any) -> Campaign:
    campaign = make_campaign(guidelines=guidelines)
    Campaign.objects.filter(pk=campaign.pk).update(onboarding=Onboarding(**onboarding).stored())
    campaign.refresh_from_db()
    write_items(campaign, practice=practice, qualification=qualification)
    return campaign


def test_the_whole_way_without_javascript() -> None:
    campaign = campaign_with(2, 4, "# Be fair", keys=True, n_practice=2, n_qualification=2, pass_mark=1.0, probation=5)
    ana = Person(campaign)
    page = ana.get("")  # the start page leads here
    assert "The way to your work" in page and "Be fair" in page
    assert not Place.objects.exists()
    item = ana.begin()
    for _ in range(3):
        page = ana.get(item)
        assert "Here the answer is" in page
        row = PracticeAnswer.objects.get(item__key=item.split("/")[1])
        expected = row.item.expected[0]
        letter = "ab"[row.display_order.index(0)]
        said = {"ranked": letter, "tie": "tie", "all_bad": "both_bad"}[expected["verdict"]]
        wrong = ana.post(item, choice="tie" if said != "tie" else "a")
        assert wrong.status_code == 422 and b"Not this one" in wrong.content
        item = ana.post(item, choice=said).wsgi_request.path.removeprefix(ana.root)
    assert item == "way-in/"
    first = ana.begin()
    page = ana.say(first, right=False).content.decode()
    assert "Not what is meant here." in page and "Because." in page and "Right is:" in page
    second = ana.begin()
    assert "Right." in ana.say(second, right=True).content.decode()
    assert "The qualification" in ana.get()
    for _ in range(2):
        page = ana.say(ana.begin(), right=False).content.decode()
    assert "Not passed yet" in page and "0 of 2 were right" in page and "1 try left" in page
    for _ in range(2):
        page = ana.say(ana.begin(), right=True).content.decode()
    assert "You passed: 2 of 2 right." in page and "Your next 5 judgements" in page
    assert ana.place.stage == "probation"
    assert "Start judging" in ana.get("")


def test_the_qualification_says_nothing_before_its_end() -> None:
    ana = Person(campaign_with(0, 2, n_qualification=2))
    item = ana.begin()
    page = ana.say(item, right=True).content.decode()
    for word in ("Right", "Because.", "not what is meant", "is-chosen"):
        assert word not in page
    assert "The result comes at the end." in page
    assert "Qualification" in ana.get(item)  # an earlier item leads back to the overview
    assert "Because." not in ana.get(item)


def test_an_item_says_nothing_of_what_is_right() -> None:
    ana = Person(campaign_with(1, 0, n_practice=1))
    page = ana.get(ana.begin())
    assert "Because." not in page and "expected" not in page and "is_right" not in page
    assert PracticeAnswer.objects.get().display_order in ([0, 1], [1, 0])


def test_fragments_come_with_their_address() -> None:
    ana = Person(campaign_with(2, 0, n_practice=2))
    response = ana.client.post(ana.root + "way-in/", headers=HTMX)
    assert response.status_code == 200 and b"<html" not in response.content
    address = response.headers["HX-Replace-Url"]
    assert address.startswith(ana.root + "practice/")
    response = ana.client.post(address, {"choice": "a"}, headers=HTMX)
    assert b"Go on" in response.content and response.headers["HX-Replace-Url"] == address


def test_nothing_chosen_is_pointed_at() -> None:
    ana = Person(campaign_with(1, 0, n_practice=1))
    response = ana.post(ana.begin())
    assert response.status_code == 422 and b"Choose one" in response.content


def test_guidelines_come_first() -> None:
    ana = Person(campaign_with(1, 0, "# Be fair", n_practice=1))
    assert ana.post().status_code == 409
    assert not PracticeAnswer.objects.exists()
    assert ana.post(confirms="1").status_code == 200
    assert ana.place.guidelines_version == 1
    assert PracticeAnswer.objects.count() == 1


def test_what_is_not_ready_is_said() -> None:
    ana = Person(campaign_with(0, 1, n_qualification=2))
    assert "not ready yet" in ana.get()
    assert ana.post().status_code == 409


def test_no_task_is_given_past_the_way_in() -> None:
    ana = Person(campaign_with(1, 0, n_practice=1))
    response = ana.client.post(ana.root, follow=True)
    assert "way-in" in response.wsgi_request.path
    assert b"data-judge" not in response.content


def test_no_tries_left() -> None:
    ana = Person(campaign_with(0, 1, n_qualification=1, tries=1))
    page = ana.say(ana.begin(), right=False).content.decode()
    assert "You have used all your tries." in page and 'method="post" action="' + ana.root not in page
    assert ana.post().status_code == 409


def test_who_was_taken_off_reads_so() -> None:
    ana = Person(campaign_with(0, 0))
    ana.client.post(ana.root)
    Place.objects.update(blocked_at="2026-01-01T00:00Z")
    assert "You are not in this campaign any more" in ana.get("")


def test_the_way_in_is_closed_to_whom_the_campaign_is_not_for() -> None:
    campaign = campaign_with(1, 0, n_practice=1)
    ana, ben = Person(campaign), Person(campaign, "Ben")
    item = ana.begin()
    Campaign.objects.filter(pk=campaign.pk).update(audience={"groups": ["chemists"]})
    assert ben.client.get(ben.root + "way-in/").status_code == 404  # never was in it
    page = ana.get()
    assert "This campaign is for other people" in page and 'method="post" action="' + ana.root not in page
    assert ana.post().status_code == 409
    assert ana.post("practise-again/").status_code == 409
    assert ana.say(item, right=True).status_code == 409
    assert PracticeAnswer.objects.get().answered_at is None


def test_practising_again_between_tries() -> None:
    ana = Person(campaign_with(2, 2, n_practice=1, n_qualification=1))
    ana.say(ana.begin(), right=True)
    ana.say(ana.begin(), right=False)
    response = ana.post("practise-again/")
    assert b"Nothing counts here." in response.content
    assert ana.post("practise-again/").status_code == 409


def test_anothers_item_looks_like_none() -> None:
    campaign = campaign_with(0, 2, n_qualification=1)
    ana, ben = Person(campaign), Person(campaign, "Ben")
    item = ana.begin()
    assert ben.client.get(ben.root + item).status_code == 404
    ben.begin()
    other = add_item(campaign, read_item(campaign, {"prompt": "x", "answers": ["1", "2"], "accepted": ["a"]}), by=None)
    for method in (ben.client.get, ben.client.post):
        assert method(f"{ben.root}practice/{other.key}/").status_code in (303, 404)
    assert ben.client.post(f"{ben.root}practice/aaaaaaaaaaaa/").status_code == 404


def test_a_campaign_without_a_way_in_has_none() -> None:
    ana = Person(make_campaign())
    assert "Start judging" in ana.get("")
    response = ana.client.post(ana.root + "way-in/")
    assert response.status_code == 303 and response.headers["Location"] == ana.root
