from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.pairs import (
    Answer,
    Pairing,
    chances,
    draw,
    pairs_of_prompt,
    reason_to_leave_out,
    set_sha256,
    sets_of_prompt,
)
from annotation.texts import leaks


def answers(*texts: str, arms: str = "", models: str = "") -> list[Answer]:
    return [
        Answer(
            pk=n,
            key=f"key{n}",
            arm=int((arms or "1" * len(texts))[n]),
            model=(models or "m" * len(texts))[n],
            text=text,
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


@pytest.mark.parametrize(("text", "reason"), [("", "empty"), (" \n\t", "empty"), ("<|user|>", "leaking"), ("Yes.", "")])
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
    assert sets_of_prompt(five, pairing, salt="s") == sets_of_prompt(shuffled, pairing, salt="s")


def test_another_campaign_draws_other_pairs():
    many = answers(*"abcdefgh")
    first, second = (sets_of_prompt(many, Pairing(per_prompt=5), salt=salt).sets for salt in ("one", "two"))
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


def test_near_answers_do_not_meet_unless_asked_to():
    near = answers("The capital is Paris.", "the capital is **Paris**", "It is Rome.")
    pairs, left_out = pairs_of_prompt(near, Pairing(), salt="s")
    assert len(pairs) == 2 and left_out == Counter(near=1)
    assert len(pairs_of_prompt(near, Pairing(near=0), salt="s")[0]) == 3


def test_any_two_answers_meet_at_random():
    assert len(pairs_of_prompt(answers(*"abcd", arms="1122"), Pairing("random"), salt="s")[0]) == 6


@pytest.mark.parametrize(
    ("text", "leave_out", "truncated", "reason"),
    [
        ("", ("leaking",), False, ""),  # imported answers may be empty
        ("I am Claude.", ("empty",), False, ""),
        ("I am Claude.", ("naming",), False, "naming"),
        ("It ends in the", ("empty",), True, ""),
        ("It ends in the", ("truncated",), True, "truncated"),
    ],
)
def test_each_reason_to_leave_an_answer_out_can_be_switched(text, leave_out, truncated, reason):
    assert reason_to_leave_out(text, leave_out, is_truncated=truncated) == reason


def test_larger_sets_share_no_answer_until_more_are_wanted():
    nine = answers(*"abcdefghi")
    found = sets_of_prompt(nine, Pairing(n_answers=4), salt="s")
    assert [len(chosen) for chosen in found.sets] == [4, 4]
    assert len({answer.key for chosen in found.sets for answer in chosen}) == 8
    more = sets_of_prompt(nine, Pairing(n_answers=4, per_prompt=5), salt="s")
    assert len({set_sha256(answer.key for answer in chosen) for chosen in more.sets}) == 5
    assert more.n_eligible == 126  # 9 over 4


def test_a_prompt_with_fewer_answers_gives_a_smaller_set():
    assert [len(chosen) for chosen in sets_of_prompt(answers(*"abc"), Pairing(n_answers=9), salt="s").sets] == [3]
    assert sets_of_prompt(answers("a"), Pairing(n_answers=9), salt="s").sets == []


def test_answers_that_say_the_same_stand_once_in_a_larger_set():
    found = sets_of_prompt(answers("x", "x ", "y", "z"), Pairing(n_answers=4), salt="s")
    assert [len(chosen) for chosen in found.sets] == [3] and found.left_out == Counter(same=1)


def test_larger_sets_keep_to_their_arms_and_to_the_baseline():
    six = answers(*"abcdef", arms="112233", models="mmnnoo")
    for chosen in sets_of_prompt(six, Pairing("across", n_answers=3, per_prompt=8), salt="s").sets:
        assert len({answer.arm for answer in chosen}) == 3
    assert sets_of_prompt(six, Pairing("across", n_answers=3, per_prompt=8), salt="s").n_eligible == 8
    for chosen in sets_of_prompt(six, Pairing("baseline", baseline="n", n_answers=3, per_prompt=4), salt="s").sets:
        assert sum(answer.model == "n" for answer in chosen) == 1
    within = sets_of_prompt(answers(*"abcdef", arms="111222"), Pairing(n_answers=3), salt="s").sets
    assert sorted({answer.arm for answer in chosen}.pop() for chosen in within) == [1, 2]
    assert all(len({answer.arm for answer in chosen}) == 1 for chosen in within)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 6))
def test_larger_sets_are_different_sets_of_different_answers(n, k, wanted):
    found = sets_of_prompt(answers(*"abcdefghi"[:n]), Pairing(n_answers=k, per_prompt=wanted), salt="s")
    assert len({set_sha256(answer.key for answer in chosen) for chosen in found.sets}) == len(found.sets) <= wanted
    for chosen in found.sets:
        assert len({answer.key for answer in chosen}) == len(chosen) == min(n, k)


def test_the_chance_of_a_set_is_what_many_draws_give():
    sets = {"p": ["p1", "p2", "p3"], "q": ["q1"], "r": ["r1", "r2"]}
    expected = chances({key: (len(found), len(found)) for key, found in sets.items()}, most=4)
    drawn = Counter(key for n in range(2000) for key, _ in draw(sets, most=4, salt=str(n)))
    for key, found in sets.items():
        assert drawn[key] / 2000 / len(found) == pytest.approx(expected[key], abs=0.04)


def test_a_pairing_of_more_keeps_all_its_settings():
    pairing = Pairing("random", n_answers=5, leave_out=("empty", "truncated"), near=0, new="a", old="b")
    assert Pairing.parse(pairing.stored()) == pairing
    for wrong in ({"n_answers": 10}, {"n_answers": 1}, {"near": 0.2}, {"leave_out": ["bad"]}):
        with pytest.raises(ValueError):
            Pairing.parse(wrong)
