"""Pushes to a hub: huggingface_hub's own client against a hub of our own."""

import hashlib

import pytest

from accounts.models import AuditEvent, Membership, Role
from core.errors import Conflict, DomainError
from core.storage import home
from tests.training.judged import make_person
from tests.training.pushing.hub import TOKEN
from training.exports.job import run_export, start_export
from training.formats.files import read_rows
from training.models import PushJob, Snapshot
from training.pushing.job import cancel_push, push_again, run_push, start_push
from training.snapshots import directory_of

pytestmark = pytest.mark.django_db
NAME = "lab/set-1"


def pushed(snapshot: Snapshot, target: str = NAME, **options) -> PushJob:
    push = start_push(snapshot=snapshot, to="hub", target=target, by=None, **options)
    run_push(push.pk)
    push.refresh_from_db()
    return push


def test_a_dataset_is_one_commit_in_a_private_repository(dataset, hub):
    push = pushed(dataset)
    assert (push.status, push.error) == ("succeeded", "")
    assert push.address == f"{hub.url}/datasets/{NAME}"
    repo = hub.repos[NAME]
    assert repo["private"] is True
    assert len(repo["commits"]) == 2  # the hub's own first one, and ours
    tree = hub.tree(NAME)
    names = [".gitattributes", "README.md", "dataset.json", "manifest.json", "test.parquet", "train.parquet"]
    assert sorted(tree) == names
    assert tree["train.parquet"] == (directory_of(dataset) / "train.parquet").read_bytes()
    assert hashlib.sha256(tree["train.parquet"]).hexdigest() in hub.stored  # by large-file storage
    assert push.revision == f"{2:040x}"
    assert not list((home() / "pushing").glob("*"))


def test_load_dataset_reads_the_repository(dataset, hub, tmp_path):
    from datasets import load_dataset

    pushed(dataset)
    directory = hub.write_to(NAME, tmp_path / "clone")
    loaded = load_dataset(str(directory), cache_dir=str(tmp_path / "cache"))
    for split in ("train", "test"):
        assert loaded[split].to_list() == list(read_rows(directory_of(dataset) / f"{split}.jsonl"))


@pytest.mark.parametrize("container", ["parquet", "jsonl", "csv"])
def test_an_export_goes_with_a_card_that_names_nobody(dataset, hub, tmp_path, container):
    from datasets import load_dataset

    export = start_export(
        snapshot=dataset, file_format="trl-reward", container=container, options={"split": "test"}, by=None
    )
    run_export(export.pk)
    export.refresh_from_db()
    push = pushed(dataset, export=export)
    assert (push.status, push.error) == ("succeeded", "")
    directory = hub.write_to(NAME, tmp_path / "clone")
    card = (directory / "README.md").read_text()
    people = set(dataset.project.annotators.values_list("pseudonym", flat=True))
    assert people and not any(name in card for name in people)
    assert "Reward with margin" in card and "## Licence and known limits" in card and dataset.sha256 in card
    loaded = load_dataset(str(directory), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"test": export.n_rows}
    assert loaded["test"].column_names == ["chosen", "rejected", "margin"]


def test_public_is_asked_for(dataset, hub):
    pushed(dataset, is_public=True)
    assert hub.repos[NAME]["private"] is False


def test_what_was_asked_to_be_private_does_not_go_into_a_public_repository(dataset, hub):
    pushed(dataset, is_public=True)
    push = pushed(dataset)
    assert (push.status, len(hub.repos[NAME]["commits"])) == ("failed", 2)
    assert push.error.startswith(f"{NAME} is public on the hub.")


def test_a_repository_of_somebody_else_is_not_written_over(dataset, hub):
    hub.repos[NAME] = {"private": True, "commits": [{"train.parquet": b"theirs"}]}
    push = pushed(dataset)
    assert push.status == "failed" and hub.tree(NAME) == {"train.parquet": b"theirs"}
    assert push.error == (
        f"There is a dataset {NAME} on the hub already, and this project did not push it. Choose another name."
    )
    # Nor at the second try.
    push_again(push, by=make_person("Sam", dataset.project, Role.RESEARCHER))
    run_push(push.pk)
    assert hub.tree(NAME) == {"train.parquet": b"theirs"}


def test_a_second_push_replaces_the_first_and_deletes_what_it_has_no_more(dataset, hub):
    pushed(dataset, with_votes=True)
    assert "records.jsonl" in hub.tree(NAME)
    push = pushed(dataset)
    assert push.status == "succeeded" and "records.jsonl" not in hub.tree(NAME)
    sha256 = hashlib.sha256(hub.tree(NAME)["train.parquet"]).hexdigest()
    assert hub.asked.count(f"PUT /upload/{sha256}") == 1  # what is there is not sent again


# ---- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "code", "sentence"),
    [
        ("/api/repos/create", 401, "The hub does not accept the token. Set a valid WHETSTONE_HUB_TOKEN"),
        ("/preupload/", 403, f"The token may not write to {NAME}. Choose an owner that it may write for"),
        ("/preupload/", 404, f"The hub has no {NAME}, or hides it from this token."),
        ("/upload/", 403, f"The token may not write to {NAME}."),
        ("/upload/", 413, "The hub takes no more"),
        ("/commit/", 429, "The hub has had too many requests."),
        ("/commit/", 500, "The hub answers with an error (500). Go on with the push later."),
        ("/commit/", 400, "The hub refuses it (400): as the test wants it."),
    ],
)
def test_what_the_hub_says_becomes_a_sentence_and_nothing_of_it_is_seen(dataset, hub, part, code, sentence):
    hub.broken[part] = code
    push = pushed(dataset)
    assert push.status == "failed" and push.error.startswith(sentence), push.error
    assert all(len(repo["commits"]) == 1 for repo in hub.repos.values())
    hub.broken.clear()
    push_again(push, by=make_person("Sam", dataset.project, Role.RESEARCHER))
    run_push(push.pk)
    push.refresh_from_db()
    assert (push.status, push.error) == ("succeeded", "")


