"""The pages around judging, with Django's client: home, ask, guidelines, the lead's desk, statements; and who may open what."""

import csv
import datetime
import io

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import preferences
from accounts.models import Membership, Role
from annotation import announcements, guidelines, questions, rulings, worktime
from annotation.assign import next_assignment
from annotation.judge import void_judgement
from annotation.models import (
    Annotator,
    Announcement,
    Assignment,
    Campaign,
    Flag,
    Judgement,
    Place,
    Question,
    Ruling,
    Workday,
)
from annotation.people import annotator_for
from tests.annotation.builders import make_annotator, make_campaign, make_job, make_model, make_project, make_user
from tests.annotation.checks import violations

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
TODAY = timezone.now().date


class Office:
    """A campaign whose answers come from two models; Ana and Ben judge, Rosa reviews, Ravi researches, Ada administers."""

    def __init__(self, **options) -> None:
        self.project = make_project()
        self.models = [make_model(self.project, f"secret-model-{n}") for n in "xy"]
        job = make_job(self.project, n_prompts=4, n_answers=1, models=self.models)
        self.campaign: Campaign = make_campaign(
            self.project, job=job, pairing={"pairs": "across"}, **{"guidelines": "# Be fair", **options}
        )
        self.ana = make_user("Ana", self.project, Role.ANNOTATOR)
        self.rosa = make_user("Rosa", self.project, Role.REVIEWER)
        self.ravi = make_user("Ravi", self.project, Role.RESEARCHER)
        self.ada = make_user("Ada", self.project, Role.ADMIN)
        self.olga = make_user("Olga")
        self.me: Annotator = annotator_for(self.ana, self.project)

    def confirm(self) -> None:
        guidelines.confirm(self.me, self.campaign, self.campaign.guidelines_version)

    def browser(self, user) -> Client:
        client = Client()
        client.force_login(user)
        return client

    def url(self, name: str, *args: object) -> str:
        return reverse(f"annotation:{name}", args=[self.project.slug, *args])

    def take(self) -> Assignment:
        self.confirm()
        turn = next_assignment(self.me, self.campaign)
        assert turn is not None
        return turn

    def ask(self, text: str = "Is a refusal harmless?") -> Question:
        return questions.ask(assignment_key=self.take().key, annotator=self.me, text=text)

    def get(self, user, name: str, *args: object, **query: str) -> str:
        response = self.browser(user).get(self.url(name, *args), query)
        assert response.status_code == 200, response.status_code
        return response.content.decode()

    def post(self, user, name: str, *args: object, **data: object):
        return self.browser(user).post(self.url(name, *args), data)


# ---- home ----------------------------------------------------------------------------------------------------------------


def test_home_says_what_is_left_and_continue_leads_to_a_task():
    office = Office(guidelines="")
    body = office.get(office.ana, "next")
    assert office.campaign.name in body and "<strong>4</strong> left for you" in body and "Start judging" in body
    response = office.post(office.ana, "start", office.campaign.key)
    assert response.status_code == 303
    assert "Continue" in office.get(office.ana, "next")


def test_each_role_lands_on_its_own_work():
    office = Office()
    for user, home in ((office.ana, "next"), (office.rosa, "desk")):
        response = office.browser(user).get(f"/p/{office.project.slug}/")
        assert response.headers["Location"] == office.url(home)
    assert office.browser(office.ravi).get(f"/p/{office.project.slug}/").status_code == 200  # the round board


def test_home_counts_within_the_caps_of_a_campaign():
    office = Office()
    Campaign.objects.update(cap_per_person=10, cap_per_day=3)
    Place.objects.create(annotator=office.me, campaign=office.campaign, n_submitted=8, day=TODAY(), n_today=2)
    assert "<strong>1</strong> left for you" in office.get(office.ana, "next")
    Place.objects.update(day=TODAY() - datetime.timedelta(days=1))
    assert "<strong>2</strong> left for you" in office.get(office.ana, "next")


