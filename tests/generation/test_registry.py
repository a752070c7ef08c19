"""Taking models in: what is checked, what is refused before a loader runs, what a fetch from a hub does."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from accounts.models import AuditEvent, Project, User
from config.env import ROOT
from core.beating import Keeper
from core.errors import DomainError
from core.jobs import JobStatus, request_cancel
from generation import registry
from generation.models import ModelFetch, ModelVersion
from generation.registry import facts_in_words, is_hub_id, lineage_of, register_base, run_fetch, start_fetch

pytestmark = pytest.mark.django_db
STARTER = ROOT / "starter" / "model"


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)


@pytest.fixture
def project() -> Project:
    return Project.objects.create(slug="loop", name="Loop")


@pytest.fixture
def ravi() -> User:
    return User.objects.create_user("ravi")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "My_Model.v2"
    shutil.copytree(STARTER, folder)
    return folder


def with_settings(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    monkeypatch.setattr(settings, "WHETSTONE", settings.WHETSTONE.model_copy(update=changes))


def test_a_directory_is_checked_and_registered(project: Project, ravi: User, model: Path) -> None:
    version = register_base(project=project, source=str(model), by=ravi, licence="Apache-2.0")
    assert (version.kind, version.purpose, version.slug) == ("base", "policy", "my-model-v2")
    assert version.source == str(model.resolve())
    assert version.chat_template_sha256
    words = dict(facts_in_words(version))
    assert "million" in words["Parameters"]
    assert words["Context"].endswith("tokens")
    assert AuditEvent.objects.get(action="model.register").user == ravi
    assert [step.version for step in lineage_of(version)] == [version]


def test_the_same_model_twice_gets_another_name_and_a_taken_name_is_refused(project: Project, model: Path) -> None:
    names = [register_base(project=project, source=str(model), by=None).slug for _ in range(2)]
    assert names == ["my-model-v2", "my-model-v2-2"]
    with pytest.raises(DomainError, match="already"):
        register_base(project=project, source=str(model), slug="my-model-v2", by=None)


@pytest.mark.parametrize("fault", ["not there", "pickle", "no template", "code", "adapter", "file", "empty"])
def test_what_is_no_safe_model_is_refused_by_its_content(project: Project, model: Path, fault: str) -> None:
    if fault == "not there":
        shutil.rmtree(model)
    elif fault == "pickle":
        (model / "pytorch_model.bin").write_bytes(b"\x80\x04")
    elif fault == "no template":
        (model / "chat_template.jinja").unlink()
        config = json.loads((model / "tokenizer_config.json").read_text())
        config.pop("chat_template", None)
        (model / "tokenizer_config.json").write_text(json.dumps(config))
    elif fault == "code":
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "evil.Model"}}))
    elif fault == "adapter":
        (model / "adapter_config.json").write_text("{}")
    elif fault == "file":
        model = model / "config.json"
    else:
        shutil.rmtree(model)
        model.mkdir()
    with pytest.raises(DomainError) as refused:
        register_base(project=project, source=str(model), by=None)
    assert refused.value.sentence.endswith(".")
    assert not ModelVersion.objects.exists()


@pytest.mark.parametrize("source", ["", "  ", "some/deep/relative/path", "\x00", "/x" * 300, "~/../..\x00"])
def test_what_is_neither_a_path_nor_a_hub_id_is_refused(project: Project, source: str) -> None:
    with pytest.raises(DomainError):
        register_base(project=project, source=source, by=None)


def test_only_allowed_directories_where_the_site_names_some(
    project: Project, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = tmp_path / "models"
    allowed.mkdir()
    with_settings(monkeypatch, model_dirs=(str(allowed),))
    (allowed / "link").symlink_to(model)
    for source in (model, allowed / ".." / model.name, allowed / "link", tmp_path / "models-of-others"):
        with pytest.raises(DomainError, match="only from certain directories"):
            register_base(project=project, source=str(source), by=None)
    shutil.copytree(model, allowed / "good")
    assert register_base(project=project, source=str(allowed / "good"), by=None).slug == "good"
    assert register_base(project=project, source=str(STARTER), by=None, is_toy=True).is_toy


# ---- the hub ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "is_one"),
    [
        ("owner/name", True), ("owner/name@main", True), ("owner/na.me-1_x@refs/pr/3", True), ("/owner/name", False),
        ("owner", False), ("a/b/c", False), ("owner/name@", False), ("../name", False), ("owner/na me", False),
    ],
)  # fmt: skip
def test_a_hub_id_is_told_from_a_path(source: str, is_one: bool) -> None:
    assert is_hub_id(source) == is_one


def test_a_site_that_asks_no_hub_says_so(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with_settings(monkeypatch, hub_offline=True)
    monkeypatch.setattr(registry, "fetch_from_hub", lambda source: pytest.fail("the hub was asked"))
    for call in (
        lambda: register_base(project=project, source="owner/name", by=None),
        lambda: start_fetch(project=project, source="owner/name", by=None),
    ):
        with pytest.raises(DomainError, match="this installation never asks one") as refused:
            call()
        assert "WHETSTONE_HUB_OFFLINE=false" in refused.value.how


@pytest.mark.django_db(transaction=True)
def test_a_fetched_model_is_pinned_to_its_commit(
    project: Project, ravi: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The hub itself cannot be asked from a test: its cache is laid out here as it lays it out.
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--owner--name" / "snapshots" / commit
    shutil.copytree(STARTER, snapshot)
    with_settings(monkeypatch, hub_offline=False)
    monkeypatch.setattr(registry, "fetch_from_hub", lambda source: str(snapshot))
    fetch = start_fetch(project=project, source="owner/name@main", licence="MIT", by=ravi)
    run_fetch(fetch.pk)
    run_fetch(fetch.pk)  # the message came twice
    fetch.refresh_from_db()
    version = ModelVersion.objects.get()
    assert (fetch.status, fetch.model_version) == (JobStatus.SUCCEEDED, version)
    assert (version.source, version.slug, version.licence) == (f"owner/name@{commit}", "name", "MIT")


@pytest.mark.django_db(transaction=True)
def test_a_fetch_cancelled_in_its_last_moment_registers_nothing(
    project: Project, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_settings(monkeypatch, hub_offline=False)
    monkeypatch.setattr(registry, "fetch_from_hub", lambda source: str(model))
    fetch, real = start_fetch(project=project, source="owner/name@main", by=None), registry.check_source

    def cancelled_meanwhile(source: str) -> Any:
        request_cancel(ModelFetch.objects.get(pk=fetch.pk))
        return real(source)

    monkeypatch.setattr(registry, "check_source", cancelled_meanwhile)
    monkeypatch.setattr(Keeper, "while_beating", lambda keeper, work: work())  # so quick that no beat hears of it
    run_fetch(fetch.pk)
    fetch.refresh_from_db()
    assert (fetch.status, fetch.model_version) == (JobStatus.CANCELLED, None)
    assert not ModelVersion.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_fetch_that_fails_says_why_and_registers_nothing(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_settings(monkeypatch, hub_offline=False)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    monkeypatch.setattr(registry, "fetch_from_hub", lambda source: str(tmp_path))
    fetch = start_fetch(project=project, source="owner/name", by=None)
    run_fetch(fetch.pk)
    fetch.refresh_from_db()
    assert fetch.status == JobStatus.FAILED
    assert "pickle" in fetch.error
    assert not ModelVersion.objects.exists()


def test_the_same_fetch_form_sent_twice_is_one_fetch(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with_settings(monkeypatch, hub_offline=False)
    fetches = [start_fetch(project=project, source="owner/name", by=None, key="abcdefghjkmn") for _ in range(2)]
    assert fetches[0].pk == fetches[1].pk
    assert ModelFetch.objects.count() == 1
    with pytest.raises(DomainError, match="sent before"):
        start_fetch(project=project, source="owner/other", by=None, key="abcdefghjkmn")
