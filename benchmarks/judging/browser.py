"""The annotate page in Chromium: bytes over the wire, requests, first paint, and the wait for the next task."""

import asyncio
import os
import statistics
import tempfile
from typing import Any
from urllib.parse import urlsplit

from benchmarks.judging.people import WhetstonePerson
from tests.conftest import CHROMIUM_OPTIONS
from tests.services.servers import find_program

N_CYCLES = 8
# From the key that sends to the first frame that shows the next task.
WATCH = """() => {
  window.waits = [];
  let sent = 0;
  document.addEventListener("submit", () => { sent = sent || performance.now(); }, true);
  document.addEventListener("htmx:beforeRequest", () => { sent = sent || performance.now(); }, true);
  document.addEventListener("htmx:afterSettle", () => requestAnimationFrame(() => setTimeout(() => {
    if (sent) { window.waits.push(performance.now() - sent); sent = 0; }
  })));
}"""


def weigh(url: str, cookies: dict[str, str], campaign: str, *, n_visits: int) -> dict[str, Any]:
    """Medians over visits with nothing cached; the lists hold every one."""
    from playwright.sync_api import sync_playwright

    program = find_program("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    if not program:
        raise SystemExit("Chromium is missing: apt-get install chromium")
    sizes, counts, paints, waits = [], [], [], []
    requests: list[str] = []
    person = WhetstonePerson(url, cookies, campaign, ("a",))
    asyncio.run(_first_task(person))
    task = url + person.task
    with tempfile.TemporaryDirectory(prefix="whetstone-chromium-") as home, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=CHROMIUM_OPTIONS, env={**os.environ, "HOME": home}
        )
        for _ in range(n_visits):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            context.add_cookies([{"name": name, "value": value, "url": url} for name, value in cookies.items()])
            page = context.new_page()
            network = context.new_cdp_session(page)
            network.send("Network.enable")
            network.send("Network.setCacheDisabled", {"cacheDisabled": True})
            received, names = _watched(network)
            page.goto(task, wait_until="networkidle")
            sizes.append(sum(received.values()) / 1000)
            counts.append(len(names))
            requests = sorted(
                {urlsplit(name).path.replace(urlsplit(task).path, "(the task)") for name in names.values()}
            )
            paints.append(
                page.evaluate("performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)[0]")
            )
            page.evaluate(WATCH)
            for cycle in range(N_CYCLES):
                page.wait_for_timeout(400)  # keys just after a task appears are ignored, as meant for the one before
                page.keyboard.press("1" if cycle % 2 else "2")
                page.keyboard.press("Enter")
                _wait_until(page, cycle + 1)
            waits += page.evaluate("window.waits")
            task = page.url  # the page tells its address: a reload would find the same task
            context.close()
        browser.close()
    waits.sort()
    return {
        "kb": round(statistics.median(sizes), 1),
        "requests": int(statistics.median(counts)),
        "first_paint_ms": round(statistics.median(paints)),
        "next_task_ms": round(statistics.median(waits), 1),
        "next_task_p95_ms": round(waits[int(0.95 * (len(waits) - 1))], 1),
        "paths": requests,
        "all_first_paint_ms": [round(value) for value in paints],
        "all_next_task_ms": [round(value, 1) for value in waits],
    }


async def _first_task(person: WhetstonePerson) -> None:
    await person.begin()
    await person.close()


def _watched(network: Any) -> tuple[dict[str, float], dict[str, str]]:
    """(bytes over the wire, address) of each request from now on."""
    received: dict[str, float] = {}
    names: dict[str, str] = {}
    network.on("Network.requestWillBeSent", lambda event: names.update({event["requestId"]: event["request"]["url"]}))
    network.on(
        "Network.loadingFinished", lambda event: received.update({event["requestId"]: event["encodedDataLength"]})
    )
    return received, names


def _wait_until(page: Any, n_waits: int) -> None:
    for _ in range(200):  # the page's content policy forbids Playwright's own waiting
        if page.evaluate("() => window.waits.length") >= n_waits:
            return
        page.wait_for_timeout(50)
    raise SystemExit("The next task did not come within 10 seconds.")
