"""How one person works: typed settings in ``User.preferences``. Only what differs from the default is stored.

They are the person's own: nobody else reads or sets them, and no right depends on them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from django.db import transaction

from accounts.models import User
from core.errors import DomainError

FONT_SIZES = {"small": "Small", "normal": "Normal", "large": "Large", "largest": "Largest"}
TEXT_WIDTHS = {"narrow": "Narrow", "normal": "Normal", "wide": "Wide", "full": "The whole window"}
LAYOUTS = {"side": "Side by side, where there is room", "stacked": "One below the other"}
CHOICES = {"font_size": FONT_SIZES, "text_width": TEXT_WIDTHS, "layout": LAYOUTS}
MAX_REMINDER_MINUTES = 240
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


@dataclass(frozen=True, slots=True)
class Preferences:
    """The defaults suit a new person: nothing is sent before Enter, and time at work is counted."""

    submit_on_choice: bool = False  # a choice is sent at once where nothing else is required
    font_size: str = "normal"
    text_width: str = "normal"
    layout: str = "side"
    equal_scroll: bool = False  # answers scroll together
    show_diff: bool = False  # where the campaign offers it, words that differ are marked from the start
    reduced_blur: bool = False  # of sensitive answers before they are revealed
    break_reminder_minutes: int = 0  # of active time; 0 is off
    is_active_time_on: bool = True  # whether active seconds are kept with a day's work


DEFAULTS = Preferences()
NAMES = tuple(field.name for field in fields(Preferences))


def read(user: User) -> Preferences:
    """The person's settings. A stored value that is no longer one counts as its default."""
    values = {}
    for name in NAMES:
        if name in user.preferences:
            try:
                values[name] = checked(name, user.preferences[name])
            except DomainError:
                continue
    return Preferences(**values)


@transaction.atomic
def change(user: User, **changes: Any) -> Preferences:
    """Set some settings and leave the others; values may be the text of a form. Raises DomainError for what is none.

    Two tabs that change different settings at once both count: the row is locked while it is read.
    """
    values = {name: checked(name, value) for name, value in changes.items()}
    locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    now = asdict(read(locked)) | values
    locked.preferences = {name: value for name, value in now.items() if value != getattr(DEFAULTS, name)}
    locked.save(update_fields=["preferences"])
    user.preferences = locked.preferences
    return Preferences(**now)


def from_fields(given: Mapping[str, str]) -> dict[str, str]:
    """Of a posted form those fields that name a setting."""
    return {name: given[name] for name in NAMES if name in given}


def checked(name: str, value: Any) -> Any:
    """``value`` in the type of that setting. Raises DomainError where there is no such setting or value."""
    if name not in NAMES:
        raise DomainError(f"There is no setting {name!r}.")
    if isinstance(getattr(DEFAULTS, name), bool):
        return _truth(name, value)
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise DomainError(f"{name} is one of {', '.join(CHOICES[name])}.")
        return value
    return _minutes(value)


def _truth(name: str, value: Any) -> bool:
    word = str(value).strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise DomainError(f"{name} is yes or no.")


def _minutes(value: Any) -> int:
    try:
        minutes = int(value)
    except (TypeError, ValueError):
        minutes = -1
    if not 0 <= minutes <= MAX_REMINDER_MINUTES:
        raise DomainError(f"A reminder comes after 1 to {MAX_REMINDER_MINUTES} minutes of work, or 0 for never.")
    return minutes
