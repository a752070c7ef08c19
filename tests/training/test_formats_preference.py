"""Votes become rows: counts by closed formulas, and the same rows in whatever order the votes come."""

import random
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ids import WORDS, levelled, sha256_hex
from training.formats.ballots import Counts, Vote, strict_pairs
from training.formats.policy import PairPolicy
from training.formats.preference import rows_of_prompt, word_signature

PROMPT = [{"role": "user", "content": "Which?"}]
MAJORITY, VOTES = PairPolicy("majority"), PairPolicy("votes")


def vote(says: str | list[tuple[str, int]], key: str = "", *, strength: float = 0.0, split="train") -> Vote:
    ranks = {"A": (1, 2), "B": (2, 1), "tie": (1, 1), "bad": (1, 1)}
    if isinstance(says, str):
        verdict = {"tie": "tie", "bad": "all_bad"}.get(says, "ranked")
        answers = list(zip(("yes", "no"), ranks[says], strict=True))
    else:
        verdict, answers = "ranked", says
    return Vote(key or f"k{random.random()}", split, "p" * 64, PROMPT, answers, verdict, strength)


def rows(votes: list[Vote], policy: PairPolicy = MAJORITY) -> tuple[list, Counts]:
    counts = Counts()
    return rows_of_prompt(votes, policy, counts), counts


