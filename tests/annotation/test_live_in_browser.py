"""A live conversation in Chromium: by keyboard, a reload, a lost network, a phone. A thread does the worker's part."""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from accounts import preferences
from accounts.models import Role
from annotation import questions
from annotation.live_turns import answer_turn
from annotation.models import Judgement, Question, Turn
from generation.sampling_run import run_generation
from tests.annotation.builders import make_user
from tests.annotation.live_world import WORDS, make_live
from tests.annotation.screens import OVERFLOW, PASSWORD, READY, assert_accessible
from tests.generation.stub_vllm import StubVllm

if TYPE_CHECKING:
    from playwright.sync_api import Page


pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


class Desk:
    """Ana, signed in where a conversation begins; ``works``: a worker answers what she writes."""

    def __init__(self, page: "Page", live_server: Any, stub: StubVllm, monkeypatch: pytest.MonkeyPatch) -> None:
        self.page, self.works, self.threads = page, True, list[threading.Thread]()
        self.campaign = make_live(stub)
        project = self.campaign.project
        monkeypatch.setattr("annotation.live._send", self.send)
        self.url = f"{live_server.url}/p/{project.slug}/annotate/live/{self.campaign.key}/"
        ana = make_user("Ana", project, Role.ANNOTATOR)
        preferences.change(ana, submit_on_choice=True)
        page.goto(f"{live_server.url}/sign-in/")
        page.fill("[name=username]", ana.username)
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

    def begin(self) -> None:
        self.page.wait_for_selector(READY)
        self.page.keyboard.press("Enter")

    def write(self, text: str) -> None:
        self.page.wait_for_selector("#live-text:focus")
        self.page.keyboard.type(text)
        self.page.keyboard.press("Control+Enter")

    def judge(self, key: str) -> None:
        self.page.wait_for_selector("article.answer")
        self.page.wait_for_selector(READY)
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
    desk.begin()
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


def test_the_leads_answer_comes_to_a_conversation_by_itself(desk: Desk) -> None:
    page = desk.page
    desk.begin()
    desk.write(WORDS)
    page.wait_for_selector("article.answer")
    page.wait_for_selector(READY)
    page.keyboard.press("q")
    page.wait_for_selector("#ask-text:focus")
    page.keyboard.type("May it rhyme?")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("text=You have asked about this turn")
    assert_accessible(page, "a turn that waits for the lead")
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate(OVERFLOW) <= 0
    rosa = make_user("Rosa", desk.campaign.project, Role.REVIEWER)
    questions.answer(question=Question.objects.get(), text="It **may**.", by=rosa)
    page.wait_for_selector("text=The lead has answered")  # the page asks every five seconds
    assert "It may." in page.inner_text("#stage")
    page.wait_for_selector(READY)
    page.keyboard.press("Enter")
    page.wait_for_selector("article.answer")
    assert "It may." in page.inner_text("#stage")
    desk.judge("1")
    page.wait_for_selector("#live-text:focus")
    assert Judgement.objects.get().assignment.task == Turn.objects.get().task


def test_what_is_typed_survives_a_reload_and_a_lost_network(desk: Desk) -> None:
    page = desk.page
    desk.works = False
    desk.begin()
    page.wait_for_selector("#live-text:focus")
    page.keyboard.type("Half a thou")
    page.reload()
    page.wait_for_selector("#live-text")
    assert page.input_value("#live-text") == "Half a thou"
    page.context.set_offline(True)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(READY)
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
    page.wait_for_selector(READY)
    page.click("text=Tie")
    page.wait_for_selector("text=Which answer shall")
    assert page.evaluate(OVERFLOW) <= 0


def test_models_that_fail_are_tried_again_and_every_state_is_accessible(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generation.sampling_run.MAX_TRIES", 1)
    page = desk.page
    assert_accessible(page, "where a conversation begins")
    desk.stub.fault = "500"  # type: ignore[attr-defined]
    desk.begin()
    desk.write(WORDS)
    page.wait_for_selector("text=The answers could not be written")
    assert page.locator(f"text={WORDS}").count() == 1
    assert_accessible(page, "answers that could not be written")
    desk.works = False
    desk.stub.fault = ""  # type: ignore[attr-defined]
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("text=Two answers are being written")
    for theme in ("dark", "light"):
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.wait_for_timeout(200)
        assert_accessible(page, f"waiting, {theme}")
    desk.work(Turn.objects.get())
    desk.judge("3")
    page.wait_for_selector("text=Which answer shall")
    assert_accessible(page, "a choice after a tie")
    page.wait_for_selector(READY)
    page.keyboard.press("2")
    page.wait_for_selector("#live-text:focus")
    for theme in ("dark", "light"):
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.wait_for_timeout(200)
        assert_accessible(page, f"the field below the chat, {theme}")
    page.get_by_role("button", name="End", exact=True).click()
    page.click("#confirm [data-confirm-yes]")
    page.wait_for_selector("text=My conversations")
    assert_accessible(page, "one's own conversations")
    page.click("tbody a")
    page.wait_for_selector("text=This conversation has ended")
    assert_accessible(page, "a conversation that has ended")
