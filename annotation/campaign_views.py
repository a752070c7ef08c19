"""Pages about campaigns, for researchers and reviewers. Models stay behind a Reveal, which is recorded."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.access import allows, membership_in, person, project_view
from accounts.models import Project, Role, User
from annotation import campaigns as services
from annotation.agreement import Agreement, Rate, of_campaign
from annotation.agreement_figures import Figure, figures_of
from annotation.campaigns import Progress, n_wanted_in, progress_of, split_counts
from annotation.forms import VoidForm
from annotation.judge import live_judgements, void_judgement
from annotation.live_campaigns import n_conversations
from annotation.models import Assignment, Campaign, Judgement, Place, VoteImport
from annotation.pages import words_said
from annotation.people import n_submitted_in
from annotation.protocol import Protocol
from annotation.regression import NewAgainstOld, new_against_old_of
from annotation.standings import Standing, standings_of
from annotation.votes.job import cancel_import
from core.htmx import render_page, see_other
from generation.models import ModelReveal, ModelVersion
from generation.sampling import reveal_models

ROWS_A_PAGE = 50
LEFT_OUT = {
    "equal": "pairs of equal answers",
    "near": "pairs of answers that are nearly the same",
    "repeated": "pairs of the same two texts again",
    "same": "answers that say the same as another one of their prompt",
    "empty": "empty answers",
    "flagged": "answers that a reviewer left out after a flag",
    "leaking": "answers with special tokens or role markers of a chat template",
    "naming": "answers that say which model wrote them",
    "truncated": "answers that were cut off at the length limit",
}
PAIRS = {
    "within": "Answers of the same model",
    "across": "Answers of different models or settings",
    "baseline": "One version against all others",
    "random": "Any answers, at random",
}


@dataclass(frozen=True)
class ListPage:
    project: Project
    rows: list[tuple[Campaign, Progress]]
    may_start: bool


@dataclass(frozen=True)
class Person:
    pseudonym: str
    kind: str
    n_submitted: int


@dataclass(frozen=True)
class DetailPage:
    project: Project
    campaign: Campaign
    progress: Progress
    pairs: str
    left_out: list[tuple[int, str]]
    splits: list[tuple[str, int, int]]
    agreement: Agreement
    first_position: Rate
    figures: list[Figure]
    verdicts: list[tuple[str, int]]
    people: list[Person]
    n_skipped: int
    n_unblinded: int
    n_simulated: int
    n_open: int
    new_against_old: NewAgainstOld | None
    protocol: list[tuple[str, str]]
    audience: list[tuple[str, str]]
    models: list[ModelVersion]
    standings: list[Standing]
    vote_import: VoteImport | None
    is_revealed: bool
    may_change: bool
    may_judge: bool

    @property
    def has_agreement(self) -> bool:
        return any(figure.agreement.n_pairs for figure in self.figures)


@dataclass(frozen=True)
class Row:
    """One judgement in the reviewers' list: pseudonym, prompt and what was said; no model."""

    judgement: Judgement
    pseudonym: str
    prompt: str
    what: str


@dataclass(frozen=True)
class JudgementsPage:
    project: Project
    campaign: Campaign
    page_obj: Page
    rows: list[Row]
    form: VoidForm
    may_void: bool
    people: list[str]
    person: str = ""
    is_probation: bool = False

    @property
    def query(self) -> str:
        """The filter, for the links of the pager."""
        chosen = {"person": self.person, "probation": "yes" if self.is_probation else ""}
        given = urlencode({name: value for name, value in chosen.items() if value})
        return f"{given}&" if given else ""


@require_GET
@project_view(Role.RESEARCHER, Role.REVIEWER)
def campaigns(request: HttpRequest, project: Project) -> HttpResponse:
    found = list(Campaign.objects.filter(project=project).order_by("-id"))
    done = n_submitted_in(found)
    wanted = n_wanted_in(found)
    rows = [(campaign, Progress(done.get(campaign.pk, 0), wanted[campaign.pk])) for campaign in found]
    page = ListPage(project=project, rows=rows, may_start=_may(request, Role.RESEARCHER))
    return render_page(request, "annotation/campaigns.html", "annotation/_campaigns.html", page)


