"""The deployments page: what is live, deploy, roll back, try again, and who may."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from accounts.models import Role
from core import jobs
from generation.deploy import live_deployment, request_deployment, run_deployment_job
from generation.models import Deployment
from tests.generation.serving_world import make_adapter, make_base, make_endpoint, make_member, make_project
from tests.generation.stub_vllm import StubVllm

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quiet_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_send", lambda job: None)


@pytest.fixture
def stub() -> Iterator[StubVllm]:
    with StubVllm() as server:
        yield server


@pytest.fixture
def world(stub: StubVllm) -> dict[str, Any]:
    project = make_project()
    ravi = make_member(project, "ravi", Role.RESEARCHER)
    endpoint, base = make_endpoint(stub.url), make_base(project)
    run_deployment_job(request_deployment(version=base, endpoint=endpoint, by=ravi).pk)
    client = Client()
    client.force_login(ravi)
    return {"project": project, "endpoint": endpoint, "base": base, "client": client, "stub": stub}


PAGE = "/p/lab/deployments/"


def fields(world: dict[str, Any], version: Any) -> dict[str, str]:
    return {"model_version": version.key, "endpoint": world["endpoint"].key, "alias": "policy"}


def test_the_page_in_full_as_fragment_without_access_and_by_a_wrong_method(world: dict[str, Any]) -> None:
    client = world["client"]
    page = client.get(PAGE).content.decode()
    assert "<html" in page and "answers with" in page
    part = client.get(PAGE, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part and "answers with" in part
    ana, olga = Client(), Client()
    ana.force_login(make_member(world["project"], "ana", Role.ANNOTATOR))
    olga.force_login(make_member(make_project("other"), "olga", Role.RESEARCHER))
    assert (ana.get(PAGE).status_code, olga.get(PAGE).status_code) == (403, 404)
    assert client.put(PAGE).status_code == 405


def test_deploying_from_the_page_and_rolling_back_with_one_click(world: dict[str, Any]) -> None:
    client, adapter = world["client"], make_adapter(world["base"])
    response = client.post(PAGE, fields(world, adapter))
    assert response.status_code == 303
    assert 'hx-trigger="every 2s"' in client.get(PAGE).content.decode()
    run_deployment_job(Deployment.objects.latest("id").pk)
    page = client.get(response["Location"]).content.decode()
    assert "The server answers as the trained model does." in page
    assert 'hx-trigger="every 2s"' not in page
    assert "Roll back to base" in client.get(PAGE).content.decode()
    assert client.post(f"{PAGE}roll-back/", {"alias": "policy"}).status_code == 303
    assert live_deployment(world["project"]).model_version == world["base"]  # type: ignore[union-attr]


def test_what_cannot_be_served_comes_back_with_a_sentence(world: dict[str, Any]) -> None:
    response = world["client"].post(PAGE, fields(world, make_adapter(world["base"], rank=64)))
    assert response.status_code == 422
    assert "--max-lora-rank 64" in response.content.decode()


def test_a_failed_one_says_why_and_can_be_tried_again(world: dict[str, Any]) -> None:
    world["stub"].keeps_serving_old = True
    world["client"].post(PAGE, fields(world, make_adapter(world["base"])))
    failed = Deployment.objects.latest("id")
    run_deployment_job(failed.pk)
    address = f"{PAGE}{failed.key}/"
    page = world["client"].get(address).content.decode()
    assert "answers exactly as before" in page and "What was live before still answers." in page
    world["stub"].keeps_serving_old = False
    assert world["client"].post(f"{address}retry/").status_code == 303
    run_deployment_job(failed.pk)
    failed.refresh_from_db()
    assert failed.stage == "live"


def test_a_waiting_one_can_be_cancelled(world: dict[str, Any]) -> None:
    world["client"].post(PAGE, fields(world, make_adapter(world["base"])))
    waiting = Deployment.objects.latest("id")
    assert world["client"].post(f"{PAGE}{waiting.key}/cancel/").status_code == 303
    waiting.refresh_from_db()
    assert (waiting.status, waiting.stage) == ("cancelled", "failed")


def test_an_annotator_changes_nothing(world: dict[str, Any]) -> None:
    ana = Client()
    ana.force_login(make_member(world["project"], "ana", Role.ANNOTATOR))
    live = live_deployment(world["project"])
    assert live is not None
    for address in (PAGE, f"{PAGE}roll-back/", f"{PAGE}{live.key}/retire/", f"{PAGE}{live.key}/cancel/"):
        assert ana.post(address, fields(world, world["base"])).status_code == 403
    assert Deployment.objects.count() == 1
