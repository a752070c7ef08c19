"""What is accepted as right: written by letters, stored by slot, compared with what was said; items written and imported."""

import json
from typing import Any

import pytest

from annotation.models import Campaign, PracticeAnswer, PracticeItem, Ruling
from annotation.practice import begin, place_of
from annotation.practice_items import (
    accepted_text,
    accepted_words,
    add_item,
    change_item,
    from_ruling,
    from_task,
    is_right,
    read_accepted,
    read_item,
    read_items,
)
from annotation.protocol import Criterion, Protocol, Said
from core.errors import DomainError
from tests.annotation.builders import make_annotator, make_campaign
from tests.annotation.test_onboarding import campaign_with

HELPFUL = Protocol(criteria=(Criterion("helpful", "Helpful", "rate", levels=5),)).stored()
PAIR = Campaign(kind="pair", allow_tie=True, allow_both_bad=True, strength_levels=3)
RANK = Campaign(kind="rank", allow_tie=True)
RATE = Campaign(kind="rate", protocol=HELPFUL)


@pytest.mark.parametrize(
    ("campaign", "n", "text", "words"),
    [
        (PAIR, 2, "a", "A is better"),
        (PAIR, 2, "b3", "B is better (3)"),
        (PAIR, 2, "tie", "Tie"),
        (PAIR, 2, "both_bad", "Both bad"),
        (RANK, 3, "B > A = C", "B > A = C"),
        (RANK, 3, "tie", "Tie"),
        (RATE, 2, "helpful: A 4-5, B 1", "helpful: A 4-5, B 1"),
    ],
)
def test_what_is_accepted_is_read_and_written(campaign: Campaign, n: int, text: str, words: str) -> None:
    accepted = read_accepted(campaign, text, n_answers=n)
    assert json.loads(json.dumps(accepted)) == accepted
    assert accepted_words(accepted) == words
    assert read_accepted(campaign, accepted_text(accepted), n_answers=n) == accepted


@pytest.mark.parametrize(
    ("campaign", "n", "text"),
    [
        (PAIR, 2, "c"), (PAIR, 2, "a4"), (PAIR, 2, "both_good"), (PAIR, 2, ""), (Campaign(kind="pair", allow_tie=False), 2, "tie"),
        (RANK, 3, "A > B"), (RANK, 3, "A = B = C"), (RANK, 3, "A > B > D"), (RANK, 3, "A > A > B"), (RATE, 2, "helpful: A 6"),
        (RATE, 2, "kind: A 1"), (RATE, 2, "helpful: C 1"), (RATE, 2, "helpful A 1"), (RATE, 2, ""), (RATE, 2, "helpful: A 5-4"),
    ],
)  # fmt: skip
def test_what_a_campaign_does_not_ask_is_refused(campaign: Campaign, n: int, text: str) -> None:
    with pytest.raises(DomainError):
        read_accepted(campaign, text, n_answers=n)


@pytest.mark.parametrize(
    ("said", "texts", "right"),
    [
        (Said("ranked", ranks=(1, 2), strength=2), ["a"], True),
        (Said("ranked", ranks=(1, 2), strength=2), ["a3"], False),
        (Said("ranked", ranks=(1, 2), strength=2), ["a3", "a2"], True),
        (Said("ranked", ranks=(2, 1)), ["a", "tie"], False),
        (Said("tie"), ["a", "tie"], True),
        (Said("all_bad"), ["tie"], False),
    ],
)
def test_right_is_what_agrees_with_one_of_the_accepted(said: Said, texts: list[str], right: bool) -> None:
    assert is_right(said, [read_accepted(PAIR, text, n_answers=2) for text in texts]) is right


