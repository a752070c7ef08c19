"""Pages about prompts: sets, their prompts, and imports with their reports."""

import io
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.files.uploadedfile import UploadedFile
from django.core.paginator import Page, Paginator
from django.db.models import Count, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import allows, membership_in, project_view
from accounts.models import Project, Role
from core.errors import DomainError
from core.htmx import render_page, see_other
from generation import prompts as services
from generation.forms import ImportForm
from generation.models import Prompt, PromptImport, PromptSet
from generation.sampling import as_written, with_tags

PROMPTS_A_PAGE = 50
MAX_TAGS_READ = 20_000


@dataclass(frozen=True)
class SetRow:
    prompt_set: PromptSet
    latest: PromptImport | None


@dataclass(frozen=True)
class SetsPage:
    project: Project
    rows: list[SetRow]


@dataclass(frozen=True)
class Share:
    split: str
    n: int
    share: float


@dataclass(frozen=True)
class SetPage:
    project: Project
    prompt_set: PromptSet
    prompts: "Page[Prompt]"
    shares: list[Share]
    tags: list[tuple[str, int]]
    q: str
    tag: str
    split: str
    query: str
    imports: list[PromptImport]
    cannot_delete: str


@dataclass(frozen=True)
class PromptPage:
    project: Project
    prompt_set: PromptSet
    prompt: Prompt
    metadata: list[tuple[str, str]]
    before: Prompt | None
    after: Prompt | None


@dataclass(frozen=True)
class ImportFormPage:
    project: Project
    prompt_set: PromptSet | None
    form: ImportForm
    action: str


@dataclass(frozen=True)
class ImportPage:
    project: Project
    job: PromptImport
    prompt_set: PromptSet
    has_file: bool
    has_report: bool
    n_hidden: int


def _set(project: Project, key: str) -> PromptSet:
    return get_object_or_404(project.prompt_sets, key=key)


def _import(project: Project, key: str) -> PromptImport:
    return get_object_or_404(PromptImport.objects.select_related("set"), set__project=project, key=key)


@require_GET
@project_view(Role.RESEARCHER)
def prompt_sets(request: HttpRequest, project: Project) -> HttpResponse:
    latest: dict[int, PromptImport] = {}
    for job in PromptImport.objects.filter(set__project=project).order_by("pk").defer("bad_rows"):
        latest[job.set_id] = job
    rows = [SetRow(found, latest.get(found.pk)) for found in project.prompt_sets.order_by("-pk")]
    return render_page(request, "generation/prompt_sets.html", "generation/_prompt_sets.html", SetsPage(project, rows))


def searched(prompts: QuerySet[Prompt], words: str) -> QuerySet[Prompt]:
    """Prompts whose messages hold these words, whatever the case; by the column's text."""
    found = Q()
    for needle in as_written(words):
        found |= Q(said__icontains=needle[1:-1])
    return prompts.alias(said=Cast("messages", TextField())).filter(found)


