"""Why somebody is given no task, in words: what has to be settled first, what ends the work here, and what is only "not now".

One order for all: whoever is asked is told the first reason that holds. Only people are asked for anything: a simulated or
automatic annotator confirms nothing, agrees to nothing and belongs to no audience; caps hold for all.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Literal

from accounts.access import not_expired
from accounts.models import Membership
from annotation.audience import is_for
from annotation.guidelines import needs_confirmation
from annotation.models import Annotator, Campaign, Place
from annotation.onboarding import WORKING

Code = Literal[
    "blocked", "failed", "onboarding", "guidelines", "agree",
    "building", "paused", "closed", "audience", "cap", "cap_today", "none_now", "done",
]  # fmt: skip
NOT_OPEN: dict[str, Code] = {
    Campaign.Stage.DRAFT: "building",
    Campaign.Stage.BUILDING: "building",
    Campaign.Stage.PAUSED: "paused",
    Campaign.Stage.CLOSED: "closed",
}
IN_WORDS = {"building": "is being prepared", "paused": "is paused", "closed": "is closed"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """``n``: judgements under a cap, or tasks that others have open. ``until``: when to come back, where that is known."""

    code: Code
    sentence: str
    how: str = ""
    n: int = 0
    until: datetime | None = None


def stands_before(place: Place | None, campaign: Campaign, annotator: Annotator) -> Refusal | None:
    """What this person has to settle before any task of the campaign is shown, one that they have open included."""
    if place is not None and place.blocked_at is not None:
        return Refusal("blocked", "You were taken off this campaign.", "Ask the people who lead it why.")
    if annotator.kind != Annotator.Kind.HUMAN:
        return None
    if needs_confirmation(place, campaign):
        return Refusal("guidelines", "The guidelines come first.", "Read them, then confirm that you have.")
    if campaign.is_sensitive and (place is None or place.agreed_sensitive_at is None):
        return Refusal(
            "agree",
            "What is shown here can be disturbing, so you see it only if you have agreed to.",
            "You can take that back at any time.",
        )
    if place is not None and place.stage == Place.Stage.FAILED:
        return Refusal("failed", "The qualification was not passed.", "A lead can give you another try.")
    if place is not None and place.stage not in WORKING:
        return Refusal("onboarding", "Practice comes before the first task.")
    return None


def takes_no_more(
    place: Place, campaign: Campaign, annotator: Annotator, *, now: datetime, n_open: int = 0, n_parked: int = 0
) -> Refusal | None:
    """Why this person gets no further task, whatever is free. What they have open counts to the caps, so that none is passed."""
    if (code := NOT_OPEN.get(campaign.stage)) is not None:
        return Refusal(code, f"This campaign {IN_WORDS[code]}.")
    if not takes_part(campaign, annotator):
        return Refusal("audience", "This campaign is for other people.", "Choose another one.")
    if campaign.cap_per_person is not None and place.n_submitted + n_open + n_parked >= campaign.cap_per_person:
        return Refusal(
            "cap", "You have judged as many tasks of this campaign as one person may.", n=campaign.cap_per_person
        )
    return cap_of_the_day(place, campaign, now=now, n_open=n_open)


def cap_of_the_day(place: Place, campaign: Campaign, *, now: datetime, n_open: int = 0) -> Refusal | None:
    if campaign.cap_per_day is None or n_on(place, now) + n_open < campaign.cap_per_day:
        return None
    return Refusal(
        "cap_today",
        "You have judged as many tasks of this campaign as one person may in a day.",
        "The next day begins at midnight UTC.",
        n=campaign.cap_per_day,
        until=midnight_after(now),
    )


def n_on(place: Place, now: datetime) -> int:
    """Live judgements that this person has given on this day (UTC)."""
    return place.n_today if place.day == now.astimezone(UTC).date() else 0


def midnight_after(now: datetime) -> datetime:
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), tzinfo=UTC)


def takes_part(campaign: Campaign, annotator: Annotator) -> bool:
    """Whether the campaign is for this person: whoever was in it once need not be any more."""
    if not campaign.audience or annotator.kind != Annotator.Kind.HUMAN:
        return True
    membership = Membership.objects.filter(not_expired(), project=campaign.project_id, user=annotator.user_id)
    found = membership.select_related("user").first()
    return found is not None and is_for(campaign, found)
