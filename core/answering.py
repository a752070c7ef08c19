"""Statements that follow from one another, and a process that answers them for another one: ``core.asking`` starts it.

It may make something of what it found, too.
It reads, and writes nothing. It needs no Django, so that it is there in a moment. It ends with whoever started it: at the end of
its input, or where nobody takes its answers.
"""

import fcntl
import importlib
import marshal
import os
import struct
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, NamedTuple

from core.behind import Behind
from core.undisturbed import undisturbed

NICE = 10  # people who wait for a page come first
READING, MAKING = "reading", "making"  # what failed
IDS = "\0ids"  # stands for the ids among the parameters of a statement: no text of a database is equal to it
PIPE_BYTES = 1 << 20
LENGTH = struct.Struct("<Q")
MARSHAL = 2  # without a table of what was said already, which costs more than it saves

Answer = dict[Any, Any]
Make = Callable[[Mapping[int, Any], dict[str, Answer]], Any]
Ask = Callable[[str, list[Any]], Iterable[Sequence[Any]]]


class Step(NamedTuple):
    """One statement. Its rows stand under their first ``n_keys`` columns.

    of       (step, column) whose values are its ids, columns counted without the keys, or -1 for what the rows of that step stand
             under; nothing for the ids that are given
    is_many  whether several rows may stand under one key: a list of them then
    """

    name: str
    sql: str
    parameters: list[Any]
    of: list[tuple[str, int]] = []
    n_keys: int = 1
    is_many: bool = False


class Making(NamedTuple):
    """What is made of the answers where they are read: ``module``'s function ``name`` is called once, with plain values ``given``,
    and what it returns then each time, with what was asked (ids, and what is known of them) and the answers. Plain values again."""

    module: str
    name: str
    given: tuple[Any, ...]


def maker(making: Making | None) -> Make:
    if making is None:
        return lambda _, found: found
    make: Make = getattr(importlib.import_module(making.module), making.name)(*making.given)
    return make


def answers_to(steps: Iterable[Step], ids: Iterable[int], vendor: str, ask: Ask) -> dict[str, Answer]:
    """What each step finds, by its name: {key: the other columns}, or {key: [the other columns, ...]}."""
    many = {step.name: step.is_many for step in steps}
    found: dict[str, Answer] = {}
    for step in steps:
        wanted = set[int]().union(*(_values(found[name], column, many[name]) for name, column in step.of))
        given = sorted(wanted - {None}) if step.of else ids
        if step.of and not given:
            found[step.name] = {}
            continue
        array = ",".join(map(str, given))
        array = f"{{{array}}}" if vendor == "postgresql" else f"[{array}]"
        rows = ask(step.sql, [array if each == IDS else each for each in step.parameters])
        found[step.name] = _by_key(rows, step.n_keys, step.is_many)
    return found


def _values(answer: Answer, column: int, is_many: bool) -> Iterable[Any]:
    if column < 0:
        return answer
    return (row[column] for rows in (answer.values() if is_many else (answer.values(),)) for row in rows)


def _by_key(rows: Iterable[Sequence[Any]], n_keys: int, is_many: bool) -> Answer:
    if n_keys == 1 and not is_many:
        return {row[0]: row[1:] for row in rows}
    answer: Answer = {}
    for row in rows:
        answer.setdefault(row[0] if n_keys == 1 else tuple(row[:n_keys]), []).append(row[n_keys:])
    return answer


# ---- the process -----------------------------------------------------------------------------------------------------


def put(file: IO[bytes], value: Any) -> None:
    send(file, marshal.dumps(value, MARSHAL))


def send(file: IO[bytes], data: bytes) -> None:
    file.write(LENGTH.pack(len(data)))
    file.write(data)
    file.flush()


def take(file: IO[bytes]) -> Any:
    """Raises EOFError where the other side is gone."""
    (n_bytes,) = LENGTH.unpack(_whole(file, LENGTH.size))
    return marshal.loads(_whole(file, n_bytes))


def _whole(file: IO[bytes], n_bytes: int) -> bytes:
    data = file.read(n_bytes)
    if len(data) < n_bytes:
        raise EOFError
    return data


def widen(file: IO[bytes]) -> None:
    """Let a pipe hold a good part of an answer, so that it is passed on in few pieces."""
    with suppress(OSError, AttributeError):  # of Linux alone
        fcntl.fcntl(file, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _opener(vendor: str) -> Callable[[Any], Ask]:
    """How its database is opened. What that takes is loaded now."""
    if vendor == "postgresql":
        import psycopg

        def on_postgresql(place: Any) -> Ask:
            # A pooler between us and the server may know of no prepared statements.
            cursor: Any = psycopg.connect(**place, autocommit=True, prepare_threshold=None).cursor()
            # Rows are looked up by their ids, in pages that are at hand: else every 2,000 of 100,000 are looked for in all.
            # Nor is one compiled, as on the app's connections (``core.postgres``).
            cursor.execute(
                "SET TIME ZONE 'UTC'; SET jit = off; SET random_page_cost = 1.1; SET max_parallel_workers_per_gather = 0"
            )
            return lambda sql, parameters: cursor.execute(sql, parameters).fetchall()

        return on_postgresql
    import sqlite3

    def on_sqlite(place: Any) -> Ask:
        connection = sqlite3.connect(place, timeout=20, isolation_level=None)
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA cache_size = -8000")
        return lambda sql, parameters: connection.execute(sql.replace("%s", "?"), parameters).fetchall()

    return on_sqlite


def main(vendor: str) -> None:
    """Takes (where the database is, steps, making), then again and again what is asked: {id: what is known of it}.

    Says ("", what was made) to each, or (READING or MAKING, in words what failed).
    """
    os.nice(NICE)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    opened, ask, make = _opener(vendor), None, None

    def say(asked: Any, found: Any) -> None:
        nonlocal make
        try:
            make = make or maker(making and Making(*making))
            data = marshal.dumps(("", make(asked, found)), MARSHAL)
        except Exception:
            data = marshal.dumps((MAKING, traceback.format_exc()), MARSHAL)
        send(sink, data)

    with undisturbed(), suppress(EOFError, BrokenPipeError), Behind(ahead=1) as behind:
        place, steps, making = take(source)
        steps = [Step(*step) for step in steps]
        while True:
            asked = take(source)
            try:
                ask = ask or opened(place)
                found = answers_to(steps, asked, vendor, ask)
            except Exception as problem:
                behind.do(put, sink, (READING, f"{type(problem).__name__}: {problem}"))
            else:
                behind.do(say, asked, found)


if __name__ == "__main__":
    main(sys.argv[1])
