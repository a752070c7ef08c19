"""Around judging, in Chromium: a question walks to the lead and back and becomes a ruling in everybody's drawer; a break is due."""

from typing import TYPE_CHECKING, Any

import pytest

from accounts import preferences
from accounts.models import Role, User
from annotation import announcements, guidelines, questions, rulings
from annotation.assign import next_assignment
from annotation.models import Assignment, Campaign, Flag, Question, Workday
from annotation.people import annotator_for
from tests.annotation.builders import make_campaign, make_project, make_user
from tests.annotation.checks import violations
from tests.annotation.screens import OVERFLOW, PASSWORD, READY, assert_accessible

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


class Office:
    """Ana and Ben judge, Rosa leads; each in a browser of their own, or one after the other."""

    def __init__(self, live_server: Any) -> None:
        self.project = make_project()
        self.campaign: Campaign = make_campaign(self.project, n_tasks=4, overlap=2, guidelines="# Be fair")
        self.root = f"{live_server.url}/p/{self.project.slug}"
        self.ana = make_user("Ana", self.project, Role.ANNOTATOR)
        self.ben = make_user("Ben", self.project, Role.ANNOTATOR)
        self.rosa = make_user("Rosa", self.project, Role.REVIEWER)
        self.ravi = make_user("Ravi", self.project, Role.RESEARCHER)
        for user in (self.ana, self.ben):
            guidelines.confirm(annotator_for(user, self.project), self.campaign, 1)

    def sign_in(self, page: "Page", user: User, path: str) -> None:
        page.context.clear_cookies()
        page.goto(f"{self.root}/")
        page.fill("[name=username]", user.username)
        page.fill("[name=password]", PASSWORD)
        page.click("main button")
        page.wait_for_url(lambda url: "sign-in" not in url)
        page.goto(f"{self.root}/{path}")


def test_a_question_comes_back_answered_and_is_a_ruling_in_everybodys_drawer(page: "Page", live_server: Any) -> None:
    office = Office(live_server)
    office.sign_in(page, office.ana, "annotate/")
    page.click("main >> text=Start judging")
    page.wait_for_selector("#judge")
    first = page.url
    page.wait_for_selector(READY)
    page.keyboard.press("q")
    page.wait_for_selector("#ask-text:focus")
    page.keyboard.type("Is a refusal better than a wrong answer?")
    page.click("text=Ask and go on")
    page.wait_for_function("before => location.href !== before", arg=first)
    page.wait_for_selector("#judge")
    turn = Assignment.objects.get(status="parked")
    assert first.endswith(f"/{turn.key}/") and Workday.objects.get().n_parked == 1

    office.sign_in(page, office.rosa, "desk/")
    page.click("text=Is a refusal better")
    page.wait_for_selector("text=Answer B")
    page.fill("[name=answer]", "Yes: **honest** first.")
    page.click("text=Send the answer")
    page.click("text=Make it a ruling as it stands")
    page.wait_for_selector("text=It became a ruling")

    office.sign_in(page, office.ana, "annotate/")
    page.wait_for_selector("main >> text=honest first.")
    page.click("text=Go on with this task")
    page.wait_for_selector("#judge")
    assert page.url == first and "honest" in page.inner_text("#stage")

    office.sign_in(page, office.ben, "annotate/")
    page.click("main >> text=Start judging")
    page.wait_for_selector(READY)
    page.keyboard.press("g")
    page.wait_for_selector("#guidelines[open] #rulings >> text=Is a refusal better")
    page.fill("#guidelines input[type=search]", "no such words")
    page.wait_for_selector("#guidelines >> text=No ruling has these words")
    page.fill("#guidelines input[type=search]", "HONEST")
    page.click("#guidelines #rulings summary")
    assert "Answer A" in page.inner_text("#guidelines") or "ANSWER A" in page.inner_text("#guidelines")
    assert Question.objects.get().status == "answered"
    assert violations(office.campaign) == []


