"""Pages and links of exports: what a person sees, and who gets the file."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.core import signing
from django.core.management import call_command
from django.test import Client

from accounts.models import AuditEvent, Membership, Role
from accounts.tokens import create_token
from core.errors import DomainError
from tests.training.judged import make_person, make_project
from training.exports.formats import FORMATS
from training.exports.job import run_export, start_export
from training.exports.links import link_for
from training.models import ExportJob, Snapshot

pytestmark = pytest.mark.django_db


@pytest.fixture
def sam(dataset):
    return make_person("Sam", dataset.project, Role.RESEARCHER)


@pytest.fixture
def client(sam):
    client = Client()
    client.force_login(sam)
    return client


def page_of(dataset) -> str:
    return f"/p/{dataset.project.slug}/datasets/{dataset.key}/export/"


def ready(dataset, name="hh", container="jsonl", **options) -> ExportJob:
    job = start_export(snapshot=dataset, file_format=name, container=container, options=options, by=None)
    run_export(job.pk)
    job.refresh_from_db()
    return job


def body(response) -> bytes:
    return b"".join(response.streaming_content)


# ---- choosing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.name)
def test_the_page_says_what_a_format_holds_and_what_it_cannot_carry(client, dataset, each):
    page = client.get(page_of(dataset), {"file_format": each.name, "container": "csv"}).content.decode()
    for what in each.cannot:
        assert what in page.replace("&#x27;", "'")
    assert all(f">{column.name}</code>" in page for column in each.columns if not column.needs)
    offered = re.findall(r'<option value="([^"]+)"', page.split('name="container"')[1].split("</select>")[0])
    assert offered == list(each.containers)


def test_a_click_makes_the_export_and_its_page_follows_it(client, dataset, django_capture_on_commit_callbacks):
    sent = client.post(
        page_of(dataset), {"file_format": "trl-reward", "container": "parquet", "split": "train", "details": "on"}
    )
    assert sent.status_code == 302 or sent.status_code == 303
    job = ExportJob.objects.get()
    assert sent.headers["Location"].endswith(f"/exports/{job.key}/")
    assert (job.file_format, job.container, job.options["details"]) == ("trl-reward", "parquet", True)
    waiting = client.get(sent.headers["Location"]).content.decode()
    assert "Waiting for a free worker" in waiting and "every 2s" in waiting and "Download" not in waiting
    run_export(job.pk)
    done = client.get(sent.headers["Location"]).content.decode()
    assert "every 2s" not in done
    assert link_pattern(job).search(done)
    assert "which model wrote an answer" in done


def link_pattern(job) -> re.Pattern[str]:
    return re.compile(rf'href="(/p/{job.project.slug}/datasets/exports/{job.key}/file/[^"]+)"')


def test_a_choice_that_cannot_be_is_a_form_with_an_error(client, dataset):
    answer = client.post(page_of(dataset), {"file_format": "nosuch", "container": "jsonl"})
    assert answer.status_code == 422
    assert not ExportJob.objects.exists()


def test_what_the_service_refuses_is_told_in_the_form(client, dataset, monkeypatch):
    def refuse(**given):
        raise DomainError("Not today.", how="Come back tomorrow.")

    monkeypatch.setattr("training.exports.views.exports.start_export", refuse)
    answer = client.post(page_of(dataset), {"file_format": "hh", "container": "jsonl", "split": "test"})
    assert answer.status_code == 422
    assert "Not today. Come back tomorrow." in answer.content.decode().split("error-summary")[1]
    assert '<option value="hh" selected>' in answer.content.decode()


def test_a_failed_export_says_why_and_can_be_asked_for_again(client, dataset):
    job = ready(dataset)
    ExportJob.objects.filter(pk=job.pk).update(status="failed", error="The disk is full.")
    url = f"/p/{dataset.project.slug}/datasets/exports/{job.key}/"
    assert "The disk is full." in client.get(url).content.decode()
    again = client.post(f"{url}again/")
    assert ExportJob.objects.order_by("-pk")[0].key in again.headers["Location"]


def test_the_list_tells_exports_of_one_format_apart_and_has_pages(client, dataset, monkeypatch):
    ready(dataset, "arena", "csv", models=True)
    ready(dataset, "arena", "csv-spreadsheet", people=True)
    page = client.get(page_of(dataset)).content.decode()
    assert "arena-train.csv" in page and "CSV, exact: for programs, models named<" in page
    assert "arena-train-spreadsheet.csv" in page and "CSV, safe: for spreadsheets, annotators by pseudonym<" in page
    monkeypatch.setattr("training.exports.views.SHOWN", 1)
    first, second = (client.get(page_of(dataset), {"page": n}).content.decode() for n in (1, 2))
    assert "arena-train.csv" not in first and "1–1 of 2" in first and "arena-train.csv" in second


def test_who_takes_rows_away_is_told_of_text_that_was_erased(client, dataset, tmp_path, capsys):
    job, note = ready(dataset), "Text in this dataset was erased on 2026-01-02"
    export_url = f"/p/{dataset.project.slug}/datasets/exports/{job.key}/"
    pages = [page_of(dataset), export_url, f"/p/{dataset.project.slug}/datasets/{dataset.key}/push/"]
    assert not any(note in client.get(page).content.decode() for page in pages)
    Snapshot.objects.filter(pk=dataset.pk).update(erased_at=datetime(2026, 1, 2, tzinfo=UTC))
    assert all(note in client.get(page).content.decode() for page in pages)
    call_command("export", dataset.name, str(tmp_path / "rows.jsonl"), "--project", dataset.project.slug)
    assert note in capsys.readouterr().err
    _, secret = create_token(membership=Membership.objects.get(), name="script", scopes=["export"])
    told = client.get(
        f"/api/v1/projects/{dataset.project.slug}/exports/{job.key}", headers={"Authorization": f"Bearer {secret}"}
    )
    assert told.json()["erased_at"] == "2026-01-02T00:00:00Z"
    train = f'<a class="button" href="/p/{dataset.project.slug}/runs/new/?snapshot={dataset.key}">'
    assert train in client.get(f"/p/{dataset.project.slug}/datasets/{dataset.key}/").content.decode()


def test_cancel_by_its_button(client, dataset):
    job = start_export(snapshot=dataset, file_format="hh", container="jsonl", by=None)
    client.post(f"/p/{dataset.project.slug}/datasets/exports/{job.key}/cancel/")
    job.refresh_from_db()
    assert job.status == "cancelled"


# ---- the file --------------------------------------------------------------------------------------------------------


def test_t074_t084_a_download_is_an_attachment_and_goes_on_where_it_broke_off(client, dataset, sam):
    job = ready(dataset)
    link = link_for(job, sam)
    whole = client.get(link)
    data = body(whole)
    assert (whole.status_code, len(data)) == (200, job.n_bytes)
    assert whole.headers["Content-Disposition"] == f'attachment; filename="{job.filename}"'
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert whole.headers["Content-Type"] == "application/jsonl"
    etag = whole.headers["ETag"]
    assert etag == f'"{job.sha256}"'
    part = client.get(link, headers={"Range": "bytes=10-", "If-Range": etag})
    assert (part.status_code, body(part)) == (206, data[10:])
    assert part.headers["Content-Range"] == f"bytes 10-{job.n_bytes - 1}/{job.n_bytes}"
    assert body(client.get(link, headers={"Range": "bytes=-5"})) == data[-5:]
    changed = client.get(link, headers={"Range": "bytes=10-", "If-Range": '"other"'})
    assert (changed.status_code, body(changed)) == (200, data)
    beyond = client.get(link, headers={"Range": f"bytes={job.n_bytes}-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{job.n_bytes}")
    unchanged = client.get(link, headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", etag)
    # The parts of one download are one line of the audit log.
    assert AuditEvent.objects.filter(action="export.download").count() == 1


def test_t081_a_link_is_one_persons_and_only_while_they_hold_the_role(client, dataset, sam, monkeypatch):
    job = ready(dataset)
    link = link_for(job, sam)
    assert client.get(link).status_code == 200
    tina = make_person("Tina", dataset.project, Role.RESEARCHER)
    other = Client()
    other.force_login(tina)
    assert other.get(link).status_code == 404, "somebody else's"
    assert Client().get(link).status_code == 302, "signed out: to the sign-in"
    assert client.get(link.replace(job.filename, "x.jsonl")).status_code == 404
    signed = link.split("/")[-2]
    spoilt = signed[:-9] + ("A" if signed[-9] != "A" else "B") + signed[-8:]
    assert client.get(link.replace(signed, spoilt)).status_code == 404
    elsewhere = signing.dumps([job.key, sam.key])  # signed by us, but for something else
    assert client.get(link.replace(signed, elsewhere)).status_code == 404
    other_job = ready(dataset, "trl-implicit")
    moved = link.replace(job.key, other_job.key).replace(job.filename, other_job.filename)
    assert client.get(moved).status_code == 404, "another export's"
    for role in ("is_annotator", "is_reviewer"):
        nothing = {"is_researcher": False, "is_annotator": False, "is_reviewer": False}
        Membership.objects.filter(user=sam).update(**{**nothing, role: True})
        assert client.get(link).status_code == 403
    Membership.objects.filter(user=sam).delete()
    assert client.get(link).status_code == 404


def test_t081_an_old_link_is_refused(client, dataset, sam, monkeypatch):
    job = ready(dataset)
    stamp = time.time() - timedelta(minutes=61).total_seconds()
    with monkeypatch.context() as then:
        then.setattr("django.core.signing.time.time", lambda: stamp)
        link = link_for(job, sam)
    assert client.get(link).status_code == 404
    assert client.get(link_for(job, sam)).status_code == 200


def test_another_projects_export_is_none(client, dataset, sam):
    job = ready(dataset)
    strange = make_project()
    Membership.objects.create(project=strange, user=sam, is_researcher=True)
    assert client.get(f"/p/{strange.slug}/datasets/exports/{job.key}/").status_code == 404
    assert client.get(link_for(job, sam).replace(dataset.project.slug, strange.slug)).status_code == 404


# ---- by script -------------------------------------------------------------------------------------------------------


def test_the_api_gives_the_file_to_a_token_that_may(dataset, sam):
    job = ready(dataset)
    membership = Membership.objects.get(user=sam)
    _, secret = create_token(membership=membership, name="t", scopes=["export"])
    _, reads = create_token(membership=membership, name="r", scopes=["read"])
    url = f"/api/v1/projects/{dataset.project.slug}/exports/{job.key}/files/{job.filename}"
    client = Client()
    bearer = {"Authorization": f"Bearer {secret}"}
    assert len(body(client.get(url, headers=bearer))) == job.n_bytes
    assert client.get(url, headers={**bearer, "Range": "bytes=0-9"}).status_code == 206
    assert client.head(url, headers=bearer).headers["Content-Length"] == str(job.n_bytes)
    assert client.get(url, headers={"Authorization": f"Bearer {reads}"}).status_code == 403
    assert client.get(url).status_code == 401
    assert client.get(f"{url}?token={secret}").status_code == 401
    frozen = f"/api/v1/projects/{dataset.project.slug}/datasets/{dataset.key}/files/train.jsonl"
    assert client.get(frozen, headers={**bearer, "If-None-Match": "*"}).status_code == 304
    assert not AuditEvent.objects.filter(action="dataset.download").exists()
    whole = client.get(frozen, headers=bearer)
    assert whole.status_code == 200
    assert client.get(frozen, headers={**bearer, "If-None-Match": whole.headers["ETag"]}).status_code == 304
    assert AuditEvent.objects.filter(action="dataset.download").count() == 1
    assert client.get(f"{frozen}x", headers=bearer).status_code == 404
    Membership.objects.filter(user=sam).update(is_researcher=False, is_annotator=True)
    assert client.get(url, headers=bearer).status_code == 403
