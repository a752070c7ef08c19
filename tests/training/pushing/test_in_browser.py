"""The pages of pushes and of where something went, in a real browser: they fit, and everybody can use them."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from django.urls import reverse
from pydantic import SecretStr

from accounts.models import Role
from tests.annotation.screens import OVERFLOW, WCAG
from tests.training.exports.world import make_dataset
from tests.training.judged import make_person
from training.models import PushJob

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_and_everybody_can_use_them(live_server, page, monkeypatch, width, scheme):
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    given = {"hub_token": SecretStr("hf_x"), "hub_offline": False}
    monkeypatch.setattr(settings, "WHETSTONE", settings.WHETSTONE.model_copy(update=given))
    dataset = make_dataset()
    client = Client()
    client.force_login(make_person("Ravi", dataset.project, Role.RESEARCHER))
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    push = PushJob.objects.create(
        project=dataset.project, snapshot=dataset, destination="s3", target="set-1", address="s3://bucket/a-long-folder/lab-1/set-1",
        status="failed", error="The storage could not be reached. Look at the network, then go on with the push.",
    )  # fmt: skip
    judgement = dataset.members.first().judgement
    prompt = judgement.assignment.task.prompt
    project = dataset.project.slug
    for name, address in (
        ("push-new", reverse("training:push-new", args=[project, dataset.key])),
        ("push", reverse("training:push", args=[project, push.key])),
        ("holdings", reverse("training:holdings-prompts", args=[project, prompt.key]) + f"?dataset={dataset.key}"),
        ("judgement", reverse("training:judgement", args=[project, judgement.key])),
    ):
        page.goto(live_server.url + address)
        assert page.evaluate(OVERFLOW) <= 0, f"{name} at {width} pixels"
        found = Axe().run(page, options=WCAG).response["violations"]
        assert not found, [(each["id"], each["nodes"][0]["html"]) for each in found]
