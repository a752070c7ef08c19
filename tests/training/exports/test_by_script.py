"""Scripts against a running server: ``load_dataset`` and ``read_parquet`` of an address, with a token in a header."""

import pytest

from accounts.models import Membership, Role
from accounts.tokens import create_token
from tests.training.exports.world import make_dataset, rows_of
from tests.training.judged import make_person
from training.exports.job import file_of, run_export, start_export
from training.formats.files import read_rows
from training.snapshots import directory_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lab(live_server, monkeypatch):
    """(dataset, the address of its project's API, the header with a token that may export)"""
    # The suite may run with the hub switched off, and datasets takes that for every address; here only our own is asked.
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    dataset = make_dataset()
    sam = make_person("Sam", dataset.project, Role.RESEARCHER)
    _, secret = create_token(membership=Membership.objects.get(user=sam), name="script", scopes=["export"])
    return dataset, f"{live_server.url}/api/v1/projects/{dataset.project.slug}", {"Authorization": f"Bearer {secret}"}


def export_url(root: str, dataset, name: str, container: str, **options) -> tuple[str, list]:
    job = start_export(snapshot=dataset, file_format=name, container=container, options=options, by=None)
    run_export(job.pk)
    job.refresh_from_db()
    lines = start_export(snapshot=dataset, file_format=name, container="jsonl", options=options, by=None)
    run_export(lines.pk)
    lines.refresh_from_db()
    return f"{root}/exports/{job.key}/files/{job.filename}", rows_of(file_of(lines))


@pytest.mark.parametrize(("container", "kind"), [("parquet", "parquet"), ("jsonl", "json")])
@pytest.mark.parametrize("name", ["trl-preference", "rankings"])
def test_load_dataset_of_an_export(lab, tmp_path, name, container, kind):
    from datasets import load_dataset

    dataset, root, headers = lab
    url, expected = export_url(root, dataset, name, container, details=True, people=True)
    loaded = load_dataset(
        kind, data_files=url, storage_options={"headers": headers}, split="train", cache_dir=str(tmp_path)
    )
    assert loaded.to_list() == expected


def test_load_dataset_of_the_frozen_files(lab, tmp_path):
    from datasets import load_dataset

    dataset, root, headers = lab
    files = {split: f"{root}/datasets/{dataset.key}/files/{split}.parquet" for split in ("train", "test")}
    loaded = load_dataset("parquet", data_files=files, storage_options={"headers": headers}, cache_dir=str(tmp_path))
    for split in files:
        assert loaded[split].to_list() == list(read_rows(directory_of(dataset) / f"{split}.jsonl"))


def test_a_streamed_dataset_is_read_without_fetching_it_first(lab):
    from datasets import load_dataset

    dataset, root, headers = lab
    url, expected = export_url(root, dataset, "trl-preference", "jsonl")
    loaded = load_dataset("json", data_files=url, storage_options={"headers": headers}, split="train", streaming=True)
    assert next(iter(loaded)) == expected[0]


def test_pandas_reads_the_parquet_of_an_address(lab):
    import pandas

    dataset, root, headers = lab
    url, expected = export_url(root, dataset, "trl-reward", "parquet")
    table = pandas.read_parquet(url, storage_options=headers)
    assert list(table["margin"]) == [row["margin"] for row in expected]
    assert list(table["chosen"][0]) == expected[0]["chosen"]


def test_without_a_token_there_is_nothing(lab):
    import pandas

    dataset, root, _ = lab
    url, _ = export_url(root, dataset, "trl-reward", "parquet")
    with pytest.raises(Exception, match=r"401|Unauthorized"):
        pandas.read_parquet(url)
