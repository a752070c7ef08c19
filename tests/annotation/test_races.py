"""Many threads at once on a real database file or server (T117, T118, T120, T121, T124, T125, T132).

They can go red: with ``select_for_update`` switched off five of the seven about leases fail on PostgreSQL, all by a refusal of the
database (no seat is given twice); with the seat constraint dropped as well, seats are given twice. The last test plants that fault.
"""

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from annotation.assign import next_assignment, skip_assignment, take_up_again
from annotation.expiry import expire_leases
from annotation.judge import undo_judgement
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Judgement
from core.errors import Conflict
from core.jobs import from_now
from tests.annotation.builders import judge, make_annotator, make_campaign, make_people
from tests.annotation.checks import violations

pytestmark = pytest.mark.django_db(transaction=True)
N_THREADS = 16


@pytest.fixture(
    params=[pytest.param("sqlite", marks=pytest.mark.sqlite), pytest.param("postgres", marks=pytest.mark.postgres)]
)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The database of this pass; the other one's tests are left to the other pass."""
    assert connection.vendor.startswith(request.param[:6])
    yield request.param


def at_once(work: Callable[[int], Any], n_threads: int = N_THREADS) -> list[Any]:
    """Run ``work(0) ... work(n - 1)`` in threads that start together; the first exception is raised."""
    barrier = threading.Barrier(n_threads)

    def run(number: int) -> Any:
        try:
            barrier.wait()
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(n_threads) as pool:
        return [future.result() for future in [pool.submit(run, number) for number in range(n_threads)]]


def work_off(annotator: Annotator, campaign: Campaign, moods: random.Random, check: Callable[[], None]) -> None:
    """Judge, skip, undo, walk away: until there is nothing left for this person."""
    while turn := next_assignment(annotator, campaign):
        mood = moods.random()
        if mood < 0.08:
            skip_assignment(assignment_key=turn.key, annotator=annotator, reason="x")
        elif mood < 0.14:  # walks away; comes back late
            Assignment.objects.filter(pk=turn.pk, status="open").update(leased_until=from_now(-1))
            expire_leases()
            with contextlib.suppress(Conflict):
                judge(turn)
        else:
            judge(turn)
            if mood > 0.95:
                undo_judgement(assignment_key=turn.key, annotator=annotator)
        if moods.random() < 0.1:
            check()


def test_t117_threads_that_take_tasks_at_once_never_share_one(database):
    campaign = make_campaign(n_tasks=40)
    people = make_people(campaign.project, N_THREADS)
    taken = [turn.task_id for turn in at_once(lambda n: next_assignment(people[n], campaign))]
    assert len(set(taken)) == N_THREADS
    assert violations(campaign) == []


def test_t132_of_sixteen_who_want_the_last_seat_one_gets_it(database):
    campaign = make_campaign(n_tasks=1)
    people = make_people(campaign.project, N_THREADS)
    taken = at_once(lambda n: next_assignment(people[n], campaign))
    assert sum(turn is not None for turn in taken) == 1
    assert violations(campaign) == []


def test_t124_nobody_sees_an_empty_queue_while_a_seat_is_free(database):
    campaign = make_campaign(n_tasks=1, overlap=N_THREADS)
    people = make_people(campaign.project, N_THREADS)
    taken = at_once(lambda n: next_assignment(people[n], campaign))
    assert sorted(turn.seat for turn in taken) == list(range(N_THREADS))


def test_two_tabs_of_one_person_take_one_task(database):
    campaign = make_campaign(n_tasks=30, overlap=2)
    ana = make_annotator(campaign.project)
    taken = at_once(lambda n: next_assignment(ana, campaign))
    assert len({turn.pk for turn in taken}) == 1
    assert Assignment.objects.count() == 1


def test_t120_parallel_posts_of_one_judgement_are_one_row(database):
    campaign = make_campaign(n_tasks=1)
    turn = next_assignment(make_annotator(campaign.project), campaign)
    rows = at_once(lambda n: judge(turn).pk)
    assert len(set(rows)) == 1
    assert Judgement.objects.count() == 1
    assert violations(campaign) == []


def test_t122_of_parallel_posts_that_differ_one_stands_and_the_others_are_told(database):
    campaign = make_campaign(n_tasks=1)
    turn = next_assignment(make_annotator(campaign.project), campaign)

    def say(number: int) -> int | None:
        try:
            return judge(turn, (1, 2) if number % 2 else (2, 1)).pk
        except Conflict:
            return None

    said = at_once(say)
    assert said.count(None) == N_THREADS // 2
    assert Judgement.objects.count() == 1


