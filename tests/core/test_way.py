"""Who writes much gives way to others."""

import threading

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from core import way
from core.way import Way
from tests.annotation.builders import make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(way.time, "sleep", slept.append)
    return slept


def write_elsewhere() -> None:
    def write() -> None:
        try:
            make_user("Ben")
        finally:
            connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()


def test_who_is_alone_writes_without_a_pause(pauses: list[float]):
    mine = Way(1000, polite=100, others=lambda: 0)
    make_user("Ana")
    mine.give()
    assert (mine.most, pauses) == (1000, [])


def test_after_another_was_at_work_little_is_written_at_a_time_for_a_while(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
):
    mine = Way(1000, polite=100, others=lambda: get_user_model().objects.count())
    write_elsewhere()
    mine.give()
    assert (mine.most, pauses) == (100, [way.PAUSE_SECONDS])
    monkeypatch.setattr(way, "POLITE_SECONDS", 0.0)
    mine._until = 0.0
    mine.give()
    assert (mine.most, len(pauses)) == (1000, 1)


def test_a_pause_is_longer_than_what_was_written_took(pauses: list[float]):
    mine = Way(1000, polite=100, others=lambda: get_user_model().objects.count())
    write_elsewhere()
    mine._began -= 0.2
    mine.give()
    assert pauses == [pytest.approx(0.2 * way.PAUSED, rel=0.2)]


def test_who_only_looks_does_not_pause(pauses: list[float]):
    mine = Way(1000, polite=100, others=lambda: get_user_model().objects.count())
    write_elsewhere()
    mine.look()
    assert (mine.most, pauses) == (100, [])
