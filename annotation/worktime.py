"""A day's work of one person in one campaign: what it counts and how it is added up. Statements are in ``annotation.statements``.

Active time is what a page saw: visible, and the person not idle. It is coarse, shown to the person, and theirs to switch off
(``accounts.preferences``); what is switched off is never stored.
"""

from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Case, Exists, F, Value, When
from django.db.models.functions import Least
from django.utils import timezone

from accounts import preferences
from annotation.models import Annotator, Place, Workday
from core.prepared import Update, given

DAY_SECONDS = 24 * 3600.0


def note(
    place_id: int,
    *,
    judged: int = 0,
    skipped: int = 0,
    parked: int = 0,
    practice: int = 0,
    returned: int = 0,
    active_seconds: float = 0.0,
    open_seconds: float = 0.0,
) -> None:
    """Add to today's row (UTC) of a place. One UPDATE where the row stands; of two first ones at once neither is lost.

    judged, ...     what happened; an undo passes -1 and is counted on the day on which it happens, never below zero
    active_seconds  as the page counted them: 0 is stored for a person who has switched this off, and no more than were open
    """
    counts = {"n_judged": judged, "n_skipped": skipped, "n_parked": parked, "n_practice": practice}
    counts = {name: n for name, n in {**counts, "n_returned": returned}.items() if n}
    opened = _bounded(open_seconds)
    # A page may send active time alone: then it was open for at least as long.
    active = min(_bounded(active_seconds), opened) if opened else _bounded(active_seconds)
    opened = max(opened, active)
    if not counts and not opened:
        return
    day = timezone.now().date()
    if _add(place_id, day, counts, active, opened):
        return
    try:
        with transaction.atomic():
            Workday.objects.create(place_id=place_id, day=day)
    except IntegrityError:  # the first note of the day from another tab: its row stands now
        pass
    _add(place_id, day, counts, active, opened)


def kept(annotator: Annotator, active_seconds: float) -> float:
    """What may be stored of a person's active seconds beside a judgement: nothing where they have switched that off."""
    user = annotator.user
    return active_seconds if user is None or preferences.read(user).is_active_time_on else 0.0


def seconds_in(given: Mapping[str, Any]) -> tuple[float, float]:
    """(active, open) seconds of a posted form; what is no number counts as not measured."""
    return _number(given.get("active")), _number(given.get("open"))


def _number(text: Any) -> float:
    try:
        return _bounded(float(text or 0))
    except (TypeError, ValueError):
        return 0.0


def _add(place_id: int, day: Any, counts: dict[str, int], active: float, opened: float) -> bool:
    update = _addition(tuple(sorted(counts.items())), bool(opened), bool(active))
    return update.run(place=place_id, day=day, opened=opened, active=active) == 1


@cache
def _addition(counts: tuple[tuple[str, int], ...], is_opened: bool, is_active: bool) -> Update:
    """The statement for these counts: compiled once, since each judgement adds to its day."""
    changes: dict[str, Any] = {
        name: F(name) + n if n > 0 else Case(When(**{f"{name}__gte": -n}, then=F(name) + n), default=Value(0))
        for name, n in counts
    }
    if is_opened:
        changes["open_seconds"] = Least(F("open_seconds") + given("opened", float), Value(DAY_SECONDS))
    if is_active:
        more = Least(F("active_seconds") + given("active", float), Value(DAY_SECONDS))
        off = _switched_off(given("place"))
        changes["active_seconds"] = Case(When(off, then=F("active_seconds")), default=more)
    return Update(lambda: Workday.objects.filter(place=given("place"), day=given("day", date)), **changes)


def _switched_off(place_id: Any) -> Exists:
    return Exists(Place.objects.filter(pk=place_id, annotator__user__preferences__is_active_time_on=False))


def _bounded(seconds: float) -> float:
    """What a page sent, from 0 to a day; what is no number is 0."""
    return min(seconds, DAY_SECONDS) if seconds > 0 else 0.0
