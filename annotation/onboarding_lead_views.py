"""The lead's pages of a campaign's way in: what it asks, its practice items, and where each person stands. No page names a model."""

from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import allows, membership_in, person, project_view
from accounts.models import Project, Role
from annotation.campaigns import change_campaign
from annotation.models import Campaign, ComparisonTask, Place, PracticeItem, Ruling
from annotation.onboarding import Onboarding, onboarding_of
from annotation.onboarding_forms import ItemForm, ItemImportForm, OnboardingForm
from annotation.onboarding_lead import ACTIONS, ItemRow, PersonRow, Readiness, decide, items_of, people_of, readiness_of
from annotation.practice_items import (
    BadItem,
    add_item,
    add_items,
    change_item,
    from_ruling,
    from_task,
    read_item,
    read_items,
    set_active,
)
from core.errors import DomainError
from core.htmx import posted, render_page, see_other

LEADS = (Role.REVIEWER, Role.RESEARCHER)
DONE = {
    "try": "has another try",
    "let-in": "is in",
    "again": "has to qualify again; what they held is free",
    "off": "is off this campaign; what they held is free",
    "on": "is back on this campaign",
}


@dataclass(frozen=True)
class PeoplePage:
    project: Project
    campaign: Campaign
    onboarding: Onboarding
    form: OnboardingForm
    ready: Readiness
    people: list[PersonRow]
    with_names: bool
    may_change: bool


@dataclass(frozen=True)
class ItemsPage:
    project: Project
    campaign: Campaign
    ready: Readiness
    groups: list[tuple[str, str, list[ItemRow]]]
    form: ItemImportForm
    bad: list[BadItem] = field(default_factory=list)
    n_good: int = 0


@dataclass(frozen=True)
class ItemPage:
    project: Project
    campaign: Campaign
    form: ItemForm
    before: list[dict[str, str]]
    item: PracticeItem | None = None
    is_answered: bool = False
    source: str = ""


def _campaign(project: Project, key: str) -> Campaign:
    return get_object_or_404(Campaign, project=project, key=key)


def _url(name: str, project: Project, campaign: Campaign, *more: str) -> str:
    return reverse(f"annotation:{name}", args=[project.slug, campaign.key, *more])


