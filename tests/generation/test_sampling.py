"""Generation jobs: what is asked, how often, and what is kept when things go wrong. The real vLLM has its own file."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from accounts.models import Project, User
from annotation.models import Campaign
from core.errors import DomainError
from core.ids import group_sha256, seed_from, sha256_hex
from core.jobs import JobStatus, claim, reap
from generation import sampling_run
from generation.models import Candidate, Deployment, Endpoint, GenerationJob, ModelVersion, Prompt, PromptSet
from generation.sampling import (
    Selection,
    cancel_generation,
    continue_generation,
    may_see_models,
    reveal_models,
    selected_prompts,
    start_generation,
)
from generation.sampling_run import run_generation
from tests.generation.stub_vllm import StubVllm

pytestmark = pytest.mark.django_db(transaction=True)
SAMPLING = {"temperature": 1.0, "max_tokens": 32}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    monkeypatch.setattr(sampling_run, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(sampling_run, "LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(sampling_run, "FLUSH_SECONDS", 0.02)
    monkeypatch.setattr(sampling_run, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(sampling_run, "SHORTEST_PROBE_SECONDS", 0.02)


@pytest.fixture
def project() -> Project:
    return Project.objects.create(slug="loop", name="Loop")


@pytest.fixture
def ravi() -> User:
    return User.objects.create_user("ravi")


@pytest.fixture
def stub() -> Iterator[StubVllm]:
    with StubVllm() as server:
        yield server


def make_prompts(project: Project, n: int = 4, **more: Any) -> PromptSet:
    prompt_set = PromptSet.objects.create(project=project, name=f"set {PromptSet.objects.count()}", n_prompts=n)
    for number in range(1, n + 1):
        text = more.get("text", "What is {number}?").format(number=number)
        Prompt.objects.create(
            set=prompt_set,
            number=number,
            messages=[{"role": "user", "content": text}],
            content_sha256=sha256_hex(f"{prompt_set.pk} {number}"),
            group_sha256=group_sha256(text),
            split="holdout" if number % 4 == 0 else "train",
            tags=["even"] if number % 2 == 0 else ["odd", "Ünï"],
            random=(number * 7919) % 101,
        )
    return prompt_set


def make_deployment(project: Project, stub: StubVllm, served_name: str = "base", **endpoint: Any) -> Deployment:
    version = ModelVersion.objects.create(
        project=project, slug=f"m{ModelVersion.objects.count()}", kind="base", source="/models/base"
    )
    server = Endpoint.objects.filter(base_url=stub.url).first() or Endpoint.objects.create(
        name="stub", engine="vllm", base_url=stub.url, **{"max_concurrency": 4, "timeout_seconds": 2, **endpoint}
    )
    return Deployment.objects.create(
        project=project,
        endpoint=server,
        model_version=version,
        served_name=served_name,
        alias=served_name,
        stage="live",
    )


def start(project: Project, *deployments: Deployment, n: int = 2, **options: Any) -> GenerationJob:
    prompt_set = options.pop("prompt_set", None) or make_prompts(project)
    return start_generation(
        project=project,
        prompt_set=prompt_set,
        selection=options.pop("selection", {}),
        arms=[{"deployment": deployment, "sampling": SAMPLING} for deployment in deployments],
        n_answers=n,
        seed=7,
        by=None,
        **options,
    )


def triples(job: GenerationJob) -> list[tuple[int, int, int]]:
    found = Candidate.objects.filter(arm__job=job).values_list("arm__number", "prompt_id", "index")
    return sorted(found)


def expected(job: GenerationJob) -> list[tuple[int, int, int]]:
    return sorted(
        (arm.number, prompt, index)
        for arm in job.arms.all()
        for prompt in job.prompt_ids
        for index in range(job.n_answers)
    )


def finished(job: GenerationJob, status: str = JobStatus.SUCCEEDED) -> GenerationJob:
    job.refresh_from_db()
    assert job.status == status, (job.status, job.error, job.failures, job.log_tail)
    return job


def until(fact: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


class InThread:
    """Run a job beside the test, as a worker would."""

    def __init__(self, job: GenerationJob) -> None:
        self.thread = threading.Thread(target=self._run, args=[job.pk], daemon=True)

    @staticmethod
    def _run(pk: int) -> None:
        from django.db import connections

        try:
            run_generation(pk)
        finally:
            connections.close_all()

    def __enter__(self) -> "InThread":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join(30)
        assert not self.thread.is_alive()


# ---- the selection ---------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_n_at_random_is_always_the_same_n(project: Project) -> None:
    prompt_set = make_prompts(project, 10)
    chosen = [list(selected_prompts(prompt_set, Selection(n=4)).values_list("pk", flat=True)) for _ in range(2)]
    assert chosen[0] == chosen[1]
    assert chosen[0] != sorted(chosen[0])
    assert chosen[0] == list(selected_prompts(prompt_set, Selection(n=6)).values_list("pk", flat=True))[:4]


@pytest.mark.django_db
def test_prompts_are_chosen_by_tag_and_split(project: Project) -> None:
    prompt_set = make_prompts(project, 8)
    numbers = selected_prompts(prompt_set, Selection(tags=("Ünï",), order="number")).values_list("number", flat=True)
    assert list(numbers) == [1, 3, 5, 7]
    assert not selected_prompts(prompt_set, Selection(tags=("Even",))).exists()
    assert not selected_prompts(prompt_set, Selection(tags=("even", "odd"))).exists()
    both = selected_prompts(prompt_set, Selection(tags=("even",), split="holdout", order="number"))
    assert list(both.values_list("number", flat=True)) == [4, 8]


def test_unused_prompts_come_first(project: Project, stub: StubVllm) -> None:
    prompt_set, deployment = make_prompts(project, 6), make_deployment(project, stub)
    first = start(project, deployment, prompt_set=prompt_set, selection={"n": 3})
    run_generation(first.pk)
    second = start(project, deployment, prompt_set=prompt_set, selection={"n": 4, "unused_first": True})
    assert set(second.prompt_ids[:3]).isdisjoint(first.prompt_ids)
    assert second.prompt_ids[3] in first.prompt_ids


@pytest.mark.django_db
def test_a_selection_that_fits_nothing_says_so(project: Project, stub: StubVllm) -> None:
    deployment = make_deployment(project, stub)
    with pytest.raises(DomainError, match="No prompt of"):
        start(project, deployment, selection={"tags": ["nowhere"]})
    assert not GenerationJob.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("selection", [{"where": "1=1"}, {"n": 0}, {"split": "test__gt"}])
def test_a_selection_holds_known_fields_only(project: Project, stub: StubVllm, selection: dict[str, Any]) -> None:
    with pytest.raises(DomainError, match="cannot be read"):
        start(project, make_deployment(project, stub), selection=selection)


@pytest.mark.django_db
def test_the_same_form_sent_twice_is_one_job(project: Project, stub: StubVllm) -> None:
    deployment = make_deployment(project, stub)
    prompt_set = make_prompts(project)
    jobs = [start(project, deployment, prompt_set=prompt_set, key="abcdefghjkmn") for _ in range(2)]
    assert jobs[0].pk == jobs[1].pk


@pytest.mark.django_db
def test_a_retired_deployment_cannot_be_an_arm(project: Project, stub: StubVllm) -> None:
    deployment = make_deployment(project, stub)
    Deployment.objects.filter(pk=deployment.pk).update(stage="retired")
    deployment.refresh_from_db()
    with pytest.raises(DomainError, match="not served any more"):
        start(project, deployment)


@pytest.mark.django_db
def test_two_equal_arms_are_refused(project: Project, stub: StubVllm) -> None:
    deployment = make_deployment(project, stub)
    with pytest.raises(DomainError, match="the same"):
        start(project, deployment, deployment)


# ---- the answers -----------------------------------------------------------------------------------------------------


def test_every_answer_is_written_once_with_a_seed_of_its_identity(project: Project, stub: StubVllm) -> None:
    stub.adapters["policy-2"] = "/x"
    job = start(project, make_deployment(project, stub), make_deployment(project, stub, "policy-2"), n=3)
    run_generation(job.pk)
    job = finished(job)
    assert triples(job) == expected(job)
    assert (job.step, job.total_steps, job.n_failed, job.n_tokens) == (24, 24, 0, 72)
    for candidate in Candidate.objects.select_related("arm", "prompt"):
        seed = seed_from(7, candidate.prompt.content_sha256, candidate.arm.number, candidate.index)
        assert candidate.seed == seed
        assert candidate.text.endswith(f"says {seed}")
    assert {arm.engine_version for arm in job.arms.all()} == {"0.0-stub"}


def test_an_answer_is_stored_letter_by_letter_with_its_figures(
    project: Project, stub: StubVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "a\ttab,\r\na \\n, \\N, %s, “quotes” 'and' \"more\", nothing \\. 🙂"
    choice = {"message": {"content": text}, "finish_reason": "length"}
    reply = {"model": "base", "choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}
    monkeypatch.setattr(stub, "answer", lambda path, body: (200, reply) if body else StubVllm.answer(stub, path, body))
    before = timezone.now()
    job = start(project, make_deployment(project, stub))
    run_generation(job.pk)
    finished(job)
    rows = list(Candidate.objects.all())
    assert {row.text for row in rows} == {text}
    assert {row.text_sha256 for row in rows} == {sha256_hex(text)}
    assert {(row.finish_reason, row.n_prompt_tokens, row.n_completion_tokens) for row in rows} == {("length", 5, 3)}
    assert all(row.latency_seconds and before <= row.created_at <= timezone.now() for row in rows)
    assert {len(row.key) for row in rows} == {12}
    assert len({row.key for row in rows}) == len(rows) == 8


def test_a_prompt_that_is_named_twice_is_asked_once(project: Project, stub: StubVllm) -> None:
    prompt_set = make_prompts(project, 3)
    first, _, third = prompt_set.prompts.values_list("pk", flat=True).order_by("pk")
    job = start(project, make_deployment(project, stub), prompt_set=prompt_set, prompts=[third, first, third])
    assert job.prompt_ids == [third, first]
    assert job.total_steps == 4
    run_generation(job.pk)
    assert triples(finished(job)) == expected(job)


def test_a_job_done_twice_asks_for_nothing_the_second_time(project: Project, stub: StubVllm) -> None:
    job = start(project, make_deployment(project, stub))
    run_generation(job.pk)
    n_asked = len(stub.bodies("/v1/chat/completions"))
    run_generation(job.pk)  # the message came twice
    GenerationJob.objects.filter(pk=job.pk).update(status="queued")
    run_generation(job.pk)  # and the job was queued again
    assert len(stub.bodies("/v1/chat/completions")) == n_asked
    assert triples(finished(job)) == expected(job)


def test_a_killed_worker_leaves_work_that_another_finishes(project: Project, stub: StubVllm) -> None:
    # T182: killed after the engine answered, before everything was stored
    job = start(project, make_deployment(project, stub), prompt_set=make_prompts(project, 30), n=4)

    class Killed(BaseException):
        pass

    real, calls = sampling_run.Ledger.store, []

    def dies(ledger: Any, outcomes: Any, message: str) -> Any:
        calls.append(len(outcomes))
        if sum(calls) > 40:
            raise Killed
        return real(ledger, outcomes, message)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(BaseException):  # noqa: B017
        patch.setattr(sampling_run.Ledger, "store", dies)
        run_generation(job.pk)
    kept = len(triples(job))
    assert 0 <= kept < 120
    GenerationJob.objects.filter(pk=job.pk).update(leased_until="2020-01-01T00:00Z")
    reap()
    run_generation(job.pk)
    job = finished(job)
    assert triples(job) == expected(job)
    assert job.step == 120
    n_asked = len(stub.bodies("/v1/chat/completions"))
    assert n_asked <= 120 + sum(calls) - kept + 2 * 4  # what was lost was asked again, and no more


def test_a_worker_that_lost_its_lease_stores_nothing(project: Project, stub: StubVllm) -> None:
    job = start(project, make_deployment(project, stub))
    stub.on_request = lambda path, body: (
        GenerationJob.objects.filter(pk=job.pk).update(lease_token="somebody else") if "completions" in path else None
    )
    run_generation(job.pk)
    assert triples(job) == []
    assert finished(job, JobStatus.RUNNING).lease_token == "somebody else"


def test_cancel_keeps_what_is_there_and_going_on_writes_the_rest(project: Project, stub: StubVllm, ravi: User) -> None:
    job = start(project, make_deployment(project, stub), prompt_set=make_prompts(project, 40))
    stub.on_request = lambda path, body: time.sleep(0.02) if "completions" in path else None
    with InThread(job):
        until(lambda: Candidate.objects.count() > 5)
        cancel_generation(GenerationJob.objects.get(pk=job.pk), by=ravi)
    job = finished(job, JobStatus.CANCELLED)
    assert 5 < len(triples(job)) == job.step < 80
    continue_generation(job, by=ravi)
    run_generation(job.pk)
    assert triples(finished(job)) == expected(job)


@pytest.mark.parametrize("fault", ["500", "429", "cut", "garbage", "empty", "two choices", "wrong model", "slow"])
def test_a_fault_that_passes_costs_no_answer(project: Project, stub: StubVllm, fault: str) -> None:
    # T183
    stub.fault, stub.n_faults = fault, 2
    job = start(project, make_deployment(project, stub), prompt_set=make_prompts(project, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling_run, "_wait_of", lambda busy, n: 0.01)
        run_generation(job.pk)
    assert triples(finished(job)) == expected(job)
    assert all(text.startswith("base says") for text in Candidate.objects.values_list("text", flat=True))


@pytest.mark.parametrize("fault", ["wrong model", "no choice", "half an answer", "500"])
def test_a_fault_that_stays_is_a_failed_item_with_its_reason(project: Project, stub: StubVllm, fault: str) -> None:
    # T183, T184: the server is up, so this ends; nothing is kept under a wrong name
    stub.fault = fault
    job = start(project, make_deployment(project, stub), prompt_set=make_prompts(project, 2), n=1)
    run_generation(job.pk)
    job = finished(job, JobStatus.FAILED)
    assert triples(job) == []
    assert job.n_failed == 2
    assert "Given up after 6 tries" in job.failures[0]["reason"]
    assert "secret-internal-text" not in str(job.failures) + job.error


def test_a_bad_request_is_asked_once_and_recorded(project: Project, stub: StubVllm) -> None:
    prompt_set = make_prompts(project, 3)
    job = start(project, make_deployment(project, stub), prompt_set=prompt_set, n=1)
    stub.fault, stub.n_faults = "400", 1
    run_generation(job.pk)
    job = finished(job)
    assert (job.step, job.n_failed, len(stub.bodies("/v1/chat/completions"))) == (2, 1, 3)
    assert job.failures[0]["reason"] == "The engine refuses the request."
    assert "1 could not be written" in job.message


def test_while_the_server_is_down_the_job_waits_and_says_so(project: Project) -> None:
    with StubVllm() as first:
        deployment = make_deployment(project, first)
    job = start(project, deployment)  # the stub is gone: nobody listens
    with InThread(job):
        until(lambda: "vLLM is down, trying again in" in GenerationJob.objects.get(pk=job.pk).message)
        waiting = GenerationJob.objects.get(pk=job.pk)
        assert waiting.status == JobStatus.RUNNING
        assert claim(waiting) is None
        with StubVllm() as second:
            Endpoint.objects.update(base_url=second.url)  # it came back on another port
            until(lambda: GenerationJob.objects.get(pk=job.pk).is_terminal)
    assert triples(finished(job)) == expected(job)


def test_a_cancel_is_heard_while_the_server_is_down(project: Project, ravi: User) -> None:
    with StubVllm() as gone:
        deployment = make_deployment(project, gone)
    job = start(project, deployment)
    with InThread(job):
        until(lambda: "is down" in GenerationJob.objects.get(pk=job.pk).message)
        cancel_generation(GenerationJob.objects.get(pk=job.pk), by=ravi)
    assert finished(job, JobStatus.CANCELLED).step == 0


def test_a_managed_server_without_an_address_yet_is_waited_for(project: Project, stub: StubVllm) -> None:
    deployment = make_deployment(project, stub)
    Endpoint.objects.update(base_url="", is_managed=True, state="starting")
    job = start(project, deployment)
    with InThread(job):
        until(lambda: "vLLM is starting" in GenerationJob.objects.get(pk=job.pk).message)
        Endpoint.objects.update(base_url=stub.url, state="ready")
        until(lambda: GenerationJob.objects.get(pk=job.pk).is_terminal)
    assert triples(finished(job)) == expected(job)


def test_an_adapter_lost_in_a_restart_is_waited_for(project: Project, stub: StubVllm) -> None:
    job = start(project, make_deployment(project, stub, "policy-9"))
    with InThread(job):
        until(lambda: "has not loaded the model of arm A yet" in GenerationJob.objects.get(pk=job.pk).message)
        stub.adapters["policy-9"] = "/x"
    assert triples(finished(job)) == expected(job)
    assert set(Candidate.objects.values_list("finish_reason", flat=True)) == {"stop"}


def test_a_deployment_retired_in_the_middle_ends_the_job_with_a_sentence(project: Project, stub: StubVllm) -> None:
    deployment = make_deployment(project, stub, "policy-9")
    job = start(project, deployment)
    with InThread(job):
        until(lambda: "has not loaded" in GenerationJob.objects.get(pk=job.pk).message)
        Deployment.objects.update(stage="retired")
    assert "The deployment of arm A was retired" in finished(job, JobStatus.FAILED).error


def test_an_answer_that_cannot_be_stored_as_it_is_is_not_stored(project: Project, stub: StubVllm) -> None:
    real = stub.answer

    def odd(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        status, answer = real(path, body)
        if "completions" in path and len(stub.bodies(path)) == 1:
            answer["choices"][0]["message"]["content"] = "a\x00b"
        return status, answer

    stub.answer = odd  # type: ignore[method-assign]
    job = start(project, make_deployment(project, stub, max_concurrency=1), n=1)
    run_generation(job.pk)
    assert "NUL" in finished(job).failures[0]["reason"]


def test_a_prompt_that_nearly_fills_the_context_gets_less_room(project: Project, stub: StubVllm) -> None:
    # The stub counts as vLLM does: prompt and answer together must fit the context of 512.
    real = stub.answer

    def counts(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path != "/v1/chat/completions":
            return real(path, body)
        n_prompt = len(body["messages"][0]["content"])
        if n_prompt + body["max_tokens"] > 512:
            return 400, {"error": {"message": "This model's maximum context length is 512 tokens."}}
        status, answer = real(path, body)
        answer["usage"]["prompt_tokens"] = n_prompt
        return status, answer

    stub.answer = counts  # type: ignore[method-assign]
    deployment = make_deployment(project, stub)
    job = start(project, deployment, prompt_set=make_prompts(project, 1, text="x" * 500), n=2)
    run_generation(job.pk)
    job = finished(job)
    assert (job.step, job.n_shortened, job.n_failed) == (2, 2, 0)
    asked = [body["max_tokens"] for body in stub.bodies("/v1/chat/completions")]
    assert asked.count(12) == 2, asked  # in whichever order the two answers came
    assert "less room" in job.message
    too_long = start(project, deployment, prompt_set=make_prompts(project, 1, text="x" * 600), n=1)
    run_generation(too_long.pk)
    assert "longer than the model's context" in finished(too_long, JobStatus.FAILED).failures[0]["reason"]


def test_no_more_is_asked_at_once_than_the_endpoint_takes(project: Project, stub: StubVllm) -> None:
    at_once, most, lock = 0, 0, threading.Lock()

    def count(path: str, body: dict[str, Any]) -> None:
        nonlocal at_once, most
        if "completions" in path:
            with lock:
                at_once += 1
                most = max(most, at_once)
            time.sleep(0.03)
            with lock:
                at_once -= 1

    stub.on_request = count
    job = start(project, make_deployment(project, stub, max_concurrency=3), prompt_set=make_prompts(project, 10))
    run_generation(job.pk)
    finished(job)
    assert most == 3


# ---- blindness -------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_models_stay_hidden_until_revealed_or_all_campaigns_are_closed(
    project: Project, stub: StubVllm, ravi: User
) -> None:
    job = start(project, make_deployment(project, stub))
    assert not may_see_models(job, ravi)
    campaign = Campaign.objects.create(project=project, name="c", stage="open")
    campaign.jobs.add(job)
    assert not may_see_models(job, ravi)
    Campaign.objects.update(stage="closed")
    assert may_see_models(job, ravi)
    job.reveals.all().delete()  # seeing them was recorded
    Campaign.objects.update(stage="open")
    assert not may_see_models(job, ravi)
    reveal_models(job, user=ravi, page="job")
    reveal_models(job, user=ravi, page="job")
    assert may_see_models(job, ravi)
    assert job.reveals.count() == 1


def test_two_workers_with_the_same_message_write_each_answer_once(project: Project, stub: StubVllm) -> None:
    job = start(project, make_deployment(project, stub), prompt_set=make_prompts(project, 20))
    stub.on_request = lambda path, body: time.sleep(0.005) if "completions" in path else None
    with InThread(job), InThread(job), InThread(job):
        pass
    assert triples(finished(job)) == expected(job)
    assert len(stub.bodies("/v1/chat/completions")) == 40


def test_a_database_that_was_away_sends_the_job_back_to_the_queue(project: Project, stub: StubVllm) -> None:
    job = start(project, make_deployment(project, stub))
    real, calls = sampling_run.Ledger.store, []

    def away_once(ledger: Any, outcomes: Any, message: str) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise OperationalError("database is locked")
        return real(ledger, outcomes, message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling_run.Ledger, "store", away_once)
        run_generation(job.pk)
        assert "The database did not answer" in finished(job, JobStatus.QUEUED).message
        run_generation(job.pk)
    assert triples(finished(job)) == expected(job)


def test_a_fault_of_our_own_fails_the_job_and_keeps_its_trace(project: Project, stub: StubVllm) -> None:
    job = start(project, make_deployment(project, stub))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling_run.Ledger, "missing", lambda *_: 1 / 0)
        run_generation(job.pk)
    job = finished(job, JobStatus.FAILED)
    assert "ZeroDivisionError" in job.error
    assert "ZeroDivisionError" in job.log_tail
