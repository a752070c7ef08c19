"""Leases at work: renewed, prefetched, opened, let go of on leaving, taken back and handed over by a lead."""

import pytest

from accounts.models import AuditEvent, Role
from annotation.assign import next_assignment, open_assignment, skip_assignment
from annotation.campaigns import close_campaign
from annotation.expiry import expire_leases
from annotation.leases import open_task, prefetch_assignment, release_leases, release_waiting, renew_lease
from annotation.models import Assignment, ComparisonTask
from annotation.parking import park_assignment
from annotation.turns import Lost
from core.errors import Conflict
from core.jobs import from_now
from tests.annotation.builders import judge, make_annotator, make_campaign, make_people, make_user
from tests.annotation.checks import violations

pytestmark = pytest.mark.django_db


def let_lapse(turn: Assignment) -> None:
    Assignment.objects.filter(pk=turn.pk).update(leased_until=from_now(-1))


def fresh(turn: Assignment) -> Assignment:
    return Assignment.objects.select_related("annotator", "task").get(pk=turn.pk)


def test_at_most_one_task_is_prefetched_and_it_is_the_next_one():
    campaign = make_campaign(n_tasks=3)
    ana = make_annotator(campaign.project)
    first, ahead = next_assignment(ana, campaign), prefetch_assignment(ana, campaign)
    assert ahead.task_id != first.task_id and ahead.opened_at is None
    assert prefetch_assignment(ana, campaign).pk == ahead.pk
    assert next_assignment(ana, campaign).pk == first.pk  # a reload shows what is open, not what waits
    judge(first)
    following = next_assignment(ana, campaign)
    assert following.pk == ahead.pk and fresh(ahead).opened_at is not None
    assert Assignment.objects.count() == 2
    assert violations(campaign) == []


def test_a_prefetched_task_counts_to_the_overlap():
    campaign = make_campaign(n_tasks=2)
    ana, ben = make_people(campaign.project, 2)
    next_assignment(ana, campaign), prefetch_assignment(ana, campaign)
    assert next_assignment(ben, campaign) is None
    assert violations(campaign) == []


def test_on_leaving_what_was_not_shown_goes_back_and_may_come_again():
    campaign = make_campaign(n_tasks=2)
    ana, ben = make_people(campaign.project, 2)
    first, ahead = next_assignment(ana, campaign), prefetch_assignment(ana, campaign)
    assert release_waiting(annotator=ana, campaign=campaign) == 1
    assert release_waiting(annotator=ana, campaign=campaign) == 0
    assert fresh(first).status == "open"
    theirs = next_assignment(ben, campaign)
    assert theirs.task_id == ahead.task_id
    skip_assignment(assignment_key=theirs.key, annotator=ben)
    judge(first)
    again = next_assignment(ana, campaign)
    assert again.pk == ahead.pk and again.opened_at is not None
    assert violations(campaign) == []


def test_a_prefetched_task_that_expired_unseen_is_offered_again_and_one_that_was_seen_is_not():
    campaign = make_campaign(n_tasks=2)
    ana = make_annotator(campaign.project)
    first, ahead = next_assignment(ana, campaign), prefetch_assignment(ana, campaign)
    let_lapse(first)
    let_lapse(ahead)
    assert expire_leases() == 2
    assert next_assignment(ana, campaign).pk == ahead.pk
    assert prefetch_assignment(ana, campaign) is None


def test_opening_is_idempotent_and_a_judgement_may_come_before_it():
    campaign = make_campaign(n_tasks=2)
    ana = make_annotator(campaign.project)
    judge(next_assignment(ana, campaign))
    ahead = prefetch_assignment(ana, campaign)
    opened = open_task(assignment_key=ahead.key, annotator=ana).opened_at
    assert open_task(assignment_key=ahead.key, annotator=ana).opened_at == opened
    judge(ahead)
    assert open_task(assignment_key=ahead.key, annotator=ana).status == "submitted"


def test_a_judgement_of_a_task_that_was_only_prefetched_counts():
    campaign = make_campaign(n_tasks=1)
    ahead = prefetch_assignment(make_annotator(campaign.project), campaign)
    judge(ahead)
    assert fresh(ahead).opened_at is not None
    assert violations(campaign) == []


def test_a_lease_is_renewed_while_its_holder_is_at_work_with_the_one_behind_it():
    campaign = make_campaign(n_tasks=2, lease_minutes=10)
    ana = make_annotator(campaign.project)
    first, ahead = next_assignment(ana, campaign), prefetch_assignment(ana, campaign)
    Assignment.objects.update(leased_until=from_now(60))
    until = renew_lease(assignment_key=first.key, annotator=ana)
    assert fresh(first).leased_until == fresh(ahead).leased_until == until
    assert not Assignment.objects.filter(leased_until__lt=from_now(9 * 60)).exists()


