"""Up from a prompt, an answer, a judgement or a model: which datasets and which of their rows hold it."""

import pytest
from django.test import Client

from accounts.models import Role
from annotation.models import Judgement
from generation.models import Candidate
from tests.api.client import Api
from tests.training.judged import (
    freeze,
    judge,
    make_annotator,
    make_answer,
    make_arm,
    make_campaign,
    make_judged,
    make_person,
    make_project,
    make_prompt,
    make_set,
    make_task,
    make_version,
)
from tests.training.test_lineage import TwoRounds, judgements
from training.formats.files import read_rows
from training.holdings import holdings_of, judgements_of, rows_holding
from training.snapshots import directory_of

pytestmark = pytest.mark.django_db


def ids(held) -> set[str]:
    rows, has_more = held
    assert not has_more
    return {row.id for row in rows}


def row_ids(snapshot, *, text: str) -> set[str]:
    """By reading every row: the ids of those whose prompt or answers hold this text."""
    found = set()
    for split in ("train", "test"):
        for row in read_rows(directory_of(snapshot) / f"{split}.jsonl"):
            texts = [message["content"] for name in ("prompt", "chosen", "rejected") for message in row[name]]
            found |= {row["id"]} if text in texts else set()
    return found


def test_from_a_prompt_to_datasets_rows_and_models():
    rounds = TwoRounds()
    judgement = judgements(rounds.one)[0]
    prompt = judgement.assignment.task.prompt
    one, two = holdings_of(prompt)
    assert (one.snapshot, two.snapshot) == (rounds.data_one, rounds.data_two)
    assert (one.n_train, one.n_test) == (1, 0)
    assert one.versions == (rounds.first, rounds.second) and two.versions == (rounds.second,)
    expected = row_ids(rounds.data_two, text=prompt.messages[0]["content"])
    assert ids(rows_holding(rounds.data_two, prompt)) == expected != set()
    row = rows_holding(rounds.data_two, prompt)[0][0]
    assert (row.split, row.kind, row.judgements) == ("train", "pair", (judgement.key,))


def test_what_is_held_out_was_measured_on_and_taught_nobody():
    rounds = TwoRounds()
    held_out = judgements(rounds.one)[2]
    first = holdings_of(held_out.assignment.task.prompt)[0]
    assert (first.n_train, first.n_test, first.versions) == (0, 1, ())
    assert rows_holding(rounds.data_one, held_out)[0][0].split == "test"


def test_an_answer_of_a_ranking_is_in_the_rows_that_show_it_and_in_no_others():
    project = make_project()
    arm, prompt = make_arm(project), make_prompt(make_set(project), "Rank these")
    answers = [make_answer(arm, prompt, text) for text in ("best", "middle", "worst")]
    campaign = make_campaign(project, kind="rank")
    judgement = judge(make_task(campaign, answers), make_annotator(project), (1, 2, 3))
    snapshot = freeze(project, [campaign, make_judged(project, ["A"])])
    assert len(ids(rows_holding(snapshot, judgement))) == 3
    for answer in answers:
        assert ids(rows_holding(snapshot, answer)) == row_ids(snapshot, text=answer.text)
        assert len(ids(rows_holding(snapshot, answer))) == 2


def test_from_a_model_to_what_was_said_of_its_answers():
    rounds = TwoRounds()
    assert {each.snapshot for each in holdings_of(rounds.start)} == {rounds.data_one, rounds.data_two}
    assert [each.snapshot for each in holdings_of(rounds.first)] == [rounds.data_two]
    assert set(judgements_of(rounds.first)) == set(judgements(rounds.two))
    expected = set()
    for candidate in Candidate.objects.filter(arm__model_version=rounds.first):
        expected |= row_ids(rounds.data_two, text=candidate.prompt.messages[0]["content"])
    assert ids(rows_holding(rounds.data_two, rounds.first)) == expected
    assert holdings_of(rounds.second) == ()


def test_unpaired_rows_are_found_too():
    project = make_project()
    campaign = make_judged(project, ["A", "bad", "B"])
    snapshot = freeze(project, [campaign], pair_policy={"unpaired": True})
    bad = Judgement.objects.get(verdict="all_bad")
    rows, _ = rows_holding(snapshot, bad)
    assert {row.kind for row in rows} == {"unpaired"} and len(rows) == 2
    candidate = bad.assignment.task.slots.first().candidate
    assert len(rows_holding(snapshot, candidate)[0]) == 1


