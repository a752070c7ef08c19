"""Pages of a project: tokens, audit, settings. Its people are in ``accounts.member_views``."""

from copy import copy
from dataclasses import dataclass

from django import forms
from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import projects, tokens
from accounts.access import membership_in, person, project_view
from accounts.audit import events_of
from accounts.forms import ProjectSettingsForm, TokenForm
from accounts.models import ApiToken, AuditEvent, Project, Role
from core.htmx import posted, render_page, see_other

EVENTS_A_PAGE = 50


@dataclass(frozen=True)
class TokensPage:
    project: Project
    tokens: list[ApiToken]
    form: TokenForm
    secret: str = ""


@dataclass(frozen=True)
class AuditPage:
    project: Project
    events: Page[AuditEvent]


@dataclass(frozen=True)
class SettingsPage:
    project: Project
    form: forms.BaseForm


@require_http_methods(["GET", "POST"])
@project_view()
def token_list(request: HttpRequest, project: Project) -> HttpResponse:
    """The tokens; a POST makes one and shows its secret once."""
    form = TokenForm(posted(request), membership=membership_in(request))
    secret, status = "", 200
    if request.method == "POST":
        if form.is_valid():
            _, secret = tokens.create_token(membership=membership_in(request), **form.cleaned_data)
            form = TokenForm(membership=membership_in(request))
        else:
            status = 422
    ctx = TokensPage(project=project, tokens=list(tokens.tokens_of(membership_in(request))), form=form, secret=secret)
    return render_page(request, "accounts/tokens.html", "accounts/_tokens.html", ctx, status=status)


@require_POST
@project_view()
def token_revoke(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    tokens.revoke_token(get_object_or_404(tokens.tokens_of(membership_in(request)), key=key), by=person(request))
    messages.success(request, "The token is revoked.")
    return see_other(request, reverse("project:tokens", args=[project.slug]))


@require_GET
@project_view(Role.ADMIN)
def audit(request: HttpRequest, project: Project) -> HttpResponse:
    pages: Paginator[AuditEvent] = Paginator(events_of(project), EVENTS_A_PAGE)
    ctx = AuditPage(project=project, events=pages.get_page(request.GET.get("page")))
    return render_page(request, "accounts/audit.html", "accounts/_audit.html", ctx)


@require_http_methods(["GET", "POST"])
@project_view(Role.ADMIN)
def settings(request: HttpRequest, project: Project) -> HttpResponse:
    form = ProjectSettingsForm(posted(request), instance=copy(project))
    if request.method == "POST" and form.is_valid():
        projects.describe_project(project=project, by=person(request), **form.cleaned_data)
        messages.success(request, "The settings are saved.")
        return see_other(request, reverse("project:settings", args=[project.slug]))
    ctx = SettingsPage(project=project, form=form)
    status = 422 if form.errors else 200
    return render_page(request, "accounts/settings.html", "accounts/_settings_form.html", ctx, status=status)
