"""vLLM on another host: the worker and the app meet over HTTP alone; their directories share nothing."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.models import Role
from accounts.tokens import create_token
from core import jobs
from core.ids import canonical_json, sha256_hex
from core.storage import artifact_path
from generation.artifacts import ARTIFACT_KIND
from generation.deploy import live_deployment, request_deployment, run_deployment_job
from generation.deploy_worker import App, AppError, Untrue, Worker, fetch, read_tokens
from generation.models import Deployment
from tests.generation.serving_world import make_adapter, make_base, make_endpoint, make_member, make_project
from tests.generation.stub_vllm import StubVllm

# The live server answers from other threads, so what the test writes must be committed.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture(autouse=True)
def quiet_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_send", lambda job: None)


@pytest.fixture
def stub() -> Iterator[StubVllm]:
    with StubVllm() as server:
        yield server


class Far:
    """A project whose vLLM stands beside a worker; ``here`` is the worker's own directory."""

    def __init__(self, stub: StubVllm, app_url: str, here: Path) -> None:
        self.stub, self.here = stub, here
        self.project = make_project()
        self.ravi = make_member(self.project, "ravi", Role.RESEARCHER)
        self.endpoint = make_endpoint(stub.url, reach="worker", state="unknown")
        self.base = make_base(self.project)
        self.token = self.token_of("ravi's", ["deploy"])
        self.app = App(app_url, self.token)
        self.worker = Worker(app_url, (self.token,), stub.url, here)
        self.request(self.base)
        self.worker.once(self.app)

    def token_of(self, name: str, scopes: list[str]) -> str:
        membership = self.project.memberships.get(user=self.ravi)
        return create_token(membership=membership, name=name, scopes=scopes)[1]

    def request(self, version: Any) -> Deployment:
        return request_deployment(version=version, endpoint=self.endpoint, by=self.ravi)

    @property
    def live(self) -> Deployment:
        found = live_deployment(self.project)
        assert found is not None
        return found


@pytest.fixture
def far(stub: StubVllm, live_server: Any, tmp_path: Path) -> Far:
    return Far(stub, live_server.url, tmp_path / "far")


def test_an_adapter_travels_by_hash_and_goes_live(far: Far, stub: StubVllm) -> None:
    adapter = make_adapter(far.base)
    new = far.request(adapter)
    run_deployment_job(new.pk)
    new.refresh_from_db()
    assert new.status == "queued", "the app's own workers leave it to the one beside the server"
    assert far.worker.once(far.app)
    assert far.live.model_version == adapter
    (path,) = stub.adapters.values()
    assert path.startswith(str(far.here))
    far.endpoint.refresh_from_db()
    assert far.endpoint.state == "ready"


def test_the_app_judges_the_canary_and_not_the_worker(far: Far, stub: StubVllm) -> None:
    stub.keeps_serving_old = True
    new = far.request(make_adapter(far.base))
    far.worker.once(far.app)
    new.refresh_from_db()
    assert new.stage == "failed"
    assert "answers exactly as before" in new.error
    assert far.live.model_version == far.base
    far.worker.once(far.app)
    assert not stub.adapters, "what failed is unloaded at the next turn"


def test_a_vllm_that_forgot_is_told_again_before_it_counts_as_ready(far: Far, stub: StubVllm) -> None:
    far.request(make_adapter(far.base))
    far.worker.once(far.app)
    stub.restart()
    far.worker.once(far.app)
    assert list(stub.adapters) == [far.live.served_name]


def test_a_worker_that_lost_its_disk_fetches_again(far: Far, stub: StubVllm) -> None:
    far.request(make_adapter(far.base))
    far.worker.once(far.app)
    stub.restart()
    shutil.rmtree(far.here)
    far.worker.once(far.app)
    assert list(stub.adapters) == [far.live.served_name]


def test_a_vllm_that_is_down_is_said_to_be_down(far: Far) -> None:
    far.worker.vllm_url = "http://127.0.0.1:9"
    assert not far.worker.once(far.app)
    far.endpoint.refresh_from_db()
    assert far.endpoint.state == "down"
    assert "does not answer the worker" in far.endpoint.state_message


def test_a_kill_while_loading_is_taken_up_by_the_next_worker(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    new = far.request(make_adapter(far.base))
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "_load", killed)
        with pytest.raises(Killed):
            far.worker.once(far.app)
    assert far.live.model_version == far.base
    Deployment.objects.filter(pk=new.pk).update(leased_until="2020-01-01T00:00:00Z")
    jobs.reap()
    assert far.worker.once(far.app)
    assert far.live == new


def test_a_changed_byte_is_never_loaded(far: Far, stub: StubVllm) -> None:
    adapter = make_adapter(far.base)
    new = far.request(adapter)
    claim = far.app.call("endpoints/-/claim", {})
    file = artifact_path(ARTIFACT_KIND, adapter.artifact_sha256) / "adapter_model.safetensors"
    file.write_bytes(bytes(reversed(file.read_bytes())))
    far.worker._deploy(far.app, claim)
    new.refresh_from_db()
    assert new.stage == "failed"
    assert "do not match their hash" in new.error
    assert not stub.bodies("/v1/load_lora_adapter")


