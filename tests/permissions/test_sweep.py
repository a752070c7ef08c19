"""The permission matrix, swept: every route, every method, every role, every object (T012, T013, T014, R1, R5).

The routes come from the URLconf, what is expected from ``tests.permissions.expected``, the objects from
``tests.permissions.world``. Each request is made in a transaction of its own that is rolled back, so that all of them meet the
same world. A cell is one request; the tests say how many there were.
"""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client

from accounts.models import ApiToken, Membership, User
from accounts.tokens import SCOPE_ROLES, create_token
from tests.accounts.builders import HTMX
from tests.accounts.test_routes import ROUTES
from tests.annotation.builders import make_user
from tests.permissions.expected import API, EVERY, PROJECT, SITE
from tests.permissions.world import POSTS, ROLES, UNKNOWN, WORDS, World

pytestmark = pytest.mark.django_db

PREFIX = "p/<slug:project>/"
PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")
IN_PROJECT = {address.removeprefix(PREFIX): view for address, view in ROUTES.items() if address.startswith(PREFIX)}
OUTSIDE = {address for address in ROUTES if not address.startswith((PREFIX, "api/"))}
IN_API = {address for address in ROUTES if address.startswith("api/")}
# Everything that is neither a refusal nor a fault: 409 and 422 are answers to somebody who may.
REFUSALS = frozenset({401, 403, 404, 405})


@pytest.fixture(scope="module")
def worlds(django_db_setup: None, django_db_blocker: Any) -> Iterator[list[World]]:
    """Two projects, made once and rolled back at the end."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield [World(), World()]
        transaction.set_rollback(True)


@pytest.fixture
def world(worlds: list[World]) -> World:
    return worlds[0]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A thousand refusals in the log are no news."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def expected_of(address: str) -> dict[str, str]:
    """Method -> letters of the roles that may."""
    rows = (row.split() for row in PROJECT[address].split(", "))
    return {method: EVERY if letters == "*" else letters for method, letters in rows}


def parameters(address: str) -> list[str]:
    """The parameters of an address, each as the address up to it."""
    return [address[: match.end()] for match in PARAMETER.finditer(address)]


def filled(address: str, world: World, *, foreign: dict[str, str] | None = None) -> str:
    """The address with objects of ``world`` in it; ``foreign`` says what stands in place of some of them."""
    values = {**WORDS, **world.values, **world.instead.get(address, {}), **(foreign or {})}

    def value(match: re.Match[str]) -> str:
        return values[address[: match.end()]]

    return f"/p/{world.project.slug}/" + PARAMETER.sub(value, address)


def objects_of(address: str) -> list[str]:
    return [name for name in parameters(address) if name not in WORDS]


@contextmanager
def undone() -> Iterator[None]:
    """Whatever a request does to the world is taken back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def ask(client: Client, method: str, url: str, address: str = "", **headers: str) -> HttpResponse:
    data = POSTS.get(address, {}) if method == "POST" else {}
    with undone():
        return getattr(client, method.lower())(url, data, headers=headers)


