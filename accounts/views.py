"""Pages of a person: signing in and out, links, the account, the list of projects."""

from dataclasses import dataclass

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import invitations, members, projects, signin
from accounts.access import may_create_projects, person, projects_for
from accounts.audit import record
from accounts.forms import AccountForm, ChangePasswordForm, JoinForm, NewPasswordForm, ProjectForm, SignInForm
from accounts.models import Invitation, Project, Role, User
from accounts.styleguide import StyleGuide
from accounts.templatetags.shell import THEME_COOKIE, THEMES
from core.htmx import posted, render_page, see_other

BACKEND = "accounts.sessions.AccountBackend"
YEAR_SECONDS = 365 * 24 * 3600


@dataclass(frozen=True)
class FormPage:
    """A page that is one form."""

    form: forms.BaseForm
    next: str = ""
    throttled: bool = False


@dataclass(frozen=True)
class LinkPage:
    """The page behind a one-time sign-in link: nothing is spent until its button is pressed."""

    token: str
    user: User | None


@dataclass(frozen=True)
class JoinPage:
    token: str
    invitation: Invitation | None
    roles: list[str]
    form: JoinForm | None


@dataclass(frozen=True)
class AccountPage:
    form: AccountForm
    saved: bool = False


@dataclass(frozen=True)
class ProjectsPage:
    projects: list[Project]
    may_create: bool


@dataclass(frozen=True)
class PeoplePage:
    people: list[User]
    link: str = ""
    link_user: User | None = None


