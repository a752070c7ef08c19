"""Prompts that are nearly the same: found whatever their order of arrival, told apart from those that only look alike, in little time."""

import random
import re
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ids import levelled, sha256_hex
from training import near
from training.near import LEAST_SHARE, Neighbours

WORDS = [f"word{number}" for number in range(2000)]


def asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def gathered(*prompts: tuple[str, str]) -> Neighbours:
    found = Neighbours()
    for split, text in prompts:
        found.add("test" if split == "test" else "train", sha256_hex(text), asked(text))
    return found


def pairs_in(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[^\W_]+", levelled(text))
    return set(pairwise(words)) if len(words) > 1 else {tuple(words)} if words else set()


def share(one: str, other: str) -> float:
    mine, theirs = pairs_in(one), pairs_in(other)
    return len(mine & theirs) / len(mine | theirs) if mine | theirs else 0.0


LONG = "Please explain to me in a few plain sentences how the tides come about and why there are two of them a day"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (LONG, LONG.upper() + "!", True),
        (LONG, LONG.replace("few", "couple of"), True),
        (LONG, LONG.replace("tides", "seasons").replace("two", "four"), False),
        ("How to cook rice?", "cook rice: how to", True),  # the same words
        ("How to cook rice?", "How to cook pasta?", False),
        ("Hi", "hi.", True),
        ("a\0b\nc_d", "A b: c d", True),
        ("Hi", "Ho", False),
        ("…", "?!", False),  # no word at all
        ("ｆｕｌｌ width ＡＢＣ", "full width abc", True),
        ("Wie heißt du", "wie heisst du", True),
        ("日本 の 首都", "日本 の 首都?", True),
    ],
)
def test_what_is_near_is_found_and_nothing_else(one, other, expected):
    found = gathered(("train", one), ("test", other)).across()
    assert bool(found) == expected
    assert bool(gathered(("train", one), ("train", other)).twins()) == expected
    assert not gathered(("train", one), ("test", other)).twins()


def test_the_share_is_exact():
    other = f"{LONG} at most"
    (found,) = gathered(("train", LONG), ("test", other), ("train", "Something else")).across()
    assert (found.test, found.train) == (sha256_hex(other)[:16], sha256_hex(LONG)[:16])
    assert found.share == round(share(LONG, other), 3)


words = st.lists(st.sampled_from(WORDS[:12]), min_size=1, max_size=14).map(" ".join)


@given(st.lists(st.tuples(st.sampled_from(["train", "test"]), words), min_size=2, max_size=12))
def test_it_is_called_near_only_if_it_is_and_batches_change_nothing(prompts):
    found = gathered(*prompts).across()
    texts = {sha256_hex(text)[:16]: text for _, text in prompts}
    for one in found:
        test, train = texts[one.test], texts[one.train]
        assert share(test, train) >= LEAST_SHARE or sorted(test.split()) == sorted(train.split())
    before, near.BATCH_CHARS = near.BATCH_CHARS, 1
    try:
        assert gathered(*prompts).across() == found
    finally:
        near.BATCH_CHARS = before


@given(
    st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n - 1), max_size=n // 8 + 2))),
    st.sampled_from([5, 60, 2000]),
    st.randoms(use_true_random=False),
)
def test_nothing_near_is_passed_over_unread(drawn, n_words, draw):
    n, changed = drawn
    text = draw.choices(WORDS[:n_words], k=n)
    other = [f"{word}x" if place in changed else word for place, word in enumerate(text)]
    found = gathered(("train", " ".join(text)), ("test", " ".join(other)))
    found._look_up()
    assert found._may_be_near(0, 1) or share(" ".join(text), " ".join(other)) < LEAST_SHARE


def counted_reads(monkeypatch, *texts: str) -> tuple[int, int]:
    """How many prompts are read to look for twins, all in one bucket; how many twins there are."""
    read: list[int] = []
    real = near._Column.some

    def some(column: near._Column, first: int, n: int):
        if column is found._shingles:
            read.append(first)
        return real(column, first, n)

    found = gathered(*(("train", text) for text in texts))
    monkeypatch.setattr(near._Column, "some", some)
    monkeypatch.setattr(near.Neighbours, "_buckets", lambda self: iter([(list(range(len(texts))), False)]))
    return len(found.twins()), len(read)


