"""Which judgements go into a dataset: the selection, read in one statement, and why every other judgement stays out."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from itertools import groupby
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import (
    BooleanField,
    Count,
    Exists,
    ExpressionWrapper,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    Value,
)
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from accounts.models import Project
from annotation.building import REGRESSION
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Flag, Judgement, RankedCandidate
from core.errors import DomainError, require
from generation.deploy import live_deployment
from generation.models import Prompt
from training.formats.ballots import Split

STANDING_FLAGS = (Flag.Status.OPEN, Flag.Status.UPHELD)
PROMPT = "task__prompt"


class Selection(BaseModel):
    """Which judgements go in, of the campaigns chosen. Frozen into the snapshot; what is empty chooses nothing and leaves nothing out.

    The descriptions are the page docs/reference/recipes.md and the schema of the API.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    with_simulated: bool = Field(False, description="judgements of simulated people go in, too")
    with_unblinded: bool = Field(
        False, description="judgements by people who could have seen which model wrote an answer go in, too"
    )
    with_ai: bool = Field(False, description="judgements by a machine go in, too")
    with_adjudicated: bool = Field(
        False, description="verdicts of an adjudicator go in, and stand over the votes on the same task"
    )
    only_current_policy: bool = Field(
        False,
        description="only answers of the version that is live at the freeze, whose key is recorded in `models`; "
        "where models are given, those count instead",
    )
    rounds: tuple[int, ...] = Field((), description="only judgements of campaigns of these rounds, by their numbers")
    tags: tuple[str, ...] = Field((), description="only judgements of prompts with at least one of these tags")
    since: date | None = Field(None, description="only judgements of this day (UTC) and later ones")
    until: date | None = Field(None, description="only judgements of this day (UTC) and earlier ones")
    models: tuple[str, ...] = Field(
        (),
        description="only answers of these model versions, by their keys; others are taken out of a ranking, and a judgement with "
        "fewer than two answers left stays out",
    )
    not_models: tuple[str, ...] = Field((), description="no answers of these model versions, by their keys")
    annotators: tuple[str, ...] = Field((), description="only judgements by these people, by their pseudonyms")
    not_annotators: tuple[str, ...] = Field((), description="no judgements by these people, by their pseudonyms")
    without_flags: tuple[Flag.Kind, ...] = Field(
        (),
        description="tasks so flagged stay out, and single answers so flagged are taken out of a ranking, while the flag is open or upheld",
    )
    max_per_annotator: int | None = Field(
        None, ge=1, description="so many judgements of one person at most: those whose prompts have the lowest hashes"
    )

    def stored(self) -> dict[str, Any]:
        """Plain values; of the further settings only those that choose something."""
        always = ("with_simulated", "with_unblinded", "with_ai")
        plain = self.model_dump(mode="json")
        return {name: value for name, value in plain.items() if name in always or value not in (False, None, [])}

    @property
    def by_model(self) -> bool:
        return bool(self.models or self.not_models)


class Member(NamedTuple):
    judgement_id: int
    split: Split
    content_sha256: str


@dataclass
class Reading:
    """What one consistent read found besides the members; complete when the last of them has been taken."""

    left_out: Counter[str] = field(default_factory=Counter)
    annotators: Counter[int] = field(default_factory=Counter)
    n_members: int = 0
    n_imported: int = 0


def read_selection(given: Mapping[str, Any]) -> Selection:
    """Raises DomainError for an unknown setting."""
    try:
        selection = Selection.model_validate({name: value for name, value in given.items() if name != "campaigns"})
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DomainError(f"This selection of judgements cannot be read: {where}: {first['msg']}.") from None
    if selection.since and selection.until and selection.since > selection.until:
        raise DomainError("The first day is after the last.", how="Change one of the two dates.")
    return selection


def settled(project: Project, selection: Selection) -> Selection:
    """The selection with "the current policy" as the version that is live now. Raises DomainError where none is."""
    if not selection.only_current_policy or selection.models:
        return selection
    live = live_deployment(project)
    if live is None:
        raise DomainError("No policy is live in this project.", how="Choose the models by name instead.")
    return selection.model_copy(update={"models": (live.model_version.key,)})


def check_named(project: Project, selection: Selection) -> None:
    """Raises DomainError for a model or a person that the project does not have: left in silence it would choose nothing."""
    models, people = {*selection.models, *selection.not_models}, {*selection.annotators, *selection.not_annotators}
    models -= set(project.model_versions.filter(key__in=models).values_list("key", flat=True)) if models else set()
    people -= (
        set(project.annotators.filter(pseudonym__in=people).values_list("pseudonym", flat=True)) if people else set()
    )
    for what, unknown in (("model", models), ("annotator", people)):
        require(not unknown, f"There is no {what} “{min(unknown)[:60]}” in this project." if unknown else "")


