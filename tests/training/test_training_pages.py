"""The pages of datasets, runs, evaluations and lineage: full, as a fragment, without access, by the wrong method."""

import html
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from accounts.api.reference import document
from accounts.models import AuditEvent, Project, Role
from annotation.models import Campaign
from config.env import ROOT
from core.jobs import JobStatus
from core.storage import artifact_path
from generation.models import GenerationJob, ModelReveal, ModelVersion
from tests.api.client import Api
from tests.training.judged import (
    freeze,
    judge,
    make_adapter,
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
from training import dataset_views
from training.models import Evaluation, MetricPoint, Snapshot, TrainingRun

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


@dataclass
class Lab:
    project: Project
    campaign: Campaign
    base: ModelVersion
    snapshot: Snapshot
    adapter: ModelVersion
    run: TrainingRun
    evaluation: Evaluation


@pytest.fixture
def lab(monkeypatch):
    """Ravi's project with a frozen dataset, a run that has made an adapter, and an evaluation of it."""
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    project = make_project(slug="lab", name="Lab")
    campaign = make_judged(project, ["A", "B", "A", "A"], n_held_out=1)
    base = make_version(
        project, "start", source=str(ROOT / "starter" / "model"), facts={"n_parameters": 10, "context_length": 64}
    )
    snapshot = freeze(project, [campaign], name="first")
    adapter = make_adapter(base, "dpo-1")
    run = TrainingRun.objects.create(
        project=project, method="dpo", base=base, snapshot=snapshot, status="succeeded", produced=adapter, step=20,
        total_steps=20, log_tail="20 steps.\n<script>alert(1)</script>", command="python -m training.recipes.dpo spec.json",
        samples=[{"step": 0, "prompt": "Hi?", "answer": "Before."}, {"step": 20, "prompt": "Hi?", "answer": "After."}],
    )  # fmt: skip
    MetricPoint.objects.bulk_create(
        MetricPoint(run=run, name=name, step=step, value=value)
        for step in range(1, 21)
        for name, value in (
            ("loss", 0.7 - step / 100),
            ("train_accuracy", 0.95),
            ("heldout_accuracy", 0.6),
            ("margin", step / 20),
        )
    )
    evaluation = Evaluation.objects.create(
        project=project, model_version=adapter, against=base, judge="people", status="succeeded", n_prompts=40, wins=30,
        ties=4, losses=6, value=0.8, low=0.7, high=0.88, outcome="better", details={"warnings": []},
    )  # fmt: skip
    return Lab(project, campaign, base, snapshot, adapter, run, evaluation)


def sign_in(lab, *roles: Role, member: bool = True) -> Client:
    client = Client()
    client.force_login(make_person("Ravi", lab.project if member else None, *roles))
    return client


@pytest.fixture
def ravi(lab) -> Client:
    return sign_in(lab, Role.RESEARCHER)


def pages(lab) -> dict[str, str]:
    judgement = lab.snapshot.members.first().judgement
    row = json.loads(
        (artifact_path("datasets", lab.snapshot.artifact_sha256) / "train.jsonl").read_text().splitlines()[0]
    )
    named = {
        "snapshots": (), "snapshot-new": (), "snapshot": (lab.snapshot.key,), "snapshot-row": (lab.snapshot.key, row["id"]),
        "runs": (), "run-new": (), "run": (lab.run.key,), "evaluations": (), "evaluation-new": (),
        "evaluation": (lab.evaluation.key,), "model-lineage": (lab.adapter.key,), "judgement": (judgement.key,),
    }  # fmt: skip
    return {name: reverse(f"training:{name}", args=[lab.project.slug, *args]) for name, args in named.items()}


NAMES = [
    "snapshots", "snapshot-new", "snapshot", "snapshot-row", "runs", "run-new", "run", "evaluations", "evaluation-new",
    "evaluation", "model-lineage", "judgement",
]  # fmt: skip
ACTIONS = [
    "snapshot-cancel", "snapshot-again", "snapshot-check", "run-cancel", "run-go-on", "evaluation-cancel",
    "evaluation-again", "evaluation-reveal",
]  # fmt: skip
FOR_REVIEWERS = {"model-lineage", "judgement"}


@pytest.mark.parametrize("name", NAMES)
def test_the_page_stands_alone_and_its_fragment_without_the_frame(lab, ravi, name):
    url = pages(lab)[name]
    whole, part = ravi.get(url), ravi.get(url, headers=HTMX)
    assert whole.status_code == part.status_code == 200
    assert b"<!doctype html>" in whole.content
    assert b"<!doctype html>" not in part.content and b"<h1>" in part.content
    assert "HX-Request" in part["Vary"]


@pytest.mark.parametrize("name", NAMES)
def test_only_members_with_the_role_open_the_page(lab, name):
    url = pages(lab)[name]
    assert Client().get(url).status_code == 302
    assert sign_in(lab, member=False).get(url).status_code == 404
    assert sign_in(lab, Role.ANNOTATOR).get(url).status_code == 403
    assert sign_in(lab, Role.REVIEWER).get(url).status_code == (200 if name in FOR_REVIEWERS else 403)
    assert sign_in(lab, Role.ADMIN).get(url).status_code == 200


@pytest.mark.parametrize("name", NAMES)
def test_no_page_takes_a_method_that_it_does_not_know(lab, ravi, name):
    url = pages(lab)[name]
    assert ravi.delete(url).status_code == 405
    if name not in ("snapshot-new", "run-new", "evaluation-new"):
        assert ravi.post(url).status_code == 405


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_is_a_post_by_a_researcher(lab, ravi, name):
    key = getattr(lab, name.split("-")[0]).key
    url = reverse(f"training:{name}", args=[lab.project.slug, key])
    assert ravi.get(url).status_code == 405
    assert sign_in(lab, Role.REVIEWER).post(url).status_code == 403
    assert sign_in(lab, member=False).post(url).status_code == 404


def test_nothing_of_another_project_is_found(lab):
    other = make_project(slug="other")
    ravi = Client()
    ravi.force_login(make_person("Ravi", other, Role.RESEARCHER))
    for name, url in pages(lab).items():
        if (
            lab.snapshot.key in url
            or lab.run.key in url
            or lab.evaluation.key in url
            or lab.adapter.key in url
            or name == "judgement"
        ):
            assert ravi.get(url.replace("/p/lab/", "/p/other/")).status_code == 404, name


# ---- datasets --------------------------------------------------------------------------------------------------------


def test_the_preview_follows_the_form_by_htmx_and_by_a_button(lab, ravi):
    url = pages(lab)["snapshot-new"]
    fields = {"name": "", "campaigns": [lab.campaign.key], "aggregation": "votes"}
    assert b"Training pairs</dt><dd>3<" in ravi.get(url, fields, headers=HTMX).content
    assert b"Training pairs</dt><dd>3<" in ravi.post(url, {**fields, "preview": "1"}).content
    assert b"Choose at least one campaign" in ravi.get(url, {"aggregation": "votes"}, headers=HTMX).content
    assert Snapshot.objects.count() == 1


def test_the_form_freezes_and_goes_on_to_the_dataset(lab, ravi):
    url = pages(lab)["snapshot-new"]
    answer = ravi.post(url, {"name": "second", "campaigns": [lab.campaign.key], "aggregation": "majority"})
    snapshot = Snapshot.objects.get(name="second")
    assert (answer.status_code, answer["Location"]) == (303, reverse("training:snapshot", args=["lab", snapshot.key]))
    assert snapshot.selection["with_simulated"] is False
    assert b'hx-trigger="every 2s"' in ravi.get(answer["Location"]).content
    assert b'hx-trigger="every 2s"' not in ravi.get(pages(lab)["snapshot"]).content


def test_a_name_that_is_taken_and_a_missing_one_are_said(lab, ravi):
    url = pages(lab)["snapshot-new"]
    assert ravi.post(url, {"name": "", "campaigns": [lab.campaign.key], "aggregation": "votes"}).status_code == 422
    taken = ravi.post(url, {"name": "first", "campaigns": [lab.campaign.key], "aggregation": "votes"})
    assert taken.status_code == 409 and b"There is a dataset called" in taken.content


def test_the_check_builds_the_dataset_again(lab, ravi):
    url = reverse("training:snapshot-check", args=["lab", lab.snapshot.key])
    assert ravi.post(url).status_code == 303
    answer = lab.campaign.tasks.first().candidates.first()
    type(answer).objects.filter(pk=answer.pk).update(text="changed")
    assert ravi.post(url).status_code == 422


def file_url(lab, name: str) -> str:
    return reverse("training:snapshot-file", args=["lab", lab.snapshot.key, name])


def test_every_file_is_an_attachment_with_its_own_bytes(lab, ravi):
    directory = artifact_path("datasets", lab.snapshot.artifact_sha256)
    for path in sorted(directory.iterdir()):
        answer = ravi.get(file_url(lab, path.name))
        assert answer.getvalue() == path.read_bytes()
        assert answer["Content-Disposition"] == f'attachment; filename="first-{path.name}"'
        assert answer["Content-Length"] == str(path.stat().st_size)
        assert answer["X-Content-Type-Options"] == "nosniff"
    assert AuditEvent.objects.filter(action="dataset.download").count() == len(list(directory.iterdir())) == 9


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=10-", 206, 10, None),
        ("bytes=-5", 206, -5, None),
        ("bytes=0-999999999", 206, 0, None),
        ("bytes=5-1", 200, 0, None),
        ("bytes=0-1,4-5", 200, 0, None),
        ("lines=0-1", 200, 0, None),
    ],
)
def test_a_download_goes_on_where_it_broke_off(lab, ravi, asked, status, first, last):
    whole = Path(artifact_path("datasets", lab.snapshot.artifact_sha256) / "train.jsonl").read_bytes()
    answer = ravi.get(file_url(lab, "train.jsonl"), headers={"Range": asked})
    assert (answer.status_code, answer.getvalue()) == (status, whole[first:last])
    if status == 206:
        start = first if first >= 0 else len(whole) + first
        assert answer["Content-Range"] == f"bytes {start}-{start + len(whole[first:last]) - 1}/{len(whole)}"


