"""Whoever gets no task is told why, and nobody gets one who should not: caps, audience, guidelines, consent, the way in."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Membership
from annotation import consent, guidelines
from annotation.assign import next_assignment, skip_assignment, take_up_again, why_nothing
from annotation.campaigns import close_campaign, pause_campaign
from annotation.expiry import expire_leases
from annotation.judge import undo_judgement
from annotation.leases import prefetch_assignment
from annotation.models import Annotator, Assignment, Place
from annotation.parking import park_assignment, resume_assignment
from annotation.turns import Lost
from core.jobs import from_now
from generation.models import Candidate, GenerationJob, JobArm
from tests.annotation.builders import judge, make_annotator, make_campaign, make_people

pytestmark = pytest.mark.django_db


def refused(annotator: Annotator, campaign, code: str, **values) -> None:
    """``next_assignment`` and ``why_nothing`` have to say the same."""
    campaign.refresh_from_db()
    assert next_assignment(annotator, campaign) is None
    reason = why_nothing(annotator, campaign)
    assert reason is not None and reason.code == code
    assert reason.sentence.endswith(".") and {name: getattr(reason, name) for name in values} == values


def test_where_there_is_a_task_nothing_is_said():
    campaign = make_campaign()
    ana = make_annotator(campaign.project)
    assert why_nothing(ana, campaign) is None
    assert not Place.objects.exists()  # asking changes nothing
    next_assignment(ana, campaign)
    assert why_nothing(ana, campaign) is None


def test_none_now_is_another_reason_than_done():
    campaign = make_campaign(n_tasks=2)
    ana, ben = make_people(campaign.project, 2)
    theirs = next_assignment(ben, campaign)
    judge(next_assignment(ana, campaign))
    refused(ana, campaign, "none_now", n=1)
    judge(theirs)
    refused(ana, campaign, "done", n=0)


def test_a_paused_and_a_closed_campaign_say_so():
    campaign = make_campaign(n_tasks=2)
    ana = make_annotator(campaign.project)
    pause_campaign(campaign, by=None)
    refused(ana, campaign, "paused")
    close_campaign(campaign, by=None)
    refused(ana, campaign, "closed")


def test_a_cap_on_a_person_is_never_passed_by_what_is_open_parked_or_late():
    campaign = make_campaign(n_tasks=5, cap_per_person=2)
    ana = make_annotator(campaign.project)
    late = next_assignment(ana, campaign)
    assert prefetch_assignment(ana, campaign) is not None
    assert prefetch_assignment(ana, campaign) is not None  # the same one
    Assignment.objects.filter(pk=late.pk).update(leased_until=from_now(-1))
    expire_leases()
    judge(next_assignment(ana, campaign))
    parked = next_assignment(ana, campaign)
    park_assignment(assignment_key=parked.key, annotator=ana)
    refused(ana, campaign, "cap", n=2)
    with pytest.raises(Lost, match="as many"):
        judge(late)
    judge(resume_assignment(assignment_key=parked.key, annotator=ana))
    refused(ana, campaign, "cap")
    assert Place.objects.get().n_submitted == 2


def test_a_daily_cap_ends_at_midnight_and_an_undo_gives_room():
    campaign = make_campaign(n_tasks=5, cap_per_day=2)
    ana = make_annotator(campaign.project)
    turns = [next_assignment(ana, campaign)]
    judge(turns[0])
    turns.append(next_assignment(ana, campaign))
    assert prefetch_assignment(ana, campaign) is None
    judge(turns[1])
    reason = why_nothing(ana, campaign)
    assert reason.code == "cap_today"
    assert reason.until and timedelta() < reason.until - timezone.now() <= timedelta(days=1)
    assert (reason.until.hour, reason.until.minute) == (0, 0)
    undo_judgement(assignment_key=turns[1].key, annotator=ana)
    assert next_assignment(ana, campaign).pk == turns[1].pk
    judge(turns[1])
    refused(ana, campaign, "cap_today", n=2)
    Place.objects.update(day=timezone.now().date() - timedelta(days=1))
    assert next_assignment(ana, campaign) is not None


def test_undoing_a_judgement_of_yesterday_gives_no_room_today():
    campaign = make_campaign(n_tasks=5, cap_per_day=1)
    ana = make_annotator(campaign.project)
    old = next_assignment(ana, campaign)
    judge(old)
    yesterday = timezone.now() - timedelta(days=1)
    Assignment.objects.update(finished_at=yesterday)
    Place.objects.update(day=yesterday.date())
    judge(next_assignment(ana, campaign))
    undo_judgement(assignment_key=old.key, annotator=ana)
    assert Place.objects.get().n_today == 1


def test_a_skip_taken_up_again_stays_under_the_cap():
    campaign = make_campaign(n_tasks=3, cap_per_person=1)
    ana = make_annotator(campaign.project)
    skipped = next_assignment(ana, campaign)
    skip_assignment(assignment_key=skipped.key, annotator=ana)
    judge(next_assignment(ana, campaign))
    with pytest.raises(Lost):
        take_up_again(assignment_key=skipped.key, annotator=ana)


def test_a_campaign_for_some_is_not_for_others():
    campaign = make_campaign(audience={"languages": ["de"]})
    ana, ben = make_people(campaign.project, 2)
    Membership.objects.filter(user=ben.user).update(languages=["de"])
    refused(ana, campaign, "audience")
    assert next_assignment(ben, campaign) is not None
    machine = Annotator.objects.create(project=campaign.project, pseudonym="machine", kind="simulated")
    assert next_assignment(machine, campaign) is not None


def test_guidelines_are_confirmed_first_and_again_when_they_change():
    campaign = make_campaign(guidelines="Be kind.", n_tasks=3)
    ana = make_annotator(campaign.project)
    refused(ana, campaign, "guidelines")
    guidelines.confirm(ana, campaign, 1)
    turn = next_assignment(ana, campaign)
    guidelines.publish(campaign, "Be kind and brief.", "Brief now", None)
    refused(ana, campaign, "guidelines")
    assert judge(turn).guidelines_version == 1  # what its author had read
    guidelines.confirm(ana, campaign, 2)
    assert judge(next_assignment(ana, campaign)).guidelines_version == 2


def test_a_sensitive_campaign_is_agreed_to_first_and_can_be_left():
    campaign = make_campaign(is_sensitive=True)
    ana = make_annotator(campaign.project)
    refused(ana, campaign, "agree")
    consent.agree(ana, campaign)
    turn = next_assignment(ana, campaign)
    consent.take_back(ana, campaign)
    turn.refresh_from_db()
    assert turn.status == "released"
    refused(ana, campaign, "agree")


@pytest.mark.parametrize(("stage", "code"), [("keys", "onboarding"), ("practice", "onboarding"),
                                            ("qualification", "onboarding"), ("failed", "failed")])  # fmt: skip
def test_real_tasks_come_after_the_way_in(stage, code):
    campaign = make_campaign()
    ana = make_annotator(campaign.project)
    Place.objects.create(annotator=ana, campaign=campaign, stage=stage)
    refused(ana, campaign, code)
    Place.objects.update(stage="probation")
    assert next_assignment(ana, campaign) is not None


def test_who_was_taken_off_gets_nothing_and_may_not_end_what_was_open():
    campaign = make_campaign()
    ana = make_annotator(campaign.project)
    turn = next_assignment(ana, campaign)
    Place.objects.update(blocked_at=timezone.now())
    refused(ana, campaign, "blocked")
    with pytest.raises(Lost):
        judge(turn)


def test_nobody_judges_an_answer_of_their_own():
    campaign = make_campaign(n_tasks=1)
    ana, ben = make_people(campaign.project, 2)
    task = campaign.tasks.get()
    job = GenerationJob.objects.create(
        project=campaign.project, kind="human", status="succeeded", prompt_ids=[task.prompt_id], requested_by=ana.user
    )
    campaign.jobs.add(job)
    arm = JobArm.objects.create(job=job, number=0, model_version=campaign.jobs.first().arms.first().model_version)
    slot = task.slots.first()
    slot.candidate = Candidate.objects.create(arm=arm, prompt=task.prompt, index=0, text="Mine.", text_sha256="x")
    slot.save()
    refused(ana, campaign, "done")
    assert next_assignment(ben, campaign) is not None
