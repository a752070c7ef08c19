"""Importing votes by the pages and by the API: preview, report, the way back, and who may."""

import csv
import io
import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, Project, Role, User
from accounts.tokens import create_token
from annotation.models import Campaign, Judgement, VoteImport
from annotation.votes import job as services
from annotation.votes.job import run_import
from core.ids import new_key
from core.uploads import uploads
from tests.annotation.builders import make_project, make_user
from tests.annotation.votes import import_votes, jsonl, row, vote

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def ravi(project: Project) -> User:
    return make_user("Ravi", project, Role.RESEARCHER)


@pytest.fixture
def page(ravi: User) -> Client:
    client = Client()
    client.force_login(ravi)
    return client


def url(name: str, project: Project, *args: str) -> str:
    return reverse(f"annotation:{name}", args=[project.slug, *args])


def upload(page: Client, project: Project, *rows: Any, **fields: Any) -> Any:
    file = SimpleUploadedFile(fields.pop("filename", "v.jsonl"), jsonl(*rows).read())
    form = {"key": new_key(), "name": "Arena", "question": "Which?", "open_for": 0, "file": file, **fields}
    return page.post(
        url("vote-import-new", project), {name: value for name, value in form.items() if value is not None}
    )


def test_from_upload_over_the_preview_to_the_campaign(page: Client, project: Project, ravi: User) -> None:
    sent = upload(page, project, row(1, votes=[vote("58", "b", order="ba", strength=2)]), "{broken", source="Crowd")
    job = VoteImport.objects.get()
    assert (sent.status_code, sent.url) == (303, url("vote-import", project, job.key))
    seen = page.get(sent.url)
    text = seen.content.decode()
    assert "Nothing is imported yet" in text and "hx-trigger" not in text.split('id="votes"')[1][:200]
    for shown in (
        "Whetstone votes",
        "Two (13B)",
        "I do not know.",
        "58: B &gt; A, strength 2, shown B A",
        "Crowd",
    ):
        assert shown in text
    assert "The line is not JSON" in text, "a bad row among the first is shown as one"
    assert not Campaign.objects.exists()

    assert page.post(url("vote-import-begin", project, job.key)).status_code == 303
    assert 'hx-trigger="every 1s"' in page.get(sent.url).content.decode()
    run_import(job.pk)
    text = page.get(sent.url).content.decode()
    assert "One row cannot be imported" in text and "Import without these rows" in text
    report: Any = page.get(url("vote-import-report", project, job.key))
    assert report["Content-Disposition"].startswith("attachment")
    assert [line[:1] for line in csv.reader(io.StringIO(b"".join(report.streaming_content).decode()))] == [
        ["line"],
        ["2"],
    ]

    page.post(url("vote-import-retry", project, job.key), {"skip": "yes"})
    run_import(job.pk)
    job.refresh_from_db()
    text = page.get(sent.url).content.decode()
    assert job.campaign is not None and url("campaign", project, job.campaign.key) in text
    said = page.get(url("campaign", project, job.campaign.key)).content.decode()
    assert "imported from Crowd" in said and "one-7b" in said, "who brought the file sees the models"
    assert "two-13b" in said and "100 %" in said
    assert "Import votes" in page.get(url("campaigns", project)).content.decode()
    assert "Arena" in page.get(url("judgements", project, job.campaign.key)).content.decode()
    assert {"votes.import", "votes.retry_import"} <= set(AuditEvent.objects.values_list("action", flat=True))


def test_pasted_lines_and_a_form_sent_twice(page: Client, project: Project) -> None:
    key = new_key()
    for _ in range(2):
        sent = upload(page, project, file=None, pasted=jsonl(row(1)).read().decode(), key=key)
        assert sent.status_code == 303
    assert VoteImport.objects.get().key == key


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"file": None}, "Choose a file, or paste some lines."),
        ({"pasted": "x"}, "not both"),
        ({"name": ""}, "This field is required"),
        ({"open_for": 51}, "less than or equal to 50"),
        ({"filename": "v.csv"}, "the file holds JSON Lines"),
    ],
)
def test_a_form_that_cannot_be_says_why(page: Client, project: Project, fields: dict[str, Any], said: str) -> None:
    sent = upload(page, project, row(1), **fields)
    assert sent.status_code == 422 and said in sent.content.decode()
    assert not VoteImport.objects.exists()


def test_a_file_whose_first_row_cannot_be_read_says_why(page: Client, project: Project, api: "Api") -> None:
    deep = '{"prompt": ' + "[" * 50 + "]" * 50 + "}"
    why = "The first row cannot be read. Line 1: The row is nested more than 40 levels deep."
    sent = upload(page, project, deep)
    assert sent.status_code == 422 and why in sent.content.decode()
    told = api.post(data={"name": "Arena", "file": SimpleUploadedFile("v.jsonl", deep.encode())}, is_json=False)
    assert told.status_code == 422 and why in told.json()["error"]
    assert not VoteImport.objects.exists()


