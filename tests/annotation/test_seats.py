import pytest

from accounts.members import remove_member
from accounts.models import Membership, Role
from annotation.assign import next_assignment, release_assignment, skip_assignment, take_up_again
from annotation.campaigns import close_campaign, pause_campaign, resume_campaign
from annotation.expiry import expire_leases
from annotation.judge import submit_judgement, undo_judgement, void_judgement
from annotation.models import Assignment, ComparisonTask, Judgement
from annotation.protocol import Said
from core.errors import Conflict, DomainError
from core.jobs import from_now
from tests.annotation.builders import judge, make_annotator, make_campaign, make_people, make_project, make_user
from tests.annotation.checks import violations

pytestmark = pytest.mark.django_db


def let_lapse(assignment: Assignment) -> None:
    Assignment.objects.filter(pk=assignment.pk).update(leased_until=from_now(-1))


def test_a_person_gets_every_task_once_and_then_nothing():
    campaign = make_campaign(n_tasks=5, overlap=2)
    ana = make_annotator(campaign.project)
    seen = []
    while assignment := next_assignment(ana, campaign):
        seen.append(assignment.task_id)
        judge(assignment)
    assert sorted(seen) == sorted(ComparisonTask.objects.values_list("pk", flat=True))
    assert violations(campaign) == []


def test_asking_again_gives_the_open_assignment_again_in_the_same_order():
    campaign = make_campaign()
    ana = make_annotator(campaign.project)
    first, second = next_assignment(ana, campaign), next_assignment(ana, campaign)
    assert first is not None and second is not None
    assert (first.pk, first.display_order) == (second.pk, second.display_order)


def test_tasks_are_offered_by_priority_then_by_their_place_in_the_line():
    campaign = make_campaign(n_tasks=6)
    urgent = ComparisonTask.objects.order_by("?").first()
    ComparisonTask.objects.filter(pk=urgent.pk).update(priority=1)
    rest = ComparisonTask.objects.exclude(pk=urgent.pk).order_by("position").values_list("pk", flat=True)
    expected = [urgent.pk, *rest]
    ana = make_annotator(campaign.project)
    order = []
    while assignment := next_assignment(ana, campaign):
        order.append(assignment.task_id)
        judge(assignment)
    assert order == expected


def test_overlap_two_gives_a_task_to_two_people_and_to_no_third():
    campaign = make_campaign(n_tasks=1, overlap=2)
    ana, ben, eve = make_people(campaign.project, 3)
    first, second = next_assignment(ana, campaign), next_assignment(ben, campaign)
    assert first is not None and second is not None
    assert {first.seat, second.seat} == {0, 1}
    assert next_assignment(eve, campaign) is None
    judge(first), judge(second)
    assert next_assignment(eve, campaign) is None
    assert ComparisonTask.objects.get().status == "complete"


@pytest.mark.parametrize("give_up", [skip_assignment, release_assignment])
def test_giving_up_frees_the_seat_for_others_and_is_not_offered_again(give_up):
    campaign = make_campaign(n_tasks=1)
    ana, ben = make_people(campaign.project, 2)
    assignment = next_assignment(ana, campaign)
    give_up(assignment_key=assignment.key, annotator=ana)
    give_up(assignment_key=assignment.key, annotator=ana)  # a double click
    assert next_assignment(ana, campaign) is None
    assert next_assignment(ben, campaign).task_id == assignment.task_id
    assert violations(campaign) == []


def test_a_skip_keeps_its_reason():
    campaign = make_campaign(n_tasks=1)
    ana = make_annotator(campaign.project)
    skip_assignment(assignment_key=next_assignment(ana, campaign).key, annotator=ana, reason="I do not know this topic")
    assert Assignment.objects.get().skip_reason == "I do not know this topic"


def test_a_skip_can_be_taken_up_again_only_while_a_seat_is_free():
    campaign = make_campaign(n_tasks=1)
    ana, ben = make_people(campaign.project, 2)
    key = next_assignment(ana, campaign).key
    skip_assignment(assignment_key=key, annotator=ana)
    assert take_up_again(assignment_key=key, annotator=ana).status == "open"
    skip_assignment(assignment_key=key, annotator=ana)
    assert next_assignment(ben, campaign) is not None
    with pytest.raises(Conflict):
        take_up_again(assignment_key=key, annotator=ana)
    assert violations(campaign) == []


def test_t124_an_expired_lease_is_free_after_one_sweep():
    campaign = make_campaign(n_tasks=1)
    ana, ben = make_people(campaign.project, 2)
    assignment = next_assignment(ana, campaign)
    assert expire_leases() == 0
    let_lapse(assignment)
    assert next_assignment(ben, campaign) is None
    assert expire_leases() == 1
    assert expire_leases() == 0  # T125: a second sweep finds nothing to do
    assert next_assignment(ben, campaign).task_id == assignment.task_id
    assert next_assignment(ana, campaign) is None
    assert violations(campaign) == []


