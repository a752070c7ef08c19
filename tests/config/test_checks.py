"""The checks refuse a database that may lose acknowledged judgements."""

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, NotSupportedError
from django.db.backends.postgresql.features import DatabaseFeatures

from config import checks
from config.env import ROOT
from tests.services.servers import Postgres, ServiceFailed
from tests.services.workers import Site


def ids(messages: list[checks.CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def test_a_durable_sqlite_passes():
    assert checks.sqlite_messages("default", "wal", 2) == []


def test_sqlite_without_a_write_ahead_log_is_refused():
    assert ids(checks.sqlite_messages("default", "delete", 2)) == ["whetstone.E002"]


def test_sqlite_that_does_not_sync_each_commit_is_refused():
    assert ids(checks.sqlite_messages("default", "wal", 1)) == ["whetstone.E003"]


@pytest.mark.parametrize("name", checks.POSTGRES_MUST_BE_ON)
def test_postgres_is_refused_when_a_promise_is_switched_off(name):
    state = {**dict.fromkeys(checks.POSTGRES_MUST_BE_ON, "on"), name: "off"}
    messages = checks.postgres_messages("default", state)
    assert ids(messages) == ["whetstone.E004"]
    assert name in messages[0].msg


@pytest.mark.parametrize("value", ["on", "local", "remote_write", "remote_apply"])
def test_postgres_may_wait_for_replicas_or_not(value):
    state = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": value}
    assert checks.postgres_messages("default", state) == []


@pytest.mark.sqlite
@pytest.mark.django_db
def test_the_apps_own_sqlite_is_durable():
    assert run_checks(tags=["database"], databases=["default"]) == []


@pytest.mark.postgres
@pytest.mark.django_db
def test_a_postgres_as_it_is_installed_is_durable():
    assert run_checks(tags=["database"], databases=["default"]) == []


@pytest.mark.postgres
def test_a_postgres_that_skips_fsync_is_refused_at_the_start(tmp_path):
    server = Postgres()
    try:
        server.create()
        server.start(fsync="off")
        with Site(tmp_path, WHETSTONE_DATABASE_URL=server.url) as site:
            with pytest.raises(ServiceFailed, match=r"may lose judgements in a crash: fsync is off"):
                site.migrate()
            with pytest.raises(ServiceFailed, match=r"may lose judgements in a crash: fsync is off"):
                site.start_web()
    finally:
        server.remove()


@pytest.mark.sqlite
def test_a_database_that_does_not_answer_is_a_warning_for_the_web_server(monkeypatch, caplog):
    def fail(*arguments: object, **named: object) -> None:
        raise DatabaseError("connection refused")

    monkeypatch.setattr(checks, "_sqlite_state", fail)
    checks.refuse_forgetful_databases()
    assert "does not answer: connection refused" in caplog.text


@pytest.mark.sqlite
def test_the_web_server_does_not_start_on_a_database_that_is_too_old(monkeypatch):
    def refuse(*arguments: object) -> None:
        raise NotSupportedError("PostgreSQL 14 or later is required (found 13.4).")

    monkeypatch.setattr(checks, "_sqlite_state", refuse)
    with pytest.raises(ImproperlyConfigured, match=r"'default' is too old\. PostgreSQL 14 or later is required"):
        checks.refuse_forgetful_databases()


def test_the_page_names_the_oldest_postgres_that_django_takes():
    oldest, *_ = DatabaseFeatures.minimum_database_version or (0,)
    assert oldest >= 14, "the triggers of training.sealed are written for it"
    assert f"PostgreSQL {oldest} or newer" in (ROOT / "docs" / "how-to" / "run-on-a-server.md").read_text()


@pytest.mark.sqlite
def test_the_web_server_does_not_start_on_a_forgetful_database(monkeypatch):
    monkeypatch.setattr(checks, "_sqlite_state", lambda alias: ("wal", 1))
    with pytest.raises(ImproperlyConfigured, match="may lose judgements in a power cut"):
        checks.refuse_forgetful_databases()


def test_a_slip_in_a_settings_name_is_pointed_out():
    messages = checks.name_messages(["WHETSTONE_DATABSE_URL"])
    assert ids(messages) == ["whetstone.W001"]
    assert messages[0].hint == "Did you mean WHETSTONE_DATABASE_URL?"
