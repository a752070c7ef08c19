"""Pages on which campaigns begin, change, are tried out, and on which their tasks are moved: with Django's client."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Role
from annotation.assign import next_assignment
from annotation.campaign_templates import TEMPLATES
from annotation.campaigns import close_campaign
from annotation.models import Assignment, Campaign, ComparisonTask, Judgement, Place
from annotation.pageclient import Page, read_page
from annotation.people import annotator_for
from annotation.protocol import Protocol
from core.errors import DomainError
from tests.annotation.builders import (
    judge,
    make_annotator,
    make_campaign,
    make_job,
    make_model,
    make_project,
    make_user,
)

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


class Desk:
    """Ravi's browser in a project with answers by two models, four to a prompt and model."""

    def __init__(self) -> None:
        self.project = make_project(guidelines="Be kind.")
        self.models = [make_model(self.project), make_model(self.project)]
        self.job = make_job(self.project, n_prompts=6, n_answers=4, models=self.models)
        self.ravi = make_user("Ravi", self.project, Role.RESEARCHER)
        self.ana = make_user("Ana", self.project, Role.ANNOTATOR)
        self.client = Client()
        self.client.force_login(self.ravi)

    def url(self, name: str, *args: object) -> str:
        return reverse(f"annotation:{name}", args=[self.project.slug, *args])

    def page(self, address: str) -> Page:
        response = self.client.get(address)
        assert response.status_code == 200
        return read_page(response.content.decode(), url=address)

    def fields(self, query: str = "") -> dict:
        form = self.page(self.url("new-campaign") + query).form(id="campaign-form")
        assert form is not None
        return {**form.fields, "jobs": [self.job.key], "name": "Mine"}

    def started(self, data: dict) -> Campaign:
        response = self.client.post(self.url("new-campaign"), data)
        assert response.status_code == 303, response.content.decode()
        return Campaign.objects.latest("pk")


# ---- beginning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_fills_the_form_and_starts_what_the_paper_did(name):
    desk, template = Desk(), TEMPLATES[name]
    campaign = desk.started({**desk.fields(f"?template={name}"), "guidelines": "Ours."})
    expected = template.options()
    assert campaign.template == name and campaign.kind == template.kind and campaign.overlap == template.overlap
    for column in ("question", "strength_levels", "allow_tie", "allow_both_good", "allow_both_bad"):
        assert getattr(campaign, column) == expected[column], column
    assert Protocol.parse(campaign.protocol) == template.protocol
    assert campaign.is_sensitive == template.more.get("is_sensitive", False)
    assert campaign.chosen_is_worse == template.more.get("chosen_is_worse", False)
    assert {**template.pairing}.items() <= {"per_prompt": None, **campaign.pairing}.items()
    assert campaign.guidelines == "Ours."


def test_a_clone_begins_as_the_earlier_campaign_was():
    desk = Desk()
    options = {
        "question": "Which one is kinder?",
        "strength_levels": 3,
        "allow_tie": True,
        "protocol": {
            "criteria": [{"name": "kind", "label": "Kind", "kind": "rate", "levels": 5}],
            "reasons": ["Tone"],
            "comment": "required",
            "min_comment": 12,
            "show": ["note"],
        },
        "cap_per_day": 40,
        "onboarding": {"keys": True, "n_practice": 2, "pass_mark": 0.75},
        "audience": {"people": [desk.ana.key]},
    }
    pairing = {"pairs": "across", "near": 0, "leave_out": ["leaking"], "per_prompt": 2}
    first = make_campaign(desk.project, job=desk.job, overlap=3, pairing=pairing, **options)
    second = desk.started(desk.fields(f"?clone={first.key}"))
    assert second.cloned_from == first and second.pk != first.pk
    for column in (
        "question",
        "strength_levels",
        "protocol",
        "cap_per_day",
        "onboarding",
        "audience",
        "pairing",
        "overlap",
    ):
        assert getattr(second, column) == getattr(first, column), column
    assert list(second.jobs.all()) == [desk.job]


