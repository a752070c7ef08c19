import errno
from concurrent.futures import Future, wait
from typing import Any

import psycopg
import pytest
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from accounts.models import Project
from core import beating, jobs
from core.beating import Keeper, attempt
from core.errors import DomainError
from core.jobs import JobStatus
from generation.models import PromptImport, PromptSet

pytestmark = pytest.mark.django_db


@pytest.fixture
def job() -> PromptImport:
    project = Project.objects.create(slug="p", name="P")
    prompt_set = PromptSet.objects.create(project=project, name="set")
    return PromptImport.objects.create(set=prompt_set, stored_name="x", file_format="jsonl")


def tried(job: PromptImport, problem: Exception | None = None) -> PromptImport:
    """The job as the database has it after an attempt at which ``problem`` was raised."""

    def work(job: PromptImport, keeper: Keeper) -> None:
        if problem:
            raise problem
        jobs.finish(job, keeper.token, message="Done")

    attempt(job, work, seconds=60, what="The import")
    return PromptImport.objects.get(pk=job.pk)


def test_an_attempt_that_ends_its_job_is_left_alone(job):
    job = tried(job)
    assert (job.status, job.message) == (JobStatus.SUCCEEDED, "Done")


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (DomainError("That is no file.", how="Send another."), "That is no file. Send another."),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device. Free some disk space and try again."),
        (OSError(errno.EACCES, "Permission denied"), "Permission denied. Try again once that is put right."),
        (ZeroDivisionError(), "The import stopped on something unexpected: ZeroDivisionError."),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_a_sentence_that_says_what_to_do(job, problem, sentence):
    job = tried(job, problem)
    assert job.status == JobStatus.FAILED
    assert sentence in job.error


@pytest.mark.parametrize("problem", [OperationalError("gone away"), InterfaceError("connection already closed")])
def test_a_database_that_did_not_answer_sends_the_job_back_to_the_queue(job, problem):
    job = tried(job, problem)
    assert job.status == JobStatus.QUEUED
    assert "the import goes on in a moment" in job.message
    assert tried(job).status == JobStatus.SUCCEEDED


def test_a_database_that_never_answers_ends_the_job_after_some_attempts(job):
    for _ in range(job.job_max_attempts):
        assert job.status == JobStatus.QUEUED
        job = tried(job, OperationalError("gone away"))
    assert job.status == JobStatus.FAILED
    assert "given up after 5 attempts: the database did not answer. Try again" in job.error
    jobs.requeue(job)
    assert tried(job).status == JobStatus.SUCCEEDED


def test_a_job_that_came_on_each_time_is_not_given_up(job):
    def work(job: PromptImport, keeper: Keeper) -> None:
        keeper.beat(step=job.step + 1)
        raise OperationalError("gone away")

    for step in range(2 * job.job_max_attempts):
        job = PromptImport.objects.get(pk=job.pk)
        assert (job.status, job.step) == (JobStatus.QUEUED, step)
        attempt(job, work, seconds=60, what="The import")


def test_progress_that_was_taken_back_is_none(job):
    def work(job: PromptImport, keeper: Keeper) -> None:
        with transaction.atomic():
            keeper.beat(step=1)
            raise OperationalError("gone away")

    for _ in range(job.job_max_attempts):
        attempt(PromptImport.objects.get(pk=job.pk), work, seconds=60, what="The import")
    assert PromptImport.objects.get(pk=job.pk).status == JobStatus.FAILED


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_job_goes_back_by_another_connection_than_the_one_that_was_lost(job):
    def work(job: PromptImport, keeper: Keeper) -> None:
        info = connection.connection.info
        with psycopg.connect(**info.get_parameters(), password=info.password) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [info.backend_pid])
        keeper.beat()

    attempt(job, work, seconds=60, what="The import")
    assert PromptImport.objects.get(pk=job.pk).status == JobStatus.QUEUED


