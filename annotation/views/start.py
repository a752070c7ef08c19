"""The way to a task: the choice of campaigns, and the page where one begins."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_http_methods

from accounts.access import project_view
from accounts.models import Project, Role
from annotation import guidelines
from annotation.campaigns import Progress, open_campaigns
from annotation.live import live_url
from annotation.models import Annotator, Campaign, Place
from annotation.pages import ChooserPage
from annotation.people import n_submitted_in
from annotation.views.access import campaign_of, made_annotator, me_in
from annotation.views.parts import go_on, start_page, start_response
from annotation.way_in import way_in_url
from core.errors import Conflict
from core.htmx import render_page, see_other


@require_GET
@project_view(Role.ANNOTATOR)
def next_task(request: HttpRequest, project: Project) -> HttpResponse:
    """The open campaign, or a choice of them."""
    campaigns = open_campaigns(project)
    if len(campaigns) == 1:
        return redirect("annotation:start", project.slug, campaigns[0].key)
    me = me_in(request, project)
    mine = dict(Place.objects.filter(annotator=me).values_list("campaign_id", "n_submitted")) if me else {}
    done = n_submitted_in(campaigns)
    rows = [
        (campaign, Progress(done.get(campaign.pk, 0), campaign.n_tasks * campaign.overlap), mine.get(campaign.pk, 0))
        for campaign in campaigns
    ]
    page = ChooserPage(project=project, campaigns=rows)
    return render_page(request, "annotation/chooser.html", "annotation/_chooser.html", page, no_store=True)


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.ANNOTATOR)
def start(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """GET: what the campaign asks, and whether there is anything for this person. POST: the next task."""
    campaign = campaign_of(project, key)
    known = me_in(request, project)
    if url := way_in_url(project, known, campaign):
        return see_other(request, url)
    if campaign.is_live:
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