def test_a_taken_name_is_said_in_the_form(page: Client, project: Project) -> None:
    import_votes(project, row(1), name="Arena")
    sent = upload(page, project, row(2))
    assert sent.status_code == 422 and "already" in sent.content.decode()


def test_a_draft_is_discarded_and_a_running_import_cancelled(
    page: Client, project: Project, django_capture_on_commit_callbacks: Any
) -> None:
    upload(page, project, row(1))
    job = VoteImport.objects.get()
    with django_capture_on_commit_callbacks(execute=True):
        page.post(url("vote-import-cancel", project, job.key))
    job.refresh_from_db()
    assert job.status == "cancelled"
    assert "Try again" not in page.get(url("vote-import", project, job.key)).content.decode(), "its file is gone"


def test_strangers_markup_stays_text(page: Client, project: Project) -> None:
    evil = "<script>alert(1)</script>"
    answers = [{"model": evil, "text": evil}, {"model": "b", "text": ""}]
    upload(page, project, row(1, prompt=evil, answers=answers, votes=[vote(evil)]), f'{{"{evil}')
    job = VoteImport.objects.get()
    assert evil not in page.get(url("vote-import", project, job.key)).content.decode()
    page.post(url("vote-import-begin", project, job.key))
    run_import(job.pk)
    assert evil not in page.get(url("vote-import", project, job.key)).content.decode()


def test_pages_are_for_researchers_and_admins(project: Project) -> None:
    job = import_votes(project, row(1))
    pages = [
        url("vote-import-new", project),
        url("vote-import", project, job.key),
        url("vote-import-report", project, job.key),
    ]
    acts = [url(f"vote-import-{act}", project, job.key) for act in ("begin", "cancel", "retry")]
    for role, allowed in ((Role.RESEARCHER, True), (Role.ADMIN, True), (Role.REVIEWER, False), (Role.ANNOTATOR, False)):
        client = Client()
        client.force_login(make_user(role.value, project, role))
        for address in pages:
            assert client.get(address).status_code == (200 if allowed else 403), (role, address)
        for address in acts:
            assert client.get(address).status_code == 405
            assert allowed or client.post(address).status_code == 403
    stranger = Client()
    stranger.force_login(make_user("Olga"))
    elsewhere = make_project()
    here = Client()
    here.force_login(make_user("Rudi", elsewhere, Role.RESEARCHER))
    for address in pages:
        assert stranger.get(address).status_code == 404
        assert here.get(address.replace(project.slug, elsewhere.slug)).status_code == (
            200 if address == pages[0] else 404
        )
    fragment = Client()
    fragment.force_login(make_user("Rita", project, Role.RESEARCHER))
    assert "<html" not in fragment.get(pages[1], **HTMX).content.decode()


# ---- the API ---------------------------------------------------------------------------------------------------------


class Api:
    """A script with a token."""

    def __init__(self, project: Project, by: User, *scopes: str) -> None:
        membership = project.memberships.get(user=by)
        self.secret = create_token(membership=membership, name="script", scopes=scopes or ("import",))[1]
        self.base = f"/api/v1/projects/{project.slug}/vote-imports"
        self.client = Client()

    def get(self, path: str = "") -> Any:
        return self.client.get(self.base + path, headers={"Authorization": f"Bearer {self.secret}"})

    def post(self, path: str = "", data: Any = None, *, is_json: bool = True, **headers: str) -> Any:
        sent = {"data": json.dumps(data or {}), "content_type": "application/json"} if is_json else {"data": data}
        return self.client.post(self.base + path, **sent, headers={"Authorization": f"Bearer {self.secret}", **headers})


@pytest.fixture
def api(project: Project, ravi: User) -> Api:
    return Api(project, ravi)


def test_a_script_imports_a_file_and_follows_it(api: Api, project: Project) -> None:
    file = SimpleUploadedFile("v.jsonl", jsonl(row(1), row(2)).read())
    sent = api.post(data={"name": "Arena", "file": file, "open_for": "1"}, is_json=False)
    assert sent.status_code == 201, sent.content
    told = sent.json()
    assert (told["status"], told["campaign"]) == ("queued", None)
    run_import(VoteImport.objects.get().pk)
    told = api.get(f"/{told['key']}").json()
    assert (told["status"], told["counts"]["votes"], told["n_bad"]) == ("succeeded", 2, 0)
    assert Campaign.objects.get(key=told["campaign"]).stage == "open"
    assert [each["key"] for each in api.get().json()["results"]] == [told["key"]]
    assert api.get(f"/{told['key']}/report").status_code == 200
    file.seek(0)
    again = api.post(data={"name": "Arena", "file": file, "open_for": "1"}, is_json=False)
    assert (again.status_code, again.json()["key"]) == (200, told["key"])
    file.seek(0)
    other = api.post(data={"name": "Arena", "file": file}, is_json=False)
    assert other.status_code == 422 and "already, with other choices" in other.json()["error"]


