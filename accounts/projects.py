"""Opening a project and naming it."""

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from accounts.access import may_create_projects
from accounts.audit import record
from accounts.models import Membership, Project, Role, User
from core.errors import DomainError, require
from core.ids import new_key

FIRST_ROLES = (Role.ADMIN, Role.RESEARCHER, Role.REVIEWER, Role.ANNOTATOR)


@transaction.atomic
def create_project(*, name: str, description: str = "", by: User) -> Project:
    """A new project with ``by`` in every role; its address comes from the name."""
    require(may_create_projects(by), "Only researchers and admins open projects.", how="Ask an admin to open one.")
    project = _insert(name=name.strip(), description=description)
    Membership.objects.create(project=project, user=by, **Membership.flags(list(FIRST_ROLES)))
    record("project.create", user=by, project=project, subject=project)
    return project


def _insert(*, name: str, description: str) -> Project:
    stem = slugify(name)[:40].strip("-") or "project"
    for slug in (stem, f"{stem}-{new_key()[:4]}", f"{stem}-{new_key()[:8]}"):
        try:
            with transaction.atomic():
                return Project.objects.create(slug=slug, name=name, description=description)
        except IntegrityError:
            continue
    raise DomainError("No free address was found for this name.", how="Choose another name.")


@transaction.atomic
def describe_project(*, project: Project, name: str, description: str, guidelines: str, by: User) -> None:
    """Change what a project is called and says of itself; its address stays."""
    project.name, project.description, project.guidelines = name.strip(), description, guidelines
    project.save(update_fields=["name", "description", "guidelines"])
    record("project.describe", user=by, project=project, subject=project)