def test_a_criterion_is_added_and_removed_without_javascript():
    desk = Desk()
    data = {**desk.fields(), "row": "add", "question": "As typed?"}
    response = desk.client.post(desk.url("new-campaign"), data)
    assert response.status_code == 200 and not Campaign.objects.exists()
    form = read_page(response.content.decode(), url="").form(id="campaign-form")
    assert form is not None and form.fields["n_criteria"] == ["1"] and form.fields["question"] == ["As typed?"]
    assert "Please put this right" not in response.content.decode()
    filled = {**form.fields, "criterion-0-label": "Is it correct?", "criterion-0-answer": "compare-3-tie", "row": "add"}
    form = read_page(desk.client.post(desk.url("new-campaign"), filled).content.decode(), url="").form(
        id="campaign-form"
    )
    assert form is not None and form.fields["criterion-0-label"] == ["Is it correct?"]
    filled = {
        **form.fields,
        "criterion-1-label": "Harmless",
        "criterion-1-answer": "rate-4",
        "criterion-1-high": "Safe",
    }
    removed = desk.client.post(desk.url("new-campaign"), {**filled, "row": "remove-0"})
    form = read_page(removed.content.decode(), url="").form(id="campaign-form")
    assert form is not None and form.fields["criterion-0-label"] == ["Harmless"] and form.fields["n_criteria"] == ["1"]
    campaign = desk.started({**filled, "n_criteria": "2"})
    one, two = Protocol.parse(campaign.protocol).criteria
    assert (one.name, one.kind, one.levels, one.allow_tie) == ("is_it_correct", "compare", 3, True)
    assert (two.kind, two.levels, two.high) == ("rate", 4, "Safe")


def test_htmx_takes_the_criteria_from_the_answer():
    desk = Desk()
    body = desk.client.post(desk.url("new-campaign"), {**desk.fields(), "row": "add"}, headers=HTMX).content.decode()
    assert "<html" not in body and 'id="criteria"' in body and "criterion-0-label" in body


def test_every_option_of_a_protocol_can_be_set_on_the_form():
    desk = Desk()
    data = desk.fields() | {
        "scale": "7", "allow_both_good": "on", "reasons": "Correct\nKind\n\nKind", "needs_reason": "on", "comment": "required",
        "min_comment": "30", "write_in": "on", "show": ["note", "checklist"], "has_diff": "on", "is_sensitive": "on",
        "support_text": "Call us.", "cap_per_person": "100", "cap_per_day": "10", "people": [desk.ana.key], "pay_per_hour": "20.5",
        "keys": "on", "n_practice": "3", "n_qualification": "5", "pass_mark": "70", "tries": "4", "probation": "20",
        "leave_out": ["leaking", "truncated"], "near": "", "pairs": "random", "per_prompt": "2", "lease_minutes": "12",
    }  # fmt: skip
    data.pop("has_flags")
    campaign = desk.started(data)
    protocol = Protocol.parse(campaign.protocol)
    assert protocol.reasons == ("Correct", "Kind") and protocol.needs_reason and protocol.write_in == "optional"
    assert (protocol.comment, protocol.min_comment, protocol.show) == ("required", 30, ("note", "checklist"))
    assert protocol.has_diff and not protocol.has_flags
    assert (campaign.strength_levels, campaign.allow_tie, campaign.allow_both_good) == (3, True, True)
    assert campaign.is_sensitive and campaign.support_text == "Call us."
    assert (campaign.cap_per_person, campaign.cap_per_day, campaign.pay_per_hour) == (100, 10, 20.5)
    assert campaign.audience == {"people": [desk.ana.key]}
    assert campaign.onboarding == {
        "keys": True, "n_practice": 3, "n_qualification": 5, "pass_mark": 0.7, "tries": 4, "probation": 20
    }  # fmt: skip
    assert campaign.pairing == {
        "pairs": "random", "per_prompt": 2, "leave_out": ["leaking", "truncated"], "near": 0.0
    }  # fmt: skip
    assert campaign.lease_minutes == 12


@pytest.mark.parametrize("scale, levels, tie", [("4", 2, False), ("6", 3, False), ("7", 3, True), ("8", 4, False)])
def test_a_scale_decides_levels_and_tie(scale, levels, tie):
    desk = Desk()
    campaign = desk.started({**desk.fields(), "scale": scale})
    assert (campaign.strength_levels, campaign.allow_tie) == (levels, tie)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kind": "rate"}, "nothing to rate by"),
        ({"pairs": "baseline"}, "Choose the version"),
        ({"regression_share": "10"}, "no version and one before"),
        ({"needs_reason": "on"}, "there is none to choose"),
        ({"people": ["nobody"]}, "Select a valid choice"),
    ],
)
def test_what_makes_no_sense_comes_back_with_what_to_do_and_what_was_typed(wrong, says):
    desk = Desk()
    response = desk.client.post(desk.url("new-campaign"), {**desk.fields(), "question": "Typed?", **wrong})
    assert response.status_code == 422
    assert says in response.content.decode() and "Typed?" in response.content.decode()
    assert not Campaign.objects.exists()


