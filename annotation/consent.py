"""Sensitive campaigns: nobody is shown anything before they agreed, and whoever agreed may take it back at any time."""

from django.db import transaction
from django.db.models.functions import Now

from annotation.assign import release_assignment
from annotation.models import Annotator, Assignment, Campaign, Place
from annotation.onboarding import first_columns
from annotation.turns import IN_HAND


def needs_consent(place: Place | None, campaign: Campaign) -> bool:
    return campaign.is_sensitive and (place is None or place.agreed_sensitive_at is None)


def agree(annotator: Annotator, campaign: Campaign) -> Place:
    """This person agrees to see what the campaign shows. Idempotent; the first moment stays on record."""
    begins = first_columns(campaign, annotator)  # to agree is not to be past the way in
    place, _ = Place.objects.get_or_create(annotator=annotator, campaign=campaign, defaults=begins)
    Place.objects.filter(pk=place.pk, agreed_sensitive_at=None).update(agreed_sensitive_at=Now())
    place.refresh_from_db(fields=["agreed_sensitive_at"])
    return place


def take_back(annotator: Annotator, campaign: Campaign) -> None:
    """No longer: what this person has open or parked goes back at once. What they judged stands. Idempotent."""
    with transaction.atomic():
        Place.objects.filter(annotator=annotator, campaign=campaign).update(agreed_sensitive_at=None)
    held = Assignment.objects.filter(annotator=annotator, task__campaign=campaign, status__in=IN_HAND)
    for key in held.values_list("key", flat=True):
        release_assignment(assignment_key=key, annotator=annotator)
