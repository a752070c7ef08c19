"""The full format: every judged task of a dataset with its votes, read back by the importer, the same on every database."""

import hashlib
import json
import re
from datetime import UTC, datetime

import pytest
from django.conf import settings

from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Flag, Judgement, Score
from annotation.votes import profile
from annotation.votes.judged import Judged
from tests.training.judged import (
    freeze,
    judge,
    make_annotator,
    make_answer,
    make_arm,
    make_campaign,
    make_project,
    make_prompt,
    make_set,
    make_task,
    make_version,
)
from training.formats.records import _time
from training.makeup import makeup_of
from training.models import Snapshot
from training.reading import Reader
from training.records import head_of
from training.rows import recorded_members
from training.snapshots import directory_of

pytestmark = pytest.mark.django_db

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def records_of(snapshot: Snapshot) -> tuple[list[dict], list[dict]]:
    lines = [json.loads(line) for line in (directory_of(snapshot) / "records.jsonl").read_bytes().split(b"\n")[:-1]]
    is_header = [isinstance(line["campaign"], dict) for line in lines]
    n = sum(is_header)
    assert is_header == [True] * n + [False] * (len(lines) - n)
    return [line["campaign"] for line in lines[:n]], lines[n:]


@pytest.fixture
def world():
    """A task of two answers that a person and another judged, with all that can be said."""
    project = make_project()
    arm = make_arm(project, make_version(project, "policy-v2"))
    arm.sampling, arm.engine_version = {"temperature": 0.7, "top_p": 1.0, "seed": None}, "vllm 0.30"
    arm.save()
    outside = make_arm(project, make_version(project, "one-7b", kind="outside", source="One 7B"))
    campaign = make_campaign(project, strength_levels=3, guidelines="Be fair.", protocol={"reasons": ["clear"]})
    prompt = make_prompt(make_set(project), "Why?", tags=["b", "a"], metadata={"big": 1e16, "x": [1.5]}, group="G")
    answers = [make_answer(arm, prompt, "One\u2028two"), make_answer(outside, prompt, "")]
    task = make_task(campaign, answers)
    ana, ben = make_annotator(project), make_annotator(project)
    first = judge(
        task, ana, "A", strength=2, reasons=["clear"], comment="So.", write_in="Better", edited_from=answers[0],
        seconds_active=3.5, is_unblinded=True, source_id="v7",
    )  # fmt: skip
    Assignment.objects.filter(pk=first.assignment_id).update(display_order=[1, 0], opened_at=AT)
    Score.objects.create(judgement=first, candidate=answers[0], criterion="tone", value=4)
    Score.objects.create(judgement=first, candidate=None, criterion="truth", value=-2)
    Flag.objects.create(task=task, candidate=answers[1], annotator=ana, kind="harmful", reason="x")
    judge(task, ben, "bad")
    return project, campaign, task, ana, ben


def letter_of(record: dict, model: str) -> str:
    return "ab"[[answer["model"] for answer in record["answers"]].index(model)]


def test_a_record_holds_all_that_was_said(world):
    project, campaign, _, ana, ben = world
    (header,), (record,) = records_of(
        freeze(project, [campaign], selection={"with_unblinded": True}, pair_policy={"aggregation": "votes"})
    )
    assert header["id"] == record["campaign"] == "c1"
    assert (header["strength_levels"], header["guidelines"], header["protocol"]) == (
        3, {"1": "Be fair."}, {"reasons": ["clear"]},
    )  # fmt: skip
    one, two = letter_of(record, "policy-v2"), letter_of(record, "One 7B")
    answer = record["answers"]["ab".index(one)]
    assert answer["sampling"] == {"temperature": 0.7, "top_p": 1.0}
    assert (answer["text"], answer["engine"], answer["finish_reason"]) == ("One\u2028two", "vllm 0.30", "stop")
    assert record["group"].startswith("sha256:")
    assert record["metadata"] == {"big": 10**16, "x": [1.5]}
    vote, other = sorted(record["votes"], key=lambda vote: vote["annotator"] != ana.pseudonym)
    assert (vote["choice"], vote["order"], vote["edited_from"]) == (one, two + one, one)
    assert vote["scores"] == {
        "tone": [4 if letter == one else None for letter in "ab"],
        "truth": -2 if one == "a" else 2,
    }
    assert vote["flags"] == [{"kind": "harmful", "answer": two, "reason": "x", "status": "open"}]
    assert (vote["strength"], vote["seconds"], vote["unblinded"], vote["vote_id"]) == (2, 3.5, True, "v7")
    assert vote["opened"] == "2026-01-31T12:00:00.000000Z"
    assert (other["annotator"], other["choice"]) == (ben.pseudonym, "both_bad")
    assert "order" not in other