@require_GET
@project_view(Role.RESEARCHER, Role.REVIEWER)
def campaign(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    found = get_object_or_404(Campaign, project=project, key=key)
    return render_page(
        request,
        "annotation/campaign.html",
        "annotation/_campaign.html",
        _detail(request, project, found),
        no_store=True,
    )


@require_POST
@project_view(Role.RESEARCHER)
def act(request: HttpRequest, project: Project, key: str, action: str) -> HttpResponse:
    """Pause, resume, close, open again; cancel or repeat the building."""
    found, by = get_object_or_404(Campaign, project=project, key=key), person(request)
    if action == "pause":
        services.pause_campaign(found, by=by)
    elif action == "resume":
        services.resume_campaign(found, by=by)
    elif action == "close":
        services.close_campaign(found, by=by)
    elif action == "reopen":
        services.reopen_campaign(found, by=by)
    elif action == "cancel" and (votes := VoteImport.objects.filter(campaign=found).first()):
        cancel_import(votes, by=by)
        return see_other(request, reverse("annotation:vote-import", args=[project.slug, votes.key]))
    elif action == "cancel":
        services.cancel_building(found, by=by)
    elif action == "again":
        services.build_again(found, by=by)
    else:
        raise Http404("No such action.")
    return see_other(request, reverse("annotation:campaign", args=[project.slug, found.key]))


@require_POST
@project_view(Role.RESEARCHER, Role.REVIEWER)
def reveal(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Show which models wrote the answers. Recorded first: what this person judges of them from now on is not blind."""
    found = get_object_or_404(Campaign, project=project, key=key)
    for job in found.jobs.all():
        reveal_models(job, user=person(request), page="campaign")
    return see_other(request, reverse("annotation:campaign", args=[project.slug, found.key]) + "#models")


@require_GET
@project_view(Role.RESEARCHER, Role.REVIEWER)
def judgements(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    return _judgements_response(request, project, get_object_or_404(Campaign, project=project, key=key), VoidForm())


@require_POST
@project_view(Role.REVIEWER)
def void(request: HttpRequest, project: Project, key: str, judgement: str) -> HttpResponse:
    found = get_object_or_404(Campaign, project=project, key=key)
    row = get_object_or_404(Judgement, assignment__task__campaign=found, key=judgement)
    form = VoidForm(request.POST)
    if not form.is_valid():
        return _judgements_response(request, project, found, form, status=422)
    void_judgement(judgement=row, by=person(request), reason=form.cleaned_data["reason"])
    messages.success(request, "Set aside. The row is kept, and its place in the task is open again.")
    return see_other(request, reverse("annotation:judgements", args=[project.slug, found.key]))


# ---- contexts ----------------------------------------------------------------------------------------------------------


def _detail(request: HttpRequest, project: Project, found: Campaign) -> DetailPage:
    agreement, first_position = of_campaign(found)
    live = live_judgements().filter(assignment__task__campaign=found)
    labels = {"ranked": "One is better", "tie": "Tie", "all_bad": "Both bad", "both_good": "Both good"}
    counts = {row["verdict"]: row["n"] for row in live.values("verdict").annotate(n=Count("pk")).order_by()}
    jobs = list(found.jobs.values_list("pk", flat=True))
    n_revealed = ModelReveal.objects.filter(user=person(request), job__in=jobs).count()
    models = ModelVersion.objects.filter(arms__job__in=jobs).distinct().order_by("slug")
    places = (
        Place.objects.filter(campaign=found, n_submitted__gt=0).select_related("annotator").order_by("-n_submitted")
    )
    assignments = Assignment.objects.filter(task__campaign=found)
    return DetailPage(
        project=project,
        campaign=found,
        progress=progress_of(found),
        pairs=_pairs_of(found),
        left_out=[(n, LEFT_OUT.get(reason, reason)) for reason, n in sorted(found.left_out.items()) if n],
        splits=[(split, total, complete) for split, (total, complete) in split_counts(found).items()],
        agreement=agreement,
        first_position=first_position,
        figures=figures_of(found),
        verdicts=[(labels[verdict], counts[verdict]) for verdict in labels if verdict in counts],
        people=[Person(p.annotator.pseudonym, p.annotator.get_kind_display(), p.n_submitted) for p in places],
        n_skipped=assignments.filter(status=Assignment.Status.SKIPPED).count(),
        n_unblinded=live.filter(is_unblinded=True).count(),
        n_simulated=live.filter(source=Judgement.Source.SIMULATED).count(),
        n_open=assignments.filter(status=Assignment.Status.OPEN).count(),
        new_against_old=new_against_old_of(found),
        protocol=protocol_in_words(found),
        audience=audience_in_words(found),
        models=list(models) if n_revealed == len(jobs) else [],
        standings=standings_of(found) if n_revealed == len(jobs) else [],
        vote_import=VoteImport.objects.filter(campaign=found).first(),
        is_revealed=n_revealed == len(jobs),
        may_change=_may(request, Role.RESEARCHER),
        may_judge=membership_in(request).has(Role.ANNOTATOR) and found.stage == Campaign.Stage.OPEN,
    )


def protocol_in_words(campaign: Campaign) -> list[tuple[str, str]]:
    """What is asked besides the choice, as terms and values."""
    protocol = Protocol.parse(campaign.protocol)
    levels = campaign.strength_levels
    ties = [("Tie", campaign.allow_tie), ("Both good", campaign.allow_both_good), ("Both bad", campaign.allow_both_bad)]
    comment = f"required, at least {protocol.min_comment} characters" if protocol.min_comment else protocol.comment
    found = [
        ("How much better", f"{levels} levels on each side" if levels else ""),
        ("Also offered", ", ".join(label for label, is_on in ties if is_on)),
        ("The chosen answer is", "the worse one" if campaign.chosen_is_worse else ""),
        ("Criteria", ", ".join(criterion.label for criterion in protocol.criteria)),
        ("Reasons", ", ".join(protocol.reasons) + (" (one is required)" if protocol.needs_reason else "")),
        ("Comment", "" if protocol.comment == "off" else comment),
        ("A better answer", "may be written" if protocol.write_in != "off" else ""),
        ("Shown with the prompt", ", ".join(protocol.show)),
    ]
    return [(term, value) for term, value in found if value]


def audience_in_words(campaign: Campaign) -> list[tuple[str, str]]:
    """For whom it is, and within which bounds."""
    audience = campaign.audience or {}
    names = User.objects.filter(key__in=audience.get("people", ())).order_by("username")
    found = [
        ("For groups", ", ".join(audience.get("groups", ()))),
        ("For people who read", ", ".join(audience.get("languages", ()))),
        ("For", ", ".join(str(user) for user in names)),
        ("Most of one person", f"{campaign.cap_per_person:,}" if campaign.cap_per_person else ""),
        ("Most of one person a day", f"{campaign.cap_per_day:,}" if campaign.cap_per_day else ""),
        ("Sensitive", "people agree first" if campaign.is_sensitive else ""),
    ]
    return [(term, value) for term, value in found if value]


def _pairs_of(campaign: Campaign) -> str:
    if campaign.is_live:
        n_talks = n_conversations(campaign)
        return f"Written at once, in {n_talks:,} live conversation{'' if n_talks == 1 else 's'}"
    return PAIRS[campaign.pairing.get("pairs", "within")]


def _judgements_response(
    request: HttpRequest, project: Project, found: Campaign, form: VoidForm, status: int = 200
) -> HttpResponse:
    live = live_judgements().filter(assignment__task__campaign=found).order_by("-id")
    places = Place.objects.filter(campaign=found, n_submitted__gt=0).order_by("annotator__pseudonym")
    people = list(places.values_list("annotator__pseudonym", flat=True))
    who = request.GET.get("person", "")
    who = who if who in people else ""
    is_probation = request.GET.get("probation") == "yes"
    live = live.filter(assignment__annotator__pseudonym=who) if who else live
    live = live.filter(is_probation=True) if is_probation else live
    pager = Paginator(live.select_related("assignment__annotator", "assignment__task__prompt"), ROWS_A_PAGE)
    page_obj = pager.get_page(request.GET.get("page"))
    page = JudgementsPage(
        project=project,
        campaign=found,
        page_obj=page_obj,
        rows=[_row(*each) for each in zip(page_obj, words_said(list(page_obj), found), strict=True)],
        form=form,
        may_void=_may(request, Role.REVIEWER) and found.stage != Campaign.Stage.CLOSED,
        people=people,
        person=who,
        is_probation=is_probation,
    )
    return render_page(
        request, "annotation/judgements.html", "annotation/_judgements.html", page, status=status, no_store=True
    )


def _row(judgement: Judgement, said: str) -> Row:
    turn = judgement.assignment
    return Row(judgement, turn.annotator.pseudonym, turn.task.prompt.last_turn, said)


def _may(request: HttpRequest, *roles: Role) -> bool:
    return allows(membership_in(request), *roles)
