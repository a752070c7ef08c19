"""The suite's own servers start, crash and end as tests need them to."""

import os
from pathlib import Path

import psycopg
import pytest

from tests.services.servers import Postgres, Redis


@pytest.mark.postgres
def test_postgres_keeps_what_was_committed_through_a_crash():
    server = Postgres()
    try:
        server.create()
        server.start()
        with psycopg.connect(server.url) as link:
            link.execute("CREATE TABLE judgement (id int)")
            link.execute("INSERT INTO judgement VALUES (1)")
        server.crash()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url, connect_timeout=2)
        server.start()
        with psycopg.connect(server.url) as link:
            row = link.execute("SELECT count(*) FROM judgement").fetchone()
        assert row == (1,)
    finally:
        server.remove()
    assert not server.folder.exists()
    assert programs_with(str(server.folder)) == []


@pytest.mark.redis
def test_redis_forgets_everything_in_a_crash():
    import redis as client

    server = Redis()
    try:
        server.start()
        client.Redis.from_url(server.url).set("job", 1)
        server.crash()
        server.start()
        assert client.Redis.from_url(server.url).get("job") is None
    finally:
        server.remove()
    assert programs_with(f"127.0.0.1:{server.port}") + programs_with(str(server.folder)) == []


def programs_with(mark: str) -> list[str]:
    """Command lines of running processes that hold the mark."""
    lines = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if mark in line:
                lines.append(line)
    return lines
