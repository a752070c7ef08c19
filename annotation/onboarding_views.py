"""The way into a campaign, for the person who goes it. Opening a page changes nothing; buttons do."""

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import project_view
from accounts.models import Project, Role
from annotation import guidelines, practice
from annotation.keys_tasks import asks
from annotation.models import Annotator, Campaign, Place, PracticeAnswer, PracticeItem
from annotation.protocol import Incomplete, Said
from annotation.screen import Entered
from annotation.views.access import campaign_of, made_annotator, me_in
from annotation.way_in import is_through, place_in, practice_page, way_in_response
from core.errors import Conflict, DomainError
from core.htmx import render_page, see_other, wants_fragment

Use = PracticeItem.Use


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.ANNOTATOR)
def way_in(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """GET: what is behind this person and what comes now. POST: go on with it."""
    campaign = campaign_of(request, project, key)
    me = me_in(request, project)
    start = reverse("annotation:start", args=[project.slug, campaign.key])
    if request.method != "POST":
        return way_in_response(request, project, me, campaign)
    if is_through(place_in(me, campaign), me, campaign):
        return see_other(request, start)
    me = made_annotator(request, project)
    if (number := request.POST.get("confirms", "")).isdecimal():
        try:
            guidelines.confirm(me, campaign, int(number))
        except Conflict:  # a newer version was published meanwhile: the page shows it
            campaign.refresh_from_db()
    if guidelines.needs_confirmation(place_in(me, campaign), campaign):
        return way_in_response(request, project, me, campaign, status=409)
    try:
        row = practice.begin(practice.place_of(me, campaign))
    except Conflict:
        return way_in_response(request, project, me, campaign, status=409)
    return see_other(request, start) if row is None else _to_item(request, project, row)


@require_POST
@project_view(Role.ANNOTATOR)
def practise_again(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Back to practice between two tries of the qualification."""
    campaign, place = _place(request, project, key)
    practice.practise_again(place)
    row = practice.begin(place)
    return (
        way_in_response(request, project, place.annotator, campaign) if row is None else _to_item(request, project, row)
    )


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.ANNOTATOR)
def practice_item(request: HttpRequest, project: Project, key: str, item: str) -> HttpResponse:
    """GET: the item at hand, or what was said to an earlier one of practice. POST: the answer."""
    campaign, place = _place(request, project, key)
    row = practice.open_answers(place).first()
    if row is None or row.item.key != item:
        row = None if request.method == "POST" else _answered(place, item)
    if request.method == "POST":
        return _answer(request, project, campaign, place, item)
    if row is None:
        return see_other(request, reverse("annotation:way-in", args=[project.slug, campaign.key]))
    return _item_response(request, project, row)


def _answer(request: HttpRequest, project: Project, campaign: Campaign, place: Place, key: str) -> HttpResponse:
    known = PracticeAnswer.objects.filter(place=place, item__key=key).select_related("item", "place__campaign")
    row = known.order_by("-attempt").first()
    if row is None:
        raise Http404("No such practice task.")
    entered = Entered(dict(request.POST.lists()))
    try:
        said = Said.from_fields(request.POST, campaign=asks(campaign, row.item), display_order=row.display_order)
        row = practice.answer(place, item_key=key, said=said)
    except Conflict:
        return way_in_response(request, project, place.annotator, campaign, status=409)
    except DomainError as problem:
        if problem.status_code != 422:
            raise
        wrong = problem.fields if isinstance(problem, Incomplete) else ()
        return _item_response(request, project, row, status=422, entered=entered, wrong=wrong, error=problem.sentence)
    row.place = place
    if row.answered_at is None:  # the keys: not right yet
        error = "Not this one. Look at the line above the answers, and try again."
        return _item_response(request, project, row, status=422, entered=entered, error=error)
    if row.item.use == Use.PRACTICE:
        return _to_item(request, project, row, said="Right." if row.is_right else "Not right.")
    following = practice.open_answers(place).first()
    place.refresh_from_db()
    if following is None:
        return _to_overview(request, project, place, said="Done.")
    return _to_item(request, project, following, said="Right." if row.item.use == Use.KEYS else "Saved.")


# ---- parts -------------------------------------------------------------------------------------------------------------


def _place(request: HttpRequest, project: Project, key: str) -> tuple[Campaign, Place]:
    """One's own place in a campaign. Who has none has nothing to answer there."""
    campaign, me = campaign_of(request, project, key), me_in(request, project)
    place = place_in(me, campaign)
    if place is None:
        raise Http404("No such practice task.")
    return campaign, place


def _answered(place: Place, key: str) -> PracticeAnswer | None:
    try:
        row = practice.answered(place, key)
    except DomainError:
        return None
    row.place = place
    return row


def _to_item(request: HttpRequest, project: Project, row: PracticeAnswer, said: str = "") -> HttpResponse:
    url = reverse("annotation:practice-item", args=[project.slug, row.place.campaign.key, row.item.key])
    if not wants_fragment(request):
        return see_other(request, url)
    response = _item_response(request, project, row, said=said)
    response.headers["HX-Replace-Url"] = url
    return response


def _to_overview(request: HttpRequest, project: Project, place: Place, said: str) -> HttpResponse:
    if not wants_fragment(request):
        return see_other(request, reverse("annotation:way-in", args=[project.slug, place.campaign.key]))
    me: Annotator = place.annotator
    return way_in_response(request, project, me, place.campaign, said=said)


def _item_response(
    request: HttpRequest, project: Project, row: PracticeAnswer, status: int = 200, **more: object
) -> HttpResponse:
    page = practice_page(request, project, row, **more)  # type: ignore[arg-type]
    return render_page(
        request, "annotation/practice.html", "annotation/_practice.html", page, status=status, no_store=True
    )
