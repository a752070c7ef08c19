"""T118, T120, T121, T135: thirty-two people at once in processes that are killed with SIGKILL, on PostgreSQL.

A large run: WHETSTONE_TEST_CROWD=3500 (tasks, three judgements each), WHETSTONE_TEST_SECONDS stops it where it stands. What has
to hold, holds at any moment; the figures of one such run are in docs/log.md.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from annotation.models import Annotator, Assignment, ComparisonTask, Judgement
from config.env import ROOT
from tests.annotation.builders import grown_campaign
from tests.annotation.checks import violations
from tests.services.workers import process_environment

N_PEOPLE, OVERLAP = 32, 3


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(3600)
@pytest.mark.django_db(transaction=True)
def test_t135_people_in_processes_that_are_killed_lose_nothing_and_judge_nothing_twice(tmp_path: Path) -> None:
    n_tasks = int(os.environ.get("WHETSTONE_TEST_CROWD", "100"))
    n_seconds = os.environ.get("WHETSTONE_TEST_SECONDS", "3000")
    campaign = grown_campaign(n_tasks, overlap=OVERLAP)
    Annotator.objects.bulk_create(
        Annotator(project=campaign.project, pseudonym=f"person {number}") for number in range(N_PEOPLE)
    )
    place = connection.settings_dict
    url = f"postgres://{place['USER']}@{place['HOST']}:{place['PORT']}/{place['NAME']}"
    acknowledged = tmp_path / "acknowledged.txt"
    command = ["--campaign", str(campaign.pk), "--acknowledged", str(acknowledged), "--seconds", n_seconds]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.annotation.crowd", *command],
        cwd=ROOT,
        env=process_environment(tmp_path, WHETSTONE_DATABASE_URL=url, DJANGO_SETTINGS_MODULE="config.settings"),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr[-5000:]
    found = re.search(r"kills (\d+) unfinished (\d+)", ended.stdout)
    assert found, ended.stdout + ended.stderr[-5000:]
    said = dict(line.split() for line in acknowledged.read_text().splitlines())
    print(f"{len(said):,} judgements acknowledged, {found[1]} processes killed")
    stored = dict(Judgement.objects.values_list("key", "comment"))
    assert {key: comment for key, comment in said.items() if stored.get(key) != comment} == {}  # I1: none is lost
    assert violations(campaign) == []  # I2, I3 and every counter
    assert int(found[1]) >= len(said) // 80 > 0
    if found[2] == "0":
        ends = ComparisonTask.objects.values_list("n_submitted", "n_taken", "status")
        assert set(ends) == {(OVERLAP, OVERLAP, "complete")}
        assert Assignment.objects.filter(status="submitted").count() == n_tasks * OVERLAP
