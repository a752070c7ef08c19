"""A live chat through the pages, in Chromium, with the real vLLM and Celery: a campaign is opened, and three turns are judged."""

import re
import time

import pytest

from tests.e2e.conftest import DemoSite
from tests.e2e.test_the_way import STEP_MS, Walk

pytestmark = [pytest.mark.e2e, pytest.mark.vllm, pytest.mark.sqlite]


def test_three_turns_of_a_live_chat(page, demo_site: DemoSite):
    walk = Walk(page, demo_site, reloads=False)
    walk.sign_in()
    end = time.monotonic() + STEP_MS / 1000  # the starter model is being deployed while the first page is open
    page.goto(walk.path("campaigns/new/live/"))
    while not page.get_by_label("Name", exact=True).count():
        assert time.monotonic() < end, page.locator("main").inner_text()
        page.wait_for_timeout(1000)
        page.reload()
    page.get_by_label("Name", exact=True).fill("Chat")
    page.get_by_label("Longest answer (tokens)").fill("24")
    page.get_by_role("button", name="Open for conversations").click()
    page.wait_for_url(re.compile(r"/campaigns/[a-z2-9]{12}/$"))
    campaign = page.url

    page.get_by_role("link", name="Judge answers").click()
    page.get_by_role("button", name=re.compile("I have read the guidelines")).click()
    page.get_by_role("button", name="Start a conversation").click()
    for number, words in enumerate(("What color is the sky?", "And the sea?", "Thank you."), start=1):
        page.locator("#live-text:focus").wait_for()
        page.keyboard.type(words)
        page.keyboard.press("Control+Enter")
        walk.seen()
        page.get_by_text(words).first.wait_for()
        assert page.locator("article.answer").count() == 2
        key = page.url
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        walk.moved_on(key)
        page.locator(".live-message[data-role=assistant]").nth(number - 1).wait_for()
    assert page.locator(".live-message").count() == 6

    page.get_by_role("button", name="End", exact=True).click()
    page.locator("#confirm [data-confirm-yes]").click()
    page.get_by_text("My conversations").wait_for()
    assert page.get_by_role("cell", name="3", exact=True).count() == 1
    page.goto(campaign)
    page.get_by_text("Written at once, in 1 live conversation").wait_for()
    assert "starter" not in page.locator("#campaign").inner_text()  # the models stay behind the reveal
