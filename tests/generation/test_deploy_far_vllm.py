"""End to end: the app here; there, in a tree that shares nothing with it, a vLLM and the worker. Only HTTP between them."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from accounts.models import Role
from accounts.tokens import create_token
from config.env import ROOT
from core import jobs
from core.storage import store_directory
from generation.artifacts import ARTIFACT_KIND
from generation.deploy import live_deployment, request_deployment, roll_back
from generation.endpoints import engine_for, talk
from generation.engines.base import SampleRequest, Sampling
from generation.engines.process import ServerProcess
from generation.engines.vllm import VllmOptions, VllmServer, installed_build
from generation.models import Deployment, ModelVersion
from tests.generation.real_adapter import write_adapter
from tests.generation.serving_world import make_endpoint, make_member, make_project
from tests.services.missing import missing

pytestmark = [pytest.mark.vllm, pytest.mark.django_db(transaction=True)]

# All that stands on the far host: the worker, the engine's client, and hashes.
WORKER_FILES = (
    "generation/__init__.py",
    "generation/deploy_worker.py",
    "generation/engines",
    "core/__init__.py",
    "core/ids.py",
)


@pytest.fixture
def far(tmp_path: Path) -> Path:
    """The far host's tree: its own copy of the worker's files and of the base model."""
    for name in WORKER_FILES:
        source, target = ROOT / name, tmp_path / "far" / "whetstone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    shutil.copytree(ROOT / "starter" / "model", tmp_path / "far" / "base")
    return tmp_path / "far"


@pytest.fixture
def far_vllm(far: Path) -> Iterator[VllmServer]:
    if installed_build() is None:
        missing("vLLM", "make setup (it says why vLLM could not be installed)")
    options = VllmOptions(model=str(far / "base"), home=far / "vllm", threads=1, kv_cache_gib=0.25)
    with VllmServer(options) as server:
        yield server


def wait_for(condition: Callable[[], bool], worker: ServerProcess) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert worker.is_running, "\n".join(worker.tail())
        assert time.monotonic() < end, "\n".join(worker.tail())
        time.sleep(0.2)


def test_an_adapter_reaches_a_vllm_that_shares_nothing_with_the_app(
    far: Path, far_vllm: VllmServer, live_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_send", lambda job: None)
    project = make_project()
    ravi = make_member(project, "ravi", Role.RESEARCHER)
    _, secret = create_token(membership=project.memberships.get(user=ravi), name="far", scopes=["deploy"])
    token = far / "token"
    token.touch(mode=0o600)
    token.write_text(secret)
    endpoint = make_endpoint(
        far_vllm.base_url, reach="worker", state="unknown", base_model="starter", max_lora_rank=32, timeout_seconds=60
    )
    base = ModelVersion.objects.create(project=project, slug="starter", kind="base", source="starter")
    sha256 = store_directory(ARTIFACT_KIND, write_adapter(ROOT / "starter" / "model", tmp_path / "trained"))
    adapter = ModelVersion.objects.create(
        project=project, slug="round-1", kind="adapter", parent=base, artifact_sha256=sha256, facts={"rank": 16}
    )
    command = [sys.executable, "-m", "generation.deploy_worker", "--app", live_server.url, "--vllm", far_vllm.base_url]
    command += ["--token-file", str(token), "--dir", str(far / "artifacts"), "--poll-seconds", "0.3"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(far / "whetstone")}
    worker = ServerProcess(command, environment, far / "worker.log", working_directory=far)
    worker.start()

    def live() -> str:
        found = live_deployment(project)
        return found.model_version.slug if found else ""

    def answer() -> str:
        found = live_deployment(project)
        assert found is not None
        # The likeliest answer may be the same under both; sixteen draws with the same seeds are not.
        question = [{"role": "user", "content": "How do I cook rice?"}]
        ask = SampleRequest(found.served_name, question, list(range(16)), Sampling(temperature=1))
        return "\n".join(sample.text for sample in talk(engine_for(endpoint), lambda engine: engine.sample(ask)))

    try:
        request_deployment(version=base, endpoint=endpoint, by=ravi)
        wait_for(lambda: live() == "starter", worker)
        before = answer()
        new = request_deployment(version=adapter, endpoint=endpoint, by=ravi)
        wait_for(lambda: live() == "round-1", worker)
        new.refresh_from_db()
        assert new.canary["passed"]
        assert answer() != before
        served = {m.name: m.root for m in talk(engine_for(endpoint), lambda engine: engine.health()).models}
        assert served[new.served_name] == str(far / "artifacts" / "artifacts" / sha256)
        roll_back(project=project, by=ravi)
        assert live() == "starter"
        assert answer() == before
        roll_back_again = Deployment.objects.get(pk=new.pk)
        assert roll_back_again.stage == "draining"
        endpoint.refresh_from_db()
        assert (endpoint.state, endpoint.max_model_length) == ("ready", 512)
    finally:
        worker.stop()
    assert subprocess.run(["grep", "-rl", str(ROOT), str(far / "worker.log")], capture_output=True).returncode == 1
