"""What all resources share: one shape of error, pages, entity tags, requests sent twice, a bound on how many."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client, override_settings
from drf_spectacular.generators import SchemaGenerator
from pydantic import SecretStr

from accounts.api.reference import document, groups_of
from accounts.models import IdempotentRequest, Membership, Project, Role, User
from accounts.tokens import create_token
from annotation.models import Campaign
from config.settings import caches
from generation.models import GenerationJob, PromptImport, PromptSet
from tests.annotation.builders import make_campaign, make_job, make_project, make_user
from tests.api.client import Api
from tests.services.servers import Redis

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def ravi(project: Project) -> User:
    return make_user("Ravi", project, Role.RESEARCHER)


@pytest.fixture
def api(project: Project, ravi: User) -> Api:
    return Api(project, ravi)


# ---- errors ------------------------------------------------------------------------------------------------------------


def is_an_error(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.content
    told: dict[str, Any] = response.json()
    assert set(told) == {"error", "how", "fields", "request_id"}
    assert told["error"] and isinstance(told["fields"], dict)
    return told


def test_every_refusal_has_one_shape(api: Api, project: Project, ravi: User) -> None:
    assert "token" in is_an_error(Client().get(f"{api.base}/campaigns"), 401)["how"].lower()
    reader = Api(project, ravi, "read")
    is_an_error(reader.post("campaigns", {}), 403)
    is_an_error(api.get("campaigns/aaaaaaaaaaaa"), 404)
    is_an_error(api.get("/api/v1/projects/nosuch/campaigns"), 404)
    is_an_error(api.patch("campaigns", {}), 405)
    raw = {"Authorization": f"Bearer {api.secret}"}
    is_an_error(api.client.post(f"{api.base}/campaigns", "<x/>", content_type="text/xml", headers=raw), 415)
    told = is_an_error(api.post("generation-jobs", {"arms": [{"sampling": {"top_k": "x"}}]}), 422)
    assert set(told["fields"]) == {"prompt_set", "arms.0.sampling.top_k"}


@pytest.mark.parametrize(
    "body",
    ["{", '{"a": "\\u0000"}', '{"a": "\\ud800"}', '{"a": NaN}', '{"a": 1e999}', '{"a": 99999999999999999999}',
     '{"a": 1, "a": 2}', "[" * 100_000, '{"a":' * 200 + "1" + "}" * 200, '"\xff"'],
)  # fmt: skip
def test_t070_json_that_no_database_keeps_is_refused_with_a_sentence(api: Api, body: str) -> None:
    headers = {"Authorization": f"Bearer {api.secret}"}
    sent = body.encode("latin-1")
    response = api.client.post(f"{api.base}/campaigns", sent, content_type="application/json", headers=headers)
    is_an_error(response, 400)


# ---- pages -------------------------------------------------------------------------------------------------------------


def test_pages_hold_each_row_once_while_rows_come_and_go(api: Api, project: Project) -> None:
    sets = [PromptSet.objects.create(project=project, name=f"set {n}") for n in range(7)]
    seen, address = [], f"{api.base}/prompt-sets?limit=3"
    while address:
        page = api.get(address.removeprefix("http://testserver")).json()
        seen += [row["key"] for row in page["results"]]
        address = page["next"]
        if len(seen) == 3:
            PromptSet.objects.create(project=project, name="new")
            sets[0].delete()
    assert seen == [each.key for each in reversed(sets[1:])]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=nosuch", "cursor=%00"])
def test_a_page_that_there_is_not_is_refused(api: Api, query: str) -> None:
    is_an_error(api.get(f"prompt-sets?{query}"), 422)


# ---- entity tags -------------------------------------------------------------------------------------------------------


def test_an_object_that_stands_is_not_sent_again(api: Api, project: Project) -> None:
    campaign = make_campaign(project)
    first = api.get(f"campaigns/{campaign.key}")
    tag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "no-store" and "Authorization" in first.headers["Vary"]
    again = api.get(f"campaigns/{campaign.key}", **{"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    Campaign.objects.update(lease_minutes=77)
    assert api.get(f"campaigns/{campaign.key}", **{"If-None-Match": tag}).status_code == 200


def test_a_change_to_what_has_changed_meanwhile_is_refused(api: Api, project: Project) -> None:
    campaign = make_campaign(project)
    tag = api.get(f"campaigns/{campaign.key}").headers["ETag"]
    changed = api.patch(f"campaigns/{campaign.key}", {"lease_minutes": 5}, **{"If-Match": tag})
    assert (changed.status_code, changed.json()["lease_minutes"]) == (200, 5)
    assert changed.headers["ETag"] == api.get(f"campaigns/{campaign.key}").headers["ETag"] != tag
    is_an_error(api.patch(f"campaigns/{campaign.key}", {"lease_minutes": 6}, **{"If-Match": tag}), 412)
    campaign.refresh_from_db()
    assert campaign.lease_minutes == 5


# ---- requests sent twice -----------------------------------------------------------------------------------------------


def new_campaign(job: GenerationJob, **more: Any) -> dict[str, Any]:
    return {"name": "Helpful", "jobs": [job.key], **more}


def test_a_request_sent_again_with_its_key_is_answered_as_the_first_time(api: Api, project: Project) -> None:
    body = new_campaign(make_job(project))
    key = {"Idempotency-Key": "abc"}
    first, second = (api.post("campaigns", body, **key) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert Campaign.objects.count() == 1
    told = is_an_error(api.post("campaigns", {**body, "name": "Other"}, **key), 422)
    assert "another request" in told["error"]
    assert api.post("campaigns", body).json()["key"] != first.json()["key"]


def test_a_refused_request_may_be_sent_again_with_its_key(api: Api, project: Project) -> None:
    key = {"Idempotency-Key": "abc"}
    job = make_job(project)
    is_an_error(api.post("campaigns", new_campaign(job, overlap=1, kind="rate"), **key), 422)
    assert not IdempotentRequest.objects.exists()
    assert api.post("campaigns", new_campaign(job), **key).status_code == 201


def test_a_key_is_of_one_person(api: Api, project: Project) -> None:
    body, key = new_campaign(make_job(project)), {"Idempotency-Key": "abc"}
    other = Api(project, make_user("Rudi", project, Role.RESEARCHER))
    assert api.post("campaigns", body, **key).json()["key"] != other.post("campaigns", body, **key).json()["key"]


def test_a_prompt_import_sent_twice_is_one(api: Api) -> None:
    body = {"name": "Set", "lines": [{"prompt": "Why?"}]}
    first, second = (api.post("prompt-imports", body, **{"Idempotency-Key": "x"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["key"] == second.json()["key"]
    for other in ({**body, "lines": [{"prompt": "How?"}]}, {**body, "name": "Other"}):
        told = is_an_error(api.post("prompt-imports", other, **{"Idempotency-Key": "x"}), 422)
        assert "sent before" in told["error"]
    assert PromptImport.objects.count() == 1


def test_the_schema_names_the_key_wherever_it_counts() -> None:
    taken = {
        path.removeprefix("/api/v1/projects/{project}/")
        for path, methods in SchemaGenerator().get_schema(public=True)["paths"].items()
        for given in methods.get("post", {}).get("parameters", [])
        if given["name"] == "Idempotency-Key"
    }
    starts = {"prompt-imports", "vote-imports", "models", "campaigns", "datasets", "campaigns/{key}/rulings"}
    assert starts <= taken
    assert "invitations" not in taken, "an answer with a link is not kept"


# ---- a bound -----------------------------------------------------------------------------------------------------------


def test_a_token_makes_so_many_requests_a_minute(
    project: Project, ravi: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.clear()
    clock = SimpleNamespace(time=lambda: 1000.0)
    monkeypatch.setattr("accounts.api.base.time", clock)
    one, other = Api(project, ravi, "read"), Api(project, ravi, "read")
    env = settings.WHETSTONE.model_copy(update={"api_requests_per_minute": 3})
    with override_settings(WHETSTONE=env):
        assert [one.get("prompt-sets").status_code for _ in range(4)] == [200, 200, 200, 429]
        told = one.get("prompt-sets")
        assert told.headers["Retry-After"] == "20"
        is_an_error(told, 429)
        assert other.get("prompt-sets").status_code == 200
        clock.time = lambda: 1020.0
        assert one.get("prompt-sets").status_code == 200


@pytest.mark.redis
def test_web_processes_count_together_where_they_share_redis(
    project: Project, ravi: User, settings: Any, monkeypatch: pytest.MonkeyPatch, redis: Redis
) -> None:
    env = settings.WHETSTONE.model_copy(update={"api_requests_per_minute": 2, "broker_url": SecretStr(redis.url)})
    monkeypatch.setattr("accounts.api.base.time", SimpleNamespace(time=lambda: 1000.0))
    one = Api(project, ravi, "read")
    said = []
    for _ in range(3):  # a client of the cache for each, as processes of their own have
        with override_settings(WHETSTONE=env, CACHES=caches(env)):
            said.append(one.get("prompt-sets").status_code)
    assert said == [200, 200, 429]


def test_a_cache_that_does_not_answer_stops_nobody(project: Project, ravi: User, settings: Any) -> None:
    env = settings.WHETSTONE.model_copy(
        update={"api_requests_per_minute": 1, "broker_url": SecretStr("redis://127.0.0.1:1/0")}
    )
    one = Api(project, ravi, "read")
    with override_settings(WHETSTONE=env, CACHES=caches(env)):
        assert [one.get("prompt-sets").status_code for _ in range(3)] == [200, 200, 200]


# ---- the schema --------------------------------------------------------------------------------------------------------


def test_the_schema_needs_a_person_and_names_no_object(api: Api, ravi: User) -> None:
    assert Client().get("/api/v1/schema/").status_code == 401
    page = Client()
    page.force_login(ravi)
    for response in (api.get("/api/v1/schema/?format=json"), page.get("/api/v1/schema/?format=json")):
        assert response.status_code == 200
        told = json.loads(response.content)
        assert "/api/v1/projects/{project}/campaigns/{key}" in told["paths"]
        assert ravi.username not in response.content.decode()
    assert not [path for path in told["paths"] if "/deploy/" in path]


def test_the_reference_is_a_page_without_scripts_of_others(ravi: User) -> None:
    page = Client()
    assert page.get("/api-reference/").status_code == 302
    page.force_login(ravi)
    said = page.get("/api-reference/").content.decode()
    found = document()
    n_operations = sum(len(methods) for methods in found["paths"].values())
    assert said.count('<details id="') >= n_operations and f"{n_operations} requests" in said
    assert "/projects/{project}/desk/conversations/{key}/prompts" in said and "unpkg" not in said
    anchors = [each.anchor for group in groups_of(found) for each in group.operations]
    assert len(anchors) == len(set(anchors)) == n_operations


def test_every_answer_that_has_a_body_says_what_is_in_it() -> None:
    for group in groups_of(document()):
        for operation in group.operations:
            for code, answer in operation.answers:
                assert answer.fields or (code == "204") == (answer.of == "no body"), operation.path
                assert answer.of != "an object", operation.path


def test_who_left_the_project_is_refused_at_once(api: Api, ravi: User, project: Project) -> None:
    create_token(membership=project.memberships.get(user=ravi), name="x", scopes=["read"])
    assert api.get("prompt-sets").status_code == 200
    Membership.objects.filter(user=ravi).delete()
    is_an_error(api.get("prompt-sets"), 401)
