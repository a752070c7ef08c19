"""Pages of live conversations. Opening one changes nothing; buttons do. The judging itself is the annotate screen's."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import person, project_view
from accounts.models import Project, Role
from annotation import live, live_standing
from annotation.campaign_forms import edited_rows, initial_of
from annotation.campaign_templates import TEMPLATES
from annotation.campaigns import open_campaigns
from annotation.live_campaigns import start_live_campaign
from annotation.live_forms import LiveCampaignForm, deployments_of
from annotation.live_pages import LivePage, NewPage, begin_page, live_page
from annotation.models import Annotator, Campaign, Conversation
from annotation.people import annotator_for
from annotation.views.access import campaign_of
from annotation.views.parts import to_task
from annotation.way_in import way_in_url
from core.errors import Conflict, DomainError
from core.htmx import render_page, see_other, wants_fragment

ACTIONS: dict[str, Callable[..., Any]] = {
    "again": live.write_again,
    "retry": live.try_again,
    "back": live.take_back,
}


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.ANNOTATOR)
def begin(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """GET: what is asked here, and this person's conversations. POST: begin one, or go on with the open one."""
    campaign = _campaign(request, project, key)
    if url := way_in_url(project, _me(request, project), campaign):
        return see_other(request, url)
    if request.method == "POST":
        me = annotator_for(person(request), project)
        try:
            talk = live.start_conversation(campaign=campaign, annotator=me)
        except DomainError as problem:
            return _begin_response(request, project, campaign, me, problem)
        return see_other(request, _url(project, talk))
    known = _me(request, project)
    if isinstance(live_standing.why_not(known, campaign), live_standing.ComesFirst):
        return see_other(request, reverse("annotation:start", args=[project.slug, campaign.key]))
    return _begin_response(request, project, campaign, known)


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.ANNOTATOR)
def conversation(request: HttpRequest, project: Project, key: str, talk: str) -> HttpResponse:
    """GET: where the conversation stands. POST: the next prompt."""
    me, found = _talk(request, project, key, talk)
    if request.method == "POST":
        text = request.POST.get("text", "")
        try:
            live.send_prompt(conversation_key=found.key, annotator=me, number=_number(request), text=text)
        except DomainError as problem:
            return _problem(request, project, found, problem, text=text)
        return _to(request, project, found, said="Sent. Two answers are being written.")
    return _standing(request, project, found)


@require_POST
@project_view(Role.ANNOTATOR)
def pick(request: HttpRequest, project: Project, key: str, talk: str) -> HttpResponse:
    """After a tie: which answer the conversation goes on with."""
    me, found = _talk(request, project, key, talk)
    letter = request.POST.get("letter", "")
    try:
        live.pick_answer(conversation_key=found.key, annotator=me, number=_number(request), letter=letter)
    except DomainError as problem:
        return _problem(request, project, found, problem)
    return _to(request, project, found, said=f"The conversation goes on with answer {letter.upper()}.")


@require_POST
@project_view(Role.ANNOTATOR)
def act(request: HttpRequest, project: Project, key: str, talk: str, action: str) -> HttpResponse:
    """Other answers, another try, or the prompt back; ending the conversation."""
    me, found = _talk(request, project, key, talk)
    if action == "end":
        live.end_conversation(conversation_key=found.key, annotator=me)
        return see_other(request, reverse("annotation:live", args=[project.slug, found.campaign.key]))
    if action not in ACTIONS:
        raise Http404("No such action.")
    try:
        came = ACTIONS[action](conversation_key=found.key, annotator=me, number=_number(request))
    except DomainError as problem:
        return _problem(request, project, found, problem)
    if action == "back":  # the text is not stored any more: it goes back into the field it came from
        return _response(request, live_page(project, found, text=came, said="Your prompt is back in the field."))
    return _to(request, project, found, said="Two answers are being written.")


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.RESEARCHER)
def new_live_campaign(request: HttpRequest, project: Project) -> HttpResponse:
    if request.method != "POST":
        template = TEMPLATES.get(request.GET.get("template", ""))
        options = {"guidelines": project.guidelines, **(template.options() if template else {})}
        form = LiveCampaignForm(project=project, initial=initial_of(options))
        return _new_response(request, project, form)
    if "row" in request.POST:
        form = LiveCampaignForm(edited_rows(request.POST), project=project, draft=True)
        focus = f"criterion-{len(form.rows) - 1}" if request.POST.get("row") == "add" else ""
        return _new_response(request, project, form, focus=focus)
    form = LiveCampaignForm(request.POST, project=project)
    if form.is_valid():
        try:
            made = start_live_campaign(project=project, by=person(request), **form.campaign())
        except DomainError as problem:
            form.add_problem(problem.words)
        else:
            return see_other(request, reverse("annotation:campaign", args=[project.slug, made.key]))
    return _new_response(request, project, form, status=422)


