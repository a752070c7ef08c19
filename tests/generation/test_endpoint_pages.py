"""Endpoints: who may add one, which addresses are taken, and what the Test button says."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from accounts.models import Role
from core.errors import DomainError
from generation.endpoints import check_base_url, engine_for, path_on_server, probe_adapter, test_endpoint
from generation.models import Endpoint
from tests.generation.serving_world import make_endpoint, make_member, make_project
from tests.generation.stub_vllm import StubVllm

pytestmark = pytest.mark.django_db


@pytest.fixture
def stub() -> Iterator[StubVllm]:
    with StubVllm() as server:
        yield server


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def people() -> dict[str, Any]:
    project = make_project()
    return {
        "admin": make_member(project, "sam", is_superuser=True),
        "ravi": make_member(project, "ravi", Role.RESEARCHER, Role.ADMIN),
        "ana": make_member(project, "ana", Role.ANNOTATOR),
    }


FORM = {
    "name": "GPU box",
    "engine": "vllm",
    "base_url": "http://127.0.0.1:8000/v1/",
    "base_model": "/models/base",
    "base_served_name": "base",
    "reach": "shared",
    "max_loras": 4,
    "max_lora_rank": 16,
    "max_concurrency": 64,
    "timeout_seconds": 60,
    "is_enabled": "on",
}

ELSEWHERE = [
    "http://10.0.0.1",
    "http://169.254.169.254/latest/meta-data",
    "http://127.0.0.1.evil.example",
    "http://127.1",
    "http://0",
    "http://0x7f000001",
    "http://2130706433",
    "http://0177.0.0.1",
    "http://[::ffff:127.0.0.1]",
    "http://user@127.0.0.1",
    "http://127.0.0.1@evil.example",
    "http://evil.example#@127.0.0.1",
    "http://evil.example\\@127.0.0.1",
    "http://127.0.0.1?x=http://evil.example",
    "http://127.0.0.1.",
    "http://ⓛocalhost",
    "http://127.0.0.1:99999",
    "http://127.0.0.1 evil.example",
    "http://127.0.0.1\r\nHost: evil.example",
    "file:///etc/passwd",
    "gopher://127.0.0.1",
    "//127.0.0.1",
    "",
]


@pytest.mark.parametrize("address", ELSEWHERE)
def test_an_address_off_the_list_is_refused(address: str) -> None:
    with pytest.raises(DomainError):
        check_base_url(address)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        (" HTTP://LocalHost:8000/v1/ ", "http://localhost:8000"),
        ("https://[::1]:8443/engine", "https://[::1]:8443/engine"),
    ],
)
def test_an_address_on_the_list_is_kept_in_its_plain_form(given: str, plain: str) -> None:
    assert check_base_url(given) == plain


def test_an_address_that_was_written_past_the_form_is_not_called_either(stub: StubVllm) -> None:
    endpoint = make_endpoint("http://10.1.2.3:8000")
    with pytest.raises(DomainError, match="not on the list"):
        engine_for(endpoint)


def test_only_site_admins_add_endpoints(people: dict[str, Any]) -> None:
    for name, status in (("ana", 403), ("ravi", 403), ("admin", 303)):
        response = signed_in(people[name]).post("/endpoints/new/", FORM)
        assert response.status_code == status
    endpoint = Endpoint.objects.get()
    assert endpoint.base_url == "http://127.0.0.1:8000"


def test_only_site_admins_change_and_test_them(people: dict[str, Any], stub: StubVllm) -> None:
    endpoint = make_endpoint(stub.url)
    for name in ("ana", "ravi"):
        client = signed_in(people[name])
        assert client.post(f"/endpoints/{endpoint.key}/edit/", FORM).status_code == 403
        assert client.get(f"/endpoints/{endpoint.key}/edit/").status_code == 403
        assert client.post(f"/endpoints/{endpoint.key}/test/").status_code == 403
    assert not stub.requests


def test_an_address_off_the_list_comes_back_with_a_sentence(people: dict[str, Any]) -> None:
    response = signed_in(people["admin"]).post("/endpoints/new/", FORM | {"base_url": "http://10.0.0.1"})
    assert response.status_code == 422
    assert "WHETSTONE_ENDPOINT_HOSTS" in response.content.decode()
    assert not Endpoint.objects.exists()


def test_the_pages_in_full_as_fragment_and_without_access(people: dict[str, Any], stub: StubVllm) -> None:
    endpoint = make_endpoint(stub.url)
    for address in ("/endpoints/", f"/endpoints/{endpoint.key}/"):
        ravi = signed_in(people["ravi"])
        page = ravi.get(address).content.decode()
        assert "<html" in page and "Stub" in page and "Test it now" not in page
        assert "<html" not in ravi.get(address, headers={"HX-Request": "true"}).content.decode()
        assert signed_in(people["ana"]).get(address).status_code == 403
        assert Client().get(address).status_code == 302
        assert ravi.post(address).status_code == 405
    assert "Test it now" in signed_in(people["admin"]).get(f"/endpoints/{endpoint.key}/").content.decode()


def outcomes(endpoint: Endpoint) -> dict[str, str]:
    return {check.what: check.outcome for check in test_endpoint(endpoint).checks}


def test_the_test_says_what_works(stub: StubVllm, people: dict[str, Any]) -> None:
    endpoint = make_endpoint(stub.url)
    assert outcomes(endpoint) == {
        "Reachable": "works",
        "Models": "works",
        "Context": "works",
        "Answer": "works",
        "Adapters": "works",
        "Files": "unknown",  # the stub's base is nowhere
    }
    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.max_model_length, endpoint.version) == ("ready", 512, "0.0-stub")
    page = signed_in(people["admin"]).post(f"/endpoints/{endpoint.key}/test/").content.decode()
    assert "Prompt and answer together may have 512 tokens." in page


def test_the_test_says_what_to_type_when_adapters_cannot_be_loaded(stub: StubVllm) -> None:
    stub.lora = False
    (check,) = (check for check in test_endpoint(make_endpoint(stub.url)).checks if check.what == "Adapters")
    assert check.outcome == "fails"
    assert "--enable-lora --max-loras 4 --max-lora-rank 16" in check.how


def test_a_server_that_is_healthy_and_writes_nothing_is_found_out(stub: StubVllm) -> None:
    stub.fault = "500"
    endpoint = make_endpoint(stub.url)
    assert outcomes(endpoint)["Answer"] == "fails"
    endpoint.refresh_from_db()
    assert endpoint.state == "down"


def test_a_base_under_another_name_is_named(stub: StubVllm) -> None:
    report = test_endpoint(make_endpoint(stub.url, base_served_name="llama"))
    assert report.checks[-1].sentence == "It serves base, but not llama."


def test_what_a_server_wrote_is_shown_to_site_admins_only(stub: StubVllm, people: dict[str, Any]) -> None:
    stub.fault = "500"
    endpoint = make_endpoint(stub.url)
    assert (
        "secret-internal-text" in signed_in(people["admin"]).post(f"/endpoints/{endpoint.key}/test/").content.decode()
    )
    assert "secret-internal-text" not in signed_in(people["ravi"]).get(f"/endpoints/{endpoint.key}/").content.decode()


def test_files_that_the_server_does_not_see_are_reported_with_what_to_do(stub: StubVllm, tmp_path: Any) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 64, "num_attention_heads": 2}')
    endpoint = make_endpoint(stub.url, base_model=str(tmp_path), path_from="/", path_to="/elsewhere")
    assert outcomes(endpoint)["Files"] == "fails"
    Endpoint.objects.update(path_from="", path_to="")
    endpoint.refresh_from_db()
    assert outcomes(endpoint) | {"Files": "works", "Rank and slots": "works"} == outcomes(endpoint)
    assert not stub.adapters, "the probe is unloaded again"


def test_the_probe_is_a_readable_safetensors_file(stub: StubVllm, tmp_path: Any) -> None:
    from generation.artifacts import read_header

    (tmp_path / "config.json").write_text('{"hidden_size": 64, "num_attention_heads": 2}')
    directory = probe_adapter(make_endpoint(stub.url, base_model=str(tmp_path)), 8)
    assert directory is not None
    tensors = read_header(directory / "adapter_model.safetensors")
    assert len(list(tensors)) == 2


def test_paths_are_mapped_and_nothing_outside_is(stub: StubVllm) -> None:
    from pathlib import Path

    endpoint = make_endpoint(stub.url, path_from="/srv/app/artifacts", path_to="/mnt/a")
    assert path_on_server(endpoint, Path("/srv/app/artifacts/models/x")) == "/mnt/a/models/x"
    with pytest.raises(DomainError, match="lies outside"):
        path_on_server(endpoint, Path("/etc/passwd"))
