"""What htmx and the chart library make of the pages, in a real browser: live preview, derived settings, curves that grow."""

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from accounts.models import Role
from config.env import ROOT
from tests.training.judged import freeze, make_judged, make_person, make_project, make_version
from training.models import MetricPoint, Snapshot, TrainingRun

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def lab(live_server, page, monkeypatch):
    """Ravi, signed in, in front of a project with a frozen dataset of four judgements."""
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    project = make_project(slug="lab")
    campaign = make_judged(project, ["A", "B", "A", "tie"], n_held_out=1)
    base = make_version(
        project, "start", source=str(ROOT / "starter" / "model"), facts={"n_parameters": 10, "context_length": 64}
    )
    client = Client()
    client.force_login(make_person("Ravi", project, Role.RESEARCHER))
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
    snapshot = freeze(project, [campaign], name="first")
    return project, base, snapshot


def go(page, live_server, name: str, *args: str) -> None:
    page.goto(live_server.url + reverse(f"training:{name}", args=["lab", *args]))


def test_the_preview_follows_the_form_and_the_form_still_freezes(lab, page, live_server):
    go(page, live_server, "snapshot-new")
    preview = page.locator("#preview")
    preview.get_by_text("of 4 judgements").wait_for()
    page.get_by_role("checkbox").first.uncheck()
    preview.get_by_text("Choose at least one campaign.").wait_for()
    assert page.get_by_label("Name", exact=True).input_value() == "dataset-2", "what was typed stays"
    assert "csrf" not in page.url
    page.get_by_role("checkbox").first.check()
    preview.get_by_text("of 4 judgements").wait_for()
    page.get_by_role("button", name="Freeze").click()
    page.wait_for_url("**/datasets/*/")
    assert Snapshot.objects.filter(name="dataset-2").exists()


def test_derived_settings_follow_the_answers_and_what_is_set_by_hand(lab, page, live_server):
    go(page, live_server, "run-new")
    page.get_by_text("Settings, for experts").click()
    row = page.locator("#derived tr", has=page.get_by_text("beta", exact=True))
    row.get_by_text("measured on the starter model").first.wait_for()
    page.get_by_label("beta by hand").fill("0.3")
    page.get_by_label("beta by hand").press("Tab")
    page.locator("#derived tr", has_text="set by hand").first.wait_for()
    assert page.get_by_label("beta by hand").input_value() == "0.3"
    page.get_by_label("Reward model").check()
    page.locator("#derived").get_by_text("There is no setting 'beta'").wait_for()


def test_choosing_a_judge_asks_for_what_it_needs(lab, page, live_server):
    go(page, live_server, "evaluation-new")
    page.get_by_label("Reward accuracy").check()
    page.locator("#evaluation-fields").get_by_label("Dataset").wait_for()
    assert page.locator("#evaluation-fields").get_by_label("Against").count() == 0
    page.get_by_label("Win rate by people").check()
    page.locator("#evaluation-fields").get_by_label("Against").wait_for()


def test_the_curves_of_a_run_grow_until_it_is_over(lab, page, live_server):
    project, base, snapshot = lab
    run = TrainingRun.objects.create(
        project=project, method="dpo", base=base, snapshot=snapshot, status="running", step=2, total_steps=4
    )

    def measured(*steps: int) -> None:
        MetricPoint.objects.bulk_create(MetricPoint(run=run, name="loss", step=s, value=1 / s) for s in steps)

    measured(1, 2)
    go(page, live_server, "run", run.key)
    page.locator("#chart-loss-canvas canvas").wait_for()
    page.get_by_text("2 of 4 steps").wait_for()
    page.get_by_text("As a table").click()
    measured(3, 4)
    TrainingRun.objects.filter(pk=run.pk).update(step=4, status="succeeded")
    page.get_by_text("4 of 4 steps").wait_for()
    assert page.locator("#chart-loss-canvas canvas").count() == 1, "the same chart, fed anew"
    assert page.locator("#run[hx-trigger]").count() == 0, "polling has ended"
    assert page.locator("#chart-loss-table tbody tr").nth(3).is_visible(), (
        "the table stays open while the page is drawn anew"
    )
