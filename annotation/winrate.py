"""Rates with their uncertainty: a bootstrap that resamples prompts, because answers to one prompt are no independent votes.

Pure numpy, vectorised and seeded: the same shares give the same interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
N_RESAMPLES = 10_000
ENOUGH_PROMPTS = 30
NUMBERS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Rate:
    """A share between 0 and 1 with its 95 % interval; ``value`` is None where there was nothing to measure."""

    value: float | None
    low: float
    high: float
    n_prompts: int


def rate(sums: Sequence[float], sizes: Sequence[float] | None = None, *, seed: int = 0) -> Rate:
    """Sum of ``sums`` over sum of ``sizes``, with an interval over resampled prompts.

    sums   for each prompt: what it scored, such as its share of wins (a tie is one half)
    sizes  for each prompt: out of how many; without it every prompt counts as one, whatever its number of answers
    Nothing measured gives [0, 1]. Where every prompt agrees, resampling cannot vary; the exact binomial bound for n prompts
    stands in (0.025^(1/n)), so that ten wins out of ten are not certainty.
    """
    won = np.asarray(sums, dtype=float)
    out_of = np.ones_like(won) if sizes is None else np.asarray(sizes, dtype=float)
    n = len(won)
    if n == 0:
        return Rate(None, 0.0, 1.0, 0)
    value = float(won.sum() / out_of.sum())
    tail = (1 - LEVEL) / 2
    if value == 1.0:
        return Rate(1.0, tail ** (1 / n), 1.0, n)
    if value == 0.0:
        return Rate(0.0, 0.0, 1 - tail ** (1 / n), n)
    rng = np.random.default_rng(seed)
    found = []
    at_once = max(1, min(N_RESAMPLES, NUMBERS_AT_ONCE // n))
    for start in range(0, N_RESAMPLES, at_once):
        drawn = rng.integers(
            0, n, size=(min(at_once, N_RESAMPLES - start), n)
        )  # (resamples, prompts), with replacement
        found.append(won[drawn].sum(axis=1) / out_of[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(found), [tail, 1 - tail])
    return Rate(value, float(low), float(high), n)


def verdict(measured: Rate) -> str:
    """better, worse or unclear, by the interval against one half; none for fewer than 30 prompts."""
    if measured.value is None or measured.n_prompts < ENOUGH_PROMPTS:
        return "none"
    if measured.low > 0.5:
        return "better"
    return "worse" if measured.high < 0.5 else "unclear"


@dataclass(frozen=True)
class Tally:
    """All comparisons of two versions' answers, prompt by prompt."""

    wins: int
    ties: int
    losses: int
    shares: tuple[float, ...]  # for each prompt, in the order given


def tally(scores: Sequence[tuple[Sequence[float], Sequence[float]]], *, same: float = 1e-9) -> Tally:
    """Compare every new answer with every old one of the same prompt.

    scores  for each prompt: (scores of the new answers, scores of the old ones); prompts without both are left out
    same    a difference up to this is a tie
    """
    wins = ties = losses = 0
    shares = []
    for new, old in scores:
        if not len(new) or not len(old):
            continue
        gaps = np.subtract.outer(np.asarray(new, dtype=float), np.asarray(old, dtype=float))  # (new, old)
        won, lost = int((gaps > same).sum()), int((gaps < -same).sum())
        tied = gaps.size - won - lost
        wins, ties, losses = wins + won, ties + tied, losses + lost
        shares.append((won + tied / 2) / gaps.size)
    return Tally(wins, ties, losses, tuple(shares))
