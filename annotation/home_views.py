"""The annotator's home with notes and questions, and the statement of one's own work."""

import datetime
from dataclasses import dataclass

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts import preferences
from accounts.access import membership_in, person, project_view
from accounts.models import Project, Role
from accounts.preferences import Preferences
from annotation import questions, statements
from annotation.home import Mine, Notes, my_campaigns, notes_for, work_today
from annotation.models import Annotator, Question
from annotation.statements import HEADER, Period, Statement, Work, row_of
from core.csvs import csv_text
from core.errors import DomainError
from core.htmx import render_page, see_other

MAX_QUESTIONS = 100


@dataclass(frozen=True)
class HomePage:
    project: Project
    campaigns: list[Mine]
    notes: Notes
    today: Work
    look: Preferences

    @property
    def first(self) -> Mine | None:
        """Where Continue leads: a task in hand first, else the newest campaign with work."""
        able = [mine for mine in self.campaigns if mine.can_go_on]
        return next((mine for mine in able if mine.is_open), able[0] if able else None)


@dataclass(frozen=True)
class MyWorkPage:
    project: Project
    form: "PeriodForm"
    period: Period
    statement: Statement | None
    look: Preferences
    query: str


@dataclass(frozen=True)
class NotesPage:
    project: Project
    notes: Notes
    mine: list[Question]


class PeriodForm(forms.Form):
    first = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))
    last = forms.DateField(label="To", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))

    def clean(self) -> dict[str, datetime.date]:
        data = super().clean() or {}
        if "first" in data and "last" in data:
            try:
                Period(data["first"], data["last"]).check()
            except DomainError as problem:
                raise forms.ValidationError(problem.sentence) from None
        return data


def read_period(request: HttpRequest) -> tuple[PeriodForm, Period]:
    """The period that the address names, else this month. What is none is shown in the form, and this month beside it."""
    default = statements.this_month()
    if not {"first", "last"} & set(request.GET):
        return PeriodForm({"first": default.first, "last": default.last}), default
    form = PeriodForm(request.GET)
    if form.is_valid():
        return form, Period(form.cleaned_data["first"], form.cleaned_data["last"])
    return form, default


def query_of(period: Period) -> str:
    return f"first={period.first.isoformat()}&last={period.last.isoformat()}"


def csv_response(text: str, name: str) -> HttpResponse:
    response = HttpResponse(text, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response


@require_GET
@project_view(Role.ANNOTATOR)
def home(request: HttpRequest, project: Project) -> HttpResponse:
    membership, me = membership_in(request), _me(request, project)
    page = HomePage(
        project=project,
        campaigns=my_campaigns(membership, me),
        notes=notes_for(membership, me),
        today=work_today(me),
        look=preferences.read(person(request)),
    )
    return render_page(request, "annotation/home.html", "annotation/_home.html", page, no_store=True)


@require_GET
@project_view(Role.ANNOTATOR)
def my_work(request: HttpRequest, project: Project) -> HttpResponse:
    """One's own statement, as a page or (``?format=csv``) as a file."""
    me, (form, period) = _me(request, project), read_period(request)
    statement = statements.statement_of(me, period) if me else None
    if request.GET.get("format") == "csv":
        rows = [row_of(line) for line in statement.lines] if statement else []
        return csv_response(csv_text(HEADER, rows), f"my-work-{period.first}-to-{period.last}.csv")
    page = MyWorkPage(
        project=project,
        form=form,
        period=period,
        statement=statement,
        look=preferences.read(person(request)),
        query=query_of(period),
    )
    status = 422 if form.errors else 200
    return render_page(
        request, "annotation/my_work.html", "annotation/_my_work.html", page, status=status, no_store=True
    )


# ---- notes -------------------------------------------------------------------------------------------------------------


@require_GET
@project_view(Role.ANNOTATOR)
def notes(request: HttpRequest, project: Project) -> HttpResponse:
    """What is new for this person, and all that they have asked."""
    me = _me(request, project)
    page = NotesPage(
        project=project,
        notes=notes_for(membership_in(request), me),
        mine=list(questions.questions_of(me)[:MAX_QUESTIONS]) if me else [],
    )
    return render_page(request, "annotation/notes.html", "annotation/_notes.html", page, no_store=True)


@require_POST
@project_view(Role.ANNOTATOR)
def answer_seen(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """The answer is read. Anybody else's question looks like one that does not exist."""
    me = _me(request, project)
    found = get_object_or_404(Question, assignment__annotator=me, key=key) if me else None
    if found is None:
        raise Http404("No such question.")
    questions.mark_seen(found)
    return see_other(request, reverse("annotation:next", args=[project.slug]))


def _me(request: HttpRequest, project: Project) -> Annotator | None:
    """This person as an annotator, if they have ever judged here: opening a page creates nothing."""
    return Annotator.objects.filter(project=project, user=person(request)).select_related("user", "project").first()