def test_a_cancel_is_heard_at_the_next_beat(job):
    def work(job: PromptImport, keeper: Keeper) -> None:
        jobs.request_cancel(PromptImport.objects.get(pk=job.pk))
        keeper.beat()
        raise AssertionError("it went on")

    attempt(job, work, seconds=60, what="The import")
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED


def test_a_job_cancelled_in_its_last_moment_is_given_no_result(job):
    def work(job: PromptImport, keeper: Keeper) -> None:
        jobs.request_cancel(PromptImport.objects.get(pk=job.pk))
        with transaction.atomic():
            PromptSet.objects.update(n_prompts=7)
            keeper.finish(message="Done", n_added=7)

    attempt(job, work, seconds=60, what="The import")
    job.refresh_from_db()
    assert (job.status, job.message, job.n_added, job.set.n_prompts) == (JobStatus.CANCELLED, "Cancelled", 0, 0)
    assert [(event.before, event.after) for event in job.events.all()][-1] == ("cancelling", "cancelled")


def test_who_lost_the_lease_in_the_last_moment_gives_no_result(job):
    def work(job: PromptImport, keeper: Keeper) -> None:
        PromptImport.objects.filter(pk=job.pk).update(lease_token="another")
        keeper.finish(message="Done", n_added=7)

    attempt(job, work, seconds=60, what="The import")
    job.refresh_from_db()
    assert (job.status, job.lease_token, job.n_added) == (JobStatus.RUNNING, "another", 0)


def test_who_lost_the_lease_changes_nothing(job):
    def work(job: PromptImport, keeper: Keeper) -> None:
        PromptImport.objects.filter(pk=job.pk).update(lease_token="another", step=7)
        keeper.beat(step=1)

    attempt(job, work, seconds=60, what="The import")
    job.refresh_from_db()
    assert (job.status, job.lease_token, job.step) == (JobStatus.RUNNING, "another", 7)


def test_a_job_that_somebody_has_or_that_is_gone_is_not_begun(job):
    begun: list[Any] = []
    jobs.claim(PromptImport.objects.get(pk=job.pk))
    attempt(job, lambda *given: begun.append(given), seconds=60, what="The import")
    attempt(None, lambda *given: begun.append(given), seconds=60, what="The import")
    assert begun == []


def test_work_in_small_steps_beats_once_a_second(job, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(beating.time, "monotonic", lambda: clock[0])
    steps = []

    def work(job: PromptImport, keeper: Keeper) -> None:
        for step, now in enumerate((100.0, 100.5, 101.0, 101.9, 102.1)):
            clock[0] = now
            keeper.beat_at_times(step=step)
            steps.append(PromptImport.objects.get(pk=job.pk).step)

    attempt(job, work, seconds=60, what="The import")
    assert steps == [0, 0, 2, 2, 4]


def test_work_that_beats_often_has_a_short_lease_meanwhile(job):
    left = []

    def note() -> None:
        until = PromptImport.objects.get(pk=job.pk).leased_until
        assert until is not None
        left.append(round((until - timezone.now()).total_seconds(), -1))

    def work(job: PromptImport, keeper: Keeper) -> None:
        note()
        with keeper.often(30):
            keeper.beat_at_times()
            note()
        note()

    attempt(job, work, seconds=300, what="The import")
    assert left == [300, 30, 300]


def test_work_that_ends_while_its_lease_is_to_be_renewed_is_done(job, monkeypatch):
    """The wait for it ran out, and then it ended, before it was asked whether it has."""

    class Late(Future[str]):
        def result(self, timeout: float | None = None) -> str:
            if timeout is not None:
                wait([self])
                raise TimeoutError
            return super().result()

    monkeypatch.setattr("concurrent.futures.thread._base.Future", Late)
    keeper = Keeper(job, jobs.claim(job))
    assert keeper.while_beating(lambda: "done") == "done"


def test_a_timeout_of_the_works_own_is_raised(job):
    def work() -> None:
        raise TimeoutError("no answer")

    keeper = Keeper(job, jobs.claim(job))
    with pytest.raises(TimeoutError, match="no answer"):
        keeper.while_beating(work)
