"""State machines: one declared table ``NEXT`` per model, one function that applies it, one event row in the same transaction."""

from typing import Any

from django.conf import settings
from django.db import models, transaction

from core.errors import Conflict


class IllegalMove(Conflict):
    def __init__(self, obj: models.Model, to: str) -> None:
        super().__init__(
            f"This {obj._meta.verbose_name} is {obj.status} and cannot become {to}.",  # type: ignore[attr-defined]
            how="Reload the page to see where it stands now.",
        )


class EventFields(models.Model):
    """Columns of a machine's event table; the concrete table adds ``subject`` with ``related_name="events"``."""

    before = models.CharField(max_length=20)
    after = models.CharField(max_length=20)
    note = models.TextField(blank=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True
        ordering = ["id"]


def move(
    obj: Any,
    to: str,
    *,
    note: str = "",
    by: Any = None,
    only_from: str | None = None,
    where: Any = None,
    **changes: Any,
) -> None:
    """Change ``obj.status`` to ``to`` if its declared table allows it, and record the event.

    only_from  the single predecessor to accept, where the exact one matters
    where      a ``Q`` that must hold too, such as "the lease token is still mine"
    The check and the write are one UPDATE, so of two callers exactly one wins.
    Raises IllegalMove for the other; callers for whom losing is normal use ``try_move``.
    """
    sources = [state for state, targets in obj.NEXT.items() if to in targets]
    if only_from is not None:
        sources = [state for state in sources if state == only_from]
    with transaction.atomic():
        was = obj.status
        rows = type(obj)._default_manager.filter(pk=obj.pk, status__in=sources)
        if where is not None:
            rows = rows.filter(where)
        if rows.update(status=to, **changes) != 1:
            raise IllegalMove(obj, to)
        obj.events.create(before=was, after=to, note=note, by=by)
    obj.refresh_from_db()


def try_move(obj: Any, to: str, **options: Any) -> bool:
    """``move`` for callers for whom losing is normal: says whether this caller won."""
    try:
        move(obj, to, **options)
    except IllegalMove:
        obj.refresh_from_db()
        return False
    return True


def status_check(name: str, statuses: type[models.TextChoices]) -> models.CheckConstraint:
    """The constraint that holds a status column to its declared values, whoever writes it."""
    return models.CheckConstraint(condition=models.Q(status__in=statuses.values), name=name)
