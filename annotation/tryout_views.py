"""Trying a campaign out: the real page and the real reading of its form, over examples. It records nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts import preferences
from accounts.access import person, project_view
from accounts.models import Project, Role
from annotation.campaign_forms import CampaignForm
from annotation.campaign_options import read_pairing
from annotation.campaign_start_views import SESSION
from annotation.models import Campaign
from annotation.pages import TaskPage, Ways, written_in
from annotation.preview import Example, examples_in, examples_of, page_of, unsaved
from annotation.protocol import Incomplete, Said
from annotation.screen import Entered
from core.errors import DomainError
from core.htmx import render_page
from generation.models import GenerationJob


@dataclass(frozen=True, kw_only=True)
class TryoutPage(TaskPage):
    """The annotate page with a line above it that says that nothing is recorded."""

    number: int
    n_examples: int
    next_url: str = ""
    back_url: str
    understood: str = ""  # what the form was read as, line by line


@dataclass(frozen=True)
class NoTryoutPage:
    project: Project
    sentence: str
    back_url: str


@require_POST
@project_view(Role.RESEARCHER)
def begin(request: HttpRequest, project: Project) -> HttpResponse:
    """Keep the form as it stands in this person's session, and show the first example."""
    form = CampaignForm(request.POST, project=project)
    back = reverse("annotation:new-campaign", args=[project.slug])
    assert form.answers is not None
    form.work.is_valid()
    if not (form.answers.is_valid() and form.asked.is_valid()):
        sentence = "Choose the answers, and fill in what is asked; then it can be tried."
        return _nothing(request, project, sentence, back, status=422)
    asked = form.asked_options()
    work = form.work.cleaned_data
    request.session[SESSION] = {
        "project": project.slug,
        "form": request.POST.urlencode(),
        "kind": form.answers.cleaned_data["kind"],
        "jobs": [job.key for job in form.answers.cleaned_data["jobs"]],
        "pairing": form.answers.pairing(),
        "name": work.get("name", ""),
        "options": {
            **asked,
            "protocol": asked["protocol"].stored(),
            "is_sensitive": work.get("is_sensitive", False),
            "support_text": work.get("support_text", ""),
        },
    }
    response = redirect("annotation:try", project.slug, 1)
    response.status_code = 303
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.RESEARCHER)
def draft(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    """An example of a campaign that is not there yet."""
    back = reverse("annotation:new-campaign", args=[project.slug]) + "?kept=1"
    kept = request.session.get(SESSION)
    if not kept or kept["project"] != project.slug:
        return _nothing(request, project, "There is nothing to try yet: begin with the form of a new campaign.", back)
    try:
        campaign = unsaved(project, kind=kept["kind"], name=kept["name"], options=kept["options"])
        jobs = list(GenerationJob.objects.filter(project=project, key__in=kept["jobs"]))
        examples = examples_of(jobs, read_pairing(kept["pairing"]))
    except DomainError as problem:
        return _nothing(request, project, problem.words, back, status=422)
    return _example(request, campaign, examples, number, back=back, name="annotation:try", args=[project.slug])


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.RESEARCHER, Role.REVIEWER)
def standing(request: HttpRequest, project: Project, key: str, number: int) -> HttpResponse:
    """An example of a campaign that stands, in its own words."""
    campaign = get_object_or_404(Campaign, project=project, key=key)
    back = reverse("annotation:campaign", args=[project.slug, key])
    return _example(
        request, campaign, examples_in(campaign), number, back=back, name="annotation:try-campaign",
        args=[project.slug, key],
    )  # fmt: skip


def _example(
    request: HttpRequest,
    campaign: Campaign,
    examples: Sequence[Example],
    number: int,
    *,
    back: str,
    name: str,
    args: list[str],
) -> HttpResponse:
    if not examples:
        sentence = "No two answers can be compared, so there is nothing to try."
        return _nothing(request, campaign.project, sentence, back)
    if not 1 <= number <= len(examples):
        raise Http404("No such example.")
    example = examples[number - 1]
    here = reverse(name, args=[*args, number])
    more: dict[str, Any] = {"look": preferences.read(person(request)), "here": here}
    status, understood = 200, ""
    entered = Entered(dict(request.POST.lists())) if request.method == "POST" else None
    if entered is not None:
        order = list(range(len(example.texts)))
        try:
            said = Said.from_fields(request.POST, campaign=campaign, display_order=order)
        except DomainError as problem:
            wrong = problem.fields if isinstance(problem, Incomplete) else ()
            more |= {"error": problem.words, "wrong": wrong}
            status = 422
        else:
            entered = Entered(said.to_fields(campaign=campaign, display_order=order))
            understood = "Read."
    ways = Ways(submit=here, start=back)
    shown = page_of(campaign, example, ways=ways, entered=entered, **more)
    page = TryoutPage(
        **{field: getattr(shown, field) for field in shown.__dataclass_fields__},
        number=number,
        n_examples=len(examples),
        next_url=reverse(name, args=[*args, number + 1]) if number < len(examples) else "",
        back_url=back,
        understood=written_in(shown.asked, entered or Entered()) if understood else "",
    )
    return render_page(request, "annotation/tryout.html", "annotation/_tryout.html", page, status=status, no_store=True)


def _nothing(request: HttpRequest, project: Project, sentence: str, back: str, *, status: int = 200) -> HttpResponse:
    page = NoTryoutPage(project=project, sentence=sentence, back_url=back)
    template, part = "annotation/tryout_none.html", "annotation/_tryout_none.html"
    return render_page(request, template, part, page, status=status)
