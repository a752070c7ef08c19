"""What happens to a task while somebody is at it, in Chromium: its lease runs out, it is taken out, the guidelines change."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from accounts.models import Role
from annotation import guidelines
from annotation.assign import next_assignment
from annotation.expiry import expire_leases
from annotation.models import Assignment, Judgement
from annotation.retire import retire_task
from core.jobs import from_now
from tests.annotation.builders import make_annotator, make_user
from tests.annotation.checks import violations
from tests.annotation.screens import Desk, assert_accessible

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

PLAIN = "Nothing to see here."
NOTICE = "#lease-notice:not([hidden])"


def at_work(page: "Page", live_server: Any, **options: Any) -> Desk:
    """Ana at her first task, a note written and B chosen, on a clock that the test can move."""
    page.clock.install()
    desk = Desk(page, live_server, text=PLAIN, **options)
    desk.begin()
    page.keyboard.press("n")
    page.fill("#comment", "Mine, to be kept.")
    desk.keys("Escape", "2")
    return desk


def lose_the_lease(desk: Desk) -> Assignment:
    """An hour goes by without a sign of Ana, on the server's clock too."""
    turn = Assignment.objects.get(annotator__user=desk.ana, status="open", opened_at__isnull=False)
    Assignment.objects.filter(status="open").update(leased_until=from_now(-1))
    assert expire_leases() >= 1
    return turn


def test_a_notice_stands_in_the_last_two_minutes_and_one_click_keeps_the_task(page: "Page", live_server: Any) -> None:
    at_work(page, live_server, lease_minutes=30)
    page.clock.fast_forward("27:00")
    page.wait_for_timeout(50)
    assert page.locator(NOTICE).count() == 0
    page.clock.fast_forward("01:40")
    page.wait_for_selector(f"{NOTICE} >> text=This task goes back soon")
    assert re.fullmatch(r"[01]:\d\d", page.inner_text("[data-lease-time]"))
    assert_accessible(page, "the notice of a lease")
    Assignment.objects.filter(status="open").update(leased_until=from_now(60))
    with page.expect_response("**/renew/"):
        page.click("text=Keep it")
    page.wait_for_selector(NOTICE, state="detached")
    assert Assignment.objects.filter(leased_until__gt=timezone.now() + timedelta(minutes=29)).exists()


def test_a_late_judgement_counts_while_its_seat_is_free(page: "Page", live_server: Any) -> None:
    desk = at_work(page, live_server, lease_minutes=30)
    turn = lose_the_lease(desk)
    page.clock.fast_forward("31:00")
    page.wait_for_selector(f"{NOTICE} >> text=Send it all the same")
    page.click(".judging-send")
    page.wait_for_function("() => document.querySelector('#said').textContent === 'Saved.'")
    judgement = Judgement.objects.get()
    assert judgement.assignment == turn and judgement.comment == "Mine, to be kept."
    assert violations(desk.campaign) == []


def test_a_late_judgement_without_a_seat_is_kept_for_copying_and_its_time_counts(
    page: "Page", live_server: Any
) -> None:
    desk = at_work(page, live_server, n_tasks=2)
    turn = lose_the_lease(desk)
    for name in ("Ben", "Cem"):
        next_assignment(make_annotator(desk.project, name), desk.campaign)
    page.click(".judging-send")
    page.wait_for_selector("text=This one was not counted")
    written = page.input_value("#written")
    assert "You chose: B is better" in written and "Mine, to be kept." in written
    assert not Judgement.objects.exists() and turn.events.filter(note__contains="late").exists()
    page.reload()
    page.wait_for_selector("#written")  # still there
    assert "Mine, to be kept." in page.input_value("#written")
    page.click("button:has-text('Next task')")
    page.wait_for_selector("text=being judged by others")
    assert violations(desk.campaign) == []


def test_a_task_that_is_taken_out_while_it_is_open_says_so_and_keeps_what_was_written(
    page: "Page", live_server: Any
) -> None:
    desk = at_work(page, live_server, n_tasks=3)
    turn = Assignment.objects.get(status="open", opened_at__isnull=False)
    retire_task(turn.task, by=None, note="Broken.")
    page.click(".judging-send")
    page.wait_for_selector("text=This task was taken out of the campaign")
    assert "Mine, to be kept." in page.input_value("#written")
    assert_accessible(page, "a task that was taken out")
    page.click("button:has-text('Next task')")
    page.wait_for_selector("#judge")
    assert turn.key not in page.url
    desk.ready()
    desk.keys("1")
    desk.send()
    assert Judgement.objects.get().assignment != turn


def test_guidelines_that_change_are_confirmed_before_the_next_task(page: "Page", live_server: Any) -> None:
    desk = Desk(page, live_server, text=PLAIN, guidelines="# Be fair", n_tasks=3)
    with page.expect_response("**/ahead/"):  # the next task lies ready, and is not shown all the same
        desk.begin()
    ravi = make_user("Ravi", desk.project, Role.RESEARCHER)
    guidelines.publish(desk.campaign, "# Be fair\n\nAnd kind.", "Kindness counts, too.", ravi)
    desk.keys("1", "Enter")
    page.wait_for_selector("text=Kindness counts, too.")
    assert page.locator("[data-answer]").count() == 0
    assert Judgement.objects.get().guidelines_version == 1  # what she had read
    page.click("main button.is-primary")
    page.wait_for_selector("#judge")
    desk.ready()
    desk.keys("1")
    desk.send()
    assert Judgement.objects.latest("pk").guidelines_version == 2


def test_no_key_judges_a_task_between_its_swap_and_its_settling(page: "Page", live_server: Any) -> None:
    page.clock.install(time=0)
    desk = Desk(page, live_server, text=PLAIN)
    page.wait_for_selector(".begin-action")
    page.clock.pause_at(3_600)
    desk.open(page)
    page.clock.run_for(190)  # the start page says in 10 ms that keys count
    page.click(".begin-action button.is-primary")
    page.wait_for_selector("#judge")
    page.clock.run_for(15)  # swapped in, and not yet settled
    assert page.locator("[data-ready]").count() == 0
    desk.keys("1")
    assert page.locator("#judge :checked[name=choice]").count() == 0
    page.clock.run_for(10)
    page.clock.run_for(200)
    desk.ready()
    desk.keys("1")
    assert page.locator("#judge :checked[name=choice]").count() == 1