# ---- people ------------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@project_view(*LEADS)
def people(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """GET: what the way in asks, and where everybody stands. POST: ask something else, for researchers."""
    campaign = _campaign(project, key)
    may_change = allows(membership_in(request), Role.RESEARCHER)
    form, status = OnboardingForm.of(campaign, posted(request)), 200
    if request.method == "POST":
        if not may_change:
            raise Http404("No such page.")
        if form.is_valid():
            try:
                change_campaign(campaign, options={"onboarding": form.onboarding()}, by=person(request))
            except DomainError as problem:
                form.add_error(None, problem.words)
            else:
                messages.success(request, "Saved. It holds for everybody who begins from now on.")
                return see_other(request, _url("people", project, campaign))
        status = 422
    with_names = membership_in(request).is_admin
    page = PeoplePage(
        project=project,
        campaign=campaign,
        onboarding=onboarding_of(campaign),
        form=form,
        ready=readiness_of(campaign),
        people=people_of(campaign, with_names=with_names),
        with_names=with_names,
        may_change=may_change,
    )
    return render_page(
        request,
        "annotation/onboarding_people.html",
        "annotation/_onboarding_people.html",
        page,
        status=status,
        no_store=True,
    )


@require_POST
@project_view(*LEADS)
def decide_person(request: HttpRequest, project: Project, key: str, who: str, action: str) -> HttpResponse:
    """One of ``onboarding_lead.ACTIONS`` about one person of the campaign."""
    campaign = _campaign(project, key)
    place = get_object_or_404(Place, campaign=campaign, annotator__pseudonym=who)
    if action not in ACTIONS:
        raise Http404("No such action.")
    decide(place, action, by=person(request))
    messages.success(request, f"{who} {DONE[action]}.")
    return see_other(request, _url("people", project, campaign))


# ---- items -------------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@project_view(*LEADS)
def items(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """GET: the items. POST: an import, all or nothing."""
    campaign = _campaign(project, key)
    form = ItemImportForm(posted(request), request.FILES or None)
    bad: list[BadItem] = []
    n_good = 0
    if request.method == "POST" and form.is_valid():
        try:
            good, bad = read_items(campaign, form.cleaned_data["lines"])
            n_good = len(good)
            if not bad:
                n_items = add_items(campaign, good, by=person(request))
                messages.success(request, f"{n_items} item{'' if n_items == 1 else 's'} imported.")
                return see_other(request, _url("practice-items", project, campaign))
        except DomainError as problem:
            form.add_error("text", problem.words)
    groups = [
        (use, title, items_of(campaign, use))
        for use, title in (("practice", "Practice"), ("qualification", "Qualification"))
    ]
    page = ItemsPage(
        project=project,
        campaign=campaign,
        ready=readiness_of(campaign),
        groups=groups,
        form=form,
        bad=bad,
        n_good=n_good,
    )
    status = 200 if request.method == "GET" else 422
    return render_page(
        request,
        "annotation/onboarding_items.html",
        "annotation/_onboarding_items.html",
        page,
        status=status,
        no_store=True,
    )


@require_http_methods(["GET", "POST"])
@project_view(*LEADS)
def new_item(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """A new item, empty or begun from ``?task=`` or ``?ruling=`` of this campaign."""
    campaign = _campaign(project, key)
    begun, source = _begun(request, campaign)
    initial = ItemForm.begin_from(begun) | {"use": request.GET.get("use", "practice")}
    n_answers = len(begun.get("answers", ()))
    form = ItemForm(posted(request), campaign=campaign, n_answers=n_answers, initial=initial)
    before = begun.get("messages", [])[:-1]
    if request.method == "POST" and form.is_valid():
        try:
            add_item(campaign, read_item(campaign, form.item(before)), by=person(request))
        except DomainError as problem:
            form.add_error(None, problem.words)
        else:
            messages.success(request, "The item is added.")
            return see_other(request, _url("practice-items", project, campaign))
    page = ItemPage(project=project, campaign=campaign, form=form, before=before, source=source)
    return _item_response(request, page, form)


@require_http_methods(["GET", "POST"])
@project_view(*LEADS)
def edit_item(request: HttpRequest, project: Project, key: str, item: str) -> HttpResponse:
    campaign = _campaign(project, key)
    found = _item(campaign, item)
    form = ItemForm(
        posted(request), campaign=campaign, n_answers=len(found.answers), initial=ItemForm.initial_of(found)
    )
    before = found.messages[:-1]
    if request.method == "POST" and form.is_valid():
        try:
            change_item(found, read_item(campaign, form.item(before)), by=person(request))
        except DomainError as problem:
            form.add_error(None, problem.words)
        else:
            messages.success(request, "The item is saved.")
            return see_other(request, _url("practice-items", project, campaign))
    is_answered = found.practice_answers.exclude(answered_at=None).exists()
    page = ItemPage(project=project, campaign=campaign, form=form, before=before, item=found, is_answered=is_answered)
    return _item_response(request, page, form)


@require_POST
@project_view(*LEADS)
def switch_item(request: HttpRequest, project: Project, key: str, item: str, action: str) -> HttpResponse:
    """Take an item out, or put it in again."""
    campaign = _campaign(project, key)
    if action not in ("retire", "restore"):
        raise Http404("No such action.")
    set_active(_item(campaign, item), active=action == "restore", by=person(request))
    messages.success(
        request, "The item is in again." if action == "restore" else "The item is taken out. Answers to it stay."
    )
    return see_other(request, _url("practice-items", project, campaign))


def _item(campaign: Campaign, key: str) -> PracticeItem:
    written = campaign.practice_items.exclude(use=PracticeItem.Use.KEYS).select_related("campaign")
    return get_object_or_404(written, key=key)


def _begun(request: HttpRequest, campaign: Campaign) -> tuple[dict[str, Any], str]:
    if key := request.GET.get("task"):
        return from_task(
            get_object_or_404(ComparisonTask.objects.select_related("prompt"), campaign=campaign, key=key)
        ), "a task"
    if key := request.GET.get("ruling"):
        return from_ruling(get_object_or_404(Ruling, campaign=campaign, key=key)), "a ruling"
    return {}, ""


def _item_response(request: HttpRequest, page: ItemPage, form: ItemForm) -> HttpResponse:
    return render_page(
        request,
        "annotation/onboarding_item.html",
        "annotation/_onboarding_item.html",
        page,
        status=422 if form.errors else 200,
        no_store=True,
    )