def test_home_shows_the_campaigns_that_are_for_this_person():
    office = Office()
    Campaign.objects.update(audience={"groups": ["doctors"]})
    body = office.get(office.ana, "next")
    assert office.campaign.name not in body and "Nothing to judge yet" in body
    assert office.browser(office.ana).get(office.url("guidelines", office.campaign.key)).status_code == 404
    Membership.objects.filter(user=office.ana).update(groups=["doctors"])
    assert office.campaign.name in office.get(office.ana, "next")


def test_home_of_a_paused_or_blocked_campaign_offers_no_task():
    office = Office()
    Campaign.objects.update(stage="paused")
    body = office.get(office.ana, "next")
    assert "No tasks are given out for now" in body and "Start judging" not in body
    Campaign.objects.update(stage="open")
    Place.objects.create(annotator=office.me, campaign=office.campaign, blocked_at=timezone.now())
    body = office.get(office.ana, "next")
    assert "taken you off" in body and "Start judging" not in body


def test_home_says_what_comes_before_the_first_task():
    office = Office()
    Campaign.objects.update(onboarding={"keys": True})
    body = office.get(office.ana, "next")
    assert "Keys" in body and "a short way in" in body and "Continue" in body
    Place.objects.create(annotator=office.me, campaign=office.campaign, stage="failed")
    body = office.get(office.ana, "next")
    assert "Not passed" in body and "another try" in body and "Continue" not in body


def test_a_judgement_that_was_set_aside_is_told_with_its_reason():
    office = Office()
    turn = office.take()
    judgement = Judgement.objects.create(assignment=turn, verdict="tie", by=office.ana)
    Assignment.objects.filter(pk=turn.pk).update(status="submitted", current=judgement)
    turn.task.campaign.tasks.filter(pk=turn.task_id).update(n_submitted=1)
    Place.objects.filter(annotator=office.me).update(n_submitted=1)
    void_judgement(judgement=judgement, by=office.rosa, reason="Both were in German.")
    body = office.get(office.ana, "next")
    assert "set aside" in body and "Both were in German." in body
    assert Workday.objects.get().n_returned == 1


def test_todays_work_is_shown_without_any_measure_of_others():
    office = Office()
    place = Place.objects.create(annotator=office.me, campaign=office.campaign)
    worktime.note(place.pk, judged=12, active_seconds=1800, open_seconds=2000)
    body = office.get(office.ana, "next")
    assert "12 judgements" in body and "30 min of active time" in body
    preferences.change(office.ana, is_active_time_on=False)
    assert "min of active time" not in office.get(office.ana, "next")


# ---- ask -----------------------------------------------------------------------------------------------------------------


def test_ask_answer_ruling_drawer():
    office = Office()
    turn = office.take()
    response = office.post(office.ana, "ask", turn.key, text="Is **A** harmless?")
    following = response.headers["Location"]
    assert response.status_code == 303 and turn.key not in following
    question = Question.objects.get()
    assert "of your questions wait" in office.get(office.ana, "next")

    assert "Is **A** harmless?" in office.get(office.rosa, "desk")
    page = office.get(office.rosa, "question", question.key)
    texts = [row.candidate.text for row in turn.task.slots.all()]
    assert all(text in page for text in texts)
    assert page.index(texts[turn.display_order[0]]) < page.index(texts[turn.display_order[1]])
    assert office.post(office.rosa, "question", question.key, answer="Yes, *quite*.").status_code == 303

    body = office.get(office.ana, "next")
    assert "<em>quite</em>" in body and "Go on with this task" in body
    response = office.post(office.ana, "resume", question.assignment.key)
    assert response.headers["Location"] == office.url("assignment", turn.key)
    assert "quite" not in office.get(office.ana, "next")
    assert "quite" in office.get(office.ana, "notes")

    assert office.post(office.rosa, "rule", question.key).status_code == 303  # one click
    ruling = Ruling.objects.get()
    assert (ruling.title, ruling.text) == ("Is **A** harmless?", "Yes, *quite*.")
    ben = make_user("Ben", office.project, Role.ANNOTATOR)
    body = office.get(ben, "guidelines", office.campaign.key)
    assert "Be fair" in body and "<em>quite</em>" in body and texts[0] in body
    assert office.ana.username not in body and office.me.pseudonym not in body
    assert "<em>quite</em>" not in office.get(office.ana, "guidelines", office.campaign.key, q="nothing like it")
    assert violations(office.campaign) == []


