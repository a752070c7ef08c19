"""Erased text is gone from the database and from every file; the record stays, and training waits for a waiver (T211)."""

import json
import shutil
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEvent, Role
from annotation.examples import example_of
from annotation.models import Judgement, PracticeItem, Ruling, VoteImport
from annotation.votes.files import stored_path
from annotation.votes.job import retry_import, run_import, start_import
from config.env import ROOT
from core.errors import Conflict, DomainError
from core.ids import sha256_hex
from core.jobs import reap
from core.storage import artifact_path, home, verify
from core.uploads import uploads
from generation.models import Candidate
from tests.training.judged import (
    freeze,
    judge,
    make_annotator,
    make_answer,
    make_arm,
    make_campaign,
    make_person,
    make_project,
    make_prompt,
    make_set,
    make_task,
    make_version,
)
from training import erasing
from training.erasing import ERASED, erase_text, run_erasure, waive
from training.formats.files import read_rows
from training.freezing import cancel_freeze, freeze_again, run_freeze, start_freeze
from training.models import Erasure, PushJob, Snapshot
from training.run_start import plan_run
from training.snapshots import check_snapshot, directory_of

pytestmark = pytest.mark.django_db
SECRET, ANSWER, REMARK = "My number is 0171 5550100", "A better answer with a name", "I know this person"


@pytest.fixture
def lab(monkeypatch, settings, tmp_path):
    settings.WHETSTONE = settings.WHETSTONE.model_copy(update={"home": tmp_path})
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    project = make_project(slug="lab", name="Lab")
    campaign, arm, prompts = make_campaign(project), make_arm(project), make_set(project)
    ana = make_annotator(project)
    for number, text in enumerate([SECRET, "Harmless?"]):
        about = {} if number else {"note": f"note of {SECRET}", "metadata": {"from": SECRET}}
        prompt = make_prompt(prompts, text, **about)
        task = make_task(campaign, [make_answer(arm, prompt, f"{word} {number}") for word in ("yes", "no")])
        judge(task, ana, "A", **({} if number else {"write_in": ANSWER, "comment": REMARK}))
    return project, campaign, make_person("Mia", project, Role.ADMIN)


def frozen(project, campaign) -> Snapshot:
    return freeze(project, [campaign], pair_policy={"write_ins": True})


def everything(directory) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.iterdir()))


def secret_judgement(campaign) -> Judgement:
    return Judgement.objects.get(assignment__task__campaign=campaign, comment=REMARK)


def erased(campaign, what: str, by) -> Erasure:
    found = erase_text(judgement=secret_judgement(campaign), what=what, note="asked by the person", by=by)
    run_erasure(found.pk)
    found.refresh_from_db()
    assert found.status == "succeeded", found.error
    return found


@pytest.mark.parametrize(("what", "text"), [("prompt", SECRET), ("write_in", ANSWER), ("comment", REMARK)])
def test_the_text_is_gone_from_the_database_and_from_every_file(lab, what, text):
    project, campaign, mia = lab
    snapshot = frozen(project, campaign)
    before = directory_of(snapshot)
    old_manifest = (before / "manifest.json").read_bytes()
    assert text.encode() in everything(before)
    lines = {name: (before / name).read_bytes().splitlines() for name in ("train.jsonl", "records.jsonl")}
    held = Snapshot.objects.get(pk=snapshot.pk)
    erased(campaign, what, mia)
    held.refresh_from_db()
    after = directory_of(held)
    assert after != before and held.first_artifact_sha256 == snapshot.artifact_sha256 and held.sha256 == snapshot.sha256
    assert [path.name for path in before.iterdir()] == ["manifest.json"]
    assert (before / "manifest.json").read_bytes() == old_manifest
    verify("datasets", held.artifact_sha256)
    assert text.encode() not in everything(after)
    import pyarrow.parquet as pq

    assert pq.read_table(after / "train.parquet").to_pylist() == list(read_rows(after / "train.jsonl"))
    assert text not in str(list(pq.read_table(after / "train.parquet").to_pylist()))
    harmless = [line for line in lines["train.jsonl"] if b"Harmless?" in line]
    assert harmless == [line for line in (after / "train.jsonl").read_bytes().splitlines() if b"Harmless?" in line]
    assert text not in str(list(Judgement.objects.values_list("comment", "write_in", "assignment__task__prompt__messages",
                                                             "assignment__task__prompt__note")))  # fmt: skip
    assert text not in str(AuditEvent.objects.get(action="text.erase").detail)


