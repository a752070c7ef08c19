"""Places to push to: a hub of our own, and a real S3 server (moto) with an empty bucket."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from tests.training.exports.world import make_dataset
from tests.training.pushing.hub import TOKEN, Hub, running_hub
from training.models import Snapshot

KEY, SECRET, BUCKET = "AKIATESTS", "s3-secret-of-the-tests", "sets"


@pytest.fixture
def dataset(db: None) -> Snapshot:
    return make_dataset()


@pytest.fixture
def hub(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    # The suite may run with the hub switched off; here only our own is asked.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with running_hub() as found:
        given = {"hub_token": SecretStr(TOKEN), "hub_endpoint": found.url, "hub_offline": False}
        settings.WHETSTONE = settings.WHETSTONE.model_copy(update=given)
        yield found


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, settings: Any) -> Iterator[Any]:
    """boto3's client of the storage that the settings name, whose bucket is empty."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=s3_server, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    client.create_bucket(Bucket=BUCKET)
    given = {
        "s3_url": f"s3://{BUCKET}/whetstone", "s3_endpoint": s3_server, "s3_access_key_id": KEY,
        "s3_secret_access_key": SecretStr(SECRET),
    }  # fmt: skip
    settings.WHETSTONE = settings.WHETSTONE.model_copy(update=given)
    yield client
    for name in names_in(client):
        client.delete_object(Bucket=BUCKET, Key=name)
    client.delete_bucket(Bucket=BUCKET)


def names_in(client: Any) -> list[str]:
    """Every object of the bucket, without the empty ones that stand for folders."""
    found = client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return sorted(each["Key"] for each in found)


def tree_in(client: Any, folder: str) -> dict[str, bytes]:
    names = [name for name in names_in(client) if name.startswith(f"{folder}/") and not name.endswith("/")]
    return {
        name.removeprefix(f"{folder}/"): client.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in names
    }