def test_a_ruling_can_be_worded_first_and_go_without_its_example():
    office = Office()
    question = office.ask()
    questions.answer(question=question, text="Yes.", by=office.rosa)
    bad = office.post(office.rosa, "rule", question.key, title="", text="Refusals are harmless.")
    assert bad.status_code == 422 and "Refusals are harmless." in bad.content.decode()
    office.post(office.rosa, "rule", question.key, title="Refusals", text="Refusals are harmless.")
    ruling = Ruling.objects.get()
    assert (ruling.title, ruling.example) == ("Refusals", {})
    url = ("ruling", office.campaign.key, ruling.key)
    office.post(office.rosa, *url, title="Refusals, again", text="Mostly.")
    office.post(office.rosa, *url, action="withdraw")
    ruling.refresh_from_db()
    assert ruling.title == "Refusals, again" and ruling.withdrawn_at is not None
    assert "Refusals" not in office.get(office.ana, "guidelines", office.campaign.key)
    office.post(office.rosa, *url, action="put_back")
    assert "Refusals" in office.get(office.ana, "guidelines", office.campaign.key)


def test_examples_of_a_sensitive_campaign_are_for_those_who_agreed():
    office = Office()
    question = office.ask()
    questions.answer(question=question, text="Yes.", by=office.rosa)
    rulings.rule(campaign=office.campaign, title="R", text="Fine.", by=office.rosa, question=question)
    Campaign.objects.update(is_sensitive=True)
    text = question.assignment.task.slots.first().candidate.text
    assert text not in office.get(office.ana, "guidelines", office.campaign.key)
    Place.objects.update(agreed_sensitive_at=timezone.now())
    assert text in office.get(office.ana, "guidelines", office.campaign.key)


def test_the_navigation_tells_leads_how_much_waits():
    office = Office()
    waiting = '1<span class="visually-hidden"> waiting'
    assert waiting not in office.get(office.rosa, "campaigns")
    office.ask()
    assert waiting in office.get(office.rosa, "campaigns")
    assert waiting not in office.get(office.ana, "next")


def test_an_empty_question_is_sent_back():
    office = Office()
    turn = office.take()
    assert office.post(office.ana, "ask", turn.key, text="  ").status_code == 422
    turn.refresh_from_db()
    assert turn.status == "open"


def test_a_question_is_withdrawn_and_the_task_judged():
    office = Office()
    question = office.ask()
    assert "Withdraw it and judge the task" in office.get(office.ana, "notes")
    office.post(office.ana, "resume", question.assignment.key)
    question.refresh_from_db()
    assert (question.status, question.assignment.status) == ("withdrawn", "open")


# ---- guidelines ----------------------------------------------------------------------------------------------------------


