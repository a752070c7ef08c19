"""Which judgements go into a dataset: the selection, read in one statement, and why every other judgement stays out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Exists, F, OuterRef, QuerySet
from pydantic import BaseModel, ConfigDict, ValidationError

from accounts.models import Project
from annotation.building import REGRESSION
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Judgement
from core.errors import DomainError
from generation.models import Prompt
from training.formats.preference import PairPolicy, Split


class Selection(BaseModel):
    """Which judgements go in, of the campaigns chosen. Frozen into the snapshot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    with_simulated: bool = False
    with_unblinded: bool = False
    with_ai: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    judgement_id: int
    split: Split
    content_sha256: str


@dataclass
class Reading:
    """What one consistent read found: the members, and why the others are none."""

    members: list[Member] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    annotators: set[int] = field(default_factory=set)
    n_imported: int = 0


def read_selection(given: Mapping[str, Any]) -> Selection:
    """Raises DomainError for an unknown setting."""
    try:
        return Selection.model_validate(dict(given))
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DomainError(f"This selection of judgements cannot be read: {where}: {first['msg']}.") from None


def read_policy(given: Mapping[str, Any]) -> PairPolicy:
    try:
        return PairPolicy.parse(given)
    except ValueError as problem:
        raise DomainError(str(problem)) from None


def freezable_campaigns(project: Project) -> QuerySet[Campaign]:
    """Campaigns that have been opened for judging, newest first."""
    stages = [Campaign.Stage.OPEN, Campaign.Stage.PAUSED, Campaign.Stage.CLOSED]
    return project.campaigns.filter(stage__in=stages).order_by("-id")


def read_judgements(project: Project, campaigns: Sequence[Campaign], selection: Selection) -> Reading:
    """The current judgement of every assignment, sorted into members and the rest. One statement, so one moment."""
    held_out = Prompt.objects.filter(set__project=project, split=Prompt.Split.HOLDOUT)
    prompt = "assignment__task__prompt"
    rows = (
        Judgement.objects.filter(assignment__task__campaign__in=list(campaigns), assignment__current=F("pk"))
        .annotate(
            group_is_held_out=Exists(held_out.filter(group_sha256=OuterRef(f"{prompt}__group_sha256"))),
            prompt_is_held_out=Exists(held_out.filter(content_sha256=OuterRef(f"{prompt}__content_sha256"))),
        )
        .values_list(
            "pk",
            "verdict",
            "source",
            "is_unblinded",
            "assignment__status",
            "assignment__purpose",
            "assignment__annotator_id",
            "assignment__annotator__kind",
            "assignment__task__status",
            "assignment__task__chosen_why",
            f"{prompt}__content_sha256",
            "group_is_held_out",
            "prompt_is_held_out",
        )
    )
    reading = Reading()
    tests: set[str] = set()
    for pk, verdict, source, unblinded, status, purpose, annotator, kind, task, chosen, content, *held in rows.iterator(
        chunk_size=2000
    ):
        why = _why_not(selection, verdict, source, unblinded, status, purpose, kind, task, chosen)
        if why:
            reading.left_out[why] += 1
            continue
        reading.annotators.add(annotator)
        reading.n_imported += source == Judgement.Source.IMPORT
        reading.members.append(Member(pk, "train", content))
        if any(held):
            tests.add(content)
    # Holdout wins: a prompt that is held out anywhere in the project is never trained on, whichever set it came from.
    reading.members = [
        Member(m.judgement_id, "test" if m.content_sha256 in tests else "train", m.content_sha256)
        for m in reading.members
    ]
    return reading


def _why_not(
    selection: Selection,
    verdict: str,
    source: str,
    is_unblinded: bool,
    status: str,
    purpose: str,
    kind: str,
    task: str,
    chosen_why: str,
) -> str:
    """The first reason why a judgement is no member; empty where it is one."""
    verdicts, sources = Judgement.Verdict, Judgement.Source
    if purpose != Assignment.Purpose.WORK:
        return "other_purpose"
    if verdict == verdicts.WITHDRAWN or (verdict != verdicts.VOIDED and status != Assignment.Status.SUBMITTED):
        return "withdrawn"
    if verdict == verdicts.VOIDED:
        return "voided"
    if task == ComparisonTask.Status.RETIRED:
        return "retired"
    if chosen_why == REGRESSION:
        return "regression"
    if not selection.with_simulated and (source == sources.SIMULATED or kind == Annotator.Kind.SIMULATED):
        return "simulated"
    if not selection.with_ai and (source == sources.AI or kind == Annotator.Kind.AI):
        return "ai"
    if not selection.with_unblinded and is_unblinded:
        return "unblinded"
    return ""
