"""An import of votes gives way to people who judge while it stores, on either database."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection

from annotation.assign import next_assignment
from annotation.at_work import newest_event
from annotation.models import Annotator, Campaign, Judgement
from annotation.votes import chunks, storing
from core import way
from tests.annotation.builders import judge, make_annotator, make_campaign, make_project
from tests.annotation.votes import import_votes, row

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(way, "POLITE_SECONDS", 1000.0)
    monkeypatch.setattr(way, "time", SimpleNamespace(monotonic=time.monotonic, sleep=slept.append))
    return slept


def judges_elsewhere(annotator: Annotator, campaign: Campaign) -> None:
    def run() -> None:
        try:
            turn = next_assignment(annotator, campaign)
            assert turn is not None
            judge(turn)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@pytest.mark.parametrize("is_judging", [False, True])
def test_little_is_stored_at_a_time_with_pauses_once_somebody_judges(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float], is_judging: bool
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_LINES", 3)
    monkeypatch.setattr(chunks, "POLITE_LINES", 1)
    campaign = make_campaign(n_tasks=1)
    ana, written = make_annotator(campaign.project), list[int]()
    real = storing.Store.write

    def spy(store: Any, chunk: Any) -> Any:
        written.append(chunk.n_lines)
        return real(store, chunk)

    def prepare(store: Any, chunk: Any, real: Any = storing.Store.prepare) -> None:
        if is_judging and not written and store.before:
            judges_elsewhere(ana, campaign)
        real(store, chunk)

    monkeypatch.setattr(storing.Store, "write", spy)
    monkeypatch.setattr(storing.Store, "prepare", prepare)
    import_votes(make_project(), *(row(number) for number in range(18)))
    assert sum(written) == 18 and written[0] == 3
    assert (written[-1], bool(pauses)) == ((1, True) if is_judging else (3, False))
    assert Judgement.objects.filter(source="annotator").count() == is_judging


def test_who_takes_a_task_or_judges_is_seen_and_what_is_imported_is_nobody() -> None:
    campaign = make_campaign(n_tasks=1)
    seen = [newest_event()]
    import_votes(campaign.project, row(1), row(2))
    assert newest_event() == seen[0]
    turn = next_assignment(make_annotator(campaign.project), campaign)
    assert turn is not None
    seen.append(newest_event())
    judge(turn)
    seen.append(newest_event())
    assert len(set(seen)) == 3
