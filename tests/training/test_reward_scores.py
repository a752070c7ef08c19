"""The process that scores answers, as its worker starts and ends it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from training import reward_scores


class Enough(Exception):
    pass


def test_a_ctrl_c_in_the_terminal_is_for_the_worker_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, popen = list["subprocess.Popen[bytes]"](), subprocess.Popen

    def sleeper(command: Any, **more: Any) -> "subprocess.Popen[bytes]":
        started.append(popen([sys.executable, "-c", "import time; time.sleep(60)"], **more))
        return started[-1]

    def look() -> None:
        assert os.getpgid(started[0].pid) == started[0].pid != os.getpgrp()
        raise Enough

    monkeypatch.setattr(reward_scores.subprocess, "Popen", sleeper)
    with pytest.raises(Enough):
        reward_scores._run_child(tmp_path, look)
    assert started[0].returncode is not None
