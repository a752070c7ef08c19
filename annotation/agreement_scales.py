"""Agreement on more than "which of two": rankings of several answers, ratings on scales, criteria. Pure functions first.

Each figure is over pairs of people on the same task, with a 95 % interval that resamples prompts whole, as in
``annotation.agreement``; None where nothing was judged twice.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from annotation.agreement import (
    CHUNK,
    MOST_JUDGEMENTS,
    N_RESAMPLES,
    SEED,
    TIE,
    VERDICTS,
    Agreement,
    Opinion,
    agreement_of,
)
from annotation.judge import live_judgements
from annotation.models import Campaign, Judgement, RankedCandidate, Score, TaskCandidate
from annotation.protocol import Criterion, Protocol

AT_ONCE = 2_000_000  # numbers


@dataclass(frozen=True, slots=True)
class Ranking:
    """One person's ranking of one task: candidate id -> rank, equal ranks are ties."""

    prompt: int
    task: int
    ranks: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Rating:
    """One person's level for one answer under one criterion."""

    prompt: int
    unit: tuple[int, int]  # task and candidate
    value: int


@dataclass(frozen=True, slots=True)
class CriterionAgreement:
    """``alpha`` of ratings (ordinal), ``pairs`` of comparisons (percent); the other one is None."""

    criterion: Criterion
    alpha: Agreement | None = None
    pairs: Agreement | None = None


# ---- rankings ------------------------------------------------------------------------------------------------------------


def kendall_tau_b(one: Mapping[int, int], other: Mapping[int, int]) -> float | None:
    """Kendall's tau-b of two rankings over what both have ranked; None where one of them ties everything.

    Source: Kendall 1945, "The treatment of ties in ranking problems".
    """
    concordant = discordant = only_one = only_other = 0
    for a, b in combinations(sorted(set(one) & set(other)), 2):
        x, y = _sign(one[a] - one[b]), _sign(other[a] - other[b])
        concordant += x * y > 0
        discordant += x * y < 0
        only_one += x != 0 and y == 0
        only_other += x == 0 and y != 0
    n_one, n_other = concordant + discordant + only_one, concordant + discordant + only_other
    if not n_one or not n_other:
        return None
    return float((concordant - discordant) / np.sqrt(n_one * n_other))


def tau_of(rankings: Iterable[Ranking]) -> Agreement:
    """Mean tau-b over pairs of people who ranked the same task."""
    by_prompt: dict[int, list[float]] = defaultdict(list)
    for (prompt, _), ranked in _by_task(rankings).items():
        for one, other in combinations(ranked, 2):
            tau = kendall_tau_b(one.ranks, other.ranks)
            if tau is not None:
                by_prompt[prompt].append(tau)
    sums = np.array([[sum(taus), len(taus)] for taus in by_prompt.values()]).reshape(-1, 2)  # (prompts, 2)
    return _with_interval(sums, lambda total: float(total[0] / total[1]), int(sums[:, 1].sum()))


def pairs_within(rankings: Iterable[Ranking]) -> list[Opinion]:
    """Each pair of answers in a ranking as an opinion, so that percent agreement means the same for pairs and rankings."""
    numbers: dict[tuple[int, int, int], int] = {}
    opinions = []
    for ranking in rankings:
        for a, b in combinations(sorted(ranking.ranks), 2):
            unit = numbers.setdefault((ranking.task, a, b), len(numbers))
            first, second = ranking.ranks[a], ranking.ranks[b]
            outcome = TIE if first == second else a if first < second else b
            opinions.append(Opinion(prompt=ranking.prompt, task=unit, outcome=outcome))
    return opinions


def _by_task(rankings: Iterable[Ranking]) -> dict[tuple[int, int], list[Ranking]]:
    found: dict[tuple[int, int], list[Ranking]] = defaultdict(list)
    for ranking in rankings:
        found[ranking.prompt, ranking.task].append(ranking)
    return found


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


# ---- ratings -------------------------------------------------------------------------------------------------------------


def alpha_of(ratings: Iterable[Rating]) -> Agreement:
    """Krippendorff's alpha for ordinal values: 1 is perfect, 0 is chance, below it people contradict each other.

    ``n_pairs`` counts the pairable values. Values that nobody varies have no alpha. Source: Krippendorff 2011, "Computing
    Krippendorff's Alpha-Reliability".
    """
    given = list(ratings)
    levels = sorted({rating.value for rating in given})
    place = {level: number for number, level in enumerate(levels)}
    units: dict[tuple[int, tuple[int, int]], list[int]] = defaultdict(list)
    for rating in given:
        units[rating.prompt, rating.unit].append(place[rating.value])
    by_prompt: dict[int, np.ndarray] = {}
    for (prompt, _), values in units.items():
        if len(values) < 2:
            continue
        counts = np.bincount(values, minlength=len(levels)).astype(float)  # (levels,)
        pairs = (np.outer(counts, counts) - np.diag(counts)) / (len(values) - 1)  # (levels, levels)
        by_prompt[prompt] = by_prompt.get(prompt, 0.0) + pairs
    if not by_prompt:
        return Agreement(0, None, None, None)
    stacked = np.stack(list(by_prompt.values()))  # (prompts, levels, levels)
    return _with_interval(stacked, _ordinal_alpha, round(float(stacked.sum())))


