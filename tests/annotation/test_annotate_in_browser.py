"""The annotate screen in Chromium: by keyboard alone, two tabs, a double click, a phone, without JavaScript."""

from typing import TYPE_CHECKING, Any

import pytest

from annotation.models import Assignment, Judgement
from tests.annotation.checks import violations
from tests.annotation.screens import OVERFLOW, Desk

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


def make_desk(page: "Page", live_server: Any, **options: Any) -> Desk:
    """Ana, who sends as soon as she chooses."""
    given = {"n_tasks": 6, "sends_on_choice": True, "guidelines": "# Be fair\n\nRead both.", **options}
    return Desk(page, live_server, **given)


def test_a_campaign_is_judged_by_keyboard_alone(page: "Page", live_server: Any) -> None:
    desk = make_desk(page, live_server)
    desk.send("Enter")
    page.wait_for_function("() => document.activeElement.classList.contains('asked')")
    for key in ("1", "b", "3"):
        desk.send(key)
        page.wait_for_function("() => document.querySelector('#said').textContent === 'Saved.'")
    page.keyboard.press("g")
    page.wait_for_selector("#guidelines[open] >> text=Be fair")
    page.keyboard.press("4")  # no key judges while the guidelines are open
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.wait_for_selector("#keys[open]")
    page.keyboard.press("Escape")
    desk.send("u")
    assert "Taken back" in page.inner_text("#said")
    desk.send("x")
    page.keyboard.press("s")
    page.wait_for_selector(".aside[open] button")
    desk.send("2")  # the second reason, not "B is better"
    page.keyboard.press("n")
    page.wait_for_selector("textarea:focus")  # until then letters are keys
    page.keyboard.type("1 and 2 are words here")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert Judgement.objects.exclude(verdict="withdrawn").count() == 4
    page.click("text=A is better")
    desk.ready()
    page.wait_for_function("() => document.querySelector('#said').textContent === 'Saved.'")
    verdicts = list(Judgement.objects.order_by("pk").values_list("verdict", flat=True))
    assert verdicts[:5] == ["ranked", "ranked", "tie", "withdrawn", "all_bad"]
    assert Assignment.objects.get(status="skipped").skip_reason == "The prompt makes no sense"
    assert Judgement.objects.filter(comment="1 and 2 are words here").count() == 1
    assert violations(desk.campaign) == []


def test_t120_a_double_click_and_a_held_key_judge_one_task(page: "Page", live_server: Any) -> None:
    desk = make_desk(page, live_server)
    desk.send("Enter")
    before = page.url
    page.dblclick("text=A is better")
    page.wait_for_function("before => location.href !== before", arg=before)
    desk.ready()  # a second one that is on its way would be awaited
    assert Judgement.objects.count() == 1
    before = page.url
    page.keyboard.down("1")
    for _ in range(5):
        page.keyboard.down("1")  # what a held key sends
    page.keyboard.up("1")
    page.wait_for_function("before => location.href !== before", arg=before)
    desk.ready()  # a second one that is on its way would be awaited
    assert Judgement.objects.count() == 2


def test_t122_a_second_tab_is_told_what_stands(page: "Page", live_server: Any) -> None:
    desk = make_desk(page, live_server)
    desk.send("Enter")
    other = page.context.new_page()
    other.goto(page.url)
    desk.send("1")
    other.click("text=B is better")
    other.wait_for_selector("text=This one was not counted")
    assert "B is better" in other.input_value("#written")
    other.click("text=Next task")
    other.wait_for_selector("#judge")
    assert other.url == page.url
    assert Judgement.objects.count() == 1


def test_t042_nothing_of_a_task_is_left_in_the_browser(page: "Page", live_server: Any) -> None:
    desk = make_desk(page, live_server, n_tasks=2)
    desk.send("Enter")
    desk.send("1")
    desk.send("1")
    stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "Answer" not in stored and "data-answer" not in stored
    page.go_back()
    page.wait_for_load_state()
    assert page.locator("[data-answer]").count() == 0


def test_t133_a_judgement_that_does_not_arrive_can_be_sent_again(page: "Page", live_server: Any) -> None:
    desk = make_desk(page, live_server)
    desk.send("Enter")
    desk.ready()
    page.context.set_offline(True)
    page.keyboard.press("1")
    page.wait_for_selector("text=kept on this device and sent by itself")
    page.context.set_offline(False)
    page.wait_for_function("() => document.querySelector('#said').textContent === 'Saved.'")
    assert Judgement.objects.count() == 1


@pytest.mark.parametrize(("width", "height"), [(360, 740), (640, 450), (1280, 900)])  # the second: 1280 px at 200 %
def test_the_screen_fits_and_every_button_can_be_reached(
    page: "Page", live_server: Any, width: int, height: int
) -> None:
    desk = make_desk(page, live_server, strength_levels=3)
    page.set_viewport_size({"width": width, "height": height})
    desk.send("Enter")
    assert page.evaluate(OVERFLOW) <= 0
    for name in ("A clearly better", "B far better", "About the same", "Both bad", "Skip", "Note"):
        button = page.locator(f"#stage :is(button, summary):has-text('{name}')").first
        button.scroll_into_view_if_needed()
        box = button.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] >= 24
    desk.send("2")
    assert Judgement.objects.get().strength == 2


def test_everything_works_without_javascript(chromium: Any, live_server: Any) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    desk = make_desk(page, live_server, n_tasks=3)
    page.click("text=Start judging")
    page.click("text=Tie")
    page.click("summary:has-text('Skip')")
    page.click("text=Another reason")
    page.click("text=Undo last")
    page.click("text=A is better")
    page.click("text=Guidelines")
    page.wait_for_selector("main >> text=Be fair")
    page.click("text=Go on with it")
    page.click("text=Both bad")
    page.wait_for_selector("main >> text=Nothing left for you")
    context.close()
    assert sorted(Judgement.objects.values_list("verdict", flat=True)) == ["all_bad", "ranked", "tie"]
    assert violations(desk.campaign) == []
