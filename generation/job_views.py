"""Pages about generation jobs. Which model wrote what stays behind a Reveal, which is recorded, until judging is over."""

from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import project_view
from accounts.models import Project, Role, User
from core.errors import DomainError
from core.htmx import render_page, see_other
from generation import sampling as services
from generation.deploy import live_deployment
from generation.forms import GenerateForm
from generation.models import Candidate, Deployment, GenerationJob, JobArm, Prompt

JOBS_A_PAGE = 50
PROMPTS_A_PAGE = 10


@dataclass(frozen=True)
class JobsPage:
    project: Project
    jobs: "Page[GenerationJob]"
    has_prompts: bool
    has_models: bool


@dataclass(frozen=True)
class GeneratePage:
    project: Project
    form: GenerateForm
    has_prompts: bool
    has_models: bool


@dataclass(frozen=True)
class ArmRow:
    letter: str
    model: Any
    settings: str
    n_answers: int


@dataclass(frozen=True)
class FailureRow:
    prompt: str
    url: str
    reason: str


@dataclass(frozen=True)
class JobPage:
    project: Project
    job: GenerationJob
    n_prompts: int
    n_arms: int
    arms: list[ArmRow]
    is_revealed: bool
    is_open_to_all: bool
    failures: list[FailureRow]
    has_campaigns: bool


@dataclass(frozen=True)
class Shown:
    name: str
    candidate: Candidate


@dataclass(frozen=True)
class PromptAnswers:
    prompt: Prompt
    answers: list[Shown]


@dataclass(frozen=True)
class AnswersPage:
    project: Project
    job: GenerationJob
    prompts: "Page[int]"
    rows: list[PromptAnswers]
    is_revealed: bool


def _job(project: Project, key: str) -> GenerationJob:
    return get_object_or_404(project.generation_jobs.select_related("prompt_set", "requested_by"), key=key)


def _deployments(project: Project) -> list[Deployment]:
    """What can be asked now."""
    found = project.deployments.filter(stage=Deployment.Stage.LIVE, endpoint__is_enabled=True)
    return list(found.select_related("model_version", "endpoint"))


@require_GET
@project_view(Role.RESEARCHER)
def jobs(request: HttpRequest, project: Project) -> HttpResponse:
    # Each turn of a live conversation is a job: they are seen in their campaign.
    found = project.generation_jobs.exclude(kind=GenerationJob.Kind.LIVE).select_related("prompt_set")
    found = found.defer("prompt_ids", "failures").order_by("-pk")
    ctx = JobsPage(
        project=project,
        jobs=Paginator(found, JOBS_A_PAGE).get_page(request.GET.get("page")),
        has_prompts=project.prompt_sets.filter(n_prompts__gt=0).exists(),
        has_models=bool(_deployments(project)),
    )
    return render_page(request, "generation/jobs.html", "generation/_jobs.html", ctx)


@require_http_methods(["GET", "POST"])
@project_view(Role.RESEARCHER)
def new_job(request: HttpRequest, project: Project) -> HttpResponse:
    deployments = _deployments(project)
    live = live_deployment(project) or next(iter(deployments), None)
    latest = project.prompt_sets.filter(n_prompts__gt=0).order_by("is_holdout_only", "-pk").first()
    wanted = project.prompt_sets.filter(key=request.GET.get("set", "")).first()
    form = GenerateForm(
        request.POST or None,
        project=project,
        deployments=deployments,
        initial=GenerateForm.defaults(live, wanted or latest),
    )
    if request.method == "POST" and form.is_valid():
        try:
            job = services.start_generation(
                project=project,
                prompt_set=form.cleaned_data["prompt_set"],
                selection=form.selection(),
                arms=form.arms(),
                n_answers=form.cleaned_data["n_answers"],
                seed=form.cleaned_data["seed"],
                by=request.user,  # type: ignore[arg-type]
                key=form.cleaned_data["key"],
            )
        except DomainError as problem:
            form.add_error(None, problem.words)
        else:
            return see_other(request, reverse("generation:job", args=[project.slug, job.key]))
    ctx = GeneratePage(project=project, form=form, has_prompts=latest is not None, has_models=bool(deployments))
    status = 422 if request.method == "POST" else 200
    return render_page(request, "generation/job_new.html", "generation/_job_form.html", ctx, status=status)


