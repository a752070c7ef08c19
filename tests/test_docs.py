"""Generated pages are current, and pages link to pages that are there."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from config.env import ROOT
from scripts import export_formats, settings_reference

PAGES = sorted(
    path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if not path.is_relative_to(ROOT / "var")
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors_of(page: Path) -> set[str]:
    """What a heading is reached by, as GitHub makes it: lower case, hyphens for spaces, punctuation gone."""
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    headings = [token.content for before, token in pairwise(tokens) if before.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_settings_page_and_the_example_say_what_the_code_says():
    assert settings_reference.stale() == [], "type: make docs"


def test_the_page_of_export_formats_says_what_the_code_says():
    assert export_formats.REFERENCE.read_text(encoding="utf-8") == export_formats.page(), "type: make docs"


def test_every_setting_has_a_sentence_and_a_group():
    for name, field in settings_reference.Env.model_fields.items():
        assert field.description, name
        assert field.description.endswith((".", "hub id")), name
        assert settings_reference.group_of(field) != "Other", name


def test_the_example_ships_no_secret():
    for line in settings_reference.example().splitlines():
        if "SECRET" in line and "=" in line:
            assert line.endswith("="), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page: Path):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:|#", target):
            continue
        assert (page.parent / target.split("#")[0]).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_a_heading_name_one_that_is_there(page: Path):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if anchor and not re.match(r"[a-z]+:", target):
            assert anchor in anchors_of((page.parent / path) if path else page), f"{page.name} links to {target}"


def test_make_help_has_a_line_for_every_verb():
    text = (ROOT / "Makefile").read_text()
    verbs = re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    assert verbs
    for verb in verbs[1].split():
        assert re.search(rf"^{verb}:.*## \S", text, re.MULTILINE), verb


@pytest.mark.parametrize("verb", ["setup", "demo", "dev", "test", "check", "bench", "docs"])
def test_the_verbs_that_people_were_promised_are_there(verb):
    assert re.search(rf"^{verb}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_no_page_names_a_place_on_somebodys_machine():
    for page in PAGES:
        assert not re.search(r"(?<![\w/])/(?:home|Users|root|work)/\w", page.read_text(encoding="utf-8")), page
