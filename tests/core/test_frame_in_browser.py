"""The frame of every page in a real browser, under the real content security policy (T050, T052, T054)."""

from typing import TYPE_CHECKING, Any

import pytest

from accounts.models import Membership, Role
from tests.accounts.builders import PASSWORD, join, make_project

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def signed_in(page: "Page", live_server: Any) -> "Page":
    project = make_project()
    join(project, "Ravi", Role.ADMIN, Role.RESEARCHER)
    join(project, "Ana", Role.ANNOTATOR)
    page.goto(f"{live_server.url}/sign-in/?next=/styleguide/")
    page.fill("[name=username]", "ravi")
    page.fill("[name=password]", PASSWORD)
    page.click("main button")
    page.wait_for_selector("h1:has-text('Style guide')")
    return page


SWAP = """async () => {
    const text = await (await fetch("/styleguide/")).text();
    const figure = new DOMParser().parseFromString(text, "text/html").querySelector("figure.chart");
    figure.querySelector("#guide-chart").textContent = JSON.stringify({
        x: [0, 1, 2], x_label: "step", y_label: "",
        series: [{name: "train accuracy", values: [0, 50, 90]}, {name: "held-out accuracy", values: [1, null, 2]}],
    });
    window.before = document.querySelector("#guide-chart-canvas .uplot");
    const maths = '<p><span class="math" data-tex="y^3">$y^3$</span></p>';
    htmx.swap(document.querySelector("figure.chart"), figure.outerHTML + maths, {swapStyle: "outerHTML"});
}"""


def test_charts_and_maths_are_drawn_and_fed_again_after_a_swap(signed_in: "Page") -> None:
    signed_in.wait_for_selector("#guide-chart-canvas canvas")
    signed_in.wait_for_selector(".katex")
    signed_in.evaluate(SWAP)
    signed_in.wait_for_function("document.querySelectorAll('.katex').length === 2")
    assert signed_in.evaluate("before === document.querySelector('#guide-chart-canvas .uplot')")
    assert signed_in.evaluate("JSON.parse(document.getElementById('guide-chart').textContent).x.length") == 3


def test_the_colours_change_at_once_and_stay(signed_in: "Page") -> None:
    light = signed_in.evaluate("getComputedStyle(document.body).backgroundColor")
    signed_in.click(".menu.is-end summary")
    with signed_in.expect_response("**/theme/"):
        signed_in.click("button[value=dark]")
    dark = signed_in.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    signed_in.reload()
    assert signed_in.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_a_removal_asks_first(signed_in: "Page", live_server: Any) -> None:
    signed_in.goto(f"{live_server.url}/p/house/members/")
    signed_in.click("button:has-text('Remove')")
    signed_in.click("dialog[open] >> text=Keep it")
    assert Membership.objects.count() == 2
    signed_in.click("button:has-text('Remove')")
    signed_in.click("dialog[open] button[value=yes]")
    signed_in.wait_for_selector(".toast")
    assert Membership.objects.count() == 1


POLLED = """() => {
    const main = document.querySelector("main");
    main.insertAdjacentHTML("beforeend", `<div id="polled" hx-get="/styleguide/" hx-trigger="every 200ms" hx-select="h1">
        <form method="post" action="/theme/" data-confirm="Sure?"><input name="note"><button id="asks">Freeze</button></form>
    </div>`);
}"""


@pytest.mark.parametrize("busy", ["#asks", "#polled input"])
def test_a_refresh_waits_while_a_question_is_open_or_a_field_is_written_in(signed_in: "Page", busy: str) -> None:
    signed_in.evaluate(POLLED)
    signed_in.click(busy)
    signed_in.evaluate("htmx.process(document.getElementById('polled'))")  # the clock starts now
    for _ in range(3):
        with signed_in.expect_response("**/styleguide/") as answer:
            pass
        answer.value.finished()
    assert signed_in.locator("#asks").count() == 1  # the form that asked is still there to be sent
    if busy == "#asks":
        signed_in.click("dialog[open] >> text=Keep it")
    signed_in.evaluate("document.activeElement.blur()")
    signed_in.wait_for_selector("#polled h1")


def test_an_invitation_is_made_without_leaving_the_page(signed_in: "Page", live_server: Any) -> None:
    signed_in.goto(f"{live_server.url}/p/house/members/")
    signed_in.click("text=Make the link")
    signed_in.wait_for_selector("#invitation-link")
    assert "/join/" in signed_in.input_value("#invitation-link")
    signed_in.evaluate("document.querySelector('#invite').noValidate = true")
    signed_in.fill("[name=days]", "999")
    signed_in.click("text=Make the link")
    signed_in.wait_for_selector(".error-summary:focus")


def test_everything_works_without_a_script(chromium: Any, live_server: Any) -> None:
    project = make_project()
    join(project, "Ravi", Role.ADMIN, Role.RESEARCHER)
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 360, "height": 700})
    page = context.new_page()
    page.goto(f"{live_server.url}/sign-in/?next=/p/house/members/")
    page.fill("[name=username]", "ravi")
    page.fill("[name=password]", PASSWORD)
    page.click("main button")
    page.click(".nav-menu summary")
    page.click(".nav-menu a:has-text('API tokens')")
    page.fill("[name=name]", "nightly")
    page.check("[name=scopes][value=read]")
    page.click("text=Make the token")
    assert page.input_value("#token-secret").startswith("wst_")
    context.close()


@pytest.mark.parametrize("width", [320, 360, 768, 1280, 1920])
def test_no_page_is_wider_than_its_window(signed_in: "Page", live_server: Any, width: int) -> None:
    signed_in.set_viewport_size({"width": width, "height": 800})
    for address in (
        "/styleguide/",
        "/projects/",
        "/account/",
        "/p/house/members/",
        "/p/house/tokens/",
        "/p/house/audit/",
    ):
        signed_in.goto(live_server.url + address)
        assert signed_in.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
