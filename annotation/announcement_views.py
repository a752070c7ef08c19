"""The lead's announcements: made, withdrawn, and by whom each was read."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts.access import person, project_view
from accounts.models import Project
from annotation import announcements
from annotation.announcements import Reader
from annotation.lead_desk import LEADS, ROWS_A_PAGE, Desk, desk_of, name_for
from annotation.models import Announcement, Campaign
from core.htmx import posted, render_page, see_other


class AnnouncementForm(forms.Form):
    text = forms.CharField(
        label="What do you want to say?",
        max_length=announcements.MAX_CHARS,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text="Markdown.",
    )
    campaign = forms.ModelChoiceField(
        Campaign.objects.none(), required=False, empty_label="Everybody who annotates in this project", label="To"
    )
    must_confirm = forms.BooleanField(
        label="Ask each person to confirm that they have read it", required=False, initial=True
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        campaigns = Campaign.objects.filter(project=project).exclude(stage=Campaign.Stage.CLOSED)
        self.fields["campaign"].queryset = campaigns.order_by("-id")  # type: ignore[attr-defined]
        self.fields["campaign"].label_from_instance = lambda campaign: f"Those of {campaign.name}"  # type: ignore[attr-defined]


@dataclass(frozen=True)
class AnnouncementsPage:
    project: Project
    desk: Desk
    form: AnnouncementForm
    rows: list[tuple[Announcement, int, int]]


@dataclass(frozen=True)
class AnnouncementPage:
    project: Project
    desk: Desk
    announcement: Announcement
    n_read: int
    readers: list[tuple[str, Reader]]
    n_nameless: int


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(*LEADS)
def announcement_list(request: HttpRequest, project: Project) -> HttpResponse:
    form = AnnouncementForm(posted(request), project=project)
    if request.method == "POST" and form.is_valid():
        announcements.announce(project=project, by=person(request), **form.cleaned_data)
        messages.success(request, "Announced. People see it when they open their home or the next task.")
        return see_other(request, reverse("annotation:announcements", args=[project.slug]))
    listed = list(announcements.announcements_of(project)[:ROWS_A_PAGE])
    n_read = announcements.n_read_of(project, listed)
    page = AnnouncementsPage(
        project=project,
        desk=desk_of(request, project, "announcements"),
        form=form,
        rows=[(row, *n_read[row.pk]) for row in listed],
    )
    status = 422 if form.errors else 200
    return render_page(
        request, "annotation/desk.html", "annotation/_announcements_desk.html", page, status=status, no_store=True
    )


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(*LEADS)
def announcement(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """GET: who has read it. POST: withdraw it."""
    found = get_object_or_404(Announcement.objects.select_related("campaign", "by"), project=project, key=key)
    if request.method == "POST":
        announcements.withdraw(announcement=found, by=person(request))
        messages.success(request, "Withdrawn. Nobody is shown it any more.")
        return see_other(request, reverse("annotation:announcements", args=[project.slug]))
    readers = announcements.readers_of(found)
    page = AnnouncementPage(
        project=project,
        desk=desk_of(request, project, "announcements"),
        announcement=found,
        n_read=sum(reader.read_at is not None for reader in readers),
        readers=[(name_for(request, reader.annotator), reader) for reader in readers if reader.annotator],
        n_nameless=sum(reader.annotator is None for reader in readers),
    )
    return render_page(request, "annotation/announcement.html", "annotation/_announcement.html", page, no_store=True)
