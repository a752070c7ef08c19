"""A person's first day in Chromium: invited by a link, guidelines, keys, practice, qualification failed and passed, work."""

import re
from typing import TYPE_CHECKING, Any

import pytest

from accounts import invitations
from accounts.models import Membership, Role
from annotation.models import Campaign, Judgement, Place, PracticeAnswer
from annotation.onboarding import Onboarding
from tests.annotation.builders import make_campaign, make_project, make_user
from tests.annotation.screens import OVERFLOW, PASSWORD, READY, assert_accessible
from tests.annotation.test_practice import write_items

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


class NewPerson:
    def __init__(self, page: "Page", live_server: Any) -> None:
        self.page, self.root = page, live_server.url
        project = make_project()
        make_user("Ravi", project, Role.ADMIN, Role.RESEARCHER)
        self.campaign = make_campaign(project, n_tasks=4, guidelines="# Be fair\n\nRead both.")
        asked = Onboarding(keys=True, n_practice=1, n_qualification=2, pass_mark=1.0, tries=2, probation=2)
        Campaign.objects.filter(pk=self.campaign.pk).update(onboarding=asked.stored())
        write_items(self.campaign, practice=1, qualification=4)
        self.admin = Membership.objects.get(project=project)

    def press(self, *keys: str, leads_on: bool = True) -> None:
        """Press keys of which the last leads to another address, and wait for it."""
        before = self.page.url
        self.page.wait_for_selector(READY)
        for key in keys:
            self.page.keyboard.press(key)
        if leads_on:
            self.page.wait_for_function("before => location.href !== before", arg=before)

    def sees(self, text: str) -> None:
        self.page.wait_for_selector(f"#stage >> text={text}")

    def best(self) -> str:
        """The letter of the answer that is right in the item at hand."""
        key = re.search(r"/practice/(\w+)/", self.page.url)[1]
        order = PracticeAnswer.objects.filter(item__key=key).order_by("-id")[0].display_order
        return "12"[order.index(0)]


def test_from_an_invitation_to_the_first_judgement(page: "Page", live_server: Any) -> None:
    new = NewPerson(page, live_server)
    _, link = invitations.invite(project=new.admin.project, roles=[Role.ANNOTATOR], by=new.admin)
    page.goto(new.root + link)
    page.fill("[name=name]", "Nia")
    page.fill("[name=username]", "nia")
    page.fill("[name=new_password]", "a sentence of my own 7")
    page.click("main form button")
    page.wait_for_url(lambda url: "/join/" not in url)

    page.goto(f"{new.root}/p/{new.admin.project.slug}/annotate/campaign/{new.campaign.key}/")
    new.sees("The way to your work")
    assert page.get_attribute(".way-step >> nth=0", "data-state") == "now"
    assert page.evaluate(OVERFLOW) <= 0
    new.press("Enter")  # "I have read the guidelines: begin"

    for number in (1, 2, 3):
        new.sees(f"{number} of 3")
        keys = page.locator(".practice-lesson kbd").all_inner_texts()
        if number == 1:  # another answer than the one that is taught is not taken
            new.press("t" if keys[0] != "3" else "1", "Enter", leads_on=False)
            new.sees("Not this one.")
        new.press(*keys)

    new.sees("Now practise")
    new.press("Enter")
    new.press("3", "Enter", leads_on=False)
    new.sees("Right is:")
    new.sees("Because.")
    new.press("Enter")

    new.sees("The qualification")
    new.press("Enter")
    for _ in range(2):
        new.press({"1": "2", "2": "1"}[new.best()], "Enter")
    new.sees("Not passed yet")
    new.sees("0 of 2 were right")
    page.reload()
    new.sees("1 try left")
    new.press("Enter")
    for _ in range(2):
        address = page.url
        page.reload()  # shows the same item again
        page.wait_for_selector("#judge")
        assert page.url == address
        new.press(new.best(), "Enter")
    new.sees("You passed: 2 of 2 right.")
    page.wait_for_selector(READY)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Start judging")
    new.press("Enter")
    new.press("1", "Enter")
    page.wait_for_function("() => document.querySelector('#said').textContent === 'Saved.'")
    assert Judgement.objects.get().is_probation
    place = Place.objects.get()
    assert (place.stage, place.n_tries, place.n_probation_left) == ("probation", 2, 1)


def test_the_pages_fit_a_phone(page: "Page", live_server: Any) -> None:
    new = NewPerson(page, live_server)
    page.set_viewport_size({"width": 360, "height": 740})
    _, link = invitations.invite(project=new.admin.project, roles=[Role.ANNOTATOR], by=new.admin)
    page.goto(new.root + link)
    for name, value in (("name", "Nia"), ("username", "nia"), ("new_password", "a sentence of my own 7")):
        page.fill(f"[name={name}]", value)
    page.click("main form button")
    page.wait_for_url(lambda url: "/join/" not in url)
    page.goto(f"{new.root}/p/{new.admin.project.slug}/annotate/campaign/{new.campaign.key}/")
    assert page.evaluate(OVERFLOW) <= 0
    page.click("text=I have read the guidelines")
    page.wait_for_selector("#judge")
    assert page.evaluate(OVERFLOW) <= 0


def test_the_leads_pages_fit_a_phone_and_are_accessible(page: "Page", live_server: Any) -> None:
    new = NewPerson(page, live_server)
    item = new.campaign.practice_items.latest("pk")
    root = f"{new.root}/p/{new.admin.project.slug}/"
    page.goto(f"{new.root}/sign-in/")
    page.fill("[name=username]", new.admin.user.username)
    page.fill("[name=password]", PASSWORD)
    page.click("main button")
    page.wait_for_url(lambda url: "sign-in" not in url)
    page.set_viewport_size({"width": 360, "height": 740})
    below = f"campaigns/{new.campaign.key}/"
    paths = ("people/", "practice/", "practice/new/", f"practice/{item.key}/")
    for path in (*(below + each for each in paths), "members/", "invitations/many/"):
        page.goto(root + path)
        assert page.evaluate(OVERFLOW) <= 0, path
        assert_accessible(page, path)
