"""Erase a text from the page of its judgement, try an erasure again, and waive what it blocks."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.access import person, project_view
from accounts.models import Project, Role
from annotation.models import Judgement
from core.htmx import see_other
from training.dataset_views import snapshot_or_404
from training.erasing import WHATS, erase_again, erase_text, waive
from training.models import Erasure


@require_POST
@project_view(Role.ADMIN)
def erase(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    rows = Judgement.objects.select_related("assignment__task__campaign__project", "assignment__task__prompt")
    judgement = get_object_or_404(rows, assignment__task__campaign__project=project, key=key)
    what, note = request.POST.get("what", ""), request.POST.get("note", "")
    found = erase_text(judgement=judgement, what=what, note=note, by=person(request))
    n = found.snapshots.count()
    words = f"{n} dataset{'s' if n != 1 else ''} that held it will follow." if n else "No dataset held it."
    messages.success(request, f"Erased {WHATS[what]}. {words}")
    return see_other(request, reverse("training:judgement", args=[project.slug, key]))


@require_POST
@project_view(Role.ADMIN)
def again(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    found = get_object_or_404(Erasure, project=project, key=key)
    erase_again(found, by=person(request))
    messages.success(request, "The erasure is tried again.")
    held = found.snapshots.first()
    return see_other(
        request,
        reverse("training:snapshot", args=[project.slug, held.key])
        if held
        else reverse("training:snapshots", args=[project.slug]),
    )


@require_POST
@project_view(Role.ADMIN)
def waive_block(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    snapshot = snapshot_or_404(project, key)
    waive(snapshot, note=request.POST.get("note", ""), by=person(request))
    messages.success(request, "New runs may learn from it again.")
    return see_other(request, reverse("training:snapshot", args=[project.slug, key]))
