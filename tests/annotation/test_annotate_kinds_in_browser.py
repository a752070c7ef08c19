"""Every kind of task in Chromium: by keyboard alone, by touch, by dragging; what is half done; how heavy the page is."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from annotation.models import Draft, Flag, Judgement, Score
from tests.annotation.checks import violations
from tests.annotation.screens import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

QUESTIONS = {
    "criteria": [
        {"name": "helpful", "label": "Helpful"},
        {"name": "clear", "label": "Clear", "kind": "rate", "levels": 5, "low": "not at all", "high": "fully"},
    ],
    "reasons": ["Facts", "Tone"],
    "needs_reason": True,
    "comment": "required",
    "min_comment": 10,
    "write_in": "optional",
    "has_diff": True,
}
RATING = {"criteria": [{"name": "clear", "label": "Clear", "kind": "rate", "levels": 5}]}
PLAIN = "Nothing to see here."
MOST_BYTES, MOST_REQUESTS = 150_000, 10
MOST_MATHS_BYTES, MOST_MATHS_REQUESTS = 170_000, 8


def order_of(judgement: Judgement) -> str:
    """``B>A=D``: under the letters that were shown."""
    turn = judgement.assignment
    slots = dict(turn.task.slots.values_list("candidate_id", "slot"))
    rows = sorted(
        (row.rank, "ABCDEFGHI"[turn.display_order.index(slots[row.candidate_id])]) for row in judgement.ranks.all()
    )
    words = rows[0][1]
    for (before, _), (rank, letter) in pairwise(rows):
        words += ("=" if rank == before else ">") + letter
    return words


def test_a_pair_with_every_question_by_keyboard_alone(page: "Page", live_server: Any) -> None:
    desk = Desk(page, live_server, strength_levels=3, protocol=QUESTIONS, text=PLAIN)
    desk.begin()
    desk.keys("2")  # helpful: B; the next question is marked by itself
    page.wait_for_selector("[data-question=rate-clear-A][data-marked]")
    desk.keys("4", "5")  # clear: A, then B
    page.wait_for_selector("[data-question=reason][data-marked]")
    desk.keys("2", "j", "6")  # a reason; on to the scale: B clearly better
    desk.keys("k", "1", "1")  # back to the reasons: one on and off again
    desk.keys("n")
    page.keyboard.type("Because 1 and 2 are words here.")
    desk.keys("Escape", "w")
    page.wait_for_selector("#write-in")
    page.click("[data-begin][value=B]")
    page.wait_for_selector("text=Edited from answer B.")
    assert page.input_value("#write-in").startswith("Answer number")
    assert page.input_value("#comment").startswith("Because")
    page.fill("#write-in", "Better than both.")
    desk.keys("Escape", "f")
    page.wait_for_selector(".flags", state="visible")
    desk.keys("4", "Escape")
    desk.ready()
    desk.send()
    judgement = Judgement.objects.get()
    assert (judgement.verdict, judgement.strength, judgement.reasons) == ("ranked", 2, ["Tone"])
    assert order_of(judgement) == "B>A" and judgement.write_in == "Better than both."
    assert sorted(Score.objects.values_list("criterion", flat=True)) == ["clear", "clear", "helpful"]
    assert Flag.objects.get().kind == "broken"
    assert violations(desk.campaign) == []


def test_a_ranking_is_typed_compared_dragged_and_tapped(page: "Page", live_server: Any) -> None:
    desk = Desk(page, live_server, n_answers=4, kind="rank", text=PLAIN)
    desk.begin()
    desk.keys("b", "=", "d", "c", "Backspace", "a", "c")  # typed, one taken off again
    desk.send()
    assert order_of(Judgement.objects.get()) == "B=D>A>C"
    desk.keys("p")  # A is placed; then: is B better than A? It is. C than A? No, and so on.
    page.wait_for_selector("text=Is B better than A?")
    desk.keys("1")
    page.wait_for_selector("text=Is C better than A?")
    desk.keys("2")
    page.wait_for_selector("text=Is D better than A?")
    desk.keys("3")
    desk.send()
    assert order_of(Judgement.objects.latest("pk")) == "B>A=D>C"
    for letter in "ABCD":
        page.click(f"[data-rank-add={letter}]")
    first, last = (
        page.locator("[data-rank-place='0']").bounding_box(),
        page.locator("[data-rank-card=D]").bounding_box(),
    )
    page.mouse.move(last["x"] + last["width"] / 2, last["y"] + 12)
    page.mouse.down()
    page.mouse.move(first["x"] + 3, first["y"] + 12, steps=5)
    page.mouse.up()
    page.click("[data-rank-move=C][data-by='-1']")  # one step up: shares the place of B
    page.click(".judging-send")  # Enter would press the arrow that has the focus
    page.wait_for_function("() => document.querySelector('#said').textContent === 'Saved.'")
    desk.ready()
    assert order_of(Judgement.objects.latest("pk")) == "D>A>B=C"
    assert violations(desk.campaign) == []


def test_ratings_by_keyboard_and_half_of_them_over_a_reload(page: "Page", live_server: Any) -> None:
    desk = Desk(page, live_server, n_answers=3, kind="rate", protocol=RATING, text=PLAIN)
    desk.begin()
    with page.expect_response("**/draft/"):
        desk.keys("4", "2")
    assert Draft.objects.get().said == {"rate-clear-A": ["4"], "rate-clear-B": ["2"]}
    page.context.set_offline(True)
    desk.keys("5")
    page.wait_for_selector("text=Draft kept on this device")
    page.context.set_offline(False)
    page.reload()
    desk.ready()
    assert page.locator("[name=rate-clear-C][value='5']").is_checked()  # what only this device had
    assert page.locator("[name=rate-clear-A][value='4']").is_checked()
    desk.send()
    assert sorted(Score.objects.values_list("value", flat=True)) == [2, 4, 5]
    assert not Draft.objects.exists() and "draft" not in page.evaluate("JSON.stringify({...localStorage})")


def test_a_phone_ranks_and_judges_by_touch(chromium: Any, live_server: Any) -> None:
    context = chromium.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    desk = Desk(page, live_server, n_answers=4, kind="rank", text=PLAIN)
    desk.begin()
    for letter in "CABD":
        page.tap(f"[data-rank-add={letter}]")
    page.tap("text=Send")
    page.wait_for_function("() => document.querySelector('#said').textContent === 'Saved.'")
    assert order_of(Judgement.objects.get()) == "C>A>B>D"
    desk = Desk(page, live_server, strength_levels=4, allow_tie=False, text=PLAIN)
    desk.begin()
    page.tap("text=B barely better")
    page.tap("text=Send")
    page.wait_for_function("() => document.querySelector('#said').textContent === 'Saved.'")
    assert Judgement.objects.latest("pk").strength == 1
    context.close()


def test_every_kind_works_without_javascript(chromium: Any, live_server: Any) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    Desk(page, live_server, n_tasks=1, n_answers=3, kind="rank", text=PLAIN)
    page.click("text=Start judging")
    for letter, place in {"A": "2", "B": "1", "C": "2"}.items():
        page.select_option(f"[name=rank-{letter}]", place)
    with page.expect_navigation():
        page.click("text=Send")
    assert order_of(Judgement.objects.get()) == "B>A=C"
    page.click("text=My judgements")
    page.click("tbody a")
    page.click("text=Correct")
    page.select_option("[name=rank-C]", "3")
    with page.expect_navigation():
        page.click("text=Send correction")
    assert order_of(Judgement.objects.latest("pk")) == "B>A>C"
    Desk(page, live_server, n_tasks=1, protocol=QUESTIONS, strength_levels=2, text=PLAIN)
    page.click("text=Start judging")
    page.click(".judging-choices >> text=A clearly better")
    page.click("text=Send")
    assert "say which answer is better" in page.inner_text("#stage .notice.is-bad")
    assert page.locator("[name=choice][value=a2]").is_checked()
    context.close()


def test_the_page_is_light(page: "Page", live_server: Any) -> None:
    desk = Desk(page, live_server, text=PLAIN + "\n\n```python\nprint(1)\n```\n\n" * 3, protocol=QUESTIONS)
    desk.begin()
    n_bytes, urls = measured(page, page.url)
    assert n_bytes < MOST_BYTES and len(urls) <= MOST_REQUESTS, (n_bytes, urls)
    assert not [url for url in urls if "katex" in url]
    with_maths = Desk(
        page, live_server, text=r"Since $\int_0^1 x\,dx = \frac{1}{2}$ and $\sum_i \mathbf{x}_i$, **two**."
    )
    with_maths.begin()
    all_bytes, all_urls = measured(page, page.url)
    assert page.locator(".math.is-set").count()
    extra = [url for url in all_urls if "katex" in url]
    assert extra and len(extra) <= MOST_MATHS_REQUESTS and all_bytes - n_bytes <= MOST_MATHS_BYTES, (all_bytes, extra)


def measured(page: "Page", url: str) -> tuple[int, list[str]]:
    """Bytes over the wire, headers included, and addresses of a first visit: nothing is in the cache."""
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    client.send("Network.clearBrowserCache")
    sizes: dict[str, float] = {}
    addresses: dict[str, str] = {}
    client.on("Network.requestWillBeSent", lambda sent: addresses.setdefault(sent["requestId"], sent["request"]["url"]))
    client.on("Network.loadingFinished", lambda ended: sizes.setdefault(ended["requestId"], ended["encodedDataLength"]))
    page.goto(url, wait_until="networkidle")
    client.detach()
    urls = [addresses[request] for request in sizes if not addresses[request].startswith("data:")]
    return round(sum(sizes.values())), urls
