"""The app's processes really run: worker, beat and web, on files and on Redis, and leave nothing behind."""

import re
import subprocess
import sys
import time

import httpx
import pytest

from config.env import ROOT
from tests.services.servers import Redis
from tests.services.test_servers import programs_with
from tests.services.workers import Site, process_environment

SEND = "import django; django.setup(); from loop.tasks import tick; tick.delay(); print('sent')"


def wait_for(site: Site, name: str, mark: str, times: int = 1, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while site.log(name).count(mark) < times:
        assert time.monotonic() < end, f"{mark!r} did not appear in {name}'s log:\n{site.log(name)[-3000:]}"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.sqlite
def test_beat_ticks_through_the_embedded_queue(tmp_path):
    with Site(tmp_path / "home") as site:
        site.migrate()
        site.start_worker()
        site.start_beat()
        wait_for(site, "worker", "loop.tasks.tick", times=2)
        wait_for(site, "worker", "succeeded")
    assert programs_with(str(tmp_path)) == []


@pytest.mark.redis
@pytest.mark.sqlite
def test_the_queue_works_on_redis_and_survives_its_crash(tmp_path, redis: Redis):
    with Site(tmp_path / "home", WHETSTONE_BROKER_URL=redis.url) as site:
        site.migrate()
        site.start_worker()
        site.start_beat()
        wait_for(site, "worker", "succeeded")
        redis.crash()
        redis.start()
        before = site.log("worker").count("succeeded")
        wait_for(site, "worker", "succeeded", times=before + 2)


@pytest.mark.redis
def test_sending_while_the_broker_is_down_fails_instead_of_hanging(tmp_path):
    server = Redis()  # never started: nothing listens on its port
    environment = process_environment(
        tmp_path, WHETSTONE_BROKER_URL=server.url, DJANGO_SETTINGS_MODULE="config.settings"
    )
    server.remove()
    ended = subprocess.run(
        [sys.executable, "-c", SEND], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode != 0
    assert "OperationalError" in ended.stderr


@pytest.mark.slow
@pytest.mark.sqlite
def test_the_production_server_answers_with_its_headers_and_its_files(tmp_path):
    with Site(tmp_path / "home") as site:
        site.migrate()
        site.start_web()
        reply = httpx.get(f"{site.url}/sign-in/")
        assert reply.status_code == 200
        policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["X-Frame-Options"] == "DENY"
        assert reply.headers["Permissions-Policy"].startswith("camera=()")
        assert {"private", "no-store"} & set(re.split(r"[, ]+", reply.headers["Cache-Control"]))
        style = httpx.get(f"{site.url}/static/css/tokens.css")
        assert style.status_code == 200
        assert style.headers["Content-Type"].startswith("text/css")
        for outside in ("/static../manage.py", "/static/../manage.py", "/static/%2e%2e/manage.py", "/.env"):
            assert httpx.get(f"{site.url}{outside}").status_code in {400, 404}
        assert httpx.get(f"{site.url}/", headers={"Host": "evil.example"}).status_code == 400
    assert programs_with(str(tmp_path)) == []
