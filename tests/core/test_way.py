"""Who writes much gives way to others."""

import sqlite3
import subprocess
import threading
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from core import way
from core.bulk import copy_log_back, room_to_write
from core.way import Way
from tests.annotation.builders import make_user

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    """Time that passes only where the test lets it, and while somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.pauses = 100.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(way, "time", clock)
    return clock


def write_elsewhere() -> None:
    def write() -> None:
        try:
            make_user("Ben")
        finally:
            connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()


def n_people() -> int:
    return get_user_model().objects.count()


def test_who_is_alone_writes_without_a_pause(clock: Clock):
    mine = Way(1000, polite=100, others=lambda: 0)
    make_user("Ana")
    mine.give()
    assert (mine.most, clock.pauses) == (1000, [])


def test_after_another_was_at_work_little_is_written_at_a_time_for_a_while(clock: Clock):
    mine = Way(1000, polite=100, others=n_people)
    write_elsewhere()
    mine.give()
    assert (mine.most, clock.pauses) == (100, [way.PAUSE_SECONDS])
    clock.now += way.POLITE_SECONDS - 0.1
    assert mine.most == 100
    clock.now += 0.1
    mine.give()
    assert (mine.most, len(clock.pauses)) == (1000, 1)


@pytest.mark.parametrize(("worked", "paused"), [(0.01, 0.05), (0.2, 0.2), (3.0, 0.5)])
def test_a_pause_is_as_long_as_the_work_before_it_within_bounds(clock: Clock, worked: float, paused: float):
    mine = Way(1000, polite=100, others=n_people)
    write_elsewhere()
    for _ in range(2):  # the pause itself is no work
        clock.now += worked
        mine.give()
    assert clock.pauses == pytest.approx([paused, paused])


def test_who_only_looks_does_not_pause(clock: Clock):
    mine = Way(1000, polite=100, others=n_people)
    write_elsewhere()
    mine.look()
    assert (mine.most, clock.pauses) == (100, [])


def n_in_the_file(folder: Path) -> int:
    """How many people stand in SQLite's file itself, without its log.

    Another process copies it: closing the file here would give up every lock that this process has on it, and the next
    process that closes the database would delete the log of those who have it open.
    """
    copy = folder / "copy.sqlite3"
    subprocess.run(["cp", connection.settings_dict["NAME"], copy], check=True)
    return int(sqlite3.connect(copy).execute("select count(*) from accounts_user").fetchone()[0])


@pytest.mark.sqlite
def test_who_wrote_much_copies_the_log_back_and_leaves_it_to_nobody(tmp_path: Path, clock: Clock):
    copy_log_back()
    mine = Way(1000, polite=100, others=n_people)
    make_user("Ana")
    mine.give()
    assert n_in_the_file(tmp_path) == 0  # alone: seldom is enough
    write_elsewhere()
    mine.give()
    assert n_in_the_file(tmp_path) == 2
    with room_to_write():
        make_user("Cem")
        assert n_in_the_file(tmp_path) == 2
    assert n_in_the_file(tmp_path) == 3