def test_new_training_is_blocked_until_somebody_waives_it_with_a_note(lab):
    project, campaign, mia = lab
    snapshot = frozen(project, campaign)
    base = make_version(
        project, source=str(ROOT / "starter" / "model"), facts={"n_parameters": 9, "context_length": 64}
    )
    plan_run(project=project, method="dpo", base=base, snapshot=snapshot)
    with pytest.raises(Conflict, match="not blocked"):
        waive(snapshot, note="why not", by=mia)
    found = erase_text(judgement=secret_judgement(campaign), what="prompt", note="asked", by=mia)
    snapshot.refresh_from_db()
    with pytest.raises(DomainError, match="still hold the text"):
        waive(snapshot, note="in a hurry", by=mia)
    run_erasure(found.pk)
    snapshot.refresh_from_db()
    with pytest.raises(DomainError, match="nothing new is trained on it"):
        plan_run(project=project, method="dpo", base=base, snapshot=snapshot)
    with pytest.raises(DomainError, match="Text was erased"):
        check_snapshot(snapshot)
    with pytest.raises(DomainError, match="Say why"):
        waive(snapshot, note=" ", by=mia)
    waive(snapshot, note="the rest is harmless", by=mia)
    snapshot.refresh_from_db()
    spec = plan_run(project=project, method="dpo", base=base, snapshot=snapshot)
    assert snapshot.artifact_sha256 in spec.train_file
    again = erase_text(judgement=secret_judgement(campaign), what="comment", note="asked again", by=mia)
    run_erasure(again.pk)
    snapshot.refresh_from_db()
    assert snapshot.is_blocked and snapshot.waiver == ""


def test_a_dataset_frozen_afterwards_is_free_and_whole(lab):
    project, campaign, mia = lab
    frozen(project, campaign)
    erased(campaign, "prompt", mia)
    later = frozen(project, campaign)
    assert not later.is_blocked and SECRET.encode() not in everything(directory_of(later))
    check_snapshot(later)


def test_what_was_erased_is_not_learnt_from_anew(lab):
    project, campaign, mia = lab
    ben, arm = make_annotator(project), make_arm(project)
    second, secret = campaign.tasks.order_by("pk")[1], secret_judgement(campaign)
    said = judge(second, ben, "B", write_in="Another better answer")
    for judgement, what in ((secret, "comment"), (secret, "write_in"), (said, "write_in")):
        judgement.refresh_from_db()
        run_erasure(erase_text(judgement=judgement, what=what, note="asked", by=mia).pk)
    later = make_prompt(second.prompt.set, "Later?")
    task = make_task(campaign, [make_answer(arm, later, word) for word in ("yes", "no")])
    judge(task, ben, "A", write_in="Kept")
    anew = freeze(project, [campaign], pair_policy={"write_ins": True}, name="anew")
    assert ERASED.encode() not in everything(directory_of(anew)) and b"Kept" in everything(directory_of(anew))
    run_erasure(erase_text(judgement=said, what="exchange", note="asked", by=mia).pk)
    last = freeze(project, [campaign], pair_policy={"write_ins": True}, name="last")
    assert ERASED.encode() not in everything(directory_of(last))
    assert last.counts["left_out"] == {"erased": second.assignments.count()} and last.erased_at is None


def test_datasets_of_the_same_files_are_replaced_together_and_others_are_left(lab):
    project, campaign, mia = lab
    first, second = frozen(project, campaign), frozen(project, campaign)
    assert first.artifact_sha256 == second.artifact_sha256
    other = make_campaign(project)
    prompt = make_prompt(make_set(project), "Elsewhere?")
    judge(
        make_task(other, [make_answer(make_arm(project), prompt, text) for text in "ab"]), make_annotator(project), "A"
    )
    apart = freeze(project, [other])
    erased(campaign, "write_in", mia)
    for snapshot in (first, second, apart):
        snapshot.refresh_from_db()
    assert first.artifact_sha256 == second.artifact_sha256 != first.first_artifact_sha256
    assert first.is_blocked and second.is_blocked and not apart.is_blocked
    check_snapshot(apart)