def test_a_lease_that_ran_out_is_taken_again_while_a_seat_is_free_and_lost_otherwise():
    campaign = make_campaign(n_tasks=1)
    ana, ben = make_people(campaign.project, 2)
    turn = next_assignment(ana, campaign)
    let_lapse(turn)
    expire_leases()
    renew_lease(assignment_key=turn.key, annotator=ana)
    assert fresh(turn).status == "open" and violations(campaign) == []
    let_lapse(turn)
    expire_leases()
    next_assignment(ben, campaign)
    with pytest.raises(Lost, match="somebody else"):
        renew_lease(assignment_key=turn.key, annotator=ana)
    assert violations(campaign) == []


def test_the_page_is_told_at_the_next_renewal_that_its_task_or_campaign_is_gone():
    campaign = make_campaign(n_tasks=2)
    ana, ben = make_people(campaign.project, 2)
    turn, other = next_assignment(ana, campaign), next_assignment(ben, campaign)
    ComparisonTask.objects.filter(pk=turn.task_id).update(status="retired")
    with pytest.raises(Lost, match="taken out"):
        renew_lease(assignment_key=turn.key, annotator=ana)
    close_campaign(campaign, by=None)
    with pytest.raises(Lost, match="closed"):
        renew_lease(assignment_key=other.key, annotator=ben)


def test_a_lead_takes_leases_back_and_they_are_free_for_all():
    campaign = make_campaign(n_tasks=4)
    ana, ben = make_people(campaign.project, 2)
    lead = make_user("Ada", campaign.project, Role.ADMIN)
    parked = next_assignment(ana, campaign)
    park_assignment(assignment_key=parked.key, annotator=ana)
    next_assignment(ana, campaign)
    bens = next_assignment(ben, campaign)
    done = release_leases(campaign=campaign, annotator=ana, by=lead, note="on holiday")
    assert (done.n_released, done.n_handed) == (2, 0)
    assert fresh(bens).status == "open"
    assert release_leases(campaign=campaign, by=lead).n_released == 1
    assert ComparisonTask.objects.filter(is_free=True).count() == 4
    assert AuditEvent.objects.filter(action="leases.release").count() == 2
    assert violations(campaign) == []


def test_parked_tasks_stay_where_the_lead_says_so():
    campaign = make_campaign(n_tasks=2)
    ana = make_annotator(campaign.project)
    parked = next_assignment(ana, campaign)
    park_assignment(assignment_key=parked.key, annotator=ana)
    next_assignment(ana, campaign)
    done = release_leases(campaign=campaign, annotator=ana, by=make_user("Ada"), with_parked=False)
    assert done.n_released == 1 and fresh(parked).status == "parked"


def test_leases_are_handed_to_somebody_who_meets_them_first():
    campaign = make_campaign(n_tasks=5, overlap=2)
    ana, ben = make_people(campaign.project, 2)
    parked = next_assignment(ana, campaign)
    park_assignment(assignment_key=parked.key, annotator=ana)
    second = next_assignment(ana, campaign)
    judged = next_assignment(ben, campaign)
    judge(judged)
    done = release_leases(campaign=campaign, annotator=ana, to=ben, by=make_user("Ada"))
    handed = {parked.task_id, second.task_id} - {judged.task_id}
    assert (done.n_released, done.n_handed) == (2, len(handed))
    assert len(done.why_not) == 2 - len(handed)
    assert release_waiting(annotator=ben, campaign=campaign) == 0  # handed over is not prefetched
    met = set()
    for _ in handed:
        turn = next_assignment(ben, campaign)
        met.add(turn.task_id)
        judge(turn)
    assert met == handed
    assert violations(campaign) == []


def test_nothing_is_handed_to_somebody_who_may_not_judge_or_past_a_cap():
    campaign = make_campaign(n_tasks=3, cap_per_person=1)
    ana, ben = make_people(campaign.project, 2)
    next_assignment(ana, campaign)
    judge(next_assignment(ben, campaign))
    lead = make_user("Ada")
    done = release_leases(campaign=campaign, annotator=ana, to=ben, by=lead)
    assert (done.n_released, done.n_handed) == (1, 0) and "as many" in done.why_not[0]
    assert open_assignment(ben, campaign) is None
    ben.places.update(stage="qualification")
    with pytest.raises(Conflict, match="Practice"):
        release_leases(campaign=campaign, annotator=ana, to=ben, by=lead)
    assert violations(campaign) == []
