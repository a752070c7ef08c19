"""A frozen dataset and time: judgements that no longer stand, the same recipe again, two datasets side by side, the card."""

import json
import re
import shutil

import pyarrow.parquet as pq
import pytest
from django.db.models import ProtectedError
from django.test import Client

from accounts.models import Role
from annotation.models import Judgement
from core.jobs import JobStatus, request_cancel
from tests.api.client import Api
from tests.training.judged import (
    freeze,
    judge,
    make_annotator,
    make_answer,
    make_arm,
    make_campaign,
    make_judged,
    make_person,
    make_project,
    make_prompt,
    make_set,
    make_task,
    take_back,
)
from training import comparisons
from training.card import CARD
from training.card import _metadata as metadata_of
from training.comparing import compare, read_stored, stored
from training.comparisons import comparison_of, run_comparison, start_comparison
from training.formats.files import NEAR, read_rows
from training.formats.preference import COLUMNS, UNPAIRED_COLUMNS
from training.freezing import freeze_anew, run_freeze
from training.models import ComparisonJob, Snapshot
from training.previewing import preview
from training.since import excluded_since
from training.snapshots import check_snapshot, directory_of
from training.specs import METHODS, derive

pytestmark = pytest.mark.django_db


def judgements_of(campaign):
    return list(Judgement.objects.filter(assignment__task__campaign=campaign).order_by("pk"))


@pytest.fixture
def project():
    return make_project(slug="lab", name="Lab")


@pytest.fixture
def ravi(project) -> Client:
    client = Client()
    client.force_login(make_person("Ravi", project, Role.RESEARCHER))
    return client


# ---- what became of its judgements ------------------------------------------------------------------------------------


def test_judgements_that_no_longer_stand_are_named_and_may_be_left_behind(project, ravi):
    campaign = make_judged(project, ["A"] * 5)
    snapshot = freeze(project, [campaign], name="first")
    assert excluded_since(snapshot) == {}
    assert b"Every judgement in it still stands" in ravi.get(f"/p/lab/datasets/{snapshot.key}/since/").content
    first, second, third, fourth, _ = judgements_of(campaign)
    take_back(first)
    take_back(second, verdict="voided", status="released")
    take_back(third, verdict="ranked", status="submitted")
    fourth.assignment.task.status = "retired"
    fourth.assignment.task.save()
    assert excluded_since(snapshot) == {"voided": 1, "withdrawn": 1, "superseded": 1, "retired": 1}
    page = ravi.get(f"/p/lab/datasets/{snapshot.key}/since/").content.decode()
    assert "4 of its judgements would stay out now" in page and "Freeze again without them" in page
    check_snapshot(snapshot)  # the old one is as it was
    made = freeze_anew(snapshot, by=make_person("Rita", project, Role.RESEARCHER))
    run_freeze(made.pk)
    made.refresh_from_db()
    assert (made.name, made.pair_policy) == ("first-2", snapshot.pair_policy)
    assert made.total_steps == 2 and snapshot.total_steps == 5


def test_a_member_cannot_be_deleted_from_under_a_snapshot(project):
    campaign = make_judged(project, ["A"])
    freeze(project, [campaign])
    with pytest.raises(ProtectedError):
        judgements_of(campaign)[0].delete()


# ---- side by side ----------------------------------------------------------------------------------------------------


def test_two_datasets_differ_by_rows_in_out_and_changed_and_say_why(project, ravi):
    campaign = make_judged(project, ["A", "A", "A", "A"])
    before = freeze(project, [campaign], name="before")
    gone, turned, more, _ = judgements_of(campaign)
    take_back(gone)
    for _ in range(2):
        judge(turned.assignment.task, make_annotator(project), "B")
    judge(more.assignment.task, make_annotator(project), "A")
    make_judged(project, ["B"], campaign=campaign)
    after = freeze(project, [campaign], name="after")
    found = compare(before, after)
    assert found.counts == {"in": 1, "out": 1, "changed": 2, "same": 1}
    assert found.why == {
        ("in", "new_judgements"): 1, ("out", "gone_judgements"): 1, ("changed", "turned"): 1,
        ("changed", "new_judgements"): 1,
    }  # fmt: skip
    assert (found.left, found.n_joined, found.settings) == ({"withdrawn": 1}, 4, [])
    back = compare(after, before)
    assert (back.counts["in"], back.counts["out"], back.counts["changed"]) == (1, 1, 2)
    page = ravi.get(f"/p/lab/datasets/{after.key}/compare/", {"with": before.key}).content.decode()
    assert "the other answer is chosen now" in page and "undone by their author" in page


