"""Imports of many rows whose process is killed while it stores them (T080): a real process, SIGKILL, another one.

At any moment the database holds whole chunks, as many as the job's own counts say, and shows none of them. The next process goes on
from there, and what it reports at the end is what is stored.
"""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from config.env import ROOT
from tests.services.servers import Postgres
from tests.services.workers import Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

AGAIN = 500  # every so many rows say what the row before says
GO_ON = """
import json
from core.jobs import reap
from {module} import run_import
from {models} import {model}
{model}.objects.update(leased_until="2020-01-01T00:00Z")
reap()
run_import({model}.objects.get().pk)
job = {model}.objects.get()
print("TOLD", json.dumps({told}))
"""


@dataclass(frozen=True)
class Import:
    """One kind of import: how it is run, what it stores, what its row counts."""

    command: str
    module: str
    models: str
    model: str
    told: str
    job: str
    n_stored: str
    n_counted: str
    n_visible: str

    def row(self, n: int) -> dict[str, Any]:
        n -= n % AGAIN == 1
        prompt = {"prompt": f"Question {n}?"}
        return (
            prompt
            if self.model == "PromptImport"
            else {**prompt, "chosen": f"yes {n}", "rejected": f"no {n}", "annotator": "p1"}
        )


PROMPTS = Import(
    command="import_prompts", module="generation.prompt_importing", models="generation.models", model="PromptImport",
    told="[job.status, job.n_rows, job.n_added, job.n_duplicates]", job="generation_promptimport",
    n_stored="select count(*) from generation_prompt", n_counted="select n_added from generation_promptimport",
    n_visible="select sum(n_prompts) from generation_promptset",
)  # fmt: skip
VOTES = Import(
    command="import_votes", module="annotation.votes.running", models="annotation.models", model="VoteImport",
    told="[job.status, job.n_rows, job.counts['votes'], job.n_rows - job.counts['votes']]", job="annotation_voteimport",
    n_stored="select count(*) from annotation_judgement",
    n_counted="select coalesce(counts ->> 'votes', '0') from annotation_voteimport",
    n_visible="select count(*) from annotation_campaign where stage not in ('draft', 'building')",
)  # fmt: skip


Ask = Callable[[str], Any]


def number(answer: int | str) -> int | str:
    return int(answer) if str(answer).isdecimal() else answer


def in_sqlite(home: Path) -> tuple[Site, Ask]:
    def ask(sql: str) -> Any:
        with sqlite3.connect(home / "db.sqlite3", timeout=20) as database:
            return number(database.execute(sql).fetchone()[0])

    return Site(home), ask


def in_postgres(home: Path, server: Postgres) -> tuple[Site, Ask]:
    name = f"killed_{home.parent.name.replace('-', '_')}"
    with psycopg.connect(server.url, autocommit=True) as database:
        database.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
    url = server.url.removesuffix("/postgres") + f"/{name}"

    def ask(sql: str) -> Any:
        with psycopg.connect(url) as database:
            row = database.execute(sql.encode()).fetchone()
            assert row is not None
            return number(row[0])

    return Site(home, WHETSTONE_DATABASE_URL=url), ask


@pytest.mark.parametrize("kind", [PROMPTS, VOTES], ids=["prompts", "votes"])
@pytest.mark.parametrize(("database", "n_rows"), [("sqlite", 100_000), ("postgres", 30_000)])
def test_t080_an_import_whose_process_is_killed_stores_whole_chunks_and_goes_on(
    kind: Import, database: str, n_rows: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rows, home = tmp_path / "rows.jsonl", tmp_path / "home"
    with rows.open("w") as file:
        file.writelines(json.dumps(kind.row(n)) + "\n" for n in range(n_rows))
    site, ask = in_sqlite(home) if database == "sqlite" else in_postgres(home, request.getfixturevalue("postgres"))
    site.migrate()
    site.manage(
        "shell", "-c", "from accounts.models import Project; Project.objects.create(slug='house', name='House')"
    )
    command = [sys.executable, "manage.py", kind.command, str(rows), "--project", "house"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=site.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while ask(kind.n_stored) < n_rows // 4:
            assert process.poll() is None, "the import ended before it was killed"
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    n_there = ask(kind.n_stored)
    assert n_rows // 4 <= n_there < n_rows
    assert n_there == ask(kind.n_counted) and not ask(kind.n_visible)
    assert ask(f"select status from {kind.job}") == "running"

    code = GO_ON.format(module=kind.module, models=kind.models, model=kind.model, told=kind.told)
    told = json.loads(site.manage("shell", "--no-imports", "-c", code, seconds=550).split("TOLD ")[1])
    n_fresh = n_rows - n_rows // AGAIN
    assert told == ["succeeded", n_rows, n_fresh, n_rows // AGAIN]
    assert ask(kind.n_stored) == ask(kind.n_counted) == n_fresh and ask(kind.n_visible)
    assert ask("select count(distinct number) from generation_prompt") == n_fresh
    assert ask("select max(number) from generation_prompt") == n_fresh
