"""Links that let people in without e-mail: a one-time sign-in link for an account, an invitation into a project.

Only hashes of the tokens are kept; the link is shown once. Opening a link changes nothing: its button does.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from accounts.access import not_expired
from accounts.audit import record
from accounts.members import check_may_grant
from accounts.models import Invitation, Membership, Project, Role, SignInLink, User
from accounts.terms import Terms
from core.errors import Conflict, DomainError, require
from core.ids import new_token, sha256_hex

LINK_HOURS = 24
MAX_USES = 500
MAX_DAYS = 90
MAX_NOTE = 100
NO_TERMS = Terms()


@transaction.atomic
def issue_sign_in_link(user: User, *, hours: float = LINK_HOURS, by: User | None = None) -> str:
    """The address (a path) of a new one-time sign-in link for ``user``; links issued before stop working.

    Sets no password. A person without one is asked to choose it right after.
    """
    token = new_token()
    SignInLink.objects.filter(user=user, used_at=None).delete()
    SignInLink.objects.create(
        user=user, token_sha256=sha256_hex(token), expires_at=timezone.now() + timedelta(hours=hours)
    )
    if not user.has_usable_password() and not user.must_set_password:
        user.must_set_password = True
        user.save(update_fields=["must_set_password"])
    record("sign_in_link.issue", user=by, subject=user)
    return reverse("accounts:sign_in_link", args=[token])


def find_sign_in_link(token: str) -> SignInLink | None:
    """The link of ``token`` if it can still be used."""
    return (
        SignInLink.objects.select_related("user")
        .filter(token_sha256=sha256_hex(token), used_at=None, expires_at__gt=timezone.now(), user__is_active=True)
        .first()
    )


@transaction.atomic
def use_sign_in_link(token: str) -> User:
    """Spend the link; of two people who press the button at once, one gets in. Raises Conflict otherwise."""
    now = timezone.now()
    link = find_sign_in_link(token)
    # The check and the write are one UPDATE.
    if link is None or SignInLink.objects.filter(pk=link.pk, used_at=None, expires_at__gt=now).update(used_at=now) != 1:
        raise Conflict(
            "This sign-in link has been used or has expired.", how="Sign in with your password, or ask for a new link."
        )
    record("sign_in_link.use", user=link.user, subject=link.user)
    return link.user


@transaction.atomic
def invite(
    *,
    project: Project,
    roles: Iterable[Role],
    by: Membership,
    days: int = 7,
    max_uses: int = 1,
    note: str = "",
    terms: Terms = NO_TERMS,
) -> tuple[Invitation, str]:
    """A new invitation and the path of its link, which cannot be shown again.

    days   how long the link works
    terms  groups, languages and end of the membership that it gives
    """
    wanted = set(roles)
    require(wanted, "Choose at least one role for this invitation.")
    require(1 <= days <= MAX_DAYS, f"An invitation lasts 1 to {MAX_DAYS} days.")
    require(1 <= max_uses <= MAX_USES, f"An invitation serves 1 to {MAX_USES} people.")
    check_may_grant(by, wanted)
    token = new_token()
    invitation = Invitation.objects.create(
        project=project,
        token_sha256=sha256_hex(token),
        roles=sorted(wanted),
        groups=list(terms.groups),
        languages=list(terms.languages),
        member_until=terms.until,
        note=note.strip()[:MAX_NOTE],
        max_uses=max_uses,
        expires_at=timezone.now() + timedelta(days=days),
        created_by=by.user,
    )
    record(
        "invitation.create",
        user=by.user,
        project=project,
        subject=invitation,
        detail={"roles": invitation.roles, "max_uses": max_uses, "days": days},
    )
    return invitation, reverse("accounts:join", args=[token])


def find_invitation(token: str) -> Invitation | None:
    """The invitation of ``token`` if it can still be used and whoever made it could still make it."""
    invitation = (
        Invitation.objects.select_related("project", "created_by")
        .filter(
            Q(member_until=None) | Q(member_until__gt=timezone.now()),
            token_sha256=sha256_hex(token),
            revoked_at=None,
            expires_at__gt=timezone.now(),
            n_uses__lt=F("max_uses"),
        )
        .first()
    )
    return invitation if invitation and _giver_may_still_give(invitation) else None


def _giver_may_still_give(invitation: Invitation) -> bool:
    giver = invitation.created_by
    if not giver.is_active:
        return False
    admins = Membership.objects.filter(not_expired(), project=invitation.project, user=giver, is_admin=True)
    return giver.is_superuser or admins.exists()


@transaction.atomic
def accept_invitation(token: str, *, user: User) -> Membership:
    """Make ``user`` a member; roles that the person holds already stay. Raises Conflict if the link is spent.

    A membership has one end for all its roles. So an invitation with another end is refused to a member where it would make
    a role last longer than whoever gave it meant.
    """
    invitation = find_invitation(token)
    if invitation is None:
        raise Conflict("This invitation has been used up, withdrawn or has expired.", how="Ask for a new one.")
    roles = {Role(role) for role in invitation.roles}
    given = Membership.flags(roles) | {
        "groups": invitation.groups,
        "languages": invitation.languages,
        "expires_at": invitation.member_until,
    }
    membership, created = Membership.objects.get_or_create(project=invitation.project, user=user, defaults=given)
    if not created:
        given = _added(membership, invitation, roles, given)
    usable = Invitation.objects.filter(pk=invitation.pk, revoked_at=None, n_uses__lt=F("max_uses"))
    if usable.update(n_uses=F("n_uses") + 1) != 1:
        raise Conflict("Somebody else has just used this invitation.", how="Ask for a new one.")
    if not created:
        Membership.objects.filter(pk=membership.pk).update(**given)
        membership.refresh_from_db()
    record(
        "invitation.accept",
        user=user,
        project=invitation.project,
        subject=invitation,
        detail={"roles": invitation.roles, "person": user.key},
    )
    return membership


def _added(membership: Membership, invitation: Invitation, roles: set[Role], given: dict[str, Any]) -> dict[str, Any]:
    """The columns of a membership that there is already. One that has expired gives nothing on: it begins anew."""
    now, ends, until = timezone.now(), membership.expires_at, invitation.member_until
    if ends is not None and ends <= now:
        return given
    lasts_longer = ends is not None and (until is None or until > ends)
    if roles <= membership.roles and not (lasts_longer and roles == membership.roles):
        raise DomainError("You are already a member with these roles.", how="The invitation was not used.")
    if ends != until and roles != membership.roles:
        raise DomainError(
            "You are a member already, until another date than this invitation gives.",
            how="Ask an admin of the project to change your membership instead. The invitation was not used.",
        )
    joined = {name: list(dict.fromkeys([*getattr(membership, name), *given[name]])) for name in ("groups", "languages")}
    return Membership.flags(roles | membership.roles) | joined | {"expires_at": until}


@transaction.atomic
def create_account_and_join(token: str, *, username: str, name: str, password: str) -> Membership:
    """An account for the holder of an invitation, and the membership: both or neither."""
    if find_invitation(token) is None:
        raise Conflict("This invitation has been used up, withdrawn or has expired.", how="Ask for a new one.")
    try:
        with transaction.atomic():
            user = User.objects.create_user(username=username, password=password, name=name)
    except IntegrityError:
        raise Conflict("This user name has just been taken.", how="Go back and choose another.") from None
    return accept_invitation(token, user=user)


@transaction.atomic
def revoke_invitation(invitation: Invitation, *, by: User) -> None:
    """Withdraw an invitation; the people who used it stay."""
    if Invitation.objects.filter(pk=invitation.pk, revoked_at=None).update(revoked_at=timezone.now()) == 1:
        record("invitation.revoke", user=by, project=invitation.project, subject=invitation)