def test_a_range_that_is_not_there_and_one_of_an_older_file(lab, ravi):
    url = file_url(lab, "train.jsonl")
    assert ravi.get(url, headers={"Range": "bytes=999999999-"}).status_code == 416
    etag = ravi.get(url)["ETag"]
    assert ravi.get(url, headers={"Range": "bytes=0-1", "If-Range": etag}).status_code == 206
    assert ravi.get(url, headers={"Range": "bytes=0-1", "If-Range": '"older"'}).status_code == 200


@pytest.mark.parametrize("name", ["../../../db.sqlite3", "..%2Fdb.sqlite3", "passwd", "train.jsonl.tmp", ".hidden"])
def test_no_other_file_can_be_asked_for(lab, ravi, name):
    assert ravi.get(f"/p/lab/datasets/{lab.snapshot.key}/files/{name}").status_code == 404


def test_downloads_are_for_researchers(lab):
    url = file_url(lab, "train.jsonl")
    for client, status in ((Client(), 302), (sign_in(lab, Role.REVIEWER), 403), (sign_in(lab, member=False), 404)):
        assert client.get(url).status_code == status
    assert sign_in(lab, Role.ADMIN).get(url).status_code == 200


def test_missing_files_are_said_on_the_page(lab, ravi, monkeypatch):
    Snapshot.objects.filter(pk=lab.snapshot.pk).update(artifact_sha256="0" * 64)
    answer = ravi.get(pages(lab)["snapshot"])
    assert answer.status_code == 200 and b"is missing" in answer.content


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_one_click_starts_a_run_with_the_defaults(lab, ravi):
    page = ravi.get(pages(lab)["run-new"])
    assert b"0.004" in page.content and b"measured on the starter model" in page.content
    answer = ravi.post(
        pages(lab)["run-new"], {"method": "dpo", "snapshot": lab.snapshot.key, "base": lab.base.key, "effort": "small"}
    )
    run = TrainingRun.objects.get(status="queued")
    assert (answer.status_code, answer["Location"]) == (303, reverse("training:run", args=["lab", run.key]))
    assert (run.method, run.base, run.snapshot) == ("dpo", lab.base, lab.snapshot)


