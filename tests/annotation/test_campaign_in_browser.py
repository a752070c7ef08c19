"""The way from a template to an open campaign in a real browser: every template, its preview, its rows, its try-out."""

import re
from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from accounts.models import Role
from annotation.assign import next_assignment
from annotation.campaign_templates import TEMPLATES
from annotation.models import Campaign, Judgement
from annotation.protocol import Protocol
from tests.annotation.builders import make_annotator, make_campaign, make_job, make_model, make_project, make_user
from tests.annotation.screens import READY, assert_accessible

if TYPE_CHECKING:
    from playwright.sync_api import Page

MADE = re.compile(r"/campaigns/\w{12}/$")
pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


class Walk:
    def __init__(self, page: "Page", address: str) -> None:
        self.page, self.address = page, address
        self.project = make_project(guidelines="Be kind.")
        make_job(self.project, n_prompts=4, n_answers=4, models=[make_model(self.project) for _ in range(2)])
        client = Client()
        client.force_login(make_user("Ravi", self.project, Role.RESEARCHER, Role.ANNOTATOR))
        name = settings.SESSION_COOKIE_NAME
        page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": address}])

    def open(self, name: str, query: str = "") -> None:
        self.page.goto(self.address + reverse(f"annotation:{name}", args=[self.project.slug]) + query)


@pytest.fixture
def walk(page: "Page", live_server) -> Walk:
    return Walk(page, live_server.url)


def test_a_campaign_is_made_and_previewed_from_every_template(walk):
    page = walk.page
    for name, template in TEMPLATES.items():
        walk.open("new-campaign")
        page.get_by_role("link", name=template.label).first.click()
        preview = page.locator("#preview .judging")
        assert template.question in preview.inner_text()
        assert preview.locator(".answer").count() == (
            8 if name == "instructgpt" else 2 if template.kind == "pair" else 4
        )
        assert page.locator("#plan").inner_text().count("Tasks") == 1
        page.get_by_role("button", name="Build the tasks and open for judging").click()
        page.wait_for_url(MADE)
        campaign = Campaign.objects.latest("pk")
        assert (campaign.template, campaign.kind) == (name, template.kind)
        assert Protocol.parse(campaign.protocol) == template.protocol
    assert Campaign.objects.count() == len(TEMPLATES)


def test_figures_and_preview_follow_the_form_and_criteria_come_and_go_in_place(walk):
    page = walk.page
    walk.open("new-campaign")
    page.get_by_label("Name", exact=True).fill("Mine")
    before = page.locator("#plan").inner_text()
    page.get_by_label("Overlap").fill("3")
    page.get_by_label("Question", exact=True).fill("Which one is kinder?")
    page.get_by_label("Question", exact=True).blur()
    page.locator("#preview h1", has_text="Which one is kinder?").wait_for()
    assert page.locator("#plan").inner_text() != before and "3 a task" in page.locator("#plan").inner_text()
    page.get_by_role("button", name="Add a criterion").click()
    page.get_by_label("Question or criterion").fill("Correct")
    page.get_by_role("button", name="Add a criterion").click()
    page.get_by_label("Question or criterion").nth(1).fill("Harmless")
    page.get_by_label("Answered by").nth(1).select_option("rate-5")
    page.locator("#preview .rating-head", has_text="Harmless").or_(
        page.locator("#preview", has_text="Harmless")
    ).first.wait_for()
    page.get_by_role("button", name="Remove criterion 1").click()
    page.locator(".criterion").nth(1).wait_for(state="detached")
    assert page.get_by_label("Question or criterion").input_value() == "Harmless"
    assert page.get_by_label("Name", exact=True).input_value() == "Mine"  # nothing else of the form was touched
    page.get_by_role("button", name="Try it out").click()
    page.get_by_text("Nothing is recorded.").wait_for()
    page.wait_for_selector(READY)
    page.keyboard.press("a")
    for group in page.locator(".rating-cell").all():
        group.locator("label").nth(2).click()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="This would be recorded").wait_for()
    assert "A is better" in page.locator(".card .plain").inner_text()
    page.get_by_role("link", name="Back").first.click()
    assert page.get_by_label("Question", exact=True).input_value() == "Which one is kinder?"
    page.get_by_role("button", name="Build the tasks and open for judging").click()
    page.wait_for_url(MADE)
    criterion = Protocol.parse(Campaign.objects.get().protocol).criteria[0]
    assert (criterion.label, criterion.kind, criterion.levels) == ("Harmless", "rate", 5)
    assert not Judgement.objects.exists()


def test_the_pages_of_a_campaign_are_accessible(walk):
    page = walk.page
    job = walk.project.generation_jobs.get()
    campaign = make_campaign(walk.project, job=job, protocol={"reasons": ["Tone"]})
    ana = make_annotator(walk.project)
    next_assignment(ana, campaign)
    names = [("new-campaign", ()), ("change", (campaign.key,)), ("campaign", (campaign.key,)), ("tasks", (campaign.key,)),
             ("try-campaign", (campaign.key, 1))]  # fmt: skip
    for name, args in names:
        page.goto(walk.address + reverse(f"annotation:{name}", args=[walk.project.slug, *args]))
        page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert_accessible(page, name)