def _ordinal_alpha(coincidences: np.ndarray) -> float:
    """Alpha of one coincidence matrix; NaN where all values are the same."""
    totals = coincidences.sum(axis=0)  # (levels,)
    n = totals.sum()
    between = np.cumsum(totals)
    # The squared ordinal distance of two levels: how many values lie between them, half of the two themselves.
    levels = np.arange(len(totals))
    low, high = np.minimum.outer(levels, levels), np.maximum.outer(levels, levels)
    inside = between[high] - between[low] + totals[low]
    distance = (inside - (totals[low] + totals[high]) / 2) ** 2
    np.fill_diagonal(distance, 0.0)
    expected = (np.outer(totals, totals) * distance).sum()
    return float("nan") if expected == 0 else float(1 - (n - 1) * (coincidences * distance).sum() / expected)


def _with_interval(rows: np.ndarray, figure: Callable[[np.ndarray], float], n: int) -> Agreement:
    """A figure of the sum over prompts with the quantiles of its resamples; one seed, so a page does not flicker."""
    if not len(rows):
        return Agreement(0, None, None, None)
    value = figure(rows.sum(axis=0))
    if np.isnan(value):
        return Agreement(n, None, None, None)
    known = [each for total in _resampled(rows) if not np.isnan(each := figure(total))]
    low, high = np.quantile(known, [0.025, 0.975]) if known else (value, value)
    return Agreement(n, value, float(low), float(high))


def _resampled(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Sums over prompts drawn with replacement. How often each is drawn is counted first, so that a sum is one product."""
    generator = np.random.default_rng(SEED)
    n, flat = len(rows), rows.reshape(len(rows), -1)
    at_once = max(1, AT_ONCE // n)
    for start in range(0, N_RESAMPLES, at_once):
        size = min(at_once, N_RESAMPLES - start)
        drawn = generator.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)  # (resamples, prompts)
        yield from (times @ flat).reshape(size, *rows.shape[1:])


# ---- from judgements -----------------------------------------------------------------------------------------------------


def rankings_of(pks: Sequence[int]) -> list[Ranking]:
    """Judgements as rankings; where nothing is better every answer has rank 1."""
    found = []
    for start in range(0, len(pks), CHUNK):
        chunk = list(pks[start : start + CHUNK])
        ranks: dict[int, dict[int, int]] = defaultdict(dict)
        rows = RankedCandidate.objects.filter(judgement__in=chunk)
        for judgement, candidate, rank in rows.values_list("judgement_id", "candidate_id", "rank"):
            ranks[judgement][candidate] = rank
        places = Judgement.objects.filter(pk__in=chunk, verdict__in=VERDICTS).order_by("pk")
        for pk, task, prompt in places.values_list("pk", "assignment__task_id", "assignment__task__prompt_id"):
            found.append(Ranking(prompt, task, ranks[pk]))
    return found


def ranking_agreement(pks: Sequence[int]) -> tuple[Agreement, Agreement]:
    """(mean tau-b, percent agreement over all pairs within the rankings)."""
    rankings = rankings_of(pks)
    return tau_of(rankings), agreement_of(pairs_within(rankings))


def latest_of(campaign: Campaign, most: int = MOST_JUDGEMENTS) -> list[int]:
    """The campaign's latest judgements that stand."""
    latest = live_judgements().filter(assignment__task__campaign=campaign).order_by("-id")
    return list(latest.values_list("pk", flat=True)[:most])


def criteria_agreement(campaign: Campaign, pks: Sequence[int]) -> list[CriterionAgreement]:
    """Each criterion of a campaign's protocol, over these of its judgements."""
    ratings: dict[str, list[Rating]] = defaultdict(list)
    opinions: dict[str, list[Opinion]] = defaultdict(list)
    for start in range(0, len(pks), CHUNK):
        rows = Score.objects.filter(judgement__in=pks[start : start + CHUNK]).order_by("pk")
        turn = "judgement__assignment__task"
        scores = list(rows.values_list("criterion", "candidate_id", "value", f"{turn}_id", f"{turn}__prompt_id"))
        slots = TaskCandidate.objects.filter(task__in={task for *_, task, _ in scores})
        by_slot = {(task, slot): pk for task, slot, pk in slots.values_list("task_id", "slot", "candidate_id")}
        for name, candidate, value, task, prompt in scores:
            if candidate is not None:
                ratings[name].append(Rating(prompt, (task, candidate), value))
            else:
                outcome = TIE if value == 0 else by_slot[task, int(value > 0)]
                opinions[name].append(Opinion(prompt=prompt, task=task, outcome=outcome))
    return [
        CriterionAgreement(criterion, alpha=alpha_of(ratings[criterion.name]))
        if criterion.kind == "rate"
        else CriterionAgreement(criterion, pairs=agreement_of(opinions[criterion.name]))
        for criterion in Protocol.parse(campaign.protocol).criteria
    ]