@pytest.mark.parametrize("k", range(2, 7))
def test_a_ranking_of_k_answers_gives_k_choose_two_pairs(k):
    pairs, n_equal = strict_pairs([(f"answer {n}", n + 1) for n in range(k)])
    assert (len(pairs), n_equal) == (k * (k - 1) // 2, 0)


def test_every_order_of_the_answers_gives_the_same_pairs():
    answers = [("a", 1), ("b", 2), ("c", 2), ("d", 3)]
    found = {tuple(strict_pairs(list(order))[0]) for order in permutations(answers)}
    assert found == {(("a", "b"), ("a", "c"), ("a", "d"), ("b", "d"), ("c", "d"))}


def test_equal_answers_say_nothing():
    assert strict_pairs([("same", 1), ("same  ", 2)]) == ([], 1)


def test_a_ranking_never_contradicts_itself():
    pairs, n_equal = strict_pairs([("a", 1), ("b", 2), ("a", 3)])
    assert (pairs, n_equal) == ([], 2)


def test_the_majority_decides_and_is_counted():
    (built,), _ = rows([vote("A", "1"), vote("A", "2"), vote("B", "3")])
    assert built.row["chosen"] == [{"role": "assistant", "content": "yes"}]
    assert built.row["rejected"] == [{"role": "assistant", "content": "no"}]
    assert (built.row["n_votes"], built.row["vote_share"], built.row["weight"]) == (3, 0.666667, 3.0)
    assert built.lineage == (("1", 1.0, "for"), ("2", 1.0, "for"), ("3", 1.0, "against"))


def test_a_pair_without_a_majority_is_dropped_and_counted():
    built, counts = rows([vote("A"), vote("B")])
    assert built == []
    assert counts.as_json()["dropped"]["contradictory"] == 1
    built, counts = rows([vote("A"), vote("tie")])
    assert built == []
    assert counts.dropped == {"ties": 1, "no_majority": 1}


def test_ties_and_both_bad_give_no_row_and_are_counted_once():
    built, counts = rows([vote("tie"), vote("bad"), vote("bad")])
    assert built == []
    assert +counts.dropped == {"ties": 1, "both_bad": 2}
    assert counts.judgements["train"] == 3


def test_one_row_a_vote_keeps_disagreement():
    built, counts = rows([vote("A", "1"), vote("B", "2"), vote("A", "3"), vote("tie", "4")], VOTES)
    assert [b.row["chosen"][0]["content"] for b in built].count("yes") == 2
    assert len({b.row["id"] for b in built}) == 3
    assert counts.n_disputed == 1


def test_the_weights_of_the_rows_sum_to_the_judgements_behind_them():
    ranking = [("a", 1), ("b", 2), ("c", 3)]
    built, _ = rows([vote(ranking, "1"), vote("A", "2"), vote("bad", "3")], VOTES)
    assert sum(b.row["weight"] for b in built) == pytest.approx(2, abs=1e-5)


def test_strength_becomes_a_margin_and_dissent_lowers_it():
    (built,), _ = rows([vote("A", strength=1.0), vote("A", strength=1 / 3), vote("B", strength=1 / 3)])
    assert built.row["margin"] == pytest.approx(1 / 3, abs=1e-6)
    (built,), _ = rows([vote("A", strength=0.0)])
    assert built.row["margin"] == 0.0


def test_agreement_is_the_share_of_pairs_of_judgements_that_agree():
    _, counts = rows([vote("A"), vote("A"), vote("A"), vote("B")])
    assert counts.agreement == pytest.approx(3 / 6)
    assert rows([vote("A")])[1].agreement is None


def test_prompts_of_the_same_words_look_alike():
    same = [{"role": "user", "content": "How do I cook RICE?"}], [{"role": "user", "content": "how do i: cook rice"}]
    assert word_signature(same[0]) == word_signature(same[1])
    assert word_signature(same[0]) != word_signature([{"role": "user", "content": "How do I cook pasta?"}])


text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
ballots = st.lists(
    st.tuples(st.lists(st.tuples(text, st.integers(1, 3)), min_size=2, max_size=4), st.floats(0, 1)),
    min_size=1,
    max_size=6,
)


@given(ballots, st.sampled_from([MAJORITY, VOTES]), st.randoms(use_true_random=False))
def test_the_same_votes_give_the_same_rows_in_any_order(drawn, policy, rng):
    votes = [
        Vote(f"key{n}", "train", "p" * 64, PROMPT, answers, "ranked", strength)
        for n, (answers, strength) in enumerate(drawn)
    ]
    shuffled = [
        Vote(v.key, v.split, v.prompt_id, v.prompt, rng.sample(v.answers, len(v.answers)), v.verdict, v.strength)
        for v in rng.sample(votes, len(votes))
    ]
    first, counts = rows(votes, policy)
    second, counts_again = rows(shuffled, policy)
    assert first == second
    assert counts.as_json() == counts_again.as_json()


@given(ballots, st.sampled_from([MAJORITY, VOTES]))
def test_no_row_compares_a_text_with_itself_and_every_id_is_its_own(drawn, policy):
    votes = [Vote(f"key{n}", "train", "p" * 64, PROMPT, answers, "ranked", s) for n, (answers, s) in enumerate(drawn)]
    built, counts = rows(votes, policy)
    assert all(b.row["chosen"][0]["content"].strip() != b.row["rejected"][0]["content"].strip() for b in built)
    assert len({b.row["id"] for b in built}) == len(built) == counts.rows["train"]
    if policy is MAJORITY:
        both_ways = {frozenset((b.row["chosen"][0]["content"], b.row["rejected"][0]["content"])) for b in built}
        assert len(both_ways) == len(built)
    n_strict = sum(len(strict_pairs(v.answers)[0]) for v in votes)
    if policy is VOTES:
        assert len(built) == n_strict


@given(
    st.lists(
        st.text(st.one_of(st.characters(max_codepoint=127), st.characters(exclude_categories=["Cs"]))),
        min_size=1,
        max_size=3,
    )
)
def test_the_quick_way_to_the_words_finds_those_of_the_slow_one(texts):
    text = levelled(" ".join(texts))
    found = word_signature([{"role": "user", "content": text} for text in texts])
    assert found == sha256_hex(" ".join(sorted(set(WORDS.findall(text)))) or text.strip())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 3 - 5?", "What is 3 + 5?"),
        ("x*2", "x+2"),
        ("🙂", "😡"),
        ("!!!", "???"),
        ("दिन", "दीन"),
        ("1 < 2", "1 > 2"),
    ],
)
def test_what_differs_by_more_than_punctuation_is_not_of_the_same_words(one, other):
    assert len({word_signature([{"role": "user", "content": text}]) for text in (one, other)}) == 2


@given(st.lists(st.tuples(st.sampled_from(["a", " a", "b", "c"]), st.integers(1, 2)), min_size=2, max_size=2))
def test_two_answers_give_what_the_general_rule_gives(answers):
    others = [("x", 9), ("y", 9)]  # a ranking of four; of its pairs only those of the two are looked at
    pairs, n_equal = strict_pairs([*answers, *others])
    among_two = [pair for pair in pairs if not {"x", "y"} & set(pair)]
    assert strict_pairs(answers) == (among_two, n_equal)