def test_a_fetch_that_broke_off_goes_on_where_it_ended(far: Far, tmp_path: Path) -> None:
    adapter = make_adapter(far.base, **{"notes.txt": "0123456789" * 1000})
    far.request(adapter)
    claim = far.app.call("endpoints/-/claim", {})["adapter"]
    part = tmp_path / "w" / "artifacts" / f".part-{claim['sha256']}"
    part.mkdir(parents=True)
    (part / "notes.txt").write_text("0123456789" * 400)
    asked: list[Any] = []
    real = far.app.open

    def watched(path: str, body: Any = None, headers: Any = None) -> Any:
        response = real(path, body, headers)
        asked.append((path, headers, response.status, response.headers.get("Content-Range")))
        return response

    far.app.open = watched  # type: ignore[method-assign]
    got = fetch(far.app, claim["sha256"], claim["manifest"], tmp_path / "w")
    assert (got / "notes.txt").read_text() == "0123456789" * 1000
    path = f"artifacts/{claim['sha256']}/notes.txt"
    assert (path, {"Range": "bytes=4000-"}, 206, "bytes 4000-9999/10000") in asked


@pytest.mark.parametrize(
    "name", ["../x.json", "/etc/x.json", "a/../../x.json", "run.py", "x.bin", "x.safetensors/..", ""]
)
def test_a_list_with_a_file_that_is_no_adapters_is_refused(name: str, tmp_path: Path) -> None:
    manifest = {name: {"sha256": "0" * 64, "n_bytes": 1}}
    with pytest.raises(Untrue):
        fetch(App("http://127.0.0.1:9", "x"), sha256_hex(canonical_json(manifest)), manifest, tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_a_list_that_is_not_the_one_of_its_hash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Untrue):
        fetch(App("http://127.0.0.1:9", "x"), "0" * 64, {}, tmp_path)


def test_only_a_token_of_the_scope_deploy_gets_in(far: Far) -> None:
    for token in (far.token_of("reader", ["read"]), "wst_wrong", ""):
        with pytest.raises(AppError) as caught:
            App(far.app.url, token).call("endpoints/-/wanted")
        assert caught.value.status in (401, 403)


def test_a_browsers_session_does_not_get_in(far: Far) -> None:
    client = Client()
    client.force_login(far.ravi)
    assert client.get("/api/v1/deploy/endpoints/-/wanted").status_code in (401, 403)


def test_another_projects_token_sees_nothing(far: Far) -> None:
    adapter = make_adapter(far.base)
    new = far.request(adapter)
    other = make_project("other")
    olga = make_member(other, "olga", Role.RESEARCHER)
    token = create_token(membership=other.memberships.get(user=olga), name="x", scopes=["deploy"])[1]
    app = App(far.app.url, token)
    assert app.call("endpoints/-/wanted")["serve"] == []
    assert app.call("endpoints/-/claim", {}) == {}
    for path in (f"artifacts/{adapter.artifact_sha256}/canary.json", f"deployments/{new.key}/beat"):
        with pytest.raises(AppError) as caught:
            app.call(path, {"lease": "x"} if "beat" in path else None)
        assert caught.value.status == 404


def test_only_who_deploys_there_may_say_how_a_server_is(far: Far) -> None:
    other = make_project("other")
    olga = make_member(other, "olga", Role.RESEARCHER)
    token = create_token(membership=other.memberships.get(user=olga), name="x", scopes=["deploy"])[1]
    stranger = App(far.app.url, token)
    with pytest.raises(AppError) as caught:
        stranger.call("endpoints/-/state", {"state": "down"})
    assert caught.value.status == 403
    far.endpoint.refresh_from_db()
    assert far.endpoint.state == "ready"
    # Its worker goes on: it is asked for nothing there either.
    Worker(far.app.url, (token,), far.stub.url, far.here / "stranger").once(stranger)


def test_a_canary_that_cannot_be_read_ends_the_deployment(far: Far) -> None:
    new = far.request(make_adapter(far.base))
    claim = far.app.call("endpoints/-/claim", {})
    (artifact_path(ARTIFACT_KIND, new.model_version.artifact_sha256) / "canary.json").write_text("{}")
    said = far.app.call(f"deployments/{new.key}/loaded", {"lease": claim["lease"], "logprobs": [0.0]})
    assert said["stage"] == "failed"
    new.refresh_from_db()
    assert (new.status, new.lease_token) == ("failed", "")
    assert far.live.model_version == far.base


@pytest.mark.parametrize("name", ["manifest.json", "../../../db.sqlite3", "..%2f..%2f..%2fsecret_key", "none.json"])
def test_only_the_artifacts_own_files_can_be_fetched(far: Far, name: str) -> None:
    adapter = make_adapter(far.base)
    far.request(adapter)
    with pytest.raises(AppError) as caught:
        far.app.call(f"artifacts/{adapter.artifact_sha256}/{name}")
    assert caught.value.status == 404


def test_a_lost_lease_flips_nothing(far: Far) -> None:
    far.request(make_adapter(far.base))
    claim = far.app.call("endpoints/-/claim", {})
    with pytest.raises(AppError) as caught:
        far.app.call(f"deployments/{claim['deployment']}/loaded", {"lease": "stolen", "logprobs": []})
    assert caught.value.status == 409
    assert far.live.model_version == far.base


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("wst_x\n")
    path.chmod(0o644)
    with pytest.raises(SystemExit, match="chmod 600"):
        read_tokens(path)
    path.chmod(0o600)
    assert read_tokens(path) == ("wst_x",)


def test_the_worker_needs_no_django(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = "import sys, generation.deploy_worker as w; print([m for m in sys.modules if m.split('.')[0] in ('django', 'torch', 'vllm')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_canarys_file_travels_whole(far: Far, tmp_path: Path) -> None:
    adapter = make_adapter(far.base)
    far.request(adapter)
    claim = far.app.call("endpoints/-/claim", {})["adapter"]
    got = fetch(far.app, claim["sha256"], claim["manifest"], tmp_path)
    assert json.loads((got / "canary.json").read_text())["version"] == 1
