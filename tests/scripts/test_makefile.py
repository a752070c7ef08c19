"""The verbs hand their programs an environment in which these do not slow themselves down."""

import os
import subprocess

from config.env import ROOT


def test_what_python_compiled_is_kept_whatever_the_container_says() -> None:
    # 13 s of processor time instead of 6 to import TRL's trainer, in each process that trains
    ended = subprocess.run(
        ["make", "--eval", "probe: ; @env", "probe"],
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "PATH=" in ended.stdout and "PYTHONDONTWRITEBYTECODE" not in ended.stdout
