"""Freezing: what goes in, what stays out and is counted, and the same bytes whenever and wherever it is done."""

import threading

import pytest
from django.db import connection, transaction
from django.db.models import ProtectedError

from annotation.models import Judgement
from core.beating import Keeper
from core.errors import Conflict, DomainError
from core.jobs import JobStatus, request_cancel
from core.storage import artifact_path, home, read_manifest, verify
from generation.models import Candidate, Prompt
from tests.training.judged import (
    freeze,
    judge,
    make_annotator,
    make_answer,
    make_arm,
    make_campaign,
    make_judged,
    make_project,
    make_prompt,
    make_set,
    make_task,
    take_back,
)
from training import freezing, snapshots
from training.formats.files import NEAR, read_lineage, read_rows
from training.freezing import freeze_again, run_freeze, seal, start_freeze
from training.models import Snapshot, SnapshotJudgement
from training.previewing import preview
from training.snapshots import check_snapshot, directory_of, rebuilt_sha256

pytestmark = pytest.mark.django_db


def dropped(found) -> dict[str, int]:
    return {reason: n for reason, n, *_ in found.dropped}


def judgements_of(campaign):
    return list(Judgement.objects.filter(assignment__task__campaign=campaign).order_by("pk"))


# ---- what goes in ----------------------------------------------------------------------------------------------------


def test_the_preview_counts_what_a_freeze_gives():
    project = make_project()
    campaign = make_judged(project, ["A", "B", "A", "tie", "bad", "B"], n_held_out=1)
    found = preview(project=project, campaigns=[campaign])
    snapshot = freeze(project, [campaign])
    assert (found.n_train, found.n_test, found.n_prompts, found.n_people, found.n_judgements) == (3, 1, 4, 1, 6)
    assert dropped(found) == {"ties": 1, "both_bad": 1}
    assert snapshot.counts["rows"] == {"train": 3, "test": 1}
    assert snapshot.counts["dropped"] == dropped(found)
    assert [row["id"] for row in found.first_rows] == [entry["id"] for entry in read_lineage(directory_of(snapshot))]


def test_a_preview_writes_nothing():
    project = make_project()
    campaign = make_judged(project)
    preview(project=project, campaigns=[campaign])
    assert not Snapshot.objects.exists() and not SnapshotJudgement.objects.exists()


def test_simulated_and_unblinded_judgements_stay_out_unless_asked_for():
    project = make_project()
    campaign = make_judged(project, ["A", "B"], annotator=make_annotator(project, kind="simulated"))
    make_judged(project, ["A"], campaign=campaign)
    task = make_task(
        campaign, [make_answer(make_arm(project), make_prompt(make_set(project), "Seen?"), t) for t in "xy"]
    )
    judge(task, make_annotator(project), "A", is_unblinded=True)
    found = preview(project=project, campaigns=[campaign])
    assert (found.n_rows, dropped(found)) == (1, {"simulated": 2, "unblinded": 1})
    everything = preview(
        project=project, campaigns=[campaign], selection={"with_simulated": True, "with_unblinded": True}
    )
    assert (everything.n_rows, dropped(everything)) == (4, {})


def test_only_the_judgement_that_stands_counts():
    project = make_project()
    campaign = make_judged(project, ["A", "A", "A"])
    first, second, _ = judgements_of(campaign)
    take_back(first)
    take_back(second, verdict="voided", status="released")
    found = preview(project=project, campaigns=[campaign])
    assert (found.n_rows, dropped(found)) == (1, {"withdrawn": 1, "voided": 1})


@pytest.mark.parametrize("purpose", ["practice", "review", "repeat"])
def test_practice_reviews_and_repeats_stay_out(purpose):
    project = make_project()
    campaign = make_judged(project, ["A"])
    judge(campaign.tasks.get(), make_annotator(project), "B", purpose=purpose)
    found = preview(project=project, campaigns=[campaign])
    assert (found.n_rows, dropped(found)) == (1, {"other_purpose": 1})


