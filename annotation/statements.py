"""Statements of work: what each person did in a period, by campaign and day, for those who pay and for the person.

Days are in UTC. Times are what pages counted (``annotation.worktime``): coarse, and nothing for those who switched it off.
"""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import Project
from annotation.models import Annotator, Workday
from core.errors import require

MAX_DAYS = 366
COUNTS = ("n_judged", "n_practice", "n_skipped", "n_parked", "n_returned")


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days, both ends included."""

    first: datetime.date
    last: datetime.date

    @property
    def n_days(self) -> int:
        return (self.last - self.first).days + 1

    def check(self) -> None:
        require(self.first <= self.last, "The period ends before it begins.")
        require(self.n_days <= MAX_DAYS, f"A statement covers at most {MAX_DAYS} days.")


def this_month(today: datetime.date | None = None) -> Period:
    today = today or timezone.now().date()
    return Period(today.replace(day=1), today)


def last_month(today: datetime.date | None = None) -> Period:
    last = (today or timezone.now().date()).replace(day=1) - datetime.timedelta(days=1)
    return Period(last.replace(day=1), last)


def last_days(n_days: int, today: datetime.date | None = None) -> Period:
    today = today or timezone.now().date()
    return Period(today - datetime.timedelta(days=n_days - 1), today)


@dataclass(frozen=True, slots=True)
class Work:
    """Counts and seconds that can be added up."""

    n_judged: int = 0
    n_practice: int = 0
    n_skipped: int = 0
    n_parked: int = 0
    n_returned: int = 0
    active_seconds: float = 0.0
    open_seconds: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Work)))

    @property
    def active_hours(self) -> float:
        return round(self.active_seconds / 3600, 2)

    @property
    def minutes(self) -> int:
        return round(self.active_seconds / 60)

    @property
    def open_minutes(self) -> int:
        return round(self.open_seconds / 60)

    @property
    def open_hours(self) -> float:
        return round(self.open_seconds / 3600, 2)


@dataclass(frozen=True, slots=True)
class Line:
    """One person's day in one campaign. ``pay`` is active time at the campaign's rate; None where it has no rate."""

    annotator: Annotator
    day: datetime.date
    campaign_key: str
    campaign_name: str
    work: Work
    rate: float | None = None

    @property
    def pay(self) -> float | None:
        return None if self.rate is None else self.work.active_seconds / 3600 * self.rate


@dataclass(frozen=True, slots=True)
class Statement:
    """One person's work in a period: its lines by day, then campaign, and their sum."""

    annotator: Annotator
    lines: tuple[Line, ...]
    total: Work
    pay: float | None  # None where no campaign of it has a rate

    @property
    def campaigns(self) -> list[Line]:
        """One line a campaign, by name; ``day`` is the first one."""
        sums: dict[str, Line] = {}
        for line in self.lines:
            before = sums.get(line.campaign_key)
            sums[line.campaign_key] = line if before is None else replace(before, work=before.work + line.work)
        return sorted(sums.values(), key=lambda line: (line.campaign_name, line.campaign_key))


def work_of(day: Workday) -> Work:
    return Work(**{each.name: getattr(day, each.name) for each in fields(Work)})


def statement_of(annotator: Annotator, period: Period) -> Statement:
    """One person's own."""
    return _statement(annotator, _lines(_days(annotator.project, period).filter(place__annotator=annotator)))


def statements_of(project: Project, period: Period) -> list[Statement]:
    """Of everybody with a day of work in the period, by pseudonym. Simulated and automatic annotators are left out."""
    by_person: dict[int, list[Line]] = {}
    for line in _lines(_days(project, period).filter(place__annotator__kind=Annotator.Kind.HUMAN)):
        by_person.setdefault(line.annotator.pk, []).append(line)
    made = [_statement(lines[0].annotator, lines) for lines in by_person.values()]
    return sorted(made, key=lambda statement: statement.annotator.pseudonym)


def _days(project: Project, period: Period) -> QuerySet[Workday]:
    period.check()
    return (
        Workday.objects.filter(place__campaign__project=project, day__gte=period.first, day__lte=period.last)
        .select_related("place__annotator__user", "place__campaign")
        .order_by("day", "place__campaign__name", "pk")
    )


def _lines(days: Iterable[Workday]) -> list[Line]:
    return [
        Line(
            annotator=day.place.annotator,
            day=day.day,
            campaign_key=day.place.campaign.key,
            campaign_name=day.place.campaign.name,
            work=work_of(day),
            rate=day.place.campaign.pay_per_hour,
        )
        for day in days
    ]


def _statement(annotator: Annotator, lines: list[Line]) -> Statement:
    total = sum((line.work for line in lines), Work())
    amounts = [line.pay for line in lines if line.pay is not None]
    return Statement(annotator, tuple(lines), total, sum(amounts) if amounts else None)


# ---- as a table --------------------------------------------------------------------------------------------------------

HEADER = (
    "day", "campaign", "campaign_key", "judgements", "practice", "skipped", "parked", "returned", "active_hours",
    "open_hours", "rate_per_hour", "active_hours_at_rate",
)  # fmt: skip


def row_of(line: Line) -> list[object]:
    """The cells of ``HEADER``; who it is about stands before them."""
    work = line.work
    return [
        line.day.isoformat(), line.campaign_name, line.campaign_key,
        *(getattr(work, name) for name in COUNTS), work.active_hours, work.open_hours,
        "" if line.rate is None else line.rate,
        "" if line.pay is None else round(line.pay, 2),
    ]  # fmt: skip
