"""The pages of the way into a campaign, as plain values: the overview with its steps, and a practice item as a task is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from accounts import preferences
from accounts.access import person
from accounts.models import Project
from annotation import guidelines
from annotation.keys_tasks import asks, lesson
from annotation.models import Annotator, Campaign, Place, PracticeAnswer, PracticeItem
from annotation.onboarding import N_KEYS, Onboarding, Stage, first_stage, may_work, onboarding_of
from annotation.pages import CampaignPage, Shown, TaskPage, Ways
from annotation.practice import Result, answers_of, last_result, n_missing, open_answers
from annotation.practice_items import accepted_words
from annotation.protocol import LETTERS, Said
from annotation.refusals import takes_part
from annotation.screen import Entered, asked_of
from core.counting import counted
from core.htmx import render_page

TITLES = {
    PracticeItem.Use.KEYS: "The keys",
    PracticeItem.Use.PRACTICE: "Practice",
    PracticeItem.Use.QUALIFICATION: "Qualification",
}


@dataclass(frozen=True)
class Step:
    """One step of the way. state: done · now · ahead."""

    name: str
    text: str
    state: str


@dataclass(frozen=True, kw_only=True)
class WayInPage(CampaignPage):
    """What is behind this person, what comes now. ``action`` is what the button does, "" where nothing can be done."""

    steps: Sequence[Step]
    action: str  # begin · go_on · try_again · work · ""
    heading: str
    text: str
    may_practise: bool = False
    is_bad: bool = False
    needs_confirmation: bool = False
    changed: str = ""
    said: str = ""

    @property
    def url(self) -> str:
        return reverse("annotation:way-in", args=[self.project.slug, self.campaign.key])


@dataclass(frozen=True, kw_only=True)
class PracticePage(TaskPage):
    """A practice item. ``lesson`` teaches a key; ``is_right`` is set once it is answered, and its reason is shown."""

    title: str
    number: int
    n_items: int
    lesson: str = ""
    lesson_keys: Sequence[str] = ()
    is_right: bool | None = None
    accepted: str = ""
    reason: str = ""
    is_last: bool = False  # of its round: the overview comes next, and says what does

    @property
    def is_qualification(self) -> bool:
        return self.title == TITLES[PracticeItem.Use.QUALIFICATION]


# ---- who has to go it --------------------------------------------------------------------------------------------------


def is_through(place: Place | None, annotator: Annotator | None, campaign: Campaign) -> bool:
    """Whether the way in is behind this person, or there is none. A person who was taken off is not through."""
    if place is not None:
        return may_work(place)
    return first_stage(campaign, annotator) in (Stage.PROBATION, Stage.NORMAL)


def place_in(annotator: Annotator | None, campaign: Campaign) -> Place | None:
    if annotator is None:
        return None
    return Place.objects.select_related("annotator", "campaign").filter(annotator=annotator, campaign=campaign).first()


def way_in_url(project: Project, annotator: Annotator | None, campaign: Campaign) -> str:
    """Where a person who is not through has to go; "" for everybody else."""
    if is_through(place_in(annotator, campaign), annotator, campaign):
        return ""
    return reverse("annotation:way-in", args=[project.slug, campaign.key])


def way_in_response(
    request: HttpRequest,
    project: Project,
    annotator: Annotator | None,
    campaign: Campaign,
    *,
    said: str = "",
    status: int = 200,
) -> HttpResponse:
    """The overview, as a page or on the stage."""
    page = way_in_page(request, project, annotator, campaign, said=said)
    response = render_page(
        request, "annotation/onboarding.html", "annotation/_onboarding.html", page, status=status, no_store=True
    )
    response.headers["HX-Replace-Url"] = page.url
    return response


# ---- the overview ------------------------------------------------------------------------------------------------------


def way_in_page(
    request: HttpRequest, project: Project, annotator: Annotator | None, campaign: Campaign, *, said: str = ""
) -> WayInPage:
    place = place_in(annotator, campaign)
    onboarding = onboarding_of(campaign)
    stage = Stage(place.stage) if place else first_stage(campaign, annotator)
    needs_confirmation = guidelines.needs_confirmation(place, campaign)
    return WayInPage(
        project=project,
        campaign=campaign,
        look=preferences.read(person(request)),
        here=reverse("annotation:way-in", args=[project.slug, campaign.key]),
        steps=_steps(campaign, onboarding, stage, needs_confirmation),
        needs_confirmation=needs_confirmation,
        changed=guidelines.unconfirmed_note(place, campaign) if needs_confirmation else "",
        said=said,
        **_now(place, campaign, onboarding, stage),
    )


def _steps(campaign: Campaign, onboarding: Onboarding, stage: Stage, needs_confirmation: bool) -> list[Step]:
    texts = {
        Stage.KEYS: ("The keys", f"{N_KEYS} short tasks that teach the keys."),
        Stage.PRACTICE: ("Practice", f"{counted(onboarding.n_practice, 'task')}, with the reason after each answer."),
        Stage.QUALIFICATION: (
            "Qualification",
            (
                f"{counted(onboarding.n_qualification, 'task')}, {onboarding.n_to_pass} right to pass; "
                f"{counted(onboarding.tries, 'try', 'tries')}."
            ),
        ),
        Stage.PROBATION: (
            "Probation",
            f"Your first {counted(onboarding.probation, 'judgement counts and is', 'judgements count and are')} looked at.",
        ),
        Stage.NORMAL: ("Work", "You judge by yourself."),
    }
    order = list(Stage)
    now = Stage.QUALIFICATION if stage == Stage.FAILED else stage
    steps = []
    if campaign.guidelines.strip():
        steps.append(Step("Guidelines", "Read and confirmed.", "now" if needs_confirmation else "done"))
    for each in onboarding.stages:
        state = "done" if order.index(each) < order.index(now) else "now" if each == now else "ahead"
        steps.append(Step(*texts[each], "ahead" if state == "now" and needs_confirmation else state))
    return steps


def _now(place: Place | None, campaign: Campaign, onboarding: Onboarding, stage: Stage) -> dict[str, Any]:
    """What the page says and offers."""
    if place is not None and place.blocked_at is not None:
        text = "Whoever leads this campaign has taken you off it. What you judged stays."
        return {"action": "", "heading": "You are not in this campaign any more", "text": text, "is_bad": True}
    if place is not None and not takes_part(campaign, place.annotator):
        text = "It was for you once, and is for other people now. What you did stays."
        return {"action": "", "heading": "This campaign is for other people", "text": text, "is_bad": True}
    if stage in (Stage.PROBATION, Stage.NORMAL):
        result = last_result(place) if place else None
        passed = f"You passed: {result.n_right} of {result.n_items} right. " if result and result.is_passed else ""
        if stage == Stage.PROBATION and place is not None:
            passed += f"Your next {counted(place.n_probation_left, 'judgement counts and is', 'judgements count and are')} looked at."
        return {"action": "work", "heading": "You are in", "text": passed.strip() or "Nothing stands before your work."}
    result = last_result(place) if place and stage in (Stage.QUALIFICATION, Stage.FAILED) else None
    if stage == Stage.FAILED:
        text = f"{_score(result)} You have used all your tries. Whoever leads this campaign can give you another one."
        return {"action": "", "heading": "Not passed", "text": text.strip(), "is_bad": True}
    if place is not None and open_answers(place).exists():
        return {"action": "go_on", "heading": "Go on where you left off", "text": "What you have answered is kept."}
    if stage != Stage.QUALIFICATION:
        return {"action": "begin", **_BEGIN[stage]}
    return _qualification(place, campaign, onboarding, result)


_BEGIN = {
    Stage.KEYS: {"heading": "First, the keys", "text": "Three short tasks. With the keys you are quicker and your hand rests."},
    Stage.PRACTICE: {"heading": "Now practise", "text": "After each answer you read what is right here, and why. Nothing counts yet."},
}  # fmt: skip


def _qualification(
    place: Place | None, campaign: Campaign, onboarding: Onboarding, result: Result | None
) -> dict[str, Any]:
    n_left = onboarding.tries - (place.n_tries if place else 0)
    may_practise = Stage.PRACTICE in onboarding.stages and place is not None
    if n_missing(campaign):
        text = "Whoever leads this campaign still has to write its tasks. Come back later."
        return {"action": "", "heading": "The qualification is not ready yet", "text": text}
    rules = f"{counted(onboarding.n_qualification, 'task')}, {onboarding.n_to_pass} of them right to pass. You see the result at the end."
    failed = result is not None and not result.is_passed and place is not None and place.n_tries > 0
    if not failed:
        return {"action": "begin", "heading": "The qualification", "text": f"{rules} You have {counted(n_left, 'try', 'tries')}.",
                "may_practise": may_practise}  # fmt: skip
    if n_left <= 0:
        text = f"{_score(result)} You have used all your tries. Whoever leads this campaign can give you another one."
        return {"action": "", "heading": "Not passed", "text": text, "is_bad": True}
    text = f"{_score(result)} You have {counted(n_left, 'try', 'tries')} left, with other tasks where there are some."
    return {
        "action": "try_again",
        "heading": "Not passed yet",
        "text": text,
        "is_bad": True,
        "may_practise": may_practise,
    }


def _score(result: Result | None) -> str:
    return f"{result.n_right} of {result.n_items} were right; {result.n_to_pass} are needed." if result else ""


# ---- an item -----------------------------------------------------------------------------------------------------------


def practice_page(
    request: HttpRequest,
    project: Project,
    row: PracticeAnswer,
    *,
    entered: Entered | None = None,
    wrong: Sequence[str] = (),
    **more: Any,
) -> PracticePage:
    """An item to be answered or, where it is answered, with what was said, what is right and why."""
    item, campaign, order = row.item, row.place.campaign, row.display_order
    reduced = asks(campaign, item)
    is_answered = row.answered_at is not None
    if is_answered and row.said is not None:
        entered = Entered(Said.parse(row.said).to_fields(campaign=reduced, display_order=order))
    asked = asked_of(reduced, n_answers=len(order), entered=entered, wrong=wrong)
    letters = [LETTERS[order.index(slot)] for slot in range(len(order))]
    taught, keys = lesson(item, asked, order) if item.use == PracticeItem.Use.KEYS else ("", ())
    siblings = list(
        answers_of(row.place, item.use).filter(attempt=row.attempt).order_by("id").values_list("pk", flat=True)
    )
    here = reverse("annotation:practice-item", args=[project.slug, campaign.key, item.key])
    return PracticePage(
        project=project,
        campaign=reduced,
        look=preferences.read(person(request)),
        here=here,
        key=item.key,
        turns=[{"role": message["role"], "content": message["content"]} for message in item.messages],
        answers=[
            Shown(LETTERS[n], item.answers[slot], is_chosen=is_answered and _is_best(row, slot))
            for n, slot in enumerate(order)
        ],
        asked=asked,
        to=Ways(submit=here, start=reverse("annotation:way-in", args=[project.slug, campaign.key])),
        title=TITLES[PracticeItem.Use(item.use)],
        number=siblings.index(row.pk) + 1,
        n_items=len(siblings),
        lesson=taught,
        lesson_keys=keys,
        is_right=row.is_right if is_answered else None,
        accepted=" or ".join(accepted_words(each, letters) for each in item.expected) if is_answered else "",
        reason=item.reason if is_answered else "",
        is_last=siblings[-1] == row.pk,
        **more,
    )


def _is_best(row: PracticeAnswer, slot: int) -> bool:
    said = Said.parse(row.said or {"verdict": "tie"})
    return said.verdict == "ranked" and len(said.ranks) == 2 and said.ranks[slot] == 1
