"""The example of docs/how-to/push-a-dataset.md, run as it stands there; what it prints is checked against the page as it runs."""

import io
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests.annotation.builders import make_project
from tests.howto.pages import example, run_example
from tests.training.pushing.conftest import BUCKET, KEY, SECRET, tree_in
from tests.training.pushing.hub import Hub
from training.models import PushJob, Snapshot
from training.snapshots import directory_of


@pytest.mark.django_db
def test_a_dataset_is_pushed(s3: Any, s3_server: str, hub: Hub, tmp_path: Path) -> None:
    make_project(slug="house")
    run_example(
        example("push-a-dataset"),
        tmp_path,
        WHETSTONE_S3_URL=f"s3://{BUCKET}/whetstone",
        WHETSTONE_S3_ENDPOINT=s3_server,
        WHETSTONE_S3_ACCESS_KEY_ID=KEY,
        WHETSTONE_S3_SECRET_ACCESS_KEY=SECRET,
    )
    snapshot = Snapshot.objects.get(name="uses-to-push")
    assert set(PushJob.objects.values_list("status", flat=True)) == {"succeeded"}
    there = tree_in(s3, "whetstone/house/uses")
    assert there["train.parquet"] == (directory_of(snapshot) / "train.parquet").read_bytes()
    tree = hub.tree("lab/uses")
    (name,) = [name for name in tree if name.endswith(".parquet")]
    chosen = [answers[0]["content"] for answers in pandas.read_parquet(io.BytesIO(tree[name])).chosen]
    assert hub.repos["lab/uses"]["private"] and sorted(chosen) == ["A doorstop.", "Sift flour."]