def test_the_same_judgements_by_another_recipe_are_told_apart(project, ravi):
    campaign = make_judged(project, ["A", "B"], campaign=make_campaign(project, strength_levels=2))
    judge(campaign.tasks.first(), make_annotator(project), "A", strength=2)
    before, after = (freeze(project, [campaign], pair_policy={"aggregation": a}) for a in ("majority", "votes"))
    found = compare(before, after)
    assert found.settings == [("aggregation", "majority", "votes")]
    assert found.left == {} and found.counts["same"] == 1
    assert compare(before, freeze(project, [campaign])).counts == {"same": 2}
    page = ravi.get(f"/p/lab/datasets/{after.key}/compare/", {"with": before.key}).content.decode()
    assert re.search(r"<dt>Aggregation</dt><dd>majority .*became</span> votes</dd>", page)
    capped = freeze(project, [campaign], selection={"max_per_annotator": 1})
    assert compare(before, capped).left == {"not_chosen": 1}


def test_rows_that_another_recipe_leaves_out_are_not_said_to_lack_judgements(project):
    campaign = make_judged(project, ["A", "B"])
    judge(campaign.tasks.first(), make_annotator(project), "A")
    before, after = (
        freeze(project, [campaign], pair_policy=policy) for policy in ({"aggregation": "votes"}, {"min_votes": 2})
    )
    assert (before.sha256, after.sha256) != ("", "") and not compare(before, after).left
    for first, second in ((before, after), (after, before)):
        assert {why for _, why in compare(first, second).why} == {"policy"}


def test_a_judgement_that_joined_elsewhere_is_no_reason_here(project):
    campaign = make_judged(project, ["A", "B"])
    judge(campaign.tasks.first(), make_annotator(project), "A")
    before = freeze(project, [campaign], pair_policy={"min_votes": 2})
    make_judged(project, ["B"], campaign=campaign)
    after = freeze(project, [campaign])
    assert compare(before, after).why == {("in", "new_judgements"): 1, ("in", "policy"): 1}
    assert compare(after, before).why == {("out", "gone_judgements"): 1, ("out", "policy"): 1}


def test_a_row_that_others_outvoted_is_not_blamed_on_a_recipe(project):
    campaign = make_judged(project, ["A", "B"])
    before = freeze(project, [campaign])
    judge(campaign.tasks.first(), make_annotator(project), "B")
    after = freeze(project, [campaign])
    assert compare(before, after).why == {("out", "others"): 1}
    [shown] = compare(before, after).shown["out"]
    assert "other judgements joined or left" in shown.words


def make_two(project):
    """Two datasets with a row in, a row out and one that is turned."""
    campaign = make_judged(project, ["A", "A", "A"])
    before = freeze(project, [campaign], name="before")
    gone, turned, _ = judgements_of(campaign)
    take_back(gone)
    for _ in range(2):
        judge(turned.assignment.task, make_annotator(project), "B")
    make_judged(project, ["B"], campaign=campaign)
    return before, freeze(project, [campaign], name="after")


def test_large_datasets_are_compared_by_a_job_that_the_page_follows(project, ravi, monkeypatch):
    before, after = make_two(project)
    small = compare(before, after)
    monkeypatch.setattr(comparisons, "ENOUGH_FOR_A_PAGE", 3)
    address = f"/p/lab/datasets/{after.key}/compare/"
    page = ravi.get(address, {"with": before.key}).content.decode()
    assert "Compare in the background" in page and not ComparisonJob.objects.exists()
    answer = ravi.post(address, {"with": before.key})
    assert (answer.status_code, answer["Location"]) == (303, f"{address}?with={before.key}")
    assert 'hx-trigger="every 2s"' in ravi.get(address, {"with": before.key}).content.decode()
    job = ComparisonJob.objects.get()
    run_comparison(job.pk)
    job.refresh_from_db()
    assert (job.status, job.step) == (JobStatus.SUCCEEDED, job.total_steps)
    page = ravi.get(address, {"with": before.key}).content.decode()
    assert "the other answer is chosen now" in page and "undone by their author" in page and "every 2s" not in page
    found = comparisons.result_of(job)
    assert (found.counts, found.why, found.left, found.n_joined) == (
        small.counts,
        small.why,
        small.left,
        small.n_joined,
    )
    for what, shown in small.shown.items():
        assert [(one.row["id"], one.row["split"], one.n_new) for one in found.shown[what]] == [
            (one.row["id"], one.row["split"], one.n_new) for one in shown
        ]
    ravi.post(address, {"with": before.key})  # found again
    assert ComparisonJob.objects.count() == 1