def _new_response(
    request: HttpRequest, project: Project, form: LiveCampaignForm, *, focus: str = "", status: int = 200
) -> HttpResponse:
    page = NewPage(
        project=project,
        form=form,
        has_models=deployments_of(project).exists(),
        templates=[template for template in TEMPLATES.values() if template.kind == "pair"],
        focus=focus,
    )
    return render_page(request, "annotation/live_new.html", "annotation/_live_form.html", page, status=status)


# ---- steps -----------------------------------------------------------------------------------------------------------


def _standing(request: HttpRequest, project: Project, found: Conversation, said: str = "") -> HttpResponse:
    """The page of a conversation as it stands; with answers to judge that is the annotate screen."""
    page = live_page(project, found, said=said)
    if page.state == "judge":
        turn = live_standing.assignment_of_turn(live_standing.turns_of(found)[-1])
        assert turn is not None
        return to_task(request, project, found.annotator, turn, said=said or "Both answers are there.")
    if wants_fragment(request) and request.GET.get("shown") == page.shown:
        return HttpResponse(status=204)  # the clock asked, and nothing has changed
    if page.is_answered and not said:
        page = replace(page, said="The lead has answered.")
    return _response(request, page)


def _to(request: HttpRequest, project: Project, found: Conversation, *, said: str) -> HttpResponse:
    """On to the conversation's own page: swapped in for htmx, 303 for a browser."""
    url = _url(project, found)
    if not wants_fragment(request):
        return see_other(request, url)
    response = _standing(request, project, found, said=said)
    response.headers.setdefault("HX-Replace-Url", url)
    return response


def _problem(
    request: HttpRequest, project: Project, found: Conversation, problem: DomainError, text: str = ""
) -> HttpResponse:
    """What could not be done, above where the conversation stands now; what was typed is kept."""
    if problem.status_code not in (409, 422):
        raise problem
    found.refresh_from_db()
    page = live_page(project, found, text=text, error=problem.sentence, how=problem.how)
    if page.state == "judge" and isinstance(problem, Conflict):
        page = live_page(project, found, text=text, error=problem.sentence, how="Judge the answers first.")
    return _response(request, page, status=problem.status_code)


def _response(request: HttpRequest, page: LivePage, status: int = 200) -> HttpResponse:
    return render_page(request, "annotation/live.html", "annotation/_live.html", page, status=status, no_store=True)


def _begin_response(
    request: HttpRequest, project: Project, campaign: Campaign, me: Annotator | None, problem: DomainError | None = None
) -> HttpResponse:
    if problem is None:
        problem = live_standing.why_not(me, campaign)
    page = begin_page(
        project,
        campaign,
        me,
        why_not=problem.sentence if problem else "",
        how=problem.how if problem else "",
        is_several=len(open_campaigns(project)) > 1,
    )
    status = problem.status_code if problem and request.method == "POST" else 200
    part = "annotation/_live_begin.html"
    return render_page(request, "annotation/live_begin.html", part, page, status=status, no_store=True)


# ---- who and what ----------------------------------------------------------------------------------------------------


def _me(request: HttpRequest, project: Project) -> Annotator | None:
    return Annotator.objects.filter(project=project, user=person(request)).select_related("user").first()


def _campaign(request: HttpRequest, project: Project, key: str) -> Campaign:
    campaign = campaign_of(request, project, key)
    if not campaign.is_live:
        raise Http404("No such campaign.")
    return campaign


def _talk(request: HttpRequest, project: Project, key: str, talk: str) -> tuple[Annotator, Conversation]:
    """One's own conversation. Anybody else's looks like one that does not exist."""
    me = _me(request, project)
    found = get_object_or_404(
        Conversation.objects.select_related("campaign__project", "annotator__user"),
        campaign=_campaign(request, project, key),
        annotator=me,
        key=talk,
    )
    return found.annotator, found


def _number(request: HttpRequest) -> int:
    given = request.POST.get("number", "")
    if not (given.isascii() and given.isdigit() and len(given) < 7):
        raise Conflict("This form is from an older page.", how="Reload it; your text is kept in the field.")
    return int(given)


def _url(project: Project, talk: Conversation) -> str:
    return reverse("annotation:conversation", args=[project.slug, talk.campaign.key, talk.key])
