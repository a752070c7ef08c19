"""A missing service skips loudly, and fails where everything is required."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.env import ROOT

PROBE = """
import pytest

@pytest.mark.redis
def test_that_needs_redis(redis):
    pass
"""


@pytest.fixture
def probe() -> Iterator[Path]:
    # Beside the other tests, so that it meets their conftest; a name of its own, so that no run collects it.
    path = ROOT / "tests" / f"probe_{os.getpid()}.py"
    path.write_text(PROBE)
    try:
        yield path
    finally:
        path.unlink()


def run_without_servers(probe: Path, tmp_path: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": str(tmp_path), "WHETSTONE_REQUIRE_ALL": "", **settings}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "redis", str(probe)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.sqlite
def test_a_missing_service_skips_and_says_what_to_type(probe, tmp_path):
    ended = run_without_servers(probe, tmp_path)
    assert ended.returncode == 0, ended.stdout
    assert "NOT TESTED ON THIS MACHINE" in ended.stdout
    assert "1 test skipped: Redis is missing; apt-get install redis-server" in ended.stdout


@pytest.mark.slow
@pytest.mark.sqlite
def test_where_everything_is_required_a_missing_service_fails(probe, tmp_path):
    ended = run_without_servers(probe, tmp_path, WHETSTONE_REQUIRE_ALL="1")
    assert ended.returncode == 1
    assert "Redis is missing" in ended.stdout


@pytest.mark.slow
@pytest.mark.sqlite
def test_where_everything_is_required_any_other_skip_fails_too(probe, tmp_path):
    probe.write_text("import pytest\n\n@pytest.mark.redis\ndef test_x():\n    pytest.skip('not today')\n")
    assert run_without_servers(probe, tmp_path).returncode == 0
    assert run_without_servers(probe, tmp_path, WHETSTONE_REQUIRE_ALL="1").returncode == 1
    probe.write_text("import pytest\n\n@pytest.mark.redis\ndef test_x():\n    pytest.skip('needs a GPU')\n")
    assert run_without_servers(probe, tmp_path, WHETSTONE_REQUIRE_ALL="1").returncode == 0
