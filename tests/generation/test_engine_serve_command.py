"""``manage.py serve_engine``: the row says what the engine does, from its start to its end."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config.env import ROOT
from tests.services.workers import Site

pytestmark = [pytest.mark.vllm]

MAKE = (
    "from generation.models import Endpoint; Endpoint.objects.create(name='Here', engine='{engine}', is_managed=True, "
    "base_model='{model}', base_served_name='base')"
)
SHOWN = ("state", "state_message", "base_url", "generation", "version", "max_model_length")


def row(site: Site) -> dict[str, Any]:
    """Read past Django, which takes seconds to start: this is asked again and again."""
    with sqlite3.connect(site.home / "db.sqlite3", timeout=20) as database:
        found = database.execute(f"select {', '.join(SHOWN)} from generation_endpoint").fetchone()
    return dict(zip(SHOWN, found, strict=True))


def wait_for(condition: Callable[[], bool], log: Callable[[], str]) -> None:
    end = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < end, log()
        time.sleep(0.5)


def test_the_row_follows_the_in_process_engine(tmp_path: Path) -> None:
    with Site(tmp_path, WHETSTONE_VLLM_THREADS="1") as site:
        site.migrate()
        site.manage("shell", "-c", MAKE.format(engine="local", model=ROOT / "starter" / "model"))
        process = site._start("engine", [*_manage(), "serve_engine"])
        wait_for(lambda: row(site)["state"] == "ready", lambda: site.log("engine"))
        ready = row(site)
        assert ready["base_url"].startswith("http://127.0.0.1:")
        assert (ready["generation"], ready["max_model_length"]) == (1, 512)
        assert ready["version"].startswith("transformers")
        process.stop()
        assert row(site)["state"] == "down"
        site.processes.pop("engine")
        site._start("engine", [*_manage(), "serve_engine"])
        wait_for(lambda: row(site)["generation"] == 2, lambda: site.log("engine"))
        assert row(site)["base_url"] == ready["base_url"], "the address stays where the port is still free"


def test_a_model_that_is_not_there_is_said_on_the_row(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.migrate()
        site.manage("shell", "-c", MAKE.format(engine="local", model=tmp_path / "nowhere"))
        site._start("engine", [*_manage(), "serve_engine"])
        # While it is tried again and again, the page must go on saying why it does not come up.
        wait_for(lambda: "The model is not on this machine" in row(site)["state_message"], lambda: site.log("engine"))
        wait_for(
            lambda: row(site)["state_message"].startswith("Starting the in-process engine. Before:"),
            lambda: site.log("engine"),
        )


def _manage() -> list[str]:
    import sys

    return [sys.executable, str(ROOT / "manage.py")]
