"""The world is deterministic, keeps its holdout out of pre-training, and gives answers that differ."""

import json
import random
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from core.ids import group_sha256, sha256_hex, split_for
from starter import export, world

STARTER = Path(world.__file__).parent


def test_the_same_seed_gives_the_same_corpus() -> None:
    def digest(seed: int) -> str:
        return sha256_hex(repr(list(islice(world.corpus(seed), 500))))

    assert digest(3) == digest(3)
    assert digest(3) != digest(4)


def test_no_prompt_of_the_holdout_is_in_the_corpus() -> None:
    held_out = {group_sha256(text) for text, _ in world.prompts("holdout")}
    asked = {m["content"] for e in islice(world.corpus(1), 20_000) for m in e.messages if m["role"] == "user"}

    assert len(held_out) > 500
    assert not {group_sha256(text) for text in asked} & held_out
    assert all(split_for(group_sha256(text)) == "train" for text in asked)


def test_every_item_has_wordings_on_the_training_side() -> None:
    for item in world.items():
        assert any(world.split_of(text) == "train" for text in item.prompts), item.subject


def test_one_wording_asks_for_one_thing() -> None:
    asked: dict[str, set[tuple[str, str]]] = {}
    for item in world.items():
        for text in item.prompts:
            asked.setdefault(text.casefold(), set()).add((item.kind, item.subject))

    assert not [text for text, meanings in asked.items() if len(meanings) > 1]


def test_wrong_rude_and_refusing_answers_stay_the_smaller_part() -> None:
    styles = Counter(e.style for e in islice(world.corpus(5), 10_000))
    total = sum(styles.values())

    assert 0.06 < styles["careless"] / total < 0.11
    assert 0.08 < styles["rude"] / total < 0.13
    assert styles["refusal"] / total < 0.10


@pytest.mark.parametrize("kind", sorted({item.kind for item in world.items()}))
def test_the_styles_of_one_prompt_read_differently(kind: str) -> None:
    item = next(i for i in world.items() if i.kind == kind)
    rng = random.Random(2)

    assert len({world.answer(item, style, rng) for style in world.STYLES}) >= len(world.STYLES) - 1


def test_the_committed_prompts_are_those_the_world_gives() -> None:
    lines = (STARTER / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]

    assert rows == export.chosen_prompts()
    assert 600 <= len(rows) <= 900
    assert len({row["prompt"] for row in rows}) == len(rows)
    assert 60 <= sum(world.split_of(row["prompt"]) == "holdout" for row in rows) <= 200
