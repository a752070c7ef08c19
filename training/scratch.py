"""What attempts left that were killed: their next attempt removes it or, where none comes, the tick does."""

import shutil
from typing import Any

from core.jobs import TERMINAL
from core.storage import home
from training.models import Erasure, ExportJob, PushJob, Snapshot
from training.snapshots import WORKSPACE

# kind of workspace -> the work that it is of
WORKSPACES: dict[str, Any] = {WORKSPACE: Snapshot, "exporting": ExportJob, "pushing": PushJob, "erasing": Erasure}


def remove_scratch() -> int:
    """Remove the workspaces of work that is over: they may hold text that was erased. A chore of the tick."""
    n_removed = 0
    for kind, model in WORKSPACES.items():
        # In this order: a job that begins after its row was read makes a directory that is not among these.
        left = {path: path.name.partition("-")[0] for path in (home() / kind).glob("*-*")}
        rows = model._default_manager.filter(key__in=set(left.values())).exclude(status__in=TERMINAL)
        at_work = set(rows.values_list("key", flat=True)) if left else set()
        for path in [path for path, key in left.items() if key not in at_work]:
            shutil.rmtree(path, ignore_errors=True)
            n_removed += 1
    return n_removed
