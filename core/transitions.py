"""State machines: one declared table ``NEXT`` per model, one function that applies it, one event row in the same transaction."""

from typing import Any

from django.conf import settings
from django.db import models, transaction

from core.errors import Conflict
from core.prepared import Insert, Update, given

AT_ONCE = 5_000  # rows: SQLite takes only so many parameters in one query


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


def move_all(rows: models.QuerySet[Any], to: str, *, note: str = "", by: Any = None, **changes: Any) -> int:
    """``move`` for many rows at once: those of ``rows`` that may become ``to`` do, each with its event. Returns how many."""
    model = rows.model
    sources = [state for state, targets in model.NEXT.items() if to in targets]
    event = model.events.rel.related_model
    with transaction.atomic():
        found = rows.filter(status__in=sources).order_by("pk").select_for_update(no_key=True)
        was = list(found.values_list("pk", "status"))
        for start in range(0, len(was), AT_ONCE):
            chunk = was[start : start + AT_ONCE]
            model._default_manager.filter(pk__in=[pk for pk, _ in chunk]).update(status=to, **changes)
            event._default_manager.bulk_create(
                [event(subject_id=pk, before=before, after=to, note=note, by=by) for pk, before in chunk]
            )
    return len(was)


class Move:
    """One kind of move, compiled once, for a page that people wait for all day. Does what ``move`` does, in the caller's transaction.

    changes  values, expressions or ``given``; those given are named again in ``run``
    After it the instance has the plain values; columns that the database computes are read again on their next use.
    """

    def __init__(self, model: type[models.Model], to: str, *, only_from: str | None = None, **changes: Any) -> None:
        sources = [state for state, targets in model.NEXT.items() if to in targets]  # type: ignore[attr-defined]
        self.sources = [state for state in sources if only_from in (None, state)]
        if not self.sources:
            raise ValueError(f"{model.__name__} has no move to {to} from {only_from}.")
        self.model, self.to, self.changes = model, to, changes
        self._rows = Update(
            lambda: model._default_manager.filter(pk=given("pk"), status__in=self.sources), status=to, **changes
        )
        self._event = Insert(model.events.rel.related_model)  # type: ignore[attr-defined]

    def run(self, obj: Any, *, note: str = "", by: Any = None, **values: Any) -> None:
        """Raises IllegalMove where the row is in none of the states that this move begins from."""
        if not transaction.get_connection().in_atomic_block:
            raise transaction.TransactionManagementError("A move and its event belong into one transaction.")
        if self._rows.run(pk=obj.pk, **values) != 1:
            raise IllegalMove(obj, self.to)
        by_id = by.pk if by is not None else None
        self._event.one(subject_id=obj.pk, before=obj.status, after=self.to, note=note, by_id=by_id)
        obj.status = self.to
        for field in self.model._meta.concrete_fields:
            if field.generated or field.name in self.changes:
                obj.__dict__.pop(field.attname, None)  # deferred: read again where it is asked for
                if field.is_relation:
                    obj._state.fields_cache.pop(field.name, None)
        for name, value in self.changes.items():
            if not hasattr(value, "resolve_expression"):
                setattr(obj, name, value)
        for name, value in values.items():
            setattr(obj, self.model._meta.get_field(name).attname, value)  # type: ignore[union-attr]


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
