"""All nine steps through the pages, in Chromium, with the real vLLM, TRL and Celery; once more with a reload at every step."""

import json
import re
from pathlib import Path

import pytest

from config.env import ROOT
from tests.annotation.screens import READY
from tests.e2e.conftest import DemoSite

pytestmark = [pytest.mark.e2e, pytest.mark.vllm, pytest.mark.training, pytest.mark.sqlite]

PASSWORD = "correct horse battery staple"
N_PROMPTS, N_JUDGEMENTS = 24, 14
STEP_MS = 300_000


class Walk:
    """A person at a browser; ``reloads`` presses F5 wherever a person might."""

    def __init__(self, page, site: DemoSite, *, reloads: bool) -> None:
        self.page, self.site, self.reloads = page, site, reloads
        page.set_default_timeout(60_000)

    def reload(self) -> None:
        if self.reloads:
            self.page.reload()

    def path(self, below: str) -> str:
        return f"{self.site.url}/p/demo/{below}"

    def sign_in(self) -> None:
        self.page.goto(self.site.link_for("demo"))
        self.page.locator("main form button").first.click()
        self.page.wait_for_url(re.compile("set-password|/p/demo/"))
        if "set-password" in self.page.url:
            self.reload()
            for field in self.page.locator("input[type=password]").all():
                field.fill(PASSWORD)
            self.page.locator("main form button").first.click()
            self.page.wait_for_url(re.compile("/p/demo/"))

    def import_prompts(self, file: Path, name: str) -> None:
        self.page.goto(self.path("prompts/import/"))
        self.page.get_by_label("Name of the set").fill(name)
        self.page.locator("input[type=file]").set_input_files(file)
        self.page.locator("main form button[type=submit], main form button:not([type])").last.click()
        self.page.wait_for_url(re.compile("/prompts/imports/"))
        self.reload()
        self.page.get_by_text(f"{N_PROMPTS} prompts", exact=False).first.wait_for()

    def start_round(self, name: str) -> None:
        self.page.goto(self.path("rounds/new/"))
        self.page.get_by_label("Prompt set").select_option(label=name)
        self.page.get_by_label("Prompts", exact=True).fill(str(N_PROMPTS))
        self.page.get_by_label("Answers a prompt").fill("2")
        self.page.get_by_label("Judgements", exact=True).fill(str(N_JUDGEMENTS))
        self.page.get_by_text("For experts").click()
        self.page.get_by_label("Training effort").select_option("smoke")
        self.page.get_by_role("button", name=re.compile("Start round")).click()
        self.page.wait_for_url(re.compile(r"/rounds/\d+/$"))
        self.board = self.page.url

    def stage(self, name: str):
        return self.page.locator(f".stage[data-stage={name}]")

    def wait_until_done(self, stage: str) -> None:
        self.reload()
        done = self.page.locator(f".stage[data-stage={stage}][data-state=done]")
        failed = self.page.locator(f".stage[data-stage={stage}][data-state=failed]")
        done.or_(failed).wait_for(timeout=STEP_MS)
        assert failed.count() == 0, self.stage(stage).inner_text()

    def press(self, label: str, *, note: str = "") -> None:
        """Press the one next button, which must be the one that a person expects here."""
        button = self.page.locator("#next-step").get_by_role("button", name=re.compile(label))
        button.wait_for(timeout=STEP_MS)
        self.reload()
        if note:
            self.page.locator("#next-step input[name=note]").fill(note)
        # The board draws itself anew every two seconds; a click on a node that has just gone is not a user's experience.
        self.follow(self.page.locator("#next-step").get_by_role("button", name=re.compile(label)))

    def follow(self, button) -> None:
        """Press what leads to a page and wait for that page: Chromium refuses a reload while it changes from one to the next."""
        with self.page.expect_navigation():
            button.click()

    def judge(self) -> None:
        self.page.locator("#next-step").get_by_role("link", name="Judge answers").click(timeout=STEP_MS)
        self.page.get_by_role("button", name=re.compile("(start|go on)( judging)?$", re.IGNORECASE)).click()
        for number in range(N_JUDGEMENTS):
            self.seen()
            assert self.page.locator("article.answer").count() == 2
            if number == 1:
                self.undo_once()
            if self.reloads:
                self.page.reload()
                self.seen()
            key = self.page.url
            self.page.keyboard.press("12"[number % 2])
            self.page.keyboard.press("Enter")
            self.moved_on(key)
        self.page.get_by_text("Nothing left for you").wait_for()

    def seen(self) -> None:
        """Wait until two answers stand there and keys count, a fifth of a second after they have appeared."""
        self.page.locator("article.answer").first.wait_for()
        self.page.wait_for_selector(READY)

    def moved_on(self, before: str) -> None:
        self.page.wait_for_url(lambda url: url != before, wait_until="commit")

    def undo_once(self) -> None:
        here = self.page.url
        self.page.keyboard.press("u")
        self.moved_on(here)
        again = self.page.url
        self.seen()
        self.page.keyboard.press("2")
        self.page.keyboard.press("Enter")
        self.moved_on(again)
        self.seen()


