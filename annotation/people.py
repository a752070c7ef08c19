"""Who judges, and how far each has come. A person is a pseudonym here; only ``Annotator.user`` knows the account."""

from collections.abc import Iterable

from django.db import IntegrityError, transaction
from django.db.models import Sum

from accounts.models import Membership, Project, User
from annotation import prepared
from annotation.models import Annotator, Campaign, Place
from core.ids import new_key


def annotator_for(user: User, project: Project, *, kind: str = Annotator.Kind.HUMAN) -> Annotator:
    """This person as an annotator of this project, made on first use under a random pseudonym."""
    for _ in range(5):
        annotator = Annotator.objects.filter(project=project, user=user).first()
        if annotator is not None:
            return annotator
        try:
            with transaction.atomic():
                return Annotator.objects.create(
                    project=project, user=user, kind=kind, pseudonym=f"{kind}-{new_key()[:6]}"
                )
        except IntegrityError:  # made in this moment by the person's other tab, or the pseudonym is taken
            continue
    raise RuntimeError("No free pseudonym was found.")


def shown_name(annotator: Annotator, reader: Membership) -> str:
    """How a lead reads of a person: under the pseudonym; an admin reads the name too, where there is an account."""
    if reader.is_admin and annotator.user is not None:
        return f"{annotator.user} ({annotator.pseudonym})"
    return annotator.pseudonym


def n_submitted(campaign: Campaign) -> int:
    """Live judgements of a campaign: a sum over its people, not over its tasks."""
    found = prepared.n_submitted.first(campaign=campaign.pk)
    return int(found[0]) if found else 0


def n_submitted_in(campaigns: Iterable[Campaign]) -> dict[int, int]:
    rows = Place.objects.filter(campaign__in=list(campaigns)).values("campaign").annotate(n=Sum("n_submitted"))
    return {row["campaign"]: row["n"] for row in rows}
