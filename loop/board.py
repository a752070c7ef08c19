"""The round board: what each stage of a round has done, what it waits for, and the one next button.

Reads only, but that it records who saw models named.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from django.db.models import Sum
from django.urls import reverse

from accounts.models import Membership, Role, User
from annotation.assign import open_assignment, untouched
from annotation.models import Annotator, Campaign
from annotation.regression import new_against_old_of
from annotation.winrate import Rate
from core.counting import counted
from core.jobs import JobFields, JobStatus
from generation.deploy import live_deployment
from generation.models import Deployment, Endpoint, GenerationJob, ModelReveal
from generation.sampling import reveal_models
from loop.models import Round, RoundStep
from loop.rounds import (
    ALIAS,
    Plan,
    comparison_job,
    endpoint_for,
    evaluations_of,
    gate_is_cleared,
    last_step,
    plan_of,
    produced_by,
)
from training.models import Evaluation

Stage = RoundStep.Stage
State = Literal["waiting", "ready", "running", "done", "failed"]


@dataclass(frozen=True)
class Progress:
    step: int
    total: int
    unit: str
    seconds_left: float | None = None
    rate: float | None = None


@dataclass(frozen=True)
class Action:
    """One button: a link where ``url`` is set, else a form that posts to the stage's step."""

    label: str
    stage: str = ""
    url: str = ""
    is_primary: bool = True
    needs_note: bool = False
    confirm: str = ""