def test_rankings_keep_their_ranks():
    project = make_project()
    arm, prompt, campaign = (
        make_arm(project),
        make_prompt(make_set(project), "Why?"),
        make_campaign(project, kind="rank"),
    )
    answers = [make_answer(arm, prompt, text) for text in ("x", "y", "z")]
    judge(make_task(campaign, answers), make_annotator(project), (2, 1, 2))
    _, (record,) = records_of(freeze(project, [campaign]))
    ranks = dict(zip([answer["text"] for answer in record["answers"]], record["votes"][0]["ranks"], strict=True))
    assert ranks == {"x": 2, "y": 1, "z": 2}


def test_only_members_are_in_it(world):
    project, campaign, task, _, ben = world
    carl = make_annotator(project)
    judge(task, carl, "A")
    judge(task, make_annotator(project, kind="simulated"), "B")
    policy = {"aggregation": "votes"}
    _, (record,) = records_of(
        freeze(project, [campaign], pair_policy=policy)
    )  # without what is not blind, and without machines
    assert [vote["annotator"] for vote in record["votes"]] == sorted([ben.pseudonym, carl.pseudonym])
    assert all("by" not in vote for vote in record["votes"])


def test_holdout_is_said_by_split_and_machines_by_name():
    project = make_project()
    arm, campaign = make_arm(project), make_campaign(project)
    prompts = make_set(project)
    robot = make_annotator(project, kind="simulated")
    for text, split in (("One?", "train"), ("Two?", "holdout")):
        prompt = make_prompt(prompts, text, split=split)
        judge(make_task(campaign, [make_answer(arm, prompt, x) for x in ("yes", "no")]), robot, "A")
    _, found = records_of(freeze(project, [campaign], selection={"with_simulated": True}))
    assert {record["prompt"][0]["content"]: record["split"] for record in found} == {"One?": "train", "Two?": "holdout"}
    assert {vote["by"] for record in found for vote in record["votes"]} == {"simulated"}


def test_the_same_members_give_the_same_bytes_in_any_handfuls(world, monkeypatch):
    project, campaign, *_ = world
    arm, prompts = make_arm(project), make_set(project)
    for number in range(7):
        prompt = make_prompt(prompts, f"Question {number}?")
        judge(make_task(campaign, [make_answer(arm, prompt, x) for x in ("yes", "no")]), make_annotator(project), "A")
    snapshot = freeze(project, [campaign], selection={"with_unblinded": True}, pair_policy={"aggregation": "votes"})

    def lines() -> list[bytes]:
        _, names = head_of(snapshot, makeup_of(snapshot))
        reader = Reader(names=names)
        return b"".join(chunk.lines for chunk in reader.chunks(recorded_members(snapshot))).splitlines()

    whole = lines()
    monkeypatch.setattr("training.reading.CHUNK", 1)
    assert lines() == whole
    prompt_ids = [json.loads(line)["prompt"] for line in whole]
    assert len(prompt_ids) == 8