def test_t018_the_seat_of_a_person_who_may_judge_no_more_is_freed():
    campaign = make_campaign(n_tasks=1)
    ana, ben = make_people(campaign.project, 2)
    next_assignment(ana, campaign)
    Membership.objects.filter(user=ana.user).delete()
    assert expire_leases() == 1
    assert next_assignment(ben, campaign) is not None
    assert violations(campaign) == []


def test_a_member_who_is_removed_gives_the_seat_back_at_once():
    campaign = make_campaign(n_tasks=1)
    ana, ben = make_people(campaign.project, 2)
    boss = make_user("Ada", campaign.project, Role.ADMIN)
    next_assignment(ana, campaign)
    memberships = Membership.objects.filter(project=campaign.project)
    remove_member(membership=memberships.get(user=ana.user), by=memberships.get(user=boss))
    assert next_assignment(ben, campaign) is not None
    assert violations(campaign) == []


def test_t123_a_late_judgement_counts_while_the_seat_is_free():
    campaign = make_campaign(n_tasks=1)
    ana = make_annotator(campaign.project)
    assignment = next_assignment(ana, campaign)
    let_lapse(assignment)
    expire_leases()
    judge(assignment)
    assert ComparisonTask.objects.get().status == "complete"
    assert violations(campaign) == []


def test_t123_a_late_judgement_is_refused_once_somebody_else_has_the_seat():
    campaign = make_campaign(n_tasks=1)
    ana, ben = make_people(campaign.project, 2)
    assignment = next_assignment(ana, campaign)
    let_lapse(assignment)
    expire_leases()
    theirs = next_assignment(ben, campaign)
    with pytest.raises(Conflict):
        judge(assignment)
    judge(theirs)
    with pytest.raises(Conflict):
        judge(assignment)
    assert violations(campaign) == []


def test_a_lapsed_lease_that_no_sweep_has_seen_still_counts():
    campaign = make_campaign(n_tasks=1)
    assignment = next_assignment(make_annotator(campaign.project), campaign)
    let_lapse(assignment)
    judge(assignment)
    assert expire_leases() == 0
    assert violations(campaign) == []


def test_t121_the_same_judgement_sent_again_is_the_same_row():
    campaign = make_campaign(n_tasks=1)
    assignment = next_assignment(make_annotator(campaign.project), campaign)
    assert judge(assignment) == judge(assignment)
    assert Judgement.objects.count() == 1
    assert violations(campaign) == []


def test_t122_another_judgement_from_a_second_tab_is_refused():
    campaign = make_campaign(n_tasks=1)
    assignment = next_assignment(make_annotator(campaign.project), campaign)
    judge(assignment, (1, 2))
    with pytest.raises(Conflict):
        judge(assignment, (2, 1))
    with pytest.raises(Conflict):
        judge(assignment, verdict="tie")
    assert Judgement.objects.get().ranks.get(rank=1).candidate == _shown(assignment)[0]


def _shown(assignment: Assignment) -> list:
    by_slot = {slot.slot: slot.candidate for slot in assignment.task.slots.select_related("candidate")}
    return [by_slot[slot] for slot in assignment.display_order]


def test_t174_ranks_fall_on_the_answers_as_shown_in_both_orders():
    campaign = make_campaign(n_tasks=20)
    ana = make_annotator(campaign.project)
    orders = set()
    while assignment := next_assignment(ana, campaign):
        orders.add(tuple(assignment.display_order))
        judgement = judge(assignment, (2, 1))
        best, worst = judgement.ranks.order_by("rank")
        assert [worst.candidate, best.candidate] == _shown(assignment)
    assert orders == {(0, 1), (1, 0)}


def test_undo_keeps_the_seat_and_gives_the_task_back():
    campaign = make_campaign(n_tasks=1)
    ana, ben = make_people(campaign.project, 2)
    assignment = next_assignment(ana, campaign)
    judge(assignment)
    undo_judgement(assignment_key=assignment.key, annotator=ana)
    undo_judgement(assignment_key=assignment.key, annotator=ana)  # a double click
    assert ComparisonTask.objects.get().status == "open"
    assert next_assignment(ben, campaign) is None
    assert next_assignment(ana, campaign).pk == assignment.pk
    judge(assignment, (2, 1))
    revisions = list(Judgement.objects.order_by("revision").values_list("revision", "verdict"))
    assert revisions == [(1, "ranked"), (2, "withdrawn"), (3, "ranked")]
    assert violations(campaign) == []


