"""Pages of endpoints: researchers see them, site admins add, change and test them."""

from dataclasses import dataclass

from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import may_create_projects, projects_for
from accounts.models import User
from accounts.views import person
from core.errors import DomainError
from core.htmx import posted, render_page, see_other
from generation.endpoints import Report, check_base_url, save_endpoint, test_endpoint
from generation.models import Deployment, Endpoint


class EndpointForm(forms.ModelForm):
    class Meta:
        model = Endpoint
        fields = (
            "name",
            "engine",
            "is_managed",
            "base_url",
            "base_model",
            "base_served_name",
            "secret_name",
            "reach",
            "path_from",
            "path_to",
            "max_loras",
            "max_lora_rank",
            "max_concurrency",
            "timeout_seconds",
            "is_enabled",
        )
        labels = {
            "base_url": "Address",
            "is_managed": "Whetstone starts it on this machine",
            "base_model": "Base model",
            "base_served_name": "Served name of the base model",
            "secret_name": "Name of its secret",
            "reach": "How adapters reach it",
            "path_from": "The app's artifact directory",
            "path_to": "The same directory as the server sees it",
            "max_loras": "Adapters in one batch",
            "max_lora_rank": "Largest rank",
            "max_concurrency": "Requests at once",
            "timeout_seconds": "Longest wait for an answer, in seconds",
            "is_enabled": "In use",
        }
        help_texts = {
            "base_url": "http://host:port as the app reaches it; empty for one that Whetstone starts.",
            "base_model": "Path or hub id that the server was started with.",
            "base_served_name": "What vLLM was given as --served-model-name; else the path or hub id.",
            "secret_name": "Capital letters. The key itself is set where Whetstone is started, as WHETSTONE_SECRET_<NAME>.",
            "path_from": "Only if the server sees the shared directory under another path.",
            "max_loras": "What vLLM was given as --max-loras.",
            "max_lora_rank": "What vLLM was given as --max-lora-rank.",
        }

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["base_url"].required = False

    def clean_base_url(self) -> str:
        url = str(self.cleaned_data.get("base_url", ""))
        if not url:
            return ""
        try:
            return check_base_url(url)
        except DomainError as problem:
            raise ValidationError(problem.words) from problem

    def clean(self) -> dict[str, object]:
        fields: dict[str, object] = super().clean() or {}
        if not fields.get("base_url") and not fields.get("is_managed") and "base_url" not in self.errors:
            self.add_error("base_url", "An endpoint that Whetstone does not start needs its address.")
        if not fields.get("base_served_name"):
            self.add_error("base_served_name", "Enter the name that the server knows its base model by.")
        return fields


@dataclass(frozen=True)
class EndpointsPage:
    endpoints: list[Endpoint]
    hosts: tuple[str, ...]
    may_change: bool


@dataclass(frozen=True)
class EndpointPage:
    endpoint: Endpoint
    deployments: list[Deployment]
    may_change: bool
    report: Report | None = None
    worker_command: str = ""


@dataclass(frozen=True)
class EndpointFormPage:
    form: EndpointForm
    endpoint: Endpoint | None
    hosts: tuple[str, ...]


def _reader(request: HttpRequest) -> User:
    """Who deploys should see what to; only site admins change it, and only they see what a server said."""
    user = person(request)
    if not may_create_projects(user):
        raise PermissionDenied("Endpoints are for researchers and site admins.")
    return user


def _site_admin(request: HttpRequest) -> User:
    user = person(request)
    if not user.is_superuser:
        raise PermissionDenied("Only site admins may add, change or test endpoints.")
    return user


@login_required
@require_GET
def endpoints(request: HttpRequest) -> HttpResponse:
    user = _reader(request)
    rows = list(Endpoint.objects.order_by("name"))
    ctx = EndpointsPage(rows, settings.WHETSTONE.endpoint_hosts, user.is_superuser)
    return render_page(request, "generation/endpoints.html", "generation/_endpoints.html", ctx)


@login_required
@require_GET
def endpoint(request: HttpRequest, key: str) -> HttpResponse:
    ctx = _page(get_object_or_404(Endpoint, key=key), _reader(request))
    return render_page(request, "generation/endpoint.html", "generation/_endpoint.html", ctx)


@login_required
@require_POST
def test(request: HttpRequest, key: str) -> HttpResponse:
    """Try it and show what works. The page is the answer itself: a report is of this moment and is not kept."""
    user = _site_admin(request)
    row = get_object_or_404(Endpoint, key=key)
    ctx = _page(row, user, test_endpoint(row))
    return render_page(request, "generation/endpoint.html", "generation/_endpoint.html", ctx, no_store=True)


@login_required
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, key: str = "") -> HttpResponse:
    user = _site_admin(request)
    row = get_object_or_404(Endpoint, key=key) if key else None
    form = EndpointForm(posted(request), instance=row)
    status = 200
    if request.method == "POST":
        if form.is_valid():
            try:
                saved = save_endpoint(form.save(commit=False), by=user)
                return see_other(request, reverse("endpoints:endpoint", args=[saved.key]))
            except DomainError as problem:
                form.add_error(None, problem.words)
        status = 422
    ctx = EndpointFormPage(form, row, settings.WHETSTONE.endpoint_hosts)
    return render_page(request, "generation/endpoint_form.html", "generation/_endpoint_form.html", ctx, status=status)


def _page(row: Endpoint, user: User, report: Report | None = None) -> EndpointPage:
    rows = Deployment.objects.select_related("model_version", "project").filter(endpoint=row)
    command = ""
    if row.reach == Endpoint.Reach.WORKER:
        command = (
            f"python -m generation.deploy_worker --app {settings.WHETSTONE.url} --vllm http://127.0.0.1:8000 "
            f"--token-file token --dir /var/lib/whetstone --endpoint {row.key}"
        )
    rows = rows.filter(project__in=projects_for(user))
    loaded = list(rows.filter(stage__in=["live", "draining"]).order_by("-id")[:50])
    return EndpointPage(row, loaded, user.is_superuser, report, command)
