"""Pages, API and command of pushes."""

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import Role
from tests.accounts.builders import HTMX
from tests.api.client import Api
from tests.training.judged import make_person
from tests.training.pushing.hub import TOKEN
from training.exports.job import run_export, start_export
from training.models import PushJob
from training.pushing.job import run_push, start_push

pytestmark = pytest.mark.django_db


@pytest.fixture
def sam(dataset):
    return make_person("Sam", dataset.project, Role.RESEARCHER)


@pytest.fixture
def client(sam):
    client = Client()
    client.force_login(sam)
    return client


def form_of(dataset) -> str:
    return f"/p/{dataset.project.slug}/datasets/{dataset.key}/push/"


# ---- pages -----------------------------------------------------------------------------------------------------------


def test_without_credentials_the_page_says_what_to_set_and_offers_nothing(client, dataset):
    page = client.get(form_of(dataset)).content.decode()
    assert "<form class=" not in page.split('id="push-new"')[1]
    for name in (
        "WHETSTONE_HUB_TOKEN",
        "WHETSTONE_HUB_OFFLINE=false",
        "WHETSTONE_S3_URL",
        "WHETSTONE_S3_ACCESS_KEY_ID",
    ):
        assert f"<code>{name}</code>" in page
    refused = client.post(form_of(dataset), {"to": "hub", "target": "lab/set"})
    assert refused.status_code == 200 and not PushJob.objects.exists()


def test_only_what_has_credentials_is_offered(client, dataset, hub):
    page = client.get(form_of(dataset)).content.decode()
    assert 'value="hub"' in page and 'value="s3"' not in page and "WHETSTONE_S3_URL" in page
    assert TOKEN not in page


def test_a_push_by_page_from_the_form_to_its_end(client, dataset, hub):
    asked = client.post(form_of(dataset), {"to": "hub", "target": "lab/set-1"})
    push = PushJob.objects.get()
    assert asked.status_code == 303 and asked.headers["Location"].endswith(f"/datasets/pushes/{push.key}/")
    page = client.get(asked.headers["Location"]).content.decode()
    assert 'hx-trigger="every 2s"' in page and "Waiting for a free worker." in page
    run_push(push.pk)
    done = client.get(asked.headers["Location"], headers=HTMX).content.decode()
    assert "<html" not in done and "every 2s" not in done
    assert f'href="{push.address}"' in done and "it is private" in done
    assert push.address in client.get(form_of(dataset)).content.decode()
    # The next one is offered beside it.
    assert 'value="lab/' in client.get(form_of(dataset)).content.decode()


def test_a_failed_push_says_why_and_goes_on(client, dataset, hub):
    hub.broken["/commit/"] = 500
    push = start_push(snapshot=dataset, to="hub", target="lab/set-1", by=None)
    run_push(push.pk)
    url = f"/p/{dataset.project.slug}/datasets/pushes/{push.key}/"
    page = client.get(url).content.decode()
    assert "The hub answers with an error (500)." in page and "whole or not at all" in page and "Go on</button>" in page
    hub.broken.clear()
    assert client.post(f"{url}again/").status_code == 303
    run_push(push.pk)
    push.refresh_from_db()
    assert push.status == "succeeded"


def test_a_queued_push_is_cancelled_at_once(client, dataset, hub):
    push = start_push(snapshot=dataset, to="hub", target="lab/set-1", by=None)
    client.post(f"/p/{dataset.project.slug}/datasets/pushes/{push.key}/cancel/")
    push.refresh_from_db()
    assert push.status == "cancelled"


def test_an_export_is_pushed_from_its_page(client, dataset, hub):
    export = start_export(snapshot=dataset, file_format="hh", container="jsonl", by=None)
    run_export(export.pk)
    page = client.get(f"/p/{dataset.project.slug}/datasets/exports/{export.key}/").content.decode()
    address = f"{form_of(dataset)}?export={export.key}"
    assert f'href="{address}"' in page
    assert 'name="with_votes"' not in client.get(address).content.decode()
    client.post(address, {"to": "hub", "target": "lab/hh"})
    assert PushJob.objects.get().export == export