def test_an_erasure_that_was_killed_in_the_middle_is_done_again(lab, monkeypatch):
    project, campaign, mia = lab
    snapshot = frozen(project, campaign)
    found = erase_text(judgement=secret_judgement(campaign), what="write_in", note="asked", by=mia)
    monkeypatch.setattr(erasing, "write_parquet", lambda directory: (_ for _ in ()).throw(OSError(28, "No space left")))
    run_erasure(found.pk)
    found.refresh_from_db()
    assert found.status == "failed" and "Free some disk space" in found.error
    assert ANSWER.encode() in everything(directory_of(snapshot))
    monkeypatch.undo()
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    erasing.erase_again(found, by=mia)
    run_erasure(found.pk)
    snapshot.refresh_from_db()
    assert ANSWER.encode() not in everything(directory_of(snapshot))


def test_a_prompt_goes_from_the_examples_of_rulings_and_from_practice_too(lab):
    _, campaign, mia = lab
    judgement = secret_judgement(campaign)
    other = Judgement.objects.exclude(pk=judgement.pk).get()
    kept = {}
    for name, source in (("secret", judgement), ("harmless", other)):
        example = example_of(source.assignment).stored()
        ruling = Ruling.objects.create(campaign=campaign, title=name, text="So it is.", example=example)
        item = PracticeItem.objects.create(
            campaign=campaign, use="practice", messages=example["messages"], answers=example["answers"], expected=[]
        )
        kept[name] = (ruling, item)
    erase_text(judgement=judgement, what="prompt", note="asked", by=mia)
    for ruling, item in kept.values():
        ruling.refresh_from_db()
        item.refresh_from_db()
    (gone, practice), (ruling, item) = kept["secret"], kept["harmless"]
    assert (gone.example, gone.text) == ({}, "So it is.") and practice.messages == [{"role": "user", "content": ERASED}]
    assert ruling.example["messages"] == item.messages == [{"role": "user", "content": "Harmless?"}]
    answers = practice.answers
    assert ERASED not in answers
    erase_text(judgement=judgement, what="exchange", note="those too", by=mia)
    for each in (practice, item):
        each.refresh_from_db()
    assert practice.answers == [ERASED for _ in answers], "although its prompt is not known any more"
    assert ERASED not in item.answers


def test_what_is_not_there_or_has_no_reason_is_refused(lab):
    _, campaign, mia = lab
    judgement = secret_judgement(campaign)
    for what, note in (("prompt", ""), ("password", "x")):
        with pytest.raises(DomainError):
            erase_text(judgement=judgement, what=what, note=note, by=mia)
    erase_text(judgement=judgement, what="comment", note="x", by=mia)
    judgement.refresh_from_db()
    assert judgement.comment == ERASED
    with pytest.raises(DomainError, match="erased before"):
        erase_text(judgement=judgement, what="comment", note="x", by=mia)


def test_only_an_admin_erases_and_waives_and_the_pages_say_so(lab):
    project, campaign, mia = lab
    snapshot = frozen(project, campaign)
    key = secret_judgement(campaign).key
    ravi, admin = Client(), Client()
    ravi.force_login(make_person("Ravi", project, Role.RESEARCHER))
    admin.force_login(mia)
    page, said = f"/p/lab/judgements/{key}/", {"what": "comment", "note": "asked"}
    assert b"Erase text" not in ravi.get(page).content and b"Erase text" in admin.get(page).content
    assert ravi.post(page + "erase/", said).status_code in (403, 404)
    assert admin.post(page + "erase/", {"what": "comment"}).status_code == 422
    assert admin.post(page + "erase/", said).status_code in (302, 303)
    run_erasure(Erasure.objects.get().pk)
    dataset = f"/p/lab/datasets/{snapshot.key}/"
    assert b"Nothing new is trained on it" in ravi.get(dataset).content
    assert b"Allow training on it" not in ravi.get(dataset).content
    assert admin.post(dataset + "waive/", {"note": "harmless now"}).status_code in (302, 303)
    assert b"It may be trained on: harmless now" in ravi.get(dataset).content
    assert artifact_path("datasets", snapshot.artifact_sha256).exists()


