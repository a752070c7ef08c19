"""Pages of training runs: list, new (four questions, the rest derived and shown), and one run, live."""

from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import person, project_view
from accounts.models import Project, Role
from core.errors import DomainError
from core.htmx import render_page, see_other
from generation.models import ModelVersion
from training.curves import Chart, Figure, charts_of, latest, points_of, warnings_of
from training.dataset_views import PAGE_SIZE
from training.forms import SET, RunForm, default_base, settings_of
from training.models import Evaluation, TrainingRun, TrainingRunEvent
from training.run_start import cancel_run, resume_run, start_run
from training.specs import METHODS, Method, Optimisation, Spec, n_steps, parse_spec

KEY_FIGURES = ("heldout_accuracy", "train_accuracy", "loss", "margin")
MAX_SAMPLE_PROMPTS = 6


@dataclass(frozen=True)
class RunsPage:
    project: Project
    runs: Any
    has_data: bool


@require_GET
@project_view(Role.RESEARCHER)
def runs(request: HttpRequest, project: Project) -> HttpResponse:
    rows = project.runs.select_related("snapshot", "base", "produced").order_by("-id")
    ctx = RunsPage(
        project=project,
        runs=Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page")),
        has_data=project.snapshots.filter(status="succeeded").exists(),
    )
    return render_page(request, "training/runs.html", "training/_runs.html", ctx)


@dataclass(frozen=True)
class Setting:
    """One setting of a spec: its value, where that comes from, and the field to set it by hand."""

    name: str
    value: Any
    source: str
    field: str = ""
    given: str = ""

    @property
    def shown(self) -> str:
        if self.value is None:
            return "–"
        return f"{self.value:g}" if isinstance(self.value, float) else str(self.value)


@dataclass(frozen=True)
class NewRunPage:
    project: Project
    form: RunForm
    settings: list[Setting]
    n_steps: int | None
    problem: str
    has_data: bool
    has_base: bool

    @property
    def is_set_by_hand(self) -> bool:
        return any(setting.given for setting in self.settings)


@require_http_methods(["GET", "POST"])
@project_view(Role.RESEARCHER)
def new_run(request: HttpRequest, project: Project) -> HttpResponse:
    """The form with what is derived from it: htmx derives anew by GET on every change, the button by POST."""
    form, status, problem = _form(request, project), 200, ""
    if request.method == "POST" and "preview" not in request.POST:
        status = 422
        if form.is_valid():
            try:
                run = start_run(project=project, overrides=form.overrides, by=person(request), **form.chosen())
                return see_other(request, reverse("training:run", args=[project.slug, run.key]))
            except DomainError as trouble:
                form.add_error(None, forms.ValidationError(trouble.words))
                status = trouble.status_code
    spec = None
    try:
        spec = form.plan()
    except DomainError as trouble:
        problem = trouble.words
    ctx = NewRunPage(
        project=project,
        form=form,
        settings=_editable(spec, form) if spec else _blank(form),
        n_steps=_n_steps(spec, form) if spec else None,
        problem=problem,
        has_data=form.fields["snapshot"].queryset.exists(),  # type: ignore[attr-defined]
        has_base=form.fields["base"].queryset.exists(),  # type: ignore[attr-defined]
    )
    return render_page(request, "training/run_new.html", "training/_run_new.html", ctx, status=status)


def _form(request: HttpRequest, project: Project) -> RunForm:
    base, data = default_base(project), project.snapshots.filter(status="succeeded").order_by("-id").first()
    initial = {
        "method": "dpo",
        "effort": "small",
        "base": base.key if base else "",
        "snapshot": data.key if data else "",
    }
    if request.method == "POST":
        return RunForm(request.POST, project=project, initial=initial)
    if {"method", "effort", "base", "snapshot"} <= set(request.GET):
        return RunForm(request.GET, project=project, initial=initial)
    # A link may bring some of the answers: "train a reward model on this dataset".
    brought = {name: request.GET[name] for name in initial if name in request.GET}
    return RunForm(project=project, initial=initial | brought)


def _editable(spec: Spec, form: RunForm) -> list[Setting]:
    values = _values(spec)
    return [
        Setting(name, values.get(name), _source(spec, name), SET + name, form.data.get(SET + name, ""))
        for name in settings_of(_method(spec))
    ]


