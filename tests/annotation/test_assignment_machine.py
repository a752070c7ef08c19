"""T119: the seats against a model of them, in any order of lease, prefetch, submit, correct, skip, park, undo, void, expiry."""

import os
from typing import Any

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
from annotation.assign import next_assignment, release_assignment, skip_assignment
from annotation.expiry import expire_leases
from annotation.judge import correct_judgement, undo_judgement, void_judgement
from annotation.leases import prefetch_assignment, release_waiting, renew_lease
from annotation.models import Assignment, Campaign, ComparisonTask, Judgement
from annotation.parking import park_assignment, resume_assignment
from core.errors import Conflict, DomainError
from core.jobs import from_now
from tests.annotation.builders import judge, make_campaign, make_people, make_user, said_as_shown
from tests.annotation.checks import violations

N_PEOPLE, N_TASKS = 4, 3
HOLDING = ("open", "parked", "submitted")
ANY = ("open", "parked", "submitted", "skipped", "released", "expired")
RANKS = {"a": (1, 2), "b": (2, 1)}


class Seats(RuleBasedStateMachine):
    campaign: Campaign
    reviewer: User

    @initialize(overlap=st.integers(1, 3), cap=st.sampled_from([None, None, 1, 2]))
    def begin(self, overlap: int, cap: int | None) -> None:
        self.campaign = make_campaign(n_tasks=N_TASKS, overlap=overlap, cap_per_person=cap)
        self.cap = N_TASKS + 1 if cap is None else cap
        self.people = make_people(self.campaign.project, N_PEOPLE)
        self.reviewer = make_user("Rita")
        # Tasks are numbered in the order of the line, so that the same steps meet the same tasks when hypothesis repeats them.
        in_line = ComparisonTask.objects.filter(campaign=self.campaign).order_by("line")
        self.number = {pk: number for number, pk in enumerate(in_line.values_list("pk", flat=True))}
        self.overlap = overlap
        self.state: dict[tuple[int, int], str] = {}  # (person, task) -> status
        self.unseen: set[tuple[int, int]] = set()  # prefetched, and not shown yet
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

    def turn(self, turn: tuple[int, int]) -> Assignment:
        return Assignment.objects.select_related("annotator", "task__campaign").get(key=self.key[turn])

    def of(self, turn: tuple[int, int]) -> dict[str, Any]:
        return {"assignment_key": self.key[turn], "annotator": self.people[turn[0]]}

    def has_room(self, person: int, *, without: int | None = None) -> bool:
        """Whether the cap leaves room for one more of this person."""
        return sum(who == person and task != without for who, task in self.those(*HOLDING)) < self.cap

    def free_for(self, person: int) -> set[int]:
        """Tasks with a free seat that this person was never shown."""
        again = {turn for turn in self.unseen if self.state.get(turn) in ("released", "expired")}
        new = {task for task in range(N_TASKS) if (person, task) not in self.state or (person, task) in again}
        return {task for task in new if self.held(task) < self.overlap} if self.has_room(person) else set()

    def given(self, person: int, turn: Assignment, *, unseen: bool) -> None:
        place = (person, self.number[turn.task_id])
        self.state[place], self.key[place] = "open", turn.key
        self.unseen.discard(place)
        if unseen:
            self.unseen.add(place)

    @rule(person=st.integers(0, N_PEOPLE - 1), prefetch=st.booleans())
    def ask(self, person: int, prefetch: bool) -> None:
        give = prefetch_assignment if prefetch else next_assignment
        turn = give(self.people[person], self.campaign)
        mine = {place for place in self.those("open") if place[0] == person}
        shown, waiting = mine - self.unseen, mine & self.unseen
        if not prefetch and shown:
            assert turn is not None and (person, self.number[turn.task_id]) in shown
        elif waiting:
            assert turn is not None and (person, self.number[turn.task_id]) in waiting
            self.given(person, turn, unseen=prefetch)
        elif free := self.free_for(person):
            assert turn is not None and self.number[turn.task_id] in free
            self.given(person, turn, unseen=prefetch)
        else:
            assert turn is None
        assert len([place for place in self.unseen if place[0] == person and self.state[place] == "open"]) <= 1

    @rule(person=st.integers(0, N_PEOPLE - 1))
    def leave(self, person: int) -> None:
        waiting = [place for place in self.unseen if place[0] == person and self.state[place] == "open"]
        assert release_waiting(annotator=self.people[person], campaign=self.campaign) == len(waiting)
        for place in waiting:
            self.state[place] = "released"

    @rule(data=st.data(), choice=st.sampled_from("ab"))
    def submit(self, data: st.DataObject, choice: str) -> None:
        turn = self.pick(data, *ANY)
        if turn is None:
            return
        status = self.state[turn]
        may_return = self.held(turn[1]) < self.overlap and self.has_room(turn[0])
        same_again = status == "submitted" and self.choice[turn] == choice
        accepted = status in ("open", "parked") or same_again or (status == "expired" and may_return)
        try:
            judge(self.turn(turn), RANKS[choice])
        except Conflict:
            assert not accepted
            return
        assert accepted
        if not same_again:
            self.n_revisions[turn] = self.n_revisions.get(turn, 0) + 1
        self.state[turn], self.choice[turn] = "submitted", choice
        self.unseen.discard(turn)

    @rule(data=st.data(), choice=st.sampled_from("ab"))
    def correct(self, data: st.DataObject, choice: str) -> None:
        turn = self.pick(data, *ANY)
        if turn is None:
            return
        try:
            correct_judgement(**self.of(turn), said=said_as_shown(self.turn(turn), RANKS[choice]))
        except Conflict:
            assert self.state[turn] != "submitted"
            return
        assert self.state[turn] == "submitted"
        self.n_revisions[turn] += self.choice[turn] != choice
        self.choice[turn] = choice

    @rule(data=st.data(), how=st.sampled_from([skip_assignment, release_assignment]))
    def give_up(self, data: st.DataObject, how) -> None:  # type: ignore[no-untyped-def]
        turn = self.pick(data, "open", "parked", "submitted")
        if turn is None:
            return
        try:
            how(**self.of(turn))
        except Conflict:
            assert self.state[turn] == "submitted"
            return
        assert self.state[turn] in ("open", "parked")
        self.state[turn] = "skipped" if how is skip_assignment else "released"

    @rule(data=st.data())
    def park(self, data: st.DataObject) -> None:
        turn = self.pick(data, *ANY)
        if turn is None:
            return
        try:
            park_assignment(**self.of(turn))
        except Conflict:
            assert self.state[turn] not in ("open", "parked")
            return
        assert self.state[turn] in ("open", "parked")
        self.state[turn] = "parked"

    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        turn = self.pick(data, *ANY)
        if turn is None:
            return
        try:
            resume_assignment(**self.of(turn))
        except Conflict:
            assert self.state[turn] not in ("open", "parked")
            return
        assert self.state[turn] in ("open", "parked")
        if self.state[turn] == "parked":
            self.unseen.discard(turn)
        self.state[turn] = "open"

    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        turn = self.pick(data, *ANY)
        if turn is None:
            return
        status = self.state[turn]
        may_return = self.held(turn[1]) < self.overlap and self.has_room(turn[0])
        possible = status == "open" or (status == "expired" and may_return)
        try:
            renew_lease(**self.of(turn))
        except Conflict:
            assert not possible
            return
        assert possible
        if status == "expired":
            self.unseen.discard(turn)
        self.state[turn] = "open"

    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        turn = self.pick(data, *ANY)
        if turn is None:
            return
        status = self.state[turn]
        may_return = self.held(turn[1]) < self.overlap and self.has_room(turn[0])
        possible = status in ("open", "submitted") or (status == "skipped" and may_return)
        try:
            undo_judgement(**self.of(turn))
        except DomainError:
            assert not possible
            return
        assert possible
        self.n_revisions[turn] = self.n_revisions.get(turn, 0) + (status == "submitted")
        if status != "open":
            self.unseen.discard(turn)
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
        self.unseen.discard(turn)

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
        assert all(self.has_room(who, without=task) for who, task in self.those(*HOLDING))  # no cap is passed
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
