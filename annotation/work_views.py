"""Statements of work for those who pay: everybody's, one person's, as a page or a file. Admins read names, others pseudonyms."""

from dataclasses import dataclass

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from accounts import preferences
from accounts.access import membership_in, person, project_view
from accounts.audit import record
from accounts.models import Project, Role
from annotation.home_views import PeriodForm, csv_response, query_of, read_period
from annotation.lead_desk import Desk, desk_of, name_for
from annotation.models import Annotator
from annotation.statements import (
    HEADER,
    Period,
    Statement,
    last_days,
    last_month,
    row_of,
    statement_of,
    statements_of,
    this_month,
)
from core.csvs import csv_text
from core.htmx import render_page


@dataclass(frozen=True)
class Row:
    """One person's statement. ``counts_time``: whether their active time is kept."""

    who: str
    statement: Statement
    counts_time: bool


@dataclass(frozen=True)
class WorkPage:
    project: Project
    desk: Desk
    form: PeriodForm
    period: Period
    presets: list[tuple[str, str]]
    query: str
    rows: list[Row]
    person: Row | None
    has_rates: bool


@require_GET
@project_view(Role.RESEARCHER)
def work(request: HttpRequest, project: Project) -> HttpResponse:
    """Everybody's statements of a period, or with ``?person=`` one person's by day; ``?format=csv`` gives the lines."""
    form, period = read_period(request)
    statements = _wanted(request, project, period)
    if request.GET.get("format") == "csv":
        return _csv(request, project, period, statements)
    rows = [_row(request, statement) for statement in statements]
    page = WorkPage(
        project=project,
        desk=desk_of(request, project, "work"),
        form=form,
        period=period,
        presets=[
            (label, query_of(preset))
            for label, preset in (("This month", this_month()), ("Last month", last_month()), ("7 days", last_days(7)))
        ],
        query=query_of(period),
        rows=rows,
        person=rows[0] if "person" in request.GET else None,
        has_rates=any(row.statement.pay is not None for row in rows),
    )
    status = 422 if form.errors else 200
    return render_page(request, "annotation/desk.html", "annotation/_work.html", page, status=status, no_store=True)


def _wanted(request: HttpRequest, project: Project, period: Period) -> list[Statement]:
    pseudonym = request.GET.get("person")
    if pseudonym is None:
        return statements_of(project, period)
    found = Annotator.objects.select_related("user", "project").filter(project=project, pseudonym=pseudonym).first()
    if found is None:
        raise Http404("No such person.")
    return [statement_of(found, period)]


def _row(request: HttpRequest, statement: Statement) -> Row:
    user = statement.annotator.user
    return Row(
        who=name_for(request, statement.annotator),
        statement=statement,
        counts_time=user is None or preferences.read(user).is_active_time_on,
    )


def _csv(request: HttpRequest, project: Project, period: Period, statements: list[Statement]) -> HttpResponse:
    """One line a person, campaign and day. The name of the account stands beside the pseudonym for admins alone."""
    is_admin = membership_in(request).is_admin
    names = ("person", "name", "username") if is_admin else ("person",)
    rows = []
    for statement in statements:
        who: list[object] = [statement.annotator.pseudonym]
        user = statement.annotator.user
        if is_admin:
            who += [user.name if user else "", user.username if user else ""]
        rows += [[*who, *row_of(line)] for line in statement.lines]
    record("work.export", user=person(request), project=project, detail={"rows": len(rows), "names": is_admin})
    return csv_response(csv_text((*names, *HEADER), rows), f"work-{period.first}-to-{period.last}.csv")
