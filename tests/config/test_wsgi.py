"""What a web process has done before its first request."""

import subprocess
import sys

import pytest

from config.settings import BASE_DIR

LOADED = """
import gc, sys
import config.wsgi
assert "annotation.views.task" in sys.modules
print(gc.get_freeze_count() > 100_000, gc.get_threshold()[0])
"""


@pytest.mark.slow
def test_a_web_process_has_loaded_every_view_and_looks_through_it_no_more():
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=BASE_DIR, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "10000"]
