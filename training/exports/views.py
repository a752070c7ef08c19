"""Pages of exports: choose a format, follow the writing, fetch the file."""

from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.conf import settings
from django.core.paginator import Page, Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import person, project_view
from accounts.models import Project, Role
from core.downloads import download
from core.errors import DomainError
from core.htmx import render_page, see_other
from training.blinding import note_file_had
from training.dataset_views import snapshot_or_404
from training.downloads import note_download
from training.exports import job as exports
from training.exports.columns import Column
from training.exports.containers import CONTAINERS
from training.exports.formats import Format, format_named
from training.exports.forms import DEFAULT, ExportForm
from training.exports.links import is_good, link_for
from training.exports.options import Options, in_words
from training.models import ExportJob, Snapshot
from training.snapshots import directory_of

SHOWN = 20
READERS = {"parquet": "parquet", "jsonl": "json", "jsonl.zst": "json", "csv": "csv", "csv-spreadsheet": "csv"}


def export_or_404(project: Project, key: str) -> ExportJob:
    rows = ExportJob.objects.select_related("project", "snapshot", "requested_by")
    return get_object_or_404(rows, project=project, key=key)


@dataclass(frozen=True)
class NewExportPage:
    project: Project
    snapshot: Snapshot
    form: ExportForm
    exports: Page[ExportJob]

    @property
    def chosen(self) -> Format:
        return self.form.chosen

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.chosen.columns_for(self.form.options)

    @property
    def listed(self) -> list[tuple[ExportJob, str]]:
        """Each with what tells it apart from others of its name."""
        return [(each, ", ".join([_container(each), *in_words(each.options)])) for each in self.exports]


def _container(job: ExportJob) -> str:
    return CONTAINERS[job.container].label if job.container in CONTAINERS else "Zip"


@require_http_methods(["GET", "POST"])
@project_view(Role.RESEARCHER)
def new_export(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """The form and what the chosen format is: htmx asks again by GET on every change, the Show button by POST."""
    snapshot = snapshot_or_404(project, key)
    directory_of(snapshot)  # refuses a dataset that is not ready, or whose files are gone
    asked, status = (request.POST if request.method == "POST" else request.GET), 200
    if request.method == "POST" and "show" not in request.POST:
        form, status = ExportForm(request.POST), 422
        if form.is_valid():
            try:
                job = exports.start_export(
                    snapshot=snapshot, file_format=form.chosen.name, container=form.cleaned_data["container"],
                    options=form.options.model_dump(), by=person(request),
                )  # fmt: skip
                return see_other(request, reverse("training:export", args=[project.slug, job.key]))
            except DomainError as trouble:
                form.add_error(None, forms.ValidationError(trouble.words))
                status = trouble.status_code
    elif "file_format" in asked:
        form = ExportForm(asked)
    else:
        form = ExportForm(initial={"file_format": DEFAULT, "split": "train"})
    found = Paginator(exports.exports_of(snapshot), SHOWN).get_page(request.GET.get("page"))
    ctx = NewExportPage(project=project, snapshot=snapshot, form=form, exports=found)
    return render_page(request, "training/export_new.html", "training/_export_new.html", ctx, status=status)


@dataclass(frozen=True)
class ExportPage:
    project: Project
    export: ExportJob
    chosen: Format
    columns: tuple[Column, ...]
    link: str
    api_url: str
    link_minutes: int

    @property
    def options(self) -> list[str]:
        return in_words(self.export.options)

    @property
    def hides(self) -> list[str]:
        """What stays out of the file because nobody asked for it."""
        words = {"models": "which model wrote an answer", "people": "which annotator gave a vote"}
        return [words[name] for name in words if name in self.chosen.uses and not self.export.options[name]]

    @property
    def reader(self) -> str:
        return READERS.get(self.export.container, "")


@require_GET
@project_view(Role.RESEARCHER)
def export(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    job = export_or_404(project, key)
    chosen = format_named(job.file_format)
    path = reverse("exports-api:file", args=[project.slug, job.key, job.filename])
    ctx = ExportPage(
        project=project,
        export=job,
        chosen=chosen,
        columns=chosen.columns_for(Options(**job.options)),
        link=link_for(job, person(request)) if job.is_ready else "",
        api_url=f"{settings.WHETSTONE.url}{path}",
        link_minutes=settings.WHETSTONE.export_link_minutes,
    )
    return render_page(request, "training/export.html", "training/_export.html", ctx)


@require_POST
@project_view(Role.RESEARCHER)
def cancel(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    job = export_or_404(project, key)
    exports.cancel_export(job, by=person(request))
    return see_other(request, reverse("training:export", args=[project.slug, job.key]))


@require_POST
@project_view(Role.RESEARCHER)
def again(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """The same export once more: of one that failed, was cancelled or has been deleted."""
    old = export_or_404(project, key)
    job = exports.start_export(
        snapshot=old.snapshot, file_format=old.file_format, container=old.container, options=old.options, by=person(request)
    )  # fmt: skip
    return see_other(request, reverse("training:export", args=[project.slug, job.key]))


@require_GET
@project_view(Role.RESEARCHER)
def export_file(request: HttpRequest, project: Project, key: str, signed: str, name: str) -> HttpResponse:
    """The file, for the person whom the link was made for, while it is good and they hold the role."""
    job = export_or_404(project, key)
    if name != job.filename or not is_good(signed, job, person(request)):
        raise Http404("This link is no longer good. Open the export's page for a fresh one.")
    return cast(HttpResponse, send(request, job))


def send(request: HttpRequest, job: ExportJob) -> Any:
    """The file of an export as an attachment, or the range asked for."""
    response = download(request, exports.file_of(job), name=job.filename, sha256=job.sha256)
    if request.method == "GET" and response.status_code != 304:
        detail = {"file": job.filename, "export": job.key, "dataset": job.snapshot.name}
        note_download("export.download", user=person(request), project=job.project, subject=job, detail=detail)
        note_file_had(job.snapshot, person(request), names_models=bool(job.options["models"]))
    return response
