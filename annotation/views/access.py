"""Who is at the screen, and what they may open. Anything else looks like nothing."""

from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404

from accounts.access import membership_in, person
from accounts.models import Project
from annotation import prepared
from annotation.audience import is_for
from annotation.models import Annotator, Assignment, Campaign, Place
from annotation.people import annotator_for


def me_in(request: HttpRequest, project: Project) -> Annotator | None:
    """This person as an annotator, if they have ever judged here: opening a page creates nothing."""
    found: Annotator | None = prepared.annotator_of.first(project=project.pk, user=person(request).pk)
    if found is not None:
        found.user = person(request)
    return found


def made_annotator(request: HttpRequest, project: Project) -> Annotator:
    return annotator_for(person(request), project)


def campaign_of(request: HttpRequest, project: Project, key: str) -> Campaign:
    """A campaign of this person: one that is being built, or for others, is not there. Who was in it once still sees it."""
    hidden = (Campaign.Stage.DRAFT, Campaign.Stage.BUILDING)
    campaign = get_object_or_404(Campaign.objects.exclude(stage__in=hidden), project=project, key=key)
    membership = membership_in(request)
    was_in = Place.objects.filter(campaign=campaign, annotator__user=person(request))
    if not is_for(campaign, membership) and not was_in.exists():
        raise Http404("No such campaign.")
    return campaign


def turn_of(request: HttpRequest, project: Project, key: str) -> tuple[Annotator, Assignment]:
    """One's own assignment. Anybody else's looks like one that does not exist."""
    turn: Assignment | None = prepared.turn_here.first(project=project.pk, user=person(request).pk, key=key)
    if turn is None:
        raise Http404("No such assignment.")
    turn.annotator.user = person(request)
    return turn.annotator, turn
