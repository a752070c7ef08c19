"""What stands beside judging: guidelines and rulings, questions to the lead, announcements, consent."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts import preferences
from accounts.access import membership_in, person, project_view
from accounts.models import Project, Role
from annotation import announcements, consent, questions, worktime
from annotation.examples import Example, read_example
from annotation.guidelines import Line, changes_since, needs_confirmation, unconfirmed_note
from annotation.home import campaigns_for
from annotation.models import Place, Question, Ruling
from annotation.pages import CampaignPage
from annotation.rulings import standing_rulings
from annotation.screen import Entered
from annotation.views.access import campaign_of, made_annotator, me_in, turn_of
from annotation.views.parts import go_on, lost_page, lost_response, see_other, start_page, start_response, to_task
from core.errors import Conflict
from core.htmx import render_page, wants_fragment
from core.htmx import see_other as client_see_other

MAX_SHOWN = 50


@dataclass(frozen=True)
class ShownRuling:
    ruling: Ruling
    example: Example


@dataclass(frozen=True, kw_only=True)
class GuidelinesPage(CampaignPage):
    query: str
    rulings: list[ShownRuling]
    must_confirm: bool
    what_changed: str
    changes: list[Line]


@require_GET
@project_view(Role.ANNOTATOR)
def guidelines(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """The guidelines in force and the rulings, searchable. A fragment is the list of rulings alone."""
    campaign = campaign_of(request, project, key)
    query = request.GET.get("q", "").strip()
    found = standing_rulings(campaign, query)[:MAX_SHOWN]
    me = me_in(request, project)
    place = Place.objects.filter(annotator=me, campaign=campaign).first() if me else None
    may_see = not consent.needs_consent(place, campaign)
    page = GuidelinesPage(
        project=project,
        campaign=campaign,
        look=preferences.read(person(request)),
        query=query,
        rulings=[ShownRuling(ruling, read_example(ruling.example if may_see else {})) for ruling in found],
        must_confirm=needs_confirmation(place, campaign),
        what_changed=unconfirmed_note(place, campaign),
        changes=changes_since(place, campaign),
    )
    return render_page(request, "annotation/guidelines_page.html", "annotation/_rulings.html", page, no_store=True)


@require_POST
@project_view(Role.ANNOTATOR)
def ask(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Park the task with a question, and go on with the next one."""
    me, turn = turn_of(request, project, key)
    text, (active, opened) = request.POST.get("text", ""), worktime.seconds_in(request.POST)
    try:
        questions.ask(assignment_key=turn.key, annotator=me, text=text, active_seconds=active, open_seconds=opened)
    except Conflict as problem:
        return lost_response(request, lost_page(request, project, turn, problem, Entered({"comment": [text]})))
    return go_on(request, project, me, turn.task.campaign, said="Asked. The answer comes back to you.")


@require_POST
@project_view(Role.ANNOTATOR)
def resume(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Go on with a parked task, with its answer or without."""
    me, turn = turn_of(request, project, key)
    question = get_object_or_404(Question.objects.filter(assignment=turn).order_by("-id")[:1])
    try:
        turn = questions.take_back_up(question=question, annotator=me)
    except Conflict as problem:
        return lost_response(request, lost_page(request, project, turn, problem, Entered()))
    return to_task(request, project, me, turn, said="Here is the task that you asked about.")


@require_POST
@project_view(Role.ANNOTATOR)
def read_announcement(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Confirm that one has read it. htmx takes the notice away; a browser goes back to where it stood."""
    me = made_annotator(request, project)
    campaigns = campaigns_for(membership_in(request))
    found = get_object_or_404(announcements.standing_announcements(project, campaigns), key=key)
    announcements.confirm(announcement=found, annotator=me)
    if wants_fragment(request):
        return HttpResponse("")
    return see_other(reverse("annotation:next", args=[project.slug]))


@require_POST
@project_view(Role.ANNOTATOR)
def agree(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Agree to see a sensitive campaign, or take that back."""
    campaign = campaign_of(request, project, key)
    me = made_annotator(request, project)
    if request.POST.get("agrees") == "1":
        consent.agree(me, campaign)
        said = ""
    else:
        consent.take_back(me, campaign)
        said = "Taken back. You are shown nothing of this campaign any more."
    url = reverse("annotation:start", args=[project.slug, campaign.key])
    if campaign.is_live:
        return client_see_other(request, url)
    if not wants_fragment(request):
        return see_other(url)
    return start_response(request, start_page(request, project, campaign, me_in(request, project), said=said))