def test_the_desk_works_without_javascript(chromium: Any, live_server: Any) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    office = Office(live_server)
    office.sign_in(page, office.rosa, "desk/announcements/")
    page.fill("[name=text]", "We pause on Friday.")
    with page.expect_navigation():
        page.click("main button:has-text('Announce')")
    office.sign_in(page, office.ana, "annotate/")
    with page.expect_navigation():
        page.click("text=I have read this")
    assert "We pause on Friday." not in page.inner_text("main")
    office.sign_in(page, office.rosa, "desk/announcements/")
    assert "1 of 2" in page.inner_text("main")
    context.close()


def furnish(office: Office) -> list[tuple[User, str]]:
    """Something on every page; who opens it, and where."""
    ana = annotator_for(office.ana, office.project)
    asked = []
    for text in ("Is a refusal better than a wrong answer?", "Does length count?"):
        turn = next_assignment(ana, office.campaign)
        assert turn is not None
        asked.append(
            questions.ask(assignment_key=turn.key, annotator=ana, text=text, active_seconds=40, open_seconds=60)
        )
    first = asked[0]
    questions.answer(question=first, text="Yes: **honest** first.", by=office.rosa)
    ruling = rulings.rule(
        campaign=office.campaign, title="Honest refusals", text="Honest *first*.", by=office.rosa, question=first
    )
    told = announcements.announce(project=office.project, text="We pause on **Friday**.", by=office.rosa)
    slot = first.assignment.task.slots.first()
    flag = Flag.objects.create(
        task=first.assignment.task, annotator=ana, kind="harmful", candidate=slot.candidate, reason="It is rude."
    )
    guidelines.publish(office.campaign, "# Be fair\n\nAnd kind.", "Kindness counts, too.", office.ravi)
    Campaign.objects.update(pay_per_hour=24)
    key = office.campaign.key
    return [
        (office.ana, "annotate/"),
        (office.ana, "annotate/notes/"),
        (office.ana, "annotate/work/"),
        (office.ana, f"annotate/campaign/{key}/guidelines/"),
        (office.ana, "../../account/preferences/"),
        (office.ravi, "desk/"),
        (office.ravi, f"desk/questions/{first.key}/"),
        (office.ravi, f"desk/questions/{asked[1].key}/"),
        (office.ravi, "desk/flags/"),
        (office.ravi, f"desk/flags/{flag.key}/"),
        (office.ravi, "desk/announcements/"),
        (office.ravi, f"desk/announcements/{told.key}/"),
        (office.ravi, "desk/work/"),
        (office.ravi, f"desk/work/?person={ana.pseudonym}"),
        (office.ravi, f"campaigns/{key}/guidelines/"),
        (office.ravi, f"campaigns/{key}/guidelines/2/"),
        (office.ravi, f"campaigns/{key}/rulings/"),
        (office.ravi, f"campaigns/{key}/rulings/{ruling.key}/"),
    ]


def test_every_page_fits_a_phone_and_is_accessible(page: "Page", live_server: Any) -> None:
    office = Office(live_server)
    reader = None
    for number, (user, path) in enumerate(furnish(office)):
        if user != reader:
            office.sign_in(page, user, "")
            reader = user
        page.emulate_media(color_scheme="dark" if number % 2 else "light", reduced_motion="reduce")
        page.set_viewport_size({"width": 360, "height": 740})
        page.goto(f"{office.root}/{path}")
        assert page.evaluate(OVERFLOW) <= 0, path
        page.set_viewport_size({"width": 1280, "height": 800})
        assert_accessible(page, path)


def test_who_asked_for_it_is_told_of_a_break_and_nobody_else(page: "Page", live_server: Any) -> None:
    office = Office(live_server)
    office.sign_in(page, office.ana, f"annotate/campaign/{office.campaign.key}/")
    assert page.locator("#break").count() == 0
    preferences.change(office.ana, break_reminder_minutes=50)
    page.reload()
    assert not page.locator("#break").is_visible()
    page.evaluate("sessionStorage.setItem('whetstone-worked', `2999 ${Date.now()} 3000`)")
    page.reload()
    page.mouse.move(10, 10)
    page.wait_for_selector("text=You have worked for 50 minutes.")
    page.click("#break >> text=In 10 minutes")
    assert not page.locator("#break").is_visible()
    worked, _, due = map(int, page.evaluate("sessionStorage.getItem('whetstone-worked').split(' ')"))
    assert due >= 3600 and due - worked <= 600  # ten minutes after the click, however long that took