def test_several_judgements_of_a_pair_become_one_row_or_one_each():
    project = make_project()
    campaign = make_judged(project, ["A"])
    for says in ("A", "B"):
        judge(campaign.tasks.get(), make_annotator(project), says)
    assert preview(project=project, campaigns=[campaign]).n_rows == 1
    by_vote = preview(project=project, campaigns=[campaign], pair_policy={"aggregation": "votes"})
    assert (by_vote.n_rows, by_vote.n_disputed, by_vote.n_people) == (3, 1, 3)
    assert by_vote.agreement == pytest.approx(1 / 3)


def test_the_strength_is_a_share_of_the_campaigns_levels():
    project = make_project()
    campaign = make_judged(project, ["A"], campaign=make_campaign(project, strength_levels=3))
    judge(campaign.tasks.get(), make_annotator(project), "A", strength=3)
    (row,) = preview(project=project, campaigns=[campaign]).first_rows
    assert row["margin"] == 0.5  # (0 + 3/3) / 2: one of the two was not asked


def test_a_row_holds_whole_conversations_with_their_system_message():
    project = make_project()
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "And now?"},
    ]
    campaign, arm = make_campaign(project), make_arm(project)
    prompt = make_prompt(make_set(project), "Hello", messages=messages)
    judge(make_task(campaign, [make_answer(arm, prompt, text) for text in ("x", "y")]), make_annotator(project), "B")
    (row,) = preview(project=project, campaigns=[campaign]).first_rows
    assert row["prompt"] == messages
    assert row["chosen"] == [{"role": "assistant", "content": "y"}]


def test_a_prompt_held_out_in_any_set_is_trained_on_in_none():
    project = make_project()
    arm, campaign, ana = make_arm(project), make_campaign(project), make_annotator(project)
    for prompt in (
        make_prompt(make_set(project), "What is tea?"),  # held out below, under the same words
        make_prompt(make_set(project), "What is tea? Explain.", group="tea"),  # its group is held out below
        make_prompt(make_set(project), "What is coffee?"),
    ):
        judge(make_task(campaign, [make_answer(arm, prompt, text) for text in ("x", "y")]), ana, "A")
    make_prompt(make_set(project), "What is tea?", split="holdout")
    make_prompt(make_set(project), "Which tea?", split="holdout", group="tea")
    snapshot = freeze(project, [campaign])
    assert snapshot.counts["rows"] == {"train": 1, "test": 2}
    prompts = {
        split: {row["prompt_id"] for row in read_rows(directory_of(snapshot) / f"{split}.jsonl")}
        for split in ("train", "test")
    }
    assert not prompts["train"] & prompts["test"]


def test_few_held_out_prompts_and_near_ones_are_warned_of():
    project = make_project()
    arm, campaign, ana = make_arm(project), make_campaign(project), make_annotator(project)
    for text, split in (("How to cook rice?", "train"), ("cook rice: how to", "holdout")):
        prompt = make_prompt(make_set(project), text, split=split)
        judge(make_task(campaign, [make_answer(arm, prompt, answer) for answer in ("x", "y")]), ana, "A")
    few, near = preview(project=project, campaigns=[campaign]).warnings
    assert few.startswith("Only 1 held-out prompt is judged")
    assert near.startswith("1 held-out prompt is nearly the same")


@pytest.mark.parametrize("duplicates", ["drop", "drop_near"])
@pytest.mark.parametrize(
    "prompts", [("yes no yes", "no yes"), ("Translate the text to the French", "to French translate the text")]
)
def test_prompts_of_the_same_words_are_dropped_with_near_ones_too(prompts, duplicates):
    project = make_project()
    arm, campaign, ana = make_arm(project), make_campaign(project), make_annotator(project)
    for text in prompts:
        prompt = make_prompt(make_set(project), text)
        judge(make_task(campaign, [make_answer(arm, prompt, answer) for answer in ("x", "y")]), ana, "A")
    seen = preview(project=project, campaigns=[campaign], pair_policy={"duplicates": duplicates})
    assert (seen.n_rows, [(why, n) for why, n, *_ in seen.dropped]) == (1, [("same_words", 1)])