def during(monkeypatch, name: str, then) -> None:
    """Run ``then`` once, right after the function of that name in ``erasing``."""
    real, is_over = getattr(erasing, name), False

    def once(*args):
        nonlocal is_over
        result = real(*args)
        if not is_over:
            is_over = True
            then()
        return result

    monkeypatch.setattr(erasing, name, once)


@pytest.mark.parametrize("moment", ["_redact_file", "_copy", "_note"])
def test_two_erasures_at_once_erase_both_texts(lab, monkeypatch, moment):
    project, campaign, mia = lab
    snapshot = frozen(project, campaign)
    first, second = (
        erase_text(judgement=secret_judgement(campaign), what=what, note="asked", by=mia)
        for what in ("write_in", "prompt")
    )
    during(monkeypatch, moment, lambda: run_erasure(second.pk))
    run_erasure(first.pk)
    for found in (first, second):
        found.refresh_from_db()
        assert found.status == "succeeded", found.error
    snapshot.refresh_from_db()
    verify("datasets", snapshot.artifact_sha256)
    nothing_is_left_but_in(snapshot)
    assert SECRET.encode() not in everything(directory_of(snapshot))
    assert ANSWER.encode() not in everything(directory_of(snapshot))


def nothing_is_left_but_in(snapshot) -> None:
    """Of every other directory of datasets the manifest alone; no copy that was being made."""
    for directory in artifact_path("datasets", snapshot.artifact_sha256).parent.iterdir():
        if directory.name != snapshot.artifact_sha256:
            assert [path.name for path in directory.iterdir()] == ["manifest.json"]
    assert not list((home() / "erasing").iterdir())


class Killed(BaseException):
    pass


def killed(monkeypatch, found, name: str) -> None:
    """Let the worker of an erasure die at the call of a function, and give the job back as the reaper would."""

    def die(*args, **options):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(erasing, name, die)
        with pytest.raises(Killed):
            run_erasure(found.pk)
    Erasure.objects.filter(pk=found.pk).update(leased_until=Now() - timedelta(seconds=1))
    reap()
    found.refresh_from_db()
    assert found.status == "queued"


@pytest.mark.parametrize("moment", ["_delete_unused", "store_directory", "write_parquet", "_still_ours"])
def test_a_kill_at_any_moment_leaves_no_old_bytes_after_the_retry(lab, monkeypatch, moment):
    project, campaign, mia = lab
    snapshot = frozen(project, campaign)
    judgement = secret_judgement(campaign)
    for what, text in (("comment", REMARK), ("write_in", ANSWER)):  # the second replaces what the first has made
        judgement.refresh_from_db()
        found = erase_text(judgement=judgement, what=what, note="asked", by=mia)
        killed(monkeypatch, found, moment)
        run_erasure(found.pk)
        found.refresh_from_db()
        assert found.status == "succeeded", found.error
        snapshot.refresh_from_db()
        assert text.encode() not in everything(directory_of(snapshot))
        nothing_is_left_but_in(snapshot)
    assert snapshot.first_artifact_sha256 != snapshot.artifact_sha256


