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
from dataclasses import field as dataclass_field
from datetime import date, datetime, timedelta
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models import QuerySet, Value
from django.db.models.base import ModelState
from django.db.models.sql.subqueries import UpdateQuery
from django.utils import timezone

M = TypeVar("M", bound=models.Model)

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


_AS_THEY_ARE = (int, str, float)


class _Never:
    """The type of no value."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where a value goes among the parameters; one of type ``kind`` goes there as it is."""

    name: str
    field: models.Field[Any, Any]
    kind: type


class _Given(Value):
    """A value that is not known yet."""

    def __init__(self, name: str, kind: type) -> None:
        super().__init__(None, output_field=_FIELDS[kind])
        self.slot = _Slot(name, _FIELDS[kind], kind if kind in _AS_THEY_ARE else _Never)

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self.slot]


def given(name: str, kind: type = int) -> Any:
    """The place of a value in a prepared query. Lists have no place: their length is part of the SQL."""
    return _Given(name, kind)


class _Statement:
    """A text and what goes into it."""

    def __init__(self, sql: str, parameters: Sequence[Any] = (), *, has_rows: bool) -> None:
        self.sql, self.encoded, self.parameters, self.has_rows = sql, sql.encode(), parameters, has_rows

    def filled(self, db: Any, values: dict[str, Any]) -> list[Any]:
        return [_written(db, part, values[part.name]) if type(part) is _Slot else part for part in self.parameters]

    def run(self, db: Any, parameters: Sequence[Any]) -> tuple[list[Any], int]:
        """The rows, if it answers with rows, and how many it found or changed."""
        if db.vendor != "postgresql":
            with db.cursor() as cursor:
                cursor.execute(self.sql, parameters)
                return cursor.fetchall() if self.has_rows else [], cursor.rowcount
        kept = db.kept_cursor(self.encoded)
        if db.queries_logged or db.execute_wrappers:  # somebody looks on: their way round
            db._prepare_cursor(kept).execute(self.sql, parameters)
        else:
            db.validate_no_broken_transaction()
            with db.wrap_database_errors:
                kept.execute(self.encoded, parameters)
        return kept.fetchall() if self.has_rows else [], kept.rowcount


def _written(db: Any, slot: _Slot, value: Any) -> Any:
    return value if type(value) is slot.kind else slot.field.get_db_prep_value(value, db)