def test_an_expert_sets_by_hand_and_bad_values_are_said(lab, ravi):
    fields = {"method": "dpo", "snapshot": lab.snapshot.key, "base": lab.base.key, "effort": "small"}
    shown = ravi.get(pages(lab)["run-new"], {**fields, "set_beta": "0.3"}, headers=HTMX)
    assert b"set by hand" in shown.content
    bad = ravi.post(pages(lab)["run-new"], {**fields, "set_beta": "much"})
    assert bad.status_code == 422 and b"beta" in bad.content and b'value="much"' in bad.content
    ravi.post(pages(lab)["run-new"], {**fields, "set_beta": "0.3", "set_r": "4"})
    spec = TrainingRun.objects.get(status="queued").spec
    assert (spec["settings"]["beta"], spec["lora"]["r"]) == (0.3, 4)


def test_a_second_run_at_once_is_a_conflict_that_keeps_the_form(lab, ravi):
    fields = {"method": "dpo", "snapshot": lab.snapshot.key, "base": lab.base.key, "effort": "smoke"}
    assert ravi.post(pages(lab)["run-new"], fields).status_code == 303
    again = ravi.post(pages(lab)["run-new"], fields)
    assert again.status_code == 409 and b"Another DPO run is open" in again.content
    assert TrainingRun.objects.filter(status="queued").count() == 1


