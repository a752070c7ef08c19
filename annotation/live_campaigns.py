"""Starting a live campaign. It has no tasks to build: each turn of a conversation becomes one when its answers are there."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import Project, User
from annotation.campaign_options import checked
from annotation.guidelines import first_version
from annotation.models import Campaign, Conversation
from core.errors import require
from core.jobs import JobStatus
from core.names import plain
from generation.live import live_pattern
from generation.sampling import ArmRequest

MAX_TURNS, MAX_SYSTEM = 1_000_000, 20_000
KIND = Campaign.Kind.PAIR  # the HH and Llama 2 protocol; criteria may rate each answer besides


@transaction.atomic
def start_live_campaign(
    *,
    project: Project,
    name: str,
    arms: Sequence[ArmRequest],
    n_turns: int,
    system: str = "",
    options: Mapping[str, Any] | None = None,
    by: User | None,
) -> Campaign:
    """Open a campaign in which people write the prompts and two arms answer at once.

    arms     two, each with a ``deployment`` and ``sampling``; the same model twice is two settings, or two draws
    n_turns  how many turns are collected; then no further prompt is taken
    system   a system message that begins every conversation
    options  see ``annotation.campaign_options``
    Raises DomainError for what cannot work.
    """
    columns = checked(options or {}, project=project, kind=KIND)
    name = plain(name, "campaign")
    require(
        not columns.get("regression_share"), "New against old is drawn among answers that are there; here none are yet."
    )
    require(1 <= n_turns <= MAX_TURNS, f"The number of turns lies between 1 and {MAX_TURNS:,}.")
    require(len(system) <= MAX_SYSTEM, f"The system message has at most {MAX_SYSTEM:,} characters.")
    pattern = live_pattern(project=project, name=name, arms=arms, system=system.strip(), by=by)
    columns |= {"is_live": True, "overlap": 1, "n_tasks": n_turns, "pairing": {"pairs": "across"}, "unit": "turns"}
    campaign = Campaign.objects.create(
        project=project,
        name=name,
        kind=KIND,
        stage=Campaign.Stage.OPEN,
        status=JobStatus.SUCCEEDED,
        finished_at=Now(),
        created_by=by,
        **columns,
    )
    campaign.jobs.set([pattern])
    first_version(campaign, by=by)
    campaign.events.create(before=Campaign.Stage.DRAFT, after=Campaign.Stage.OPEN, by=by, note="live")
    detail = {"is_live": True, "n_turns": n_turns}
    record("campaign.start", user=by, project=project, subject=campaign, detail=detail)
    return campaign


def n_conversations(campaign: Campaign) -> int:
    """Conversations in which a turn was judged, or still may be."""
    return campaign.conversations.exclude(status=Conversation.Status.ABANDONED).count()
