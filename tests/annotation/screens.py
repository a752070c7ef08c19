"""People at the annotate screen in Chromium: signed in, at a campaign of any kind, with what tests ask of every state."""

from typing import TYPE_CHECKING, Any

from axe_playwright_python.sync_playwright import Axe

from accounts import preferences
from accounts.models import Project, Role, User
from annotation.models import Campaign
from tests.annotation.builders import make_campaign, make_job, make_project, make_user

if TYPE_CHECKING:
    from playwright.sync_api import Page

READY = "html:not([data-sending]) [data-stage][data-ready]"  # keys count
PASSWORD = "a long password"  # of tests.annotation.builders.make_user
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
TEXT = (
    "Since $x^2 = 4$, **two**.\n\n```python\nprint(2)\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\nمرحبا بالعالم\n\n"
    + "A longer paragraph, so that there is something to read and to scroll. " * 8
)
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


class Desk:
    """Ana, signed in at a campaign's start page."""

    def __init__(
        self,
        page: "Page",
        live_server: Any,
        *,
        n_tasks: int = 4,
        n_answers: int = 2,
        sends_on_choice: bool = False,
        text: str = TEXT,
        **options: Any,
    ) -> None:
        self.page, self.root = page, live_server.url
        self.project: Project = make_project()
        job = make_job(self.project, n_prompts=n_tasks, n_answers=n_answers)
        for index in range(n_answers):
            job.arms.get().candidates.filter(index=index).update(text=f"Answer number {index}. {text}")
        if n_answers > 2:
            options["pairing"] = {"pairs": "within", "n_answers": n_answers}
        self.campaign: Campaign = make_campaign(self.project, job=job, **options)
        self.path = f"/p/{self.project.slug}/annotate/campaign/{self.campaign.key}/"
        self.ana: User = make_user("Ana", self.project, Role.ANNOTATOR)
        if sends_on_choice:
            preferences.change(self.ana, submit_on_choice=True)
        self.sign_in(page, self.ana)
        self.open(page)

    def sign_in(self, page: "Page", user: User) -> None:
        page.context.clear_cookies()
        page.goto(f"{self.root}/sign-in/")
        page.fill("[name=username]", user.username)
        page.fill("[name=password]", PASSWORD)
        page.click("main button")
        page.wait_for_url(lambda url: "sign-in" not in url)

    def open(self, page: "Page") -> None:
        page.goto(self.root + self.path)

    def ready(self) -> None:
        """Wait until nothing is on its way and keys count: one within 200 ms of a new task is taken for one that came too late."""
        self.page.wait_for_selector(READY)

    def begin(self) -> None:
        """Start judging."""
        self.page.click(".begin-action button.is-primary")
        self.page.wait_for_selector("#judge")
        self.ready()

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def send(self, key: str = "Enter") -> None:
        """Press a key that leads to another page of the stage, and wait for it."""
        self.ready()
        before = self.page.url
        self.page.keyboard.press(key)
        self.page.wait_for_function("before => location.href !== before", arg=before)
        self.ready()


def assert_accessible(page: "Page", state: str) -> None:
    """WCAG 2.2 AA as far as axe-core can tell."""
    found = Axe().run(page, options=WCAG).response["violations"]
    told = [
        f"{rule['id']}: {rule['help']}\n    "
        + "\n    ".join(f"{node['html'][:200]} {node.get('failureSummary', '')}" for node in rule["nodes"][:4])
        for rule in found
    ]
    assert not told, f"{state}:\n" + "\n".join(told)
