"""Pages about models: the registry, one version with its lineage, taking a model in."""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from accounts.access import project_view
from accounts.models import Project, Role
from core.errors import DomainError
from core.htmx import render_page, see_other
from generation import registry as services
from generation.forms import RegisterForm
from generation.models import Deployment, ModelFetch, ModelVersion
from generation.registry import Ancestor


@dataclass(frozen=True)
class ModelRow:
    version: ModelVersion
    live: Deployment | None


@dataclass(frozen=True)
class ModelsPage:
    project: Project
    rows: list[ModelRow]
    fetches: list[ModelFetch]
    has_toy: bool


@dataclass(frozen=True)
class ModelPage:
    project: Project
    version: ModelVersion
    facts: list[tuple[str, str]]
    lineage: list[Ancestor]
    children: list[ModelVersion]
    deployments: list[Deployment]


@dataclass(frozen=True)
class RegisterPage:
    project: Project
    form: RegisterForm
    is_hub_offline: bool
    model_dirs: tuple[str, ...]


@dataclass(frozen=True)
class FetchPage:
    project: Project
    fetch: ModelFetch


@require_GET
@project_view(Role.RESEARCHER)
def models(request: HttpRequest, project: Project) -> HttpResponse:
    live = {
        deployment.model_version_id: deployment
        for deployment in project.deployments.filter(stage=Deployment.Stage.LIVE).select_related("endpoint")
    }
    versions = list(project.model_versions.select_related("parent").order_by("-pk"))
    ctx = ModelsPage(
        project=project,
        rows=[ModelRow(version, live.get(version.pk)) for version in versions],
        fetches=list(project.model_fetches.filter(model_version=None).order_by("-pk")[:10]),
        has_toy=any(version.is_toy for version in versions),
    )
    return render_page(request, "generation/models.html", "generation/_models.html", ctx)


@require_GET
@project_view(Role.RESEARCHER)
def model(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    version = get_object_or_404(project.model_versions.select_related("parent", "created_by"), key=key)
    ctx = ModelPage(
        project=project,
        version=version,
        facts=services.facts_in_words(version),
        lineage=services.lineage_of(version),
        children=list(version.children.order_by("pk")),
        deployments=list(version.deployments.select_related("endpoint").order_by("-pk")),
    )
    return render_page(request, "generation/model.html", "generation/_model.html", ctx)


@require_http_methods(["GET", "POST"])
@project_view(Role.RESEARCHER)
def register_model(request: HttpRequest, project: Project) -> HttpResponse:
    form = RegisterForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            url = _register(request, project, form)
        except DomainError as problem:
            form.add_error("source", problem.words)
        else:
            return see_other(request, url)
    ctx = RegisterPage(
        project=project,
        form=form,
        is_hub_offline=settings.WHETSTONE.hub_offline,
        model_dirs=settings.WHETSTONE.model_dirs,
    )
    status = 422 if request.method == "POST" else 200
    return render_page(request, "generation/model_new.html", "generation/_model_form.html", ctx, status=status)


def _register(request: HttpRequest, project: Project, form: RegisterForm) -> str:
    """A directory is checked and registered at once; a hub's model is fetched by a job."""
    data = form.cleaned_data
    common = {name: data[name] for name in ("slug", "licence", "note")}
    if services.is_hub_id(data["source"]):
        fetch = services.start_fetch(project=project, source=data["source"], by=request.user, key=data["key"], **common)  # type: ignore[arg-type]
        return reverse("generation:model-fetch", args=[project.slug, fetch.key])
    version = services.register_base(project=project, source=data["source"], by=request.user, **common)  # type: ignore[arg-type]
    return reverse("generation:model", args=[project.slug, version.key])


@require_GET
@project_view(Role.RESEARCHER)
def model_fetch(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    fetch = get_object_or_404(project.model_fetches.select_related("model_version"), key=key)
    return render_page(
        request, "generation/model_fetch.html", "generation/_model_fetch.html", FetchPage(project=project, fetch=fetch)
    )
