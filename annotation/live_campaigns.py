"""Starting a live campaign. It has no tasks to build: each turn of a conversation becomes one when its answers are there."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import Project, User
from annotation.campaigns import MAX_LEASE_MINUTES
from annotation.models import Campaign, Conversation
from annotation.protocol import Protocol
from core.errors import require
from core.jobs import JobStatus
from generation.live import live_pattern
from generation.sampling import ArmRequest

MAX_TURNS, MAX_SYSTEM = 1_000_000, 20_000
OPTIONS = frozenset(
    {
        "question", "guidelines", "allow_tie", "allow_both_good", "allow_both_bad", "strength_levels", "lease_minutes",
        "closes_at", "protocol", "is_sensitive", "support_text", "cap_per_person", "cap_per_day", "audience",
        "onboarding", "pay_per_hour", "template",
    }
)  # fmt: skip


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
    options  of the campaign: question, guidelines, protocol, caps and the like
    Raises DomainError for what cannot work.
    """
    options = dict(options or {})
    unknown = set(options) - OPTIONS
    require(not unknown, f"A campaign has no option {', '.join(sorted(unknown))!r}.")
    require(name.strip(), "Give the campaign a name.")
    require(1 <= n_turns <= MAX_TURNS, f"The number of turns lies between 1 and {MAX_TURNS:,}.")
    require(len(system) <= MAX_SYSTEM, f"The system message has at most {MAX_SYSTEM:,} characters.")
    lease_minutes = options.get("lease_minutes", 30)
    require(1 <= lease_minutes <= MAX_LEASE_MINUTES, "A task is kept for a person for 1 minute to 24 hours.")
    options["protocol"] = Protocol.parse(options.get("protocol") or {}).stored()
    pattern = live_pattern(project=project, name=name.strip(), arms=arms, system=system.strip(), by=by)
    campaign = Campaign.objects.create(
        project=project,
        name=name.strip()[:100],
        kind=Campaign.Kind.PAIR,
        stage=Campaign.Stage.OPEN,
        is_live=True,
        overlap=1,
        n_tasks=n_turns,
        pairing={"pairs": "across"},
        unit="turns",
        status=JobStatus.SUCCEEDED,
        finished_at=Now(),
        created_by=by,
        **options,
    )
    campaign.jobs.set([pattern])
    campaign.events.create(before=Campaign.Stage.DRAFT, after=Campaign.Stage.OPEN, by=by, note="live")
    record("campaign.start", user=by, project=project, subject=campaign, detail={"is_live": True, "n_turns": n_turns})
    return campaign


def n_conversations(campaign: Campaign) -> int:
    """Conversations in which at least one turn was judged, or still may be."""
    return campaign.conversations.exclude(status=Conversation.Status.ABANDONED).count()
