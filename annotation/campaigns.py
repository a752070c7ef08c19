"""Campaigns: started, built in the background, open, paused, closed. What they ask is fixed when they start."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import Count, F
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import Project, User
from annotation import pairs
from annotation.guidelines import first_version
from annotation.models import Campaign, ComparisonTask, TaskCandidate
from annotation.pairs import Answer, Pairing
from annotation.people import n_submitted
from core.errors import DomainError, require
from core.ids import sha256_hex
from core.jobs import JobStatus, beat, cancelled, claim, enqueue_on_commit, fail, finish, release
from core.transitions import IllegalMove
from generation.models import Candidate, GenerationJob

logger = logging.getLogger(__name__)

CHUNK = 500
LEASE_SECONDS = 120
MAX_OVERLAP, MAX_LEASE_MINUTES, MAX_STRENGTH = 50, 24 * 60, 3
OPTIONS = frozenset(
    {"question", "guidelines", "allow_tie", "allow_both_bad", "strength_levels", "lease_minutes", "closes_at"}
)


@transaction.atomic
def start_campaign(
    *,
    project: Project,
    name: str,
    jobs: Sequence[GenerationJob],
    pairing: Mapping[str, Any],
    overlap: int = 1,
    options: Mapping[str, Any] | None = None,
    by: User | None,
) -> Campaign:
    """Record a campaign and queue the building of its tasks.

    pairing  as ``annotation.pairs.Pairing``: pairs, baseline, per_prompt, max_tasks
    options  question, guidelines, allow_tie, allow_both_bad, strength_levels, lease_minutes, closes_at
    Raises DomainError for what cannot work.
    """
    options = dict(options or {})
    unknown = set(options) - OPTIONS
    require(not unknown, f"A campaign has no option {', '.join(sorted(unknown))!r}.")
    require(name.strip(), "Give the campaign a name.")
    require(jobs, "Choose at least one generation job whose answers are judged.")
    require(
        all(job.project_id == project.pk for job in jobs),
        "The answers must come from this project's own generation jobs.",
    )
    require(
        all(job.is_terminal for job in jobs), "The answers are still being written.", how="Wait for the generation job."
    )
    require(1 <= overlap <= MAX_OVERLAP, f"The overlap is a number from 1 to {MAX_OVERLAP}.")
    lease_minutes = options.get("lease_minutes", 30)
    require(1 <= lease_minutes <= MAX_LEASE_MINUTES, "A task is kept for a person for 1 minute to 24 hours.")
    require(options.get("strength_levels", 0) in (0, 2, MAX_STRENGTH), "Strength has 2 or 3 levels, or is not asked.")
    try:
        read = Pairing.parse(pairing)
    except ValueError as problem:
        raise DomainError(str(problem)) from None
    campaign = Campaign.objects.create(
        project=project,
        name=name.strip()[:100],
        stage=Campaign.Stage.BUILDING,
        pairing=read.stored(),
        overlap=overlap,
        unit="tasks",
        created_by=by,
        **options,
    )
    campaign.jobs.set(jobs)
    first_version(campaign, by=by)
    campaign.events.create(before=Campaign.Stage.DRAFT, after=Campaign.Stage.BUILDING, by=by)
    record("campaign.start", user=by, project=project, subject=campaign, detail={"overlap": overlap, **read.stored()})
    enqueue_on_commit(campaign)
    return campaign


# ---- building --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """The tasks of a campaign as they will stand: (prompt id, the two candidates), and what was left out."""

    tasks: list[tuple[int, tuple[Answer, Answer]]]
    left_out: dict[str, int]


def plan_of(campaign: Campaign) -> Plan:
    """Draw the tasks. The same campaign over the same answers gives the same plan, so a build can be done again."""
    pairing, salt = Pairing.parse(campaign.pairing), campaign.key
    left_out: Counter[str] = Counter()
    by_prompt: dict[str, list[tuple[int, tuple[Answer, Answer]]]] = {}
    for prompt_id, prompt_key, answers in _answers_by_prompt(campaign, left_out):
        found, dropped = pairs.pairs_of_prompt(answers, pairing, salt=salt)
        left_out += dropped
        if found:
            by_prompt[prompt_key] = [(prompt_id, pair) for pair in found]
    drawn = pairs.draw(by_prompt, most=pairing.max_tasks, salt=salt)
    return Plan(tasks=[task for _, task in drawn], left_out=dict(left_out))


def _answers_by_prompt(campaign: Campaign, left_out: Counter[str]) -> Iterator[tuple[int, str, list[Answer]]]:
    rows = (
        Candidate.objects.filter(arm__job__in=campaign.jobs.all())
        .order_by("prompt_id", "key")
        .values_list("prompt_id", "prompt__key", "pk", "key", "arm_id", "arm__model_version__key", "text")
    )
    answers: list[Answer] = []
    current: tuple[int, str] | None = None
    for prompt_id, prompt_key, pk, key, arm, model, text in rows.iterator(chunk_size=2000):
        if current is not None and current[0] != prompt_id:
            yield *current, answers
            answers = []
        current = (prompt_id, prompt_key)
        reason = pairs.reason_to_leave_out(text)
        if reason:
            left_out[reason] += 1
        else:
            answers.append(Answer(pk=pk, key=key, arm=arm, model=model, text_sha256=sha256_hex(text.strip())))
    if current is not None:
        yield *current, answers


def build_tasks(campaign: Campaign) -> None:
    """The building job: claim, insert in chunks, open. May be killed anywhere and run again: what stands is not inserted twice."""
    token = claim(campaign, seconds=LEASE_SECONDS)
    if token is None:
        return
    try:
        plan = plan_of(campaign)
        step = 0
        for chunk in _chunks(plan.tasks):
            _insert(campaign, chunk)
            step += len(chunk)
            pulse = beat(campaign, token, seconds=LEASE_SECONDS, step=step, total_steps=len(plan.tasks))
            if pulse.cancel:
                cancelled(campaign, token, message=f"Stopped after {step:,} tasks.")
                return
            if not pulse.alive:
                return
    except (OperationalError, InterfaceError):
        # The database was away or locked for long: nothing is wrong with the campaign. What stands is not inserted twice.
        logger.exception("Campaign %s goes back to the queue.", campaign.key)
        release(campaign, token, note="The database did not answer; the tasks are built in a moment.", is_failure=True)
        return
    except Exception as problem:
        # The worker's edge: the cause is stored with the row, and the log has the trace.
        fail(campaign, token, f"The tasks could not be built: {problem}")
        raise
    _open(campaign, token, plan)


def _open(campaign: Campaign, token: str, plan: Plan) -> None:
    with transaction.atomic():
        n_tasks = ComparisonTask.objects.filter(campaign=campaign).count()
        done = finish(
            campaign,
            token,
            n_tasks=n_tasks,
            step=n_tasks,
            total_steps=n_tasks,
            left_out=plan.left_out,
        )
        # Cancelled in its last moment it ends as cancelled, and nobody is asked to judge it.
        if done and campaign.status == JobStatus.SUCCEEDED:
            Campaign.objects.filter(pk=campaign.pk).update(stage=Campaign.Stage.OPEN)
            campaign.events.create(before=Campaign.Stage.BUILDING, after=Campaign.Stage.OPEN, note=f"{n_tasks:,} tasks")
            campaign.stage = Campaign.Stage.OPEN


def _chunks(tasks: Sequence[Any]) -> Iterator[list[Any]]:
    rest = iter(tasks)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _insert(campaign: Campaign, chunk: Sequence[tuple[int, tuple[Answer, Answer]]]) -> None:
    """Insert those of a chunk that are not there yet, with their slots, in one transaction."""
    try:
        _insert_missing(campaign, chunk)
    except IntegrityError:  # another worker, whose lease we hold now, had just inserted some of them
        _insert_missing(campaign, chunk)


@transaction.atomic
def _insert_missing(campaign: Campaign, chunk: Sequence[tuple[int, tuple[Answer, Answer]]]) -> None:
    by_hash = {pairs.set_sha256(answer.key for answer in pair): (prompt, pair) for prompt, pair in chunk}
    there = ComparisonTask.objects.filter(campaign=campaign, candidates_sha256__in=list(by_hash))
    for candidates_sha256 in there.values_list("candidates_sha256", flat=True):
        del by_hash[candidates_sha256]
    tasks = ComparisonTask.objects.bulk_create(
        ComparisonTask(
            campaign=campaign,
            prompt_id=prompt,
            candidates_sha256=candidates_sha256,
            seats=campaign.overlap,
            position=pairs.position_of(campaign.key, candidates_sha256),
        )
        for candidates_sha256, (prompt, _) in by_hash.items()
    )
    TaskCandidate.objects.bulk_create(
        TaskCandidate(task=task, candidate_id=answer.pk, slot=slot)
        for task, (_, pair) in zip(tasks, by_hash.values(), strict=True)
        for slot, answer in enumerate(pair)
    )


# ---- stages ----------------------------------------------------------------------------------------------------------


@transaction.atomic
def _set_stage(campaign: Campaign, to: str, *, by: User | None, note: str = "", **changes: Any) -> None:
    """Compare-and-set of ``stage`` with its event; of two callers exactly one wins. Raises IllegalMove for the other."""
    before = campaign.stage
    sources = [stage for stage, targets in Campaign.STAGE_NEXT.items() if to in targets]
    if Campaign.objects.filter(pk=campaign.pk, stage__in=sources).update(stage=to, **changes) != 1:
        campaign.refresh_from_db()
        problem = IllegalMove(campaign, to)
        problem.sentence = f"This campaign is {campaign.stage} and cannot become {to}."
        raise problem
    campaign.events.create(before=before, after=to, by=by, note=note)
    record(f"campaign.{to}", user=by, project=campaign.project, subject=campaign)
    campaign.refresh_from_db()


def pause_campaign(campaign: Campaign, *, by: User | None) -> None:
    """Give out no more tasks. What people have open may still be submitted."""
    _set_stage(campaign, Campaign.Stage.PAUSED, by=by)


def resume_campaign(campaign: Campaign, *, by: User | None) -> None:
    require(
        campaign.stage == Campaign.Stage.PAUSED,
        "Only a paused campaign can go on.",
        how="A closed campaign stays closed: start another one.",
    )
    _set_stage(campaign, Campaign.Stage.OPEN, by=by)


def close_campaign(campaign: Campaign, *, by: User | None, note: str = "") -> None:
    """End a campaign for good: no task is given out, no judgement taken or undone any more."""
    require(
        campaign.stage != Campaign.Stage.BUILDING or campaign.is_terminal,
        "The tasks of this campaign are still being built.",
        how="Cancel the building first, or wait for it.",
    )
    _set_stage(campaign, Campaign.Stage.CLOSED, by=by, note=note, closed_at=Now())


def close_due() -> int:
    """A chore of the tick: close campaigns whose date has come, by the database's clock. Returns how many."""
    due = Campaign.objects.filter(closes_at__lte=Now(), stage__in=[Campaign.Stage.OPEN, Campaign.Stage.PAUSED])
    n_closed = 0
    for campaign in due.select_related("project"):
        try:
            close_campaign(campaign, by=None, note="its date had come")
            n_closed += 1
        except IllegalMove:  # another scheduler was faster
            continue
    return n_closed


