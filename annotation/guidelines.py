"""Guidelines of a campaign: numbered texts, of which the latest is in force. Nothing of an older one is overwritten.

``Campaign.guidelines`` and ``guidelines_version`` repeat the latest, so that the annotate page reads no second table.
"""

import difflib
from dataclasses import dataclass
from typing import Literal

from django.db import transaction

from accounts.audit import record
from accounts.models import User
from annotation.models import Annotator, Campaign, GuidelinesVersion, Place
from annotation.onboarding import first_columns
from core.errors import Conflict, require

MAX_CHARS = 60_000  # as many as the renderer shows as Markdown
MAX_NOTE = 300


def first_version(campaign: Campaign, *, by: User | None) -> GuidelinesVersion:
    """Version 1, as the campaign starts with it (called in that transaction). Idempotent."""
    version, _ = GuidelinesVersion.objects.get_or_create(
        campaign=campaign, number=1, defaults={"text": campaign.guidelines, "by": by}
    )
    return version


@transaction.atomic
def publish(campaign: Campaign, text: str, note: str, by: User | None, *, seen: int | None = None) -> GuidelinesVersion:
    """Put a new text in force. People confirm it before they go on; what they judge from then on names its number.

    note  what changed, in a sentence: shown to those who confirm
    seen  the version that the author saw while writing; Conflict if another one was published meanwhile
    """
    text, note = text.replace("\r\n", "\n").strip(), note.strip()[:MAX_NOTE]
    require(len(text) <= MAX_CHARS, f"Guidelines have at most {MAX_CHARS:,} characters.")
    locked = Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
    if seen is not None and seen != locked.guidelines_version:
        raise Conflict(
            f"Version {locked.guidelines_version} was published while you were writing.",
            how="Read it first, then add your change to it.",
        )
    require(locked.stage != Campaign.Stage.CLOSED, "This campaign is closed: nobody reads new guidelines any more.")
    first_version(locked, by=locked.created_by)  # of a campaign that is older than versions
    require(text != locked.guidelines.replace("\r\n", "\n").strip(), "Nothing was changed in the guidelines.")
    require(note, "Say in a sentence what has changed.", how="People read it when they confirm the new version.")
    number = locked.guidelines_version + 1
    version = GuidelinesVersion.objects.create(campaign=locked, number=number, text=text, note=note, by=by)
    Campaign.objects.filter(pk=locked.pk).update(guidelines=text, guidelines_version=number)
    campaign.guidelines, campaign.guidelines_version = text, number
    record("guidelines.publish", user=by, project=locked.project, subject=locked, detail={"version": number})
    return version


def versions_of(campaign: Campaign) -> list[GuidelinesVersion]:
    """Newest first."""
    return list(GuidelinesVersion.objects.filter(campaign=campaign).select_related("by").order_by("-number"))


def n_confirmed(campaign: Campaign) -> tuple[int, int]:
    """(people of this campaign who confirmed the version in force, all people of it)."""
    places = Place.objects.filter(campaign=campaign, blocked_at=None, annotator__user__isnull=False)
    return places.filter(guidelines_version__gte=campaign.guidelines_version).count(), places.count()


# ---- confirming --------------------------------------------------------------------------------------------------------


def needs_confirmation(place: Place | None, campaign: Campaign) -> bool:
    """Whether this person has yet to confirm the guidelines in force. Without a text there is nothing to confirm."""
    if not campaign.guidelines.strip():
        return False
    return place is None or place.guidelines_version < campaign.guidelines_version


def confirm(annotator: Annotator, campaign: Campaign, number: int) -> Place:
    """This person has read version ``number``. Idempotent; Conflict if a newer one is in force already."""
    in_force = Campaign.objects.values_list("guidelines_version", flat=True).get(pk=campaign.pk)
    if number != in_force:
        raise Conflict(
            f"Version {in_force} of the guidelines is in force now.", how="Read what has changed, then confirm it."
        )
    begins = first_columns(campaign, annotator)
    place, _ = Place.objects.get_or_create(annotator=annotator, campaign=campaign, defaults=begins)
    # Never back: the page of an older version may still be open in another tab.
    Place.objects.filter(pk=place.pk, guidelines_version__lt=number).update(guidelines_version=number)
    place.refresh_from_db(fields=["guidelines_version"])
    return place


def unconfirmed_note(place: Place | None, campaign: Campaign) -> str:
    """What has changed since the version that this person confirmed, in the leads' own words; "" for a first reading."""
    if place is None or place.guidelines_version == 0:
        return ""
    since = GuidelinesVersion.objects.filter(campaign=campaign, number__gt=place.guidelines_version)
    return " ".join(since.order_by("number").exclude(note="").values_list("note", flat=True))


def changes_since(place: Place | None, campaign: Campaign) -> "list[Line]":
    """The text in force against the one that this person confirmed; [] for a first reading or where nothing is new."""
    if place is None or not 0 < place.guidelines_version < campaign.guidelines_version:
        return []
    before = GuidelinesVersion.objects.filter(campaign=campaign, number=place.guidelines_version).first()
    return diff(before.text, campaign.guidelines) if before is not None else []


# ---- what changed ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a comparison of two versions."""

    kind: Literal["same", "added", "removed", "gap"]
    text: str


def diff(before: str, after: str, *, around: int = 2) -> list[Line]:
    """What changed from one text to the next, with ``around`` lines that did not; a gap stands for more of those."""
    old, new = before.splitlines(), after.splitlines()
    lines: list[Line] = []
    for number, group in enumerate(difflib.SequenceMatcher(None, old, new).get_grouped_opcodes(around)):
        if number or group[0][1] > 0:
            lines.append(Line("gap", ""))
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                lines += [Line("same", text) for text in old[old_from:old_to]]
            else:
                lines += [Line("removed", text) for text in old[old_from:old_to]]
                lines += [Line("added", text) for text in new[new_from:new_to]]
    if lines and group[-1][2] < len(old):
        lines.append(Line("gap", ""))
    return lines
