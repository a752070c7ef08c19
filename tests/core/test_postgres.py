"""The connection to PostgreSQL: it notices a server that has said goodbye, and prepares a statement once."""

from typing import Any

import pytest
from django.db import connection, connections

from core.prepared import Query, given
from tests.annotation.builders import make_project, make_user

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


def statements_sent() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [row[0] for row in cursor.fetchall()]


def test_a_quiet_connection_is_usable_without_a_question():
    connection.ensure_connection()
    assert connection.is_usable()
    connection.close()
    assert not connection.is_usable()


def test_a_connection_that_the_server_has_ended_is_made_anew_for_the_next_request():
    project = make_project()
    named = Query(lambda: type(project).objects.filter(slug=given("slug", str)))
    assert named.first(slug=project.slug) == project
    other = connections.create_connection("default")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            assert cursor.fetchone() == (True,)
    finally:
        other.close()
    assert not connection.is_usable()
    mine: Any = connections["default"]
    mine.health_check_enabled, mine.health_check_done = True, False  # as at the start of a request
    assert named.first(slug=project.slug) == project
    assert connection.is_usable()


def test_one_statement_is_prepared_once_however_often_and_for_whom_it_runs():
    ana, ben = make_user("Ana"), make_user("Ben")
    user = Query(lambda: type(ana).objects.filter(username=given("username", str)))
    for _ in range(4):
        assert [user.first(username=each.username) for each in (ana, ben)] == [ana, ben]
    assert len([sql for sql in statements_sent() if '"username" = $1' in sql]) == 1


def test_no_index_is_kept_for_like():
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%%pattern_ops%%'")
        assert not cursor.fetchall()


def test_no_statement_is_compiled():
    with connection.cursor() as cursor:
        cursor.execute("SHOW jit")
        assert cursor.fetchone() == ("off",)
