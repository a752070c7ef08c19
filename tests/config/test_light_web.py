"""The web process and the default workers never load torch, nor what loads it."""

import subprocess
import sys

from config.env import ROOT
from tests.services.workers import process_environment

HEAVY = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "vllm")
LOAD = f"""
import sys
import django
django.setup()
from django.urls import get_resolver
from config.celery import app
get_resolver().url_patterns
app.loader.import_default_modules()
print(" ".join(name for name in {HEAVY!r} if name in sys.modules))
"""


def test_pages_and_tasks_load_without_torch(tmp_path):
    environment = process_environment(tmp_path, DJANGO_SETTINGS_MODULE="config.settings")
    loaded = subprocess.run([sys.executable, "-c", LOAD], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.strip() == ""