# ---- progress --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """How far a campaign has come, in judgements."""

    n_done: int
    n_wanted: int

    @property
    def n_left(self) -> int:
        return max(0, self.n_wanted - self.n_done)

    @property
    def share(self) -> float:
        return self.n_done / self.n_wanted if self.n_wanted else 0.0


def progress_of(campaign: Campaign) -> Progress:
    """Cheap enough for every page: it reads one row per person, never the tasks."""
    return Progress(n_done=n_submitted(campaign), n_wanted=campaign.n_tasks * campaign.overlap)


def split_counts(campaign: Campaign) -> dict[str, tuple[int, int]]:
    """Split -> (tasks, complete tasks). Holdout prompts are judged like all others and become the test split."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    rows = campaign.tasks.values_list("prompt__split", "status").order_by()
    for split, status, n in rows.annotate(n=Count("pk")):
        counts[split][0] += n
        counts[split][1] += n if status == ComparisonTask.Status.COMPLETE else 0
    return {split: (total, complete) for split, (total, complete) in sorted(counts.items())}


def open_campaigns(project: Project) -> list[Campaign]:
    """The campaigns whose tasks are given out, newest first."""
    return list(
        Campaign.objects.filter(project=project, stage=Campaign.Stage.OPEN, n_tasks__gt=0).order_by(F("id").desc())
    )
