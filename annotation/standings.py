"""How often each model of a campaign was preferred to the others. For pages behind the Reveal: it names models."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from django.db.models import F

from annotation.agreement import CHUNK, MOST_JUDGEMENTS, SEED, Z95, Rate
from annotation.judge import live_judgements
from annotation.models import Campaign, RankedCandidate
from core.bulk import chunks
from generation.models import ModelVersion

N_RESAMPLES = 1000
ENOUGH_PROMPTS = 2  # with fewer there is nothing to resample
AT_ONCE = 2_000_000  # numbers

Meeting = tuple[int, int, int, float]  # prompt, model, the other model, 1 won, 1/2 tied, 0 lost: of the first


@dataclass(frozen=True, slots=True)
class Standing:
    """One model against the others of its campaign; a tie is half a win."""

    model: ModelVersion
    n_wins: int
    n_ties: int
    n_losses: int
    rate: Rate

    @property
    def n(self) -> int:
        return self.n_wins + self.n_ties + self.n_losses


def standings_of(campaign: Campaign) -> list[Standing]:
    """Models by their share of wins, over the campaign's latest judgements. Answers of one model among themselves do not count."""
    meetings = list(_meetings(campaign))
    models = ModelVersion.objects.in_bulk(
        {model for _, model, _, _ in meetings} | {other for _, _, other, _ in meetings}
    )
    counts: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for _, model, other, won in meetings:
        counts[model][int(2 - 2 * won)] += 1
        counts[other][int(2 * won)] += 1
    rates = _rates(meetings)
    found = [Standing(models[pk], won, tied, lost, rates[pk]) for pk, (won, tied, lost) in counts.items()]
    return sorted(found, key=lambda row: (-(row.rate.value or 0), row.model.slug))


def _meetings(campaign: Campaign) -> list[Meeting]:
    latest = live_judgements().filter(assignment__task__campaign=campaign).exclude(verdict="withdrawn")
    pks = latest.order_by(F("id").desc()).values_list("pk", flat=True)[:MOST_JUDGEMENTS]
    meetings: list[Meeting] = []
    for chunk in chunks(pks, CHUNK):
        ranked: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for judgement, prompt, model, rank in RankedCandidate.objects.filter(judgement__in=chunk).values_list(
            "judgement_id", "candidate__prompt_id", "candidate__arm__model_version_id", "rank"
        ):
            ranked[judgement, prompt].append((model, rank))
        for (_, prompt), answers in ranked.items():
            for (model, rank), (other, other_rank) in combinations(answers, 2):
                if model != other:
                    won = 0.5 if rank == other_rank else float(rank < other_rank)
                    meetings.append((prompt, model, other, won))
    return meetings


def _rates(meetings: list[Meeting]) -> dict[int, Rate]:
    """Each model's share of wins with a 95 % interval that resamples prompts, the same prompts for all models."""
    prompts = {prompt: place for place, prompt in enumerate(sorted({row[0] for row in meetings}))}
    models = {pk: place for place, pk in enumerate(sorted({pk for row in meetings for pk in row[1:3]}))}
    won = np.zeros((len(prompts), len(models)))
    met = np.zeros((len(prompts), len(models)))
    for prompt, model, other, share in meetings:
        at = prompts[prompt]
        won[at, models[model]] += share
        won[at, models[other]] += 1 - share
        met[at, models[model]] += 1
        met[at, models[other]] += 1
    low, high = _intervals(won, met)
    values = won.sum(axis=0) / met.sum(axis=0) if len(models) else np.array([])
    return {
        pk: Rate(int(met[:, at].sum()), float(values[at]), float(low[at]), float(high[at])) for pk, at in models.items()
    }


def _intervals(won: np.ndarray, met: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of the ratio over resampled prompts, never narrower than Wilson's of as many independent votes."""
    n_prompts, n_models = won.shape
    if not n_models:
        return np.array([]), np.array([])
    low, high = _wilson(won.sum(axis=0), met.sum(axis=0))
    if n_prompts < ENOUGH_PROMPTS:
        return low, high
    generator = np.random.default_rng(SEED)
    drawn = []
    at_once = max(1, min(N_RESAMPLES, AT_ONCE // n_prompts))
    for start in range(0, N_RESAMPLES, at_once):
        # (resamples, prompts): how often each prompt is drawn
        times = generator.multinomial(n_prompts, [1 / n_prompts] * n_prompts, size=min(at_once, N_RESAMPLES - start))
        sizes = times @ met
        with np.errstate(invalid="ignore"):
            drawn.append(np.where(sizes > 0, (times @ won) / sizes, np.nan))
    quantiles = np.nanquantile(np.concatenate(drawn), [0.025, 0.975], axis=0)
    return np.minimum(low, quantiles[0]), np.maximum(high, quantiles[1])


def _wilson(hits: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, z2 = hits / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return np.maximum(0.0, centre - half), np.minimum(1.0, centre + half)