# Rounds live above this layer: they say here, when their app is loaded, which campaigns belong to which.
RoundSource = Callable[[Project], Mapping[int, set[str]]]
_round_sources: list[RoundSource] = []


def add_round_source(source: RoundSource) -> None:
    """Let the layer above tell the campaigns (keys) of each round. Called from its ``AppConfig.ready``."""
    if source not in _round_sources:
        _round_sources.append(source)


def rounds_of(project: Project) -> dict[int, set[str]]:
    return {number: keys for source in _round_sources for number, keys in source(project).items()}


def freezable_campaigns(project: Project) -> QuerySet[Campaign]:
    """Campaigns that have been opened for judging, newest first."""
    stages = [Campaign.Stage.OPEN, Campaign.Stage.PAUSED, Campaign.Stage.CLOSED]
    return project.campaigns.filter(stage__in=stages).order_by("-id")


def in_rounds(project: Project, campaigns: Sequence[Campaign], selection: Selection) -> list[Campaign]:
    """Those of the campaigns that belong to the rounds chosen; all where none is chosen."""
    if not selection.rounds:
        return list(campaigns)
    known = rounds_of(project)
    keys = {key for number in selection.rounds for key in known.get(number, ())}
    return [campaign for campaign in campaigns if campaign.key in keys]


# --- reading ----------------------------------------------------------------------------------------------------------


class _Seen(NamedTuple):
    """One current judgement with all that decides on it, in the order of the statement's columns."""

    pk: int
    verdict: str
    source: str
    is_unblinded: bool
    created_at: datetime  # None where no day is chosen
    status: str
    purpose: str
    annotator_id: int
    kind: str
    pseudonym: str
    task: str
    chosen_why: str
    content: str
    tags: list[str]  # None where no tag is chosen
    group_is_held_out: bool
    prompt_is_held_out: bool
    is_flagged: bool
    n_answers: int  # left of those judged
    n_ranked: int


def _columns(selection: Selection) -> list[Any]:
    """Those of ``_Seen``; times and tags, which cost more to read than all the others, only where they decide."""
    return [
        "current_id",
        "current__verdict",
        "current__source",
        "current__is_unblinded",
        "current__created_at" if selection.since or selection.until else Value(None, TextField()),
        "status",
        "purpose",
        "annotator_id",
        "annotator__kind",
        "annotator__pseudonym",
        "task__status",
        "task__chosen_why",
        f"{PROMPT}__content_sha256",
        f"{PROMPT}__tags" if selection.tags else Value(None, TextField()),
        "group_is_held_out",
        "prompt_is_held_out",
        "is_flagged",
        "n_answers",
        "n_ranked",
    ]


def read_members(
    project: Project,
    campaigns: Sequence[Campaign],
    selection: Selection,
    reading: Reading,
    *,
    below: str = "",
) -> Iterator[Member]:
    """The current judgement of every assignment that the selection lets in, by the hash of its prompt; ``reading`` is added to.

    One statement, so one moment. ``below``: only prompts whose hash is less, for a sample.
    """
    rows = _statement(project, campaigns, selection)
    if below:
        rows = rows.filter(**{f"{PROMPT}__content_sha256__lt": below})
    return _members(rows, selection, reading, _erased(project))


def _erased(project: Project) -> set[str]:
    """Hashes of prompts that were erased in the project, with or without their answers: nothing is left to learn from."""
    return set(project.erasures.filter(what__in=["prompt", "exchange"]).values_list("prompt_sha256", flat=True))


def _members(rows: QuerySet[Assignment], selection: Selection, reading: Reading, erased: Set[str]) -> Iterator[Member]:
    found = (_Seen(*row) for row in rows.values_list(*_columns(selection)).iterator(chunk_size=2000))
    for content, seen in groupby(found, key=lambda one: one.content):
        members, is_test = [], False
        for one in seen:
            if (
                why := ("erased" if content in erased else "")
                or _why_not(selection, one)
                or _over_the_cap(selection, one, reading)
            ):
                reading.left_out[why] += 1
                continue
            reading.annotators[one.annotator_id] += 1
            reading.n_imported += one.source == Judgement.Source.IMPORT
            # Holdout wins: a prompt that is held out anywhere in the project is never trained on, whichever set it came from.
            is_test = is_test or one.group_is_held_out or one.prompt_is_held_out
            members.append(one.pk)
        reading.n_members += len(members)
        for pk in members:
            yield Member(pk, "test" if is_test else "train", content)


def has_members(project: Project, campaigns: Sequence[Campaign], selection: Selection, reading: Reading) -> bool:
    """Whether the selection lets in any judgement at all; why the others stay out is told where it is none."""
    # PostgreSQL's cursor outside of a transaction reads everything before the first row; SQLite's transaction lets nobody else write.
    with transaction.atomic() if connection.vendor == "postgresql" else nullcontext():
        rows = _statement(project, campaigns, selection).order_by()
        return next(_members(rows, selection, reading, _erased(project)), None) is not None