def as_user(user: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


def opens(response: HttpResponse) -> bool:
    """Whether this person may: the answer is no refusal, no fault and no way to the sign-in."""
    to_sign_in = response.status_code == 302 and response.headers["Location"].startswith("/sign-in/")
    return response.status_code not in REFUSALS and response.status_code < 500 and not to_sign_in


# ---- the tables are whole ----------------------------------------------------------------------------------------------


def test_every_route_has_its_line_and_every_line_its_route() -> None:
    for routes, table in ((set(IN_PROJECT), PROJECT), (OUTSIDE, SITE), (IN_API, API)):
        assert routes - set(table) == set(), "new routes: say in tests/permissions/expected.py who may do what"
        assert set(table) - routes == set(), "these routes are gone: take their lines out"


def test_every_parameter_has_an_object(world: World) -> None:
    named = {name for address in IN_PROJECT for name in parameters(address)}
    assert named - set(world.values) - set(WORDS) == set(), "give tests/permissions/world.py an object for these"


# ---- who may ---------------------------------------------------------------------------------------------------------


def test_t012_every_route_method_and_role(world: World) -> None:
    clients = {letter: as_user(user) for letter, user in world.members.items()}
    wrong, n_cells = [], 0
    for address in PROJECT:
        expected = expected_of(address)
        for letter, client in clients.items():
            own = {"tokens/<str:key>": world.tokens[letter], **world.links[letter]}
            url = filled(address, world, foreign=own)
            for method in ("GET", "POST"):
                n_cells += 1
                response = ask(client, method, url, address)
                if method not in expected:
                    is_as_expected = response.status_code in REFUSALS
                else:
                    is_as_expected = opens(response) is (letter in expected[method])
                if not is_as_expected:
                    wrong.append(f"{method} {url} as {letter}: {response.status_code}, expected {PROJECT[address]}")
    assert not wrong, "\n".join(wrong)
    assert n_cells == len(PROJECT) * 8


def test_who_may_open_a_page_is_told_of_a_wrong_method(world: World) -> None:
    client = as_user(world.all_roles)
    wrong = []
    for address in PROJECT:
        for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - set(expected_of(address)):
            response = ask(client, method, filled(address, world))
            if response.status_code != 405:
                wrong.append(f"{method} {address}: {response.status_code}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_t012_fragments_and_site_admins_and_two_roles(world: World) -> None:
    """The larger run: pairs of roles, htmx requests, and a site admin, who counts as an admin everywhere."""
    pairs = [(one, other) for one in ROLES for other in ROLES if one < other]
    people = {"".join(pair): make_user("Two", world.project, ROLES[pair[0]], ROLES[pair[1]]) for pair in pairs}
    people["M "] = User.objects.create_superuser("boss")
    wrong = []
    for letters, user in people.items():
        client = as_user(user)
        for address in PROJECT:
            expected = expected_of(address)
            for method in expected:
                is_ones_own = address == "tokens/<str:key>/revoke/" or "<str:signed>" in address
                if is_ones_own or ("annotate" in address and objects_of(address)):
                    continue  # one's own things only: the sweep above has them
                response = ask(client, method, filled(address, world), address, **HTMX)
                if opens(response) is not bool(set(letters) & set(expected[method])):
                    wrong.append(f"{method} {address} as {letters}: {response.status_code}")
    assert not wrong, "\n".join(wrong)


# ---- nobody else -------------------------------------------------------------------------------------------------------


def test_nobody_signed_out_opens_a_project_page(world: World) -> None:
    client = Client(raise_request_exception=False)
    for address in PROJECT:
        for method in ("GET", "POST"):
            response = ask(client, method, filled(address, world))
            refused = response.status_code == 405 or (
                response.status_code == 302 and response.headers["Location"].startswith("/sign-in/")
            )
            assert refused, f"{method} {address}: {response.status_code}"


def test_t013_a_strangers_project_looks_like_none(world: World) -> None:
    client = as_user(make_user("Olga"))
    wrong = []
    for address in PROJECT:
        for method in ("GET", "POST"):
            url = filled(address, world)
            there = ask(client, method, url)
            nowhere = ask(client, method, url.replace(f"/{world.project.slug}/", "/nosuch/", 1))
            if there.status_code not in (404, 405) or _body(there) != _body(nowhere):
                wrong.append(f"{method} {address}: {there.status_code}, {nowhere.status_code}")
    assert not wrong, "\n".join(wrong)


def test_t013_t014_objects_of_another_project_look_like_none(worlds: list[World]) -> None:
    """Every parameter in turn: an object of the other project under one's own address is a 404, as an unknown one is."""
    mine, other = worlds
    client = as_user(mine.all_roles)
    keeps = {"tokens/<str:key>": mine.tokens["*"]}
    wrong, n_cells = [], 0
    for address in PROJECT:
        for name in objects_of(address):
            kind = PARAMETER.findall(name)[-1][0]
            strange = {"foreign": other.values[name], "unknown": UNKNOWN.get(kind, "aaaaaaaaaaaa")}
            if name == "campaigns/<slug:key>/guidelines/<int:number>":
                strange.pop("foreign")  # every campaign has a first version: the campaign is what counts
            for method in expected_of(address):
                answers = {}
                for what, value in strange.items():
                    n_cells += 1
                    answers[what] = ask(client, method, filled(address, mine, foreign={**keeps, name: value}), address)
                    if answers[what].status_code != 404:
                        wrong.append(f"{method} {address}, {what} {name}: {answers[what].status_code}")
                if len({_body(answer) for answer in answers.values()}) > 1:
                    wrong.append(f"{method} {address}: a foreign {name} differs from an unknown one")
    assert not wrong, "\n".join(wrong)
    assert n_cells > 200


def _body(response: HttpResponse) -> bytes:
    """What the page says, without the frame (which holds the address for the sign-in, and a token against forgery)."""
    content: bytes = response.content
    return content.split(b"<main")[-1].split(b"</main>")[0] if response.status_code == 404 else b""


def test_an_expired_or_closed_member_is_a_stranger(world: World) -> None:
    user = world.all_roles
    for spoil in ("expired", "closed"):
        client = as_user(user)
        with undone():
            if spoil == "expired":
                Membership.objects.filter(user=user).update(expires_at="2026-01-01T00:00Z")
            else:
                User.objects.filter(pk=user.pk).update(is_active=False)
            for address in PROJECT:
                for method in expected_of(address):
                    assert not opens(ask(client, method, filled(address, world))), f"{spoil}: {method} {address}"


# ---- outside projects ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", sorted(SITE))
def test_pages_outside_projects(world: World, address: str) -> None:
    endpoint = world.project.deployments.get(alias="b").endpoint
    values = {"slug": endpoint.key, "str": world.members["A"].key}
    url = "/" + PARAMETER.sub(lambda match: values[match[1]], address)
    nobody = Client(raise_request_exception=False)
    member = as_user(world.members["A"])
    boss = as_user(User.objects.create_superuser("boss"))
    rule = SITE[address]
    for method in ("GET", "POST"):
        signed_out, signed_in = ask(nobody, method, url), ask(member, method, url)
        if rule == "open":
            assert signed_out.status_code in (200, 302, 303, 404, 405, 409, 410, 422)
            continue
        assert not opens(signed_out), f"{method} {address}: {signed_out.status_code}"
        if rule == "site admin":
            assert signed_in.status_code in (404, 405), f"{method} {address}: {signed_in.status_code}"
        elif rule == "site admin, 403":
            unknown = ask(member, method, url.replace(endpoint.key, "aaaaaaaaaaaa"))
            assert signed_in.status_code == unknown.status_code and signed_in.status_code in (403, 405)
        elif rule == "opens projects":
            assert signed_in.status_code in (403, 404, 405)
        else:
            assert signed_in.status_code not in (403, 404)
    if rule != "open":
        assert any(opens(ask(boss, method, url)) for method in ("GET", "POST"))


# ---- the API -----------------------------------------------------------------------------------------------------------


VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def scopes_of(address: str) -> dict[str, set[str]]:
    """Method -> the scopes of which a token carries one."""
    rows = (row.split() for row in API[address].split(", "))
    return {method: set(SCOPE_ROLES) if scopes == "*" else set(scopes.split("/")) for method, scopes in rows}


@pytest.mark.parametrize("address", sorted(API))
def test_t021_an_api_route_takes_its_scope_and_no_other(world: World, address: str) -> None:
    member = Membership.objects.get(user=world.all_roles)
    url = "/" + PARAMETER.sub(lambda match: UNKNOWN.get(match[1], "nosuch"), address)
    url = url.replace("/projects/nosuch", f"/projects/{world.project.slug}", 1)
    client = Client(raise_request_exception=False)
    methods = [method for method in VERBS if hasattr(ROUTES[address].cls, method.lower())]  # type: ignore[attr-defined]
    expected = scopes_of(address)
    assert set(methods) == set(expected)
    for method in methods:
        # Each scope that opens it, alone; and all the others together, which must not.
        tokens = [[scope] for scope in sorted(expected[method])] + [sorted(set(SCOPE_ROLES) - expected[method])]
        for scopes in filter(None, tokens):
            _, secret = create_token(membership=member, name="t", scopes=scopes)
            response = ask(client, method, url, Authorization=f"Bearer {secret}")
            takes = response.status_code not in (401, 403)
            assert takes is (set(scopes) <= expected[method]), (
                f"{method} {address} with {scopes}: {response.status_code}"
            )
            assert response.status_code < 500
        in_address = ask(client, method, f"{url}?token={secret}&access_token={secret}")
        assert in_address.status_code in (401, 403)
    ApiToken.objects.update(revoked_at="2026-01-01T00:00Z")
    for method in methods:
        assert ask(client, method, url, Authorization=f"Bearer {secret}").status_code in (401, 403)


def test_t013_a_token_of_another_project_finds_nothing(worlds: list[World]) -> None:
    mine, other = worlds
    _, secret = create_token(membership=Membership.objects.get(user=mine.all_roles), name="t", scopes=list(SCOPE_ROLES))
    client, n_cells = Client(raise_request_exception=False), 0
    for address in (address for address in API if "<slug:project>" in address):
        for method in scopes_of(address):
            answers = []
            for slug in (other.project.slug, "nosuch"):
                url = "/" + PARAMETER.sub(lambda match: UNKNOWN.get(match[1], "nosuch"), address)
                url = url.replace("/projects/nosuch", f"/projects/{slug}", 1)
                response = ask(client, method, url, Authorization=f"Bearer {secret}")
                answers.append((response.status_code, json.loads(response.content)["error"]))
                n_cells += 1
            assert answers[0] == answers[1] and answers[0][0] == 404, f"{method} {address}: {answers}"
    assert n_cells > 150
