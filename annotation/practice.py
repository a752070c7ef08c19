"""The walk through practice: what a person is asked next, what they said, and where that leads.

A round of practice and a try of the qualification are rows that stand from its beginning: which items, in which order, each
with its own order of answers. So a reload shows the same item again, and what was said stays said.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.db import transaction
from django.db.models import Max, QuerySet
from django.db.models.functions import Now

from annotation import worktime
from annotation.keys_tasks import keys_items
from annotation.models import Annotator, Campaign, Place, PracticeAnswer, PracticeItem
from annotation.onboarding import Onboarding, Stage, enter, first_columns, onboarding_of
from annotation.practice_items import is_right
from annotation.protocol import Said
from annotation.refusals import takes_part
from annotation.turns import retried
from core.errors import Conflict, DomainError, require

# Not a pseudo-random stream that a seed or a clock would give away: the order of a try must not be guessed.
_random = random.SystemRandom()
USE_OF = {
    Stage.KEYS: PracticeItem.Use.KEYS,
    Stage.PRACTICE: PracticeItem.Use.PRACTICE,
    Stage.QUALIFICATION: PracticeItem.Use.QUALIFICATION,
}


@dataclass(frozen=True)
class Result:
    """One try of the qualification, or one round of practice."""

    n_right: int
    n_items: int
    n_to_pass: int
    attempt: int

    @property
    def is_passed(self) -> bool:
        return self.n_right >= self.n_to_pass


def place_of(annotator: Annotator, campaign: Campaign) -> Place:
    place, _ = Place.objects.get_or_create(
        annotator=annotator, campaign=campaign, defaults=first_columns(campaign, annotator)
    )
    return place


def _locked(place: Place) -> Place:
    places = Place.objects.select_for_update(no_key=True, of=("self",)).select_related(
        "annotator__user", "campaign__project"
    )
    return places.get(pk=place.pk)


def answers_of(place: Place, use: str) -> QuerySet[PracticeAnswer]:
    return PracticeAnswer.objects.filter(place=place, item__use=use).select_related("item")


def open_answers(place: Place) -> QuerySet[PracticeAnswer]:
    """What is still to be answered of the round or try that has begun, in its order."""
    use = USE_OF.get(Stage(place.stage))
    rows = answers_of(place, use) if use else PracticeAnswer.objects.none()
    return rows.filter(answered_at=None).order_by("id")


def active_items(campaign: Campaign, use: str) -> QuerySet[PracticeItem]:
    return campaign.practice_items.filter(use=use, is_active=True)


def n_missing(campaign: Campaign) -> int:
    """How many items the qualification is short of; nobody can begin it before they are there."""
    wanted = onboarding_of(campaign).n_qualification
    return max(0, wanted - active_items(campaign, PracticeItem.Use.QUALIFICATION).count()) if wanted else 0


# ---- beginning ---------------------------------------------------------------------------------------------------------


@retried
def begin(place: Place) -> PracticeAnswer | None:
    """The item to answer now; a round or try that has not begun begins. None: the way in is behind this person.

    Raises Conflict where it cannot go on: no tries left, too few items, taken off the campaign.
    """
    with transaction.atomic():
        place = _locked(place)
        _check_takes_part(place)
        onboarding = onboarding_of(place.campaign)
        while place.stage in USE_OF:
            standing = open_answers(place).first()
            if standing is not None:
                return standing
            items = _items_for(place, onboarding)
            if items:
                return _begin_round(place, items)
            # Nothing is asked here (any more): on to the next stage.
            enter(place, onboarding.after(place.stage), note="nothing is asked here")
        if place.stage == Stage.FAILED:
            raise Conflict("You have used all your tries.", how="Whoever leads this campaign can give you another one.")
        return None


def _check_takes_part(place: Place) -> None:
    if place.blocked_at is not None:
        raise Conflict("You were taken off this campaign.", how="Ask whoever leads it.")
    if not takes_part(place.campaign, place.annotator):
        raise Conflict("This campaign is for other people.", how="Choose another one.")


def _items_for(place: Place, onboarding: Onboarding) -> list[PracticeItem]:
    """The items of a new round or try, in the order in which they are shown; none where the stage asks nothing."""
    if place.stage not in onboarding.stages:
        return []
    if place.stage == Stage.KEYS:
        return keys_items(place.campaign)
    use = USE_OF[Stage(place.stage)]
    items = list(active_items(place.campaign, use))
    n_wanted = onboarding.n_practice if place.stage == Stage.PRACTICE else onboarding.n_qualification
    if place.stage == Stage.QUALIFICATION:
        if place.n_tries >= onboarding.tries:
            raise Conflict("You have used all your tries.", how="Whoever leads this campaign can give you another one.")
        if len(items) < n_wanted:
            raise Conflict(
                "The qualification is not ready yet.", how="Whoever leads this campaign still has to write its tasks."
            )
        _random.shuffle(items)
    seen = dict(answers_of(place, use).values("item").annotate(last=Max("attempt")).values_list("item", "last"))
    # Fresh ones first, then those seen longest ago; the sort keeps the random (practice: the lead's) order among equals.
    chosen = sorted(items, key=lambda item: seen.get(item.pk, 0))[:n_wanted]
    if place.stage == Stage.QUALIFICATION:
        _random.shuffle(chosen)
    return chosen


def _begin_round(place: Place, items: Sequence[PracticeItem]) -> PracticeAnswer:
    use = USE_OF[Stage(place.stage)]
    attempt = (answers_of(place, use).aggregate(last=Max("attempt"))["last"] or 0) + 1
    for item in items:
        order = list(range(len(item.answers)))
        _random.shuffle(order)
        PracticeAnswer.objects.create(place=place, item=item, attempt=attempt, display_order=order)
    if place.stage == Stage.QUALIFICATION:
        Place.objects.filter(pk=place.pk).update(n_tries=place.n_tries + 1)
    first = open_answers(place).first()
    assert first is not None
    return first


# ---- answering ---------------------------------------------------------------------------------------------------------


@retried
def answer(place: Place, *, item_key: str, said: Said) -> PracticeAnswer:
    """Record what was said to the item at hand, and go on with the stage where it was the last one.

    A task that teaches the keys is kept only when it is right. The same item sent again is answered with what stands.
    Raises Conflict for an item that is not at hand.
    """
    with transaction.atomic():
        place = _locked(place)
        row = open_answers(place).first()
        if row is None or row.item.key != item_key:
            done = PracticeAnswer.objects.filter(place=place, item__key=item_key).exclude(answered_at=None)
            standing = done.select_related("item").order_by("-attempt").first()
            if standing is not None:
                return standing
            raise Conflict("This task is not at hand any more.", how="Go on with the next one.")
        _check_takes_part(place)
        right = is_right(said, row.item.expected)
        if not right and row.item.use == PracticeItem.Use.KEYS:
            return row
        active = worktime.kept(place.annotator, said.active_seconds)
        said = replace(said, active_seconds=active)
        PracticeAnswer.objects.filter(pk=row.pk).update(
            said=said.stored(), is_right=right, seconds_active=active, answered_at=Now()
        )
        worktime.note(place.pk, practice=1, active_seconds=said.active_seconds, open_seconds=said.open_seconds)
        row.refresh_from_db()
        if not open_answers(place).exists():
            _finish_round(place)
        return row


def _finish_round(place: Place) -> None:
    onboarding = onboarding_of(place.campaign)
    if place.stage != Stage.QUALIFICATION:
        enter(place, onboarding.after(place.stage))
        return
    result = last_result(place)
    assert result is not None
    score = f"{result.n_right} of {result.n_items}"
    if result.is_passed:
        enter(place, onboarding.after(place.stage), note=f"passed, {score}")
    elif place.n_tries >= onboarding.tries:
        enter(place, Stage.FAILED, note=f"not passed, {score}")


def last_result(place: Place) -> Result | None:
    """The last try of the qualification that was gone through to its end."""
    return next(iter(results_of(place)), None)


def results_of(place: Place) -> list[Result]:
    """The tries that were gone through to their end, the latest first."""
    tries: dict[int, list[PracticeAnswer]] = {}
    for row in answers_of(place, PracticeItem.Use.QUALIFICATION).order_by("-attempt"):
        tries.setdefault(row.attempt, []).append(row)
    onboarding = onboarding_of(place.campaign)
    return [
        Result(
            n_right=sum(bool(row.is_right) for row in rows),
            n_items=len(rows),
            n_to_pass=onboarding.n_to_pass_of(len(rows)),
            attempt=attempt,
        )
        for attempt, rows in tries.items()
        if all(row.answered_at for row in rows)
    ]


@retried
def practise_again(place: Place) -> None:
    """Back to practice between two tries. Raises Conflict in the middle of one."""
    with transaction.atomic():
        place = _locked(place)
        _check_takes_part(place)
        onboarding = onboarding_of(place.campaign)
        require(Stage.PRACTICE in onboarding.stages, "This campaign has no practice.")
        if place.stage != Stage.QUALIFICATION or open_answers(place).exists():
            raise Conflict("You are in the middle of the qualification.", how="Finish it first.")
        enter(place, Stage.PRACTICE, note="practises again")


def answered(place: Place, item_key: str) -> PracticeAnswer:
    """What this person last said to an item whose reason is shown. Raises DomainError for any other."""
    rows = PracticeAnswer.objects.filter(place=place, item__key=item_key, item__use=PracticeItem.Use.PRACTICE)
    row = rows.exclude(answered_at=None).select_related("item").order_by("-attempt").first()
    if row is None:
        raise DomainError("There is no such practice task of yours.")
    return row
