"""A freeze goes on while people judge."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection

from accounts.models import User
from annotation.assign import next_assignment
from core import asking, way
from tests.annotation.builders import make_annotator as make_open_annotator
from tests.annotation.builders import make_campaign as make_open_campaign
from tests.annotation.builders import make_user
from tests.training.judged import (
    freeze,
    judge,
    make_annotator,
    make_answer,
    make_arm,
    make_campaign,
    make_judged,
    make_project,
    make_prompt,
    make_set,
    make_task,
)
from training import selecting
from training.rows import Builder, recorded_members
from training.selecting import Reading, Selection, has_members

pytestmark = pytest.mark.django_db(transaction=True)


def elsewhere(work: Callable[[], object]) -> None:
    """Do it over another connection."""

    def whole() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=whole)
    thread.start()
    thread.join()


def test_its_job_beats_after_somebody_else_has_written(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("training.rows.CHUNK", 1)
    project = make_project()
    arm, campaign, prompts = make_arm(project), make_campaign(project), make_set(project)
    for number in range(5):
        prompt = make_prompt(prompts, f"Question {number}?")
        judge(make_task(campaign, [make_answer(arm, prompt, x) for x in ("yes", "no")]), make_annotator(project), "A")
    snapshot = freeze(project, [campaign])
    members = recorded_members(snapshot)
    found = [next(members)]
    elsewhere(lambda: make_user("Ben"))
    project.save()
    found += list(members)
    assert [member.content_sha256 for member in found] == sorted(member.content_sha256 for member in found)
    assert len(found) == 5


def test_another_process_that_reads_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch):
    project = make_project()
    arm, campaign, prompts = make_arm(project), make_campaign(project), make_set(project)
    for number in range(7):
        prompt = make_prompt(prompts, f"Question {number}?")
        judge(
            make_task(campaign, [make_answer(arm, prompt, x) for x in ("ja", 'nein \u2028 "é"')]),
            make_annotator(project),
            "A",
        )
    here = freeze(project, [campaign])
    monkeypatch.setattr("training.reading.CHUNK", 2)
    monkeypatch.setattr("training.freezing.MANY", 1)
    monkeypatch.setattr(asking, "answers_to", None)  # nothing is read here
    there = freeze(project, [campaign], name="there")
    assert there.sha256 == here.sha256
    assert there.artifact_sha256 == here.artifact_sha256


@pytest.mark.parametrize("is_judging", [False, True])
def test_it_pauses_between_two_handfuls_while_somebody_judges(monkeypatch: pytest.MonkeyPatch, is_judging: bool):
    slept: list[float] = []
    monkeypatch.setattr("training.reading.CHUNK", 1)
    monkeypatch.setattr(way, "time", SimpleNamespace(monotonic=time.monotonic, sleep=slept.append))
    project = make_project()
    campaign = make_judged(project, ["A", "B", "A"])
    beside = make_open_campaign(project, n_tasks=1)
    ana, real = make_open_annotator(project), Builder.rows

    def rows(builder: Builder, chunk: Any) -> Any:
        if is_judging and not slept:
            elsewhere(lambda: next_assignment(ana, beside))
        return real(builder, chunk)

    monkeypatch.setattr(Builder, "rows", rows)
    freeze(project, [campaign])
    assert bool(slept) == is_judging


def test_others_write_while_it_is_looked_whether_there_is_anything_to_freeze(monkeypatch: pytest.MonkeyPatch):
    project = make_project()
    campaign = make_campaign(project)
    prompt, arm = make_prompt(make_set(project), "Question?"), make_arm(project)
    judge(make_task(campaign, [make_answer(arm, prompt, x) for x in ("yes", "no")]), make_annotator(project), "A")

    def left_out(*_: object) -> str:
        elsewhere(lambda: make_user("Ben"))
        return "withdrawn"

    monkeypatch.setattr(selecting, "_why_not", left_out)
    assert not has_members(project, [campaign], Selection(), Reading())
    assert User.objects.filter(username__icontains="ben").exists()
