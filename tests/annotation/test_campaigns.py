import pytest
from django.db import OperationalError, connection

from accounts.models import AuditEvent
from annotation import building, campaigns, prepared
from annotation.assign import next_assignment
from annotation.building import build_tasks
from annotation.campaigns import (
    build_again,
    cancel_building,
    close_campaign,
    close_due,
    pause_campaign,
    progress_of,
    resume_campaign,
    start_campaign,
)
from annotation.models import Assignment, Campaign, ComparisonTask, TaskCandidate
from annotation.tasks import build_campaign
from core.errors import DomainError
from core.jobs import JobStatus, claim, from_now, request_cancel, requeue
from core.transitions import IllegalMove
from tests.annotation.builders import (
    judge,
    make_annotator,
    make_campaign,
    make_candidates,
    make_job,
    make_model,
    make_project,
    make_prompts,
)

pytestmark = pytest.mark.django_db


def started(**fields) -> Campaign:
    project = make_project()
    job = fields.pop("job", None) or make_job(project, n_prompts=4)
    return start_campaign(
        **{"project": job.project, "name": "Round 1", "jobs": [job], "pairing": {}, "by": None, **fields}
    )


def test_a_campaign_is_invisible_until_all_its_tasks_stand():
    campaign = started()
    ana = make_annotator(campaign.project)
    assert (campaign.stage, next_assignment(ana, campaign)) == ("building", None)
    build_campaign(campaign.pk)
    campaign.refresh_from_db()
    assert (campaign.stage, campaign.status, campaign.n_tasks) == ("open", "succeeded", 4)
    assert next_assignment(ana, campaign) is not None


def test_a_build_that_was_killed_goes_on_and_makes_nothing_twice(monkeypatch):
    monkeypatch.setattr(building, "CHUNK", 3)
    campaign = started(job=make_job(make_project(), n_prompts=10))
    insert, calls = building._insert, []

    def killed(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt  # what a worker's death looks like from inside
        insert(*args)

    monkeypatch.setattr(building, "_insert", killed)
    with pytest.raises(KeyboardInterrupt):
        build_tasks(campaign)
    assert ComparisonTask.objects.count() == 6
    monkeypatch.setattr(building, "_insert", insert)
    Campaign.objects.update(status="queued", lease_token="")  # what the reaper does with a lost lease
    campaign.refresh_from_db()
    build_tasks(campaign)
    assert ComparisonTask.objects.count() == 10
    assert TaskCandidate.objects.count() == 20
    campaign.refresh_from_db()
    assert (campaign.stage, campaign.n_tasks) == ("open", 10)


def test_a_second_worker_does_not_build_what_another_one_builds():
    campaign = started()
    assert claim(campaign) is not None
    build_tasks(Campaign.objects.get(pk=campaign.pk))
    assert not ComparisonTask.objects.exists()


def test_a_build_that_fails_says_why_and_can_be_tried_again(monkeypatch):
    campaign = started()
    monkeypatch.setattr(building, "plan_of", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build_tasks(campaign)
    campaign.refresh_from_db()
    assert campaign.status == "failed" and "division" in campaign.error
    monkeypatch.undo()
    requeue(campaign)
    build_tasks(campaign)
    campaign.refresh_from_db()
    assert (campaign.stage, campaign.error) == ("open", "")


def test_a_cancelled_build_can_be_closed():
    campaign = started()
    with pytest.raises(DomainError):
        close_campaign(campaign, by=None)
    request_cancel(campaign)
    campaign.refresh_from_db()
    close_campaign(campaign, by=None)
    assert campaign.stage == "closed"


def test_a_building_is_cancelled_and_tried_again_on_record():
    campaign = started()
    cancel_building(campaign, by=None)
    build_again(campaign, by=None)
    assert (campaign.stage, campaign.status) == ("building", "queued")
    with pytest.raises(IllegalMove):
        build_again(campaign, by=None)  # it is on its way
    build_tasks(campaign)
    campaign.refresh_from_db()
    with pytest.raises(DomainError, match="not being built any more"):
        build_again(campaign, by=None)
    kept = AuditEvent.objects.filter(subject_key=campaign.key).order_by("pk").values_list("action", flat=True)
    assert list(kept) == ["campaign.start", "campaign.cancel", "campaign.retry"]


def test_a_build_that_is_cancelled_in_its_last_moment_does_not_open(monkeypatch):
    campaign = started()
    real = building._open

    def cancelled_first(building, *args):
        request_cancel(Campaign.objects.get(pk=building.pk))
        real(building, *args)

    monkeypatch.setattr(building, "_open", cancelled_first)
    build_tasks(campaign)
    campaign.refresh_from_db()
    assert (campaign.stage, campaign.status) == ("building", "cancelled")


def test_what_cannot_be_compared_is_left_out_and_counted():
    project = make_project()
    job = make_job(project, n_prompts=1, n_answers=1)
    arm, prompt = job.arms.get(), job.prompt_set.prompts.get()
    arm.candidates.all().delete()
    make_candidates(arm, prompt, ["Yes.", "Yes. \n", "No.", "", "<|im_end|>"])
    campaign = make_campaign(project, job=job)
    assert campaign.left_out == {"empty": 1, "leaking": 1, "equal": 1, "repeated": 1}
    assert campaign.n_tasks == 1


def test_holdout_prompts_are_judged_too():
    campaign = make_campaign(n_tasks=60)
    assert set(campaigns.split_counts(campaign)) == {"train", "holdout"}


def test_slots_follow_the_candidates_keys_and_not_the_models():
    project = make_project()
    models = [make_model(project), make_model(project)]
    campaign = make_campaign(
        project, job=make_job(project, n_prompts=60, n_answers=1, models=models), pairing={"pairs": "across"}
    )
    first = [task.slots.select_related("candidate__arm").get(slot=0).candidate for task in campaign.tasks.all()]
    for task in campaign.tasks.all():
        keys = [slot.candidate.key for slot in task.slots.select_related("candidate")]
        assert keys == sorted(keys)
    n_first = sum(candidate.arm.model_version_id == models[0].pk for candidate in first)
    assert 12 <= n_first <= 48  # outside, with a fair coin, about once in a hundred thousand


def test_the_number_of_tasks_is_kept_to():
    project = make_project()
    campaign = make_campaign(project, job=make_job(project, n_prompts=5, n_answers=4), pairing={"max_tasks": 7})
    assert campaign.n_tasks == 7
    assert campaign.tasks.values("prompt").distinct().count() == 5
    assert progress_of(campaign).n_wanted == 7


def test_a_baseline_meets_every_other_version():
    project = make_project()
    models = [make_model(project) for _ in range(3)]
    job = make_job(project, prompts=make_prompts(project, 2), n_answers=1, models=models)
    campaign = make_campaign(project, job=job, pairing={"pairs": "baseline", "baseline": models[0].key})
    assert campaign.n_tasks == 4
    for task in campaign.tasks.all():
        assert models[0].pk in {c.arm.model_version_id for c in task.candidates.select_related("arm")}


def test_t033_the_side_of_an_answer_is_a_fair_coin_and_is_kept():
    campaign = make_campaign(n_tasks=100, overlap=2)
    for name in ("Ana", "Ben"):
        annotator = make_annotator(campaign.project, name)
        while turn := next_assignment(annotator, campaign):
            judge(turn, verdict="tie")
    orders = list(Assignment.objects.values_list("display_order", flat=True))
    assert len(orders) == 200
    assert 60 <= orders.count([0, 1]) <= 140  # outside, with a fair coin, less than once in a hundred million


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": " "}, {"jobs": []}, {"overlap": 0}, {"overlap": 51}, {"pairing": {"pairs": "x"}}, {"options": {"nonsense": 1}},
        {"options": {"lease_minutes": 0}}, {"options": {"strength_levels": 7}},
    ],
)  # fmt: skip
def test_a_campaign_that_cannot_work_is_refused(wrong):
    with pytest.raises(DomainError):
        started(**wrong)
    assert not Campaign.objects.exists()


