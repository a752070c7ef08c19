"""Pushes to S3-compatible storage: the real client against a real server."""

import hashlib
import json

import pytest

from accounts.models import Role
from tests.training.exports.world import make_dataset
from tests.training.judged import make_person
from tests.training.pushing.conftest import BUCKET, KEY, SECRET, names_in, tree_in
from training.formats.files import read_rows
from training.models import PushJob, Snapshot
from training.pushing.job import cancel_push, push_again, run_push, start_push
from training.snapshots import directory_of

pytestmark = pytest.mark.django_db


def pushed(snapshot: Snapshot, target: str = "set-1", **options) -> PushJob:
    push = start_push(snapshot=snapshot, to="s3", target=target, by=None, **options)
    run_push(push.pk)
    push.refresh_from_db()
    return push


def folder_of(push: PushJob) -> str:
    return push.address.removeprefix(f"s3://{BUCKET}/")


def test_a_dataset_lies_there_whole_with_a_manifest_of_what_lies_there(dataset, s3):
    push = pushed(dataset)
    assert (push.status, push.error) == ("succeeded", "")
    assert push.address == f"s3://{BUCKET}/whetstone/{dataset.project.slug}/set-1"
    tree = tree_in(s3, folder_of(push))
    assert sorted(tree) == ["README.md", "dataset.json", "manifest.json", "test.parquet", "train.parquet"]
    assert tree["train.parquet"] == (directory_of(dataset) / "train.parquet").read_bytes()
    manifest = json.loads(tree.pop("manifest.json"))
    assert manifest == {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "n_bytes": len(content)} for name, content in tree.items()
    }
    assert (push.n_files, push.step) == (5, push.total_steps)
    assert (
        push.revision
        == hashlib.sha256(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    )
    assert b"Not in this copy: `lineage.jsonl`" in tree["README.md"]


def test_load_dataset_reads_the_tree_that_lies_there(dataset, s3, tmp_path):
    from datasets import load_dataset

    push = pushed(dataset)
    directory = tmp_path / "copy"
    directory.mkdir()
    for name, content in tree_in(s3, folder_of(push)).items():
        (directory / name).write_bytes(content)
    loaded = load_dataset(str(directory), cache_dir=str(tmp_path / "cache"))
    for split in ("train", "test"):
        assert loaded[split].to_list() == list(read_rows(directory_of(dataset) / f"{split}.jsonl"))


def test_with_every_vote_all_frozen_files_go(dataset, s3):
    push = pushed(dataset, with_votes=True)
    tree = tree_in(s3, folder_of(push))
    directory = directory_of(dataset)
    assert sorted(tree) == sorted(path.name for path in directory.iterdir())
    assert tree["records.jsonl"] == (directory / "records.jsonl").read_bytes()
    assert tree["README.md"] == (directory / "README.md").read_bytes()


def test_what_another_put_there_is_not_written_over(dataset, s3):
    s3.put_object(Bucket=BUCKET, Key=f"whetstone/{dataset.project.slug}/set-1/notes.txt", Body=b"mine")
    push = pushed(dataset)
    assert push.status == "failed" and push.begun_at is None
    assert push.error.startswith(f"There is something in {push.address} already, and this project did not push it.")
    assert names_in(s3) == [f"whetstone/{dataset.project.slug}/set-1/notes.txt"]


def test_a_second_dataset_replaces_the_first_one_and_leaves_nothing_of_it(dataset, s3):
    first = pushed(dataset, with_votes=True)
    second = pushed(dataset)
    assert second.status == "succeeded"
    assert "records.jsonl" in first.sent
    assert sorted(tree_in(s3, folder_of(second))) == sorted(second.sent)


def test_a_folder_below_is_a_place_of_its_own(dataset, s3):
    pushed(dataset)
    below = pushed(dataset, "set-1/v1")
    assert pushed(dataset).status == below.status == "succeeded"
    assert sorted(tree_in(s3, folder_of(below))) == sorted(below.sent)


def test_each_project_has_a_folder_of_its_own(dataset, s3):
    other = make_dataset()
    assert pushed(dataset).address != pushed(other).address


@pytest.mark.parametrize("target", ["", "../up", "a//b", "a/../b", "/", ".hidden", "a b", "x" * 201])
def test_a_target_that_leads_elsewhere_is_refused(dataset, s3, target):
    from core.errors import DomainError

    with pytest.raises(DomainError, match="is no name of a folder"):
        start_push(snapshot=dataset, to="s3", target=target, by=None)
    assert not PushJob.objects.exists()


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_bucket_that_is_not_there(dataset, s3, settings):
    settings.WHETSTONE = settings.WHETSTONE.model_copy(update={"s3_url": "s3://nowhere"})
    push = pushed(dataset)
    assert (push.status, push.error) == ("failed", "There is no bucket nowhere. Make it, or correct WHETSTONE_S3_URL.")


def test_the_network_away(dataset, s3, settings):
    settings.WHETSTONE = settings.WHETSTONE.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    push = pushed(dataset)
    assert push.status == "failed"
    assert push.error.startswith("The storage could not be reached. Look at the network and at WHETSTONE_S3_ENDPOINT")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("ACCESS_DENIED", "The storage lets this key not do that in sets."),
        ("INVALID_ACCESS_KEY_ID", "The storage does not know the access key."),
        ("SIGNATURE_DOES_NOT_MATCH", "The storage refuses the secret key."),
        ("SLOW_DOWN", "The storage answers PutObject with SLOW_DOWN: Please reduce your request rate"),
    ],
)
def test_what_the_storage_says_becomes_a_sentence(code, sentence):
    from core.errors import DomainError
    from training.pushing.s3 import S3Place

    said = (
        f"When uploading: AWS Error {code} during PutObject operation: Please reduce your request rate (Request ID: 1)"
    )
    with pytest.raises(DomainError) as refused, S3Place("s3://sets/a")._faults():
        raise OSError(said)
    assert refused.value.sentence == sentence


