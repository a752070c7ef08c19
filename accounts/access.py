"""Who may open what: the one way from a request to a project. Every project page goes through ``project_view``.

Unknown and foreign projects look alike (404); a member without the role gets a 403 that says so. A membership that has
expired is none, from that moment on.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.models import Membership, Project, Role, User
from core.prepared import Query, given

PlainView = Callable[..., HttpResponse]

# An admin may do what reviewers and researchers do, but judges only where they are an annotator too.
ADMIN_STANDS_IN_FOR = frozenset({Role.REVIEWER, Role.RESEARCHER})


def person(request: HttpRequest) -> User:
    """The person who is signed in; only for views behind a login."""
    assert isinstance(request.user, User)
    return request.user


def membership_in(request: HttpRequest) -> Membership:
    """The membership by which this page was opened; only for views behind ``project_view``."""
    membership: Membership = request.membership  # type: ignore[attr-defined]
    return membership


def not_expired(prefix: str = "") -> Q:
    """The condition of a membership that still holds; ``prefix`` is the way to it, such as ``memberships__``."""
    return Q(**{f"{prefix}expires_at__isnull": True}) | Q(**{f"{prefix}expires_at__gt": Now()})


def membership_of(user: User | AnonymousUser, project: Project) -> Membership | None:
    """The person's membership; a site admin without one counts as an admin of every project."""
    if not isinstance(user, User) or not user.is_active:
        return None
    membership = Membership.objects.filter(not_expired(), user=user, project=project).first()
    if membership is None and user.is_superuser:
        return Membership(user=user, project=project, is_admin=True)
    return membership


def allows(membership: Membership, *roles: Role) -> bool:
    """Whether a membership opens what asks for one of ``roles``; every membership opens what asks for none."""
    if membership.is_admin and ADMIN_STANDS_IN_FOR & set(roles):
        return True
    return membership.has(*roles)


def may(user: User | AnonymousUser, project: Project, *roles: Role) -> bool:
    """Whether the person may do here what asks for one of ``roles``, on a page or behind a job."""
    membership = membership_of(user, project)
    return membership is not None and allows(membership, *roles)


_membership = Query(
    lambda: Membership.objects.select_related("project").filter(
        not_expired(), user=given("user"), project__slug=given("slug", str)
    )
)


def projects_for(user: User | AnonymousUser) -> QuerySet[Project]:
    """The projects that a person may open, by name."""
    if not isinstance(user, User) or not user.is_active:
        return Project.objects.none()
    if user.is_superuser:
        return Project.objects.order_by("name", "pk")
    mine = Membership.objects.filter(not_expired(), user=user)
    return Project.objects.filter(pk__in=mine.values("project")).order_by("name", "pk")


def project_for(request: HttpRequest, slug: str, *roles: Role) -> Project:
    """The project at ``slug`` for this person; sets ``request.project`` and ``request.membership``.

    Raises Http404 for someone who is no member (as for a project that does not exist) and PermissionDenied for a
    member who holds none of ``roles``.
    """
    project, membership = None, None
    if isinstance(request.user, User) and request.user.is_active:  # nearly always: one question for both
        membership = _membership.first(user=request.user.pk, slug=slug)
        project = membership.project if membership else None
    if project is None:
        project = Project.objects.filter(slug=slug).first()
        membership = membership_of(request.user, project) if project else None
    if project is None or membership is None:
        raise Http404("No such project.")
    if not allows(membership, *roles):
        wanted = " or ".join(Role(role).label.lower() for role in roles)
        raise PermissionDenied(f"This page is for the role {wanted}, which you do not hold in this project.")
    membership.project = project
    request.project = project  # type: ignore[attr-defined]
    request.membership = membership  # type: ignore[attr-defined]
    return project


def project_view(*roles: Role) -> Callable[[Callable[..., HttpResponse]], PlainView]:
    """Make ``view(request, project, ...)`` from a URL with ``<slug:project>``, for members who hold one of ``roles``."""

    def decorate(view: Callable[..., HttpResponse]) -> PlainView:
        @wraps(view)
        def guarded(request: HttpRequest, project: str, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            if request.user.must_set_password:
                return redirect("accounts:set_password")
            return view(request, project_for(request, project, *roles), *args, **kwargs)

        guarded.project_roles = roles  # type: ignore[attr-defined]  # read by the test that compares routes with the matrix
        return guarded

    return decorate


def may_create_projects(user: User | AnonymousUser) -> bool:
    """Researchers and admins of any project, and site admins, may open a new one."""
    if not isinstance(user, User) or not user.is_active:
        return False
    mine = Membership.objects.filter(not_expired(), user=user)
    return user.is_superuser or mine.filter(is_researcher=True).exists() or mine.filter(is_admin=True).exists()