@dataclass(frozen=True)
class Card:
    """One stage: ``did`` says what it has done, ``waits_for`` what it lacks; ``links`` lead to what it made."""

    stage: str
    title: str
    state: State
    did: str = ""
    waits_for: str = ""
    problem: str = ""
    progress: Progress | None = None
    actions: tuple[Action, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Board:
    round: Round
    plan: Plan
    cards: tuple[Card, ...]
    next: Action | None
    next_card: Card | None
    waiting_for: str
    is_revealed: bool
    engine: Endpoint | None = None
    is_moving: bool = field(default=False)


TITLES = {
    Stage.PROMPTS: "Prompts",
    Stage.GENERATE: "Generate",
    Stage.ANNOTATE: "Annotate",
    Stage.DATASET: "Dataset",
    Stage.TRAIN: "Train",
    Stage.EVALUATE: "Evaluate",
    Stage.DEPLOY: "Deploy",
}


def board_of(round_: Round, *, user: User, membership: Membership) -> Board:
    """The board as ``user`` sees it. Models stay unnamed until they asked for a reveal or the campaigns are closed."""
    cards: list[Card] = []
    for draw in DRAW.values():
        cards.append(draw(round_, cards[-1] if cards else None, membership))
    actionable = next((card for card in cards if card.actions and card.actions[0].is_primary), None)
    running = next((card for card in cards if card.state == "running"), None)
    is_closed = _is_closed(round_)
    return Board(
        round=round_,
        plan=plan_of(round_),
        cards=tuple(cards),
        next=actionable.actions[0] if actionable else None,
        next_card=actionable,
        waiting_for="" if actionable else (running.waits_for if running else ""),
        is_revealed=_names_are_shown(round_, user, is_closed=is_closed),
        engine=endpoint_for(round_.project),
        # Between the flip and the round's own end lies one tick.
        is_moving=any(card.state == "running" for card in cards)
        or (round_.status == "open" and cards[-1].state == "done"),
    )


def jobs_of(round_: Round) -> list[int]:
    return [pk for pk in round_.steps.filter(stage=Stage.GENERATE).values_list("job_id", flat=True) if pk is not None]


def _is_closed(round_: Round) -> bool:
    """Whether nothing of this round can still be judged, so that naming its models unblinds nobody.

    The round's own end closes no campaign: a round that was given up may still be judged.
    """
    if round_.status != Round.Status.OPEN and not jobs_of(round_):
        return True
    campaigns = Campaign.objects.filter(round_steps__round=round_)
    return campaigns.exists() and not campaigns.exclude(stage=Campaign.Stage.CLOSED).exists()


def has_revealed(round_: Round, user: User) -> bool:
    jobs = jobs_of(round_)
    return bool(jobs) and ModelReveal.objects.filter(user=user, job__in=jobs).count() == len(set(jobs))


def _names_are_shown(round_: Round, user: User, *, is_closed: bool) -> bool:
    if has_revealed(round_, user):
        return True
    if is_closed:
        reveal(round_, user)  # recorded as well: a later campaign may ask about the same answers
    return is_closed


def reveal(round_: Round, user: User) -> None:
    """Record that this person saw which model writes the round's answers. Their later judgements of them count as unblinded."""
    for job in GenerationJob.objects.filter(pk__in=jobs_of(round_)).select_related("project"):
        reveal_models(job, user=user, page="round board")


# ---- one function a stage ------------------------------------------------------------------------------------------


def _url(name: str, round_: Round, *args: object) -> str:
    return reverse(name, args=[round_.project.slug, *args])


def _progress(job: JobFields) -> Progress | None:
    if not job.total_steps:
        return None
    return Progress(int(job.step), int(job.total_steps), job.unit, job.seconds_left, job.rate_per_second)


def _of_job(
    stage: str, job: JobFields, *, done: str, links: tuple[tuple[str, str], ...], again: str, next_stage: str = ""
) -> Card:
    """The card of a stage whose work is one job."""
    title = TITLES[Stage(stage)]
    if job.status in (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.CANCELLING):
        waits = job.message or ("Waiting for a free worker." if job.status == JobStatus.QUEUED else "At work.")
        return Card(stage, title, "running", waits_for=waits, progress=_progress(job), links=links)
    if job.status == JobStatus.FAILED:
        return Card(
            stage, title, "failed", problem=job.error, links=links, actions=(Action(again, next_stage or stage),)
        )
    if job.status == JobStatus.CANCELLED:
        return Card(
            stage, title, "failed", problem="Cancelled.", links=links, actions=(Action(again, next_stage or stage),)
        )
    return Card(stage, title, "done", did=done, links=links)


def _is_done(card: Card | None) -> bool:
    return card is not None and card.state == "done"


def _later(stage: str, before: Card | None) -> Card:
    return Card(stage, TITLES[Stage(stage)], "waiting", waits_for=f"Comes after “{before.title}”." if before else "")


def _prompts(round_: Round, _: Card | None, __: Membership) -> Card:
    prompt_set = round_.prompt_set
    links = ((prompt_set.name, _url("generation:prompt-set", round_, prompt_set.key)),) if prompt_set else ()
    did = (
        f"{counted(prompt_set.n_prompts, 'prompt')}; {min(plan_of(round_).n_prompts, prompt_set.n_prompts):,} drawn for this round."
        if prompt_set
        else ""
    )
    return Card(Stage.PROMPTS, TITLES[Stage.PROMPTS], "done", did=did, links=links)


def _generate(round_: Round, before: Card | None, _: Membership) -> Card:
    step, plan = last_step(round_, Stage.GENERATE), plan_of(round_)
    if step and step.job:
        job, comparison = step.job, comparison_job(round_)
        links: tuple[tuple[str, str], ...] = (("Answers", _url("generation:job", round_, job.key)),)
        done = f"{counted(job.step, 'answer')} written" + (f", {job.n_failed:,} could not be." if job.n_failed else ".")
        if comparison is not None:
            links += (("Answers of the version before", _url("generation:job", round_, comparison.key)),)
            done += f" The version before wrote {comparison.step:,}, to compare with."
            if job.is_terminal and not comparison.is_terminal:
                job = comparison
        if job.status == JobStatus.CANCELLED and job.step:
            return Card(
                Stage.GENERATE,
                "Generate",
                "done",
                did=f"Cancelled; {counted(job.step, 'answer is', 'answers are')} kept.",
                links=links,
            )
        return _of_job(Stage.GENERATE, job, done=done, links=links, again="Generate again")
    if not _is_done(before):
        return _later(Stage.GENERATE, before)
    live, endpoint = live_deployment(round_.project, ALIAS), endpoint_for(round_.project)
    if (
        live is None
        or live.model_version_id != round_.policy_in_id
        or (endpoint and endpoint.state in ("starting", "down"))
    ):
        waits = endpoint.state_message if endpoint and endpoint.state_message else "The engine is not ready yet."
        links = (("Deployments", _url("generation:deployments", round_)),)
        return Card(Stage.GENERATE, "Generate", "running", waits_for=waits, links=links)
    label = f"Generate {counted(plan.n_answers, 'answer')} for {counted(plan.n_prompts, 'prompt')}"
    return Card(Stage.GENERATE, "Generate", "ready", actions=(Action(label, Stage.GENERATE),))


def _annotate(round_: Round, before: Card | None, membership: Membership) -> Card:
    step = last_step(round_, Stage.ANNOTATE)
    if step is None or step.campaign is None:
        if not _is_done(before):
            return _later(Stage.ANNOTATE, before)
        return Card(
            Stage.ANNOTATE, "Annotate", "ready", actions=(Action("Open the answers for judging", Stage.ANNOTATE),)
        )
    campaign = step.campaign
    links = (("Campaign", _url("annotation:campaign", round_, campaign.key)),)
    if campaign.stage == Campaign.Stage.BUILDING:
        if campaign.status == JobStatus.FAILED:
            again = (Action("Build the tasks again", Stage.ANNOTATE),)
            return Card(Stage.ANNOTATE, "Annotate", "failed", problem=campaign.error, links=links, actions=again)
        return Card(Stage.ANNOTATE, "Annotate", "running", waits_for="Building the tasks.", links=links)
    n_done, n_wanted = judged(campaign)
    progress = Progress(n_done, n_wanted, "judgements")
    compared = comparison_in_words(campaign)
    if campaign.stage == Campaign.Stage.CLOSED or (n_wanted and n_done >= n_wanted):
        did = f"{n_done:,} of {n_wanted:,} judgements. {compared}".strip()
        return Card(Stage.ANNOTATE, "Annotate", "done", did=did, links=links)
    if not n_wanted:
        return Card(
            Stage.ANNOTATE,
            "Annotate",
            "failed",
            problem="No two answers to a prompt differ, so there is nothing to compare.",
            links=links,
            actions=(Action("Generate again", Stage.GENERATE),),
        )
    may_judge = membership.has(Role.ANNOTATOR) and not _has_seen_all(campaign, membership)
    actions = (Action("Judge answers", url=_url("annotation:start", round_, campaign.key)),) if may_judge else ()
    left = f"{n_wanted - n_done:,} judgement{'' if n_wanted - n_done == 1 else 's'} to go."
    seen_all = membership.has(Role.ANNOTATOR) and not may_judge
    waits = (
        "Paused."
        if campaign.stage == Campaign.Stage.PAUSED
        else f"You have seen every pair; {left}"
        if seen_all
        else left
    )
    return Card(
        Stage.ANNOTATE,
        "Annotate",
        "running",
        did=compared,
        waits_for=waits,
        progress=progress,
        links=links,
        actions=actions,
    )


def comparison_in_words(campaign: Campaign) -> str:
    """How this round's policy fares against the one before, so far; names no model."""
    found = new_against_old_of(campaign)
    if found is None or not found.n_tasks:
        return ""
    if found.people.value is not None:
        words = {"better": ": better", "worse": ": worse", "unclear": ": unclear"}.get(found.outcome, "")
        return f"Against the version before: {_rate(found.people)} by people{words}."
    if found.simulated.value is not None:
        return f"Against the version before: {_rate(found.simulated)} by simulated people."
    return f"{counted(found.n_tasks, 'task compares', 'tasks compare')} with the version before."


def _rate(measured: Rate) -> str:
    return f"{measured.value:.2f} [{measured.low:.2f}, {measured.high:.2f}]"


def _has_seen_all(campaign: Campaign, membership: Membership) -> bool:
    """Whether an annotator has judged or skipped whatever is left to judge."""
    me = Annotator.objects.filter(project=campaign.project_id, user=membership.user_id).first()
    if me is None or campaign.stage != Campaign.Stage.OPEN:
        return False
    return open_assignment(me, campaign) is None and not untouched(me, campaign).exists()


def _is_left_to_nobody(campaign: Campaign, membership: Membership) -> bool:
    """Whether the only annotator of the project has seen it all: what they skipped, nobody else will judge."""
    others = Membership.objects.filter(project=campaign.project_id, is_annotator=True).exclude(pk=membership.pk)
    return membership.has(Role.ANNOTATOR) and _has_seen_all(campaign, membership) and not others.exists()


def judged(campaign: Campaign) -> tuple[int, int]:
    """(judgements given, judgements wanted) of a campaign."""
    sums = campaign.tasks.exclude(status="retired").aggregate(done=Sum("n_submitted"), wanted=Sum("seats"))
    return sums["done"] or 0, sums["wanted"] or 0


def _dataset(round_: Round, before: Card | None, membership: Membership) -> Card:
    step = last_step(round_, Stage.DATASET)
    if step and step.snapshot:
        snapshot = step.snapshot
        links = ((snapshot.name, _url("training:snapshot", round_, snapshot.key)),)
        rows = snapshot.counts.get("rows", {})
        n_train, n_test = rows.get("train", 0), rows.get("test", 0)
        done = f"{n_train:,} training pairs, {n_test:,} held out."
        return _of_job(Stage.DATASET, snapshot, done=done, links=links, again="Freeze again")
    annotated = last_step(round_, Stage.ANNOTATE)
    n_done = judged(annotated.campaign)[0] if annotated and annotated.campaign else 0
    if not n_done:
        return _later(Stage.DATASET, before)
    if _is_done(before):
        return Card(Stage.DATASET, "Dataset", "ready", actions=(Action("Freeze the dataset", Stage.DATASET),))
    is_over = (
        annotated is not None and annotated.campaign is not None and _is_left_to_nobody(annotated.campaign, membership)
    )
    early = Action(
        f"Freeze with {n_done:,} judgement{'' if n_done == 1 else 's'}",
        Stage.DATASET,
        is_primary=is_over,
        confirm="This closes the campaign: nobody can judge these answers any more.",
    )
    return Card(
        Stage.DATASET,
        "Dataset",
        "waiting",
        waits_for="You have seen every pair; nobody else is here to judge what you skipped."
        if is_over
        else "Comes when the answers are judged, or now if you like.",
        actions=(early,),
    )


def _train(round_: Round, before: Card | None, _: Membership) -> Card:
    step, reward = last_step(round_, Stage.TRAIN), last_step(round_, Stage.REWARD)
    if step is None or step.run is None:
        if not _is_done(before):
            return _later(Stage.TRAIN, before)
        actions: tuple[Action, ...] = (Action("Train the policy (DPO)", Stage.TRAIN),)
        if reward is None:
            actions += (Action("Train a reward model", Stage.REWARD, is_primary=False),)
        return Card(Stage.TRAIN, "Train", "ready", actions=actions)
    links: tuple[tuple[str, str], ...] = (("DPO run", _url("training:run", round_, step.run.key)),)
    extra: tuple[Action, ...] = ()
    if reward and reward.run:
        links += ((f"Reward run ({reward.run.get_status_display()})", _url("training:run", round_, reward.run.key)),)
        if reward.run.status in (JobStatus.FAILED, JobStatus.CANCELLED):
            extra = (Action("Train the reward model again", Stage.REWARD, is_primary=False),)
    elif not last_step(round_, Stage.DEPLOY):
        extra = (Action("Train a reward model too", Stage.REWARD, is_primary=False),)
    card = _of_job(Stage.TRAIN, step.run, done="The new policy is trained.", links=links, again="Train again")
    return Card(**(vars(card) | {"actions": card.actions + extra}))


def _evaluate(round_: Round, before: Card | None, _: Membership) -> Card:
    made = evaluations_of(round_)
    links = tuple((sentence_of(e, short=True), _url("training:evaluation", round_, e.key)) for e in made)
    if not made:
        if not _is_done(before):
            return _later(Stage.EVALUATE, before)
        reward = last_step(round_, Stage.REWARD)
        if reward and reward.run and not reward.run.is_terminal:
            waits = "The reward model is still training; its judgement comes with the evaluation."
            action = Action("Evaluate without it", Stage.EVALUATE, is_primary=False)
            return Card(Stage.EVALUATE, "Evaluate", "running", waits_for=waits, actions=(action,))
        if not round_.project.is_demo and produced_by(round_, Stage.REWARD) is None:
            waits = "A reward model to judge by. Train one, or deploy with a note."
            return Card(Stage.EVALUATE, "Evaluate", "waiting", waits_for=waits)
        return Card(Stage.EVALUATE, "Evaluate", "ready", actions=(Action("Evaluate the new policy", Stage.EVALUATE),))
    running = next((e for e in made if not e.is_terminal), None)
    if running is not None:
        return _of_job(Stage.EVALUATE, running, done="", links=links, again="Evaluate again")
    failed = next((e for e in made if e.status == JobStatus.FAILED), None)
    if failed is not None:
        return _of_job(Stage.EVALUATE, failed, done="", links=links, again="Evaluate again")
    cleared = gate_is_cleared(round_)
    annotated = last_step(round_, Stage.ANNOTATE)
    compared = comparison_in_words(annotated.campaign) if annotated and annotated.campaign else ""
    did = "The new policy is better." if cleared else "Nothing says that the new policy is better."
    if compared:
        did += f" Of this round's own policy: {compared[0].lower()}{compared[1:]}"
    return Card(Stage.EVALUATE, "Evaluate", "done", did=did, links=links)


SHORT_JUDGES = {
    Evaluation.Judge.REWARD_ACCURACY: "Reward accuracy",
    Evaluation.Judge.REWARD_MODEL: "Win rate by the reward model",
    Evaluation.Judge.SIMULATED: "Win rate by simulated people",
    Evaluation.Judge.PEOPLE: "Win rate by people",
}


def sentence_of(evaluation: Evaluation, *, short: bool = False) -> str:
    """One evaluation in one sentence, with its interval and its judge."""
    judge = SHORT_JUDGES[Evaluation.Judge(evaluation.judge)] if short else evaluation.get_judge_display()
    if evaluation.value is None:
        return f"{judge}: nothing to measure" + ("" if short else ".")
    interval = (
        f" [{evaluation.low:.2f}, {evaluation.high:.2f}]"
        if evaluation.low is not None and evaluation.high is not None
        else ""
    )
    sentence = f"{judge}: {evaluation.value:.2f}{interval}"
    if short:
        return sentence
    if evaluation.ceiling is not None:
        sentence += f"; people agree with each other on {evaluation.ceiling:.2f}"
    return sentence + "."


def _deploy(round_: Round, before: Card | None, _: Membership) -> Card:
    step = last_step(round_, Stage.DEPLOY)
    if step and step.deployment:
        deployment = step.deployment
        links = (("Deployments", _url("generation:deployments", round_)),)
        if deployment.stage == Deployment.Stage.LIVE or round_.status == Round.Status.COMPLETE:
            return Card(
                Stage.DEPLOY, "Deploy", "done", did="The new policy is live and writes the next answers.", links=links
            )
        if deployment.stage in (Deployment.Stage.RETIRED, Deployment.Stage.DRAINING):
            did = "It was live, and another version has taken its place."
            return Card(Stage.DEPLOY, "Deploy", "done", did=did, links=links)
        card = _of_job(Stage.DEPLOY, deployment, done="Loaded.", links=links, again="Deploy again")
        needs_note = not gate_is_cleared(round_)
        again = tuple(Action(a.label, a.stage, needs_note=needs_note) for a in card.actions)
        return Card(**(vars(card) | {"actions": again}))
    if produced_by(round_, Stage.TRAIN) is None:
        return _later(Stage.DEPLOY, before)
    if _is_done(before) and gate_is_cleared(round_):
        return Card(Stage.DEPLOY, "Deploy", "ready", actions=(Action("Deploy the new policy", Stage.DEPLOY),))
    anyway = Action("Deploy anyway", Stage.DEPLOY, is_primary=_is_done(before), needs_note=True)
    waits = (
        "No evaluation says that it is better. Deploy it with a note, or train again."
        if _is_done(before)
        else "Comes after “Evaluate”."
    )
    actions = (anyway, Action("Train again", Stage.TRAIN, is_primary=False)) if _is_done(before) else (anyway,)
    return Card(Stage.DEPLOY, "Deploy", "ready" if _is_done(before) else "waiting", waits_for=waits, actions=actions)


DRAW: dict[str, Callable[[Round, Card | None, Membership], Card]] = {
    Stage.PROMPTS: _prompts,
    Stage.GENERATE: _generate,
    Stage.ANNOTATE: _annotate,
    Stage.DATASET: _dataset,
    Stage.TRAIN: _train,
    Stage.EVALUATE: _evaluate,
    Stage.DEPLOY: _deploy,
}
