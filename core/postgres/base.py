"""Django's PostgreSQL backend, with less to pay for a question that is asked again and again. Everything else is Django's."""

import select
from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.postgresql.schema import DatabaseSchemaEditor

# Statements of ``core.prepared`` that one connection keeps, each once for each combination of its parameters' types.
MOST_PREPARED = 1_000


class SchemaEditor(DatabaseSchemaEditor):
    """Makes no second index on texts for LIKE: what is long here is looked up whole, never by its beginning."""

    def _create_like_index_sql(self, model: Any, field: Any) -> None:
        return None


class DatabaseWrapper(base.DatabaseWrapper):
    """One connection of one thread."""

    SchemaEditorClass = SchemaEditor

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        connection.prepared_max = MOST_PREPARED
        connection.kept_cursors = {}
        return connection

    def init_connection_state(self) -> None:
        """No compiling: for a statement that reads a whole campaign it takes five times as long as the reading."""
        super().init_connection_state()
        with self.connection.cursor() as cursor:
            cursor.execute("SET jit = off")
        if not self.get_autocommit():
            self.connection.commit()

    def kept_cursor(self, sql: bytes) -> Any:
        """A bare cursor that only ever runs this text, bound at the server: it knows how to write the parameters by now."""
        self.close_if_health_check_failed()
        self.ensure_connection()
        connection: Any = self.connection
        cursor = connection.kept_cursors.get(sql)
        if cursor is None:
            with self.wrap_database_errors:
                cursor = connection.kept_cursors[sql] = base.ServerBindingCursor(connection)  # type: ignore[call-arg]
        return cursor

    def is_usable(self) -> bool:
        """Whether the server is still there. It is asked only if something has come that nobody asked for, such as its goodbye."""
        connection: Any = self.connection
        if connection is None or connection.closed:
            return False
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLIN)
        return not waiting.poll(0) or super().is_usable()
