"""The form of a new dataset: every setting reaches the preview and the freeze, and what makes no sense says so."""

import html

import pytest
from django.test import Client

from accounts.api.reference import document
from accounts.models import Role
from annotation.models import ComparisonTask, Flag
from core.errors import DomainError
from generation.models import ModelReveal
from tests.api.client import Api
from tests.training.judged import (
    judge,
    make_annotator,
    make_campaign,
    make_judged,
    make_person,
    make_project,
)
from training.api.recipes import schema_of
from training.dataset_form import DatasetForm
from training.formats.policy import PairPolicy
from training.freezing import run_freeze, start_freeze
from training.models import Snapshot
from training.selecting import Selection

pytestmark = pytest.mark.django_db
CRITERIA = [{"name": "helpful", "label": "How helpful?", "kind": "rate", "levels": 5}]


@pytest.fixture
def project(monkeypatch):
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    return make_project(slug="lab")


@pytest.fixture
def ravi(project) -> Client:
    client = Client()
    client.force_login(make_person("Ravi", project, Role.RESEARCHER))
    return client


def test_every_setting_is_frozen_as_it_was_given(project, ravi):
    ana = make_annotator(project)
    campaign = make_judged(
        project, ["A", "B"], annotator=ana, campaign=make_campaign(project, protocol={"criteria": CRITERIA})
    )
    version = campaign.jobs.get().arms.get().model_version
    given = {
        "name": "narrow", "campaigns": [campaign.key], "aggregation": "votes", "with_ai": "on", "with_adjudicated": "on",
        "since": "2020-01-01", "models": [version.key], "annotators": [ana.pseudonym], "max_per_annotator": "5",
        "without_flags": ["harmful"], "pairs": "adjacent", "min_strength": "0", "max_chars": "900", "write_ins": "on",
        "veto_flags": ["private"], "veto_criterion": "helpful", "veto_at": "2", "duplicates": "drop", "min_agreement": "0.5",
    }  # fmt: skip
    page = ravi.post("/p/lab/datasets/new/", given | {"preview": "1"})
    assert page.status_code == 200 and b"Training pairs" in page.content
    assert ravi.post("/p/lab/datasets/new/", given).status_code in (302, 303)
    snapshot = Snapshot.objects.get(name="narrow")
    assert snapshot.selection == {
        "campaigns": [campaign.key], "with_simulated": False, "with_unblinded": False, "with_ai": True,
        "with_adjudicated": True, "since": "2020-01-01", "models": [version.key], "annotators": [ana.pseudonym],
        "max_per_annotator": 5, "without_flags": ["harmful"],
    }  # fmt: skip
    assert snapshot.pair_policy == {
        "aggregation": "votes", "pairs": "adjacent", "write_ins": True, "veto_flags": ["private"],
        "veto_criterion": "helpful", "veto_at": 2, "min_agreement": 0.5, "max_chars": 900, "duplicates": "drop",
    }  # fmt: skip
    run_freeze(snapshot.pk)
    page = ravi.get(f"/p/lab/datasets/{snapshot.key}/").content.decode()
    assert "<dt>Max per annotator</dt><dd>5</dd>" in page and "<dt>Veto criterion</dt><dd>helpful</dd>" in page


def test_criteria_need_a_weight(project, ravi):
    campaign = make_judged(project, ["A"], campaign=make_campaign(project, protocol={"criteria": CRITERIA}))
    given = {"name": "x", "campaigns": [campaign.key], "aggregation": "majority", "question": "criteria"}
    assert b"How helpful?" in ravi.get("/p/lab/datasets/new/").content
    page = ravi.post("/p/lab/datasets/new/", given)
    assert page.status_code == 422 and b"Give at least one criterion a weight." in page.content
    page = ravi.get("/p/lab/datasets/new/", given | {"weight_helpful": "2"})
    assert b"they do not say enough about the criteria" in page.content


def test_days_in_the_wrong_order_are_a_sentence_in_the_preview(project, ravi):
    campaign = make_judged(project, ["A"])
    given = {"campaigns": [campaign.key], "aggregation": "majority", "since": "2026-02-02", "until": "2026-02-01"}
    page = ravi.get("/p/lab/datasets/new/", given)
    assert page.status_code == 200 and b"The first day is after the last." in page.content


def test_rows_chosen_by_model_are_shown_only_to_who_knows_the_models(project, ravi):
    campaign = make_judged(project, ["A"])
    job = campaign.jobs.get()
    given = {"campaigns": [campaign.key], "aggregation": "majority"}
    by_model = given | {"models": [job.arms.get().model_version.key]}
    assert b"First answer 0" in ravi.get("/p/lab/datasets/new/", given).content
    page = ravi.get("/p/lab/datasets/new/", by_model)
    assert b"First answer 0" not in page.content and b"not shown while people may still judge" in page.content
    campaign.stage = "closed"
    campaign.save(update_fields=["stage"])
    assert b"First answer 0" in ravi.get("/p/lab/datasets/new/", by_model).content
    assert ModelReveal.objects.filter(job=job).exists()


