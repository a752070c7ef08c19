"""New against old: some tasks pit a model version against the one before, blind, on held-out prompts.

They look like every other task. What people say to them measures, and is never trained on or tested with: see
``training.selecting``.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.db.models import QuerySet

from annotation.building import REGRESSION
from annotation.judge import live_judgements
from annotation.models import Annotator, Campaign, ComparisonTask, Judgement, RankedCandidate
from annotation.pairs import Pairing
from annotation.winrate import Rate, rate, verdict
from core.errors import require
from core.ids import seed_from
from generation.models import GenerationJob, ModelVersion

PEOPLE = (Annotator.Kind.HUMAN, Annotator.Kind.OUTSIDE)


def versions_in(jobs: Sequence[GenerationJob]) -> list[ModelVersion]:
    """The versions whose answers these jobs hold, newest first."""
    found = ModelVersion.objects.filter(arms__job__in=[job.pk for job in jobs]).distinct()
    return list(found.select_related("parent").order_by("-pk"))


def new_and_old(jobs: Sequence[GenerationJob]) -> tuple[ModelVersion, ModelVersion] | None:
    """(the newest version, the one that it was made from), where these jobs hold answers of both."""
    versions = versions_in(jobs)
    here = {version.pk for version in versions}
    for version in versions:
        for ancestor in version.lineage[1:]:
            if ancestor.pk in here:
                return version, ancestor
    return None


def with_versions(pairing: Pairing, jobs: Sequence[GenerationJob]) -> Pairing:
    """The pairing with its two versions named. Raises DomainError where there are none to compare."""
    if not (pairing.new or pairing.old):
        found = new_and_old(jobs)
        require(
            found,
            "There is no version and one before it among these answers.",
            how="Choose both versions, or a job with answers by both; or set the share of new against old to 0.",
        )
        assert found is not None
        return replace(pairing, new=found[0].key, old=found[1].key)
    keys = {version.key for version in versions_in(jobs)}
    require(
        {pairing.new, pairing.old} <= keys and pairing.new != pairing.old,
        "New against old needs two versions that both wrote some of these answers.",
        how="Choose both versions, or leave both empty.",
    )
    return pairing


@dataclass(frozen=True)
class NewAgainstOld:
    """How the new version fares against the one before, so far. ``people`` and ``simulated`` are never mixed."""

    new: ModelVersion
    old: ModelVersion
    n_tasks: int
    n_judgements: int
    wins: int
    ties: int
    losses: int
    people: Rate
    outcome: str  # better, worse, unclear; none under 30 prompts
    simulated: Rate
    n_simulated: int
    n_unblinded: int


def new_against_old_of(campaign: Campaign) -> NewAgainstOld | None:
    """The comparison of a campaign; None where it has none."""
    pairing = Pairing.parse(campaign.pairing)
    if not (campaign.regression_share and pairing.new and pairing.old):
        return None
    versions = {
        version.key: version
        for version in ModelVersion.objects.filter(project=campaign.project_id, key__in=[pairing.new, pairing.old])
    }
    if len(versions) < 2:
        return None
    new, old = versions[pairing.new], versions[pairing.old]
    tasks = ComparisonTask.objects.filter(campaign=campaign, chosen_why=REGRESSION)
    judgements = live_judgements().filter(assignment__task__in=tasks)
    blind = judgements.filter(is_unblinded=False, assignment__annotator__kind__in=PEOPLE)
    measured, counts = _measured(campaign, blind, new, old)
    simulated = judgements.filter(assignment__annotator__kind=Annotator.Kind.SIMULATED)
    by_machine, machine_counts = _measured(campaign, simulated, new, old)
    return NewAgainstOld(
        new=new,
        old=old,
        n_tasks=tasks.exclude(status=ComparisonTask.Status.RETIRED).count(),
        n_judgements=sum(counts),
        wins=counts[0],
        ties=counts[1],
        losses=counts[2],
        people=measured,
        outcome=verdict(measured),
        simulated=by_machine,
        n_simulated=sum(machine_counts),
        n_unblinded=judgements.filter(is_unblinded=True).count(),
    )


def _measured(
    campaign: Campaign, judgements: QuerySet[Judgement], new: ModelVersion, old: ModelVersion
) -> tuple[Rate, tuple[int, int, int]]:
    by_prompt, counts = _marks(judgements, new, old, flip=campaign.chosen_is_worse)
    shares = [sum(marks) / len(marks) for _, marks in sorted(by_prompt.items())]
    return rate(shares, seed=seed_from(campaign.key, REGRESSION)), counts


def _marks(
    judgements: QuerySet[Judgement], new: ModelVersion, old: ModelVersion, *, flip: bool
) -> tuple[dict[int, list[float]], tuple[int, int, int]]:
    """Prompt -> 1 for each win of the new version, one half for a tie, 0 for a loss; and (wins, ties, losses)."""
    ranks: dict[int, dict[int, int]] = defaultdict(dict)
    prompts: dict[int, int] = {}
    rows = RankedCandidate.objects.filter(judgement__in=judgements).values_list(
        "judgement_id", "candidate__arm__model_version_id", "rank", "candidate__prompt_id"
    )
    for judgement, version, rank, prompt in rows:
        ranks[judgement][version] = rank
        prompts[judgement] = prompt
    by_prompt: dict[int, list[float]] = defaultdict(list)
    wins = ties = losses = 0
    for judgement, by_version in sorted(ranks.items()):
        if new.pk not in by_version or old.pk not in by_version:
            continue
        gap = by_version[old.pk] - by_version[new.pk]  # positive where the new one has the better, lower rank
        gap = -gap if flip else gap
        wins, ties, losses = wins + (gap > 0), ties + (gap == 0), losses + (gap < 0)
        by_prompt[prompts[judgement]].append(0.5 if not gap else float(gap > 0))
    return by_prompt, (wins, ties, losses)
