"""Queries that are compiled once and then only filled in: for the few requests that people wait for all day.

The ORM builds the SQL of a query anew each time, which costs more than the database takes to answer. Here it does so on first
use; later calls bind values to the same text, which PostgreSQL then keeps as a prepared statement. What is asked is still
written with the ORM, so both databases, joins and column names are its business.

    _turn = Query(lambda: Assignment.objects.select_related("task").filter(annotator=given("annotator"), key=given("key", str)))
    _turn.first(annotator=me.pk, key=key)

    _took = Update(lambda: ComparisonTask.objects.filter(pk=given("task")), n_taken=F("n_taken") + 1)
    _took.run(task=task.pk)

    _judgement = Insert(Judgement, created_at=Now())
    pk = _judgement.one(assignment_id=turn.pk, verdict="ranked")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Generic, TypeVar

from django.db import connection, models
from django.db.models import QuerySet, Value
from django.db.models import query as orm_query
from django.db.models.sql.subqueries import UpdateQuery
from django.utils import timezone

M = TypeVar("M", bound=models.Model)

# The stubs describe another version of it.
_populators: Any = orm_query.get_related_populators

# Only what a lookup needs to know of a value: how it is written for this database.
_FIELDS: dict[type, models.Field[Any, Any]] = {
    int: models.BigIntegerField(),
    str: models.TextField(),
    bool: models.BooleanField(),
    float: models.FloatField(),
    datetime: models.DateTimeField(),
    date: models.DateField(),
    timedelta: models.DurationField(),
    dict: models.JSONField(),
}


@dataclass(frozen=True)
class _Slot:
    """Where a value goes among the parameters."""

    name: str
    field: models.Field[Any, Any]


class _Given(Value):
    """A value that is not known yet."""

    def __init__(self, name: str, field: models.Field[Any, Any]) -> None:
        super().__init__(None, output_field=field)
        self.slot = _Slot(name, field)

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self.slot]


def given(name: str, kind: type = int) -> Any:
    """The place of a value in a prepared query. Lists have no place: their length is part of the SQL."""
    return _Given(name, _FIELDS[kind])


@dataclass(frozen=True)
class _Statement:
    sql: str
    parameters: Sequence[Any]

    def filled(self, values: dict[str, Any]) -> list[Any]:
        return [
            part.field.get_db_prep_value(values[part.name], connection) if isinstance(part, _Slot) else part
            for part in self.parameters
        ]


def _cursor() -> Any:
    """A cursor that binds at the server where there is one: the text stays the same, so its plan can be kept."""
    if connection.vendor != "postgresql":
        return connection.cursor()
    from django.db.backends.postgresql.base import ServerBindingCursor  # needs psycopg

    connection.ensure_connection()
    with connection.wrap_database_errors:
        made: Any = ServerBindingCursor(connection.connection)  # type: ignore[call-arg]
        return connection._prepare_cursor(made)  # type: ignore[attr-defined]


def _column(field: Any) -> str:
    return str(field.column)


def _value_of(field: models.Field[Any, Any], values: dict[str, Any]) -> Any:
    if field.attname in values:
        return values[field.attname]
    if field.name in values:
        return values[field.name]
    is_stamped = getattr(field, "auto_now_add", False) or getattr(field, "auto_now", False)
    return timezone.now() if is_stamped else field.get_default()


class _Prepared:
    """Compiled on first use, once for each kind of database."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def _compiled(self) -> Any:
        found = self._known.get(connection.vendor)
        if found is None:  # two threads may both do it: they find the same
            found = self._known[connection.vendor] = self._compile()
        return found

    def _compile(self) -> Any:
        raise NotImplementedError


