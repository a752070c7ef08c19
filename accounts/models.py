"""People, projects and what each may do. Nothing here knows of prompts, judgements or models."""

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models

from core.ids import new_key


class User(AbstractUser):
    """A person who can sign in. ``must_set_password`` stands after a one-time link until a password is chosen."""

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    name = models.CharField(max_length=150, blank=True)
    must_set_password = models.BooleanField(default=False)
    theme = models.CharField(
        max_length=8, default="auto", choices=[("auto", "As the system"), ("light", "Light"), ("dark", "Dark")]
    )
    # How this person works: see ``accounts.preferences``. What is missing has its default there.
    preferences = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return self.name or self.username


class Role(models.TextChoices):
    ANNOTATOR = "annotator", "Annotator"
    REVIEWER = "reviewer", "Reviewer"
    RESEARCHER = "researcher", "Researcher"
    ADMIN = "admin", "Admin"


class Project(models.Model):
    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    guidelines = models.TextField(blank=True, help_text="Markdown; what a project's first campaign begins with")
    is_demo = models.BooleanField(default=False, help_text="made by the demo: its model is a toy, and the pages say so")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """One person in one project. The roles are a set: one boolean each, so that the database can filter and count them."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    is_annotator = models.BooleanField(default=False)
    is_reviewer = models.BooleanField(default=False)
    is_researcher = models.BooleanField(default=False)
    is_admin = models.BooleanField(default=False)
    groups = models.JSONField(default=list, blank=True, help_text="names of groups, for who is asked what")
    languages = models.JSONField(default=list, blank=True, help_text="language codes such as en, de, pt-br")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="the membership ends then by itself")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "user"], name="one_membership_per_person_and_project"),
            models.CheckConstraint(
                condition=models.Q(is_annotator=True)
                | models.Q(is_reviewer=True)
                | models.Q(is_researcher=True)
                | models.Q(is_admin=True),
                name="membership_has_a_role",
            ),
        ]

    @property
    def roles(self) -> set[Role]:
        return {role for role in Role if getattr(self, f"is_{role.value}")}

    def has(self, *roles: Role) -> bool:
        """Whether this person holds one of ``roles``; holding any role is enough where none is named."""
        return not roles or bool(self.roles & set(roles))

    @staticmethod
    def flags(roles: set[Role] | list[Role]) -> dict[str, Any]:
        """The columns for a set of roles, for ``create`` and ``update``."""
        return {f"is_{role.value}": role in roles for role in Role}


class SignInLink(models.Model):
    """A one-time link to sign in. Only the hash of its token is kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sign_in_links")
    token_sha256 = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)


class Invitation(models.Model):
    """A link that makes its holder a member; nothing is e-mailed. Only the hash of its token is kept."""

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="invitations")
    token_sha256 = models.CharField(max_length=64, unique=True)
    roles = models.JSONField(default=list)
    groups = models.JSONField(default=list, blank=True)
    languages = models.JSONField(default=list, blank=True)
    member_until = models.DateTimeField(null=True, blank=True, help_text="when the membership it gives ends")
    note = models.CharField(max_length=100, blank=True)
    max_uses = models.PositiveIntegerField(default=1)
    n_uses = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(n_uses__lte=models.F("max_uses")), name="invitation_not_overused"
            ),
        ]


class ApiToken(models.Model):
    """A scoped, expiring credential of one person in one project. Only its hash is kept; the prefix is shown."""

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    token_sha256 = models.CharField(max_length=64, unique=True)
    prefix = models.CharField(max_length=8)
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)


class IdempotentRequest(models.Model):
    """What an API request with an Idempotency-Key was answered; see ``accounts.api.once``."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key_sha256 = models.CharField(max_length=64)
    request_sha256 = models.CharField(max_length=64)
    status_code = models.PositiveIntegerField(default=0)
    answer = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "user", "key_sha256"], name="one_answer_per_idempotency_key"),
        ]


class AuditEvent(models.Model):
    """Who did what to what, written in the same transaction as the change it records. Never updated or deleted."""

    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.SET_NULL, related_name="audit_events")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    action = models.CharField(max_length=60)
    subject_type = models.CharField(max_length=60, blank=True)
    subject_key = models.CharField(max_length=64, blank=True)
    detail = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["project", "-id"], name="audit_by_project"),
            models.Index(fields=["action", "created_at"], name="audit_by_action"),  # the throttle counts by it
        ]
