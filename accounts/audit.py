"""Who did what to what. Called inside the transaction of the change, so that neither exists without the other.

Holds keys and figures, never the text of prompts, answers, passwords or tokens.
"""

from collections.abc import Mapping
from typing import Any

from django.db import models
from django.db.models import QuerySet

from accounts.models import AuditEvent, Project, User


def record(
    action: str,
    *,
    user: User | None,
    project: Project | None = None,
    subject: models.Model | None = None,
    detail: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """Write one event.

    action   ``noun.verb``: ``member.remove``, ``round.start``
    user     who did it; None for the system itself
    subject  the row it was done to; shown by its ``key`` or ``slug``, else by its number
    """
    key = getattr(subject, "key", None) or getattr(subject, "slug", None) or getattr(subject, "pk", "")
    return AuditEvent.objects.create(
        action=action,
        user=user,
        project=project,
        subject_type=str(subject._meta.verbose_name or "") if subject is not None else "",
        subject_key=str(key) if subject is not None else "",
        detail=dict(detail or {}),
    )


def events_of(project: Project) -> QuerySet[AuditEvent]:
    """What happened in a project, newest first."""
    return AuditEvent.objects.filter(project=project).select_related("user").order_by("-id")
