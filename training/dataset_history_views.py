"""Pages about a frozen dataset and time: what became of its judgements, the same recipe again, another dataset beside it."""

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import person, project_view
from accounts.models import Project, Role
from annotation.models import Campaign
from core.errors import DomainError
from core.htmx import render_page, see_other
from core.jobs import JobStatus
from training import comparisons, freezing
from training.blinding import note_rows_seen
from training.comparing import Comparison, Difference, compare, require_comparable
from training.comparisons import n_rows_of
from training.dataset_views import ShownRow, UnpairedRow, snapshot_or_404
from training.formats.files import UNPAIRED
from training.models import ComparisonJob, Snapshot
from training.since import WORDS, excluded_since
from training.snapshots import setting_in_words


@dataclass(frozen=True)
class SincePage:
    project: Project
    snapshot: Snapshot
    excluded: list[tuple[str, int]]

    @property
    def n(self) -> int:
        return sum(n for _, n in self.excluded)


@require_GET
@project_view(Role.RESEARCHER)
def since(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Which of its judgements no longer stand; on the dataset's page, once that is there."""
    snapshot = snapshot_or_404(project, key)
    excluded = [(WORDS[why], n) for why, n in excluded_since(snapshot).items()]
    ctx = SincePage(project=project, snapshot=snapshot, excluded=excluded)
    return render_page(request, "training/dataset_since.html", "training/_dataset_since.html", ctx)


@require_POST
@project_view(Role.RESEARCHER)
def anew(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Freeze the judgements as they stand now, by the recipe of this dataset."""
    made = freezing.freeze_anew(snapshot_or_404(project, key), by=person(request))
    return see_other(request, reverse("training:snapshot", args=[project.slug, made.key]))


@dataclass(frozen=True)
class ShownDifference:
    difference: Difference
    row: ShownRow | UnpairedRow

    @classmethod
    def of(cls, difference: Difference) -> "ShownDifference":
        made = UnpairedRow if difference.kind == UNPAIRED else ShownRow
        return cls(difference, made.of(difference.row, difference.row["split"]))

    @property
    def is_pair(self) -> bool:
        return isinstance(self.row, ShownRow)


SECTIONS = {"in": "Rows that came in", "out": "Rows that are out", "changed": "Rows that changed"}


@dataclass(frozen=True)
class ComparePage:
    """One of ``comparison`` and ``other`` at most: found already, or two that are too large to compare while a page is made."""

    project: Project
    snapshot: Snapshot
    others: Any
    other: Snapshot | None = None
    job: ComparisonJob | None = None
    comparison: Comparison | None = None

    @property
    def n_rows(self) -> int:
        return n_rows_of(self.snapshot, self.other) if self.other else 0

    @property
    def chosen(self) -> str:
        found = self.comparison.first if self.comparison else self.other
        return found.key if found else ""

    @property
    def settings(self) -> list[tuple[str, str, str]]:
        """What the recipes have differently: name, before, after."""
        if self.comparison is None:
            return []
        names = dict(Campaign.objects.filter(project=self.project).values_list("key", "name"))
        found = []
        for name, *values in self.comparison.settings:
            if name == "campaigns":
                values = [", ".join(sorted(names.get(key, key) for key in value or ())) for value in values]
            (words, before), (_, after) = (setting_in_words(name, value) for value in values)
            found.append((words, before, after))
        return found

    @property
    def sections(self) -> list[tuple[str, int, list[ShownDifference]]]:
        if (found := self.comparison) is None:
            return []
        return [
            (SECTIONS[what], found.counts[what], [ShownDifference.of(each) for each in shown])
            for what, shown in found.shown.items()
        ]


@require_http_methods(["GET", "POST"])
@project_view(Role.RESEARCHER)
def compare_with(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Two datasets side by side: small ones at once, large ones by a job that POST starts and this page follows."""
    snapshot = snapshot_or_404(project, key)
    if request.method == "POST":
        comparisons.start_comparison(first=_other(request, project), second=snapshot, by=person(request))
        return _beside(request, project, key)
    others = project.snapshots.filter(status=JobStatus.SUCCEEDED).exclude(pk=snapshot.pk).order_by("-id")
    ctx = ComparePage(project, snapshot, others)
    if request.GET.get("with"):
        other = _other(request, project)
        require_comparable(other, snapshot)
        job = comparisons.comparison_of(other, snapshot)
        if job is not None and job.is_ready:
            ctx = replace(ctx, job=job, comparison=comparisons.result_of(job))
        elif comparisons.is_small(other, snapshot):
            ctx = replace(ctx, comparison=compare(other, snapshot))
        else:
            ctx = replace(ctx, job=job, other=other)
        if ctx.comparison:
            note_rows_seen(person(request), other, snapshot)
    return render_page(request, "training/dataset_compare.html", "training/_dataset_compare.html", ctx)


@require_POST
@project_view(Role.RESEARCHER)
def cancel_compare(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    snapshot = snapshot_or_404(project, key)
    job = comparisons.comparison_of(_other(request, project), snapshot)
    if job is not None:
        comparisons.cancel_comparison(job, by=person(request))
    return _beside(request, project, key)


def _other(request: HttpRequest, project: Project) -> Snapshot:
    if request.method != "POST":
        return snapshot_or_404(project, request.GET.get("with", ""))
    found = project.snapshots.filter(key=request.POST.get("with", "")).first()
    if found is None:
        raise DomainError("There is no such dataset here.", how="Choose the dataset to compare with.")
    return found


def _beside(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    address = reverse("training:snapshot-compare", args=[project.slug, key])
    return see_other(request, f"{address}?{urlencode({'with': request.POST.get('with', '')})}")