def test_the_real_server_refuses_a_key_that_it_does_not_know(dataset, s3, s3_server):
    """moto's own check of who asks, switched on for a while."""
    import httpx

    httpx.post(f"{s3_server}/moto-api/reset-auth", content="0")
    try:
        push = pushed(dataset)
    finally:
        httpx.post(f"{s3_server}/moto-api/reset-auth", content="1000000")
    assert (push.status, push.error) == (
        "failed", "The storage does not know the access key. Correct WHETSTONE_S3_ACCESS_KEY_ID.",
    )  # fmt: skip


def test_neither_key_nor_secret_is_in_a_row_or_the_audit(dataset, s3):
    from accounts.models import AuditEvent

    push = pushed(dataset)
    kept = [*PushJob.objects.values_list(), *push.events.values_list(), *AuditEvent.objects.values_list()]
    assert KEY not in str(kept) and SECRET not in str(kept)


def breaking(monkeypatch, name: str, what: BaseException, *, times: int = 1) -> None:
    """The upload of this file fails after its first bytes."""
    from training.pushing.s3 import S3Place

    real, left = S3Place._put, [times]

    def put(self, piece, watch):
        if piece.name == name and left[0]:
            left[0] -= 1
            raise what
        real(self, piece, watch)

    monkeypatch.setattr(S3Place, "_put", put)


def counting(monkeypatch) -> list[str]:
    """The names of the files that are uploaded from now on."""
    from training.pushing.s3 import S3Place

    real, put = S3Place._put, list[str]()

    def noted(self, piece, watch):
        put.append(piece.name)
        real(self, piece, watch)

    monkeypatch.setattr(S3Place, "_put", noted)
    return put


