"""The annotate screen. Opening a page changes nothing; buttons do.

What is sent to an annotator is built from the assignment's random key, the letters of the answers as shown, and their
texts: no id, time, length or order that a model could have left its mark on.
"""

from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import person, project_view
from accounts.models import Project, Role
from annotation.assign import (
    assignment_of,
    last_finished,
    n_with_others,
    next_assignment,
    open_assignment,
    skip_assignment,
    untouched,
)
from annotation.campaigns import Progress, open_campaigns, progress_of
from annotation.judge import submit_judgement, undo_judgement
from annotation.live import live_url
from annotation.models import Annotator, Assignment, Campaign, Judgement, Place, TaskCandidate
from annotation.people import annotator_for, n_submitted_in
from annotation.protocol import Said
from annotation.rows import said_of
from core.errors import Conflict, DomainError
from core.htmx import render_page, see_other, wants_fragment

LETTERS = "ABCDEFGH"
SKIP_REASONS = (
    "I do not know enough about this",
    "The prompt makes no sense",
    "The answers are too long to judge",
    "Something is displayed wrongly",
    "Another reason",
)
STRENGTHS = {2: ("Slightly", "Clearly"), 3: ("Slightly", "Clearly", "Far better")}


@dataclass(frozen=True)
class Choice:
    """A button: what it sends, what it says, the key that presses it (printed) and one that does too."""

    value: str
    label: str
    key: str
    other_key: str


@dataclass(frozen=True)
class Shown:
    """One answer as an annotator sees it."""

    letter: str
    text: str
    is_chosen: bool = False


@dataclass(frozen=True, kw_only=True)
class CampaignPage:
    """What every page about one campaign needs: its guidelines and keys stand beside each of them."""

    project: Project
    campaign: Campaign

    @property
    def keys(self) -> list[tuple[str, str]]:
        return keys_of(self.campaign)


@dataclass(frozen=True, kw_only=True)
class TaskPage(CampaignPage):
    key: str
    turns: list[dict[str, str]]
    answers: list[Shown]
    choices: list[Choice]
    strengths: list[tuple[int, str, str]]
    skip_reasons: list[tuple[int, str]]
    n_mine: int
    progress: Progress
    undo_key: str = ""
    error: str = ""
    said: str = ""
    note: str = ""
    verdict: str = ""  # set where the task is done: what was said


@dataclass(frozen=True, kw_only=True)
class StartPage(CampaignPage):
    n_mine: int
    progress: Progress
    has_work: bool
    n_with_others: int
    open_key: str
    undo_key: str
    is_several: bool
    said: str = ""


@dataclass(frozen=True)
class ChooserPage:
    project: Project
    campaigns: list[tuple[Campaign, Progress, int]]


@dataclass(frozen=True, kw_only=True)
class LostPage(CampaignPage):
    """A judgement that could not be kept: what happened, what was said, and the way on."""

    sentence: str
    how: str
    undo_key: str = ""
    what: str = ""
    note: str = ""


# ---- pages -------------------------------------------------------------------------------------------------------------


@require_GET
@project_view(Role.ANNOTATOR)
def next_task(request: HttpRequest, project: Project) -> HttpResponse:
    """The open campaign, or a choice of them."""
    campaigns = open_campaigns(project)
    if len(campaigns) == 1:
        return redirect("annotation:start", project.slug, campaigns[0].key)
    me = _me(request, project)
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
    campaign = _campaign(project, key)
    if campaign.is_live:
        return see_other(request, live_url(project, _me(request, project), campaign))
    if request.method == "POST":
        return _go_on(request, project, _annotator(request, project), campaign)
    page = _start_page(project, campaign, _me(request, project))
    return render_page(request, "annotation/start.html", "annotation/_start.html", page, no_store=True)