def test_a_script_sends_lines_and_a_request_sent_twice_is_one_import(api: Api) -> None:
    body = {"name": "Arena", "lines": [row(1)]}
    first = api.post(data=body, **{"Idempotency-Key": "abc"})
    second = api.post(data=body, **{"Idempotency-Key": "abc"})
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["key"] == second.json()["key"]
    for other in ({**body, "lines": [row(2)]}, {**body, "name": "Arena 2"}):
        refused = api.post(data=other, **{"Idempotency-Key": "abc"})
        assert refused.status_code == 422 and "sent before" in refused.json()["error"]
    assert VoteImport.objects.count() == 1


def test_a_request_sent_twice_at_once_is_one_import(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    real, twins = services.format_of, []

    def slow(*args: Any, **options: Any) -> Any:
        if not twins:  # its twin overtakes it
            twins.append(None)
            twins.append(api.post(data=body, **{"Idempotency-Key": "abc"}))
        return real(*args, **options)

    body, before = {"name": "Arena", "lines": [row(1)], "is_draft": True}, set(uploads().glob("votes-*"))
    monkeypatch.setattr(services, "format_of", slow)
    sent = api.post(data=body, **{"Idempotency-Key": "abc"})
    assert sent.json()["key"] == twins[1].json()["key"], sent.content
    assert VoteImport.objects.count() == 1 and len(set(uploads().glob("votes-*")) - before) == 1


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "abc"}])
def test_a_script_that_asks_for_no_draft_begins_the_one_that_waits(api: Api, headers: dict[str, str]) -> None:
    body = {"name": "Arena", "lines": [row(1)]}
    draft = api.post(data={**body, "is_draft": True}, **headers)
    begun = api.post(data=body, **headers)
    assert (draft.status_code, draft.json()["status"]) == (201, "draft")
    assert (begun.status_code, begun.json()["status"]) == (200, "queued")
    assert begun.json()["key"] == draft.json()["key"]
    assert api.post(data={**body, "is_draft": True}, **headers).json()["status"] == "queued"


def test_a_script_sees_bad_rows_and_imports_without_them(api: Api) -> None:
    told = api.post(data={"name": "Arena", "lines": [row(1), row(2, prompt="")], "is_draft": True}).json()
    assert told["status"] == "draft"
    assert api.post(f"/{told['key']}/begin").json()["status"] == "queued"
    run_import(VoteImport.objects.get().pk)
    told = api.get(f"/{told['key']}").json()
    assert (told["status"], told["bad_rows"][0]["line"]) == ("failed", 2)
    assert api.post(f"/{told['key']}/retry", {"skip_bad_rows": True}).json()["status"] == "queued"
    run_import(VoteImport.objects.get().pk)
    assert api.get(f"/{told['key']}").json()["counts"]["votes"] == Judgement.objects.count() == 1
    assert api.post(f"/{told['key']}/retry").status_code == 422


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"name": "A"}, "either a file or lines"),
        ({"name": "A", "lines": []}, "lines: This list may not be empty"),
        ({"name": "A", "lines": [1]}, "lines.0: Expected a dictionary"),
        ({"name": "A", "lines": [{"x": 1}]}, "No votes in a form that is known"),
        ({"lines": [{"x": 1}]}, "name: This field is required"),
        ({"name": "A\u0000", "lines": [{"x": 1}]}, "holds a NUL character"),
        ({"name": "A", "lines": [{"x": 1}], "licens": "MIT"}, "licens: There is no such field here"),
    ],
)
def test_a_request_that_cannot_be_says_why(api: Api, body: dict[str, Any], said: str) -> None:
    sent = api.post(data=body)
    assert sent.status_code in (400, 422) and said in sent.content.decode(), sent.content
    assert not VoteImport.objects.exists()


def test_a_token_needs_the_scope_and_its_own_project(project: Project, ravi: User) -> None:
    job = import_votes(project, row(1))
    assert Api(project, ravi, "read", "generate").get(f"/{job.key}").status_code == 403
    assert Client().get(f"/api/v1/projects/{project.slug}/vote-imports").status_code == 401
    elsewhere = make_project()
    other = Api(elsewhere, make_user("Rudi", elsewhere, Role.RESEARCHER))
    assert other.get(f"/{job.key}").status_code == 404
    other.base = f"/api/v1/projects/{project.slug}/vote-imports"
    assert other.get(f"/{job.key}").status_code == 404
    page = Client()
    page.force_login(ravi)
    assert page.post(f"/api/v1/projects/{project.slug}/vote-imports").status_code in (401, 403), (
        "no session, so no forged form"
    )
