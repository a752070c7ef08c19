"""Pages on which a campaign begins or is changed: the form, its plan and its preview."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import person, project_view
from accounts.models import Project, Role
from annotation.campaign_forms import CampaignForm, edited_rows, initial_of
from annotation.campaign_options import options_of, read_pairing
from annotation.campaign_templates import TEMPLATES, Template
from annotation.campaign_views import LEFT_OUT
from annotation.campaigns import change_campaign, has_judgements, start_campaign
from annotation.models import Campaign
from annotation.overlap import may_be_raised
from annotation.planning import Estimate, estimate
from annotation.preview import preview_of
from annotation.regression import with_versions
from core.errors import DomainError
from core.htmx import context_of, render_page, see_other
from generation.models import GenerationJob

MOST_CLONES = 20
SESSION = "campaign_tryout"  # the form that is being tried out, so that one comes back to it as it was


@dataclass(frozen=True)
class PlanPart:
    """What the campaign would be, and how it would look: everything that follows the form."""

    estimate: Estimate | None = None
    problem: str = ""
    preview: str = ""  # HTML of the annotate page, from the same template
    preview_problem: str = ""
    overlap: int = 1
    share: float = 0.0

    @property
    def hours(self) -> str:
        """``3 h 20 min``."""
        minutes = round((self.estimate.hours if self.estimate else 0) * 60)
        hours, rest = divmod(minutes, 60)
        if hours >= 100:
            return f"{round(minutes / 60):,} h"
        return f"{hours} h {rest} min" if hours else f"{rest} min"

    @property
    def points(self) -> str:
        return _points(self.estimate.half_width if self.estimate else None)

    @property
    def regression_points(self) -> str:
        return _points(self.estimate.regression_width if self.estimate else None)

    @property
    def left_out(self) -> list[tuple[int, str]]:
        return [(n, LEFT_OUT.get(reason, reason)) for reason, n in self.estimate.left_out] if self.estimate else []


def _points(half_width: float | None) -> str:
    return f"{100 * (half_width or 0):.1f}"


@dataclass(frozen=True)
class PlanPage:
    project: Project
    plan: PlanPart


@dataclass(frozen=True)
class NewPage:
    project: Project
    form: CampaignForm
    plan: PlanPart
    templates: list[Template]
    template: Template | None
    clones: list[Campaign]
    cloned_from: Campaign | None
    has_jobs: bool
    focus: str = ""  # the row that was just added


@dataclass(frozen=True)
class ChangePage:
    project: Project
    campaign: Campaign
    form: CampaignForm
    plan: PlanPart
    has_judgements: bool
    note: str = ""
    focus: str = ""


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.RESEARCHER)
def new_campaign(request: HttpRequest, project: Project) -> HttpResponse:
    """GET: a fresh form, from ``?template=`` or ``?clone=``. POST: start, or add and remove rows, or show the plan."""
    if request.method != "POST":
        kept = request.session.get(SESSION) if "kept" in request.GET else None
        if kept and kept["project"] == project.slug:
            form = CampaignForm(QueryDict(kept["form"]), project=project, draft=True)
        else:
            form = CampaignForm(project=project, initial=_beginning(request, project))
        return _new_response(request, project, form)
    if "row" in request.POST or "look" in request.POST:
        data = edited_rows(request.POST)
        form = CampaignForm(data, project=project, draft=True)
        focus = f"criterion-{len(form.rows) - 1}" if request.POST.get("row") == "add" else ""
        return _new_response(request, project, form, focus=focus)
    form = CampaignForm(request.POST, project=project)
    if form.is_valid():
        arguments = form.campaign()
        source = Campaign.objects.filter(project=project, key=form.cloned_from).first()
        arguments["options"]["cloned_from"] = source
        try:
            campaign = start_campaign(project=project, by=person(request), **arguments)
        except DomainError as problem:
            form.add_problem(problem.words)
        else:
            return see_other(request, reverse("annotation:campaign", args=[project.slug, campaign.key]))
    return _new_response(request, project, form, status=422)


@require_POST
@project_view(Role.RESEARCHER)
def plan(request: HttpRequest, project: Project) -> HttpResponse:
    """The plan and the preview of a form as it stands; asked again with every change."""
    part = _plan(request, project, CampaignForm(request.POST, project=project))
    page = PlanPage(project=project, plan=part)
    return render_page(request, "annotation/campaign_plan.html", "annotation/_campaign_plan.html", page)


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.RESEARCHER)
def change(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Change a campaign that has started."""
    found = get_object_or_404(Campaign, project=project, key=key)
    note = request.POST.get("note", "")
    fixed: dict[str, Any] = {"project": project, "kind": found.kind, "may_raise": may_be_raised(found)}
    if request.method != "POST":
        stands = {"name": found.name, "closes_at": found.closes_at, "overlap": found.overlap}
        initial = initial_of({**options_of(found), **stands})
        return _change_response(request, found, CampaignForm(initial=initial, **fixed))
    if "row" in request.POST or "look" in request.POST:
        form = CampaignForm(edited_rows(request.POST), draft=True, **fixed)
        focus = f"criterion-{len(form.rows) - 1}" if request.POST.get("row") == "add" else ""
        return _change_response(request, found, form, note=note, focus=focus)
    form = CampaignForm(request.POST, **fixed)
    if form.is_valid():
        try:
            changed = change_campaign(found, options=form.changes(), by=person(request), guidelines_note=note)
        except DomainError as problem:
            form.add_problem(problem.words)
        else:
            messages.success(request, "Saved." if changed else "Nothing was changed.")
            return see_other(request, reverse("annotation:campaign", args=[project.slug, found.key]))
    return _change_response(request, found, form, note=note, status=422)


