"""Pages of imports of votes: upload, preview, progress, report."""

import io
from dataclasses import dataclass
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.core.paginator import Page, Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import person, project_view
from accounts.models import Project, Role
from annotation.models import ImportStatus, VoteImport
from annotation.votes import job as services
from annotation.votes.files import report_path, stored_path
from annotation.votes.forms import MappingForm, VotesForm
from annotation.votes.judged import LETTERS, Judged, Vote
from annotation.votes.previewing import preview_of
from annotation.votes.sources.mapped import guessed
from core.errors import DomainError
from core.htmx import posted, render_page, see_other
from core.reading import BadRow

SHOWN_VOTES = 3
PAGE_SIZE = 10
VERDICTS = {"tie": "tie", "both_good": "both good", "all_bad": "both bad"}
# Of what an import has counted: what is shown, in this order.
COUNTED = (
    ("votes", "Votes", ""),
    ("tasks", "Tasks", "judged side by side"),
    ("people", "People", "from outside, without a log-in"),
    ("models", "Models", "outside models"),
    ("prompts", "Prompts", ""),
    ("answers", "Answers", ""),
    ("empty", "Empty answers", "kept"),
    ("tie", "Ties", ""),
    ("with_order", "With the order shown", "for position bias"),
    ("duplicates", "Said twice", "left out"),
)


@dataclass(frozen=True)
class NewPage:
    project: Project
    form: VotesForm
    imports: Page[VoteImport]


@dataclass(frozen=True)
class ShownAnswer:
    letter: str
    model: str
    text: str


@dataclass(frozen=True)
class ShownRow:
    """One row of a file as it will be read."""

    line: int
    prompt: str
    answers: list[ShownAnswer]
    votes: list[str]
    n_more: int
    problem: str = ""


@dataclass(frozen=True)
class ImportPage:
    project: Project
    job: VoteImport
    is_draft: bool
    label: str
    rows: list[ShownRow]
    counts: list[tuple[str, int, str]]
    choices: list[tuple[str, str]]
    has_file: bool
    has_report: bool
    n_hidden: int
    mapping: MappingForm | None = None


def _import(project: Project, key: str) -> VoteImport:
    return get_object_or_404(
        VoteImport.objects.select_related("project", "campaign", "prompt_set"), project=project, key=key
    )


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.RESEARCHER)
def new_import(request: HttpRequest, project: Project) -> HttpResponse:
    form = VotesForm(posted(request), request.FILES or None)
    if form.is_bound and form.is_valid():
        try:
            job = _start(request, project, form)
        except DomainError as problem:
            form.add_error(None, problem.words)
        else:
            return see_other(request, reverse("annotation:vote-import", args=[project.slug, job.key]))
    recent = project.vote_imports.select_related("campaign").order_by("-pk").defer("bad_rows")
    ctx = NewPage(project=project, form=form, imports=Paginator(recent, PAGE_SIZE).get_page(request.GET.get("page")))
    status = 422 if form.is_bound else 200
    return render_page(request, "annotation/votes_new.html", "annotation/_votes_form.html", ctx, status=status)


def _start(request: HttpRequest, project: Project, form: VotesForm) -> VoteImport:
    data = form.cleaned_data
    file: UploadedFile | None = data["file"]
    upload: Any = file or io.BytesIO(data["pasted"].encode(errors="surrogatepass"))
    return services.start_import(
        project=project,
        upload=upload,
        filename=(file.name or "") if file else "",
        name=data["name"],
        source=data["source"],
        choices=form.choices(),
        skip_bad_rows=data["skip_bad_rows"],
        is_draft=True,
        by=person(request),
        key=data["key"],
    )


