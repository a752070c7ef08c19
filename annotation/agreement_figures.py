"""Agreement on more than one choice, as a page shows it: each figure with its interval and a word on how to read it."""

from dataclasses import dataclass

from annotation.agreement import Agreement
from annotation.agreement_scales import criteria_agreement, latest_of, ranking_agreement
from annotation.models import Campaign
from annotation.protocol import Protocol

MOST_SHOWN = 5_000  # judgements: so many are read in about a second
RELIABLE, TENTATIVE = 0.8, 2 / 3  # Krippendorff 2004, "Content Analysis", section 11.4


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. ``measure``: what the number is; ``is_share``: shown in per cent."""

    label: str
    measure: str
    agreement: Agreement
    reading: str
    is_share: bool = False


def figures_of(campaign: Campaign) -> list[Figure]:
    """Rows for a campaign that asks for rankings, ratings or criteria; none for one that asks only which of two is better."""
    criteria = Protocol.parse(campaign.protocol).criteria
    is_rank = campaign.kind == Campaign.Kind.RANK
    if not (is_rank or criteria):
        return []
    pks = latest_of(campaign, MOST_SHOWN)
    figures = []
    if is_rank:
        tau, pairs = ranking_agreement(pks)
        figures += [
            Figure("The whole order", "Kendall's tau-b", tau, _of_tau(tau)),
            _share("Any two of the answers", pairs),
        ]
    for found in criteria_agreement(campaign, pks) if criteria else []:
        label = found.criterion.label
        if found.alpha is not None:
            figures.append(Figure(label, "Krippendorff's alpha", found.alpha, _of_alpha(found.alpha)))
        elif found.pairs is not None:
            figures.append(_share(label, found.pairs))
    return figures


def _share(label: str, found: Agreement) -> Figure:
    reading = "" if found.value is None else f"two people say the same {100 * found.value:.0f} times of 100"
    return Figure(label, "same answer", found, reading, is_share=True)


def _of_tau(found: Agreement) -> str:
    """Of two answers without a tie tau is the share put in the same order less the share put in the other one."""
    if found.value is None:
        return ""
    return f"two people put about {50 * (1 + found.value):.0f} of 100 pairs of answers in the same order; 50 is chance"


def _of_alpha(found: Agreement) -> str:
    if found.value is None:
        return "everybody gave the same level: nothing to tell apart" if found.n_pairs else ""
    if found.value >= RELIABLE:
        return "reliable"
    return (
        "for tentative conclusions only" if found.value >= TENTATIVE else "too low to rely on: sharpen the guidelines"
    )