class Query(_Prepared, Generic[M]):
    """Rows as model instances, or as tuples where the queryset asks for ``values_list``."""

    def __init__(self, build: Callable[[], QuerySet[M, Any]]) -> None:
        super().__init__()
        self.build = build

    def _compile(self) -> tuple[_Statement, Callable[[Any], Any]]:
        rows = self.build()
        compiler = rows.query.get_compiler(using=connection.alias)
        sql, parameters = compiler.as_sql()
        statement = _Statement(sql, parameters)
        fields = [column[0] for column in compiler.select[: compiler.col_count]]
        converters = compiler.get_converters(fields)
        klass = compiler.klass_info
        if rows._fields is not None:  # type: ignore[attr-defined]  # values_list
            return statement, lambda found: list(compiler.apply_converters(found, converters)) if converters else found
        first, last = klass["select_fields"][0], klass["select_fields"][-1] + 1
        names = [column[0].target.attname for column in compiler.select[first:last]]
        populators = _populators(klass, compiler.select, connection.alias)
        model, annotations = klass["model"], dict(compiler.annotation_col_map or {})

        def instances(found: Any) -> list[Any]:
            made = []
            for row in compiler.apply_converters(found, converters) if converters else found:
                instance = model.from_db(connection.alias, names, row[first:last])
                for populator in populators:
                    populator.populate(row, instance)
                for name, place in annotations.items():
                    setattr(instance, name, row[place])
                made.append(instance)
            return made

        return statement, instances

    def all(self, **values: Any) -> list[Any]:
        statement, read = self._compiled()
        with _cursor() as cursor:
            cursor.execute(statement.sql, statement.filled(values))
            found = cursor.fetchall()
        rows: list[Any] = read(found) if found else []
        return rows

    def first(self, **values: Any) -> Any:
        """The first row or None. Put ``[:1]`` into the queryset where there may be more."""
        return next(iter(self.all(**values)), None)


class Update(_Prepared):
    """An UPDATE; ``changes`` are values, expressions or ``given``."""

    def __init__(self, build: Callable[[], QuerySet[Any, Any]], **changes: Any) -> None:
        super().__init__()
        self.build, self.changes = build, changes

    def _compile(self) -> _Statement:
        query = self.build().query.chain(UpdateQuery)
        query.add_update_values(self.changes)  # type: ignore[attr-defined]
        query.annotations = {}
        sql, parameters = query.get_compiler(using=connection.alias).as_sql()
        return _Statement(sql, parameters)

    def run(self, **values: Any) -> int:
        """How many rows were changed."""
        statement = self._compiled()
        with _cursor() as cursor:
            cursor.execute(statement.sql, statement.filled(values))
            return int(cursor.rowcount)


class Insert(_Prepared):
    """An INSERT of rows by their columns; what is not given has its default. No signal is sent and no instance made.

    expressions  columns that the database fills in itself, such as ``created_at=Now()``; may contain ``given``
    """

    def __init__(self, model: type[models.Model], **expressions: Any) -> None:
        super().__init__()
        self.model, self.expressions = model, expressions

    def _compile(self) -> tuple[str, str, list[models.Field[Any, Any]], _Statement]:
        quote = connection.ops.quote_name
        fields = [field for field in self.model._meta.concrete_fields if not field.primary_key and not field.generated]
        plain = [field for field in fields if field.name not in self.expressions]
        compiler = models.sql.InsertQuery(self.model).get_compiler(using=connection.alias)
        columns, marks, parameters = [quote(_column(field)) for field in plain], ["%s"] * len(plain), []
        for name, expression in self.expressions.items():
            field = self.model._meta.get_field(name)
            resolved = expression.resolve_expression(compiler.query, allow_joins=False, for_save=True)
            sql, more = compiler.compile(resolved)
            columns.append(quote(_column(field)))
            marks.append(sql)
            parameters += more
        head = f"INSERT INTO {quote(self.model._meta.db_table)} ({', '.join(columns)}) VALUES "
        return head, f"({', '.join(marks)})", plain, _Statement("", parameters)

    def one(self, **values: Any) -> int:
        """The new row's id."""
        return self.many([values])[0]

    def save(self, instance: models.Model) -> None:
        """Insert a new instance as it is, and give it its id."""
        values = {field.attname: getattr(instance, field.attname) for field in self._compiled()[2]}
        for field in self._compiled()[2]:
            if getattr(field, "auto_now_add", False) or getattr(field, "auto_now", False):
                values[field.attname] = timezone.now()
                setattr(instance, field.attname, values[field.attname])
        instance.pk = self.one(**values)
        instance._state.adding, instance._state.db = False, connection.alias

    def many(self, rows: Iterable[dict[str, Any]]) -> list[int]:
        """The ids of the new rows, in their order. A column is named by its ``attname`` (``task_id``) or its field (``task``)."""
        head, marks, plain, rest = self._compiled()
        parameters: list[Any] = []
        n_rows = 0
        for values in rows:
            n_rows += 1
            for field in plain:
                parameters.append(field.get_db_prep_save(_value_of(field, values), connection))
            parameters += rest.filled(values)
        if not n_rows:
            return []
        key = connection.ops.quote_name(_column(self.model._meta.pk))
        with _cursor() as cursor:
            cursor.execute(f"{head}{', '.join([marks] * n_rows)} RETURNING {key}", parameters)
            return [row[0] for row in cursor.fetchall()]