def test_an_owner_that_the_token_may_not_write_for(dataset, hub):
    push = pushed(dataset, "else/set-1")
    assert push.error.startswith("The token may not write to else/set-1.")


def test_the_network_away(dataset, hub, settings, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    settings.WHETSTONE = settings.WHETSTONE.model_copy(update={"hub_endpoint": "http://127.0.0.1:9"})
    push = pushed(dataset)
    assert push.status == "failed" and push.error.startswith("The hub could not be reached:")


def test_a_worker_that_may_ask_no_hub_says_so(dataset, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    push = pushed(dataset)
    assert push.error == "This worker may ask no hub. Unset HF_HUB_OFFLINE where the workers are started."


def test_a_file_that_rotted_here_is_not_pushed(dataset, hub):
    path = directory_of(dataset) / "train.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    push = pushed(dataset)
    assert push.error.startswith("The stored file train.parquet is damaged, so nothing was pushed.")
    assert len(hub.repos[NAME]["commits"]) == 1


def test_cancel_while_it_uploads(dataset, hub, monkeypatch):
    from training.pushing.watch import Watch

    push = start_push(snapshot=dataset, to="hub", target=NAME, by=None)
    sam = make_person("Sam", dataset.project, Role.RESEARCHER)
    monkeypatch.setattr("core.beating.BEAT_SECONDS", 0.05)
    hub.before_upload = lambda oid: __import__("time").sleep(0.4)
    progress = Watch.progress

    def cancelling(self):
        if "PUT /upload/" in str(hub.asked) and PushJob.objects.filter(pk=push.pk, status="running").exists():
            cancel_push(PushJob.objects.get(pk=push.pk), by=sam)
        return progress(self)

    monkeypatch.setattr(Watch, "progress", cancelling)
    run_push(push.pk)
    push.refresh_from_db()
    assert push.status == "cancelled"
    assert len(hub.repos[NAME]["commits"]) == 1


def test_the_token_is_in_no_row_no_page_and_no_log(dataset, hub, caplog):
    hub.broken["/commit/"] = 400
    caplog.set_level("DEBUG")
    failed = pushed(dataset)
    hub.broken.clear()
    done = pushed(dataset, "lab/set-2")
    assert (failed.status, done.status) == ("failed", "succeeded")
    kept = [*PushJob.objects.values_list(), *done.events.values_list(), *AuditEvent.objects.values_list()]
    assert TOKEN not in str(kept) + caplog.text
    # Even a hub that repeats it.
    from training.pushing.hub import HubPlace

    assert TOKEN not in str(HubPlace(NAME, is_public=False)._said(ValueError(f"bad token {TOKEN}")))


# ---- who may, and where ----------------------------------------------------------------------------------------------


def test_without_credentials_it_says_what_to_set(dataset, settings):
    with pytest.raises(DomainError) as refused:
        start_push(snapshot=dataset, to="hub", target=NAME, by=None)
    assert refused.value.sentence == "Hub: this installation has no credentials for it."
    assert refused.value.how == "Set WHETSTONE_HUB_TOKEN, WHETSTONE_HUB_OFFLINE=false, and start web and workers again."


@pytest.mark.parametrize(
    "target", ["set", "a/b/c", "../b", "lab/", "lab/a b", "lab/a--b", "lab/x.git", "lab/" + "x" * 97]
)
def test_a_name_that_no_repository_can_have_is_refused(dataset, hub, target):
    with pytest.raises(DomainError, match="is no name of a repository"):
        start_push(snapshot=dataset, to="hub", target=target, by=None)


def test_two_pushes_do_not_meet_at_one_place(dataset, hub):
    start_push(snapshot=dataset, to="hub", target=NAME, by=None)
    with pytest.raises(Conflict, match="is on its way"):
        start_push(snapshot=dataset, to="hub", target=NAME, by=None)


def test_who_loses_the_role_while_it_waits_pushes_nothing(dataset, hub):
    sam = make_person("Sam", dataset.project, Role.RESEARCHER)
    push = start_push(snapshot=dataset, to="hub", target=NAME, by=sam)
    Membership.objects.filter(user=sam).update(is_researcher=False, is_annotator=True)
    run_push(push.pk)
    push.refresh_from_db()
    assert push.error == "Whoever asked for this push may no longer export here." and not hub.asked


def test_a_dataset_whose_text_is_being_erased_is_not_pushed(dataset, hub):
    from training.models import Erasure

    push = start_push(snapshot=dataset, to="hub", target=NAME, by=None)
    erasure = Erasure.objects.create(
        project=dataset.project, what="comment", judgement_key="x", prompt_sha256="0" * 64, note="asked"
    )
    erasure.snapshots.set([dataset])
    run_push(push.pk)
    push.refresh_from_db()
    assert push.error == "Text is being erased from this dataset. Push it when that is over." and not hub.asked


def test_a_push_is_in_the_audit_log_when_asked_for_and_when_done(dataset, hub):
    pushed(dataset)
    events = AuditEvent.objects.filter(action__startswith="push.").order_by("pk")
    assert [event.action for event in events] == ["push.start", "push.done"]
    assert events[1].detail["address"] == f"{hub.url}/datasets/{NAME}" and events[1].detail["revision"]
