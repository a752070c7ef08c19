"""The lead's pages of a campaign's guidelines: publish, versions, what changed; and its rulings."""

from dataclasses import dataclass

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from accounts.access import allows, membership_in, person, project_view
from accounts.models import Project, Role
from annotation import guidelines, rulings
from annotation.examples import Example, read_example
from annotation.lead_desk import LEADS
from annotation.models import Campaign, GuidelinesVersion, Ruling
from core.errors import DomainError
from core.htmx import posted, render_page, see_other


class GuidelinesForm(forms.Form):
    text = forms.CharField(
        label="Guidelines",
        max_length=guidelines.MAX_CHARS,
        required=False,
        widget=forms.Textarea(attrs={"rows": 18}),
        help_text="Markdown.",
    )
    note = forms.CharField(
        label="What has changed?",
        max_length=guidelines.MAX_NOTE,
        help_text="A sentence. People read it when they confirm the new version.",
    )
    seen = forms.IntegerField(widget=forms.HiddenInput, min_value=1)


class RulingForm(forms.Form):
    title = forms.CharField(max_length=rulings.MAX_TITLE, help_text="People find it by its words.")
    text = forms.CharField(
        label="What is decided",
        max_length=rulings.MAX_TEXT,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text="Markdown.",
    )


class EditForm(RulingForm):
    has_example = forms.BooleanField(
        label="Keep its example", required=False, help_text="Without the tick the example is dropped for good."
    )


@dataclass(frozen=True)
class GuidelinesPage:
    project: Project
    campaign: Campaign
    form: GuidelinesForm
    versions: list[GuidelinesVersion]
    n_confirmed: int
    n_people: int
    n_rulings: int
    may_publish: bool


@dataclass(frozen=True)
class VersionPage:
    project: Project
    campaign: Campaign
    version: GuidelinesVersion
    before: GuidelinesVersion | None
    changes: list[guidelines.Line]
    is_in_force: bool


@dataclass(frozen=True)
class RulingsPage:
    project: Project
    campaign: Campaign
    rulings: list[Ruling]
    form: RulingForm
    may_add: bool


@dataclass(frozen=True)
class RulingPage:
    project: Project
    campaign: Campaign
    ruling: Ruling
    example: Example
    form: EditForm


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(*LEADS)
def campaign_guidelines(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """GET: the text in force and all versions. POST: a new one, by a researcher."""
    campaign = get_object_or_404(Campaign, project=project, key=key)
    may_publish = allows(membership_in(request), Role.RESEARCHER) and campaign.stage != Campaign.Stage.CLOSED
    now = {"text": campaign.guidelines, "seen": campaign.guidelines_version}
    form = GuidelinesForm(posted(request), initial=now)
    if request.method == "POST":
        if not allows(membership_in(request), Role.RESEARCHER):
            raise PermissionDenied("Only researchers publish guidelines.")
        if form.is_valid() and _publish(request, campaign, form):
            return see_other(request, reverse("annotation:campaign-guidelines", args=[project.slug, campaign.key]))
    n_confirmed, n_people = guidelines.n_confirmed(campaign)
    page = GuidelinesPage(
        project=project,
        campaign=campaign,
        form=form,
        versions=guidelines.versions_of(campaign),
        n_confirmed=n_confirmed,
        n_people=n_people,
        n_rulings=Ruling.objects.filter(campaign=campaign, withdrawn_at=None).count(),
        may_publish=may_publish,
    )
    template, part = "annotation/campaign_guidelines.html", "annotation/_campaign_guidelines.html"
    return render_page(request, template, part, page, status=422 if form.errors else 200)


def _publish(request: HttpRequest, campaign: Campaign, form: GuidelinesForm) -> bool:
    """Whether it was published; if not, the form says why, with everything that was written."""
    data = form.cleaned_data
    try:
        version = guidelines.publish(campaign, data["text"], data["note"], person(request), seen=data["seen"])
    except DomainError as problem:
        form.add_error(None, problem.words)
        return False
    messages.success(request, f"Version {version.number} is in force. People confirm it before they go on.")
    return True


@require_GET
@project_view(*LEADS)
def version(request: HttpRequest, project: Project, key: str, number: int) -> HttpResponse:
    campaign = get_object_or_404(Campaign, project=project, key=key)
    found = get_object_or_404(GuidelinesVersion.objects.select_related("by"), campaign=campaign, number=number)
    before = GuidelinesVersion.objects.filter(campaign=campaign, number__lt=number).order_by("-number").first()
    page = VersionPage(
        project=project,
        campaign=campaign,
        version=found,
        before=before,
        changes=guidelines.diff(before.text, found.text) if before else [],
        is_in_force=found.number == campaign.guidelines_version,
    )
    return render_page(request, "annotation/guidelines_version.html", "annotation/_guidelines_version.html", page)


# ---- rulings -----------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(*LEADS)
def ruling_list(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """GET: all rulings of a campaign. POST: one without a question."""
    campaign = get_object_or_404(Campaign, project=project, key=key)
    form = RulingForm(posted(request))
    if request.method == "POST" and form.is_valid():
        rulings.rule(campaign=campaign, by=person(request), **form.cleaned_data)
        messages.success(request, "The ruling is in the guidelines of everybody in the campaign.")
        return see_other(request, reverse("annotation:campaign-rulings", args=[project.slug, campaign.key]))
    page = RulingsPage(
        project=project,
        campaign=campaign,
        rulings=list(rulings.rulings_of(campaign)),
        form=form,
        may_add=campaign.stage != Campaign.Stage.CLOSED,
    )
    template, part = "annotation/campaign_rulings.html", "annotation/_campaign_rulings.html"
    return render_page(request, template, part, page, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(*LEADS)
def ruling(request: HttpRequest, project: Project, key: str, ruling: str) -> HttpResponse:
    """GET: the ruling and its form. POST: say it better, withdraw it, put it back."""
    found = get_object_or_404(
        Ruling.objects.select_related("campaign__project", "by", "question"),
        campaign__project=project,
        campaign__key=key,
        key=ruling,
    )
    back = reverse("annotation:campaign-rulings", args=[project.slug, key])
    action = request.POST.get("action", "edit")
    if request.method == "POST" and action in ("withdraw", "put_back"):
        (rulings.withdraw if action == "withdraw" else rulings.put_back)(ruling=found, by=person(request))
        messages.success(request, "Withdrawn." if action == "withdraw" else "It is in force again.")
        return see_other(request, back)
    has_example = bool(found.example)
    form = EditForm(posted(request), initial={"title": found.title, "text": found.text, "has_example": has_example})
    if request.method == "POST" and form.is_valid():
        rulings.edit(ruling=found, by=person(request), **form.cleaned_data)
        messages.success(request, "Saved.")
        return see_other(request, back)
    page = RulingPage(
        project=project, campaign=found.campaign, ruling=found, example=read_example(found.example), form=form
    )
    template, part = "annotation/ruling.html", "annotation/_ruling.html"
    return render_page(request, template, part, page, status=422 if form.errors else 200)
