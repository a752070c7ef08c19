"""The whole schema, filled in at random: no request is answered with a fault, nor with what the schema does not know (SH1, T168)."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.client import Api
from tests.api.test_resources import value_of
from tests.permissions.expected import API, IN_PROJECT
from tests.permissions.test_sweep import PARAMETER, undone
from tests.permissions.world import World

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = {GenerationMode.POSITIVE: 5, GenerationMode.NEGATIVE: 3}  # of each of some 130 operations


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    with django_db_blocker.unblock(), transaction.atomic():
        yield World()
        transaction.set_rollback(True)


def objects_of(path: str, world: World) -> dict[str, str]:
    """The parameters of a path of the schema, as objects that there are: random keys find nothing, and try nothing."""
    address = next(each for each in ADDRESSES if PARAMETER.sub(lambda m: f"{{{m[2]}}}", each) == path.removeprefix("/"))
    below = address.removeprefix(f"{IN_PROJECT}/")
    found = {m[2]: value_of(world, below[: m.end()], below) for m in PARAMETER.finditer(below) if m[2] != "project"}
    return {"project": world.project.slug, **found}


ADDRESSES = list(API)


def told(problem: BaseException) -> str:
    parts = getattr(problem, "exceptions", ())
    return "; ".join(told(each) for each in parts) if parts else f"{type(problem).__name__}: {problem}"


def tried(cases: SearchStrategy[Any], n_examples: int, secret: str) -> int:
    """Send each case, check its answer, take back what it did. Returns how many there were."""
    sent = []

    @settings(
        max_examples=n_examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def send(case: Any) -> None:
        sent.append(case)
        with undone():
            response = case.call(headers={"Authorization": f"Bearer {secret}"})
        case.validate_response(response, checks=CHECKS)

    send()
    return len(sent)


@pytest.mark.parametrize("mode", list(EXAMPLES), ids=["valid", "invalid"])
def test_no_request_of_the_schema_is_answered_with_a_fault(world: World, unbound: None, mode: Any) -> None:
    api, own = Api(world.project, world.all_roles), Api(world.project, world.members["A"])
    headers = {"Authorization": f"Bearer {api.secret}"}
    schema = schemathesis.openapi.from_wsgi("/api/v1/schema/?format=json", get_wsgi_application(), headers=headers)
    n_requests, wrong = 0, []
    for found in schema.get_all_operations():
        operation = found.ok()
        secret = own.secret if "/desk/" in operation.path else api.secret
        cases = operation.as_strategy(mode, path_parameters=objects_of(operation.path, world))
        try:
            n_cases = tried(cases, EXAMPLES[mode], secret)
            n_requests += n_cases
            if operation.body and n_cases < 2:
                wrong.append(f"{operation.label}: has a body, and was tried with {n_cases}")
        except (Exception, BaseExceptionGroup) as problem:  # every operation is tried, and all that fail are told
            wrong.append(f"{operation.label}: {told(problem)}"[:2000])
    assert not wrong, f"{len(wrong)} operations:\n" + "\n\n".join(wrong)
    assert n_requests > 300


@pytest.fixture
def unbound(settings: Any) -> Iterator[None]:
    """Any number of requests, each within this test's own transaction."""
    settings.WHETSTONE = settings.WHETSTONE.model_copy(update={"api_requests_per_minute": 0})
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)
