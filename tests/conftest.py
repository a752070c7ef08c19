"""Services and rules for every test. Services start once, on first use, on free ports, and end with the suite.

Run everything:      make test
One database:        WHETSTONE_TEST_DATABASE=postgres pytest tests/annotation      (default: sqlite)
No skip allowed:     WHETSTONE_REQUIRE_ALL=1
"""

import contextlib
import gc
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from config.env import ROOT
from tests.services.missing import everything_is_required, missing
from tests.services.servers import Postgres, Redis, find_program
from tests.settings import TEST_DATABASE, TEST_HOME

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from generation.engines.vllm import VllmServer

# No deadline: this suite times nothing, and a shared machine is slow at random.
hypothesis_settings.register_profile("whetstone", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("whetstone")

gc.set_threshold(100_000, 20, 50)  # the usual one costs a tenth of the run: it searches millions of objects that stay

CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FAILURES = ROOT / "var" / "test-failures"


# ---- rules -----------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Leave tests of the other database to the other pass; give training and browser tests more time; browsers come last.

    What touches no database is the same on both: it runs on SQLite only.
    """
    yield  # the order is random until here
    other = "postgres" if TEST_DATABASE == "sqlite" else "sqlite"
    left = [item for item in items if item.get_closest_marker(other) or not _belongs_here(item)]
    if left:
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)
    for item in items:
        if any(item.get_closest_marker(name) for name in ("e2e", "training", "vllm")):
            item.add_marker(pytest.mark.timeout(1200))
    # Playwright leaves an event loop running in this thread, and with it nobody else can start one.
    items.sort(key=lambda item: bool({"page", "chromium"} & set(getattr(item, "fixturenames", ()))))


def _belongs_here(item: pytest.Item) -> bool:
    if TEST_DATABASE == "sqlite" or item.get_closest_marker("postgres") or item.get_closest_marker("django_db"):
        return True
    return bool({"db", "transactional_db", "postgres"} & set(getattr(item, "fixturenames", ())))


def pytest_report_header() -> str:
    return f"whetstone: database {TEST_DATABASE}, everything required: {'yes' if everything_is_required() else 'no'}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say loudly what was not tested."""
    reasons = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if not reasons:
        return
    terminalreporter.section("NOT TESTED ON THIS MACHINE", sep="!", yellow=True, bold=True)
    for reason, n_tests in reasons.most_common():
        terminalreporter.line(f"{n_tests} test{'s' if n_tests > 1 else ''} skipped: {reason}", yellow=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if everything_is_required() and session.exitstatus == 0 and any(not _may_skip(report) for report in skipped):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure() -> None:
    shutil.rmtree(TEST_HOME, ignore_errors=True)


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _may_skip(report: pytest.TestReport) -> bool:
    # CI has no GPU, and a checkout alone lacks ../shared/data, which two files named test_*llmfao.py read; everything else it must have.
    return _reason(report).startswith(("needs a GPU", "needs ../shared/data"))


# ---- databases and queue ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of the suite's own (``.url``, ``.port``, ``.crash()``, ``.start()``)."""
    if not Postgres.program():
        missing("PostgreSQL", "apt-get install postgresql")
    server = Postgres()
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """A Redis server of the suite's own (``.url``, ``.port``, ``.crash()``, ``.start()``)."""
    if not Redis.program():
        missing("Redis", "apt-get install redis-server")
    server = Redis()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(request: pytest.FixtureRequest) -> None:
    """Point Django to the suite's PostgreSQL where this pass is about PostgreSQL."""
    if TEST_DATABASE != "postgres":
        return
    from django.db import connections

    server: Postgres = request.getfixturevalue("postgres")
    for settings in (connections.settings["default"], connections["default"].settings_dict):
        settings["PORT"] = str(server.port)


@pytest.fixture(scope="session", autouse=True)
def _flush_in_order() -> Iterator[None]:
    """SQLite is emptied by DELETE, table by table: the datasets first, since what a frozen one holds cannot be deleted."""
    from django.db.backends.sqlite3.base import DatabaseWrapper

    real = DatabaseWrapper.ops_class.execute_sql_flush

    def flush(self: Any, sql_list: list[str]) -> None:
        real(self, sorted(sql_list, key=lambda sql: '"training_snapshot"' not in sql))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseWrapper.ops_class, "execute_sql_flush", flush)
        yield


@pytest.fixture
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """No message is sent: the test does the work of the jobs itself."""
    monkeypatch.setattr("core.jobs._send", lambda job: None)


# ---- data ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def llmfao() -> Path:
    """Answers of 59 models and what 124 people said of them: the folder with the raw files, beside the checkout."""
    folder = ROOT.parent / "shared" / "data" / "llmfao"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/llmfao, which lies beside the checkout where the project is developed")
    return folder


# ---- engine ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[VllmServer]":
    """A real vLLM with the starter model as ``base`` (``.base_url``); adapters load at run time."""
    from generation.engines.vllm import VllmOptions, VllmServer, installed_build

    if installed_build() is None:
        missing("vLLM", "make setup (it says why vLLM could not be installed)")
    home = tmp_path_factory.mktemp("vllm")
    options = VllmOptions(model=str(ROOT / "starter" / "model"), home=home, kv_cache_gib=0.25, threads=1)
    with VllmServer(options) as server:
        yield server


# ---- browser ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    """The system's Chromium, driven by Playwright; nothing is downloaded."""
    program = find_program("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    if not program:
        missing("Chromium", "apt-get install chromium")
    from playwright.sync_api import sync_playwright

    # Playwright's synchronous API runs a loop in this thread, which Django takes for asynchronous code.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with tempfile.TemporaryDirectory(prefix="whetstone-chromium-") as home, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=CHROMIUM_OPTIONS, env={**os.environ, "HOME": home}
        )
        try:
            yield browser
        finally:
            browser.close()
            if before is None:
                os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)


@pytest.fixture
def page(chromium: "Browser", request: pytest.FixtureRequest) -> "Iterator[Page]":
    """A page of a fresh profile. A script error or a breach of the content policy fails the test that caused it."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    errors: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(f"script error: {error}"))
    page.on("console", lambda message: errors.append(message.text) if _is_breach(message) else None)
    yield page
    if getattr(request.node, "has_failed", False):
        FAILURES.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"\W+", "-", request.node.name)[:100]
        with contextlib.suppress(Exception):
            page.screenshot(path=str(FAILURES / f"{name}.png"), full_page=True)
    context.close()
    assert not errors, "The page was not clean:\n" + "\n".join(errors)


def _is_breach(message: Any) -> bool:
    return message.type == "error" and "Content Security Policy" in message.text


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.when == "call" and report.failed:
        item.has_failed = True  # type: ignore[attr-defined]
    return report
