"""A model's own page tells what made it, down to the judgements."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Membership, Project, Role, User
from generation.models import ModelVersion
from training.models import Snapshot, TrainingRun

pytestmark = pytest.mark.django_db


def test_a_trained_model_links_to_its_run_its_dataset_and_its_judgements() -> None:
    project = Project.objects.create(slug="loop", name="Loop")
    ravi = User.objects.create_user("ravi")
    Membership.objects.create(project=project, user=ravi, **Membership.flags({Role.RESEARCHER}))
    base = ModelVersion.objects.create(project=project, slug="base", kind="base", source="/m")
    trained = ModelVersion.objects.create(
        project=project, slug="round-1", kind="adapter", parent=base, artifact_sha256="a" * 64
    )
    snapshot = Snapshot.objects.create(project=project, name="round-1-data", status="succeeded")
    run = TrainingRun.objects.create(
        project=project, name="DPO 1", method="dpo", base=base, snapshot=snapshot, produced=trained, status="succeeded"
    )
    client = Client()
    client.force_login(ravi)
    page = client.get(reverse("generation:model", args=["loop", trained.key])).content.decode()
    for url in (
        reverse("training:run", args=["loop", run.key]),
        reverse("training:snapshot", args=["loop", snapshot.key]),
        reverse("training:model-lineage", args=["loop", trained.key]),
    ):
        assert f'href="{url}"' in page
    assert "0 judgements by 0 people" in page
    bare = client.get(reverse("generation:model", args=["loop", base.key])).content.decode()
    assert "made by" not in bare
    assert "nothing here trained it" in bare