def test_a_push_that_broke_off_has_no_manifest_and_goes_on_where_it_was(dataset, s3, monkeypatch):
    from core.errors import DomainError

    breaking(monkeypatch, "train.parquet", DomainError("The storage could not be reached.", how="Go on."))
    push = pushed(dataset)
    assert (push.status, push.error) == ("failed", "The storage could not be reached. Go on.")
    there = tree_in(s3, folder_of(push))
    assert "manifest.json" not in there and "README.md" not in there and "test.parquet" in there
    assert sorted(push.sent) == ["dataset.json", "test.parquet"]
    sam, put = make_person("Sam", dataset.project, Role.RESEARCHER), counting(monkeypatch)
    push_again(push, by=sam)
    run_push(push.pk)
    push.refresh_from_db()
    assert (push.status, push.error) == ("succeeded", "")
    assert "manifest.json" in tree_in(s3, folder_of(push))
    assert put == ["train.parquet", "README.md", "manifest.json"]


def test_what_another_push_replaced_meanwhile_is_sent_again(dataset, s3, monkeypatch):
    from core.errors import DomainError

    gone = DomainError("The storage could not be reached.")
    breaking(monkeypatch, "train.parquet", gone, times=2)
    first, second = pushed(dataset), pushed(dataset)
    sam = make_person("Sam", dataset.project, Role.RESEARCHER)
    for push in (first, second):
        push.refresh_from_db()
        assert push.status == "failed" and push.sent
        put = counting(monkeypatch)
        push_again(push, by=sam)
        run_push(push.pk)
        assert "test.parquet" in put and put[-1] == "manifest.json"


def test_a_worker_that_dies_is_followed_by_another(dataset, s3, monkeypatch):
    breaking(monkeypatch, "train.parquet", SystemExit())
    push = start_push(snapshot=dataset, to="s3", target="set-1", by=None)
    with pytest.raises(SystemExit):
        run_push(push.pk)
    push.refresh_from_db()
    assert push.status == "running" and "manifest.json" not in tree_in(s3, folder_of(push))
    from core import jobs

    PushJob.objects.filter(pk=push.pk).update(leased_until=jobs.from_now(-5))
    jobs.reap()
    run_push(push.pk)
    push.refresh_from_db()
    assert push.status == "succeeded" and "manifest.json" in tree_in(s3, folder_of(push))


def test_cancel_in_the_middle_of_a_file_leaves_no_part_of_it(dataset, s3, monkeypatch):
    import time

    from training.pushing.watch import Watch

    push = start_push(snapshot=dataset, to="s3", target="set-1", by=None)
    sam = make_person("Sam", dataset.project, Role.RESEARCHER)
    monkeypatch.setattr("training.pushing.s3.CHUNK_BYTES", 100)
    monkeypatch.setattr("core.beating.BEAT_SECONDS", 0.05)
    real, waited = Watch.at, []

    def slow(self, name, n_bytes):
        if name == "train.parquet" and n_bytes >= 100:
            waited.append(name)
            time.sleep(0.2)
        real(self, name, n_bytes)

    monkeypatch.setattr(Watch, "at", slow)
    progress = Watch.progress

    def cancelling(self):
        if waited and PushJob.objects.filter(pk=push.pk, status="running").exists():
            cancel_push(PushJob.objects.get(pk=push.pk), by=sam)
        return progress(self)

    monkeypatch.setattr(Watch, "progress", cancelling)
    run_push(push.pk)
    push.refresh_from_db()
    assert push.status == "cancelled"
    assert not {"train.parquet", "manifest.json", "README.md"} & set(tree_in(s3, folder_of(push)))


def test_a_file_that_rotted_here_is_not_pushed(dataset, s3):
    path = directory_of(dataset) / "train.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    push = pushed(dataset)
    assert (push.status, push.error) == (
        "failed", "The stored file train.parquet is damaged, so it was not pushed. Restore it from a backup.",
    )  # fmt: skip
    assert not {"train.parquet", "manifest.json"} & set(tree_in(s3, folder_of(push)))
