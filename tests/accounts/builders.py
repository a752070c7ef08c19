"""The cast: Ana and Ben annotate, Ravi researches and administers, Olga has no access."""

from accounts.models import Membership, Project, Role, User

PASSWORD = "a sentence of one's own 7"
HTMX = {"HX-Request": "true"}


def make_user(name: str, **columns: object) -> User:
    return User.objects.create_user(username=name.lower(), password=PASSWORD, name=name, **columns)


def make_project(name: str = "House answers", slug: str = "house") -> Project:
    return Project.objects.create(name=name, slug=slug)


def join(project: Project, name: str, *roles: Role) -> Membership:
    """A member of ``project`` with ``roles``; the user is made if there is none of that name."""
    user = User.objects.filter(username=name.lower()).first() or make_user(name)
    return Membership.objects.create(project=project, user=user, **Membership.flags(list(roles)))