def test_a_near_prompt_without_a_pair_is_listed_too():
    project = make_project()
    arm, campaign, ana = make_arm(project), make_campaign(project), make_annotator(project)
    for text, split, says in (("How to cook rice?", "train", "A"), ("cook rice: how to", "holdout", "bad")):
        prompt = make_prompt(make_set(project), text, split=split)
        judge(make_task(campaign, [make_answer(arm, prompt, answer) for answer in ("x", "y")]), ana, says)
    snapshot = freeze(project, [campaign], pair_policy={"unpaired": True})
    [near] = read_rows(directory_of(snapshot) / NEAR)
    assert near["test"]["prompt"][0]["content"] == "cook rice: how to" and snapshot.counts["near_duplicates"] == 1


# ---- bytes -----------------------------------------------------------------------------------------------------------


def make_known(project):
    """Judgements whose dataset is known by heart: the same on every database and every machine."""
    prompts, arm, campaign = make_set(project), make_arm(project), make_campaign(project, strength_levels=3)
    people = [make_annotator(project) for _ in range(3)]
    texts = ["naïve 日本 🙂", "two\nlines \u2028", "Which?"]
    for number, text in enumerate(texts):
        prompt = make_prompt(prompts, text, split="holdout" if number == 2 else "train")
        task = make_task(campaign, [make_answer(arm, prompt, f"{word} {text}") for word in ("Zebra", "Ábc", "abc")])
        for who, (person, ranks) in enumerate(zip(people, [(1, 2, 3), (1, 3, 2), (2, 1, 1)], strict=True)):
            judge(task, person, ranks, key=f"key{number}{who}", strength=who + 1)
    return campaign


KNOWN = {
    "majority": "354eeb8d2d2323d1e8e357060c809467ca4c97b14f63d9dbe4b13adea1b7eacd",
    "votes": "24f86637d23461e696e55d416ef66b083c6c1baca7f3b42ea2f5fcfc873bf4a9",
}


@pytest.mark.parametrize("aggregation", list(KNOWN))
def test_the_bytes_of_a_known_dataset_are_the_same_on_every_database(aggregation):
    project = make_project()
    snapshot = freeze(project, [make_known(project)], pair_policy={"aggregation": aggregation})
    assert snapshot.sha256 == KNOWN[aggregation]


@pytest.mark.postgres
@pytest.mark.parametrize("aggregation", list(KNOWN))
def test_postgresql_gives_the_bytes_that_sqlite_gives(aggregation):
    assert connection.vendor == "postgresql"
    project = make_project()
    snapshot = freeze(project, [make_known(project)], pair_policy={"aggregation": aggregation})
    assert snapshot.sha256 == KNOWN[aggregation]


def test_rows_hold_no_key_and_no_id_of_the_database():
    project = make_project()
    campaign = make_judged(project, ["A", "B"])
    snapshot = freeze(project, [campaign])
    text = (directory_of(snapshot) / "train.jsonl").read_text()
    keys = [
        *Candidate.objects.values_list("key", flat=True),
        *Prompt.objects.values_list("key", flat=True),
        *[j.key for j in judgements_of(campaign)],
    ]
    assert not [key for key in keys if key in text]


def test_a_snapshot_can_be_built_again_to_the_bit_whatever_people_do_since():
    project = make_project()
    campaign = make_judged(project, ["A", "B", "A"], n_held_out=1)
    snapshot = freeze(project, [campaign])
    first, *_ = judgements_of(campaign)
    take_back(first)
    make_judged(project, ["B"], campaign=campaign)
    assert rebuilt_sha256(snapshot) == snapshot.sha256
    check_snapshot(snapshot)
    later = freeze(project, [campaign])
    assert later.sha256 != snapshot.sha256
    assert later.members.count() == 3


def test_a_changed_file_and_a_changed_answer_are_both_seen():
    project = make_project()
    campaign = make_judged(project, ["A", "B"])
    snapshot = freeze(project, [campaign])
    answer = campaign.tasks.first().candidates.first()
    answer.text = "Something else."
    answer.save(update_fields=["text"])
    with pytest.raises(DomainError, match="cannot be built again"):
        check_snapshot(snapshot)
    with (directory_of(snapshot) / "train.jsonl").open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(DomainError, match="no longer match"):
        check_snapshot(snapshot)
    with pytest.raises(DomainError, match="damaged"):
        verify("datasets", snapshot.artifact_sha256)


def test_the_same_judgements_frozen_twice_are_one_artifact():
    project = make_project()
    campaign = make_judged(project, ["A", "B"])
    first, second = freeze(project, [campaign]), freeze(project, [campaign])
    assert first.pk != second.pk
    assert (first.sha256, first.artifact_sha256) == (second.sha256, second.artifact_sha256)


