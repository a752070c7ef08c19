"""Win rates and their intervals: values that theory gives, and what resampling prompts means."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.winrate import Rate, rate, tally, verdict


def test_nothing_measured_is_nothing_known():
    assert rate([]) == Rate(None, 0.0, 1.0, 0)
    assert verdict(rate([])) == "none"


@pytest.mark.parametrize(("n", "low"), [(1, 0.025), (10, 0.691503), (30, 0.884297), (100, 0.963783)])
def test_all_wins_have_the_exact_binomial_bound(n, low):
    found = rate([1.0] * n)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(low, abs=1e-6)
    lost = rate([0.0] * n)
    assert (lost.value, lost.low) == (0.0, 0.0)
    assert lost.high == pytest.approx(1 - low, abs=1e-6)


def test_half_and_half_has_the_width_that_the_normal_law_gives():
    found = rate([1.0, 0.0] * 50)
    assert found.value == 0.5
    assert found.low == pytest.approx(0.5 - 1.96 * 0.05, abs=0.011)
    assert found.high == pytest.approx(0.5 + 1.96 * 0.05, abs=0.011)


def test_a_known_case_gives_the_same_interval_for_ever():
    found = rate([1.0, 0.0, 0.5, 1.0, 1.0, 0.75, 0.0, 1.0, 0.25, 1.0], seed=7)
    assert found.value == pytest.approx(0.65)
    assert found.low == pytest.approx(0.375, abs=1e-9)
    assert found.high == pytest.approx(0.875, abs=1e-9)


def test_prompts_are_resampled_and_not_votes():
    """Ten answers a prompt that always agree carry no more than one: the interval stays as wide."""
    once = rate([1.0, 0.0] * 20, [1.0] * 40, seed=1)
    tenfold = rate([10.0, 0.0] * 20, [10.0] * 40, seed=1)
    assert (tenfold.value, tenfold.low, tenfold.high) == (once.value, once.low, once.high)
    as_votes = rate([1.0, 0.0] * 200, seed=1)
    assert as_votes.high - as_votes.low < 0.4 * (tenfold.high - tenfold.low)


def test_prompts_with_more_pairs_weigh_more_where_sizes_are_given():
    assert rate([3.0, 0.0], [3.0, 1.0]).value == 0.75
    assert rate([1.0, 0.0]).value == 0.5


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([1.0] * 40, "better"),
        ([0.0] * 40, "worse"),
        ([0.5] * 40, "unclear"),
        ([1.0, 0.0] * 20, "unclear"),
        ([1.0] * 29, "none"),
        ([1.0] * 30, "better"),
    ],
)
def test_the_interval_decides_and_few_prompts_decide_nothing(shares, said):
    assert verdict(rate(shares)) == said


def test_every_answer_meets_every_other_of_its_prompt():
    found = tally([([2.0, 1.0], [1.0, 0.0]), ([0.0], [5.0]), ([1.0], [])])
    assert (found.wins, found.ties, found.losses) == (3, 1, 1)
    assert found.shares == (3.5 / 4, 0.0)


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(0, 5))
def test_the_interval_stays_between_0_and_1_and_is_the_same_every_time(shares, seed):
    found = rate(shares, seed=seed)
    assert found.value is not None
    assert 0 <= found.low <= found.high <= 1
    assert rate(shares, seed=seed) == found


def test_nineteen_of_twenty_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    truth, held = 0.6, 0
    for repeat in range(60):
        chance = rng.beta(6, 4, size=100)  # every prompt has its own difficulty; 0.6 on average
        held += (found := rate(rng.binomial(4, chance) / 4, seed=repeat)).low <= truth <= found.high
    assert 51 <= held <= 60
