"""An annotator's own token: the next task and what is said of it, by the page's write path and as blind as the page."""

from typing import Any

import pytest

from accounts.models import Project, Role, User
from annotation.models import Assignment, Campaign, Judgement
from tests.annotation.builders import make_campaign, make_job, make_model, make_project, make_user
from tests.api.client import Api

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def ana(project: Project) -> User:
    return make_user("Ana", project, Role.ANNOTATOR)


@pytest.fixture
def api(project: Project, ana: User) -> Api:
    return Api(project, ana)


def campaign_of(project: Project, **options: Any) -> Campaign:
    campaign = make_campaign(
        project, job=make_job(project, n_prompts=3, models=[make_model(project, "canary-model")]), overlap=2
    )
    Campaign.objects.filter(pk=campaign.pk).update(**options)
    campaign.refresh_from_db()
    return campaign


def next_of(api: Api, campaign: Campaign, **body: Any) -> dict[str, Any]:
    response = api.post(f"desk/campaigns/{campaign.key}/next", body)
    assert response.status_code == 200, response.content
    return response.json()


def test_a_task_is_told_without_anything_of_a_model(api: Api, project: Project) -> None:
    campaign = campaign_of(project)
    assert [each["key"] for each in api.get("desk/campaigns").json()["campaigns"]] == [campaign.key]
    response = api.post(f"desk/campaigns/{campaign.key}/next", {})
    turn = response.json()["assignment"]
    row = Assignment.objects.get(key=turn["key"])
    task = row.task
    said = response.content.decode() + str(response.headers)
    for slot in task.slots.select_related("candidate__arm__model_version"):
        assert slot.candidate.key not in said and slot.candidate.text_sha256 not in said
        assert slot.candidate.arm.model_version.slug not in said
    for answer in turn["answers"]:  # the builder's answers name their prompt
        said = said.replace(answer["text"], "")
    assert task.key not in said and task.prompt.key not in said
    texts = {slot.slot: slot.candidate.text for slot in task.slots.select_related("candidate")}
    assert [each["text"] for each in turn["answers"]] == [texts[slot] for slot in row.display_order]
    assert [each["letter"] for each in turn["answers"]] == ["A", "B"]
    assert next_of(api, campaign)["assignment"]["key"] == turn["key"]


def test_a_judgement_is_kept_once_and_can_be_corrected_and_taken_back(api: Api, project: Project, ana: User) -> None:
    campaign = campaign_of(project)
    key = next_of(api, campaign)["assignment"]["key"]
    said = {"choice": "b", "comment": "Better.", "flags": ["broken:A"], "active_seconds": 12.5}
    first, again = (api.post(f"desk/assignments/{key}/judge", said) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["said"]["choice"] == ["b"]
    judgement = Judgement.objects.get()
    order = judgement.assignment.display_order
    best = judgement.ranks.get(rank=1).candidate
    assert best == judgement.assignment.task.slots.get(slot=order[1]).candidate
    assert (judgement.seconds_active, judgement.by) == (12.5, ana)
    other = api.post(f"desk/assignments/{key}/judge", {"choice": "a"})
    assert other.status_code == 409 and "another way" in other.json()["error"]
    assert api.post(f"desk/assignments/{key}/correct", {"choice": "a"}).json()["said"]["choice"] == ["a"]
    assert api.post(f"desk/assignments/{key}/undo").json()["status"] == "open"
    assert Judgement.objects.count() == 3


def test_what_is_missing_is_named_as_it_was_sent(api: Api, project: Project) -> None:
    criterion = {"name": "helpful", "label": "Helpful", "kind": "rate", "levels": 5}
    campaign = campaign_of(project, protocol={"criteria": [criterion], "comment": "required"})
    key = next_of(api, campaign)["assignment"]["key"]
    for said, fields in (
        ({"choice": "a"}, {"ratings.helpful.A", "ratings.helpful.B"}),
        ({"choice": "a", "ratings": {"helpful": {"A": 1, "B": 9}}}, {"ratings.helpful.B"}),
        ({"choice": "a", "ratings": {"helpful": {"A": 1, "B": 2}}}, {"comment"}),
        ({"choise": "a"}, {"choise"}),
    ):
        response = api.post(f"desk/assignments/{key}/judge", said)
        assert response.status_code == 422
        assert set(response.json()["fields"]) == fields
    assert not Judgement.objects.exists()


def test_guidelines_come_first(api: Api, project: Project) -> None:
    campaign = campaign_of(project, guidelines="# Be fair")
    told = next_of(api, campaign)
    assert told["assignment"] is None and told["refusal"]["code"] == "guidelines"
    assert api.post(f"desk/campaigns/{campaign.key}/next", {"confirms": 7}).status_code == 409
    assert next_of(api, campaign, confirms=1)["assignment"] is not None


def test_a_task_is_skipped_or_asked_about_and_the_next_one_comes(api: Api, project: Project) -> None:
    campaign = campaign_of(project)
    keys = []
    for action, body in (("skip", {"reason": "Too long"}), ("ask", {"text": "What is meant?"})):
        keys.append(next_of(api, campaign)["assignment"]["key"])
        assert api.post(f"desk/assignments/{keys[-1]}/{action}", body).status_code in (200, 204)
    keys.append(next_of(api, campaign)["assignment"]["key"])
    assert len(set(keys)) == 3
    assert [each["text"] for each in api.get("desk/questions").json()["results"]] == ["What is meant?"]
    assert api.post(f"desk/assignments/{keys[1]}/resume").json()["status"] == "open"
    statuses = {key: Assignment.objects.get(key=key).status for key in keys}
    assert list(statuses.values()) == ["skipped", "open", "open"]


def test_anybody_elses_task_looks_like_none(api: Api, project: Project) -> None:
    ben = Api(project, make_user("Ben", project, Role.ANNOTATOR))
    key = next_of(ben, campaign_of(project))["assignment"]["key"]
    for path, body in ((f"desk/assignments/{key}/judge", {"choice": "a"}), (f"desk/assignments/{key}/skip", {})):
        theirs, unknown = api.post(path, body), api.post(path.replace(key, "aaaaaaaaaaaa"), body)
        assert theirs.status_code == unknown.status_code == 404
        assert theirs.json()["error"] == unknown.json()["error"]


def test_only_reviewers_set_judgements_aside(api: Api, project: Project) -> None:
    campaign = campaign_of(project)
    key = next_of(api, campaign)["assignment"]["key"]
    api.post(f"desk/assignments/{key}/judge", {"choice": "tie"})
    path = f"campaigns/{campaign.key}/judgements/{Judgement.objects.get().key}/void"
    body = {"reason": "Not read"}
    assert Api(project, make_user("Ravi", project, Role.RESEARCHER)).post(path, body).status_code == 403
    assert Api(project, make_user("Rita", project, Role.REVIEWER)).post(path, body).status_code == 204
    assert Assignment.objects.get(key=key).status == "released"