def test_ratings_are_right_within_their_levels_and_only_those_that_are_named() -> None:
    expected = [read_accepted(RATE, "helpful: A 4-5, B 1", n_answers=3)]
    said = Said("ranked", ranks=(1, 3, 2), scores=(("helpful", 0, 4), ("helpful", 1, 1), ("helpful", 2, 3)))
    assert is_right(said, expected)
    assert not is_right(Said("ranked", scores=(("helpful", 0, 3), ("helpful", 1, 1))), expected)
    assert not is_right(Said("ranked", scores=(("helpful", 0, 5),)), expected)


GOOD = {"use": "qualification", "prompt": "Two?", "answers": ["2", "3"], "accepted": ["a"], "reason": "Count."}


@pytest.mark.parametrize(
    "change",
    [
        {"use": "keys"}, {"prompt": ""}, {"prompt": None}, {"answers": ["2"]}, {"answers": ["1", "2", "3"]}, {"answers": "ab"},
        {"accepted": []}, {"accepted": ["c"]}, {"accepted": None}, {"model": "gpt"}, {"reason": 3},
        {"messages": [{"role": "user", "content": "x"}]},
        {"answers": [1, 2]}, {"prompt": "x" * 50_001},
    ],
)  # fmt: skip
def test_an_item_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    read_item(PAIR, GOOD)
    with pytest.raises(DomainError):
        read_item(PAIR, {**GOOD, **change})


def test_a_conversation_ends_with_the_user() -> None:
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Two?"},
    ]
    given = {name: value for name, value in GOOD.items() if name != "prompt"}
    assert read_item(PAIR, {**given, "messages": turns}).messages == turns
    for bad in (turns[:2], [], [{"role": "king", "content": "x"}], ["x"]):
        with pytest.raises(DomainError):
            read_item(PAIR, {**given, "messages": bad})


def test_an_import_names_every_bad_line() -> None:
    lines = [json.dumps(GOOD), "", "{", "[1]", json.dumps({**GOOD, "accepted": ["z"]}), "[" * 3000, json.dumps(GOOD)]
    items, bad = read_items(PAIR, "\ufeff" + "\n".join(lines))
    assert len(items) == 2
    assert [each.line for each in bad] == [3, 4, 5, 6]


@pytest.mark.django_db
def test_an_item_that_was_answered_is_replaced_not_changed() -> None:
    campaign = campaign_with(n_practice=1)
    item = add_item(campaign, read_item(campaign, {**GOOD, "use": "practice"}), by=None)
    place = place_of(make_annotator(campaign.project), campaign)
    change_item(item, read_item(campaign, {**GOOD, "use": "practice", "prompt": "Three?"}), by=None)
    assert PracticeItem.objects.get().messages[0]["content"] == "Three?"
    begin(place)
    PracticeAnswer.objects.update(answered_at="2026-01-01T00:00Z", is_right=True)
    item.refresh_from_db()
    changed = change_item(item, read_item(campaign, {**GOOD, "use": "practice", "prompt": "Four?"}), by=None)
    assert changed.pk != item.pk
    assert list(campaign.practice_items.filter(is_active=True)) == [changed]
    assert PracticeAnswer.objects.get().item.messages[0]["content"] == "Three?"
    reworded = change_item(
        changed, read_item(campaign, {**GOOD, "use": "practice", "prompt": "Four?", "reason": "!"}), by=None
    )
    assert reworded.pk == changed.pk


@pytest.mark.django_db
def test_a_task_and_a_ruling_begin_an_item() -> None:
    campaign = make_campaign()
    task = campaign.tasks.first()
    begun = from_task(task)
    assert begun["answers"] == [slot.candidate.text for slot in task.slots.order_by("slot")]
    assert read_item(campaign, {**begun, "accepted": ["a"]}).messages == begun["messages"]
    ruling = Ruling.objects.create(campaign=campaign, title="Short is fine", text="As long as it is right.",
                                   example={"messages": begun["messages"], "answers": begun["answers"]})  # fmt: skip
    assert "Short is fine" in from_ruling(ruling)["reason"]
    assert from_ruling(ruling)["answers"] == begun["answers"]