def test_every_file_stands_in_the_manifest():
    project = make_project()
    snapshot = freeze(project, [make_judged(project)])
    assert set(read_manifest("datasets", snapshot.artifact_sha256)) == set(snapshots.FILES) - {"manifest.json"}


def test_a_member_cannot_be_deleted():
    project = make_project()
    campaign = make_judged(project, ["A"])
    freeze(project, [campaign])
    with pytest.raises(ProtectedError), transaction.atomic():
        judgements_of(campaign)[0].delete()


# ---- the job ---------------------------------------------------------------------------------------------------------


def test_nothing_to_freeze_is_said_with_what_to_do():
    project = make_project()
    with pytest.raises(DomainError, match="Choose at least one campaign"):
        start_freeze(project=project, name="x", campaigns=[], by=None)
    campaign = make_judged(project, ["A"], annotator=make_annotator(project, kind="simulated"))
    with pytest.raises(DomainError, match="no judgement to freeze") as caught:
        start_freeze(project=project, name="x", campaigns=[campaign], by=None)
    assert "by simulated people. Tick the box that lets them in (with_simulated)." in caught.value.how
    assert not Snapshot.objects.exists()


def test_a_freeze_that_gives_no_pair_fails_with_what_to_do_and_leaves_nothing():
    project = make_project()
    snapshot = freeze(project, [make_judged(project, ["tie", "bad"])])
    assert snapshot.status == JobStatus.FAILED
    assert "Let people judge more answers" in snapshot.error
    assert snapshot.artifact_sha256 == ""
    assert not list((home() / "freezing").iterdir())


def test_a_failed_freeze_tried_again_reads_the_judgements_anew():
    project = make_project()
    campaign = make_judged(project, ["tie"])
    snapshot = freeze(project, [campaign])
    make_judged(project, ["A"], campaign=campaign)
    freeze_again(snapshot, by=None)
    run_freeze(snapshot.pk)
    snapshot.refresh_from_db()
    assert snapshot.is_ready and snapshot.members.count() == 2


def test_a_freeze_cancelled_in_its_last_moment_can_be_tried_again(monkeypatch):
    project = make_project()
    snapshot = start_freeze(project=project, name="late", campaigns=[make_judged(project)], by=None)
    beat = Keeper.beat

    def beat_then_cancel(self, **progress):
        beat(self, **progress)
        if progress.get("step") == self.job.total_steps:
            request_cancel(Snapshot.objects.get(pk=self.job.pk))

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "beat", beat_then_cancel)
        run_freeze(snapshot.pk)
    snapshot.refresh_from_db()
    assert (snapshot.status, snapshot.sha256) == (JobStatus.CANCELLED, "")
    freeze_again(snapshot, by=None)
    run_freeze(snapshot.pk)
    snapshot.refresh_from_db()
    assert snapshot.is_ready
    check_snapshot(snapshot)


def test_another_projects_campaign_and_a_taken_name_are_refused():
    project, other = make_project(), make_project()
    campaign = make_judged(project, ["A"])
    with pytest.raises(DomainError, match="another project"):
        start_freeze(project=other, name="x", campaigns=[campaign], by=None)
    start_freeze(project=project, name="x", campaigns=[campaign], by=None)
    with pytest.raises(Conflict, match="called"):
        start_freeze(project=project, name=" x ", campaigns=[campaign], by=None)
    with pytest.raises(DomainError, match="cannot be read"):
        start_freeze(project=project, name="y", campaigns=[campaign], selection={"pk": 1}, by=None)


