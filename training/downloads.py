"""Downloads of datasets and exports, in the audit log."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import models
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import AuditEvent, Project, User

SAME_DOWNLOAD = timedelta(minutes=10)


def note_download(
    action: str, *, user: User, project: Project, subject: models.Model, detail: Mapping[str, Any]
) -> None:
    """Write a download into the audit log: once for all its parts, which may be many and come in any order."""
    earlier = AuditEvent.objects.filter(
        action=action, user=user, project=project, detail=dict(detail), created_at__gt=Now() - SAME_DOWNLOAD
    )
    if not earlier.exists():
        record(action, user=user, project=project, subject=subject, detail=detail)