def test_a_reward_model_starts_from_the_root(lab, ravi):
    ravi.post(
        pages(lab)["run-new"],
        {"method": "reward", "snapshot": lab.snapshot.key, "base": lab.adapter.key, "effort": "smoke"},
    )
    assert TrainingRun.objects.get(method="reward").base == lab.base


def test_a_handful_of_held_out_pairs_gives_no_verdict_on_a_run(lab, ravi):
    page = ravi.get(pages(lab)["run"]).content.decode()
    assert "too few to tell" in page
    assert "learns its pairs by heart" not in page


def test_the_run_page_shows_held_out_accuracy_beside_the_training_pairs_and_warns(lab, ravi):
    lab.snapshot.counts["rows"]["test"] = 40
    lab.snapshot.save(update_fields=["counts"])
    page = ravi.get(pages(lab)["run"]).content.decode()
    chart = json.loads(html.unescape(page.split('<div id="chart-accuracy" hidden>')[1].split("</div>")[0]))
    assert [line["name"] for line in chart["series"]] == [
        "Accuracy on held-out pairs",
        "Accuracy on the batch being trained",
    ]
    assert chart["x"] == list(range(1, 21))
    assert "learns its pairs by heart" in page
    assert page.index("Accuracy on held-out pairs") < page.index("Accuracy on the batch being trained")
    assert "Before." in page and "After." in page
    assert "&lt;script&gt;alert(1)" in page and "<script>alert(1)" not in page


def test_a_running_run_polls_itself_and_can_be_cancelled(lab, ravi):
    TrainingRun.objects.filter(pk=lab.run.pk).update(status="running", step=5)
    page = ravi.get(pages(lab)["run"]).content
    assert b'hx-trigger="every 2s"' in page and b"/cancel/" in page
    assert ravi.post(reverse("training:run-cancel", args=["lab", lab.run.key])).status_code == 303
    lab.run.refresh_from_db()
    assert lab.run.status == JobStatus.CANCELLING
    TrainingRun.objects.filter(pk=lab.run.pk).update(status="cancelled")
    page = ravi.get(pages(lab)["run"]).content
    assert b"every 2s" not in page and b"Go on" in page
    assert ravi.post(reverse("training:run-go-on", args=["lab", lab.run.key])).status_code == 303


