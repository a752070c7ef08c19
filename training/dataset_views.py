"""Pages of frozen datasets: list, new with its live preview, one dataset, one of its rows, its files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import person, project_view
from accounts.models import Project, Role
from core.downloads import download
from core.errors import DomainError
from core.htmx import render_page, see_other
from core.storage import MANIFEST, artifact_path, read_manifest
from training import freezing
from training.blinding import hides_rows, note_file_had, note_rows_seen
from training.dataset_form import DatasetForm
from training.downloads import note_download
from training.erasing import may_erase
from training.formats.ballots import SPLITS
from training.formats.files import NEAR, UNPAIRED, name_of, read_rows, row_and_lineage
from training.formats.preference import Row
from training.models import Snapshot, TrainingRun
from training.previewing import SnapshotPreview, dropped_in_words, preview, warnings_of
from training.selecting import freezable_campaigns
from training.snapshots import ARTIFACT_KIND, check_snapshot, directory_of, setting_in_words

PAGE_SIZE = 25
SHOWN_ROWS = 3
SHOWN_NEAR = 5
FILE_WORDS = {
    "train.jsonl": "Training rows, JSON lines",
    "test.jsonl": "Held-out rows, JSON lines",
    "train.parquet": "Training rows, Parquet",
    "test.parquet": "Held-out rows, Parquet",
    "unpaired-train.jsonl": "Answers without a pair, JSON lines",
    "unpaired-test.jsonl": "Held-out answers without a pair, JSON lines",
    "unpaired-train.parquet": "Answers without a pair, Parquet",
    "unpaired-test.parquet": "Held-out answers without a pair, Parquet",
    "near_duplicates.jsonl": "Held-out prompts that are nearly the same as one that is trained on",
    "lineage.jsonl": "Which judgements each row comes from",
    "records.jsonl": "Every judged task with all votes: the full format. It names models: you no longer judge their answers blind",
    "dataset.json": "Recipe, columns and counts",
    "README.md": "Card: what it is, who judged, how it was made",
    "manifest.json": "Hashes of all files",
}


def snapshot_or_404(project: Project, key: str) -> Snapshot:
    return get_object_or_404(Snapshot.objects.select_related("created_by"), project=project, key=key)


@dataclass(frozen=True)
class DatasetsPage:
    project: Project
    snapshots: Any
    may_freeze: bool


@require_GET
@project_view(Role.RESEARCHER)
def datasets(request: HttpRequest, project: Project) -> HttpResponse:
    found = Paginator(project.snapshots.order_by("-id"), PAGE_SIZE)
    ctx = DatasetsPage(
        project=project,
        snapshots=found.get_page(request.GET.get("page")),
        may_freeze=freezable_campaigns(project).exists(),
    )
    return render_page(request, "training/datasets.html", "training/_datasets.html", ctx)


@dataclass(frozen=True)
class NewDatasetPage:
    project: Project
    form: DatasetForm
    preview: SnapshotPreview | None
    problem: str
    has_campaigns: bool
    hides_rows: bool = False  # which model wrote them would be told by what was chosen

    @property
    def rows(self) -> list["ShownRow"]:
        first = self.preview.first_rows if self.preview and not self.hides_rows else ()
        return [ShownRow.of(row) for row in first[:SHOWN_ROWS]]


@require_http_methods(["GET", "POST"])
@project_view(Role.RESEARCHER)
def new_dataset(request: HttpRequest, project: Project) -> HttpResponse:
    """The form with its preview: htmx asks for it by GET on every change, the Preview button by POST (no token in a URL)."""
    initial = {"name": _free_name(project), "aggregation": "majority"}
    campaigns = list(freezable_campaigns(project).values_list("key", flat=True))
    initial_all: dict[str, Any] = {**initial, "campaigns": campaigns, "with_simulated": project.is_demo}
    if request.method == "POST" and "preview" not in request.POST:
        form, status = DatasetForm(request.POST, project=project), 422
        if form.is_valid():
            name, options = form.cleaned_data["name"], form.options(form.cleaned_data)
            try:
                snapshot = freezing.start_freeze(project=project, name=name, by=person(request), **options)
                return see_other(request, reverse("training:snapshot", args=[project.slug, snapshot.key]))
            except DomainError as trouble:
                form.add_error(None, forms.ValidationError(trouble.words))
                status = trouble.status_code
        values = dict(form.cleaned_data)
    elif "aggregation" in (asked := request.POST or request.GET):
        form = DatasetForm(asked, project=project, is_preview=True)
        values, status = (form.cleaned_data if form.is_valid() else {}), 200
    else:
        form, values, status = DatasetForm(project=project, initial=initial_all), initial_all, 200
    found, problem = _preview(project, form, values)
    ctx = NewDatasetPage(
        project=project,
        form=form,
        preview=found,
        problem=problem,
        has_campaigns=bool(campaigns),
        hides_rows=hides_rows(form.options(values), person(request)),
    )
    return render_page(request, "training/dataset_new.html", "training/_dataset_new.html", ctx, status=status)


def _preview(project: Project, form: DatasetForm, values: dict[str, Any]) -> tuple[SnapshotPreview | None, str]:
    options = form.options(values)
    if not options["campaigns"]:
        return None, ""
    try:
        return preview(project=project, **options), ""
    except DomainError as problem:
        return None, problem.words


def _free_name(project: Project) -> str:
    number = project.snapshots.count() + 1
    taken = set(project.snapshots.values_list("name", flat=True))
    while f"dataset-{number}" in taken:
        number += 1
    return f"dataset-{number}"


@dataclass(frozen=True)
class ShownRow:
    """A row as a page shows it: the conversation, the two answers, and what is known of them."""

    id: str
    prompt: list[dict[str, str]]
    chosen: str
    rejected: str
    margin: float
    n_votes: int
    vote_share: float
    split: str = ""

    @classmethod
    def of(cls, row: Row, split: str = "") -> "ShownRow":
        return cls(
            id=row["id"],
            prompt=row["prompt"],
            chosen=row["chosen"][0]["content"],
            rejected=row["rejected"][0]["content"],
            margin=row["margin"],
            n_votes=row["n_votes"],
            vote_share=row["vote_share"],
            split=split,
        )


@dataclass(frozen=True)
class UnpairedRow:
    """A row without a pair as a page shows it: the conversation, the answer, and whether people called it good or bad."""

    id: str
    prompt: list[dict[str, str]]
    answer: str
    is_good: bool
    n_votes: int
    vote_share: float
    split: str

    @classmethod
    def of(cls, row: Row, split: str) -> "UnpairedRow":
        return cls(
            id=row["id"],
            prompt=row["prompt"],
            answer=row["completion"][0]["content"],
            is_good=row["label"],
            n_votes=row["n_votes"],
            vote_share=row["vote_share"],
            split=split,
        )


@dataclass(frozen=True)
class ShownFile:
    name: str
    words: str
    n_bytes: int


@dataclass(frozen=True)
class NearPair:
    """A held-out prompt and one that is trained on, as messages, and the share of their word pairs that is the same."""

    test: list[dict[str, str]]
    train: list[dict[str, str]]
    share: float


@dataclass(frozen=True)
class DatasetPage:
    project: Project
    snapshot: Snapshot
    campaigns: list[Any]
    dropped: tuple[tuple[str, int, str, str], ...]
    warnings: tuple[str, ...]
    rows: list[ShownRow]
    unpaired: list[UnpairedRow]
    files: list[ShownFile]
    near: list[NearPair]
    runs: list[TrainingRun]
    problem: str = ""
    may_waive: bool = False

    @property
    def further(self) -> list[tuple[str, str]]:
        """The settings of its recipe that the page does not show by itself."""
        shown = {"campaigns", "aggregation", "with_simulated", "with_unblinded"}
        recipe = {**self.snapshot.selection, **self.snapshot.pair_policy}
        return [setting_in_words(name, value) for name, value in recipe.items() if name not in shown and value]

    @property
    def erasures(self) -> Any:
        return self.snapshot.erasures.order_by("-id")

    @property
    def counts(self) -> Mapping[str, Any]:
        return self.snapshot.counts

    @property
    def n_rows(self) -> int:
        return sum(self.snapshot.counts.get("rows", {}).values())


@require_GET
@project_view(Role.RESEARCHER)
def dataset(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    snapshot = snapshot_or_404(project, key)
    rows, unpaired, files, near, problem = [], [], [], [], ""
    if snapshot.is_ready:
        try:
            rows, unpaired, files, near = (
                _first_rows(snapshot), _first_unpaired(snapshot), _files(snapshot), _near(snapshot)
            )  # fmt: skip
            note_rows_seen(person(request), snapshot)
        except (DomainError, OSError) as trouble:
            problem = getattr(trouble, "sentence", "The files of this dataset cannot be read.")
    ctx = DatasetPage(
        project=project,
        snapshot=snapshot,
        campaigns=list(snapshot.campaigns.order_by("id")),
        dropped=dropped_in_words(snapshot.counts) if snapshot.is_ready else (),
        warnings=warnings_of(snapshot.counts) if snapshot.is_ready else (),
        rows=rows,
        unpaired=unpaired,
        files=files,
        near=near,
        runs=list(snapshot.runs.select_related("produced", "base").order_by("-id")),
        problem=problem,
        may_waive=may_erase(person(request), project),
    )
    return render_page(request, "training/dataset.html", "training/_dataset.html", ctx)


def _first_rows(snapshot: Snapshot) -> list[ShownRow]:
    return [ShownRow.of(row, split) for split in SPLITS for row in _first_of(snapshot, split, "pair")]


def _first_unpaired(snapshot: Snapshot) -> list[UnpairedRow]:
    return [UnpairedRow.of(row, split) for split in SPLITS for row in _first_of(snapshot, split, UNPAIRED)]


def _first_of(snapshot: Snapshot, split: str, kind: str) -> list[Row]:
    path = directory_of(snapshot) / f"{name_of(split, kind)}.jsonl"
    return list(islice(read_rows(path), SHOWN_ROWS)) if path.exists() or kind == "pair" else []


def _near(snapshot: Snapshot) -> list[NearPair]:
    path = directory_of(snapshot) / NEAR
    if not path.exists():
        return []
    return [
        NearPair(found["test"]["prompt"], found["train"]["prompt"], found.get("share", 1.0))
        for found in islice(read_rows(path), SHOWN_NEAR)
    ]


def _files(snapshot: Snapshot) -> list[ShownFile]:
    manifest = read_manifest(ARTIFACT_KIND, snapshot.artifact_sha256)
    n_manifest = (artifact_path(ARTIFACT_KIND, snapshot.artifact_sha256) / MANIFEST).stat().st_size
    sizes = {name: int(str(entry["n_bytes"])) for name, entry in manifest.items()} | {MANIFEST: n_manifest}
    return [ShownFile(name, words, sizes[name]) for name, words in FILE_WORDS.items() if name in sizes]


@require_GET
@project_view(Role.RESEARCHER)
def dataset_file(request: HttpRequest, project: Project, key: str, name: str) -> HttpResponse:
    snapshot = snapshot_or_404(project, key)
    return cast(HttpResponse, send_file(request, snapshot, name))


def send_file(request: HttpRequest, snapshot: Snapshot, name: str) -> HttpResponseBase:
    """A file of a frozen dataset as an attachment, or the range asked for."""
    if name not in FILE_WORDS:
        raise Http404("There is no such file.")
    directory = directory_of(snapshot)
    manifest = read_manifest(ARTIFACT_KIND, snapshot.artifact_sha256)
    if name != MANIFEST and name not in manifest:
        raise Http404("This dataset has no such file.")
    sha256 = snapshot.artifact_sha256 if name == MANIFEST else str(manifest[name]["sha256"])
    response = download(request, directory / name, name=f"{snapshot.name}-{name}", sha256=sha256)
    if request.method == "GET" and response.status_code != 304:
        detail = {"file": name, "name": snapshot.name}
        note_download(
            "dataset.download", user=person(request), project=snapshot.project, subject=snapshot, detail=detail
        )
        note_file_had(snapshot, person(request), name=name)
    return response


@dataclass(frozen=True)
class Behind:
    """A judgement behind a row, and what it says of it."""

    key: str
    words: str
    weight: float


@dataclass(frozen=True)
class RowPage:
    project: Project
    snapshot: Snapshot
    row: ShownRow | UnpairedRow
    raw: str
    judgements: list[Behind]

    @property
    def is_pair(self) -> bool:
        return isinstance(self.row, ShownRow)


@require_GET
@project_view(Role.RESEARCHER)
def dataset_row(request: HttpRequest, project: Project, key: str, row: str) -> HttpResponse:
    """One row, paired or not, and the judgements behind it."""
    snapshot = snapshot_or_404(project, key)
    found = row_and_lineage(directory_of(snapshot), row)
    if found is None:
        raise Http404("There is no such row.")
    frozen, entry = found
    note_rows_seen(person(request), snapshot)
    made = UnpairedRow if entry.get("kind") == UNPAIRED else ShownRow
    ctx = RowPage(
        project=project,
        snapshot=snapshot,
        row=made.of(frozen, entry["split"]),
        raw=json.dumps(frozen, indent=2, ensure_ascii=False),
        judgements=[Behind(each["key"], _says(frozen, each["says"]), each["weight"]) for each in entry["judgements"]],
    )
    return render_page(request, "training/dataset_row.html", "training/_dataset_row.html", ctx)


def _says(row: Row, says: str) -> str:
    """What a judgement says of a row, in words."""
    if "label" in row:  # for: as the label has it
        return "The answer is good" if (says == "for") == row["label"] else "The answer is bad"
    pair = {"for": "The chosen answer is better", "against": "The rejected answer is better"}
    return pair.get(says, "Neither is better")


def _back(request: HttpRequest, project: Project, snapshot: Snapshot) -> HttpResponse:
    return see_other(request, reverse("training:snapshot", args=[project.slug, snapshot.key]))


@require_POST
@project_view(Role.RESEARCHER)
def cancel(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    snapshot = snapshot_or_404(project, key)
    freezing.cancel_freeze(snapshot, by=person(request))
    return _back(request, project, snapshot)


@require_POST
@project_view(Role.RESEARCHER)
def again(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    snapshot = snapshot_or_404(project, key)
    freezing.freeze_again(snapshot, by=person(request))
    return _back(request, project, snapshot)


@require_POST
@project_view(Role.RESEARCHER)
def check(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Build the rows again from what was recorded and compare the hashes."""
    snapshot = snapshot_or_404(project, key)
    check_snapshot(snapshot)
    messages.success(request, "Checked: the files, the record and the hash agree.")
    return _back(request, project, snapshot)
