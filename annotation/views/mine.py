"""One's own judgements of a campaign: searchable, each can be opened and corrected until the campaign closes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from accounts import preferences
from accounts.access import person, project_view
from accounts.models import Project, Role
from annotation.models import Annotator, Assignment, Campaign
from annotation.pages import CampaignPage, words_said
from annotation.past import MOST_FOUND, holding
from annotation.views.access import campaign_of, me_in
from core.htmx import render_page

PER_PAGE = 30
MAX_QUERY = 200
Status = Assignment.Status
STATUSES = {"submitted": "Judged", "skipped": "Skipped", "parked": "Asked"}


@dataclass(frozen=True, slots=True)
class Row:
    key: str
    status: str
    prompt: str
    what: str
    comment: str
    when: datetime | None


@dataclass(frozen=True, kw_only=True)
class MinePage(CampaignPage):
    rows: list[Row]
    page_obj: Page
    pager_query: str
    query: str
    status: str
    statuses: dict[str, str]
    is_closed: bool
    n_searched: int  # where there were more than a search looks at, else 0


@require_GET
@project_view(Role.ANNOTATOR)
def mine(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    campaign = campaign_of(request, project, key)
    me = me_in(request, project)
    query = request.GET.get("q", "").strip()[:MAX_QUERY]
    status = request.GET.get("status", "")
    status = status if status in STATUSES else "submitted"
    found, is_cut = _found(me, campaign, query, status) if me else (Assignment.objects.none(), False)
    pages = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    page = MinePage(
        project=project,
        campaign=campaign,
        look=preferences.read(person(request)),
        here=reverse("annotation:mine", args=[project.slug, campaign.key]),
        rows=_rows(list(pages), campaign),
        page_obj=pages,
        pager_query=urlencode({"q": query, "status": status}) + "&",
        query=query,
        status=status,
        statuses=STATUSES,
        is_closed=campaign.stage == Campaign.Stage.CLOSED,
        n_searched=MOST_FOUND if is_cut else 0,
    )
    return render_page(request, "annotation/mine.html", "annotation/_mine.html", page, no_store=True)


def _found(me: Annotator, campaign: Campaign, query: str, status: str) -> tuple[QuerySet[Assignment], bool]:
    """Each word of the query stands in the prompt, in one of the answers, or in what this person wrote."""
    turns = Assignment.objects.filter(annotator=me, task__campaign=campaign, status=status)
    turns, is_cut = turns.filter(purpose=Assignment.Purpose.WORK).order_by("-finished_at", "-id"), False
    if words := query.lower().split():
        pks, is_cut = holding(turns, words)
        turns = turns.filter(pk__in=pks)
    return turns.select_related("task__prompt", "current"), is_cut


def _rows(turns: Sequence[Assignment], campaign: Campaign) -> list[Row]:
    live = {turn.pk: turn.current for turn in turns if turn.status == Status.SUBMITTED and turn.current is not None}
    for turn in turns:
        if turn.pk in live:
            live[turn.pk].assignment = turn
    said = dict(zip(live, words_said(list(live.values()), campaign), strict=True))
    return [
        Row(
            key=turn.key,
            status=turn.status,
            prompt=turn.task.prompt.last_turn,
            what=said.get(turn.pk, turn.skip_reason),
            comment=live[turn.pk].comment if turn.pk in live else "",
            when=turn.finished_at or turn.opened_at,
        )
        for turn in turns
    ]
