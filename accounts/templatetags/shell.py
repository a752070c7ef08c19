"""What the frame around every page needs: the projects to switch between, the navigation, the colours."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django import template
from django.http import HttpRequest
from django.templatetags.static import static

from accounts.access import allows, may_create_projects, projects_for
from accounts.models import Membership, Project, Role, User

register = template.Library()

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "whetstone_theme"
MAX_PROJECTS = 12

ANNOTATOR, REVIEWER, RESEARCHER, ADMIN = Role.ANNOTATOR, Role.REVIEWER, Role.RESEARCHER, Role.ADMIN
# Group, then (name, path below the project, icon, roles that may open it). The order is the way of the data.
NAVIGATION: tuple[tuple[str, tuple[tuple[str, str, str, tuple[Role, ...]], ...]], ...] = (
    ("", (("Round board", "", "round", (RESEARCHER,)), ("Rounds", "rounds/", "run", (RESEARCHER,)))),
    (
        "Answers",
        (("Prompts", "prompts/", "prompt", (RESEARCHER,)), ("Generate", "generate/", "generate", (RESEARCHER,))),
    ),
    (
        "Judgements",
        (
            ("Your work", "annotate/", "judge", (ANNOTATOR,)),
            ("Campaigns", "campaigns/", "campaign", (RESEARCHER, REVIEWER)),
            ("Desk", "desk/", "help", (RESEARCHER, REVIEWER)),
        ),
    ),
    (
        "Training",
        (
            ("Datasets", "datasets/", "dataset", (RESEARCHER,)),
            ("Runs", "runs/", "run", (RESEARCHER,)),
            ("Evaluations", "evaluations/", "evaluation", (RESEARCHER,)),
        ),
    ),
    (
        "Serving",
        (("Models", "models/", "model", (RESEARCHER,)), ("Deployments", "deployments/", "deploy", (RESEARCHER,))),
    ),
    (
        "Project",
        (
            ("Members", "members/", "users", (ADMIN,)),
            ("API tokens", "tokens/", "key", ()),
            ("Audit", "audit/", "shield", (ADMIN,)),
            ("Settings", "settings/", "settings", (ADMIN,)),
        ),
    ),
)

Waiting = Callable[[Project], int]
WAITING: dict[str, Waiting] = {}


def count_waiting(below: str, counter: Waiting) -> None:
    """Show beside the page at ``below`` how much waits there. For apps above this one, from ``AppConfig.ready``."""
    WAITING[below] = counter


@dataclass(frozen=True)
class NavLink:
    name: str
    url: str
    icon: str
    is_current: bool
    n_waiting: int = 0


@dataclass(frozen=True)
class NavGroup:
    name: str
    links: tuple[NavLink, ...]


@dataclass(frozen=True)
class Shell:
    """The frame of a page; ``groups`` is empty outside projects."""

    theme: str
    icons: str
    user: User | None = None
    project: Project | None = None
    projects: list[Project] = field(default_factory=list)
    groups: tuple[NavGroup, ...] = ()
    current_name: str = ""
    may_create: bool = False
    sees_endpoints: bool = False


def theme_of(request: HttpRequest) -> str:
    """The colours that this browser asked for, else those of the account, else the system's."""
    chosen = request.COOKIES.get(THEME_COOKIE) or getattr(request.user, "theme", "auto")
    return chosen if chosen in THEMES else "auto"


def navigation(project: Project, membership: Membership, path: str) -> tuple[NavGroup, ...]:
    """The pages of a project that this member may open, the current one marked."""
    root = f"/p/{project.slug}/"
    groups = []
    for name, links in NAVIGATION:
        allowed = tuple(
            NavLink(
                label,
                root + below,
                symbol,
                is_current=path == root if not below else path.startswith(root + below),
                n_waiting=WAITING[below](project) if below in WAITING else 0,
            )
            for label, below, symbol, roles in links
            if allows(membership, *roles)
        )
        if allowed:
            groups.append(NavGroup(name, allowed))
    return tuple(groups)


@register.simple_tag(takes_context=True)
def shell(context: dict[str, Any]) -> Shell:
    """The frame of the page that is being rendered."""
    request: HttpRequest | None = context.get("request")
    icons = static("img/icons.svg")
    if request is None or not hasattr(request, "user"):
        return Shell(theme="auto", icons=icons)
    theme = theme_of(request)
    if not isinstance(user := request.user._wrapped if hasattr(request.user, "_wrapped") else request.user, User):
        return Shell(theme=theme, icons=icons)
    project: Project | None = getattr(request, "project", None)
    membership: Membership | None = getattr(request, "membership", None)
    groups = navigation(project, membership, request.path) if project and membership else ()
    current = next((link.name for group in groups for link in group.links if link.is_current), "")
    may_create = may_create_projects(user)
    return Shell(
        theme=theme,
        icons=icons,
        user=user,
        project=project,
        projects=list(projects_for(user)[:MAX_PROJECTS]),
        groups=groups,
        current_name=current,
        may_create=may_create,
        sees_endpoints=may_create,
    )