# ---- evaluations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("judge", ["reward_accuracy", "reward_model", "people"])
def test_the_form_asks_for_what_the_judge_needs(lab, ravi, judge):
    page = ravi.get(pages(lab)["evaluation-new"], {"judge": judge}).content
    assert (b'name="against"' in page) == (judge != "reward_accuracy")
    assert (b'name="reward_model"' in page) == (judge != "people")
    assert ravi.post(pages(lab)["evaluation-new"], {"judge": judge}).status_code == 422


def test_the_simulated_judge_is_offered_in_the_demo_only(lab, ravi):
    url = pages(lab)["evaluation-new"]
    assert b'value="simulated"' not in ravi.get(url).content
    type(lab.project).objects.update(is_demo=True)
    assert b'value="simulated"' in ravi.get(url).content


def test_what_is_missing_is_said_in_the_form(lab, ravi):
    answer = ravi.post(
        pages(lab)["evaluation-new"], {"judge": "people", "model_version": lab.adapter.key, "against": lab.base.key}
    )
    assert answer.status_code == 422 and b"Nobody has compared" in answer.content


def test_a_win_rate_by_the_reward_model_is_never_called_a_win(lab, ravi):
    Evaluation.objects.update(judge="reward_model", outcome="none")
    page = ravi.get(pages(lab)["evaluation"]).content.decode()
    assert "That is not a win" in page and "No verdict" in ravi.get(pages(lab)["evaluations"]).content.decode()
    assert "is better than" not in page


def test_examples_name_their_models_only_after_a_recorded_reveal(lab, ravi):
    job = GenerationJob.objects.create(project=lab.project, status="succeeded")
    prompt = make_prompt(make_set(lab.project), "Held out?", split="holdout")
    new, old = (make_answer(make_arm(lab.project, v, job=job), prompt, f"By {v}") for v in (lab.adapter, lab.base))
    Evaluation.objects.update(job=job, details={"examples": [{"new": new.key, "old": old.key, "gap": 1.0}]})
    url = pages(lab)["evaluation"]
    assert b"By dpo-1" not in ravi.get(url).content and not ModelReveal.objects.exists()
    ravi.post(reverse("training:evaluation-reveal", args=["lab", lab.evaluation.key]))
    assert ModelReveal.objects.get().job == job
    assert b"By dpo-1" in ravi.get(url).content


# ---- lineage ---------------------------------------------------------------------------------------------------------


def test_lineage_pages_lead_from_the_model_to_the_judgement_and_back(lab, ravi):
    judgement = lab.snapshot.members.filter(split="train").first().judgement
    assert judgement.key in ravi.get(pages(lab)["model-lineage"]).content.decode()
    page = ravi.get(reverse("training:judgement", args=["lab", judgement.key])).content.decode()
    assert reverse("training:model-lineage", args=["lab", lab.adapter.key]) in page


def test_reviewers_see_pseudonyms_and_no_model_before_the_reveal(lab):
    person = make_person("Annika", lab.project, Role.ANNOTATOR)
    writer, campaign = make_version(lab.project, "secret-writer"), make_campaign(lab.project)
    arm, prompt = make_arm(lab.project, writer), make_prompt(make_set(lab.project), "Who?")
    given = judge(
        make_task(campaign, [make_answer(arm, prompt, text) for text in ("x", "y")]),
        make_annotator(lab.project, user=person), "A", by=person,
    )  # fmt: skip
    ben = sign_in(lab, Role.REVIEWER)
    url = reverse("training:judgement", args=["lab", given.key])
    page = ben.get(url).content.decode()
    assert given.assignment.annotator.pseudonym in page
    assert "Annika" not in page and person.username not in page
    assert "secret-writer" not in page and not ModelReveal.objects.exists()
    assert ben.post(reverse("training:judgement-reveal", args=["lab", given.key])).status_code == 303
    assert "secret-writer" in ben.get(url).content.decode()
    assert ModelReveal.objects.get().job == arm.job


