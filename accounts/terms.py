"""What a membership is beyond its roles: groups, languages, an end. Read from text, checked once, for forms and lists alike."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time

from django.utils import timezone

from core.errors import require

MAX_GROUPS, MAX_GROUP, MAX_LANGUAGES = 20, 40, 20
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*")
_BETWEEN = re.compile(r"[,;|\n]")


@dataclass(frozen=True)
class Terms:
    """Groups by name, languages by code, and when the membership ends by itself (None: never)."""

    groups: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    until: datetime | None = None

    @classmethod
    def of(cls, groups: Iterable[str] = (), languages: Iterable[str] = (), until: datetime | None = None) -> "Terms":
        """Raises DomainError for what is no group, no language or no time to come."""
        return cls(groups=_groups(groups), languages=_languages(languages), until=until)


def words(text: str) -> list[str]:
    """The entries of a line: between commas, semicolons, bars or line ends."""
    return [word.strip() for word in _BETWEEN.split(text) if word.strip()]


def _groups(given: Iterable[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(" ".join(name.split()) for name in given if name.strip()))
    for name in names:
        require(len(name) <= MAX_GROUP, f"The name of a group has at most {MAX_GROUP} characters: {name[:20]}…")
        require(name.isprintable() and not _BETWEEN.search(name), f"{name!r} is no name for a group.")
    require(len(names) <= MAX_GROUPS, f"A person is in at most {MAX_GROUPS} groups.")
    return names


def _languages(given: Iterable[str]) -> tuple[str, ...]:
    codes = tuple(dict.fromkeys(code.strip().lower().replace("_", "-") for code in given if code.strip()))
    for code in codes:
        is_code = len(code) <= 20 and _LANGUAGE.fullmatch(code)
        require(is_code, f"{code[:20]!r} is no language code: write en, de or pt-br.")
    require(len(codes) <= MAX_LANGUAGES, f"A person has at most {MAX_LANGUAGES} languages.")
    return codes


def end_of(day: date) -> datetime:
    """The last moment of a day, in this site's time zone."""
    return timezone.make_aware(datetime.combine(day, time.max.replace(microsecond=0)))


def day_of(text: str) -> datetime:
    """The end of a day that is written 2027-03-31. Raises DomainError for anything else and for days gone by."""
    try:
        until = end_of(date.fromisoformat(text.strip()))
    except (ValueError, OverflowError):
        until = None
    require(until is not None, f"{text.strip()[:20]!r} is no date: write 2027-03-31.")
    assert until is not None
    require(until > timezone.now(), f"{text.strip()} has passed.")
    return until
