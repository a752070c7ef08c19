"""Every page and every state of the annotate screen by axe-core (WCAG 2.2 AA), in light and dark, and what axe cannot see."""

from typing import TYPE_CHECKING, Any

import pytest

from annotation.announcements import announce
from annotation.assign import next_assignment
from annotation.expiry import expire_leases
from annotation.models import Assignment
from core.jobs import from_now
from tests.annotation.builders import make_annotator
from tests.annotation.screens import OVERFLOW, Desk, assert_accessible

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

EVERYTHING = {
    "criteria": [
        {"name": "helpful", "label": "Helpful", "low": "A helps more", "high": "B helps more"},
        {"name": "clear", "label": "Clear", "kind": "rate", "levels": 5, "low": "not at all", "high": "fully"},
    ],
    "reasons": ["Facts", "Tone"],
    "needs_reason": True,
    "comment": "required",
    "min_comment": 10,
    "write_in": "optional",
    "has_diff": True,
}
SMALL = "() => [...document.querySelectorAll('#stage :is(button, a, summary, label.choice, label.level, select)')].filter((e) => e.checkVisibility() && !e.closest('.markdown') && e.getClientRects().length && Math.min(e.getBoundingClientRect().width, e.getBoundingClientRect().height) < 24).map((e) => e.outerHTML.slice(0, 120))"  # fmt: skip  # noqa: E501


def test_a_pair_with_every_question_and_what_opens_above_it(page: "Page", live_server: Any) -> None:
    desk = Desk(page, live_server, guidelines="# Be fair", strength_levels=3, allow_both_good=True, protocol=EVERYTHING)
    announce(project=desk.project, text="**Tea** at four.", by=desk.ana)
    desk.open(page)
    assert_accessible(page, "the start page, with an announcement")
    page.click("text=I have read this")
    page.wait_for_selector(".announcement", state="detached")
    desk.begin()
    page.wait_for_selector(".math.is-set")
    assert_accessible(page, "the task")
    for theme in ("dark", "light"):
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.reload()  # Chromium may keep the other theme's colours in what is closed
        desk.ready()
        desk.keys("1")
        page.wait_for_timeout(200)
        assert_accessible(page, f"a chosen answer, {theme}")
    for key, state in {"s": "skip", "q": "ask", "w": "write a better answer", "f": "flag"}.items():
        page.keyboard.press(key)
        assert_accessible(page, state)
        page.keyboard.press("Escape")
    for key, state in {"g": "guidelines", "o": "display", "?": "keys"}.items():
        page.keyboard.press(key)
        page.wait_for_selector("dialog[open]")
        assert_accessible(page, state)
        page.keyboard.press("Escape")
    page.keyboard.press("d")
    assert page.locator("mark.differs").count()
    assert_accessible(page, "marked differences")
    page.click("text=Send")
    page.wait_for_selector("#stage .notice.is-bad")
    assert_accessible(page, "an error")
    assert page.evaluate(SMALL) == []


def test_rankings_ratings_and_what_is_blurred(page: "Page", live_server: Any) -> None:
    desk = Desk(page, live_server, n_answers=4, kind="rank")
    desk.begin()
    desk.keys("b", "=", "d", "p")
    assert_accessible(page, "a ranking")
    assert page.evaluate(SMALL) == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate(OVERFLOW) <= 0
    rating = {"criteria": [{"name": "clear", "label": "Clear", "kind": "rate", "levels": 7}]}
    desk = Desk(
        page, live_server, n_answers=3, kind="rate", protocol=rating, is_sensitive=True, support_text="Call us."
    )
    assert_accessible(page, "consent")
    page.click("text=I agree to see it")
    page.wait_for_selector("text=Start judging")
    desk.begin()
    assert_accessible(page, "a blurred rating on a phone")
    page.keyboard.press("r")
    page.wait_for_timeout(100)
    assert_accessible(page, "a revealed rating on a phone")
    assert page.evaluate(OVERFLOW) <= 0 and page.evaluate(SMALL) == []


def test_pages_without_a_task(page: "Page", live_server: Any) -> None:
    desk = Desk(page, live_server, n_tasks=3)
    desk.begin()
    desk.keys("1")
    desk.send()
    judged = Assignment.objects.get(status="submitted")
    Assignment.objects.filter(status="open").update(leased_until=from_now(-1))
    expire_leases()
    for name in ("Ben", "Cem"):
        next_assignment(make_annotator(desk.project, name), desk.campaign)
    desk.keys("2", "Enter")
    page.wait_for_selector("text=This one was not counted")
    assert_accessible(page, "a judgement that was not counted")
    page.click("button:has-text('Next task')")
    page.wait_for_selector("text=being judged by others")
    assert_accessible(page, "nothing free just now")
    page.goto(f"{desk.root}/p/{desk.project.slug}/annotate/{judged.key}/")
    assert_accessible(page, "a judged task")
    for path in ("mine", "guidelines"):
        page.goto(f"{desk.root}{desk.path}{path}/")
        assert_accessible(page, path)