@require_GET
@project_view(Role.RESEARCHER)
def vote_import(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    return _page(request, _import(project, key))


def _page(request: HttpRequest, job: VoteImport, sent: MappingForm | None = None) -> HttpResponse:
    project, is_draft = job.project, job.status == ImportStatus.DRAFT
    preview = preview_of(job)
    mapping = sent
    if sent is None and is_draft and preview.columns:
        mapping = MappingForm(columns=preview.columns, initial=job.mapping or guessed(preview.columns))
    ctx = ImportPage(
        project=project,
        job=job,
        is_draft=is_draft,
        label=preview.label,
        rows=[_shown(row) for row in preview.rows] if is_draft else [],
        counts=[(label, job.counts[name], note) for name, label, note in COUNTED if job.counts.get(name)],
        choices=_choices_in_words(job),
        has_file=stored_path(job).exists(),
        has_report=report_path(job).exists(),
        n_hidden=max(0, job.n_bad - len(job.bad_rows)),
        mapping=mapping,
    )
    status = 422 if sent is not None else 200
    return render_page(request, "annotation/votes.html", "annotation/_votes.html", ctx, no_store=True, status=status)


@require_POST
@project_view(Role.RESEARCHER)
def map_import(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Say which column is what."""
    job = _import(project, key)
    form = MappingForm(request.POST, columns=preview_of(job).columns, initial={})
    if form.is_valid():
        try:
            services.map_import(job, form.mapping(), by=person(request))
        except DomainError as problem:
            form.add_error(None, problem.words)
        else:
            return see_other(request, reverse("annotation:vote-import", args=[project.slug, key]))
    return _page(request, job, form)


def _shown(row: Judged | BadRow) -> ShownRow:
    if isinstance(row, BadRow):
        return ShownRow(row.line, row.excerpt, [], [], 0, problem=row.reason)
    return ShownRow(
        line=row.line,
        prompt=row.prompt.messages[-1]["content"],
        answers=[
            ShownAnswer(letter, answer.model, answer.text)
            for letter, answer in zip(LETTERS, row.answers, strict=False)
        ],
        votes=[_in_words(vote) for vote in row.votes[:SHOWN_VOTES]],
        n_more=max(0, len(row.votes) - SHOWN_VOTES),
    )  # fmt: skip


def _in_words(vote: Vote) -> str:
    who = vote.annotator or "Somebody"
    if vote.verdict != "ranked":
        said = VERDICTS[vote.verdict]
    else:
        by_rank: dict[int, list[str]] = {}
        for letter, rank in zip(LETTERS, vote.ranks, strict=False):
            by_rank.setdefault(rank, []).append(letter)
        said = " > ".join(" = ".join(by_rank[rank]) for rank in sorted(by_rank))
    shown = f", shown {' '.join(LETTERS[number] for number in vote.order)}" if vote.order else ""
    strength = f", strength {vote.strength}" if vote.strength else ""
    return f"{who}: {said}{strength}{shown}"


def _choices_in_words(job: VoteImport) -> list[tuple[str, str]]:
    choices = job.choices
    more = choices.get("open_for", 0)
    words = [
        ("Name", job.name),
        ("People are from", job.source),
        ("Afterwards", f"open, {more} more judgement{'s' if more > 1 else ''} a task" if more else "closed"),
        ("Bad rows", "skipped" if job.skip_bad_rows else "stop the import"),
    ]
    if choices.get("is_holdout_only"):
        words.append(("Prompts", "for holdout only"))
    if choices.get("allow_secrets"):
        words.append(("Rows with secrets", "let in by an admin"))
    if choices.get("licence"):
        words.append(("Licence", choices["licence"]))
    return words


@require_POST
@project_view(Role.RESEARCHER)
def begin_import(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    services.begin_import(_import(project, key), by=person(request))
    return see_other(request, reverse("annotation:vote-import", args=[project.slug, key]))


@require_POST
@project_view(Role.RESEARCHER)
def cancel_import(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    services.cancel_import(_import(project, key), by=person(request))
    return see_other(request, reverse("annotation:vote-import", args=[project.slug, key]))


@require_POST
@project_view(Role.RESEARCHER)
def retry_import(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    skip = request.POST.get("skip") == "yes"
    services.retry_import(_import(project, key), skip_bad_rows=skip, by=person(request))
    return see_other(request, reverse("annotation:vote-import", args=[project.slug, key]))


@require_GET
@project_view(Role.RESEARCHER)  # type: ignore[arg-type]
def import_report(request: HttpRequest, project: Project, key: str) -> FileResponse:
    """Every bad row of an import, as a download; never shown inline."""
    return report_response(_import(project, key))


def report_response(job: VoteImport) -> FileResponse:
    path = report_path(job)
    if not path.exists():
        raise Http404("This import has no report.")
    return FileResponse(
        path.open("rb"), as_attachment=True, filename=f"votes-{job.key}.csv", content_type="text/csv; charset=utf-8"
    )
