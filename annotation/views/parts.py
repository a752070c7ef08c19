"""Steps that several views of the annotate screen share: the page of a task, of the start, of what was lost; going on."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from accounts import preferences
from accounts.access import person
from accounts.models import Project
from annotation import announcements, guidelines, prepared, questions
from annotation.assign import last_finished, next_turn, open_assignment, why_nothing
from annotation.campaigns import open_campaigns, progress_at, progress_of
from annotation.consent import needs_consent
from annotation.drafts import draft_of, filled_in
from annotation.live_standing import live_url
from annotation.models import Annotator, Announcement, Assignment, Campaign, Place, Question
from annotation.pages import (
    LostPage,
    StartPage,
    TaskPage,
    Ways,
    answers_shown,
    extras_of,
    turns_of,
    words_of,
    written_in,
)
from annotation.rows import said_of
from annotation.screen import Entered, asked_of
from annotation.way_in import is_through, way_in_response
from core.addresses import address
from core.errors import Conflict
from core.htmx import render_page, wants_fragment
from core.htmx import see_other as client_see_other

LEASE_STEP_SECONDS = 5
FRESH_SECONDS = 2
SETTLED_HERE = ("guidelines", "agree")  # reasons to give no task that the start page itself does away with


# ---- responses ---------------------------------------------------------------------------------------------------------


def see_other(url: str) -> HttpResponse:
    response = redirect(url)
    response.status_code = 303
    return response


def task_response(request: HttpRequest, page: TaskPage, status: int = 200) -> HttpResponse:
    return render_page(request, "annotation/task.html", "annotation/_task.html", page, status=status, no_store=True)


def start_response(request: HttpRequest, page: StartPage) -> HttpResponse:
    return render_page(request, "annotation/start.html", "annotation/_start.html", page, no_store=True)


def lost_response(request: HttpRequest, page: LostPage) -> HttpResponse:
    return render_page(request, "annotation/lost.html", "annotation/_lost.html", page, status=409, no_store=True)


def go_on(
    request: HttpRequest,
    project: Project,
    me: Annotator,
    campaign: Campaign,
    *,
    after: Assignment | None = None,
    said: str = "",
) -> HttpResponse:
    """The next task of this campaign: swapped in for htmx, 303 for a browser. Without one, the start page says why.

    after  the task that was just finished, which "undo" takes back
    """
    if campaign.is_live:
        return client_see_other(request, live_url(project, me, campaign))
    turn = next_turn(me, campaign)
    if turn is not None:
        undo_key = after.key if after else None
        more = {"answers": answers_shown(turn.assignment, texts=turn.texts), "place": turn.place}
        return to_task(request, project, me, turn.assignment, said=said, undo_key=undo_key, **more)
    url = reverse("annotation:start", args=[project.slug, campaign.key])
    if not wants_fragment(request):
        return see_other(url)
    campaign.refresh_from_db()
    place = Place.objects.filter(annotator=me, campaign=campaign).first()
    if place is not None and not is_through(place, me, campaign):  # asked for proof again, or taken off, just now
        return way_in_response(request, project, me, campaign, said=said)
    response = start_response(request, start_page(request, project, campaign, me, said=said))
    response.headers["HX-Replace-Url"] = url
    return response


def may_go_on(place: Place | None, campaign: Campaign) -> bool:
    """Whether nothing has to be read or agreed to first; the start page says what."""
    return not (guidelines.needs_confirmation(place, campaign) or needs_consent(place, campaign))


def to_task(request: HttpRequest, project: Project, me: Annotator, turn: Assignment, **more: Any) -> HttpResponse:
    url = address("annotation:assignment", project.slug, turn.key)
    if not wants_fragment(request):
        return see_other(url)
    response = task_response(request, task_page(request, project, me, turn, **more))
    response.headers["HX-Replace-Url"] = url  # a reload finds the same task; going back never finds an old one
    return response


# ---- pages -------------------------------------------------------------------------------------------------------------


def task_page(
    request: HttpRequest,
    project: Project,
    me: Annotator,
    turn: Assignment,
    *,
    entered: Entered | None = None,
    wrong: tuple[str, ...] = (),
    place: Place | None = None,
    undo_key: str | None = None,
    is_ahead: bool = False,
    **more: Any,
) -> TaskPage:
    """A task to be judged, with what was entered already: typed, or standing in a draft.

    place, undo_key  where the caller has read them already; the place with all of ``prepared.desk``
    is_ahead         it is shown once the one before it is sent
    """
    campaign = turn.task.campaign
    answers = more.pop("answers", None) or answers_shown(turn)
    if undo_key is None:
        last = last_finished(me, campaign) if campaign.stage != Campaign.Stage.CLOSED else None
        undo_key = last.key if last and last.key != turn.key else ""
    draft_number = 0
    if entered is None and not _is_fresh(turn):
        entered, draft_number = _kept(turn)
    place = place or prepared.desk_now.first(annotator=me.pk, campaign=campaign.pk)
    asked_lead = _asked_lead(me, campaign, turn) if getattr(place, "has_answers", False) else []
    to = more.pop("to", None) or _ways(project, turn, undo_key=undo_key)
    return TaskPage(
        project=project,
        campaign=campaign,
        look=preferences.read(person(request)),
        here=address("annotation:assignment", project.slug, turn.key),
        key=turn.key,
        turns=turns_of(turn.task.prompt),
        extras=extras_of(campaign, turn.task.prompt),
        answers=answers,
        asked=asked_of(campaign, n_answers=len(answers), entered=entered, wrong=wrong),
        to=to,
        n_mine=(place.n_submitted if place else 0) + is_ahead,
        progress=progress_at(place) if place else progress_of(campaign),
        draft_number=draft_number,
        lease_seconds=_seconds_left(turn),
        is_sensitive=campaign.is_sensitive,
        support_text=campaign.support_text,
        announcements=_unread(project, me, campaign) if getattr(place, "has_news", True) else (),
        asked_lead=next((question for question in asked_lead if question.assignment_id == turn.pk), None),
        news=[question for question in asked_lead if question.assignment_id != turn.pk],
        **more,
    )


def done_page(
    request: HttpRequest,
    project: Project,
    me: Annotator,
    turn: Assignment,
    *,
    entered: Entered | None = None,
    is_correction: bool = False,
    **more: Any,
) -> TaskPage:
    """The task again, with what was said about it; it can be corrected or undone until the campaign closes."""
    assert turn.current is not None
    campaign = turn.task.campaign
    stands = Entered(said_of(turn.current).to_fields(campaign=campaign, display_order=turn.display_order))
    answers = answers_shown(turn, chosen=stands.one("choice")[:1] if len(turn.display_order) == 2 else "")
    words = words_of(asked_of(campaign, n_answers=len(answers), entered=stands))
    return task_page(
        request,
        project,
        me,
        turn,
        entered=entered or stands,
        answers=answers,
        done=words,
        stands=turn.current.key,
        is_correction=is_correction,
        to=_ways_of_done(project, turn, is_correction=is_correction),
        **more,
    )


def start_page(
    request: HttpRequest, project: Project, campaign: Campaign, me: Annotator | None, said: str = ""
) -> StartPage:
    is_open = campaign.stage == Campaign.Stage.OPEN
    place = Place.objects.filter(annotator=me, campaign=campaign).first() if me else None
    mine = open_assignment(me, campaign) if me else None
    last = last_finished(me, campaign) if me and campaign.stage != Campaign.Stage.CLOSED else None
    refusal = why_nothing(me, campaign) if me else None
    if refusal is not None and refusal.code in SETTLED_HERE:
        refusal = None  # the page asks for it
    has_work = refusal is None if me else is_open and campaign.tasks.filter(is_free=True).exists()
    if campaign.is_live:  # what is asked here comes before the conversation's own page: see views.start
        has_work = is_open
    return StartPage(
        project=project,
        campaign=campaign,
        look=preferences.read(person(request)),
        here=reverse("annotation:start", args=[project.slug, campaign.key]),
        n_mine=place.n_submitted if place else 0,
        progress=progress_of(campaign),
        has_work=has_work,
        n_with_others=refusal.n if refusal and refusal.code == "none_now" else 0,
        refusal=refusal,
        open_key=mine.key if mine and campaign.stage != Campaign.Stage.CLOSED else "",
        undo_key=last.key if last else "",
        is_several=len(open_campaigns(project)) > 1,
        said=said,
        announcements=announcements.unread(project, me, [campaign]),
        news=questions.news_for(me, campaign) if me else [],
        needs_consent=needs_consent(place, campaign),
        needs_confirmation=guidelines.needs_confirmation(place, campaign),
        changed=guidelines.unconfirmed_note(place, campaign),
    )


def lost_page(
    request: HttpRequest, project: Project, turn: Assignment, problem: Conflict, entered: Entered
) -> LostPage:
    turn.refresh_from_db()
    campaign = turn.task.campaign
    is_closed = campaign.stage == Campaign.Stage.CLOSED
    may_undo = turn.status in (Assignment.Status.SUBMITTED, Assignment.Status.SKIPPED) and not is_closed
    return LostPage(
        project=project,
        campaign=campaign,
        look=preferences.read(person(request)),
        here=reverse("annotation:start", args=[project.slug, campaign.key]),
        sentence=problem.sentence,
        how=problem.how,
        undo_key=turn.key if may_undo else "",
        written=what_was_written(turn, entered) if entered else "",
    )


# ---- small -------------------------------------------------------------------------------------------------------------


def _ways(project: Project, turn: Assignment, *, undo_key: str) -> Ways:
    mine = [project.slug, turn.key]
    return Ways(
        submit=address("annotation:assignment", *mine),
        start=address("annotation:start", project.slug, turn.task.campaign.key),
        skip=address("annotation:skip", *mine),
        ask=address("annotation:ask", *mine),
        draft=address("annotation:draft", *mine),
        renew=address("annotation:renew", *mine),
        ahead="" if turn.task.campaign.is_live else address("annotation:ahead", *mine),
        leave=address("annotation:leave", *mine),
        undo=address("annotation:undo", project.slug, undo_key) if undo_key else "",
    )


def _ways_of_done(project: Project, turn: Assignment, *, is_correction: bool) -> Ways:
    mine = [project.slug, turn.key]
    is_closed = turn.task.campaign.stage == Campaign.Stage.CLOSED
    correct = reverse("annotation:correct", args=mine)
    return Ways(
        submit=correct,
        start=reverse("annotation:start", args=[project.slug, turn.task.campaign.key]),
        undo="" if is_closed or is_correction else reverse("annotation:undo", args=mine),
        correct="" if is_closed or is_correction else correct,
    )


def _asked_lead(me: Annotator, campaign: Campaign, turn: Assignment) -> list[Question]:
    """Answered questions that concern this person now: about this task, not read yet, or about a task that is still parked."""
    return prepared.answered_questions.all(annotator=me.pk, campaign=campaign.pk, turn=turn.pk)


def _unread(project: Project, me: Annotator, campaign: Campaign) -> list[Announcement]:
    return prepared.unread_announcements.all(project=project.pk, campaign=campaign.pk, annotator=me.pk)


def what_was_written(turn: Assignment, entered: Entered) -> str:
    """Everything that was entered about a task, as a text to copy."""
    asked = asked_of(turn.task.campaign, n_answers=len(turn.display_order), entered=entered)
    return written_in(asked, entered)


def _is_fresh(turn: Assignment) -> bool:
    """Whether the task is shown for the first time, so that nothing can have been entered."""
    return turn.current_id is None and (
        turn.opened_at is None or timezone.now() - turn.opened_at < timedelta(seconds=FRESH_SECONDS)
    )


def _kept(turn: Assignment) -> tuple[Entered, int]:
    """What was entered before, and the number of the draft."""
    draft = draft_of(turn)
    if draft is not None:
        return Entered(draft.said), draft.number
    return Entered(filled_in(turn) if turn.current_id is not None else {}), 0


def _seconds_left(turn: Assignment) -> int:
    """Of the lease, in steps, so that two pages of the same moment are the same bytes."""
    if turn.leased_until is None:
        return 0
    seconds = (turn.leased_until - timezone.now()).total_seconds()
    return max(0, round(seconds / LEASE_STEP_SECONDS) * LEASE_STEP_SECONDS)
