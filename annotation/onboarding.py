"""The way of a new person into a campaign: the keys, practice, qualification, probation. Its settings and its stages are here.

What is practised is in ``annotation.practice``; the guidelines are confirmed before all of it (``annotation.guidelines``).
Nothing of the way in is a judgement: it enters no data, no agreement and no count of a campaign.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from django.db.models import F, Q

from accounts.audit import record
from accounts.models import User
from annotation.models import Annotator, Campaign, Place
from core.errors import Conflict, DomainError, require

Stage = Place.Stage
N_KEYS = 3
MAX_ITEMS, MAX_TRIES, MAX_PROBATION = 50, 10, 1_000
WORKING = (Stage.PROBATION, Stage.NORMAL)


@dataclass(frozen=True, slots=True)
class Onboarding:
    """What a campaign asks of a new person; the defaults ask nothing. ``Campaign.onboarding`` is its stored form."""

    keys: bool = False
    n_practice: int = 0
    n_qualification: int = 0
    pass_mark: float = 0.8  # share of a qualification's items that must be right
    tries: int = 2
    probation: int = 0  # judgements that are marked for review

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Onboarding":
        """Read the stored form. Raises DomainError with a sentence for what makes no sense."""
        unknown = sorted(set(given) - {each.name for each in fields(cls)})
        require(not unknown, f"The way in has no setting {unknown[0]!r}." if unknown else "")
        made = cls(**given)
        made.check()
        return made

    def check(self) -> None:
        whole = {"n_practice": (0, MAX_ITEMS), "n_qualification": (0, MAX_ITEMS), "tries": (1, MAX_TRIES)}
        for name, (least, most) in {**whole, "probation": (0, MAX_PROBATION)}.items():
            value = getattr(self, name)
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            require(is_whole and least <= value <= most, f"{_LABELS[name]}: a number from {least} to {most:,}.")
        require(isinstance(self.keys, bool), "The tasks that teach the keys are either on or off.")
        is_number = isinstance(self.pass_mark, int | float) and not isinstance(self.pass_mark, bool)
        require(is_number and 0 < self.pass_mark <= 1, "The pass mark is a share above 0 %, up to 100 %.")

    def stored(self) -> dict[str, Any]:
        """Only what differs from the defaults."""
        default = asdict(type(self)())
        return {name: value for name, value in asdict(self).items() if value != default[name]}

    @property
    def n_to_pass(self) -> int:
        """How many items of a qualification must be right."""
        return self.n_to_pass_of(self.n_qualification)

    def n_to_pass_of(self, n_items: int) -> int:
        return max(1, math.ceil(self.pass_mark * n_items - 1e-9))

    @property
    def stages(self) -> list[Stage]:
        """The stages that a new person goes through, the last one normal work."""
        asked = {
            Stage.KEYS: self.keys,
            Stage.PRACTICE: self.n_practice > 0,
            Stage.QUALIFICATION: self.n_qualification > 0,
            Stage.PROBATION: self.probation > 0,
            Stage.NORMAL: True,
        }
        return [stage for stage, is_asked in asked.items() if is_asked]

    def after(self, stage: str) -> Stage:
        """The stage that follows ``stage``, also where the campaign has dropped ``stage`` itself since."""
        order = list(Stage)
        return next(each for each in self.stages if order.index(each) > order.index(Stage(stage)))


_LABELS = {
    "n_practice": "Practice tasks",
    "n_qualification": "Tasks of the qualification",
    "tries": "Tries",
    "probation": "Judgements on probation",
}


def onboarding_of(campaign: Campaign) -> Onboarding:
    """The settings of a campaign. What cannot be read (a row of a later version) asks nothing that it does not know."""
    try:
        return Onboarding.parse(campaign.onboarding or {})
    except (DomainError, TypeError):
        known = {each.name for each in fields(Onboarding)}
        return Onboarding(**{name: value for name, value in campaign.onboarding.items() if name in known})


def first_stage(campaign: Campaign, annotator: Annotator | None = None) -> Stage:
    """Where a new person begins. Only people go through the way in: a simulated or automatic annotator works at once."""
    if annotator is not None and annotator.kind != Annotator.Kind.HUMAN:
        return Stage.NORMAL
    return onboarding_of(campaign).stages[0]


def first_columns(campaign: Campaign, annotator: Annotator | None = None) -> dict[str, Any]:
    """The columns of a new place: ``defaults`` of its ``get_or_create``."""
    return columns_at(campaign, first_stage(campaign, annotator))


def columns_at(campaign: Campaign, stage: Stage) -> dict[str, Any]:
    on_probation = stage == Stage.PROBATION
    return {"stage": stage, "n_probation_left": onboarding_of(campaign).probation if on_probation else 0}


def may_work(place: Place) -> bool:
    """Whether this person is given tasks: the way in is behind them, and no lead took them off the campaign."""
    return place.blocked_at is None and place.stage in WORKING


def not_working() -> Q:
    """The condition of a place whose holder is given no tasks."""
    return Q(blocked_at__isnull=False) | ~Q(stage__in=WORKING)


def enter(place: Place, to: Stage, *, by: User | None = None, note: str = "", **changes: Any) -> None:
    """Compare-and-set of a stage with its audit row; of two callers exactly one wins. Raises Conflict for the other."""
    before = place.stage
    require(to in Place.NEXT.get(Stage(before), set()), f"Nobody goes from {before} to {to}.")
    changes = {**columns_at(place.campaign, to), **changes}
    if Place.objects.filter(pk=place.pk, stage=before).update(**changes) != 1:
        raise Conflict("This person has gone on in the meantime.", how="Reload the page to see where they stand.")
    person = place.annotator
    detail = {"campaign": place.campaign.key, "person": person.pseudonym, "before": before, "after": str(to)}
    record(
        "onboarding.stage",
        user=by or person.user,
        project=place.campaign.project,
        subject=place.campaign,
        detail={**detail, "note": note} if note else detail,
    )
    place.refresh_from_db()


def after_submit(place: Place) -> None:
    """Count a judgement against the probation; with the last one it is over. The caller holds the place's lock."""
    if place.stage != Stage.PROBATION:
        return
    Place.objects.filter(pk=place.pk, n_probation_left__gt=0).update(n_probation_left=F("n_probation_left") - 1)
    place.refresh_from_db(fields=["n_probation_left"])
    if place.n_probation_left == 0:
        enter(place, Stage.NORMAL, note="probation is over")


def after_undo(place: Place) -> None:
    """A judgement that is taken back was not one of the probation. The caller holds the place's lock."""
    if place.stage == Stage.PROBATION:
        Place.objects.filter(pk=place.pk).update(n_probation_left=F("n_probation_left") + 1)