def _blank(form: RunForm) -> list[Setting]:
    """What was typed stays on the page while it cannot be used."""
    given = {name: value for name, value in form.data.items() if name.startswith(SET) and value}
    return [Setting(name[len(SET) :], None, "", name, value) for name, value in sorted(given.items())]


def _method(spec: Spec) -> Method:
    return METHODS[getattr(spec, "method")]  # noqa: B009  (every kind of spec has it)


def _optimisation(spec: Spec) -> Optimisation:
    return cast(Optimisation, getattr(spec, "settings"))  # noqa: B009


def _values(spec: Spec) -> dict[str, Any]:
    lora = spec.lora.model_dump() if spec.lora else {}
    settings = _optimisation(spec).model_dump()
    return {**spec.model_dump(), **settings, **lora, "tuning": "lora" if spec.lora else "full"}


def _source(spec: Spec, name: str) -> str:
    if name in spec.sources:
        return spec.sources[name]
    return (
        spec.sources.get("lora", "") if name in ("tuning", "r", "alpha", "dropout", "target_modules") else "the default"
    )


def _n_steps(spec: Spec, form: RunForm) -> int:
    rows = form.chosen()["snapshot"].counts.get("rows", {})
    return n_steps(_optimisation(spec), max(1, rows.get("train", 1)))


# --- one run ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Samples:
    """One prompt's answers as the model learns, oldest first."""

    prompt: str
    answers: list[tuple[int, str]]

    @property
    def first(self) -> tuple[int, str]:
        return self.answers[0]

    @property
    def last(self) -> tuple[int, str] | None:
        return self.answers[-1] if len(self.answers) > 1 else None

    @property
    def between(self) -> list[tuple[int, str]]:
        return self.answers[1:-1]


@dataclass(frozen=True)
class RunPage:
    project: Project
    run: TrainingRun
    method: str
    charts: list[Chart]
    figures: list[Figure]
    warnings: list[str]
    samples: list[Samples]
    settings: list[Setting]
    events: list[TrainingRunEvent]
    evaluations: list[Evaluation]
    produced: ModelVersion | None

    @property
    def versions(self) -> list[tuple[str, str]]:
        return sorted(self.run.versions.items())

    @property
    def may_go_on(self) -> bool:
        return self.run.status in ("failed", "cancelled")


@require_GET
@project_view(Role.RESEARCHER)
def run(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    found = _run_or_404(project, key)
    points = points_of(found)
    spec = parse_spec(found.spec) if found.spec else None
    produced = found.produced
    ctx = RunPage(
        project=project,
        run=found,
        method=METHODS[found.method].label if found.method in METHODS else found.method,
        charts=charts_of(points),
        figures=latest(points, KEY_FIGURES),
        warnings=warnings_of(points, found.snapshot.counts.get("rows", {}).get("test", 0)) if points else [],
        samples=_samples(found),
        settings=[Setting(n, v, _source(spec, n)) for n, v in _frozen(spec)] if spec else [],
        events=list(found.events.select_related("by").order_by("-id")[:20]),
        evaluations=list(produced.evaluations.select_related("against").order_by("-id")[:10]) if produced else [],
        produced=produced,
    )
    return render_page(request, "training/run.html", "training/_run_live.html", ctx)


def _frozen(spec: Spec) -> list[tuple[str, Any]]:
    values = _values(spec)
    return [(name, values.get(name)) for name in settings_of(_method(spec)) if values.get(name) is not None]


def _samples(found: TrainingRun) -> list[Samples]:
    by_prompt: dict[str, list[tuple[int, str]]] = {}
    for sample in found.samples:
        by_prompt.setdefault(str(sample["prompt"]), []).append((int(sample["step"]), str(sample["answer"])))
    return [Samples(prompt, sorted(answers)) for prompt, answers in list(by_prompt.items())[:MAX_SAMPLE_PROMPTS]]


def _run_or_404(project: Project, key: str) -> TrainingRun:
    rows = TrainingRun.objects.select_related("snapshot", "base", "produced", "requested_by")
    return get_object_or_404(rows, project=project, key=key)


@require_POST
@project_view(Role.RESEARCHER)
def cancel(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    cancel_run(_run_or_404(project, key), by=person(request))
    return see_other(request, reverse("training:run", args=[project.slug, key]))


@require_POST
@project_view(Role.RESEARCHER)
def go_on(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    resume_run(_run_or_404(project, key), by=person(request))
    return see_other(request, reverse("training:run", args=[project.slug, key]))
