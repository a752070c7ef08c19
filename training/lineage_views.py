"""Pages of lineage: the judgements that made a model, and the models that a judgement went into. People are pseudonyms here."""

from dataclasses import dataclass, field
from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.access import person, project_view
from accounts.models import Project, Role, User
from annotation.models import Judgement, RankedCandidate, TaskCandidate
from core.htmx import render_page, see_other
from generation.models import Candidate, GenerationJob, ModelVersion, Prompt
from generation.sampling import may_see_models, reveal_models
from training.erasing import ERASED, WHATS, may_erase
from training.holdings import HeldRow, Holding, Thing, holdings_of, jobs_telling, judgements_of, rows_holding
from training.lineage import Lineage, Use, judgements_behind, lineage_of, uses_of, versions_using
from training.models import Erasure, PushJob, Snapshot

KEYS_A_PAGE = 60


@dataclass(frozen=True)
class LineagePage:
    project: Project
    version: ModelVersion
    lineage: Lineage
    judgements: Any
    may_see: bool


def _version_or_404(project: Project, key: str) -> ModelVersion:
    return get_object_or_404(ModelVersion.objects.select_related("parent"), project=project, key=key)


def jobs_in(lineage: Lineage) -> list[GenerationJob]:
    return list({writer.job.pk: writer.job for step in lineage.steps for writer in step.writers}.values())


def sees_all(jobs: list[GenerationJob], user: User) -> bool:
    return all(may_see_models(job, user) for job in jobs)


