"""What the lead does about flags. A flag about an answer is upheld by leaving that answer out, one about a task by retiring it.

Leaving an answer out retires every task of the project that holds it, so that no dataset takes it from a judgement, and no
campaign built later draws it (``left_out_candidates``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q, QuerySet, Sum

from accounts.audit import record
from accounts.models import Project, User
from annotation.examples import Example, example_of
from annotation.models import Assignment, ComparisonTask, Flag, TaskCandidate
from annotation.protocol import LETTERS
from annotation.retire import retire_task
from annotation.turns import retried
from core.errors import require
from core.transitions import move, try_move

MAX_NOTE = 500


def flags_of(project: Project, *, status: str = Flag.Status.OPEN, kind: str = "") -> QuerySet[Flag]:
    """Flags of a project: open ones oldest first, others newest first."""
    found = Flag.objects.filter(task__campaign__project=project, status=status)
    if kind:
        found = found.filter(kind=kind)
    found = found.select_related("task__campaign", "task__prompt", "annotator__user")
    return found.order_by("id" if status == Flag.Status.OPEN else "-id")


@dataclass(frozen=True, slots=True)
class Flagged:
    """A flag with the task as the person saw it who raised it. ``letter`` is the answer it is about, "" for the whole task."""

    flag: Flag
    example: Example
    letter: str
    n_tasks: int  # that upholding it retires
    n_judgements: int  # of those tasks, which datasets leave out then
    n_same: int  # open flags of others about the same, which it decides too


def flagged(flag: Flag) -> Flagged:
    turn = Assignment.objects.select_related("task__prompt").filter(task=flag.task, annotator=flag.annotator).first()
    letter = ""
    if turn is not None and flag.candidate_id is not None:
        slot = TaskCandidate.objects.filter(task=flag.task, candidate=flag.candidate_id).values_list("slot", flat=True)
        letter = LETTERS[turn.display_order.index(slot[0])]
    tasks = _tasks_of(flag)
    return Flagged(
        flag=flag,
        example=example_of(turn) if turn is not None else Example(),
        letter=letter,
        n_tasks=tasks.count(),
        n_judgements=tasks.aggregate(n=Sum("n_submitted"))["n"] or 0,
        n_same=_same(flag).exclude(pk=flag.pk).count(),
    )


@retried
def uphold(*, flag: Flag, by: User, note: str = "") -> int:
    """The flag is right: leave the answer out, or retire the task. Open flags of others about the same are decided with it.

    Returns how many tasks were retired. Raises Conflict where somebody has decided on the flag already.
    """
    note = note.strip()[:MAX_NOTE]
    with transaction.atomic():
        move(flag, Flag.Status.UPHELD, only_from=Flag.Status.OPEN, by=by, note=note)
        for other in _same(flag):
            try_move(other, Flag.Status.UPHELD, only_from=Flag.Status.OPEN, by=by, note="decided with another flag")
        # In the order of their keys: two leads who uphold two flags at once wait for each other in one direction only.
        why = f"flagged: {flag.get_kind_display().lower()}"
        n_retired = sum(retire_task(task, by=by, note=why) for task in _tasks_of(flag).order_by("pk"))
        detail = {"kind": flag.kind, "task": flag.task.key, "n_retired": n_retired, "about": _about(flag)}
        record("flag.uphold", user=by, project=flag.task.campaign.project, subject=flag, detail=detail)
        return n_retired


@transaction.atomic
def dismiss(*, flag: Flag, by: User, note: str) -> None:
    """Nothing is wrong. The person who raised it reads the note."""
    note = note.strip()[:MAX_NOTE]
    require(note, "Say why: the person who raised the flag reads it.")
    move(flag, Flag.Status.DISMISSED, only_from=Flag.Status.OPEN, by=by, note=note)
    record("flag.dismiss", user=by, project=flag.task.campaign.project, subject=flag, detail={"kind": flag.kind})


@transaction.atomic
def reopen(*, flag: Flag, by: User) -> None:
    """Decide again about a flag that was dismissed. One that was upheld stays: its tasks are retired for good."""
    move(flag, Flag.Status.OPEN, only_from=Flag.Status.DISMISSED, by=by)
    record("flag.reopen", user=by, project=flag.task.campaign.project, subject=flag, detail={"kind": flag.kind})


def left_out_candidates(jobs: Sequence[int]) -> set[int]:
    """Ids of the jobs' answers that a lead has left out: no campaign is built with them."""
    flags = Flag.objects.filter(candidate__arm__job__in=jobs, status=Flag.Status.UPHELD)
    return set(flags.values_list("candidate_id", flat=True))


def _same(flag: Flag) -> QuerySet[Flag]:
    """Open flags about the same answer (in whichever task), or about the same task as a whole."""
    about = Q(candidate=flag.candidate_id) if flag.candidate_id is not None else Q(task=flag.task_id, candidate=None)
    project = flag.task.campaign.project_id
    return Flag.objects.filter(about, task__campaign__project=project, status=Flag.Status.OPEN).order_by("pk")


def _tasks_of(flag: Flag) -> QuerySet[ComparisonTask]:
    """The tasks that upholding the flag retires."""
    tasks = ComparisonTask.objects.exclude(status=ComparisonTask.Status.RETIRED)
    if flag.candidate_id is None:
        return tasks.filter(pk=flag.task_id)
    return tasks.filter(slots__candidate=flag.candidate_id, campaign__project=flag.task.campaign.project_id)


def _about(flag: Flag) -> str:
    return "answer" if flag.candidate_id is not None else "task"