def test_answers_of_another_project_or_of_a_running_job_are_refused():
    project = make_project()
    with pytest.raises(DomainError):
        started(project=project)
    job = make_job(project)
    job.status = "running"
    with pytest.raises(DomainError):
        started(job=job)


def test_a_campaign_closes_by_itself_on_its_date():
    campaign = make_campaign()
    assert close_due() == 0
    Campaign.objects.update(closes_at=from_now(-1))
    assert close_due() == 1
    assert close_due() == 0
    campaign.refresh_from_db()
    assert campaign.stage == "closed" and campaign.closed_at is not None


def test_stages_move_along_their_table_only():
    campaign = make_campaign()
    stale = Campaign.objects.get(pk=campaign.pk)
    pause_campaign(campaign, by=None)
    with pytest.raises(IllegalMove):
        pause_campaign(stale, by=None)
    resume_campaign(campaign, by=None)
    close_campaign(campaign, by=None)
    for move in (resume_campaign, pause_campaign, close_campaign):
        with pytest.raises(DomainError):
            move(campaign, by=None)
    stages = [event.after for event in campaign.events.all() if event.after in Campaign.Stage.values]
    assert stages == ["building", "open", "paused", "open", "closed"]


def test_the_walk_to_the_next_task_uses_the_small_index_and_nothing_else():
    campaign = make_campaign(n_tasks=3)
    ana = make_annotator(campaign.project)
    walk = prepared.untouched(ana.pk, campaign.pk, 0, has_human=False).order_by("line")[:1]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")  # so small a table would be read whole
    plan = walk.explain()
    assert "task_next_in_line" in plan
    assert "TEMP B-TREE" not in plan and "Sort" not in plan


@pytest.mark.django_db
def test_a_database_that_was_away_sends_the_building_back_to_the_queue(monkeypatch):
    project = make_project()
    campaign = campaigns.start_campaign(
        project=project, name="Busy", jobs=[make_job(project)], pairing={"pairs": "within"}, by=None
    )

    def locked(*_args):
        raise OperationalError("database is locked")

    with monkeypatch.context() as patched:
        patched.setattr(building, "_insert", locked)
        building.build_tasks(campaign)
    campaign.refresh_from_db()
    assert campaign.status == JobStatus.QUEUED
    building.build_tasks(campaign)
    campaign.refresh_from_db()
    assert campaign.stage == "open"
