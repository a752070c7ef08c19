"""Many rows of one model at once, past the ORM: COPY on PostgreSQL, one prepared INSERT on SQLite. Every constraint holds.

Django's own ``bulk_create`` spends more time on its objects than either database on the rows. Values are given as the
database takes them: JSON as text, ids of foreign keys, aware times.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import connection, models
from django.utils import timezone

from core.ids import KEY_ALPHABET, KEY_LENGTH

_LETTERS = bytes(ord(KEY_ALPHABET[byte & 31]) for byte in range(256))


def keys_from(random_bytes: bytes) -> list[str]:
    """One key of ``core.ids.new_key``'s form for every twelve bytes."""
    letters = random_bytes.translate(_LETTERS).decode()
    return [letters[start : start + KEY_LENGTH] for start in range(0, len(letters), KEY_LENGTH)]


def new_ids(model: type[models.Model], n: int) -> list[int]:
    """Ids for ``n`` rows to come. Only within a transaction that has written: on SQLite it must hold the lock on writing."""
    if not n:
        return []
    table, column = model._meta.db_table, model._meta.pk.column
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)", [f'"{table}"', column, n]
            )
            return [row[0] for row in cursor.fetchall()]
        cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
        found = cursor.fetchone()
    last = found[0] if found else 0
    return list(range(last + 1, last + 1 + n))


@contextmanager
def room_to_write() -> Iterator[None]:
    """Let SQLite keep more pages at hand and copy its log back less often, while much is written; others as they are."""
    if connection.vendor != "sqlite":
        yield
        return
    wanted = {"cache_size": -64_000, "wal_autocheckpoint": 8_000}
    with connection.cursor() as cursor:
        before = {name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted}
        for name, value in wanted.items():
            cursor.execute(f"PRAGMA {name}={value}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for name, value in before.items():
                cursor.execute(f"PRAGMA {name}={value}")


class Rows:
    """Insert rows of one model.

    columns    names of the fields (``task_id`` for a foreign key) whose values each row brings, in this order
    constants  what all rows share; every other field takes its default, and a field without one must be named
    """

    def __init__(self, model: type[models.Model], *columns: str, **constants: Any) -> None:
        self.model = model
        by_name = {field.attname: field for field in model._meta.concrete_fields if not field.generated}
        unknown = (set(columns) | set(constants)) - set(by_name)
        if unknown:
            raise TypeError(f"{model.__name__} has no column {sorted(unknown)}.")
        shared = {name: field for name, field in by_name.items() if name not in columns and not field.primary_key}
        self.tail = tuple(
            self._prepared(field, constants[name] if name in constants else _default(field))
            for name, field in shared.items()
        )
        fields = [by_name[name] for name in columns] + list(shared.values())
        quote = connection.ops.quote_name
        self.table = quote(model._meta.db_table)
        self.names = ", ".join(quote(str(field.column)) for field in fields)
        self.marks = ", ".join(["%s"] * len(fields))
        self.times = [place for place, name in enumerate(columns) if isinstance(by_name[name], models.DateTimeField)]

    @staticmethod
    def _prepared(field: Any, value: Any) -> Any:
        return field.get_db_prep_save(value, connection)

    def insert(self, rows: Iterable[Sequence[Any]]) -> None:
        tail = self.tail
        if connection.vendor == "postgresql":
            with (
                connection.wrap_database_errors,
                connection.cursor() as cursor,
                cursor.copy(f"COPY {self.table} ({self.names}) FROM STDIN") as copy,
            ):
                write: Callable[[Sequence[Any]], None] = copy.write_row
                for row in rows:
                    write((*row, *tail))
            return
        adapted: dict[datetime, Any] = {}
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {self.table} ({self.names}) VALUES ({self.marks})",
                [(*_adapted(row, self.times, adapted), *tail) for row in rows]
                if self.times
                else [(*row, *tail) for row in rows],
            )


def _adapted(row: Sequence[Any], times: Sequence[int], adapted: dict[datetime, Any]) -> list[Any]:
    """The row with its times as SQLite keeps them; most rows of an import share a few."""
    values = list(row)
    for place in times:
        time = values[place]
        if time is not None:
            if time not in adapted:
                adapted[time] = connection.ops.adapt_datetimefield_value(time)
            values[place] = adapted[time]
    return values


def _default(field: Any) -> Any:
    if getattr(field, "auto_now_add", False) or getattr(field, "auto_now", False):
        return timezone.now()
    if field.unique or not (field.has_default() or field.null or field.empty_strings_allowed):
        raise TypeError(f"{field.model.__name__}.{field.attname} needs a value in every row.")
    return field.get_default()