def test_there_is_a_bound_on_the_rows_that_are_told():
    rounds = TwoRounds()
    rows, has_more = rows_holding(rounds.data_two, rounds.start, most=1)
    assert (len(rows), has_more) == (1, True)


# ---- pages and API ---------------------------------------------------------------------------------------------------


@pytest.fixture
def rounds():
    return TwoRounds()


def client_of(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_the_pages_lead_up_and_name_the_rows(rounds):
    client = client_of(make_person("Ravi", rounds.project, Role.RESEARCHER))
    judgement = judgements(rounds.two)[0]
    prompt = judgement.assignment.task.prompt
    root = f"/p/{rounds.project.slug}"
    page = client.get(f"{root}/prompts/{prompt.set.key}/{prompt.key}/").content.decode()
    address = f"{root}/lineage/prompts/{prompt.key}/"
    assert f'href="{address}"' in page
    page = client.get(address, {"dataset": rounds.data_two.key}).content.decode()
    row = rows_holding(rounds.data_two, prompt)[0][0]
    assert f'href="{root}/datasets/{rounds.data_two.key}/rows/{row.id}/"' in page and judgement.key in page
    assert f"{root}/models/{rounds.second.key}/lineage/" in page


def test_a_judgement_names_the_sampling_of_its_answers_to_whoever_may_see_it(rounds):
    ravi = make_person("Ravi", rounds.project, Role.RESEARCHER)
    client = client_of(ravi)
    judgement = judgements(rounds.two)[0]
    url = f"/p/{rounds.project.slug}/judgements/{judgement.key}/"
    hidden = client.get(url).content.decode()
    assert (
        "temperature" not in hidden and "Hidden" in hidden and rounds.first.slug not in hidden.split("Models that")[0]
    )
    client.post(f"{url}reveal/")
    shown = client.get(url).content.decode()
    assert "temperature 0.7" in shown and "seed 0" in shown


def test_a_models_own_answers_are_told_after_a_reveal_only(rounds):
    ravi = make_person("Ravi", rounds.project, Role.RESEARCHER)
    client, api = client_of(ravi), Api(rounds.project, ravi, "read")
    url = f"/p/{rounds.project.slug}/lineage/models/{rounds.first.key}/"
    judgement = judgements(rounds.two)[0]
    query = {"dataset": rounds.data_two.key}
    assert judgement.key not in client.get(url, query).content.decode()
    told = api.get(f"lineage/models/{rounds.first.key}?dataset={rounds.data_two.key}").json()
    assert (told["judgements"], told["rows"], told["n_judgements"]) == (None, None, 2)
    client.post(f"/p/{rounds.project.slug}/judgements/{judgement.key}/reveal/")
    assert judgement.key in client.get(url, query).content.decode()
    told = api.get(f"lineage/models/{rounds.first.key}?dataset={rounds.data_two.key}").json()
    assert judgement.key in told["judgements"] and len(told["rows"]) == 2


def test_the_api_tells_an_answers_writer_only_after_a_reveal(rounds):
    ravi = make_person("Ravi", rounds.project, Role.RESEARCHER)
    api = Api(rounds.project, ravi, "read")
    judgement = judgements(rounds.two)[0]
    candidate = judgement.assignment.task.slots.first().candidate
    told = api.get(f"lineage/answers/{candidate.key}").json()
    assert told["writer"] is None and [each["snapshot"] for each in told["datasets"]] == [rounds.data_two.key]
    client_of(ravi).post(f"/p/{rounds.project.slug}/judgements/{judgement.key}/reveal/")
    told = api.get(f"lineage/answers/{candidate.key}").json()
    assert (told["writer"]["model"], told["writer"]["sampling"]) == (rounds.first.key, {"temperature": 0.7})
    assert api.get(f"lineage/answers/{candidate.key}?dataset=nothing").status_code == 404


def test_another_project_knows_nothing_of_it(rounds):
    other = make_project()
    make_version(other)
    api = Api(other, make_person("Olga", other, Role.RESEARCHER), "read")
    prompt = judgements(rounds.one)[0].assignment.task.prompt
    assert api.get(f"lineage/prompts/{prompt.key}").status_code == 404