def freeze_killed(monkeypatch, project, campaign, where: str) -> Snapshot:
    """A freeze whose worker died at the call of a function, given back as the reaper would."""
    snapshot = start_freeze(
        project=project, name="killed", campaigns=[campaign], pair_policy={"write_ins": True}, by=None
    )
    with monkeypatch.context() as patch:
        patch.setattr(where, lambda *args, **options: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run_freeze(snapshot.pk)
    Snapshot.objects.filter(pk=snapshot.pk).update(leased_until=Now() - timedelta(seconds=1))
    reap()
    snapshot.refresh_from_db()
    assert snapshot.status == "queued"
    return snapshot


def no_dataset_holds(text: str) -> bool:
    stored = [path for path in (home() / "artifacts" / "datasets").rglob("*") if path.is_file()]
    return not any(text.encode() in path.read_bytes() for path in stored)


@pytest.mark.parametrize("where", ["core.jobs.succeed", "pathlib.Path.rename"])
def test_the_files_of_a_freeze_that_was_killed_and_cancelled_are_redacted_too(lab, monkeypatch, where):
    project, campaign, mia = lab
    snapshot = freeze_killed(monkeypatch, project, campaign, where)
    assert no_dataset_holds(SECRET) == (where == "pathlib.Path.rename")
    cancel_freeze(snapshot, by=mia)
    erased(campaign, "prompt", mia)
    assert no_dataset_holds(SECRET)


@pytest.mark.parametrize("is_erased", [True, False])
def test_what_a_killed_and_cancelled_freeze_was_writing_goes_with_an_erasure_and_with_another_try(
    lab, monkeypatch, is_erased
):
    project, campaign, mia = lab
    snapshot = freeze_killed(monkeypatch, project, campaign, "core.jobs.succeed")
    left = home() / "freezing" / f"{snapshot.key}-killed"
    left.mkdir(parents=True)  # no test can kill itself in the middle
    (left / "train.jsonl").write_text(SECRET)
    cancel_freeze(snapshot, by=mia)
    if is_erased:
        erased(campaign, "prompt", mia)
    else:
        freeze_again(snapshot, by=mia)
    assert not left.exists()


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_killed_freeze_that_goes_on_leaves_none_of_the_files_it_had_stored(lab, monkeypatch, is_cancelled):
    project, campaign, mia = lab
    snapshot = freeze_killed(monkeypatch, project, campaign, "core.jobs.succeed")
    if is_cancelled:
        cancel_freeze(snapshot, by=mia)
        freeze_again(snapshot, by=mia)
    erase_text(judgement=secret_judgement(campaign), what="prompt", note="asked", by=mia)
    run_freeze(snapshot.pk)
    snapshot.refresh_from_db()
    assert snapshot.is_ready and no_dataset_holds(SECRET)
    check = [path.name for path in (home() / "artifacts" / "datasets").iterdir()]
    assert check == [snapshot.artifact_sha256]


def test_the_files_of_a_killed_freeze_stay_while_another_dataset_has_the_same(lab, monkeypatch):
    project, campaign, mia = lab
    twin = frozen(project, campaign)
    snapshot = freeze_killed(monkeypatch, project, campaign, "core.jobs.succeed")
    assert snapshot.artifact_sha256 == twin.artifact_sha256
    cancel_freeze(snapshot, by=mia)
    freeze_again(snapshot, by=mia)
    check_snapshot(twin)


def test_a_worker_that_lost_its_lease_changes_nothing_more(lab, monkeypatch):
    project, campaign, mia = lab
    snapshot = frozen(project, campaign)
    found = erase_text(judgement=secret_judgement(campaign), what="write_in", note="asked", by=mia)
    during(monkeypatch, "_copy", lambda: Erasure.objects.filter(pk=found.pk).update(lease_token="another"))
    run_erasure(found.pk)
    was = snapshot.artifact_sha256
    snapshot.refresh_from_db()
    found.refresh_from_db()
    assert (snapshot.artifact_sha256, found.status, found.lease_token) == (was, "running", "another")


def test_missing_files_are_no_success_and_the_sentence_says_so(lab):
    project, campaign, mia = lab
    snapshot = frozen(project, campaign)
    found = erase_text(judgement=secret_judgement(campaign), what="write_in", note="asked", by=mia)
    shutil.rmtree(directory_of(snapshot))
    run_erasure(found.pk)
    found.refresh_from_db()
    assert found.status == "failed" and "Restore them from a backup" in found.error


# ---- a prompt with its answers, and what quotes it -------------------------------------------------------------------


@pytest.mark.parametrize("prompt_first", [False, True])
def test_a_prompt_goes_with_all_its_answers_in_one_step(lab, prompt_first):
    project, campaign, mia = lab
    prompt = secret_judgement(campaign).assignment.task.prompt
    Candidate.objects.filter(prompt=prompt, text="yes 0").update(
        text=f"You said: {SECRET}", text_sha256=sha256_hex("x")
    )
    snapshot = frozen(project, campaign)
    gone = [SECRET, ANSWER, "no 0", "You said"]
    assert all(text.encode() in everything(directory_of(snapshot)) for text in gone)
    if prompt_first:
        erased(campaign, "prompt", mia)
    found = erased(campaign, "exchange", mia)
    snapshot.refresh_from_db()
    after = everything(directory_of(snapshot))
    assert not [text for text in gone if text.encode() in after]
    assert b"yes 1" in after and b"no 1" in after and b"Harmless?" in after and REMARK.encode() in after
    assert set(prompt.candidates.values_list("text", flat=True)) == {ERASED}
    assert secret_judgement(campaign).write_in == ERASED and secret_judgement(campaign).comment == REMARK
    assert AuditEvent.objects.filter(action="text.erase").latest("pk").detail["what"] == "exchange"
    assert not [text for text in gone if text in str(Erasure.objects.filter(pk=found.pk).values())]


def test_what_else_holds_the_text_is_listed_and_stays(lab):
    project, campaign, mia = lab
    arm = make_arm(project)
    other = make_prompt(make_set(project), f"Earlier: {SECRET}. And now?")
    shouted = make_prompt(make_set(project), f"Earlier: {SECRET.upper()}.")
    answer = make_answer(arm, other, f"I see {SECRET} there")
    make_answer(arm, other, "No such thing")
    elsewhere = make_project()
    make_prompt(make_set(elsewhere), f"Theirs: {SECRET}")
    found = erased(campaign, "prompt", mia)
    assert {(each["what"], each["key"]) for each in found.quotes} == {("prompts", other.key), ("answers", answer.key)}
    other.refresh_from_db()
    answer.refresh_from_db()
    assert SECRET in str(other.messages) and SECRET in answer.text and shouted.messages
    client = Client()
    client.force_login(mia)
    page = client.get(f"/p/{project.slug}/judgements/{found.judgement_key}/").content.decode()
    for what, thing in (("prompts", other), ("answers", answer)):
        assert f'href="/p/{project.slug}/lineage/{what}/{thing.key}/"' in page
    ravi = Client()
    ravi.force_login(make_person("Ravi", project, Role.RESEARCHER))
    assert "Erased:" not in ravi.get(f"/p/{project.slug}/judgements/{found.judgement_key}/").content.decode()


def test_a_comment_that_repeats_the_better_answer_is_a_quotation(lab):
    _, campaign, mia = lab
    judgement = secret_judgement(campaign)
    Judgement.objects.filter(pk=judgement.pk).update(write_in=REMARK)
    found = erased(campaign, "write_in", mia)
    assert found.quotes == [{"what": "judgements", "key": judgement.key}]


def test_the_page_names_the_places_that_the_text_was_pushed_to(lab):
    project, campaign, mia = lab
    snapshot = frozen(project, campaign)
    PushJob.objects.create(
        project=project, snapshot=snapshot, destination="s3", target="a", address="s3://b/a", status="succeeded",
        begun_at=timezone.now(),
    )  # fmt: skip
    found = erased(campaign, "exchange", mia)
    client = Client()
    client.force_login(mia)
    assert "s3://b/a" in client.get(f"/p/{project.slug}/judgements/{found.judgement_key}/").content.decode()


def test_files_of_imports_that_could_bring_the_text_back_are_deleted(lab):
    project, campaign, mia = lab
    answers = [{"model": name, "text": name} for name in ("One", "Two")]
    line = {"prompt": SECRET, "answers": answers, "votes": [{"annotator": "x", "choice": "a"}]}
    data = json.dumps(line).encode() + b"\n"

    def imported(name: str, data: bytes, **more: Any) -> VoteImport:
        return start_import(project=project, upload=BytesIO(data), name=name, by=mia, enqueue=False, **more)

    draft, failed, done = (
        imported("draft", data, is_draft=True),
        imported("failed", data + b"{}\n"),
        imported("done", data),
    )
    for each in (failed, done):
        run_import(each.pk)
        each.refresh_from_db()
    assert (failed.status, done.status, done.error) == ("failed", "succeeded", "")
    waiting = imported("waiting", data)
    assert stored_path(draft).exists() and stored_path(failed).exists()
    erased(campaign, "prompt", mia)
    for each in (draft, failed, done, waiting):
        each.refresh_from_db()
    assert [each.status for each in (draft, failed, done, waiting)] == ["cancelled", "failed", "succeeded", "queued"]
    left = [path.name for path in uploads().glob("votes-*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert left == [waiting.stored_name]
    with pytest.raises(DomainError, match="gone"):
        retry_import(failed, by=mia)
