"""An import of votes in a browser: the preview, the page that follows the job by itself, a phone's width."""

from typing import TYPE_CHECKING, Any

import pytest

from accounts.models import Role
from annotation.models import VoteImport
from annotation.votes.job import run_import
from tests.annotation.builders import make_project, make_user
from tests.annotation.votes import jsonl, row

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


def test_votes_are_looked_at_imported_and_followed(
    page: "Page", live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    project = make_project()
    ravi = make_user("Ravi", project, Role.RESEARCHER)
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(f"{live_server.url}/p/{project.slug}/campaigns/import/")
    page.fill("input[name=username]", ravi.username)
    page.fill("input[name=password]", "a long password")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "sign-in" not in url)  # there, too, is a field for a name
    page.get_by_label("Name").fill("Arena")
    file = jsonl(row(1), row(2, prompt="x" * 500)).read()
    page.get_by_label("File").set_input_files({"name": "v.jsonl", "mimeType": "application/json", "buffer": file})
    page.get_by_role("button", name="Look at it").click()
    page.get_by_text("Nothing is imported yet").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_role("button", name="Cancel").wait_for()
    run_import(VoteImport.objects.get().pk)
    page.get_by_role("link", name="Look at the campaign").click()  # the page has asked again by itself
    page.get_by_role("heading", name="How often each model was preferred").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_columns_of_a_table_are_named_on_a_phone(
    page: "Page", live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    project = make_project()
    ravi = make_user("Ravi", project, Role.RESEARCHER)
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(f"{live_server.url}/p/{project.slug}/campaigns/import/")
    page.fill("input[name=username]", ravi.username)
    page.fill("input[name=password]", "a long password")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "sign-in" not in url)  # there, too, is a field for a name
    page.get_by_label("Name").fill("Table")
    file = f"Asked,First,Second,Best,{'A column with a long name ' * 4}\nWhy?,x,y,tie,{'z' * 300}\n".encode()
    page.get_by_label("File").set_input_files({"name": "v.csv", "mimeType": "text/csv", "buffer": file})
    page.get_by_role("button", name="Look at it").click()
    page.get_by_role("heading", name="Which column is what").wait_for()
    assert page.get_by_role("button", name="Import", exact=True).count() == 0
    for role, column in (("Prompt", "Asked"), ("Answer a", "First"), ("Answer b", "Second"), ("Winner", "Best")):
        page.get_by_label(role, exact=True).or_(page.get_by_label(f"{role} (optional)", exact=True)).select_option(
            column
        )
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Read it so").click()
    page.get_by_text("Somebody: tie").wait_for()
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_role("button", name="Cancel").wait_for()
    run_import(VoteImport.objects.get().pk)
    page.get_by_role("link", name="Look at the campaign").wait_for()