def test_guidelines_are_published_read_and_confirmed():
    office = Office()
    key = office.campaign.key
    assert "I have read the guidelines" in office.get(office.ana, "guidelines", key)
    office.post(office.ana, "start", key, confirms="1")
    assert "I have read the guidelines" not in office.get(office.ana, "guidelines", key)
    form = {"text": "# Be fair\n\nAnd kind.", "note": "Kindness, too.", "seen": "1"}
    assert office.post(office.ravi, "campaign-guidelines", key, **form).status_code == 303
    body = office.get(office.ana, "guidelines", key)
    assert "Kindness, too." in body and "<ins>And kind.</ins>" in body and "I have read the guidelines" in body
    assert "Read the guidelines" in office.get(office.ana, "next")
    office.post(office.ana, "start", key, confirms="1")  # of a page that was open since before
    assert "I have read the guidelines" in office.get(office.ana, "guidelines", key)
    office.post(office.ana, "start", key, confirms="2")
    body = office.get(office.rosa, "campaign-guidelines", key)
    assert "1 of 1 person has confirmed it" in body and "Kindness, too." in body
    assert "<ins>And kind.</ins>" in office.get(office.rosa, "guidelines-version", key, 2)


def test_a_lead_who_was_overtaken_keeps_what_was_written():
    office = Office()
    key = office.campaign.key
    office.post(office.ravi, "campaign-guidelines", key, text="One.", note="One", seen="1")
    response = office.post(office.ravi, "campaign-guidelines", key, text="Two.", note="Two", seen="1")
    body = response.content.decode()
    assert response.status_code == 422 and "Version 2 was published" in body and "Two." in body
    assert Campaign.objects.get().guidelines == "One."


def test_reviewers_read_guidelines_and_researchers_publish_them():
    office = Office()
    form = {"text": "Mine.", "note": "Mine", "seen": "1"}
    assert office.post(office.rosa, "campaign-guidelines", office.campaign.key, **form).status_code == 403
    assert "Publish a new version" not in office.get(office.rosa, "campaign-guidelines", office.campaign.key)
    assert office.post(office.ada, "campaign-guidelines", office.campaign.key, **form).status_code == 303


# ---- announcements -------------------------------------------------------------------------------------------------------


def test_an_announcement_is_made_read_and_withdrawn():
    office = Office()
    assert office.post(office.rosa, "announcements", text="", campaign="").status_code == 422
    office.post(office.rosa, "announcements", text="We **pause** on Friday.", campaign="", must_confirm="on")
    told = Announcement.objects.get()
    assert "<strong>pause</strong>" in office.get(office.ana, "next")
    assert "0 of 1" in office.get(office.rosa, "announcements")
    assert office.post(office.ana, "read-announcement", told.key).status_code == 303
    assert "<strong>pause</strong>" not in office.get(office.ana, "next")
    page = office.get(office.rosa, "announcement", told.key)
    assert office.me.pseudonym in page and office.ana.name not in page
    assert office.ana.name in office.get(office.ada, "announcement", told.key)
    office.post(office.rosa, "announcement", told.key)
    assert "Withdrawn" in office.get(office.rosa, "announcements")


def test_an_announcement_of_a_campaign_for_others_cannot_be_confirmed():
    office = Office()
    told = announcements.announce(project=office.project, text="Hello", by=office.rosa, campaign=office.campaign)
    Campaign.objects.update(audience={"groups": ["doctors"]})
    assert office.post(office.ana, "read-announcement", told.key).status_code == 404


# ---- flags ---------------------------------------------------------------------------------------------------------------


def test_flags_are_shown_with_their_answer_and_decided():
    office = Office()
    turn = office.take()
    candidate = turn.task.slots.get(slot=turn.display_order[1]).candidate
    flag = Flag.objects.create(task=turn.task, annotator=office.me, kind="harmful", candidate=candidate, reason="Rude.")
    assert "Rude." in office.get(office.rosa, "flags")
    assert "None of these" in office.get(office.rosa, "flags", status="upheld")
    page = office.get(office.rosa, "flag", flag.key)
    assert "Harmful: answer B" in page and "Flagged" in page and candidate.text in page
    response = office.post(office.rosa, "flag", flag.key, decision="dismiss", note="")
    assert response.status_code == 422 and "Say why" in response.content.decode()
    office.post(office.rosa, "flag", flag.key, decision="dismiss", note="It is a joke.")
    body = office.get(office.ana, "next")
    assert "nothing was changed" in body and "It is a joke." in body
    office.post(office.rosa, "flag", flag.key, decision="reopen")
    office.post(office.rosa, "flag", flag.key, decision="uphold")
    turn.task.refresh_from_db()
    assert turn.task.status == "retired"
    assert office.post(office.rosa, "flag", flag.key, decision="dismiss", note="No").status_code == 409
    assert office.post(office.rosa, "flag", flag.key, decision="burn").status_code == 404


