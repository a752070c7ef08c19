"""Many rows of one model at once, past the ORM: COPY on PostgreSQL, prepared INSERTs on SQLite. Every constraint holds.

Django's own ``bulk_create`` spends more time on its objects than either database on the rows. Values are given as the
database takes them: JSON as text, ids of foreign keys, aware times. Rows can be packed on another thread than the one that writes
them, and either database leaves the interpreter's lock alone while it takes them.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from django.db import connection, models
from django.utils import timezone
from psycopg.types.json import Jsonb

from core.ids import KEY_ALPHABET, KEY_LENGTH

M = TypeVar("M", bound=models.Model)
T = TypeVar("T")
LINES_AT_ONCE = 500  # of COPY
ROWS_AT_ONCE = (1000, 100)  # of one INSERT on SQLite, which takes the interpreter's lock back after each
MANY = 1000  # rows that statistics of their tables are worth the while for
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"})
_LETTERS = bytes(ord(KEY_ALPHABET[byte & 31]) for byte in range(256))


def chunks(things: Iterable[T], size: int) -> Iterator[list[T]]:
    """Handfuls of at most ``size``, in the same order; read as they are taken."""
    rest = iter(things)
    while chunk := list(islice(rest, size)):
        yield chunk


def keys_from(random_bytes: bytes) -> list[str]:
    """One key of ``core.ids.new_key``'s form for every twelve bytes."""
    letters = random_bytes.translate(_LETTERS).decode()
    return [letters[start : start + KEY_LENGTH] for start in range(0, len(letters), KEY_LENGTH)]


def new_ids(model: type[models.Model], n: int) -> list[int]:
    """Ids for ``n`` rows to come, now or later: nobody else gets them. On SQLite only within a transaction."""
    if not n:
        return []
    table, column = model._meta.db_table, model._meta.pk.column
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # The sequence's name is looked up once, not for every id.
            cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [f'"{table}"', column])
            cursor.execute("SELECT nextval(%s::regclass) FROM generate_series(1, %s)", [cursor.fetchone()[0], n])
            return [row[0] for row in cursor.fetchall()]
        found = cursor.execute(
            "UPDATE sqlite_sequence SET seq = seq + %s WHERE name = %s RETURNING seq", [n, table]
        ).fetchone()
        if not found:
            cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, n])
    last = found[0] if found else n
    return list(range(last + 1 - n, last + 1))


def among(rows: "models.QuerySet[M]", column: str, values: Iterable[str] | Iterable[int]) -> "models.QuerySet[M]":
    """The rows whose ``column`` is one of many values, given as one parameter: Django prepares each of thousands by itself."""
    name = f"{connection.ops.quote_name(rows.model._meta.db_table)}.{connection.ops.quote_name(column)}"
    if connection.vendor == "postgresql":
        given = list(values)
        if given and type(given[0]) is int:  # as PostgreSQL writes an array: psycopg looks at each number by itself
            return rows.extra(where=[f"{name} = ANY(%s::bigint[])"], params=[f"{{{','.join(map(str, given))}}}"])
        return rows.extra(where=[f"{name} = ANY(%s)"], params=[given])
    return rows.extra(where=[f"{name} IN (SELECT value FROM json_each(%s))"], params=[json.dumps(list(values))])


_ASK, _SAY = {"sqlite": "PRAGMA {}", "postgresql": "SHOW {}"}, {"sqlite": "PRAGMA {} = {}", "postgresql": "SET {} = {}"}


@contextmanager
def _set(**wanted: Any) -> Iterator[None]:
    """Settings of this connection, as they were again afterwards."""
    ask, say = _ASK[connection.vendor], _SAY[connection.vendor]
    with connection.cursor() as cursor:
        before = {name: cursor.execute(ask.format(name)).fetchone()[0] for name in wanted}
        for name, value in wanted.items():
            cursor.execute(say.format(name, value))
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for name, value in before.items():
                cursor.execute(say.format(name, value))


@contextmanager
def room_to_write() -> Iterator[None]:
    """While much is written. SQLite keeps more pages at hand and copies its log back less often.

    PostgreSQL looks rows up by their index, not along the whole table: what was written lately is in memory.
    """
    on_sqlite = {"cache_size": -64_000, "wal_autocheckpoint": 16_000}
    with _set(**on_sqlite) if connection.vendor == "sqlite" else _set(random_page_cost=1.1):
        yield
    copy_log_back()


def copy_log_back() -> None:
    """Copy what SQLite's log holds into its file, by who wrote it. Whoever commits next would have to, and wait for the disk twice:
    somebody who judges, for instance."""
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")  # waits for nobody


def settled_later() -> AbstractContextManager[None]:
    """Let commits reach the disk with a later one of anybody's: for work that begins again where a power cut left it.

    They stay whole and in order, and so does everybody else's promise. What ends the work must come after this.
    """
    if connection.in_atomic_block:  # of a test
        return nullcontext()
    return _set(synchronous="NORMAL") if connection.vendor == "sqlite" else _set(synchronous_commit="off")


