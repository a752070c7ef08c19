"""The way to a task: the page where a campaign begins. The choice of campaigns is the home page."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from accounts.access import project_view
from accounts.models import Project, Role
from annotation import guidelines
from annotation.live_standing import live_url
from annotation.models import Annotator, Campaign, Place
from annotation.views.access import campaign_of, made_annotator, me_in
from annotation.views.parts import go_on, may_go_on, start_page, start_response
from annotation.way_in import way_in_url
from core.errors import Conflict
from core.htmx import see_other


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.ANNOTATOR)
def start(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """GET: what the campaign asks, and whether there is anything for this person. POST: the next task."""
    campaign = campaign_of(request, project, key)
    known = me_in(request, project)
    if url := way_in_url(project, known, campaign):
        return see_other(request, url)
    if campaign.is_live and request.method != "POST":
        place = Place.objects.filter(annotator=known, campaign=campaign).first() if known else None
        if may_go_on(place, campaign):
            return see_other(request, live_url(project, known, campaign))
    if request.method == "POST":
        me = made_annotator(request, project)
        if (number := request.POST.get("confirms", "")).isdecimal():
            _confirm(me, campaign, int(number))
        return go_on(request, project, me, campaign)
    return start_response(request, start_page(request, project, campaign, known))


def _confirm(me: Annotator, campaign: Campaign, number: int) -> None:
    try:
        guidelines.confirm(me, campaign, number)
    except Conflict:  # a newer version was published meanwhile: the start page shows it
        campaign.refresh_from_db()
