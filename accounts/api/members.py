"""The API of a project and its people: members, invitations, the audit log."""

from typing import Any

from django.db import transaction
from rest_framework import serializers

from accounts import invitations, members
from accounts.api.base import Given, ProjectApi, call, key_of
from accounts.audit import events_of
from accounts.models import AuditEvent, Invitation, Membership, Project, Role
from accounts.terms import Terms
from accounts.tokens import Scope
from core.api import StrictSerializer


class ProjectSerializer(serializers.ModelSerializer[Project]):
    class Meta:
        model = Project
        fields = ("slug", "name", "description", "is_demo", "created_at")


class ProjectDetail(ProjectApi):
    """The token's project."""

    @call(*Scope, tells=ProjectSerializer)
    def get(self, given: Given) -> Any:
        return self.project


# ---- members -----------------------------------------------------------------------------------------------------------


class MemberSerializer(serializers.ModelSerializer[Membership]):
    key = serializers.CharField(source="user.key")
    username = serializers.CharField(source="user.username")
    name = serializers.CharField(source="user.name")
    roles = serializers.SerializerMethodField()

    class Meta:
        model = Membership
        fields = ("key", "username", "name", "roles", "groups", "languages", "expires_at", "created_at")

    def get_roles(self, member: Membership) -> list[str]:
        return sorted(role.value for role in member.roles)


def _words(**more: Any) -> Any:
    return serializers.ListField(child=serializers.CharField(max_length=60), max_length=50, **more)


def _roles(**more: Any) -> Any:
    return serializers.ListField(child=serializers.ChoiceField(choices=Role.choices), allow_empty=False, **more)


class MemberChangesSerializer(StrictSerializer):
    """What is left out stays as it is."""

    roles = _roles(required=False)
    groups = _words(required=False)
    languages = _words(required=False, help_text="codes such as en or pt-br")
    expires_at = serializers.DateTimeField(required=False, allow_null=True, help_text="null: without an end")


class Members(ProjectApi):
    @call(Scope.MEMBERS, lists=MemberSerializer)
    def get(self, given: Given) -> Any:
        """The members, oldest membership first."""
        rows = members.members_of(self.project)
        return self.page(MemberSerializer, rows, by="user__key", is_newest_first=False)


class Member(ProjectApi):
    def _found(self, key: str) -> Membership:
        found: Membership = self.found(members.members_of(self.project), user__key=key)
        return found

    @call(Scope.MEMBERS, tells=MemberSerializer)
    def get(self, given: Given, key: str) -> Any:
        """One member."""
        return self._found(key)

    @call(Scope.MEMBERS, asks=MemberChangesSerializer, tells=MemberSerializer)
    @transaction.atomic
    def patch(self, given: Given, key: str) -> Any:
        """Change roles, groups, languages or the end of a membership. Nobody changes their own roles."""
        found = self._found(key)
        self.check_unchanged(MemberSerializer, found)
        if "roles" in given and set(given["roles"]) != found.roles:
            members.change_roles(membership=found, roles=[Role(role) for role in given["roles"]], by=self.membership)
        terms = Terms.of(
            given.get("groups", found.groups),
            given.get("languages", found.languages),
            given.get("expires_at", found.expires_at),
        )
        members.change_terms(membership=found, terms=terms, by=self.membership)
        return self._found(key)

    @call(Scope.MEMBERS)
    def delete(self, given: Given, key: str) -> None:
        """End a membership: leases are freed, tokens revoked; what the person did stays."""
        members.remove_member(membership=self._found(key), by=self.membership)


# ---- invitations -------------------------------------------------------------------------------------------------------


INVITATION = (
    "key", "roles", "groups", "languages", "member_until", "note", "max_uses", "n_uses", "expires_at", "revoked_at", "created_at",
)  # fmt: skip


class InvitationSerializer(serializers.ModelSerializer[Invitation]):
    class Meta:
        model = Invitation
        fields = INVITATION


class InvitationWithLinkSerializer(serializers.ModelSerializer[Invitation]):
    link = serializers.URLField(help_text="shown this once")

    class Meta:
        model = Invitation
        fields = (*INVITATION, "link")


class NewInvitationSerializer(StrictSerializer):
    roles = _roles()
    groups = _words(default=list)
    languages = _words(default=list)
    member_until = serializers.DateTimeField(
        default=None, allow_null=True, help_text="when the membership it gives ends"
    )
    days = serializers.IntegerField(default=7, min_value=1, max_value=invitations.MAX_DAYS)
    max_uses = serializers.IntegerField(default=1, min_value=1, max_value=invitations.MAX_USES)
    note = serializers.CharField(default="", allow_blank=True, max_length=invitations.MAX_NOTE)


class Invitations(ProjectApi):
    @call(Scope.MEMBERS, lists=InvitationSerializer)
    def get(self, given: Given) -> Any:
        """Invitations, newest first; never their links."""
        return self.project.invitations.all()

    @call(Scope.MEMBERS, asks=NewInvitationSerializer, tells=InvitationWithLinkSerializer, status=201)
    def post(self, given: Given) -> Any:
        """Make an invitation. Its link is in this answer and nowhere else."""
        made, path = invitations.invite(
            project=self.project,
            roles=[Role(role) for role in given["roles"]],
            by=self.membership,
            days=given["days"],
            max_uses=given["max_uses"],
            note=given["note"],
            terms=Terms.of(given["groups"], given["languages"], given["member_until"]),
        )
        made.link = self.request.build_absolute_uri(path)  # type: ignore[attr-defined]
        return made


class OneInvitation(ProjectApi):
    @call(Scope.MEMBERS, tells=InvitationSerializer)
    def get(self, given: Given, key: str) -> Any:
        """One invitation."""
        return self.found(self.project.invitations.all(), key=key)

    @call(Scope.MEMBERS)
    def delete(self, given: Given, key: str) -> None:
        """Withdraw an invitation; the people who used it stay."""
        invitations.revoke_invitation(self.found(self.project.invitations.all(), key=key), by=self.by)


# ---- the audit log -----------------------------------------------------------------------------------------------------


class AuditEventSerializer(serializers.ModelSerializer[AuditEvent]):
    user = key_of(allow_null=True)

    class Meta:
        model = AuditEvent
        fields = ("action", "user", "subject_type", "subject_key", "detail", "created_at")


class AuditEvents(ProjectApi):
    @call(Scope.AUDIT, lists=AuditEventSerializer)
    def get(self, given: Given) -> Any:
        """Who did what to what, newest first."""
        return self.page(AuditEventSerializer, events_of(self.project), by="pk")