@pytest.mark.parametrize("target", ["", "one-word"])
def test_a_name_that_cannot_be_is_told(client, dataset, hub, target):
    answer = client.post(form_of(dataset), {"to": "hub", "target": target})
    assert answer.status_code == 422 and not PushJob.objects.exists()
    assert b"error-summary" in answer.content and b"<form" in answer.content


def test_a_second_push_to_the_same_place_is_told_in_the_form(client, dataset, hub):
    given = {"to": "hub", "target": "lab/set-1"}
    assert client.post(form_of(dataset), given).status_code == 303
    answer = client.post(form_of(dataset), given).content.decode()
    assert "is on its way" in answer.split("error-summary")[1] and 'value="lab/set-1"' in answer


# ---- by script -------------------------------------------------------------------------------------------------------


def test_the_api_pushes_follows_and_goes_on(dataset, hub, sam):
    api = Api(dataset.project, sam, "export")
    places = {each["name"]: each for each in api.get("push-destinations").json()["destinations"]}
    assert (
        places["hub"]["is_offered"] and not places["s3"]["is_offered"] and "WHETSTONE_S3_URL" in places["s3"]["to_set"]
    )
    made = api.post(f"datasets/{dataset.key}/pushes", {"to": "hub", "target": "lab/set-1"})
    assert made.status_code == 201, made.content
    push = PushJob.objects.get(key=made.json()["key"])
    assert (push.requested_by, made.json()["status"], made.json()["is_public"]) == (sam, "queued", False)
    again = api.post(f"datasets/{dataset.key}/pushes", {"to": "hub", "target": "lab/set-1"})
    assert again.status_code == 409
    assert api.post(f"pushes/{push.key}/cancel").json()["status"] == "cancelled"
    assert api.post(f"pushes/{push.key}/retry").json()["status"] == "queued"
    run_push(push.pk)
    told = api.get(f"pushes/{push.key}").json()
    assert (told["status"], told["revision"]) == ("succeeded", f"{2:040x}")
    assert [each["key"] for each in api.get(f"datasets/{dataset.key}/pushes").json()["results"]] == [push.key]
    missing = api.post(f"datasets/{dataset.key}/pushes", {"to": "s3", "target": "set-1"})
    assert missing.status_code == 422 and "WHETSTONE_S3_URL" in missing.json()["how"]


def said(*arguments: str, **options) -> str:
    from io import StringIO

    out = StringIO()
    call_command("export", *arguments, stdout=out, **options)
    return out.getvalue()


def test_the_command_pushes(dataset, hub):
    told = said(dataset.name, "--project", dataset.project.slug, "--to", "hub:lab/set-1", "--public")
    assert told.startswith(f"{hub.url}/datasets/lab/set-1: 5 files")
    assert hub.repos["lab/set-1"]["private"] is False
    said(
        dataset.key, "--project", dataset.project.slug, "--to", "hub:lab/kto", "--format", "trl-unpaired",
        "--container", "parquet",
    )  # fmt: skip
    assert sorted(hub.tree("lab/kto")) == [
        ".gitattributes",
        "README.md",
        f"{dataset.name}-trl-unpaired-train.parquet",
        "manifest.json",
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Give the file to write, or --to with the place to push to."),
        (["x.jsonl", "--to", "hub:lab/a"], "Give the file to write, or --to with the place to push to."),
        (["--to", "ftp:lab"], "There is no such destination. Choose hub or s3."),
        (["--to", "s3:folder"], "S3-compatible storage: this installation has no credentials for it."),
        (["--to", "hub:one"], "“one” is no name of a repository."),
        (["--to", "hub:lab/a", "--split", "test"], "Without --format the frozen dataset is pushed whole"),
        (["--to", "hub:lab/a", "--models"], "Without --format the frozen dataset is pushed whole"),
        (["--to", "hub:lab/a", "--format", "trl-preference", "--with-votes"], "--with-votes is of a push without"),
    ],
)
def test_the_command_refuses_with_a_sentence(dataset, hub, arguments, sentence):
    with pytest.raises(CommandError, match=sentence.replace(".", r"\.")):
        said(dataset.name, *arguments, "--project", dataset.project.slug)
    assert not PushJob.objects.exists()
