import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import ids


def test_canonical_json_knows_no_order_and_no_spaces():
    assert ids.canonical_json({"b": 1, "a": "ü"}) == '{"a":"ü","b":1}'.encode()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_canonical_json_refuses_what_json_cannot_say(value):
    with pytest.raises(ValueError):
        ids.canonical_json({"x": value})


def test_canonical_json_refuses_lone_surrogates():
    with pytest.raises(UnicodeEncodeError):
        ids.canonical_json({"x": "\ud800"})


def test_a_prompts_identity_is_its_roles_and_contents_alone():
    message = {"role": "user", "content": "Hi"}
    assert ids.content_sha256([message]) == ids.content_sha256([{**message, "name": "Ana"}])
    assert ids.content_sha256([message]) != ids.content_sha256([{"role": "user", "content": "hi"}])


def test_near_equal_first_turns_are_one_group():
    assert ids.group_sha256("  What IS\tthe capital?") == ids.group_sha256("what is the capital?")


@given(st.text())
def test_a_group_never_changes_sides(text):
    group = ids.group_sha256(text)
    assert ids.split_for(group) == ids.split_for(group)


def test_the_holdout_has_its_share():
    share = sum(ids.split_for(ids.group_sha256(f"prompt {i}")) == "holdout" for i in range(4000)) / 4000
    assert abs(share - ids.HOLDOUT_SHARE) < 0.02


def test_everything_or_nothing_can_be_held_out():
    group = ids.group_sha256("x")
    assert ids.split_for(group, holdout_share=0) == "train"
    assert ids.split_for(group, holdout_share=1) == "holdout"


def test_keys_are_readable_and_do_not_repeat():
    keys = {ids.new_key() for _ in range(2000)}
    assert len(keys) == 2000
    assert all(len(key) == ids.KEY_LENGTH and set(key) <= set(ids.KEY_ALPHABET) for key in keys)


def test_a_seed_follows_from_identity():
    assert ids.seed_from("job", 1, 0) == ids.seed_from("job", 1, 0)
    assert ids.seed_from("job", 1, 0) != ids.seed_from("job", 1, 1)
    assert 0 <= ids.seed_from("x") < 2**31
