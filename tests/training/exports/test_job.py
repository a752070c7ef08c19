"""Exports as jobs: written once, found again, stopped, deleted; and refused to whoever may not."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import AuditEvent, Membership, Role
from core import jobs
from core.errors import DomainError
from core.storage import artifact_path
from tests.training.exports.world import exported
from tests.training.judged import freeze as freeze_now
from tests.training.judged import make_judged, make_person
from training.exports import job as exporting
from training.exports.formats import FORMATS
from training.exports.job import cancel_export, file_of, remove_old_exports, run_export, start_export
from training.exports.options import Options
from training.exports.source import Source
from training.exports.writing import write_export
from training.models import ExportJob, Snapshot
from training.snapshots import directory_of

pytestmark = pytest.mark.django_db


def made(snapshot: Snapshot, name: str = "trl-preference", container: str = "jsonl", by=None, **options) -> ExportJob:
    job = start_export(snapshot=snapshot, file_format=name, container=container, options=options, by=by)
    run_export(job.pk)
    job.refresh_from_db()
    return job


def test_an_export_writes_the_file_that_its_page_promises(dataset, tmp_path):
    job = made(dataset, split="test")
    assert (job.status, job.error) == ("succeeded", "")
    assert job.filename.endswith("-trl-preference-test.jsonl")
    path = file_of(job)
    assert path.read_bytes() == exported(dataset, tmp_path, "trl-preference", split="test").read_bytes()
    assert (job.n_rows, job.n_bytes) == (4, path.stat().st_size)
    assert job.step == job.total_steps


def test_the_same_export_is_one_file_for_all_who_ask(dataset):
    first = made(dataset, by=make_person("S", dataset.project, Role.RESEARCHER))
    again = made(dataset, by=make_person("T", dataset.project, Role.RESEARCHER))
    assert again == first
    other = made(dataset, details=True)
    assert other != first
    # What changes nothing in a format makes no second file.
    assert made(dataset, "openai-preference", details=True, people=True) == made(dataset, "openai-preference")
    actions = list(AuditEvent.objects.filter(action__startswith="export.").values_list("action", flat=True))
    assert actions.count("export.start") == 3 and actions.count("export.reuse") == 2


def test_every_format_and_container_is_made(dataset):
    from training.exports.formats import FORMATS

    for each in FORMATS:
        for container in each.containers:
            job = made(dataset, each.name, container)
            assert (job.status, job.n_rows > 0) == ("succeeded", True), f"{each.name} as {container}: {job.error}"
            assert file_of(job).stat().st_size == job.n_bytes


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"file_format": "doc"}, "There is no such format."),
        ({"container": "xlsx"}, "TRL preference, conversational is not written as xlsx."),
        (
            {"options": {"split": "both"}},
            "An export cannot be made like this: split: Input should be 'train' or 'test'.",
        ),
        ({"options": {"colour": "red"}}, "An export cannot be made like this: colour: Extra inputs are not permitted."),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(dataset, change, sentence):
    asked = {"file_format": "trl-preference", "container": "jsonl", "options": {}, **change}
    with pytest.raises(DomainError) as refused:
        start_export(snapshot=dataset, by=None, **asked)
    assert refused.value.sentence == sentence
    assert not ExportJob.objects.exists()


def test_a_format_with_nothing_in_it_says_so():
    from tests.training.judged import make_project

    project = make_project()
    job = made(freeze_now(project, [make_judged(project)]), "sft-written")
    assert job.status == "failed"
    assert job.error.startswith("The dataset has nothing for SFT from better answers that people wrote")


def test_a_dataset_that_is_not_frozen_is_not_exported(dataset):
    Snapshot.objects.filter(pk=dataset.pk).update(status="running")
    dataset.refresh_from_db()
    with pytest.raises(DomainError):
        start_export(snapshot=dataset, file_format="hh", container="jsonl", by=None)


def test_t081_who_loses_the_role_while_it_waits_gets_no_export(dataset):
    person = make_person("S", dataset.project, Role.RESEARCHER)
    job = start_export(snapshot=dataset, file_format="hh", container="jsonl", by=person)
    Membership.objects.filter(user=person).update(is_researcher=False, is_annotator=True)
    run_export(job.pk)
    job.refresh_from_db()
    assert (job.status, job.artifact_sha256) == ("failed", "")
    assert "may no longer export" in job.error


def test_cancel_stops_the_writing_and_leaves_nothing(dataset, monkeypatch):
    from core.storage import home

    monkeypatch.setattr("training.exports.writing.BEAT_ROWS", 1)
    monkeypatch.setattr("core.beating.BEAT_SECONDS", 0.0)
    job = start_export(snapshot=dataset, file_format="hh", container="jsonl", by=None)
    person = make_person("S", dataset.project, Role.RESEARCHER)
    real = jobs.beat

    def ask_in_between(row, token, **progress):
        if progress.get("step"):
            cancel_export(row, by=person)
        return real(row, token, **progress)

    monkeypatch.setattr("core.jobs.beat", ask_in_between)
    monkeypatch.setattr("training.exports.job.KIB", 0)
    run_export(job.pk)
    monkeypatch.undo()
    job.refresh_from_db()
    assert (job.status, job.artifact_sha256) == ("cancelled", "")
    assert not list((home() / "exporting").glob("*"))
    assert made(dataset, "hh").status == "succeeded", "a cancelled export stands in nobody's way"


def test_a_worker_that_died_is_followed_by_another(dataset):
    job = start_export(snapshot=dataset, file_format="hh", container="jsonl", by=None)
    assert jobs.claim(job, seconds=-1)
    jobs.reap()
    run_export(job.pk)
    job.refresh_from_db()
    assert job.status == "succeeded"


def test_an_old_export_is_deleted_and_made_again_when_asked(dataset):
    job, other = made(dataset), made(dataset, "hh")
    same_bytes = made(dataset, container="jsonl", name="trl-preference", details=True)
    path = artifact_path("exports", job.artifact_sha256)
    ExportJob.objects.filter(pk=job.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert remove_old_exports() == 1
    job.refresh_from_db()
    assert not path.exists()
    assert file_of(other).exists() and file_of(same_bytes).exists()
    with pytest.raises(DomainError, match="has been deleted"):
        file_of(job)
    assert made(dataset) != job
    assert remove_old_exports() == 0


def test_asking_again_keeps_a_file_longer(dataset):
    job = made(dataset)
    soon = timezone.now() + timedelta(minutes=1)
    ExportJob.objects.filter(pk=job.pk).update(expires_at=soon)
    assert made(dataset) == job
    job.refresh_from_db()
    assert job.expires_at is not None and job.expires_at > soon + timedelta(days=1)


def test_an_export_of_a_dataset_whose_files_were_redacted_is_gone_at_once(dataset):
    job = made(dataset)
    Snapshot.objects.filter(pk=dataset.pk).update(artifact_sha256="0" * 64)
    job = ExportJob.objects.select_related("snapshot").get(pk=job.pk)
    with pytest.raises(DomainError, match="has been changed"):
        file_of(job)
    assert remove_old_exports() == 1
    assert not artifact_path("exports", job.artifact_sha256).exists()


@pytest.mark.parametrize("moment", ["it is still writing", "it has ended"])
def test_an_export_made_again_while_the_old_one_is_deleted_keeps_its_file(dataset, monkeypatch, moment):
    old = made(dataset)
    ExportJob.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    real, again = exporting._delete_or_put_back, []

    def just_before(*paths):
        """The same bytes are found in the store by an export that is made in this moment."""
        if not again:
            again.append(made(dataset))
            if moment == "it is still writing":
                ExportJob.objects.filter(pk=again[0].pk).update(status="running")
        real(*paths)

    monkeypatch.setattr(exporting, "_delete_or_put_back", just_before)
    assert remove_old_exports() == 1
    job = ExportJob.objects.get(pk=again[0].pk)
    assert job.artifact_sha256 == old.artifact_sha256
    ExportJob.objects.filter(pk=job.pk).update(status="succeeded")
    job.refresh_from_db()
    assert file_of(job).exists()
    remove_old_exports()
    assert file_of(job).exists() and not list(file_of(job).parent.parent.glob(f"{exporting.ASIDE}*"))


def test_a_file_put_aside_by_a_worker_that_was_killed_is_found_again_or_deleted(dataset):
    kept, old = made(dataset), made(dataset, "hh")
    for job in (kept, old):
        path = artifact_path("exports", job.artifact_sha256)
        path.rename(path.with_name(f"{exporting.ASIDE}{path.name}"))
    ExportJob.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert remove_old_exports() == 1
    assert file_of(kept).exists() and not list(file_of(kept).parent.parent.glob(f"{exporting.ASIDE}*"))


def test_a_deleted_export_is_tried_again_after_the_one_that_stood_in_its_way(dataset):
    old = made(dataset)
    path = artifact_path("exports", old.artifact_sha256)
    other = made(dataset, "hh")
    ExportJob.objects.filter(pk=other.pk).update(status="running")
    ExportJob.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert remove_old_exports() == 1 and path.exists()
    ExportJob.objects.filter(pk=other.pk).update(status="succeeded")
    assert remove_old_exports() == 0 and not path.exists()
    old.refresh_from_db()
    assert old.artifact_sha256 == ""


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.name)
def test_the_progress_of_a_format_ends_at_what_there_is_to_read(dataset, tmp_path, each, split):
    alone = make_judged(dataset.project, ["bad"] * 2, n_held_out=1)
    campaigns = [*dataset.campaigns.all(), alone]
    directory = directory_of(freeze_now(dataset.project, campaigns, pair_policy={"unpaired": True}))
    assert (directory / f"unpaired-{split}.jsonl").stat().st_size
    read: list[Source] = []

    def told(*given):
        read.append(Source(*given))
        return read[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.exports.writing.Source", told)
        options = Options(split=split if each.has_split else "train")
        write_export(directory, tmp_path / "x", export_format=each, container=each.containers[0], options=options)
    assert read[0].n_read == exporting._bytes_to_read(directory, each, split) > 0
