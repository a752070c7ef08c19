"""Signed addresses of an export's file: short-lived, and good for one person only, whose role is asked for at each use."""

from django.conf import settings
from django.core import signing
from django.urls import reverse

from accounts.models import User
from training.models import ExportJob

SALT = "training.exports.links"


def link_for(job: ExportJob, user: User) -> str:
    """An address of the file for this person, from now on for ``WHETSTONE_EXPORT_LINK_MINUTES``."""
    signed = signing.dumps([job.key, user.key], salt=SALT)
    return reverse("training:export-file", args=[job.project.slug, job.key, signed, job.filename])


def is_good(signed: str, job: ExportJob, user: User) -> bool:
    """Whether the link is ours, still good, of this export and this person's."""
    seconds = settings.WHETSTONE.export_link_minutes * 60
    try:
        said = signing.loads(signed, salt=SALT, max_age=seconds)
    except signing.BadSignature:
        return False
    return bool(said == [job.key, user.key])