def test_every_key_is_a_documented_one(world):
    project, campaign, task, *_ = world
    headers, (record,) = records_of(
        freeze(project, [campaign], selection={"with_unblinded": True}, pair_policy={"aggregation": "votes"})
    )
    assert record["id"] == task.key
    objects = [
        *headers,
        record,
        *record["answers"],
        *record["votes"],
        *(f for v in record["votes"] for f in v.get("flags", ())),
    ]
    documented = set(re.findall(r'[`"]([a-z_]+)[`"]', (settings.BASE_DIR / "docs/reference/votes.md").read_text()))
    assert {key for each in objects for key in each} <= documented


def test_the_keys_of_votes_are_those_that_an_import_reads(world):
    """What the votes profile knows already it reads as it stands; the further keys are the full format's."""
    project, campaign, *_ = world
    _, (record,) = records_of(
        freeze(project, [campaign], selection={"with_unblinded": True}, pair_policy={"aggregation": "votes"})
    )
    further = {"campaign", "why", "probability", "following_turns"}
    plain = {name: value for name, value in record.items() if name not in further}
    plain["answers"] = [
        {name: value for name, value in answer.items() if name in profile.ANSWER_KEYS} for answer in record["answers"]
    ]
    plain["votes"] = [
        {name: value for name, value in vote.items() if name in profile.VOTE_KEYS} for vote in record["votes"]
    ]
    read = profile.judged_from(plain, 1, now=datetime.now(UTC))
    assert isinstance(read, Judged)
    assert [vote.verdict for vote in read.votes] == [
        "ranked" if "ranks" in v or v["choice"] in "ab" else "all_bad" for v in record["votes"]
    ]


def test_the_bytes_are_the_same_on_every_database():
    """The same judgements, by whatever database they were kept: the hash stands here."""
    project = make_project()
    arm = make_arm(project, make_version(project, "policy"))
    arm.sampling = {"temperature": 0.7, "stop": [], "top_p": 1.0}
    arm.save()
    campaign = make_campaign(project, strength_levels=3)
    Campaign.objects.filter(pk=campaign.pk).update(name="Fixed")
    people = [Annotator.objects.create(project=project, pseudonym=f"human-{n}") for n in "ab"]
    prompts = make_set(project)
    for number, text in enumerate(["naïve 日本", "two\nlines\r\n", "\u2028 and 🙂"]):
        prompt = make_prompt(
            prompts, text, metadata={"z": 1e22, "a": [0.1, 1e-7, True, None], "é": "x"}, tags=["b", "a"]
        )
        task = make_task(campaign, [make_answer(arm, prompt, f"{word} {text}") for word in ("Good", "Bad")])
        ComparisonTask.objects.filter(pk=task.pk).update(key=f"task{number}", probability=1 / 3, chosen_why="random")
        for place, person in enumerate(people):
            said = judge(task, person, "A", strength=2, key=f"vote{number}{place}", comment=text, seconds_active=1 / 3)
            Judgement.objects.filter(pk=said.pk).update(created_at=AT)
            Assignment.objects.filter(pk=said.assignment_id).update(opened_at=AT)
    data = (directory_of(freeze(project, [campaign])) / "records.jsonl").read_bytes()
    assert hashlib.sha256(data).hexdigest() == "6a8604cc71f3422503f720296806a36c1f52d5922978c5fe51e21503b1e6f6e2"


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("2026-01-31 12:00:00", "12:00:00.000000"),
        ("2026-01-31 12:00:00.5", "12:00:00.500000"),
        ("2026-01-31 12:00:00.123456", "12:00:00.123456"),
        ("2026-01-31 12:00:00+00", "12:00:00.000000"),
        ("2026-01-31 12:00:00.12+00", "12:00:00.120000"),
        ("2026-01-31 12:00:00.123456+00", "12:00:00.123456"),
        ("2026-01-31 14:00:00.123+02", "12:00:00.123000"),
        ("2026-01-31 17:30:00+05:30", "12:00:00.000000"),
        ("2026-01-31 08:00:00.123456-04", "12:00:00.123456"),
    ],
)
def test_times_are_read_as_either_database_writes_them(stored, said):
    assert _time(stored) == f"2026-01-31T{said}Z"
