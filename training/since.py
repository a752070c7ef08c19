"""What became of a snapshot's judgements after the freeze. The snapshot stays as it is; whoever trains on it should know."""

from django.db.models import F, Q, QuerySet

from annotation.models import Assignment, ComparisonTask, Judgement
from training.models import Snapshot, SnapshotJudgement

# In the order in which they are asked; each judgement is counted once.
WORDS = {
    "voided": "set aside by a reviewer",
    "withdrawn": "undone by their author",
    "superseded": "corrected by their author",
    "retired": "their task was taken out of the campaign",
}


def excluded_members(snapshot: Snapshot) -> QuerySet[SnapshotJudgement]:
    """The members that would stay out if the snapshot were frozen now."""
    turn = "judgement__assignment"
    stands = Q(**{f"{turn}__current": F("judgement"), f"{turn}__status": Assignment.Status.SUBMITTED})
    retired = Q(**{f"{turn}__task__status": ComparisonTask.Status.RETIRED})
    return snapshot.members.filter(~stands | retired)


def excluded_since(snapshot: Snapshot) -> dict[str, int]:
    """How many of them, by reason; empty while every judgement stands."""
    turn = "judgement__assignment"
    rows = excluded_members(snapshot).values_list(
        f"{turn}__current__verdict", f"{turn}__status", f"{turn}__task__status"
    )
    found: dict[str, int] = {}
    for verdict, status, task in rows.iterator(chunk_size=2000):
        why = why_excluded(verdict, status, task)
        found[why] = found.get(why, 0) + 1
    return {why: found[why] for why in WORDS if why in found}


def why_excluded(verdict: str | None, status: str, task: str) -> str:
    if verdict == Judgement.Verdict.VOIDED:
        return "voided"
    if verdict == Judgement.Verdict.WITHDRAWN or status != Assignment.Status.SUBMITTED:
        return "withdrawn"
    return "retired" if task == ComparisonTask.Status.RETIRED else "superseded"