def test_t118_with_overlap_three_every_task_ends_with_three_judgements_by_three_people(database):
    campaign = make_campaign(n_tasks=12, overlap=3)
    people = make_people(campaign.project, N_THREADS)
    seen: list[str] = []

    def overfull() -> None:
        held = Assignment.objects.filter(task__campaign=campaign, status__in=["open", "submitted"])
        by_task: dict[int, int] = {}
        for task in held.values_list("task_id", flat=True):
            by_task[task] = by_task.get(task, 0) + 1
        seen.extend(f"task {task} is held {n} times" for task, n in by_task.items() if n > 3)

    at_once(lambda n: work_off(people[n], campaign, random.Random(n), overfull))
    assert seen == []
    assert violations(campaign) == []
    for number in range(10):  # what was skipped or lost is finished by people who come later
        work_off(make_annotator(campaign.project, f"Late {number}"), campaign, random.Random(-1), overfull)
    assert set(ComparisonTask.objects.values_list("n_submitted", "status")) == {(3, "complete")}
    for task in ComparisonTask.objects.all():
        assert task.assignments.filter(status="submitted").values("annotator").distinct().count() == 3
    assert violations(campaign) == []


def test_t125_sweeps_at_once_free_a_seat_once(database):
    campaign = make_campaign(n_tasks=8)
    for annotator in make_people(campaign.project, 8):
        next_assignment(annotator, campaign)
    Assignment.objects.update(leased_until=from_now(-1))
    freed = at_once(lambda n: expire_leases())
    freed.append(expire_leases())  # what a sweep passed over because another one held it
    assert sum(freed) == 8
    assert not ComparisonTask.objects.exclude(n_taken=0).exists()
    assert violations(campaign) == []


def test_a_late_judgement_and_a_new_lease_at_once_leave_one_of_them(database):
    campaign = make_campaign(n_tasks=6)
    people = make_people(campaign.project, 12)
    late = [next_assignment(annotator, campaign) for annotator in people[:6]]
    Assignment.objects.update(leased_until=from_now(-1))
    while expire_leases():
        pass

    def race(number: int) -> str:
        if number >= 6:
            return "leased" if next_assignment(people[number], campaign) else "nothing"
        try:
            judge(late[number])
        except Conflict:
            return "too late"
        return "judged"

    results = at_once(race, 12)
    assert results.count("judged") + results.count("leased") == 6
    assert violations(campaign) == []


def test_taking_a_skip_up_again_against_others_who_want_it(database):
    campaign = make_campaign(n_tasks=1)
    people = make_people(campaign.project, N_THREADS)
    turns = []
    for annotator in people[:8]:
        turns.append(next_assignment(annotator, campaign))
        skip_assignment(assignment_key=turns[-1].key, annotator=annotator)

    def race(number: int) -> bool:
        if number >= 8:
            return next_assignment(people[number], campaign) is not None
        try:
            return take_up_again(assignment_key=turns[number].key, annotator=people[number]).status == "open"
        except Conflict:
            return False

    assert sum(at_once(race)) == 1
    assert violations(campaign) == []


# ---- what stands behind the locks ----------------------------------------------------------------------------------------


def _insert(campaign: Campaign, annotator: Annotator, **fields: Any) -> Assignment:
    task = ComparisonTask.objects.filter(campaign=campaign).first()
    return Assignment.objects.create(
        **{"task": task, "annotator": annotator, "display_order": [0, 1], "seat": 0, **fields}
    )


def test_t178_the_database_refuses_a_second_holder_of_a_seat_whatever_the_code_does(database):
    campaign = make_campaign(n_tasks=1, overlap=2)
    people = make_people(campaign.project, N_THREADS)

    def grab(number: int) -> bool:
        try:
            _insert(campaign, people[number])
        except IntegrityError:
            return False
        return True

    assert sum(at_once(grab)) == 1
    with pytest.raises(IntegrityError), transaction.atomic():
        holder = Assignment.objects.get().annotator
        _insert(campaign, holder, seat=1)  # two seats for one person
    with pytest.raises(IntegrityError), transaction.atomic():
        ComparisonTask.objects.update(n_taken=3)


def test_the_checker_sees_a_seat_that_was_given_twice(database):
    campaign = make_campaign(n_tasks=1)
    people = make_people(campaign.project, N_THREADS)
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX one_person_per_seat")
    try:
        at_once(lambda n: _insert(campaign, people[n]))
        assert any("held 16 times, overlap 1" in sentence for sentence in violations(campaign))
        assert any("seat 0" in sentence for sentence in violations(campaign))
    finally:
        Assignment.objects.all().delete()
        constraint = next(c for c in Assignment._meta.constraints if c.name == "one_person_per_seat")
        with connection.schema_editor() as editor:
            editor.add_constraint(Assignment, constraint)
