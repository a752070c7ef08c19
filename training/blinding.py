"""What a dataset tells of who wrote its answers, and to whom: what they judge of these afterwards is not blind.

A preview hides such rows from who has not asked for the models; a frozen row or a file is had for the asking, and that is recorded.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accounts.models import User
from generation.models import GenerationJob, ModelReveal
from generation.sampling import may_see_models
from training.formats.files import RECORDS
from training.models import Snapshot

BY_MODEL = ("models", "not_models", "only_current_policy")
ROWS = (".jsonl", ".parquet")


def is_by_model(selection: Mapping[str, Any]) -> bool:
    """Whether being in the rows already tells who wrote an answer."""
    return any(selection.get(name) for name in BY_MODEL)


def hides_rows(options: Mapping[str, Any], user: User) -> bool:
    """Whether the rows of these options would tell this person who wrote an answer that may still be judged.

    options  of a freeze: campaigns, selection
    """
    if not is_by_model(options["selection"]):
        return False
    jobs = GenerationJob.objects.filter(campaigns__in=options["campaigns"]).distinct()
    return not all(may_see_models(job, user) for job in jobs)


def note_rows_seen(user: User, *snapshots: Snapshot) -> None:
    """Record what rows of frozen datasets tell this person, if they were chosen by model."""
    for snapshot in snapshots:
        if is_by_model(snapshot.selection):
            _note(snapshot, user, page="dataset")


def note_file_had(snapshot: Snapshot, user: User, *, name: str = "", names_models: bool = False) -> None:
    """Record what a file of it tells this person: its own file ``name``, or an export that may name the models."""
    if names_models or name == RECORDS:
        _note(snapshot, user, page="download")
    elif not name or Path(name).suffix in ROWS:
        note_rows_seen(user, snapshot)


def _note(snapshot: Snapshot, user: User, *, page: str) -> None:
    jobs = GenerationJob.objects.filter(campaigns__in=snapshot.campaigns.all()).distinct()
    ModelReveal.objects.bulk_create([ModelReveal(user=user, job=job, page=page) for job in jobs], ignore_conflicts=True)
