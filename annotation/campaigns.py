"""Campaigns: started, changed, paused, closed, opened again. ``annotation.building`` makes their tasks."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Count, F
from django.db.models.functions import Now
from django.utils import timezone

from accounts.audit import record
from accounts.models import Project, User
from annotation import prepared
from annotation.campaign_options import FIXED, MAX_OVERLAP, MEANING, checked, read_pairing
from annotation.guidelines import first_version, publish
from annotation.models import Campaign, ComparisonTask, Judgement, Place, VoteImport
from annotation.overlap import raise_overlap
from annotation.people import n_submitted
from annotation.regression import with_versions
from core.errors import require
from core.jobs import JobStatus, enqueue_on_commit, request_cancel, requeue
from core.names import plain
from core.transitions import IllegalMove
from generation.models import GenerationJob


@transaction.atomic
def start_campaign(
    *,
    project: Project,
    name: str,
    jobs: Sequence[GenerationJob],
    pairing: Mapping[str, Any],
    overlap: int = 1,
    kind: str = Campaign.Kind.PAIR,
    options: Mapping[str, Any] | None = None,
    by: User | None,
) -> Campaign:
    """Record a campaign and queue the building of its tasks.

    pairing  as ``annotation.pairs.Pairing``
    options  see ``annotation.campaign_options``; ``protocol`` as ``annotation.protocol.Protocol``
    Raises DomainError for what cannot work.
    """
    columns = checked({"protocol": {}, **(options or {})}, project=project, kind=kind)
    name = plain(name, "campaign")
    is_live = bool(columns.get("is_live"))
    _check_jobs(project, jobs, is_live=is_live)
    require(1 <= overlap <= MAX_OVERLAP, f"The overlap is a number from 1 to {MAX_OVERLAP}.")
    read = read_pairing(pairing)
    require(
        read.n_answers == 2 or kind != Campaign.Kind.PAIR, "A pair is two answers.", how="Rank or rate to see more."
    )
    if columns.get("regression_share"):
        read = with_versions(read, jobs)
    campaign = Campaign.objects.create(
        project=project,
        name=name,
        kind=kind,
        stage=Campaign.Stage.BUILDING,
        pairing=read.stored(),
        overlap=overlap,
        unit="tasks",
        created_by=by,
        **columns,
    )
    campaign.jobs.set(jobs)
    first_version(campaign, by=by)
    campaign.events.create(before=Campaign.Stage.DRAFT, after=Campaign.Stage.BUILDING, by=by)
    detail = {"overlap": overlap, "kind": kind, **read.stored()}
    record("campaign.start", user=by, project=project, subject=campaign, detail=detail)
    enqueue_on_commit(campaign)
    return campaign


def _check_jobs(project: Project, jobs: Sequence[GenerationJob], *, is_live: bool) -> None:
    require(jobs, "Choose at least one generation job whose answers are judged.")
    require(
        all(job.project_id == project.pk for job in jobs),
        "The answers must come from this project's own generation jobs.",
    )
    # The job of a live campaign is a pattern: it names the models that will answer, and is never run itself.
    require(
        is_live or all(job.is_terminal for job in jobs),
        "The answers are still being written.",
        how="Wait for the generation job.",
    )


@transaction.atomic
def change_campaign(
    campaign: Campaign, *, options: Mapping[str, Any], by: User | None, guidelines_note: str = ""
) -> list[str]:
    """Change what may change after the start. Returns the names of the options that did. ``overlap`` can be raised.

    What changes the meaning (``campaign_options.MEANING``) makes a new protocol version once there is a judgement; other
    guidelines make a new version of them, with ``guidelines_note``. Raises DomainError for what is fixed at the start.
    """
    locked = Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
    require(locked.stage != Campaign.Stage.CLOSED, "This campaign is closed.", how="Open it again first.")
    given = dict(options)
    overlap = given.pop("overlap", locked.overlap)
    name = plain(given.pop("name"), "campaign") if "name" in given else locked.name
    fixed = sorted(set(given) & set(FIXED))
    require(
        not fixed, f"This is fixed when a campaign starts: {', '.join(fixed)}.", how="Clone it, and change the clone."
    )
    columns = {**checked(given, project=locked.project, kind=locked.kind), "name": name}
    guidelines = columns.pop("guidelines", locked.guidelines)
    changed = sorted(column for column, value in columns.items() if getattr(locked, column) != value)
    values: dict[str, Any] = {column: columns[column] for column in changed}
    if set(changed) & set(MEANING) and has_judgements(locked):
        values["protocol_version"] = locked.protocol_version + 1
    if values:
        Campaign.objects.filter(pk=locked.pk).update(**values)
        detail = {"changed": changed, "protocol_version": values.get("protocol_version", locked.protocol_version)}
        record("campaign.change", user=by, project=locked.project, subject=locked, detail=detail)
    if guidelines.strip() != locked.guidelines.replace("\r\n", "\n").strip():
        publish(locked, guidelines, guidelines_note, by)
        changed.append("guidelines")
    if raise_overlap(locked, overlap, by=by):
        changed.append("overlap")
    campaign.refresh_from_db()
    return changed


def has_judgements(campaign: Campaign) -> bool:
    """Whether anybody has ever judged here: an undone judgement was made under the protocol of its time, too."""
    return Judgement.objects.filter(assignment__task__campaign=campaign).exists()


@transaction.atomic
def cancel_building(campaign: Campaign, *, by: User | None) -> None:
    """Ask for a stop of the making of its tasks; where an import brings them, ``cancel_import`` is meant instead."""
    request_cancel(campaign, by=by)
    record("campaign.cancel", user=by, project=campaign.project, subject=campaign)


@transaction.atomic
def build_again(campaign: Campaign, *, by: User | None) -> None:
    """Queue a building that failed or was cancelled once more. Raises IllegalMove if it is neither."""
    require(campaign.stage == Campaign.Stage.BUILDING, "The tasks of this campaign are not being built any more.")
    requeue(campaign, by=by)
    record("campaign.retry", user=by, project=campaign.project, subject=campaign)


# ---- stages ----------------------------------------------------------------------------------------------------------


@transaction.atomic
def _set_stage(
    campaign: Campaign, to: str, *, by: User | None, note: str = "", only_from: str = "", **changes: Any
) -> None:
    """Compare-and-set of ``stage`` with its event; of two callers exactly one wins. Raises IllegalMove for the other."""
    before = campaign.stage
    sources = [stage for stage, targets in Campaign.STAGE_NEXT.items() if to in targets and only_from in ("", stage)]
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
        how="Open a closed one again instead.",
    )
    _set_stage(campaign, Campaign.Stage.OPEN, by=by, only_from=Campaign.Stage.PAUSED)


def close_campaign(campaign: Campaign, *, by: User | None, note: str = "") -> None:
    """End a campaign: no task is given out, no judgement taken or undone any more, until it is opened again."""
    require(
        campaign.stage != Campaign.Stage.BUILDING or campaign.is_terminal,
        "The tasks of this campaign are still being built.",
        how="Cancel the building first, or wait for it.",
    )
    _set_stage(campaign, Campaign.Stage.CLOSED, by=by, note=note, closed_at=Now())


def reopen_campaign(campaign: Campaign, *, by: User | None) -> None:
    """Judge on. A closing date that has passed is taken away, or the campaign would close again at once."""
    require(campaign.stage == Campaign.Stage.CLOSED, "Only a closed campaign can be opened again.")
    require(
        campaign.status == JobStatus.SUCCEEDED,
        "The tasks of this campaign were never built.",
        how="Clone it instead.",
    )
    is_past = campaign.closes_at is not None and campaign.closes_at <= timezone.now()
    _set_stage(
        campaign,
        Campaign.Stage.OPEN,
        by=by,
        note="opened again",
        only_from=Campaign.Stage.CLOSED,
        closed_at=None,
        closes_at=None if is_past else campaign.closes_at,
    )


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
    counted = [counts.get("wanted") for (counts,) in prepared.imported.all(campaign=campaign.pk)]
    n_wanted = (counted[-1] if counted else 0) or campaign.n_tasks * campaign.overlap  # as ``n_wanted_in``
    return Progress(n_done=n_submitted(campaign), n_wanted=n_wanted - campaign.n_seats_retired)


def progress_at(place: Place) -> Progress:
    """The same by what ``prepared.desk`` has read with the place."""
    if place.has_import:  # type: ignore[attr-defined]
        return progress_of(place.campaign)
    campaign = place.campaign
    n_wanted = campaign.n_tasks * campaign.overlap - campaign.n_seats_retired
    return Progress(n_done=place.n_done or 0, n_wanted=n_wanted)  # type: ignore[attr-defined]


def n_wanted_in(campaigns: Iterable[Campaign]) -> dict[int, int]:
    """Judgements that each campaign takes in all, but for what retired tasks lacked. Tasks of imported votes differ in their
    seats; their import has counted them."""
    found = list(campaigns)
    imports = VoteImport.objects.filter(campaign__in=found, status=JobStatus.SUCCEEDED)
    imported = dict(imports.values_list("campaign", "counts__wanted"))
    seats = {each.pk: imported.get(each.pk) or each.n_tasks * each.overlap for each in found}
    return {each.pk: seats[each.pk] - each.n_seats_retired for each in found}


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
