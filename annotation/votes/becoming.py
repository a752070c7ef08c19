"""What an import of votes becomes: a prompt set, an import job with outside models, a campaign. Laid out, shown, taken back.

Until it is shown, nobody sees it: the campaign is in stage building, and its prompts belong to a prompt import that has not
ended. None of these rows holds a lease, so nobody takes them for work that was left behind.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Max, Sum
from django.db.models.functions import Now

from annotation.guidelines import first_version
from annotation.models import (
    Annotator,
    Assignment,
    Campaign,
    ComparisonTask,
    Flag,
    GuidelinesVersion,
    Judgement,
    Place,
    RankedCandidate,
    Score,
    TaskCandidate,
    VoteImport,
)
from annotation.protocol import Criterion, Protocol
from annotation.votes.checking import Found
from annotation.votes.choices import Choices
from annotation.votes.judged import MAX_STRENGTH
from annotation.votes.making import Target
from core.errors import DomainError
from core.jobs import JobStatus
from generation.models import Candidate, GenerationJob, ModelReveal, ModelVersion, Prompt, PromptImport, PromptSet

CHUNK = 500


@dataclass(frozen=True)
class Made:
    prompt_set: PromptSet
    job: GenerationJob
    campaign: Campaign | None


# ---- laying out ------------------------------------------------------------------------------------------------------


def lay_out(job: VoteImport, choices: Choices, found: Found) -> Made:
    """Create what the rows will belong to. Raises DomainError where the name has been taken meanwhile."""
    try:
        with transaction.atomic():
            prompt_set = PromptSet.objects.create(
                project=job.project,
                name=job.name,
                source=job.source,
                licence=choices.licence,
                is_holdout_only=choices.is_holdout_only,
            )
    except IntegrityError:
        raise DomainError(f"There is a prompt set “{job.name}” already.", how="Choose another name.") from None
    PromptImport.objects.create(
        set=prompt_set, status=JobStatus.RUNNING, filename=job.filename, stored_name=f"of-{job.stored_name}",
        file_format="votes", unit="rows", message="Part of an import of votes.", requested_by=job.requested_by,
    )  # fmt: skip
    answers = GenerationJob.objects.create(
        project=job.project, kind=GenerationJob.Kind.IMPORT, status=JobStatus.RUNNING, prompt_set=prompt_set, n_answers=0,
        unit="answers", message="Part of an import of votes.", requested_by=job.requested_by,
    )  # fmt: skip
    campaigns = _campaigns(job, choices, found)
    for campaign in campaigns:
        campaign.jobs.add(answers)
        campaign.events.create(before=Campaign.Stage.DRAFT, after=Campaign.Stage.BUILDING, by=job.requested_by)
    return Made(prompt_set, answers, campaigns[0] if campaigns else None)


def _campaigns(job: VoteImport, choices: Choices, found: Found) -> list[Campaign]:
    """One for the votes; one for each that the file describes; none where nothing was judged, and nothing is to be."""
    if not found.n_votes and not (choices.open_for and found.has_pairs):
        return []
    if found.strength_levels > MAX_STRENGTH and choices.open_for:
        raise DomainError(
            f"The margins need a scale of {found.strength_levels} levels, which nobody here can be asked by.",
            how="Import them without further judgements.",
        )
    shared: dict[str, Any] = {
        "project": job.project, "status": JobStatus.RUNNING, "stage": Campaign.Stage.BUILDING, "unit": "tasks",
        "pairing": {"pairs": "across", "n_answers": max(2, found.most_answers)}, "message": "Votes are being imported.",
        "created_by": job.requested_by,
    }  # fmt: skip
    if not found.campaigns:
        campaign = Campaign.objects.create(
            **shared,
            name=job.name,
            kind=Campaign.Kind.PAIR if found.most_answers == 2 else Campaign.Kind.RANK,
            question=choices.question,
            guidelines=choices.guidelines,
            allow_tie=not found.verdicts or "tie" in found.verdicts,
            allow_both_good="both_good" in found.verdicts,
            allow_both_bad="all_bad" in found.verdicts,
            strength_levels=found.strength_levels,
            protocol=protocol_of(found).stored(),
        )
        first_version(campaign, by=job.requested_by)
        return [campaign]
    return [_described(dict(settings), shared, job) for settings in found.campaigns]


def _described(settings: dict[str, Any], shared: Mapping[str, Any], job: VoteImport) -> Campaign:
    """A campaign as the full format describes it, with the versions of its guidelines."""
    texts = {int(number): text for number, text in settings.pop("guidelines").items()}
    settings.pop("id")
    latest = max(texts, default=1)
    settings["name"] = settings["name"] or job.name
    campaign = Campaign.objects.create(
        **shared, **settings, guidelines=texts.get(latest, ""), guidelines_version=latest
    )  # fmt: skip
    GuidelinesVersion.objects.bulk_create(
        GuidelinesVersion(campaign=campaign, number=number, text=text, by=job.requested_by)
        for number, text in sorted((texts or {1: ""}).items())
    )
    return campaign


def protocol_of(found: Found) -> Protocol:
    """What was asked, as far as the votes show it; nothing of it is required of people who judge on."""
    criteria = tuple(
        Criterion(
            name=name,
            label=name.replace("_", " ").capitalize(),
            kind="compare" if scored.is_comparison else "rate",
            levels=max(1, abs(scored.low), abs(scored.high)) if scored.is_comparison else max(2, scored.high),
            is_required=False,
        )
        for name, scored in sorted(found.criteria.items())
    )
    return Protocol(criteria=criteria, write_in="optional" if found.has_write_ins else "off")


def target_of(job: VoteImport, choices: Choices) -> Target:
    assert job.job is not None and job.prompt_set is not None
    campaigns = list(Campaign.objects.filter(jobs=job.job).order_by("pk"))
    return Target(
        project_id=job.project_id,
        prompts=job.prompt_set.imports.get(),
        job=job.job,
        campaigns=campaigns,
        source=job.source,
        open_for=choices.open_for,
    )


# ---- showing ---------------------------------------------------------------------------------------------------------


def show(job: VoteImport, choices: Choices) -> Callable[[], None]:
    """Count what stands, and return what makes all of it visible: a few rows, to be written in one transaction."""
    target = target_of(job, choices)
    counts = dict(job.counts)
    for campaign in target.campaigns:
        _write_places(campaign)
    tasks = {
        campaign.pk: ComparisonTask.objects.filter(campaign=campaign).aggregate(
            n=Count("pk"), wanted=Sum("seats"), most=Max("seats")
        )
        for campaign in target.campaigns
    }
    counts["people"] = Place.objects.filter(campaign__in=target.campaigns).values("annotator").distinct().count()
    counts["models"] = target.job.arms.values("model_version").distinct().count()
    # Judgements in all: tasks of an import differ in how many they take.
    counts["wanted"] = sum(each["wanted"] or 0 for each in tasks.values())
    stage = Campaign.Stage.OPEN if choices.open_for else Campaign.Stage.CLOSED

    def show_all() -> None:
        ended = {"status": JobStatus.SUCCEEDED, "finished_at": Now(), "message": ""}
        n_prompts, n_answers = counts.get("prompts", 0), counts.get("answers", 0)
        PromptImport.objects.filter(pk=target.prompts.pk).update(
            **ended, n_rows=job.n_rows, n_added=n_prompts, n_bad=job.n_bad
        )
        PromptSet.objects.filter(pk=target.prompts.set_id).update(n_prompts=n_prompts)
        GenerationJob.objects.filter(pk=target.job.pk).update(**ended, step=n_answers, total_steps=n_answers)
        for campaign in target.campaigns:
            n, most = tasks[campaign.pk]["n"], tasks[campaign.pk]["most"]
            Campaign.objects.filter(pk=campaign.pk).update(
                **ended,
                stage=stage,
                n_tasks=n,
                step=n,
                total_steps=n,
                overlap=max(1, campaign.overlap, most or 1),
                closed_at=None if choices.open_for else Now(),
            )
            note = f"{counts.get('votes', 0):,} votes imported"
            campaign.events.create(before=Campaign.Stage.BUILDING, after=stage, note=note, by=job.requested_by)
        VoteImport.objects.filter(pk=job.pk).update(counts=counts)
        if job.requested_by is not None:
            # The file that this person brought names the models: what they judge of its answers is not blind.
            ModelReveal.objects.get_or_create(user=job.requested_by, job=target.job, defaults={"page": "vote import"})

    return show_all


def _write_places(campaign: Campaign) -> None:
    """Where each person stands in the campaign: a row each, of what was stored."""
    Place.objects.filter(campaign=campaign).delete()
    work = Assignment.objects.filter(task__campaign=campaign, purpose=Assignment.Purpose.WORK)
    rows = work.values_list("annotator").annotate(n=Count("pk")).order_by()
    Place.objects.bulk_create(
        (
            Place(
                annotator_id=annotator, campaign=campaign, n_submitted=n, guidelines_version=campaign.guidelines_version
            )
            for annotator, n in rows.iterator()
        ),
        batch_size=CHUNK,
    )


# ---- taking back -----------------------------------------------------------------------------------------------------


def take_back(job: VoteImport) -> None:
    """Delete all that an unfinished import has stored, in small transactions. Does nothing for one that has ended well."""
    job.refresh_from_db()
    if job.status == JobStatus.SUCCEEDED or not (job.campaign or job.job or job.prompt_set):
        return
    answers, prompt_set = job.job, job.prompt_set
    campaigns = list(Campaign.objects.filter(jobs=answers)) if answers is not None else []
    for campaign in campaigns:
        _delete_tasks(campaign)
    if answers is not None:
        while ids := list(Candidate.objects.filter(arm__job=answers).values_list("pk", flat=True)[:CHUNK]):
            _delete(Candidate, pk__in=ids)
    if prompt_set is not None:
        while ids := list(Prompt.objects.filter(set=prompt_set).values_list("pk", flat=True)[:CHUNK]):
            _delete(Prompt, pk__in=ids)
    with transaction.atomic():
        VoteImport.objects.filter(pk=job.pk).update(campaign=None, job=None, prompt_set=None)
        for campaign in campaigns:
            campaign.delete()
        if answers is not None:
            made = ModelVersion.objects.filter(
                project=job.project_id, kind=ModelVersion.Kind.OUTSIDE, facts__imported_by=answers.key
            )
            fresh = list(made.values_list("pk", flat=True))
            answers.delete()
            ModelVersion.objects.filter(pk__in=fresh, arms__isnull=True).delete()
        if prompt_set is not None:
            prompt_set.delete()
        strangers = Annotator.objects.filter(project=job.project_id, kind=Annotator.Kind.OUTSIDE, source=job.source)
        strangers.filter(assignments__isnull=True, created_at__gte=job.created_at).delete()
    job.refresh_from_db()


def _delete_tasks(campaign: Campaign) -> None:
    while ids := list(ComparisonTask.objects.filter(campaign=campaign).values_list("pk", flat=True)[:CHUNK]):
        with transaction.atomic():
            turns = list(Assignment.objects.filter(task__in=ids).values_list("pk", flat=True))
            for start in range(0, len(turns), CHUNK):
                part = turns[start : start + CHUNK]
                judgements = list(Judgement.objects.filter(assignment__in=part).values_list("pk", flat=True))
                _delete(RankedCandidate, judgement__in=judgements)
                _delete(Score, judgement__in=judgements)
                Assignment.objects.filter(pk__in=part).update(current=None)
                _delete(Judgement, pk__in=judgements)
                _delete(Assignment, pk__in=part)
            _delete(Flag, task__in=ids)
            _delete(TaskCandidate, task__in=ids)
            _delete(ComparisonTask, pk__in=ids)


def _delete(model: type, **which: object) -> None:
    """One statement: the rows below are known, so Django's collector need not look for more."""
    rows = model._base_manager.filter(**which)  # type: ignore[attr-defined]
    rows._raw_delete(rows.db)
