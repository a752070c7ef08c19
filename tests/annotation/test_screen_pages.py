"""Every kind and option of a campaign through the page's own form, and what the page does by itself while a person works."""

import json

import pytest
from django.test import Client

from accounts import preferences
from annotation import guidelines, questions
from annotation.assign import next_assignment
from annotation.consent import agree
from annotation.expiry import expire_leases
from annotation.models import Assignment, Campaign, ComparisonTask, Draft, Flag, Judgement, Place, Score
from annotation.pageclient import read_page
from annotation.retire import retire_task
from annotation.views.access import turn_of
from core.jobs import from_now
from tests.annotation.builders import make_annotator, make_campaign, make_job
from tests.annotation.checks import violations
from tests.annotation.test_pages import HTMX, Stand

pytestmark = pytest.mark.django_db

QUESTIONS = {
    "criteria": [
        {"name": "helpful", "label": "Helpful"},
        {"name": "correct", "label": "Correct", "levels": 3, "low": "A has it", "high": "B has it"},
        {"name": "clear", "label": "Clear", "kind": "rate", "levels": 5, "low": "not at all", "high": "fully"},
    ],
    "reasons": ["Facts", "Tone"],
    "needs_reason": True,
    "comment": "required",
    "min_comment": 10,
    "write_in": "optional",
    "show": ["note", "reference", "checklist"],
}
SAID = {
    "choice": "b2", "compare-helpful": "a", "compare-correct": "tie", "rate-clear-A": "2", "rate-clear-B": "5",
    "reason": ["Tone"], "comment": "Because of its tone.", "flag": ["private:B", "broken"], "flag_reason": "A name.",
}  # fmt: skip


def many(n_answers: int, **options) -> Stand:
    stand = Stand(n_tasks=1)
    job = make_job(stand.project, n_prompts=3, n_answers=n_answers)
    pairing = {"pairs": "within", "n_answers": n_answers}
    stand.campaign = make_campaign(stand.project, job=job, pairing=pairing, **options)
    return stand


# ---- kinds and options -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "has_tie", "values"),
    [
        (2, False, ["a2", "a1", "b1", "b2"]),
        (3, False, ["a3", "a2", "a1", "b1", "b2", "b3"]),
        (3, True, ["a3", "a2", "a1", "tie", "b1", "b2", "b3"]),
        (4, False, ["a4", "a3", "a2", "a1", "b1", "b2", "b3", "b4"]),
    ],
)
def test_a_scale_has_a_key_for_every_step_of_direction_and_strength(levels, has_tie, values):
    stand = Stand(strength_levels=levels, allow_tie=has_tie, allow_both_bad=False)
    url = stand.take()
    body = stand.client.get(url).content.decode()
    form = read_page(body, url=url).form(id="judge")
    assert [value for name, value in form.options if name == "choice"] == values
    for number, value in enumerate(values, start=1):
        keys = f"{number} t" if value == "tie" else str(number)
        assert f'value="{value}" data-key="{keys}"' in body
    stand.client.post(url, {"choice": values[-1]})
    assert Judgement.objects.get().strength == levels


def test_a_pair_with_every_question_is_stored_whole():
    stand = Stand(strength_levels=3, protocol=QUESTIONS)
    url = stand.take()
    task = Assignment.objects.get().task
    task.prompt.note, task.prompt.reference = "Mind the *units*.", "It is 4."
    task.prompt.metadata = {"checklist": ["Names the unit"]}
    task.prompt.save()
    body = stand.client.get(url).content.decode()
    assert "Mind the <em>units</em>" in body and "It is 4." in body and "Names the unit" in body
    assert stand.client.post(url, SAID).status_code == 303
    judgement = Judgement.objects.get()
    assert (judgement.verdict, judgement.strength, judgement.reasons) == ("ranked", 2, ["Tone"])
    assert judgement.comment == "Because of its tone."
    assert Score.objects.count() == 4 and Flag.objects.count() == 2
    assert violations(stand.campaign) == []


@pytest.mark.parametrize(
    ("without", "name"),
    [("choice", "choice"), ("compare-helpful", "compare-helpful"), ("reason", "reason"), ("comment", "comment")],
)
def test_what_is_missing_is_pointed_at_and_what_was_entered_is_kept(without, name):
    stand = Stand(strength_levels=3, protocol=QUESTIONS)
    url = stand.take()
    response = stand.client.post(url, {key: value for key, value in SAID.items() if key != without}, headers=HTMX)
    body = response.content.decode()
    assert response.status_code == 422 and 'role="alert"' in body and ("is-wrong" in body or "has-error" in body)
    kept = read_page(body, url=url).form(id="judge").fields
    for key, value in SAID.items():
        if key != without and key != "flag":
            assert kept[key] == (value if isinstance(value, list) else [value])
    assert not Judgement.objects.exists()


