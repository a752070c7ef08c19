"""The annotate screen and the campaign pages with Django's client: with htmx, without it, without access, wrong method."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, Role
from annotation.assign import next_assignment, skip_assignment
from annotation.campaigns import close_campaign
from annotation.expiry import expire_leases
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Judgement
from annotation.pageclient import read_page
from annotation.people import annotator_for
from core.jobs import from_now
from generation.models import GenerationJob, ModelReveal
from tests.annotation.builders import (
    judge,
    make_annotator,
    make_campaign,
    make_job,
    make_model,
    make_project,
    make_user,
)
from tests.annotation.checks import violations
from tests.api.client import Api

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


class Stand:
    """A campaign with Ana at her browser, Ravi who researches, and Olga from elsewhere."""

    def __init__(self, **options) -> None:
        self.project = make_project()
        self.campaign: Campaign = make_campaign(self.project, **{"n_tasks": 3, **options})
        self.ana = make_user("Ana", self.project, Role.ANNOTATOR)
        self.ravi = make_user("Ravi", self.project, Role.RESEARCHER, Role.REVIEWER)
        self.olga = make_user("Olga")
        self.client = self.browser(self.ana)

    def browser(self, user) -> Client:
        client = Client()
        client.force_login(user)
        return client

    def url(self, name: str, *args: object) -> str:
        return reverse(f"annotation:{name}", args=[self.project.slug, *args])

    @property
    def start(self) -> str:
        return self.url("start", self.campaign.key)

    def take(self) -> str:
        """Press the start button; the address of the task."""
        return self.client.post(self.start).headers["Location"]

    @property
    def annotator(self) -> Annotator:
        return annotator_for(self.ana, self.project)


# ---- the walk ------------------------------------------------------------------------------------------------------------


def test_a_person_without_javascript_judges_everything_by_forms_and_redirects():
    stand = Stand(n_tasks=3)
    assert stand.start in stand.client.get(stand.url("next")).content.decode()
    page = read_page(stand.client.get(stand.start).content.decode(), url=stand.start)
    assert page.form(stand.start) is not None
    response = stand.client.post(stand.start)
    for choice in ("a", "tie", "both_bad"):
        assert response.status_code == 303
        url = response.headers["Location"]
        page = read_page(stand.client.get(url).content.decode(), url=url)
        form = page.form(id="judge")
        assert form is not None and form.action == url and ("choice", choice) in form.options
        assert set(page.answers) == {"a", "b"} and all(text.startswith("Answer") for text in page.answers.values())
        response = stand.client.post(url, {"choice": choice, "active": "15"})
    assert response.headers["Location"] == stand.start
    assert "Nothing left for you" in stand.client.get(stand.start).content.decode()
    assert sorted(Judgement.objects.values_list("verdict", flat=True)) == ["all_bad", "ranked", "tie"]
    assert set(Judgement.objects.values_list("seconds_active", flat=True)) == {15.0}
    assert violations(stand.campaign) == []


def test_a_choice_falls_on_the_answer_that_was_shown_under_its_letter():
    stand = Stand(n_tasks=8)
    url = stand.take()
    while "campaign" not in url:
        page = read_page(stand.client.get(url).content.decode(), url=url)
        response = stand.client.post(url, {"choice": "b"})
        best = Judgement.objects.latest("pk").ranks.get(rank=1).candidate
        assert best.text == page.answers["b"]
        url = response.headers["Location"]


def test_htmx_gets_the_next_task_as_a_fragment_and_the_address_follows():
    stand = Stand()
    url = stand.take()
    response = stand.client.post(url, {"choice": "a"}, headers=HTMX)
    assert response.status_code == 200
    body = response.content.decode()
    assert "<html" not in body and 'id="judge"' in body and "Saved." in body
    following = response.headers["HX-Replace-Url"]
    assert following != url and following in body
    assert stand.client.get(following).status_code == 200


def test_htmx_gets_the_start_page_when_nothing_is_left():
    stand = Stand(n_tasks=1)
    response = stand.client.post(stand.take(), {"choice": "a"}, headers=HTMX)
    assert "Nothing left for you" in response.content.decode()
    assert response.headers["HX-Replace-Url"] == stand.start


def test_t120_a_double_click_gives_the_same_next_page_and_one_row():
    stand = Stand()
    url = stand.take()
    first, second = (stand.client.post(url, {"choice": "a"}) for _ in range(2))
    assert first.headers["Location"] == second.headers["Location"]
    assert Judgement.objects.count() == 1


def test_t122_another_choice_from_a_second_tab_is_a_409_that_says_what_stands():
    stand = Stand()
    url = stand.take()
    stand.client.post(url, {"choice": "a"})
    for headers in ({}, HTMX):
        response = stand.client.post(url, {"choice": "b", "comment": "I mean it"}, headers=headers)
        body = response.content.decode()
        assert response.status_code == 409
        assert "another way" in body and "B is better" in body and "I mean it" in body
        assert read_page(body, url=url).form(stand.start) is not None
    assert Judgement.objects.count() == 1


def test_t123_a_late_judgement_without_a_seat_is_a_409_with_what_was_written():
    stand = Stand(n_tasks=1)
    url = stand.take()
    Assignment.objects.update(leased_until=from_now(-1))
    expire_leases()
    assert 'id="judge"' in stand.client.get(url).content.decode()  # the seat is still free: it may be judged
    next_assignment(make_annotator(stand.project, "Ben"), stand.campaign)
    response = stand.client.post(url, {"choice": "a", "comment": "Took me an hour"})
    assert response.status_code == 409
    assert "somebody else" in response.content.decode() and "Took me an hour" in response.content.decode()
    assert stand.client.get(url).status_code == 409
    assert violations(stand.campaign) == []


def test_a_skip_takes_its_reason_and_goes_on():
    stand = Stand()
    url = stand.take()
    response = stand.client.post(url + "skip/", {"reason": "2"})
    assert response.status_code == 303 and response.headers["Location"] != url
    assert Assignment.objects.get(status="skipped").skip_reason == "The prompt makes no sense"


def test_undo_brings_the_judged_task_back():
    stand = Stand()
    url = stand.take()
    stand.client.post(url, {"choice": "a"})
    assert "A is better" in stand.client.get(url).content.decode()  # the done page
    response = stand.client.post(url + "undo/")
    assert (response.status_code, response.headers["Location"]) == (303, url)
    stand.client.post(url, {"choice": "b"})
    assert list(Judgement.objects.order_by("revision").values_list("verdict", flat=True)) == [
        "ranked",
        "withdrawn",
        "ranked",
    ]
    assert violations(stand.campaign) == []


def test_a_form_without_a_choice_comes_back_with_what_was_typed():
    stand = Stand()
    response = stand.client.post(stand.take(), {"comment": "half a thought"}, headers=HTMX)
    assert response.status_code == 422
    assert "Choose one of the buttons" in response.content.decode() and "half a thought" in response.content.decode()


@pytest.mark.parametrize("active", ["", "-5", "nan", "inf", "1e99", "soon"])
def test_time_that_makes_no_sense_does_no_harm(active):
    stand = Stand()
    response = stand.client.post(stand.take(), {"choice": "a", "active": active})
    assert response.status_code in (303, 422)
    assert not Judgement.objects.exclude(seconds_active=0).exists()


def test_opening_pages_changes_nothing():
    stand = Stand()
    url = stand.take()
    before = list(Assignment.objects.values()), list(ComparisonTask.objects.values()), Annotator.objects.count()
    ben = make_user("Ben", stand.project, Role.ANNOTATOR)
    for client in (stand.client, stand.browser(ben)):
        for address in (stand.url("next"), stand.start, url):
            client.get(address)
            client.head(address)
    assert (
        list(Assignment.objects.values()),
        list(ComparisonTask.objects.values()),
        Annotator.objects.count(),
    ) == before


def test_while_others_hold_what_is_left_the_page_says_so_and_asks_again():
    stand = Stand(n_tasks=1)
    next_assignment(make_annotator(stand.project, "Ben"), stand.campaign)
    stand.client.post(stand.start)
    body = stand.client.get(stand.start).content.decode()
    assert "1 task is being judged by others" in body and 'hx-trigger="every 15s"' in body


def test_several_open_campaigns_give_a_choice():
    stand = Stand()
    other = make_campaign(stand.project, job=GenerationJob.objects.first())
    body = stand.client.get(stand.url("next")).content.decode()
    assert stand.campaign.name in body and other.name in body


def test_strength_is_asked_where_the_campaign_asks_for_it():
    stand = Stand(strength_levels=2)
    url = stand.take()
    assert "A slightly better" in stand.client.get(url).content.decode()
    assert stand.client.post(url, {"choice": "a"}).status_code == 422
    stand.client.post(url, {"choice": "a2"})
    assert Judgement.objects.get().strength == 2


# ---- four ways ---------------------------------------------------------------------------------------------------------


def pages(stand: Stand) -> dict[str, tuple[str, Client]]:
    """Every page that opens with GET, with someone who may open it."""
    ravi = stand.browser(stand.ravi)
    return {
        "start": (stand.start, stand.client),
        "assignment": (stand.take(), stand.client),
        "campaigns": (stand.url("campaigns"), ravi),
        "new": (stand.url("new-campaign"), ravi),
        "campaign": (stand.url("campaign", stand.campaign.key), ravi),
        "judgements": (stand.url("judgements", stand.campaign.key), ravi),
    }


@pytest.mark.parametrize("name", ["start", "assignment", "campaigns", "new", "campaign", "judgements"])
def test_each_page_is_full_or_a_fragment_and_closed_to_others(name):
    stand = Stand()
    url, client = pages(stand)[name]
    full, part = client.get(url), client.get(url, headers=HTMX)
    assert full.status_code == part.status_code == 200
    assert "<html" in full.content.decode() and "<html" not in part.content.decode()
    assert "HX-Request" in full.headers["Vary"]
    assert stand.browser(stand.olga).get(url).status_code == 404
    assert Client().get(url).status_code == 302
    assert client.delete(url).status_code == 405


@pytest.mark.parametrize("name", ["campaigns", "new", "campaign", "judgements"])
def test_annotators_do_not_open_the_pages_of_researchers(name):
    stand = Stand()
    assert stand.client.get(pages(stand)[name][0]).status_code == 403


def test_buttons_are_not_links():
    stand = Stand()
    url = stand.take()
    for address in (url + "skip/", url + "undo/"):
        assert stand.client.get(address).status_code == 405
    ravi = stand.browser(stand.ravi)
    for action in ("pause", "close"):
        assert ravi.get(stand.url("act", stand.campaign.key, action)).status_code == 405


def test_somebody_elses_assignment_looks_like_none():
    stand = Stand()
    url = stand.take()
    ben = stand.browser(make_user("Ben", stand.project, Role.ANNOTATOR))
    for address in (url, url + "skip/", url + "undo/"):
        assert ben.post(address, {"choice": "a"}).status_code == 404
    assert ben.get(url).status_code == 404
    assert Assignment.objects.get().status == "open"


def test_t014_a_campaign_of_another_project_is_not_found():
    stand, other = Stand(), Stand()
    assert stand.client.get(stand.url("start", other.campaign.key)).status_code == 404
    assert stand.browser(stand.ravi).get(stand.url("campaign", other.campaign.key)).status_code == 404


def test_a_member_who_lost_the_role_can_submit_nothing():
    stand = Stand()
    url = stand.take()
    stand.ana.memberships.update(is_annotator=False, is_reviewer=True)
    assert stand.client.post(url, {"choice": "a"}).status_code == 403
    assert not Judgement.objects.exists()


# ---- blinding ------------------------------------------------------------------------------------------------------------


def test_t030_nothing_that_an_annotator_gets_names_a_model():
    project = make_project()
    models = [make_model(project, "canary-model-a"), make_model(project, "canary-model-b")]
    job = make_job(project, n_prompts=4, n_answers=1, models=models)
    job.arms.update(sampling={"temperature": 0.123456}, engine_version="canary-engine")
    campaign = make_campaign(project, job=job, pairing={"pairs": "across"})
    client = Client()
    client.force_login(make_user("Ana", project, Role.ANNOTATOR))
    start = reverse("annotation:start", args=[project.slug, campaign.key])
    seen = [client.get(reverse("annotation:next", args=[project.slug])), client.get(start)]
    response = client.post(start)
    hidden = ["canary", "0.123456", job.key, *[model.key for model in models]]
    hidden += [candidate.key for task in campaign.tasks.all() for candidate in task.candidates.all()]
    hidden += [task.key for task in campaign.tasks.all()] + [
        str(task.candidates_sha256) for task in campaign.tasks.all()
    ]
    while response.status_code == 303 and "campaign" not in response.headers["Location"]:
        url = response.headers["Location"]
        seen += [response, client.get(url), client.get(url, headers=HTMX)]
        response = client.post(url, {"choice": "a"})
        seen += [client.get(url), client.post(url, {"choice": "b"}), client.post(url + "skip/")]
    seen.append(client.get(response.headers["Location"]))
    for page in seen:
        everything = page.content.decode() + str(dict(page.headers)) + str(page.cookies)
        assert not [word for word in hidden if word in everything]


def test_t032_what_is_not_text_is_the_same_bytes_whoever_wrote_the_answers():
    project = make_project()
    models = [make_model(project), make_model(project)]
    job = make_job(project, n_prompts=6, n_answers=1, models=models)
    campaign = make_campaign(project, job=job, pairing={"pairs": "across"})
    client = Client()
    client.force_login(make_user("Ana", project, Role.ANNOTATOR))
    response, shapes = client.post(reverse("annotation:start", args=[project.slug, campaign.key])), set()
    while "campaign" not in response.headers["Location"]:
        url = response.headers["Location"]
        body = client.get(url, headers=HTMX).content.decode()
        body = re.sub(r"annotate/[a-z2-9]{12}/", "annotate/KEY/", body)  # random, of the assignment
        body = re.sub(r'csrfmiddlewaretoken" value="\w+"', "TOKEN", body)
        body = re.sub(r"(?s)(data-answer=\"[ab]\">).*?(</div>)", r"\1TEXT\2", body)
        body = re.sub(r'(?s)class="asked[^"]*".*?</section>', "PROMPT", body)
        body = re.sub(r"<strong>\d</strong> by you · \d of", "PROGRESS", body)
        body = re.sub(r'<progress value="\d".*?</progress>', "PROGRESS", body)
        body = re.sub(r'(?s)<form id="undo".*?</form>|<button[^>]* form="undo".*?</button>', "", body)
        shapes.add(re.sub(r"\s+", " ", body))
        response = client.post(url, {"choice": "a"})
    assert len(shapes) == 1


def test_t042_task_pages_are_kept_by_no_cache_and_no_history():
    stand = Stand()
    url = stand.take()
    for response in (stand.client.get(url), stand.client.get(url, headers=HTMX), stand.client.get(stand.start)):
        assert response.headers["Cache-Control"] == "no-store"
    assert 'hx-history="false"' in stand.client.get(url).content.decode()


def test_t046_a_judgement_after_a_reveal_is_unblinded_and_one_before_is_not():
    stand = Stand(n_tasks=2)
    stand.client.post(stand.take(), {"choice": "a"})
    assert Judgement.objects.get().is_unblinded is False
    ModelReveal.objects.create(user=stand.ana, job=stand.campaign.jobs.get(), page="elsewhere")
    stand.client.post(Assignment.objects.get(status="open") and stand.take(), {"choice": "a"})
    assert list(Judgement.objects.order_by("pk").values_list("is_unblinded", flat=True)) == [False, True]


def test_a_reveal_of_another_job_unblinds_nothing():
    stand = Stand(n_tasks=1)
    ModelReveal.objects.create(user=stand.ana, job=make_job(stand.project), page="elsewhere")
    stand.client.post(stand.take(), {"choice": "a"})
    assert Judgement.objects.get().is_unblinded is False


def test_model_output_is_shown_inert():
    project = make_project()
    job = make_job(project, n_prompts=1)
    arm = job.arms.get()
    arm.candidates.filter(index=0).update(
        text="<script>alert(1)</script><b hx-get='/x'>bold</b> [x](javascript:alert(1))"
    )
    campaign = make_campaign(project, job=job)
    client = Client()
    client.force_login(make_user("Ana", project, Role.ANNOTATOR))
    url = client.post(reverse("annotation:start", args=[project.slug, campaign.key])).headers["Location"]
    body = client.get(url, headers=HTMX).content.decode()
    assert "<script>" not in body and "<b hx-get" not in body and 'href="javascript:' not in body


# ---- campaigns -------------------------------------------------------------------------------------------------------------


def test_a_researcher_opens_answers_for_judging_with_the_form():
    stand = Stand()
    job = make_job(stand.project, n_prompts=4)
    ravi = stand.browser(stand.ravi)
    form = read_page(ravi.get(stand.url("new-campaign")).content.decode(), url="").form(id="campaign-form")
    assert form is not None
    data = {**form.fields, "name": "Second", "jobs": [job.key], "overlap": "2", "max_tasks": "3"}
    response = ravi.post(stand.url("new-campaign"), data)
    assert response.status_code == 302 or response.status_code == 303
    campaign = Campaign.objects.get(name="Second")
    assert (campaign.stage, campaign.overlap, campaign.pairing) == ("building", 2, {"pairs": "within", "max_tasks": 3})
    assert stand.client.get(stand.url("start", campaign.key)).status_code == 404  # not there for annotators yet


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"jobs": []}, {"overlap": "0"}, {"pairs": "baseline"}, {"closes_at": "2001-01-01T00:00"}]
)
def test_a_campaign_that_cannot_work_comes_back_with_422(wrong):
    stand = Stand()
    n_before = Campaign.objects.count()
    ravi = stand.browser(stand.ravi)
    form = read_page(ravi.get(stand.url("new-campaign")).content.decode(), url="").form(id="campaign-form")
    assert form is not None
    data = {**form.fields, "name": "Second", "jobs": [stand.campaign.jobs.get().key], **wrong}
    response = ravi.post(stand.url("new-campaign"), data)
    assert response.status_code == 422
    assert "Please put this right" in response.content.decode()
    assert Campaign.objects.count() == n_before


def test_models_stay_behind_a_reveal_that_is_recorded():
    stand = Stand()
    model = stand.campaign.jobs.get().arms.get().model_version
    ravi, url = stand.browser(stand.ravi), stand.url("campaign", stand.campaign.key)
    assert model.slug not in ravi.get(url).content.decode()
    assert not ModelReveal.objects.exists()
    ravi.post(stand.url("reveal", stand.campaign.key))
    assert model.slug in ravi.get(url).content.decode()
    assert ModelReveal.objects.get().user == stand.ravi
    assert stand.client.post(stand.url("reveal", stand.campaign.key)).status_code == 403


def test_pausing_and_closing_by_the_page():
    stand = Stand()
    ravi = stand.browser(stand.ravi)
    for action, stage in [("pause", "paused"), ("resume", "open"), ("close", "closed")]:
        assert ravi.post(stand.url("act", stand.campaign.key, action)).status_code in (302, 303)
        stand.campaign.refresh_from_db()
        assert stand.campaign.stage == stage
    assert ravi.post(stand.url("act", stand.campaign.key, "resume")).status_code == 422
    assert ravi.post(stand.url("act", stand.campaign.key, "explode")).status_code == 404
    assert "closed" in stand.client.get(stand.start).content.decode()


@pytest.mark.parametrize("way", ["page", "api"])
def test_a_building_is_cancelled_and_tried_again_by_page_and_by_token_alike(way):
    stand = Stand()
    ravi, api, campaign = stand.browser(stand.ravi), Api(stand.project, stand.ravi), stand.campaign
    doings = [("cancel", "cancelled", "campaign.cancel"), ("again", "queued", "campaign.retry")]
    Campaign.objects.update(stage="building", status="queued")
    for action, status, event in doings:
        if way == "page":
            assert ravi.post(stand.url("act", campaign.key, action)).status_code == 303
        else:
            path = f"campaigns/{campaign.key}/{event.removeprefix('campaign.')}"
            assert api.post(path).json()["status"] == status
        campaign.refresh_from_db()
        assert campaign.status == status
        assert AuditEvent.objects.get(action=event, subject_key=campaign.key).user == stand.ravi
    Campaign.objects.update(stage="open", status="succeeded")
    refused = ravi.post(stand.url("act", campaign.key, "again")) if way == "page" else api.post(path)
    assert refused.status_code == 422


def test_a_reviewer_sets_a_judgement_aside():
    stand = Stand(n_tasks=1)
    stand.client.post(stand.take(), {"choice": "a"})
    judgement = Judgement.objects.get()
    ravi, address = stand.browser(stand.ravi), stand.url("void", stand.campaign.key, judgement.key)
    assert stand.client.post(address, {"reason": "x"}).status_code == 403
    assert ravi.post(address, {"reason": ""}).status_code == 422
    assert ravi.post(address, {"reason": "Clicked without reading"}).status_code in (302, 303)
    assert ravi.post(address, {"reason": "again"}).status_code == 409
    assert violations(stand.campaign) == []


def test_the_detail_page_counts_what_was_left_out_and_how_far_people_agree():
    project = make_project()
    job = make_job(project, n_prompts=2, n_answers=3)
    job.arms.get().candidates.filter(index=0).update(text="<|im_end|> oops")
    campaign = make_campaign(project, job=job, overlap=2)
    for name in ("Ana", "Ben"):
        annotator = make_annotator(project, name)
        while turn := next_assignment(annotator, campaign):
            judge(turn, verdict="tie")
    client = Client()
    client.force_login(make_user("Ravi", project, Role.RESEARCHER))
    body = client.get(reverse("annotation:campaign", args=[project.slug, campaign.key])).content.decode()
    assert "2 answers with special tokens" in body
    assert "100 %" in body and "2 comparisons" in body


def test_the_detail_page_says_how_far_people_agree_on_criteria_and_orders():
    criteria = [
        {"name": "true", "label": "True to facts", "kind": "rate", "levels": 5},
        {"name": "kind", "label": "Kind", "kind": "compare"},
    ]
    project = make_project()
    pairing = {"pairs": "within", "n_answers": 3}
    job = make_job(project, n_prompts=4, n_answers=3)
    ranked = make_campaign(project, job=job, kind="rank", overlap=2, pairing=pairing)
    asked = make_campaign(project, n_tasks=4, overlap=2, protocol={"criteria": criteria})
    alone = make_campaign(project, n_tasks=1, protocol={"criteria": criteria})
    plain = make_campaign(project, n_tasks=1)
    client = Client()
    client.force_login(make_user("Ravi", project, Role.RESEARCHER))

    def page(campaign: Campaign) -> str:
        return client.get(reverse("annotation:campaign", args=[project.slug, campaign.key])).content.decode()

    assert "Nothing was judged twice yet" in page(ranked) and "Nothing is judged twice here" in page(alone)
    assert "How far people agree" not in page(plain)
    for name, ranks in (("Ana", (1, 2, 3)), ("Ben", (1, 3, 2))):
        annotator = make_annotator(project, name)
        while turn := next_assignment(annotator, ranked):
            judge(turn, [ranks[slot] for slot in turn.display_order])
        while turn := next_assignment(annotator, asked):
            judge(turn, scores=(("true", 0, 1), ("true", 1, 5), ("kind", None, 1 if name == "Ana" else -1)))
    body = page(ranked)
    assert "0.33" in body and "about 67 of 100 pairs" in body and "the same 67 times" in body
    body = page(asked)
    assert "1.00 to 1.00" in body and "reliable" in body and "0 % to 0 %" in body and "the same 0 times" in body


# ---- cost ----------------------------------------------------------------------------------------------------------------


def test_the_next_task_costs_the_same_queries_however_much_was_done():
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    stand = Stand(n_tasks=40, overlap=3)
    url, counts = stand.take(), []
    for _ in range(30):
        with CaptureQueriesContext(connection) as queries:
            response = stand.client.post(url, {"choice": "a"}, headers=HTMX)
        counts.append(len(queries))
        url = response.headers["HX-Replace-Url"]
    assert len(set(counts[2:])) == 1 and counts[-1] <= 50


def test_a_closed_campaign_can_be_read_but_not_undone():
    stand = Stand(n_tasks=1)
    url = stand.take()
    stand.client.post(url, {"choice": "a"})
    close_campaign(stand.campaign, by=None)
    assert stand.client.get(url).status_code == 200
    response = stand.client.post(url + "undo/")
    assert response.status_code == 409 and "closed" in response.content.decode()


def test_an_open_task_of_a_closed_campaign_says_so():
    stand = Stand(n_tasks=1)
    url = stand.take()
    close_campaign(stand.campaign, by=None)
    for response in (stand.client.get(url), stand.client.post(url, {"choice": "a"})):
        assert response.status_code == 409 and "closed" in response.content.decode()


def test_a_skip_from_an_old_tab_of_a_judged_task_is_a_409():
    stand = Stand(n_tasks=2)
    url = stand.take()
    stand.client.post(url, {"choice": "a"})
    assert stand.client.post(url + "skip/").status_code == 409
    key = url.split("/")[-2]
    assert skip_assignment is not None and Assignment.objects.get(key=key).status == "submitted"
