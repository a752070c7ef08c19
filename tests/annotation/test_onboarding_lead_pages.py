"""The lead's pages of the way in: settings, items, people; who may open them, and that no model is named."""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.models import AuditEvent, Role
from annotation.assign import next_assignment
from annotation.judge import submit_judgement
from annotation.models import Campaign, Place, PracticeItem, Ruling
from annotation.onboarding import Onboarding, onboarding_of
from annotation.people import annotator_for
from annotation.practice_items import accepted_text
from annotation.protocol import Said
from tests.accounts.builders import HTMX
from tests.annotation.builders import make_annotator, make_campaign, make_user
from tests.annotation.test_onboarding import campaign_with
from tests.annotation.test_practice import RIGHT, WRONG, new_place, walk, write_items

pytestmark = pytest.mark.django_db


class Lead:
    def __init__(self, campaign: Campaign, *roles: Role) -> None:
        self.user = make_user("Ravi", campaign.project, *(roles or (Role.RESEARCHER,)))
        self.client = Client()
        self.client.force_login(self.user)
        self.root = f"/p/{campaign.project.slug}/campaigns/{campaign.key}/"

    def get(self, below: str, status: int = 200, **headers: Any) -> str:
        response = self.client.get(self.root + below, **headers)
        assert response.status_code == status
        return response.content.decode()

    def post(self, below: str, status: int = 303, **data: Any) -> str:
        response = self.client.post(self.root + below, data)
        assert response.status_code == status, response.content.decode()[:2000]
        return response.content.decode()


ASKED = {"keys": "on", "n_practice": "2", "n_qualification": "5", "percent": "80", "tries": "3", "probation": "20"}


def test_a_researcher_says_what_is_asked() -> None:
    campaign = make_campaign()
    lead = Lead(campaign)
    lead.post("people/", **ASKED)
    campaign.refresh_from_db()
    assert onboarding_of(campaign) == Onboarding(True, 2, 5, 0.8, 3, 20)
    page = lead.get("people/")
    assert "5 of them are missing" in page and "keys → practice → qualification → probation → normal" in page
    lead.post("people/", 422, **{**ASKED, "percent": "0"})
    lead.post("people/", n_practice="0", n_qualification="0", percent="80", tries="3", probation="0")
    campaign.refresh_from_db()
    assert campaign.onboarding == {}
    assert "<html" not in lead.get("people/", headers=HTMX)


def test_a_reviewer_leads_people_but_sets_nothing() -> None:
    campaign = make_campaign()
    lead = Lead(campaign, Role.REVIEWER)
    assert "A researcher of the project changes this" in lead.get("people/")
    lead.post("people/", 404, **ASKED)
    campaign.refresh_from_db()
    assert campaign.onboarding == {}


ITEM = {
    "use": "practice",
    "prompt": "Two?",
    "answer_A": "2",
    "answer_B": "3",
    "accepted": ["a", "tie"],
    "reason": "Count.",
}


def test_items_are_written_changed_taken_out_and_put_in() -> None:
    campaign = campaign_with(n_practice=1)
    lead = Lead(campaign)
    lead.get("practice/new/?use=qualification")
    lead.post("practice/new/", **ITEM)
    item = PracticeItem.objects.get()
    assert [accepted_text(each) for each in item.expected] == ["a", "tie"]
    assert (item.answers, item.reason) == (["2", "3"], "Count.")
    page = lead.get(f"practice/{item.key}/")
    assert page.count("checked") == 3  # the use and two accepted answers
    lead.post(f"practice/{item.key}/", **{**ITEM, "accepted": ["a"], "use": "qualification"})
    item.refresh_from_db()
    assert (item.use, [accepted_text(each) for each in item.expected]) == ("qualification", ["a"])
    lead.post(f"practice/{item.key}/", 422, **{**ITEM, "accepted": []})
    lead.post(f"practice/{item.key}/retire/")
    assert "Taken out" in lead.get("practice/")
    lead.post(f"practice/{item.key}/restore/")
    item.refresh_from_db()
    assert item.is_active
    lead.post(f"practice/{item.key}/explode/", 404)
    assert AuditEvent.objects.filter(action__startswith="practice_item.").count() == 4


def test_a_scale_is_accepted_by_its_steps() -> None:
    campaign = campaign_with(n_practice=1)
    Campaign.objects.filter(pk=campaign.pk).update(strength_levels=3)
    lead = Lead(campaign)
    assert "B clearly better" in lead.get("practice/new/")
    lead.post("practice/new/", **{**ITEM, "accepted": ["a", "b2"]})
    item = PracticeItem.objects.get()
    assert [accepted_text(each) for each in item.expected] == ["a", "b2"]
    assert lead.get(f"practice/{item.key}/").count("checked") == 3  # the use, and both as they were written
    lead.post(f"practice/{item.key}/", **{**ITEM, "accepted": ["b2", "b3"]})
    item.refresh_from_db()
    assert [each["strength"] for each in item.expected] == [2, 3]
    lead.post(f"practice/{item.key}/", 422, **{**ITEM, "accepted": ["b4"]})