@require_GET
@project_view(Role.RESEARCHER)
def prompt_set(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    found = _set(project, key)
    q, tag, split = (request.GET.get(name, "").replace("\x00", "")[:200] for name in ("q", "tag", "split"))
    ready = Prompt.objects.filter(set=found).ready()
    prompts = with_tags(ready, [tag] if tag else [])
    if q:
        prompts = searched(prompts, q)
    if split in Prompt.Split.values:
        prompts = prompts.filter(split=split)
    page = Paginator(prompts.order_by("number"), PROMPTS_A_PAGE).get_page(request.GET.get("page"))
    kept = {name: value for name, value in (("q", q), ("tag", tag), ("split", split)) if value}
    ctx = SetPage(
        project=project,
        prompt_set=found,
        prompts=page,
        shares=_shares(ready),
        tags=_tags(ready),
        q=q,
        tag=tag,
        split=split,
        query=urlencode(kept) + "&" if kept else "",
        imports=list(found.imports.order_by("-pk").defer("bad_rows")[:10]),
        cannot_delete=services.usage_of(found),
    )
    return render_page(request, "generation/prompt_set.html", "generation/_prompt_set.html", ctx)


def _shares(prompts: QuerySet[Prompt]) -> list[Share]:
    counts = dict(prompts.values_list("split").annotate(n=Count("pk")))
    total = sum(counts.values())
    return [Share(split, counts.get(split, 0), counts.get(split, 0) / total) for split in Prompt.Split.values if total]


def _tags(prompts: QuerySet[Prompt]) -> list[tuple[str, int]]:
    """The commonest tags, with how many prompts carry them; of the first prompts only in a very large set."""
    from collections import Counter

    counts = Counter(
        tag for tags in prompts.order_by("number").values_list("tags", flat=True)[:MAX_TAGS_READ] for tag in tags
    )
    return counts.most_common(60)


@require_GET
@project_view(Role.RESEARCHER)
def prompt(request: HttpRequest, project: Project, key: str, prompt_key: str) -> HttpResponse:
    found = _set(project, key)
    ready = Prompt.objects.filter(set=found).ready()
    shown = get_object_or_404(ready, key=prompt_key)
    ctx = PromptPage(
        project=project,
        prompt_set=found,
        prompt=shown,
        metadata=[(name, _as_text(value)) for name, value in shown.metadata.items()],
        before=ready.filter(number__lt=shown.number).order_by("-number").first(),
        after=ready.filter(number__gt=shown.number).order_by("number").first(),
    )
    return render_page(request, "generation/prompt.html", "generation/_prompt.html", ctx)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@require_http_methods(["GET", "POST"])
@project_view(Role.RESEARCHER)
def import_prompts(request: HttpRequest, project: Project, key: str = "") -> HttpResponse:
    """Import into a new set, or (with a key) into that set."""
    found = _set(project, key) if key else None
    is_admin = allows(membership_in(request), Role.ADMIN)
    form = ImportForm(request.POST or None, request.FILES or None, prompt_set=found, is_admin=is_admin)
    if request.method == "POST" and form.is_valid():
        try:
            job = _start(request, project, found, form)
        except DomainError as problem:
            form.add_error(None, problem.words)
        else:
            return see_other(request, reverse("generation:import", args=[project.slug, job.key]))
    here = (
        reverse("generation:prompt-set-import", args=[project.slug, key])
        if key
        else reverse("generation:prompt-import", args=[project.slug])
    )
    ctx = ImportFormPage(project=project, prompt_set=found, form=form, action=here)
    status = 422 if request.method == "POST" else 200
    return render_page(
        request, "generation/prompt_import_new.html", "generation/_prompt_import_form.html", ctx, status=status
    )


def _start(request: HttpRequest, project: Project, prompt_set: PromptSet | None, form: ImportForm) -> PromptImport:
    data = form.cleaned_data
    file: UploadedFile | None = data["file"]
    upload: Any = file or io.BytesIO(data["pasted"].encode(errors="surrogatepass"))
    return services.start_import(
        project=project,
        upload=upload,
        filename=(file.name or "") if file else "",
        is_pasted=file is None,
        prompt_set=prompt_set,
        name=data.get("name", ""),
        source=data.get("source", ""),
        licence=data.get("licence", ""),
        is_holdout_only=data.get("is_holdout_only", False),
        skip_bad_rows=data["skip_bad_rows"],
        allow_secrets=data.get("allow_secrets", False),
        by=request.user,  # type: ignore[arg-type]
        key=data["key"],
    )


@require_GET
@project_view(Role.RESEARCHER)
def prompt_import(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    job = _import(project, key)
    ctx = ImportPage(
        project=project,
        job=job,
        prompt_set=job.set,
        has_file=services.stored_path(job).exists(),
        has_report=services.report_path(job).exists(),
        n_hidden=max(0, job.n_bad - len(job.bad_rows)),
    )
    return render_page(request, "generation/prompt_import.html", "generation/_prompt_import.html", ctx)


@require_POST
@project_view(Role.RESEARCHER)
def cancel_import(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    services.cancel_import(_import(project, key), by=request.user)  # type: ignore[arg-type]
    return see_other(request, reverse("generation:import", args=[project.slug, key]))


@require_POST
@project_view(Role.RESEARCHER)
def retry_import(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    skip = request.POST.get("skip") == "yes"
    services.retry_import(_import(project, key), skip_bad_rows=skip, by=request.user)  # type: ignore[arg-type]
    return see_other(request, reverse("generation:import", args=[project.slug, key]))


@require_GET
@project_view(Role.RESEARCHER)  # type: ignore[arg-type]
def import_report(request: HttpRequest, project: Project, key: str) -> FileResponse:
    """Every bad row of an import, as a download; never shown inline."""
    job = _import(project, key)
    path = services.report_path(job)
    if not path.exists():
        raise Http404("This import has no report.")
    return FileResponse(
        path.open("rb"), as_attachment=True, filename=f"import-{job.key}.csv", content_type="text/csv; charset=utf-8"
    )


@require_POST
@project_view(Role.RESEARCHER)
def delete_set(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    services.delete_set(_set(project, key), by=request.user)  # type: ignore[arg-type]
    return see_other(request, reverse("generation:prompt-sets", args=[project.slug]))
