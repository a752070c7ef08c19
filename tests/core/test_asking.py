"""Statements answered by a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import OperationalError, connection, transaction

from core import asking
from core.answering import IDS, Making, Step
from core.asking import answered, answering, step

pytestmark = pytest.mark.django_db(transaction=True)
Children = list["subprocess.Popen[bytes]"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def groups() -> list[int]:
    made = [Group.objects.create(name=f"Group {number} %s '") for number in range(5)]
    first = list(Permission.objects.order_by("pk")[:3])
    made[0].permissions.set(first)
    made[3].permissions.set(first[1:])
    return [each.pk for each in made]


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Children:
    """The processes that were started."""
    started: Children = []
    popen = subprocess.Popen

    def noted(*given: Any, **more: Any) -> "subprocess.Popen[bytes]":
        started.append(popen(*given, **more))
        return started[-1]

    monkeypatch.setattr(asking.subprocess, "Popen", noted)
    return started


def steps() -> list[Step]:
    through = Group.permissions.through
    return [
        step("groups", Group.objects.exclude(name="nobody"), "id", "pk", "name"),
        step("given", through.objects.order_by("permission_id"), "group_id", "group_id", "permission_id", is_many=True),
        step("permissions", Permission.objects.order_by(), "id", "pk", "codename", of=[("given", 0)]),
        step("again", through.objects.order_by("pk"), "group_id", "group_id", "permission_id", "pk", of=[("groups", -1)],
             n_keys=2, is_many=True),
    ]  # fmt: skip


def handfuls(ids: list[int]) -> Iterator[dict[int, str]]:
    yield from (dict.fromkeys(some, "known") for some in (ids[:2], ids[2:], []))


def test_another_process_answers_as_this_one_does(groups: list[int], children: Children):
    here = list(answered(steps(), handfuls(groups)))
    with answering(apart=False) as answers:
        assert answers is answered
    assert not children
    with answering(apart=True) as answers:
        there = list(answers(steps(), handfuls(groups)))
        assert len(children) == 1
    assert children[0].returncode is not None
    assert there == here
    (_, first), (_, second), (_, none) = here
    assert first["groups"] == {pk: (f"Group {number} %s '",) for number, pk in enumerate(groups[:2])}
    assert sorted(first["given"]) == groups[:1]
    assert len(first["permissions"]) == len(first["given"][groups[0]]) == 3
    assert {key[0] for key in second["again"]} == {groups[3]}
    assert not any(none.values())


def test_what_is_made_of_the_answers_is_the_same_there(groups: list[int]):
    making = Making("tests.core.makers", "naming", ("so",))
    here = [made for _, made in answered(steps(), handfuls(groups), making)]
    with answering(apart=True) as answers:
        there = list(answers(steps(), handfuls(groups), making))
    assert [made for _, made in there] == here
    assert [asked for asked, _ in there] == list(handfuls(groups))
    assert here[0] == {pk: f"so known Group {number} %s '" for number, pk in enumerate(groups[:2])}


def test_what_cannot_be_made_is_no_fault_of_the_database(groups: list[int]):
    # A database that fails sends a job back to the queue, where this would fail again and again.
    for name, told in (("failing", "makers.py.*ArithmeticError: two and two"), ("unsendable", "unmarshallable")):
        making = Making("tests.core.makers", name, ())
        with pytest.raises(RuntimeError, match=f"(?s){told}"), answering(apart=True) as answers:
            list(answers(steps(), handfuls(groups), making))


def test_a_ctrl_c_in_the_terminal_is_for_the_worker_alone(children: Children):
    with answering(apart=True):
        assert os.getpgid(children[0].pid) == children[0].pid != os.getpgrp()


def test_a_database_is_found_from_any_working_directory(
    groups: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    if connection.vendor == "sqlite":
        monkeypatch.setitem(connection.settings_dict, "NAME", os.path.relpath(connection.settings_dict["NAME"]))
    with answering(apart=True) as answers:
        ((_, found),) = answers(steps(), [dict.fromkeys(groups[:1])])
    assert list(found["groups"]) == groups[:1]


def test_what_is_not_committed_is_read_here(groups: list[int], children: Children):
    with transaction.atomic(), answering(apart=True) as answers:
        new = Group.objects.create(name="New").pk
        ((_, found),) = answers(steps(), [{new: None}])
    assert found["groups"] == {new: ("New",)}
    assert not children


def test_a_statement_that_fails_is_told(groups: list[int]):
    wrong = [Step("groups", "SELECT id FROM nowhere WHERE id = %s", [1])]
    with pytest.raises(OperationalError, match="nowhere"), answering(apart=True) as answers:
        list(answers(wrong, handfuls(groups)))


@pytest.mark.postgres
def test_no_statement_is_compiled_there_either(groups: list[int]):
    sql = "SELECT id, current_setting('jit') FROM auth_group WHERE id = ANY(%s::bigint[])"
    with answering(apart=True) as answers:
        ((_, found),) = answers([Step("groups", sql, [IDS])], [dict.fromkeys(groups)])
    assert set(found["groups"].values()) == {("off",)}


def test_a_process_that_is_killed_is_told(groups: list[int], children: Children):
    with answering(apart=True) as answers:
        many = answers(steps(), (dict.fromkeys(groups) for _ in range(100)))
        next(many)
        children[0].send_signal(signal.SIGKILL)
        children[0].wait()
        with pytest.raises(OperationalError, match="ended before"):
            list(many)


def test_it_ends_with_the_last_answer_and_not_only_with_the_block(groups: list[int], children: Children):
    with answering(apart=True) as answers:
        list(answers(steps(), handfuls(groups)))
        assert children[0].wait(10) == 0


def test_who_stops_asking_leaves_no_process(groups: list[int], children: Children):
    with answering(apart=True) as answers:
        next(answers(steps(), (dict.fromkeys(groups) for _ in range(100))))
    assert children[0].returncode is not None
    with pytest.raises(ZeroDivisionError), answering(apart=True):
        raise ZeroDivisionError
    assert children[1].returncode is not None


def test_it_ends_with_whoever_started_it(tmp_path: Path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'core.answering', 'sqlite'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
    assert _is_running(child)
    parent.kill()
    parent.wait()
    end = time.monotonic() + 20
    while _is_running(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _is_running(child)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