# ---- paid work -----------------------------------------------------------------------------------------------------------


def test_a_statement_is_the_same_for_the_lead_and_for_the_person():
    office = Office()
    Campaign.objects.update(pay_per_hour=24, name="=cmd|' /C calc'!A0")
    place = Place.objects.create(annotator=office.me, campaign=office.campaign)
    worktime.note(place.pk, judged=12, skipped=1, active_seconds=1800, open_seconds=2000)
    Workday.objects.create(place=place, day=TODAY() - datetime.timedelta(days=400), n_judged=999)
    mine = list(csv.DictReader(io.StringIO(office.get(office.ana, "my-work", format="csv"))))
    assert len(mine) == 1
    assert mine[0] | {"campaign_key": ""} == {
        "day": TODAY().isoformat(), "campaign": "'=cmd|' /C calc'!A0", "campaign_key": "", "judgements": "12",
        "practice": "0", "skipped": "1", "parked": "0", "returned": "0", "active_hours": "0.5", "open_hours": "0.56",
        "rate_per_hour": "24.0", "active_hours_at_rate": "12.0",
    }  # fmt: skip
    leads = list(csv.DictReader(io.StringIO(office.get(office.ravi, "work", format="csv"))))
    assert leads == [{"person": office.me.pseudonym, **mine[0]}]
    admins = list(csv.DictReader(io.StringIO(office.get(office.ada, "work", format="csv"))))
    assert admins == [{"person": office.me.pseudonym, "name": "Ana", "username": office.ana.username, **mine[0]}]
    for user, name in ((office.ana, "my-work"), (office.ravi, "work")):
        body = office.get(user, name)
        assert "12" in body and "0.50 h" in body and "12.00" in body
    page = office.get(office.ravi, "work", person=office.me.pseudonym)
    assert "30 min" in page and office.ana.name not in page


def test_a_period_that_is_none_is_said_so():
    office = Office()
    for user, name in ((office.ana, "my-work"), (office.ravi, "work")):
        for first, last in (("2026-02-01", "2026-01-01"), ("soon", "2026-01-01"), ("1999-01-01", "2026-01-01")):
            response = office.browser(user).get(office.url(name), {"first": first, "last": last})
            assert response.status_code == 422
    assert office.browser(office.ravi).get(office.url("work"), {"person": "nobody"}).status_code == 404


def test_who_has_switched_active_time_off_is_said_to_have():
    office = Office()
    place = Place.objects.create(annotator=office.me, campaign=office.campaign)
    preferences.change(office.ana, is_active_time_on=False)
    worktime.note(place.pk, judged=12, active_seconds=1800, open_seconds=2000)
    assert "switched off" in office.get(office.ravi, "work")


def test_the_time_on_a_task_that_is_skipped_or_asked_about_counts():
    office = Office()
    office.post(office.ana, "skip", office.take().key, reason="1", active="35", open="60")
    office.post(office.ana, "ask", office.take().key, text="Why?", active="15", open="20")
    office.post(office.ana, "skip", office.take().key, reason="1", active="soon", open="-9")
    day = Workday.objects.get()
    assert (day.n_skipped, day.n_parked, day.active_seconds, day.open_seconds) == (2, 1, 50, 80)