# ---- plan and preview --------------------------------------------------------------------------------------------------


def test_the_plan_and_the_preview_follow_the_form():
    desk = Desk()
    data = {
        **desk.fields(),
        "question": "Which one is kinder?",
        "overlap": "3",
        "max_tasks": "10",
        "pay_per_hour": "30",
    }
    body = desk.client.post(desk.url("plan"), data, headers=HTMX).content.decode()
    assert "<html" not in body and 'id="plan"' in body and 'id="preview"' in body
    assert "<strong>10</strong> on 6 of 6 prompts" in body and "<strong>30</strong>, 3 a task" in body
    assert "22 min" in body.replace("23 min", "22 min") and "assumed" in body and "±" in body
    assert "Which one is kinder?" in body and "inert" in body and "Answer " in body
    assert not Campaign.objects.exists() and not ComparisonTask.objects.exists()
    without_htmx = desk.client.post(desk.url("new-campaign"), {**data, "look": "1"}).content.decode()
    assert "<strong>10</strong> on 6 of 6 prompts" in without_htmx


def test_the_preview_names_no_model():
    desk = Desk()
    page = desk.client.post(desk.url("plan"), {**desk.fields(), "pairs": "across"}).content.decode()
    preview = page[page.index('id="preview"') :]
    assert not any(model.slug in preview or model.key in preview for model in desk.models)


def test_half_a_form_has_no_plan_and_says_what_is_missing():
    desk = Desk()
    body = desk.client.post(desk.url("plan"), {**desk.fields(), "jobs": []}, headers=HTMX).content.decode()
    assert "Choose the answers first" in body


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_try_out_of_every_template_reads_the_form_and_records_nothing(name):
    desk = Desk()
    response = desk.client.post(desk.url("try-begin"), desk.fields(f"?template={name}"), follow=True)
    page = read_page(response.content.decode(), url=desk.url("try", 1))
    assert response.status_code == 200 and "Nothing is recorded" in response.content.decode()
    form = page.form(id="judge")
    assert form is not None
    empty = desk.client.post(desk.url("try", 1), {})
    assert empty.status_code == 422  # read as the real page reads it
    fields = _answers_to(name, len(page.answers))
    done = desk.client.post(desk.url("try", 1), fields)
    assert done.status_code == 200, done.content.decode()
    assert "This would be recorded" in done.content.decode()
    assert not Judgement.objects.exists() and not Assignment.objects.exists() and not Campaign.objects.exists()


def _answers_to(name: str, n_answers: int) -> dict[str, str]:
    letters = "ABCDEFGHI"[:n_answers]
    if name == "instructgpt":
        ranks = {f"rank-{letter}": str(place) for place, letter in enumerate(letters, start=1)}
        return {"choice": "ranking", **ranks, **{f"rate-quality-{letter}": "5" for letter in letters}}
    if name == "llama-2":
        return {"choice": "a3", **{f"rate-safe-{letter}": "2" for letter in letters}}
    if name == "helpsteer3":
        return {"choice": "tie", "comment": "Both say the same in other words."}
    return {"choice": "b4" if name.startswith("hh") else "b"}


def test_one_comes_back_from_a_try_out_to_the_form_as_it_was():
    desk = Desk()
    data = {**desk.fields(), "question": "As typed?", "n_criteria": "1", "criterion-0-label": "Kind"}
    response = desk.client.post(desk.url("try-begin"), data, follow=True)
    back = next(url for words, url in read_page(response.content.decode(), url="").links if words == "Back")
    form = desk.page(back).form(id="campaign-form")
    assert form is not None
    assert form.fields["question"] == ["As typed?"] and form.fields["criterion-0-label"] == ["Kind"]


def test_a_try_out_of_a_campaign_that_stands():
    desk = Desk()
    campaign = make_campaign(desk.project, job=desk.job)
    address = desk.url("try-campaign", campaign.key, 1)
    assert "Nothing is recorded" in desk.client.get(address).content.decode()
    assert "This would be recorded" in desk.client.post(address, {"choice": "a"}, headers=HTMX).content.decode()
    assert desk.client.get(desk.url("try-campaign", campaign.key, 99)).status_code == 404
    assert not Assignment.objects.exists()


