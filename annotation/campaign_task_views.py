"""A campaign's tasks and who holds them: bring some forward, take some out, free what people hold, hand it to others."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts.access import allows, membership_in, person, project_view
from accounts.models import Membership, Project, Role
from annotation.building import REGRESSION
from annotation.campaign_work import (
    PRIORITIES,
    Holding,
    hand_over,
    holdings_of,
    release_held,
    retire_tasks,
    set_priority,
    tasks_of,
)
from annotation.models import Annotator, Campaign, ComparisonTask
from core.errors import DomainError
from core.htmx import render_page, see_other

ROWS_A_PAGE = 50
WHY = {
    "within": "Same model",
    "across": "Across",
    "baseline": "Baseline",
    "random": "Random",
    REGRESSION: "New against old",
}


class FilterForm(forms.Form):
    """Which tasks are meant; the same for the list and for what is done to them."""

    split = forms.ChoiceField(
        choices=[("", "All prompts"), ("train", "For training"), ("holdout", "Held out")],
        required=False,
        label="Prompts",
    )
    why = forms.ChoiceField(choices=[("", "Any"), *WHY.items()], required=False, label="Chosen as")
    status = forms.ChoiceField(
        choices=[("", "Any"), ("free", "With a free place"), ("held", "In somebody's hand"), ("open", "Open"),
                 ("complete", "Complete"), ("retired", "Taken out")],
        required=False,
    )  # fmt: skip
    priority = forms.ChoiceField(
        choices=[("", "Any"), ("first", "First"), ("normal", "In turn"), ("last", "Last")],
        required=False,
        label="In line",
    )

    def tasks(self, campaign: Campaign) -> QuerySet[ComparisonTask]:
        chosen = self.cleaned_data if self.is_valid() else {}
        return tasks_of(campaign, **{name: chosen.get(name, "") for name in self.fields})


@dataclass(frozen=True)
class TaskRow:
    task: ComparisonTask
    prompt: str
    why: str
    line: str


@dataclass(frozen=True)
class Person:
    holding: Holding
    name: str  # for admins; everybody else sees the pseudonym


@dataclass(frozen=True)
class TasksPage:
    project: Project
    campaign: Campaign
    form: FilterForm
    page_obj: Page
    rows: list[TaskRow]
    n_found: int
    holdings: list[Person]
    receivers: list[tuple[str, str]]
    may_change: bool
    query: str
    problem: str = ""


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.RESEARCHER, Role.REVIEWER)
def tasks(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    found = get_object_or_404(Campaign, project=project, key=key)
    if request.method != "POST":
        return _response(request, found, request.GET)
    if not allows(membership_in(request), Role.RESEARCHER):
        raise PermissionDenied("Researchers decide on tasks.")
    try:
        said = _do(request, found)
    except DomainError as problem:
        sentence = problem.words
        return _response(request, found, request.POST, problem=sentence, status=problem.status_code)
    messages.success(request, said)
    query = FilterForm(request.POST)
    kept = QueryDict(mutable=True)
    if query.is_valid():
        kept.update({name: value for name, value in query.cleaned_data.items() if value})
    address = reverse("annotation:tasks", args=[project.slug, found.key])
    return see_other(request, f"{address}?{kept.urlencode()}" if kept else address)


def _do(request: HttpRequest, found: Campaign) -> str:
    """What the pressed button says, in a sentence of what was done."""
    given, by, action = request.POST, person(request), request.POST.get("action", "")
    if action in ("release", "hand-over"):
        people = list(Annotator.objects.filter(project=found.project, pseudonym__in=given.getlist("person")))
        if not people:
            raise DomainError("Choose at least one person.")
        if action == "release":
            n = release_held(found, people, by=by)
            return f"{n:,} place{'' if n == 1 else 's'} freed."
        to = Membership.objects.filter(project=found.project, user__key=given.get("to", "")).first()
        if to is None:
            raise DomainError("Choose who gets them.")
        done = hand_over(found, people, to, by=by)
        why = f" {' '.join(done.why_not)}" if done.why_not else ""
        return f"{done.n_given:,} handed over; {done.n_free:,} free for everybody.{why}"
    chosen = FilterForm(given).tasks(found)
    if not given.get("all"):
        chosen = ComparisonTask.objects.filter(campaign=found, key__in=given.getlist("task"))
    if not chosen.exists():
        raise DomainError("Choose at least one task.")
    if action.removeprefix("priority-") in PRIORITIES:
        n = set_priority(found, chosen, action.removeprefix("priority-"), by=by)
        return f"{n:,} task{'' if n == 1 else 's'} moved in line."
    if action == "retire":
        n = retire_tasks(found, chosen, by=by, note=given.get("note", ""))
        return f"{n:,} task{'' if n == 1 else 's'} taken out."
    raise DomainError("Choose what is to be done.")


def _response(
    request: HttpRequest, found: Campaign, given: QueryDict, *, problem: str = "", status: int = 200
) -> HttpResponse:
    form = FilterForm(given)
    chosen = form.tasks(found)
    page_obj = Paginator(chosen.select_related("prompt"), ROWS_A_PAGE).get_page(given.get("page"))
    membership = membership_in(request)
    is_admin = membership.has(Role.ADMIN)
    members = Membership.objects.filter(project=found.project, is_annotator=True).select_related("user")
    query = {name: value for name, value in (form.cleaned_data if form.is_valid() else {}).items() if value}
    page = TasksPage(
        project=found.project,
        campaign=found,
        form=form,
        page_obj=page_obj,
        rows=[_row(task) for task in page_obj],
        n_found=page_obj.paginator.count,
        holdings=[Person(it, _name(it, is_admin=is_admin)) for it in holdings_of(found)],
        receivers=sorted(((m.user.key, str(m.user)) for m in members), key=lambda pair: pair[1].casefold()),
        may_change=allows(membership, Role.RESEARCHER),
        query=_encoded(query),
        problem=problem,
    )
    template, part = "annotation/campaign_tasks.html", "annotation/_campaign_tasks.html"
    return render_page(request, template, part, page, status=status, no_store=True)


def _encoded(values: dict[str, Any]) -> str:
    query = QueryDict(mutable=True)
    query.update(values)
    return f"{query.urlencode()}&" if query else ""


def _row(task: ComparisonTask) -> TaskRow:
    line = {10: "first", 0: "in turn", -10: "last"}.get(task.priority, str(task.priority))
    return TaskRow(task, task.prompt.last_turn, WHY.get(task.chosen_why, task.chosen_why or "—"), line)


def _name(holding: Holding, *, is_admin: bool) -> str:
    user = holding.place.annotator.user
    return str(user) if is_admin and user is not None else holding.place.annotator.pseudonym