REFUSED = {
    "None of these campaigns asks about “helpful”.": {"question": "criteria", "weight_helpful": "2"},
    "The first day is after the last.": {"since": "2026-02-02", "until": "2026-02-01"},
    "There is no judgement to freeze.": {"tags": "nope"},
    "There is a dataset called “taken” already.": {"name": "taken"},
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_a_freeze_refuses_is_told_in_the_form_as_it_was_filled(project, ravi, words):
    campaign = make_judged(project, ["A"])
    make_judged(project, ["B"], campaign=make_campaign(project, protocol={"criteria": CRITERIA}))
    given = {"name": "taken", "campaigns": [campaign.key], "aggregation": "votes", "max_chars": "77"}
    assert ravi.post("/p/lab/datasets/new/", given).status_code == 303
    page = ravi.post("/p/lab/datasets/new/", given | {"name": "mine"} | REFUSED[words])
    assert page.status_code == (409 if "name" in REFUSED[words] else 422)
    text = html.unescape(page.content.decode())
    assert words in text.split('class="error-summary"')[1].split("</ul>")[0]
    assert 'name="max_chars" value="77"' in text
    assert list(Snapshot.objects.values_list("name", flat=True)) == ["taken"]


def test_every_setting_of_a_recipe_is_described_and_asked_by_the_form_too():
    names = DatasetForm.base_fields.keys()
    for model, elsewhere in ((Selection, set()), (PairPolicy, {"criteria"})):
        settings = schema_of(model)["properties"]
        assert settings.keys() - elsewhere <= names
        assert all(each["description"] and "default" in each for each in settings.values())
    assert schema_of(PairPolicy)["properties"]["max_chars"]["type"] == ["integer", "null"]
    assert schema_of(Selection)["properties"]["without_flags"]["items"]["enum"] == Flag.Kind.values


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (
            {"selection": {"tag": ["x"]}},
            "This selection of judgements cannot be read: tag: Extra inputs are not permitted.",
        ),
        ({"selection": {"rounds": "x"}}, "This selection of judgements cannot be read: rounds:"),
        ({"pair_policy": {"pair": "all"}}, "A pair policy has no setting 'pair'."),
        (
            {"pair_policy": {"pairs": "some"}},
            "A ranking gives all its pairs, adjacent ones, or the best against the worst.",
        ),
        ({"pair_policy": {"min_votes": 0}}, "The least number of judgements of a pair is at least 1."),
    ],
)
def test_the_api_refuses_a_setting_that_cannot_be_in_the_words_of_the_service(project, recipe, words):
    campaign = make_judged(project, ["A"])
    api = Api(project, make_person("Ravi", project, Role.RESEARCHER))
    answer = api.post("datasets/preview", {"campaigns": [campaign.key], **recipe})
    assert answer.status_code == 422 and answer.json()["error"].startswith(words)


def test_the_schema_of_the_api_names_every_setting_and_a_told_recipe_can_be_sent_again(project):
    asked = document()["components"]["schemas"]["NewSnapshot"]["properties"]
    assert asked["selection"]["properties"].keys() == {*Selection.model_fields, "campaigns"}
    assert asked["pair_policy"]["properties"].keys() == schema_of(PairPolicy)["properties"].keys()
    assert not asked["selection"]["additionalProperties"] and not asked["pair_policy"]["additionalProperties"]
    campaign = make_judged(project, ["A"], campaign=make_campaign(project, protocol={"criteria": CRITERIA}))
    api = Api(project, make_person("Ravi", project, Role.RESEARCHER))
    recipe = {"selection": {"since": "2020-01-01"}, "pair_policy": {"criteria": {"helpful": 2}, "max_chars": 9}}
    told = api.post("datasets", {"name": "a", "campaigns": [campaign.key], **recipe}).json()
    given = {name: told[name] for name in ("campaigns", "selection", "pair_policy")}
    again = api.post("datasets", {"name": "b", **given})
    assert again.status_code == 201 and {name: again.json()[name] for name in given} == given


@pytest.mark.parametrize(
    ("selection", "sentence"),
    [
        (
            {"tags": ["nope"]},
            "3 judgements stay out: of prompts without the tags chosen.",
        ),
        ({"until": "2020-01-01"}, "3 judgements stay out: of other days."),
        (
            {"with_simulated": False},
            "3 judgements stay out: by simulated people. Tick the box that lets them in (with_simulated).",
        ),
        ({"rounds": [77]}, "None of these campaigns belongs to the rounds chosen. Choose other rounds, or none."),
    ],
)
def test_where_nothing_goes_in_it_is_said_by_what_most_judgements_stay_out(project, selection, sentence):
    campaign = make_judged(project, ["A", "B", "A"], annotator=make_annotator(project, kind="simulated"))
    judge(ComparisonTask.objects.first(), make_annotator(project), "A", verdict="voided")
    with pytest.raises(DomainError) as caught:
        start_freeze(
            project=project, name="x", campaigns=[campaign], selection={"with_simulated": True} | selection, by=None
        )
    assert caught.value.words.removeprefix("There is no judgement to freeze. ") == sentence


def test_a_campaign_that_nobody_judged_asks_for_judgements(project):
    with pytest.raises(DomainError, match="no judgement to freeze") as caught:
        start_freeze(project=project, name="x", campaigns=[make_campaign(project)], by=None)
    assert caught.value.how == "Let people judge some answers first."
