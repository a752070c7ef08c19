"""Pages about a frozen dataset and time: what became of its judgements, the same recipe again, another dataset beside it."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.access import person, project_view
from accounts.models import Project, Role
from core.htmx import render_page, see_other
from core.jobs import JobStatus
from training import freezing
from training.comparing import Comparison, Difference, compare
from training.dataset_views import ShownRow, snapshot_or_404
from training.models import Snapshot
from training.since import WORDS, excluded_since


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
    row: ShownRow

    @classmethod
    def of(cls, difference: Difference) -> "ShownDifference":
        return cls(difference, ShownRow.of(difference.row, difference.row["split"]))


@dataclass(frozen=True)
class ComparePage:
    project: Project
    snapshot: Snapshot
    others: Any
    comparison: Comparison | None
    sections: list[tuple[str, int, list[ShownDifference]]]


@require_GET
@project_view(Role.RESEARCHER)
def compare_with(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    snapshot = snapshot_or_404(project, key)
    others = project.snapshots.filter(status=JobStatus.SUCCEEDED).exclude(pk=snapshot.pk).order_by("-id")
    asked = request.GET.get("with", "")
    found = compare(snapshot_or_404(project, asked), snapshot) if asked else None
    sections = []
    if found is not None:
        words = {"in": "Rows that came in", "out": "Rows that are out", "changed": "Rows that changed"}
        sections = [
            (words[what], found.counts[what], [ShownDifference.of(each) for each in shown])
            for what, shown in found.shown.items()
        ]
    ctx = ComparePage(project=project, snapshot=snapshot, others=others, comparison=found, sections=sections)
    return render_page(request, "training/dataset_compare.html", "training/_dataset_compare.html", ctx)
