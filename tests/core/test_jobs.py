import threading
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.models import Project
from core import jobs
from core.jobs import JobStatus
from core.transitions import IllegalMove, move, try_move
from generation.models import PromptImport, PromptSet

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(monkeypatch):
    """The messages that would have gone to the broker: (task, ids)."""
    messages = []
    monkeypatch.setattr(
        "core.jobs.current_app.send_task", lambda name, args, **_: messages.append((name, tuple(args))), raising=False
    )
    return messages


def make_job(**fields) -> PromptImport:
    project, _ = Project.objects.get_or_create(slug="p", name="P")
    prompt_set = PromptSet.objects.create(project=project, name=f"set {PromptSet.objects.count()}")
    return PromptImport.objects.create(set=prompt_set, stored_name="x", file_format="jsonl", **fields)


def expire(job: PromptImport) -> None:
    PromptImport.objects.filter(pk=job.pk).update(leased_until=timezone.now() - timedelta(seconds=1))


def test_of_two_workers_one_gets_the_job():
    job = make_job()
    assert jobs.claim(job)
    assert jobs.claim(PromptImport.objects.get(pk=job.pk)) is None
    assert [event.after for event in job.events.all()] == ["running"]


def test_a_beat_extends_only_the_lease_that_still_holds():
    job = make_job()
    token = jobs.claim(job)
    assert jobs.beat(job, token, step=3, message="three").alive
    job.refresh_from_db()
    assert (job.step, job.message) == (3, "three")
    assert not jobs.beat(job, "another token", step=9).alive
    job.refresh_from_db()
    assert job.step == 3


def test_a_lost_lease_goes_back_to_the_queue_and_the_old_worker_is_refused(sent):
    job = make_job()
    old = jobs.claim(job)
    expire(job)
    jobs.reap()
    assert sent == [("generation.tasks.run_prompt_import", (job.pk,))]
    new = jobs.claim(job)
    assert new and new != old
    assert not jobs.beat(job, old).alive
    assert not jobs.finish(job, old)
    assert jobs.finish(job, new)
    assert job.status == JobStatus.SUCCEEDED


def test_a_lease_that_holds_is_left_alone(sent):
    job = make_job()
    jobs.claim(job, seconds=60)
    jobs.reap()
    job.refresh_from_db()
    assert job.status == JobStatus.RUNNING
    assert sent == []


def test_what_was_queued_and_never_claimed_is_sent_again_but_not_at_every_tick(sent):
    job = make_job()
    jobs.reap()
    jobs.reap()
    assert len(sent) == 1
    PromptImport.objects.filter(pk=job.pk).update(
        enqueued_at=timezone.now() - timedelta(seconds=jobs.RESEND_AFTER_SECONDS + 1)
    )
    jobs.reap()
    assert len(sent) == 2


def test_a_broker_that_is_down_fails_no_request(monkeypatch, django_capture_on_commit_callbacks):
    def refuse(*_, **__):
        raise ConnectionError("no broker")

    monkeypatch.setattr("core.jobs.current_app.send_task", refuse, raising=False)
    job = make_job()
    with django_capture_on_commit_callbacks(execute=True):
        jobs.enqueue_on_commit(job)
    job.refresh_from_db()
    assert job.status == JobStatus.QUEUED


def test_a_job_that_kills_its_worker_every_time_is_given_up(sent):
    job = make_job()
    for _ in range(PromptImport.job_max_attempts):
        assert jobs.claim(job)
        expire(job)
        jobs.reap()
        job.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert "without progress" in job.error


def test_a_job_that_only_waited_is_not_given_up_when_its_worker_dies_once(sent):
    job = make_job()
    for _ in range(PromptImport.job_max_attempts + 1):
        token = jobs.claim(job)
        assert jobs.release(job, token, note="the engine is not ready yet")
    assert jobs.claim(job)
    expire(job)
    jobs.reap()
    job.refresh_from_db()
    assert job.status == JobStatus.QUEUED


def test_progress_resets_the_count_of_attempts(sent):
    job = make_job()
    for n in range(1, PromptImport.job_max_attempts + 3):
        token = jobs.claim(job)
        jobs.beat(job, token, step=n)
        expire(job)
        jobs.reap()
        job.refresh_from_db()
    assert job.status == JobStatus.QUEUED


def test_cancel_before_the_start_is_at_once_and_later_is_asked_for():
    waiting, running = make_job(), make_job()
    token = jobs.claim(running)
    jobs.request_cancel(waiting)
    jobs.request_cancel(running)
    assert waiting.status == JobStatus.CANCELLED
    assert jobs.beat(running, token) == jobs.Beat(alive=True, cancel=True)
    assert jobs.cancelled(running, token)
    assert running.status == JobStatus.CANCELLED


def test_a_job_that_finishes_while_it_is_cancelled_ends_as_cancelled():
    job = make_job()
    token = jobs.claim(job)
    jobs.request_cancel(job)
    assert jobs.finish(job, token)
    assert job.status == JobStatus.CANCELLED


def test_a_cancel_whose_worker_is_gone_still_ends(sent):
    job = make_job()
    jobs.claim(job)
    jobs.request_cancel(job)
    expire(job)
    jobs.reap()
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED


def test_a_terminal_job_moves_only_when_a_person_asks():
    job = make_job()
    token = jobs.claim(job)
    jobs.finish(job, token)
    assert not try_move(job, JobStatus.RUNNING)
    with pytest.raises(IllegalMove):
        move(job, JobStatus.FAILED)
    with pytest.raises(IllegalMove):
        jobs.requeue(job)


def test_the_database_refuses_an_unknown_status():
    with pytest.raises(IntegrityError), transaction.atomic():
        make_job(status="lost")
    with pytest.raises(ValidationError):
        PromptImport(status="lost").full_clean()


@pytest.mark.django_db(transaction=True)
def test_of_sixteen_workers_at_once_one_gets_the_job():
    job = make_job()
    barrier, tokens = threading.Barrier(16), []

    def work() -> None:
        mine = PromptImport.objects.get(pk=job.pk)
        barrier.wait()
        try:
            tokens.append(jobs.claim(mine))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 16
    assert len([token for token in tokens if token]) == 1
    assert job.events.count() == 1


@pytest.mark.parametrize(("seconds", "step", "left"), [(1, 500, None), (10, 500, 10), (10, 0, None), (10, 1000, 0)])
def test_the_time_left_follows_the_pace_once_there_is_one(seconds, step, left):
    began = timezone.now()
    job = PromptImport(
        status=JobStatus.RUNNING, step=step, total_steps=1000, started_at=began,
        progressed_at=began + timedelta(seconds=seconds),
    )  # fmt: skip
    assert job.seconds_left == (left if left is None else pytest.approx(left))
