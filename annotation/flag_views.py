"""The lead's page of flags: what somebody found wrong, with the task as it was shown; uphold or dismiss. No page names a model."""

from dataclasses import dataclass

from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from accounts.access import person, project_view
from accounts.models import Project
from annotation import flag_handling
from annotation.flag_handling import Flagged, flagged
from annotation.lead_desk import LEADS, ROWS_A_PAGE, Desk, desk_of, name_for, one_of
from annotation.models import Flag
from core.errors import DomainError
from core.htmx import render_page, see_other


@dataclass(frozen=True)
class FlagRow:
    flag: Flag
    who: str
    prompt: str


@dataclass(frozen=True)
class FlagsPage:
    project: Project
    desk: Desk
    status: str
    statuses: list[tuple[str, str]]
    kind: str
    kinds: list[tuple[str, str]]
    page_obj: Page
    rows: list[FlagRow]


@dataclass(frozen=True)
class FlagPage:
    project: Project
    desk: Desk
    flag: Flag
    who: str
    flagged: Flagged
    decided: str
    note: str
    error: str = ""


@require_GET
@project_view(*LEADS)
def flags(request: HttpRequest, project: Project) -> HttpResponse:
    status = one_of(request.GET.get("status"), Flag.Status.values, Flag.Status.OPEN)
    kind = one_of(request.GET.get("kind"), Flag.Kind.values, "")
    found = flag_handling.flags_of(project, status=status, kind=kind)
    page_obj = Paginator(found, ROWS_A_PAGE).get_page(request.GET.get("page"))
    counts = Flag.objects.filter(task__campaign__project=project, status=status).values("kind").annotate(n=Count("pk"))
    n_of = {row["kind"]: row["n"] for row in counts.order_by()}
    page = FlagsPage(
        project=project,
        desk=desk_of(request, project, "flags"),
        status=status,
        statuses=[("open", "Open"), ("upheld", "Upheld"), ("dismissed", "Dismissed"), ("withdrawn", "Withdrawn")],
        kind=kind,
        kinds=[(value, f"{label} ({n_of[value]})") for value, label in Flag.Kind.choices if value in n_of],
        page_obj=page_obj,
        rows=[FlagRow(flag, name_for(request, flag.annotator), flag.task.prompt.last_turn) for flag in page_obj],
    )
    return render_page(request, "annotation/desk.html", "annotation/_flags_desk.html", page, no_store=True)


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(*LEADS)
def flag(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """GET: the flag with the task as it was shown. POST: uphold, dismiss or reopen."""
    found = get_object_or_404(
        Flag.objects.select_related("task__campaign__project", "task__prompt", "annotator__user", "candidate"),
        task__campaign__project=project,
        key=key,
    )
    if request.method == "POST":
        try:
            return _decide(request, project, found)
        except DomainError as problem:
            if problem.status_code != 422:
                raise
            return _flag_response(request, project, found, error=problem.sentence)
    return _flag_response(request, project, found)


def _decide(request: HttpRequest, project: Project, found: Flag) -> HttpResponse:
    decision, note, by = request.POST.get("decision"), request.POST.get("note", ""), person(request)
    if decision == "uphold":
        n_retired = flag_handling.uphold(flag=found, by=by, note=note)
        messages.success(request, f"Upheld. {n_retired} task{' is' if n_retired == 1 else 's are'} taken out.")
    elif decision == "dismiss":
        flag_handling.dismiss(flag=found, by=by, note=note)
        messages.success(request, "Dismissed. The person who raised it reads your note.")
    elif decision == "reopen":
        flag_handling.reopen(flag=found, by=by)
        messages.success(request, "The flag is open again.")
        return see_other(request, reverse("annotation:flag", args=[project.slug, found.key]))
    else:
        raise Http404("No such decision.")
    return see_other(request, reverse("annotation:flags", args=[project.slug]))


def _flag_response(request: HttpRequest, project: Project, found: Flag, error: str = "") -> HttpResponse:
    last = found.events.select_related("by").order_by("-id").first()
    is_decided = found.status in (Flag.Status.UPHELD, Flag.Status.DISMISSED) and last is not None
    page = FlagPage(
        project=project,
        desk=desk_of(request, project, "flags"),
        flag=found,
        who=name_for(request, found.annotator),
        flagged=flagged(found),
        decided=f"{found.get_status_display()} by {last.by or 'the system'}" if is_decided and last else "",
        note=last.note if is_decided and last else request.POST.get("note", ""),
        error=error,
    )
    status = 422 if error else 200
    return render_page(request, "annotation/flag.html", "annotation/_flag.html", page, status=status, no_store=True)
