"""The lead decides on flags: an upheld one takes the task or the answer out, everywhere; a dismissed one changes nothing."""

import pytest
from django.db.models import CheckConstraint, Q

from accounts.models import AuditEvent, Role
from annotation import flag_handling, questions
from annotation.assign import next_assignment
from annotation.models import Annotator, Assignment, ComparisonTask, Flag, Judgement
from annotation.protocol import FLAGS
from core.errors import Conflict, DomainError
from core.transitions import IllegalMove
from tests.annotation.builders import make_annotator, make_campaign, make_job, make_project, make_user
from tests.annotation.checks import violations

pytestmark = pytest.mark.django_db


class Court:
    """Two campaigns over the same answers, so that an answer stands in more than one task."""

    def __init__(self) -> None:
        self.project = make_project()
        job = make_job(self.project, n_prompts=2, n_answers=2)
        self.campaign, self.other = (make_campaign(self.project, job=job, overlap=2) for _ in range(2))
        self.ana, self.ben = make_annotator(self.project), make_annotator(self.project, "Ben")
        self.ravi = make_user("Ravi", self.project, Role.REVIEWER)

    def take(self, annotator: Annotator) -> Assignment:
        turn = next_assignment(annotator, self.campaign)
        assert turn is not None
        return turn

    def flag(self, turn: Assignment, *, place: int | None = None, kind: str = "harmful") -> Flag:
        slot = turn.display_order[place] if place is not None else None
        candidate = turn.task.slots.get(slot=slot).candidate if slot is not None else None
        return Flag.objects.create(task=turn.task, annotator=turn.annotator, kind=kind, candidate=candidate)


def test_the_kinds_of_flags_are_the_same_wherever_they_are_written():
    (known,) = [each for each in Flag._meta.constraints if each.name == "flag_kind_known"]
    assert tuple(Flag.Kind.values) == FLAGS
    assert isinstance(known, CheckConstraint) and isinstance(known.condition, Q)
    assert known.condition.children == [("kind__in", list(FLAGS))]


def test_a_flag_about_a_task_retires_it_and_frees_whoever_has_it():
    court = Court()
    turn, bens = court.take(court.ana), court.take(court.ben)
    assert turn.task_id == bens.task_id
    question = questions.ask(assignment_key=bens.key, annotator=court.ben, text="Is this broken?")
    assert flag_handling.uphold(flag=court.flag(turn, kind="broken"), by=court.ravi) == 1
    turn.refresh_from_db()
    turn.task.refresh_from_db()
    assert (turn.status, turn.task.status) == ("released", "retired")
    assert Assignment.objects.get(pk=bens.pk).status == "released"
    assert questions.withdraw_orphans() == 1
    question.refresh_from_db()
    assert question.status == "withdrawn"
    assert court.take(court.ana).task_id != turn.task_id
    assert ComparisonTask.objects.filter(status="retired").count() == 1
    assert violations(court.campaign) == []


def test_a_flag_about_an_answer_takes_it_out_of_every_campaign_and_the_next_one():
    court = Court()
    turn = court.take(court.ana)
    flag = court.flag(turn, place=1)
    shown = flag_handling.flagged(flag)
    assert (shown.letter, shown.n_tasks) == ("B", 2)
    assert dict(shown.example.answers)["B"] == flag.candidate.text
    assert flag_handling.uphold(flag=flag, by=court.ravi) == 2
    for campaign in (court.campaign, court.other):
        assert violations(campaign) == []
        retired = campaign.tasks.filter(status="retired").get()
        assert retired.slots.filter(candidate=flag.candidate).exists()
    third = make_campaign(court.project, job=court.campaign.jobs.get())
    assert not third.tasks.filter(slots__candidate=flag.candidate).exists() and third.tasks.count() == 1
    assert third.left_out == {"flagged": 1}
    event = AuditEvent.objects.get(action="flag.uphold")
    assert event.detail["n_retired"] == 2 and event.detail["about"] == "answer"


def test_flags_of_others_about_the_same_are_decided_with_it():
    court = Court()
    mine, theirs = court.take(court.ana), court.take(court.ben)
    place = theirs.display_order.index(mine.display_order[0])
    first, second = court.flag(mine, place=0), court.flag(theirs, place=place, kind="private")
    about_task = court.flag(theirs, kind="broken")
    assert flag_handling.flagged(first).n_same == 1
    flag_handling.uphold(flag=first, by=court.ravi)
    statuses = {flag: Flag.objects.get(pk=flag.pk).status for flag in (first, second, about_task)}
    assert statuses == {first: "upheld", second: "upheld", about_task: "open"}


def test_what_was_said_about_a_retired_task_is_kept():
    court = Court()
    turn = court.take(court.ana)
    Judgement.objects.create(assignment=turn, verdict="tie")
    flag_handling.uphold(flag=court.flag(turn), by=court.ravi)
    assert Judgement.objects.count() == 1


def test_a_dismissed_flag_changes_nothing_and_may_be_decided_again():
    court = Court()
    turn = court.take(court.ana)
    flag = court.flag(turn)
    with pytest.raises(DomainError):
        flag_handling.dismiss(flag=flag, by=court.ravi, note=" ")
    flag_handling.dismiss(flag=flag, by=court.ravi, note="It is only rude.")
    turn.refresh_from_db()
    assert (turn.status, turn.task.status, flag.status) == ("open", "open", "dismissed")
    assert flag.events.get(after="dismissed").note == "It is only rude."
    flag_handling.reopen(flag=flag, by=court.ravi)
    flag_handling.uphold(flag=flag, by=court.ravi)
    with pytest.raises(IllegalMove):
        flag_handling.reopen(flag=flag, by=court.ravi)


def test_of_two_leads_one_decides():
    court = Court()
    flag = court.flag(court.take(court.ana))
    same = Flag.objects.get(pk=flag.pk)
    flag_handling.dismiss(flag=flag, by=court.ravi, note="Fine.")
    with pytest.raises(Conflict):
        flag_handling.uphold(flag=same, by=court.ravi)
    assert not ComparisonTask.objects.filter(status="retired").exists()
