"""The building of a campaign's tasks: drawn from the answers, inserted in chunks, then opened for judging.

A job like any other: it may be killed anywhere and run again, and nothing is made twice.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from django.db import IntegrityError, InterfaceError, OperationalError, transaction

from annotation import pairs
from annotation.flag_handling import left_out_candidates
from annotation.models import Campaign, ComparisonTask, TaskCandidate
from annotation.pairs import Answer, Pairing
from annotation.texts import own_names
from core.bulk import chunks
from core.counting import counted
from core.jobs import JobStatus, beat, cancelled, claim, fail, finish, retry
from generation.models import Candidate, ModelVersion, Prompt

logger = logging.getLogger(__name__)

CHUNK = 500
LEASE_SECONDS = 120
REGRESSION = "regression"  # why a task was chosen: the new version against the one before


class Slot(NamedTuple):
    """One answer of a planned task, by its candidate."""

    key: str
    pk: int


@dataclass(frozen=True, slots=True)
class Planned:
    """One task as it will stand."""

    prompt_id: int
    slots: tuple[Slot, ...]
    why: str
    probability: float = 1.0


@dataclass(frozen=True)
class Plan:
    """The tasks of a campaign as they will stand, and what was left out.

    n_prompts      prompts that have a task
    n_asked        prompts that have any answer
    n_regression   tasks of new against old, on ``n_regression_prompts`` holdout prompts
    """

    tasks: list[Planned]
    left_out: dict[str, int]
    n_asked: int = 0

    @property
    def n_prompts(self) -> int:
        return len({task.prompt_id for task in self.tasks})

    @property
    def n_regression(self) -> int:
        return sum(task.why == REGRESSION for task in self.tasks)

    @property
    def n_regression_prompts(self) -> int:
        return len({task.prompt_id for task in self.tasks if task.why == REGRESSION})


@dataclass
class _Prompt:
    """What was found for one prompt, as light as it goes: a campaign may have a million of them."""

    pk: int
    sets: list[tuple[Slot, ...]]
    n_eligible: int


def plan_of(campaign: Campaign) -> Plan:
    """Draw the tasks. The same campaign over the same answers gives the same plan, so a build can be done again."""
    jobs = list(campaign.jobs.values_list("pk", flat=True))
    return plan(jobs, Pairing.parse(campaign.pairing), regression_share=campaign.regression_share, salt=campaign.key)


def plan(
    jobs: Sequence[int],
    pairing: Pairing,
    *,
    regression_share: float = 0.0,
    salt: str,
    prompts: Sequence[int] | None = None,
) -> Plan:
    """Draw the tasks over the answers of these generation jobs.

    prompts  only these, for an estimate; None for all
    """
    left_out: Counter[str] = Counter()
    ordinary: dict[str, _Prompt] = {}
    regression: dict[str, _Prompt] = {}
    n_asked = 0
    tries_new = regression_share > 0 and bool(pairing.new and pairing.old)
    for prompt_id, prompt_key, split, answers in _answers_by_prompt(jobs, pairing, left_out, prompts):
        n_asked += 1
        fresh = answers
        if tries_new:
            if split == Prompt.Split.HOLDOUT:
                found, dropped = pairs.new_against_old(answers, pairing, salt=salt)
                left_out += dropped
                if found:
                    regression[prompt_key] = _Prompt(prompt_id, [_slots(pair) for pair in found], len(found))
            if pairing.pairs == "within":  # the old version is there to be compared with, not to be trained on
                fresh = [answer for answer in answers if answer.model != pairing.old]
        taken = set(regression[prompt_key].sets) if prompt_key in regression else set()
        sets = pairs.sets_of_prompt(fresh, pairing, salt=salt)
        left_out += sets.left_out
        standing = [slots for found_set in sets.sets if (slots := _slots(found_set)) not in taken]
        if standing:
            ordinary[prompt_key] = _Prompt(prompt_id, standing, sets.n_eligible)
    n_regression, n_ordinary = _shares(ordinary, regression, regression_share if tries_new else 0.0, pairing.max_tasks)
    tasks = [
        *_drawn(regression, REGRESSION, most=n_regression, salt=f"{salt}:{REGRESSION}"),
        *_drawn(ordinary, pairing.pairs, most=n_ordinary, salt=salt),
    ]
    return Plan(tasks=tasks, left_out=dict(+left_out), n_asked=n_asked)


def _shares(
    ordinary: Mapping[str, _Prompt], regression: Mapping[str, _Prompt], share: float, most: int | None
) -> tuple[int, int]:
    """(tasks of new against old, all other tasks): ``share`` of all, as far as there are pairs for it."""
    n_other, n_pairs = (sum(len(prompt.sets) for prompt in found.values()) for found in (ordinary, regression))
    if share >= 1:
        return min(n_pairs, most if most is not None else n_pairs), 0
    n_total = round(n_other / (1 - share))
    if most is not None:
        n_total = min(n_total, most)
    n_regression = min(n_pairs, round(share * n_total))
    return n_regression, min(n_other, (most if most is not None else n_other + n_regression) - n_regression)


def _drawn(found: Mapping[str, _Prompt], why: str, *, most: int, salt: str) -> Iterator[Planned]:
    drawn = pairs.draw({key: prompt.sets for key, prompt in found.items()}, most=most, salt=salt)
    sizes = {key: (len(prompt.sets), prompt.n_eligible) for key, prompt in found.items()}
    chance = pairs.chances(sizes, most=most)
    for key, slots in drawn:
        yield Planned(found[key].pk, slots, why, min(1.0, chance[key]))


def _slots(answers: Sequence[Answer]) -> tuple[Slot, ...]:
    return tuple(Slot(answer.key, answer.pk) for answer in answers)


def _answers_by_prompt(
    jobs: Sequence[int], pairing: Pairing, left_out: Counter[str], prompts: Sequence[int] | None
) -> Iterator[tuple[int, str, str, list[Answer]]]:
    """(prompt id, its key, its split, the answers that may be shown), prompt by prompt."""
    candidates = Candidate.objects.filter(arm__job__in=jobs)
    if prompts is not None:
        candidates = candidates.filter(prompt__in=prompts)
    names, flagged = names_of(jobs), left_out_candidates(jobs)
    rows = candidates.order_by("prompt_id", "key").values_list(
        "prompt_id", "prompt__key", "prompt__split", "pk", "key", "arm_id", "arm__model_version__key", "text",
        "finish_reason",
    )  # fmt: skip
    answers: list[Answer] = []
    current: tuple[int, str, str] | None = None
    for prompt_id, prompt_key, split, pk, key, arm, model, text, finish_reason in rows.iterator(chunk_size=2000):
        if current is not None and current[0] != prompt_id:
            yield *current, answers
            answers = []
        current = (prompt_id, prompt_key, split)
        reason = (
            "flagged"
            if pk in flagged
            else pairs.reason_to_leave_out(
                text, pairing.leave_out, own_names=names.get(model, ()), is_truncated=finish_reason == "length"
            )
        )
        if reason:
            left_out[reason] += 1
        else:
            answers.append(Answer(pk=pk, key=key, arm=arm, model=model, text=text))
    if current is not None:
        yield *current, answers


def names_of(jobs: Sequence[int]) -> dict[str, frozenset[str]]:
    """Model version key -> what its answers may call themselves."""
    versions = ModelVersion.objects.filter(arms__job__in=jobs).select_related("parent").distinct()
    return {version.key: own_names(version.slug, version.root.source) for version in versions}


def build_tasks(campaign: Campaign) -> None:
    """The building job: claim, insert in chunks, open. May be killed anywhere and run again: what stands is not inserted twice."""
    token = claim(campaign, seconds=LEASE_SECONDS)
    if token is None:
        return
    try:
        planned = plan_of(campaign)
        step = 0
        for chunk in chunks(planned.tasks, CHUNK):
            _insert(campaign, chunk)
            step += len(chunk)
            pulse = beat(campaign, token, seconds=LEASE_SECONDS, step=step, total_steps=len(planned.tasks))
            if pulse.cancel:
                cancelled(campaign, token, message=f"Stopped after {counted(step, 'task')}.")
                return
            if not pulse.alive:
                return
    except (OperationalError, InterfaceError):
        # The database was away or locked for long: nothing is wrong with the campaign. What stands is not inserted twice.
        logger.exception("Campaign %s goes back to the queue.", campaign.key)
        retry(campaign, token, what="The building")
        return
    except Exception as problem:
        # The worker's edge: the cause is stored with the row, and the log has the trace.
        fail(campaign, token, f"The tasks could not be built: {problem}")
        raise
    _open(campaign, token, planned)


def _open(campaign: Campaign, token: str, planned: Plan) -> None:
    with transaction.atomic():
        n_tasks = ComparisonTask.objects.filter(campaign=campaign).count()
        done = finish(
            campaign,
            token,
            n_tasks=n_tasks,
            step=n_tasks,
            total_steps=n_tasks,
            left_out=planned.left_out,
        )
        # Cancelled in its last moment it ends as cancelled, and nobody is asked to judge it.
        if done and campaign.status == JobStatus.SUCCEEDED:
            Campaign.objects.filter(pk=campaign.pk).update(stage=Campaign.Stage.OPEN)
            campaign.events.create(
                before=Campaign.Stage.BUILDING, after=Campaign.Stage.OPEN, note=counted(n_tasks, "task")
            )
            campaign.stage = Campaign.Stage.OPEN


def _insert(campaign: Campaign, chunk: Sequence[Planned]) -> None:
    """Insert those of a chunk that are not there yet, with their slots, in one transaction."""
    try:
        _insert_missing(campaign, chunk)
    except IntegrityError:  # another worker, whose lease we hold now, had just inserted some of them
        _insert_missing(campaign, chunk)


@transaction.atomic
def _insert_missing(campaign: Campaign, chunk: Sequence[Planned]) -> None:
    by_hash = {pairs.set_sha256(slot.key for slot in planned.slots): planned for planned in chunk}
    there = ComparisonTask.objects.filter(campaign=campaign, candidates_sha256__in=list(by_hash))
    for candidates_sha256 in there.values_list("candidates_sha256", flat=True):
        del by_hash[candidates_sha256]
    tasks = ComparisonTask.objects.bulk_create(
        ComparisonTask(
            campaign=campaign,
            prompt_id=planned.prompt_id,
            candidates_sha256=candidates_sha256,
            seats=campaign.overlap,
            position=pairs.position_of(campaign.key, candidates_sha256),
            chosen_why=planned.why,
            probability=planned.probability,
        )
        for candidates_sha256, planned in by_hash.items()
    )
    TaskCandidate.objects.bulk_create(
        TaskCandidate(task=task, candidate_id=slot.pk, slot=number)
        for task, planned in zip(tasks, by_hash.values(), strict=True)
        for number, slot in enumerate(planned.slots)
    )
