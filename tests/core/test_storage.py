import errno
import os
import time

import pytest

from core import storage
from core.errors import DomainError


@pytest.fixture
def files(tmp_path, settings):
    settings.WHETSTONE = settings.WHETSTONE.model_copy(update={"home": tmp_path / "home"})
    path = tmp_path / "model"
    (path / "deep").mkdir(parents=True)
    (path / "a.txt").write_text("a")
    (path / "deep" / "b.txt").write_text("b")
    return path


def test_the_same_content_is_stored_once_under_its_hash(files):
    first = storage.store_directory("models", files)
    assert storage.store_directory("models", files) == first
    assert [path.name for path in (storage.artifacts_root() / "models").iterdir()] == [first]
    storage.verify("models", first)


def test_another_byte_is_another_hash(files):
    first = storage.store_directory("models", files)
    (files / "a.txt").write_text("A")
    assert storage.store_directory("models", files) != first


@pytest.mark.parametrize("damage", ["change", "remove", "add"])
def test_damage_is_noticed(files, damage):
    sha256 = storage.store_directory("models", files)
    stored = storage.artifact_path("models", sha256)
    if damage == "change":
        (stored / "a.txt").write_text("x")
    elif damage == "remove":
        (stored / "a.txt").unlink()
    else:
        (stored / "c.txt").write_text("c")
    with pytest.raises(DomainError, match="damaged"):
        storage.verify("models", sha256)


def test_storing_the_same_content_again_mends_what_was_damaged(files):
    sha256 = storage.store_directory("models", files)
    (storage.artifact_path("models", sha256) / "a.txt").write_text("x")
    assert storage.store_directory("models", files) == sha256
    storage.verify("models", sha256)
    assert [path.name for path in (storage.artifacts_root() / "models").iterdir()] == [sha256]


def test_a_directory_without_its_manifest_is_not_there(files):
    sha256 = storage.store_directory("models", files)
    (storage.artifact_path("models", sha256) / storage.MANIFEST).unlink()
    with pytest.raises(DomainError, match="missing"):
        storage.verify("models", sha256)


def test_a_symbolic_link_is_refused_and_nothing_is_left(files):
    (files / "link").symlink_to("/etc/passwd")
    with pytest.raises(DomainError, match="symbolic link"):
        storage.store_directory("models", files)
    assert list((storage.artifacts_root() / "models").iterdir()) == []


@pytest.mark.parametrize("sha256", ["", "../../etc", "A" * 64, "a" * 63, "a" * 63 + "/"])
def test_only_a_hash_becomes_a_path(files, sha256):
    with pytest.raises(DomainError):
        storage.artifact_path("models", sha256)


def test_a_full_disk_is_a_sentence_and_leaves_nothing(files, monkeypatch):
    # A disk cannot be filled on demand without root; fsync is where a full one says so.
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("core.storage.os.fsync", full)
    with pytest.raises(DomainError, match="No space left"):
        storage.store_directory("models", files)
    assert list((storage.artifacts_root() / "models").iterdir()) == []


def test_files_may_be_taken_instead_of_copied(files):
    expected = storage.store_directory("datasets", files)
    sha256 = storage.store_directory("models", files, take=True)
    assert sha256 == expected
    storage.verify("models", sha256)
    assert not [path for path in files.rglob("*") if path.is_file()]


def test_what_a_killed_process_was_storing_is_removed_a_day_later(files):
    root = storage.artifacts_root() / "models"
    storage.store_directory("models", files)
    for name, age in ((".tmp-old", storage.STALE_SECONDS + 60), (".tmp-new", 60)):
        (root / name).mkdir()
        os.utime(root / name, (time.time() - age,) * 2)
    storage.store_directory("models", files)
    assert {path.name for path in root.glob(".*")} == {".tmp-new"}


def test_a_workspace_is_empty_alone_and_removed_whatever_happens(files):
    killed, other = storage.home() / "freezing" / "abc-1", storage.home() / "freezing" / "abd-1"
    for left in (killed, other):
        left.mkdir(parents=True)
        (left / "half").write_text("x")
    with pytest.raises(RuntimeError), storage.workspace("freezing", "abc") as directory:
        assert list(directory.iterdir()) == []
        assert directory.stat().st_mode & 0o777 == 0o700
        assert not killed.exists()
        (directory / "rows").write_text("x")
        raise RuntimeError
    assert not directory.exists()
    assert other.exists()  # of another job
