"""Take the README's pictures from a running demo that has played a round.

    make demo AUTO=1          # one round
    make demo                 # in another terminal; it prints a one-time link
    .venv/bin/python scripts/screenshots.py LINK [OUT]

Needs Chromium. Starts round 2 if none is open, so that there is something to judge.
"""

import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
PASSWORD = "only for these pictures"
SIZE = {"width": 1280, "height": 800}


def sign_in(page: Page, link: str) -> str:
    """Spend the link; the project's address."""
    page.goto(link)
    page.locator("main form button").first.click()
    page.wait_for_url(re.compile("set-password|/p/"))
    if "set-password" in page.url:
        for field in page.locator("input[type=password]").all():
            field.fill(PASSWORD)
        page.locator("main form button").first.click()
        page.wait_for_url(re.compile("/p/"))
    parts = urlsplit(page.url)
    return f"{parts.scheme}://{parts.netloc}/p/{parts.path.split('/')[2]}/"


def open_a_round(page: Page, project: str) -> None:
    page.goto(project)
    if page.get_by_role("link", name=re.compile(r"Start round \d+")).count():
        page.goto(project + "rounds/new/")
        page.get_by_role("button", name=re.compile("Start round")).click()
        page.wait_for_url(re.compile(r"/rounds/\d+/$"))
    for label in ("Generate", "Open the answers"):
        button = page.locator("#next-step").get_by_role("button", name=re.compile(label))
        judge = page.locator("#next-step").get_by_role("link", name="Judge answers")
        button.or_(judge).first.wait_for(timeout=300_000)
        if judge.count():
            return
        button.click()
    page.locator("#next-step").get_by_role("link", name="Judge answers").wait_for(timeout=300_000)


def main(link: str, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    program = next((path for path in CHROMIUM if Path(path).exists()), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        project = sign_in(page, link)
        open_a_round(page, project)
        page.goto(project)
        page.wait_for_timeout(500)
        page.screenshot(path=out / "board.png")
        page.locator("#next-step").get_by_role("link", name="Judge answers").click()
        page.get_by_role("button", name=re.compile("(start|go on)( judging)?$", re.IGNORECASE)).or_(
            page.get_by_role("link", name="Go on with it")
        ).first.click()
        page.locator("article.answer").first.wait_for()
        page.wait_for_timeout(400)
        page.screenshot(path=out / "annotate.png")
        for name, pattern in (("run", "runs/[a-z0-9]{12}/$"), ("evaluation", "evaluations/[a-z0-9]{12}/$")):
            page.goto(f"{project}{name}s/")
            address = page.locator("main a").evaluate_all("links => links.map(link => link.href)")
            page.goto(next(href for href in address if re.search(pattern, href)))
            page.wait_for_timeout(1500)
            page.screenshot(path=out / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs" / "img")
