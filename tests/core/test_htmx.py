"""Pages and fragments from one context, and the rules for what our templates and scripts may hold (T053)."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.http import HttpRequest
from django.template import engines
from django.test import RequestFactory
from django_htmx.middleware import HtmxDetails

from config.env import ROOT
from core.htmx import context_of, render_page, see_other, toast


@dataclass(frozen=True)
class Example:
    title: str
    sentence: str = "s."
    how: str = ""
    status: int = 409
    request_id: str = "r"

    @property
    def loud(self) -> str:
        return self.title.upper()


def request(**headers: str) -> HttpRequest:
    made = RequestFactory().get("/", headers=headers)
    made.htmx = HtmxDetails(made)  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize(
    ("headers", "is_page"),
    [
        ({}, True),
        ({"HX-Request": "true"}, False),
        ({"HX-Request": "true", "HX-Boosted": "true"}, True),
        ({"HX-Request": "true", "HX-History-Restore-Request": "true"}, True),
    ],
)
def test_htmx_gets_the_part_everyone_else_the_page(headers: dict[str, str], is_page: bool) -> None:
    response = render_page(request(**headers), "errors/500.html", "errors/_problem.html", Example("hello"), status=409)
    assert (b"<html" in response.content) == is_page
    assert b"hello" in response.content
    assert response.status_code == 409
    assert response.headers["Vary"] == "HX-Request"


def test_a_page_with_a_secret_is_not_stored() -> None:
    response = render_page(request(), "errors/500.html", "errors/_problem.html", Example("x"), no_store=True)
    assert response.headers["Cache-Control"] == "no-store"


def test_the_context_is_a_dataclass_with_its_properties() -> None:
    context = context_of(Example("hi"))
    assert context["title"] == "hi"
    assert context["page"].loud == "HI"
    with pytest.raises(TypeError):
        context_of({"title": "hi"})


def test_going_on_is_a_303_and_for_htmx_a_header() -> None:
    assert see_other(request(), "/x/").status_code == 303
    response = see_other(request(**{"HX-Request": "true"}), "/x/")
    assert (response.status_code, response.headers["HX-Redirect"]) == (200, "/x/")


def test_a_toast_travels_in_a_header() -> None:
    response = toast(see_other(request(), "/"), "Saved.", "good")
    assert json.loads(response.headers["HX-Trigger"]) == {"toast": {"message": "Saved.", "tone": "good"}}


def test_htmx_is_told_to_trust_nothing_and_to_swap_our_sentences() -> None:
    html = engines["django"].from_string('{% include "_htmx_config.html" %}').render({})
    config = json.loads(re.search(r"content='(.*)'", html)[1])  # type: ignore[index]
    for name in ("allowEval", "allowScriptTags", "includeIndicatorStyles"):
        assert config[name] is False
    assert config["selfRequestsOnly"] is True
    assert config["historyCacheSize"] == 0
    # htmx takes the first rule that matches.
    swaps = {
        status: next(rule["swap"] for rule in config["responseHandling"] if re.search(rule["code"], status))
        for status in ("200", "204", "409", "422", "502")
    }
    assert swaps == {"200": True, "204": False, "409": True, "422": True, "502": False}


# ---- what no template and no script of ours may hold -----------------------------------------------------------------

TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
SCRIPTS = sorted((ROOT / "static" / "js").rglob("*.js"))
CODE = [
    path
    for app in ("accounts", "annotation", "config", "core", "generation", "loop", "training")
    for path in sorted((ROOT / app).rglob("*.py"))
]
# Where HTML is made by hand, after review. core/rendering.py: what nh3 has cleaned, or html.escape has escaped.
MAY_MARK_SAFE = {"core/rendering.py"}

IN_TEMPLATES = {
    r"\|\s*safe\b": "marks text as safe",
    r"autoescape\s+off": "switches escaping off",
    r"<style\b": "holds a style sheet (the content security policy refuses it)",
    r"\sstyle\s*=": "holds a style attribute (the content security policy refuses it)",
    r"\son[a-z]+\s*=\s*[\"']": "holds an event handler (the content security policy refuses it)",
    r"<script(?![^>]*\bsrc=)(?![^>]*application/json)": "holds a script (the content security policy refuses it)",
    r"hx-on\b|hx-vals=['\"]js:|hx-trigger=['\"][^'\"]*\[": "needs eval, which is off",
    r"(?:src|href)\s*=\s*[\"'](?:https?:)?//": "loads something from elsewhere",
}
IN_SCRIPTS = {
    r"\binnerHTML\b|\bouterHTML\b|insertAdjacentHTML|document\.write|createContextualFragment": "makes HTML from text",
    r"\beval\(|new Function\(": "runs text",
    r"https?://(?!www\.w3\.org)": "loads something from elsewhere",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def without_links_for_people(line: str) -> str:
    # A link that a person may follow loads nothing by itself.
    return re.sub(r"<a\b[^>]*>", "", line)


@pytest.mark.parametrize(("pattern", "fault"), IN_TEMPLATES.items())
def test_no_template_trusts_text_or_breaks_the_policy(pattern: str, fault: str) -> None:
    found = []
    for path in TEMPLATES:
        text = re.sub(r"{% comment %}.*?{% endcomment %}|{#.*?#}", "", path.read_text(), flags=re.DOTALL)
        found += [
            f"{relative(path)}:{number} {fault}"
            for number, line in enumerate(text.splitlines(), 1)
            if re.search(pattern, without_links_for_people(line) if "https?" in pattern else line)
        ]
    assert found == []


@pytest.mark.parametrize(("pattern", "fault"), IN_SCRIPTS.items())
def test_no_script_makes_html_from_text(pattern: str, fault: str) -> None:
    assert [f"{relative(path)} {fault}" for path in SCRIPTS if re.search(pattern, path.read_text())] == []


def test_html_is_marked_safe_in_the_reviewed_places_only() -> None:
    marks = re.compile(r"\bmark_safe\b|\bSafeString\(|\bSafeText\(|is_safe\s*=\s*True|\.__html__\b")
    assert {relative(path) for path in CODE if marks.search(path.read_text())} <= MAY_MARK_SAFE


def test_there_is_one_markdown_renderer() -> None:
    imports = re.compile(r"^\s*(?:import|from)\s+(?:markdown_it|markdown|mistune|nh3|bleach)\b", re.MULTILINE)
    assert {relative(path) for path in CODE if imports.search(path.read_text())} == {"core/rendering.py"}


def test_the_scanner_finds_what_it_is_for() -> None:
    bad = '<p style="x" onclick="y">{{ t|safe }}</p><script>1</script><script src="https://cdn.example/x.js"></script>'
    assert [fault for pattern, fault in IN_TEMPLATES.items() if re.search(pattern, bad)] != []
    assert sum(bool(re.search(pattern, bad)) for pattern in IN_TEMPLATES) == 5
