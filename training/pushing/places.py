"""Which places outside this installation has the credentials for, and what an address there looks like."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from django.conf import settings

from accounts.models import Project
from core.errors import DomainError, require
from training.models import PushJob
from training.pushing.hub import HubPlace
from training.pushing.s3 import S3Place
from training.pushing.tree import Piece
from training.pushing.watch import Watch

HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,4}")
MOST_CHARACTERS = 200
HUB_ADDRESS = "https://huggingface.co"  # huggingface_hub's own, where no other is set


class Place(Protocol):
    def begin(self, *, is_ours: bool) -> None: ...
    def send(self, pieces: Sequence[Piece], watch: Watch) -> str: ...


@dataclass(frozen=True)
class Destination:
    """name      as ``PushJob.Destination``
    to_set    the settings that are still missing; none: it is offered
    """

    name: str
    label: str
    target: str  # what a target is, in words
    to_set: tuple[str, ...]

    @property
    def is_offered(self) -> bool:
        return not self.to_set


def destinations() -> list[Destination]:
    """Every kind of place, offered or not."""
    env = settings.WHETSTONE
    hub = {"WHETSTONE_HUB_TOKEN": env.hub_token, "WHETSTONE_HUB_OFFLINE=false": not env.hub_offline}
    s3 = {
        "WHETSTONE_S3_URL": env.s3_url,
        "WHETSTONE_S3_ACCESS_KEY_ID": env.s3_access_key_id,
        "WHETSTONE_S3_SECRET_ACCESS_KEY": env.s3_secret_access_key,
    }
    return [
        Destination("hub", "Hub", "owner/name of a repository of datasets", _missing(hub)),
        Destination("s3", "S3-compatible storage", f"a folder below {env.s3_url or 's3://bucket'}", _missing(s3)),
    ]


def _missing(wanted: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(name for name, value in wanted.items() if not value)


def destination_named(name: str) -> Destination:
    """Raises DomainError for a place that there is not, or that this installation has no credentials for."""
    found = next((each for each in destinations() if each.name == name), None)
    if found is None:
        raise DomainError("There is no such destination.", how="Choose hub or s3.")
    require(
        found.is_offered,
        f"{found.label}: this installation has no credentials for it.",
        how=f"Set {', '.join(found.to_set)}, and start web and workers again.",
    )
    return found


def address_of(destination: str, project: Project, target: str) -> str:
    """The whole address of a target. Raises DomainError for one that cannot be."""
    if destination == PushJob.Destination.HUB:
        name = target.split("/")[-1]
        is_name = HUB_NAME.fullmatch(target) and "--" not in target and ".." not in target
        require(
            is_name and not name.endswith((".git", "-", ".")),
            f"“{target[:100]}” is no name of a repository.",
            how="Write owner/name: letters, digits, dots, hyphens and underscores.",
        )
        return f"{settings.WHETSTONE.hub_endpoint or HUB_ADDRESS}/datasets/{target}"
    require(
        FOLDER.fullmatch(target) and ".." not in target and len(target) <= MOST_CHARACTERS,
        f"“{target[:100]}” is no name of a folder.",
        how="Write up to 200 letters, digits, dots, hyphens and underscores, with / between folders.",
    )
    # Below the project's own name, so that no project writes over another's.
    return f"{settings.WHETSTONE.s3_url}/{project.slug}/{target}"


def place_of(push: PushJob) -> Place:
    makers: dict[str, Callable[[], Place]] = {
        "hub": lambda: HubPlace(push.target, is_public=push.is_public),
        "s3": lambda: S3Place(push.address),
    }
    return makers[push.destination]()
