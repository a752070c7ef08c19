"""What an annotator finds when they come: their campaigns with what is left, notes to them, today's work.

No pace, no rank, nobody else's figures: what others do is nobody's measure here.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from accounts.models import Membership
from annotation import announcements, questions
from annotation.assign import open_assignment, untouched
from annotation.audience import is_for
from annotation.guidelines import needs_confirmation
from annotation.models import Annotator, Announcement, Campaign, Flag, Judgement, Place, Question, Workday
from annotation.onboarding import WORKING, first_stage
from annotation.statements import Work, work_of

COUNTED = 1_000  # tasks that are left for a person are counted up to here
NOTE_DAYS = 14
SHOWN = (Campaign.Stage.OPEN, Campaign.Stage.PAUSED)


@dataclass(frozen=True, slots=True)
class Mine:
    """One campaign for one person. ``n_left`` counts up to ``COUNTED``; ``is_more`` says that there are more."""

    campaign: Campaign
    place: Place | None
    n_left: int
    is_more: bool
    is_open: bool  # a task is in this person's hands
    asks_guidelines: bool
    stage: str  # of ``Place.Stage``: where this person stands, or would begin

    @property
    def n_mine(self) -> int:
        return self.place.n_submitted if self.place else 0

    @property
    def on_the_way(self) -> str:
        """What of the way in comes next, in a word; "" for who works already."""
        return "" if self.stage in WORKING else str(Place.Stage(self.stage).label)

    @property
    def is_failed(self) -> bool:
        return self.stage == Place.Stage.FAILED

    @property
    def begins_on_its_page(self) -> bool:
        """Whether something is to be read or done before a first task."""
        return bool(self.asks_guidelines or self.on_the_way or self.campaign.is_live or self.campaign.is_sensitive)

    @property
    def is_paused(self) -> bool:
        return self.campaign.stage == Campaign.Stage.PAUSED

    @property
    def is_blocked(self) -> bool:
        return self.place is not None and self.place.blocked_at is not None

    @property
    def can_go_on(self) -> bool:
        if self.is_paused or self.is_blocked or self.is_failed:
            return False
        return bool(self.n_left or self.is_open or self.on_the_way)


@dataclass(frozen=True, slots=True)
class Returned:
    """A judgement that a reviewer set aside, or a flag that was decided, for the person it came from."""

    campaign: Campaign
    sentence: str
    note: str
    when: datetime


@dataclass(frozen=True, slots=True)
class Notes:
    announcements: tuple[Announcement, ...] = ()
    answers: tuple[Question, ...] = ()
    waiting: tuple[Question, ...] = ()
    returned: tuple[Returned, ...] = ()

    @property
    def n_new(self) -> int:
        return len(self.announcements) + len(self.answers)


def campaigns_for(membership: Membership) -> list[Campaign]:
    """The campaigns that this person may work in, open ones first, newest first."""
    found = Campaign.objects.filter(Q(n_tasks__gt=0) | Q(is_live=True), project=membership.project, stage__in=SHOWN)
    mine = [campaign for campaign in found.order_by("-id") if is_for(campaign, membership)]
    return sorted(mine, key=lambda campaign: campaign.stage != Campaign.Stage.OPEN)


def my_campaigns(membership: Membership, me: Annotator | None) -> list[Mine]:
    campaigns = campaigns_for(membership)
    places = (
        {place.campaign_id: place for place in Place.objects.filter(annotator=me, campaign__in=campaigns)} if me else {}
    )
    return [_mine(campaign, places.get(campaign.pk), me) for campaign in campaigns]


def _mine(campaign: Campaign, place: Place | None, me: Annotator | None) -> Mine:
    n_left, is_more = n_left_for(campaign, place, me)
    return Mine(
        campaign=campaign,
        place=place,
        n_left=n_left,
        is_more=is_more,
        is_open=me is not None and open_assignment(me, campaign) is not None,
        asks_guidelines=needs_confirmation(place, campaign),
        stage=place.stage if place is not None else first_stage(campaign, me),
    )


def n_left_for(campaign: Campaign, place: Place | None, me: Annotator | None) -> tuple[int, bool]:
    """(tasks that this person may still be given now, whether there are more than were counted). Caps count."""
    caps = _caps_left(campaign, place)
    if campaign.is_live:  # this person writes the prompts: only a cap ends it
        return min([COUNTED, *caps]), not caps
    tasks = untouched(me, campaign) if me else campaign.tasks.filter(is_free=True)
    n_free = tasks.order_by()[: COUNTED + 1].count()
    n_left = min([n_free, COUNTED, *caps])
    return n_left, n_free > COUNTED and n_left == COUNTED


def _caps_left(campaign: Campaign, place: Place | None) -> list[int]:
    left = []
    if campaign.cap_per_person is not None:
        left.append(max(0, campaign.cap_per_person - (place.n_submitted if place else 0)))
    if campaign.cap_per_day is not None:
        n_today = place.n_today if place and place.day == timezone.now().date() else 0
        left.append(max(0, campaign.cap_per_day - n_today))
    return left


def notes_for(membership: Membership, me: Annotator | None) -> Notes:
    """What the person should read: announcements to confirm, answers, open questions, what came back."""
    unread = announcements.unread(membership.project, me, campaigns_for(membership))
    if me is None:
        return Notes(announcements=tuple(unread))
    waiting = questions.questions_of(me).filter(status=Question.Status.OPEN)
    return Notes(
        announcements=tuple(unread),
        answers=tuple(questions.news_for(me)),
        waiting=tuple(waiting),
        returned=tuple(sorted(_set_aside(me) + _decided(me), key=lambda row: row.when, reverse=True)),
    )


def _set_aside(me: Annotator) -> list[Returned]:
    since = timezone.now() - timedelta(days=NOTE_DAYS)
    rows = Judgement.objects.filter(
        assignment__annotator=me,
        verdict=Judgement.Verdict.VOIDED,
        created_at__gte=since,
        assignment__current__isnull=False,
    ).select_related("assignment__task__campaign")
    return [
        Returned(row.assignment.task.campaign, "A judgement of yours was set aside.", row.comment, row.created_at)
        for row in rows
    ]


def _decided(me: Annotator) -> list[Returned]:
    since = timezone.now() - timedelta(days=NOTE_DAYS)
    found = []
    flags = Flag.objects.filter(annotator=me, status__in=[Flag.Status.UPHELD, Flag.Status.DISMISSED])
    for flag in flags.filter(events__created_at__gte=since).distinct().select_related("task__campaign"):
        event = flag.events.order_by("-id").first()
        if event is None or event.created_at < since:
            continue
        what = "was right: thank you" if flag.status == Flag.Status.UPHELD else "was looked at, and nothing was changed"
        sentence = f"Your flag “{flag.get_kind_display()}” {what}."
        note = event.note if flag.status == Flag.Status.DISMISSED else ""
        found.append(Returned(flag.task.campaign, sentence, note, event.created_at))
    return found


def work_today(me: Annotator | None) -> Work:
    """This person's work of today (UTC), over all campaigns of the project."""
    if me is None:
        return Work()
    days = Workday.objects.filter(place__annotator=me, day=timezone.now().date())
    return sum((work_of(day) for day in days), Work())
