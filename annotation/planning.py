"""Before the start: how many tasks and judgements a campaign would be, how long it takes, what it costs, what it can show.

Everything is counted over the real answers, by the same code that builds the tasks; formulas are in docs/methods.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from random import Random

from accounts.models import Project
from annotation.agreement import agreement_of, opinions_of
from annotation.building import Plan, plan
from annotation.judge import live_judgements
from annotation.models import Annotator, Campaign, Judgement
from annotation.pairs import Pairing
from annotation.winrate import ENOUGH_PROMPTS
from generation.models import Candidate, GenerationJob

Z95 = 1.959963984540054
# Seconds a judgement takes where this project has too few of its own to say: our assumption, printed as one.
PAIR_SECONDS, RANK_SECONDS_AN_ANSWER, RATE_SECONDS_AN_ANSWER, CRITERION_SECONDS = 45.0, 25.0, 30.0, 8.0
ENOUGH_JUDGEMENTS, LATEST = 20, 1000
# How often two people agree on a pair where the project cannot say: in the middle of the 63-83 % that papers report.
USUAL_AGREEMENT, ENOUGH_OVERLAPS = 0.70, 30
MOST_ANSWERS, SAMPLE_PROMPTS = 20_000, 2_000


@dataclass(frozen=True, slots=True)
class Pace:
    """Mean active seconds of a judgement; ``n_measured`` is 0 where it is assumed."""

    seconds: float
    n_measured: int

    @property
    def is_measured(self) -> bool:
        return self.n_measured > 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a campaign would be.

    half_width          of the 95 % interval of a win rate over all its prompts, as a share; None where there is none
    regression_width    the same for the tasks of new against old
    is_sampled          counted on some prompts and scaled up, because there are very many answers
    """

    n_tasks: int
    n_judgements: int
    n_prompts: int
    n_asked: int
    hours: float
    cost: float | None
    pace: Pace
    agreement: float
    is_agreement_measured: bool
    half_width: float | None
    n_regression: int
    n_regression_prompts: int
    regression_width: float | None
    left_out: tuple[tuple[str, int], ...]
    is_sampled: bool

    @property
    def is_too_few_for_a_verdict(self) -> bool:
        return bool(self.n_regression) and self.n_regression_prompts < ENOUGH_PROMPTS


def pace_of(project: Project, kind: str, *, n_answers: int = 2, n_criteria: int = 0) -> Pace:
    """The pace of this project's own people at this kind of task, of late; else an assumption."""
    measured = list(
        live_judgements()
        .filter(
            assignment__task__campaign__project=project,
            assignment__task__campaign__kind=kind,
            assignment__annotator__kind=Annotator.Kind.HUMAN,
            source=Judgement.Source.ANNOTATOR,
            seconds_active__gt=0,
        )
        .order_by("-id")
        .values_list("seconds_active", flat=True)[:LATEST]
    )
    if len(measured) >= ENOUGH_JUDGEMENTS:
        return Pace(sum(measured) / len(measured), len(measured))
    if kind == Campaign.Kind.PAIR:
        return Pace(PAIR_SECONDS + CRITERION_SECONDS * n_criteria, 0)
    a_answer = RANK_SECONDS_AN_ANSWER if kind == Campaign.Kind.RANK else RATE_SECONDS_AN_ANSWER
    return Pace(n_answers * (a_answer + CRITERION_SECONDS * n_criteria), 0)


def agreement_for(project: Project) -> tuple[float, bool]:
    """(how often two people agree on a pair here, whether that was measured on enough pairs)."""
    latest = (
        live_judgements()
        .filter(
            assignment__task__campaign__project=project,
            assignment__task__campaign__kind=Campaign.Kind.PAIR,
            assignment__task__n_submitted__gt=1,
            assignment__annotator__kind=Annotator.Kind.HUMAN,
        )
        .order_by("-id")
        .only("pk")[:LATEST]
    )
    measured = agreement_of(opinions_of(latest))
    if measured.value is None or measured.n_pairs < ENOUGH_OVERLAPS:
        return USUAL_AGREEMENT, False
    return measured.value, True