def _statement(project: Project, campaigns: Sequence[Campaign], selection: Selection) -> QuerySet[Assignment]:
    """From the assignment to its current judgement: PostgreSQL takes the way back for a second condition, and expects one row."""
    flags = Flag.objects.filter(kind__in=selection.without_flags, status__in=STANDING_FLAGS)
    task_flags = flags.filter(task=OuterRef("task"), candidate=None)
    is_filtered = bool(selection.by_model or selection.without_flags)
    return (
        Assignment.objects.filter(task__campaign__in=list(campaigns), current__isnull=False)
        .annotate(
            group_is_held_out=_is_held_out(project, "group_sha256"),
            prompt_is_held_out=_is_held_out(project, "content_sha256"),
            is_flagged=Exists(task_flags) if selection.without_flags else Value(False),
            n_answers=_n_answers(selection, flags) if is_filtered else Value(2),
            n_ranked=_n_ranked(RankedCandidate.objects.filter(judgement=OuterRef("current")))
            if is_filtered
            else Value(2),
        )
        .order_by(f"{PROMPT}__content_sha256", "current__key")
    )


def _is_held_out(project: Project, column: str) -> Combinable:
    """Whether any prompt of the project that has the same hash in ``column`` is held out."""
    held_out = Prompt.objects.filter(set__project=project, split=Prompt.Split.HOLDOUT)
    if connection.vendor == "sqlite":  # makes a list once, and else looks again for each row
        return ExpressionWrapper(Q(**{f"{PROMPT}__{column}__in": held_out.values(column)}), BooleanField())
    return Exists(held_out.filter(**{column: OuterRef(f"{PROMPT}__{column}")}))


def _n_answers(selection: Selection, flags: QuerySet[Flag]) -> Coalesce:
    """How many answers of a judgement are left by the models chosen and without such flags."""
    left = RankedCandidate.objects.filter(judgement=OuterRef("current"))
    if selection.models:
        left = left.filter(candidate__arm__model_version__key__in=selection.models)
    if selection.not_models:
        left = left.exclude(candidate__arm__model_version__key__in=selection.not_models)
    if selection.without_flags:
        left = left.exclude(Exists(flags.filter(candidate=OuterRef("candidate"))))
    return _n_ranked(left)


def _n_ranked(rows: QuerySet[RankedCandidate]) -> Coalesce:
    counted = rows.order_by().values("judgement").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


def _why_not(selection: Selection, one: _Seen) -> str:
    """The first reason why a judgement is no member; empty where it is one."""
    verdicts, sources = Judgement.Verdict, Judgement.Source
    is_ruling = selection.with_adjudicated and one.source == sources.ADJUDICATOR
    if one.purpose != Assignment.Purpose.WORK and not (is_ruling and one.purpose == Assignment.Purpose.REVIEW):
        return "other_purpose"
    if one.verdict == verdicts.WITHDRAWN or (
        one.verdict != verdicts.VOIDED and one.status != Assignment.Status.SUBMITTED
    ):
        return "withdrawn"
    if one.verdict == verdicts.VOIDED:
        return "voided"
    if one.task == ComparisonTask.Status.RETIRED:
        return "retired"
    if one.chosen_why == REGRESSION:
        return "regression"
    if not selection.with_simulated and (one.source == sources.SIMULATED or one.kind == Annotator.Kind.SIMULATED):
        return "simulated"
    if not selection.with_ai and (one.source == sources.AI or one.kind == Annotator.Kind.AI):
        return "ai"
    if not selection.with_unblinded and one.is_unblinded:
        return "unblinded"
    return _not_chosen(selection, one)


def _not_chosen(selection: Selection, one: _Seen) -> str:
    if selection.tags and not set(selection.tags) & set(one.tags):
        return "other_tags"
    if selection.since and one.created_at < datetime.combine(selection.since, time.min, tzinfo=UTC):
        return "other_days"
    if selection.until and one.created_at > datetime.combine(selection.until, time.max, tzinfo=UTC):
        return "other_days"
    if selection.annotators and one.pseudonym not in selection.annotators:
        return "other_people"
    if one.pseudonym in selection.not_annotators:
        return "other_people"
    if one.is_flagged:
        return "flagged"
    # An answer that was judged alone needs no other one.
    return "other_answers" if one.n_answers < min(2, one.n_ranked) else ""


def _over_the_cap(selection: Selection, one: _Seen, reading: Reading) -> str:
    cap = selection.max_per_annotator
    return "over_the_cap" if cap is not None and reading.annotators[one.annotator_id] >= cap else ""
