"""What the pages of the desk share: who may open them, its parts with what waits in each, how people are named."""

from dataclasses import dataclass

from django.http import HttpRequest

from accounts.access import allows, membership_in
from accounts.models import Project, Role
from annotation import flag_handling, questions
from annotation.models import Annotator
from annotation.people import shown_name

LEADS = (Role.REVIEWER, Role.RESEARCHER)
ROWS_A_PAGE = 50


@dataclass(frozen=True)
class Desk:
    """What stands above every page of the desk."""

    project: Project
    tab: str
    n_questions: int
    n_flags: int
    may_pay: bool


def desk_of(request: HttpRequest, project: Project, tab: str) -> Desk:
    return Desk(
        project=project,
        tab=tab,
        n_questions=questions.inbox(project).count(),
        n_flags=flag_handling.flags_of(project).count(),
        may_pay=allows(membership_in(request), Role.RESEARCHER),
    )


def n_waiting(project: Project) -> int:
    """Open questions and flags: what the navigation shows beside the desk."""
    return questions.inbox(project).count() + flag_handling.flags_of(project).count()


def name_for(request: HttpRequest, annotator: Annotator) -> str:
    """How this reader is told of a person."""
    return shown_name(annotator, membership_in(request))


def one_of(given: str | None, allowed: list[str], default: str) -> str:
    return given if given in allowed else default