def half_width(n_prompts: int, n_judgements: int, agreement: float) -> float | None:
    """Half the 95 % interval of a win rate near one half, when prompts are resampled.

    A judgement varies by 1/4; two of one prompt hang together by r = 2 a - 1, where a is how often people agree. So a
    prompt's mean of m judgements varies by (r + (1 - r) / m) / 4, and h = 1.96 sqrt that over n prompts.
    """
    if not n_prompts or not n_judgements:
        return None
    r = min(1.0, max(0.0, 2 * agreement - 1))
    m = max(1.0, n_judgements / n_prompts)
    return min(0.5, Z95 * sqrt((r + (1 - r) / m) / 4 / n_prompts))


def estimate(
    project: Project,
    jobs: Sequence[GenerationJob],
    pairing: Pairing,
    *,
    kind: str = Campaign.Kind.PAIR,
    overlap: int = 1,
    regression_share: float = 0.0,
    n_criteria: int = 0,
    pay_per_hour: float | None = None,
) -> Estimate:
    """What these answers would give as a campaign. Writes nothing."""
    planned, factor = _planned([job.pk for job in jobs], pairing, regression_share)
    n_tasks, n_prompts = round(len(planned.tasks) * factor), round(planned.n_prompts * factor)
    n_regression, n_regression_prompts = (
        round(n * factor) for n in (planned.n_regression, planned.n_regression_prompts)
    )
    if factor > 1 and pairing.max_tasks is not None:
        share = min(1.0, pairing.max_tasks / n_tasks) if n_tasks else 0.0
        n_tasks, n_regression = round(n_tasks * share), round(n_regression * share)
        n_prompts, n_regression_prompts = min(n_prompts, n_tasks), min(n_regression_prompts, n_regression)
    n_shown = max((len(task.slots) for task in planned.tasks), default=pairing.n_answers)
    pace = pace_of(project, kind, n_answers=n_shown, n_criteria=n_criteria)
    n_judgements = n_tasks * overlap
    hours = n_judgements * pace.seconds / 3600
    agreement, is_measured = agreement_for(project)
    has_rate = kind != Campaign.Kind.RATE
    return Estimate(
        n_tasks=n_tasks,
        n_judgements=n_judgements,
        n_prompts=n_prompts,
        n_asked=round(planned.n_asked * factor),
        hours=hours,
        cost=None if pay_per_hour is None else hours * pay_per_hour,
        pace=pace,
        agreement=agreement,
        is_agreement_measured=is_measured,
        half_width=half_width(n_prompts, n_judgements, agreement) if has_rate else None,
        n_regression=n_regression,
        n_regression_prompts=n_regression_prompts,
        regression_width=half_width(n_regression_prompts, n_regression * overlap, agreement) if has_rate else None,
        left_out=tuple((reason, round(n * factor)) for reason, n in sorted(planned.left_out.items()) if n),
        is_sampled=factor > 1,
    )


def _planned(jobs: Sequence[int], pairing: Pairing, regression_share: float) -> tuple[Plan, float]:
    """The plan and how much larger the whole is: very many answers are counted on some prompts, drawn at random."""
    answers = Candidate.objects.filter(arm__job__in=jobs)
    if answers.count() <= MOST_ANSWERS:
        return plan(jobs, pairing, regression_share=regression_share, salt="estimate"), 1.0
    prompts = sorted(set(answers.order_by().values_list("prompt_id", flat=True).distinct()))
    if len(prompts) <= SAMPLE_PROMPTS:
        return plan(jobs, pairing, regression_share=regression_share, salt="estimate"), 1.0
    drawn = Random(0).sample(prompts, SAMPLE_PROMPTS)
    unbounded = Pairing.parse({**pairing.stored(), "max_tasks": None})
    found = plan(jobs, unbounded, regression_share=regression_share, salt="estimate", prompts=drawn)
    return found, len(prompts) / SAMPLE_PROMPTS