def test_without_a_form_there_is_nothing_to_try():
    desk = Desk()
    assert "begin with the form" in desk.client.get(desk.url("try", 1)).content.decode()
    assert desk.client.post(desk.url("try-begin"), {"name": "x"}).status_code == 422


# ---- change ------------------------------------------------------------------------------------------------------------


def changed(desk: Desk, campaign: Campaign, **fields) -> Campaign:
    form = desk.page(desk.url("change", campaign.key)).form(id="campaign-form")
    assert form is not None
    response = desk.client.post(desk.url("change", campaign.key), {**form.fields, **fields})
    assert response.status_code == 303, response.content.decode()
    campaign.refresh_from_db()
    return campaign


def test_before_the_first_judgement_a_change_is_no_new_version():
    desk = Desk()
    campaign = changed(desk, make_campaign(desk.project, job=desk.job), question="Which one is kinder?", scale="6")
    assert (campaign.question, campaign.strength_levels, campaign.protocol_version) == ("Which one is kinder?", 3, 1)


def test_after_it_a_change_of_meaning_makes_a_new_version_and_a_change_of_work_does_not():
    desk = Desk()
    campaign = make_campaign(desk.project, job=desk.job)
    ana = annotator_for(desk.ana, desk.project)
    turn = next_assignment(ana, campaign)
    judgement = judge(turn, verdict="tie")
    assert judgement.protocol_version == 1
    assert changed(desk, campaign, cap_per_day="5", name="New name").protocol_version == 1
    assert (campaign.cap_per_day, campaign.name) == (5, "New name")
    assert changed(desk, campaign, question="Which one is kinder?").protocol_version == 2
    assert changed(desk, campaign).protocol_version == 2  # saved again, nothing changed
    judgement.refresh_from_db()
    assert judgement.protocol_version == 1
    turn = next_assignment(ana, campaign)
    assert judge(turn, verdict="tie").protocol_version == 2


def test_other_guidelines_are_a_new_version_with_a_note():
    desk = Desk()
    campaign = make_campaign(desk.project, job=desk.job, guidelines="One.")
    form = desk.page(desk.url("change", campaign.key)).form(id="campaign-form")
    assert form is not None
    refused = desk.client.post(desk.url("change", campaign.key), {**form.fields, "guidelines": "Two."})
    assert refused.status_code == 422 and "Say in a sentence" in refused.content.decode()
    changed(desk, campaign, guidelines="Two.", note="Counted on.")
    assert (campaign.guidelines, campaign.guidelines_version) == ("Two.", 2)
    assert list(campaign.guidelines_versions.values_list("number", "note")) == [(1, ""), (2, "Counted on.")]


def test_a_closed_campaign_is_opened_again_and_judged_on():
    desk = Desk()
    campaign = make_campaign(desk.project, job=desk.job)
    close_campaign(campaign, by=desk.ravi)
    assert "Open again" in desk.client.get(desk.url("campaign", campaign.key)).content.decode()
    assert desk.client.get(desk.url("change", campaign.key)).status_code == 200
    assert desk.client.post(desk.url("act", campaign.key, "reopen")).status_code == 303
    campaign.refresh_from_db()
    assert campaign.stage == "open" and campaign.closed_at is None
    assert next_assignment(annotator_for(desk.ana, desk.project), campaign) is not None


# ---- tasks -------------------------------------------------------------------------------------------------------------


def test_tasks_put_first_come_next_even_for_people_who_have_walked_past_them():
    desk = Desk()
    campaign = make_campaign(desk.project, job=make_job(desk.project, n_prompts=8))
    ana = annotator_for(desk.ana, desk.project)
    for _ in range(3):
        turn = next_assignment(ana, campaign)
        judge(turn, verdict="tie")
    chosen = campaign.tasks.filter(is_free=True).order_by("-line").first()
    response = desk.client.post(desk.url("tasks", campaign.key), {"task": [chosen.key], "action": "priority-first"})
    assert response.status_code == 303
    assert next_assignment(ana, campaign).task == chosen


def test_all_that_fit_the_filter_are_moved():
    desk = Desk()
    campaign = make_campaign(desk.project, job=make_job(desk.project, n_prompts=60))
    n_holdout = campaign.tasks.filter(prompt__split="holdout").count()
    desk.client.post(desk.url("tasks", campaign.key), {"all": "1", "split": "holdout", "action": "priority-last"})
    assert n_holdout and campaign.tasks.filter(priority__lt=0).count() == n_holdout
    page = desk.client.get(desk.url("tasks", campaign.key) + "?priority=last").content.decode()
    assert f"{n_holdout} task" in page