def analyze(n_new: int, *written: type[models.Model]) -> None:
    """Let PostgreSQL see now what ``n_new`` rows changed: until it does by itself, in a minute or so, it plans for empty tables.

    Within a transaction the tables cannot be vacuumed until it ends.
    """
    if connection.vendor != "postgresql" or n_new < MANY:
        return
    tables = ", ".join(connection.ops.quote_name(model._meta.db_table) for model in written)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {tables}")


class Rows:
    """Rows of one model: each a tuple of the values of ``columns``; what they have in common is said once.

    columns    attributes (``task_id``, not ``task``) whose values each row brings, in this order, as the database takes them
    constants  what all rows share; every other field takes its default, and a field without one must be named
    """

    def __init__(self, model: type[models.Model], *columns: str, **constants: Any) -> None:
        self.model = model
        by_name = {field.attname: field for field in model._meta.concrete_fields if not field.generated}
        unknown = (set(columns) | set(constants)) - set(by_name)
        if unknown:
            raise TypeError(f"{model.__name__} has no column {sorted(unknown)}.")
        shared = {name: field for name, field in by_name.items() if name not in columns and not field.primary_key}
        tail = tuple(
            field.get_db_prep_save(constants[name] if name in constants else _default(field), connection)
            for name, field in shared.items()
        )
        fields = [by_name[name] for name in columns] + list(shared.values())
        quote = connection.ops.quote_name
        table, names = quote(model._meta.db_table), ", ".join(quote(str(field.column)) for field in fields)
        if connection.vendor == "postgresql":
            self.sql = f"COPY {table} ({names}) FROM STDIN"
            self.tail = "".join(f"\t{_copied(value)}" for value in tail) + "\n"
            self.pack: Callable[[Iterable[Sequence[Any]]], list[Any]] = self._as_copy
        else:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {', '.join(['quote(%s)'] * len(tail)) or 1}", tail)
                literals = cursor.fetchone() if tail else ()
                most = connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
            marks = f"({', '.join([*(['?'] * len(columns)), *map(str, literals)])})"
            self.sql = f"INSERT INTO {table} ({names}) VALUES "
            self.sizes = [(n, self.sql + ", ".join([marks] * n)) for n in ROWS_AT_ONCE if n * len(columns) <= most]
            self.sql += marks
            self.pack = self._as_inserts

    def insert(self, rows: Iterable[Sequence[Any]]) -> None:
        self.put(self.pack(rows))

    def put(self, packed: Sequence[Any]) -> None:
        """Write what ``pack`` has made, which touches no database, on whatever thread."""
        with connection.wrap_database_errors:
            connection.ensure_connection()
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor, cursor.copy(self.sql) as copy:
                    for part in packed:
                        copy.write(part)
            else:
                for sql, values in packed:
                    many = connection.connection.executemany if sql is self.sql else connection.connection.execute
                    many(sql, values)

    def _as_copy(self, rows: Iterable[Sequence[Any]]) -> list[bytes]:
        tail, parts = self.tail, []
        lines = iter("\t".join([_COPIED[type(value)](value) for value in row]) + tail for row in rows)
        while part := "".join(islice(lines, LINES_AT_ONCE)):
            parts.append(part.encode())
        return parts

    def _as_inserts(self, rows: Iterable[Sequence[Any]]) -> list[tuple[str, list[Any]]]:
        """(statement, values) of as many rows at once as there are."""
        left, parts, at = list(rows), [], 0
        for n, sql in self.sizes:
            while len(left) - at >= n:
                parts.append((sql, [value for row in left[at : at + n] for value in row]))
                at += n
        return [*parts, (self.sql, left[at:])] if at < len(left) else parts


def taken(at: datetime) -> Any:
    """A time as the database takes it."""
    return connection.ops.adapt_datetimefield_value(at)


def _text(value: str) -> str:
    if "\\" in value or "\n" in value or "\t" in value or "\r" in value:
        return value.translate(_ESCAPES)
    return value


# How each type stands in COPY's text form. By type and not by asking: a pair of an import has ninety values.
_COPIED: dict[type, Callable[[Any], str]] = {
    int: str, float: repr, str: _text, datetime: str, bool: lambda value: "t" if value else "f", type(None): lambda _: "\\N",
    Jsonb: lambda value: _text(json.dumps(value.obj)),
}  # fmt: skip


def _copied(value: Any) -> str:
    return _COPIED.get(type(value), lambda other: _text(str(other)))(value)


def _default(field: Any) -> Any:
    if getattr(field, "auto_now_add", False) or getattr(field, "auto_now", False):
        return timezone.now()
    if field.unique or not (field.has_default() or field.null or field.empty_strings_allowed):
        raise TypeError(f"{field.model.__name__}.{field.attname} needs a value in every row.")
    return field.get_default()
