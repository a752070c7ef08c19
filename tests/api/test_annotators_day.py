"""What stands around judging, by script: announcements, the way in, consent, live conversations, statements of work."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import AuditEvent, Project, Role, User
from annotation.expiry import expire_leases
from annotation.live_turns import answer_turn
from annotation.models import Assignment, Campaign, Judgement, Place, Turn
from annotation.onboarding import Onboarding
from annotation.people import annotator_for
from generation.sampling_run import run_generation
from tests.annotation.builders import make_campaign, make_job, make_project, make_user
from tests.annotation.live_world import make_deployment, make_live
from tests.api.client import Api
from tests.generation.stub_vllm import StubVllm

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


@pytest.fixture
def lead(project: Project) -> Api:
    return Api(project, make_user("Ravi", project, Role.RESEARCHER))


def campaign_of(project: Project, **columns: Any) -> Campaign:
    campaign = make_campaign(project, job=make_job(project, n_prompts=2))
    Campaign.objects.filter(pk=campaign.pk).update(**columns)
    campaign.refresh_from_db()
    return campaign


def told(response: Any, status: int = 200) -> dict[str, Any]:
    assert response.status_code == status, response.content
    found: dict[str, Any] = response.json()
    return found


def test_an_announcement_is_made_read_and_withdrawn(api: Api, lead: Api, project: Project) -> None:
    made = told(lead.post("announcements", {"text": "We begin on Monday."}), 201)
    assert [each["text"] for each in told(api.get("desk/announcements"))["announcements"]] == ["We begin on Monday."]
    assert told(lead.get(f"announcements/{made['key']}"))["readers"] == [{"person": None, "read_at": None}]
    for _ in range(2):
        assert api.post(f"desk/announcements/{made['key']}/confirm").status_code == 204
    reader = told(lead.get(f"announcements/{made['key']}"))["readers"][0]
    assert reader["read_at"] and reader["person"].startswith("human-")
    assert told(api.get("desk/announcements"))["announcements"] == []
    assert told(lead.post(f"announcements/{made['key']}/withdraw"))["withdrawn_at"]
    assert api.post(f"desk/announcements/{made['key']}/confirm").status_code == 404
    assert api.post("announcements", {"text": "I too."}).status_code == 403


def test_the_whole_way_in_by_script(api: Api, lead: Api, project: Project, ana: User) -> None:
    onboarding = Onboarding(n_practice=1, n_qualification=1, tries=1, pass_mark=1.0).stored()
    campaign = campaign_of(project, onboarding=onboarding, guidelines="# Be fair")
    items = f"campaigns/{campaign.key}/practice-items"
    texts = {"prompt": "Which?", "answers": ["good", "bad"], "accepted": ["a"], "reason": "Because."}
    wrong = lead.post(items, {"items": [texts, {**texts, "accepted": ["c"]}]})
    assert wrong.status_code == 422 and wrong.json()["error"].startswith("items.1:")
    uses = [{**texts, "use": use} for use in ("practice", "qualification")]
    written = told(lead.post(items, {"items": uses}), 201)
    assert [each["accepted"] for each in written["items"]] == [["a"], ["a"]] and written["stops"] == []

    way_in = f"desk/campaigns/{campaign.key}/way-in"
    stands = told(api.get(way_in))
    assert (stands["action"], stands["needs_confirmation"]) == ("begin", True)
    assert api.post(f"{way_in}/begin").status_code == 409
    item = told(api.post(f"{way_in}/begin", {"confirms": 1}))["item"]
    assert (item["use"], item["is_right"], item["reason"]) == ("practice", None, "")
    letter = next(each["letter"] for each in item["answers"] if each["text"] == "good")
    step = told(api.post(f"{way_in}/{item['key']}/answer", {"choice": letter.lower()}))
    assert (step["answered"]["is_right"], step["answered"]["reason"], step["item"]) == (True, "Because.", None)

    tried = told(api.post(f"{way_in}/begin"))["item"]
    worse = next(each["letter"] for each in tried["answers"] if each["text"] == "bad")
    step = told(api.post(f"{way_in}/{tried['key']}/answer", {"choice": worse.lower()}))
    assert step == {"answered": None, "item": None}
    assert told(api.get(way_in))["action"] == ""
    (row,) = told(lead.get(f"campaigns/{campaign.key}/people"))["people"]
    assert (row["stage"], row["name"], row["actions"]) == ("failed", "", ["try", "let-in", "off"])
    decided = {"person": row["pseudonym"], "decision": "let-in"}
    assert told(lead.post(f"campaigns/{campaign.key}/people/decide", decided))["people"][0]["stage"] == "normal"
    assert lead.post(f"campaigns/{campaign.key}/people/decide", decided).status_code == 409
    assert told(api.post(f"desk/campaigns/{campaign.key}/next"))["assignment"] is not None


def test_a_practice_item_is_changed_and_taken_out(lead: Api, project: Project) -> None:
    campaign = campaign_of(project)
    items = f"campaigns/{campaign.key}/practice-items"
    texts = {"prompt": "Which?", "answers": ["good", "bad"], "accepted": ["a"]}
    (item,) = told(lead.post(items, {"items": [texts]}), 201)["items"]
    changed = told(lead.ask("PUT", f"{items}/{item['key']}", {**texts, "accepted": ["b", "tie"]}))
    assert changed["accepted"] == ["b", "tie"]
    assert told(lead.post(f"{items}/{item['key']}/retire"))["is_active"] is False
    assert told(lead.post(f"{items}/{item['key']}/restore"))["is_active"] is True


def test_consent_is_given_and_taken_back(api: Api, project: Project) -> None:
    campaign = campaign_of(project, is_sensitive=True, support_text="Call us.")
    desk = f"desk/campaigns/{campaign.key}"
    assert told(api.post(f"{desk}/next"))["refusal"]["code"] == "agree"
    assert told(api.get(f"{desk}/way-in"))["support_text"] == "Call us."
    assert told(api.post(f"{desk}/agree"))["agreed_at"]
    assert told(api.post(f"{desk}/next"))["assignment"] is not None
    assert api.post(f"{desk}/take-back").status_code == 204
    assert Assignment.objects.get().status == "released"
    assert told(api.post(f"{desk}/next"))["refusal"]["code"] == "agree"


def test_statements_of_work_tell_names_to_admins_alone(api: Api, lead: Api, project: Project, ana: User) -> None:
    campaign = campaign_of(project, pay_per_hour=36.0)
    key = told(api.post(f"desk/campaigns/{campaign.key}/next"))["assignment"]["key"]
    told(api.post(f"desk/assignments/{key}/judge", {"choice": "a", "active_seconds": 100, "open_seconds": 120}))
    (mine,) = told(api.get("desk/work"))["statements"]
    assert (mine["total"]["n_judged"], mine["total"]["active_seconds"], mine["pay"]) == (1, 100.0, 1.0)
    (theirs,) = told(lead.get("work"))["statements"]
    assert theirs["person"] == annotator_for(ana, project).pseudonym and theirs["lines"] == mine["lines"]
    assert AuditEvent.objects.get(action="work.export").detail == {"rows": 1, "names": False}
    boss = Api(project, make_user("Mia", project, Role.ADMIN, Role.RESEARCHER))
    assert "Ana" in told(boss.get(f"work?person={theirs['person']}"))["statements"][0]["person"]
    assert told(lead.get("work?first=2020-01-01&last=2020-01-31"))["statements"] == []
    for wrong in ("first=2020-01-01", "first=2020-01-02&last=2020-01-01", "first=2019-01-01&last=2020-12-31"):
        assert lead.get(f"work?{wrong}").status_code == 422
    assert lead.get("work?person=nobody").status_code == 404


# ---- live conversations ------------------------------------------------------------------------------------------------


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubVllm]:
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    monkeypatch.setattr("annotation.live._send", lambda turn: None)
    with StubVllm() as server:
        yield server


@pytest.mark.django_db(transaction=True)
def test_a_conversation_from_its_campaign_to_its_end(api: Api, lead: Api, project: Project, stub: StubVllm) -> None:
    deployment = make_deployment(project, stub.url)
    arms = [{"deployment": deployment.key, "sampling": {"temperature": t, "max_tokens": 32}} for t in (0.5, 1.0)]
    started = told(lead.post("campaigns/live", {"name": "Chat", "arms": arms, "n_turns": 10}), 201)
    assert (started["is_live"], started["stage"]) == (True, "open")
    refused = api.post(f"desk/campaigns/{started['key']}/next")
    assert refused.status_code == 422 and "conversation" in refused.json()["how"]
    talk = told(api.post(f"desk/campaigns/{started['key']}/conversations"))
    assert (talk["state"], talk["number"], talk["messages"]) == ("write", 1, [])
    path = f"desk/conversations/{talk['key']}"
    sent = told(api.post(f"{path}/prompts", {"number": 1, "text": "What is a sieve?"}))
    assert (sent["state"], sent["assignment"]) == ("wait", None)
    assert told(api.post(f"{path}/prompts", {"number": 1, "text": "What is a sieve?"})) == sent
    assert api.post(f"{path}/prompts", {"number": 1, "text": "Another?"}).status_code == 409
    answer_turn(Turn.objects.get().pk, run_generation)
    stands = told(api.get(path))
    assert stands["state"] == "judge"
    Assignment.objects.update(leased_until=timezone.now() - timedelta(hours=1))
    assert expire_leases() == 1  # the person thought for longer than the lease
    told(api.post(f"desk/assignments/{stands['assignment']}/judge", {"choice": "tie"}))
    choose = told(api.get(path))
    assert (choose["state"], [each["letter"] for each in choose["answers"]]) == ("choose", ["A", "B"])
    gone_on = told(api.post(f"{path}/pick", {"number": 1, "letter": "B"}))
    assert (gone_on["state"], gone_on["number"]) == ("write", 2)
    assert [each["role"] for each in gone_on["messages"]] == ["user", "assistant"]
    told(api.post(f"{path}/prompts", {"number": 2, "text": "And a rope?"}))
    assert told(api.post(f"{path}/take-back", {"number": 2})) == {"text": "And a rope?"}
    assert told(api.post(f"{path}/end"))["state"] == "over"
    (row,) = told(api.get(f"desk/campaigns/{started['key']}/conversations"))["results"]
    assert (row["status"], row["n_judged"]) == ("finished", 1)
    assert Judgement.objects.get().verdict == "tie"


def test_anybody_elses_conversation_looks_like_none(api: Api, project: Project, stub: StubVllm) -> None:
    campaign = make_live(stub, project)
    ben = Api(project, make_user("Ben", project, Role.ANNOTATOR))
    talk = told(ben.post(f"desk/campaigns/{campaign.key}/conversations"))["key"]
    for path, body in (("", None), ("/prompts", {"number": 1, "text": "x"}), ("/end", {})):
        responses = [api.ask("GET" if body is None else "POST", f"desk/conversations/{key}{path}", body)
                     for key in (talk, "aaaaaaaaaaaa")]  # fmt: skip
        assert {each.status_code for each in responses} == {404}
        assert len({each.json()["error"] for each in responses}) == 1
    assert not Place.objects.filter(annotator__user__username="ana").exists()