@require_GET
@project_view(Role.RESEARCHER, Role.REVIEWER)
def model_lineage(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    version = _version_or_404(project, key)
    lineage = lineage_of(version)
    rows = judgements_behind(version).select_related("assignment__annotator").order_by("key")
    ctx = LineagePage(
        project=project,
        version=version,
        lineage=lineage,
        judgements=Paginator(rows, KEYS_A_PAGE).get_page(request.GET.get("page")),
        may_see=sees_all(jobs_in(lineage), person(request)),
    )
    return render_page(request, "training/lineage.html", "training/_lineage.html", ctx)


@require_POST
@project_view(Role.RESEARCHER, Role.REVIEWER)
def reveal_writers(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Which model wrote the answers that were judged: recorded for every job it names."""
    version = _version_or_404(project, key)
    for job in jobs_in(lineage_of(version)):
        reveal_models(job, user=person(request), page="lineage")
    return see_other(request, reverse("training:model-lineage", args=[project.slug, key]))


@dataclass(frozen=True)
class RankedAnswer:
    candidate: Candidate
    rank: int | None

    @property
    def version(self) -> ModelVersion:
        return self.candidate.arm.model_version

    @property
    def sampling(self) -> list[tuple[str, Any]]:
        """The settings it was sampled with, its own seed last; the seed alone says nothing of an imported answer."""
        settings = sorted(self.candidate.arm.sampling.items())
        return [*settings, ("seed", self.candidate.seed)] if settings else [("as imported", "")]


@dataclass(frozen=True)
class ShownErasure:
    """What was erased on the page of a judgement, and where the text may still be."""

    erasure: Erasure

    @property
    def words(self) -> str:
        return WHATS[self.erasure.what]

    @property
    def quotes(self) -> list[tuple[str, str, str]]:
        """(word, key, address) of what else held it."""
        project = self.erasure.project.slug
        return [
            (HELD[each["what"]], each["key"], reverse(f"training:holdings-{each['what']}", args=[project, each["key"]]))
            for each in self.erasure.quotes
        ]

    @property
    def pushed_to(self) -> list[str]:
        """Places outside that datasets with the text were sent to before."""
        sent = PushJob.objects.filter(snapshot__erasures=self.erasure, begun_at__lt=self.erasure.created_at)
        return sorted(set(sent.values_list("address", flat=True)))


@dataclass(frozen=True)
class JudgementPage:
    project: Project
    judgement: Judgement
    answers: list[RankedAnswer]
    uses: tuple[Use, ...]
    versions: tuple[ModelVersion, ...]
    may_see: bool
    stands: bool
    prompt: list[dict[str, str]]
    erasable: list[tuple[str, str]] = field(default_factory=list)  # (what, in words), for an admin
    erasures: list["ShownErasure"] = field(default_factory=list)  # for an admin


def _judgement_or_404(project: Project, key: str) -> Judgement:
    rows = Judgement.objects.select_related(
        "assignment__task__campaign", "assignment__task__prompt", "assignment__annotator"
    )
    return get_object_or_404(rows, assignment__task__campaign__project=project, key=key)


def answers_of(judgement: Judgement) -> list[RankedAnswer]:
    """The task's answers with their ranks, the best first; without ranks for a judgement that was taken back."""
    ranks = dict(RankedCandidate.objects.filter(judgement=judgement).values_list("candidate_id", "rank"))
    slots = TaskCandidate.objects.filter(task=judgement.assignment.task).select_related(
        "candidate__arm__model_version", "candidate__arm__job"
    )
    answers = [RankedAnswer(slot.candidate, ranks.get(slot.candidate_id)) for slot in slots]
    return sorted(answers, key=lambda answer: (answer.rank or 0, answer.candidate.key))


def jobs_of_answers(answers: list[RankedAnswer]) -> list[GenerationJob]:
    return list({answer.candidate.arm.job_id: answer.candidate.arm.job for answer in answers}.values())


def _erasable(judgement: Judgement) -> list[tuple[str, str]]:
    task = judgement.assignment.task
    prompt = ERASED if all(message["content"] == ERASED for message in task.prompt.messages) else "prompt"
    answered = task.slots.exclude(candidate__text=ERASED).exists()
    texts = {
        "prompt": prompt,
        "exchange": "answers" if answered else "",
        "write_in": judgement.write_in,
        "comment": judgement.comment,
    }
    return [(what, words) for what, words in WHATS.items() if texts[what] not in ("", ERASED)]


def _erasures(judgement: Judgement, project: Project) -> list[ShownErasure]:
    rows = project.erasures.filter(judgement_key=judgement.key).select_related("project").order_by("-id")
    return [ShownErasure(each) for each in rows]


@require_GET
@project_view(Role.RESEARCHER, Role.REVIEWER)
def judgement(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    found = _judgement_or_404(project, key)
    answers = answers_of(found)
    ctx = JudgementPage(
        project=project,
        judgement=found,
        answers=answers,
        uses=uses_of(found),
        versions=versions_using(found),
        may_see=sees_all(jobs_of_answers(answers), person(request)),
        stands=found.assignment.current_id == found.pk and found.verdict not in ("withdrawn", "voided"),
        prompt=found.assignment.task.prompt.messages,
        erasable=_erasable(found) if may_erase(person(request), project) else [],
        erasures=_erasures(found, project) if may_erase(person(request), project) else [],
    )
    return render_page(request, "training/judgement.html", "training/_judgement.html", ctx)


HELD = {"prompts": "prompt", "answers": "answer", "judgements": "judgement", "models": "model"}


def things(project: Project, what: str) -> QuerySet[Any]:
    """What an address below ``lineage/`` may name: prompts, answers, judgements or models of this project."""
    rows: dict[str, QuerySet[Any]] = {
        "prompts": Prompt.objects.filter(set__project=project).select_related("set"),
        "answers": Candidate.objects.filter(arm__job__project=project).select_related("arm__job", "arm__model_version"),
        "judgements": Judgement.objects.filter(assignment__task__campaign__project=project),
        "models": ModelVersion.objects.filter(project=project),
    }
    return rows[what]


@dataclass(frozen=True)
class HoldingsPage:
    project: Project
    what: str
    thing: Any
    holdings: tuple[Holding, ...]
    judgements: Any  # None where they would tell who wrote which answer
    snapshot: Snapshot | None
    rows: list[HeldRow]
    has_more: bool
    may_see_writer: bool  # of an answer

    @property
    def word(self) -> str:
        return HELD[self.what]


@require_GET
@project_view(Role.RESEARCHER, Role.REVIEWER)
def holdings(request: HttpRequest, project: Project, what: str, key: str) -> HttpResponse:
    """Where something went; with ``?dataset=`` the rows of one dataset that hold it."""
    thing: Thing = get_object_or_404(things(project, what), key=key)
    held = holdings_of(thing)
    snapshot = next((each.snapshot for each in held if each.snapshot.key == request.GET.get("dataset")), None)
    is_open = sees_all(jobs_telling(thing), person(request))
    rows, has_more = rows_holding(snapshot, thing) if snapshot and is_open else ([], False)
    given = judgements_of(thing).select_related("assignment__annotator").order_by("key")
    ctx = HoldingsPage(
        project=project, what=what, thing=thing, holdings=held,
        judgements=Paginator(given, KEYS_A_PAGE).get_page(request.GET.get("page")) if is_open else None,
        snapshot=snapshot, rows=rows, has_more=has_more,
        may_see_writer=isinstance(thing, Candidate) and may_see_models(thing.arm.job, person(request)),
    )  # fmt: skip
    return render_page(request, "training/holdings.html", "training/_holdings.html", ctx)


@require_POST
@project_view(Role.RESEARCHER, Role.REVIEWER)
def reveal_answers(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    for job in jobs_of_answers(answers_of(_judgement_or_404(project, key))):
        reveal_models(job, user=person(request), page="judgement")
    return see_other(request, reverse("training:judgement", args=[project.slug, key]))
