"""Whoever is told by a dataset which model wrote an answer is known to have been told; what can be hidden is."""

import pytest
from django.core.management import call_command
from django.test import Client
from pydantic import SecretStr

from accounts.models import Role
from generation.models import ModelReveal
from tests.annotation.builders import make_user
from tests.api.client import Api
from tests.training.judged import freeze, make_judged, make_project
from training.exports.job import run_export, start_export
from training.exports.links import link_for
from training.pushing.job import start_push

pytestmark = pytest.mark.django_db


class Lab:
    """A researcher, by page and by token, and an open campaign with a dataset frozen of it."""

    def __init__(self, **selection) -> None:
        self.project = make_project(slug="lab")
        self.campaign = make_judged(self.project)
        self.job = self.campaign.jobs.get()
        if "models" in selection:
            selection["models"] = [self.job.arms.get().model_version.key]
        self.snapshot = freeze(self.project, [self.campaign], selection=selection)
        self.ravi = make_user("Ravi", self.project, Role.RESEARCHER)
        self.page, self.api = Client(), Api(self.project, self.ravi)
        self.page.force_login(self.ravi)
        self.row = self.api.get(f"datasets/{self.snapshot.key}/rows").json()["results"][0]["id"]
        ModelReveal.objects.all().delete()

    def has_seen(self) -> str:
        """Where Ravi was told of the models, or nothing."""
        found = ModelReveal.objects.filter(user=self.ravi, job=self.job).first()
        assert ModelReveal.objects.count() == bool(found)
        return found.page if found else ""

    def export(self, file_format: str, **options) -> tuple[str, str]:
        """The addresses of the file: on the page, by the API."""
        job = start_export(snapshot=self.snapshot, file_format=file_format, container="jsonl", options=options, by=None)
        run_export(job.pk)
        job.refresh_from_db()
        return link_for(job, self.ravi), f"exports/{job.key}/files/{job.filename}"


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)


@pytest.mark.parametrize(("name", "told"), [("records.jsonl", "download"), ("train.jsonl", ""), ("README.md", "")])
def test_a_file_that_names_the_models_is_known_to_have_been_had(name, told):
    lab = Lab()
    assert lab.page.head(f"/p/lab/datasets/{lab.snapshot.key}/files/{name}").status_code in (200, 405)
    assert lab.has_seen() == ""
    assert lab.page.get(f"/p/lab/datasets/{lab.snapshot.key}/files/{name}").status_code == 200
    assert lab.has_seen() == told
    ModelReveal.objects.all().delete()
    assert lab.api.get(f"datasets/{lab.snapshot.key}/files/{name}").status_code == 200
    assert lab.has_seen() == told
    assert lab.api.get(f"datasets/{lab.snapshot.key}/files/{name}").status_code == 200, "once more"


@pytest.mark.parametrize("file_format", ["whetstone", "arena", "rankings"])
def test_an_export_with_models_counts_and_one_without_does_not(file_format):
    lab = Lab()
    for models, told in ((False, ""), (True, "download")):
        link, address = lab.export(file_format, models=models)
        assert lab.page.get(link).status_code == 200
        assert lab.has_seen() == told
        ModelReveal.objects.all().delete()
        assert lab.api.get(address).status_code == 200
        assert lab.has_seen() == told


def test_an_export_that_cannot_name_models_tells_nothing():
    lab = Lab()
    link, _ = lab.export("trl-preference", models=True)
    assert lab.page.get(link).status_code == 200
    assert lab.has_seen() == ""


@pytest.mark.parametrize(
    ("selection", "options", "told"),
    [
        ({}, {}, ""),
        ({}, {"with_votes": True}, "download"),
        ({}, {"export": "arena"}, "download"),
        ({"models": ["its own"]}, {}, "dataset"),
    ],
)
def test_who_pushes_what_tells_the_models_can_read_it_there(settings, selection, options, told):
    given = {"s3_url": "s3://sets", "s3_access_key_id": "key", "s3_secret_access_key": SecretStr("secret")}
    settings.WHETSTONE = settings.WHETSTONE.model_copy(update=given)
    lab = Lab(**selection)
    if "export" in options:
        lab.export(options["export"], models=True)
        options = {"export": lab.snapshot.exports.get()}
    start_push(snapshot=lab.snapshot, to="s3", target="set", by=lab.ravi, **options)
    assert lab.has_seen() == told


def test_the_command_counts_for_who_it_is_run_by(tmp_path):
    lab = Lab()
    given = [lab.snapshot.key, str(tmp_path / "x"), "--project", "lab", "--by", lab.ravi.username, "--format", "arena"]
    call_command("export", *given)
    assert lab.has_seen() == ""
    call_command("export", *given, "--models")
    assert lab.has_seen() == "download"


@pytest.mark.parametrize(("selection", "told"), [({}, ""), ({"models": ["its own"]}, "dataset")])
def test_frozen_rows_chosen_by_model_tell_who_wrote_them(selection, told):
    lab = Lab(**selection)
    other = freeze(lab.project, [lab.campaign])
    here, there = f"/p/lab/datasets/{lab.snapshot.key}/", f"datasets/{lab.snapshot.key}"
    link, address = lab.export("trl-preference")
    pages = ["", f"rows/{lab.row}/", "files/train.jsonl", "files/train.parquet", f"compare/?with={other.key}"]
    calls = ["rows", f"rows/{lab.row}/lineage", "files/train.jsonl", f"compare?to={other.key}"]
    asked = [(lab.page, here + each) for each in pages] + [(lab.api, f"{there}/{each}") for each in calls]
    for client, path in [*asked, (lab.page, link), (lab.api, address)]:
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert lab.has_seen() == told, path
        ModelReveal.objects.all().delete()
    assert lab.api.get(there).status_code == 200
    assert lab.has_seen() == "", "the recipe alone names no answer's model"


def test_the_preview_of_rows_chosen_by_model_hides_them_by_script_as_on_the_page():
    lab = Lab()
    recipe = {"campaigns": [lab.campaign.key]}
    by_model = {**recipe, "selection": {"models": [lab.job.arms.get().model_version.key]}}
    assert lab.api.post("datasets/preview", recipe).json()["first_rows"]
    hidden = lab.api.post("datasets/preview", by_model).json()
    assert hidden["n_rows"] and not hidden["first_rows"] and lab.has_seen() == ""
    ModelReveal.objects.create(user=lab.ravi, job=lab.job, page="asked")
    assert lab.api.post("datasets/preview", by_model).json()["first_rows"]