def test_rankings_are_written_as_an_order() -> None:
    campaign = campaign_with(n_practice=1)
    Campaign.objects.filter(pk=campaign.pk).update(kind="rank")
    lead = Lead(campaign)
    data = {**ITEM, "answer_C": "4", "accepted": "A > B = C\nA > B > C"}
    lead.post("practice/new/", **data)
    item = PracticeItem.objects.get()
    assert item.answers == ["2", "3", "4"] and len(item.expected) == 2
    assert "A &gt; B = C" in lead.get(f"practice/{item.key}/")
    lead.post("practice/new/", 422, **{**data, "accepted": "A > B"})


def test_items_are_imported_all_or_none() -> None:
    campaign = campaign_with(n_qualification=2)
    lead = Lead(campaign)
    good = {"use": "qualification", "prompt": "x", "answers": ["1", "2"], "accepted": ["b"]}
    page = lead.post("practice/", 422, text=json.dumps(good) + "\n" + json.dumps({**good, "accepted": ["z"]}))
    assert "Nothing was imported" in page and "The other 1 is good" in page
    assert not PracticeItem.objects.exists()
    lead.post("practice/", file=SimpleUploadedFile("items.jsonl", f"{json.dumps(good)}\n{json.dumps(good)}".encode()))
    assert PracticeItem.objects.count() == 2
    lead.post("practice/", 422, text="")
    lead.post("practice/", 422, file=SimpleUploadedFile("items.jsonl", b"\xff\xfe"))


def test_an_item_begins_from_a_task_or_a_ruling_of_this_campaign() -> None:
    campaign = campaign_with(n_practice=1)
    lead = Lead(campaign)
    task = campaign.tasks.first()
    page = lead.get(f"practice/new/?task={task.key}")
    assert task.slots.first().candidate.text in page
    assert task.slots.first().candidate.arm.model_version.slug not in page
    ruling = Ruling.objects.create(campaign=campaign, title="Be short", text="Always.", example={})
    assert "Be short" in lead.get(f"practice/new/?ruling={ruling.key}")
    other = make_campaign()
    lead.get(f"practice/new/?task={other.tasks.first().key}", 404)
    lead.get(f"practice/new/?ruling={Ruling.objects.create(campaign=other, title='x', text='y').key}", 404)


def test_people_are_led() -> None:
    place = new_place(n_qualification=1, tries=1)
    write_items(place.campaign, qualification=2)
    walk(place, WRONG)
    lead = Lead(place.campaign)
    who = place.annotator.pseudonym
    page = lead.get("people/")
    assert "Not passed" in page and "0/1" in page and "Give another try" in page and who in page
    assert "Ana" not in page
    lead.post(f"people/{who}/try/")
    place.refresh_from_db()
    walk(place, RIGHT)
    lead.post(f"people/{who}/off/")
    assert "Taken off" in lead.get("people/")
    lead.post(f"people/{who}/on/")
    lead.post(f"people/{who}/again/")
    lead.post(f"people/{who}/let-in/")
    assert Place.objects.get(pk=place.pk).stage == "normal"
    lead.post(f"people/{who}/on/", 409)
    lead.post(f"people/{who}/fire/", 404)
    lead.post("people/nobody/off/", 404)


def test_admins_see_names() -> None:
    place = new_place(n_practice=1)
    assert "Ana" in Lead(place.campaign, Role.ADMIN).get("people/")


def test_what_another_campaign_has_is_not_here() -> None:
    campaign, other = campaign_with(n_practice=1), campaign_with(n_practice=1)
    write_items(other, practice=1)
    place = new_place(n_practice=1)
    item = PracticeItem.objects.get()
    lead = Lead(campaign)
    lead.get(f"practice/{item.key}/", 404)
    lead.post(f"practice/{item.key}/retire/", 404)
    lead.post(f"people/{place.annotator.pseudonym}/off/", 404)
    assert PracticeItem.objects.get().is_active


def test_judgements_on_probation_can_be_looked_at_alone() -> None:
    campaign = campaign_with(n_tasks=3, probation=1)
    ana = make_annotator(campaign.project)
    for _ in range(2):
        turn = next_assignment(ana, campaign)
        submit_judgement(assignment_key=turn.key, annotator=ana, said=Said("tie"))
    lead = Lead(campaign)
    assert lead.get("judgements/").count('data-label="Judgement"') == 2
    page = lead.get("judgements/?probation=yes")
    assert page.count('data-label="Judgement"') == 1 and ">probation</span>" in page
    assert lead.get(f"judgements/?person={ana.pseudonym}").count('data-label="Judgement"') == 2
    other = annotator_for(make_user("Ben", campaign.project, Role.ANNOTATOR), campaign.project)
    assert lead.get(f"judgements/?person={other.pseudonym}").count('data-label="Judgement"') == 2