def test_what_was_found_holds_no_text(project):
    before, after = make_two(project)
    kept = json.dumps(stored(compare(before, after)))
    for row in read_rows(directory_of(after) / "train.jsonl"):
        assert row["chosen"][0]["content"] not in kept and row["prompt"][0]["content"] not in kept


def test_a_comparison_of_replaced_files_is_made_anew(project):
    before, after = make_two(project)
    first = start_comparison(first=before, second=after, by=None)
    run_comparison(first.pk)
    assert comparison_of(before, after) == first
    Snapshot.objects.filter(pk=before.pk).update(artifact_sha256=after.artifact_sha256)
    before.refresh_from_db()
    assert comparison_of(before, after) is None
    assert start_comparison(first=before, second=after, by=None) != first


def test_a_comparison_is_cancelled_and_asked_for_again(project, ravi, monkeypatch):
    before, after = make_two(project)
    monkeypatch.setattr(comparisons, "ENOUGH_FOR_A_PAGE", 3)
    address = f"/p/lab/datasets/{after.key}/compare/"
    job = start_comparison(first=before, second=after, by=None)
    ravi.post(f"{address}cancel/", {"with": before.key})
    run_comparison(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED
    assert "was cancelled" in ravi.get(address, {"with": before.key}).content.decode()
    assert start_comparison(first=before, second=after, by=None) != job


def test_a_comparison_asked_to_stop_stops_at_the_next_beat(project, monkeypatch):
    before, after = make_two(project)
    job = start_comparison(first=before, second=after, by=None)

    def compare_and_cancel(*given, beat):
        request_cancel(job)
        beat(0)

    monkeypatch.setattr("core.beating.BEAT_SECONDS", 0.0)
    monkeypatch.setattr(comparisons, "compare", compare_and_cancel)
    run_comparison(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED


def test_a_comparison_of_lost_files_fails_with_a_sentence(project):
    before, after = make_two(project)
    job = start_comparison(first=before, second=after, by=None)
    shutil.rmtree(directory_of(before))
    run_comparison(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED and "is missing" in job.error


def test_nothing_to_compare_with_is_said(project, ravi):
    snapshot = freeze(project, [make_judged(project, ["A"])])
    assert b"There is no other dataset" in ravi.get(f"/p/lab/datasets/{snapshot.key}/compare/").content
    same = ravi.get(f"/p/lab/datasets/{snapshot.key}/compare/", {"with": snapshot.key})
    assert same.status_code == 422 and b"one and the same dataset" in same.content
    assert ravi.get(f"/p/lab/datasets/{snapshot.key}/compare/", {"with": "zzz"}).status_code == 404


CALLS = {"good": ("tie", "both_good"), "bad": ("bad", "all_bad")}


def call(campaign, prompt, says, *, answers=None):
    """A task of two answers that one person calls both good or both bad."""
    answers = answers or [make_answer(make_arm(campaign.project), prompt, f"{word}: {prompt.pk}") for word in "ab"]
    task = make_task(campaign, answers)
    call_again(task, says)
    return task


def call_again(task, says):
    ranks, verdict = CALLS[says]
    judge(task, make_annotator(task.campaign.project), ranks, verdict=verdict)


def make_two_unpaired(project):
    """Two datasets of a pair and eight answers without one, of which two leave, four change and two come."""
    campaign, prompts = make_judged(project, ["A"]), make_set(project)
    gone, turned, more, _ = (call(campaign, make_prompt(prompts, f"Called {n}?"), "good") for n in range(4))
    before = freeze(project, [campaign], name="before", pair_policy={"unpaired": True})
    take_back(gone.assignments.get().current)
    for _ in range(2):
        call_again(turned, "bad")
    call_again(more, "good")
    call(campaign, make_prompt(prompts, "Called new?"), "bad")
    return before, freeze(project, [campaign], name="after", pair_policy={"unpaired": True})


def test_answers_without_a_pair_differ_too_and_say_why(project, ravi):
    before, after = make_two_unpaired(project)
    found = compare(before, after)
    assert found.counts == {"in": 2, "out": 2, "changed": 4, "same": 3}
    assert found.why == {
        ("in", "new_judgements"): 2, ("out", "gone_judgements"): 2, ("changed", "turned_bad"): 2,
        ("changed", "new_judgements"): 2,
    }  # fmt: skip
    back = compare(after, before)
    assert back.counts == found.counts and back.why["changed", "turned_good"] == 2
    assert {each.kind for shown in found.shown.values() for each in shown} == {"unpaired"}
    turned = next(each for each in found.shown["changed"] if each.why == "turned_bad")
    assert turned.before["label"] is True and turned.after["label"] is False and (turned.n_new, turned.n_gone) == (2, 0)
    page = ravi.get(f"/p/lab/datasets/{after.key}/compare/", {"with": before.key}).content.decode()
    assert "2 rows changed: called bad instead of good" in page
    assert "Called bad instead of good; 2 more judgements." in page
    assert page.count("Good</span>") == 2 + 2 and page.count("Bad</span>") == 2 + 2 and "Rejected" not in page


def test_the_api_tells_an_answer_without_a_pair_by_its_completion_and_label(project):
    before, after = make_two_unpaired(project)
    api = Api(project, make_person("Rita", project, Role.RESEARCHER))
    told = api.get(f"datasets/{after.key}/compare?to={before.key}").json()
    assert {"what": "changed", "why": "called bad instead of good", "n": 2} in told["reasons"]
    turned = next(each for each in told["shown"]["changed"] if each["why"] == "turned_bad")
    assert turned["kind"] == "unpaired" and (turned["before"]["label"], turned["after"]["label"]) == (True, False)
    assert turned["after"]["completion"][0]["role"] == "assistant" and "chosen" not in turned["after"]


def test_a_recipe_without_answers_alone_leaves_them_out_whatever_files_there_are(project):
    before, with_them = make_two_unpaired(project)
    campaigns = list(with_them.campaigns.all())
    without = freeze(project, campaigns, name="without")
    assert not (directory_of(without) / "unpaired-train.jsonl").exists()
    assert compare(with_them, without).why == {("out", "policy"): 8}
    found = compare(without, with_them)
    assert (found.counts, found.why) == ({"in": 8, "same": 1}, {("in", "policy"): 8})
    job = start_comparison(first=without, second=with_them, by=None)
    run_comparison(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.SUCCEEDED and comparisons.result_of(job).counts["in"] == 8
    assert comparisons.n_rows_of(before, with_them, without) == 9 + 9 + 1


def test_an_answer_alone_that_is_held_out_now_has_moved_and_one_in_a_pair_is_another_row(project):
    campaign, prompts = make_campaign(project), make_set(project)
    moved, paired = (make_prompt(prompts, text) for text in ("Moved?", "Paired?"))
    call(campaign, moved, "good")
    task = call(campaign, paired, "good")
    before = freeze(project, [campaign], pair_policy={"unpaired": True})
    moved.split = "holdout"
    moved.save()
    judge(task, make_annotator(project), "A")
    judge(task, make_annotator(project), "A")
    after = freeze(project, [campaign], pair_policy={"unpaired": True})
    found = compare(before, after)
    assert found.why == {("changed", "moved"): 2, ("in", "new_judgements"): 1} and found.counts["same"] == 2
    (pair,) = found.shown["in"]
    assert pair.kind == "pair" and found.shown["changed"][0].row["split"] == "test"


def test_stored_places_of_answers_alone_are_read_again_and_older_ones_mean_pairs(project):
    before, after = make_two_unpaired(project)
    found = compare(before, after)
    kept = json.loads(json.dumps(stored(found)))
    assert "Called" not in json.dumps(kept)
    again = read_stored(before, after, kept)
    for what, shown in found.shown.items():
        for one, other in zip(again.shown[what], shown, strict=True):
            for mine, theirs in ((one.before, other.before), (one.after, other.after)):
                assert mine == (theirs and {name: value for name, value in theirs.items() if name != "judgements"})
    kept["shown"] = [["out", "policy", ["train", 0], None, 0, 1]]
    (pair,) = read_stored(before, after, kept).shown["out"]
    assert pair.kind == "pair" and pair.row["chosen"]


# ---- the card and the border -----------------------------------------------------------------------------------------


@pytest.fixture
def carded(project):
    campaign = make_judged(project, ["A", "B", "A", "tie"], n_held_out=1)
    task = campaign.tasks.first()
    task.prompt.set.licence = "CC-BY-4.0"
    task.prompt.set.save()
    campaign.name, campaign.question = 'Help | "fulness"', "Which?"
    campaign.save()
    for says in ("A", "B", "A"):
        judge(task, make_annotator(project), says)
    return freeze(project, [campaign], pair_policy={"unpaired": True})


def test_the_card_says_what_who_and_how(carded):
    text = (directory_of(carded) / CARD).read_text()
    assert text.startswith(
        '---\npretty_name: "Preferences: Help | \\"fulness\\""\nlicense: cc-by-4.0\nsize_categories: ["n<1K"]\n'
    )
    assert carded.sha256 in text and 'Help \\| "fulness"' in text and "held out from training" in text
    for member in carded.members.select_related("judgement__assignment__annotator"):
        assert member.judgement.assignment.annotator.pseudonym in text
    assert "95 % interval" in text and '"aggregation": "majority"' in text


def test_t082_the_card_lists_every_column_with_its_type_and_meaning(carded):
    text = (directory_of(carded) / CARD).read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]{10,} \|$", text, flags=re.M)
    table = pq.read_schema(directory_of(carded) / "train.parquet")
    assert {name for name, _ in rows} >= set(table.names) == set(COLUMNS)
    types = dict(rows)
    assert (types["chosen"], types["n_votes"], types["margin"]) == (
        "list of messages, each with `role` and `content`",
        "whole number",
        "number",
    )
    columns = text.split("## Columns")[1].split("## Who judged")[0]
    people = carded.members.values_list("judgement__assignment__annotator__pseudonym", flat=True)
    assert not any(pseudonym in columns for pseudonym in people)


def test_datasets_reads_the_directory_by_its_card(carded, tmp_path):
    load_dataset = pytest.importorskip("datasets").load_dataset
    rows = load_dataset(str(directory_of(carded)), cache_dir=str(tmp_path))
    assert {split: len(rows[split]) for split in rows} == {split: n for split, n in carded.counts["rows"].items() if n}
    assert rows["train"][0] == next(read_rows(directory_of(carded) / "train.jsonl"))


@pytest.fixture
def alone(project):
    """Of answers without a pair only: two to train on, two held out."""
    campaign, prompts = make_campaign(project), make_set(project)
    for says, split in (("good", "train"), ("bad", "holdout")):
        call(campaign, make_prompt(prompts, f"Called {says}?", split=split), says)
    return freeze(project, [campaign], pair_policy={"unpaired": True})


def test_the_card_of_answers_without_a_pair_speaks_of_those_alone(alone):
    text = (directory_of(alone) / CARD).read_text()
    assert "configs:\n- config_name: unpaired\n  default: true\n" in text and "config_name: preference" not in text
    assert "unpaired preference format" in text and "it holds no pair" in text
    assert "| train | 2 | 1 |" in text and "| test | 2 | 1 |" in text
    columns = text.split("## Columns")[1].split("## Who judged")[0]
    assert re.findall(r"^\| `(\w+)` ", columns, flags=re.M) == list(UNPAIRED_COLUMNS)
    assert "kto" in text and "dpo" not in text.split("\n---\n")[0]


def test_datasets_reads_answers_without_a_pair_by_their_card(alone, tmp_path):
    load_dataset = pytest.importorskip("datasets").load_dataset
    rows = load_dataset(str(directory_of(alone)), cache_dir=str(tmp_path))
    assert rows["train"][0] == next(read_rows(directory_of(alone) / "unpaired-train.jsonl"))
    assert len(rows["test"]) == 2


def test_the_size_counts_pairs_and_answers_without_one(project, carded):
    counts = {"rows": {"train": 600, "test": 0}, "unpaired": {"train": 300, "test": 100}}
    text = "\n".join(metadata_of("Title", counts, []))
    assert 'size_categories: ["1K<n<10K"]' in text and "rlhf, dpo, kto, trl" in text
    assert text.count("default: true") == 1 and text.index("config_name: preference") < text.index("default: true")
    # The recipe keeps such answers, and there are none.
    card = (directory_of(carded) / CARD).read_text()
    assert sum(carded.counts["unpaired"].values()) == 0 and "configuration" not in card and "`completion`" not in card


def test_prompts_of_the_same_words_across_the_border_are_listed(project, ravi):
    prompts, arm, campaign = make_set(project), make_arm(project), make_campaign(project)
    for text, split in (("Cook rice how?", "train"), ("how: cook RICE", "holdout"), ("Bake bread?", "train")):
        prompt = make_prompt(prompts, text, split=split)
        task = make_task(campaign, [make_answer(arm, prompt, word) for word in ("a", "b")])
        judge(task, make_annotator(project), "A")
    snapshot = freeze(project, [campaign])
    (entry,) = read_rows(directory_of(snapshot) / NEAR)
    assert entry["test"]["prompt"][0]["content"] == "how: cook RICE"
    assert entry["train"]["prompt"][0]["content"] == "Cook rice how?"
    assert (entry["share"], snapshot.counts["near_duplicates"]) == (1.0, 1)
    page = ravi.get(f"/p/lab/datasets/{snapshot.key}/").content.decode()
    assert "Nearly the same on both sides" in page and "how: cook RICE" in page


def test_prompts_that_are_nearly_the_same_may_be_dropped(project):
    prompts, arm, campaign = make_set(project), make_arm(project), make_campaign(project)
    long = "Tell me in three short sentences how rice is cooked on a stove without burning it"
    for text, verdict in ((long, "tie"), (f"{long} please", "A"), (f"Well, {long}", "A"), ("Bake bread?", "B")):
        prompt = make_prompt(prompts, text)
        task = make_task(campaign, [make_answer(arm, prompt, word) for word in ("a", "b")])
        judge(task, make_annotator(project), verdict)
    policy = {"duplicates": "drop_near"}
    found = preview(project=project, campaigns=[campaign], pair_policy=policy)
    assert (found.n_rows, [(why, n) for why, n, *_ in found.dropped]) == (2, [("ties", 1), ("near", 1)])
    snapshot = freeze(project, [campaign], pair_policy=policy)
    # The tie gives no row, so it takes no other's place.
    assert (snapshot.counts["rows"]["train"], snapshot.counts["dropped"]["near"]) == (2, 1)
    assert "nearly the same as another one" in (directory_of(snapshot) / CARD).read_text()
    check_snapshot(snapshot)


def test_a_prompt_of_the_same_words_may_be_dropped(project):
    prompts, arm, campaign = make_set(project), make_arm(project), make_campaign(project)
    for text in ("Cook rice how?", "how: cook RICE"):
        prompt = make_prompt(prompts, text)
        task = make_task(campaign, [make_answer(arm, prompt, word) for word in ("a", "b")])
        judge(task, make_annotator(project), "A")
    snapshot = freeze(project, [campaign], pair_policy={"duplicates": "drop"})
    assert (snapshot.counts["rows"]["train"], snapshot.counts["dropped"]["same_words"]) == (1, 1)
    check_snapshot(snapshot)


# ---- what a method makes of a row's figures --------------------------------------------------------------------------


def test_a_run_that_asks_for_an_ignored_weight_is_refused():
    facts = {"n_parameters": 10_000_000, "context_length": 256, "n_train": 100}
    files = {"base_model": "m", "train_file": "t", "output_dir": "o"}
    for method, asked in (("dpo", "use_weight"), ("dpo", "use_margin"), ("reward", "use_weight")):
        with pytest.raises(ValueError, match=r"ignores the (weight|margin) of a row"):
            derive(method, "small", **facts, **files, overrides={asked: True})
    derive("reward", "small", **facts, **files, overrides={"use_margin": False})
    assert METHODS["dpo"].uses == () and METHODS["reward"].uses == ("margin",)


def test_the_recipe_is_in_the_card_as_it_was_stored(carded):
    text = (directory_of(carded) / CARD).read_text()
    block = text.split("```json\n")[1].split("\n```")[0]
    assert json.loads(block) == {"selection": carded.selection, "pair_policy": carded.pair_policy}
