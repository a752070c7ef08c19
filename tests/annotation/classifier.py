"""Can the model be told from everything but the text? A linear classifier over all bytes of a page, cross-validated.

It looks at what is left when the answers' texts are taken out: every run of letters or digits of the headers and the body with
its count, every attribute with its value, the lengths, and where the runs first stand. If it does no better than a coin, what is sent does
not depend on the model, up to what a linear rule over these features can see.
"""

import re
import zlib
from collections.abc import Sequence
from math import sqrt

import numpy as np

N_BUCKETS = 2048
N_KEPT = 20  # features that go with the label most
RIDGE = 1.0
SIGMAS = 4  # of the coin: a blind page fails once in 30,000 runs
_RUN = re.compile(rb"[A-Za-z0-9_-]+")
_ATTRIBUTE = re.compile(rb'[\w-]+="[^"]*"')


def features(page: bytes) -> np.ndarray:
    """A page without its texts as a vector: (N_BUCKETS * 2 + 2,)"""
    counts, first = np.zeros(N_BUCKETS), np.zeros(N_BUCKETS)
    for run in [*_RUN.finditer(page), *_ATTRIBUTE.finditer(page)]:
        bucket = zlib.crc32(run[0]) % N_BUCKETS
        counts[bucket] += 1
        first[bucket] = first[bucket] or run.start() / max(1, len(page))
    return np.concatenate([counts, first, [len(page), len(page) % 7]])


def accuracy(pages: Sequence[bytes], labels: Sequence[bool], *, folds: int = 5) -> float:
    """Share of pages whose label a ridge regression on the best features names right, trained on the other folds."""
    x = np.array([features(page) for page in pages])  # (n, d)
    y = np.where(np.array(labels), 1.0, -1.0)  # (n,)
    x = x[:, x.std(axis=0) > 0]
    if x.shape[1] == 0:  # all pages are the same bytes: nothing to learn from, and a coin is right half the time
        return 0.5
    n_right = 0
    for fold in range(folds):
        held = np.arange(len(y)) % folds == fold
        mean, scale = x[~held].mean(axis=0), x[~held].std(axis=0) + 1e-9
        train, test = (x[~held] - mean) / scale, (x[held] - mean) / scale
        best = np.argsort(-np.abs(train.T @ y[~held]))[:N_KEPT]  # chosen on the training folds alone
        train, test = train[:, best], test[:, best]
        weights = np.linalg.solve(train.T @ train + RIDGE * np.eye(len(best)), train.T @ y[~held])
        n_right += int((np.sign(test @ weights) == y[held]).sum())
    return n_right / len(y)


def most_by_chance(n: int) -> float:
    return 0.5 + SIGMAS * sqrt(0.25 / n)
