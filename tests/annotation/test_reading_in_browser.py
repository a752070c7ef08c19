"""Reading in Chromium: zoom, motion, directions, long answers, blurred ones; every command on a phone."""

from typing import TYPE_CHECKING, Any

import pytest

from accounts import preferences
from annotation.models import Flag
from generation.models import Candidate
from tests.annotation.screens import OVERFLOW, Desk, assert_accessible

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

EVERYTHING = {
    "criteria": [
        {"name": "helpful", "label": "Helpful"},
        {"name": "clear", "label": "Clear", "kind": "rate", "levels": 5, "low": "not at all", "high": "fully"},
    ],
    "reasons": ["Facts", "Tone"],
    "write_in": "optional",
    "has_diff": True,
}
LONG = "A long paragraph that has to be scrolled. " * 120
ARABIC = "مرحبا بالعالم\n\n- واحد\n- اثنان\n\n> اقتباس"
OUT_OF_SIGHT = """() => [...document.querySelectorAll('.judging-more > *, .judging-more .button, .judging-head a, .choice')]
    .filter((each) => each.checkVisibility() && each.getClientRects().length && !each.closest('.aside-panel'))
    .filter((each) => { const box = each.getBoundingClientRect(); return box.left < 0 || box.right > innerWidth; })
    .map((each) => each.textContent.trim())"""
SLOW = """() => [...document.querySelectorAll('*')].filter((each) => {
    const { transitionDuration, animationDuration } = getComputedStyle(each);
    return [...transitionDuration.split(','), ...animationDuration.split(',')].some((time) => parseFloat(time) > 0.02);
}).map((each) => each.outerHTML.slice(0, 80))"""


def test_at_200_per_cent_and_without_motion_every_panel_opens_within_the_window(page: "Page", live_server: Any) -> None:
    page.set_viewport_size({"width": 640, "height": 450})  # 1280 x 900 at 200 %
    page.emulate_media(reduced_motion="reduce")
    desk = Desk(page, live_server, protocol=EVERYTHING, strength_levels=3, guidelines="# Be fair")
    page.click("text=I have read the guidelines")
    page.wait_for_selector("#judge")
    desk.ready()
    assert page.evaluate(OVERFLOW) <= 0 and page.evaluate(OUT_OF_SIGHT) == [] and page.evaluate(SLOW) == []
    for key in "sqnwf":
        page.keyboard.press(key)
        box = page.locator(".aside[open] .aside-panel").bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 640 and box["height"] <= 450, key
        page.locator(".aside[open] .aside-panel :is(button, textarea, input):visible").last.scroll_into_view_if_needed()
        page.keyboard.press("Escape")
        page.wait_for_selector(".aside[open]", state="detached")
    for key in "go?":
        page.keyboard.press(key)
        page.wait_for_selector("dialog[open]")
        assert page.evaluate(OVERFLOW) <= 0 and page.evaluate(SLOW) == []
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog[open]", state="detached")
    desk.keys("d")
    assert page.locator("[data-diff][aria-pressed=true]").count() == 1
    assert_accessible(page, "200 %")


def test_on_a_phone_every_command_is_in_sight_and_flag_opens(chromium: Any, live_server: Any) -> None:
    context = chromium.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    desk = Desk(page, live_server, protocol={"write_in": "optional", "has_diff": True})
    desk.begin()
    assert page.evaluate(OUT_OF_SIGHT) == [] and page.evaluate(OVERFLOW) <= 0
    bar = page.locator(".judging-bar").bounding_box()
    assert bar is not None and bar["height"] <= 740 / 3  # what is read has the most of the screen
    page.tap(".judging-more summary:has-text('Flag')")
    page.tap(".flags label:has-text('The task') >> nth=0")
    page.touchscreen.tap(180, 120)  # beside the panel, which covers its own button
    page.wait_for_selector(".aside[open]", state="detached")
    page.tap("text=A is better")
    page.tap(".judging-send")
    page.wait_for_function("() => document.querySelector('#said').textContent === 'Saved.'")
    assert Flag.objects.get().kind == "harmful"
    context.close()