# ---- contexts ----------------------------------------------------------------------------------------------------------


def _beginning(request: HttpRequest, project: Project) -> dict[str, Any]:
    """What a fresh form holds: a template, a clone, or what the latest campaign asked; the newest job is chosen."""
    template = TEMPLATES.get(request.GET.get("template", ""))
    earlier = Campaign.objects.filter(project=project).order_by("-id")
    clone = earlier.filter(key=request.GET.get("clone", "")).first()
    if template is not None:
        options: dict[str, Any] = {"guidelines": project.guidelines, **template.options()}
        initial = initial_of({**options, "kind": template.kind, "overlap": template.overlap}, pairing=template.pairing)
        initial["name"] = template.label
    elif clone is not None:
        initial = _cloned(clone)
        initial["jobs"] = list(clone.jobs.values_list("key", flat=True))
        return initial
    else:
        latest = earlier.first()
        initial = _cloned(latest) if latest else {"guidelines": project.guidelines}
        for name in ("name", "cloned_from", "template", "regression_share", "new", "old", "per_prompt", "max_tasks"):
            initial.pop(name, None)
    newest = GenerationJob.objects.filter(project=project, arms__candidates__isnull=False).exclude(kind="live")
    job = newest.order_by("-id").first()
    initial["jobs"] = [job.key] if job is not None else []
    return initial


def _cloned(campaign: Campaign) -> dict[str, Any]:
    options = {
        **options_of(campaign),
        "kind": campaign.kind,
        "overlap": campaign.overlap,
        "name": f"{campaign.name[:90]}, again",
        "template": campaign.template,
        "cloned_from": campaign.key,
    }
    return initial_of(options, pairing=campaign.pairing)


def _new_response(
    request: HttpRequest, project: Project, form: CampaignForm, *, status: int = 200, focus: str = ""
) -> HttpResponse:
    page = NewPage(
        project=project,
        form=form,
        plan=_plan(request, project, _bound(request, project, form)),
        templates=list(TEMPLATES.values()),
        template=TEMPLATES.get(form.template),
        clones=list(Campaign.objects.filter(project=project).order_by("-id")[:MOST_CLONES]),
        cloned_from=Campaign.objects.filter(project=project, key=form.cloned_from).first()
        if form.cloned_from
        else None,
        has_jobs=form.has_jobs,
        focus=focus,
    )
    return render_page(request, "annotation/campaign_new.html", "annotation/_campaign_form.html", page, status=status)


def _change_response(
    request: HttpRequest, found: Campaign, form: CampaignForm, *, note: str = "", status: int = 200, focus: str = ""
) -> HttpResponse:
    page = ChangePage(
        project=found.project,
        campaign=found,
        form=form,
        plan=PlanPart(),
        has_judgements=has_judgements(found),
        note=note,
        focus=focus,
    )
    template, part = "annotation/campaign_change.html", "annotation/_campaign_change.html"
    return render_page(request, template, part, page, status=status)


def _bound(request: HttpRequest, project: Project, form: CampaignForm) -> CampaignForm:
    """The same fields as if they had been sent: what the plan reads."""
    data = edited_rows(request.POST) if request.method == "POST" else form.as_data()
    return CampaignForm(data, project=project)


def _plan(request: HttpRequest, project: Project, form: CampaignForm) -> PlanPart:
    """Each half stands by itself: a form that is half filled in has a plan as soon as its answers are chosen."""
    assert form.answers is not None
    if not form.answers.is_valid():
        return PlanPart(problem="Choose the answers first; then you see here what the campaign would be.")
    given = form.answers.cleaned_data
    form.work.is_valid()
    work = form.work.cleaned_data  # what is valid of it: the name may still be missing
    overlap, pay = work.get("overlap") or 1, work.get("pay_per_hour")
    jobs, criteria = list(given["jobs"]), form.criteria()
    found, problem = None, ""
    try:
        pairing = read_pairing(form.answers.pairing())
        if form.answers.share:
            pairing = with_versions(pairing, jobs)
        found = estimate(
            project,
            jobs,
            pairing,
            kind=given["kind"],
            overlap=overlap,
            regression_share=form.answers.share,
            n_criteria=len(criteria),
            pay_per_hour=pay,
        )
    except DomainError as difficulty:
        problem = difficulty.words
    preview, preview_problem = "", ""
    if form.asked.is_valid() and not problem:
        try:
            options = {**form.asked_options(), **_sensitive(form)}
            shown = preview_of(project, jobs, pairing, kind=given["kind"], options=options)
            preview = render_to_string("annotation/_task.html", context_of(shown), request=request)
        except DomainError as difficulty:
            preview_problem = difficulty.words
    return PlanPart(
        estimate=found,
        problem=problem,
        preview=preview,
        preview_problem=preview_problem,
        overlap=overlap,
        share=form.answers.share,
    )


def _sensitive(form: CampaignForm) -> dict[str, Any]:
    given = form.work.cleaned_data
    return {"is_sensitive": given.get("is_sensitive", False), "support_text": given.get("support_text", "")}
