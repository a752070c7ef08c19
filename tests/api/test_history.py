"""A dataset beside an earlier one, by script."""

import pytest

from accounts.models import Role
from annotation.models import Judgement
from tests.annotation.builders import make_user
from tests.api.client import Api
from tests.training.judged import freeze, make_judged, make_project, take_back
from training import comparisons
from training.models import ComparisonJob, Snapshot

pytestmark = pytest.mark.django_db


def test_what_became_of_a_dataset_is_told_and_it_can_be_frozen_anew() -> None:
    project = make_project()
    campaign = make_judged(project)
    first = freeze(project, [campaign])
    ravi = make_user("Ravi", project, Role.RESEARCHER)
    api = Api(project, ravi)
    assert api.get(f"datasets/{first.key}/since").json() == {"n": 0, "why": {}}
    take_back(Judgement.objects.filter(memberships__snapshot=first)[0], verdict="voided", status="released")
    assert api.get(f"datasets/{first.key}/since").json() == {"n": 1, "why": {"voided": 1}}
    key = {"Idempotency-Key": "anew"}
    made, again = (api.post(f"datasets/{first.key}/anew", **key) for _ in range(2))
    assert (made.status_code, made.json()["key"]) == (201, again.json()["key"])
    assert Snapshot.objects.count() == 2
    second = freeze(project, [campaign])
    told = api.get(f"datasets/{second.key}/compare?to={first.key}").json()
    assert told["left"] == {"voided": 1}
    assert sum(told["counts"].values()) >= 1
    assert api.get(f"datasets/{second.key}/compare?to=aaaaaaaaaaaa").status_code == 422
    assert api.get(f"datasets/{second.key}/compare").json()["fields"] == {"to": ["This field is required."]}


def test_large_datasets_are_compared_by_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project()
    campaign = make_judged(project)
    first, second = freeze(project, [campaign]), freeze(project, [campaign])
    api = Api(project, make_user("Ravi", project, Role.RESEARCHER))
    at_once = api.get(f"datasets/{second.key}/compare?to={first.key}").json()
    monkeypatch.setattr(comparisons, "ENOUGH_FOR_A_PAGE", 0)
    refused = api.get(f"datasets/{second.key}/compare?to={first.key}")
    assert refused.status_code == 409 and "POST to this address" in refused.content.decode()
    started, again = (api.post(f"datasets/{second.key}/compare", {"to": first.key}) for _ in range(2))
    assert (started.status_code, started.json()["status"]) == (201, "queued")
    assert started.json()["key"] == again.json()["key"]
    comparisons.run_comparison(ComparisonJob.objects.get().pk)
    assert api.get(f"datasets/{second.key}/compare?to={first.key}").json() == at_once