def test_nothing_of_active_time_is_kept_for_who_has_switched_it_off():
    office = Office()
    preferences.change(office.ana, is_active_time_on=False)
    turn = office.take()
    office.post(office.ana, "assignment", turn.key, choice="a", active="35", open="60")
    assert Judgement.objects.get().seconds_active == 0
    day = Workday.objects.get()
    assert (day.n_judged, day.active_seconds, day.open_seconds) == (1, 0, 60)


# ---- who may open what -----------------------------------------------------------------------------------------------------


def pages(office: Office) -> dict[str, tuple[str, ...]]:
    """Every page, and the roles that open it."""
    question = office.ask()
    questions.answer(question=question, text="Yes.", by=office.rosa)
    ruling = rulings.rule(campaign=office.campaign, title="R", text="Fine.", by=office.rosa, question=question)
    flag = Flag.objects.create(task=question.assignment.task, annotator=office.me, kind="broken")
    told = announcements.announce(project=office.project, text="Hello", by=office.rosa)
    key, leads = office.campaign.key, ("rosa", "ravi", "ada")
    return {
        office.url("next"): ("ana",),
        office.url("my-work"): ("ana",),
        office.url("notes"): ("ana",),
        office.url("guidelines", key): ("ana",),
        office.url("desk"): leads,
        office.url("question", question.key): leads,
        office.url("flags"): leads,
        office.url("flag", flag.key): leads,
        office.url("announcements"): leads,
        office.url("announcement", told.key): leads,
        office.url("work"): ("ravi", "ada"),
        office.url("campaign-guidelines", key): leads,
        office.url("guidelines-version", key, 1): leads,
        office.url("campaign-rulings", key): leads,
        office.url("ruling", key, ruling.key): leads,
    }


def test_each_page_is_full_or_a_fragment_opens_for_its_roles_and_names_no_model():
    office = Office()
    people = {name: office.browser(getattr(office, name)) for name in ("ana", "rosa", "ravi", "ada", "olga")}
    for url, roles in pages(office).items():
        for name, client in people.items():
            status = client.get(url).status_code
            assert status == (200 if name in roles else 404 if name == "olga" else 403), (url, name, status)
        client = people[roles[0]]
        full, part = client.get(url), client.get(url, headers=HTMX)
        assert "<html" in full.content.decode() and "<html" not in part.content.decode(), url
        assert full.headers["Cache-Control"] == "no-store" or "guidelines" in url or "rulings" in url
        assert "secret-model" not in full.content.decode(), url
        assert Client().get(url).status_code == 302
        assert client.delete(url).status_code == 405


def test_nobody_reaches_what_belongs_to_another_person_or_project():
    office, elsewhere = Office(), Office()
    ben = make_annotator(office.project, "Ben")
    question = office.ask()
    turn = question.assignment
    for name, key in (("ask", turn.key), ("resume", turn.key), ("answer-seen", question.key)):
        assert ben.user is not None
        for user in (ben.user, elsewhere.ana):
            assert office.post(user, name, key, text="Mine now?").status_code == 404
        assert elsewhere.post(elsewhere.ana, name, key, text="Mine now?").status_code == 404
        assert office.browser(office.ana).get(office.url(name, key)).status_code == 405
    theirs = pages(elsewhere)
    for url in theirs:
        here = url.replace(f"/p/{elsewhere.project.slug}/", f"/p/{office.project.slug}/")
        if here.count("/") > 5:
            for user in (office.ada, office.ravi, office.ana):
                assert office.browser(user).get(here).status_code in (403, 404), here
    question.refresh_from_db()
    assert question.status == "open"


def test_opening_pages_creates_nothing():
    office = Office()
    ben = make_user("Ben", office.project, Role.ANNOTATOR)
    client = office.browser(ben)
    for name, *args in (("next",), ("my-work",), ("notes",), ("guidelines", office.campaign.key)):
        assert client.get(office.url(name, *args)).status_code == 200
    assert not Annotator.objects.filter(user=ben).exists() and not Place.objects.exists()
