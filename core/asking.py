"""Many statements answered by another process, and something made of the answers, ahead of whoever works with that: so that two
cores are at work.

A thread would not do: reading rows takes the interpreter's lock again and again, and who works gives it away every 5 ms only.
"""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection, models

from core.answering import IDS, READING, Making, Step, answers_to, maker, put, take, widen

OUTSTANDING = 2  # questions: one more, and each side could wait for the other to read


def step(
    name: str,
    rows: "models.QuerySet[Any, Any]",
    column: str,
    *columns: Any,
    of: Sequence[tuple[str, int]] = (),
    n_keys: int = 1,
    is_many: bool = False,
) -> Step:
    """A step that reads ``columns`` of those ``rows`` whose ``column`` is one of its ids. The rest as in ``Step``."""
    place = f"{connection.ops.quote_name(rows.model._meta.db_table)}.{connection.ops.quote_name(column)}"
    among = "= ANY(%s::bigint[])" if connection.vendor == "postgresql" else "IN (SELECT value FROM json_each(%s))"
    found = rows.extra(where=[f"{place} {among}"], params=[IDS]).values_list(*columns)
    sql, parameters = found.query.sql_with_params()
    plain = [str(each) if isinstance(each, str) else each for each in parameters]  # of choices their values
    return Step(name, sql, plain, list(of), n_keys, is_many)


Asked = Mapping[int, Any]  # id -> what is known of it, in plain values
Answers = Iterator[tuple[Asked, Any]]


def answered(steps: Sequence[Step], wanted: Iterable[Asked], making: Making | None = None) -> Answers:
    """(what was asked, what the steps find for its ids, or what is made of that) for each, in order."""
    make = maker(making)
    for asked in wanted:
        with connection.cursor() as cursor:
            yield asked, make(asked, answers_to(steps, asked, connection.vendor, _asking(cursor)))


@contextmanager
def answering(*, apart: bool) -> Iterator[Callable[..., Answers]]:
    """What ``answered`` does, but ahead and by a process of its own, which starts now; it may be called once.

    apart  no for so little that a process is not worth starting. Within a transaction, or in memory, another would not see
           what is to be read: it is read here
    """
    if not apart or not _others_see_the_same():
        yield answered
        return
    child = subprocess.Popen(
        [sys.executable, "-m", "core.answering", connection.vendor],
        stdin=subprocess.PIPE,  # its closing tells the child that we are gone
        stdout=subprocess.PIPE,
        cwd=settings.BASE_DIR,
        start_new_session=True,  # a Ctrl-C in the terminal reaches the worker, which may first end what it does
    )
    try:
        yield partial(_by_another, child)
    finally:
        child.kill()
        for pipe in filter(None, (child.stdin, child.stdout)):
            with suppress(BrokenPipeError):
                pipe.close()
        child.wait()


def _asking(cursor: Any) -> Any:
    def ask(sql: str, parameters: list[Any]) -> Any:
        cursor.execute(sql, parameters)
        return cursor.fetchall()

    return ask


def _others_see_the_same() -> bool:
    return not connection.in_atomic_block and not (connection.vendor == "sqlite" and connection.is_in_memory_db())  # type: ignore[attr-defined]


def _place() -> Any:
    """Where the database is, for ``core.answering``."""
    connection.ensure_connection()
    if connection.vendor == "postgresql":
        info = connection.connection.info
        return info.get_parameters() | {"password": info.password}
    return os.path.abspath(connection.settings_dict["NAME"])  # the process has another working directory


def _by_another(
    child: "subprocess.Popen[bytes]", steps: Sequence[Step], wanted: Iterable[Asked], making: Making | None = None
) -> Answers:
    assert child.stdin is not None
    assert child.stdout is not None
    outstanding: deque[Asked] = deque()
    wanted = iter(wanted)
    try:
        widen(child.stdin)
        widen(child.stdout)
        put(child.stdin, (_place(), [tuple(each) for each in steps], making and tuple(making)))
        while True:
            for asked in islice(wanted, OUTSTANDING - len(outstanding)):
                put(child.stdin, asked)
                outstanding.append(asked)
            if not outstanding:
                child.stdin.close()  # it ends, and its memory is free for what comes then
                return
            failed, made = take(child.stdout)
            if failed:
                raise OperationalError(made) if failed == READING else RuntimeError(made)
            yield outstanding.popleft(), made
    except (EOFError, BrokenPipeError) as problem:
        raise OperationalError("The process that reads ended before its work was done.") from problem
