"""API tokens: one person, one project, a set of scopes, an end. Only the hash is kept, only the prefix is shown.

A token never allows more than its owner may do at that moment.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import QuerySet
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, NotFound
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.access import allows, membership_of
from accounts.audit import record
from accounts.models import ApiToken, Membership, Project, Role, User
from core.errors import require
from core.ids import new_token, sha256_hex

MARK = "wst_"
MAX_DAYS = 365
USED_EVERY = timedelta(minutes=1)


class Scope(models.TextChoices):
    READ = "read", "Read prompts, answers, campaigns, datasets and runs"
    ANNOTATE = "annotate", "Take tasks and judge them"
    REVIEW = "review", "Read judgements, answer questions, decide on flags"
    GENERATE = "generate", "Import prompts and generate answers"
    CAMPAIGN = "campaign", "Start campaigns, change, pause and close them"
    IMPORT = "import", "Import votes of people from elsewhere"
    EXPORT = "export", "Freeze and download datasets"
    TRAIN = "train", "Start and cancel runs and evaluations"
    DEPLOY = "deploy", "Fetch artifacts, deploy and roll back"
    ROUND = "round", "Start rounds and take their steps"
    ERASE = "erase", "Erase texts for good, and waive what that blocks"
    MEMBERS = "members", "Read and change members, make invitations"
    AUDIT = "audit", "Read the audit log"


# The roles of which the owner must hold one, now, for the scope to count.
SCOPE_ROLES: dict[str, tuple[Role, ...]] = {
    Scope.READ: (Role.RESEARCHER,),
    Scope.ANNOTATE: (Role.ANNOTATOR,),
    Scope.REVIEW: (Role.REVIEWER, Role.RESEARCHER),
    Scope.GENERATE: (Role.RESEARCHER,),
    Scope.CAMPAIGN: (Role.RESEARCHER,),
    Scope.IMPORT: (Role.RESEARCHER,),
    Scope.EXPORT: (Role.RESEARCHER,),
    Scope.TRAIN: (Role.RESEARCHER,),
    Scope.DEPLOY: (Role.RESEARCHER,),
    Scope.ROUND: (Role.RESEARCHER,),
    Scope.ERASE: (Role.ADMIN,),
    Scope.MEMBERS: (Role.ADMIN,),
    Scope.AUDIT: (Role.ADMIN,),
}


def scopes_for(membership: Membership) -> list[Scope]:
    """The scopes that a member may put into a token."""
    return [scope for scope in Scope if allows(membership, *SCOPE_ROLES[scope])]


@transaction.atomic
def create_token(*, membership: Membership, name: str, scopes: Iterable[str], days: int = 90) -> tuple[ApiToken, str]:
    """A new token and its secret, which cannot be shown again."""
    wanted = sorted(set(scopes))
    require(wanted, "Choose at least one scope for this token.")
    require(set(wanted) <= set(scopes_for(membership)), "A token cannot allow more than you may do yourself.")
    require(1 <= days <= MAX_DAYS, f"A token lasts 1 to {MAX_DAYS} days.")
    secret = MARK + new_token()
    token = ApiToken.objects.create(
        user=membership.user,
        project=membership.project,
        name=name,
        token_sha256=sha256_hex(secret),
        prefix=secret[:8],
        scopes=wanted,
        expires_at=timezone.now() + timedelta(days=days),
    )
    record("token.create", user=membership.user, project=membership.project, subject=token, detail={"scopes": wanted})
    return token, secret


@transaction.atomic
def revoke_token(token: ApiToken, *, by: User) -> None:
    if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()) == 1:
        record("token.revoke", user=by, project=token.project, subject=token)


def tokens_of(membership: Membership) -> QuerySet[ApiToken]:
    """One's own tokens; an admin sees everyone's in the project, to be able to revoke them."""
    tokens = ApiToken.objects.filter(project=membership.project).select_related("user").order_by("-id")
    return tokens if membership.is_admin else tokens.filter(user=membership.user)


class TokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer wst_…``; sets ``request.auth`` to the ApiToken. A token in an address is never read."""

    keyword = b"bearer"

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != self.keyword:
            return None
        if len(parts) != 2:
            raise AuthenticationFailed("The Authorization header reads: Bearer <token>.")
        token = self._live_token(parts[1].decode("ascii", "replace"))
        if token is None:
            raise AuthenticationFailed("This token is unknown, expired or revoked, or its owner has left the project.")
        self._note_use(token)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"

    @staticmethod
    def _live_token(secret: str) -> ApiToken | None:
        # Looked up by the hash of the whole secret: how long that takes says nothing about any stored secret.
        token = (
            ApiToken.objects.select_related("user", "project")
            .filter(token_sha256=sha256_hex(secret), revoked_at=None, expires_at__gt=timezone.now())
            .first()
        )
        return token if token and membership_of(token.user, token.project) else None

    @staticmethod
    def _note_use(token: ApiToken) -> None:
        now = timezone.now()
        if token.last_used_at is None or now - token.last_used_at > USED_EVERY:
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)


class _ScopePermission(BasePermission):
    scopes: tuple[Scope, ...]
    message = "This token does not carry the scope that this needs, or its owner may no longer do it."

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user.is_authenticated:
            return False
        project = project_of(request, view)
        if project is None:
            raise NotFound("There is no such project, or this token is of another one.")
        carried = [
            scope for scope in self.scopes if not isinstance(request.auth, ApiToken) or scope in request.auth.scopes
        ]
        membership = membership_of(request.user, project)
        if membership is None or not any(allows(membership, *SCOPE_ROLES[scope]) for scope in carried):
            return False
        request._request.project = project  # type: ignore[attr-defined]
        request._request.membership = membership  # type: ignore[attr-defined]
        return True


def HasScope(*scopes: str) -> type[BasePermission]:
    """A permission class: the token carries one of ``scopes`` and its owner still may do it; without a token the role decides."""
    return type(f"HasScope_{'_'.join(scopes)}", (_ScopePermission,), {"scopes": tuple(Scope(each) for each in scopes)})


def project_of(request: Request, view: Any) -> Project | None:
    """The project that an API request is about: the token's, which must be the one in the address if that names one."""
    slug = view.kwargs.get("project") if hasattr(view, "kwargs") else None
    if isinstance(request.auth, ApiToken):
        project = request.auth.project
        return project if slug in (None, project.slug) else None
    return Project.objects.filter(slug=slug).first() if slug else None
