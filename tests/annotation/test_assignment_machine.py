"""T119: the seats against a model of them, in any order of lease, submit, skip, undo, void, expiry and late submit."""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.models import User
from annotation.assign import expire_leases, next_assignment, release_assignment, skip_assignment
from annotation.judge import undo_judgement, void_judgement
from annotation.models import Assignment, Campaign, ComparisonTask, Judgement
from core.errors import Conflict, DomainError
from core.jobs import from_now
from tests.annotation.builders import judge, make_campaign, make_people, make_user
from tests.annotation.checks import violations

N_PEOPLE, N_TASKS = 4, 3
HOLDING = ("open", "submitted")
RANKS = {"a": (1, 2), "b": (2, 1)}


class Seats(RuleBasedStateMachine):
    campaign: Campaign
    reviewer: User

    @initialize(overlap=st.integers(1, 3))
    def begin(self, overlap: int) -> None:
        self.campaign = make_campaign(n_tasks=N_TASKS, overlap=overlap)
        self.people = make_people(self.campaign.project, N_PEOPLE)
        self.reviewer = make_user("Rita")
        # Tasks are numbered in the order of the line, so that the same steps meet the same tasks when hypothesis repeats them.
        in_line = ComparisonTask.objects.filter(campaign=self.campaign).order_by("line")
        self.number = {pk: number for number, pk in enumerate(in_line.values_list("pk", flat=True))}
        self.overlap = overlap
        self.state: dict[tuple[int, int], str] = {}  # (person, task) -> status
        self.choice: dict[tuple[int, int], str] = {}
        self.key: dict[tuple[int, int], str] = {}
        self.n_revisions: dict[tuple[int, int], int] = {}

    def held(self, task: int) -> int:
        return sum(self.state.get((person, task)) in HOLDING for person in range(N_PEOPLE))

    def those(self, *statuses: str) -> list[tuple[int, int]]:
        return sorted(turn for turn, status in self.state.items() if status in statuses)

    def pick(self, data: st.DataObject, *statuses: str) -> tuple[int, int] | None:
        turns = self.those(*statuses)
        return data.draw(st.sampled_from(turns)) if turns else None

    @rule(person=st.integers(0, N_PEOPLE - 1))
    def ask(self, person: int) -> None:
        turn = next_assignment(self.people[person], self.campaign)
        mine = {task for (who, task) in self.those("open") if who == person}
        free = {task for task in range(N_TASKS) if (person, task) not in self.state and self.held(task) < self.overlap}
        if mine:
            assert turn is not None and self.number[turn.task_id] in mine
        elif free:
            assert turn is not None and self.number[turn.task_id] in free
            self.state[person, self.number[turn.task_id]] = "open"
            self.key[person, self.number[turn.task_id]] = turn.key
        else:
            assert turn is None

    @rule(data=st.data(), choice=st.sampled_from("ab"))
    def submit(self, data: st.DataObject, choice: str) -> None:
        turn = self.pick(data, "open", "submitted", "skipped", "released", "expired")
        if turn is None:
            return
        status = self.state[turn]
        seat_is_free = self.held(turn[1]) < self.overlap
        same_again = status == "submitted" and self.choice[turn] == choice
        accepted = status == "open" or same_again or (status == "expired" and seat_is_free)
        try:
            judge(Assignment.objects.select_related("annotator").get(key=self.key[turn]), RANKS[choice])
        except Conflict:
            assert not accepted
            return
        assert accepted
        if not same_again:
            self.n_revisions[turn] = self.n_revisions.get(turn, 0) + 1
        self.state[turn], self.choice[turn] = "submitted", choice

    @rule(data=st.data(), how=st.sampled_from([skip_assignment, release_assignment]))
    def give_up(self, data: st.DataObject, how) -> None:  # type: ignore[no-untyped-def]
        turn = self.pick(data, "open", "submitted")
        if turn is None:
            return
        try:
            how(assignment_key=self.key[turn], annotator=self.people[turn[0]])
        except Conflict:
            assert self.state[turn] == "submitted"
            return
        assert self.state[turn] == "open"
        self.state[turn] = "skipped" if how is skip_assignment else "released"

    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        turn = self.pick(data, "open", "submitted", "skipped", "released", "expired")
        if turn is None:
            return
        status = self.state[turn]
        possible = status in HOLDING or (status == "skipped" and self.held(turn[1]) < self.overlap)
        try:
            undo_judgement(assignment_key=self.key[turn], annotator=self.people[turn[0]])
        except DomainError:
            assert not possible
            return
        assert possible
        self.n_revisions[turn] = self.n_revisions.get(turn, 0) + (status == "submitted")
        self.state[turn] = "open"

    @precondition(lambda self: bool(self.those("submitted")))
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        turn = self.pick(data, "submitted")
        assert turn is not None
        standing = Assignment.objects.get(key=self.key[turn]).current
        assert standing is not None
        void_judgement(judgement=standing, by=self.reviewer, reason="spam")
        with pytest.raises(Conflict):
            void_judgement(judgement=standing, by=self.reviewer, reason="spam")
        self.n_revisions[turn] += 1
        self.state[turn] = "released"

    @precondition(lambda self: bool(self.those("open")))
    @rule(data=st.data(), is_swept=st.booleans())
    def lapse(self, data: st.DataObject, is_swept: bool) -> None:
        turn = self.pick(data, "open")
        assert turn is not None
        lease = Assignment.objects.filter(key=self.key[turn])
        lease.update(leased_until=from_now(-1))
        if is_swept:
            assert expire_leases() == 1
            self.state[turn] = "expired"
        else:  # a sweep that is late: the seat is still held
            lease.update(leased_until=from_now(600))

    @invariant()
    def app_and_model_agree(self) -> None:
        if not hasattr(self, "campaign"):
            return
        assert violations(self.campaign) == []
        rows = Assignment.objects.filter(task__campaign=self.campaign).select_related("annotator")
        numbers = {annotator.pk: number for number, annotator in enumerate(self.people)}
        assert {(numbers[row.annotator_id], self.number[row.task_id]): row.status for row in rows} == self.state
        for turn, key in self.key.items():
            assert Judgement.objects.filter(assignment__key=key).count() == self.n_revisions.get(turn, 0)


@pytest.mark.django_db
def test_t119_any_order_of_events_leaves_what_the_model_says():
    run_state_machine_as_test(
        Seats,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.django_db
def test_t119_a_long_run_of_any_events():
    """1,000 steps; before a release ten thousand: WHETSTONE_TEST_STEPS=10000."""
    n_steps = int(os.environ.get("WHETSTONE_TEST_STEPS", "1000"))
    run_state_machine_as_test(
        Seats,
        settings=settings(
            max_examples=n_steps // 50,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
