"""Pages about prompts, jobs and models: in full, as a fragment, without access, with a wrong method."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import Membership, Project, Role, User
from annotation.models import Campaign
from core.ids import new_key, sha256_hex
from generation.models import (
    Candidate,
    Deployment,
    Endpoint,
    GenerationJob,
    JobArm,
    ModelFetch,
    ModelVersion,
    Prompt,
    PromptImport,
    PromptSet,
)
from generation.prompt_importing import run_import
from generation.prompts import start_import
from generation.registry import LineageLink, _lineage_sources, add_lineage_source

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}
SECRET_MODEL = "very-secret-model"


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)


class World:
    """A project with one of everything that these pages show."""

    def __init__(self) -> None:
        self.project = Project.objects.create(slug="loop", name="Loop")
        self.ravi = self.member("ravi", Role.RESEARCHER)
        self.ana = self.member("ana", Role.ANNOTATOR)
        self.olga = User.objects.create_user("olga")
        rows = [
            {"prompt": "Hello <b>there</b>", "tags": ["greeting"], "note": "n", "licence": "x"},
            {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]},
            {"turns": ["First", "Second"]},
        ]
        upload = io.BytesIO("".join(json.dumps(row) + "\n" for row in [*rows, {"prompt": ""}]).encode())
        self.imported = start_import(
            project=self.project, upload=upload, filename="p.jsonl", name="Set", skip_bad_rows=True, by=self.ravi
        )
        run_import(self.imported.pk)
        self.imported.refresh_from_db()
        self.set = PromptSet.objects.get()
        self.prompt = Prompt.objects.get(number=1)
        self.version = ModelVersion.objects.create(
            project=self.project, slug=SECRET_MODEL, kind="base", source="/m", facts={"n_parameters": 2_000_000}
        )
        self.endpoint = Endpoint.objects.create(name="here", engine="vllm", base_url="http://127.0.0.1:1")
        self.deployment = Deployment.objects.create(
            project=self.project, endpoint=self.endpoint, model_version=self.version, served_name="x", stage="live"
        )
        self.job = GenerationJob.objects.create(
            project=self.project,
            prompt_set=self.set,
            prompt_ids=list(Prompt.objects.values_list("pk", flat=True)),
            n_answers=2,
            total_steps=6,
            step=2,
            status="running",
            message="vLLM is down, trying again in 8 s.",
            failures=[{"prompt": self.prompt.pk, "arm": 0, "index": 1, "reason": "too long"}],
            n_failed=1,
        )
        self.arm = JobArm.objects.create(
            job=self.job,
            number=0,
            model_version=self.version,
            deployment=self.deployment,
            sampling={"temperature": 0.5},
        )
        for index, text in enumerate(["A **bold** answer", "<script>alert(1)</script>"]):
            Candidate.objects.create(
                arm=self.arm, prompt=self.prompt, index=index, text=text, text_sha256=sha256_hex(text)
            )
        self.fetch = ModelFetch.objects.create(project=self.project, source="owner/name", slug="name")

    def member(self, name: str, role: Role) -> User:
        user = User.objects.create_user(name)
        Membership.objects.create(project=self.project, user=user, **Membership.flags({role}))
        return user

    def url(self, name: str, *keys: str) -> str:
        return reverse(f"generation:{name}", args=[self.project.slug, *keys])

    @property
    def pages(self) -> dict[str, str]:
        return {
            "prompt-sets": self.url("prompt-sets"),
            "prompt-set": self.url("prompt-set", self.set.key),
            "prompt": self.url("prompt", self.set.key, self.prompt.key),
            "prompt-import": self.url("prompt-import"),
            "prompt-set-import": self.url("prompt-set-import", self.set.key),
            "import": self.url("import", self.imported.key),
            "jobs": self.url("jobs"),
            "job-new": self.url("job-new"),
            "job": self.url("job", self.job.key),
            "answers": self.url("answers", self.job.key),
            "models": self.url("models"),
            "model": self.url("model", self.version.key),
            "model-new": self.url("model-new"),
            "model-fetch": self.url("model-fetch", self.fetch.key),
        }

    @property
    def actions(self) -> dict[str, str]:
        return {
            "import-cancel": self.url("import-cancel", self.imported.key),
            "import-retry": self.url("import-retry", self.imported.key),
            "prompt-set-delete": self.url("prompt-set-delete", self.set.key),
            "job-reveal": self.url("job-reveal", self.job.key),
            "job-cancel": self.url("job-cancel", self.job.key),
            "job-go-on": self.url("job-go-on", self.job.key),
        }


@pytest.fixture
def world() -> World:
    return World()


def client_of(user: User | None) -> Client:
    client = Client()
    if user:
        client.force_login(user)
    return client


PAGES = [
    "prompt-sets", "prompt-set", "prompt", "prompt-import", "prompt-set-import", "import", "jobs", "job-new", "job",
    "answers", "models", "model", "model-new", "model-fetch",
]  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_each_page_comes_whole_and_as_a_part(world: World, name: str) -> None:
    ravi = client_of(world.ravi)
    whole, part = ravi.get(world.pages[name]), ravi.get(world.pages[name], **HTMX)
    assert (whole.status_code, part.status_code) == (200, 200)
    assert b"<!doctype html>" in whole.content
    assert b"<!doctype html>" not in part.content
    assert b"<h1>" in part.content
    assert b" style=" not in whole.content


@pytest.mark.parametrize("name", PAGES)
def test_no_page_opens_without_the_role(world: World, name: str) -> None:
    url = world.pages[name]
    assert client_of(world.ana).get(url).status_code == 403
    assert client_of(world.olga).get(url).status_code == 404
    assert client_of(None).get(url).status_code == 302


@pytest.mark.parametrize("name", PAGES)
def test_no_page_takes_a_wrong_method(world: World, name: str) -> None:
    assert client_of(world.ravi).delete(world.pages[name]).status_code == 405


@pytest.mark.parametrize(
    "name", ["import-cancel", "import-retry", "prompt-set-delete", "job-reveal", "job-cancel", "job-go-on"]
)
def test_an_action_is_a_post_by_someone_with_the_role(world: World, name: str) -> None:
    url = world.actions[name]
    assert client_of(world.ravi).get(url).status_code == 405
    assert client_of(world.ana).post(url).status_code == 403
    assert client_of(world.olga).post(url).status_code == 404
    assert Client(enforce_csrf_checks=True).post(url).status_code == 403


def test_another_projects_things_are_not_found(world: World) -> None:
    other = Project.objects.create(slug="other", name="Other")
    Membership.objects.create(project=other, user=world.olga, **Membership.flags({Role.RESEARCHER}))
    olga = client_of(world.olga)
    for url in world.pages.values():
        foreign = url.replace("/p/loop/", "/p/other/")
        if world.set.key in url or any(k in url for k in (world.job.key, world.version.key, world.imported.key)):
            assert olga.get(foreign).status_code == 404, foreign


# ---- prompts ---------------------------------------------------------------------------------------------------------


def test_text_of_strangers_is_shown_inert(world: World) -> None:
    ravi = client_of(world.ravi)
    for name in ("prompt-set", "prompt", "answers"):
        page = ravi.get(world.pages[name]).content
        assert b"<b>there</b>" not in page
        assert b"<script>alert" not in page
    assert b"<strong>bold</strong>" in ravi.get(world.pages["answers"]).content


@pytest.mark.parametrize(
    ("query", "n"),
    [("q=hello", 1), ("q=Be+brief", 1), ("tag=greeting", 1), ("tag=nothing", 0), ("q=%25", 0), ("split=nowhere", 3)],
)
def test_prompts_are_found_by_words_tags_and_split(world: World, query: str, n: int) -> None:
    page = client_of(world.ravi).get(f"{world.pages['prompt-set']}?{query}").content.decode()
    assert page.count('<td data-label="Prompt">') == n


@pytest.mark.parametrize("query", ["page=99999999", "page=x", "q=%00", "tag=" + "x" * 5000, "q=%22%5C"])
def test_odd_queries_do_no_harm(world: World, query: str) -> None:
    assert client_of(world.ravi).get(f"{world.pages['prompt-set']}?{query}").status_code == 200


def test_pasted_lines_become_an_import(world: World) -> None:
    data = {"key": new_key(), "name": "Pasted", "pasted": "one\ntwo\n\nthree"}
    answer = client_of(world.ravi).post(world.pages["prompt-import"], data)
    assert answer.status_code == 303
    job = PromptImport.objects.get(set__name="Pasted")
    assert answer.headers["Location"] == world.url("import", job.key)
    run_import(job.pk)
    assert list(job.set.prompts.order_by("number").values_list("messages__0__content", flat=True)) == [
        "one", "two", "three",
    ]  # fmt: skip


def test_a_double_click_on_import_is_one_import(world: World) -> None:
    data = {"key": new_key(), "name": "Twice", "pasted": "one"}
    ravi = client_of(world.ravi)
    answers = [ravi.post(world.pages["prompt-import"], data) for _ in range(2)]
    assert answers[0].headers["Location"] == answers[1].headers["Location"]
    assert PromptSet.objects.filter(name="Twice").count() == 1


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (SimpleUploadedFile("p.jsonl", b"\x1f\x8b\x08rest"), "gzip"),
        (SimpleUploadedFile("p.csv", b'{"prompt": "x"}\n'), "holds JSON Lines"),
        (SimpleUploadedFile("p.jsonl", b""), "empty"),
        (SimpleUploadedFile("p.csv", b"a,b\n1,2\n"), None),
    ],
)
def test_a_file_that_cannot_be_read_is_a_sentence_on_the_form(
    world: World, file: SimpleUploadedFile, sentence: str | None
) -> None:
    file.seek(0)
    answer = client_of(world.ravi).post(world.pages["prompt-import"], {"key": new_key(), "name": "Odd", "file": file})
    if sentence is None:  # found out by the job, which says so on its page
        job = PromptImport.objects.get(set__name="Odd")
        run_import(job.pk)
        page = client_of(world.ravi).get(world.url("import", job.key)).content.decode()
        assert "No column holds a prompt; found: a, b" in page
        return
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not PromptSet.objects.filter(name="Odd").exists()


def test_the_import_page_lists_bad_rows_and_hands_out_the_report(world: World) -> None:
    ravi = client_of(world.ravi)
    page = ravi.get(world.pages["import"]).content.decode()
    assert "The prompt is empty." in page
    assert "every 1s" not in page  # it is over, so it polls no more
    report = ravi.get(world.url("import-report", world.imported.key))
    assert report.headers["Content-Disposition"].startswith("attachment")
    assert report.headers["X-Content-Type-Options"] == "nosniff"
    assert b"4,The prompt is empty." in b"".join(report.streaming_content)  # type: ignore[attr-defined]
    assert client_of(world.ana).get(world.url("import-report", world.imported.key)).status_code == 403


def test_a_running_import_polls_itself(world: World) -> None:
    PromptImport.objects.update(status="running")
    assert 'hx-trigger="every 1s"' in client_of(world.ravi).get(world.pages["import"], **HTMX).content.decode()


def test_a_used_set_is_not_deleted_and_the_page_says_why(world: World) -> None:
    ravi = client_of(world.ravi)
    assert "Answers have been generated for it." in ravi.get(world.pages["prompt-set"]).content.decode()
    answer = ravi.post(world.actions["prompt-set-delete"])
    assert answer.status_code == 422
    assert PromptSet.objects.exists()


# ---- jobs ------------------------------------------------------------------------------------------------------------


def test_one_click_generates_with_what_the_form_opens_with(world: World) -> None:
    ravi = client_of(world.ravi)
    form = ravi.get(world.pages["job-new"]).context["form"]
    data: dict[str, Any] = {"key": form["key"].value()}
    for field in form:
        value = field.value()
        if value is None or value is False:
            continue
        if field.name == "deployments":
            value = list(value)
        data[field.name] = getattr(value, "pk", value)
    answers = [ravi.post(world.pages["job-new"], data) for _ in range(2)]
    assert answers[0].status_code == 303, answers[0].content.decode()
    assert answers[0].headers["Location"] == answers[1].headers["Location"]
    job = GenerationJob.objects.exclude(pk=world.job.pk).get()
    assert (job.n_answers, len(job.prompt_ids), job.arms.count(), job.requested_by) == (4, 3, 1, world.ravi)


def test_several_temperatures_are_several_arms(world: World) -> None:
    data = {
        "key": new_key(), "prompt_set": world.set.pk, "n_answers": 1, "deployments": [world.deployment.pk],
        "order": "number", "temperatures": "0.5, 1", "max_tokens": 10, "top_p": 1, "top_k": 0, "min_p": 0,
        "repetition_penalty": 1, "seed": 3, "stop": "END\r\n###",
    }  # fmt: skip
    assert client_of(world.ravi).post(world.pages["job-new"], data).status_code == 303
    job = GenerationJob.objects.exclude(pk=world.job.pk).get()
    assert [arm.sampling["temperature"] for arm in job.arms.order_by("number")] == [0.5, 1.0]
    assert job.arms.first().sampling["stop"] == ["END", "###"]  # type: ignore[union-attr]
    bad = client_of(world.ravi).post(world.pages["job-new"], {**data, "temperatures": "hot", "key": new_key()})
    assert bad.status_code == 422
    assert "Write numbers, separated by commas." in bad.content.decode()


def test_the_job_page_polls_while_it_runs_and_says_what_it_waits_for(world: World) -> None:
    ravi = client_of(world.ravi)
    page = ravi.get(world.pages["job"]).content.decode()
    assert 'hx-trigger="every 2s"' in page
    assert "vLLM is down, trying again in 8 s." in page
    assert "too long" in page
    GenerationJob.objects.update(status="succeeded")
    assert "every 2s" not in ravi.get(world.pages["job"]).content.decode()


def test_no_page_about_a_job_names_a_model_before_the_reveal(world: World) -> None:
    ravi = client_of(world.ravi)
    for name in ("jobs", "job", "answers"):
        page = ravi.get(world.pages[name]).content.decode()
        assert SECRET_MODEL not in page
        assert "0.5" not in page  # nor the settings, which would tell arms apart
    assert not world.job.reveals.exists()
    assert ravi.post(world.actions["job-reveal"], {"from": "answers"}).status_code == 303
    assert world.job.reveals.get().user == world.ravi
    for name in ("job", "answers"):
        assert SECRET_MODEL in ravi.get(world.pages[name]).content.decode()


def test_models_are_open_once_every_campaign_of_the_job_is_closed(world: World) -> None:
    campaign = Campaign.objects.create(project=world.project, name="c", stage="closed")
    campaign.jobs.add(world.job)
    page = client_of(world.ravi).get(world.pages["job"]).content.decode()
    assert SECRET_MODEL in page
    assert world.job.reveals.get().user == world.ravi  # a later campaign over these answers must know


def test_models_seen_while_no_campaign_was_open_stay_seen(world: World) -> None:
    campaign = Campaign.objects.create(project=world.project, name="c", stage="closed")
    campaign.jobs.add(world.job)
    client_of(world.ravi).get(world.pages["answers"])
    Campaign.objects.create(project=world.project, name="again", stage="open").jobs.add(world.job)
    assert world.job.reveals.get().user == world.ravi


def test_answers_are_not_ordered_by_arm_while_models_are_hidden(world: World) -> None:
    other = ModelVersion.objects.create(project=world.project, slug="other", kind="base", source="/o")
    arm = JobArm.objects.create(job=world.job, number=1, model_version=other, deployment=world.deployment)
    texts = [f"other {n}" for n in range(4)]
    for index, text in enumerate(texts):
        Candidate.objects.create(arm=arm, prompt=world.prompt, index=index, text=text, text_sha256=sha256_hex(text))
    rows = client_of(world.ravi).get(world.pages["answers"]).context["rows"]
    shown = [answer.candidate.text_sha256 for answer in rows[0].answers]
    assert shown == sorted(shown)


def test_a_job_is_cancelled_and_goes_on_from_its_page(world: World) -> None:
    ravi = client_of(world.ravi)
    assert ravi.post(world.actions["job-cancel"]).status_code == 303
    world.job.refresh_from_db()
    assert world.job.status == "cancelling"
    assert ravi.post(world.actions["job-cancel"]).status_code == 303  # a second click changes nothing
    assert ravi.post(world.actions["job-go-on"]).status_code == 409
    GenerationJob.objects.update(status="cancelled")
    assert ravi.post(world.actions["job-go-on"]).status_code == 303
    world.job.refresh_from_db()
    assert world.job.status == "queued"


def test_a_job_whose_model_was_retired_does_not_go_on(world: World) -> None:
    GenerationJob.objects.update(status="failed")
    Deployment.objects.update(stage="retired")
    answer = client_of(world.ravi).post(world.actions["job-go-on"])
    assert answer.status_code == 422
    assert "The model of arm A is not served any more." in answer.content.decode()


@pytest.mark.parametrize("missing", ["prompts", "models"])
def test_what_is_missing_for_generating_is_said(world: World, missing: str) -> None:
    if missing == "models":
        Deployment.objects.update(stage="retired")
    else:
        PromptSet.objects.update(n_prompts=0)
    page = client_of(world.ravi).get(world.pages["job-new"]).content.decode()
    assert ("No model is live" if missing == "models" else "There are no prompts yet") in page


# ---- models ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def _told() -> Iterator[None]:
    before = list(_lineage_sources)
    add_lineage_source(lambda version: [LineageLink("Judgements", "300 by 3 people", "/p/loop/datasets/x/")])
    yield
    _lineage_sources[:] = before


@pytest.mark.usefixtures("_told")
def test_a_version_shows_its_parents_and_what_the_layers_above_tell(world: World) -> None:
    adapter = ModelVersion.objects.create(
        project=world.project, slug="round-1", kind="adapter", parent=world.version, artifact_sha256="a" * 64
    )
    page = client_of(world.ravi).get(world.url("model", adapter.key)).content.decode()
    assert page.index("<strong>round-1</strong>") < page.index("300 by 3 people") < page.index(f"{SECRET_MODEL}</a>")
    assert 'href="/p/loop/datasets/x/"' in page


def test_the_toy_is_called_a_toy_with_the_way_to_another_model(world: World) -> None:
    assert "is a toy" not in client_of(world.ravi).get(world.pages["models"]).content.decode()
    ModelVersion.objects.update(is_toy=True)
    page = client_of(world.ravi).get(world.pages["models"]).content.decode()
    assert "The starter model is a toy." in page
    assert world.pages["model-new"] in page


def test_registering_from_the_page_says_what_is_wrong(world: World, tmp_path: Path) -> None:
    ravi = client_of(world.ravi)
    for source, sentence in (
        (str(tmp_path / "nowhere"), "There is no model directory"),
        ("relative/path/too/long", "neither a hub id nor an absolute path"),
        ("owner/name", "this installation never asks one"),
    ):
        answer = ravi.post(world.pages["model-new"], {"key": new_key(), "source": source})
        assert answer.status_code == 422
        assert sentence in answer.content.decode()
    assert ModelVersion.objects.count() == 1
