"""Which judgements made a model, and which models a judgement went into: read from the recorded membership, both ways.

People appear as pseudonyms only; nothing here follows ``Annotator.user``.
"""

from dataclasses import dataclass

from django.db.models import Count, Q, QuerySet

from annotation.models import Judgement
from generation.models import GenerationJob, JobArm, ModelVersion
from training.models import Evaluation, Snapshot, TrainingRun


@dataclass(frozen=True)
class Writer:
    """Who wrote the answers that were judged: one arm of one generation job."""

    arm: JobArm
    n_judgements: int

    @property
    def job(self) -> GenerationJob:
        return self.arm.job


@dataclass(frozen=True)
class Source:
    """How many of a snapshot's judgements came of one campaign, and from how many people."""

    name: str
    key: str
    n_judgements: int
    n_people: int


@dataclass(frozen=True)
class Step:
    """One training on the way to a version: the run, its data, and whose answers were judged."""

    version: ModelVersion
    run: TrainingRun | None
    snapshot: Snapshot | None
    n_judgements: int = 0
    n_train: int = 0
    n_held_out: int = 0
    n_people: int = 0
    sources: tuple[Source, ...] = ()
    writers: tuple[Writer, ...] = ()


@dataclass(frozen=True)
class Lineage:
    """A version's whole descent, newest first, down to the judgements."""

    version: ModelVersion
    steps: tuple[Step, ...]
    n_judgements: int
    evaluations: tuple[Evaluation, ...]


def runs_behind(version: ModelVersion) -> list[TrainingRun]:
    """The runs that made this version and its ancestors, newest first."""
    versions = [ancestor.pk for ancestor in version.lineage]
    rows = TrainingRun.objects.filter(produced__in=versions).select_related("snapshot", "produced", "base")
    by_version = {run.produced_id: run for run in rows}
    return [by_version[pk] for pk in versions if pk in by_version]


def judgements_behind(version: ModelVersion) -> QuerySet[Judgement]:
    """Every judgement that a version or one of its ancestors was trained on: the ``train`` side of their snapshots."""
    snapshots = [run.snapshot_id for run in runs_behind(version)]
    trained = Q(memberships__snapshot__in=snapshots, memberships__split="train")
    return Judgement.objects.filter(trained).distinct()


def lineage_of(version: ModelVersion) -> Lineage:
    """From a version down to the judgements: counts by snapshot, campaign and generation job."""
    runs = {run.produced_id: run for run in runs_behind(version)}
    steps = tuple(_step(ancestor, runs.get(ancestor.pk)) for ancestor in version.lineage)
    return Lineage(
        version=version,
        steps=steps,
        n_judgements=judgements_behind(version).count(),
        evaluations=tuple(version.evaluations.filter(status="succeeded").select_related("against").order_by("-id")),
    )


def _step(version: ModelVersion, run: TrainingRun | None) -> Step:
    if run is None:
        return Step(version, None, None)
    snapshot = run.snapshot
    members = snapshot.members.all()
    campaign, annotator = "judgement__assignment__task__campaign", "judgement__assignment__annotator"
    sources = members.values(f"{campaign}__name", f"{campaign}__key").annotate(
        n=Count("pk"), people=Count(annotator, distinct=True)
    )
    totals = members.aggregate(
        n=Count("pk"), train=Count("pk", filter=Q(split="train")), people=Count(annotator, distinct=True)
    )
    return Step(
        version=version,
        run=run,
        snapshot=snapshot,
        n_judgements=totals["n"],
        n_train=totals["train"],
        n_held_out=totals["n"] - totals["train"],
        n_people=totals["people"],
        sources=tuple(
            Source(row[f"{campaign}__name"], row[f"{campaign}__key"], row["n"], row["people"])
            for row in sources.order_by(f"{campaign}__key")
        ),
        writers=_writers(snapshot),
    )


def _writers(snapshot: Snapshot) -> tuple[Writer, ...]:
    arm = "judgement__ranks__candidate__arm"
    counts = {
        row[arm]: row["n"]
        for row in snapshot.members.values(arm).annotate(n=Count("judgement", distinct=True)).order_by(arm)
        if row[arm] is not None
    }
    arms = JobArm.objects.select_related("job", "model_version", "deployment").in_bulk(list(counts))
    return tuple(Writer(arms[pk], n) for pk, n in counts.items())


# --- from a judgement upwards -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Use:
    """One snapshot that holds a judgement, and the versions trained on it, descendants included."""

    snapshot: Snapshot
    split: str
    versions: tuple[ModelVersion, ...]


def uses_of(judgement: Judgement) -> tuple[Use, ...]:
    members = judgement.memberships.select_related("snapshot").order_by("snapshot__id")
    return tuple(Use(member.snapshot, member.split, trained_on(member.snapshot, member.split)) for member in members)


def trained_on(snapshot: Snapshot, split: str) -> tuple[ModelVersion, ...]:
    """Versions whose weights hold it. A held-out judgement has been measured on, never trained on."""
    if split != "train":
        return ()
    return _with_descendants([run.produced for run in snapshot.runs.select_related("produced") if run.produced])


def _with_descendants(versions: list[ModelVersion]) -> tuple[ModelVersion, ...]:
    found = {version.pk: version for version in versions}
    new = list(found)
    while new:
        children = ModelVersion.objects.filter(parent__in=new).exclude(pk__in=list(found))
        new = [child.pk for child in children]
        found |= {child.pk: child for child in children}
    return tuple(found[pk] for pk in sorted(found))


def versions_using(judgement: Judgement) -> tuple[ModelVersion, ...]:
    """Every version that learnt from this judgement, directly or through its parent."""
    found = {version.pk: version for use in uses_of(judgement) for version in use.versions}
    return tuple(found[pk] for pk in sorted(found))
