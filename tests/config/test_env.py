"""Settings are read from the environment, and a value that cannot work stops the start with a sentence."""

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from config.env import ROOT, EnvError, endpoint_secret, load_env, unknown_names
from tests.services.workers import process_environment

GOOD_KEY = "k9!" + "abcdefghij" * 5


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("WHETSTONE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("WHETSTONE_ENV_FILE", "")
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))


def test_the_defaults_need_nothing(tmp_path):
    env = load_env()
    assert env.home == tmp_path / "home"
    assert env.database_url is None
    assert env.uses_embedded_broker
    assert not env.debug


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("PORT", "eighty", "WHETSTONE_PORT"),
        ("PORT", "70000", "WHETSTONE_PORT"),
        ("SECRET_KEY", "short", "at least 50 characters"),
        ("SECRET_KEY", "a" * 60, "repeats too few characters"),
        ("DATABASE_URL", "mysql://root@host/db", "must start with postgresql://"),
        ("DATABASE_URL", "not a url", "must start with postgresql://"),
        ("BROKER_URL", "http://host", "must be a broker's address"),
        ("SITE_URL", "whetstone.example.org", "must be a whole address"),
        ("CSRF_TRUSTED_ORIGINS", "whetstone.example.org", "has no scheme"),
        ("TIME_ZONE", "Middle/Earth", "is no time zone"),
        ("VLLM_COMMAND", "vllm 'serve", "cannot be read as a command"),
        ("VLLM_MAX_LORA_RANK", "7", "WHETSTONE_VLLM_MAX_LORA_RANK"),
        ("ENGINE", "magic", "WHETSTONE_ENGINE"),
        ("DEBUG", "perhaps", "WHETSTONE_DEBUG"),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_its_name(monkeypatch, name, value, part):
    monkeypatch.setenv(f"WHETSTONE_{name}", value)
    with pytest.raises(EnvError) as refused:
        load_env()
    assert f"WHETSTONE_{name}: " in str(refused.value)
    assert part in str(refused.value)


def test_a_refusal_never_repeats_a_secret(monkeypatch):
    monkeypatch.setenv("WHETSTONE_SECRET_KEY", "hunter2")
    monkeypatch.setenv("WHETSTONE_DATABASE_URL", "mysql://root:hunter2@host/db")
    with pytest.raises(EnvError) as refused:
        load_env()
    assert "hunter2" not in str(refused.value)


def test_every_wrong_value_is_named_at_once(monkeypatch):
    monkeypatch.setenv("WHETSTONE_PORT", "x")
    monkeypatch.setenv("WHETSTONE_DEBUG", "perhaps")
    with pytest.raises(EnvError, match=r"(?s)WHETSTONE_DEBUG.*WHETSTONE_PORT|WHETSTONE_PORT.*WHETSTONE_DEBUG"):
        load_env()


def test_an_empty_value_counts_as_unset(monkeypatch):
    monkeypatch.setenv("WHETSTONE_PORT", "")
    assert load_env().port == 8000


@pytest.mark.parametrize("typed", ["a.example,b.example", "a.example b.example", " a.example , b.example ,"])
def test_a_list_is_written_with_commas_or_spaces(monkeypatch, typed):
    monkeypatch.setenv("WHETSTONE_ALLOWED_HOSTS", typed)
    assert load_env().allowed_hosts == ("a.example", "b.example")


def test_a_secret_may_come_from_a_file(monkeypatch, tmp_path):
    (tmp_path / "key").write_text(f"{GOOD_KEY}\n")
    monkeypatch.setenv("WHETSTONE_SECRET_KEY_FILE", str(tmp_path / "key"))
    assert load_env().signing_key == GOOD_KEY


def test_a_file_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("WHETSTONE_DATABASE_URL_FILE", str(tmp_path / "nothing"))
    with pytest.raises(EnvError, match="WHETSTONE_DATABASE_URL_FILE names"):
        load_env()


def test_a_key_in_a_file_is_checked_too(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("short")
    monkeypatch.setenv("WHETSTONE_SECRET_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(EnvError, match="at least 50 characters"):
        load_env()


def test_the_environment_wins_over_the_file_of_settings(monkeypatch, tmp_path):
    (tmp_path / "settings").write_text("WHETSTONE_PORT=9001\nWHETSTONE_HOST=0.0.0.0\n")
    monkeypatch.setenv("WHETSTONE_ENV_FILE", str(tmp_path / "settings"))
    monkeypatch.setenv("WHETSTONE_PORT", "9002")
    env = load_env()
    assert (env.port, env.host) == (9002, "0.0.0.0")


def test_a_key_is_made_once_and_kept_for_the_owner_alone(tmp_path):
    first, second = load_env().signing_key, load_env().signing_key
    file = tmp_path / "home" / "secret_key"
    assert first == second == file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(first) >= 50


def test_two_installations_have_different_keys(tmp_path):
    assert load_env(home=tmp_path / "a").signing_key != load_env(home=tmp_path / "b").signing_key


def test_processes_that_start_together_agree_on_the_key(tmp_path):
    envs = [load_env(home=tmp_path / "together") for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda env: env.signing_key, envs))
    assert len(keys) == 1
    assert [file.name for file in (tmp_path / "together").iterdir()] == ["secret_key"]


def test_a_damaged_key_file_is_refused(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secret_key").write_text("cut off")
    with pytest.raises(EnvError, match="shorter than 50"):
        assert load_env().signing_key


def test_directories_are_closed_to_others(tmp_path):
    env = load_env()
    env.make_directories()
    assert stat.S_IMODE(env.home.stat().st_mode) == 0o700
    assert env.path("broker", "queue").is_dir()


def test_a_home_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    env = load_env(home=tmp_path / "file" / "home")
    with pytest.raises(EnvError, match="WHETSTONE_HOME is"):
        env.make_directories()


def test_an_endpoints_secret_is_found_by_its_name(monkeypatch, tmp_path):
    monkeypatch.setenv("WHETSTONE_SECRET_LAB", "from the environment")
    (tmp_path / "other").write_text("from a file\n")
    monkeypatch.setenv("WHETSTONE_SECRET_OTHER_FILE", str(tmp_path / "other"))
    assert endpoint_secret("LAB") == "from the environment"
    assert endpoint_secret("OTHER") == "from a file"
    assert endpoint_secret("NOBODY") is None


@pytest.mark.parametrize("name", ["", "lab", "LAB-1", "../LAB", "A" * 80])
def test_a_secrets_name_cannot_be_anything_else(name):
    with pytest.raises(EnvError):
        endpoint_secret(name)


def test_a_slip_in_a_name_is_found():
    environ = {
        "WHETSTONE_PROT": "1",
        "WHETSTONE_PORT": "1",
        "WHETSTONE_PORT_FILE": "x",
        "WHETSTONE_SECRET_LAB": "x",
        "HOME": "/",
    }
    assert unknown_names(environ) == ["WHETSTONE_PROT"]


def test_secrets_do_not_show_when_settings_are_printed():
    env = load_env(secret_key=GOOD_KEY, database_url="postgresql://me:hunter2@host/db")
    assert GOOD_KEY not in repr(env)
    assert "hunter2" not in repr(env)


def test_the_app_does_not_start_on_a_bad_value_and_says_why(tmp_path):
    environment = process_environment(tmp_path, WHETSTONE_SECRET_KEY="changeme")
    ended = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert "Whetstone cannot start.\nWHETSTONE_SECRET_KEY: must have at least 50 characters" in ended.stderr
    assert "Traceback" not in ended.stderr
