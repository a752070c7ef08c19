"""Every address of the site, walked: no project page without its guard, nothing open but what must be (T003, T012, T013)."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import Membership, Project
from tests.accounts.builders import make_project

pytestmark = pytest.mark.django_db

# What someone signed out may open: signing in, one-time links, the switch of colours. Project pages never.
OPEN = {"sign-in/", "sign-in/link/<str:token>/", "sign-out/", "join/<str:token>/", "theme/", "health/"}
EXAMPLES = {
    "slug": "nosuch",
    "str": "aaaaaaaaaaaa",
    "int": "1",
    "path": "x",
    "uuid": "00000000-0000-0000-0000-000000000000",
}


def routes(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    for entry in (resolver or get_resolver()).url_patterns:
        address = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry, address)
        elif isinstance(entry, URLPattern):
            yield address, entry.callback


ROUTES = {address: view for address, view in routes() if not address.startswith(("admin/", "static/"))}
PAGES = {
    address: view for address, view in ROUTES.items() if not address.startswith("api/") and not hasattr(view, "cls")
}
PROJECT_PAGES = {address: view for address, view in PAGES.items() if address.startswith("p/<slug:project>/")}


def filled(address: str, project: str = "house") -> str:
    address = address.replace("<slug:project>", project)
    return "/" + re.sub(r"<(?:(\w+):)?\w+>", lambda match: EXAMPLES[match[1] or "str"], address)


def test_the_walk_finds_the_pages() -> None:
    assert "p/<slug:project>/members/" in PROJECT_PAGES
    assert "sign-in/" in PAGES


@pytest.mark.parametrize("address", PROJECT_PAGES)
def test_every_project_page_goes_through_the_guard(address: str) -> None:
    assert hasattr(PROJECT_PAGES[address], "project_roles"), "write the view with @project_view(...)"


@pytest.mark.parametrize("address", [address for address in PAGES if address not in OPEN])
def test_nothing_else_opens_for_someone_signed_out(client: Client, project: Project, address: str) -> None:
    for method in (client.get, client.post):
        response = method(filled(address))
        assert response.status_code in (302, 404, 405)
        if response.status_code == 302:
            assert response.headers["Location"].startswith("/sign-in/")


@pytest.mark.parametrize("address", PROJECT_PAGES)
def test_no_project_page_opens_for_a_stranger(as_olga: Client, project: Project, address: str) -> None:
    for method in (as_olga.get, as_olga.post):
        assert method(filled(address)).status_code in (404, 405)


@pytest.mark.parametrize("address", PROJECT_PAGES)
def test_a_member_elsewhere_is_a_stranger_here(as_ravi: Client, ravi: Membership, address: str) -> None:
    make_project("Other", "other")
    for method in (as_ravi.get, as_ravi.post):
        assert method(filled(address, "other")).status_code in (404, 405)


def test_no_api_route_answers_without_a_token(client: Client, project: Project) -> None:
    for address in ROUTES:
        if address.startswith("api/"):
            for method in (client.get, client.post):
                assert method(filled(address)).status_code in (401, 403, 404, 405), address
