"""Announcements to the annotators of a project or of one campaign. Each is confirmed by each person, and the lead sees by whom."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from accounts.access import not_expired
from accounts.audit import record
from accounts.models import Membership, Project, User
from annotation.audience import is_for
from annotation.models import Annotator, Announcement, AnnouncementRead, Campaign
from core.errors import Conflict, require

MAX_CHARS = 10_000


@transaction.atomic
def announce(
    *, project: Project, text: str, by: User, campaign: Campaign | None = None, must_confirm: bool = True
) -> Announcement:
    """Tell all annotators of a project, or those of one campaign. ``text`` is Markdown."""
    text = text.strip()
    require(text, "Write what you want to announce.")
    require(len(text) <= MAX_CHARS, f"An announcement has at most {MAX_CHARS:,} characters.")
    if campaign is not None:
        require(campaign.project_id == project.pk, "This campaign belongs to another project.")
        require(campaign.stage != Campaign.Stage.CLOSED, "This campaign is closed: nobody would read it there.")
    made = Announcement.objects.create(project=project, campaign=campaign, text=text, must_confirm=must_confirm, by=by)
    detail = {"campaign": campaign.key} if campaign else {}
    record("announcement.make", user=by, project=project, subject=made, detail=detail)
    return made


@transaction.atomic
def withdraw(*, announcement: Announcement, by: User) -> None:
    """Nobody is shown it any more; who had read it stays on record. Idempotent."""
    if Announcement.objects.filter(pk=announcement.pk, withdrawn_at=None).update(withdrawn_at=Now()):
        record("announcement.withdraw", user=by, project=announcement.project, subject=announcement)
    announcement.refresh_from_db()


def announcements_of(project: Project) -> QuerySet[Announcement]:
    """All of a project, newest first; for the lead."""
    return Announcement.objects.filter(project=project).select_related("campaign", "by").order_by("-id")


# ---- the reader --------------------------------------------------------------------------------------------------------


def standing_announcements(project: Project, campaigns: list[Campaign]) -> QuerySet[Announcement]:
    """Those in force for somebody who judges in ``campaigns``, newest first."""
    return announcements_of(project).filter(Q(campaign=None) | Q(campaign__in=campaigns), withdrawn_at=None)


def unread(project: Project, annotator: Annotator | None, campaigns: list[Campaign]) -> list[Announcement]:
    """What this person has not confirmed yet, oldest first: the order in which it was meant."""
    found = standing_announcements(project, campaigns)
    if annotator is not None:
        read = AnnouncementRead.objects.filter(announcement=OuterRef("pk"), annotator=annotator)
        found = found.filter(~Exists(read))
    return list(found.order_by("id"))


@transaction.atomic
def confirm(*, announcement: Announcement, annotator: Annotator) -> None:
    """This person has read it. Idempotent; Conflict where it was withdrawn meanwhile."""
    if announcement.withdrawn_at is not None:
        raise Conflict("This announcement was withdrawn: there is nothing to confirm.")
    AnnouncementRead.objects.get_or_create(announcement=announcement, annotator=annotator)


# ---- who has read it ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reader:
    """A person who is to read it. ``annotator`` is None where they have never judged in this project yet."""

    annotator: Annotator | None
    read_at: datetime | None


def readers_of(announcement: Announcement) -> list[Reader]:
    """Everybody it is for, those who have yet to read it first; and those who read it and have left since."""
    read = {
        row.annotator_id: row
        for row in AnnouncementRead.objects.filter(announcement=announcement).select_related("annotator__user")
    }
    members = [member.user_id for member in _of(announcement, _annotating(announcement.project))]
    annotators = {
        annotator.user_id: annotator
        for annotator in Annotator.objects.filter(project=announcement.project, user__in=members).select_related("user")
    }
    rows = [Reader(annotators.get(user), None) for user in members if not _has_read(annotators.get(user), read)]
    rows += [Reader(row.annotator, row.created_at) for row in sorted(read.values(), key=lambda row: row.pk)]
    return rows


def n_read_of(project: Project, listed: Iterable[Announcement]) -> dict[int, tuple[int, int]]:
    """Announcement id -> (who has read it, who is to read it, those who read it and left since among them)."""
    listed = list(listed)
    readers: defaultdict[int, set[tuple[int, int | None]]] = defaultdict(set)
    rows = AnnouncementRead.objects.filter(announcement__in=listed).values_list(
        "announcement", "annotator", "annotator__user"
    )
    for pk, annotator, user in rows:
        readers[pk].add((annotator, user))
    members = _annotating(project)
    counts = {}
    for announcement in listed:
        read = readers[announcement.pk]
        users = {user for _, user in read}
        n_unread = sum(member.user_id not in users for member in _of(announcement, members))
        counts[announcement.pk] = len(read), len(read) + n_unread
    return counts


def _has_read(annotator: Annotator | None, read: dict[int, AnnouncementRead]) -> bool:
    return annotator is not None and annotator.pk in read


def _annotating(project: Project) -> list[Membership]:
    """Those who may judge in a project now, in the order in which they joined."""
    members = Membership.objects.filter(not_expired(), project=project, is_annotator=True, user__is_active=True)
    return list(members.select_related("user").order_by("id"))


def _of(announcement: Announcement, members: list[Membership]) -> list[Membership]:
    """Those of them whom it is for."""
    campaign = announcement.campaign
    return members if campaign is None else [member for member in members if is_for(campaign, member)]
