"""One task: shown, judged, corrected, skipped, taken back."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts import preferences
from accounts.access import person, project_view
from accounts.models import Project, Role
from annotation import prepared, worktime
from annotation.assign import skip_assignment
from annotation.drafts import draft_of, filled_in
from annotation.judge import correct_judgement, submit_judgement, undo_judgement
from annotation.leases import open_task
from annotation.models import Annotator, Assignment, Campaign, Place
from annotation.pages import LostPage, texts_shown
from annotation.protocol import LETTERS, Incomplete, Said
from annotation.refusals import stands_before
from annotation.screen import SKIP_REASONS, Entered
from annotation.turns import assignment_of
from annotation.views.access import turn_of
from annotation.views.parts import (
    done_page,
    go_on,
    lost_page,
    lost_response,
    see_other,
    task_page,
    task_response,
    to_task,
    what_was_written,
)
from core.errors import Conflict, DomainError
from core.htmx import wants_fragment

Status = Assignment.Status


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.ANNOTATOR)
def assignment(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """GET: the task. POST: the judgement, then the next task."""
    me, turn = turn_of(request, project, key)
    if request.method == "POST":
        return _judge(request, project, me, turn)
    if turn.status == Status.SUBMITTED:
        return task_response(request, done_page(request, project, me, turn))
    is_closed = turn.task.campaign.stage == Campaign.Stage.CLOSED
    may_judge = turn.status in (Status.OPEN, Status.PARKED) or (turn.status == Status.EXPIRED and turn.task.is_free)
    if may_judge and not is_closed:
        return _open(request, project, me, turn)
    kept = draft_of(turn)
    page = LostPage(
        project=project,
        campaign=turn.task.campaign,
        look=preferences.read(person(request)),
        here=reverse("annotation:start", args=[project.slug, turn.task.campaign.key]),
        sentence="This campaign is closed." if is_closed else _what_became_of(turn),
        how="" if is_closed else "Go on with the next one.",
        undo_key=turn.key if turn.status == Status.SKIPPED and not is_closed else "",
        written=what_was_written(turn, Entered(kept.said)) if kept else "",
    )
    return lost_response(request, page)


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.ANNOTATOR)
def correct(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """GET: a judged task with its form as it was sent. POST: what takes its place."""
    me, turn = turn_of(request, project, key)
    if turn.status != Status.SUBMITTED or turn.task.campaign.stage == Campaign.Stage.CLOSED or turn.current is None:
        return redirect("annotation:assignment", project.slug, turn.key)
    if request.method != "POST":
        return task_response(request, done_page(request, project, me, turn, is_correction=True))
    entered = Entered(dict(request.POST.lists()))
    if "begin" in request.POST:
        begun = _begun(turn, entered)
        return task_response(
            request, done_page(request, project, me, turn, is_correction=True, entered=begun, is_begun=True)
        )
    try:
        said = Said.from_fields(request.POST, campaign=turn.task.campaign, display_order=turn.display_order)
        instead_of = request.POST.get("instead_of") or None
        correct_judgement(assignment_key=turn.key, annotator=me, said=said, instead_of=instead_of)
    except Conflict as problem:
        return lost_response(request, lost_page(request, project, turn, problem, entered))
    except DomainError as problem:
        if problem.status_code != 422:
            raise
        wrong = problem.fields if isinstance(problem, Incomplete) else ()
        page = done_page(
            request, project, me, turn, is_correction=True, entered=entered, wrong=wrong, error=problem.sentence
        )
        return task_response(request, page, status=422)
    url = reverse("annotation:assignment", args=[project.slug, turn.key])
    if not wants_fragment(request):
        return see_other(url)
    response = task_response(request, done_page(request, project, me, assignment_of(me, key), said="Corrected."))
    response.headers["HX-Replace-Url"] = url
    return response


@require_POST
@project_view(Role.ANNOTATOR)
def skip(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    me, turn = turn_of(request, project, key)
    number = request.POST.get("reason", "")
    reason = SKIP_REASONS[int(number) - 1] if number in {str(n + 1) for n in range(len(SKIP_REASONS))} else ""
    try:
        active, opened = worktime.seconds_in(request.POST)
        skip_assignment(
            assignment_key=turn.key, annotator=me, reason=reason, active_seconds=active, open_seconds=opened
        )
    except Conflict as problem:
        return lost_response(request, lost_page(request, project, turn, problem, Entered()))
    return go_on(request, project, me, turn.task.campaign, after=turn, said="Skipped.")


@require_POST
@project_view(Role.ANNOTATOR)
def undo(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    me, turn = turn_of(request, project, key)
    try:
        undo_judgement(assignment_key=turn.key, annotator=me)
    except Conflict as problem:
        return lost_response(request, lost_page(request, project, turn, problem, Entered()))
    turn = assignment_of(me, key)
    return to_task(request, project, me, turn, said="Taken back. Judge it again.", entered=Entered(filled_in(turn)))


def _open(request: HttpRequest, project: Project, me: Annotator, turn: Assignment) -> HttpResponse:
    """A task that waits for its judgement: what has to be settled first comes before it is shown."""
    campaign = turn.task.campaign
    place: Place | None = prepared.desk_now.first(annotator=me.pk, campaign=campaign.pk)
    if not campaign.is_live and stands_before(place, campaign, me) is not None:
        return redirect("annotation:start", project.slug, campaign.key)
    if turn.opened_at is None and turn.status == Status.OPEN and request.method == "GET":
        turn = open_task(assignment_key=turn.key, annotator=me)
    return task_response(request, task_page(request, project, me, turn, place=place))


# ---- steps -------------------------------------------------------------------------------------------------------------


def _judge(request: HttpRequest, project: Project, me: Annotator, turn: Assignment) -> HttpResponse:
    entered = Entered(dict(request.POST.lists()))
    if "begin" in request.POST:
        page = task_page(request, project, me, turn, entered=_begun(turn, entered), is_begun=True)
        return task_response(request, page)
    try:
        said = Said.from_fields(request.POST, campaign=turn.task.campaign, display_order=turn.display_order)
        submit_judgement(assignment_key=turn.key, annotator=me, said=said)
    except Conflict as problem:
        return lost_response(request, lost_page(request, project, turn, problem, entered))
    except DomainError as problem:
        if problem.status_code != 422:
            raise
        wrong = problem.fields if isinstance(problem, Incomplete) else ()
        page = task_page(request, project, me, turn, entered=entered, wrong=wrong, error=problem.sentence)
        return task_response(request, page, status=422)
    return go_on(request, project, me, turn.task.campaign, after=turn, said="Saved.")


def _begun(turn: Assignment, entered: Entered) -> Entered:
    """The form again, its better answer filled with the text of the answer that ``begin`` names."""
    letter = entered.one("begin").upper()
    texts = texts_shown(turn)
    place = LETTERS.find(letter) if letter else -1
    text = texts[place] if 0 <= place < len(texts) else ""
    return entered.but(write_in=text, edited_from=letter if text else "")


def _seconds(request: HttpRequest, name: str) -> float:
    text = request.POST.get(name, "")
    return float(text) if text.isdecimal() and len(text) < 7 else 0.0


def _what_became_of(turn: Assignment) -> str:
    sentences = {
        Status.SKIPPED: "You have skipped this task.",
        Status.EXPIRED: "This task was kept for you for a while, then given to somebody else.",
    }
    return sentences.get(Status(turn.status), "This task is no longer yours.")
