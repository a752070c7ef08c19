"""Every resource over a project with one of everything: it is told, it is nobody else's, and no annotator's answer names a model."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from accounts.models import Project
from annotation.models import ComparisonTask
from generation.models import ModelVersion
from tests.api.client import CAMPAIGNS, OBJECTS, Api
from tests.permissions.expected import API, IN_PROJECT
from tests.permissions.test_sweep import PARAMETER, UNKNOWN, scopes_of, undone
from tests.permissions.world import World

pytestmark = pytest.mark.django_db

BELOW = {address.removeprefix(f"{IN_PROJECT}/"): address for address in API if address.startswith(f"{IN_PROJECT}/")}
# What cannot be told of this world's object, and why.
NOT_NOW = {
    "campaigns/<slug:key>/standings": 409,  # hidden until a reveal
    "datasets/<slug:key>/compare": 422,  # there is no other dataset to compare it with
}


@pytest.fixture(scope="module")
def worlds(django_db_setup: None, django_db_blocker: Any) -> Iterator[list[World]]:
    with django_db_blocker.unblock(), transaction.atomic():
        yield [World(), World()]
        transaction.set_rollback(True)


def value_of(world: World, name: str, address: str = "") -> str:
    """An object for the parameter that ``name`` ends in, of an ``address`` that may need one in another state."""
    if name.startswith("desk/campaigns/") and name.count("<") == 1:
        special = next((page for start, page in CAMPAIGNS.items() if address.startswith(start)), OBJECTS[name])
        return world.values[special]
    if name == "campaigns/<slug:key>/tasks/<slug:task>":
        return ComparisonTask.objects.filter(campaign=world.campaign)[0].key
    if name == "datasets/<slug:key>/files/<str:name>":
        return "train.jsonl"
    return world.values[OBJECTS[name]]


def filled(address: str, world: World, **instead: str) -> str:
    return PARAMETER.sub(
        lambda m: instead.get(address[: m.end()]) or value_of(world, address[: m.end()], address), address
    )


def names_in(address: str) -> list[str]:
    return [address[: match.end()] for match in PARAMETER.finditer(address)]


def test_every_resource_is_told(worlds: list[World]) -> None:
    world, n_told = worlds[0], 0
    api = Api(world.project, world.all_roles)
    own = Api(world.project, world.members["A"])
    wrong = []
    for address in (address for address in BELOW if "GET" in scopes_of(BELOW[address])):
        asking = own if address.startswith("desk/") else api
        query = f"?to={value_of(world, 'datasets/<slug:key>')}" if address.endswith("/compare") else ""
        response = asking.get(filled(address, world) + query)
        n_told += 1
        if response.status_code != NOT_NOW.get(address, 200):
            wrong.append(f"{address}: {response.status_code} {response.content[:300]!r}")
    assert not wrong, "\n".join(wrong)
    assert n_told > 40


def test_t013_t014_an_object_of_another_project_looks_like_an_unknown_one(worlds: list[World]) -> None:
    mine, other = worlds
    api = Api(mine.project, mine.all_roles)
    wrong, n_cells = [], 0
    for address in BELOW:
        for name in names_in(address):
            if name.endswith("<str:name>"):
                continue
            unknown = UNKNOWN.get(PARAMETER.findall(name)[-1][0], "aaaaaaaaaaaa")
            for method in scopes_of(BELOW[address]):
                told = []
                for value in (value_of(other, name), unknown):
                    n_cells += 1
                    with undone():
                        response = api.ask(
                            method, filled(address, mine, **{name: value}), None if method == "GET" else {}
                        )
                    told.append((response.status_code, response.json().get("error")))
                if told[0] != told[1] or told[0][0] not in (404, 422):
                    wrong.append(f"{method} {address}, {name}: {told}")
    assert not wrong, "\n".join(wrong)
    assert n_cells > 150


def test_t031_nothing_that_an_annotators_token_reads_names_a_model(worlds: list[World]) -> None:
    world = worlds[0]
    api = Api(world.project, world.members["A"])
    versions = ModelVersion.objects.filter(project=world.project)
    names = [name.encode() for pair in versions.values_list("slug", "key") for name in pair]
    n_opened = 0
    for address in BELOW:
        for method in scopes_of(BELOW[address]):
            with undone():
                response = api.ask(method, filled(address, world), None if method == "GET" else {})
            said = response.content if not response.streaming else b"".join(response.streaming_content)
            headers = "".join(f"{name}: {value}" for name, value in response.items()).encode()
            assert not [
                name for name in names if name in said + headers and name not in filled(address, world).encode()
            ]
            n_opened += response.status_code == 200
    assert n_opened >= 5


def test_models_stay_hidden_from_a_researcher_until_a_reveal(worlds: list[World]) -> None:
    world = worlds[0]
    api = Api(world.project, world.members["S"])
    with undone():
        address = f"generation-jobs/{world.values['generate/<slug:key>']}"
        slug = world.campaign.jobs.get().arms.get().model_version.slug
        hidden = [api.get(address), api.get(f"{address}/answers")]
        assert all(slug not in each.content.decode() for each in hidden)
        assert hidden[0].json()["arms"] is None
        assert api.post(f"{address}/reveal").json()["arms"][0]["model_name"] == slug
        assert slug in api.get(f"{address}/answers").content.decode()


@pytest.mark.parametrize(
    "query",
    [
        "user__password__startswith=p",
        "ordering=-annotator__email",
        "_connector=OR 1=1",
        "fields=model",
        "model__slug=x",
    ],
)
def test_t022_a_filter_that_there_is_not_is_refused(worlds: list[World], query: str) -> None:
    world = worlds[0]
    api = Api(world.project, world.all_roles)
    for address in (address for address in BELOW if "GET" in scopes_of(BELOW[address])):
        assert api.get(f"{filled(address, world)}?{query}").status_code == 422, address


def test_t015_fields_that_there_are_not_change_nothing(worlds: list[World]) -> None:
    world: World = worlds[0]
    project: Project = world.project
    api = Api(project, world.all_roles)
    before = project.memberships.values_list("user", "is_admin", "expires_at").order_by("user")
    member, campaign = world.values["members/<str:key>"], world.campaign.key
    for path, data in (
        (f"members/{member}", {"is_admin": True, "is_superuser": True, "project": "x"}),
        (f"campaigns/{campaign}", {"n_tasks": 9, "kind": "rank", "created_at": "2020-01-01T00:00Z", "stage": "closed"}),
    ):
        response = api.patch(path, data)
        assert response.status_code == 422
        assert set(response.json()["fields"]) == set(data)
    assert list(project.memberships.values_list("user", "is_admin", "expires_at").order_by("user")) == list(before)