def test_a_better_answer_begins_from_one_that_is_shown():
    stand = Stand(protocol={"write_in": "optional"})
    url = stand.take()
    shown = read_page(stand.client.get(url).content.decode(), url=url).answers
    body = stand.client.post(url, {"begin": "B", "choice": "a"}).content.decode()
    form = read_page(body, url=url).form(id="judge")
    assert form.fields["write_in"] == [shown["b"]] and form.fields["edited_from"] == ["B"]
    assert form.fields["choice"] == ["a"]  # what was chosen stays
    stand.client.post(url, {"choice": "a", "write_in": "Better still.", "edited_from": "B"})
    judgement = Judgement.objects.get()
    assert judgement.write_in == "Better still." and judgement.edited_from.text == shown["b"]


@pytest.mark.parametrize("n_answers", [2, 4, 9])
def test_a_ranking_is_filled_in_by_numbers(n_answers):
    stand = many(n_answers, kind="rank")
    url = stand.take()
    page = read_page(stand.client.get(url).content.decode(), url=url)
    letters = "ABCDEFGHI"[:n_answers]
    given = {f"rank-{letter}": str(place) for place, letter in enumerate(letters, start=1)} | {"rank-B": "1"}
    assert stand.client.post(url, {"choice": "ranking", **given, "rank-A": ""}).status_code == 422
    given["rank-A"] = "2"
    assert stand.client.post(url, {"choice": "ranking", **given}).status_code == 303
    best = Judgement.objects.get().ranks.filter(rank=1)
    assert page.answers["b"] in {row.candidate.text for row in best}


def test_answers_are_rated_on_several_criteria():
    protocol = {
        "criteria": [
            {"name": "help", "label": "Helps", "kind": "rate", "levels": 5},
            {"name": "safe", "label": "Safe", "kind": "rate", "levels": 3, "is_required": False},
        ]
    }
    stand = many(3, kind="rate", protocol=protocol)
    url = stand.take()
    assert "choice" not in read_page(stand.client.get(url).content.decode(), url=url).form(id="judge").fields
    assert stand.client.post(url, {"rate-help-A": "1", "rate-help-B": "5"}).status_code == 422
    stand.client.post(url, {"rate-help-A": "1", "rate-help-B": "5", "rate-help-C": "3", "rate-safe-C": "2"})
    assert Score.objects.count() == 4
    assert sorted(Judgement.objects.get().ranks.values_list("rank", flat=True)) == [1, 2, 3]


def test_a_person_may_send_as_soon_as_they_choose_where_nothing_else_is_asked():
    stand = Stand()
    url = stand.take()
    assert 'type="radio" name="choice"' in stand.client.get(url).content.decode()
    preferences.change(stand.ana, submit_on_choice=True)
    assert '<button class="choice is-large" name="choice" value="a"' in stand.client.get(url).content.decode()
    Campaign = type(stand.campaign)
    Campaign.objects.update(protocol={"comment": "required"})
    assert 'type="radio" name="choice"' in stand.client.get(url).content.decode()


# ---- while a person works ----------------------------------------------------------------------------------------------


def test_a_draft_is_there_after_a_reload_and_gone_after_it_was_sent():
    stand = Stand(protocol={"write_in": "optional"})
    url = stand.take()
    Assignment.objects.update(opened_at=from_now(-60))
    draft = {"choice": "b", "comment": "half a thou", "number": "2000"}
    assert stand.client.post(url + "draft/", draft).status_code == 204
    stand.client.post(url + "draft/", {"choice": "a", "comment": "older", "number": "1000"})
    body = stand.client.get(url).content.decode()
    fields = read_page(body, url=url).form(id="judge").fields
    assert fields["comment"] == ["half a thou"] and fields["choice"] == ["b"] and 'data-draft-number="2000"' in body
    stand.client.post(url, {"choice": "b"})
    assert not Draft.objects.exists()
    assert stand.client.post(url + "draft/", draft).status_code == 204  # a packet that was late
    assert not Draft.objects.exists()