def unpaired(lab) -> tuple[Snapshot, dict]:
    """A dataset with a pair, and with two bad answers that are held out; and the first of those."""
    campaign = make_judged(lab.project, ["A", "bad"], n_held_out=1)
    snapshot = freeze(lab.project, [campaign], pair_policy={"unpaired": True})
    lines = (artifact_path("datasets", snapshot.artifact_sha256) / "unpaired-test.jsonl").read_text().splitlines()
    assert len(lines) == 2
    return snapshot, json.loads(lines[0])


def test_an_answer_without_a_pair_leads_to_its_judgements_too(lab, ravi):
    snapshot, row = unpaired(lab)
    whole = reverse("training:snapshot", args=["lab", snapshot.key])
    one = reverse("training:snapshot-row", args=["lab", snapshot.key, row["id"]])
    page = ravi.get(whole).content.decode()
    assert "First answers without a pair" in page and f'href="{one}"' in page
    assert "First answers without a pair" not in ravi.get(pages(lab)["snapshot"]).content.decode()
    page = ravi.get(one).content.decode()
    judgement = snapshot.members.get(judgement__verdict="all_bad").judgement
    assert row["completion"][0]["content"] in page and "The answer is bad" in page and "Held out" in page
    assert reverse("training:judgement", args=["lab", judgement.key]) in page
    held = reverse("training:holdings-judgements", args=["lab", judgement.key]) + f"?dataset={snapshot.key}"
    assert f'href="{one}"' in ravi.get(held).content.decode()
    assert ravi.get(reverse("training:snapshot-row", args=["lab", snapshot.key, "0" * 32])).status_code == 404


def test_a_judgement_against_the_label_says_the_contrary():
    assert dataset_views._says({"label": True}, "against") == "The answer is bad"
    assert dataset_views._says({"label": False}, "against") == "The answer is good"
    assert dataset_views._says({"chosen": []}, "neither") == "Neither is better"


def test_the_api_lists_the_rows_without_a_pair_where_asked(lab):
    snapshot, row = unpaired(lab)
    api = Api(lab.project, make_person("Ravi", lab.project, Role.RESEARCHER))
    rows = f"datasets/{snapshot.key}/rows?split=test"
    assert api.get(rows).json() == {"results": [], "next": None}
    found = api.get(f"{rows}&kind=unpaired&limit=1").json()
    assert found["results"] == [row]
    following = api.get(found["next"].split("/projects/lab/")[1]).json()
    assert [len(following["results"]), following["next"]] == [1, None]
    assert "chosen" in api.get(f"datasets/{snapshot.key}/rows?kind=pair").json()["results"][0]
    assert api.get(f"{rows}&kind=odd").status_code == 422
    assert api.get(f"datasets/{lab.snapshot.key}/rows?kind=unpaired").json() == {"results": [], "next": None}


def test_a_preview_by_api_tells_what_its_schema_says(lab):
    api = Api(lab.project, make_person("Ravi", lab.project, Role.RESEARCHER))
    told = api.post("datasets/preview", {"campaigns": [lab.campaign.key]}).json()
    schema = document()["components"]["schemas"]["Preview"]
    assert set(told) == set(schema["properties"]) and set(schema["required"]) <= set(told)
    assert (told["n_rows"], told["n_train"], told["n_test"], told["share"]) == (4, 3, 1, 1.0)
    assert set(told["lengths"]) == {"chosen", "rejected", "chosen_longer"} and told["agreement"] is None
    row = api.get(f"datasets/{lab.snapshot.key}/rows").json()["results"][0]
    assert told["first_rows"][0].keys() == row.keys() <= document()["components"]["schemas"]["Row"]["properties"].keys()
    assert told["dropped"] == [] and len(told["warnings"]) == 1
    empty = api.post("datasets/preview", {"campaigns": [lab.campaign.key], "selection": {"tags": ["nope"]}}).json()
    assert empty["dropped"] == [
        {"reason": "other_tags", "n": 4, "of": "judgements", "words": "of prompts without the tags chosen"}
    ]
    assert empty["lengths"] is None and empty["first_rows"] == []
