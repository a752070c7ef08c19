"""The way from a dataset to its file in a real browser: the form follows the format, the page follows the job, the link works."""

from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from django.urls import reverse

from accounts.models import Role
from tests.annotation.screens import OVERFLOW, WCAG
from tests.training.exports.world import exported, make_dataset
from tests.training.judged import make_person
from training.exports.job import run_export
from training.models import ExportJob

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def lab(live_server, page, monkeypatch):
    """Ravi, signed in, in front of a frozen dataset."""
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    dataset = make_dataset()
    client = Client()
    client.force_login(make_person("Ravi", dataset.project, Role.RESEARCHER))
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
    return dataset


@contextmanager
def redrawn(page):
    """Wait until the form that follows what was chosen stands there."""
    settled(page)
    with page.expect_response(lambda answer: "/export/?" in answer.url):
        yield
    settled(page)


def settled(page):
    """New content is shown 20 ms before htmx listens to it; nobody but a test chooses something in between."""
    page.wait_for_selector(".htmx-request, .htmx-swapping, .htmx-settling, .htmx-added", state="detached")


def test_from_the_dataset_to_the_file(lab, page, live_server, tmp_path):
    page.goto(live_server.url + reverse("training:snapshot", args=[lab.project.slug, lab.key]))
    page.get_by_role("link", name="Export").click()
    page.wait_for_url("**/export/")  # until its scripts are there: what is chosen before them is shown by the button
    page.get_by_role("heading", name="What it cannot carry").wait_for()
    with redrawn(page):
        page.get_by_label("Format").select_option("arena")
    page.locator("#export-format").get_by_text("model_a, model_b, tie or tie (bothbad)").wait_for()
    with redrawn(page):
        page.get_by_label("Written as").select_option("csv")
    with redrawn(page):
        page.get_by_label("Name the models").check()
    assert page.get_by_label("Written as").input_value() == "csv", "what was chosen stays"
    assert page.get_by_label("Name the models").is_checked()
    with redrawn(page):
        page.get_by_label("Format").select_option("whetstone")
    page.locator("#export-format").get_by_text("an import of votes").wait_for()
    assert page.get_by_label("Written as").input_value() == "jsonl", "and what the format cannot be does not"
    assert page.get_by_label("Which prompts").count() == 0
    with redrawn(page):
        page.get_by_label("Format").select_option("trl-reward")
    page.locator("#export-format").get_by_text("whose loss uses the margin").wait_for()
    page.get_by_role("button", name="Export", exact=True).click()
    page.get_by_text("Waiting for a free worker.").wait_for()
    run_export(ExportJob.objects.get().pk)
    with page.expect_download() as fetched:
        page.get_by_role("link", name="Download").click()  # it comes by itself: the page asks every two seconds
    path = tmp_path / "fetched"
    fetched.value.save_as(path)
    assert fetched.value.suggested_filename == ExportJob.objects.get().filename
    assert path.read_bytes() == exported(lab, tmp_path, "trl-reward").read_bytes()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_and_everybody_can_use_them(lab, page, live_server, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    job = ExportJob.objects.create(
        project=lab.project, snapshot=lab, file_format="rankings", container="parquet", filename="helpful-rankings-train.parquet",
        options={"split": "train", "details": False, "models": False, "people": True}, source_sha256=lab.artifact_sha256,
        recipe_sha256="0" * 64, unit="KiB",
    )  # fmt: skip
    run_export(job.pk)
    for name, key in (("export-new", lab.key), ("export", job.key)):
        page.goto(live_server.url + reverse(f"training:{name}", args=[lab.project.slug, key]))
        assert page.evaluate(OVERFLOW) <= 0, f"{name} at {width} pixels"
        found = Axe().run(page, options=WCAG).response["violations"]
        assert not found, [(each["id"], each["nodes"][0]["html"]) for each in found]
