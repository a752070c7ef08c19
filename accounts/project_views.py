"""Pages of a project's people: members, invitations, tokens, audit, settings."""

from copy import copy
from dataclasses import dataclass

from django import forms
from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import invitations, members, projects, tokens
from accounts.access import person, project_view
from accounts.audit import events_of
from accounts.forms import InvitationForm, ProjectSettingsForm, RolesForm, TokenForm
from accounts.models import ApiToken, AuditEvent, Invitation, Membership, Project, Role
from core.htmx import posted, render_page, see_other

EVENTS_A_PAGE = 50


@dataclass(frozen=True)
class MembersPage:
    project: Project
    members: list[Membership]
    invitations: list[Invitation]
    form: InvitationForm
    me: Membership
    link: str = ""


@dataclass(frozen=True)
class MemberPage:
    project: Project
    member: Membership
    form: RolesForm


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


def _me(request: HttpRequest) -> Membership:
    membership: Membership = request.membership  # type: ignore[attr-defined]
    return membership


def _members_page(request: HttpRequest, project: Project, form: InvitationForm, link: str = "") -> MembersPage:
    usable = Invitation.objects.filter(project=project, revoked_at=None, expires_at__gt=timezone.now())
    return MembersPage(
        project=project,
        members=list(members.members_of(project)),
        invitations=[invitation for invitation in usable.order_by("-id") if invitation.n_uses < invitation.max_uses],
        form=form,
        me=_me(request),
        link=link,
    )


@require_http_methods(["GET", "POST"])
@project_view(Role.ADMIN)
def member_list(request: HttpRequest, project: Project) -> HttpResponse:
    """The members; a POST makes an invitation and shows its link once."""
    initial = {"roles": [Role.ANNOTATOR.value]}
    form = InvitationForm(posted(request), by=_me(request), initial=initial)
    link, status = "", 200
    if request.method == "POST":
        if form.is_valid():
            _, path = invitations.invite(project=project, by=_me(request), **form.cleaned_data)
            link = request.build_absolute_uri(path)
            form = InvitationForm(by=_me(request), initial=initial)
        else:
            status = 422
    ctx = _members_page(request, project, form, link)
    return render_page(request, "accounts/members.html", "accounts/_members.html", ctx, status=status)


@require_http_methods(["GET", "POST"])
@project_view(Role.ADMIN)
def member_roles(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    member = get_object_or_404(members.members_of(project), user__key=key)
    initial = {"roles": [role.value for role in member.roles]}
    form = RolesForm(posted(request), by=_me(request), initial=initial)
    if request.method == "POST" and form.is_valid():
        members.change_roles(membership=member, roles=form.cleaned_data["roles"], by=_me(request))
        messages.success(request, f"The roles of {member.user} are saved.")
        return see_other(request, reverse("project:members", args=[project.slug]))
    ctx = MemberPage(project=project, member=member, form=form)
    status = 422 if form.errors else 200
    return render_page(request, "accounts/member.html", "accounts/_member.html", ctx, status=status)


@require_POST
@project_view(Role.ADMIN)
def member_remove(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    member = get_object_or_404(members.members_of(project), user__key=key)
    members.remove_member(membership=member, by=_me(request))
    messages.success(request, f"{member.user} is no longer a member. What they judged stays.")
    return see_other(request, reverse("project:members", args=[project.slug]))


@require_POST
@project_view(Role.ADMIN)
def invitation_revoke(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    invitations.revoke_invitation(get_object_or_404(Invitation, project=project, key=key), by=person(request))
    messages.success(request, "The invitation is withdrawn.")
    return see_other(request, reverse("project:members", args=[project.slug]))


@require_http_methods(["GET", "POST"])
@project_view()
def token_list(request: HttpRequest, project: Project) -> HttpResponse:
    """The tokens; a POST makes one and shows its secret once."""
    form = TokenForm(posted(request), membership=_me(request))
    secret, status = "", 200
    if request.method == "POST":
        if form.is_valid():
            _, secret = tokens.create_token(membership=_me(request), **form.cleaned_data)
            form = TokenForm(membership=_me(request))
        else:
            status = 422
    ctx = TokensPage(project=project, tokens=list(tokens.tokens_of(_me(request))), form=form, secret=secret)
    return render_page(request, "accounts/tokens.html", "accounts/_tokens.html", ctx, status=status)


@require_POST
@project_view()
def token_revoke(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    tokens.revoke_token(get_object_or_404(tokens.tokens_of(_me(request)), key=key), by=person(request))
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
