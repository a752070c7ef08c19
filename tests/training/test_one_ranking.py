"""The short way for one ranking of two answers gives what the long way gives."""

from hypothesis import given
from hypothesis import strategies as st

from training.formats import preference
from training.formats.ballots import Counts, Vote
from training.formats.policy import PairPolicy

texts = st.sampled_from(["a", "b", "a ", " b", "", "long answer"])


@given(
    st.tuples(texts, texts),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.sampled_from([0.0, 1 / 3, 1.0]),
    st.sampled_from([(), (0.25, 0.75), (1.0, 0.1)]),
    st.sampled_from([("majority", False), ("votes", False), ("majority", True)]),
    st.sampled_from(["", "mine"]),
)
def test_the_rows_and_counts_are_the_same(answers, ranks, strength, values, how, write_in):
    aggregation, write_ins = how
    policy = PairPolicy(aggregation=aggregation, write_ins=write_ins)
    vote = Vote(
        "key", "train", "0" * 64, [{"role": "user", "content": "?"}], list(zip(answers, ranks, strict=True)),
        "ranked" if ranks[0] != ranks[1] else "tie", strength, values, write_in=write_in if write_ins else "",
    )  # fmt: skip
    short, long = Counts(), Counts()
    quick = preference.rows_of_prompt([vote], policy, short)
    real, preference._of_one_ranking = preference._of_one_ranking, lambda vote: None
    try:
        assert preference.rows_of_prompt([vote], policy, long) == quick
    finally:
        preference._of_one_ranking = real
    assert short == long
