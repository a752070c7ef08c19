"""A live conversation in Chromium: by keyboard, a reload, a lost network, a phone. A thread does the worker's part."""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from accounts.models import Role
from annotation.live import answer_turn
from annotation.models import Judgement, Turn
from generation.sampling_run import run_generation
from tests.annotation.builders import make_user
from tests.annotation.live_world import WORDS, make_live
from tests.generation.stub_vllm import StubVllm

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

PASSWORD = "a long password"  # of tests.annotation.builders.make_user
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


class Desk:
    """Ana, signed in where a conversation begins; ``works``: a worker answers what she writes."""

    def __init__(self, page: "Page", live_server: Any, stub: StubVllm, monkeypatch: pytest.MonkeyPatch) -> None:
        self.page, self.works, self.threads = page, True, list[threading.Thread]()
        self.campaign = make_live(stub, guidelines="# Be fair")
        project = self.campaign.project
        monkeypatch.setattr("annotation.live._send", self.send)
        self.url = f"{live_server.url}/p/{project.slug}/annotate/live/{self.campaign.key}/"
        page.goto(f"{live_server.url}/sign-in/")
        page.fill("[name=username]", make_user("Ana", project, Role.ANNOTATOR).username)
        page.fill("[name=password]", PASSWORD)
        page.click("main button")
        page.wait_for_url(lambda url: "sign-in" not in url)
        page.goto(self.url)

    def send(self, turn: Turn) -> None:
        if self.works:
            self.work(turn)

    def work(self, turn: Turn) -> None:
        from django.db import connection

        def run() -> None:
            try:
                answer_turn(turn.pk, run_generation)
            finally:
                connection.close()

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def write(self, text: str) -> None:
        self.page.wait_for_selector("#live-text:focus")
        self.page.keyboard.type(text)
        self.page.keyboard.press("Control+Enter")

    def judge(self, key: str) -> None:
        self.page.wait_for_selector("article.answer")
        self.page.wait_for_timeout(300)  # a key within 200 ms of new answers is taken for one that came too early
        self.page.keyboard.press(key)


@pytest.fixture
def desk(page: "Page", live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with StubVllm() as stub:
        found = Desk(page, live_server, stub, monkeypatch)
        found.stub = stub  # type: ignore[attr-defined]
        yield found
        for thread in found.threads:
            thread.join(30)


def test_a_conversation_is_held_by_keyboard_alone(desk: Desk) -> None:
    page = desk.page
    page.keyboard.press("Enter")
    desk.write(WORDS)
    page.wait_for_selector("article.answer")
    assert page.inner_text("#said") == "Both answers are there."
    assert page.get_attribute("#said", "aria-live") == "polite"
    desk.judge("2")
    page.wait_for_selector(".live-message[data-role=assistant]")
    desk.write("And of Italy?")
    desk.judge("3")  # a tie
    page.wait_for_selector("text=Which answer shall the conversation go on with?")
    desk.judge("r")
    page.wait_for_selector("text=Which answer shall", state="detached")
    desk.judge("3")
    page.wait_for_selector("text=Which answer shall")
    assert page.locator("text=Two other answers").count() == 0
    desk.judge("1")
    page.wait_for_selector("#live-text:focus")
    assert [turn.number for turn in Turn.objects.order_by("number")] == [1, 2, 3]
    assert Judgement.objects.count() == 3


def test_what_is_typed_survives_a_reload_and_a_lost_network(desk: Desk) -> None:
    page = desk.page
    desk.works = False
    page.keyboard.press("Enter")
    page.wait_for_selector("#live-text:focus")
    page.keyboard.type("Half a thou")
    page.reload()
    page.wait_for_selector("#live-text")
    assert page.input_value("#live-text") == "Half a thou"
    page.context.set_offline(True)
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(300)
    assert page.input_value("#live-text") == "Half a thou"
    page.context.set_offline(False)
    page.focus("#live-text")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("text=Two answers are being written")
    desk.work(Turn.objects.get())
    page.wait_for_selector("article.answer")
    desk.judge("1")
    page.wait_for_selector("#live-text:focus")
    assert page.input_value("#live-text") == ""


def test_on_a_phone_nothing_is_wider_than_the_screen(desk: Desk) -> None:
    page = desk.page
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate(OVERFLOW) <= 0
    page.click("text=Start a conversation")
    page.fill("#live-text", "word " * 40 + "x" * 200)
    assert page.evaluate(OVERFLOW) <= 0
    desk.works = False
    page.click("text=Send")
    page.wait_for_selector("text=Two answers are being written")
    assert page.evaluate(OVERFLOW) <= 0
    desk.work(Turn.objects.get())
    page.wait_for_selector("article.answer")
    assert page.evaluate(OVERFLOW) <= 0
    page.wait_for_timeout(300)
    page.click("text=Tie")
    page.wait_for_selector("text=Which answer shall")
    assert page.evaluate(OVERFLOW) <= 0


def test_models_that_fail_say_so_and_are_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generation.sampling_run.MAX_TRIES", 1)
    page = desk.page
    desk.stub.fault = "500"  # type: ignore[attr-defined]
    page.keyboard.press("Enter")
    desk.write(WORDS)
    page.wait_for_selector("text=The answers could not be written")
    assert page.locator(f"text={WORDS}").count() == 1
    desk.stub.fault = ""  # type: ignore[attr-defined]
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("article.answer")
