"""Members of a project and their roles. Nobody grants above their own level, changes their own roles or removes the last
admin; a removal takes effect on the person's next request."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.access import not_expired
from accounts.audit import record
from accounts.models import ApiToken, Membership, Project, Role, User
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
    others = admins.exclude(pk=without.pk)
    require(
        not without.is_admin or others.exists(),
        "This is the last admin of the project.",
        how="Make someone else an admin first.",
    )


def _leave(project: Project, user: User) -> None:
    for hook in _leaving:
        hook(project, user)