def test_long_answers_scroll_together_by_their_share(page: "Page", live_server: Any) -> None:
    desk = Desk(page, live_server)
    preferences.change(desk.ana, equal_scroll=True)
    desk.open(page)
    for number, candidate in enumerate(Candidate.objects.order_by("pk")):
        candidate.text = LONG * (1 + number % 2)
        candidate.save()
    desk.begin()
    share = """(letter) => { const it = document.querySelector(`[data-answer=${letter}]`);
        return it.scrollTop / (it.scrollHeight - it.clientHeight); }"""
    page.evaluate("() => { const a = document.querySelector('[data-answer=a]'); a.scrollTop = a.scrollHeight / 3; }")
    page.wait_for_function(f"() => ({share})('b') > 0.2 && Math.abs(({share})('a') - ({share})('b')) < 0.02")
    page.wait_for_timeout(200)  # the one that leads lets go 120 ms after its last step
    page.focus("[data-answer=b]")
    page.keyboard.press("End")  # the other one leads now, by keyboard
    page.wait_for_function(f"() => ({share})('a') > 0.97")
    page.keyboard.press("o")
    page.uncheck("#display [name=equal_scroll][type=checkbox]")
    page.keyboard.press("Escape")
    assert page.locator(".judging[data-equal-scroll]").count() == 0


def test_each_text_has_its_own_direction(page: "Page", live_server: Any) -> None:
    desk = Desk(page, live_server)
    for each in desk.campaign.tasks.all():
        first, second = each.candidates.order_by("pk")
        first.text, second.text = ARABIC, "Hello.\n\n- one"
        first.save()
        second.save()
        each.prompt.messages = [{"role": "user", "content": "قل مرحبا"}]
        each.prompt.save()
    desk.begin()
    direction = "(of) => getComputedStyle(document.querySelector(of)).direction"
    found = {page.evaluate(direction, f"[data-answer={letter}]") for letter in "ab"}
    assert found == {"rtl", "ltr"}
    assert page.evaluate(direction, ".asked .markdown") == "rtl"
    rtl = "[...document.querySelectorAll('[data-answer]')].find((each) => getComputedStyle(each).direction === 'rtl')"
    # The bullets of its list stand on the right.
    assert page.evaluate(f"() => parseFloat(getComputedStyle({rtl}.querySelector('ul')).paddingRight)") > 0
    page.keyboard.press("n")
    page.fill("#comment", "مرحبا")
    assert page.evaluate(direction, "#comment") == "rtl"


def read_out(page: "Page") -> str:
    """What Chromium tells a screen reader."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    return "\n".join(str(node["name"].get("value")) for node in nodes if not node["ignored"] and "name" in node)


def test_what_is_blurred_is_out_of_reach_with_and_without_javascript(chromium: Any, live_server: Any) -> None:
    for has_script in (True, False):
        context = chromium.new_context(java_script_enabled=has_script)
        page = context.new_page()
        desk = Desk(page, live_server, text="A secret.", is_sensitive=True)
        page.click("text=I agree to see it")
        page.click("text=Start judging")
        page.wait_for_selector("#judge", state="attached")
        page.wait_for_load_state()  # without a script the style sheet veils
        if has_script:
            desk.ready()
        assert "A secret" not in read_out(page) and "Question" not in read_out(page)
        page.check("#reveal")
        assert "A secret" in read_out(page) and "Question" in read_out(page)
        page.click("text=A is better")
        page.click("text=Send")
        page.wait_for_selector("#reveal:not(:checked)")
        page.wait_for_load_state()
        assert "A secret" not in read_out(page)  # the next one is veiled again
        context.close()


def test_a_lighter_blur_is_ones_own_choice(page: "Page", live_server: Any) -> None:
    desk = Desk(page, live_server, is_sensitive=True)
    page.click("text=I agree to see it")
    page.wait_for_selector("text=Start judging")
    desk.begin()
    blur = "() => parseFloat(getComputedStyle(document.querySelector('.answer')).filter.match(/blur\\(([\\d.]+)px/)[1])"
    whole = page.evaluate(blur)
    preferences.change(desk.ana, reduced_blur=True)
    page.reload()
    desk.ready()
    assert 0 < page.evaluate(blur) < whole
    assert page.evaluate("() => document.querySelector('.answer').inert")
