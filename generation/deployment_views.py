"""Pages of a project's deployments: what answers now, what is on its way, and what can be done about either."""

from dataclasses import dataclass

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import project_view
from accounts.models import Project, Role
from accounts.views import person
from core import jobs
from core.errors import DomainError
from core.htmx import posted, render_page, see_other
from generation import deploy
from generation.models import Deployment, DeploymentEvent, Endpoint, ModelVersion


class DeploymentForm(forms.Form):
    model_version = forms.ModelChoiceField(
        queryset=ModelVersion.objects.none(), to_field_name="key", label="Model", empty_label=None
    )
    endpoint = forms.ModelChoiceField(
        queryset=Endpoint.objects.none(), to_field_name="key", label="Endpoint", empty_label=None
    )
    alias = forms.SlugField(
        max_length=60,
        initial=deploy.POLICY,
        help_text="“policy” writes the next round's answers; any other name serves the model beside it.",
    )

    def __init__(self, *args: object, project: Project, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        versions = project.model_versions.filter(purpose=ModelVersion.Purpose.POLICY)
        self.fields["model_version"].queryset = versions.exclude(kind="outside").order_by("-id")  # type: ignore[attr-defined]
        self.fields["endpoint"].queryset = Endpoint.objects.filter(is_enabled=True).order_by("name")  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Row:
    """One deployment as the list shows it."""

    deployment: Deployment
    earlier: Deployment | None = None

    @property
    def stage(self) -> str:
        """The word for its stage: while it is on its way, a job that ended says more than the stage it ended in."""
        row = self.deployment
        if row.stage in deploy.ON_THE_WAY and row.is_terminal:
            return str(row.status)
        return str(row.stage)

    @property
    def label(self) -> str:
        return {"draining": "Kept for rollback", "checking": "Checking", "pending": "Waiting"}.get(self.stage, "")

    @property
    def is_moving(self) -> bool:
        return not self.deployment.is_terminal


@dataclass(frozen=True)
class DeploymentsPage:
    project: Project
    live: list[Row]
    moving: list[Row]
    past: list[Row]
    form: DeploymentForm
    endpoints: list[Endpoint]

    @property
    def polls(self) -> bool:
        return bool(self.moving) or any(endpoint.state == Endpoint.State.STARTING for endpoint in self.endpoints)


@dataclass(frozen=True)
class DeploymentPage:
    project: Project
    deployment: Deployment
    row: Row
    events: list[DeploymentEvent]


PAST_SHOWN = 50


def _page(project: Project, form: DeploymentForm | None = None) -> DeploymentsPage:
    rows = Deployment.objects.select_related("model_version", "endpoint", "requested_by", "replaces__model_version")
    mine = rows.filter(project=project).order_by("-id")
    alive = sorted(mine.filter(stage=deploy.Stage.LIVE), key=lambda row: (row.alias != deploy.POLICY, row.alias))
    # What was loaded for an evaluation has nothing to go back to: nobody is answered from it.
    live = [Row(row, deploy.before(row) if row.alias != deploy.CANDIDATE else None) for row in alive]
    moving = [Row(row) for row in mine.exclude(status__in=jobs.TERMINAL)]
    shown = {row.deployment.pk for row in live + moving}
    past = [Row(row) for row in mine.exclude(pk__in=shown)[:PAST_SHOWN]]
    in_use = Endpoint.objects.filter(is_enabled=True).order_by("name")
    return DeploymentsPage(project, live, moving, past, form or DeploymentForm(project=project), list(in_use))


@require_http_methods(["GET", "POST"])
@project_view(Role.RESEARCHER)
def deployments(request: HttpRequest, project: Project) -> HttpResponse:
    form = DeploymentForm(posted(request), project=project)
    status = 200
    if request.method == "POST":
        if form.is_valid():
            fields = form.cleaned_data
            try:
                made = deploy.request_deployment(
                    version=fields["model_version"],
                    endpoint=fields["endpoint"],
                    alias=fields["alias"],
                    project=project,
                    by=person(request),
                )
                return see_other(request, reverse("generation:deployment", args=[project.slug, made.key]))
            except DomainError as problem:
                form.add_error(None, problem.words)
                status = problem.status_code
        else:
            status = 422
    ctx = _page(project, form)
    return render_page(request, "generation/deployments.html", "generation/_deployments.html", ctx, status=status)


@require_GET
@project_view(Role.RESEARCHER)
def deployment(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    row = _one(project, key)
    ctx = DeploymentPage(
        project, row, Row(row, deploy.before(row)), list(row.events.select_related("by").order_by("-id"))
    )
    return render_page(request, "generation/deployment.html", "generation/_deployment.html", ctx)


@require_POST
@project_view(Role.RESEARCHER)
def roll_back(request: HttpRequest, project: Project) -> HttpResponse:
    alias = str(request.POST.get("alias", deploy.POLICY))[:60]
    now = deploy.roll_back(project=project, alias=alias, by=person(request))
    if now.stage == deploy.Stage.LIVE:
        messages.success(request, f"{now.model_version} answers again.")
    else:
        messages.info(request, f"{now.model_version} is being loaded again; until then the present one answers.")
    return see_other(request, reverse("generation:deployments", args=[project.slug]))


@require_POST
@project_view(Role.RESEARCHER)
def retry(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    deploy.retry_deployment(_one(project, key), by=person(request))
    return see_other(request, reverse("generation:deployment", args=[project.slug, key]))


@require_POST
@project_view(Role.RESEARCHER)
def cancel(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    deploy.cancel_deployment(_one(project, key), by=person(request))
    return see_other(request, reverse("generation:deployment", args=[project.slug, key]))


@require_POST
@project_view(Role.RESEARCHER)
def retire(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    deploy.retire_deployment(_one(project, key), by=person(request))
    return see_other(request, reverse("generation:deployments", args=[project.slug]))


def _one(project: Project, key: str) -> Deployment:
    rows = Deployment.objects.select_related("model_version", "endpoint", "requested_by", "replaces__model_version")
    return get_object_or_404(rows, project=project, key=key)
