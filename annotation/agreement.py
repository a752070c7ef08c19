"""How far people agree on the same pairs, and how far the side of the screen pulls them. Pure functions over opinions.

Percent agreement is the ceiling for any judge that was trained on the same people: 63-83 % is usual for open-ended answers.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from django.db.models import F, QuerySet

from annotation.judge import live_judgements
from annotation.models import Campaign, Judgement, RankedCandidate, TaskCandidate
from core.bulk import chunks

Z95 = 1.959963984540054
N_RESAMPLES = 2000
SEED = 20260101
MOST_JUDGEMENTS = 20_000  # on a page; older ones are left out there
CHUNK = 5_000
TIE = 0
VERDICTS = (
    Judgement.Verdict.RANKED,
    Judgement.Verdict.TIE,
    Judgement.Verdict.BOTH_GOOD,
    Judgement.Verdict.ALL_BAD,
)


@dataclass(frozen=True, slots=True)
class Opinion:
    """One person on one pair. ``outcome``: the id of the better candidate, or TIE where neither was."""

    prompt: int
    task: int
    outcome: int
    first_shown: int | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """``value`` with a 95 % interval that resamples prompts; all None where no pair was judged twice."""

    n_pairs: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of ``n`` with Wilson's 95 % interval."""

    n: int
    value: float | None
    low: float | None
    high: float | None

    @property
    def is_off_half(self) -> bool:
        return self.low is not None and self.high is not None and not self.low <= 0.5 <= self.high


def wilson(n_hits: int, n: int) -> Rate:
    """Wilson's score interval: honest at 0 and 1, where the normal one has no width. Source: Wilson 1927."""
    if not n:
        return Rate(0, None, None, None)
    p, z2 = n_hits / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Rate(n, p, max(0.0, centre - half), min(1.0, centre + half))


def agreement_of(opinions: Iterable[Opinion], *, ties: Literal["count", "drop"] = "count") -> Agreement:
    """Share of pairs of opinions about the same task that are the same.

    ties  ``count``: a tie agrees with a tie and with nothing else · ``drop``: only opinions that prefer one answer, as a
          reward model's accuracy is counted
    A task that m people judged gives m(m-1)/2 pairs. Prompts are resampled whole: votes on one prompt hang together.
    """
    by_task: dict[tuple[int, int], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for opinion in opinions:
        if ties == "count" or opinion.outcome != TIE:
            by_task[opinion.prompt, opinion.task][opinion.outcome] += 1
    by_prompt: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for (prompt, _), outcomes in by_task.items():
        m = sum(outcomes.values())
        by_prompt[prompt][0] += sum(k * (k - 1) // 2 for k in outcomes.values())
        by_prompt[prompt][1] += m * (m - 1) // 2
    counts = np.array([row for row in by_prompt.values() if row[1]], dtype=np.int64).reshape(-1, 2)  # (prompts, 2)
    if not len(counts):
        return Agreement(0, None, None, None)
    agreed, n_pairs = counts.sum(axis=0)
    low, high = _bootstrap(counts)
    return Agreement(int(n_pairs), float(agreed / n_pairs), low, high)


def _bootstrap(counts: np.ndarray) -> tuple[float, float]:
    """2.5 % and 97.5 % quantiles of the ratio of sums over resampled prompts; one seed, so a page does not flicker."""
    generator = np.random.default_rng(SEED)
    n = len(counts)
    ratios = np.empty(N_RESAMPLES)
    for index in range(N_RESAMPLES):
        agreed, total = counts[generator.integers(0, n, n)].sum(axis=0)
        ratios[index] = agreed / total
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)


def position_bias_of(opinions: Iterable[Opinion]) -> Rate:
    """How often the answer shown first was preferred, of all preferences; without a pull it is one half."""
    clear = [opinion for opinion in opinions if opinion.outcome != TIE and opinion.first_shown is not None]
    return wilson(sum(opinion.outcome == opinion.first_shown for opinion in clear), len(clear))


# ---- from judgements ---------------------------------------------------------------------------------------------------


def opinions_of(judgements: Iterable[Judgement] | QuerySet[Judgement]) -> list[Opinion]:
    """Judgements of pairs as opinions, in three queries for each few thousand of them."""
    opinions: list[Opinion] = []
    pks = [judgement.pk for judgement in judgements]
    for chunk in chunks(pks, CHUNK):  # SQLite takes only so many parameters in one query
        opinions += _opinions(chunk)
    return opinions


def _opinions(pks: list[int]) -> list[Opinion]:
    best, n_best = _best(pks)
    rows = list(
        Judgement.objects.filter(pk__in=pks, verdict__in=VERDICTS).values_list(
            "pk",
            "verdict",
            "source",
            "assignment__opened_at",
            "assignment__display_order",
            "assignment__task_id",
            "assignment__task__prompt_id",
        )
    )
    by_slot = _by_slot({task for *_, task, _ in rows})
    opinions = []
    for pk, verdict, source, opened_at, order, task, prompt in rows:
        is_clear = verdict == Judgement.Verdict.RANKED and n_best.get(pk) == 1
        # Not every source of imported votes says what was shown first.
        is_known = source != Judgement.Source.IMPORT or opened_at is not None
        first_shown = by_slot.get((task, order[0])) if order and is_known else None
        outcome = best[pk] if is_clear else TIE
        opinions.append(Opinion(prompt=prompt, task=task, outcome=outcome, first_shown=first_shown))
    return opinions


def _best(pks: list[int]) -> tuple[Mapping[int, int], Mapping[int, int]]:
    best: dict[int, int] = {}
    n_best: dict[int, int] = defaultdict(int)
    for judgement, candidate in RankedCandidate.objects.filter(judgement__in=pks, rank=1).values_list(
        "judgement_id", "candidate_id"
    ):
        best[judgement] = candidate
        n_best[judgement] += 1
    return best, n_best


def _by_slot(tasks: set[int]) -> dict[tuple[int, int], int]:
    slots = TaskCandidate.objects.filter(task__in=tasks).values_list("task_id", "slot", "candidate_id")
    return {(task, slot): candidate for task, slot, candidate in slots}


def of_campaign(campaign: Campaign) -> tuple[Agreement, Rate]:
    """Agreement and position bias of a campaign's latest judgements."""
    latest = live_judgements().filter(assignment__task__campaign=campaign).order_by(F("id").desc()).only("pk")
    opinions = opinions_of(latest[:MOST_JUDGEMENTS])
    return agreement_of(opinions), position_bias_of(opinions)
