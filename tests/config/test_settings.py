"""What Celery and Django are told: promises that a changed line would break in silence."""

import pytest
from django.conf import settings
from django.db import connection

from config.celery import app
from config.env import load_env
from config.settings import database
from core.jobs import job_models
from loop.processes import Processes, web_workers


def test_celery_takes_json_alone_and_keeps_no_results():
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"
    assert app.conf.result_backend is None
    assert app.conf.task_ignore_result


def test_celery_acknowledges_early_and_takes_one_task_at_a_time():
    assert not app.conf.task_acks_late
    assert app.conf.worker_prefetch_multiplier == 1
    assert not app.conf.worker_enable_remote_control


def test_ticks_that_come_late_are_dropped():
    tick = app.conf.beat_schedule["tick"]
    assert tick["task"] == "loop.tasks.tick"
    assert tick["options"]["expires"] <= 60


def test_jobs_that_hold_every_thread_do_not_hold_up_the_tick():
    commands = Processes(port=0, say=print).commands()
    queue_of = {name: command[command.index("-Q") + 1] for name, command in commands.items() if "-Q" in command}
    ticks = app.conf.beat_schedule["tick"]["options"]["queue"]
    assert [name for name, queue in queue_of.items() if queue == ticks] == ["beat"]
    jobs = {model.job_queue for model in job_models()}
    assert jobs <= set(queue_of.values()) and ticks not in jobs


def test_the_web_server_has_one_process_for_sqlite_and_a_few_for_postgres():
    assert web_workers("sqlite") == 1
    assert 1 <= web_workers("postgresql") <= 4
    command = Processes(port=0, say=print).commands()["web"]
    assert command[command.index("--workers") + 1] == str(web_workers(connection.vendor))


def test_the_task_that_beat_sends_is_there():
    app.loader.import_default_modules()
    assert "loop.tasks.tick" in app.tasks


def test_a_postgres_address_is_understood():
    env = load_env(database_url="postgresql://whet:pa%40ss@db.example:5433/stone")
    described = database(env)
    assert described["ENGINE"] == "core.postgres"
    assert (described["HOST"], described["PORT"], described["NAME"]) == ("db.example", 5433, "stone")
    assert (described["USER"], described["PASSWORD"]) == ("whet", "pa@ss")
    assert described["CONN_HEALTH_CHECKS"]


def test_sqlite_is_set_up_to_keep_what_it_acknowledged():
    options = database(load_env())["OPTIONS"]
    assert options["transaction_mode"] == "IMMEDIATE"
    assert "synchronous=FULL" in options["init_command"]
    assert options["timeout"] >= 20


@pytest.mark.sqlite
@pytest.mark.django_db
def test_a_sqlite_connection_keeps_its_foreign_keys():
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA foreign_keys")
        assert cursor.fetchone() == (1,)


def test_cookies_are_out_of_reach_of_scripts_and_other_sites():
    assert settings.SESSION_COOKIE_HTTPONLY and settings.CSRF_COOKIE_HTTPONLY
    assert settings.SESSION_COOKIE_SAMESITE == settings.CSRF_COOKIE_SAMESITE == "Lax"


def test_https_switches_on_what_belongs_to_it(tmp_path):
    import json
    import subprocess
    import sys

    from config.env import ROOT
    from tests.services.workers import process_environment

    names = ["SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS"]
    code = f"import json; from config import settings as s; print(json.dumps([bool(getattr(s, n)) for n in {names}]))"
    for switch, expected in (("true", [True] * 4), ("false", [False] * 4)):
        environment = process_environment(tmp_path, WHETSTONE_HTTPS=switch)
        shown = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=environment, text=True)
        assert json.loads(shown) == expected