def test_what_is_far_apart_is_not_read(monkeypatch):
    draw = random.Random(1)
    assert counted_reads(monkeypatch, *(" ".join(draw.choices(WORDS, k=30)) for _ in range(50))) == (0, 0)


def test_of_long_prompts_each_is_read_once(monkeypatch):
    draw = random.Random(2)
    assert counted_reads(monkeypatch, *(" ".join(draw.choices(WORDS, k=400)) for _ in range(50))) == (0, 50)


@pytest.mark.parametrize("at_memory", [1, 1 << 20])
def test_a_column_is_the_same_in_memory_and_in_a_file(monkeypatch, at_memory):
    monkeypatch.setattr(near, "IN_MEMORY_BYTES", at_memory)
    column = near._Column()
    assert column.all().tolist() == []
    for first in (0, 3, 6):
        column.add(np.arange(first, first + 3, dtype=np.uint64))
        assert column.all().tolist() == list(range(first + 3))
        assert column.at(first) == first
    assert column.some(2, 4).tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("at_once", [1, 7, 100, 1000])
def test_how_many_are_sorted_at_a_time_changes_nothing(monkeypatch, at_once):
    draw = random.Random(at_once)
    texts = [" ".join(draw.choices(WORDS[:6], k=draw.randrange(5))) for _ in range(600)]
    found = gathered(*((draw.choice(["train", "test"]), text) for text in texts))
    found._look_up()
    expected = [list(found._buckets()), found.across(), found.twins()]
    assert len(expected[0]) > 100 and expected[1] and expected[2]
    monkeypatch.setattr(near, "SORTED_AT_ONCE", at_once)
    assert [list(found._buckets()), found.across(), found.twins()] == expected


def test_near_ones_of_near_ones_are_one_group():
    chain = [LONG, f"{LONG} and", f"{LONG} and night", f"{LONG} and night here", "Something else altogether"]
    groups = gathered(*(("train", text) for text in chain)).twins()
    assert len(groups) == 4 and len(set(groups.values())) == 1


def test_of_no_prompts_none_is_near():
    assert gathered().across() == [] and gathered().twins() == {}
    assert gathered(("test", "…"), ("train", "?")).across() == []


def test_prompts_may_be_added_after_asking():
    found = gathered(("train", LONG))
    assert found.across() == []
    for number in range(3):
        found.add("test", sha256_hex(str(number)), asked(f"{LONG}{'!' * number}"))
        assert len(found.across()) == number + 1


def test_a_hundred_thousand_short_prompts_take_seconds():
    draw = random.Random(7)
    prompts = [" ".join(draw.choices(WORDS, k=20)) for _ in range(100_000)]
    for number in range(1, len(prompts), 100):
        prompts[number] = f"{prompts[number - 1]} again"
    began = time.process_time()
    found = Neighbours()
    for number, text in enumerate(prompts):
        found.add("test" if number % 100 == 1 else "train", f"{number:064x}", asked(text))
    assert len(found.across()) == 1000
    assert found.twins() == {}
    assert time.process_time() - began < 30  # about 2 on a quiet machine


def test_ten_thousand_prompts_of_one_template_take_seconds():
    """Six tenths of their word pairs are the same: every band finds some of them, and they are not near."""
    draw = random.Random(8)
    frame = "Translate what follows into plain English for a reader who knows nothing about it and keep it short please"
    began = time.process_time()
    found = Neighbours()
    for number in range(10_000):
        words = " ".join(draw.choices(WORDS, k=5))
        found.add("test" if number % 7 == 0 else "train", f"{number:064x}", asked(f"{frame}: {words}"))
    assert len(found.across()) < 10
    assert len(found.twins()) < 20
    assert time.process_time() - began < 30  # about 2 on a quiet machine