def test_the_next_task_is_fetched_ahead_once_shown_as_it_was_and_given_back_on_leaving():
    stand = Stand(n_tasks=4)
    url = stand.take()
    first, again = (stand.client.post(url + "ahead/", headers=HTMX) for _ in range(2))
    following = first.headers["HX-Replace-Url"]
    assert following == again.headers["HX-Replace-Url"] != url
    assert Assignment.objects.filter(status="open", opened_at=None).count() == 1
    assert f'action="{url}undo/"' in first.content.decode()
    response = stand.client.post(url, {"choice": "a"}, headers=HTMX)
    assert response.headers["HX-Replace-Url"] == following
    assert not Assignment.objects.filter(opened_at=None).exists()
    stand.client.post(following + "ahead/", headers=HTMX)
    assert stand.client.post(following + "leave/").status_code == 204
    assert Assignment.objects.filter(status="open").count() == 1
    assert violations(stand.campaign) == []


def test_leaving_a_campaign_that_is_gone_meanwhile_is_no_error(monkeypatch):
    stand = Stand()
    url = stand.take()

    def deleted_meanwhile(*args):
        found = turn_of(*args)
        ComparisonTask.objects.all().delete()
        Campaign.objects.all().delete()
        return found

    monkeypatch.setattr("annotation.views.keep.turn_of", deleted_meanwhile)
    assert stand.client.post(f"{url}leave/").status_code == 204
    assert stand.client.post(f"{url}leave/").status_code == 404


def test_without_another_task_nothing_is_fetched_ahead():
    stand = Stand(n_tasks=1)
    assert stand.client.post(stand.take() + "ahead/", headers=HTMX).status_code == 204


def test_activity_renews_a_lease_until_somebody_else_has_the_task():
    stand = Stand(n_tasks=1)
    url = stand.take()
    Assignment.objects.update(leased_until=from_now(20))
    assert json.loads(stand.client.post(url + "renew/").content)["seconds"] > 1000
    Assignment.objects.update(leased_until=from_now(-1))
    expire_leases()
    next_assignment(make_annotator(stand.project, "Ben"), stand.campaign)
    assert stand.client.post(url + "renew/", headers={"Accept": "application/json"}).status_code == 409


def test_a_task_that_is_retired_meanwhile_says_so_and_keeps_what_was_written():
    stand = Stand(protocol={"write_in": "optional"})
    url = stand.take()
    retire_task(Assignment.objects.get().task, by=stand.ravi, note="broken")
    response = stand.client.post(url, {"choice": "a", "comment": "An hour's work", "write_in": "Mine."}, headers=HTMX)
    body = response.content.decode()
    assert response.status_code == 409 and "An hour&#x27;s work" in body and "Your better answer: Mine." in body
    assert "Next task" in body


def test_a_judgement_is_corrected_until_the_campaign_closes():
    stand = Stand()
    url = stand.take()
    stand.client.post(url, {"choice": "a", "comment": "first"})
    assert "Correct" in stand.client.get(url).content.decode()
    page = read_page(stand.client.get(url + "correct/").content.decode(), url=url)
    form = page.form(id="judge")
    assert form.fields["choice"] == ["a"] and form.fields["comment"] == ["first"]
    again = {"choice": "tie", "comment": "second", "instead_of": form.fields["instead_of"][0]}
    response = stand.client.post(url + "correct/", again)
    assert (response.status_code, response.headers["Location"]) == (303, url)
    assert list(Judgement.objects.order_by("revision").values_list("verdict", flat=True)) == ["ranked", "tie"]
    assert Assignment.objects.get(status="submitted").current.comment == "second"
    response = stand.client.post(url + "correct/", {**again, "choice": "b"})  # from a page that is older than that
    assert response.status_code == 409 and Judgement.objects.count() == 2
    stand.campaign.refresh_from_db()
    type(stand.campaign).objects.update(stage="closed")
    assert stand.client.get(url + "correct/").status_code == 302
    assert violations(stand.campaign) == []


def test_ones_own_judgements_are_found_by_words_and_nobody_elses():
    stand = Stand(n_tasks=4, overlap=2)
    for word in ("zebra", "giraffe"):
        stand.client.post(stand.take(), {"choice": "a", "comment": f"about a {word}"})
    mine = stand.url("mine", stand.campaign.key)
    body = stand.client.get(mine).content.decode()
    assert "zebra" in body and "giraffe" in body and "A is better" in body
    body = stand.client.get(mine, {"q": "about ZEBRA"}).content.decode()
    assert "about a zebra" in body and "giraffe" not in body
    assert "Nothing found" in stand.client.get(mine, {"q": "elephant"}).content.decode()
    ben = make_annotator(stand.project, "Ben")
    assert "zebra" not in stand.browser(ben.user).get(mine).content.decode()


