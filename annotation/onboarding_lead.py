"""What a lead sees and decides of people's way into a campaign: another try, in at once, proof again, off and on again."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User
from annotation.expiry import release_turns_of
from annotation.models import Annotator, Campaign, Place, PracticeAnswer, PracticeItem
from annotation.onboarding import Stage, enter, onboarding_of
from annotation.practice import Result, active_items, n_missing
from core.counting import counted
from core.errors import Conflict, require

Use = PracticeItem.Use
ACTIONS = {
    "try": "Give another try",
    "let-in": "Let in",
    "again": "Ask for proof again",
    "off": "Take off the campaign",
    "on": "Put back on",
}


@dataclass(frozen=True)
class PersonRow:
    """Where one person stands. ``name`` is for admins only; everybody else sees the pseudonym."""

    place: Place
    results: tuple[Result, ...]
    n_practised: int
    n_keys: int
    is_in_try: bool
    actions: tuple[tuple[str, str], ...]
    name: str = ""


@dataclass(frozen=True)
class ItemRow:
    item: PracticeItem
    n_answered: int
    n_right: int


@dataclass(frozen=True)
class Readiness:
    """Whether the written items carry what the campaign asks: sentences, those that stop people first."""

    stops: list[str] = field(default_factory=list)
    warns: list[str] = field(default_factory=list)


def readiness_of(campaign: Campaign) -> Readiness:
    onboarding = onboarding_of(campaign)
    stops, warns = [], []
    if missing := n_missing(campaign):
        stops.append(
            f"The qualification asks {counted(onboarding.n_qualification, 'task')} and {missing} of them "
            f"{'is' if missing == 1 else 'are'} missing. Nobody can begin it before they are written."
        )
    elif onboarding.n_qualification:
        n_items, n_tries = active_items(campaign, Use.QUALIFICATION).count(), onboarding.tries
        n_fresh = n_items // onboarding.n_qualification
        if n_fresh < n_tries:
            warns.append(
                f"{counted(n_items, 'task')} for {counted(n_tries, 'try', 'tries')} of {onboarding.n_qualification}: "
                f"from try {n_fresh + 1} on, people meet tasks that they have seen. "
                f"{n_tries * onboarding.n_qualification} tasks would keep every try fresh."
            )
    n_practice = active_items(campaign, Use.PRACTICE).count()
    if n_practice < onboarding.n_practice:
        have = f"there {'is' if n_practice == 1 else 'are'} {n_practice}" if n_practice else "there is none"
        warns.append(
            f"Practice asks {counted(onboarding.n_practice, 'task')} and {have}: people practise with what there is."
        )
    return Readiness(stops, warns)


def items_of(campaign: Campaign, use: str) -> list[ItemRow]:
    """The items of a use, those taken out last, with how often each was answered and was right."""
    counts: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    answered = PracticeAnswer.objects.filter(item__campaign=campaign, item__use=use).exclude(answered_at=None)
    for item, right in answered.values_list("item", "is_right"):
        counts[item][0] += 1
        counts[item][1] += bool(right)
    items = campaign.practice_items.filter(use=use).order_by("-is_active", "position", "id")
    return [ItemRow(item, *counts[item.pk]) for item in items]


def people_of(campaign: Campaign, *, with_names: bool = False) -> list[PersonRow]:
    """Everybody with a place in the campaign, those who are stuck first."""
    places = Place.objects.filter(campaign=campaign, annotator__kind=Annotator.Kind.HUMAN)
    order = [Stage.FAILED, Stage.QUALIFICATION, Stage.PRACTICE, Stage.KEYS, Stage.PROBATION, Stage.NORMAL]
    rows = sorted(
        places.select_related("annotator__user", "campaign"),
        key=lambda place: (place.blocked_at is not None, order.index(Stage(place.stage)), place.annotator.pseudonym),
    )
    answers: dict[int, list[PracticeAnswer]] = defaultdict(list)
    for answer in PracticeAnswer.objects.filter(place__campaign=campaign).select_related("item").order_by("id"):
        answers[answer.place_id].append(answer)
    return [_row(place, answers[place.pk], with_names) for place in rows]


def _row(place: Place, answers: Iterable[PracticeAnswer], with_names: bool) -> PersonRow:
    onboarding = onboarding_of(place.campaign)
    tries: dict[int, list[PracticeAnswer]] = defaultdict(list)
    done: dict[str, int] = defaultdict(int)
    for answer in answers:
        done[answer.item.use] += answer.answered_at is not None
        if answer.item.use == Use.QUALIFICATION:
            tries[answer.attempt].append(answer)
    finished = {attempt: rows for attempt, rows in tries.items() if all(row.answered_at for row in rows)}
    user = place.annotator.user
    return PersonRow(
        place=place,
        results=tuple(
            Result(sum(bool(row.is_right) for row in rows), len(rows), onboarding.n_to_pass_of(len(rows)), attempt)
            for attempt, rows in sorted(finished.items())
        ),
        n_practised=done[Use.PRACTICE],
        n_keys=done[Use.KEYS],
        is_in_try=len(finished) < len(tries),
        actions=tuple((action, ACTIONS[action]) for action in actions_for(place)),
        name=str(user) if with_names and user is not None else "",
    )


def actions_for(place: Place) -> list[str]:
    """What a lead may decide about this person now."""
    if place.blocked_at is not None:
        return ["on"]
    stage, onboarding = Stage(place.stage), onboarding_of(place.campaign)
    asks = onboarding.n_qualification > 0
    has_tries_left = stage == Stage.QUALIFICATION and place.n_tries < onboarding.tries
    return [
        *(["try"] if asks and (stage == Stage.FAILED or (stage == Stage.QUALIFICATION and not has_tries_left)) else []),
        *(["let-in"] if stage != Stage.NORMAL else []),
        *(["again"] if asks and stage in (Stage.NORMAL, Stage.PROBATION) else []),
        "off",
    ]


# ---- decisions ---------------------------------------------------------------------------------------------------------


def decide(place: Place, action: str, *, by: User) -> None:
    """Carry out one of ``ACTIONS``, with its audit row. Raises Conflict where it makes no sense any more."""
    with transaction.atomic():
        places = Place.objects.select_for_update(no_key=True, of=("self",))
        place = places.select_related("annotator__user", "campaign__project").get(pk=place.pk)
        if action not in actions_for(place):
            raise Conflict("This person has gone on in the meantime.", how="Reload the page to see where they stand.")
        {"try": _another_try, "let-in": _let_in, "again": _ask_again, "off": _take_off, "on": _put_back}[action](
            place, by
        )


def _another_try(place: Place, by: User) -> None:
    n_tries = max(0, onboarding_of(place.campaign).tries - 1)
    if place.stage == Stage.FAILED:
        enter(place, Stage.QUALIFICATION, by=by, note="another try", n_tries=n_tries)
        return
    Place.objects.filter(pk=place.pk).update(n_tries=n_tries)
    _record("onboarding.try", place, by)


def _let_in(place: Place, by: User) -> None:
    _forget_open(place)
    enter(place, Stage.NORMAL, by=by, note="let in")


def _ask_again(place: Place, by: User) -> None:
    require(not n_missing(place.campaign), "The qualification is short of tasks.", how="Write them first.")
    enter(place, Stage.QUALIFICATION, by=by, note="asked for proof again", n_tries=0)
    release_turns_of(place, "its holder has to qualify again")


def _take_off(place: Place, by: User) -> None:
    Place.objects.filter(pk=place.pk).update(blocked_at=Now())
    release_turns_of(place, "its holder was taken off the campaign")
    _record("onboarding.off", place, by)


def _put_back(place: Place, by: User) -> None:
    Place.objects.filter(pk=place.pk).update(blocked_at=None)
    _record("onboarding.on", place, by)


def _forget_open(place: Place) -> None:
    # A try that nobody will finish is no result.
    place.practice_answers.filter(answered_at=None).delete()


def _record(action: str, place: Place, by: User) -> None:
    detail = {"campaign": place.campaign.key, "person": place.annotator.pseudonym}
    record(action, user=by, project=place.campaign.project, subject=place.campaign, detail=detail)
