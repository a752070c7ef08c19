"""A reward model judges a campaign of its own: what it learnt from people's judgements, said about answers nobody has read.

It takes tasks and judges them as people do, as an annotator of kind ``ai``, so every rule of seats and records holds for it. Its
judgements are marked, and a dataset leaves them out unless it is asked for them. Stiennon et al. 2020 and Llama 2 (section
3.2.3) train policies on what such a model prefers among many answers.
"""

from collections.abc import Callable, Mapping, Sequence

from accounts.audit import record
from accounts.models import User
from annotation.assign import next_assignment, untouched, why_nothing
from annotation.judge import live_judgements, submit_judgement
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Judgement, TaskCandidate
from annotation.protocol import Said
from core.errors import Conflict, require
from generation.models import ModelVersion
from training.reward_scores import score

SOURCE = "reward model"
TASKS_AT_ONCE = 2000


def reward_annotator(model: ModelVersion) -> Annotator:
    """The annotator that this reward model is in its project; always the same one."""
    annotator, _ = Annotator.objects.get_or_create(
        project=model.project,
        source=SOURCE,
        external_id=model.key,
        defaults={"kind": Annotator.Kind.AI, "pseudonym": f"ai-{model.key[:6]}"},
    )
    return annotator


def judge_by_reward_model(
    *,
    campaign: Campaign,
    model: ModelVersion,
    by: User | None,
    tell: Callable[[int, int], object] = lambda done, of: None,
) -> int:
    """Judge what is free in the campaign; how many tasks were judged. Called again it goes on with what is left.

    tell  called with (judged, all of this call) after each task
    Raises DomainError where the campaign asks for more than a choice or an order, and Conflict where people judge in it.
    """
    check_campaign(campaign, model)
    annotator = reward_annotator(model)
    record(
        "campaign.judge_by_reward_model",
        user=by,
        project=campaign.project,
        subject=campaign,
        detail={"model": model.slug},
    )
    n_all = untouched(annotator, campaign).count()
    n_judged = 0
    ranks: Mapping[int, tuple[int, ...]] = {}
    while (turn := next_assignment(annotator, campaign)) is not None:
        if turn.task_id not in ranks:
            ranks = _ranks([turn.task_id, *_following(annotator, campaign)], model, campaign)
        submit_judgement(assignment_key=turn.key, annotator=annotator, said=Said("ranked", ranks=ranks[turn.task_id]))
        n_judged += 1
        tell(n_judged, max(n_all, n_judged))
    campaign.refresh_from_db()
    refusal = why_nothing(annotator, campaign)
    if not n_judged and refusal is not None and refusal.code != "done":
        raise Conflict(refusal.sentence, how=refusal.how)
    return n_judged


def check_campaign(campaign: Campaign, model: ModelVersion) -> None:
    """Raises DomainError or Conflict unless this model may judge in this campaign."""
    require(model.project_id == campaign.project_id, "That belongs to another project.")
    require(model.purpose == ModelVersion.Purpose.REWARD, f"{model.slug} is not a reward model.")
    require(
        campaign.kind in (Campaign.Kind.PAIR, Campaign.Kind.RANK) and not campaign.is_live,
        "A reward model can choose and rank. It cannot rate on a scale, nor chat.",
        how="Make a campaign of pairs or rankings of the same answers.",
    )
    people = live_judgements().filter(assignment__task__campaign=campaign).exclude(source=Judgement.Source.AI)
    open_turns = Assignment.objects.filter(task__campaign=campaign, status=Assignment.Status.OPEN)
    if people.exists() or open_turns.exclude(annotator__kind=Annotator.Kind.AI).exists():
        raise Conflict(
            "People judge in this campaign, and a machine would take their seats.",
            how="Make another campaign of the same answers for the reward model.",
        )


def _following(annotator: Annotator, campaign: Campaign) -> list[int]:
    return list(untouched(annotator, campaign).values_list("pk", flat=True)[:TASKS_AT_ONCE])


def _ranks(tasks: Sequence[int], model: ModelVersion, campaign: Campaign) -> Mapping[int, tuple[int, ...]]:
    """For each task the rank of each slot: 1 is the best score; the worst, where the campaign asks for the worse answer."""
    prompts = dict(ComparisonTask.objects.filter(pk__in=tasks).values_list("pk", "prompt__messages"))
    places = list(
        TaskCandidate.objects.filter(task__in=tasks).order_by("task", "slot").values_list("task", "candidate__text")
    )
    asked = [(prompts[task], text) for task, text in places]
    found = score(model, asked, name=campaign.key, beat=lambda: None)
    sign = -1 if campaign.chosen_is_worse else 1
    scores: dict[int, list[float]] = {}
    for (task, _), value in zip(places, found, strict=True):
        scores.setdefault(task, []).append(sign * value)
    return {task: _ranks_of(values) for task, values in scores.items()}


def _ranks_of(values: Sequence[float]) -> tuple[int, ...]:
    """1 for the highest; of equal ones the first in line comes first, since not every campaign takes a tie."""
    order = sorted(range(len(values)), key=lambda slot: -values[slot])
    return tuple(order.index(slot) + 1 for slot in range(len(values)))