# ---- beside judging ------------------------------------------------------------------------------------------------------


def test_new_guidelines_come_before_a_task_in_hand():
    stand = Stand(guidelines="Be fair.")
    guidelines.confirm(stand.annotator, stand.campaign, 1)
    url = stand.take()
    guidelines.publish(stand.campaign, "Be kind.", "Kindness counts, too.", stand.ravi)
    assert stand.client.get(url).headers["Location"] == stand.start
    body = stand.client.get(stand.start).content.decode()
    assert "Kindness counts, too." in body and 'name="confirms" value="2"' in body and url not in body
    assert stand.client.post(stand.start, {"confirms": "2"}).headers["Location"] == url  # and on with the same one


def test_new_guidelines_are_confirmed_before_the_next_task_and_named_by_the_judgement():
    stand = Stand(guidelines="Be fair.")
    assert stand.client.post(stand.start).headers["Location"] == stand.start  # nothing before they are confirmed
    body = stand.client.get(stand.start).content.decode()
    assert 'name="confirms" value="1"' in body
    url = stand.client.post(stand.start, {"confirms": "1"}).headers["Location"]
    guidelines.publish(stand.campaign, "Be fair and quick.", "Quick, too.", stand.ravi)
    response = stand.client.post(url, {"choice": "a"}, headers=HTMX)
    body = response.content.decode()
    assert "The guidelines have changed" in body and "Quick, too." in body and "Be fair and quick." in body
    assert stand.client.post(stand.start, {"confirms": "1"}).headers["Location"] == stand.start
    url = stand.client.post(stand.start, {"confirms": "2"}).headers["Location"]
    stand.client.post(url, {"choice": "a"})
    assert Judgement.objects.latest("pk").guidelines_version == 2


def test_asking_parks_the_task_and_its_answer_comes_back():
    stand = Stand(n_tasks=3)
    url = stand.take()
    response = stand.client.post(url + "ask/", {"text": "Is *this* one?"})
    assert response.status_code == 303 and response.headers["Location"] != url
    question = questions.questions_of(stand.annotator).get()
    assert question.assignment.status == "parked"
    questions.answer(question=question, text="Yes, it is.", by=stand.ravi)
    assert "Yes, it is." in stand.client.get(stand.start).content.decode()
    following = stand.client.get(response.headers["Location"]).content.decode()
    assert "The lead has answered a question" in following
    assert stand.client.post(url + "resume/").headers["Location"] == url
    assert "Yes, it is." in stand.client.get(url).content.decode()
    assert stand.client.post(url, {"choice": "a"}).status_code == 303
    assert violations(stand.campaign) == []


def test_a_sensitive_campaign_asks_first_blurs_and_lets_go():
    stand = Stand(is_sensitive=True, support_text="Call **us**.")
    body = stand.client.get(stand.start).content.decode()
    assert "I agree to see it" in body and "<strong>us</strong>" in body and "Start judging" not in body
    assert stand.client.post(stand.start).headers["Location"] == stand.start
    stand.client.post(stand.url("agree", stand.campaign.key), {"agrees": "1"})
    url = stand.take()
    body = stand.client.get(url).content.decode()
    assert "data-sensitive" in body and "data-reveal" in body and "is-veiled" in body
    stand.client.post(stand.url("agree", stand.campaign.key), {"agrees": "0"})
    assert Assignment.objects.get().status == "released"
    assert Place.objects.get().agreed_sensitive_at is None
    assert agree(stand.annotator, stand.campaign).agreed_sensitive_at is not None


@pytest.mark.parametrize("name", ["draft", "renew", "ahead", "leave", "ask", "resume", "correct"])
def test_nobody_reaches_somebody_elses_turn(name):
    stand = Stand()
    url = stand.take()
    ben = stand.browser(make_annotator(stand.project, "Ben").user)
    assert ben.post(f"{url}{name}/", {"text": "?"}).status_code == 404
    assert Client().post(f"{url}{name}/").status_code == 302
    if name != "correct":
        assert stand.client.get(f"{url}{name}/").status_code == 405