def _with_constants(db: Any, sql: str, parameters: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """What is always the same goes into the text on PostgreSQL.

    A kept plan knows nothing of its parameters: with a status among them it can use no index of rows of that status, and
    takes half of all rows to be in it.
    """
    pieces = sql.split("%s")
    if db.vendor != "postgresql" or "%%" in sql or len(pieces) != len(parameters) + 1:
        return sql, parameters
    text, left = [pieces[0]], []
    for part, piece in zip(parameters, pieces[1:], strict=True):
        if isinstance(part, str) and not set(str(part)) & {"\\", "%"}:  # a choice of a model's is a str, too
            text.append("'" + str(part).replace("'", "''") + "'")
        elif isinstance(part, int) and not isinstance(part, bool):
            text.append(str(int(part)))
        else:
            text.append("%s")
            left.append(part)
        text.append(piece)
    return "".join(text), left


def _database() -> Any:
    # Once for each statement: the proxy that Django offers looks it up again for every attribute.
    return connections[DEFAULT_DB_ALIAS]


def _column(field: Any) -> str:
    return str(field.column)


class _Prepared:
    """Compiled on first use, once for each kind of database."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def _compiled(self, db: Any) -> Any:
        found = self._known.get(db.vendor)
        if found is None:  # two threads may both do it: they find the same
            found = self._known[db.vendor] = self._compile(db)
        return found

    def _compile(self, db: Any) -> Any:
        raise NotImplementedError


class _Shape:
    """Where in a row an instance's columns are, and those of what was selected with it."""

    def __init__(self, info: Any, select: Any) -> None:
        self.model: type[models.Model] = info["model"]
        self.first, self.last = info["select_fields"][0], info["select_fields"][-1] + 1
        self.names = [column[0].target.attname for column in select[self.first : self.last]]
        self.key = self.first + self.names.index(self.model._meta.pk.attname)
        self.related = [
            (_Shape(each, select), each["local_setter"], each["remote_setter"])
            for each in info.get("related_klass_infos", ())
        ]

    def made_of(self, row: Any) -> Any:
        """The instance, or None where an outer join found nothing. As for an INSERT, no signal is sent."""
        if row[self.key] is None:
            return None
        instance = self.model.__new__(self.model)
        instance._state = state = ModelState()
        state.adding, state.db = False, DEFAULT_DB_ALIAS
        instance.__dict__.update(zip(self.names, row[self.first : self.last], strict=True))
        for shape, set_here, set_there in self.related:
            other = shape.made_of(row)
            set_here(instance, other)
            if other is not None:
                set_there(other, instance)
        return instance


class Query(_Prepared, Generic[M]):
    """Rows as model instances, or as tuples where the queryset asks for ``values_list``."""

    def __init__(self, build: Callable[[], QuerySet[M, Any]]) -> None:
        super().__init__()
        self.build = build

    def _compile(self, db: Any) -> tuple[_Statement, Callable[[Any], Any]]:
        rows = self.build()
        compiler = rows.query.get_compiler(using=db.alias)
        sql, parameters = compiler.as_sql()
        statement = _Statement(*_with_constants(db, sql, parameters), has_rows=True)
        fields = [column[0] for column in compiler.select[: compiler.col_count]]
        converters = compiler.get_converters(fields)
        if rows._fields is not None:  # type: ignore[attr-defined]  # values_list
            return statement, lambda found: list(compiler.apply_converters(found, converters)) if converters else found
        shape = _Shape(compiler.klass_info, compiler.select)
        annotations = dict(compiler.annotation_col_map or {})

        def instances(found: Any) -> list[Any]:
            made = []
            for row in compiler.apply_converters(found, converters) if converters else found:
                instance = shape.made_of(row)
                for name, place in annotations.items():
                    setattr(instance, name, row[place])
                made.append(instance)
            return made

        return statement, instances

    def all(self, **values: Any) -> list[Any]:
        db = _database()
        statement, read = self._compiled(db)
        found, _ = statement.run(db, statement.filled(db, values))
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

    def _compile(self, db: Any) -> _Statement:
        query = self.build().query.chain(UpdateQuery)
        query.add_update_values(self.changes)  # type: ignore[attr-defined]
        query.annotations = {}
        sql, parameters = query.get_compiler(using=db.alias).as_sql()
        return _Statement(*_with_constants(db, sql, parameters), has_rows=False)

    def run(self, **values: Any) -> int:
        """How many rows were changed."""
        db = _database()
        statement: _Statement = self._compiled(db)
        return statement.run(db, statement.filled(db, values))[1]


@dataclass(frozen=True, slots=True)
class _Filled:
    """A column that an INSERT fills with a value; one of type ``kind`` goes there as it is."""

    field: models.Field[Any, Any]
    kind: type
    is_stamped: bool

    def of(self, db: Any, values: dict[str, Any]) -> Any:
        field = self.field
        if field.attname in values:
            value = values[field.attname]
        elif field.name in values:
            value = values[field.name]
        else:
            value = timezone.now() if self.is_stamped else field.get_default()
        return value if type(value) is self.kind else field.get_db_prep_save(value, db)


def _filled(field: Any) -> _Filled:
    target = field.target_field if field.is_relation else field
    is_text = type(target) in (models.CharField, models.TextField)
    kind = int if isinstance(target, models.IntegerField) else str if is_text else _Never
    return _Filled(field, kind, getattr(field, "auto_now_add", False) or getattr(field, "auto_now", False))


@dataclass
class _Rows:
    """The parts of an INSERT; its text depends on how many rows there are."""

    head: str
    marks: str
    tail: str
    columns: list[_Filled]
    computed: _Statement
    by_number: dict[int, _Statement] = dataclass_field(default_factory=dict)

    def of(self, n_rows: int) -> _Statement:
        found = self.by_number.get(n_rows)
        if found is None:
            sql = f"{self.head}{', '.join([self.marks] * n_rows)}{self.tail}"
            found = self.by_number[n_rows] = _Statement(sql, has_rows=True)
        return found


class Insert(_Prepared):
    """An INSERT of rows by their columns; what is not given has its default. No signal is sent and no instance made.

    expressions  columns that the database fills in itself, such as ``created_at=Now()``; may contain ``given``
    """

    def __init__(self, model: type[models.Model], **expressions: Any) -> None:
        super().__init__()
        self.model, self.expressions = model, expressions

    def _compile(self, db: Any) -> _Rows:
        quote = db.ops.quote_name
        fields = [field for field in self.model._meta.concrete_fields if not field.primary_key and not field.generated]
        plain = [field for field in fields if field.name not in self.expressions]
        compiler = models.sql.InsertQuery(self.model).get_compiler(using=db.alias)
        columns, marks, parameters = [quote(_column(field)) for field in plain], ["%s"] * len(plain), []
        for name, expression in self.expressions.items():
            field = self.model._meta.get_field(name)
            resolved = expression.resolve_expression(compiler.query, allow_joins=False, for_save=True)
            sql, more = compiler.compile(resolved)
            columns.append(quote(_column(field)))
            marks.append(sql)
            parameters += more
        return _Rows(
            head=f"INSERT INTO {quote(self.model._meta.db_table)} ({', '.join(columns)}) VALUES ",
            marks=f"({', '.join(marks)})",
            tail=f" RETURNING {quote(_column(self.model._meta.pk))}",
            columns=[_filled(field) for field in plain],
            computed=_Statement("", parameters, has_rows=False),
        )

    def one(self, **values: Any) -> int:
        """The new row's id."""
        return self.many([values])[0]

    def save(self, instance: models.Model) -> None:
        """Insert a new instance as it is, and give it its id."""
        db = _database()
        values = {}
        for column in self._compiled(db).columns:
            name = column.field.attname
            if column.is_stamped:
                setattr(instance, name, timezone.now())
            values[name] = getattr(instance, name)
        instance.pk = self.one(**values)
        instance._state.adding, instance._state.db = False, db.alias

    def many(self, rows: Iterable[dict[str, Any]]) -> list[int]:
        """The ids of the new rows, in their order. A column is named by its ``attname`` (``task_id``) or its field (``task``)."""
        db = _database()
        parts: _Rows = self._compiled(db)
        parameters: list[Any] = []
        n_rows = 0
        for values in rows:
            n_rows += 1
            parameters += [column.of(db, values) for column in parts.columns]
            parameters += parts.computed.filled(db, values)
        if not n_rows:
            return []
        found, _ = parts.of(n_rows).run(db, parameters)
        return [row[0] for row in found]