def test_undo_ends_with_the_campaign():
    campaign = make_campaign(n_tasks=1)
    ana = make_annotator(campaign.project)
    assignment = next_assignment(ana, campaign)
    judge(assignment)
    close_campaign(campaign, by=None)
    with pytest.raises(Conflict):
        undo_judgement(assignment_key=assignment.key, annotator=ana)


def test_a_voided_judgement_is_kept_and_its_seat_is_open_for_others_only():
    campaign = make_campaign(n_tasks=1)
    ana, ben = make_people(campaign.project, 2)
    judgement = judge(next_assignment(ana, campaign))
    reviewer = make_user("Rita")
    void_judgement(judgement=judgement, by=reviewer, reason="Clicked without reading")
    assert list(Judgement.objects.order_by("revision").values_list("verdict", flat=True)) == ["ranked", "voided"]
    assert next_assignment(ana, campaign) is None
    assert next_assignment(ben, campaign) is not None
    with pytest.raises(Conflict):
        void_judgement(judgement=judgement, by=reviewer, reason="again")
    assert violations(campaign) == []


def test_a_paused_campaign_gives_out_nothing_and_takes_what_is_open():
    campaign = make_campaign(n_tasks=2)
    ana, ben = make_people(campaign.project, 2)
    assignment = next_assignment(ana, campaign)
    pause_campaign(campaign, by=None)
    assert next_assignment(ben, campaign) is None
    judge(assignment)
    resume_campaign(campaign, by=None)
    assert next_assignment(ben, campaign) is not None


def test_a_judgement_that_arrives_after_the_close_is_refused():
    campaign = make_campaign(n_tasks=1)
    assignment = next_assignment(make_annotator(campaign.project), campaign)
    close_campaign(campaign, by=None)
    with pytest.raises(Conflict, match="closed"):
        judge(assignment)
    assert not Judgement.objects.exists()


def test_a_retired_task_takes_no_judgement():
    campaign = make_campaign(n_tasks=1)
    assignment = next_assignment(make_annotator(campaign.project), campaign)
    ComparisonTask.objects.update(status="retired")
    with pytest.raises(Conflict, match="taken out"):
        judge(assignment)


def test_nobody_judges_with_somebody_elses_assignment():
    campaign = make_campaign(n_tasks=1)
    ana, ben = make_people(campaign.project, 2)
    assignment = next_assignment(ana, campaign)
    with pytest.raises(DomainError):
        submit_judgement(assignment_key=assignment.key, annotator=ben, said=Said("tie"))
    with pytest.raises(DomainError):
        skip_assignment(assignment_key=assignment.key, annotator=ben)


@pytest.mark.parametrize(
    ("verdict", "ranks", "strength"),
    [
        ("ranked", (1, 1), None), ("ranked", (1,), None), ("ranked", (1, 2, 3), None), ("ranked", (0, 1), None),
        ("ranked", (1, 3), None), ("withdrawn", (), None), ("voided", (), None), ("nonsense", (), None),
        ("ranked", (1, 2), 1), ("tie", (), None), ("all_bad", (), None),
    ],
)  # fmt: skip
def test_what_the_campaign_does_not_ask_for_is_refused(verdict, ranks, strength):
    campaign = make_campaign(n_tasks=1, allow_tie=False, allow_both_bad=False)
    assignment = next_assignment(make_annotator(campaign.project), campaign)
    with pytest.raises(DomainError):
        judge(assignment, ranks, verdict=verdict, strength=strength)
    assert not Judgement.objects.exists()


def test_strength_is_kept_where_one_answer_is_better_and_refused_in_a_tie():
    campaign = make_campaign(n_tasks=2, strength_levels=3)
    ana = make_annotator(campaign.project)
    assert judge(next_assignment(ana, campaign), strength=3).strength == 3
    with pytest.raises(DomainError, match="strength"):
        judge(next_assignment(ana, campaign), verdict="tie", strength=2)


def test_every_move_of_an_assignment_leaves_an_event():
    campaign = make_campaign(n_tasks=1)
    ana = make_annotator(campaign.project)
    assignment = next_assignment(ana, campaign)
    judge(assignment)
    undo_judgement(assignment_key=assignment.key, annotator=ana)
    skip_assignment(assignment_key=assignment.key, annotator=ana)
    moves = list(assignment.events.values_list("before", "after"))
    assert moves == [("", "open"), ("open", "submitted"), ("submitted", "open"), ("open", "skipped")]
    task_moves = list(assignment.task.events.values_list("before", "after"))
    assert task_moves == [("open", "complete"), ("complete", "open")]


def test_an_annotator_has_another_pseudonym_in_another_project():
    user = make_user("Ana")
    from annotation.people import annotator_for

    one, two = annotator_for(user, make_project()), annotator_for(user, make_project())
    assert one.pseudonym != two.pseudonym
    assert user.username not in one.pseudonym and user.name.lower() not in one.pseudonym
