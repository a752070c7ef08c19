"""The home page, the round board and its buttons."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import allows, may_create_projects, membership_in, person, project_view, projects_for
from accounts.models import Project, Role
from core.errors import DomainError
from core.htmx import posted, render_page, see_other
from generation.models import Endpoint, ModelVersion, PromptSet
from loop.board import Board, board_of, reveal
from loop.models import Round, RoundStep
from loop.rounds import (
    Plan,
    abandon_round,
    current_policy,
    endpoint_for,
    latest_round,
    open_round,
    start_round,
    take_step,
)

RESEARCH = (Role.RESEARCHER, Role.ADMIN)


@dataclass(frozen=True)
class HomePage:
    projects: list[Project]
    may_create: bool


@require_GET
@login_required
def home(request: HttpRequest) -> HttpResponse:
    if person(request).must_set_password:
        return redirect("accounts:set_password")
    projects = list(projects_for(person(request)))
    if len(projects) == 1:
        return redirect("loop:project", project=projects[0].slug)
    ctx = HomePage(projects=projects, may_create=may_create_projects(person(request)))
    return render_page(request, "loop/home.html", "loop/_projects.html", ctx)


@dataclass(frozen=True)
class BoardPage:
    project: Project
    board: Board | None
    endpoint: Endpoint | None
    policy: ModelVersion | None
    n_prompt_sets: int
    rounds: list[Round]
    is_latest: bool = True
    may_start: bool = False


@require_GET
@project_view()
def project_home(request: HttpRequest, project: Project) -> HttpResponse:
    """A researcher's home is the round board, an annotator's is their work, and the desk is that of one who only reviews."""
    membership = membership_in(request)
    if not allows(membership, *RESEARCH):
        return redirect("annotation:next" if membership.is_annotator else "annotation:desk", project=project.slug)
    return _board(request, project, latest_round(project))


@require_GET
@project_view(*RESEARCH)
def round_page(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    return _board(request, project, _round(project, number))


def _board(request: HttpRequest, project: Project, round_: Round | None) -> HttpResponse:
    rounds = list(project.rounds.select_related("policy_in", "policy_out").order_by("-number")[:20])
    ctx = BoardPage(
        project=project,
        board=board_of(round_, user=person(request), membership=membership_in(request)) if round_ else None,
        endpoint=endpoint_for(project),
        policy=current_policy(project),
        n_prompt_sets=project.prompt_sets.count(),
        rounds=rounds,
        is_latest=not rounds or round_ is None or rounds[0].number == round_.number,
        may_start=open_round(project) is None,
    )
    return render_page(request, "loop/board.html", "loop/_board.html", ctx)


def _round(project: Project, number: int) -> Round:
    round_ = project.rounds.select_related("policy_in", "policy_out", "prompt_set").filter(number=number).first()
    if round_ is None:
        raise Http404("No such round.")
    return round_


class RoundForm(forms.Form):
    """What a round is asked for. Everything has a default that works."""

    prompt_set = forms.ModelChoiceField(PromptSet.objects.none(), label="Prompt set", empty_label=None)
    n_prompts = forms.IntegerField(
        label="Prompts", min_value=1, max_value=1_000_000, help_text="Unused ones first, drawn at random."
    )
    n_answers = forms.IntegerField(label="Answers a prompt", min_value=2, max_value=64)
    n_judgements = forms.IntegerField(
        label="Judgements", min_value=1, max_value=10_000_000, help_text="More pairs teach more than more epochs."
    )
    overlap = forms.IntegerField(
        label="People who judge each pair",
        min_value=1,
        max_value=20,
        help_text="From 2 on, people's agreement is measured.",
    )
    temperature = forms.FloatField(label="Temperature", min_value=0, max_value=2)
    max_tokens = forms.IntegerField(label="Longest answer (tokens)", min_value=1, max_value=8192)
    effort = forms.ChoiceField(
        label="Training effort", choices=[("smoke", "Smoke test"), ("small", "Small"), ("full", "Full")]
    )
    regression_percent = forms.IntegerField(
        label="New against old (per cent of the tasks)",
        min_value=0,
        max_value=50,
        help_text="Compares this round's policy with the one before on held-out prompts, blind. 0: not at all.",
    )
    with_earlier_rounds = forms.BooleanField(label="Learn from the judgements of earlier rounds too", required=False)
    with_simulated = forms.BooleanField(
        label="Count the judgements of simulated people",
        required=False,
        help_text="Otherwise a dataset leaves them out.",
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["prompt_set"].queryset = project.prompt_sets.filter(n_prompts__gt=0).order_by("-id")  # type: ignore[attr-defined]

    def plan(self) -> Plan:
        given = {name: value for name, value in self.cleaned_data.items() if name in Plan.model_fields}
        return Plan(**given, regression_share=self.cleaned_data["regression_percent"] / 100)


@dataclass(frozen=True)
class RoundFormPage:
    project: Project
    form: RoundForm
    number: int
    has_prompts: bool
    policy: ModelVersion | None


@require_http_methods(["GET", "POST"])
@project_view(*RESEARCH)
def new_round(request: HttpRequest, project: Project) -> HttpResponse:
    last = latest_round(project)
    initial = Plan(**last.plan).model_dump() if last else Plan().model_dump()
    initial["regression_percent"] = round(100 * initial.pop("regression_share"))
    if last is not None:
        initial["prompt_set"] = last.prompt_set_id
    form = RoundForm(posted(request), project=project, initial=initial)
    if request.method == "POST" and form.is_valid():
        round_ = start_round(
            project=project, prompt_set=form.cleaned_data["prompt_set"], plan=form.plan(), by=person(request)
        )
        return see_other(request, reverse("loop:round", args=[project.slug, round_.number]))
    ctx = RoundFormPage(
        project=project,
        form=form,
        number=(last.number if last else 0) + 1,
        has_prompts=project.prompt_sets.filter(n_prompts__gt=0).exists(),
        policy=current_policy(project),
    )
    status = 422 if request.method == "POST" else 200
    return render_page(request, "loop/new_round.html", "loop/_round_form.html", ctx, status=status)


@require_POST
@project_view(*RESEARCH)
def step(request: HttpRequest, project: Project, number: int, stage: str) -> HttpResponse:
    if stage not in RoundStep.Stage.values or stage == RoundStep.Stage.PROMPTS:
        raise Http404("No such stage.")
    take_step(round_=_round(project, number), stage=stage, by=person(request), note=request.POST.get("note", "")[:2000])
    return see_other(request, reverse("loop:round", args=[project.slug, number]))


@require_POST
@project_view(*RESEARCH)
def reveal_models(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    reveal(_round(project, number), person(request))
    return see_other(request, reverse("loop:round", args=[project.slug, number]))


@require_POST
@project_view(*RESEARCH)
def abandon(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    note = request.POST.get("note", "").strip()
    if not note:
        raise DomainError("A round is given up with a note.", how="Write in a few words why.")
    abandon_round(round_=_round(project, number), note=note[:2000], by=person(request))
    return see_other(request, reverse("loop:project", args=[project.slug]))


@dataclass(frozen=True)
class RoundsPage:
    project: Project
    rounds: list[Round]
    may_start: bool


@require_GET
@project_view(*RESEARCH)
def rounds(request: HttpRequest, project: Project) -> HttpResponse:
    ctx = RoundsPage(
        project=project,
        rounds=list(project.rounds.select_related("policy_in", "policy_out").order_by("-number")),
        may_start=open_round(project) is None,
    )
    return render_page(request, "loop/rounds.html", "loop/_rounds.html", ctx)
