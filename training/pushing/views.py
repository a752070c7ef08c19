"""Pages of pushes: choose a place, follow the upload, go on with one that broke off."""

from dataclasses import dataclass

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import person, project_view
from accounts.models import Project, Role
from core.errors import DomainError
from core.htmx import render_page, see_other
from training.dataset_views import snapshot_or_404
from training.exports.job import file_of
from training.models import ExportJob, PushJob, Snapshot
from training.pushing import job as pushes
from training.pushing.forms import PushForm, first_values
from training.pushing.places import Destination, destinations
from training.snapshots import directory_of

SHOWN = 20


def push_or_404(project: Project, key: str) -> PushJob:
    rows = PushJob.objects.select_related("project", "snapshot", "export", "requested_by")
    return get_object_or_404(rows, project=project, key=key)


@dataclass(frozen=True)
class NewPushPage:
    project: Project
    snapshot: Snapshot
    export: ExportJob | None
    form: PushForm | None
    not_offered: list[Destination]
    pushes: list[PushJob]


@require_http_methods(["GET", "POST"])
@project_view(Role.RESEARCHER)
def new_push(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """The form of a push of a dataset, or of the export that the address names."""
    snapshot, status = snapshot_or_404(project, key), 200
    directory_of(snapshot)
    asked = request.GET.get("export", "")
    export = get_object_or_404(ExportJob, snapshot=snapshot, key=asked) if asked else None
    if export is not None:
        file_of(export)
    places = destinations()
    offered = [place for place in places if place.is_offered]
    form = None
    if offered:
        data = request.POST if request.method == "POST" else None
        initial = first_values(snapshot, offered)
        form = PushForm(data, offered=offered, is_export=export is not None, initial=initial)
        status = 422 if data is not None else 200
        if form.is_valid():
            try:
                push = pushes.start_push(snapshot=snapshot, export=export, by=person(request), **form.cleaned_data)
                return see_other(request, reverse("training:push", args=[project.slug, push.key]))
            except DomainError as trouble:
                form.add_error(None, forms.ValidationError(trouble.words))
                status = trouble.status_code
    ctx = NewPushPage(
        project=project, snapshot=snapshot, export=export, form=form,
        not_offered=[place for place in places if not place.is_offered], pushes=list(pushes.pushes_of(snapshot)[:SHOWN]),
    )  # fmt: skip
    return render_page(request, "training/push_new.html", "training/_push_new.html", ctx, status=status)


@dataclass(frozen=True)
class PushPage:
    project: Project
    push: PushJob

    @property
    def is_web_address(self) -> bool:
        return self.push.address.startswith(("http://", "https://"))


@require_GET
@project_view(Role.RESEARCHER)
def push(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    ctx = PushPage(project=project, push=push_or_404(project, key))
    return render_page(request, "training/push.html", "training/_push.html", ctx)


@require_POST
@project_view(Role.RESEARCHER)
def cancel(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    found = push_or_404(project, key)
    pushes.cancel_push(found, by=person(request))
    return see_other(request, reverse("training:push", args=[project.slug, found.key]))


@require_POST
@project_view(Role.RESEARCHER)
def again(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Go on with a push that failed or was cancelled."""
    found = push_or_404(project, key)
    pushes.push_again(found, by=person(request))
    return see_other(request, reverse("training:push", args=[project.slug, found.key]))
