"""Judgements of live conversations, frozen: the prompt of a row is the whole conversation so far, and no conversation is split."""

import json
from collections.abc import Iterator

import pytest

from annotation.live import pick_answer
from annotation.live_standing import continuing
from core.ids import group_sha256, split_for
from generation import sampling_run
from generation.models import Candidate
from tests.annotation.live_world import Writer, make_live
from tests.generation.stub_vllm import StubVllm
from tests.training.judged import freeze
from training.previewing import preview
from training.snapshots import check_snapshot, directory_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    monkeypatch.setattr("annotation.live._send", lambda turn: None)
    monkeypatch.setattr(sampling_run, "FLUSH_SECONDS", 0.02)


@pytest.fixture
def stub() -> Iterator[StubVllm]:
    with StubVllm() as server:
        yield server


def first_words(split: str) -> str:
    """A first message whose conversation lies on this side of the border."""
    return next(text for n in range(1000) if split_for(group_sha256(text := f"Question {n}?")) == split)


def test_the_prompt_of_a_row_is_the_conversation_so_far(stub: StubVllm) -> None:
    ana = Writer(make_live(stub, system="Be kind."))
    words = first_words("train")
    first = ana.turn("a", words)
    second = ana.turn("tie", "And then?")
    pick_answer(conversation_key=ana.talk.key, annotator=ana.me, number=2, letter="b")
    third = ana.turn("b", "And after that?")
    held = Writer(ana.campaign)
    other = held.turn("a", first_words("holdout"))
    held.turn("b", "More of it")

    snapshot = freeze(ana.campaign.project, [ana.campaign])
    rows = {
        name: [json.loads(line) for line in (directory_of(snapshot) / f"{name}.jsonl").read_text().splitlines()]
        for name in ("train", "test")
    }
    train = sorted(rows["train"], key=lambda row: len(row["prompt"]))
    assert [row["prompt"] for row in train] == [first.prompt.messages, third.prompt.messages]  # a tie is no row
    assert [message["role"] for message in train[1]["prompt"]] == [
        "system", "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip
    picked = ana.talk.turns.get(number=2).chosen
    assert train[1]["prompt"][4]["content"] == picked.text
    for row, turn in zip(train, (first, third), strict=True):
        better = continuing(turn)
        worse = Candidate.objects.filter(arm__job=turn.job).exclude(pk=better.pk).get()
        assert row["chosen"] == [{"role": "assistant", "content": better.text}]
        assert row["rejected"] == [{"role": "assistant", "content": worse.text}]
    assert len(rows["test"]) == 2
    assert {row["prompt"][1]["content"] for row in rows["test"]} == {other.prompt.last_turn}
    assert second.prompt.messages not in [row["prompt"] for row in train]
    check_snapshot(snapshot)


def test_the_preview_counts_turns(stub: StubVllm) -> None:
    ana = Writer(make_live(stub))
    ana.turn("a", first_words("train"))
    ana.turn("both_bad", "More")
    found = preview(project=ana.campaign.project, campaigns=[ana.campaign])
    assert (found.n_rows, found.n_judgements, found.n_people) == (1, 2, 1)
    assert [reason for reason, *_ in found.dropped] == ["both_bad"]