@require_GET
@project_view(Role.RESEARCHER)
def job(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    found = _job(project, key)
    is_open = services.models_are_open(found)
    user: User = request.user  # type: ignore[assignment]
    is_revealed = services.may_see_models(found, user)
    arms = list(found.arms.select_related("model_version").annotate(n=Count("candidates")).order_by("number"))
    campaigns = getattr(found, "campaigns", None)  # annotation's relation to this job, read by name
    ctx = JobPage(
        project=project,
        job=found,
        n_prompts=len(found.prompt_ids),
        n_arms=len(arms),
        arms=[_arm_row(arm) for arm in arms] if is_revealed else [],
        is_revealed=is_revealed,
        is_open_to_all=is_open,
        failures=_failures(project, found),
        has_campaigns=campaigns is not None and campaigns.exists(),
    )
    return render_page(request, "generation/job.html", "generation/_job.html", ctx)


def _arm_row(arm: JobArm) -> ArmRow:
    shown = {name: value for name, value in arm.sampling.items() if value not in ([], "")}
    words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())
    return ArmRow(letter=arm.letter, model=arm.model_version, settings=words, n_answers=arm.n)  # type: ignore[attr-defined]


def _failures(project: Project, found: GenerationJob) -> list[FailureRow]:
    """What could not be written: the prompt and the reason. The arm stays out: it would tell models apart."""
    shown = found.failures[:20]
    prompts = Prompt.objects.select_related("set").in_bulk({failure["prompt"] for failure in shown})
    rows = []
    for failure in shown:
        if prompt := prompts.get(failure["prompt"]):
            url = reverse("generation:prompt", args=[project.slug, prompt.set.key, prompt.key])
            rows.append(FailureRow(prompt=prompt.last_turn[:120], url=url, reason=failure["reason"]))
    return rows


@require_GET
@project_view(Role.RESEARCHER)
def answers(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """The answers, prompt by prompt. While models are hidden, the order within a prompt says nothing of its arm."""
    found = _job(project, key)
    is_revealed = services.may_see_models(found, request.user)  # type: ignore[arg-type]
    page = Paginator(found.prompt_ids, PROMPTS_A_PAGE).get_page(request.GET.get("page"))
    prompts = Prompt.objects.select_related("set").in_bulk(page.object_list)
    candidates = Candidate.objects.filter(arm__job=found, prompt_id__in=list(page.object_list))
    by_prompt: dict[int, list[Candidate]] = {}
    for candidate in candidates.select_related("arm__model_version"):
        by_prompt.setdefault(candidate.prompt_id, []).append(candidate)
    rows = [
        PromptAnswers(prompts[pk], _named(by_prompt.get(pk, []), is_revealed=is_revealed))
        for pk in page.object_list
        if pk in prompts
    ]
    ctx = AnswersPage(project=project, job=found, prompts=page, rows=rows, is_revealed=is_revealed)
    return render_page(request, "generation/job_answers.html", "generation/_job_answers.html", ctx)


def _named(candidates: list[Candidate], *, is_revealed: bool) -> list[Shown]:
    if is_revealed:
        ordered = sorted(candidates, key=lambda candidate: (candidate.arm.number, candidate.index))
        return [Shown(f"{c.arm.letter}{c.index + 1} · {c.arm.model_version}", c) for c in ordered]
    ordered = sorted(candidates, key=lambda candidate: candidate.text_sha256)
    return [Shown(f"Answer {number}", candidate) for number, candidate in enumerate(ordered, 1)]


@require_POST
@project_view(Role.RESEARCHER)
def reveal(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    page = "answers" if request.POST.get("from") == "answers" else "job"
    services.reveal_models(_job(project, key), user=request.user, page=page)  # type: ignore[arg-type]
    return see_other(request, reverse(f"generation:{page}", args=[project.slug, key]))


@require_POST
@project_view(Role.RESEARCHER)
def cancel(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    services.cancel_generation(_job(project, key), by=request.user)  # type: ignore[arg-type]
    return see_other(request, reverse("generation:job", args=[project.slug, key]))


@require_POST
@project_view(Role.RESEARCHER)
def go_on(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    services.continue_generation(_job(project, key), by=request.user)  # type: ignore[arg-type]
    return see_other(request, reverse("generation:job", args=[project.slug, key]))