def test_a_freeze_killed_after_its_seal_ends_with_the_membership_of_the_seal(monkeypatch):
    project = make_project()
    campaign = make_judged(project, ["A", "B"])
    snapshot = start_freeze(project=project, name="x", campaigns=[campaign], by=None)
    monkeypatch.setattr(freezing, "write_card", lambda *given, **named: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_freeze(snapshot.pk)
    monkeypatch.undo()
    make_judged(project, ["A"], campaign=campaign)
    Snapshot.objects.filter(pk=snapshot.pk).update(status="queued", lease_token="", leased_until=None)
    run_freeze(snapshot.pk)
    snapshot.refresh_from_db()
    assert snapshot.is_ready
    assert sum(snapshot.counts["rows"].values()) == 2


def test_a_freeze_run_again_after_its_end_changes_nothing():
    project = make_project()
    snapshot = freeze(project, [make_judged(project)])
    before = Snapshot.objects.values().get(pk=snapshot.pk)
    run_freeze(snapshot.pk)
    assert Snapshot.objects.values().get(pk=snapshot.pk) == before


def test_a_freeze_whose_lease_was_lost_writes_nothing(monkeypatch):
    project = make_project()
    snapshot = start_freeze(project=project, name="x", campaigns=[make_judged(project)], by=None)
    real = freezing.seal

    def lose(one):
        real(one)
        Snapshot.objects.filter(pk=one.pk).update(lease_token="another worker's")

    monkeypatch.setattr(freezing, "seal", lose)
    run_freeze(snapshot.pk)
    snapshot.refresh_from_db()
    assert (snapshot.status, snapshot.sha256) == (JobStatus.RUNNING, "")


def test_a_cancelled_freeze_stops(monkeypatch):
    project = make_project()
    snapshot = start_freeze(project=project, name="x", campaigns=[make_judged(project)], by=None)

    def seal_and_cancel(one):
        seal(one)
        request_cancel(Snapshot.objects.get(pk=one.pk))

    monkeypatch.setattr(freezing, "seal", seal_and_cancel)
    run_freeze(snapshot.pk)
    snapshot.refresh_from_db()
    assert (snapshot.status, snapshot.sha256) == (JobStatus.CANCELLED, "")
    assert not list((home() / "freezing").iterdir())


def test_a_full_disk_is_a_sentence_and_leaves_nothing(monkeypatch):
    project = make_project()
    snapshot = start_freeze(project=project, name="x", campaigns=[make_judged(project)], by=None)
    full = OSError(28, "No space left on device")
    monkeypatch.setattr("training.formats.lines.ParquetFile.add", lambda *given: (_ for _ in ()).throw(full))
    run_freeze(snapshot.pk)
    snapshot.refresh_from_db()
    assert snapshot.status == JobStatus.FAILED
    assert "No space left on device" in snapshot.error
    assert not list((home() / "freezing").iterdir())


# ---- at the same time ------------------------------------------------------------------------------------------------


def in_threads(*works) -> None:
    barrier, problems = threading.Barrier(len(works)), []

    def run(work) -> None:
        try:
            barrier.wait()
            work()
        except BaseException as problem:
            problems.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems


@pytest.mark.django_db(transaction=True)
def test_of_eight_workers_at_once_one_seals():
    project = make_project()
    campaign = make_judged(project, ["A"] * 5)
    snapshot = start_freeze(project=project, name="x", campaigns=[campaign], by=None)
    in_threads(*[lambda: seal(Snapshot.objects.get(pk=snapshot.pk))] * 8)
    assert snapshot.members.count() == 5


@pytest.mark.django_db(transaction=True)
def test_a_freeze_while_people_judge_is_a_consistent_cut():
    """A person undoes one judgement and gives another in one transaction: a cut holds exactly one of the two."""
    project = make_project()
    campaign, ana = make_campaign(project), make_annotator(project)
    arm, prompts = make_arm(project), make_set(project)
    asked = [make_prompt(prompts, f"Q{n}") for n in range(40)]
    tasks = [make_task(campaign, [make_answer(arm, prompt, text) for text in ("x", "y")]) for prompt in asked]
    given = [judge(task, ana, "A") for task in tasks[:20]]
    snapshot = start_freeze(project=project, name="x", campaigns=[campaign], by=None)

    def swap() -> None:
        for old, task in zip(given, tasks[20:], strict=True):
            with transaction.atomic():
                take_back(old, status="released")
                judge(task, ana, "B")

    in_threads(swap, lambda: run_freeze(snapshot.pk))
    snapshot.refresh_from_db()
    assert snapshot.is_ready
    assert snapshot.members.count() == 20
    assert rebuilt_sha256(snapshot) == snapshot.sha256
    assert artifact_path("datasets", snapshot.artifact_sha256).is_dir()
