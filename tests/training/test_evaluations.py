"""Evaluations from the request to the figures: judges kept apart, and a job that lives through kills, cancels and lost leases."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import jobs
from core.errors import DomainError
from core.jobs import JobStatus, request_cancel
from generation.deploy import live_deployment, request_deployment, run_deployment_job
from generation.models import Candidate, Deployment, GenerationJob
from tests.generation import serving_world
from tests.generation.stub_vllm import StubVllm
from tests.training.judged import (
    freeze,
    judge,
    make_adapter,
    make_annotator,
    make_answer,
    make_arm,
    make_campaign,
    make_judged,
    make_project,
    make_prompt,
    make_set,
    make_task,
    make_version,
    take_back,
)
from training import evaluate
from training.evaluate import evaluate_again, people_between, run_evaluation, start_evaluation
from training.models import Evaluation, TrainingRun

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_send", lambda job: None)


def done(evaluation: Evaluation) -> Evaluation:
    run_evaluation(evaluation.pk)
    evaluation.refresh_from_db()
    return evaluation


class Pair:
    """Two versions of a project, and a campaign in which people compare their answers to held-out prompts."""

    def __init__(self, **fields) -> None:
        self.project = make_project(**fields)
        self.old = make_version(self.project, "old")
        self.new = make_adapter(self.old, "new")
        self.job = GenerationJob.objects.create(project=self.project, status="succeeded")
        self.arms = [make_arm(self.project, version, job=self.job) for version in (self.new, self.old)]
        self.campaign, self.prompts = make_campaign(self.project), make_set(self.project)

    def task(self, number: int, *, split: str = "holdout", texts=("New.", "Old.")):
        prompt = make_prompt(self.prompts, f"Question {number}", split=split)
        answers = [make_answer(arm, prompt, text) for arm, text in zip(self.arms, texts, strict=True)]
        return make_task(self.campaign, answers)


# ---- by people -------------------------------------------------------------------------------------------------------


def by_people(pair: Pair) -> Evaluation:
    return done(start_evaluation(project=pair.project, model_version=pair.new, against=pair.old, judge="people"))


def test_people_who_prefer_the_new_version_on_enough_prompts_call_it_better():
    pair, ana = Pair(), make_annotator
    person = ana(pair.project)
    for number in range(40):
        judge(pair.task(number), person, "A" if number < 32 else "B")
    found = by_people(pair)
    assert (found.status, found.outcome, found.value) == (JobStatus.SUCCEEDED, "better", 0.8)
    assert (found.wins, found.ties, found.losses, found.n_prompts) == (32, 0, 8, 40)
    assert found.low is not None and found.high is not None and 0.5 < found.low < 0.8 < found.high
    assert found.details["n_people"] == 1 and found.details["warnings"] == []


def test_under_thirty_prompts_there_is_a_warning_and_no_verdict():
    pair = Pair()
    person = make_annotator(pair.project)
    for number in range(29):
        judge(pair.task(number), person, "A")
    found = by_people(pair)
    assert (found.value, found.outcome) == (1.0, "none")
    assert found.details["warnings"] == ["Measured on 29 held-out prompts. Under 30 there is no verdict."]


def test_several_judgements_of_one_prompt_are_one_prompt():
    pair = Pair()
    task = pair.task(1)
    for says in ("A", "A", "B", "tie"):
        judge(task, make_annotator(pair.project), says)
    found = by_people(pair)
    assert (found.n_prompts, found.value, found.wins, found.ties, found.losses) == (1, 0.625, 2, 1, 1)


def test_only_blind_standing_judgements_of_held_out_prompts_by_people_count():
    pair = Pair()
    judge(pair.task(1), make_annotator(pair.project), "A")
    judge(pair.task(2, split="train"), make_annotator(pair.project), "B")
    judge(pair.task(3), make_annotator(pair.project), "B", is_unblinded=True)
    judge(pair.task(4), make_annotator(pair.project, kind="simulated"), "B")
    judge(pair.task(5), make_annotator(pair.project, kind="ai"), "B")
    judge(pair.task(6), make_annotator(pair.project), "B", purpose="practice")
    take_back(judge(pair.task(7), make_annotator(pair.project), "B"))
    within = make_prompt(pair.prompts, "Within one version", split="holdout")
    same = [make_answer(pair.arms[0], within, text) for text in ("x", "y")]
    judge(make_task(pair.campaign, same), make_annotator(pair.project), "B")
    assert people_between(pair.project, pair.new, pair.old).count() == 1
    assert by_people(pair).value == 1.0


# ---- what cannot be asked --------------------------------------------------------------------------------------------


def test_what_is_missing_is_said_before_anything_is_queued():
    pair = Pair()
    reward = make_version(pair.project, "reward", purpose="reward")
    common = {"project": pair.project, "model_version": pair.new, "against": pair.old}
    cases = [
        ({**common, "judge": "people"}, "Nobody has compared new with old"),
        ({**common, "judge": "simulated", "prompt_set": pair.prompts}, "Only the demo's own simulated people"),
        ({**common, "judge": "reward_model", "prompt_set": pair.prompts}, "no reward model"),
        (
            {**common, "judge": "reward_model", "reward_model": pair.old, "prompt_set": pair.prompts},
            "old is not a reward model",
        ),
        ({**common, "judge": "reward_model", "reward_model": reward}, "Choose the prompt set"),
        (
            {**common, "judge": "reward_model", "reward_model": reward, "prompt_set": pair.prompts},
            "has no held-out prompt",
        ),
        ({**common, "against": pair.new, "judge": "people"}, "compared with itself"),
        ({**common, "against": None, "judge": "people"}, "Choose the version to compare with"),
        ({**common, "against": reward, "judge": "people"}, "reward is a reward model; it writes no answers"),
        ({**common, "judge": "coin"}, "Choose one of the judges"),
        ({"project": pair.project, "model_version": reward, "judge": "reward_accuracy"}, "Choose the dataset"),
        ({**common, "project": make_project(), "judge": "people"}, "another project"),
    ]
    for asked, said in cases:
        with pytest.raises(DomainError, match=said):
            start_evaluation(**asked)
    assert not Evaluation.objects.exists()


def test_a_dataset_without_held_out_pairs_measures_nothing():
    project = make_project()
    snapshot = freeze(project, [make_judged(project)])
    reward = make_version(project, "reward", purpose="reward")
    with pytest.raises(DomainError, match="has no held-out pair"):
        start_evaluation(project=project, model_version=reward, judge="reward_accuracy", snapshot=snapshot)


# ---- by the simulated people's preference ----------------------------------------------------------------------------


def test_the_simulated_people_judge_without_noise_and_the_page_gets_what_changed():
    pair = Pair(is_demo=True)
    texts = ("The answer is 5. I hope this helps!", "What a silly question. The answer is 7.")
    for number in range(30):
        prompt = make_prompt(pair.prompts, f"What is {number} + 1?", split="holdout")
        for arm, text in zip(pair.arms, texts, strict=True):
            make_answer(arm, prompt, text)
    evaluation = start_evaluation(
        project=pair.project, model_version=pair.new, against=pair.old, judge="simulated", prompt_set=pair.prompts
    )
    Evaluation.objects.filter(pk=evaluation.pk).update(job=pair.job)
    found = done(evaluation)
    assert (found.status, found.error) == (JobStatus.SUCCEEDED, "")
    assert (found.outcome, found.value, found.n_prompts) == ("better", 1.0, 30)
    assert found.details["traits"]["rude"] == {"new": 0.0, "old": 1.0}
    assert found.details["words"] == {"new": 8.0, "old": 8.0}
    assert len(found.details["examples"]) == 8


# ---- the job: sampling through an engine that is asked to misbehave -----------------------------------------------------


class Lab:
    """A demo project whose base is live on a stub, with an adapter to evaluate and three held-out prompts."""

    def __init__(self, stub: StubVllm) -> None:
        self.stub, self.project = stub, make_project(is_demo=True)
        self.endpoint = serving_world.make_endpoint(stub.url)
        self.base = serving_world.make_base(self.project)
        deployment = request_deployment(version=self.base, endpoint=self.endpoint, project=self.project)
        run_deployment_job(deployment.pk)
        self.adapter = serving_world.make_adapter(self.base)
        self.prompts = make_set(self.project)
        for number in range(3):
            make_prompt(self.prompts, f"Question {number}?", split="holdout")
        make_prompt(self.prompts, "Not this one.", split="train")

    def start(self, **options) -> Evaluation:
        return start_evaluation(
            project=self.project, model_version=self.adapter, against=self.base, judge="simulated",
            prompt_set=self.prompts, options={"n_answers": 2, **options},
        )  # fmt: skip


@pytest.fixture
def stub() -> Iterator[StubVllm]:
    with StubVllm() as server:
        yield server


@pytest.fixture
def lab(stub: StubVllm, transactional_db: None) -> Lab:
    return Lab(stub)


def test_both_versions_are_sampled_and_what_is_live_stays_live(lab):
    before = live_deployment(lab.project)
    found = done(lab.start())
    assert (found.status, found.error) == (JobStatus.SUCCEEDED, "")
    assert live_deployment(lab.project) == before
    staged = Deployment.objects.get(model_version=lab.adapter)
    assert staged.alias == "candidate"
    assert Candidate.objects.filter(arm__job=found.job).count() == 2 * 3 * 2
    assert set(Candidate.objects.values_list("prompt__split", flat=True)) == {"holdout"}
    assert [arm.model_version for arm in found.job.arms.order_by("number")] == [lab.adapter, lab.base]
    assert {arm.deployment for arm in found.job.arms.all()} == {staged, before}


def test_a_worker_killed_after_the_sampling_began_leaves_one_job_and_no_answer_twice(lab, monkeypatch):
    evaluation = lab.start()

    def die(_job: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "run_generation", die)
    with pytest.raises(KeyboardInterrupt):
        run_evaluation(evaluation.pk)
    monkeypatch.undo()
    monkeypatch.setattr(jobs, "_send", lambda job: None)
    Evaluation.objects.filter(pk=evaluation.pk).update(status="queued", lease_token="", leased_until=None)
    found = done(evaluation)
    assert found.status == JobStatus.SUCCEEDED
    assert GenerationJob.objects.count() == 1
    assert Candidate.objects.count() == 12


def test_a_worker_killed_between_the_job_and_its_link_finds_the_job_again(lab, monkeypatch):
    evaluation = lab.start()
    found = done(evaluation)
    Evaluation.objects.filter(pk=evaluation.pk).update(status="queued", job=None, lease_token="")
    again = done(evaluation)
    assert (again.status, again.job) == (JobStatus.SUCCEEDED, found.job)
    assert GenerationJob.objects.count() == 1


def test_an_evaluation_run_again_after_its_end_changes_nothing(lab):
    found = done(lab.start())
    before = Evaluation.objects.values().get(pk=found.pk)
    run_evaluation(found.pk)
    assert Evaluation.objects.values().get(pk=found.pk) == before


def test_a_cancel_stops_the_sampling_too(lab, monkeypatch):
    evaluation, real = lab.start(n_answers=16), evaluate.run_generation

    def cancelled_meanwhile(job_id: int) -> None:
        request_cancel(Evaluation.objects.get(pk=evaluation.pk))
        for _ in range(1000):  # until the evaluation's own worker has passed the wish on
            if GenerationJob.objects.get(pk=job_id).status != JobStatus.QUEUED:
                break
            time.sleep(0.02)
        real(job_id)

    monkeypatch.setattr(evaluate, "run_generation", cancelled_meanwhile)
    found = done(evaluation)
    assert (found.status, found.value) == (JobStatus.CANCELLED, None)
    assert found.job.status == JobStatus.CANCELLED
    assert not Candidate.objects.exists()


def test_a_lost_lease_writes_no_result(lab, monkeypatch):
    evaluation = lab.start()
    real = evaluate.tally

    def lose(scores):
        Evaluation.objects.filter(pk=evaluation.pk).update(lease_token="another worker's")
        return real(scores)

    monkeypatch.setattr(evaluate, "tally", lose)
    found = done(evaluation)
    assert (found.status, found.value) == (JobStatus.RUNNING, None)


def test_an_evaluation_cancelled_in_its_last_moment_has_no_result(lab, monkeypatch):
    evaluation, real = lab.start(), evaluate.tally

    def cancelled_meanwhile(scores):
        request_cancel(Evaluation.objects.get(pk=evaluation.pk))
        return real(scores)

    monkeypatch.setattr(evaluate, "tally", cancelled_meanwhile)
    found = done(evaluation)
    assert (found.status, found.value) == (JobStatus.CANCELLED, None)


def test_another_version_on_its_way_is_waited_for(lab, monkeypatch):
    other = serving_world.make_adapter(lab.base, "other")
    coming = request_deployment(version=other, endpoint=lab.endpoint, alias="candidate", project=lab.project)
    monkeypatch.setattr(evaluate, "PAUSE_SECONDS", 0.0)
    real = evaluate.Keeper.beat

    def loaded_meanwhile(keeper, **progress) -> None:
        if "Waiting" in str(progress.get("message")):
            run_deployment_job(coming.pk)
        real(keeper, **progress)

    monkeypatch.setattr(evaluate.Keeper, "beat", loaded_meanwhile)
    found = done(lab.start())
    assert (found.status, found.error) == (JobStatus.SUCCEEDED, "")


def test_an_adapter_that_changes_nothing_is_not_evaluated_and_says_why(lab):
    lab.adapter = serving_world.make_adapter(lab.base, "same", change=0.0)
    found = done(lab.start())
    assert found.status == JobStatus.FAILED
    assert "could not be loaded" in found.error and "changes nothing" in found.error


def test_tried_again_it_keeps_the_answers_that_are_there(lab, monkeypatch):
    def broken(*_args):
        raise DomainError("The judge is ill.", how="Wait.")

    monkeypatch.setattr(evaluate, "_by_utility", broken)
    found = done(lab.start())
    assert (found.status, found.error) == (JobStatus.FAILED, "The judge is ill. Wait.")
    monkeypatch.undo()
    monkeypatch.setattr(jobs, "_send", lambda job: None)
    n_asked = len(lab.stub.bodies("/v1/chat/completions"))
    evaluate_again(found, by=None)
    assert done(found).status == JobStatus.SUCCEEDED
    assert len(lab.stub.bodies("/v1/chat/completions")) == n_asked


# ---- with real parts -------------------------------------------------------------------------------------------------


@pytest.mark.training
@pytest.mark.django_db(transaction=True)
def test_a_trained_reward_model_is_measured_beside_people(tmp_path: Path):
    """Polite answers are better in every training pair; held-out people agree in 14 of 20 pairs of judgements."""
    from generation.models import ModelVersion
    from tests.training.bench import Bench
    from training.publish import store_final

    bench = Bench(tmp_path)
    assert bench.go(bench.spec("scorer", "reward", learning_rate=0.003, epochs=6)) == 0, bench.output("scorer")
    stored = store_final(tmp_path / "scorer", "reward")
    project = make_project()
    base = make_version(project, "start", source=str(bench.base))
    reward = ModelVersion.objects.create(
        project=project,
        slug="reward-1",
        kind=stored.facts.kind,
        purpose="reward",
        parent=base,
        artifact_sha256=stored.sha256,
    )
    arm, campaign, prompts = make_arm(project, base), make_campaign(project), make_set(project)
    people = [make_annotator(project) for _ in range(2)]
    for number in range(20):
        prompt = make_prompt(prompts, f"Does a cat eat fish? ({number})", split="holdout")
        texts = ("Happy to help! A cat may eat fish.", "What a silly question. Ask a cat.")
        task = make_task(campaign, [make_answer(arm, prompt, text) for text in texts])
        judge(task, people[0], "A")
        judge(task, people[1], "B" if number < 6 else "A")
    prompt = make_prompt(prompts, "Does a dog eat grass?")
    judge(make_task(campaign, [make_answer(arm, prompt, text) for text in ("x", "y")]), people[0], "A")
    snapshot = freeze(project, [campaign])
    assert snapshot.counts["dropped"]["contradictory"] == 6
    found = done(start_evaluation(project=project, model_version=reward, judge="reward_accuracy", snapshot=snapshot))
    assert (found.status, found.error) == (JobStatus.SUCCEEDED, "")
    assert (found.value, found.outcome, found.n_prompts) == (1.0, "none", 14)
    assert found.ceiling == pytest.approx(14 / 20)
    assert found.details["n_pairs_judged_twice"] == 20

    by_reward = start_evaluation(
        project=project, model_version=make_adapter(base, "dpo-1"), against=base, judge="reward_model",
        reward_model=reward, prompt_set=prompts,
    )  # fmt: skip
    job = GenerationJob.objects.create(project=project, status="succeeded")
    arms = [make_arm(project, version, job=job) for version in (by_reward.model_version, base)]
    for number in range(40):
        prompt = make_prompt(prompts, f"Does an owl eat mice? ({number})", split="holdout")
        for its_arm, text in zip(
            arms, ("Happy to help! An owl may eat mice.", "What a silly question. Ask an owl."), strict=True
        ):
            make_answer(its_arm, prompt, text)
    Evaluation.objects.filter(pk=by_reward.pk).update(job=job)
    TrainingRun.objects.create(
        project=project, method="reward", base=base, snapshot=snapshot, produced=reward, status="succeeded"
    )
    TrainingRun.objects.create(
        project=project,
        method="dpo",
        base=base,
        snapshot=snapshot,
        produced=by_reward.model_version,
        status="succeeded",
    )
    won = done(by_reward)
    assert (won.status, won.value, won.n_prompts) == (JobStatus.SUCCEEDED, 1.0, 40)
    assert won.outcome == "none", "a reward model that learnt from the same people's pairs calls no win"
    assert won.details["shared_judgements"] == 1


@pytest.mark.vllm
@pytest.mark.django_db(transaction=True)
def test_an_untrained_adapter_is_not_called_better_than_the_starter_model_by_a_real_vllm(vllm_server, tmp_path: Path):
    from config.env import ROOT
    from core.storage import store_directory
    from generation.artifacts import ARTIFACT_KIND
    from starter import world
    from tests.generation.real_adapter import write_adapter

    base_dir = ROOT / "starter" / "model"
    project = make_project(is_demo=True)
    endpoint = serving_world.make_endpoint(vllm_server.base_url, base_model=str(base_dir), timeout_seconds=120)
    base = serving_world.make_base(project, source=str(base_dir))
    run_deployment_job(request_deployment(version=base, endpoint=endpoint, project=project).pk)
    adapter = make_version(
        project, "spoilt", kind="adapter", parent=base, facts={"rank": 16},
        artifact_sha256=store_directory(ARTIFACT_KIND, write_adapter(base_dir, tmp_path / "adapter", scale=0.2)),
    )  # fmt: skip
    prompts = make_set(project)
    for text, _ in list(world.prompts())[::40][:40]:
        make_prompt(prompts, text, split="holdout")
    found = done(
        start_evaluation(
            project=project,
            model_version=adapter,
            against=base,
            judge="simulated",
            prompt_set=prompts,
            options={"n_answers": 2, "seed": 1, "sampling": {"temperature": 1.0, "max_tokens": 48}},
        )
    )
    assert (found.status, found.error) == (JobStatus.SUCCEEDED, "")
    assert found.n_prompts == 40 and found.outcome != "better", found.details
    assert found.details["traits"]["acceptable"]["new"] < found.details["traits"]["acceptable"]["old"]
    assert live_deployment(project).model_version == base