def a_set_of_prompts(folder: Path, mark: str) -> Path:
    """Prompts of the starter's world, made this test's own by a word at their end."""
    rows = [json.loads(line) for line in (ROOT / "starter" / "prompts.jsonl").read_text().splitlines()]
    rows = [row for row in rows if isinstance(row.get("prompt"), str)][:N_PROMPTS]
    file = folder / f"{mark}.jsonl"
    file.write_text("".join(json.dumps({**row, "note": mark}) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("reloads", [False, True], ids=["straight", "reload-at-every-step"])
def test_the_whole_way_through_the_pages(page, demo_site: DemoSite, tmp_path: Path, reloads: bool):
    name = f"walk-{'reload' if reloads else 'straight'}"
    walk = Walk(page, demo_site, reloads=reloads)
    walk.sign_in()
    walk.import_prompts(a_set_of_prompts(tmp_path, name), name)
    walk.start_round(name)

    walk.press("Generate 2 answers")
    walk.wait_until_done("generate")
    walk.press("Open the answers")
    assert page.get_by_text("hidden until judging is closed").count() == 1
    walk.judge()
    page.goto(walk.board)
    walk.wait_until_done("annotate")

    walk.press("Freeze the dataset")
    walk.wait_until_done("dataset")
    download(walk)

    page.goto(walk.board)
    walk.press("Train the policy")
    walk.reload()
    walk.follow(page.get_by_role("button", name=re.compile("Train a reward model")))
    walk.wait_until_done("train")
    curves(walk)

    page.goto(walk.board)
    walk.press("Evaluate the new policy")
    walk.wait_until_done("evaluate")
    # Few prompts are held out here, so there is no verdict, and a deployment needs a reason.
    walk.press("Deploy", note="The walk goes on.")
    walk.wait_until_done("deploy")
    page.get_by_text("its policy writes the next answers").wait_for(timeout=60_000)

    lineage(walk)
    page.goto(walk.path(""))
    page.get_by_role("link", name=re.compile(r"Start round \d+")).first.wait_for()
    rollback(walk)


def download(walk: Walk) -> None:
    page = walk.page
    walk.stage("dataset").get_by_role("link").first.click()
    page.wait_for_url(re.compile("/datasets/"))
    walk.reload()
    with page.expect_download() as started:
        page.get_by_role("link", name=re.compile("jsonl", re.I)).first.click()
    rows = [json.loads(line) for line in Path(started.value.path()).read_text().splitlines()]
    assert rows
    assert all(row["chosen"][0]["role"] == "assistant" and row["prompt"][-1]["role"] == "user" for row in rows)


def curves(walk: Walk) -> None:
    page = walk.page
    walk.stage("train").get_by_role("link", name="DPO run").click()
    page.wait_for_url(re.compile("/runs/"))
    walk.reload()
    page.locator(".chart canvas").first.wait_for()
    assert page.get_by_text("Answers as it learns").count() == 1


def lineage(walk: Walk) -> None:
    """The new version is named now, and leads down to the judgements that made it."""
    page = walk.page
    page.goto(walk.path("models/"))
    page.locator("main table a").first.click()
    page.wait_for_url(re.compile("/models/"))
    assert page.get_by_text(re.compile("judgements?", re.I)).count() >= 1


def rollback(walk: Walk) -> None:
    """One click: the version before answers again, and the way back is offered."""
    page = walk.page
    page.goto(walk.path("deployments/"))
    row = page.locator(".card", has_text="policy answers with")
    button = row.get_by_role("button", name=re.compile("Roll back to "))
    before = button.inner_text().strip().removeprefix("Roll back to ")
    button.click()
    if page.locator("#confirm[open]").count():
        page.locator("#confirm [data-confirm-yes]").click()
    page.get_by_text(re.compile(f"policy answers with {re.escape(before)}")).first.wait_for()
    assert row.get_by_role("button", name=f"Roll back to {before}").count() == 0