def test_tasks_are_taken_out_with_a_reason():
    desk = Desk()
    campaign = make_campaign(desk.project, job=make_job(desk.project, n_prompts=3))
    keys = list(campaign.tasks.values_list("key", flat=True))[:2]
    refused = desk.client.post(desk.url("tasks", campaign.key), {"task": keys, "action": "retire"})
    assert refused.status_code == 422 and "Say why" in refused.content.decode()
    desk.client.post(desk.url("tasks", campaign.key), {"task": keys, "action": "retire", "note": "Wrong prompts."})
    assert campaign.tasks.filter(status="retired").count() == 2


def test_what_people_hold_is_freed_or_handed_over():
    desk = Desk()
    campaign = make_campaign(desk.project, job=make_job(desk.project, n_prompts=3))
    ana = annotator_for(desk.ana, desk.project)
    turn = next_assignment(ana, campaign)
    assert ana.pseudonym in desk.client.get(desk.url("tasks", campaign.key)).content.decode()
    desk.client.post(desk.url("tasks", campaign.key), {"person": [ana.pseudonym], "action": "release"})
    turn.refresh_from_db()
    assert turn.status == "released" and ComparisonTask.objects.get(pk=turn.task_id).n_taken == 0
    held = next_assignment(ana, campaign)
    ben = make_annotator(desk.project, "Ben")
    data = {"person": [ana.pseudonym], "action": "hand-over", "to": ben.user.key}
    assert desk.client.post(desk.url("tasks", campaign.key), data).status_code == 303
    held.refresh_from_db()
    assert held.status == "released"
    assert next_assignment(ben, campaign).task_id == held.task_id
    assert ComparisonTask.objects.get(pk=held.task_id).n_taken == 1
    assert Place.objects.get(annotator=ben, campaign=campaign) is not None


def test_nothing_is_handed_to_who_may_not_judge_here():
    desk = Desk()
    campaign = make_campaign(desk.project, job=desk.job, audience={"people": [desk.ana.key]})
    ana = annotator_for(desk.ana, desk.project)
    next_assignment(ana, campaign)
    ben = make_annotator(desk.project, "Ben")
    data = {"person": [ana.pseudonym], "action": "hand-over", "to": ben.user.key}
    response = desk.client.post(desk.url("tasks", campaign.key), data)
    assert response.status_code == 409 and "not for" in response.content.decode()
    assert Assignment.objects.get().status == "open"


# ---- access ------------------------------------------------------------------------------------------------------------


def test_only_researchers_begin_and_change_and_strangers_see_nothing():
    desk = Desk()
    campaign = make_campaign(desk.project, job=desk.job)
    pages = [
        desk.url("new-campaign"), desk.url("change", campaign.key), desk.url("try", 1),
        desk.url("try-campaign", campaign.key, 1), desk.url("tasks", campaign.key),
    ]  # fmt: skip
    for user, status in ((desk.ana, 403), (make_user("Olga"), 404)):
        client = Client()
        client.force_login(user)
        assert {client.get(page).status_code for page in pages} == {status}
        assert client.post(desk.url("plan"), {}).status_code == status
        assert client.post(desk.url("try-begin"), {}).status_code == status
    reviewer = Client()
    reviewer.force_login(make_user("Rita", desk.project, Role.REVIEWER))
    assert reviewer.get(desk.url("tasks", campaign.key)).status_code == 200
    task = campaign.tasks.first()
    data = {"task": [task.key], "action": "priority-first"}
    assert reviewer.post(desk.url("tasks", campaign.key), data).status_code == 403
    assert desk.client.get(desk.url("plan")).status_code == 405


def test_a_campaign_of_another_project_is_none():
    desk, other = Desk(), Desk()
    campaign = make_campaign(other.project, job=other.job)
    assert desk.client.get(desk.url("change", campaign.key)).status_code == 404
    assert desk.client.get(desk.url("new-campaign") + f"?clone={campaign.key}").status_code == 200
    assert desk.fields(f"?clone={campaign.key}")["cloned_from"] == [""]


def test_what_is_fixed_at_the_start_cannot_be_changed():
    from annotation.campaigns import change_campaign

    campaign = make_campaign()
    with pytest.raises(DomainError, match="fixed"):
        change_campaign(campaign, options={"kind": "rank"}, by=None)