def safe_next(request: HttpRequest) -> str:
    """Where to go on: a place on this site that the address or the form names, else the start page."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    allowed = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if allowed else settings.LOGIN_REDIRECT_URL


@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated and request.method == "GET":
        return HttpResponseRedirect(safe_next(request))
    form = SignInForm(posted(request))
    status, throttled = 200, False
    if request.method == "POST":
        status = 422
        if form.is_valid():
            username, address = form.cleaned_data["username"], signin.client_address(request)
            throttled = signin.is_throttled(username=username, address=address)
            if throttled:
                status = 429
            elif user := signin.check_password(
                request=request, username=username, password=form.cleaned_data["password"]
            ):
                return _let_in(request, user, how="password")
            else:
                form.add_error(None, "User name and password do not match, or the account is closed.")
    ctx = FormPage(form=form, next=safe_next(request), throttled=throttled)
    return render_page(request, "accounts/sign_in.html", "accounts/_sign_in.html", ctx, status=status, no_store=True)


def _let_in(request: HttpRequest, user: User, *, how: str) -> HttpResponse:
    with transaction.atomic():
        login(request, user, backend=BACKEND)
        record("sign_in.ok", user=user, subject=user, detail={"how": how, "address": signin.client_address(request)})
    wanted = safe_next(request)
    if user.must_set_password:
        return see_other(request, reverse("accounts:set_password"))
    return see_other(request, wanted)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        record("sign_out", user=person(request), subject=person(request))
    logout(request)
    return see_other(request, reverse("accounts:sign_in"))


@require_http_methods(["GET", "POST"])
def sign_in_link(request: HttpRequest, token: str) -> HttpResponse:
    if request.method == "POST":
        return _let_in(request, invitations.use_sign_in_link(token), how="link")
    link = invitations.find_sign_in_link(token)
    ctx = LinkPage(token=token, user=link.user if link else None)
    template = "accounts/sign_in_link.html"
    return render_page(request, template, template, ctx, status=200 if link else 410, no_store=True)


@login_required
@sensitive_post_parameters("new_password")
@require_http_methods(["GET", "POST"])
def set_password(request: HttpRequest) -> HttpResponse:
    """Choose a password after a one-time link; without that, the old one is asked for instead."""
    user = person(request)
    if not user.must_set_password:
        return see_other(request, reverse("accounts:change_password"))
    form = NewPasswordForm(posted(request), user=user)
    if request.method == "POST" and form.is_valid():
        _save_password(request, user, form.cleaned_data["new_password"])
        messages.success(request, "Your password is set.")
        return see_other(request, settings.LOGIN_REDIRECT_URL)
    status = 422 if form.errors else 200
    return render_page(
        request, "accounts/set_password.html", "accounts/_password_form.html", FormPage(form=form), status=status
    )


@login_required
@sensitive_post_parameters("old_password", "new_password")
@require_http_methods(["GET", "POST"])
def change_password(request: HttpRequest) -> HttpResponse:
    user = person(request)
    if user.must_set_password:
        return see_other(request, reverse("accounts:set_password"))
    form = ChangePasswordForm(posted(request), user=user)
    if request.method == "POST" and form.is_valid():
        _save_password(request, user, form.cleaned_data["new_password"])
        messages.success(request, "Your password is changed. You were signed out everywhere else.")
        return see_other(request, reverse("accounts:account"))
    status = 422 if form.errors else 200
    return render_page(
        request, "accounts/change_password.html", "accounts/_password_form.html", FormPage(form=form), status=status
    )


def _save_password(request: HttpRequest, user: User, password: str) -> None:
    with transaction.atomic():
        user.set_password(password)
        user.must_set_password = False
        user.save(update_fields=["password", "must_set_password"])
        # The session's hash follows the password: every other session of this person ends with its next request.
        update_session_auth_hash(request, user)
        record("password.set", user=user, subject=user)


@sensitive_post_parameters("new_password")
@require_http_methods(["GET", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    """Accept an invitation: with the account that is signed in, or with a new one."""
    invitation = invitations.find_invitation(token)
    form = None if request.user.is_authenticated else JoinForm(posted(request))
    if request.method == "POST" and invitation:
        if request.user.is_authenticated:
            membership = invitations.accept_invitation(token, user=person(request))
            return see_other(request, f"/p/{membership.project.slug}/")
        assert form is not None
        if form.is_valid():
            data = form.cleaned_data
            membership = invitations.create_account_and_join(
                token, username=data["username"], name=data["name"], password=data["new_password"]
            )
            login(request, membership.user, backend=BACKEND)
            return see_other(request, f"/p/{membership.project.slug}/")
    roles = [Role(role).label for role in invitation.roles] if invitation else []
    ctx = JoinPage(token=token, invitation=invitation, roles=roles, form=form)
    status = 410 if invitation is None else 422 if form is not None and form.errors else 200
    return render_page(request, "accounts/join.html", "accounts/_join.html", ctx, status=status, no_store=True)


@login_required
@require_http_methods(["GET", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    form = AccountForm(posted(request), instance=person(request))
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Your account is saved.")
        return _remember_theme(see_other(request, reverse("accounts:account")), form.cleaned_data["theme"], request)
    ctx = AccountPage(form=form)
    return render_page(
        request, "accounts/account.html", "accounts/_account_form.html", ctx, status=422 if form.errors else 200
    )


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    chosen = request.POST.get("theme", "")
    if chosen not in THEMES:
        raise Http404("No such colours.")
    if request.user.is_authenticated:
        User.objects.filter(pk=request.user.pk).update(theme=chosen)
    return _remember_theme(see_other(request, safe_next(request)), chosen, request)


def _remember_theme(response: HttpResponse, chosen: str, request: HttpRequest) -> HttpResponse:
    response.set_cookie(
        THEME_COOKIE, chosen, max_age=YEAR_SECONDS, httponly=True, samesite="Lax", secure=request.is_secure()
    )
    return response


@login_required
@require_GET
def project_list(request: HttpRequest) -> HttpResponse:
    mine = projects_for(person(request)).annotate(n_members=Count("memberships", distinct=True))
    ctx = ProjectsPage(projects=list(mine), may_create=may_create_projects(person(request)))
    return render_page(request, "accounts/projects.html", "accounts/_projects.html", ctx)


@login_required
@require_http_methods(["GET", "POST"])
def project_new(request: HttpRequest) -> HttpResponse:
    if not may_create_projects(person(request)):
        raise PermissionDenied("Only researchers and admins open projects.")
    form = ProjectForm(posted(request))
    if request.method == "POST" and form.is_valid():
        project = projects.create_project(**form.cleaned_data, by=person(request))
        return see_other(request, f"/p/{project.slug}/")
    return render_page(
        request,
        "accounts/project_new.html",
        "accounts/_project_form.html",
        FormPage(form=form),
        status=422 if form.errors else 200,
    )


def _site_admin(request: HttpRequest) -> User:
    # Unknown and forbidden look alike.
    if not person(request).is_superuser:
        raise Http404("No such page.")
    return person(request)


@login_required
@require_GET
def people(request: HttpRequest) -> HttpResponse:
    """Everyone with an account, for site admins."""
    _site_admin(request)
    ctx = PeoplePage(people=list(User.objects.order_by("username")))
    return render_page(request, "accounts/people.html", "accounts/_people.html", ctx)


@login_required
@require_POST
def person_link(request: HttpRequest, key: str) -> HttpResponse:
    """A one-time sign-in link for someone who has lost the password; shown once."""
    admin = _site_admin(request)
    user = get_object_or_404(User, key=key, is_active=True)
    link = request.build_absolute_uri(invitations.issue_sign_in_link(user, by=admin))
    ctx = PeoplePage(people=list(User.objects.order_by("username")), link=link, link_user=user)
    return render_page(request, "accounts/people.html", "accounts/_people.html", ctx, no_store=True)


@login_required
@require_POST
def person_active(request: HttpRequest, key: str) -> HttpResponse:
    """Close or open an account. A closed account is signed out with its next request; its tokens stop at once."""
    admin = _site_admin(request)
    user = get_object_or_404(User.objects.exclude(pk=admin.pk), key=key)
    members.set_account_active(user, active=request.POST.get("active") == "yes", by=admin)
    messages.success(request, f"The account of {user} is {'open' if user.is_active else 'closed'}.")
    return see_other(request, reverse("accounts:people"))


@require_GET
def styleguide(request: HttpRequest) -> HttpResponse:
    """Every component with its HTML, to copy from."""
    if not (settings.DEBUG or request.user.is_authenticated):
        raise Http404("No such page.")
    return render_page(request, "_styleguide.html", "_styleguide.html", StyleGuide())
