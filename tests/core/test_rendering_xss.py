"""No text of a stranger becomes a script, a request or a part of our own pages (T050, T052, T055)."""

from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from core.rendering import CLASSES, SCHEMES, TAGS, render_markdown, render_plain
from tests.core.xss_corpus import PAYLOADS

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page

ATTRIBUTES = {"href", "title", "class", "rel", "data-tex", "start"}


class Inspector(HTMLParser):
    """Reads HTML as a browser does, near enough, and notes what is not on the list."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.faults.append(f"<{tag}>")
        for name, value in attributes:
            if name not in ATTRIBUTES:
                self.faults.append(f"{tag}[{name}]")
            if name == "href" and (value or "").split(":", 1)[0] not in SCHEMES:
                self.faults.append(f"href={value}")
            if name == "class" and not set((value or "").split()) <= CLASSES.get(tag, set()):
                self.faults.append(f"{tag}.{value}")

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"comment {data}")

    def handle_decl(self, declaration: str) -> None:
        self.faults.append(f"declaration {declaration}")


def faults(html: str) -> list[str]:
    inspector = Inspector()
    inspector.feed(html)
    inspector.close()
    return inspector.faults


def test_the_corpus_is_large_enough() -> None:
    assert len(set(PAYLOADS)) >= 150


def test_the_inspector_sees_what_must_not_be_there() -> None:
    assert faults('<p onclick="x">a</p><img src=x><a href="javascript:x">y</a><a class="button" href="https://x">z</a>') == [
        "p[onclick]", "<img>", "img[src]", "href=javascript:x", "a.button",
    ]  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS)
def test_markdown_of_a_stranger_stays_inert(payload: str) -> None:
    assert faults(render_markdown(payload)) == []


@pytest.mark.parametrize(
    "frame",
    [
        "{0}",
        "text {0} text",
        "> {0}",
        "- {0}",
        "| {0} |\n|--|\n| {0} |",
        "**{0}**",
        "[{0}](https://ok.example)",
        "```\n{0}\n```",
    ],
)
def test_all_of_it_at_once_stays_inert(frame: str) -> None:
    for payload in PAYLOADS:
        assert faults(render_markdown(frame.replace("{0}", payload))) == []


@pytest.mark.parametrize("payload", PAYLOADS)
def test_plain_text_of_a_stranger_has_no_tags_but_our_badges(payload: str) -> None:
    assert faults(render_plain(payload)) == []


def test_images_are_links_and_links_tell_nothing() -> None:
    html = render_markdown("![a cat](https://evil.example/cat.png) [x](https://evil.example)")
    assert "<img" not in html
    assert html.count('rel="noopener noreferrer nofollow"') == 2
    assert 'class="image-link"' in html


@pytest.mark.e2e
def test_a_browser_runs_and_loads_nothing_of_it(page: "Page") -> None:
    requests: list[str] = []
    dialogs: list[str] = []
    page.on("request", lambda request: requests.append(request.url))

    def note(dialog: "Dialog") -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", note)
    for payload in PAYLOADS:
        page.set_content(
            f"<!doctype html><body><div>{render_markdown(payload)}</div><div>{render_plain(payload)}</div></body>"
        )
        for link in page.query_selector_all("a[href]"):
            assert (link.get_attribute("href") or "").split(":")[0] in SCHEMES
        assert not page.query_selector(
            "[id], [style], [hx-get], [data-hx-post], script, iframe, form, button, input, svg, img"
        )
    assert requests == []
    assert dialogs == []
