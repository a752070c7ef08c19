"""The files of an import of votes, below ``WHETSTONE_HOME/uploads``: the upload, its report, what a worker needs meanwhile."""

from pathlib import Path

from annotation.models import VoteImport
from core.uploads import uploads


def stored_path(job: VoteImport) -> Path:
    return uploads() / job.stored_name


def report_path(job: VoteImport) -> Path:
    """Every bad row, one a line of CSV; complete once the rows are checked."""
    return uploads() / f"{job.stored_name}.report.csv"


def scratch_path(job: VoteImport, what: str) -> Path:
    return uploads() / f"{job.stored_name}.{what}"


def remove_scratch(job: VoteImport) -> None:
    for what in ("checked", "seen", "groups", "report.csv.part"):
        scratch_path(job, what).unlink(missing_ok=True)
