"""Members of a project and their roles. Nobody grants above their own level, changes their own roles or removes the last
admin; a removal takes effect on the person's next request."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeAlias

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.access import not_expired
from accounts.audit import record
from accounts.models import ApiToken, Membership, Project, Role, User
from accounts.terms import Terms
from core.errors import Conflict, require

LEVEL = {Role.ANNOTATOR: 1, Role.REVIEWER: 2, Role.RESEARCHER: 3, Role.ADMIN: 4}
Leaving: TypeAlias = Callable[[Project, User], None]
_leaving: list[Leaving] = []


def when_member_leaves(hook: Leaving) -> Leaving:
    """Call ``hook(project, user)`` in the transaction in which someone leaves a project or stops annotating in it.

    The layers above register here from ``AppConfig.ready``, to free what the person holds (leases).
    """
    if hook not in _leaving:
        _leaving.append(hook)
    return hook


def members_of(project: Project) -> QuerySet[Membership]:
    """The members of a project, by name."""
    return Membership.objects.filter(project=project).select_related("user").order_by("user__name", "user__username")


def check_may_grant(by: Membership, roles: Iterable[Role]) -> None:
    """Raise unless ``by`` is an admin whose own level reaches every one of ``roles``."""
    require(by.is_admin, "Only an admin of the project changes who may do what.")
    own = max(LEVEL[role] for role in by.roles)
    require(all(LEVEL[role] <= own for role in roles), "Nobody can grant a role above their own.")


@transaction.atomic
def change_roles(*, membership: Membership, roles: Iterable[Role], by: Membership) -> None:
    """Give a member exactly these roles."""
    project = _locked(membership.project)
    membership.refresh_from_db()
    wanted = set(roles)
    before = membership.roles
    require(membership.project_id == by.project_id, "This person is not a member of your project.")
    require(
        membership.user_id != by.user_id, "Nobody changes their own roles.", how="Ask another admin of the project."
    )
    require(wanted, "A member holds at least one role.", how="To take all of them away, remove the member.")
    check_may_grant(by, wanted | before)
    if Role.ADMIN not in wanted:
        _keep_an_admin(project, without=membership)
    if wanted == before:
        return
    Membership.objects.filter(pk=membership.pk).update(**Membership.flags(wanted))
    membership.refresh_from_db()
    if Role.ANNOTATOR in before - wanted:
        _leave(project, membership.user)
    record(
        "member.roles",
        user=by.user,
        project=project,
        subject=membership.user,
        detail={"before": sorted(before), "after": sorted(wanted)},
    )


@transaction.atomic
def change_terms(*, membership: Membership, terms: Terms, by: Membership) -> None:
    """Groups, languages and end of a membership. Nobody moves their own end; an end that has come counts at once."""
    project = _locked(membership.project)
    membership.refresh_from_db()
    require(membership.project_id == by.project_id, "This person is not a member of your project.")
    check_may_grant(by, membership.roles)
    ends = terms.until != membership.expires_at
    require(
        not ends or membership.user_id != by.user_id,
        "Nobody moves the end of their own membership.",
        how="Ask another admin of the project.",
    )
    if terms.until is not None and membership.is_admin:
        _keep_an_admin(project, without=membership)
    now = {"groups": list(terms.groups), "languages": list(terms.languages), "expires_at": terms.until}
    before = {name: getattr(membership, name) for name in now}
    changed = [name for name in now if now[name] != before[name]]
    if not changed:
        return
    Membership.objects.filter(pk=membership.pk).update(**now)
    membership.refresh_from_db()
    if terms.until is not None and terms.until <= timezone.now():
        _leave(project, membership.user)
    detail = {name: [_plain(before[name]), _plain(now[name])] for name in changed}
    record("member.terms", user=by.user, project=project, subject=membership.user, detail=detail)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


@transaction.atomic
def set_account_active(user: User, *, active: bool, by: User) -> None:
    """Close or open an account. Closing it ends sessions, sign-in links and tokens for good, and frees what the person holds."""
    require(user.pk != by.pk, "Nobody closes their own account.")
    if User.objects.filter(pk=user.pk).exclude(is_active=active).update(is_active=active) == 0:
        return
    user.refresh_from_db()
    if not active:
        _end_sessions(user)
        user.sign_in_links.filter(used_at=None).delete()
        ApiToken.objects.filter(user=user, revoked_at=None).update(revoked_at=timezone.now())
        for project in Project.objects.filter(memberships__user=user):
            _leave(project, user)
    record("account.open" if active else "account.close", user=by, subject=user)


def _end_sessions(user: User) -> None:
    # A closed account is signed out anyway; without this an old cookie would work again when it is opened again.
    for session in Session.objects.filter(expire_date__gt=timezone.now()).iterator():
        if session.get_decoded().get(SESSION_KEY) == str(user.pk):
            session.delete()


@transaction.atomic
def remove_member(*, membership: Membership, by: Membership) -> None:
    """End a membership: leases are freed, tokens of this project revoked; what the person did stays."""
    project = _locked(membership.project)
    require(membership.project_id == by.project_id, "This person is not a member of your project.")
    require(
        membership.user_id != by.user_id, "Nobody removes themselves.", how="Ask another admin of the project to do it."
    )
    check_may_grant(by, membership.roles)
    _keep_an_admin(project, without=membership)
    if not Membership.objects.filter(pk=membership.pk).delete()[0]:
        raise Conflict("This person is no longer a member.", how="Reload the page.")
    ApiToken.objects.filter(project=project, user_id=membership.user_id, revoked_at=None).update(
        revoked_at=timezone.now()
    )
    _leave(project, membership.user)
    record("member.remove", user=by.user, project=project, subject=membership.user)


def _locked(project: Project) -> Project:
    # Two admins who demote each other at the same moment must not both see "one is left".
    return Project.objects.select_for_update().get(pk=project.pk)


def _keep_an_admin(project: Project, *, without: Membership) -> None:
    admins = Membership.objects.filter(not_expired(), project=project, is_admin=True, user__is_active=True)
    others = admins.filter(expires_at=None).exclude(pk=without.pk)
    require(
        not without.is_admin or others.exists(),
        "This is the last admin of the project who stays.",
        how="Make someone else an admin, without an end, first.",
    )


def _leave(project: Project, user: User) -> None:
    for hook in _leaving:
        hook(project, user)
