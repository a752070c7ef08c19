"""The colours of the style sheet keep WCAG's contrast in light and dark, and only the tokens name a colour."""

import re
from itertools import product

import pytest

from config.env import ROOT

CSS = ROOT / "static" / "css"
TOKENS = dict(re.findall(r"--([\w-]+): light-dark\((#\w{6}, #\w{6})\)", (CSS / "tokens.css").read_text()))
GROUNDS = ("canvas", "surface", "surface-raised", "surface-sunken", "surface-hover")
TEXT = [
    *product(("ink", "ink-muted", "ink-faint", "accent", "bad"), GROUNDS[:4]),
    *product(("ink", "ink-muted", "ink-faint", "accent"), ("surface-hover", "accent-soft")),
    *((tone, f"{tone}-soft") for tone in ("good", "warn", "bad", "info", "accent")),
    *product(("ink", "ink-muted"), ("good-soft", "warn-soft", "bad-soft", "info-soft")),
    *((tone, "surface") for tone in ("good", "warn", "info")),
    ("accent-ink", "accent"), ("accent-ink", "accent-hover"), ("bad-ink", "bad"),
    *((name, "code-ground") for name in TOKENS if name.startswith("code-") and name != "code-ground"),
]  # fmt: skip
MARKS = [
    *product(("line-strong", "accent"), ("canvas", "surface")),
    *((f"chart-{number}", "surface") for number in range(1, 6)),
]


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio, 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_black_on_white_is_21() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "ground"), TEXT)
def test_text_can_be_read(front: str, ground: str, scheme: int) -> None:
    colours = [TOKENS[name].split(", ")[scheme] for name in (front, ground)]
    assert contrast(*colours) >= 4.5


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("mark", "ground"), MARKS)
def test_borders_of_controls_and_lines_of_charts_can_be_seen(mark: str, ground: str, scheme: int) -> None:
    colours = [TOKENS[name].split(", ")[scheme] for name in (mark, ground)]
    assert contrast(*colours) >= 3


@pytest.mark.parametrize("sheet", ["base.css", "components.css"])
def test_only_the_tokens_name_a_colour(sheet: str) -> None:
    rules = re.sub(r"/\*.*?\*/", "", (CSS / sheet).read_text(), flags=re.DOTALL)
    assert re.findall(r":[^;{]*(#[0-9a-fA-F]{3,8}\b|rgba?\(|hsla?\(|oklch\()", rules) == []


@pytest.mark.parametrize("sheet", ["base.css", "components.css"])
def test_every_custom_property_that_is_used_exists(sheet: str) -> None:
    defined = set(re.findall(r"--([\w-]+):", (CSS / "tokens.css").read_text()))
    assert set(re.findall(r"var\(--([\w-]+)", (CSS / sheet).read_text())) <= defined
