from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.pairs import Answer, Pairing, draw, leaks, pairs_of_prompt, reason_to_leave_out, set_sha256


def answers(*texts: str, arms: str = "", models: str = "") -> list[Answer]:
    return [
        Answer(
            pk=n,
            key=f"key{n}",
            arm=int((arms or "1" * len(texts))[n]),
            model=(models or "m" * len(texts))[n],
            text_sha256=text,
        )
        for n, text in enumerate(texts)
    ]


def keys(pairs: list[tuple[Answer, Answer]]) -> set[frozenset[str]]:
    return {frozenset((first.key, second.key)) for first, second in pairs}


@pytest.mark.parametrize(
    "text",
    [
        "Paris.<|im_end|>", "<|im_start|>assistant\nParis.", "[INST] hello [/INST]", "<<SYS>> be kind", "Paris.</s>",
        "<s> Paris",
        "<start_of_turn>model", "Paris.\nUser: and Rome?", "assistant\nParis.", "### Response:\nParis", "<｜end▁of▁sentence｜>",
        "fine <|im_",
    ],
)  # fmt: skip
def test_t039_special_tokens_and_role_markers_are_seen(text):
    assert leaks(text)


@pytest.mark.parametrize(
    "text",
    [
        "Paris is the capital.", "In HTML, <s>old</s> strikes text out.", "The user can ask an assistant.", "if a < b | c > d:",
        "The system: it works.", "Ask your assistant: she knows.", "`<div>` and `<p>`", "### A heading\n\ntext", "a <| b", "<system.out>",
    ],
)  # fmt: skip
def test_ordinary_answers_are_not_taken_for_leaks(text):
    assert not leaks(text)


@pytest.mark.parametrize(
    ("text", "reason"), [("", "empty"), (" \n\t", "empty"), ("<|user|>", "leaking"), ("Yes.", None)]
)
def test_empty_and_leaking_answers_are_left_out(text, reason):
    assert reason_to_leave_out(text) == reason


def test_equal_texts_do_not_meet_and_the_same_two_texts_meet_once():
    pairs, left_out = pairs_of_prompt(answers("x", "x", "y"), Pairing(), salt="s")
    assert len(pairs) == 1
    assert left_out == Counter(equal=1, repeated=1)


def test_within_across_and_baseline_choose_their_pairs():
    four = answers("a", "b", "c", "d", arms="1122", models="mmno")
    assert keys(pairs_of_prompt(four, Pairing("within"), salt="s")[0]) == {
        frozenset(("key0", "key1")),
        frozenset(("key2", "key3")),
    }
    assert len(pairs_of_prompt(four, Pairing("across"), salt="s")[0]) == 4
    against = keys(pairs_of_prompt(four, Pairing("baseline", baseline="n"), salt="s")[0])
    assert against == {frozenset(("key2", other)) for other in ("key0", "key1", "key3")}


@given(st.permutations(range(5)), st.integers(1, 10))
def test_the_order_of_the_answers_changes_nothing(order, per_prompt):
    five = answers("a", "b", "c", "d", "e")
    shuffled = [five[n] for n in order]
    pairing = Pairing(per_prompt=per_prompt)
    assert pairs_of_prompt(five, pairing, salt="s") == pairs_of_prompt(shuffled, pairing, salt="s")


def test_another_campaign_draws_other_pairs():
    many = answers(*"abcdefgh")
    first, second = (pairs_of_prompt(many, Pairing(per_prompt=5), salt=salt)[0] for salt in ("one", "two"))
    assert keys(first) != keys(second)


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.lists(st.integers(), max_size=4), max_size=8),
    st.integers(0, 20),
)
def test_a_draw_takes_the_first_of_every_prompt_before_the_second_of_one(by_prompt, most):
    drawn = draw(by_prompt, most=most, salt="s")
    total = sum(len(pairs) for pairs in by_prompt.values())
    assert len(drawn) == min(most, total)
    depth = Counter(key for key, _ in drawn)
    for key, pairs in by_prompt.items():
        assert all(depth[key] >= min(len(pairs), other - 1) for other in depth.values())


def test_a_task_is_its_candidates_whatever_their_order():
    assert set_sha256(["b", "a"]) == set_sha256(["a", "b"]) != set_sha256(["a", "c"])


@pytest.mark.parametrize(
    "given_",
    [{"pairs": "all"}, {"pairs": "baseline"}, {"per_prompt": 0}, {"max_tasks": "3"}, {"per_prompt": True}, {"n": 1}],
)
def test_a_pairing_that_makes_no_sense_is_refused(given_):
    with pytest.raises(ValueError):
        Pairing.parse(given_)


def test_a_pairing_survives_being_stored():
    pairing = Pairing("baseline", baseline="abc", per_prompt=2, max_tasks=30)
    assert Pairing.parse(pairing.stored()) == pairing
    assert Pairing.parse({}) == Pairing() == Pairing.parse(Pairing().stored())