@require_http_methods(["GET", "HEAD", "POST"])
@project_view(Role.ANNOTATOR)
def assignment(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """GET: the task. POST: the judgement, then the next task."""
    me, turn = _turn(request, project, key)
    if request.method == "POST":
        return _judge(request, project, me, turn)
    if turn.status == Assignment.Status.SUBMITTED:
        return _task_response(request, _done_page(project, me, turn))
    is_closed = turn.task.campaign.stage == Campaign.Stage.CLOSED
    may_judge = turn.status == Assignment.Status.OPEN or (
        turn.status == Assignment.Status.EXPIRED and turn.task.is_free
    )
    if may_judge and not is_closed:
        return _task_response(request, _task_page(project, me, turn))
    page = LostPage(
        project=project,
        campaign=turn.task.campaign,
        sentence="This campaign is closed." if is_closed else _what_became_of(turn),
        how="" if is_closed else "Go on with the next one.",
        undo_key=turn.key if turn.status == Assignment.Status.SKIPPED and not is_closed else "",
    )
    return _lost_response(request, page)


@require_POST
@project_view(Role.ANNOTATOR)
def skip(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    me, turn = _turn(request, project, key)
    number = request.POST.get("reason", "")
    reason = SKIP_REASONS[int(number) - 1] if number in {str(n + 1) for n in range(len(SKIP_REASONS))} else ""
    try:
        skip_assignment(assignment_key=turn.key, annotator=me, reason=reason)
    except Conflict as problem:
        return _lost_response(request, _lost_page(project, turn, problem, {}))
    return _go_on(request, project, me, turn.task.campaign, said="Skipped.")


@require_POST
@project_view(Role.ANNOTATOR)
def undo(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    me, turn = _turn(request, project, key)
    try:
        undo_judgement(assignment_key=turn.key, annotator=me)
    except Conflict as problem:
        return _lost_response(request, _lost_page(project, turn, problem, {}))
    return _to_task(request, project, me, assignment_of(me, key), said="Taken back. Judge it again.")


# ---- steps -------------------------------------------------------------------------------------------------------------


def _judge(request: HttpRequest, project: Project, me: Annotator, turn: Assignment) -> HttpResponse:
    given = _as_fields(request)
    try:
        said = Said.from_fields(given, campaign=turn.task.campaign, display_order=turn.display_order)
        submit_judgement(assignment_key=turn.key, annotator=me, said=said)
    except Conflict as problem:
        return _lost_response(request, _lost_page(project, turn, problem, given))
    except DomainError as problem:
        if problem.status_code != 422:
            raise
        page = _task_page(project, me, turn, error=problem.sentence, note=given["comment"])
        return _task_response(request, page, status=422)
    return _go_on(request, project, me, turn.task.campaign, said="Saved.")


def _as_fields(request: HttpRequest) -> dict[str, str]:
    """The form of this page under the names of ``annotation.protocol``."""
    choice = request.POST.get("choice", "")
    strength = request.POST.get("strength", "") if choice in ("a", "b") else ""
    comment, active = request.POST.get("note", ""), request.POST.get("active", "")
    return {"choice": choice + strength, "comment": comment, "active": active}


def _go_on(request: HttpRequest, project: Project, me: Annotator, campaign: Campaign, said: str = "") -> HttpResponse:
    """The next task of this campaign: swapped in for htmx, 303 for a browser. Without one, the start page says why."""
    if campaign.is_live:
        return see_other(request, live_url(project, me, campaign))
    turn = next_assignment(me, campaign)
    if turn is not None:
        return _to_task(request, project, me, turn, said=said)
    url = reverse("annotation:start", args=[project.slug, campaign.key])
    if not wants_fragment(request):
        return _see_other(url)
    campaign.refresh_from_db()
    page = _start_page(project, campaign, me, said=said)
    response = render_page(request, "annotation/start.html", "annotation/_start.html", page, no_store=True)
    response.headers["HX-Replace-Url"] = url
    return response


def _to_task(request: HttpRequest, project: Project, me: Annotator, turn: Assignment, said: str) -> HttpResponse:
    url = reverse("annotation:assignment", args=[project.slug, turn.key])
    if not wants_fragment(request):
        return _see_other(url)
    response = _task_response(request, _task_page(project, me, turn, said=said))
    response.headers["HX-Replace-Url"] = url  # a reload finds the same task; going back never finds an old one
    return response


def _see_other(url: str) -> HttpResponse:
    response = redirect(url)
    response.status_code = 303
    return response


def _task_response(request: HttpRequest, page: TaskPage, status: int = 200) -> HttpResponse:
    return render_page(request, "annotation/task.html", "annotation/_task.html", page, status=status, no_store=True)


def _lost_response(request: HttpRequest, page: LostPage) -> HttpResponse:
    return render_page(request, "annotation/lost.html", "annotation/_lost.html", page, status=409, no_store=True)


# ---- contexts ----------------------------------------------------------------------------------------------------------


def _task_page(project: Project, me: Annotator, turn: Assignment, **more: Any) -> TaskPage:
    campaign = turn.task.campaign
    last = last_finished(me, campaign) if campaign.stage != Campaign.Stage.CLOSED else None
    place = Place.objects.filter(annotator=me, campaign=campaign).first()
    return TaskPage(
        project=project,
        campaign=campaign,
        key=turn.key,
        turns=[{"role": message["role"], "content": message["content"]} for message in turn.task.prompt.messages],
        answers=more.pop("answers", None) or answers_shown(turn),
        choices=choices_of(campaign),
        strengths=[(n + 1, label, "jkl"[n]) for n, label in enumerate(STRENGTHS.get(campaign.strength_levels, ()))],
        skip_reasons=[(n + 1, reason) for n, reason in enumerate(SKIP_REASONS)],
        n_mine=place.n_submitted if place else 0,
        progress=progress_of(campaign),
        undo_key=last.key if last and last.key != turn.key else "",
        **more,
    )


def _done_page(project: Project, me: Annotator, turn: Assignment) -> TaskPage:
    """The task again, with what was said about it; it can be undone until the campaign closes."""
    assert turn.current is not None
    value = choice_made(turn, turn.current)
    answers = [
        Shown(shown.letter, shown.text, is_chosen=shown.letter.lower() == value) for shown in answers_shown(turn)
    ]
    labels = {choice.value: choice.label for choice in choices_of(turn.task.campaign)}
    return _task_page(project, me, turn, answers=answers, verdict=labels.get(value, "Judged"))


def answers_shown(turn: Assignment) -> list[Shown]:
    """The answers of a task in this person's order, under the letters of their places."""
    rows = TaskCandidate.objects.filter(task=turn.task_id).values_list("slot", "candidate__text")
    texts = dict(rows)
    return [Shown(LETTERS[place], texts[slot]) for place, slot in enumerate(turn.display_order)]


def choice_made(turn: Assignment, judgement: Judgement) -> str:
    """The button that a judgement was given with."""
    fields = said_of(judgement).to_fields(campaign=turn.task.campaign, display_order=turn.display_order)
    return fields["choice"][0][:1] if judgement.verdict == Judgement.Verdict.RANKED else fields["choice"][0]


def choices_of(campaign: Campaign) -> list[Choice]:
    choices = [Choice("a", "A is better", "1", "a"), Choice("b", "B is better", "2", "b")]
    if campaign.allow_tie:
        choices.append(Choice("tie", "Tie", "3", "t"))
    if campaign.allow_both_bad:
        choices.append(Choice("both_bad", "Both bad", "4", "x"))
    return choices


def _start_page(project: Project, campaign: Campaign, me: Annotator | None, said: str = "") -> StartPage:
    is_open = campaign.stage == Campaign.Stage.OPEN
    place = Place.objects.filter(annotator=me, campaign=campaign).first() if me else None
    mine = open_assignment(me, campaign) if me else None
    last = last_finished(me, campaign) if me and campaign.stage != Campaign.Stage.CLOSED else None
    has_work = is_open and (untouched(me, campaign).exists() if me else campaign.tasks.filter(is_free=True).exists())
    return StartPage(
        project=project,
        campaign=campaign,
        n_mine=place.n_submitted if place else 0,
        progress=progress_of(campaign),
        has_work=has_work,
        n_with_others=n_with_others(me, campaign) if me and is_open and not has_work else 0,
        open_key=mine.key if mine and campaign.stage != Campaign.Stage.CLOSED else "",
        undo_key=last.key if last else "",
        is_several=len(open_campaigns(project)) > 1,
        said=said,
    )


def keys_of(campaign: Campaign) -> list[tuple[str, str]]:
    """(keys, what they do), for the help."""
    keys = [(f"{choice.key} or {choice.other_key}", choice.label) for choice in choices_of(campaign)]
    keys += [
        ("jkl"[n], f"How much better: {label.lower()}")
        for n, label in enumerate(STRENGTHS.get(campaign.strength_levels, ()))
    ]
    return [*keys, ("s", "Skip, then the number of a reason"), ("u", "Undo the last judgement or skip"),
            ("n", "Add a note"), ("g", "Guidelines"), ("?", "This help"), ("Esc", "Close what is open")]  # fmt: skip


def _lost_page(project: Project, turn: Assignment, problem: Conflict, given: dict[str, Any]) -> LostPage:
    labels = {choice.value: choice.label for choice in choices_of(turn.task.campaign)}
    turn.refresh_from_db()
    is_closed = turn.task.campaign.stage == Campaign.Stage.CLOSED
    may_undo = turn.status in (Assignment.Status.SUBMITTED, Assignment.Status.SKIPPED) and not is_closed
    return LostPage(
        project=project,
        campaign=turn.task.campaign,
        sentence=problem.sentence,
        how=problem.how,
        undo_key=turn.key if may_undo else "",
        what=labels.get(given.get("choice", "").rstrip("1234"), ""),
        note=given.get("comment", ""),
    )


def _what_became_of(turn: Assignment) -> str:
    sentences = {
        Assignment.Status.SKIPPED: "You have skipped this task.",
        Assignment.Status.EXPIRED: "This task was kept for you for a while, then given to somebody else.",
    }
    return sentences.get(Assignment.Status(turn.status), "This task is no longer yours.")


# ---- who and what ------------------------------------------------------------------------------------------------------


def _me(request: HttpRequest, project: Project) -> Annotator | None:
    """This person as an annotator, if they have ever judged here: opening a page creates nothing."""
    return Annotator.objects.filter(project=project, user=person(request)).select_related("user").first()


def _annotator(request: HttpRequest, project: Project) -> Annotator:
    return annotator_for(person(request), project)


def _campaign(project: Project, key: str) -> Campaign:
    """A campaign that annotators may know of: one that is being built is not there yet."""
    hidden = (Campaign.Stage.DRAFT, Campaign.Stage.BUILDING)
    return get_object_or_404(Campaign.objects.exclude(stage__in=hidden), project=project, key=key)


def _turn(request: HttpRequest, project: Project, key: str) -> tuple[Annotator, Assignment]:
    """One's own assignment. Anybody else's looks like one that does not exist."""
    me = _me(request, project)
    if me is None:
        raise Http404("No such assignment.")
    try:
        return me, assignment_of(me, key)
    except DomainError:
        raise Http404("No such assignment.") from None
